//! What the server says to a device.

use crate::number::{ByteOffset, OfferId, ReportSequence, RootVersion};
use crate::text::Detail;
use crate::time::{Millis, Timestamp};
use crate::wire::{Part, RefuseCode};

/// A message to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down<'a> {
    /// An unsigned hint to check in soon.
    Notify(Notify),
    /// There is a release for this device.
    Offer(Offer<'a>),
    /// There is nothing to do.
    UpToDate(UpToDate<'a>),
    /// Bytes that were asked for.
    Block(Block<'a>),
    /// A report was heard and is kept.
    ReportAck(ReportAck),
    /// Ask again later.
    Busy(Busy),
    /// A message was refused.
    Refuse(Refuse),
    /// The offer is taken back.
    Cancel(Cancel<'a>),
}

/// An unsigned hint to check in soon; the device may ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify;

/// There is a release for this device. Only ever an answer to a check-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer<'a> {
    /// The signed assignment, which names the release.
    pub assignment: &'a [u8],
    /// How long the release's body and envelope are.
    pub release: ReleaseSizes,
    /// The newest root, and how long the next one is.
    pub roots: RootHint,
    /// The permission to fetch, to be repeated with each request.
    pub grant: &'a [u8],
    /// Do not begin before this much time has passed; a hint, capped at 7 days.
    pub earliest: Millis,
    /// Be done before this much time has passed; a hint, 0 for none.
    pub deadline: Millis,
    /// Why, for people.
    pub reason: Detail<'a>,
}

/// Lengths of the two parts of a signed release, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseSizes {
    /// Of the body.
    pub body: u32,
    /// Of the envelope.
    pub envelope: u32,
}

/// Which roots there are beyond the device's own. Unsigned: a root proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootHint {
    /// The newest version.
    pub newest: RootVersion,
    /// Length of the body of the root that follows the device's own, in bytes; 0 if there is none.
    pub next_body: u32,
    /// Length of its envelope, in bytes; 0 if there is none.
    pub next_envelope: u32,
}

/// There is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpToDate<'a> {
    /// The signed assignment with the action `None`.
    pub assignment: &'a [u8],
    /// The newest root, and how long the next one is.
    pub roots: RootHint,
    /// The permission to fetch that root.
    pub grant: &'a [u8],
    /// When to check in again; a hint, 0 for none, capped at 7 days.
    pub next_check_in: Millis,
    /// When this device's turn is expected, if a campaign is waiting for it.
    pub turn: Option<Timestamp>,
}

/// Bytes that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// The first 4 bytes of the offer's id: enough to tell offers apart, and short because every block carries it.
    pub offer: [u8; 4],
    /// What it is a part of.
    pub part: Part,
    /// Where its first byte belongs.
    pub offset: ByteOffset,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// A report was heard and is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportAck {
    /// The offer it was about.
    pub offer: OfferId,
    /// Its number.
    pub sequence: ReportSequence,
}

/// Ask again later: a limit on bandwidth or on downloads at once has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// How long to wait.
    pub retry_after: Millis,
}

/// A message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refuse {
    /// Why.
    pub code: RefuseCode,
    /// The offer that the refused message named, if it named one.
    pub offer: Option<OfferId>,
}

/// The offer is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancel<'a> {
    /// The signed assignment with the action `Cancel`.
    pub assignment: &'a [u8],
}
