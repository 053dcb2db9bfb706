//! New files on trial, and keeping them.

use ota_core::device::Log;
use ota_core::number::ByteLength;
use ota_core::time::Instant;
use ota_core::wire::{Phase as Reached, ReportCode};

use super::install::store;
use super::{To, wait};
use crate::config::Profile;
use crate::io::BootOp;
use crate::policy::Confirm;
use crate::record::{Outcome, SetState, SetsRecord};
use crate::shared::{CORRUPT, Happened, SelfTest, Shared, Step};

/// The new files are active and have to prove themselves in time.
pub(crate) struct Trial {
    until: Instant,
    told: bool,
    checked_in: bool,
    self_tested: bool,
}

impl Trial {
    pub(crate) fn new<P: Profile>(shared: &mut Shared<'_, P>) -> Self {
        let until = shared.trial_until.unwrap_or_else(|| wait(shared, shared.policy.confirm_within));
        let told = shared.trial_until.is_some();
        shared.trial_until = Some(until);
        Self { until, told, checked_in: false, self_tested: false }
    }

    #[inline(never)]
    pub(crate) fn step<P: Profile>(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if !self.told {
            self.told = true;
            shared.news = None;
            shared.self_test = None;
            shared.happened(Happened::OnTrial);
            shared.session.begin_anew(ota_core::time::Millis(0), shared.now);
        }
        // Any verified answer that came since proves that the device can still be reached.
        if shared.news.take().is_some() {
            self.checked_in = true;
        }
        match shared.self_test.take() {
            Some(SelfTest::Failed) => {
                return Ok(To::GoBack(ReportCode::SelfTestFailed));
            }
            Some(SelfTest::Passed) => self.self_tested = true,
            None => {}
        }
        let needs_test = matches!(shared.policy.confirm, Confirm::SelfTest | Confirm::SelfTestAndCheckedIn);
        let needs_check_in =
            matches!(shared.policy.confirm, Confirm::CheckedIn | Confirm::SelfTestAndCheckedIn)
                || shared.active().places.iter().any(|place| shared.is_connectivity(place.target));
        let lacks_test = needs_test && !self.self_tested;
        let lacks_check_in = needs_check_in && !self.checked_in;
        if !lacks_test && !lacks_check_in {
            return Ok(To::Confirming);
        }
        if shared.now >= self.until {
            let code = if lacks_test { ReportCode::ConfirmTimeout } else { ReportCode::ConnectivityLost };
            return Ok(To::GoBack(code));
        }
        Err(shared.wait(self.until))
    }
}

/// The new files are kept: the bootloader first, then the record, then the epoch.
///
/// A cut after the bootloader leaves a trial that passes again; a cut after the record leaves an epoch that the next
/// start raises. The epoch is never raised before the device is known to work with what carries it.
pub(crate) struct Confirming {
    at: Keeping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    Begin,
    Kept,
    Stored,
    Raised,
}

impl Confirming {
    pub(crate) const fn new() -> Self {
        Self { at: Keeping::Begin }
    }

    #[inline(never)]
    pub(crate) fn step<P: Profile>(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let sets = shared.sets.ok_or(CORRUPT)?;
        match self.at {
            Keeping::Begin => {
                self.at = Keeping::Kept;
                shared.ask_boot(BootOp::Confirm)
            }
            Keeping::Kept => {
                shared.boot_answered()?;
                let outcome = Outcome { phase: Reached::Confirmed, code: ReportCode::Ok };
                let record = SetsRecord {
                    state: SetState::Settled(Some(outcome)),
                    kept: sets.other.ok_or(CORRUPT)?,
                    other: Some(sets.kept),
                    attempt: sets.attempt,
                };
                self.at = Keeping::Stored;
                store(record, shared)
            }
            Keeping::Stored => {
                shared.answered()?;
                shared.trial_until = None;
                shared.attempt_backoff.reset();
                let attempt = sets.attempt.ok_or(CORRUPT)?;
                shared.happened(Happened::Confirmed(attempt.release));
                let done = ByteLength(0);
                shared.reporter.tell(
                    attempt.offer,
                    Reached::Confirmed,
                    ReportCode::Ok,
                    None,
                    done,
                    shared.now,
                );
                if attempt.epoch <= shared.trusted.state.epoch {
                    return Ok(To::Idle);
                }
                shared.trusted.state = shared.trusted.state.with_epoch_raised(attempt.epoch);
                let length = shared.trusted.encode(shared.outgoing)?.len();
                self.at = Keeping::Raised;
                shared.append(Log::Trusted, length)
            }
            Keeping::Raised => {
                shared.answered()?;
                shared.stored = shared.trusted.state;
                Ok(To::Idle)
            }
        }
    }
}
