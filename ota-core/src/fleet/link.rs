//! The message link: batches of messages from and to devices, whoever carries them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use async_trait::async_trait;
use bytes::Bytes;

use super::BoxError;
use crate::text::DeviceIdBuf;

/// Which protocol a message is in. A link tells it from the topic or the address; nothing else depends on those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Dialect {
    /// Our own protocol.
    Native = 1,
    /// The original system's Secure File Transfer.
    Sft = 2,
}

/// What a link has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// A device said something. The device is the identity that TLS or the broker authenticated.
    Message {
        /// In which protocol.
        dialect: Dialect,
        /// Who.
        device: DeviceIdBuf,
        /// What.
        payload: Bytes,
    },
    /// The same, but said so long ago that the device may have connected anew since: it must not be answered. Only links
    /// say it that share their messages with others.
    Late {
        /// In which protocol.
        dialect: Dialect,
        /// Who.
        device: DeviceIdBuf,
        /// What.
        payload: Bytes,
    },
    /// A device connected. Links that cannot know this never say it.
    Connected(DeviceIdBuf),
    /// A device is gone. Links that cannot know this never say it.
    Disconnected(DeviceIdBuf),
}

/// A message to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// In which protocol.
    pub dialect: Dialect,
    /// To whom.
    pub device: DeviceIdBuf,
    /// What.
    pub payload: Bytes,
}

/// The link failed; it goes on by itself if it can, and events may have been lost.
#[derive(Debug, thiserror::Error)]
#[error("the link failed")]
pub struct LinkError {
    /// Why.
    #[source]
    pub source: BoxError,
}

/// Whether a server takes its share of the messages that a broker divides among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// It does.
    Taken,
    /// It leaves them all to others that can do more with them than it can, as long as there are any.
    Left,
}

/// Carries messages in batches. Loss, duplication and reordering are normal; forging is not possible.
#[async_trait]
pub trait MessageLink: Send + Sync + 'static {
    /// Waits for at least one event and returns those that are there, at most `limit`; none when the link is closed.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`LinkError`]; ask again.
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError>;

    /// Sends messages, in order per device, and waits while there is no room for them.
    ///
    /// Returning says nothing about arrival. A message to a device that is not there is dropped.
    ///
    /// # Errors
    /// [`LinkError`]; some of them may have been sent.
    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError>;

    /// The number of the connection that all messages travel by: another one once that was lost.
    ///
    /// What was received before may have been said by devices that have connected anew since. Links that are the
    /// broker have no such connection, and always say the same.
    fn connection(&self) -> u64 {
        0
    }

    /// Whether one of several servers takes messages at a time, because the link of each hears all of them. Such a link begins
    /// without a share.
    fn is_taken_in_turns(&self) -> bool {
        false
    }

    /// Takes the server's share of the messages, as it does from the beginning, or leaves it to servers that take theirs.
    /// Takes effect soon, and again whenever the link connects anew. While no other server is known to take its share, nor
    /// on links whose messages nobody else would get, nothing is left.
    fn share(&self, _share: Share) {}

    /// Closes the connection of a device, if the link can; says whether it could, or will.
    ///
    /// # Errors
    /// [`LinkError`].
    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError>;

    /// Asks this about each message from now on, instead of whom it asked before, where the link can carry answers from
    /// the place at which messages arrive. What is answered there is not received, and overtakes what waits to be.
    ///
    /// Other links ignore it, and so do wrappers: they want to see everything.
    fn answer_at_once(&self, answers: Arc<dyn AnswerAtOnce>) {
        let _ = answers;
    }
}

/// Answers messages where they arrive: no task has to be woken for them.
pub trait AnswerAtOnce: Send + Sync + 'static {
    /// The answers to a message, in their order, or `None` if it is to be received like any other.
    ///
    /// It must not wait for anything: the device's connection stands still meanwhile.
    fn answer(&self, dialect: Dialect, device: &DeviceIdBuf, payload: &Bytes) -> Option<Vec<Bytes>>;
}
