//! What a block is a part of: everything larger than a message is fetched as blocks, files and metadata alike.

use crate::limits::{BLOCK_MAP_BYTES_MAX, ENVELOPE_BYTES_MAX, RELEASE_BODY_BYTES_MAX, ROOT_BODY_BYTES_MAX};
use crate::number::{ByteLength, FileIndex, RootVersion};

/// Something that is fetched in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// A file of the release.
    File(FileIndex),
    /// The block map of a file of the release.
    BlockMap(FileIndex),
    /// The body of the release.
    ReleaseBody,
    /// The signatures over the release's body.
    ReleaseEnvelope,
    /// The body of the root with this version.
    RootBody(RootVersion),
    /// The signatures over the body of the root with this version.
    RootEnvelope(RootVersion),
}

/// Part numbers below this are the files themselves.
const BLOCK_MAPS: u64 = 1024;
const RELEASE_BODY: u64 = 2048;
const RELEASE_ENVELOPE: u64 = 2049;
const ROOTS: u64 = 4096;

impl Part {
    /// Its number on the wire: 0 to 1023 are files, 1024 to 2047 their block maps, 2048 and 2049 the release's body
    /// and envelope, and from 4096 on two for each root: body (even) and envelope (odd).
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::File(index) => u64::from(index.0),
            Self::BlockMap(index) => BLOCK_MAPS.saturating_add(u64::from(index.0)),
            Self::ReleaseBody => RELEASE_BODY,
            Self::ReleaseEnvelope => RELEASE_ENVELOPE,
            Self::RootBody(version) => ROOTS.saturating_add(u64::from(version.0).saturating_mul(2)),
            Self::RootEnvelope(version) => ROOTS.saturating_add(u64::from(version.0).saturating_mul(2)) | 1,
        }
    }

    /// The part with this number, or `None` where the number is reserved.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        match number {
            0..BLOCK_MAPS => FileIndex::new(number).map(Self::File),
            BLOCK_MAPS..RELEASE_BODY => FileIndex::new(number.checked_sub(BLOCK_MAPS)?).map(Self::BlockMap),
            RELEASE_BODY => Some(Self::ReleaseBody),
            RELEASE_ENVELOPE => Some(Self::ReleaseEnvelope),
            ROOTS.. => {
                let version = u32::try_from(number.checked_sub(ROOTS)? / 2).ok().map(RootVersion)?;
                Some(if number & 1 == 0 { Self::RootBody(version) } else { Self::RootEnvelope(version) })
            }
            _ => None,
        }
    }

    /// How long it can be at most. Only files have no limit of their own.
    #[must_use]
    pub const fn size_max(self) -> ByteLength {
        ByteLength(match self {
            Self::File(_) => u64::MAX,
            Self::BlockMap(_) => BLOCK_MAP_BYTES_MAX,
            Self::ReleaseBody => bytes_as_u64(RELEASE_BODY_BYTES_MAX),
            Self::RootBody(_) => bytes_as_u64(ROOT_BODY_BYTES_MAX),
            Self::ReleaseEnvelope | Self::RootEnvelope(_) => bytes_as_u64(ENVELOPE_BYTES_MAX),
        })
    }
}

const fn bytes_as_u64(bytes: usize) -> u64 {
    #[expect(clippy::as_conversions, reason = "a limit that fits 32 bits; u64::from is not const")]
    let bytes = bytes as u64;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_a_number_of_its_own() {
        let parts = [
            Part::File(FileIndex(0)),
            Part::File(FileIndex(1023)),
            Part::BlockMap(FileIndex(0)),
            Part::BlockMap(FileIndex(1023)),
            Part::ReleaseBody,
            Part::ReleaseEnvelope,
            Part::RootBody(RootVersion(0)),
            Part::RootEnvelope(RootVersion(0)),
            Part::RootBody(RootVersion(u32::MAX)),
            Part::RootEnvelope(RootVersion(u32::MAX)),
        ];
        for part in parts {
            assert_eq!(Part::from_number(part.number()), Some(part));
        }
        for reserved in [2050, 4095, u64::MAX, Part::RootEnvelope(RootVersion(u32::MAX)).number() + 1] {
            assert_eq!(Part::from_number(reserved), None, "{reserved}");
        }
    }
}
