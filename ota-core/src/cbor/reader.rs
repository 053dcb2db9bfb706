//! The strict reader: a cursor over bytes that yields items or says what is wrong with them.

use core::cmp::Ordering;

use super::{DecodeError, DecodeErrorKind, Major};
use crate::limits::NESTING_MAX;

/// Keys below this are critical: a reader that does not know one refuses the whole map.
const CRITICAL_KEYS: u64 = 64;

/// A cursor over encoded bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { input, position: 0 }
    }

    /// Offset of the next item, in bytes from the beginning.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.position >= self.input.len()
    }

    /// Demands that everything has been read.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TrailingBytes`] at the first byte that is left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.is_at_end() { Ok(()) } else { Err(DecodeErrorKind::TrailingBytes.at(self.position)) }
    }

    fn take(&mut self, length: usize, item: usize) -> Result<&'a [u8], DecodeError> {
        let truncated = DecodeErrorKind::Truncated.at(item);
        let end = self.position.checked_add(length).ok_or(truncated)?;
        let bytes = self.input.get(self.position..end).ok_or(truncated)?;
        self.position = end;
        Ok(bytes)
    }

    /// The initial byte of the next item without consuming it.
    fn peek(&self) -> Result<u8, DecodeError> {
        self.input.get(self.position).copied().ok_or(DecodeErrorKind::Truncated.at(self.position))
    }

    /// Reads the head of an item: its major type and its argument, which must be in its shortest form.
    fn head(&mut self) -> Result<(Major, u64), DecodeError> {
        let item = self.position;
        let initial = self.peek()?;
        let major = Major::of(initial);
        self.take(1, item)?;
        let (argument, shortest_from) = match initial & 0x1f {
            direct @ 0..=23 => (u64::from(direct), 0),
            24 => (self.argument(1, item)?, 24),
            25 => (self.argument(2, item)?, 0x100),
            26 => (self.argument(4, item)?, 0x1_0000),
            27 => (self.argument(8, item)?, 0x1_0000_0000),
            31 if !matches!(major, Major::Unsigned | Major::Negative | Major::Tag | Major::Simple) => {
                return Err(DecodeErrorKind::Indefinite.at(item));
            }
            _ => return Err(DecodeErrorKind::Forbidden.at(item)),
        };
        // Simple values hold floats behind 25 to 27; they are told from small numbers below, not by their size.
        if matches!(major, Major::Simple) {
            if initial & 0x1f < 24 && matches!(argument, 20..=22) {
                return Ok((major, argument));
            }
            return Err(DecodeErrorKind::Forbidden.at(item));
        }
        if argument < shortest_from {
            return Err(DecodeErrorKind::NotShortest.at(item));
        }
        Ok((major, argument))
    }

    fn argument(&mut self, length: usize, item: usize) -> Result<u64, DecodeError> {
        let bytes = self.take(length, item)?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn expect(&mut self, expected: Major) -> Result<u64, DecodeError> {
        let item = self.position;
        match self.head()? {
            (major, argument) if major == expected => Ok(argument),
            _ => Err(DecodeErrorKind::WrongType.at(item)),
        }
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// [`DecodeError`] as for every method here: what is wrong with the item, and its offset.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.expect(Major::Unsigned)
    }

    /// Reads an unsigned integer of at most 32 bits.
    ///
    /// # Errors
    /// [`DecodeErrorKind::OutOfRange`] if it is larger.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        let item = self.position;
        u32::try_from(self.u64()?).map_err(|_| DecodeErrorKind::OutOfRange.at(item))
    }

    /// Reads an unsigned integer of at most 16 bits.
    ///
    /// # Errors
    /// [`DecodeErrorKind::OutOfRange`] if it is larger.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        let item = self.position;
        u16::try_from(self.u64()?).map_err(|_| DecodeErrorKind::OutOfRange.at(item))
    }

    /// Reads an integer that may be negative.
    ///
    /// # Errors
    /// [`DecodeErrorKind::OutOfRange`] if it does not fit 64 bits with a sign.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        let item = self.position;
        let out_of_range = DecodeErrorKind::OutOfRange.at(item);
        let (major, argument) = self.head()?;
        let magnitude = i64::try_from(argument).map_err(|_| out_of_range)?;
        match major {
            Major::Unsigned => Ok(magnitude),
            Major::Negative => (-1_i64).checked_sub(magnitude).ok_or(out_of_range),
            _ => Err(DecodeErrorKind::WrongType.at(item)),
        }
    }

    /// Reads a byte string of at most `limit` bytes.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooLarge`] if it is longer.
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8], DecodeError> {
        self.string(Major::Bytes, limit)
    }

    /// Reads a byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// [`DecodeErrorKind::OutOfRange`] if it has another length.
    pub fn byte_array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let item = self.position;
        let bytes = self.bytes(self.input.len())?;
        bytes.try_into().map_err(|_| DecodeErrorKind::OutOfRange.at(item))
    }

    /// Reads a text of at most `limit` bytes.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooLarge`] if it is longer, [`DecodeErrorKind::NotUtf8`] if it is not UTF-8.
    pub fn text(&mut self, limit: usize) -> Result<&'a str, DecodeError> {
        let item = self.position;
        let bytes = self.string(Major::Text, limit)?;
        core::str::from_utf8(bytes).map_err(|_| DecodeErrorKind::NotUtf8.at(item))
    }

    fn string(&mut self, major: Major, limit: usize) -> Result<&'a [u8], DecodeError> {
        let item = self.position;
        let length = self.expect(major)?;
        // A length over the input is a truncation, whatever the limit: the limit only judges what is there.
        let length = usize::try_from(length).map_err(|_| DecodeErrorKind::Truncated.at(item))?;
        let bytes = self.take(length, item)?;
        if length > limit { Err(DecodeErrorKind::TooLarge.at(item)) } else { Ok(bytes) }
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongType`] for anything else.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        let item = self.position;
        match self.head()? {
            (Major::Simple, 20) => Ok(false),
            (Major::Simple, 21) => Ok(true),
            _ => Err(DecodeErrorKind::WrongType.at(item)),
        }
    }

    /// Reads `null` if that is what comes next, and says whether it did.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] at the end of the input.
    pub fn null(&mut self) -> Result<bool, DecodeError> {
        let is_null = self.peek()? == Major::Simple.bits() | 22;
        if is_null {
            self.head()?;
        }
        Ok(is_null)
    }

    /// Reads a tag and demands this one.
    ///
    /// # Errors
    /// [`DecodeErrorKind::OutOfRange`] for another tag.
    pub fn tag(&mut self, expected: u64) -> Result<(), DecodeError> {
        let item = self.position;
        if self.expect(Major::Tag)? == expected { Ok(()) } else { Err(DecodeErrorKind::OutOfRange.at(item)) }
    }

    /// Reads the head of an array of at most `limit` elements; the elements follow.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooLarge`] if it has more, or more than the input has bytes.
    pub fn array(&mut self, limit: usize) -> Result<usize, DecodeError> {
        self.container(Major::Array, limit)
    }

    /// Reads the head of an array and demands exactly `count` elements.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongCount`] for another number.
    pub fn tuple(&mut self, count: usize) -> Result<(), DecodeError> {
        let item = self.position;
        if self.expect(Major::Array)? == count_as_u64(count) {
            Ok(())
        } else {
            Err(DecodeErrorKind::WrongCount.at(item))
        }
    }

    /// Reads the head of a map with integer keys; [`MapEntries`] hands out the keys one by one.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooLarge`] if it claims more entries than the input has bytes.
    pub fn map(&mut self) -> Result<MapEntries, DecodeError> {
        let left = self.container(Major::Map, usize::MAX)?;
        Ok(MapEntries { left, last: None })
    }

    fn container(&mut self, major: Major, limit: usize) -> Result<usize, DecodeError> {
        let item = self.position;
        let count = self.expect(major)?;
        let remaining = self.input.len().saturating_sub(self.position);
        // An element takes a byte at the least, so a larger count is a lie whatever the limit.
        match usize::try_from(count) {
            Ok(count) if count <= limit && count <= remaining => Ok(count),
            Ok(count) if count <= limit => Err(DecodeErrorKind::Truncated.at(item)),
            _ => Err(DecodeErrorKind::TooLarge.at(item)),
        }
    }

    /// Takes `length` bytes as they are; used for items that were checked a moment ago.
    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        self.take(length, self.position)
    }

    /// Skips one item whatever it is, but reads it as strictly as any other, and returns its bytes.
    ///
    /// The keys of maps inside it must rise as well: bytewise by their encodings, as RFC 8949 section 4.2.1 sorts them.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooDeep`] below [`NESTING_MAX`] levels of arrays, maps and tags;
    /// [`DecodeErrorKind::DuplicateKey`] or [`DecodeErrorKind::UnsortedKeys`] if the keys of a map do not rise.
    pub fn skip(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.position;
        let mut open = [Level::default(); NESTING_MAX];
        let mut depth = 0_usize;
        loop {
            let item = self.position;
            if let Some((children, is_map)) = self.skip_head()? {
                let level = open.get_mut(depth).ok_or(DecodeErrorKind::TooDeep.at(item))?;
                *level = Level { left: children, is_map, begins: self.position, last_key: &[] };
                depth = depth.saturating_add(1);
            }
            // Close every level that holds nothing more, and count an item off the one that does.
            loop {
                let Some(level) = depth.checked_sub(1).and_then(|top| open.get_mut(top)) else {
                    return Ok(self.input.get(start..self.position).unwrap_or_default());
                };
                level.item_ended(self.input, self.position)?;
                if let Some(left) = level.left.checked_sub(1) {
                    level.left = left;
                    level.begins = self.position;
                    break;
                }
                depth = depth.saturating_sub(1);
            }
        }
    }

    /// Skips an item without what it contains: for an array, map or tag, how many items those are, and whether it is
    /// a map, whose entries count twice.
    fn skip_head(&mut self) -> Result<Option<(u64, bool)>, DecodeError> {
        let item = self.position;
        let (major, argument) = self.head()?;
        match major {
            Major::Bytes | Major::Text => {
                let length = usize::try_from(argument).map_err(|_| DecodeErrorKind::Truncated.at(item))?;
                let bytes = self.take(length, item)?;
                if matches!(major, Major::Text) && core::str::from_utf8(bytes).is_err() {
                    return Err(DecodeErrorKind::NotUtf8.at(item));
                }
                Ok(None)
            }
            Major::Array => Ok(Some((argument, false))),
            Major::Map => {
                let items = argument.checked_mul(2).ok_or(DecodeErrorKind::TooLarge.at(item))?;
                Ok(Some((items, true)))
            }
            Major::Tag => Ok(Some((1, false))),
            Major::Unsigned | Major::Negative | Major::Simple => Ok(None),
        }
    }
}

/// An array, map or tag that is being skipped.
#[derive(Clone, Copy, Default)]
struct Level<'a> {
    /// How many of its items have not begun.
    left: u64,
    is_map: bool,
    /// Where the item that began last begins.
    begins: usize,
    /// The encoding of the last key, if it is a map; empty before the first, which no key is.
    last_key: &'a [u8],
}

impl<'a> Level<'a> {
    /// An item that began last ends at `end`, or none has begun; if it is a key, it must be above the one before it.
    fn item_ended(&mut self, input: &'a [u8], end: usize) -> Result<(), DecodeError> {
        // Keys and values alternate and end with a value: what is left behind a key is odd.
        if !self.is_map || self.left & 1 == 0 {
            return Ok(());
        }
        let key = input.get(self.begins..end).unwrap_or_default();
        match key.cmp(self.last_key) {
            Ordering::Greater => {
                self.last_key = key;
                Ok(())
            }
            Ordering::Equal => Err(DecodeErrorKind::DuplicateKey.at(self.begins)),
            Ordering::Less => Err(DecodeErrorKind::UnsortedKeys.at(self.begins)),
        }
    }
}

const fn count_as_u64(count: usize) -> u64 {
    // A usize has at most 64 bits on every target of Rust.
    #[expect(clippy::as_conversions, reason = "u64::from(usize) does not exist, and this is never lossy")]
    let count = count as u64;
    count
}

/// Hands out the integer keys of a map and checks that they rise.
///
/// ```
/// # use ota_core::cbor::{DecodeError, Reader};
/// # fn read(bytes: &[u8]) -> Result<Option<u64>, DecodeError> {
/// let mut reader = Reader::new(bytes);
/// let mut entries = reader.map()?;
/// let mut size = None;
/// while let Some(key) = entries.next_key(&mut reader)? {
///     match key {
///         1 => size = Some(reader.u64()?),
///         other => entries.skip_optional(other, &mut reader)?,
///     }
/// }
/// reader.finish()?;
/// # Ok(size) }
/// # assert_eq!(read(&[0xa1, 0x01, 0x07]).unwrap(), Some(7));
/// ```
#[derive(Debug)]
pub struct MapEntries {
    left: usize,
    last: Option<u64>,
}

impl MapEntries {
    /// The next key, or `None` when the map is over. The caller reads the value before it asks again.
    ///
    /// # Errors
    /// [`DecodeErrorKind::DuplicateKey`] or [`DecodeErrorKind::UnsortedKeys`] if the keys do not rise.
    pub fn next_key(&mut self, reader: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        let item = reader.position();
        let key = reader.u64()?;
        match self.last {
            Some(last) if key == last => return Err(DecodeErrorKind::DuplicateKey.at(item)),
            Some(last) if key < last => return Err(DecodeErrorKind::UnsortedKeys.at(item)),
            _ => {}
        }
        self.left = left;
        self.last = Some(key);
        Ok(Some(key))
    }

    /// Skips the value of a key that this version does not know, if the format allows that.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownCriticalKey`] for a key below 64: what it means must not be ignored.
    pub fn skip_optional(&self, key: u64, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if key < CRITICAL_KEYS {
            return Err(DecodeErrorKind::UnknownCriticalKey.at(reader.position()));
        }
        reader.skip().map(|_| ())
    }
}
