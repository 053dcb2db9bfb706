//! What a device says to the server.

use crate::cbor::{EncodeError, Malformed, Reader, Sink, Writer};
use crate::integrity::Algorithm;
use crate::list::{Item, List};
use crate::number::{
    BootCounter, ByteLength, ByteOffset, FileIndex, Nonce, OfferId, ReportSequence, RootVersion,
    SecurityEpoch, Sha256Digest,
};
use crate::text::{Detail, FileName, HardwareRevision, ProductId, Revision};
use crate::trust::Generations;
use crate::wire::{Part, Phase, ReportCode};

/// A message from a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up<'a> {
    /// What the device is and has; asks whether there is something to do.
    CheckIn(CheckIn<'a>),
    /// Asks for blocks of a part.
    WantBlocks(WantBlocks<'a>),
    /// How an offer fares.
    Report(Report<'a>),
}

/// What the device is and has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckIn<'a> {
    /// The product that the device is one of.
    pub product: ProductId<'a>,
    /// Its hardware revision.
    pub hardware: HardwareRevision<'a>,
    /// What is installed, in rising order of the bytes of the file names, so that none comes twice.
    pub inventory: List<'a, InventoryItem<'a>>,
    /// What it trusts.
    pub trusted: TrustedSummary,
    /// What its buffers and algorithms can take.
    pub capabilities: Capabilities,
    /// 16 unpredictable bytes; the answer repeats them.
    pub nonce: Nonce,
    /// How the last attempt ended, until the server has heard it.
    pub outcome: Option<Outcome<'a>>,
    /// Proof that the device itself said this, if it has a key for that.
    pub evidence: Option<Evidence>,
}

/// One installed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventoryItem<'a> {
    /// Its name.
    pub file: FileName<'a>,
    /// Its revision.
    pub revision: Revision<'a>,
    /// The SHA-256 of its installed bytes, if the device knows it.
    pub digest: Option<Sha256Digest>,
}

impl<'a> Item<'a> for InventoryItem<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.tuple(3)?;
        Ok(Self {
            file: FileName::decode(reader)?,
            revision: Revision::decode(reader)?,
            digest: if reader.null()? { None } else { Some(Sha256Digest(reader.byte_array()?)) },
        })
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.array(3)?;
        self.file.encode(writer)?;
        self.revision.encode(writer)?;
        match &self.digest {
            Some(digest) => writer.bytes(&digest.0),
            None => writer.null(),
        }
    }
}

/// The part of the trusted state that the server needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrustedSummary {
    /// Version of the trusted root.
    pub root: RootVersion,
    /// The effective security epoch.
    pub epoch: SecurityEpoch,
    /// The generations of all roles.
    pub generations: Generations,
}

/// What the device can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// Largest block, in bytes.
    pub block_bytes_max: u32,
    /// Most blocks in flight.
    pub window_max: u16,
    /// Largest metadata body, in bytes.
    pub metadata_bytes_max: u32,
    /// Integrity algorithms that it can compute.
    pub algorithms: AlgorithmSet,
    /// Content encodings beyond plain bytes, one bit each; none is defined yet.
    pub encodings: u32,
    /// Whether it can fetch files from a URL.
    pub downloads_urls: bool,
}

/// A set of integrity algorithms: the bit of each is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AlgorithmSet(pub u32);

impl AlgorithmSet {
    /// The set with one more algorithm.
    #[must_use]
    pub fn with(self, algorithm: Algorithm) -> Self {
        Self(self.0 | 1 << algorithm.number())
    }

    /// Whether the algorithm is in the set.
    #[must_use]
    pub fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & 1 << algorithm.number() != 0
    }
}

/// How the last attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// The offer it was made for.
    pub offer: OfferId,
    /// The last phase it reached.
    pub phase: Phase,
    /// Why it ended there.
    pub code: ReportCode,
    /// Text for people.
    pub detail: Detail<'a>,
}

/// Asks for blocks. At most [`REQUEST_BYTES_MAX`](crate::limits::REQUEST_BYTES_MAX) at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantBlocks<'a> {
    /// The offer it belongs to.
    pub offer: OfferId,
    /// The permission that came with the offer, opaque to the device.
    pub grant: &'a [u8],
    /// What is asked for.
    pub part: Part,
    /// Where the first block begins.
    pub offset: ByteOffset,
    /// Length of a block in bytes; the last one of a part is shorter.
    pub block_bytes: u32,
    /// Which blocks from there on.
    pub want: Want<'a>,
}

/// Which blocks are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want<'a> {
    /// This many, one behind the other; at least 1.
    Count(u16),
    /// The ones whose bit is set: bit j of byte k (lowest first) is block 8k + j. The last byte is not zero.
    Bitmap(&'a [u8]),
}

/// How an offer fares. Repeated until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// The offer it is about.
    pub offer: OfferId,
    /// Its number within the offer.
    pub sequence: ReportSequence,
    /// The file it is about, or `None` for all of them.
    pub file: Option<FileIndex>,
    /// What has been reached.
    pub phase: Phase,
    /// Why, where there is a why.
    pub code: ReportCode,
    /// How many bytes have been fetched and checked.
    pub done: ByteLength,
    /// Text for people.
    pub detail: Detail<'a>,
    /// Proof that the device itself said this, if it has a key for that.
    pub evidence: Option<Evidence>,
}

/// An HMAC-SHA-256 under the device's own key over device id, boot counter, sequence and the message's other fields.
///
/// [`Covered`](crate::wire::Covered) says over which bytes exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// How often the device has started.
    pub boot: BootCounter,
    /// Rises with each message of this boot.
    pub sequence: u32,
    /// The code itself.
    pub mac: [u8; 32],
}
