//! Deciding for each file of the release what is to be done with it, before a byte of it is fetched.
//!
//! Every file needs a target that this device knows, room there, and an integrity string that it can compute. Files
//! whose installed bytes are those of the release are kept where they are.

use ota_core::device::Log;
use ota_core::integrity::{FileSubject, IntegrityString, Suite, strongest};
use ota_core::limits::FILES_MAX;
use ota_core::number::{ByteLength, FileIndex, Sha256Digest};
use ota_core::trust::{File, SignedRelease};
use ota_core::wire::ReportCode;

use super::To;
use crate::arena::Region;
use crate::config::Profile;
use crate::io::{BootAnswer, BootOp, StorageAnswer};
use crate::ops::{Op, Place, TextRange};
use crate::record::{SetState, SetsRecord};
use crate::shared::{CORRUPT, Failure, Shared, Step, Stop};

/// Length of the plan of one file: what to do, and the digest of its bytes once that is known.
const PLAN_BYTES: usize = 33;

/// What is to be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planned {
    /// It is fetched into the slot that the active file does not use.
    Fetch,
    /// The active file has these very bytes.
    Keep(Sha256Digest),
    /// It was fetched, and what lies in its slot has been checked.
    Checked(Sha256Digest),
}

/// Reads the plan of a file.
pub(crate) fn planned(plan: &[u8], index: FileIndex) -> Planned {
    let start = usize::from(index.0).saturating_mul(PLAN_BYTES);
    let entry = plan.get(start..).and_then(|rest| rest.first_chunk::<PLAN_BYTES>());
    let Some([flag, digest @ ..]) = entry else { return Planned::Fetch };
    match *flag {
        1 => Planned::Keep(Sha256Digest(*digest)),
        2 => Planned::Checked(Sha256Digest(*digest)),
        _ => Planned::Fetch,
    }
}

/// Writes the plan of a file.
pub(crate) fn set_planned(plan: &mut [u8], index: FileIndex, planned: Planned) {
    let start = usize::from(index.0).saturating_mul(PLAN_BYTES);
    let (flag, digest) = match planned {
        Planned::Fetch => (0, [0; 32]),
        Planned::Keep(digest) => (1, digest.0),
        Planned::Checked(digest) => (2, digest.0),
    };
    if let Some([place, rest @ ..]) =
        plan.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<PLAN_BYTES>())
    {
        *place = flag;
        *rest = digest;
    }
}

/// The release that is in memory and was believed.
pub(crate) fn release<'s, P: Profile>(shared: &'s Shared<'_, P>) -> Result<SignedRelease<'s>, Failure> {
    let receipt = shared.release.ok_or(CORRUPT)?;
    Ok(receipt.attach(shared.arena.region(Region::Body))?)
}

/// A file of it.
pub(crate) fn file<'s, P: Profile>(shared: &'s Shared<'_, P>, index: FileIndex) -> Result<File<'s>, Failure> {
    release(shared)?.release().files.get(usize::from(index.0)).ok_or(CORRUPT)
}

/// Where the new bytes of a file go.
pub(crate) fn staging_place<P: Profile>(shared: &Shared<'_, P>, file: &File<'_>) -> Result<Place, Failure> {
    let slots = shared.staging_slots();
    let slot = slots.written(file.target, shared.active().at(file.target)).ok_or(UNKNOWN_FIRMWARE)?;
    let text = TextRange::of(file.target.as_str(), shared.arena.all()).ok_or(CORRUPT)?;
    Ok(Place::Slot(text, slot))
}

const UNKNOWN_FIRMWARE: Failure = Failure::Attempt(ReportCode::UnknownFirmware);

pub(crate) struct Plan {
    at: At,
    resume: Option<(FileIndex, ByteLength)>,
}

enum At {
    Begin,
    File(FileIndex),
    Capacity(FileIndex),
    Epoch,
    CanRaise,
    Forget,
}

impl Plan {
    pub(crate) const fn new(resume: Option<(FileIndex, ByteLength)>) -> Self {
        Self { at: At::Begin, resume }
    }

    #[inline(never)]
    pub(crate) fn step<P: Profile>(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        match self.at {
            At::Begin => {
                if shared.runs_foreign() {
                    return Err(UNKNOWN_FIRMWARE.into());
                }
                let files = release(shared)?.release().files.len();
                let length = files.min(FILES_MAX).saturating_mul(PLAN_BYTES);
                shared.arena.place(Region::Plan, length)?;
                shared.arena.region_mut(Region::Plan).fill(0);
                (shared.done, shared.total) = (0, 0);
                self.at = At::File(FileIndex(0));
                Err(Stop::Again)
            }
            At::File(index) => self.plan(index, shared),
            At::Capacity(index) => {
                let answer = shared.answered()?;
                let size = file(shared, index)?.size;
                match answer {
                    StorageAnswer::Capacity(Some(capacity)) if capacity >= size => {}
                    StorageAnswer::Capacity(Some(_)) => {
                        return Err(Failure::Attempt(ReportCode::TooLarge).into());
                    }
                    _ => return Err(Failure::Attempt(ReportCode::UnknownTarget).into()),
                }
                shared.total = shared.total.saturating_add(size.0);
                self.next(index, shared)
            }
            At::Epoch => {
                let epoch = release(shared)?.release().epoch;
                if epoch > shared.epoch() {
                    self.at = At::CanRaise;
                    return shared.ask_boot(BootOp::CanRaiseEpoch(epoch));
                }
                self.forget(shared)
            }
            At::CanRaise => {
                if shared.boot_answered()? == BootAnswer::CannotRaiseEpoch {
                    return Err(Failure::Attempt(ReportCode::EpochExhausted).into());
                }
                self.forget(shared)
            }
            At::Forget => {
                shared.answered()?;
                self.finish()
            }
        }
    }

    fn plan<P: Profile>(&mut self, index: FileIndex, shared: &mut Shared<'_, P>) -> Step<To> {
        let signed = release(shared)?;
        let files = signed.release().files;
        let Some(file) = files.get(usize::from(index.0)) else {
            self.at = At::Epoch;
            return Err(Stop::Again);
        };
        // Two files in one place could not both be there.
        if files.iter().take(usize::from(index.0)).any(|earlier| earlier.target == file.target) {
            return Err(Failure::Attempt(ReportCode::UnknownTarget).into());
        }
        let strength_min = shared.root()?.strength_min();
        strongest(file.integrity, P::Suite::algorithms(), strength_min)?;
        if FileSubject::of(signed.release(), index).is_none() {
            return Err(CORRUPT.into());
        }
        let listed = file.integrity.iter().find_map(|string| match string {
            IntegrityString::Sha256(digest) => Some(Sha256Digest(digest)),
            _ => None,
        });
        let active = shared.active().at(file.target);
        let kept = active.filter(|entry| entry.place.size == file.size).map(|entry| entry.digest);
        if let (Some(listed), Some(kept)) = (listed, kept)
            && listed == kept
        {
            set_planned(shared.arena.region_mut(Region::Plan), index, Planned::Keep(kept));
            return self.next(index, shared);
        }
        let place = staging_place(shared, &file)?;
        self.at = At::Capacity(index);
        shared.ask(Op::Capacity(place))
    }

    fn next<P: Profile>(&mut self, index: FileIndex, _shared: &Shared<'_, P>) -> Step<To> {
        self.at = At::File(FileIndex(index.0.saturating_add(1)));
        // Walking a long list takes its time: others have their turn every now and then.
        Err(if index.0 % 16 == 15 { Stop::Yield } else { Stop::Again })
    }

    /// The set before the kept one loses its files now: nobody must go back to it any more.
    fn forget<P: Profile>(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let Some(sets) = shared.sets.filter(|sets| sets.other.is_some()) else { return self.finish() };
        let SetState::Settled(_) = sets.state else { return Err(CORRUPT.into()) };
        let record = SetsRecord { other: None, ..sets };
        shared.sets = Some(record);
        let length = record.encode(shared.outgoing)?.len();
        self.at = At::Forget;
        shared.append(Log::Sets, length)
    }

    const fn finish(&self) -> Step<To> {
        Ok(To::FetchFiles(self.resume))
    }
}

/// How many files the release has.
pub(crate) fn file_count<P: Profile>(shared: &Shared<'_, P>) -> usize {
    shared.arena.region(Region::Plan).len().checked_div(PLAN_BYTES).unwrap_or(0)
}

/// How many bytes of the files before this one were fetched.
pub(crate) fn bytes_before<P: Profile>(shared: &Shared<'_, P>, index: FileIndex) -> Result<u64, Failure> {
    let plan = shared.arena.region(Region::Plan);
    let signed = release(shared)?;
    let files = signed.release().files.iter().take(usize::from(index.0));
    Ok((0_u16..).zip(files).fold(0, |sum, (position, file)| match planned(plan, FileIndex(position)) {
        Planned::Keep(_) => sum,
        _ => sum.saturating_add(file.size.0),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_back_as_it_was_written() {
        let mut plan = [0; 3 * PLAN_BYTES];
        let digest = Sha256Digest([9; 32]);
        set_planned(&mut plan, FileIndex(1), Planned::Keep(digest));
        set_planned(&mut plan, FileIndex(2), Planned::Checked(digest));
        assert_eq!(planned(&plan, FileIndex(0)), Planned::Fetch);
        assert_eq!(planned(&plan, FileIndex(1)), Planned::Keep(digest));
        assert_eq!(planned(&plan, FileIndex(2)), Planned::Checked(digest));
        set_planned(&mut plan, FileIndex(3), Planned::Keep(digest));
        assert_eq!(planned(&plan, FileIndex(3)), Planned::Fetch);
    }
}
