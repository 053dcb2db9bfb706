//! The session against a scripted stream: every byte the broker could send, in pieces of any size.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use ota_core::time::{Instant, Millis};

use super::*;

/// A stream that gives what it was told to give, and takes at most `room` bytes before it would block.
struct Script {
    gives: VecDeque<Vec<u8>>,
    taken: Vec<u8>,
    room: usize,
    /// What it took it keeps for now, as TLS does when its socket is full.
    holds: bool,
}

impl Script {
    fn giving(pieces: &[&[u8]]) -> Self {
        Self {
            gives: pieces.iter().map(|piece| piece.to_vec()).collect(),
            taken: Vec::new(),
            room: usize::MAX,
            holds: false,
        }
    }
}

impl Read for Script {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.gives.pop_front().ok_or(ErrorKind::WouldBlock)?;
        into[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.room);
        if length == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= length;
        self.taken.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.holds { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

const ACCEPTED: &[u8] = &[0x20, 2, 0, 0];

fn connected(pieces: &[&[u8]]) -> (Session, Script) {
    let mut script = Script::giving(&[&[ACCEPTED], pieces].concat());
    let mut session = Session::new(SessionConfig::new("d"), Instant(0)).unwrap();
    let event = session.poll(&mut script, Instant(0)).unwrap();
    assert_eq!(event, Some(Event::Connected { session_present: false }));
    script.taken.clear();
    (session, script)
}

fn message(topic: &str, payload: &str) -> Event {
    Event::Message { topic: topic.into(), payload: payload.as_bytes().to_vec().into() }
}

#[test]
fn a_session_begins_with_a_clean_connect() {
    let mut script = Script::giving(&[]);
    let mut session = Session::new(SessionConfig::new("d"), Instant(0)).unwrap();
    assert_eq!(session.poll(&mut script, Instant(0)).unwrap(), None);
    assert_eq!(script.taken, [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 30, 0, 1, b'd']);
}

#[test]
fn a_message_may_come_in_pieces_or_many_at_once() {
    let bytes = [0x30, 5, 0, 1, b't', b'h', b'i'];
    for split in 1..bytes.len() {
        let (mut session, mut script) = connected(&[&bytes[..split]]);
        assert_eq!(session.poll(&mut script, Instant(1)).unwrap(), None);
        script.gives.push_back(bytes[split..].to_vec());
        assert_eq!(session.poll(&mut script, Instant(2)).unwrap(), Some(message("t", "hi")), "{split}");
    }
    let (mut session, mut script) = connected(&[&[bytes, bytes].concat()]);
    assert_eq!(session.poll(&mut script, Instant(1)).unwrap(), Some(message("t", "hi")));
    assert_eq!(session.poll(&mut script, Instant(1)).unwrap(), Some(message("t", "hi")));
    assert_eq!(session.poll(&mut script, Instant(1)).unwrap(), None);
}

/// TLS gives a record at a time, and the socket below it says nothing about those that it holds already.
#[test]
fn nothing_is_left_in_the_stream_when_a_poll_says_that_there_is_nothing() {
    let hi = [0x30, 5, 0, 1, b't', b'h', b'i'];
    let (front, back) = hi.split_at(4);
    let (mut session, mut script) = connected(&[&[0xd0, 0], front, back, &hi]);
    assert_eq!(session.wake_at(), Instant(0), "after an event there may be more");
    assert_eq!(session.poll(&mut script, Instant(1)).unwrap(), Some(message("t", "hi")));
    assert_eq!(session.poll(&mut script, Instant(2)).unwrap(), Some(message("t", "hi")));
    assert!(session.wake_at() <= Instant(2));
    assert_eq!(session.poll(&mut script, Instant(3)).unwrap(), None);
    assert!(session.wake_at() > Instant(3), "now there is nothing more");
    // Records without an event do not hold the caller for ever, and do not count as nothing either.
    script.gives = core::iter::repeat_n(vec![0xd0, 0], READS_MAX + 1).collect();
    assert_eq!(session.poll(&mut script, Instant(4)).unwrap(), None);
    assert_eq!((script.gives.len(), session.wake_at()), (1, Instant(4)));
    assert_eq!(session.poll(&mut script, Instant(5)).unwrap(), None);
    assert!(script.gives.is_empty() && session.wake_at() > Instant(5));
}

#[test]
fn what_the_stream_itself_still_holds_wants_to_be_written() {
    let (mut session, mut script) = connected(&[]);
    script.holds = true;
    session.publish("t", &[7], Quality::AtMostOnce).unwrap();
    session.poll(&mut script, Instant(1)).unwrap();
    assert!(session.wants_write());
    script.holds = false;
    session.poll(&mut script, Instant(2)).unwrap();
    assert!(!session.wants_write());
}

#[test]
fn a_message_of_quality_1_is_acknowledged_at_once() {
    let (mut session, mut script) = connected(&[&[0x32, 6, 0, 1, b't', 0x12, 0x34, b'x']]);
    assert_eq!(session.poll(&mut script, Instant(1)).unwrap(), Some(message("t", "x")));
    assert_eq!(script.taken, [0x40, 2, 0x12, 0x34]);
}

#[test]
fn an_oversized_packet_is_thrown_away_and_the_session_goes_on() {
    // rumqtt #924: a packet over the limit that ends the connection comes back for ever.
    let mut config = SessionConfig::new("d");
    config.packet_bytes_max = 100;
    let mut oversized = vec![0x30, 0x80 | (1000 % 128) as u8, (1000 / 128) as u8, 0, 1, b't'];
    oversized.resize(3 + 1000, 0xee);
    let good = [0x30, 5, 0, 1, b't', b'h', b'i'];
    let (front, back) = oversized.split_at(500);
    let mut script = Script::giving(&[ACCEPTED, front, &[back, &good].concat()]);
    let mut session = Session::new(config, Instant(0)).unwrap();
    session.poll(&mut script, Instant(0)).unwrap();
    assert_eq!(session.poll(&mut script, Instant(1)).unwrap(), Some(Event::Oversized { bytes: 1003 }));
    assert_eq!(session.poll(&mut script, Instant(1)).unwrap(), Some(message("t", "hi")));
}

#[test]
fn what_does_not_fit_is_refused_whole_and_nothing_is_lost() {
    let (mut session, mut script) = connected(&[]);
    script.room = 10;
    session.config.outgoing_bytes_max = 50;
    session.publish("t", &[7; 30], Quality::AtMostOnce).unwrap();
    let refused = session.publish("t", &[8; 30], Quality::AtMostOnce).unwrap_err();
    assert!(matches!(refused, SessionError::Full) && refused.is_refusal());
    session.poll(&mut script, Instant(1)).unwrap();
    assert!(session.wants_write());
    script.room = usize::MAX;
    session.poll(&mut script, Instant(2)).unwrap();
    assert!(!session.wants_write());
    assert_eq!(script.taken, [&[0x30, 33, 0, 1, b't'][..], &[7; 30]].concat());
}

#[test]
fn a_silent_connection_is_pinged_and_then_given_up() {
    let (mut session, mut script) = connected(&[]);
    session.poll(&mut script, Instant(29_999)).unwrap();
    assert!(script.taken.is_empty());
    session.poll(&mut script, Instant(30_000)).unwrap();
    assert_eq!(script.taken, [0xc0, 0]);
    assert_eq!(session.wake_at(), Instant(45_000));
    script.gives.push_back(vec![0xd0, 0]);
    session.poll(&mut script, Instant(30_050)).unwrap();
    assert_eq!(session.wake_at(), Instant(60_000));
    session.poll(&mut script, Instant(60_000)).unwrap();
    let error = session.poll(&mut script, Instant(75_000)).unwrap_err();
    assert!(matches!(error, SessionError::Timeout));
}

#[test]
fn a_broker_that_never_accepts_is_given_up() {
    let mut script = Script::giving(&[]);
    let mut session = Session::new(SessionConfig::new("d"), Instant(5)).unwrap();
    session.poll(&mut script, Instant(10_004)).unwrap();
    assert!(matches!(session.poll(&mut script, Instant(10_005)), Err(SessionError::Timeout)));
}

#[test]
fn a_denial_and_a_refused_subscription_are_told_apart() {
    let mut script = Script::giving(&[&[0x20, 2, 0, 5]]);
    let mut session = Session::new(SessionConfig::new("d"), Instant(0)).unwrap();
    assert!(matches!(session.poll(&mut script, Instant(0)), Err(SessionError::Denied(5))));

    let (mut session, mut script) = connected(&[&[0x90, 3, 0, 1, 0x80], &[0x90, 3, 0, 2, 1]]);
    let first = session.subscribe("a/b", Quality::AtLeastOnce).unwrap();
    let second = session.subscribe("c", Quality::AtLeastOnce).unwrap();
    assert_eq!(session.poll(&mut script, Instant(1)).unwrap(), Some(Event::SubscriptionRefused(first)));
    assert_eq!(session.poll(&mut script, Instant(1)).unwrap(), Some(Event::Subscribed(second)));
}

#[test]
fn names_that_mqtt_cannot_carry_are_refused_before_a_byte_is_written() {
    let (mut session, mut script) = connected(&[]);
    let long = "x".repeat(65_536);
    for topic in ["", "a/+", "#", "a\0", &long] {
        let error = session.publish(topic, b"", Quality::AtMostOnce).unwrap_err();
        assert!(matches!(error, SessionError::InvalidArgument), "{topic:.9}");
    }
    session.poll(&mut script, Instant(1)).unwrap();
    assert!(script.taken.is_empty());
}

#[test]
fn packet_ids_wrap_around_zero() {
    let (mut session, mut script) = connected(&[]);
    session.next_id = u16::MAX;
    assert_eq!(session.publish("t", b"", Quality::AtLeastOnce).unwrap(), PacketId(u16::MAX));
    assert_eq!(session.publish("t", b"", Quality::AtLeastOnce).unwrap(), PacketId(1));
    session.poll(&mut script, Instant(1)).unwrap();
    assert_eq!(script.taken, [0x32, 5, 0, 1, b't', 0xff, 0xff, 0x32, 5, 0, 1, b't', 0, 1]);
}

#[test]
fn a_broken_broker_ends_the_session_without_a_panic() {
    let cases: &[&[u8]] = &[
        &[0x30, 0xff, 0xff, 0xff, 0xff],
        &[0x34, 6, 0, 1, b't', 0, 1, b'x'],
        &[0x32, 5, 0, 1, b't', 0, 0],
        &[0x30, 3, 0, 9, b't'],
        &[0x30, 0],
        &[0x30, 4, 0, 2, 0xff, 0xff],
        &[0x10, 2, 0, 0],
        &[0xf0, 0],
        &[0x20, 2, 0, 0],
        &[0x40, 1, 0],
        &[0x90, 2, 0, 1],
    ];
    for bytes in cases {
        let (mut session, mut script) = connected(&[bytes]);
        match session.poll(&mut script, Instant(1)) {
            Err(SessionError::Protocol) | Ok(Some(Event::SubscriptionRefused(_))) => {}
            other => panic!("{bytes:02x?}: {other:?}"),
        }
    }
    let (mut session, mut script) = connected(&[&[]]);
    assert!(matches!(session.poll(&mut script, Instant(1)), Err(SessionError::Closed)));
}

#[test]
fn no_bytes_from_outside_can_make_it_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..24 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes.push(seed.to_le_bytes()[0]);
        }
        let (mut session, mut script) = connected(&[&bytes]);
        for step in 0..8 {
            if session.poll(&mut script, Instant(step)).is_err() {
                break;
            }
        }
    }
}

#[test]
fn credentials_are_not_shown() {
    let credentials = Credentials { user: "u".into(), password: "secret".into() };
    assert!(!format!("{credentials:?}").contains("secret"));
}

#[test]
fn keep_alive_of_a_busy_connection_needs_no_ping() {
    let (mut session, mut script) = connected(&[]);
    for second in 1..100_u64 {
        session.publish("t", b"", Quality::AtMostOnce).unwrap();
        script.gives.push_back(vec![0x30, 3, 0, 1, b'd']);
        session.poll(&mut script, Instant(second * 1000)).unwrap();
    }
    assert!(!script.taken.windows(2).any(|bytes| bytes == [0xc0, 0]));
    assert_eq!(session.poll(&mut script, Instant(99_000)).unwrap(), None);
    assert_eq!(session.wake_at(), Instant(99_000).plus(Millis(30_000)));
}
