//! Messages of the native protocol.

use std::collections::BTreeMap;

use super::metadata::whole_item;
use super::{Choices, Generate, Owned, View};
use crate::cbor::to_vec;
use crate::limits::{
    ASSIGNMENT_BYTES_MAX, BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, ENVELOPE_BYTES_MAX, GRANT_BYTES_MAX,
    RELEASE_BODY_BYTES_MAX, REQUEST_BYTES_MAX, ROOT_BODY_BYTES_MAX,
};
use crate::list::{Item, List};
use crate::number::{
    BootCounter, ByteLength, ByteOffset, FileIndex, Nonce, OfferId, ReportSequence, RootVersion,
    SecurityEpoch, Sha256Digest,
};
use crate::text::{DetailBuf, FileNameBuf, HardwareRevisionBuf, ProductIdBuf, RevisionBuf};
use crate::time::{Millis, Timestamp};
use crate::trust::Generations;
use crate::wire::{
    AlgorithmSet, Block, Busy, Cancel, Capabilities, CheckIn, Down, Evidence, InventoryItem, Notify, Offer,
    Outcome, Part, Phase, Refuse, RefuseCode, ReleaseSizes, Report, ReportAck, ReportCode, RootHint,
    TrustedSummary, Up, UpToDate, Want, WantBlocks,
};

/// A message of a device that owns its bytes.
pub type OwnedUp = Owned<Up<'static>>;
/// A message of the server that owns its bytes.
pub type OwnedDown = Owned<Down<'static>>;
/// An item of an inventory that owns its bytes.
pub type OwnedInventoryItem = Owned<InventoryItem<'static>>;

/// Most items of a generated inventory: as many of the longest still fit a message.
const INVENTORY_DRAWN_MAX: usize = 150;
/// Longest generated block. The full 64 KiB are reached by tests of their own and would only slow these down.
const BLOCK_DRAWN_BYTES_MAX: usize = 4096;

impl View for InventoryItem<'static> {
    type Of<'a> = InventoryItem<'a>;

    fn decode(bytes: &[u8]) -> Option<InventoryItem<'_>> {
        whole_item(bytes)
    }

    fn encode(view: &InventoryItem<'_>) -> Option<Vec<u8>> {
        to_vec(|w| view.encode(w)).ok()
    }

    fn generate(choices: &mut Choices<'_>) -> Owned<Self> {
        let (file, revision) = (FileNameBuf::generate(choices), RevisionBuf::generate(choices));
        Owned::of(&InventoryItem {
            file: file.borrow(),
            revision: revision.borrow(),
            digest: choices.maybe(Sha256Digest::generate),
        })
    }
}

impl View for Up<'static> {
    type Of<'a> = Up<'a>;

    fn decode(bytes: &[u8]) -> Option<Up<'_>> {
        Up::decode(bytes).ok()
    }

    fn encode(view: &Up<'_>) -> Option<Vec<u8>> {
        view.to_vec().ok()
    }

    fn generate(choices: &mut Choices<'_>) -> Owned<Self> {
        match choices.index(3) {
            0 => want_blocks(choices),
            1 => report(choices),
            _ => check_in(choices),
        }
    }
}

fn check_in(choices: &mut Choices<'_>) -> OwnedUp {
    let (product, hardware) = (ProductIdBuf::generate(choices), HardwareRevisionBuf::generate(choices));
    let installed = choices.list(0, INVENTORY_DRAWN_MAX, |choices| {
        let digest = choices.maybe(Sha256Digest::generate);
        (FileNameBuf::generate(choices), (RevisionBuf::generate(choices), digest))
    });
    let installed: BTreeMap<_, _> = installed.into_iter().collect();
    let inventory: Vec<_> = installed
        .iter()
        .map(|(file, (revision, digest))| InventoryItem {
            file: file.borrow(),
            revision: revision.borrow(),
            digest: *digest,
        })
        .collect();
    let detail = DetailBuf::generate(choices);
    Owned::of(&Up::CheckIn(CheckIn {
        product: product.borrow(),
        hardware: hardware.borrow(),
        inventory: List::from_slice(&inventory),
        trusted: TrustedSummary::generate(choices),
        capabilities: Capabilities::generate(choices),
        nonce: Nonce::generate(choices),
        outcome: choices.maybe(|choices| Outcome {
            offer: OfferId::generate(choices),
            phase: Phase::generate(choices),
            code: ReportCode::generate(choices),
            detail: detail.borrow(),
        }),
        evidence: choices.maybe(Evidence::generate),
    }))
}

fn want_blocks(choices: &mut Choices<'_>) -> OwnedUp {
    let grant = choices.filler(0, GRANT_BYTES_MAX);
    let block_bytes = block_bytes(choices);
    let blocks_max = REQUEST_BYTES_MAX / block_bytes;
    let mut bitmap = Vec::new();
    let want = if choices.flip() {
        // Bits are set one by one, so that no more are set than may be asked for.
        let span_max = u64::from(blocks_max.min(64) * 8).min(512) - 1;
        for _ in 0..choices.between(1, blocks_max.min(64).into()) {
            let position = choices.up_to(span_max) as usize;
            bitmap.resize(bitmap.len().max(position / 8 + 1), 0);
            bitmap[position / 8] |= 1 << (position % 8);
        }
        Want::Bitmap(&bitmap)
    } else {
        Want::Count(choices.between(1, blocks_max.into()) as u16)
    };
    let span = u64::from(want.span() - 1) * u64::from(block_bytes);
    let part = part_of_at_least(choices, span + 1);
    Owned::of(&Up::WantBlocks(WantBlocks {
        offer: OfferId::generate(choices),
        grant: &grant,
        part,
        offset: ByteOffset(choices.up_to(part.size_max().0 - 1 - span)),
        block_bytes,
        want,
    }))
}

fn report(choices: &mut Choices<'_>) -> OwnedUp {
    let detail = DetailBuf::generate(choices);
    Owned::of(&Up::Report(Report {
        offer: OfferId::generate(choices),
        sequence: ReportSequence::generate(choices),
        file: choices.maybe(FileIndex::generate),
        phase: Phase::generate(choices),
        code: ReportCode::generate(choices),
        done: ByteLength::generate(choices),
        detail: detail.borrow(),
        evidence: choices.maybe(Evidence::generate),
    }))
}

impl View for Down<'static> {
    type Of<'a> = Down<'a>;

    fn decode(bytes: &[u8]) -> Option<Down<'_>> {
        Down::decode(bytes).ok()
    }

    fn encode(view: &Down<'_>) -> Option<Vec<u8>> {
        view.to_vec().ok()
    }

    fn generate(choices: &mut Choices<'_>) -> Owned<Self> {
        let message = choices.index(8);
        let assignment = choices.filler(0, ASSIGNMENT_BYTES_MAX);
        let grant = choices.filler(0, GRANT_BYTES_MAX);
        let reason = DetailBuf::generate(choices);
        let bytes = choices.filler(1, BLOCK_DRAWN_BYTES_MAX);
        Owned::of(&match message {
            0 => Down::Notify(Notify),
            1 => Down::Offer(Offer {
                assignment: &assignment,
                release: ReleaseSizes::generate(choices),
                roots: RootHint::generate(choices),
                grant: &grant,
                earliest: Millis::generate(choices),
                deadline: Millis::generate(choices),
                reason: reason.borrow(),
            }),
            2 => Down::UpToDate(UpToDate {
                assignment: &assignment,
                roots: RootHint::generate(choices),
                grant: &grant,
                next_check_in: Millis::generate(choices),
                turn: choices.maybe(Timestamp::generate),
            }),
            3 => {
                let part = part_of_at_least(choices, bytes.len() as u64);
                let room = part.size_max().0 - bytes.len() as u64;
                Down::Block(Block {
                    offer: choices.array(),
                    part,
                    offset: ByteOffset(choices.up_to(room)),
                    bytes: &bytes,
                })
            }
            4 => Down::ReportAck(ReportAck::generate(choices)),
            5 => Down::Busy(Busy::generate(choices)),
            6 => Down::Refuse(Refuse::generate(choices)),
            _ => Down::Cancel(Cancel { assignment: &assignment }),
        })
    }
}

/// A part in which this many bytes have room.
fn part_of_at_least(choices: &mut Choices<'_>, bytes: u64) -> Part {
    let part = Part::generate(choices);
    if part.size_max().0 >= bytes { part } else { Part::File(FileIndex::generate(choices)) }
}

fn block_bytes(choices: &mut Choices<'_>) -> u32 {
    choices.between(BLOCK_BYTES_MIN.into(), BLOCK_BYTES_MAX.into()) as u32
}

impl Generate for Part {
    fn generate(choices: &mut Choices<'_>) -> Self {
        match choices.index(6) {
            0 => Self::File(FileIndex::generate(choices)),
            1 => Self::BlockMap(FileIndex::generate(choices)),
            2 => Self::ReleaseBody,
            3 => Self::ReleaseEnvelope,
            4 => Self::RootBody(RootVersion::generate(choices)),
            _ => Self::RootEnvelope(RootVersion::generate(choices)),
        }
    }
}

impl Generate for Phase {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.one_of(&Self::ALL)
    }
}

impl Generate for ReportCode {
    fn generate(choices: &mut Choices<'_>) -> Self {
        if choices.flip() { Self::from_number(choices.u16()) } else { choices.one_of(Self::ALL) }
    }
}

impl Generate for RefuseCode {
    fn generate(choices: &mut Choices<'_>) -> Self {
        if choices.flip() { Self::from_number(choices.u16()) } else { choices.one_of(Self::ALL) }
    }
}

impl Generate for AlgorithmSet {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self(choices.u32())
    }
}

impl Generate for Capabilities {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self {
            block_bytes_max: block_bytes(choices),
            window_max: choices.between(1, u16::MAX.into()) as u16,
            metadata_bytes_max: choices.u32(),
            algorithms: AlgorithmSet::generate(choices),
            encodings: choices.u32(),
            downloads_urls: choices.flip(),
        }
    }
}

impl Generate for TrustedSummary {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self {
            root: RootVersion::generate(choices),
            epoch: SecurityEpoch::generate(choices),
            generations: Generations::generate(choices),
        }
    }
}

impl Generate for Evidence {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self { boot: BootCounter::generate(choices), sequence: choices.u32(), mac: choices.array() }
    }
}

impl Generate for Notify {
    fn generate(_choices: &mut Choices<'_>) -> Self {
        Self
    }
}

impl Generate for ReleaseSizes {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self {
            body: choices.between(1, RELEASE_BODY_BYTES_MAX as u64) as u32,
            envelope: choices.between(1, ENVELOPE_BYTES_MAX as u64) as u32,
        }
    }
}

impl Generate for RootHint {
    fn generate(choices: &mut Choices<'_>) -> Self {
        let newest = RootVersion::generate(choices);
        if choices.flip() {
            let next_body = choices.between(1, ROOT_BODY_BYTES_MAX as u64) as u32;
            Self { newest, next_body, next_envelope: choices.between(1, ENVELOPE_BYTES_MAX as u64) as u32 }
        } else {
            Self { newest, next_body: 0, next_envelope: 0 }
        }
    }
}

impl Generate for ReportAck {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self { offer: OfferId::generate(choices), sequence: ReportSequence::generate(choices) }
    }
}

impl Generate for Busy {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self { retry_after: Millis::generate(choices) }
    }
}

impl Generate for Refuse {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self { code: RefuseCode::generate(choices), offer: choices.maybe(OfferId::generate) }
    }
}
