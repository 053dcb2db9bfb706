//! The commit: one record, appended after everything that it names has been checked once more.
//!
//! Order: the release is admitted again under the current root and the fresh assignment; the list of the new set is
//! written, read back and compared; then the record is appended. A cut before it leaves the old set, after it the new.

use ota_core::device::Slot;
use ota_core::number::{FileIndex, Sha256Digest};
use ota_core::text::{FileName, InstallTarget};
use ota_core::wire::{Phase as Reached, ReportCode};

use super::install::store;
use super::metadata::{HashRegion, Load, Save};
use super::plan::{Planned, planned, release};
use super::{Origin, To};
use crate::arena::{Region, Regions};
use crate::config::Profile;
use crate::math;
use crate::ops::Place;
use crate::record::{Attempt, Firmware, SetRef, SetState, SetsRecord};
use crate::set::{Entry, FileSet, Place as FilePlace, write_set};
use crate::shared::{CORRUPT, Failure, Shared, Step, Stop};
use crate::slots::StagingSlots;

pub(crate) struct Commit<P: Profile> {
    at: At<P>,
    firmware: Option<Firmware>,
    digest: Option<Sha256Digest>,
}

enum At<P: Profile> {
    Build,
    Hash(HashRegion<P>),
    Save(Save),
    ReadBack(Load<P>),
    Store,
    Stored,
}

impl<P: Profile> Commit<P> {
    pub(crate) const fn new() -> Self {
        Self { at: At::Build, firmware: None, digest: None }
    }

    #[inline(never)]
    pub(crate) fn step(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        match &mut self.at {
            At::Build => {
                admit(shared)?;
                self.build(shared)?;
                self.at = At::Hash(HashRegion::new(Region::NewSet));
                Err(Stop::Yield)
            }
            At::Hash(hash) => {
                self.digest = Some(hash.step(shared)?.digest());
                self.at = At::Save(Save::new(Place::SetBody(new_slot(shared)), Region::NewSet));
                Err(Stop::Again)
            }
            At::Save(save) => {
                save.step(shared)?;
                let length = math::to_u32(shared.arena.region(Region::NewSet).len());
                let place = Place::SetBody(new_slot(shared));
                self.at = At::ReadBack(Load::new(place, Region::NewSet, length));
                Err(Stop::Again)
            }
            At::ReadBack(load) => {
                let found = load.step(shared)?.digest();
                if Some(found) != self.digest {
                    return Err(CORRUPT.into());
                }
                self.at = At::Store;
                Err(Stop::Yield)
            }
            At::Store => {
                // Time has passed since the set was built, so the question is asked once more.
                admit(shared)?;
                let record = self.record(shared)?;
                shared.tell(Reached::Installed, ReportCode::Ok);
                self.at = At::Stored;
                store(record, shared)
            }
            At::Stored => {
                shared.answered()?;
                shared.forget_attempt();
                shared.news = None;
                Ok(To::Starting(Origin::SetChanged))
            }
        }
    }

    fn record(&self, shared: &Shared<'_, P>) -> Result<SetsRecord, Failure> {
        let offer = shared.offer.as_ref().ok_or(CORRUPT)?;
        let new = SetRef {
            slot: new_slot(shared),
            bytes: math::to_u32(shared.arena.region(Region::NewSet).len()),
            digest: self.digest.ok_or(CORRUPT)?,
            firmware: self.firmware,
        };
        let attempt = Attempt {
            release: offer.release,
            offer: offer.id,
            sequence: shared.reporter.next_sequence(),
            epoch: release(shared)?.release().epoch,
        };
        Ok(SetsRecord {
            state: SetState::Committed,
            kept: shared.sets.ok_or(CORRUPT)?.kept,
            other: Some(new),
            attempt: Some(attempt),
        })
    }

    /// Writes the list of the new set into memory.
    fn build(&mut self, shared: &mut Shared<'_, P>) -> Result<(), Failure> {
        let (firmware_target, slots) = (shared.firmware_target, shared.staging_slots());
        let receipt = shared.release.ok_or(CORRUPT)?;
        let (regions, room) = shared.arena.split_for_new_set();
        let signed = receipt.attach(regions.body)?;
        let new = NewSet {
            files: signed.release().files,
            old: FileSet::decode(regions.set).unwrap_or(FileSet::EMPTY),
            slots,
            regions,
        };
        if !new.is_checked() {
            return Err(CORRUPT);
        }
        self.firmware = new
            .entries()
            .find(|entry| firmware_target.is_some_and(|target| target == entry.place.target))
            .map(|entry| Firmware { digest: entry.digest, slot: entry.place.slot });
        let length = write_set(room, new.entries().count(), new.entries())?.len();
        // The bytes lie where the region begins, so giving it this length keeps them.
        shared.arena.place(Region::NewSet, length)?;
        Ok(())
    }
}

/// The files of the release and, for targets that it does not touch, the ones that are installed.
#[derive(Clone, Copy)]
struct NewSet<'a> {
    files: ota_core::list::List<'a, ota_core::trust::File<'a>>,
    old: FileSet<'a>,
    slots: StagingSlots<'a>,
    regions: Regions<'a>,
}

impl<'a> NewSet<'a> {
    /// Whether every file of the release was kept or checked.
    fn is_checked(&self) -> bool {
        (0_u16..)
            .zip(self.files.iter())
            .all(|(index, _)| planned(self.regions.plan, FileIndex(index)) != Planned::Fetch)
    }

    /// All entries in rising order of their names.
    fn entries(&self) -> impl Iterator<Item = Entry<'a>> + Clone + use<'a> {
        let (this, mut last) = (*self, None);
        core::iter::from_fn(move || {
            let entry = this.following(last)?;
            last = Some(entry.file);
            Some(entry)
        })
    }

    /// The entry with the first name behind `last`.
    #[inline(never)]
    fn following(&self, last: Option<FileName<'a>>) -> Option<Entry<'a>> {
        let mut first: Option<Entry<'a>> = None;
        let comes_first = |name: FileName<'a>, first: &Option<Entry<'a>>| {
            last.is_none_or(|last| name > last) && first.is_none_or(|first| name < first.file)
        };
        for (index, file) in (0_u16..).zip(self.files.iter()) {
            if comes_first(file.name, &first)
                && let Some((slot, digest)) = self.placed(FileIndex(index), file.target)
            {
                let place = FilePlace { target: file.target, slot, size: file.size };
                first = Some(Entry { file: file.name, revision: file.revision, digest, place });
            }
        }
        for entry in self.old.entries() {
            // A name belongs to one file: one that moves to another target leaves nothing behind.
            let is_kept =
                || self.files.iter().all(|file| file.target != entry.place.target && file.name != entry.file);
            if comes_first(entry.file, &first) && is_kept() {
                first = Some(entry);
            }
        }
        first
    }

    /// Where a file of the release lies once the new set is active, and its digest.
    fn placed(&self, index: FileIndex, target: InstallTarget<'_>) -> Option<(Slot, Sha256Digest)> {
        let active = self.old.at(target);
        match planned(self.regions.plan, index) {
            Planned::Keep(digest) => Some((active?.place.slot, digest)),
            Planned::Checked(digest) => Some((self.slots.active(target, active)?, digest)),
            Planned::Fetch => None,
        }
    }
}

/// Asks whether the release may be installed now, under the current root and the latest assignment.
fn admit<P: Profile>(shared: &Shared<'_, P>) -> Result<(), Failure> {
    let offer = shared.offer.as_ref().ok_or(CORRUPT)?;
    let root = shared.root()?;
    release(shared)?.admit(&root, &offer.assignment, &shared.context(offer.asked_at))?;
    Ok(())
}

/// Where the list of the new set goes.
fn new_slot<P: Profile>(shared: &Shared<'_, P>) -> Slot {
    shared.sets.map_or(Slot::A, |sets| sets.kept.slot.other())
}
