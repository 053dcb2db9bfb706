//! Messages from the link. Each is decoded strictly, and whatever does not fit changes a counter and nothing else.

use ota_core::limits::HINT_DELAY_MS_MAX;
use ota_core::time::{Instant, Millis};
use ota_core::trust::{Action, AssignmentCheck, TrustError, VerifiedAssignment, offer_id};
use ota_core::wire::{Busy, Cancel, Down, Offer, Refuse, RefuseCode, ReportCode, RootHint, UpToDate};

use crate::config::Profile;
use crate::phase::Phase;
use crate::shared::{CurrentOffer, Failure, Grant, Happened, News, RootOffer, Sha256Of, Shared};
use crate::statistics::Statistics;

/// How long the device waits before it checks in after a refusal that a check-in may cure.
const AFTER_REFUSAL: Millis = Millis(1_000);

pub(crate) fn receive<P: Profile>(bytes: &[u8], phase: &mut Phase<P>, shared: &mut Shared<'_, P>) {
    let Ok(message) = Down::decode(bytes) else {
        Statistics::count(&mut shared.statistics.messages_malformed);
        return;
    };
    if let Down::Block(block) = message {
        match phase.transfer() {
            Some(transfer) => {
                transfer.on_block(&block, shared);
            }
            None => Statistics::count(&mut shared.statistics.blocks_stray),
        }
        return;
    }
    let is_used = match message {
        Down::Notify(_) => {
            shared.session.notified(&shared.policy, shared.now, &mut shared.jitter);
            true
        }
        Down::Offer(offer) => on_offer(&offer, phase, shared),
        Down::UpToDate(answer) => on_up_to_date(&answer, shared),
        Down::ReportAck(ack) => shared.reporter.acknowledged(&ack),
        Down::Busy(busy) => on_busy(busy, phase, shared),
        Down::Refuse(refuse) => on_refuse(&refuse, phase, shared),
        Down::Cancel(cancel) => on_cancel(&cancel, phase, shared),
        Down::Block(_) => true,
    };
    if !is_used {
        Statistics::count(&mut shared.statistics.messages_stray);
    }
}

/// Checks a signed answer to the latest check-in, and takes over its time.
fn answer<P: Profile>(
    signed: &[u8],
    shared: &mut Shared<'_, P>,
) -> Result<(VerifiedAssignment, Instant), Failure> {
    let device = shared.device();
    let mut nonce = match shared.session.pending() {
        Some((pending, sent)) if pending.is_pending() => (core::mem::replace(pending, used_up()), sent),
        _ => return Err(Failure::Attempt(ReportCode::NotFresh)),
    };
    let checked = check(signed, device, &mut nonce.0, shared);
    // A refused answer leaves the nonce pending, so that a forged one cannot keep the true one out.
    if let Some((pending, _)) = shared.session.pending() {
        *pending = nonce.0;
    }
    let (assignment, state) = checked?;
    shared.trusted.state = state;
    Ok((assignment, nonce.1))
}

/// A nonce that no answer fits, for the moment in which the true one is being looked at.
const fn used_up() -> ota_core::trust::PendingNonce {
    ota_core::trust::PendingNonce::new(ota_core::number::Nonce([0; 16]))
}

#[inline(never)]
fn check<P: Profile>(
    signed: &[u8],
    device: ota_core::trust::DeviceIdentity<'_>,
    nonce: &mut ota_core::trust::PendingNonce,
    shared: &Shared<'_, P>,
) -> Result<(VerifiedAssignment, ota_core::trust::TrustedState), Failure> {
    // Borrowed out of the result, because a move would be a second copy on the stack under a signature's check.
    let root = shared.root();
    let root = root.as_ref().map_err(|failure| *failure)?;
    let check = AssignmentCheck::begin(root, &shared.trusted.state, device, signed)?;
    Ok(check.answer(nonce, &shared.verifier)?)
}

/// Remembers that there is a newer root. Unsigned: it only makes the device fetch it, at a bounded rate.
fn root_hint<P: Profile>(hint: RootHint, signed: &[u8], grant: &[u8], shared: &mut Shared<'_, P>) -> bool {
    let is_newer = hint.newest > shared.trusted.state.root && hint.next_body > 0 && hint.next_envelope > 0;
    if !is_newer || shared.now < shared.root_retry_at {
        return false;
    }
    let Some(grant) = Grant::new(grant) else { return false };
    shared.root_offer = Some(RootOffer { id: offer_id::<Sha256Of<P>>(signed), hint, grant });
    true
}

#[inline(never)]
fn on_offer<P: Profile>(offer: &Offer<'_>, phase: &Phase<P>, shared: &mut Shared<'_, P>) -> bool {
    if shared.session.pending().is_none() {
        return false;
    }
    let answered = answer(offer.assignment, shared);
    let has_newer_root = root_hint(offer.roots, offer.assignment, offer.grant, shared);
    let (assignment, asked_at) = match answered {
        Ok(answered) => answered,
        Err(failure) => return refused(failure, has_newer_root, shared),
    };
    shared.reporter.check_in_heard();
    let policy = shared.policy;
    shared.session.answered(None, &policy, shared.now);
    let (Action::Install(release), Some(grant)) = (assignment.action(), Grant::new(offer.grant)) else {
        shared.news = Some(News::Nothing);
        return true;
    };
    if has_newer_root {
        // The root comes first; then the offer is asked for again.
        return true;
    }
    if !phase.is_replaceable() {
        // During a trial an answer proves that the device can be reached, whatever it offers. What it offers is asked
        // for again soon: it may be the next step of a way that has several.
        shared.news = Some(News::Nothing);
        shared.session.check_in_after(policy.check_in_interval_min, shared.now);
        return true;
    }
    let id = offer_id::<Sha256Of<P>>(offer.assignment);
    let earliest = shared.now.plus(Millis(offer.earliest.0.min(HINT_DELAY_MS_MAX)));
    if shared.offer.as_ref().is_none_or(|current| current.release != release) {
        shared.asked = crate::policy::Asked::No;
    }
    shared.offer =
        Some(CurrentOffer { id, assignment, release, sizes: offer.release, grant, asked_at, earliest });
    shared.news = Some(News::Install);
    true
}

#[inline(never)]
fn on_up_to_date<P: Profile>(up_to_date: &UpToDate<'_>, shared: &mut Shared<'_, P>) -> bool {
    if shared.session.pending().is_none() {
        return false;
    }
    let answered = answer(up_to_date.assignment, shared);
    let has_newer_root = root_hint(up_to_date.roots, up_to_date.assignment, up_to_date.grant, shared);
    if let Err(failure) = answered {
        return refused(failure, has_newer_root, shared);
    }
    shared.reporter.check_in_heard();
    let policy = shared.policy;
    shared.session.answered(Some(up_to_date.next_check_in), &policy, shared.now);
    if let Some(turn) = up_to_date.turn {
        shared.happened(Happened::Turn(turn));
    }
    shared.news = Some(News::Nothing);
    true
}

/// An answer that was not believed: the true one may still come, or a newer root explains it.
fn refused<P: Profile>(failure: Failure, has_newer_root: bool, shared: &mut Shared<'_, P>) -> bool {
    let _: Failure = failure;
    Statistics::count(&mut shared.statistics.metadata_refused);
    has_newer_root
}

fn on_busy<P: Profile>(busy: Busy, phase: &mut Phase<P>, shared: &mut Shared<'_, P>) -> bool {
    Statistics::count(&mut shared.statistics.busy);
    let wait = busy.retry_after.0.min(HINT_DELAY_MS_MAX);
    // A fleet that was put off together must not come back together.
    let wait = wait.saturating_add(shared.jitter.up_to(wait / 4));
    if let Some(transfer) = phase.transfer() {
        shared.hold_until = shared.now.plus(Millis(wait));
        transfer.ask_anew(shared.now);
        return true;
    }
    if shared.session.pending().is_some() {
        let (now, policy) = (shared.now, shared.policy);
        shared.session.told_to_wait(Millis(wait), &policy, now, &mut shared.jitter);
        return true;
    }
    false
}

fn on_refuse<P: Profile>(refuse: &Refuse, phase: &mut Phase<P>, shared: &mut Shared<'_, P>) -> bool {
    let current = shared.offer.as_ref().map(|offer| offer.id);
    let for_root = shared.root_offer.as_ref().map(|offer| offer.id);
    let is_about_us = match refuse.offer {
        None => shared.session.pending().is_some(),
        Some(id) => Some(id) == current || Some(id) == for_root || shared.reporter.is_about(id),
    };
    if !is_about_us {
        return false;
    }
    Statistics::count(&mut shared.statistics.refused);
    if refuse.offer.is_some() && refuse.offer == for_root {
        // Without the permission there is no root to be had; the next check-in brings another one.
        shared.root_offer = None;
        return true;
    }
    match refuse.code {
        RefuseCode::ImpossibleReport | RefuseCode::BadEvidence => {
            if let Some(id) = refuse.offer {
                shared.reporter.refused(id);
            }
        }
        RefuseCode::GrantExpired | RefuseCode::BadGrant | RefuseCode::StaleOffer => {
            // Nothing comes under this grant any more; the journal goes on under the next one.
            if let Some(transfer) = phase.transfer() {
                transfer.ask_anew(shared.now);
                shared.hold_until = shared.now.plus(REFUSED_HOLD);
                shared.session.check_in_after(AFTER_REFUSAL, shared.now);
            }
        }
        _ => {
            if let Some(transfer) = phase.transfer() {
                transfer.ask_anew(shared.now);
                shared.hold_until = shared.now.plus(REFUSED_HOLD);
                shared.session.check_in_after(AFTER_REFUSAL, shared.now);
            } else if shared.session.pending().is_some() {
                let now = shared.now;
                shared.session.put_off(now, &mut shared.jitter);
            }
        }
    }
    true
}

/// How long no blocks are asked for after a refusal, unless a fresh offer comes first.
const REFUSED_HOLD: Millis = Millis(30_000);

#[inline(never)]
fn on_cancel<P: Profile>(cancel: &Cancel<'_>, phase: &Phase<P>, shared: &mut Shared<'_, P>) -> bool {
    let Some(offer) = shared.offer.as_ref().filter(|_| phase.is_replaceable()) else { return false };
    let checked = (|| -> Result<_, TrustError> {
        let root = shared.root().map_err(|_| TrustError::NotTheTrustedRoot)?;
        let check = AssignmentCheck::begin(&root, &shared.trusted.state, shared.device(), cancel.assignment)?;
        check.cancellation(&offer.assignment, &shared.verifier)
    })();
    match checked {
        Ok((_, state)) => {
            shared.trusted.state = state;
            shared.news = Some(News::Cancelled);
            true
        }
        Err(_) => {
            Statistics::count(&mut shared.statistics.metadata_refused);
            false
        }
    }
}
