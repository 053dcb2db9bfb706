//! From checked files to running ones: permission, a fresh assignment, activation, restart, and the way back.

use ota_core::device::{Log, Slot};
use ota_core::number::ReportSequence;
use ota_core::time::Instant;
use ota_core::wire::{Phase as Reached, ReportCode};

use super::{Origin, To, attempt_news};
use crate::config::Profile;
use crate::io::BootOp;
use crate::policy::Allowed;
use crate::record::{Outcome, SetState, SetsRecord};
use crate::shared::{CORRUPT, Happened, NEVER, News, Shared, Step, Stop};

/// Everything is checked; the policy says when it is installed.
pub(crate) struct AwaitPermission;

impl AwaitPermission {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) fn step<P: Profile>(&self, shared: &mut Shared<'_, P>) -> Step<To> {
        if let Some(next) = attempt_news(shared) {
            return Ok(next);
        }
        match shared.allows(shared.policy.install) {
            Allowed::Now => Ok(To::AwaitFreshAssignment),
            Allowed::At(at) => Err(shared.wait(at)),
            Allowed::WhenTold => Err(shared.wait(NEVER)),
        }
    }
}

/// Right before the commit the server is asked once more: a release that was withdrawn is not installed.
pub(crate) struct AwaitFreshAssignment {
    since: Option<Instant>,
}

impl AwaitFreshAssignment {
    pub(crate) const fn new() -> Self {
        Self { since: None }
    }

    pub(crate) fn step<P: Profile>(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if self.since.is_none() {
            // Whatever was answered before this moment does not count.
            self.since = Some(shared.now);
            shared.news = None;
            shared.session.begin_anew(ota_core::time::Millis(0), shared.now);
            return Err(Stop::Again);
        }
        let is_install = matches!(shared.news, Some(News::Install));
        if let Some(next) = attempt_news(shared) {
            return Ok(next);
        }
        if !is_install {
            // The answer has its own time-out and is asked for again.
            return Err(shared.wait(NEVER));
        }
        Ok(To::Commit)
    }
}

/// The committed set holds firmware that does not run: the bootloader is asked to start it.
pub(crate) struct Activate {
    at: Activating,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activating {
    Begin,
    Requested,
    Stored,
}

impl Activate {
    pub(crate) const fn new() -> Self {
        Self { at: Activating::Begin }
    }

    #[inline(never)]
    pub(crate) fn step<P: Profile>(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let sets = shared.sets.ok_or(CORRUPT)?;
        match self.at {
            Activating::Begin => {
                let slot = new_firmware(&sets)?;
                self.at = Activating::Requested;
                shared.ask_boot(BootOp::RequestTrial(slot))
            }
            Activating::Requested => {
                shared.boot_answered()?;
                shared.tell_attempt(Reached::Installed, ReportCode::Ok);
                let starts = match sets.state {
                    SetState::Trial { starts } => starts,
                    _ => 0,
                };
                self.at = Activating::Stored;
                store(SetsRecord { state: SetState::Trial { starts }, ..sets }, shared)
            }
            Activating::Stored => {
                shared.answered()?;
                shared.happened(Happened::RestartNeeded);
                Ok(To::AwaitRestart)
            }
        }
    }
}

fn new_firmware(sets: &SetsRecord) -> Result<Slot, crate::shared::Failure> {
    Ok(sets.other.and_then(|new| new.firmware).ok_or(CORRUPT)?.slot)
}

/// The device restarts when that suits it.
pub(crate) struct AwaitRestart;

impl AwaitRestart {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) fn step<P: Profile>(&self, shared: &mut Shared<'_, P>) -> Step<To> {
        // Nothing that a server says now changes what the bootloader was asked for.
        shared.news = None;
        Err(shared.wait(NEVER))
    }
}

/// New files have failed: the record first, then the bootloader where firmware is involved.
pub(crate) struct GoBack {
    at: GoingBack,
    code: ReportCode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoingBack {
    Begin,
    StoredFirmware,
    StoredFiles,
    AskBootloader,
    Asked,
    AwaitRestart,
}

impl GoBack {
    /// The files on trial have failed for this reason.
    pub(crate) const fn because(code: ReportCode) -> Self {
        Self { at: GoingBack::Begin, code }
    }

    /// It is recorded that they have failed, but their firmware still runs.
    pub(crate) const fn to_old_firmware() -> Self {
        Self { at: GoingBack::AskBootloader, code: ReportCode::Ok }
    }

    #[inline(never)]
    pub(crate) fn step<P: Profile>(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let sets = shared.sets.ok_or(CORRUPT)?;
        match self.at {
            GoingBack::Begin if sets.kept.belongs_to(shared.running) => {
                // The firmware stays the same, so the record alone brings the old files back.
                let outcome = Outcome { phase: Reached::RolledBack, code: self.code };
                self.at = GoingBack::StoredFiles;
                let state = SetState::Settled(Some(outcome));
                store(SetsRecord { state, other: None, ..sets }, shared)
            }
            GoingBack::Begin => {
                self.at = GoingBack::StoredFirmware;
                store(SetsRecord { state: SetState::Reverting(self.code), ..sets }, shared)
            }
            GoingBack::StoredFiles => {
                shared.answered()?;
                super::starting::went_back(self.code, shared);
                Ok(To::Starting(Origin::SetChanged))
            }
            GoingBack::StoredFirmware => {
                shared.answered()?;
                self.at = GoingBack::AskBootloader;
                Err(Stop::Again)
            }
            GoingBack::AskBootloader => {
                self.at = GoingBack::Asked;
                shared.ask_boot(BootOp::Revert)
            }
            GoingBack::Asked => {
                shared.boot_answered()?;
                shared.happened(Happened::RestartNeeded);
                self.at = GoingBack::AwaitRestart;
                Err(Stop::Again)
            }
            GoingBack::AwaitRestart => {
                shared.news = None;
                Err(shared.wait(NEVER))
            }
        }
    }
}

/// Appends a record about the sets, with room for the numbers of reports that may follow before the next one.
pub(crate) fn store<T, P: Profile>(record: SetsRecord, shared: &mut Shared<'_, P>) -> Step<T> {
    let mut record = record;
    if let Some(attempt) = &mut record.attempt {
        attempt.sequence = ReportSequence(shared.reporter.next_sequence().0.saturating_add(2));
    }
    let length = record.encode(shared.outgoing)?.len();
    shared.sets = Some(record);
    shared.append(Log::Sets, length)
}

/// What the application's decision does to an attempt that has changed nothing yet.
pub(crate) fn decided<P: Profile>(shared: &mut Shared<'_, P>) -> Option<To> {
    use crate::shared::Decision;
    let decision = shared.decision.take()?;
    Some(match decision {
        Decision::Reject => To::AttemptEnding(Reached::Rejected, ReportCode::ApplicationRejected),
        Decision::Abort => To::AttemptEnding(Reached::Failed, ReportCode::Aborted),
        Decision::Defer(span) => {
            shared.tell(Reached::Deferred, ReportCode::ApplicationDeferred);
            shared.deferred_until = shared.now.plus(span);
            // The journal remembers how far it has come; a fresh offer goes on from there.
            shared.forget_attempt();
            shared.news = None;
            shared.session.begin_anew(span, shared.now);
            To::Idle
        }
    })
}
