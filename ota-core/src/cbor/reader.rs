//! The strict reader: a cursor over bytes that yields items or says what is wrong with them.

use core::cmp::Ordering;

use super::{DecodeError, DecodeErrorKind, Major, Malformed};
use crate::limits::NESTING_MAX;

/// Keys below this are critical: a reader that does not know one refuses the whole map.
const CRITICAL_KEYS: u64 = 64;

/// Reads a value with `read` and demands that it fills all of `input`.
///
/// # Errors
/// [`DecodeError`] says what is wrong with the bytes, and where.
pub fn from_slice<'a, T>(
    input: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<T, DecodeError> {
    let mut reader = Reader::new(input);
    match read(&mut reader) {
        Ok(value) if reader.is_at_end() => Ok(value),
        Ok(_) => Err(DecodeErrorKind::TrailingBytes.at(reader.position)),
        Err(malformed) => Err(reader.error(malformed)),
    }
}

/// A cursor over encoded bytes.
///
/// What it refuses it remembers, so that an error costs whoever passes it on nothing: see [`Malformed`].
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    /// Where the next item begins, or where the one lies that was refused.
    position: usize,
    /// What was wrong with that one.
    refused: Option<DecodeErrorKind>,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { input, position: 0, refused: None }
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

    /// Refuses the item at `offset`: from now on this is what the reader has found.
    ///
    /// For rules that are the caller's: that a number is in its range, that two items agree.
    #[cold]
    #[inline(never)]
    pub const fn refuse(&mut self, kind: DecodeErrorKind, offset: usize) -> Malformed {
        self.position = offset;
        self.refused = Some(kind);
        Malformed(())
    }

    /// What was wrong, and where. The receipt is this reader's own.
    #[must_use]
    pub fn error(&self, _: Malformed) -> DecodeError {
        self.refused.unwrap_or(DecodeErrorKind::Truncated).at(self.position)
    }

    /// All the bytes, read or not.
    #[must_use]
    pub const fn input(&self) -> &'a [u8] {
        self.input
    }

    /// The bytes from an earlier [`position`](Self::position) up to the next item.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.input.get(start..self.position).unwrap_or_default()
    }

    /// Demands that everything has been read.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TrailingBytes`] at the first byte that is left.
    pub fn finish(&mut self) -> Result<(), Malformed> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(self.refuse(DecodeErrorKind::TrailingBytes, self.position))
        }
    }

    fn take(&mut self, length: usize, item: usize) -> Result<&'a [u8], Malformed> {
        let end = self.position.saturating_add(length);
        match self.input.get(self.position..end) {
            Some(bytes) => {
                self.position = end;
                Ok(bytes)
            }
            None => Err(self.refuse(DecodeErrorKind::Truncated, item)),
        }
    }

    /// The initial byte of the next item without consuming it.
    fn peek(&mut self) -> Result<u8, Malformed> {
        let initial = self.input.get(self.position).copied();
        initial.ok_or_else(|| self.refuse(DecodeErrorKind::Truncated, self.position))
    }

    /// Reads the head of an item: its major type and its argument, which must be in its shortest form.
    fn head(&mut self) -> Result<(Major, u64), Malformed> {
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
                return Err(self.refuse(DecodeErrorKind::Indefinite, item));
            }
            _ => return Err(self.refuse(DecodeErrorKind::Forbidden, item)),
        };
        // Simple values hold floats behind 25 to 27; they are told from small numbers below, not by their size.
        if matches!(major, Major::Simple) {
            if initial & 0x1f < 24 && matches!(argument, 20..=22) {
                return Ok((major, argument));
            }
            return Err(self.refuse(DecodeErrorKind::Forbidden, item));
        }
        if argument < shortest_from {
            return Err(self.refuse(DecodeErrorKind::NotShortest, item));
        }
        Ok((major, argument))
    }

    fn argument(&mut self, length: usize, item: usize) -> Result<u64, Malformed> {
        let bytes = self.take(length, item)?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn expect(&mut self, expected: Major) -> Result<u64, Malformed> {
        let item = self.position;
        match self.head()? {
            (major, argument) if major == expected => Ok(argument),
            _ => Err(self.refuse(DecodeErrorKind::WrongType, item)),
        }
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// [`Malformed`] as for every method here; [`error`](Self::error) has what is wrong with the item, and its offset.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.expect(Major::Unsigned)
    }

    /// Reads an unsigned integer of at most 32 bits.
    ///
    /// # Errors
    /// [`DecodeErrorKind::OutOfRange`] if it is larger.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        let item = self.position;
        u32::try_from(self.u64()?).map_err(|_| self.refuse(DecodeErrorKind::OutOfRange, item))
    }

    /// Reads an unsigned integer of at most 16 bits.
    ///
    /// # Errors
    /// [`DecodeErrorKind::OutOfRange`] if it is larger.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        let item = self.position;
        u16::try_from(self.u64()?).map_err(|_| self.refuse(DecodeErrorKind::OutOfRange, item))
    }

    /// Reads an integer that may be negative.
    ///
    /// # Errors
    /// [`DecodeErrorKind::OutOfRange`] if it does not fit 64 bits with a sign.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        let item = self.position;
        let (major, argument) = self.head()?;
        let magnitude = i64::try_from(argument).ok();
        let value = match major {
            Major::Unsigned => magnitude,
            Major::Negative => magnitude.and_then(|magnitude| (-1_i64).checked_sub(magnitude)),
            _ => return Err(self.refuse(DecodeErrorKind::WrongType, item)),
        };
        value.ok_or_else(|| self.refuse(DecodeErrorKind::OutOfRange, item))
    }

    /// Reads a byte string of at most `limit` bytes.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooLarge`] if it is longer.
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8], Malformed> {
        self.string(Major::Bytes, limit)
    }

    /// Reads a byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// [`DecodeErrorKind::OutOfRange`] if it has another length.
    pub fn byte_array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let item = self.position;
        let bytes = self.bytes(self.input.len())?;
        bytes.try_into().map_err(|_| self.refuse(DecodeErrorKind::OutOfRange, item))
    }

    /// Reads a text of at most `limit` bytes.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooLarge`] if it is longer, [`DecodeErrorKind::NotUtf8`] if it is not UTF-8.
    pub fn text(&mut self, limit: usize) -> Result<&'a str, Malformed> {
        let item = self.position;
        let bytes = self.string(Major::Text, limit)?;
        core::str::from_utf8(bytes).map_err(|_| self.refuse(DecodeErrorKind::NotUtf8, item))
    }

    fn string(&mut self, major: Major, limit: usize) -> Result<&'a [u8], Malformed> {
        let item = self.position;
        let length = self.expect(major)?;
        // A length over the input is a truncation, whatever the limit: the limit only judges what is there.
        let length = usize::try_from(length).map_err(|_| self.refuse(DecodeErrorKind::Truncated, item))?;
        let bytes = self.take(length, item)?;
        if length > limit { Err(self.refuse(DecodeErrorKind::TooLarge, item)) } else { Ok(bytes) }
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongType`] for anything else.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        let item = self.position;
        match self.head()? {
            (Major::Simple, 20) => Ok(false),
            (Major::Simple, 21) => Ok(true),
            _ => Err(self.refuse(DecodeErrorKind::WrongType, item)),
        }
    }

    /// Reads `null` if that is what comes next, and says whether it did.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] at the end of the input.
    pub fn null(&mut self) -> Result<bool, Malformed> {
        let is_null = self.peek()? == Major::Simple.bits() | 22;
        if is_null {
            self.head()?;
        }
        Ok(is_null)
    }

    /// Whether a byte string comes next.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        self.input.get(self.position).is_some_and(|initial| Major::of(*initial) == Major::Bytes)
    }

    /// Reads a tag and demands this one.
    ///
    /// # Errors
    /// [`DecodeErrorKind::OutOfRange`] for another tag.
    pub fn tag(&mut self, expected: u64) -> Result<(), Malformed> {
        let item = self.position;
        if self.expect(Major::Tag)? == expected {
            Ok(())
        } else {
            Err(self.refuse(DecodeErrorKind::OutOfRange, item))
        }
    }

    /// Reads the head of an array of at most `limit` elements; the elements follow.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooLarge`] if it has more, or more than the input has bytes.
    pub fn array(&mut self, limit: usize) -> Result<usize, Malformed> {
        self.container(Major::Array, limit)
    }

    /// Reads the head of an array and demands exactly `count` elements.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongCount`] for another number.
    pub fn tuple(&mut self, count: usize) -> Result<(), Malformed> {
        let item = self.position;
        if self.expect(Major::Array)? == count_as_u64(count) {
            Ok(())
        } else {
            Err(self.refuse(DecodeErrorKind::WrongCount, item))
        }
    }

    /// Reads the head of a map with integer keys; [`MapEntries`] hands out the keys one by one.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooLarge`] if it claims more entries than the input has bytes.
    pub fn map(&mut self) -> Result<MapEntries, Malformed> {
        let left = self.container(Major::Map, usize::MAX)?;
        Ok(MapEntries { left, last: None })
    }

    fn container(&mut self, major: Major, limit: usize) -> Result<usize, Malformed> {
        let item = self.position;
        let count = self.expect(major)?;
        let remaining = self.input.len().saturating_sub(self.position);
        // An element takes a byte at the least, so a larger count is a lie whatever the limit.
        match usize::try_from(count) {
            Ok(count) if count <= limit && count <= remaining => Ok(count),
            Ok(count) if count <= limit => Err(self.refuse(DecodeErrorKind::Truncated, item)),
            _ => Err(self.refuse(DecodeErrorKind::TooLarge, item)),
        }
    }

    /// Skips one item whatever it is, but reads it as strictly as any other, and returns its bytes.
    ///
    /// The keys of maps inside it must rise as well: bytewise by their encodings, as RFC 8949 section 4.2.1 sorts them.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooDeep`] below [`NESTING_MAX`] levels of arrays, maps and tags;
    /// [`DecodeErrorKind::DuplicateKey`] or [`DecodeErrorKind::UnsortedKeys`] if the keys of a map do not rise.
    pub fn skip(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.position;
        let mut open = [Level::default(); NESTING_MAX];
        let mut depth = 0_usize;
        loop {
            let item = self.position;
            if let Some((children, is_map)) = self.skip_head()? {
                let level = open.get_mut(depth).ok_or_else(|| self.refuse(DecodeErrorKind::TooDeep, item))?;
                *level = Level { left: children, is_map, begins: self.position, last_key: &[] };
                depth = depth.saturating_add(1);
            }
            // Close every level that holds nothing more, and count an item off the one that does.
            loop {
                let Some(level) = depth.checked_sub(1).and_then(|top| open.get_mut(top)) else {
                    return Ok(self.since(start));
                };
                if let Err(kind) = level.item_ended(self.input, self.position) {
                    let key = level.begins;
                    return Err(self.refuse(kind, key));
                }
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
    fn skip_head(&mut self) -> Result<Option<(u64, bool)>, Malformed> {
        let item = self.position;
        let (major, argument) = self.head()?;
        match major {
            Major::Bytes | Major::Text => {
                let length =
                    usize::try_from(argument).map_err(|_| self.refuse(DecodeErrorKind::Truncated, item))?;
                let bytes = self.take(length, item)?;
                if matches!(major, Major::Text) && core::str::from_utf8(bytes).is_err() {
                    return Err(self.refuse(DecodeErrorKind::NotUtf8, item));
                }
                Ok(None)
            }
            Major::Array => Ok(Some((argument, false))),
            Major::Map => {
                let items =
                    argument.checked_mul(2).ok_or_else(|| self.refuse(DecodeErrorKind::TooLarge, item))?;
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
    fn item_ended(&mut self, input: &'a [u8], end: usize) -> Result<(), DecodeErrorKind> {
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
            Ordering::Equal => Err(DecodeErrorKind::DuplicateKey),
            Ordering::Less => Err(DecodeErrorKind::UnsortedKeys),
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
/// # use ota_core::cbor::from_slice;
/// let size = from_slice(&[0xa1, 0x01, 0x07], |reader| {
///     let mut entries = reader.map()?;
///     let mut size = None;
///     while let Some(key) = entries.next_key(reader)? {
///         match key {
///             1 => size = Some(reader.u64()?),
///             other => entries.skip_optional(other, reader)?,
///         }
///     }
///     Ok(size)
/// });
/// assert_eq!(size, Ok(Some(7)));
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
    pub fn next_key(&mut self, reader: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        let item = reader.position();
        let key = reader.u64()?;
        match self.last {
            Some(last) if key == last => return Err(reader.refuse(DecodeErrorKind::DuplicateKey, item)),
            Some(last) if key < last => return Err(reader.refuse(DecodeErrorKind::UnsortedKeys, item)),
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
    pub fn skip_optional(&self, key: u64, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        if key < CRITICAL_KEYS {
            let item = reader.position();
            return Err(reader.refuse(DecodeErrorKind::UnknownCriticalKey, item));
        }
        reader.skip().map(|_| ())
    }
}
