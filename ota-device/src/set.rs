//! The body of a set: which files belong together and where each of them lies.
//!
//! `[[[name, revision, digest], …], [[target, slot, size], …]]`, both lists in the same order, names rising. The first
//! list is exactly the inventory of a check-in, so it is sent without being built anew.

use ota_core::cbor::{
    DecodeError, DecodeErrorKind, EncodeError, Malformed, Reader, Sink, Writer, from_slice, to_slice,
};
use ota_core::device::Slot;
use ota_core::limits::FILES_MAX;
use ota_core::list::{Item, List};
use ota_core::number::{ByteLength, Sha256Digest};
use ota_core::text::{FileName, InstallTarget, Revision};
use ota_core::wire::InventoryItem;

use crate::record::{read_slot, write_slot};

/// A set of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileSet<'a> {
    pub(crate) inventory: List<'a, InventoryItem<'a>>,
    pub(crate) places: List<'a, Place<'a>>,
}

/// Where a file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) target: InstallTarget<'a>,
    pub(crate) slot: Slot,
    pub(crate) size: ByteLength,
}

/// A file of a set and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) file: FileName<'a>,
    pub(crate) revision: Revision<'a>,
    pub(crate) digest: Sha256Digest,
    pub(crate) place: Place<'a>,
}

impl<'a> Item<'a> for Place<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.tuple(3)?;
        Ok(Self {
            target: InstallTarget::decode(reader)?,
            slot: read_slot(reader)?,
            size: ByteLength(reader.u64()?),
        })
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.array(3)?;
        self.target.encode(writer)?;
        write_slot(writer, self.slot)?;
        writer.u64(self.size.0)
    }
}

impl<'a> FileSet<'a> {
    /// The set without files.
    pub(crate) const EMPTY: Self = Self { inventory: List::empty(), places: List::empty() };

    /// Reads a set, strictly: both lists equally long, names rising, every digest there.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        from_slice(bytes, Self::read)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.tuple(2)?;
        let inventory = List::<InventoryItem<'_>>::decode(reader, FILES_MAX)?;
        let offset = reader.position();
        let places = List::<Place<'_>>::decode(reader, FILES_MAX)?;
        let names_rise =
            inventory.iter().zip(inventory.iter().skip(1)).all(|(one, next)| one.file < next.file);
        let digests_known = inventory.iter().all(|item| item.digest.is_some());
        if inventory.len() == places.len() && names_rise && digests_known {
            Ok(Self { inventory, places })
        } else {
            Err(reader.refuse(DecodeErrorKind::OutOfRange, offset))
        }
    }

    /// The files in rising order of their names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'a>> + Clone + use<'a> {
        self.inventory.iter().zip(self.places.iter()).filter_map(|(item, place)| {
            Some(Entry { file: item.file, revision: item.revision, digest: item.digest?, place })
        })
    }

    /// The file of an install target.
    pub(crate) fn at(&self, target: InstallTarget<'_>) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.place.target.as_str() == target.as_str())
    }
}

/// Writes the set of these entries into the front of `buffer`. `entries` come in rising order of their names.
pub(crate) fn write_set<'b, 'a>(
    buffer: &'b mut [u8],
    count: usize,
    entries: impl Iterator<Item = Entry<'a>> + Clone,
) -> Result<&'b [u8], EncodeError> {
    to_slice(buffer, |out| {
        out.array(2)?;
        out.array(count)?;
        for entry in entries.clone() {
            InventoryItem { file: entry.file, revision: entry.revision, digest: Some(entry.digest) }
                .encode(out)?;
        }
        out.array(count)?;
        entries.clone().try_for_each(|entry| entry.place.encode(out))
    })
}
