//! `embassy-boot`: a bootloader that swaps the staged firmware with the running one and swaps back unless it is confirmed.
//!
//! The bootloader runs firmware from its active partition and knows one place for staging, its DFU partition. So the
//! layout of the storage puts slot A of the firmware's install target into the active partition and slot B into the DFU
//! partition, both of the active partition's length: the page by which the DFU partition is longer is the bootloader's.
//! What lies in which of them after a swap or a swap back is nobody's to remember: the set of files that belongs to the
//! running firmware says slot A, always.

use embassy_boot::{BlockingFirmwareState, State};
use embedded_storage::nor_flash::NorFlash;
use ota_core::device::{BootControl, BootFault, FirmwareSlots, Slot};
use ota_core::number::{SecurityEpoch, Sha256Digest};

/// The state partition of `embassy-boot`, and what the running firmware says about itself.
pub struct EmbassyBoot<'d, STATE: NorFlash> {
    state: BlockingFirmwareState<'d, STATE>,
    running: Option<Sha256Digest>,
    epoch: SecurityEpoch,
}

impl<'d, STATE: NorFlash> EmbassyBoot<'d, STATE> {
    /// Takes the state partition, with the digest of the firmware that runs and the security epoch it carries.
    pub const fn new(
        state: BlockingFirmwareState<'d, STATE>,
        running: Option<Sha256Digest>,
        epoch: SecurityEpoch,
    ) -> Self {
        Self { state, running, epoch }
    }
}

impl<STATE: NorFlash> BootControl for EmbassyBoot<'_, STATE> {
    fn running(&self) -> Option<Sha256Digest> {
        self.running
    }

    fn running_epoch(&self) -> SecurityEpoch {
        self.epoch
    }

    fn firmware_slots(&self) -> FirmwareSlots {
        FirmwareSlots::Swapped
    }

    /// Any slot means the one that is staged. While a trial runs the bootloader cannot be told of another one: asking
    /// then changes nothing.
    fn request_trial(&mut self, _slot: Slot) -> Result<(), BootFault> {
        self.state.mark_updated().map_err(|_| BootFault)
    }

    fn confirm(&mut self) -> Result<(), BootFault> {
        self.state.mark_booted().map_err(|_| BootFault)
    }

    /// The bootloader swaps back whatever was not confirmed, so there is nothing to write during a trial; once it is
    /// confirmed, what it replaced cannot be asked for.
    fn revert(&mut self) -> Result<(), BootFault> {
        match self.state.get_state() {
            Ok(State::Swap | State::Revert) => Ok(()),
            Ok(State::Boot | State::DfuDetach) | Err(_) => Err(BootFault),
        }
    }
}

#[cfg(test)]
mod tests {
    use embedded_storage::nor_flash::{ErrorType, NorFlashError, NorFlashErrorKind, ReadNorFlash};

    use super::*;

    /// A state partition in memory that enforces erase before write.
    struct Partition([u8; 256], bool);

    #[derive(Debug)]
    struct Broken;

    impl NorFlashError for Broken {
        fn kind(&self) -> NorFlashErrorKind {
            NorFlashErrorKind::Other
        }
    }

    impl ErrorType for Partition {
        type Error = Broken;
    }

    impl ReadNorFlash for Partition {
        const READ_SIZE: usize = 1;
        fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Broken> {
            let at = offset as usize;
            bytes.copy_from_slice(&self.0[at..at + bytes.len()]);
            if self.1 { Ok(()) } else { Err(Broken) }
        }
        fn capacity(&self) -> usize {
            self.0.len()
        }
    }

    impl NorFlash for Partition {
        const WRITE_SIZE: usize = 4;
        const ERASE_SIZE: usize = 256;
        fn erase(&mut self, _from: u32, _to: u32) -> Result<(), Broken> {
            self.0.fill(0xFF);
            Ok(())
        }
        fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Broken> {
            let target = &mut self.0[offset as usize..offset as usize + bytes.len()];
            assert!(target.iter().all(|byte| *byte == 0xFF), "erased before it is written");
            target.copy_from_slice(bytes);
            Ok(())
        }
    }

    #[test]
    fn a_trial_is_asked_for_confirmed_and_then_cannot_be_taken_back() {
        let mut aligned = [0; 4];
        let state = BlockingFirmwareState::new(Partition([0xFF; 256], true), &mut aligned);
        let mut boot = EmbassyBoot::new(state, Some(Sha256Digest([7; 32])), SecurityEpoch(3));
        assert_eq!((boot.running(), boot.running_epoch()), (Some(Sha256Digest([7; 32])), SecurityEpoch(3)));
        assert_eq!(boot.firmware_slots(), FirmwareSlots::Swapped);
        assert_eq!(boot.revert(), Err(BootFault), "there is no trial yet");
        boot.request_trial(Slot::B).unwrap();
        boot.request_trial(Slot::B).unwrap();
        assert_eq!(boot.state.get_state().unwrap(), State::Swap);
        boot.revert().unwrap();
        boot.confirm().unwrap();
        boot.confirm().unwrap();
        assert_eq!(boot.state.get_state().unwrap(), State::Boot);
        assert_eq!(boot.revert(), Err(BootFault));
    }

    #[test]
    fn a_broken_partition_is_a_fault() {
        let mut aligned = [0; 4];
        let state = BlockingFirmwareState::new(Partition([0xFF; 256], false), &mut aligned);
        let mut boot = EmbassyBoot::new(state, None, SecurityEpoch(0));
        assert_eq!(boot.request_trial(Slot::A), Err(BootFault));
        assert_eq!(boot.confirm(), Err(BootFault));
        assert_eq!(boot.revert(), Err(BootFault));
    }
}
