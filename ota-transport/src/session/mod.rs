//! A single-threaded MQTT 3.1.1 session, driven by polling over any non-blocking stream.
//!
//! For Linux-class devices that keep one connection and one thread: no executor, no thread, no lock. The session owns
//! no socket; each [`Session::poll`] is given the stream, moves what can be moved without waiting, and returns at most one
//! event. A download and an application share it by taking turns.
//!
//! What it refuses to do: quality of service 2, sessions that outlive the connection (what was in flight when the
//! connection broke is lost, and whoever needs it asks again), and reconnecting by itself (the caller owns the
//! stream, so the caller opens the next one and makes a new session).
//!
//! ```no_run
//! use std::net::TcpStream;
//! use ota_core::time::{Instant, Millis};
//! use ota_transport::session::{Event, Quality, Session, SessionConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let started = std::time::Instant::now();
//! let now = || Instant(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
//! let mut stream = TcpStream::connect("127.0.0.1:1883")?;
//! stream.set_nodelay(true)?;
//! stream.set_nonblocking(true)?;
//! let mut session = Session::new(SessionConfig::new("sensor-7"), now())?;
//! loop {
//!     match session.poll(&mut stream, now())? {
//!         Some(Event::Connected { .. }) => drop(session.subscribe("commands/sensor-7", Quality::AtLeastOnce)?),
//!         Some(Event::Message { topic, payload }) => println!("{topic}: {} bytes", payload.len()),
//!         Some(_) => {}
//!         None => { /* nothing to read: the application's turn */ }
//!     }
//! }
//! # }
//! ```

mod codec;
#[cfg(test)]
mod tests;

use std::io::{ErrorKind, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use ota_core::time::{Instant, Millis};

pub use crate::credentials::Credentials;

use codec::{Framing, Incoming};

/// How much is read from the stream at once, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// How often a poll reads at most without finding an event, so that a broker that sends nothing of use holds nobody up.
const READS_MAX: usize = 64;

/// How sure a message is to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// At most once: what updates use, since they ask again for what is missing.
    AtMostOnce,
    /// At least once while the connection lasts; [`Event::Acknowledged`] says when.
    AtLeastOnce,
}

/// What the broker publishes when the device vanishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// How a session behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// What the client calls itself.
    pub client_id: String,
    /// User name and password, if the broker wants them.
    pub credentials: Option<Credentials>,
    /// The last will, if there is one.
    pub will: Option<Will>,
    /// A ping is sent after this much silence, and the session ends after one and a half times that without an answer.
    pub keep_alive: Millis,
    /// How long the broker may take to accept the session.
    pub connect_timeout: Millis,
    /// Largest packet that is read, in bytes. A larger one is thrown away and told as [`Event::Oversized`].
    pub packet_bytes_max: usize,
    /// Most bytes that wait to be written; a message that does not fit is refused and can be offered again later.
    pub outgoing_bytes_max: usize,
}

impl SessionConfig {
    /// Sensible settings: 30 s keep-alive, 10 s to connect, packets of 256 KiB, 256 KiB of outgoing bytes.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            credentials: None,
            will: None,
            keep_alive: Millis(30_000),
            connect_timeout: Millis(10_000),
            packet_bytes_max: 256 * 1024,
            outgoing_bytes_max: 256 * 1024,
        }
    }
}

/// Names a message or a subscription until the broker has acknowledged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PacketId(pub u16);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The broker accepted the session; subscribe now.
    Connected {
        /// Whether the broker claims to have kept a session; always ignored, since subscriptions are made anew.
        session_present: bool,
    },
    /// A message arrived.
    Message {
        /// On this topic.
        topic: String,
        /// With this payload.
        payload: Bytes,
    },
    /// The broker has taken a message of [`Quality::AtLeastOnce`].
    Acknowledged(PacketId),
    /// The broker made the subscription.
    Subscribed(PacketId),
    /// The broker refused the subscription.
    SubscriptionRefused(PacketId),
    /// A packet over the limit is being thrown away; the session goes on.
    Oversized {
        /// Its length in bytes.
        bytes: usize,
    },
}

/// Why the session is over, or why a call was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The broker did not accept the session; the number is that of the MQTT 3.1.1 return code (5: not authorised).
    #[error("the broker refused the session with return code {0}")]
    Denied(u8),
    /// The other end closed the connection.
    #[error("the broker closed the connection")]
    Closed,
    /// The stream failed.
    #[error("the stream failed")]
    Stream(#[source] std::io::Error),
    /// The broker broke the protocol.
    #[error("the broker broke the protocol")]
    Protocol,
    /// The broker did not answer in time.
    #[error("the broker did not answer in time")]
    Timeout,
    /// Too much waits to be written; poll, then offer the message again.
    #[error("too many bytes wait to be sent")]
    Full,
    /// Not connected yet; wait for [`Event::Connected`].
    #[error("the session is not connected yet")]
    NotConnected,
    /// A topic, filter, client id or credential is empty, too long, or holds what it must not.
    #[error("a topic, filter or name is not valid")]
    InvalidArgument,
}

impl SessionError {
    /// Whether the session goes on: the call was refused, nothing else happened.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Full | Self::NotConnected | Self::InvalidArgument)
    }
}

/// One MQTT session over one connection. See the [module](self) for the loop that drives it.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Bytes of an oversized packet that are still to be thrown away.
    discarding: usize,
    connected: bool,
    next_id: u16,
    last_sent: Instant,
    last_received: Instant,
    ping_sent: Option<Instant>,
    /// The stream may have taken bytes that it has not passed on, as TLS does.
    unflushed: bool,
    /// The last poll ended with an event or at its limit: more may be there, and the stream need not say so again.
    may_have_more: bool,
}

impl Session {
    /// Begins a session: the request to connect leaves with the first poll.
    ///
    /// # Errors
    /// [`SessionError::InvalidArgument`] if a name in the configuration cannot be sent.
    pub fn new(config: SessionConfig, now: Instant) -> Result<Self, SessionError> {
        let keep_alive_seconds = u16::try_from(config.keep_alive.0.div_ceil(1000)).unwrap_or(u16::MAX);
        let outgoing = codec::connect(
            &config.client_id,
            config.credentials.as_ref(),
            config.will.as_ref(),
            keep_alive_seconds,
        )?;
        Ok(Self {
            config,
            incoming: BytesMut::new(),
            outgoing,
            discarding: 0,
            connected: false,
            next_id: 1,
            last_sent: now,
            last_received: now,
            ping_sent: None,
            unflushed: false,
            may_have_more: false,
        })
    }

    /// Moves bytes without waiting and returns at most one event; `None` when there is nothing to do right now.
    ///
    /// Poll until it returns `None` before waiting for the socket: a stream in between, such as TLS, may hold bytes that the
    /// socket has already given away. While that can be so, [`wake_at`](Self::wake_at) says that no time is to be lost.
    ///
    /// # Errors
    /// [`SessionError`]: the session is over, whatever it is.
    pub fn poll(
        &mut self,
        stream: &mut (impl Read + Write),
        now: Instant,
    ) -> Result<Option<Event>, SessionError> {
        self.keep_alive(now)?;
        self.flush(stream, now)?;
        self.may_have_more = true;
        if let Some(event) = self.next_event()? {
            return Ok(Some(event));
        }
        for _ in 0..READS_MAX {
            if !self.fill(stream, now)? {
                self.may_have_more = false;
                return Ok(None);
            }
            if let Some(event) = self.next_event()? {
                // An acknowledgement that the event asks for leaves at once instead of with the next poll.
                self.flush(stream, now)?;
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// When the session wants to be polled at the latest, even if the stream stays silent; a time that has passed if
    /// there may be something to read already.
    #[must_use]
    pub fn wake_at(&self) -> Instant {
        if self.may_have_more { self.last_received } else { self.deadline() }
    }

    /// When the next ping is due, or the answer to one.
    fn deadline(&self) -> Instant {
        match self.ping_sent {
            _ if !self.connected => self.last_sent.plus(self.config.connect_timeout),
            Some(sent) => sent.plus(Millis(self.config.keep_alive.0 / 2)),
            None => self.last_sent.min(self.last_received).plus(self.config.keep_alive),
        }
    }

    /// Whether bytes wait to be written: poll again as soon as the stream can take them.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.outgoing.is_empty() || self.unflushed
    }

    /// Queues a message.
    ///
    /// # Errors
    /// A refusal ([`SessionError::is_refusal`]); the session goes on.
    pub fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        quality: Quality,
    ) -> Result<PacketId, SessionError> {
        let id = self.next_id;
        let packet = codec::publish(topic, payload, quality, id)?;
        self.queue(packet, id)
    }

    /// Queues a subscription.
    ///
    /// # Errors
    /// A refusal ([`SessionError::is_refusal`]); the session goes on.
    pub fn subscribe(&mut self, filter: &str, quality: Quality) -> Result<PacketId, SessionError> {
        let id = self.next_id;
        let packet = codec::subscribe(filter, quality, id)?;
        self.queue(packet, id)
    }

    /// Queues a goodbye, so that the broker does not publish the last will.
    ///
    /// # Errors
    /// A refusal ([`SessionError::is_refusal`]).
    pub fn disconnect(&mut self) -> Result<(), SessionError> {
        let packet = codec::disconnect()?;
        self.outgoing.extend_from_slice(&packet);
        Ok(())
    }

    fn queue(&mut self, packet: BytesMut, id: u16) -> Result<PacketId, SessionError> {
        if !self.connected {
            return Err(SessionError::NotConnected);
        }
        if self.outgoing.len().saturating_add(packet.len()) > self.config.outgoing_bytes_max {
            return Err(SessionError::Full);
        }
        self.outgoing.extend_from_slice(&packet);
        // 0 is not a packet id.
        self.next_id = id.checked_add(1).unwrap_or(1);
        Ok(PacketId(id))
    }

    fn keep_alive(&mut self, now: Instant) -> Result<(), SessionError> {
        if now < self.deadline() {
            return Ok(());
        }
        if !self.connected || self.ping_sent.is_some() {
            return Err(SessionError::Timeout);
        }
        let ping = codec::ping()?;
        self.outgoing.extend_from_slice(&ping);
        self.ping_sent = Some(now);
        Ok(())
    }

    fn flush(&mut self, stream: &mut impl Write, now: Instant) -> Result<(), SessionError> {
        while !self.outgoing.is_empty() {
            match stream.write(&self.outgoing) {
                Ok(0) => return Err(SessionError::Closed),
                Ok(written) => {
                    self.outgoing.advance(written);
                    self.unflushed = true;
                    if self.connected {
                        self.last_sent = now;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(SessionError::Stream(error)),
            }
        }
        while self.unflushed {
            match stream.flush() {
                Ok(()) => self.unflushed = false,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(SessionError::Stream(error)),
            }
        }
        Ok(())
    }

    /// Reads once; says whether anything came. If not, the stream has nothing more to give now.
    fn fill(&mut self, stream: &mut impl Read, now: Instant) -> Result<bool, SessionError> {
        let filled = self.incoming.len();
        self.incoming.resize(filled + READ_BYTES, 0);
        let result = loop {
            match stream.read(&mut self.incoming[filled..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.incoming.truncate(filled + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => Err(SessionError::Closed),
            Ok(_) => {
                self.last_received = now;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(SessionError::Stream(error)),
        }
    }

    fn next_event(&mut self) -> Result<Option<Event>, SessionError> {
        loop {
            self.discarding = codec::discard(&mut self.incoming, self.discarding);
            if self.discarding > 0 {
                return Ok(None);
            }
            let event = match codec::next_packet(&mut self.incoming, self.config.packet_bytes_max)? {
                Framing::Incomplete => return Ok(None),
                Framing::Oversized(bytes) => {
                    self.discarding = bytes;
                    Some(Event::Oversized { bytes })
                }
                Framing::Packet(packet) => self.understand(packet)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn understand(&mut self, packet: Incoming) -> Result<Option<Event>, SessionError> {
        Ok(match (packet, self.connected) {
            (Incoming::Denied(code), false) => return Err(SessionError::Denied(code)),
            (Incoming::Accepted { session_present }, false) => {
                self.connected = true;
                Some(Event::Connected { session_present })
            }
            // Nothing else may come before the session is accepted, and nothing may accept it twice.
            (_, false) | (Incoming::Accepted { .. } | Incoming::Denied(_), true) => {
                return Err(SessionError::Protocol);
            }
            (Incoming::Message { topic, payload, acknowledge }, true) => {
                if let Some(id) = acknowledge {
                    let packet = codec::acknowledge(id)?;
                    self.outgoing.extend_from_slice(&packet);
                }
                Some(Event::Message { topic, payload })
            }
            (Incoming::PublishAcknowledged(id), true) => Some(Event::Acknowledged(PacketId(id))),
            (Incoming::Subscribed { id, granted: true }, true) => Some(Event::Subscribed(PacketId(id))),
            (Incoming::Subscribed { id, granted: false }, true) => {
                Some(Event::SubscriptionRefused(PacketId(id)))
            }
            (Incoming::Pong, true) => {
                self.ping_sent = None;
                None
            }
            (Incoming::Other, true) => None,
        })
    }
}
