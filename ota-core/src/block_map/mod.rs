//! Block maps: the SHA-256 of each unit of a file, so that every unit can be checked on its own.
//!
//! A block map is nothing but those digests, 32 bytes each, one behind the other, without any frame: the digest of
//! unit *i* lies at byte 32 *i*, and a device reads it from flash without holding the map. A file of *s* bytes in
//! units of *u* has ⌈*s* / *u*⌉ units, all of *u* bytes but for the last, which has what is left. An empty file has
//! an empty map.
//!
//! The map is as trustworthy as its own SHA-256, which the signed release carries ([`BlockMapRef`]): it is hashed
//! whole before use, and again after every reset ([`BlockMapCheck`]), and only the receipt of that
//! ([`VerifiedBlockMap`]) checks units. A good unit proves that it is resumable and reusable, not that the file is
//! right: that stays with the file's integrity strings.
//!
//! [`BlockMapRef`]: crate::trust::BlockMapRef

#[cfg(feature = "alloc")]
mod build;
mod check;
mod digests;
mod layout;
mod reuse;

#[cfg(feature = "alloc")]
pub use build::{BlockMap, BlockMapBuilder};
pub use check::{BlockMapCheck, UnitCheck, VerifiedBlockMap, VerifiedUnit};
pub use digests::UnitDigests;
pub use layout::UnitLayout;
pub use reuse::{UnitSource, digests_of, sources};

use crate::number::{ByteLength, UnitIndex};

/// Length of one digest in a map, in bytes.
pub const UNIT_DIGEST_BYTES: usize = 32;

/// Why a map or a unit was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BlockMapError {
    /// The length of a unit is outside of what the format allows.
    #[error("a unit of {0} bytes is not allowed")]
    UnitBytes(u32),
    /// The map would be larger than the format allows.
    #[error("the map would have more bytes than allowed")]
    TooLarge,
    /// The release names a size for the map that does not follow from the file's size.
    #[error("the map has {found} bytes where the file needs {expected}")]
    MapSize {
        /// What the release says, or what came.
        found: ByteLength,
        /// What the file's size and unit demand.
        expected: ByteLength,
    },
    /// The map's digest is not the one that the release names.
    #[error("the digest of the map is not the one in the release")]
    MapDigest,
    /// The file has no unit of this index.
    #[error("there is no unit {0}")]
    NoSuchUnit(UnitIndex),
    /// The bytes are not as many as the unit has.
    #[error("unit {index} has {expected} bytes, not {found}")]
    UnitLength {
        /// Which unit.
        index: UnitIndex,
        /// How many bytes came.
        found: ByteLength,
        /// How many it has.
        expected: ByteLength,
    },
    /// The bytes are not the unit's.
    #[error("the digest of unit {0} is not the one in the map")]
    UnitDigest(UnitIndex),
}
