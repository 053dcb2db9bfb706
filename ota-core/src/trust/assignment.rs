//! The body of an assignment: the server's signed word to one device, good for one check-in.

use crate::number::{Nonce, ReleaseId};
use crate::text::DeviceId;
use crate::time::Timestamp;

/// What an assignment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The device it is for.
    pub device: DeviceId<'a>,
    /// The nonce of the check-in it answers. A cancellation repeats the nonce of the offer that it takes back.
    pub nonce: Nonce,
    /// The server's time: the only clock that many devices have.
    pub issued: Timestamp,
    /// When it stops being good.
    pub expires: Timestamp,
    /// What the device is to do.
    pub action: Action,
}

/// What an assignment asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// There is nothing to do.
    None,
    /// Install this release.
    Install(ReleaseId),
    /// Give up this release: it was withdrawn, or the campaign was stopped.
    Cancel(ReleaseId),
}
