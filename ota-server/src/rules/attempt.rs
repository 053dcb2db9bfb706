//! One device's work in one campaign: which phase follows which, what is impossible, when patience ends.
//!
//! Every function takes an attempt and gives the next one; nothing here knows a store or a clock. What a device
//! *says* moves an attempt on; only what it *shows* (its new revisions, after its boot) confirms it.

use ota_core::fleet::records::{
    Attempt, AttemptPhase, AttemptRules, Cause, FILE_STATES_MAX, FileProgress, MOMENTS_MAX, Moment,
};
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::{Phase, ReportCode};

/// Why a report was not believed. Each is counted, and refused with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Disbelief {
    /// The attempt has ended.
    #[error("the attempt has ended")]
    Ended,
    /// The device says that it has what it never asked for.
    #[error("it says that it has bytes that it never asked for")]
    NeverAsked,
    /// The phase cannot follow the one before it.
    #[error("this phase cannot follow the one before it")]
    OutOfOrder,
}

/// What a report led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The attempt has changed.
    Changed(Box<Attempt>),
    /// It was heard before; only the acknowledgement had been lost.
    Again,
}

/// Whether the device is at work for it, or will be again without a new decision.
#[must_use]
pub const fn is_open(phase: AttemptPhase) -> bool {
    use AttemptPhase::{Deferred, Downloaded, Downloading, Installed, Offered, Silent, Verified, Waiting};
    matches!(phase, Offered | Downloading | Downloaded | Verified | Installed | Deferred | Waiting | Silent)
}

/// Whether it takes one of the places of those who download at once.
#[must_use]
pub const fn takes_a_place(phase: AttemptPhase) -> bool {
    matches!(phase, AttemptPhase::Offered | AttemptPhase::Downloading)
}

/// Which kind of failure a code is, for budgets.
#[must_use]
pub fn cause_of(code: ReportCode) -> Cause {
    use ReportCode as Code;
    match code {
        Code::Timeout | Code::ExternalDownload | Code::Refused | Code::NotFresh => Cause::Download,
        Code::Malformed
        | Code::Signature
        | Code::Expired
        | Code::WrongProduct
        | Code::WrongHardware
        | Code::RolledBackEpoch
        | Code::NoIntegrity
        | Code::IntegrityMismatch
        | Code::RootChain
        | Code::DevelopmentKey => Cause::Verification,
        Code::SelfTestFailed | Code::ConfirmTimeout | Code::BootReverted | Code::ConnectivityLost => {
            Cause::Boot
        }
        _ => Cause::Install,
    }
}

/// Whether trying the same thing again can help.
fn is_worth_a_retry(code: ReportCode) -> bool {
    use ReportCode as Code;
    !matches!(
        code,
        Code::Malformed
            | Code::Signature
            | Code::WrongProduct
            | Code::WrongHardware
            | Code::RolledBackEpoch
            | Code::NoIntegrity
            | Code::TooLarge
            | Code::UnknownTarget
            | Code::DevelopmentKey
            | Code::EpochExhausted
            | Code::UnknownFirmware
            | Code::ApplicationRejected
    )
}

/// The attempt in another phase, with the moment noted and the new deadline set.
#[must_use]
pub fn moved(
    mut attempt: Attempt,
    phase: AttemptPhase,
    cause: u16,
    rules: &AttemptRules,
    now: Timestamp,
) -> Attempt {
    if attempt.moments.len() >= MOMENTS_MAX {
        attempt.moments.remove(1);
    }
    attempt.moments.push(Moment { at: now, phase, cause });
    attempt.phase = phase;
    attempt.cause = cause;
    attempt.changed = now;
    attempt.missed = None;
    attempt.due = match phase {
        AttemptPhase::Offered => Some(now.plus(rules.begin_within)),
        AttemptPhase::Downloading => Some(now.plus(rules.download_within)),
        AttemptPhase::Downloaded | AttemptPhase::Verified => Some(now.plus(rules.install_within)),
        AttemptPhase::Installed => Some(now.plus(rules.confirm_within)),
        AttemptPhase::Waiting => Some(now.plus(backoff(rules, attempt.retries))),
        AttemptPhase::Deferred => Some(now.plus(rules.retry_after_max)),
        _ => None,
    };
    attempt
}

/// How long after an offer was committed a device of the original protocol has asked its first question, at most: the offer
/// may be on its way for four seconds.
const ASKS_WITHIN: Millis = Millis(8_000);

/// How long a device waits before its next try: doubled each time, up to the limit.
fn backoff(rules: &AttemptRules, retries: u8) -> Millis {
    let doublings = u32::from(retries.saturating_sub(1)).min(30);
    Millis(rules.retry_after.0.saturating_mul(1 << doublings).min(rules.retry_after_max.0))
}

/// It failed: it waits for its next try, or that was the last one.
#[must_use]
pub fn failed(mut attempt: Attempt, code: ReportCode, rules: &AttemptRules, now: Timestamp) -> Attempt {
    if is_worth_a_retry(code) && attempt.retries < rules.retries_max {
        attempt.retries += 1;
        moved(attempt, AttemptPhase::Waiting, code.number(), rules, now)
    } else {
        moved(attempt, AttemptPhase::Failed, code.number(), rules, now)
    }
}

/// Whether an attempt in this phase has ended badly, and only a person lets its device try again.
#[must_use]
pub const fn has_failed(phase: AttemptPhase) -> bool {
    matches!(phase, AttemptPhase::Failed | AttemptPhase::RolledBack | AttemptPhase::Rejected)
}

/// A person lets a device try again that has failed: the next check-in gets a fresh offer. `None` if it has not failed.
#[must_use]
pub fn begun_again(attempt: &Attempt, rules: &AttemptRules, now: Timestamp) -> Option<Attempt> {
    if !has_failed(attempt.phase) {
        return None;
    }
    // What it has asked for it may have kept.
    let fresh = Attempt { retries: 0, files: None, done: 0, ..attempt.clone() };
    // Not after a pause, as after a failure: a person has looked at it.
    Some(Attempt { due: Some(now), ..moved(fresh, AttemptPhase::Waiting, 0, rules, now) })
}

/// The device asked for its first block of this offer.
#[must_use]
pub fn asked(mut attempt: Attempt, rules: &AttemptRules, now: Timestamp) -> Option<Attempt> {
    match attempt.phase {
        AttemptPhase::Offered | AttemptPhase::Silent => {
            attempt.asked = true;
            Some(moved(attempt, AttemptPhase::Downloading, 0, rules, now))
        }
        // A device that lost its last blocks in a power cut asks again; it keeps its phase and its deadline.
        AttemptPhase::Downloading | AttemptPhase::Downloaded | AttemptPhase::Verified if !attempt.asked => {
            attempt.asked = true;
            Some(attempt)
        }
        _ => None,
    }
}

/// A report of the device about its latest offer.
///
/// # Errors
/// [`Disbelief`]: nothing changes, the report is refused and counted.
pub fn reported(
    attempt: &Attempt,
    report: &Reported<'_>,
    rules: &AttemptRules,
    now: Timestamp,
) -> Result<Heard, Disbelief> {
    if attempt.sequence.is_some_and(|last| report.sequence <= last) {
        return Ok(Heard::Again);
    }
    let mut next = attempt.clone();
    next.sequence = Some(report.sequence);
    next.done = report.done;
    if !report.detail.is_empty() {
        next.detail = report.detail.into();
    }
    next.attested |= report.attested;
    use AttemptPhase as P;
    let was = attempt.phase;
    match (was, report.phase) {
        // What was confirmed can still be taken back by the device's own bootloader, and by nothing else.
        (P::Confirmed, Phase::RolledBack) => {
            let next = moved(next, P::RolledBack, boot_cause(report.code), rules, now);
            return Ok(Heard::Changed(Box::new(next)));
        }
        (P::Confirmed, Phase::Confirmed) => return Ok(Heard::Changed(Box::new(next))),
        (P::Confirmed | P::Failed | P::RolledBack | P::Rejected | P::Cancelled, _) => {
            return Err(Disbelief::Ended);
        }
        _ => {}
    }
    // That it has gone wrong is believed of anybody: a device that is not believed would be offered the same for ever.
    let shows_bytes =
        matches!(report.phase, Phase::Downloaded | Phase::Verified | Phase::Installed | Phase::Confirmed);
    if shows_bytes && !attempt.asked {
        return Err(Disbelief::NeverAsked);
    }
    if was == P::Installed && matches!(report.phase, Phase::Downloading | Phase::Downloaded | Phase::Verified)
    {
        return Err(Disbelief::OutOfOrder);
    }
    Ok(Heard::Changed(Box::new(match report.phase {
        // That a download runs shows in the requests for blocks; a report of it moves no deadline and takes no place.
        Phase::Offered | Phase::Downloading => next,
        Phase::Downloaded => moved(next, P::Downloaded, 0, rules, now),
        Phase::Verified => moved(next, P::Verified, 0, rules, now),
        Phase::Installed => moved(next, P::Installed, 0, rules, now),
        Phase::Confirmed => moved(next, P::Confirmed, 0, rules, now),
        Phase::Failed => failed(next, report.code, rules, now),
        Phase::RolledBack => moved(next, P::RolledBack, boot_cause(report.code), rules, now),
        Phase::Rejected => moved(next, P::Rejected, ReportCode::ApplicationRejected.number(), rules, now),
        Phase::Deferred => moved(next, P::Deferred, ReportCode::ApplicationDeferred.number(), rules, now),
        _ => return Err(Disbelief::OutOfOrder),
    })))
}

/// Notes where one file stands, as far as files are kept apart.
pub fn note_file(attempt: &mut Attempt, file: u16, phase: Phase, code: ReportCode, now: Timestamp) {
    let Some(phase) = AttemptPhase::from_number(phase.number()) else { return };
    let files = attempt.files.get_or_insert_default();
    let state = FileProgress { file, phase, code: code.number(), at: now };
    match files.binary_search_by_key(&file, |known| known.file) {
        Ok(place) => files[place] = state,
        Err(place) if files.len() < FILE_STATES_MAX => files.insert(place, state),
        Err(_) => {}
    }
}

/// What a device says about its offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported<'a> {
    /// Its number.
    pub sequence: u32,
    /// What has been reached.
    pub phase: Phase,
    /// Why.
    pub code: ReportCode,
    /// How many bytes it has.
    pub done: u64,
    /// Text for people.
    pub detail: &'a str,
    /// Whether the device's own key authenticated it.
    pub attested: bool,
}

/// A device rolled back: without a code of its own that is the bootloader's doing.
fn boot_cause(code: ReportCode) -> u16 {
    if code == ReportCode::Ok { ReportCode::BootReverted.number() } else { code.number() }
}

/// Whether the device has confirmed the release after this was heard: what it says is older than what is known.
///
/// A check-in can wait with one server, for its store or its turn, while the device updates itself with another's help.
/// Taken for news it would look as if the bootloader had gone back to the old files.
#[must_use]
pub fn is_confirmed_since(attempt: &Attempt, heard: Timestamp) -> bool {
    attempt.phase == AttemptPhase::Confirmed && heard < attempt.changed
}

/// How long to wait before a device of the original protocol may be offered an update again that it was offered at `told`.
///
/// What was heard before that, or within `doubt` after it, may come from the very connection that has got the offer, and a
/// second one on it crashes the device. It asks for its first chunk soon, or it has not got the offer.
#[must_use]
pub fn to_be_asked_for(
    attempt: &Attempt,
    told: Timestamp,
    heard: Timestamp,
    doubt: Millis,
    now: Timestamp,
) -> Option<Millis> {
    let asks_until = told.plus(ASKS_WITHIN);
    // A time that has not come yet is of a clock that was set back since, and says nothing.
    let is_in_doubt = heard < told.plus(doubt) && told <= now.plus(ASKS_WITHIN) && now < asks_until;
    (attempt.phase == AttemptPhase::Offered && is_in_doubt).then(|| asks_until.since(now))
}

/// A check-in shows what is installed: the whole release, or something else.
///
/// Gives the changed attempt, or `None` if the check-in shows nothing new.
#[must_use]
pub fn shown(
    attempt: &Attempt,
    has_release: bool,
    attested: bool,
    rules: &AttemptRules,
    now: Timestamp,
) -> Option<Attempt> {
    use AttemptPhase as P;
    let mut next = attempt.clone();
    next.attested |= attested;
    match (attempt.phase, has_release) {
        // Whoever has the files has them, whatever was heard or lost on the way; but they must have come from here.
        (
            P::Offered | P::Downloading | P::Downloaded | P::Verified | P::Installed | P::Silent | P::Waiting,
            true,
        ) if attempt.asked => Some(moved(next, P::Confirmed, 0, rules, now)),
        (P::Confirmed, false) => {
            Some(moved(next, P::RolledBack, ReportCode::BootReverted.number(), rules, now))
        }
        // The old files before the boot deadline: it has not started yet. After it: it went back.
        (P::Installed, false) if attempt.due.is_some_and(|due| due <= now) => {
            Some(moved(next, P::RolledBack, ReportCode::BootReverted.number(), rules, now))
        }
        // It is back. Where it stood is not known any more; a new offer says so.
        (P::Silent, false) => {
            let code = ReportCode::from_number(attempt.cause);
            if code == ReportCode::ConfirmTimeout {
                Some(moved(next, P::RolledBack, ReportCode::BootReverted.number(), rules, now))
            } else {
                Some(moved(
                    next,
                    P::Waiting,
                    attempt.cause,
                    &AttemptRules { retry_after: Millis(0), ..*rules },
                    now,
                ))
            }
        }
        _ => None,
    }
}

/// Whether it is time to look at the attempt.
fn is_due(attempt: &Attempt, now: Timestamp) -> bool {
    attempt.missed.or(attempt.due).is_some_and(|due| due <= now)
}

/// The deadline of the phase has passed. `heard` is when the device was last heard.
///
/// One that was not heard since its phase began is silent: it may come back, and gates have a limit for how many
/// may do that. One that was heard is there, and slow: it failed this time.
///
/// One that may try again has to come for it. It is given as long as for a beginning, and as long again whenever it was
/// heard meanwhile: its turn, a window or a limit may keep it. Then it is silent like the others; a group with a device
/// that never comes back would otherwise never have ended.
#[must_use]
pub fn overdue(attempt: &Attempt, heard: Timestamp, rules: &AttemptRules, now: Timestamp) -> Option<Attempt> {
    use AttemptPhase as P;
    if !is_due(attempt, now) {
        return None;
    }
    let is_unheard = heard <= attempt.changed;
    let next = attempt.clone();
    match attempt.phase {
        P::Installed if is_unheard => {
            Some(moved(next, P::Silent, ReportCode::ConfirmTimeout.number(), rules, now))
        }
        P::Installed => Some(moved(next, P::RolledBack, ReportCode::ConfirmTimeout.number(), rules, now)),
        P::Offered | P::Downloading | P::Downloaded | P::Verified if is_unheard => {
            Some(moved(next, P::Silent, ReportCode::Timeout.number(), rules, now))
        }
        P::Offered | P::Downloading | P::Downloaded | P::Verified => {
            Some(failed(next, ReportCode::Timeout, rules, now))
        }
        P::Waiting | P::Deferred => {
            let missed = next.due.map_or(heard, |due| due.max(heard)).plus(rules.begin_within);
            if missed <= now {
                Some(moved(next, P::Silent, ReportCode::Timeout.number(), rules, now))
            } else {
                Some(Attempt { missed: Some(missed), ..next })
            }
        }
        _ => None,
    }
}

/// It waits for a next try that it will not get, because the device was set apart meanwhile. It ends with what it had
/// failed with; what had not failed says nothing about the release. `None` if it does not wait, or may still.
#[must_use]
pub fn given_up(attempt: &Attempt, rules: &AttemptRules, now: Timestamp) -> Option<Attempt> {
    use AttemptPhase as P;
    if !is_due(attempt, now) {
        return None;
    }
    let next = attempt.clone();
    match attempt.phase {
        P::Waiting if attempt.cause != 0 => Some(moved(next, P::Failed, attempt.cause, rules, now)),
        P::Waiting | P::Deferred => {
            Some(moved(next, P::Cancelled, ReportCode::Cancelled.number(), rules, now))
        }
        _ => None,
    }
}

/// Whether a check-in may be answered with a (new) offer for this attempt.
#[must_use]
pub fn may_be_offered(attempt: &Attempt, now: Timestamp) -> bool {
    use AttemptPhase as P;
    match attempt.phase {
        // A device that checks in again in the middle gets a fresh offer for the same release: offers are bound to
        // the check-in, and its journal goes on from where it was.
        P::Offered | P::Downloading | P::Downloaded | P::Verified => true,
        P::Waiting | P::Deferred => attempt.due.is_none_or(|due| due <= now),
        _ => false,
    }
}
