//! What the machine around the processor gives by semihosting: a file that serves as the external NOR flash, lines of
//! text, and the end of the run.
//!
//! The file behaves as NOR flash does: erased to ones in whole sectors, written by clearing bits, word by word. It
//! outlives the processor, as a flash chip outlives a reset.

use cortex_m_semihosting::{debug, syscall};

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

use crate::layout::{ERASE_BYTES, FLASH_BYTES, WRITE_BYTES};

/// Open for reading, binary: mode 1 of `SYS_OPEN`.
const READ_BINARY: usize = 1;
/// Open for reading and writing, binary, without truncating: mode 3 of `SYS_OPEN`.
const READ_WRITE_BINARY: usize = 3;

/// The file that serves as the flash chip, in the folder where the emulator runs.
const FLASH_FILE: &[u8] = b"flash.bin\0";
/// Where the host's operating system gives unpredictable bytes.
const RANDOM_FILE: &[u8] = b"/dev/urandom\0";

/// The external flash.
pub struct Flash {
    file: usize,
}

/// The host did not do what was asked.
#[derive(Debug)]
pub struct HostError;

impl NorFlashError for HostError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl Flash {
    /// Opens the file, which must exist.
    pub fn open() -> Result<Self, HostError> {
        open(FLASH_FILE, READ_WRITE_BINARY).map(|file| Self { file })
    }

    fn seek(&self, offset: u32) -> Result<(), HostError> {
        // SAFETY: SYS_SEEK takes a handle and a position.
        done(unsafe { syscall!(SEEK, self.file, offset) })
    }

    fn put(&self, offset: u32, bytes: &[u8]) -> Result<(), HostError> {
        self.seek(offset)?;
        // SAFETY: SYS_WRITE reads `bytes`.
        done(unsafe { syscall!(WRITE, self.file, bytes.as_ptr(), bytes.len()) })
    }
}

impl Drop for Flash {
    fn drop(&mut self) {
        close(self.file);
    }
}

fn open(name_with_zero: &[u8], mode: usize) -> Result<usize, HostError> {
    // SAFETY: SYS_OPEN reads the name, whose length excludes the zero byte behind it.
    let file = unsafe { syscall!(OPEN, name_with_zero.as_ptr(), mode, name_with_zero.len() - 1) };
    if file == usize::MAX { Err(HostError) } else { Ok(file) }
}

fn close(file: usize) {
    // SAFETY: SYS_CLOSE takes a handle, which nobody uses afterwards.
    unsafe { syscall!(CLOSE, file) };
}

/// 16 unpredictable bytes.
pub fn random() -> Result<[u8; 16], HostError> {
    let file = open(RANDOM_FILE, READ_BINARY)?;
    let mut bytes = [0; 16];
    // SAFETY: SYS_READ fills `bytes`.
    let read = done(unsafe { syscall!(READ, file, bytes.as_mut_ptr(), bytes.len()) });
    close(file);
    read.map(|()| bytes)
}

fn done(result: usize) -> Result<(), HostError> {
    if result == 0 { Ok(()) } else { Err(HostError) }
}

impl ErrorType for Flash {
    type Error = HostError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), HostError> {
        self.seek(offset)?;
        // SAFETY: SYS_READ fills `bytes`.
        done(unsafe { syscall!(READ, self.file, bytes.as_mut_ptr(), bytes.len()) })
    }

    fn capacity(&self) -> usize {
        FLASH_BYTES
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = WRITE_BYTES;
    const ERASE_SIZE: usize = ERASE_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), HostError> {
        let ones = [0xFF; 256];
        (from..to).step_by(ones.len()).try_for_each(|offset| self.put(offset, &ones))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), HostError> {
        // Writing can only clear bits; a second write of a word would show as a wrong value, as on a chip.
        let mut piece = [0; 64];
        let mut offset = offset;
        for part in bytes.chunks(piece.len()) {
            let there = &mut piece[..part.len()];
            self.read(offset, there)?;
            there.iter_mut().zip(part).for_each(|(there, new)| *there &= new);
            self.put(offset, there)?;
            offset += part.len() as u32;
        }
        Ok(())
    }
}

/// Prints one line to the host.
#[macro_export]
macro_rules! line {
    ($($part:tt)*) => {{ let _ = cortex_m_semihosting::hprintln!($($part)*); }};
}

/// Ends the run: this is the reset.
pub fn reset() -> ! {
    loop {
        debug::exit(debug::EXIT_SUCCESS);
    }
}

/// Ends the run with a failure.
pub fn fail() -> ! {
    loop {
        debug::exit(debug::EXIT_FAILURE);
    }
}
