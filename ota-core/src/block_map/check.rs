//! Checking a map against the release, and units against the map. Each check leaves a receipt that nothing else makes.

use super::{BlockMapError, UNIT_DIGEST_BYTES, UnitLayout};
use crate::crypto::Sha256;
use crate::number::{ByteLength, ByteOffset, Sha256Digest, UnitIndex};
use crate::trust::BlockMapRef;

/// A whole map under check: give it the bytes in order, in pieces of any size, then finish.
#[derive(Debug, Clone)]
pub struct BlockMapCheck<H> {
    layout: UnitLayout,
    digest: Sha256Digest,
    seen: ByteLength,
    hasher: H,
}

impl<H: Sha256> BlockMapCheck<H> {
    /// Begins to check the map that a release names for a file of this size.
    ///
    /// # Errors
    /// As [`UnitLayout::of`], before a single byte is fetched.
    pub fn begin(reference: &BlockMapRef, file: ByteLength) -> Result<Self, BlockMapError> {
        let layout = UnitLayout::of(reference, file)?;
        Ok(Self { layout, digest: reference.digest, seen: ByteLength(0), hasher: H::new() })
    }

    /// Adds the next bytes of the map.
    ///
    /// # Errors
    /// [`BlockMapError::MapSize`] if they reach past its end. None of them is taken then.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), BlockMapError> {
        let expected = self.layout.map_size();
        let found = self.seen.0.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if found > expected.0 {
            return Err(BlockMapError::MapSize { found: ByteLength(found), expected });
        }
        self.seen = ByteLength(found);
        self.hasher.update(bytes);
        Ok(())
    }

    /// Compares the map with what the release says.
    ///
    /// # Errors
    /// [`BlockMapError::MapSize`] if bytes are missing, [`BlockMapError::MapDigest`] if they are not the map's.
    pub fn finish(self) -> Result<VerifiedBlockMap, BlockMapError> {
        let expected = self.layout.map_size();
        if self.seen != expected {
            return Err(BlockMapError::MapSize { found: self.seen, expected });
        }
        if self.hasher.finish() != self.digest.0 {
            return Err(BlockMapError::MapDigest);
        }
        Ok(VerifiedBlockMap { layout: self.layout, digest: self.digest })
    }
}

/// Receipt: the whole map, as it lies in the storage, has the digest that the release names.
///
/// It says so about the moment of the check, and dies with the power: after a reset the map is hashed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifiedBlockMap {
    layout: UnitLayout,
    digest: Sha256Digest,
}

impl VerifiedBlockMap {
    /// How the file is divided.
    #[must_use]
    pub const fn layout(&self) -> &UnitLayout {
        &self.layout
    }

    /// The digest of the map itself.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Checks a whole unit against its digest, which the caller read from the map at
    /// [`digest_offset`](UnitLayout::digest_offset).
    ///
    /// # Errors
    /// [`BlockMapError::NoSuchUnit`], [`BlockMapError::UnitLength`] or [`BlockMapError::UnitDigest`].
    pub fn check_unit<H: Sha256>(
        &self,
        index: UnitIndex,
        digest: &[u8; UNIT_DIGEST_BYTES],
        bytes: &[u8],
    ) -> Result<VerifiedUnit, BlockMapError> {
        let mut check = UnitCheck::<H>::begin(self, index, digest)?;
        check.update(bytes)?;
        check.finish()
    }
}

/// One unit under check, for callers whose buffer is shorter than a unit.
#[derive(Debug, Clone)]
pub struct UnitCheck<H> {
    unit: VerifiedUnit,
    digest: [u8; UNIT_DIGEST_BYTES],
    seen: ByteLength,
    hasher: H,
}

impl<H: Sha256> UnitCheck<H> {
    /// Begins to check a unit against its digest, which the caller read from the map.
    ///
    /// # Errors
    /// [`BlockMapError::NoSuchUnit`] past the last one.
    pub fn begin(
        map: &VerifiedBlockMap,
        index: UnitIndex,
        digest: &[u8; UNIT_DIGEST_BYTES],
    ) -> Result<Self, BlockMapError> {
        let length = ByteLength(u64::from(map.layout.length(index)?));
        let unit = VerifiedUnit { index, offset: map.layout.offset(index)?, length };
        Ok(Self { unit, digest: *digest, seen: ByteLength(0), hasher: H::new() })
    }

    /// Adds the next bytes of the unit.
    ///
    /// # Errors
    /// [`BlockMapError::UnitLength`] if they reach past its end. None of them is taken then.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), BlockMapError> {
        let seen = self.seen.0.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if seen > self.unit.length.0 {
            return Err(self.wrong_length(ByteLength(seen)));
        }
        self.seen = ByteLength(seen);
        self.hasher.update(bytes);
        Ok(())
    }

    /// Compares the unit with its digest.
    ///
    /// # Errors
    /// [`BlockMapError::UnitLength`] if bytes are missing, [`BlockMapError::UnitDigest`] if they are not the unit's.
    pub fn finish(self) -> Result<VerifiedUnit, BlockMapError> {
        if self.seen != self.unit.length {
            return Err(self.wrong_length(self.seen));
        }
        if self.hasher.finish() != self.digest {
            return Err(BlockMapError::UnitDigest(self.unit.index));
        }
        Ok(self.unit)
    }

    const fn wrong_length(&self, found: ByteLength) -> BlockMapError {
        BlockMapError::UnitLength { index: self.unit.index, found, expected: self.unit.length }
    }
}

/// Receipt: the bytes of this unit are the ones that the map names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifiedUnit {
    index: UnitIndex,
    offset: ByteOffset,
    length: ByteLength,
}

impl VerifiedUnit {
    /// Which unit.
    #[must_use]
    pub const fn index(&self) -> UnitIndex {
        self.index
    }

    /// Where it begins in the file.
    #[must_use]
    pub const fn offset(&self) -> ByteOffset {
        self.offset
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn length(&self) -> ByteLength {
        self.length
    }
}
