//! The fields of messages as the vectors write them, and the messages that they stand for.

use ota_core::list::List;
use ota_core::number::{
    BootCounter, ByteLength, ByteOffset, FileIndex, Generation, Nonce, OfferId, ReportSequence, RootVersion,
    SecurityEpoch, Sha256Digest,
};
use ota_core::text::{Detail, FileName, HardwareRevision, ProductId, Revision};
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::Generations;
use ota_core::wire::{
    self, AlgorithmSet, Block, Busy, Cancel, CheckIn, Down, InventoryItem, Notify, Part, Phase, Refuse,
    RefuseCode, ReleaseSizes, ReportAck, ReportCode, RootHint, TrustedSummary, Up, UpToDate, Want,
    WantBlocks,
};
use serde::Deserialize;

use crate::Hex;

impl Hex {
    fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(crate) enum UpMessage {
    CheckIn {
        product: String,
        hardware: String,
        inventory: Vec<Installed>,
        trusted: Trusted,
        capabilities: Capabilities,
        nonce: Hex,
        outcome: Option<Outcome>,
        evidence: Option<Evidence>,
    },
    WantBlocks {
        offer: Hex,
        grant: Hex,
        part: u64,
        offset: u64,
        block_bytes: u32,
        count: Option<u16>,
        bitmap: Option<Hex>,
    },
    Report {
        offer: Hex,
        sequence: u32,
        file: Option<u64>,
        phase: u64,
        code: u16,
        done: u64,
        detail: String,
        evidence: Option<Evidence>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Installed {
    file: String,
    revision: String,
    digest: Option<Hex>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trusted {
    root: u32,
    epoch: u32,
    generations: [u32; 4],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capabilities {
    block_bytes_max: u32,
    window_max: u16,
    metadata_bytes_max: u32,
    algorithms: u32,
    encodings: u32,
    downloads_urls: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    offer: Hex,
    phase: u64,
    code: u16,
    detail: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Evidence {
    boot: u32,
    sequence: u32,
    mac: Hex,
}

impl Evidence {
    fn lend(&self) -> wire::Evidence {
        wire::Evidence { boot: BootCounter(self.boot), sequence: self.sequence, mac: self.mac.array() }
    }
}

impl UpMessage {
    pub(crate) fn lend<R>(&self, with: impl FnOnce(Up<'_>) -> R) -> R {
        match self {
            Self::CheckIn {
                product,
                hardware,
                inventory,
                trusted,
                capabilities,
                nonce,
                outcome,
                evidence,
            } => {
                let inventory: Vec<_> = inventory.iter().map(Installed::lend).collect();
                with(Up::CheckIn(CheckIn {
                    product: ProductId::new(product).unwrap(),
                    hardware: HardwareRevision::new(hardware).unwrap(),
                    inventory: List::from_slice(&inventory),
                    trusted: TrustedSummary {
                        root: RootVersion(trusted.root),
                        epoch: SecurityEpoch(trusted.epoch),
                        generations: Generations(trusted.generations.map(Generation)),
                    },
                    capabilities: wire::Capabilities {
                        block_bytes_max: capabilities.block_bytes_max,
                        window_max: capabilities.window_max,
                        metadata_bytes_max: capabilities.metadata_bytes_max,
                        algorithms: AlgorithmSet(capabilities.algorithms),
                        encodings: capabilities.encodings,
                        downloads_urls: capabilities.downloads_urls,
                    },
                    nonce: Nonce(nonce.array()),
                    outcome: outcome.as_ref().map(Outcome::lend),
                    evidence: evidence.as_ref().map(Evidence::lend),
                }))
            }
            Self::WantBlocks { offer, grant, part, offset, block_bytes, count, bitmap } => {
                with(Up::WantBlocks(WantBlocks {
                    offer: OfferId(offer.array()),
                    grant: &grant.0,
                    part: Part::from_number(*part).unwrap(),
                    offset: ByteOffset(*offset),
                    block_bytes: *block_bytes,
                    want: match (count, bitmap) {
                        (Some(count), None) => Want::Count(*count),
                        (None, Some(bitmap)) => Want::Bitmap(&bitmap.0),
                        _ => panic!("either a count or a bitmap"),
                    },
                }))
            }
            Self::Report { offer, sequence, file, phase, code, done, detail, evidence } => {
                with(Up::Report(wire::Report {
                    offer: OfferId(offer.array()),
                    sequence: ReportSequence(*sequence),
                    file: file.map(|file| FileIndex::new(file).unwrap()),
                    phase: Phase::from_number(*phase).unwrap(),
                    code: ReportCode::from_number(*code),
                    done: ByteLength(*done),
                    detail: Detail::new(detail).unwrap(),
                    evidence: evidence.as_ref().map(Evidence::lend),
                }))
            }
        }
    }
}

impl Installed {
    fn lend(&self) -> InventoryItem<'_> {
        InventoryItem {
            file: FileName::new(&self.file).unwrap(),
            revision: Revision::new(&self.revision).unwrap(),
            digest: self.digest.as_ref().map(|digest| Sha256Digest(digest.array())),
        }
    }
}

impl Outcome {
    fn lend(&self) -> wire::Outcome<'_> {
        wire::Outcome {
            offer: OfferId(self.offer.array()),
            phase: Phase::from_number(self.phase).unwrap(),
            code: ReportCode::from_number(self.code),
            detail: Detail::new(&self.detail).unwrap(),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(crate) enum DownMessage {
    Notify {},
    Offer {
        assignment: Hex,
        release: Sizes,
        roots: Roots,
        grant: Hex,
        earliest: u64,
        deadline: u64,
        reason: String,
    },
    UpToDate {
        assignment: Hex,
        roots: Roots,
        grant: Hex,
        next_check_in: u64,
        turn: Option<u64>,
    },
    Block {
        offer: Hex,
        part: u64,
        offset: u64,
        bytes: Hex,
    },
    ReportAck {
        offer: Hex,
        sequence: u32,
    },
    Busy {
        retry_after: u64,
    },
    Refuse {
        code: u16,
        offer: Option<Hex>,
    },
    Cancel {
        assignment: Hex,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sizes {
    body: u32,
    envelope: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roots {
    newest: u32,
    next_body: u32,
    next_envelope: u32,
}

impl Roots {
    fn lend(&self) -> RootHint {
        RootHint {
            newest: RootVersion(self.newest),
            next_body: self.next_body,
            next_envelope: self.next_envelope,
        }
    }
}

impl DownMessage {
    pub(crate) fn lend(&self) -> Down<'_> {
        match self {
            Self::Notify {} => Down::Notify(Notify),
            Self::Offer { assignment, release, roots, grant, earliest, deadline, reason } => {
                Down::Offer(wire::Offer {
                    assignment: &assignment.0,
                    release: ReleaseSizes { body: release.body, envelope: release.envelope },
                    roots: roots.lend(),
                    grant: &grant.0,
                    earliest: Millis(*earliest),
                    deadline: Millis(*deadline),
                    reason: Detail::new(reason).unwrap(),
                })
            }
            Self::UpToDate { assignment, roots, grant, next_check_in, turn } => Down::UpToDate(UpToDate {
                assignment: &assignment.0,
                roots: roots.lend(),
                grant: &grant.0,
                next_check_in: Millis(*next_check_in),
                turn: turn.map(Timestamp),
            }),
            Self::Block { offer, part, offset, bytes } => Down::Block(Block {
                offer: offer.array(),
                part: Part::from_number(*part).unwrap(),
                offset: ByteOffset(*offset),
                bytes: &bytes.0,
            }),
            Self::ReportAck { offer, sequence } => Down::ReportAck(ReportAck {
                offer: OfferId(offer.array()),
                sequence: ReportSequence(*sequence),
            }),
            Self::Busy { retry_after } => Down::Busy(Busy { retry_after: Millis(*retry_after) }),
            Self::Refuse { code, offer } => Down::Refuse(Refuse {
                code: RefuseCode::from_number(*code),
                offer: offer.as_ref().map(|offer| OfferId(offer.array())),
            }),
            Self::Cancel { assignment } => Down::Cancel(Cancel { assignment: &assignment.0 }),
        }
    }
}
