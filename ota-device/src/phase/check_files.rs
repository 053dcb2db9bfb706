//! Checking every fetched file against its integrity strings, as it lies in the storage.
//!
//! What is checked here is what is committed: the digests go from the receipts into the plan, and from there into
//! the set. Nothing writes into the slots in between.

use ota_core::integrity::{FileCheck, FileSubject, VerifiedFile};
use ota_core::number::FileIndex;
use ota_core::trust::Role;
use ota_core::wire::{Phase as Reached, ReportCode};

use super::plan::{Planned, file_count, planned, release, set_planned, staging_place};
use super::{To, attempt_news};
use crate::arena::Region;
use crate::config::Profile;
use crate::limits::{FILE_TRIES_MAX, PIECE_BYTES_MAX};
use crate::math;
use crate::ops::{Op, Place, Span};
use crate::shared::{CORRUPT, Failure, Happened, Shared, Step, Stop};

pub(crate) struct CheckFiles<P: Profile> {
    index: FileIndex,
    tries: u8,
    at: At<P>,
}

enum At<P: Profile> {
    Next,
    Checking(Checking<P>),
}

struct Checking<P: Profile> {
    check: FileCheck<P::Suite>,
    place: Place,
    size: u64,
    /// Length of the piece that is being read.
    asked: usize,
}

impl<P: Profile> CheckFiles<P> {
    /// Checks this file and all that follow; those before it have been checked.
    pub(crate) const fn from_file(index: FileIndex, tries: u8) -> Self {
        Self { index, tries, at: At::Next }
    }

    #[inline(never)]
    pub(crate) fn step(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if let Some(next) = attempt_news(shared) {
            return Ok(next);
        }
        match &mut self.at {
            At::Next => self.next(shared),
            At::Checking(_) => self.go_on(shared),
        }
    }

    fn next(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if usize::from(self.index.0) >= file_count(shared) {
            shared.happened(Happened::Verified);
            shared.tell(Reached::Verified, ReportCode::Ok);
            return Ok(To::AwaitPermission);
        }
        if planned(shared.arena.region(Region::Plan), self.index) != Planned::Fetch {
            self.index = FileIndex(self.index.0.saturating_add(1));
            return Err(Stop::Again);
        }
        let signed = release(shared)?;
        let subject = FileSubject::of(signed.release(), self.index).ok_or(CORRUPT)?;
        let check = FileCheck::begin(&subject, shared.root()?.strength_min())?;
        let file = signed.release().files.get(usize::from(self.index.0)).ok_or(CORRUPT)?;
        let place = staging_place(shared, &file)?;
        let size = file.size.0;
        self.at = At::Checking(Checking { check, place, size, asked: 0 });
        Err(Stop::Again)
    }

    fn go_on(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let At::Checking(checking) = &mut self.at else { return Err(CORRUPT.into()) };
        if checking.asked > 0 {
            if !shared.turn.may_hash(checking.asked) {
                return Err(Stop::Yield);
            }
            shared.answered()?;
            let piece = shared.blocks.get(..checking.asked).ok_or(CORRUPT)?;
            checking.check.update(piece)?;
            checking.asked = 0;
            return Err(Stop::Again);
        }
        let seen = checking.check.seen().0;
        if seen < checking.size {
            let most = shared.blocks.len().min(PIECE_BYTES_MAX);
            checking.asked = math::clamp_to_usize(checking.size.saturating_sub(seen), most);
            let into = Span::Blocks(0..checking.asked);
            let place = checking.place.clone();
            return shared.ask(Op::Read { place, offset: seen, into });
        }
        match self.finish(shared) {
            Ok(verified) => {
                let planned = Planned::Checked(verified.sha256());
                set_planned(shared.arena.region_mut(Region::Plan), verified.index(), planned);
                self.index = FileIndex(self.index.0.saturating_add(1));
                Err(Stop::Yield)
            }
            Err(Failure::Attempt(ReportCode::IntegrityMismatch)) if self.tries < FILE_TRIES_MAX => {
                let tries = self.tries.saturating_add(1);
                Ok(To::FetchAgain(self.index, tries))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    #[inline(never)]
    fn finish(&mut self, shared: &Shared<'_, P>) -> Result<VerifiedFile, Failure> {
        let At::Checking(Checking { check, .. }) = core::mem::replace(&mut self.at, At::Next) else {
            return Err(CORRUPT);
        };
        let signed = release(shared)?;
        let subject = FileSubject::of(signed.release(), self.index).ok_or(CORRUPT)?;
        let root = shared.root()?;
        Ok(check.finish(&subject, |id| root.key(Role::File, id), &shared.verifier)?)
    }
}
