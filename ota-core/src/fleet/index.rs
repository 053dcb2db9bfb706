//! Indexes: a record names the places where it wants to be found, and a store keeps them in order.
//!
//! A store sorts the records of an index by their *sort key*: the bytes of the place and, behind them, those of the
//! record's own key. So two records may have the same place, and a place need not repeat the key to be unique.

use alloc::vec::Vec;
use core::ops::Bound;

use super::numbered::numbered;
use super::{Cursor, Key, StoreError, StoreErrorKind, Table};

numbered! {
    /// Which index. The numbers are stored: they are only ever added to.
    Index {
        /// Devices by product, bucket and id.
        DeviceBucket = 1,
        /// Devices by product, tag and id.
        DeviceTag = 2,
        /// Devices by product and ordinal.
        DeviceOrdinal = 3,
        /// Attempts by device and campaign.
        AttemptDevice = 4,
        /// Attempts by campaign, phase, cause and device.
        AttemptPhase = 5,
        /// Attempts by the time at which something is due, whatever the campaign.
        AttemptDue = 6,
        /// Campaigns by product and how far they are: under way (0), completed (1), stopped (2).
        CampaignState = 7,
        /// Releases by product, package and version.
        ReleaseVersion = 8,
        /// Releases by each file's product, name and revision, so that one revision never names two contents.
        ReleaseFile = 9,
        /// Releases by each stored file that they need.
        ReleaseBlob = 10,
        /// Interned names by product and text.
        InternedText = 11,
        /// Tokens by principal.
        TokenPrincipal = 12,
        /// Enrolments by product.
        EnrolmentProduct = 13,
    }
}

impl Index {
    /// The table whose records it finds.
    #[must_use]
    pub const fn table(self) -> Table {
        match self {
            Self::DeviceBucket | Self::DeviceTag | Self::DeviceOrdinal => Table::Device,
            Self::AttemptDevice | Self::AttemptPhase | Self::AttemptDue => Table::Attempt,
            Self::CampaignState => Table::Campaign,
            Self::ReleaseVersion | Self::ReleaseFile | Self::ReleaseBlob => Table::Release,
            Self::InternedText => Table::Interned,
            Self::TokenPrincipal => Table::Token,
            Self::EnrolmentProduct => Table::Enrolment,
        }
    }
}

/// One place in an index; its bytes sort as [`Key::to_bytes`] describes.
///
/// All places of one index have the same parts in the same order, so that none is the beginning of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexEntry {
    /// Which index.
    pub index: Index,
    /// The place in it, made by [`IndexEntry::new`] part by part.
    pub place: Vec<u8>,
}

impl IndexEntry {
    /// The beginning of an index; add parts with [`text`](Self::text), [`number`](Self::number) and [`bytes`](Self::bytes).
    #[must_use]
    pub const fn new(index: Index) -> Self {
        Self { index, place: Vec::new() }
    }

    /// Adds a text part. Texts hold no zero byte, so that the zero behind each ends it in every order.
    #[must_use]
    pub fn text(mut self, part: &str) -> Self {
        // Most places are one text and one number behind it.
        self.place.reserve(part.len().saturating_add(9));
        part.split('\0').for_each(|piece| self.place.extend_from_slice(piece.as_bytes()));
        self.place.push(0);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, part: u64) -> Self {
        self.place.extend_from_slice(&part.to_be_bytes());
        self
    }

    /// Adds bytes of a fixed length.
    #[must_use]
    pub fn bytes(mut self, part: &[u8]) -> Self {
        self.place.extend_from_slice(part);
        self
    }

    /// What the record with this key is sorted by: the place, then the key.
    #[must_use]
    pub fn sort_key(&self, key: &Key) -> Vec<u8> {
        let mut bytes = self.place.clone();
        bytes.extend_from_slice(&key.to_bytes());
        bytes
    }
}

/// Where a scan begins and ends in the order of sort keys.
pub type ScanBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What a scan walks over, in rising order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// The records of a table whose key begins with these bytes.
    Table {
        /// The table.
        table: Table,
        /// What the key begins with; empty for all.
        prefix: Vec<u8>,
    },
    /// The records whose sort key lies in a part of an index, from `from` on (included) up to `below` (excluded).
    ///
    /// A record with several places in that part is found once for each.
    Index {
        /// The index, and what the first sort key is at least.
        from: IndexEntry,
        /// What every sort key is below; empty for no end.
        below: Vec<u8>,
    },
}

impl Query {
    /// All records of a table.
    #[must_use]
    pub const fn table(table: Table) -> Self {
        Self::Table { table, prefix: Vec::new() }
    }

    /// The records whose place in the index begins with this one.
    #[must_use]
    pub fn under(entry: IndexEntry) -> Self {
        let below = behind(&entry.place);
        Self::Index { from: entry, below }
    }

    /// The records from this place on whose place lies below `below`; an empty `below` has no end.
    #[must_use]
    pub const fn between(from: IndexEntry, below: Vec<u8>) -> Self {
        Self::Index { from, below }
    }

    /// Where in the order of its sort keys (of its keys, for a table) a scan begins and ends.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] for a cursor of another query.
    pub fn bounds(&self, after: Option<&Cursor>) -> Result<ScanBounds, StoreError> {
        let (start, end) = match self {
            Self::Table { prefix, .. } => (prefix.clone(), behind(prefix)),
            Self::Index { from, below } => (from.place.clone(), below.clone()),
        };
        let start = match after {
            None => Bound::Included(start),
            Some(Cursor(cursor)) => {
                let last = cursor.strip_prefix(&self.mark()).ok_or(StoreErrorKind::Invalid)?;
                if last < start.as_slice() || (!end.is_empty() && last >= end.as_slice()) {
                    return Err(StoreErrorKind::Invalid.into());
                }
                Bound::Excluded(last.to_vec())
            }
        };
        let end = match (&start, end) {
            (_, end) if end.is_empty() => Bound::Unbounded,
            // Nothing lies between: an end before the start would be a mistake in most ordered maps.
            (Bound::Included(start), end) if end < *start => Bound::Excluded(start.clone()),
            (_, end) => Bound::Excluded(end),
        };
        Ok((start, end))
    }

    /// The cursor behind the record with this sort key (this key, for a table).
    #[must_use]
    pub fn cursor(&self, last: &[u8]) -> Cursor {
        let mut bytes = self.mark().to_vec();
        bytes.extend_from_slice(last);
        Cursor(bytes)
    }

    /// What a cursor of this query begins with.
    const fn mark(&self) -> [u8; 2] {
        match self {
            Self::Table { table, .. } => [0, table.number()],
            Self::Index { from, .. } => [1, from.index.number()],
        }
    }
}

/// The first bytes behind all that begin with these: the last byte that can rise, raised. Empty if nothing is behind.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            break;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_a_prefix_is_behind_all_that_begins_with_it() {
        assert_eq!(behind(b"ab"), b"ac");
        assert_eq!(behind(b"a\xff\xff"), b"b");
        assert_eq!(behind(b"\xff"), b"");
        assert_eq!(behind(b""), b"");
    }

    #[test]
    fn an_end_before_the_start_is_an_empty_range() {
        let query = Query::between(IndexEntry::new(Index::DeviceOrdinal).bytes(b"b"), b"a".to_vec());
        assert_eq!(
            query.bounds(None).unwrap(),
            (Bound::Included(b"b".to_vec()), Bound::Excluded(b"b".to_vec()))
        );
    }

    #[test]
    fn a_cursor_belongs_to_its_query() {
        let devices = Query::table(Table::Device);
        let cursor = devices.cursor(b"m");
        assert_eq!(
            devices.bounds(Some(&cursor)).unwrap(),
            (Bound::Excluded(b"m".to_vec()), Bound::Unbounded)
        );
        for other in [
            Query::table(Table::Product),
            Query::Table { table: Table::Device, prefix: b"n".to_vec() },
            Query::Table { table: Table::Device, prefix: b"l".to_vec() },
            Query::under(IndexEntry::new(Index::DeviceTag)),
        ] {
            assert_eq!(other.bounds(Some(&cursor)).unwrap_err().kind(), StoreErrorKind::Invalid, "{other:?}");
        }
    }
}
