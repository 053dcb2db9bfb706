//! The lenient reader: accepts CBOR as the original devices and their service exchange it.
//!
//! Lengths may be indefinite, integers long, keys in any order and values of unexpected types; a tag, a float, a
//! reserved value or bytes behind the end spoil the whole message. A message is checked once from end to end;
//! everything after that only looks up. Nothing here recurses or allocates.

use crate::cbor::{DecodeError, DecodeErrorKind, Major};

/// Deepest nesting that is followed. Messages need three levels: map, list, map.
const NESTING_MAX: usize = 8;

/// A cursor over a stretch of the message; offsets count from the beginning of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor<'a> {
    message: &'a [u8],
    position: usize,
    end: usize,
}

/// One item, with the contents of containers still to be walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    Bool(bool),
    Array(Cursor<'a>),
    Map(Cursor<'a>),
    /// Whatever never counts: null, other simple values, integers over 63 bits, strings in pieces, text that is not UTF-8.
    Other,
}

#[derive(Clone, Copy)]
struct Head {
    major: Major,
    /// The argument, or `None` for an indefinite length; `None` with [`Major::Simple`] is the break.
    argument: Option<u64>,
}

impl Head {
    const fn is_break(self) -> bool {
        matches!((self.major, self.argument), (Major::Simple, None))
    }
}

/// What is open on one level of nesting.
#[derive(Clone, Copy)]
struct Level {
    /// Items to come, or `None` until a break ends them.
    left: Option<u64>,
    /// Keys without their value; a map may not end between the two.
    is_odd: bool,
    is_map: bool,
}

impl<'a> Cursor<'a> {
    /// Checks the whole message and demands that it is one map.
    pub(super) fn map_of(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Self { message, position: 0, end: message.len() };
        let value = cursor.item()?;
        if cursor.position < cursor.end {
            return Err(DecodeErrorKind::TrailingBytes.at(cursor.position));
        }
        match value {
            Value::Map(entries) => Ok(entries),
            _ => Err(DecodeErrorKind::WrongType.at(0)),
        }
    }

    pub(super) const fn position(&self) -> usize {
        self.position
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.position >= self.end
    }

    /// Reads the next item whole.
    pub(super) fn item(&mut self) -> Result<Value<'a>, DecodeError> {
        let mut inside = *self;
        let head = inside.head()?;
        self.skip()?;
        // The break of an indefinite container is not part of its contents.
        let contents = Cursor {
            message: self.message,
            position: inside.position,
            end: if head.argument.is_none() { self.position.saturating_sub(1) } else { self.position },
        };
        Ok(match (head.major, head.argument) {
            (Major::Unsigned, Some(value)) => i64::try_from(value).map_or(Value::Other, Value::Integer),
            (Major::Negative, Some(value)) => {
                i64::try_from(value).map_or(Value::Other, |value| Value::Integer(!value))
            }
            (Major::Bytes, Some(_)) => Value::Bytes(contents.rest()),
            (Major::Text, Some(_)) => core::str::from_utf8(contents.rest()).map_or(Value::Other, Value::Text),
            (Major::Simple, Some(20)) => Value::Bool(false),
            (Major::Simple, Some(21)) => Value::Bool(true),
            (Major::Array, _) => Value::Array(contents),
            (Major::Map, _) => Value::Map(contents),
            _ => Value::Other,
        })
    }

    /// The value of a text key, and where it stands; the first counts if there are several.
    pub(super) fn find(mut self, wanted: &str) -> Option<(Value<'a>, usize)> {
        while !self.is_at_end() {
            let key = self.item().ok()?;
            let offset = self.position;
            let value = self.item().ok()?;
            if key == Value::Text(wanted) {
                return Some((value, offset));
            }
        }
        None
    }

    fn rest(&self) -> &'a [u8] {
        self.message.get(self.position..self.end).unwrap_or_default()
    }

    fn take(&mut self, length: u64, item: usize) -> Result<&'a [u8], DecodeError> {
        let truncated = DecodeErrorKind::Truncated.at(item);
        let length = usize::try_from(length).map_err(|_| truncated)?;
        let end = self.position.checked_add(length).filter(|end| *end <= self.end).ok_or(truncated)?;
        let bytes = self.message.get(self.position..end).ok_or(truncated)?;
        self.position = end;
        Ok(bytes)
    }

    fn head(&mut self) -> Result<Head, DecodeError> {
        let item = self.position;
        let initial = self.take(1, item)?.first().copied().unwrap_or_default();
        let major = Major::of(initial);
        let forbidden = DecodeErrorKind::Forbidden.at(item);
        let width = match initial & 0x1f {
            direct @ 0..=23 => return Ok(Head { major, argument: Some(u64::from(direct)) }),
            24 => 1,
            // Behind these a simple value is a float.
            25..=27 if matches!(major, Major::Simple) => return Err(forbidden),
            25 => 2,
            26 => 4,
            27 => 8,
            31 if !matches!(major, Major::Unsigned | Major::Negative | Major::Tag) => {
                return Ok(Head { major, argument: None });
            }
            _ => return Err(forbidden),
        };
        let bytes = self.take(width, item)?;
        Ok(Head { major, argument: Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))) })
    }

    /// Passes one item with everything in it.
    fn skip(&mut self) -> Result<(), DecodeError> {
        let mut levels = [Level { left: Some(0), is_odd: false, is_map: false }; NESTING_MAX];
        let mut depth = 0_usize;
        loop {
            let item = self.position;
            let head = self.head()?;
            if head.is_break() {
                let top = depth.checked_sub(1).and_then(|top| levels.get(top));
                match top {
                    Some(Level { left: None, is_odd: false, .. }) => depth = depth.saturating_sub(1),
                    _ => return Err(DecodeErrorKind::Forbidden.at(item)),
                }
            } else {
                if let Some(opened) = self.contents(head, item)? {
                    *levels.get_mut(depth).ok_or(DecodeErrorKind::TooDeep.at(item))? = opened;
                    depth = depth.saturating_add(1);
                    if opened.left != Some(0) {
                        continue;
                    }
                    depth = depth.saturating_sub(1);
                }
            }
            // An item is complete: count it off its container, which may be complete with it, and so on.
            loop {
                let Some(level) = depth.checked_sub(1).and_then(|top| levels.get_mut(top)) else {
                    return Ok(());
                };
                level.is_odd = level.is_map && !level.is_odd;
                match &mut level.left {
                    None => break,
                    Some(left) => {
                        *left = left.saturating_sub(1);
                        if *left > 0 {
                            break;
                        }
                    }
                }
                depth = depth.saturating_sub(1);
            }
        }
    }

    /// Passes the contents of a string, or says what level a container opens.
    fn contents(&mut self, head: Head, item: usize) -> Result<Option<Level>, DecodeError> {
        let is_map = matches!(head.major, Major::Map);
        match (head.major, head.argument) {
            (Major::Array | Major::Map, None) => Ok(Some(Level { left: None, is_odd: false, is_map })),
            (Major::Array | Major::Map, Some(count)) => {
                let items = if is_map { count.checked_mul(2) } else { Some(count) };
                let left = items.ok_or(DecodeErrorKind::TooLarge.at(item))?;
                Ok(Some(Level { left: Some(left), is_odd: false, is_map }))
            }
            (Major::Bytes | Major::Text, Some(length)) => self.take(length, item).map(|_| None),
            (Major::Bytes | Major::Text, None) => self.pieces(head.major).map(|()| None),
            (Major::Tag, _) => Err(DecodeErrorKind::Forbidden.at(item)),
            _ => Ok(None),
        }
    }

    /// Passes a string in pieces, up to its break.
    fn pieces(&mut self, major: Major) -> Result<(), DecodeError> {
        loop {
            let item = self.position;
            let head = self.head()?;
            match head.argument {
                _ if head.is_break() => return Ok(()),
                Some(length) if head.major == major => self.take(length, item).map(|_| ())?,
                _ => return Err(DecodeErrorKind::Forbidden.at(item)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(bytes: &[u8]) -> Result<(), DecodeErrorKind> {
        Cursor::map_of(bytes).map(|_| ()).map_err(|error| error.kind)
    }

    #[test]
    fn definite_and_indefinite_forms_read_alike() {
        for form in [
            &[0xa1, 0x61, b'k', 0x82, 1, 0x20][..],
            &[0xbf, 0x61, b'k', 0x82, 1, 0x20, 0xff],
            &[0xbf, 0x61, b'k', 0x9f, 1, 0x20, 0xff, 0xff],
            &[0xb8, 1, 0x78, 1, b'k', 0x99, 0, 2, 0x1b, 0, 0, 0, 0, 0, 0, 0, 1, 0x39, 0, 0],
        ] {
            let Some((Value::Array(mut list), _)) = Cursor::map_of(form).unwrap().find("k") else {
                panic!("{form:02x?}")
            };
            assert_eq!(list.item(), Ok(Value::Integer(1)));
            assert_eq!(list.item(), Ok(Value::Integer(-1)));
            assert!(list.is_at_end());
        }
    }

    #[test]
    fn what_spoils_a_message_is_named() {
        use DecodeErrorKind::*;
        for (bytes, kind) in [
            (&[][..], Truncated),
            (&[0xa1], Truncated),
            (&[0xa1, 1], Truncated),
            (&[0xbf, 1, 2], Truncated),
            (&[0xbf, 1, 0xff], Forbidden),
            (&[0xff], Forbidden),
            (&[0xa1, 1, 0xff], Forbidden),
            (&[0xa0, 0], TrailingBytes),
            (&[0x80], WrongType),
            (&[0xa1, 1, 0xc1, 1], Forbidden),
            (&[0xa1, 1, 0xf9, 0, 0], Forbidden),
            (&[0xa1, 1, 0xfa, 0, 0, 0, 0], Forbidden),
            (&[0xa1, 1, 0x1c], Forbidden),
            (&[0xa1, 1, 0x1f], Forbidden),
            (&[0xa1, 1, 0x5f, 0x61, b'x', 0xff], Forbidden),
            (&[0xa1, 1, 0x5f, 0x5f, 0xff, 0xff], Forbidden),
            (&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], TooLarge),
            (&[0xa1, 1, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Truncated),
        ] {
            assert_eq!(checked(bytes), Err(kind), "{bytes:02x?}");
        }
    }

    #[test]
    fn incident_41_nesting_costs_neither_stack_nor_time() {
        for container in [0x81, 0xa1, 0x9f, 0xbf] {
            assert_eq!(checked(&vec![container; 100_000]), Err(DecodeErrorKind::TooDeep));
        }
        assert_eq!(
            checked(&[0xa1, 0, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Err(DecodeErrorKind::Truncated)
        );
    }

    #[test]
    fn strings_in_pieces_and_odd_values_count_as_missing() {
        let bytes = [0xa3, 0x61, b'a', 0x7f, 0x61, b'x', 0xff, 0x61, b'b', 0xf6, 0x7f, 0x61, b'c', 0xff, 1];
        let map = Cursor::map_of(&bytes).unwrap();
        assert_eq!(map.find("a").map(|found| found.0), Some(Value::Other));
        assert_eq!(map.find("b").map(|found| found.0), Some(Value::Other));
        assert_eq!(map.find("c"), None);
    }

    #[test]
    fn the_first_of_equal_keys_counts() {
        let bytes = [0xa2, 0x61, b'a', 1, 0x61, b'a', 2];
        assert_eq!(Cursor::map_of(&bytes).unwrap().find("a"), Some((Value::Integer(1), 3)));
    }
}
