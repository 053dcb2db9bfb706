//! Finding out what the storage holds: trusted state, root, sets of files, journal.
//!
//! The same steps run after a power-on, after a commit and after a fault, so that every state that a power cut can
//! leave is one that is entered every day.

use ota_core::device::Log;
use ota_core::number::{BootCounter, ReportSequence};
use ota_core::trust::TrustedRoot;
use ota_core::wire::{Phase as Reached, ReportCode};

use super::To;
use super::metadata::{Load, demand, record_length};
use super::select::{Next, Selection, select};
use crate::arena::Region;
use crate::config::Profile;
use crate::io::{BootAnswer, BootOp, StorageAnswer};
use crate::ops::{Op, Place};
use crate::record::{JournalRecord, SetRef, SetState, SetsRecord, TrustedRecord};
use crate::report::Ending;
use crate::shared::{CORRUPT, Happened, Sha256Of, Shared, Step, Stop};

/// Why the storage is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The device has started.
    PowerOn,
    /// A new set was committed, or an old one is back.
    SetChanged,
    /// Another root is trusted now.
    RootChanged,
    /// A new root was not believed.
    RootRefused,
    /// Something failed.
    Recovered,
}

pub(crate) struct Starting<P: Profile> {
    origin: Origin,
    at: At<P>,
    next: Next,
    active: Option<SetRef>,
}

enum At<P: Profile> {
    Begin,
    Granularity,
    Running,
    Trusted,
    Root(Load<P>),
    Sets,
    StoredSelection,
    Set(Load<P>),
    Journal,
    CountStart,
    CountedStart,
    RaiseEpoch,
    RaisedEpoch,
}

impl<P: Profile> Starting<P> {
    pub(crate) const fn new(origin: Origin) -> Self {
        Self { origin, at: At::Begin, next: Next::Rest, active: None }
    }

    #[inline(never)]
    pub(crate) fn step(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        match &mut self.at {
            At::Begin => {
                shared.set_loaded = false;
                shared.release = None;
                self.at = At::Granularity;
                shared.ask(Op::Granularity)
            }
            At::Granularity => {
                let StorageAnswer::Granularity(granularity) = shared.answered()? else {
                    return Err(CORRUPT.into());
                };
                shared.granularity = granularity;
                self.at = At::Running;
                shared.ask_boot(BootOp::Running)
            }
            At::Running => {
                let BootAnswer::Running { firmware, epoch, slots, slot } = shared.boot_answered()? else {
                    return Err(CORRUPT.into());
                };
                shared.running = firmware;
                shared.running_epoch = epoch;
                shared.firmware_slots = slots;
                shared.running_slot = slot;
                self.at = At::Trusted;
                shared.ask(Op::Newest(Log::Trusted))
            }
            At::Trusted => self.trusted(shared),
            At::Root(load) => {
                let digest = shared.trusted.state.root_digest;
                let receipt = demand(load, digest, shared)?.ok_or(CORRUPT)?;
                let body = receipt.attach(shared.arena.region(Region::Root))?;
                // A root that its own record does not describe is a fault of the medium, like a wrong digest.
                TrustedRoot::from_storage::<Sha256Of<P>>(body, &shared.trusted.state).map_err(|_| CORRUPT)?;
                shared.root = Some(receipt);
                self.at = At::Sets;
                shared.ask(Op::Newest(Log::Sets))
            }
            At::Sets => self.sets(shared),
            At::StoredSelection => {
                shared.answered()?;
                self.load_set(shared)
            }
            At::Set(load) => {
                let digest = self.active.ok_or(CORRUPT)?.digest;
                demand(load, digest, shared)?.ok_or(CORRUPT)?;
                self.read_journal(shared)
            }
            At::Journal => self.journal(shared),
            At::CountStart => self.count_start(shared),
            At::CountedStart => {
                shared.answered()?;
                self.at = At::RaiseEpoch;
                Err(Stop::Again)
            }
            At::RaiseEpoch => self.raise_epoch(shared),
            At::RaisedEpoch => {
                shared.answered()?;
                shared.stored = shared.trusted.state;
                self.finish(shared)
            }
        }
    }

    fn trusted(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let Some(length) = record_length(shared)? else {
            shared.happened(Happened::Unprovisioned);
            return Ok(To::Unprovisioned);
        };
        let record = shared.outgoing.get(..length).ok_or(CORRUPT)?;
        let mut trusted = TrustedRecord::decode(record).map_err(|_| CORRUPT)?;
        shared.stored = trusted.state;
        // A time that was learned since the last write is not forgotten by reading the storage again.
        if trusted.state.root_digest == shared.trusted.state.root_digest {
            trusted.state.last_time = trusted.state.last_time.max(shared.trusted.state.last_time);
        }
        shared.trusted = trusted;
        let place = Place::Root(trusted.root_slot);
        self.at = At::Root(Load::new(place, Region::Root, trusted.root_bytes));
        Err(Stop::Again)
    }

    fn sets(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let Some(length) = record_length(shared)? else {
            shared.sets = None;
            return self.load_set(shared);
        };
        let record = shared.outgoing.get(..length).ok_or(CORRUPT)?;
        let record = SetsRecord::decode(record).map_err(|_| CORRUPT)?;
        let Selection { mut record, must_store, active, next } =
            select(record, shared.running, self.origin, shared.policy.trial_starts_max);
        self.next = next;
        self.active = active;
        if active.is_none() {
            shared.happened(Happened::UnknownFirmware);
        }
        if let Some(attempt) = &mut record.attempt {
            let least = ReportSequence(attempt.sequence.0);
            shared.reporter.begin_at(least.max(shared.reporter.next_sequence()));
            // Each start may have told something: numbers only ever rise.
            if must_store {
                attempt.sequence = ReportSequence(shared.reporter.next_sequence().0.saturating_add(2));
            }
        }
        shared.sets = Some(record);
        if must_store {
            let length = record.encode(shared.outgoing)?.len();
            self.at = At::StoredSelection;
            return shared.append(Log::Sets, length);
        }
        self.load_set(shared)
    }

    fn load_set(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        match self.active {
            Some(set) => {
                self.at = At::Set(Load::new(Place::SetBody(set.slot), Region::Set, set.bytes));
                Err(Stop::Again)
            }
            None => {
                shared.arena.place(Region::Set, 0)?;
                self.read_journal(shared)
            }
        }
    }

    fn read_journal(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        shared.set_loaded = true;
        self.at = At::Journal;
        shared.ask(Op::Newest(Log::Journal))
    }

    /// Only how the last attempt ended is of interest here; a download goes on when its release is offered again.
    fn journal(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if let Some(length) = record_length(shared)?
            && self.origin == Origin::PowerOn
        {
            let record = shared.outgoing.get(..length).ok_or(CORRUPT)?;
            if let Ok(JournalRecord::Ended { offer, phase, code }) = JournalRecord::decode(record) {
                shared.reporter.remember(Ending { offer, phase, code });
            }
        }
        self.at = At::CountStart;
        Err(Stop::Again)
    }

    /// Starts are counted only where evidence needs them, because each costs a write.
    fn count_start(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if self.origin != Origin::PowerOn || shared.key.is_none() {
            self.at = At::RaiseEpoch;
            return Err(Stop::Again);
        }
        shared.trusted.boots = BootCounter(shared.trusted.boots.0.saturating_add(1));
        let length = shared.trusted.encode(shared.outgoing)?.len();
        self.at = At::CountedStart;
        shared.append(Log::Trusted, length)
    }

    /// A confirmed set whose epoch has not been raised: the power went in between.
    fn raise_epoch(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let confirmed = shared.sets.and_then(|sets| match (sets.state, sets.attempt) {
            (SetState::Settled(Some(outcome)), Some(attempt)) if outcome.phase == Reached::Confirmed => {
                Some(attempt.epoch)
            }
            _ => None,
        });
        match confirmed {
            Some(epoch) if epoch > shared.trusted.state.epoch => {
                shared.trusted.state = shared.trusted.state.with_epoch_raised(epoch);
                let length = shared.trusted.encode(shared.outgoing)?.len();
                self.at = At::RaisedEpoch;
                shared.append(Log::Trusted, length)
            }
            _ => self.finish(shared),
        }
    }

    fn finish(&self, shared: &mut Shared<'_, P>) -> Step<To> {
        let attempt = shared.sets.and_then(|sets| sets.attempt);
        if let (Some(sets), Some(attempt), Origin::PowerOn) = (shared.sets, attempt, self.origin)
            && let SetState::Settled(Some(outcome)) = sets.state
            && shared.reporter.ending().is_none()
        {
            let ending = Ending { offer: attempt.offer, phase: outcome.phase, code: outcome.code };
            shared.reporter.remember(ending);
        }
        let next = match self.next {
            Next::Rest => To::Idle,
            Next::Activate => To::Activate,
            Next::Trial => To::Trial,
            Next::GoBack(_) => To::OldFirmware,
            Next::WentBack(code) => {
                went_back(code, shared);
                To::Idle
            }
        };
        Ok(next)
    }
}

/// Tells everybody that the old files are active again.
pub(crate) fn went_back<P: Profile>(code: ReportCode, shared: &mut Shared<'_, P>) {
    shared.happened(Happened::Reverted(code));
    shared.trial_until = None;
    shared.tell_attempt(Reached::RolledBack, code);
    shared.session.check_in(shared.now);
}
