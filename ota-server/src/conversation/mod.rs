//! The one conversation that the server holds with devices, whatever protocol they speak.
//!
//! A dialect turns messages into [`Heard`] and [`Said`] into messages. The engine knows these types and no protocol:
//! a further dialect is a further file here.

pub mod native;
pub mod sft;

use bytes::Bytes;
use ota_core::number::{Nonce, OfferId, ReleaseId, RootVersion, SecurityEpoch};
use ota_core::text::{FileNameBuf, HardwareRevisionBuf, ProductIdBuf, RevisionBuf};
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::{Part, Phase, RefuseCode, ReleaseSizes, ReportCode, RootHint};

/// What a device said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// What it is and has; asks whether there is something to do.
    CheckIn(Box<CheckIn>),
    /// It wants blocks.
    WantBlocks(WantBlocks),
    /// How an offer fares.
    Report(Report),
}

/// What a device is and has. What its protocol cannot tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckIn {
    /// The product it says it is one of.
    pub product: Option<ProductIdBuf>,
    /// Its hardware revision.
    pub hardware: Option<HardwareRevisionBuf>,
    /// What is installed.
    pub inventory: Vec<(FileNameBuf, RevisionBuf)>,
    /// The root that it trusts.
    pub root: Option<RootVersion>,
    /// Its security epoch.
    pub epoch: Option<SecurityEpoch>,
    /// Largest release body that it can take, in bytes.
    pub metadata_bytes_max: Option<u32>,
    /// What the answer repeats. Dialects without nonces make one that no device ever sent.
    pub nonce: Nonce,
    /// How its last attempt ended.
    pub outcome: Option<Outcome>,
    /// Proof that the device itself said this.
    pub evidence: Option<Evidence>,
}

/// How an attempt ended, as a check-in tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The offer it was made for.
    pub offer: OfferId,
    /// The last phase.
    pub phase: Phase,
    /// Why.
    pub code: ReportCode,
    /// Text for people.
    pub detail: Box<str>,
}

/// A request for blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantBlocks {
    /// The offer it belongs to.
    pub offer: OfferId,
    /// The permission that came with it.
    pub grant: Bytes,
    /// What is asked for.
    pub part: Part,
    /// Where the first block begins.
    pub offset: u64,
    /// Length of a block, in bytes.
    pub block_bytes: u32,
    /// Which blocks from there on.
    pub want: Want,
}

/// Which blocks are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// So many, one behind the other.
    Count(u16),
    /// Those whose bit is set, lowest bit of the first byte first.
    Bitmap(Box<[u8]>),
}

impl Want {
    /// The numbers of the wanted blocks, counted from the first.
    pub fn indexes(&self) -> impl Iterator<Item = u64> + '_ {
        let (count, bitmap): (u64, &[u8]) = match self {
            Self::Count(count) => (u64::from(*count), &[]),
            Self::Bitmap(bitmap) => (0, bitmap),
        };
        let bits = bitmap.iter().zip((0_u64..).step_by(8)).flat_map(|(byte, first)| {
            (0..8_u8).filter(move |bit| byte & 1 << bit != 0).map(move |bit| first + u64::from(bit))
        });
        (0..count).chain(bits)
    }
}

/// How an offer fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The offer; `None` stands for the device's present one, where a protocol has no offers.
    pub offer: Option<OfferId>,
    /// Its number within the offer; `None` where a protocol does not count.
    pub sequence: Option<u32>,
    /// What has been reached.
    pub phase: Phase,
    /// Why.
    pub code: ReportCode,
    /// How many bytes the device has.
    pub done: u64,
    /// Text for people.
    pub detail: Box<str>,
    /// The one file that it is about, by its place in the release: then it says nothing about the whole.
    pub file: Option<u16>,
    /// Proof that the device itself said this.
    pub evidence: Option<Evidence>,
}

/// A MAC under the device's own key, and what it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// How often the device has started.
    pub boot: u32,
    /// Rises with each message of that boot.
    pub sequence: u32,
    /// The code.
    pub mac: [u8; 32],
    /// The covered bytes, in order.
    pub covered: Vec<Bytes>,
}

/// What the server says to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// There is a release for it.
    Offer(Box<Offer>),
    /// There is nothing to do.
    UpToDate(Box<UpToDate>),
    /// Bytes it asked for.
    Block(Block),
    /// A report is kept.
    ReportAck {
        /// The offer.
        offer: OfferId,
        /// The report's number.
        sequence: u32,
    },
    /// Ask again later.
    Busy {
        /// How long to wait.
        retry_after: Millis,
    },
    /// A message was refused.
    Refuse {
        /// Why.
        code: RefuseCode,
        /// The offer that it named.
        offer: Option<OfferId>,
    },
    /// The offer is taken back.
    Cancel {
        /// The signed assignment.
        assignment: Bytes,
    },
    /// Check in soon.
    Notify,
}

/// There is a release for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// The release.
    pub release: ReleaseId,
    /// The signed assignment; empty for protocols without signatures.
    pub assignment: Bytes,
    /// Lengths of the signed release.
    pub sizes: ReleaseSizes,
    /// Which roots there are.
    pub roots: RootHint,
    /// The permission to fetch.
    pub grant: Bytes,
    /// Be done before this much time has passed.
    pub deadline: Millis,
    /// Why, for people.
    pub reason: Box<str>,
    /// The files that differ from what the device has, for protocols that are told file by file.
    pub files: Vec<OfferedFile>,
}

/// A file of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedFile {
    /// Its place in the release.
    pub index: u16,
    /// Its name.
    pub name: FileNameBuf,
    /// Its revision.
    pub revision: RevisionBuf,
    /// Its length.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// Whether it is firmware, which shows itself only after a boot.
    pub is_firmware: bool,
}

/// There is nothing to do for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpToDate {
    /// The signed assignment.
    pub assignment: Bytes,
    /// Which roots there are.
    pub roots: RootHint,
    /// The permission to fetch a root.
    pub grant: Bytes,
    /// When to check in again.
    pub next_check_in: Millis,
    /// When its turn is expected.
    pub turn: Option<Timestamp>,
}

/// Bytes that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The offer.
    pub offer: OfferId,
    /// What it is a part of.
    pub part: Part,
    /// Where it begins.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}
