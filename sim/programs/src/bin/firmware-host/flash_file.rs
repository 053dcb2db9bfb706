//! The flash chip of the emulated board, as the host sees it: a file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

use crate::layout::{ERASE_BYTES, FLASH_BYTES, WRITE_BYTES};

pub(crate) struct FlashFile(File);

impl FlashFile {
    /// An erased chip.
    pub(crate) fn create(path: &Path) -> Result<Self, String> {
        std::fs::write(path, vec![0xff; FLASH_BYTES]).map_err(|error| error.to_string())?;
        Self::open(path)
    }

    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        file.map(Self).map_err(|error| format!("cannot open {}: {error}", path.display()))
    }

    pub(crate) fn get(&mut self, offset: u32, bytes: u32) -> Result<Vec<u8>, String> {
        let mut found = vec![0; bytes as usize];
        self.read(offset, &mut found).map(|()| found).map_err(|error| error.0.to_string())
    }

    pub(crate) fn put(&mut self, offset: u32, bytes: &[u8]) -> Result<(), String> {
        self.write(offset, bytes).map_err(|error| error.0.to_string())
    }
}

/// What the host's file system said.
#[derive(Debug)]
pub(crate) struct FileError(std::io::Error);

impl NorFlashError for FileError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl ErrorType for FlashFile {
    type Error = FileError;
}

impl ReadNorFlash for FlashFile {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FileError> {
        self.0.seek(SeekFrom::Start(offset.into())).map_err(FileError)?;
        self.0.read_exact(bytes).map_err(FileError)
    }

    fn capacity(&self) -> usize {
        FLASH_BYTES
    }
}

impl NorFlash for FlashFile {
    const WRITE_SIZE: usize = WRITE_BYTES;
    const ERASE_SIZE: usize = ERASE_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FileError> {
        self.0.seek(SeekFrom::Start(from.into())).map_err(FileError)?;
        self.0.write_all(&vec![0xff; (to - from) as usize]).map_err(FileError)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FileError> {
        self.0.seek(SeekFrom::Start(offset.into())).map_err(FileError)?;
        self.0.write_all(bytes).map_err(FileError)
    }
}
