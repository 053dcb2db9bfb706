//! What the engine can be doing: one struct per phase, named for what it awaits.
//!
//! A phase takes one small step at a time and is replaced by the next one when it is done. What a phase knows is in
//! its struct; a fault in it leads back to a phase that reads everything anew from the storage.

mod check_files;
mod check_release;
mod commit;
mod ending;
mod fetch_files;
mod fetch_root;
mod install;
mod metadata;
mod plan;
mod select;
mod starting;
mod trial;

use ota_core::number::{ByteLength, FileIndex};
use ota_core::time::{Instant, Millis};
use ota_core::wire::{Phase as Reached, ReportCode};

pub(crate) use check_files::CheckFiles;
pub(crate) use check_release::FetchRelease;
pub(crate) use commit::Commit;
pub(crate) use ending::{AttemptEnding, Recover};
pub(crate) use fetch_files::FetchFiles;
pub(crate) use fetch_root::FetchRoot;
pub(crate) use install::{Activate, AwaitFreshAssignment, AwaitPermission, AwaitRestart, GoBack, decided};
pub(crate) use plan::{Plan, file, release};
pub(crate) use starting::{Origin, Starting};
pub(crate) use trial::{Confirming, Trial};

use crate::config::Profile;
use crate::download::Transfer;
use crate::shared::{Failure, NEVER, News, Shared, Step, Stop};
use crate::statistics::Activity;

/// The phase that the engine is in.
pub(crate) enum Phase<P: Profile> {
    Starting(Starting<P>),
    Unprovisioned,
    Idle,
    FetchRoot(FetchRoot<P>),
    FetchRelease(FetchRelease<P>),
    Plan(Plan),
    FetchFiles(FetchFiles<P>),
    CheckFiles(CheckFiles<P>),
    AwaitPermission(AwaitPermission),
    AwaitFreshAssignment(AwaitFreshAssignment),
    Commit(Commit<P>),
    Activate(Activate),
    AwaitRestart(AwaitRestart),
    Trial(Trial),
    Confirming(Confirming),
    GoBack(GoBack),
    AttemptEnding(AttemptEnding),
    Recover(Recover),
}

/// Where a phase leads to, and what the next one begins with. A phase can be large; this is what is handed around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Starting(Origin),
    Unprovisioned,
    Idle,
    FetchRoot,
    FetchRelease,
    Plan(Option<(FileIndex, ByteLength)>),
    /// The files from where the journal says.
    FetchFiles(Option<(FileIndex, ByteLength)>),
    /// One file anew whose bytes were wrong, for the given time.
    FetchAgain(FileIndex, u8),
    /// This file and those behind it, with the number of tries so far.
    CheckFiles(FileIndex, u8),
    AwaitPermission,
    AwaitFreshAssignment,
    Commit,
    Activate,
    AwaitRestart,
    Trial,
    Confirming,
    /// The files on trial have failed for this reason.
    GoBack(ReportCode),
    /// It is recorded that they have failed, but their firmware still runs.
    OldFirmware,
    AttemptEnding(Reached, ReportCode),
    Recover,
}

impl<P: Profile> Phase<P> {
    /// The beginning of a phase.
    pub(crate) fn begin(to: To, shared: &mut Shared<'_, P>) -> Self {
        match to {
            To::Starting(origin) => Self::Starting(Starting::new(origin)),
            To::Unprovisioned => Self::Unprovisioned,
            To::Idle => Self::Idle,
            To::FetchRoot => Self::FetchRoot(FetchRoot::new()),
            To::FetchRelease => Self::FetchRelease(FetchRelease::new()),
            To::Plan(resume) => Self::Plan(Plan::new(resume)),
            To::FetchFiles(resume) => Self::FetchFiles(FetchFiles::new(resume)),
            To::FetchAgain(index, tries) => Self::FetchFiles(FetchFiles::again(index, tries)),
            To::CheckFiles(index, tries) => Self::CheckFiles(CheckFiles::from_file(index, tries)),
            To::AwaitPermission => Self::AwaitPermission(AwaitPermission::new()),
            To::AwaitFreshAssignment => Self::AwaitFreshAssignment(AwaitFreshAssignment::new()),
            To::Commit => Self::Commit(Commit::new()),
            To::Activate => Self::Activate(Activate::new()),
            To::AwaitRestart => Self::AwaitRestart(AwaitRestart::new()),
            To::Trial => Self::Trial(Trial::new(shared)),
            To::Confirming => Self::Confirming(Confirming::new()),
            To::GoBack(code) => Self::GoBack(GoBack::because(code)),
            To::OldFirmware => Self::GoBack(GoBack::to_old_firmware()),
            To::AttemptEnding(phase, code) => Self::AttemptEnding(AttemptEnding::new(phase, code)),
            To::Recover => Self::Recover(Recover::new(shared)),
        }
    }

    /// Takes the next small step.
    pub(crate) fn step(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        match self {
            Self::Starting(phase) => phase.step(shared),
            Self::Unprovisioned => Err(shared.wait(NEVER)),
            Self::Idle => idle(shared),
            Self::FetchRoot(phase) => phase.step(shared),
            Self::FetchRelease(phase) => phase.step(shared),
            Self::Plan(phase) => phase.step(shared),
            Self::FetchFiles(phase) => phase.step(shared),
            Self::CheckFiles(phase) => phase.step(shared),
            Self::AwaitPermission(phase) => phase.step(shared),
            Self::AwaitFreshAssignment(phase) => phase.step(shared),
            Self::Commit(phase) => phase.step(shared),
            Self::Activate(phase) => phase.step(shared),
            Self::AwaitRestart(phase) => phase.step(shared),
            Self::Trial(phase) => phase.step(shared),
            Self::Confirming(phase) => phase.step(shared),
            Self::GoBack(phase) => phase.step(shared),
            Self::AttemptEnding(phase) => phase.step(shared),
            Self::Recover(phase) => phase.step(shared),
        }
    }

    /// Where a failure leads to: an attempt that has changed nothing yet is over, everything else is looked at anew.
    pub(crate) fn after(&self, failure: Failure, shared: &mut Shared<'_, P>) -> To {
        match failure {
            Failure::Storage(fault) => shared.happened(crate::shared::Happened::StorageFailed(fault)),
            Failure::Boot => shared.happened(crate::shared::Happened::BootFailed),
            Failure::Attempt(_) => {}
        }
        if self.is_attempt() {
            return To::AttemptEnding(Reached::Failed, failure.code());
        }
        match (self, failure) {
            (Self::FetchRoot(_), Failure::Attempt(code)) => {
                shared.statistics.metadata_refused = shared.statistics.metadata_refused.saturating_add(1);
                fetch_root::give_up(code, shared);
                To::Starting(Origin::RootRefused)
            }
            _ => To::Recover,
        }
    }

    /// The transfer that blocks go to, if one is under way.
    pub(crate) const fn transfer(&mut self) -> Option<&mut Transfer<P>> {
        match self {
            Self::FetchRoot(phase) => phase.transfer(),
            Self::FetchRelease(phase) => phase.transfer(),
            Self::FetchFiles(phase) => phase.transfer(),
            _ => None,
        }
    }

    /// Whether new files are on trial.
    pub(crate) const fn is_trial(&self) -> bool {
        matches!(self, Self::Trial(_))
    }

    /// Whether an attempt is under way that has not changed which files are active.
    pub(crate) const fn is_attempt(&self) -> bool {
        matches!(
            self,
            Self::FetchRelease(_)
                | Self::Plan(_)
                | Self::FetchFiles(_)
                | Self::CheckFiles(_)
                | Self::AwaitPermission(_)
                | Self::AwaitFreshAssignment(_)
                | Self::Commit(_)
        )
    }

    /// Whether the device can check in: what it has installed is known.
    pub(crate) const fn can_check_in(&self) -> bool {
        !matches!(
            self,
            Self::Starting(_)
                | Self::Unprovisioned
                | Self::FetchRoot(_)
                | Self::Commit(_)
                | Self::Recover(_)
                | Self::Confirming(_)
                | Self::GoBack(_)
                | Self::AttemptEnding(_)
        )
    }

    /// Whether a newer root can be taken over now.
    pub(crate) const fn can_change_root(&self) -> bool {
        self.can_check_in() && !matches!(self, Self::Activate(_))
    }

    /// Whether an offer for another release can take the place of what is going on.
    pub(crate) const fn is_replaceable(&self) -> bool {
        matches!(self, Self::Idle) || (self.is_attempt() && !matches!(self, Self::Commit(_)))
    }

    pub(crate) const fn activity(&self) -> Activity {
        match self {
            Self::Starting(_) | Self::Recover(_) => Activity::Starting,
            Self::Unprovisioned => Activity::Unprovisioned,
            Self::Idle | Self::AttemptEnding(_) => Activity::Idle,
            Self::FetchRoot(_) | Self::FetchRelease(_) | Self::Plan(_) => Activity::Metadata,
            Self::FetchFiles(_) => Activity::Downloading,
            Self::CheckFiles(_) => Activity::Verifying,
            Self::AwaitPermission(_) | Self::AwaitFreshAssignment(_) => Activity::ReadyToInstall,
            Self::Commit(_) | Self::Activate(_) => Activity::Installing,
            Self::AwaitRestart(_) => Activity::RestartNeeded,
            Self::Trial(_) | Self::Confirming(_) => Activity::OnTrial,
            Self::GoBack(_) => Activity::Reverting,
        }
    }
}

/// Nothing goes on: an offer begins an attempt when its time has come.
fn idle<P: Profile>(shared: &mut Shared<'_, P>) -> Step<To> {
    match shared.news.take() {
        Some(News::Install) => {}
        Some(News::Nothing | News::Cancelled) | None => {
            shared.decision = None;
            return Err(shared.wait(NEVER));
        }
    }
    let Some(offer) = &shared.offer else { return Err(shared.wait(NEVER)) };
    let earliest = offer.earliest.max(shared.deferred_until);
    if earliest > shared.now {
        shared.news = Some(News::Install);
        return Err(shared.wait(earliest));
    }
    let elapsed = shared.now.since(offer.asked_at);
    let is_good = offer.assignment.time_after(elapsed, &shared.root()?).is_ok();
    if !is_good {
        // It has grown old while it waited; the answer to another check-in says what is to be done now.
        shared.forget_attempt();
        shared.session.begin_anew(Millis(0), shared.now);
        return Err(Stop::Again);
    }
    Ok(To::FetchRelease)
}

/// What an attempt does with news: `Some` if it must not go on as it is.
fn attempt_news<P: Profile>(shared: &mut Shared<'_, P>) -> Option<To> {
    match shared.news.take()? {
        News::Install => {
            let offered = shared.offer.as_ref().map(|offer| offer.release);
            let held = shared.release.as_ref().map(|release| release.id());
            (offered != held).then_some(To::FetchRelease)
        }
        News::Nothing | News::Cancelled => Some(To::AttemptEnding(Reached::Failed, ReportCode::Cancelled)),
    }
}

/// A wait that begins now.
fn wait<P: Profile>(shared: &Shared<'_, P>, span: Millis) -> Instant {
    shared.now.plus(span)
}
