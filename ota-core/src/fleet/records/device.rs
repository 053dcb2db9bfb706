//! A device: who it is, what it has, when it was last heard.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::fleet::{Index, IndexEntry, Key};
use crate::text::{DeviceIdBuf, ProductIdBuf};
use crate::time::Timestamp;

/// Number of buckets that devices are spread over by the hash of their id.
pub const BUCKETS: u16 = 4096;

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Device {
    /// The product it is one of.
    #[n(0)]
    pub product: ProductIdBuf,
    /// Its number within the product: dense, rising with registration.
    #[n(1)]
    pub ordinal: u64,
    /// The hash of its id, below [`BUCKETS`].
    #[n(2)]
    pub bucket: u16,
    /// When it was registered.
    #[n(3)]
    pub registered: Timestamp,
    /// When it was last heard; 0 if never.
    #[n(4)]
    pub heard: Timestamp,
    /// Whether it takes part.
    #[n(5)]
    pub status: DeviceStatus,
    /// Its hardware revision as an interned name; 0 until it has said it.
    #[n(6)]
    pub hardware: u32,
    /// What is installed, by interned names.
    #[n(7)]
    pub installed: Vec<Installed>,
    /// Its tags, sorted.
    #[n(8)]
    pub tags: Vec<Box<str>>,
}

/// Whether a device takes part in updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum DeviceStatus {
    /// It does.
    #[n(0)]
    Active,
    /// It keeps failing and is left alone until a person decides.
    #[n(1)]
    Quarantined,
    /// Its credentials are no longer good.
    #[n(2)]
    Revoked,
}

/// One installed file. The numbers are interned names of the product; 0 is a text that was never released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Installed {
    /// The file.
    #[n(0)]
    pub file: u32,
    /// Its revision.
    #[n(1)]
    pub revision: u32,
}

impl Device {
    /// Where a device wants to be found.
    pub(crate) fn places(&self, key: &Key, places: &mut Vec<IndexEntry>) {
        let Key::Device(_) = key else { return };
        let product = self.product.as_str();
        let bucket = u64::from(self.bucket);
        places.push(IndexEntry::new(Index::DeviceBucket).text(product).number(bucket));
        places.push(IndexEntry::new(Index::DeviceOrdinal).text(product).number(self.ordinal));
        places.extend(self.tags.iter().map(|tag| IndexEntry::new(Index::DeviceTag).text(product).text(tag)));
    }

    /// The bucket of a device id: the first 12 bits of its SHA-256.
    #[must_use]
    pub fn bucket_of(id: &DeviceIdBuf) -> u16 {
        let [first, second, ..] = <[u8; 32]>::from(Sha256::digest(id.as_str()));
        u16::from_be_bytes([first, second]) >> 4
    }
}
