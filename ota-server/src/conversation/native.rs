//! The native dialect: our own protocol, one to one.

use bytes::Bytes;
use ota_core::cbor::EncodeError;
use ota_core::number::ReportSequence;
use ota_core::text::{Detail, DeviceIdBuf};
use ota_core::wire::{self, Busy, Cancel, Covered, Down, Notify, Refuse, RefuseCode, ReportAck, Up};

use super::{CheckIn, Evidence, Heard, Outcome, Report, Said, Want, WantBlocks};

/// What a message says.
///
/// # Errors
/// The code with which it is refused.
pub fn hear(device: &DeviceIdBuf, payload: &Bytes) -> Result<Heard, RefuseCode> {
    let message = Up::decode(payload).map_err(RefuseCode::from)?;
    Ok(match message {
        Up::CheckIn(check_in) => Heard::CheckIn(Box::new(CheckIn {
            product: Some(check_in.product.into()),
            hardware: Some(check_in.hardware.into()),
            inventory: check_in
                .inventory
                .into_iter()
                .map(|item| (item.file.into(), item.revision.into()))
                .collect(),
            root: Some(check_in.trusted.root),
            epoch: Some(check_in.trusted.epoch),
            metadata_bytes_max: Some(check_in.capabilities.metadata_bytes_max),
            nonce: check_in.nonce,
            outcome: check_in.outcome.map(|outcome| Outcome {
                offer: outcome.offer,
                phase: outcome.phase,
                code: outcome.code,
                detail: outcome.detail.as_str().into(),
            }),
            evidence: check_in.evidence.and_then(|found| evidence(device, payload, &found)),
        })),
        Up::WantBlocks(wanted) => Heard::WantBlocks(WantBlocks {
            offer: wanted.offer,
            grant: payload.slice_ref(wanted.grant),
            part: wanted.part,
            offset: wanted.offset.0,
            block_bytes: wanted.block_bytes,
            want: match wanted.want {
                wire::Want::Count(count) => Want::Count(count),
                wire::Want::Bitmap(bitmap) => Want::Bitmap(bitmap.into()),
            },
        }),
        Up::Report(report) => Heard::Report(Report {
            offer: Some(report.offer),
            sequence: Some(report.sequence.0),
            phase: report.phase,
            code: report.code,
            done: report.done.0,
            detail: report.detail.as_str().into(),
            file: report.file.map(|file| file.0),
            evidence: report.evidence.and_then(|found| evidence(device, payload, &found)),
        }),
    })
}

/// The evidence of a message, with the pieces of the message that it covers.
fn evidence(device: &DeviceIdBuf, payload: &Bytes, found: &wire::Evidence) -> Option<Evidence> {
    let covered = Covered::of(device.borrow(), payload).ok().flatten()?;
    Some(Evidence {
        boot: found.boot.0,
        sequence: found.sequence,
        mac: found.mac,
        covered: covered.pieces().iter().map(|piece| Bytes::copy_from_slice(piece)).collect(),
    })
}

/// The message that says it.
///
/// # Errors
/// [`EncodeError`] if something is over a limit of the protocol: a mistake of ours.
pub fn say(said: &Said) -> Result<Bytes, EncodeError> {
    let down = match said {
        Said::Offer(offer) => Down::Offer(wire::Offer {
            assignment: &offer.assignment,
            release: offer.sizes,
            roots: offer.roots,
            grant: &offer.grant,
            earliest: ota_core::time::Millis(0),
            deadline: offer.deadline,
            reason: Detail::new(&offer.reason).unwrap_or(Detail::new("").map_err(|_| EncodeError::TooLarge)?),
        }),
        Said::UpToDate(answer) => Down::UpToDate(wire::UpToDate {
            assignment: &answer.assignment,
            roots: answer.roots,
            grant: &answer.grant,
            next_check_in: answer.next_check_in,
            turn: answer.turn,
        }),
        Said::Block(block) => {
            let [a, b, c, d, ..] = block.offer.0;
            Down::Block(wire::Block {
                offer: [a, b, c, d],
                part: block.part,
                offset: ota_core::number::ByteOffset(block.offset),
                bytes: &block.bytes,
            })
        }
        Said::ReportAck { offer, sequence } => {
            Down::ReportAck(ReportAck { offer: *offer, sequence: ReportSequence(*sequence) })
        }
        Said::Busy { retry_after } => Down::Busy(Busy { retry_after: *retry_after }),
        Said::Refuse { code, offer } => Down::Refuse(Refuse { code: *code, offer: *offer }),
        Said::Cancel { assignment } => Down::Cancel(Cancel { assignment }),
        Said::Notify => Down::Notify(Notify),
    };
    down.to_vec().map(Bytes::from)
}
