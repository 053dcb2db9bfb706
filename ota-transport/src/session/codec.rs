//! The MQTT 3.1.1 codec: the only place that knows the `mqttbytes` crate, and that keeps its traps shut.
//!
//! The crate is small and unmaintained, so nothing of it is public here. Its traps: a topic over 64 KiB is cut
//! without a word, a publish of quality 1 without a packet id is written with a wrong length, `Connect::write`
//! patches its flags at an offset from the front of the buffer, and an error in the middle of a write leaves half a
//! packet behind. Hence everything is validated first and written into an empty buffer.

use bytes::{Buf, Bytes, BytesMut};
use mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, LastWill, Packet, PingReq, PubAck, Publish, SubAck, Subscribe,
    SubscribeReasonCode, read,
};

use super::{Credentials, Quality, SessionError, Will};

/// Longest topic, client id, user name or password, in bytes.
const FIELD_BYTES_MAX: usize = 65_535;

/// A packet from the broker, as far as a client cares.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Accepted {
        session_present: bool,
    },
    Denied(u8),
    Message {
        topic: String,
        payload: Bytes,
        acknowledge: Option<u16>,
    },
    PublishAcknowledged(u16),
    Subscribed {
        id: u16,
        granted: bool,
    },
    Pong,
    /// An acknowledgement that asks for nothing.
    Other,
}

/// What the front of the input is.
pub(super) enum Framing {
    /// A packet, taken off the input.
    Packet(Incoming),
    /// Not enough bytes yet.
    Incomplete,
    /// A packet over the limit: this many bytes from here on belong to it and must be thrown away.
    Oversized(usize),
}

/// Takes one packet off the front of the input.
pub(super) fn next_packet(input: &mut BytesMut, packet_bytes_max: usize) -> Result<Framing, SessionError> {
    let Some((header, remaining)) = fixed_header(input)? else { return Ok(Framing::Incomplete) };
    if remaining > packet_bytes_max {
        return Ok(Framing::Oversized(header.saturating_add(remaining)));
    }
    if input.len() < header.saturating_add(remaining) {
        return Ok(Framing::Incomplete);
    }
    let packet = read(input, packet_bytes_max).map_err(|_| SessionError::Protocol)?;
    Ok(Framing::Packet(match packet {
        Packet::ConnAck(ConnAck { session_present, code: ConnectReturnCode::Success }) => {
            Incoming::Accepted { session_present }
        }
        Packet::ConnAck(ConnAck { code, .. }) => Incoming::Denied(denial(code)),
        Packet::Publish(Publish { topic, payload, qos, pkid, .. }) => match qos {
            mqttbytes::QoS::AtMostOnce => Incoming::Message { topic, payload, acknowledge: None },
            mqttbytes::QoS::AtLeastOnce => Incoming::Message { topic, payload, acknowledge: Some(pkid) },
            // Never subscribed to at this quality, so a broker that sends it is broken.
            mqttbytes::QoS::ExactlyOnce => return Err(SessionError::Protocol),
        },
        Packet::PubAck(PubAck { pkid }) => Incoming::PublishAcknowledged(pkid),
        Packet::SubAck(SubAck { pkid, return_codes }) => Incoming::Subscribed {
            id: pkid,
            granted: !return_codes.is_empty()
                && return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))),
        },
        Packet::PingResp => Incoming::Pong,
        Packet::UnsubAck(_) => Incoming::Other,
        _ => return Err(SessionError::Protocol),
    }))
}

/// Length of the fixed header and what it says of the rest, once it is there.
fn fixed_header(input: &BytesMut) -> Result<Option<(usize, usize)>, SessionError> {
    let mut remaining = 0_usize;
    for (index, byte) in input.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((index + 2, remaining)));
        }
    }
    // Four bytes that all ask for another are no length.
    if input.len() >= 5 { Err(SessionError::Protocol) } else { Ok(None) }
}

fn denial(code: ConnectReturnCode) -> u8 {
    match code {
        ConnectReturnCode::Success => 0,
        ConnectReturnCode::RefusedProtocolVersion => 1,
        ConnectReturnCode::BadClientId => 2,
        ConnectReturnCode::ServiceUnavailable => 3,
        ConnectReturnCode::BadUserNamePassword => 4,
        ConnectReturnCode::NotAuthorized => 5,
    }
}

pub(super) fn connect(
    client_id: &str,
    credentials: Option<&Credentials>,
    will: Option<&Will>,
    keep_alive_seconds: u16,
) -> Result<BytesMut, SessionError> {
    let mut packet = Connect::new(checked(client_id)?);
    packet.keep_alive = keep_alive_seconds;
    packet.clean_session = true;
    if let Some(Credentials { user, password }) = credentials {
        packet.set_login(checked(user)?, checked(password)?);
    }
    if let Some(Will { topic, payload }) = will {
        checked_topic(topic)?;
        packet.last_will =
            Some(LastWill::new(topic.as_str(), payload.clone(), mqttbytes::QoS::AtMostOnce, false));
    }
    whole(|buffer| packet.write(buffer))
}

/// The bytes of a publish; `id` is used at quality 1 only and is never 0 there.
pub(super) fn publish(
    topic: &str,
    payload: &[u8],
    quality: Quality,
    id: u16,
) -> Result<BytesMut, SessionError> {
    checked_topic(topic)?;
    let mut packet = Publish::new(topic, qos(quality), payload);
    packet.pkid = if quality == Quality::AtLeastOnce { id } else { 0 };
    whole(|buffer| packet.write(buffer))
}

pub(super) fn subscribe(filter: &str, quality: Quality, id: u16) -> Result<BytesMut, SessionError> {
    let mut packet = Subscribe::new(checked(filter)?, qos(quality));
    packet.pkid = id;
    whole(|buffer| packet.write(buffer))
}

pub(super) fn acknowledge(id: u16) -> Result<BytesMut, SessionError> {
    whole(|buffer| PubAck::new(id).write(buffer))
}

pub(super) fn ping() -> Result<BytesMut, SessionError> {
    whole(|buffer| PingReq.write(buffer))
}

pub(super) fn disconnect() -> Result<BytesMut, SessionError> {
    whole(|buffer| mqttbytes::v4::Disconnect.write(buffer))
}

/// Throws bytes away from the front, as many as are there; returns how many are still to come.
pub(super) fn discard(input: &mut BytesMut, length: usize) -> usize {
    let here = length.min(input.len());
    input.advance(here);
    length - here
}

fn qos(quality: Quality) -> mqttbytes::QoS {
    match quality {
        Quality::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        Quality::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
    }
}

fn checked(field: &str) -> Result<&str, SessionError> {
    if field.is_empty() || field.len() > FIELD_BYTES_MAX || field.contains('\0') {
        return Err(SessionError::InvalidArgument);
    }
    Ok(field)
}

fn checked_topic(topic: &str) -> Result<(), SessionError> {
    if checked(topic)?.contains(['+', '#']) { Err(SessionError::InvalidArgument) } else { Ok(()) }
}

fn whole(
    write: impl FnOnce(&mut BytesMut) -> Result<usize, mqttbytes::Error>,
) -> Result<BytesMut, SessionError> {
    let mut buffer = BytesMut::new();
    write(&mut buffer).map_err(|_| SessionError::InvalidArgument)?;
    Ok(buffer)
}
