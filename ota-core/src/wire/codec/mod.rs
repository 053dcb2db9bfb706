//! How messages become bytes: one frame for all of them, one sibling file per direction.
//!
//! A message is an array: its type, its positions, and behind them, if there is anything in it, a map of
//! extensions. What the encoder writes the decoder reads, and nothing else: each limit is checked on both sides.

mod down;
mod up;

use crate::cbor::{DecodeErrorKind, EncodeError, Malformed, Reader, Sink, Writer};
use crate::limits::{CONTROL_MESSAGE_BYTES_MAX, GRANT_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::number::OfferId;
use crate::wire::Part;

/// Numbers of the message types. All of them take one byte, which is what keeps a block's overhead within 24.
pub(super) mod kind {
    pub(in super::super) const CHECK_IN: u64 = 1;
    pub(in super::super) const WANT_BLOCKS: u64 = 2;
    pub(in super::super) const REPORT: u64 = 3;

    pub(in super::super) const NOTIFY: u64 = 12;
    pub(in super::super) const OFFER: u64 = 13;
    pub(in super::super) const UP_TO_DATE: u64 = 14;
    pub(in super::super) const BLOCK: u64 = 15;
    pub(in super::super) const REPORT_ACK: u64 = 16;
    pub(in super::super) const BUSY: u64 = 17;
    pub(in super::super) const REFUSE: u64 = 18;
    pub(in super::super) const CANCEL: u64 = 19;
}

/// How many positions each message has, its type included.
pub(super) mod positions {
    pub(in super::super) const CHECK_IN: usize = 8;
    pub(in super::super) const WANT_BLOCKS: usize = 7;
    pub(in super::super) const REPORT: usize = 8;

    pub(in super::super) const NOTIFY: usize = 1;
    pub(in super::super) const OFFER: usize = 8;
    pub(in super::super) const UP_TO_DATE: usize = 6;
    pub(in super::super) const BLOCK: usize = 5;
    pub(in super::super) const REPORT_ACK: usize = 3;
    pub(in super::super) const BUSY: usize = 2;
    pub(in super::super) const REFUSE: usize = 3;
    pub(in super::super) const CANCEL: usize = 2;
}

/// Key of the evidence among the extensions.
pub(super) const EVIDENCE: u64 = 0;

/// A writer into whatever sink there is: one copy of the encoder serves them all.
pub(crate) type Out<'w> = Writer<'w, dyn Sink + 'w>;

/// The head of a message that has been read.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    /// Its type.
    pub(super) kind: u64,
    kind_offset: usize,
    count: usize,
}

impl Opened {
    /// Reads the head of the array and the type.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let length = reader.input().len();
        if length > MESSAGE_BYTES_MAX {
            return Err(reader.refuse(DecodeErrorKind::TooLarge, 0));
        }
        let count = reader.array(MESSAGE_BYTES_MAX)?;
        // The type of an empty array is missing, whatever bytes follow it.
        if count == 0 {
            return Err(reader.refuse(DecodeErrorKind::WrongCount, 0));
        }
        let kind_offset = reader.position();
        let kind = reader.u64()?;
        if kind != kind::BLOCK && length > CONTROL_MESSAGE_BYTES_MAX {
            return Err(reader.refuse(DecodeErrorKind::TooLarge, 0));
        }
        Ok(Self { kind, kind_offset, count })
    }

    /// Whether extensions follow the `positions` of this type; any other number of elements is an error.
    pub(super) fn has_extensions(self, positions: usize, reader: &mut Reader<'_>) -> Result<bool, Malformed> {
        match self.count.checked_sub(positions) {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(reader.refuse(DecodeErrorKind::WrongCount, 0)),
        }
    }

    /// Refuses a type that does not exist in this direction.
    pub(super) const fn unknown_type(self, reader: &mut Reader<'_>) -> Malformed {
        reader.refuse(DecodeErrorKind::UnknownType, self.kind_offset)
    }
}

/// Reads the extensions if they are there, and demands that nothing follows. `known` reads the value of a key that
/// it knows and says whether it did.
fn extensions<'a>(
    reader: &mut Reader<'a>,
    present: bool,
    mut known: impl FnMut(u64, &mut Reader<'a>) -> Result<bool, Malformed>,
) -> Result<(), Malformed> {
    if present {
        let start = reader.position();
        let mut entries = reader.map()?;
        let mut is_empty = true;
        while let Some(key) = entries.next_key(reader)? {
            is_empty = false;
            if !known(key, reader)? {
                entries.skip_optional(key, reader)?;
            }
        }
        // Without extensions the map is left away, so that a message has one encoding.
        if is_empty {
            return Err(reader.refuse(DecodeErrorKind::WrongCount, start));
        }
    }
    reader.finish()
}

fn no_extensions(reader: &mut Reader<'_>, present: bool) -> Result<(), Malformed> {
    extensions(reader, present, |_, _| Ok(false))
}

/// Reads `null` or a value.
fn nullable<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if reader.null()? { Ok(None) } else { read(reader).map(Some) }
}

/// Reads a value and demands that it is allowed.
fn allowed<'a, T: Copy>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
    is_allowed: impl FnOnce(T) -> bool,
) -> Result<T, Malformed> {
    let offset = reader.position();
    let value = read(reader)?;
    if is_allowed(value) { Ok(value) } else { Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)) }
}

/// Refuses to write what no reader would accept.
pub(crate) fn ensure(is_allowed: bool) -> Result<(), EncodeError> {
    if is_allowed { Ok(()) } else { Err(EncodeError::TooLarge) }
}

fn offer_id(reader: &mut Reader<'_>) -> Result<OfferId, Malformed> {
    reader.byte_array().map(OfferId)
}

/// Writes a byte string of at most `limit` bytes.
fn bounded_bytes(out: &mut Out<'_>, bytes: &[u8], limit: usize) -> Result<(), EncodeError> {
    ensure(bytes.len() <= limit)?;
    out.bytes(bytes)
}

fn grant(out: &mut Out<'_>, grant: &[u8]) -> Result<(), EncodeError> {
    bounded_bytes(out, grant, GRANT_BYTES_MAX)
}

/// Whether the part has a number that reads back as itself; a file index over the limit has none.
fn is_on_the_wire(part: Part) -> bool {
    Part::from_number(part.number()) == Some(part)
}

/// A sink that stops at a limit, so that no message grows over what a peer would read.
struct Bounded<'s> {
    sink: &'s mut dyn Sink,
    left: usize,
}

impl Sink for Bounded<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(EncodeError::TooLarge)?;
        self.sink.put(bytes)
    }
}

/// A sink for those who only want to know the length.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    fn put(&mut self, _bytes: &[u8]) -> Result<(), EncodeError> {
        Ok(())
    }
}

/// Gives a message type its public encoders on top of its own `write` and `size_max`.
macro_rules! encoders {
    ($message:ident) => {
        impl $message<'_> {
            /// Writes the message to `sink`. After an error the sink holds an unusable beginning of it.
            ///
            /// # Errors
            /// [`EncodeError::BufferFull`] if the sink is full; [`EncodeError::TooLarge`] if a field or the whole is
            /// over a limit of the protocol, so that no peer would read it.
            pub fn encode(&self, sink: &mut dyn $crate::cbor::Sink) -> Result<(), EncodeError> {
                $crate::wire::codec::write_bounded(sink, self.size_max(), |out| self.write(out)).map(|_| ())
            }

            /// Writes the message into the front of a buffer and returns what was written.
            ///
            /// # Errors
            /// As [`encode`](Self::encode).
            pub fn encode_to_slice<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
                let mut sink = $crate::cbor::SliceSink::new(buffer);
                self.encode(&mut sink)?;
                Ok(sink.into_filled())
            }

            /// Writes the message into a new vector.
            ///
            /// # Errors
            /// [`EncodeError::TooLarge`] as for [`encode`](Self::encode).
            #[cfg(feature = "alloc")]
            pub fn to_vec(&self) -> Result<alloc::vec::Vec<u8>, EncodeError> {
                let mut bytes = alloc::vec::Vec::new();
                self.encode(&mut bytes)?;
                Ok(bytes)
            }

            /// How many bytes [`encode`](Self::encode) writes.
            ///
            /// # Errors
            /// [`EncodeError::TooLarge`] as for [`encode`](Self::encode).
            pub fn encoded_length(&self) -> Result<usize, EncodeError> {
                let mut nowhere = $crate::wire::codec::Nowhere;
                $crate::wire::codec::write_bounded(&mut nowhere, self.size_max(), |out| self.write(out))
            }
        }
    };
}
pub(crate) use encoders;

/// Writes at most `limit` bytes to `sink` and says how many there were.
pub(crate) fn write_bounded(
    sink: &mut dyn Sink,
    limit: usize,
    write: impl FnOnce(&mut Out<'_>) -> Result<(), EncodeError>,
) -> Result<usize, EncodeError> {
    let mut bounded = Bounded { sink, left: limit };
    let whole: &mut dyn Sink = &mut bounded;
    write(&mut Writer::new(whole))?;
    Ok(limit.saturating_sub(bounded.left))
}
