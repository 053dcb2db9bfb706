//! What [`asynchronous::run`](super::asynchronous::run) needs on tokio: its clock, and a link of two channels that any
//! MQTT client can stand behind.

use core::time::Duration;

use ::tokio::sync::mpsc;
use ::tokio::sync::mpsc::error::TrySendError;
use ::tokio::time::{self, Instant as TokioInstant};
use ota_core::time::Instant;

use super::asynchronous::{Link, Timer};
use super::{Clock, Heard};
use crate::io;

/// Longest single wait: longer ones are waited for in parts, since waking early is harmless.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Tokio's clock, from when it was made.
#[derive(Debug, Clone, Copy)]
pub struct TokioTimer(TokioInstant);

impl TokioTimer {
    /// A timer that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self(TokioInstant::now())
    }
}

impl Default for TokioTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioTimer {
    fn now(&self) -> Instant {
        Instant(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Timer for TokioTimer {
    async fn wait_until(&mut self, until: Instant) {
        let wait = Duration::from_millis(until.since(self.now()).0).min(SLEEP_MAX);
        time::sleep(wait).await;
    }
}

/// The end of the link that the driver holds.
#[derive(Debug)]
pub struct ChannelLink {
    outgoing: mpsc::Sender<Vec<u8>>,
    incoming: mpsc::Receiver<Incoming>,
    /// The message that the engine looks at.
    message: Vec<u8>,
}

/// The end of the link that whoever owns the connection holds.
#[derive(Debug)]
pub struct ChannelEnd {
    /// What the device says: to be published on its `up` topic.
    pub outgoing: mpsc::Receiver<Vec<u8>>,
    /// What the device is to hear.
    pub incoming: mpsc::Sender<Incoming>,
}

/// What the owner of the connection tells the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message that came on the device's `down` topic.
    Message(Vec<u8>),
    /// The connection is up, or down.
    Link(io::Link),
}

/// The owner of the connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody carries messages any more")]
pub struct Closed;

impl ChannelLink {
    /// Both ends of a link, with room for so many messages in each direction; at least one.
    ///
    /// What the device says while there is no room is lost, and said again later: a connection that hangs holds up
    /// neither the engine nor the application.
    #[must_use]
    pub fn new(room: usize) -> (Self, ChannelEnd) {
        let (up, outgoing) = mpsc::channel(room.max(1));
        let (incoming, down) = mpsc::channel(room.max(1));
        (Self { outgoing: up, incoming: down, message: Vec::new() }, ChannelEnd { outgoing, incoming })
    }
}

impl Link for ChannelLink {
    type Error = Closed;

    async fn send(&mut self, message: &[u8]) -> Result<(), Closed> {
        match self.outgoing.try_send(message.to_vec()) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Closed),
        }
    }

    async fn receive(&mut self) -> Result<Heard<'_>, Closed> {
        match self.incoming.recv().await.ok_or(Closed)? {
            Incoming::Message(message) => {
                self.message = message;
                Ok(Heard::Message(&self.message))
            }
            Incoming::Link(link) => Ok(Heard::Link(link)),
        }
    }
}
