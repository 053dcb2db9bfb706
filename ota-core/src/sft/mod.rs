//! The original device protocol, Secure File Transfer version 1: messages of both directions.
//!
//! Devices in the field speak exactly this, and it cannot be changed. What is written here is byte for byte what
//! they expect: definite lengths, shortest integers, keys in their order. What is read here is as lenient as they
//! are: keys in any order, indefinite maps and arrays, values of unexpected types taken as missing. Each limit that
//! crashes or corrupts a real client when it is broken is refused on both sides.
//!
//! File names and revisions are the device's own text. They become a
//! [`FileName`](crate::text::FileName) only by passing its checks, and must before anything is stored under them.
//!
//! ```
//! use ota_core::sft::{Down, FileRevision, GetChunk, Up};
//!
//! let file = FileRevision::new("firmware.bin", "rev 2").unwrap();
//! let request = Up::GetChunk(GetChunk { file, offset: 1024, length: 1024 });
//! let bytes = request.to_vec()?;
//! assert_eq!(Up::decode(&bytes), Ok(request));
//! # Ok::<(), ota_core::cbor::EncodeError>(())
//! ```

mod down;
mod entries;
mod reader;
mod up;

pub use down::{Chunk, Down, Link, Update, UpdateAvailable};
pub use entries::{Entries, EntriesIter, Entry};
pub use up::{FileInfo, FileRevision, GetChunk, Phase, Status, StatusCode, Up};

#[cfg(test)]
mod tests;

use crate::cbor::{DecodeError, DecodeErrorKind, EncodeError};
use crate::limits::SFT_MESSAGE_BYTES_MAX;
use crate::wire::codec::Out;
use reader::{Cursor, Value};

/// The only version of the messages there is.
const VERSION: i64 = 1;

/// Numbers of the message types; both directions share one row of numbers.
mod kind {
    pub(super) const FILE_INFO: u32 = 0;
    pub(super) const FILE_UPDATE_AVAILABLE: u32 = 1;
    pub(super) const FILE_GET_CHUNK: u32 = 2;
    pub(super) const FILE_CHUNK: u32 = 3;
    pub(super) const FILE_STATUS: u32 = 4;
}

/// A map that was checked, and where it begins; what is looked up in it but not there is reported at that place.
#[derive(Clone, Copy)]
struct Fields<'a> {
    entries: Cursor<'a>,
    offset: usize,
}

impl<'a> Fields<'a> {
    /// Checks a whole message and reads its type.
    fn of_message(message: &'a [u8]) -> Result<(u32, Self), DecodeError> {
        if message.len() > SFT_MESSAGE_BYTES_MAX {
            return Err(DecodeErrorKind::TooLarge.at(0));
        }
        let fields = Self { entries: Cursor::map_of(message)?, offset: 0 };
        if fields.required("msgver", integer)? != VERSION {
            return Err(fields.out_of_range("msgver"));
        }
        Ok((fields.u32("msgtype")?, fields))
    }

    /// A value of the type that `convert` takes; one of another type counts as missing.
    fn optional<T>(&self, key: &str, convert: impl Fn(Value<'a>) -> Option<T>) -> Option<T> {
        self.entries.find(key).and_then(|(value, _)| convert(value))
    }

    fn required<T>(&self, key: &str, convert: impl Fn(Value<'a>) -> Option<T>) -> Result<T, DecodeError> {
        self.optional(key, convert).ok_or(DecodeErrorKind::MissingKey.at(self.offset))
    }

    fn u32(&self, key: &str) -> Result<u32, DecodeError> {
        u32::try_from(self.required(key, integer)?).map_err(|_| self.out_of_range(key))
    }

    /// The error about the value of a key that is there.
    fn out_of_range(&self, key: &str) -> DecodeError {
        let offset = self.entries.find(key).map_or(self.offset, |(_, offset)| offset);
        DecodeErrorKind::OutOfRange.at(offset)
    }
}

const fn integer(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(value) => Some(value),
        _ => None,
    }
}

const fn text(value: Value<'_>) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

const fn bytes(value: Value<'_>) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

const fn boolean(value: Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(value),
        _ => None,
    }
}

/// Writes the head of a message with `fields` keys besides its type and version.
fn head(out: &mut Out<'_>, fields: usize, kind: u32) -> Result<(), EncodeError> {
    out.map(fields.saturating_add(2))?;
    number(out, "msgtype", kind)?;
    number(out, "msgver", 1)
}

fn number(out: &mut Out<'_>, key: &str, value: u32) -> Result<(), EncodeError> {
    out.text(key)?;
    out.u64(u64::from(value))
}
