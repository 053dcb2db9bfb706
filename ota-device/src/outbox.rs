//! Messages to the server, encoded into the caller's buffer, attested where the device has a key.

use ota_core::crypto::Authenticator;
use ota_core::integrity::Suite;
use ota_core::number::{ByteOffset, Nonce};
use ota_core::text::Detail;
use ota_core::wire::{Capabilities, CheckIn, Outcome, Report, TrustedSummary, Up, Want, WantBlocks};

use crate::arena::Region;
use crate::config::Profile;
use crate::report::Pending;
use crate::set::FileSet;
use crate::shared::{BlockRequest, Shared, credentials};
use crate::statistics::Statistics;

/// Encodes a check-in; `None` if it does not fit the buffer.
#[inline(never)]
pub(crate) fn check_in<P: Profile>(nonce: Nonce, shared: &mut Shared<'_, P>) -> Option<usize> {
    let capabilities = Capabilities {
        block_bytes_max: shared.policy.block_bytes,
        window_max: shared.policy.window_max,
        metadata_bytes_max: shared.metadata_bytes_max(),
        algorithms: P::Suite::algorithms(),
        encodings: 0,
        downloads_urls: shared.fetches_externally(),
    };
    let trusted = TrustedSummary {
        root: shared.trusted.state.root,
        epoch: shared.epoch(),
        generations: shared.trusted.state.generations,
    };
    let outcome = shared.reporter.ending().map(|ending| Outcome {
        offer: ending.offer,
        phase: ending.phase,
        code: ending.code,
        detail: Detail::NONE,
    });
    let set = FileSet::decode(shared.arena.region(Region::Set)).unwrap_or(FileSet::EMPTY);
    let message = Up::CheckIn(CheckIn {
        product: shared.identity.product,
        hardware: shared.identity.hardware,
        inventory: set.inventory,
        trusted,
        capabilities,
        nonce,
        outcome,
        evidence: None,
    });
    let sequence = shared.evidence_sequence;
    let length = encode(
        &message,
        shared.outgoing,
        shared.key.as_ref(),
        (shared.identity.device, shared.trusted.boots, sequence),
    )?;
    shared.evidence_sequence = sequence.saturating_add(1);
    shared.reporter.told_ending();
    Statistics::count(&mut shared.statistics.messages_sent);
    Some(length)
}

/// Encodes a report.
#[inline(never)]
pub(crate) fn report<P: Profile>(pending: &Pending, shared: &mut Shared<'_, P>) -> Option<usize> {
    let message = Up::Report(Report {
        offer: pending.offer,
        sequence: pending.sequence,
        file: pending.file,
        phase: pending.phase,
        code: pending.code,
        done: pending.done,
        detail: shared.reporter.detail(pending),
        evidence: None,
    });
    let sequence = shared.evidence_sequence;
    let length = encode(
        &message,
        shared.outgoing,
        shared.key.as_ref(),
        (shared.identity.device, shared.trusted.boots, sequence),
    )?;
    shared.evidence_sequence = sequence.saturating_add(1);
    Statistics::count(&mut shared.statistics.messages_sent);
    Some(length)
}

/// Encodes a request for blocks.
#[inline(never)]
pub(crate) fn want_blocks<P: Profile>(request: &BlockRequest, shared: &mut Shared<'_, P>) -> Option<usize> {
    let used = request.bitmap.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    let want = match request.count {
        Some(count) => Want::Count(count),
        None => Want::Bitmap(request.bitmap.get(..used).unwrap_or_default()),
    };
    let (offer, grant) = credentials(request.under, &shared.offer, &shared.root_offer)?;
    let message = Up::WantBlocks(WantBlocks {
        offer,
        grant: grant.as_bytes(),
        part: request.part,
        offset: ByteOffset(request.offset),
        block_bytes: request.block_bytes,
        want,
    });
    let length = message.encode_to_slice(shared.outgoing).ok()?.len();
    Statistics::count(&mut shared.statistics.messages_sent);
    Some(length)
}

fn encode<A: Authenticator>(
    message: &Up<'_>,
    outgoing: &mut [u8],
    key: Option<&A>,
    (device, boot, sequence): (ota_core::text::DeviceId<'_>, ota_core::number::BootCounter, u32),
) -> Option<usize> {
    let attested = key.and_then(|key| {
        let attested = message.encode_attested(outgoing, device, boot, sequence, key);
        attested.ok().map(<[u8]>::len)
    });
    // A key that does not answer makes a claim of what would have been evidence.
    attested.or_else(|| message.encode_to_slice(outgoing).ok().map(<[u8]>::len))
}
