//! Indexes: a record names the places where it wants to be found, and a store keeps them in order.

use alloc::vec::Vec;

/// Which index. The numbers are stored: they are only ever added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Index {
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
    /// Campaigns by product and state.
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
}

/// One place in an index; its bytes sort as [`Key::to_bytes`](super::Key::to_bytes) describes.
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
        self.place.extend(part.bytes().filter(|byte| *byte != 0));
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
}

/// What a scan walks over, in rising order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// The records of a table whose key begins with these bytes.
    Table {
        /// The table.
        table: super::Table,
        /// What the key begins with; empty for all.
        prefix: Vec<u8>,
    },
    /// The records with a place in an index, from `from` on (included) up to `below` (excluded).
    Index {
        /// The index and the first place.
        from: IndexEntry,
        /// The first place that is no longer wanted.
        below: Vec<u8>,
    },
}

impl Query {
    /// All records of a table.
    #[must_use]
    pub const fn table(table: super::Table) -> Self {
        Self::Table { table, prefix: Vec::new() }
    }

    /// The records whose place in the index begins with this one.
    #[must_use]
    pub fn under(entry: IndexEntry) -> Self {
        // The first place behind all that begin with these bytes: the last byte that can rise, raised.
        let mut below = entry.place.clone();
        while let Some(last) = below.pop() {
            if let Some(next) = last.checked_add(1) {
                below.push(next);
                break;
            }
        }
        Self::Index { from: entry, below }
    }

    /// The records from this place on whose place lies below `below`; an empty `below` has no end.
    #[must_use]
    pub const fn between(from: IndexEntry, below: Vec<u8>) -> Self {
        Self::Index { from, below }
    }
}
