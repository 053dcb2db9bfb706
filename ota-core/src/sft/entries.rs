//! Lists inside messages: a caller's slice, or encoded entries that were checked whole and are walked again.

use super::Fields;
use super::reader::{Cursor, Value};
use crate::cbor::{DecodeError, DecodeErrorKind, EncodeError};
use crate::limits::SFT_FILES_MAX;
use crate::wire::codec::{Out, ensure};

/// What stands in the list of a message: [`FileRevision`](super::FileRevision) or [`Update`](super::Update).
///
/// Nothing else can, so the trait is closed.
pub trait Entry<'a>: Copy + closed::Coded<'a> {}

pub(super) mod closed {
    use super::{DecodeError, EncodeError, Fields, Out};

    /// How an entry is read and written.
    #[expect(private_interfaces, reason = "closed: callers name the trait only through `Entry`")]
    pub trait Coded<'a>: Sized {
        /// Reads an entry from its map.
        fn read(fields: &Fields<'a>) -> Result<Self, DecodeError>;
        /// Writes an entry as a map.
        fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError>;
    }
}

/// The list of a message, at most [`SFT_FILES_MAX`] entries.
#[derive(Clone, Copy)]
pub struct Entries<'a, T> {
    source: Source<'a, T>,
}

#[derive(Clone, Copy)]
enum Source<'a, T> {
    Slice(&'a [T]),
    /// Each entry has been checked.
    Encoded {
        entries: Cursor<'a>,
        count: usize,
    },
}

impl<'a, T: Entry<'a>> Entries<'a, T> {
    /// The entries of a slice.
    #[must_use]
    pub const fn from_slice(entries: &'a [T]) -> Self {
        Self { source: Source::Slice(entries) }
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.source {
            Source::Slice(entries) => entries.len(),
            Source::Encoded { count, .. } => count,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in order.
    #[must_use]
    pub fn iter(&self) -> EntriesIter<'a, T> {
        EntriesIter { source: self.source }
    }

    /// Reads the list of a message and checks every entry.
    pub(super) fn read(fields: &Fields<'a>) -> Result<Self, DecodeError> {
        let entries = fields.required("list", |value| match value {
            Value::Array(entries) => Some(entries),
            _ => None,
        })?;
        let mut rest = entries;
        let mut count = 0_usize;
        while !rest.is_at_end() {
            if count >= SFT_FILES_MAX {
                return Err(DecodeErrorKind::TooLarge.at(rest.position()));
            }
            read_entry::<T>(&mut rest)?;
            count = count.saturating_add(1);
        }
        Ok(Self { source: Source::Encoded { entries, count } })
    }

    pub(super) fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        ensure(self.len() <= SFT_FILES_MAX)?;
        out.text("list")?;
        out.array(self.len())?;
        self.iter().try_for_each(|entry| entry.write(out))
    }
}

fn read_entry<'a, T: Entry<'a>>(rest: &mut Cursor<'a>) -> Result<T, DecodeError> {
    let offset = rest.position();
    match rest.item()? {
        Value::Map(entries) => T::read(&Fields { entries, offset }),
        _ => Err(DecodeErrorKind::WrongType.at(offset)),
    }
}

impl<'a, T: Entry<'a> + PartialEq> PartialEq for Entries<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Entry<'a> + Eq> Eq for Entries<'a, T> {}

impl<'a, T: Entry<'a> + core::fmt::Debug> core::fmt::Debug for Entries<'a, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Entry<'a>> IntoIterator for Entries<'a, T> {
    type Item = T;
    type IntoIter = EntriesIter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The entries of a list in order.
#[derive(Clone)]
pub struct EntriesIter<'a, T> {
    source: Source<'a, T>,
}

impl<'a, T: Entry<'a>> Iterator for EntriesIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.source {
            Source::Slice(entries) => {
                let (first, rest) = entries.split_first()?;
                *entries = rest;
                Some(*first)
            }
            Source::Encoded { entries, count } => {
                *count = count.checked_sub(1)?;
                read_entry(entries).ok()
            }
        }
    }
}
