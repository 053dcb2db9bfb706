//! The writer: always the shortest form, into any [`Sink`], so that a length can be known before a byte is written.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use super::{EncodeError, Major};

/// Where encoded bytes go.
pub trait Sink {
    /// Takes all of `bytes` or fails.
    ///
    /// # Errors
    /// [`EncodeError::BufferFull`] if they do not fit; what was taken before stays.
    fn put(&mut self, bytes: &[u8]) -> Result<(), EncodeError>;
}

/// A sink that fills a caller's buffer from the front.
#[derive(Debug)]
pub struct SliceSink<'b> {
    buffer: &'b mut [u8],
    filled: usize,
}

impl<'b> SliceSink<'b> {
    /// Starts at the front of the buffer.
    #[must_use]
    pub const fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, filled: 0 }
    }

    /// What has been written so far.
    #[must_use]
    pub fn into_filled(self) -> &'b [u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}

impl Sink for SliceSink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let end = self.filled.checked_add(bytes.len()).ok_or(EncodeError::BufferFull)?;
        self.buffer.get_mut(self.filled..end).ok_or(EncodeError::BufferFull)?.copy_from_slice(bytes);
        self.filled = end;
        Ok(())
    }
}

#[cfg(feature = "alloc")]
impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// A sink that only counts.
struct Counter(usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0 = self.0.checked_add(bytes.len()).ok_or(EncodeError::TooLarge)?;
        Ok(())
    }
}

/// Writes items in their shortest form.
#[derive(Debug)]
pub struct Writer<'s, S: Sink + ?Sized> {
    sink: &'s mut S,
}

impl<'s, S: Sink + ?Sized> Writer<'s, S> {
    /// Writes to `sink`.
    pub const fn new(sink: &'s mut S) -> Self {
        Self { sink }
    }

    fn head(&mut self, major: Major, argument: u64) -> Result<(), EncodeError> {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = argument.to_be_bytes();
        let bits = major.bits();
        match argument {
            0..=23 => self.sink.put(&[bits | b7]),
            24..=0xff => self.sink.put(&[bits | 24, b7]),
            0x100..=0xffff => self.sink.put(&[bits | 25, b6, b7]),
            0x1_0000..=0xffff_ffff => self.sink.put(&[bits | 26, b4, b5, b6, b7]),
            _ => self.sink.put(&[bits | 27, b0, b1, b2, b3, b4, b5, b6, b7]),
        }
    }

    fn counted(&mut self, major: Major, count: usize) -> Result<(), EncodeError> {
        self.head(major, u64::try_from(count).map_err(|_| EncodeError::TooLarge)?)
    }

    /// Writes an unsigned integer.
    ///
    /// # Errors
    /// [`EncodeError::BufferFull`] as for every method here, if the sink is full.
    pub fn u64(&mut self, value: u64) -> Result<(), EncodeError> {
        self.head(Major::Unsigned, value)
    }

    /// Writes an integer that may be negative.
    ///
    /// # Errors
    /// As [`Writer::u64`].
    pub fn i64(&mut self, value: i64) -> Result<(), EncodeError> {
        match u64::try_from(value) {
            Ok(value) => self.head(Major::Unsigned, value),
            // The argument of a negative integer n is -1 - n, which is the complement of its bits.
            Err(_) => self.head(Major::Negative, (!value).unsigned_abs()),
        }
    }

    /// Writes a byte string.
    ///
    /// # Errors
    /// As [`Writer::u64`].
    pub fn bytes(&mut self, value: &[u8]) -> Result<(), EncodeError> {
        self.counted(Major::Bytes, value.len())?;
        self.sink.put(value)
    }

    /// Writes only the head of a byte string; its bytes follow by [`Writer::raw`].
    ///
    /// # Errors
    /// As [`Writer::u64`].
    pub fn bytes_head(&mut self, length: usize) -> Result<(), EncodeError> {
        self.counted(Major::Bytes, length)
    }

    /// Writes a text.
    ///
    /// # Errors
    /// As [`Writer::u64`].
    pub fn text(&mut self, value: &str) -> Result<(), EncodeError> {
        self.counted(Major::Text, value.len())?;
        self.sink.put(value.as_bytes())
    }

    /// Writes the head of an array; its elements follow.
    ///
    /// # Errors
    /// As [`Writer::u64`].
    pub fn array(&mut self, count: usize) -> Result<(), EncodeError> {
        self.counted(Major::Array, count)
    }

    /// Writes the head of a map; its keys and values follow, keys rising.
    ///
    /// # Errors
    /// As [`Writer::u64`].
    pub fn map(&mut self, count: usize) -> Result<(), EncodeError> {
        self.counted(Major::Map, count)
    }

    /// Writes a tag; the tagged item follows.
    ///
    /// # Errors
    /// As [`Writer::u64`].
    pub fn tag(&mut self, tag: u64) -> Result<(), EncodeError> {
        self.head(Major::Tag, tag)
    }

    /// Writes `false` or `true`.
    ///
    /// # Errors
    /// As [`Writer::u64`].
    pub fn bool(&mut self, value: bool) -> Result<(), EncodeError> {
        self.head(Major::Simple, if value { 21 } else { 20 })
    }

    /// Writes `null`.
    ///
    /// # Errors
    /// As [`Writer::u64`].
    pub fn null(&mut self) -> Result<(), EncodeError> {
        self.head(Major::Simple, 22)
    }

    /// Writes bytes that are encoded already.
    ///
    /// # Errors
    /// As [`Writer::u64`].
    pub fn raw(&mut self, encoded: &[u8]) -> Result<(), EncodeError> {
        self.sink.put(encoded)
    }
}

/// How many bytes `write` would write.
///
/// # Errors
/// Whatever `write` returns.
pub fn encoded_length(
    write: impl FnOnce(&mut Writer<'_, dyn Sink + '_>) -> Result<(), EncodeError>,
) -> Result<usize, EncodeError> {
    let mut counter = Counter(0);
    write(&mut Writer::new(&mut counter))?;
    Ok(counter.0)
}

/// Writes into the front of a caller's buffer and returns what was written.
///
/// # Errors
/// Whatever `write` returns; [`EncodeError::BufferFull`] if the buffer is too small.
pub fn to_slice(
    buffer: &mut [u8],
    write: impl FnOnce(&mut Writer<'_, dyn Sink + '_>) -> Result<(), EncodeError>,
) -> Result<&[u8], EncodeError> {
    let mut sink = SliceSink::new(buffer);
    write(&mut Writer::new(&mut sink))?;
    Ok(sink.into_filled())
}

/// Writes into a new vector.
///
/// # Errors
/// Whatever `write` returns.
#[cfg(feature = "alloc")]
pub fn to_vec(
    write: impl FnOnce(&mut Writer<'_, dyn Sink + '_>) -> Result<(), EncodeError>,
) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    write(&mut Writer::new(&mut bytes))?;
    Ok(bytes)
}
