//! Where units and their digests lie: the only place where sizes, indexes and offsets are turned into each other.
//!
//! All of it is checked arithmetic in 64 bits, because files may have any size and indexes come from outside.

use super::{BlockMapError, UNIT_DIGEST_BYTES};
use crate::limits::{BLOCK_MAP_BYTES_MAX, UNIT_BYTES_MAX, UNIT_BYTES_MIN};
use crate::number::{ByteLength, ByteOffset, UnitIndex};
use crate::trust::BlockMapRef;

/// How a file is divided into units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnitLayout {
    file: ByteLength,
    unit: u32,
    count: u32,
}

/// [`UNIT_DIGEST_BYTES`] as a factor.
const DIGEST: u64 = 32;
const _: () = assert!(UNIT_DIGEST_BYTES == 32 && BLOCK_MAP_BYTES_MAX / DIGEST < 1 << 32);

impl UnitLayout {
    /// Divides a file into units of `unit` bytes.
    ///
    /// # Errors
    /// [`BlockMapError::UnitBytes`] if no unit may have this length, [`BlockMapError::TooLarge`] if the file has
    /// too many of them.
    pub fn new(file: ByteLength, unit: u32) -> Result<Self, BlockMapError> {
        if !(UNIT_BYTES_MIN..=UNIT_BYTES_MAX).contains(&unit) {
            return Err(BlockMapError::UnitBytes(unit));
        }
        let count = file.0.div_ceil(u64::from(unit));
        if count > BLOCK_MAP_BYTES_MAX / DIGEST {
            return Err(BlockMapError::TooLarge);
        }
        let count = u32::try_from(count).map_err(|_| BlockMapError::TooLarge)?;
        Ok(Self { file, unit, count })
    }

    /// The layout that a release gives for a file of this size.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`BlockMapError::MapSize`] if the map's size does not follow from the file's.
    pub fn of(reference: &BlockMapRef, file: ByteLength) -> Result<Self, BlockMapError> {
        let layout = Self::new(file, reference.unit)?;
        let expected = layout.map_size();
        if reference.size != expected {
            return Err(BlockMapError::MapSize { found: reference.size, expected });
        }
        Ok(layout)
    }

    /// Length of the file.
    #[must_use]
    pub const fn file_size(&self) -> ByteLength {
        self.file
    }

    /// Length of every unit but the last, in bytes.
    #[must_use]
    pub const fn unit_bytes(&self) -> u32 {
        self.unit
    }

    /// How many units there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Length of the map.
    #[must_use]
    pub fn map_size(&self) -> ByteLength {
        ByteLength(u64::from(self.count).saturating_mul(DIGEST))
    }

    /// The indexes of all units, in order.
    pub fn indexes(&self) -> impl DoubleEndedIterator<Item = UnitIndex> + Clone + use<> {
        (0..self.count).map(UnitIndex)
    }

    /// Where a unit begins in the file.
    ///
    /// # Errors
    /// [`BlockMapError::NoSuchUnit`] past the last one.
    pub fn offset(&self, index: UnitIndex) -> Result<ByteOffset, BlockMapError> {
        let no_such_unit = BlockMapError::NoSuchUnit(index);
        if index.0 >= self.count {
            return Err(no_such_unit);
        }
        u64::from(index.0).checked_mul(u64::from(self.unit)).map(ByteOffset).ok_or(no_such_unit)
    }

    /// How many bytes a unit has.
    ///
    /// # Errors
    /// [`BlockMapError::NoSuchUnit`] past the last one.
    pub fn length(&self, index: UnitIndex) -> Result<u32, BlockMapError> {
        let no_such_unit = BlockMapError::NoSuchUnit(index);
        let left = self.file.0.checked_sub(self.offset(index)?.0).ok_or(no_such_unit)?;
        // What is left may be longer than 32 bits can say, and then the unit is a whole one.
        Ok(u32::try_from(left).map_or(self.unit, |left| left.min(self.unit)))
    }

    /// Where the digest of a unit lies in the map.
    ///
    /// # Errors
    /// [`BlockMapError::NoSuchUnit`] past the last one.
    pub fn digest_offset(&self, index: UnitIndex) -> Result<ByteOffset, BlockMapError> {
        let no_such_unit = BlockMapError::NoSuchUnit(index);
        if index.0 >= self.count {
            return Err(no_such_unit);
        }
        u64::from(index.0).checked_mul(DIGEST).map(ByteOffset).ok_or(no_such_unit)
    }

    /// The unit that a byte of the file lies in, or `None` at and past the file's end.
    #[must_use]
    pub fn unit_at(&self, offset: ByteOffset) -> Option<UnitIndex> {
        if offset.0 >= self.file.0 {
            return None;
        }
        let index = offset.0.checked_div(u64::from(self.unit))?;
        u32::try_from(index).ok().map(UnitIndex)
    }
}
