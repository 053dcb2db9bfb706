//! All integrity strings of one file, at most one per algorithm, kept in the order in which a release lists them.

use super::{IntegrityString, StringsError, StringsErrorKind};
use crate::limits::INTEGRITY_STRINGS_MAX;
use crate::list::List;

/// Integrity strings of distinct algorithms, weakest first. Needs no allocator.
#[derive(Debug, Clone, Copy)]
pub struct IntegrityStrings {
    /// Rising by algorithm up to `count`; what lies behind means nothing.
    strings: [IntegrityString; INTEGRITY_STRINGS_MAX],
    count: usize,
}

impl IntegrityStrings {
    /// No string yet.
    #[must_use]
    pub const fn empty() -> Self {
        Self { strings: [IntegrityString::Crc32([0; 4]); INTEGRITY_STRINGS_MAX], count: 0 }
    }

    /// Reads a list of texts in any order.
    ///
    /// # Errors
    /// [`StringsError`] names the first text that is wrong by itself or repeats an algorithm, and refuses an empty
    /// list: one bad string condemns the file, it is not skipped.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, StringsError> {
        let mut strings = Self::empty();
        for (index, text) in texts.into_iter().enumerate() {
            text.parse()
                .map_err(StringsErrorKind::String)
                .and_then(|string| strings.insert(string))
                .map_err(|kind| StringsError { index, kind })?;
        }
        if strings.count == 0 {
            return Err(StringsError { index: 0, kind: StringsErrorKind::None });
        }
        Ok(strings)
    }

    /// Adds one string in its place.
    ///
    /// # Errors
    /// [`StringsErrorKind::Duplicate`] if its algorithm is there already; the list stays as it is.
    pub fn insert(&mut self, string: IntegrityString) -> Result<(), StringsErrorKind> {
        let algorithm = string.algorithm();
        let place = self.as_slice().partition_point(|other| other.algorithm() < algorithm);
        if self.as_slice().get(place).is_some_and(|other| other.algorithm() == algorithm) {
            return Err(StringsErrorKind::Duplicate(algorithm));
        }
        // There are as many places as algorithms, so a string of a new algorithm always finds room.
        if let Some(tail) = self.strings.get_mut(place..=self.count) {
            tail.rotate_right(1);
            if let Some(first) = tail.first_mut() {
                *first = string;
            }
            self.count = self.count.saturating_add(1);
        }
        Ok(())
    }

    /// The strings, weakest first.
    #[must_use]
    pub fn as_slice(&self) -> &[IntegrityString] {
        self.strings.get(..self.count).unwrap_or_default()
    }

    /// The strings as the list that a [`File`](crate::trust::File) holds.
    #[must_use]
    pub fn as_list(&self) -> List<'_, IntegrityString> {
        List::from_slice(self.as_slice())
    }
}

impl PartialEq for IntegrityStrings {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for IntegrityStrings {}
