//! What every boot control must do, case by case, and the bootloader in memory that it is checked against.

use crate::device::{BootControl, BootFault, FirmwareSlots, Slot};
use crate::number::Sha256Digest;

/// Checks a boot control.
///
/// `fresh` makes a device that runs the firmware of slot A and has kept it, with other firmware in slot B; `restart`
/// restarts it, as a reset would. `firmware` are the digests of both.
///
/// # Panics
/// When a promise of [`BootControl`] is broken; the message says which.
pub fn boot_control<B: BootControl>(
    mut fresh: impl FnMut() -> B,
    mut restart: impl FnMut(B) -> B,
    firmware: [Sha256Digest; 2],
) {
    let [a, b] = firmware;
    assert_ne!(a, b, "two different firmwares are needed");
    let runs = |boot: &B, digest, when: &str| {
        assert_eq!(boot.running(), Some(digest), "{when}");
        if let Some(slot) = boot.running_slot()
            && boot.firmware_slots() == FirmwareSlots::InTurn
        {
            assert_eq!(slot, if digest == a { Slot::A } else { Slot::B }, "{when}, and says from where");
        }
    };

    let mut boot = fresh();
    runs(&boot, a, "a fresh device runs slot A");
    boot = restart(boot);
    runs(&boot, a, "without a request a restart changes nothing");

    boot.request_trial(Slot::B).unwrap();
    runs(&boot, a, "a request takes effect at the next restart, not before");
    boot.request_trial(Slot::B).unwrap();
    boot = restart(boot);
    runs(&boot, b, "a requested trial is started, however often it was requested");
    boot = restart(boot);
    runs(&boot, a, "a trial that was not confirmed is over with the next restart");
    boot = restart(boot);
    runs(&boot, a, "and does not come back by itself");

    let mut boot = trial(fresh(), &mut restart);
    boot.confirm().unwrap();
    boot.confirm().unwrap();
    for _ in 0..3 {
        boot = restart(boot);
        runs(&boot, b, "confirmed firmware is kept over restarts");
    }

    let mut boot = trial(fresh(), &mut restart);
    boot.revert().unwrap();
    boot.revert().unwrap();
    boot = restart(boot);
    runs(&boot, a, "a trial that was given up is not started again");

    let mut boot = trial(fresh(), &mut restart);
    boot.confirm().unwrap();
    boot = restart(boot);
    boot.revert().unwrap();
    boot.revert().unwrap();
    boot = restart(boot);
    runs(&boot, a, "going back works after a confirmation too, and twice is once");

    let mut boot = fresh();
    boot.confirm().unwrap();
    boot = restart(boot);
    runs(&boot, a, "confirming what is kept already changes nothing");
    boot.request_trial(Slot::B).unwrap();
    boot = restart(boot);
    runs(&boot, b, "a new trial can be started after all of that");
}

/// Restarts into the firmware of slot B, on trial.
fn trial<B: BootControl>(mut boot: B, restart: &mut impl FnMut(B) -> B) -> B {
    boot.request_trial(Slot::B).unwrap();
    restart(boot)
}

/// A bootloader in memory: two slots, a trial boot, an automatic way back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemoryBoot {
    firmware: [Option<Sha256Digest>; 2],
    kept: Slot,
    runs: Slot,
    trial: Option<Slot>,
    faults: u32,
}

impl MemoryBoot {
    /// Runs the firmware of slot A, and has kept it.
    #[must_use]
    pub const fn new(firmware: [Option<Sha256Digest>; 2]) -> Self {
        Self { firmware, kept: Slot::A, runs: Slot::A, trial: None, faults: 0 }
    }

    /// Puts firmware into a slot.
    pub const fn put(&mut self, slot: Slot, digest: Sha256Digest) {
        match slot {
            Slot::A => self.firmware[0] = Some(digest),
            Slot::B => self.firmware[1] = Some(digest),
        }
    }

    /// Restarts the device: what was requested is tried once, otherwise the kept firmware runs.
    pub fn restart(&mut self) {
        let requested = self.trial.take().filter(|slot| self.in_slot(*slot).is_some());
        self.runs = requested.unwrap_or(self.kept);
    }

    /// Lets the next so many marks fail.
    pub const fn fail_next(&mut self, faults: u32) {
        self.faults = faults;
    }

    /// The slot that runs.
    #[must_use]
    pub const fn runs(&self) -> Slot {
        self.runs
    }

    const fn in_slot(&self, slot: Slot) -> Option<Sha256Digest> {
        match slot {
            Slot::A => self.firmware[0],
            Slot::B => self.firmware[1],
        }
    }

    fn mark(&mut self) -> Result<(), BootFault> {
        match self.faults.checked_sub(1) {
            Some(left) => {
                self.faults = left;
                Err(BootFault)
            }
            None => Ok(()),
        }
    }
}

impl BootControl for MemoryBoot {
    fn running(&self) -> Option<Sha256Digest> {
        self.in_slot(self.runs)
    }

    fn running_slot(&self) -> Option<Slot> {
        Some(self.runs)
    }

    fn request_trial(&mut self, slot: Slot) -> Result<(), BootFault> {
        self.mark()?;
        self.trial = Some(slot);
        Ok(())
    }

    fn confirm(&mut self) -> Result<(), BootFault> {
        self.mark()?;
        self.kept = self.runs;
        Ok(())
    }

    fn revert(&mut self) -> Result<(), BootFault> {
        self.mark()?;
        self.trial = None;
        if self.kept == self.runs {
            self.kept = self.runs.other();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRMWARE: [Sha256Digest; 2] = [Sha256Digest([1; 32]), Sha256Digest([2; 32])];

    #[test]
    fn the_bootloader_in_memory_conforms() {
        let restart = |mut boot: MemoryBoot| {
            boot.restart();
            boot
        };
        boot_control(|| MemoryBoot::new(FIRMWARE.map(Some)), restart, FIRMWARE);
    }

    #[test]
    fn a_mark_that_fails_changes_nothing() {
        let mut boot = MemoryBoot::new(FIRMWARE.map(Some));
        boot.fail_next(1);
        assert_eq!(boot.request_trial(Slot::B), Err(BootFault));
        boot.restart();
        assert_eq!(boot.runs(), Slot::A);
        assert_eq!(boot.request_trial(Slot::B), Ok(()));
        boot.restart();
        assert_eq!(boot.runs(), Slot::B);
    }

    #[test]
    fn an_empty_slot_is_never_started() {
        let mut boot = MemoryBoot::new([Some(FIRMWARE[0]), None]);
        boot.request_trial(Slot::B).unwrap();
        boot.restart();
        assert_eq!(boot.runs(), Slot::A);
        boot.put(Slot::B, FIRMWARE[1]);
        boot.request_trial(Slot::B).unwrap();
        boot.restart();
        assert_eq!(boot.running(), Some(FIRMWARE[1]));
    }

    #[test]
    #[should_panic(expected = "a trial that was not confirmed is over")]
    fn a_bootloader_that_keeps_every_trial_is_found_out() {
        let restart = |mut boot: MemoryBoot| {
            boot.restart();
            boot.kept = boot.runs;
            boot
        };
        boot_control(|| MemoryBoot::new(FIRMWARE.map(Some)), restart, FIRMWARE);
    }
}
