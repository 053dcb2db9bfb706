//! Building a map where there is an allocator: servers and tools.

use alloc::vec::Vec;

use super::{BlockMapError, UnitDigests};
use crate::crypto::{Sha256, digest};
use crate::number::{ByteLength, Sha256Digest};
use crate::trust::BlockMapRef;

/// A map under construction: give it the file's bytes in order, in pieces of any size, then finish.
#[derive(Debug, Clone)]
pub struct BlockMapBuilder<H> {
    unit: u32,
    digests: UnitDigests<H>,
    bytes: Vec<u8>,
    file_size: u64,
}

/// A finished map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlockMap {
    /// The map itself.
    pub bytes: Vec<u8>,
    /// What the release says about it.
    pub reference: BlockMapRef,
    /// How long the file is.
    pub file_size: ByteLength,
}

impl<H: Sha256> BlockMapBuilder<H> {
    /// Begins a map with units of `unit` bytes.
    ///
    /// # Errors
    /// [`BlockMapError::UnitBytes`] if no unit may have this length.
    pub fn new(unit: u32) -> Result<Self, BlockMapError> {
        Ok(Self { unit, digests: UnitDigests::new(unit)?, bytes: Vec::new(), file_size: 0 })
    }

    /// Adds the next bytes of the file.
    ///
    /// # Errors
    /// [`BlockMapError::TooLarge`] if the file is too long for a map with this unit.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), BlockMapError> {
        let length = u64::try_from(bytes.len()).map_err(|_| BlockMapError::TooLarge)?;
        self.file_size = self.file_size.checked_add(length).ok_or(BlockMapError::TooLarge)?;
        self.digests.update(bytes, |_, digest| self.bytes.extend_from_slice(digest))
    }

    /// The map of everything that was added.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn finish(self) -> Result<BlockMap, BlockMapError> {
        let Self { unit, digests, mut bytes, file_size } = self;
        digests.finish(|_, digest| bytes.extend_from_slice(digest))?;
        let size = u64::try_from(bytes.len()).map(ByteLength).map_err(|_| BlockMapError::TooLarge)?;
        let reference = BlockMapRef { unit, size, digest: Sha256Digest(digest::<H>(&bytes)) };
        Ok(BlockMap { bytes, reference, file_size: ByteLength(file_size) })
    }
}
