//! The bootloader of the emulated board: starts a firmware on trial once, and goes back unless it was kept.
//!
//! Its memory is one erase block of the flash, where it and the firmware append words. The firmware writes requests;
//! the bootloader writes which slot runs and whether it is on trial.

use ota_core::device::Slot;

use crate::flash_file::FlashFile;
use crate::layout::{BOOT_OFFSET, ERASE_BYTES};

const TRY_A: u32 = 0xB007_0010;
const TRY_B: u32 = 0xB007_0011;
const KEEP: u32 = 0xB007_0020;
const BACK: u32 = 0xB007_0030;
/// Slot A or B runs on trial; the other one is what to go back to.
const TRIAL_A: u32 = 0xB007_0040;
const TRIAL_B: u32 = 0xB007_0041;
/// Slot A or B is kept.
const KEPT_A: u32 = 0xB007_0050;
const KEPT_B: u32 = 0xB007_0051;
const EMPTY: u32 = 0xFFFF_FFFF;

pub(crate) struct Bootloader {
    flash: FlashFile,
}

impl Bootloader {
    pub(crate) fn new(flash: FlashFile) -> Self {
        Self { flash }
    }

    /// What the next start runs; what that means for the start after it is written down first.
    pub(crate) fn slot_to_start(&mut self) -> Result<Slot, String> {
        let words = self.words()?;
        let mut kept = Slot::A;
        let mut trial = None;
        let mut request = None;
        for word in words.iter().take_while(|word| **word != EMPTY) {
            match *word {
                TRY_A => request = Some(Slot::A),
                TRY_B => request = Some(Slot::B),
                TRIAL_A => (trial, request) = (Some(Slot::A), None),
                TRIAL_B => (trial, request) = (Some(Slot::B), None),
                KEEP => kept = trial.take().unwrap_or(kept),
                BACK => (trial, request) = (None, None),
                KEPT_A => (kept, trial, request) = (Slot::A, None, None),
                KEPT_B => (kept, trial, request) = (Slot::B, None, None),
                other => return Err(format!("the boot record holds {other:#x}")),
            }
        }
        // A trial that was never kept is over with this start, unless a new one is asked for.
        let (next, mark) = match request {
            Some(Slot::A) => (Slot::A, TRIAL_A),
            Some(Slot::B) => (Slot::B, TRIAL_B),
            None if kept == Slot::A => (kept, KEPT_A),
            None => (kept, KEPT_B),
        };
        self.append(mark)?;
        Ok(next)
    }

    fn words(&mut self) -> Result<Vec<u32>, String> {
        let bytes = self.flash.get(BOOT_OFFSET, ERASE_BYTES as u32)?;
        Ok(bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    fn append(&mut self, word: u32) -> Result<(), String> {
        let used = self.words()?.iter().take_while(|word| **word != EMPTY).count();
        let offset = BOOT_OFFSET + u32::try_from(used * 4).map_err(|error| error.to_string())?;
        self.flash.put(offset, &word.to_le_bytes())
    }
}
