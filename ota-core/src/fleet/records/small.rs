//! Records of a few fields.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use super::BlockMapRecord;
use crate::fleet::{Index, IndexEntry, Key};
use crate::number::ByteLength;
use crate::time::Timestamp;

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BlobRecord {
    /// Its length.
    #[n(0)]
    pub size: ByteLength,
    /// When it was stored; what is not referred to is removed some time after that.
    #[n(1)]
    pub stored: Timestamp,
    /// Its checksum and hashes as the server computed them, where it has.
    #[n(2)]
    pub integrity: Option<Vec<Box<str>>>,
    /// Its block maps that the server has made.
    #[n(3)]
    pub maps: Option<Vec<BlockMapRecord>>,
}

/// A text that became a number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Interned {
    /// The text.
    #[n(0)]
    pub text: Box<str>,
}

impl Interned {
    /// Where a name wants to be found.
    pub(crate) fn places(&self, key: &Key, places: &mut Vec<IndexEntry>) {
        if let Key::Interned(product, _) = key {
            places.push(IndexEntry::new(Index::InternedText).text(product.as_str()).text(&self.text));
        }
    }
}

/// A secret that makes grants.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GrantKey {
    /// The secret, wrapped by a configured key where there is one.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub secret: Vec<u8>,
    /// When it may be used from; it is distributed before that.
    #[n(1)]
    pub from: Timestamp,
    /// Until when grants made with it are accepted.
    #[n(2)]
    pub until: Timestamp,
}

impl core::fmt::Debug for GrantKey {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GrantKey")
            .field("from", &self.from)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// A setting of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Setting {
    /// Its value, as text.
    #[n(0)]
    pub value: Box<str>,
}
