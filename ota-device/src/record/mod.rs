//! The records that survive a restart: trusted state, sets of files, journal of the download.
//!
//! Each is one CBOR array that begins with the version of its format. The newest record of a log says everything;
//! older ones are only there because an append may be torn. A record that cannot be read is a fault of the storage,
//! never a reason to trust less.

mod journal;
mod sets;
mod trusted;

pub(crate) use journal::JournalRecord;
pub(crate) use sets::{Attempt, Firmware, Outcome, SetRef, SetState, SetsRecord};
pub(crate) use trusted::TrustedRecord;

use ota_core::cbor::{DecodeErrorKind, EncodeError, Malformed, Reader, Sink, Writer};
use ota_core::device::Slot;
use ota_core::number::{OfferId, ReleaseId, Sha256Digest};

/// The version of the record formats that this code writes, and the only one that it reads.
const VERSION: u64 = 1;

fn version(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let offset = reader.position();
    if reader.u64()? == VERSION { Ok(()) } else { Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)) }
}

pub(crate) fn write_slot<S: Sink + ?Sized>(out: &mut Writer<'_, S>, slot: Slot) -> Result<(), EncodeError> {
    out.bool(matches!(slot, Slot::B))
}

pub(crate) fn read_slot(reader: &mut Reader<'_>) -> Result<Slot, Malformed> {
    Ok(if reader.bool()? { Slot::B } else { Slot::A })
}

fn digest(reader: &mut Reader<'_>) -> Result<Sha256Digest, Malformed> {
    reader.byte_array().map(Sha256Digest)
}

fn release(reader: &mut Reader<'_>) -> Result<ReleaseId, Malformed> {
    reader.byte_array().map(ReleaseId)
}

fn offer(reader: &mut Reader<'_>) -> Result<OfferId, Malformed> {
    reader.byte_array().map(OfferId)
}

fn optional<T>(
    reader: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if reader.null()? { Ok(None) } else { read(reader).map(Some) }
}

/// A number of the wire in a record, or an error at its place.
fn coded<T>(reader: &mut Reader<'_>, from: impl FnOnce(u64) -> Option<T>) -> Result<T, Malformed> {
    let offset = reader.position();
    from(reader.u64()?).ok_or_else(|| reader.refuse(DecodeErrorKind::OutOfRange, offset))
}

#[cfg(test)]
mod tests;
