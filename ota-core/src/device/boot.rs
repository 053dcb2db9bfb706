//! Starting firmware, and knowing which one runs.

use crate::device::Slot;
use crate::number::{SecurityEpoch, Sha256Digest};

/// The bootloader, as far as an update needs it.
///
/// Devices whose releases hold no firmware use [`()`](unit), which runs nothing and starts nothing.
pub trait BootControl {
    /// The SHA-256 of the firmware that runs now, if the device has any; the set of files that belongs to it is
    /// selected by this and nothing else.
    fn running(&self) -> Option<Sha256Digest>;

    /// The security epoch that the running firmware carries itself, or 0.
    fn running_epoch(&self) -> SecurityEpoch {
        SecurityEpoch(0)
    }

    /// How the two slots of the firmware's install target are used. A device keeps this for life.
    fn firmware_slots(&self) -> FirmwareSlots {
        FirmwareSlots::InTurn
    }

    /// The slot that the running firmware lies in, if the bootloader says so; it matters with [`FirmwareSlots::InTurn`].
    ///
    /// New firmware is never written there. Without an answer it goes to the slot that the active set of files does not
    /// name, and a device whose factory has not listed its firmware takes none: nobody could say which slot is free.
    fn running_slot(&self) -> Option<Slot> {
        None
    }

    /// Asks for a trial boot of the firmware in this slot at the next restart. Calling it again does nothing new.
    /// With [`FirmwareSlots::Swapped`] it is slot A, from where the firmware in slot B is going to run.
    ///
    /// A power cut leaves the old firmware or the trial to be started next. The bootloader goes back by itself
    /// unless [`confirm`](Self::confirm) is called while the new firmware runs.
    ///
    /// # Errors
    /// [`BootFault`] if the request was not written; the old firmware stays.
    fn request_trial(&mut self, slot: Slot) -> Result<(), BootFault>;

    /// Keeps the running firmware and cancels the automatic revert; calling it again does nothing.
    ///
    /// # Errors
    /// [`BootFault`] if the mark was not written; the next boot reverts.
    fn confirm(&mut self) -> Result<(), BootFault>;

    /// Makes the next restart start the firmware that ran before the trial; calling it again does nothing.
    ///
    /// # Errors
    /// [`BootFault`] if the mark was not written; a bootloader with a trial boot reverts all the same.
    fn revert(&mut self) -> Result<(), BootFault>;

    /// Whether the security epoch can still rise to this one, asked before anything is committed.
    ///
    /// Devices that keep the epoch in fuses run out of them; learning that after the swap would brick the device.
    fn can_raise_epoch(&self, _to: SecurityEpoch) -> bool {
        true
    }
}

/// How a bootloader uses the two slots of the firmware's install target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FirmwareSlots {
    /// Firmware runs from the slot that it was written to, so the slots take turns.
    #[default]
    InTurn,
    /// Firmware always runs from slot A. New firmware is written to slot B, and the bootloader swaps the two before
    /// it starts a trial, and once more to go back.
    Swapped,
}

/// The bootloader's mark was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the boot control failed")]
pub struct BootFault;

impl BootControl for () {
    fn running(&self) -> Option<Sha256Digest> {
        None
    }

    fn request_trial(&mut self, _slot: Slot) -> Result<(), BootFault> {
        Ok(())
    }

    fn confirm(&mut self) -> Result<(), BootFault> {
        Ok(())
    }

    fn revert(&mut self) -> Result<(), BootFault> {
        Ok(())
    }
}
