//! Which slot of an install target new files are written to: never the one that is in use.

use ota_core::device::{FirmwareSlots, Slot};
use ota_core::text::InstallTarget;

use crate::set::Entry;

/// What is known of the slots that are in use, besides the active set of files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StagingSlots<'a> {
    /// The target that firmware belongs to, if the device has any.
    pub(crate) firmware: Option<InstallTarget<'a>>,
    /// How the bootloader uses its slots.
    pub(crate) slots: FirmwareSlots,
    /// Whether firmware runs at all.
    pub(crate) runs_some: bool,
    /// The slot that it runs from, if the bootloader says so.
    pub(crate) runs_from: Option<Slot>,
}

impl StagingSlots<'_> {
    /// The slot that a target's new file is written to, next to its active file; `None` if any could be in use.
    pub(crate) fn written(&self, target: InstallTarget<'_>, active: Option<Entry<'_>>) -> Option<Slot> {
        let is_firmware = self.firmware.is_some_and(|firmware| firmware == target);
        let used = match (is_firmware, self.slots) {
            (true, FirmwareSlots::Swapped) => Some(Slot::A),
            (true, FirmwareSlots::InTurn) => self.runs_from.or(active.map(|entry| entry.place.slot)),
            (false, _) => active.map(|entry| entry.place.slot),
        };
        match used {
            Some(used) => Some(used.other()),
            None if is_firmware && self.runs_some => None,
            None => Some(Slot::A),
        }
    }

    /// The slot in which that file lies once its set is active: the bootloader may have swapped it until then.
    pub(crate) fn active(&self, target: InstallTarget<'_>, active: Option<Entry<'_>>) -> Option<Slot> {
        match (self.firmware, self.slots) {
            (Some(firmware), FirmwareSlots::Swapped) if firmware == target => Some(Slot::A),
            _ => self.written(target, active),
        }
    }
}

#[cfg(test)]
mod tests {
    use ota_core::number::{ByteLength, Sha256Digest};
    use ota_core::text::{FileName, Revision};

    use super::*;
    use crate::set::Place;

    fn target(name: &str) -> InstallTarget<'_> {
        InstallTarget::new(name).unwrap()
    }

    fn entry(target: InstallTarget<'_>, slot: Slot) -> Entry<'_> {
        Entry {
            file: FileName::new("some.bin").unwrap(),
            revision: Revision::new("1").unwrap(),
            digest: Sha256Digest([1; 32]),
            place: Place { target, slot, size: ByteLength(9) },
        }
    }

    fn slots(slots: FirmwareSlots, runs_some: bool, runs_from: Option<Slot>) -> StagingSlots<'static> {
        StagingSlots { firmware: Some(target("firmware")), slots, runs_some, runs_from }
    }

    #[test]
    fn a_file_goes_where_the_active_one_is_not() {
        let firmware = target("firmware");
        let known = slots(FirmwareSlots::InTurn, true, None);
        for slot in [Slot::A, Slot::B] {
            for target in [firmware, target("app")] {
                assert_eq!(known.written(target, Some(entry(target, slot))), Some(slot.other()));
            }
        }
        assert_eq!(known.written(target("app"), None), Some(Slot::A));
    }

    #[test]
    fn firmware_is_never_written_where_it_runs() {
        let firmware = target("firmware");
        for slot in [Slot::A, Slot::B] {
            let told = slots(FirmwareSlots::InTurn, true, Some(slot));
            assert_eq!(told.written(firmware, None), Some(slot.other()));
            // Somebody has copied the active firmware to the other slot, and started it there.
            assert_eq!(told.written(firmware, Some(entry(firmware, slot.other()))), Some(slot.other()));
        }
    }

    #[test]
    fn without_a_word_about_what_runs_no_slot_is_free() {
        assert_eq!(slots(FirmwareSlots::InTurn, true, None).written(target("firmware"), None), None);
        assert_eq!(
            slots(FirmwareSlots::InTurn, false, None).written(target("firmware"), None),
            Some(Slot::A)
        );
    }

    #[test]
    fn swapped_firmware_is_written_to_b_and_runs_from_a() {
        let (firmware, swapped) = (target("firmware"), slots(FirmwareSlots::Swapped, true, None));
        for active in [None, Some(entry(firmware, Slot::A))] {
            assert_eq!(swapped.written(firmware, active), Some(Slot::B));
            assert_eq!(swapped.active(firmware, active), Some(Slot::A));
        }
        let app = target("app");
        assert_eq!(swapped.active(app, Some(entry(app, Slot::A))), Some(Slot::B));
    }
}
