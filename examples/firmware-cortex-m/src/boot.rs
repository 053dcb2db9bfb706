//! What the firmware and its bootloader tell each other: words appended to one erase block of the flash.
//!
//! The bootloader starts the slot of the last request once. Unless that firmware confirms itself, the next start goes
//! back to the slot before it. Here the bootloader is the program on the host; on a board it is the first code that runs.

use core::arch::asm;

use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use ota_core::crypto::Hasher;
use ota_core::crypto::soft::SoftSha256;
use ota_core::device::{BootControl, BootFault, Slot};
use ota_core::number::Sha256Digest;

use crate::host::Flash;
use crate::layout::{BOOT_OFFSET, ERASE_BYTES};

/// Try the firmware in slot A, or in slot B.
const TRY: [u32; 2] = [0xB007_0010, 0xB007_0011];
/// Keep what runs.
const KEEP: u32 = 0xB007_0020;
/// Go back at the next start.
const BACK: u32 = 0xB007_0030;

unsafe extern "C" {
    static __sidata: u32;
    static __sdata: u32;
    static __edata: u32;
}

/// The firmware's side of the bootloader.
pub struct Boot {
    running: Sha256Digest,
}

impl Boot {
    /// Hashes the running firmware, once after each start.
    pub fn new() -> Self {
        let length = &raw const __sidata as usize + (&raw const __edata as usize - &raw const __sdata as usize);
        let mut hasher = SoftSha256::new();
        for address in (0..length).step_by(4) {
            hasher.update(&word_at(address).to_le_bytes());
        }
        Self { running: Sha256Digest(hasher.finish()) }
    }

    fn tell(&self, word: u32) -> Result<(), BootFault> {
        let mut flash = Flash::open().map_err(|_| BootFault)?;
        let mut there = [0; 4];
        for offset in (BOOT_OFFSET..BOOT_OFFSET + ERASE_BYTES as u32).step_by(4) {
            flash.read(offset, &mut there).map_err(|_| BootFault)?;
            if there == [0xFF; 4] {
                return flash.write(offset, &word.to_le_bytes()).map_err(|_| BootFault);
            }
        }
        // The bootloader erases the block when it starts a firmware, so it fills only if nobody ever restarts.
        Err(BootFault)
    }
}

/// The program begins at address 0, which no reference can name.
fn word_at(address: usize) -> u32 {
    let word;
    // SAFETY: every word of the program's own image can be read.
    unsafe { asm!("ldr {}, [{}]", out(reg) word, in(reg) address, options(nostack, readonly)) };
    word
}

impl BootControl for Boot {
    fn running(&self) -> Option<Sha256Digest> {
        Some(self.running)
    }

    fn request_trial(&mut self, slot: Slot) -> Result<(), BootFault> {
        let [a, b] = TRY;
        self.tell(match slot {
            Slot::A => a,
            Slot::B => b,
        })
    }

    fn confirm(&mut self) -> Result<(), BootFault> {
        self.tell(KEEP)
    }

    fn revert(&mut self) -> Result<(), BootFault> {
        self.tell(BACK)
    }
}
