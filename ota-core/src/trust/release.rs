//! The body of a release: a signed version of a package.

use core::cmp::Ordering;

use crate::cbor::{DecodeError, DecodeErrorKind, EncodeError, Malformed, Reader, Sink, Writer, from_slice};
use crate::integrity::IntegrityString;
use crate::limits::{
    BLOCK_MAP_BYTES_MAX, FILES_MAX, HARDWARE_REVISIONS_MAX, INTEGRITY_STRINGS_MAX, RELEASE_BODY_BYTES_MAX,
    REQUIREMENTS_MAX, UNIT_BYTES_MAX, UNIT_BYTES_MIN, URLS_MAX,
};
use crate::list::{Item, List};
use crate::number::{ByteLength, PackageVersion, SecurityEpoch, Sha256Digest};
use crate::text::{FileName, HardwareRevision, InstallTarget, PackageName, ProductId, Revision, Url};
use crate::time::Timestamp;

/// What a release says. The release is the unit of trust: its files belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release<'a> {
    /// The product it is for.
    pub product: ProductId<'a>,
    /// The hardware revisions it runs on; at least one, each once, in rising order.
    pub hardware: List<'a, HardwareRevision<'a>>,
    /// The package that it is a version of.
    pub package: PackageName<'a>,
    /// Its version, for planning.
    pub version: PackageVersion,
    /// Its security epoch, the floor against rollback.
    pub epoch: SecurityEpoch,
    /// What must be installed before it: stepping stones.
    pub requirements: List<'a, Requirement<'a>>,
    /// Its files in the order in which they are fetched; names are unique.
    pub files: List<'a, File<'a>>,
    /// When it may no longer be installed.
    pub expires: Timestamp,
    /// Security or feature.
    pub kind: ReleaseKind,
    /// Where people read what changed.
    pub notes: Option<Url<'a>>,
    /// The digest of its software bill of materials.
    pub sbom: Option<Sha256Digest>,
}

/// One file of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// Its name inside the package.
    pub name: FileName<'a>,
    /// Its own revision.
    pub revision: Revision<'a>,
    /// Its length.
    pub size: ByteLength,
    /// Where on the device it goes.
    pub target: InstallTarget<'a>,
    /// How it is checked; at least one, at most one per algorithm, in the order of [`Algorithm`](crate::integrity::Algorithm).
    pub integrity: List<'a, IntegrityString>,
    /// Digests of its units, if it has them.
    pub block_map: Option<BlockMapRef>,
    /// Where else it can be fetched.
    pub urls: List<'a, Url<'a>>,
}

/// Names the block map of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockMapRef {
    /// Length of a unit of the file, in bytes.
    pub unit: u32,
    /// Length of the encoded map.
    pub size: ByteLength,
    /// SHA-256 of the encoded map.
    pub digest: Sha256Digest,
}

/// Why the release exists; security releases can overtake others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ReleaseKind {
    /// New or changed behaviour.
    #[default]
    Feature,
    /// Closes a hole.
    Security,
}

/// What must be true of a device before the release can be installed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement<'a> {
    /// This file is installed in one of these revisions.
    FileRevision {
        /// The file.
        file: FileName<'a>,
        /// The revision it must have; several requirements on one file are alternatives.
        revision: Revision<'a>,
    },
    /// The device's security epoch is at least this.
    EpochAtLeast(SecurityEpoch),
}

/// Keys of the body's map.
mod key {
    pub(super) const PRODUCT: u64 = 0;
    pub(super) const HARDWARE: u64 = 1;
    pub(super) const PACKAGE: u64 = 2;
    pub(super) const VERSION: u64 = 3;
    pub(super) const EPOCH: u64 = 4;
    pub(super) const REQUIREMENTS: u64 = 5;
    pub(super) const FILES: u64 = 6;
    pub(super) const EXPIRES: u64 = 7;
    pub(super) const KIND: u64 = 8;
    pub(super) const NOTES: u64 = 9;
    pub(super) const SBOM: u64 = 10;
}

impl<'a> Release<'a> {
    /// Reads a body strictly. What it says means nothing until its signatures have been checked.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of what is wrong; a name or revision that comes twice is
    /// [`DecodeErrorKind::DuplicateKey`], an empty list [`DecodeErrorKind::OutOfRange`].
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        if body.len() > RELEASE_BODY_BYTES_MAX {
            return Err(DecodeErrorKind::TooLarge.at(0));
        }
        from_slice(body, Self::read)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut entries = reader.map()?;
        let (mut product, mut hardware, mut package, mut version) = (None, None, None, None);
        let (mut epoch, mut requirements, mut files, mut expires) = (None, List::empty(), None, None);
        let (mut kind, mut notes, mut sbom) = (None, None, None);
        while let Some(key) = entries.next_key(reader)? {
            match key {
                key::PRODUCT => product = Some(ProductId::decode(reader)?),
                key::HARDWARE => hardware = Some(decode_hardware(reader)?),
                key::PACKAGE => package = Some(PackageName::decode(reader)?),
                key::VERSION => version = Some(PackageVersion(reader.u64()?)),
                key::EPOCH => epoch = Some(SecurityEpoch(reader.u32()?)),
                key::REQUIREMENTS => requirements = decode_some(reader, REQUIREMENTS_MAX)?,
                key::FILES => files = Some(decode_files(reader)?),
                key::EXPIRES => expires = Some(Timestamp(reader.u64()?)),
                key::KIND => kind = Some(ReleaseKind::decode(reader)?),
                key::NOTES => notes = Some(Url::decode(reader)?),
                key::SBOM => sbom = Some(Sha256Digest(reader.byte_array()?)),
                other => entries.skip_optional(other, reader)?,
            }
        }
        match (product, hardware, package, version, epoch, files, expires, kind) {
            (
                Some(product),
                Some(hardware),
                Some(package),
                Some(version),
                Some(epoch),
                Some(files),
                Some(expires),
                Some(kind),
            ) => Ok(Self {
                product,
                hardware,
                package,
                version,
                epoch,
                requirements,
                files,
                expires,
                kind,
                notes,
                sbom,
            }),
            _ => Err(reader.refuse(DecodeErrorKind::MissingKey, 0)),
        }
    }

    /// Writes the body.
    ///
    /// # Errors
    /// [`EncodeError`] if the sink is full.
    pub fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        let optional = [!self.requirements.is_empty(), self.notes.is_some(), self.sbom.is_some()];
        writer.map(optional.into_iter().map(usize::from).fold(8, usize::saturating_add))?;
        writer.u64(key::PRODUCT)?;
        self.product.encode(writer)?;
        writer.u64(key::HARDWARE)?;
        self.hardware.encode(writer)?;
        writer.u64(key::PACKAGE)?;
        self.package.encode(writer)?;
        writer.u64(key::VERSION)?;
        writer.u64(self.version.0)?;
        writer.u64(key::EPOCH)?;
        writer.u64(u64::from(self.epoch.0))?;
        if !self.requirements.is_empty() {
            writer.u64(key::REQUIREMENTS)?;
            self.requirements.encode(writer)?;
        }
        writer.u64(key::FILES)?;
        self.files.encode(writer)?;
        writer.u64(key::EXPIRES)?;
        writer.u64(self.expires.0)?;
        writer.u64(key::KIND)?;
        writer.u64(self.kind.number())?;
        if let Some(notes) = &self.notes {
            writer.u64(key::NOTES)?;
            notes.encode(writer)?;
        }
        if let Some(sbom) = &self.sbom {
            writer.u64(key::SBOM)?;
            writer.bytes(&sbom.0)?;
        }
        Ok(())
    }
}

impl ReleaseKind {
    const fn number(self) -> u64 {
        match self {
            Self::Feature => 0,
            Self::Security => 1,
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let offset = reader.position();
        match reader.u64()? {
            0 => Ok(Self::Feature),
            1 => Ok(Self::Security),
            _ => Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)),
        }
    }
}

/// Reads a list that is not empty; an empty one is written by leaving its key away.
fn decode_some<'a, T: Item<'a>>(reader: &mut Reader<'a>, limit: usize) -> Result<List<'a, T>, Malformed> {
    let offset = reader.position();
    let list = List::decode(reader, limit)?;
    if list.is_empty() { Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)) } else { Ok(list) }
}

/// Reads the hardware revisions: at least one, in rising order, so that none comes twice.
fn decode_hardware<'a>(reader: &mut Reader<'a>) -> Result<List<'a, HardwareRevision<'a>>, Malformed> {
    let offset = reader.position();
    let hardware = decode_some::<HardwareRevision<'_>>(reader, HARDWARE_REVISIONS_MAX)?;
    for (one, next) in hardware.iter().zip(hardware.iter().skip(1)) {
        match one.cmp(&next) {
            Ordering::Less => {}
            Ordering::Equal => return Err(reader.refuse(DecodeErrorKind::DuplicateKey, offset)),
            Ordering::Greater => return Err(reader.refuse(DecodeErrorKind::UnsortedKeys, offset)),
        }
    }
    Ok(hardware)
}

/// Reads the files: at least one, and no name twice. A release without files would promise something about nothing.
fn decode_files<'a>(reader: &mut Reader<'a>) -> Result<List<'a, File<'a>>, Malformed> {
    let offset = reader.position();
    let files = decode_some::<File<'_>>(reader, FILES_MAX)?;
    if has_repeated_name(&files) {
        Err(reader.refuse(DecodeErrorKind::DuplicateKey, offset))
    } else {
        Ok(files)
    }
}

/// How many names one pass over the files keeps.
const NAMES_PER_PASS: usize = 32;

/// Whether two files have the same name.
///
/// The files keep the order in which they are fetched, and there is no room to sort 1,024 names. So each pass picks
/// the next [`NAMES_PER_PASS`] names in alphabetical order, and two equal ones are picked in the same pass: at most
/// 32 passes of 1,024 files instead of half a million comparisons, in 32 slots.
fn has_repeated_name(files: &List<'_, File<'_>>) -> bool {
    let mut after = "";
    for _ in 0..files.len().div_ceil(NAMES_PER_PASS) {
        let mut smallest = [""; NAMES_PER_PASS];
        let mut kept = 0_usize;
        for name in files.iter().map(|file| file.name.as_str()).filter(|name| *name > after) {
            let slots = smallest.get(..kept).unwrap_or_default();
            let Err(place) = slots.binary_search(&name) else { return true };
            // Beyond the last slot: a later pass finds it.
            let Some(moved) = smallest.get_mut(place..) else { continue };
            let Some(last) = moved.last_mut() else { continue };
            *last = name;
            moved.rotate_right(1);
            kept = kept.saturating_add(1).min(NAMES_PER_PASS);
        }
        after = kept.checked_sub(1).and_then(|last| smallest.get(last)).copied().unwrap_or_default();
    }
    false
}

/// Keys of a file's map.
mod file_key {
    pub(super) const NAME: u64 = 0;
    pub(super) const REVISION: u64 = 1;
    pub(super) const SIZE: u64 = 2;
    pub(super) const TARGET: u64 = 3;
    pub(super) const INTEGRITY: u64 = 4;
    pub(super) const BLOCK_MAP: u64 = 5;
    pub(super) const URLS: u64 = 6;
}

impl<'a> Item<'a> for File<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let start = reader.position();
        let mut entries = reader.map()?;
        let (mut name, mut revision, mut size, mut target, mut integrity) = (None, None, None, None, None);
        let mut block_map = None;
        let mut urls = List::empty();
        while let Some(key) = entries.next_key(reader)? {
            match key {
                file_key::NAME => name = Some(FileName::decode(reader)?),
                file_key::REVISION => revision = Some(Revision::decode(reader)?),
                file_key::SIZE => size = Some(ByteLength(reader.u64()?)),
                file_key::TARGET => target = Some(InstallTarget::decode(reader)?),
                file_key::INTEGRITY => integrity = Some(decode_integrity(reader)?),
                file_key::BLOCK_MAP => block_map = Some(BlockMapRef::decode(reader)?),
                file_key::URLS => urls = decode_some(reader, URLS_MAX)?,
                other => entries.skip_optional(other, reader)?,
            }
        }
        match (name, revision, size, target, integrity) {
            (Some(name), Some(revision), Some(size), Some(target), Some(integrity)) => {
                Ok(Self { name, revision, size, target, integrity, block_map, urls })
            }
            _ => Err(reader.refuse(DecodeErrorKind::MissingKey, start)),
        }
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        let optional =
            usize::from(self.block_map.is_some()).saturating_add(usize::from(!self.urls.is_empty()));
        writer.map(optional.saturating_add(5))?;
        writer.u64(file_key::NAME)?;
        self.name.encode(writer)?;
        writer.u64(file_key::REVISION)?;
        self.revision.encode(writer)?;
        writer.u64(file_key::SIZE)?;
        writer.u64(self.size.0)?;
        writer.u64(file_key::TARGET)?;
        self.target.encode(writer)?;
        writer.u64(file_key::INTEGRITY)?;
        self.integrity.encode(writer)?;
        if let Some(block_map) = &self.block_map {
            writer.u64(file_key::BLOCK_MAP)?;
            block_map.encode(writer)?;
        }
        if !self.urls.is_empty() {
            writer.u64(file_key::URLS)?;
            self.urls.encode(writer)?;
        }
        Ok(())
    }
}

/// Reads the integrity strings of a file: at least one, in rising order, so that none of an algorithm comes twice.
fn decode_integrity<'a>(reader: &mut Reader<'a>) -> Result<List<'a, IntegrityString>, Malformed> {
    let offset = reader.position();
    let strings = List::<IntegrityString>::decode(reader, INTEGRITY_STRINGS_MAX)?;
    let mut last = None;
    for string in strings {
        if last.is_some_and(|last| last >= string.algorithm()) {
            return Err(reader.refuse(DecodeErrorKind::UnsortedKeys, offset));
        }
        last = Some(string.algorithm());
    }
    // A file without an integrity string would be a file without a check.
    if last.is_none() { Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)) } else { Ok(strings) }
}

impl BlockMapRef {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(3)?;
        let offset = reader.position();
        let unit = reader.u32()?;
        let size = ByteLength(reader.u64()?);
        if !(UNIT_BYTES_MIN..=UNIT_BYTES_MAX).contains(&unit) || size.0 > BLOCK_MAP_BYTES_MAX {
            return Err(reader.refuse(DecodeErrorKind::OutOfRange, offset));
        }
        Ok(Self { unit, size, digest: Sha256Digest(reader.byte_array()?) })
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.array(3)?;
        writer.u64(u64::from(self.unit))?;
        writer.u64(self.size.0)?;
        writer.bytes(&self.digest.0)
    }
}

const REQUIRE_FILE_REVISION: u64 = 0;
const REQUIRE_EPOCH: u64 = 1;

impl<'a> Item<'a> for Requirement<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let offset = reader.position();
        let count = reader.array(3)?;
        match (reader.u64()?, count) {
            (REQUIRE_FILE_REVISION, 3) => Ok(Self::FileRevision {
                file: FileName::decode(reader)?,
                revision: Revision::decode(reader)?,
            }),
            (REQUIRE_EPOCH, 2) => Ok(Self::EpochAtLeast(SecurityEpoch(reader.u32()?))),
            _ => Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)),
        }
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        match self {
            Self::FileRevision { file, revision } => {
                writer.array(3)?;
                writer.u64(REQUIRE_FILE_REVISION)?;
                file.encode(writer)?;
                revision.encode(writer)
            }
            Self::EpochAtLeast(epoch) => {
                writer.array(2)?;
                writer.u64(REQUIRE_EPOCH)?;
                writer.u64(u64::from(epoch.0))
            }
        }
    }
}
