//! The digests of units that stream by, of a file whose length need not be known: the one way in which maps are made
//! and in which a device finds out what it already has.

use super::{BlockMapError, UNIT_DIGEST_BYTES};
use crate::crypto::Sha256;
use crate::limits::{BLOCK_MAP_BYTES_MAX, UNIT_BYTES_MAX, UNIT_BYTES_MIN};
use crate::number::UnitIndex;

/// Cuts a file that comes in pieces of any size into units and hashes each.
#[derive(Debug, Clone)]
pub struct UnitDigests<H> {
    unit: u32,
    hasher: H,
    /// Bytes of the current unit that were hashed; less than `unit`.
    filled: usize,
    index: u32,
}

impl<H: Sha256> UnitDigests<H> {
    /// Begins with the first unit.
    ///
    /// # Errors
    /// [`BlockMapError::UnitBytes`] if no unit may have this length.
    pub fn new(unit: u32) -> Result<Self, BlockMapError> {
        if !(UNIT_BYTES_MIN..=UNIT_BYTES_MAX).contains(&unit) {
            return Err(BlockMapError::UnitBytes(unit));
        }
        Ok(Self { unit, hasher: H::new(), filled: 0, index: 0 })
    }

    /// Adds the next bytes of the file, and hands over the digest of each unit that they complete.
    ///
    /// # Errors
    /// [`BlockMapError::TooLarge`] if the file has more units than a map can hold.
    pub fn update(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(UnitIndex, &[u8; UNIT_DIGEST_BYTES]),
    ) -> Result<(), BlockMapError> {
        let unit = usize::try_from(self.unit).map_err(|_| BlockMapError::UnitBytes(self.unit))?;
        while !bytes.is_empty() {
            let room = unit.saturating_sub(self.filled);
            let (piece, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.hasher.update(piece);
            self.filled = self.filled.saturating_add(piece.len());
            bytes = rest;
            if self.filled == unit {
                self.complete(&mut each)?;
            }
        }
        Ok(())
    }

    /// Hands over the digest of the last unit if it is a short one, and returns how many units there were.
    ///
    /// # Errors
    /// [`BlockMapError::TooLarge`] if the file has more units than a map can hold.
    pub fn finish(
        mut self,
        mut each: impl FnMut(UnitIndex, &[u8; UNIT_DIGEST_BYTES]),
    ) -> Result<u32, BlockMapError> {
        if self.filled > 0 {
            self.complete(&mut each)?;
        }
        Ok(self.index)
    }

    fn complete(
        &mut self,
        each: &mut impl FnMut(UnitIndex, &[u8; UNIT_DIGEST_BYTES]),
    ) -> Result<(), BlockMapError> {
        let digest = core::mem::replace(&mut self.hasher, H::new()).finish();
        if u64::from(self.index) >= BLOCK_MAP_BYTES_MAX / 32 {
            return Err(BlockMapError::TooLarge);
        }
        each(UnitIndex(self.index), &digest);
        self.index = self.index.checked_add(1).ok_or(BlockMapError::TooLarge)?;
        self.filled = 0;
        Ok(())
    }
}
