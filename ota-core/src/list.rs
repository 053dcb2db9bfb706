//! Lists that are read without an allocator: either a caller's slice, or encoded bytes that were checked whole.
//!
//! A decoder checks every item once and keeps the bytes; iterating decodes them again. So a list of any length
//! costs two words, and iterating can neither fail nor be surprised.

use crate::cbor::{EncodeError, Malformed, Reader, Sink, Writer};

/// Something that can stand in a [`List`].
pub trait Item<'a>: Sized + Clone {
    /// Reads one item and checks it.
    ///
    /// # Errors
    /// [`Malformed`], and the reader knows what is wrong.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed>;

    /// Writes one item.
    ///
    /// # Errors
    /// [`EncodeError`] if the sink is full.
    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError>;
}

/// A list of items, from a slice or from encoded bytes.
#[derive(Clone, Copy)]
pub struct List<'a, T> {
    source: Source<'a, T>,
}

#[derive(Clone, Copy)]
enum Source<'a, T> {
    Slice(&'a [T]),
    /// The items one behind the other, without the head of the array; each of them has been checked.
    Encoded {
        items: &'a [u8],
        count: usize,
    },
}

impl<'a, T: Item<'a>> List<'a, T> {
    /// The empty list.
    #[must_use]
    pub const fn empty() -> Self {
        Self { source: Source::Slice(&[]) }
    }

    /// The items of a slice.
    #[must_use]
    pub const fn from_slice(items: &'a [T]) -> Self {
        Self { source: Source::Slice(items) }
    }

    /// Reads an array of at most `limit` items and checks each of them.
    ///
    /// # Errors
    /// [`Malformed`] for the array or the first item that is wrong.
    pub fn decode(reader: &mut Reader<'a>, limit: usize) -> Result<Self, Malformed> {
        let count = reader.array(limit)?;
        let start = reader.position();
        for _ in 0..count {
            T::decode(reader)?;
        }
        Ok(Self { source: Source::Encoded { items: reader.since(start), count } })
    }

    /// Writes the list as an array.
    ///
    /// # Errors
    /// [`EncodeError`] if the sink is full.
    pub fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.array(self.len())?;
        match self.source {
            Source::Slice(items) => items.iter().try_for_each(|item| item.encode(writer)),
            Source::Encoded { items, .. } => writer.raw(items),
        }
    }

    /// How many items there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.source {
            Source::Slice(items) => items.len(),
            Source::Encoded { count, .. } => count,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'a, T> {
        Iter {
            source: match self.source {
                Source::Slice(items) => IterSource::Slice(items.iter()),
                Source::Encoded { items, count } => {
                    IterSource::Encoded { reader: Reader::new(items), left: count }
                }
            },
        }
    }

    /// The item at a position; the first is 0. Walks the list when it is encoded.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        self.iter().nth(index)
    }
}

impl<'a, T: Item<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Item<'a> + Eq> Eq for List<'a, T> {}

impl<'a, T: Item<'a> + core::fmt::Debug> core::fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Item<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The items of a [`List`] in order.
#[derive(Debug, Clone)]
pub struct Iter<'a, T> {
    source: IterSource<'a, T>,
}

#[derive(Debug, Clone)]
enum IterSource<'a, T> {
    Slice(core::slice::Iter<'a, T>),
    Encoded { reader: Reader<'a>, left: usize },
}

impl<'a, T: Item<'a>> Iterator for Iter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.source {
            IterSource::Slice(items) => items.next().cloned(),
            IterSource::Encoded { reader, left } => {
                *left = left.checked_sub(1)?;
                T::decode(reader).ok()
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.source {
            IterSource::Slice(items) => items.len(),
            IterSource::Encoded { left, .. } => *left,
        };
        (left, Some(left))
    }
}

macro_rules! text_item {
    ($kind:ident, $limit:path) => {
        impl<'a> Item<'a> for crate::text::$kind<'a> {
            fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
                let offset = reader.position();
                Self::new(reader.text($limit)?)
                    .map_err(|_| reader.refuse(crate::cbor::DecodeErrorKind::OutOfRange, offset))
            }

            fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
                writer.text(self.as_str())
            }
        }
    };
}

text_item!(DeviceId, crate::limits::DEVICE_ID_BYTES_MAX);
text_item!(ProductId, crate::limits::NAME_BYTES_MAX);
text_item!(PackageName, crate::limits::NAME_BYTES_MAX);
text_item!(HardwareRevision, crate::limits::NAME_BYTES_MAX);
text_item!(InstallTarget, crate::limits::NAME_BYTES_MAX);
text_item!(FileName, crate::limits::FILE_NAME_BYTES_MAX);
text_item!(Revision, crate::limits::REVISION_BYTES_MAX);
text_item!(Url, crate::limits::URL_BYTES_MAX);
text_item!(Detail, crate::limits::DETAIL_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::{DecodeErrorKind, from_slice, to_vec};
    use crate::text::Revision;

    #[test]
    fn a_decoded_list_equals_the_slice_it_was_made_from() {
        let revisions = [Revision::new("1").unwrap(), Revision::new("2-b").unwrap()];
        let list = List::from_slice(&revisions);
        let bytes = to_vec(|w| list.encode(w)).unwrap();
        let mut reader = Reader::new(&bytes);
        let decoded = List::<Revision<'_>>::decode(&mut reader, 2).unwrap();
        reader.finish().unwrap();
        assert_eq!(decoded, list);
        assert_eq!(decoded.get(1), Some(revisions[1]));
        assert_eq!(decoded.get(2), None);
        assert_eq!(to_vec(|w| decoded.encode(w)).unwrap(), bytes);
    }

    #[test]
    fn a_wrong_item_is_found_when_the_list_is_decoded() {
        let bytes = [0x82, 0x61, b'1', 0x61, b'\n'];
        let of_at_most = |limit| from_slice(&bytes, |reader| List::<Revision<'_>>::decode(reader, limit));
        assert_eq!(of_at_most(9).unwrap_err(), DecodeErrorKind::OutOfRange.at(3));
        assert_eq!(of_at_most(1).unwrap_err().kind, DecodeErrorKind::TooLarge);
    }
}
