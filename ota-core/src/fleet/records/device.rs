//! A device: who it is, what it has, when it was last heard.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::crypto::digest;
use crate::crypto::soft::SoftSha256;
use crate::fleet::{Index, IndexEntry, Key};
use crate::number::{CampaignId, Nonce, SecurityEpoch, Sha256Digest};
use crate::text::{DeviceIdBuf, FileNameBuf, HardwareRevisionBuf, ProductIdBuf, RevisionBuf};
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
    /// Its tags, sorted: words, or `key=value`. `site=` and `zone=` have a meaning for campaigns.
    #[n(8)]
    pub tags: Vec<Box<str>>,
    /// The campaign that it is at work for: one attempt at a time.
    #[n(9)]
    pub attempt: Option<CampaignId>,
    /// Its security epoch, as far as it is known.
    #[n(10)]
    pub epoch: Option<SecurityEpoch>,
    /// The one protocol that it speaks, as the number of a dialect; fixed when it is first heard.
    #[n(11)]
    pub dialect: Option<u8>,
    /// How it proves who it is; `None` if the broker's own means decide that.
    #[n(12)]
    pub credential: Option<Credential>,
    /// Names and revisions that were never released, as the device tells them.
    #[n(13)]
    pub claimed: Option<Vec<ClaimedFile>>,
    /// How many attempts have failed since the last that succeeded.
    #[n(14)]
    pub failures: Option<u8>,
    /// The hardware revision as the device tells it, where no release lists it.
    #[n(15)]
    pub claimed_hardware: Option<HardwareRevisionBuf>,
    /// Largest release body that its buffers take, in bytes, where it has said so.
    #[n(16)]
    pub metadata_bytes_max: Option<u32>,
    /// The key of its evidence, wrapped like the grant keys.
    #[cbor(n(17), with = "minicbor::bytes")]
    pub evidence_key: Option<Vec<u8>>,
    /// The boot counter and the number of the last evidence that was accepted: what does not rise is a copy.
    #[n(18)]
    pub evidence_seen: Option<(u32, u32)>,
    /// What stands for the nonce of the check-in that it waits with for its turn, where its protocol cannot tell it to
    /// wait: the server that holds this check-in answers it, and no other.
    #[n(19)]
    pub waits_with: Option<Nonce>,
    /// Why a person has pinned it to what it runs: no campaign changes that until it is unpinned.
    #[n(20)]
    pub pinned: Option<Box<str>>,
}

/// How a device proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Credential {
    /// A client certificate with this name in it, and with no other.
    #[n(0)]
    Certificate {
        /// The name.
        #[n(0)]
        name: Box<str>,
    },
    /// A password, kept as the SHA-256 of salt and password; it is long and random.
    #[n(1)]
    Password {
        /// The salt.
        #[cbor(n(0), with = "minicbor::bytes")]
        salt: Vec<u8>,
        /// SHA-256 of salt and password.
        #[n(1)]
        hash: Sha256Digest,
    },
    /// One of these client certificates, whatever name is in it.
    #[n(2)]
    Fingerprints {
        /// The SHA-256 of each, in its DER form.
        #[n(0)]
        sha256: Vec<Sha256Digest>,
    },
}

/// A file as a device tells it, where no release has this name and revision.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClaimedFile {
    /// The file.
    #[n(0)]
    pub file: FileNameBuf,
    /// Its revision.
    #[n(1)]
    pub revision: RevisionBuf,
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
        let [first, second, ..] = digest::<SoftSha256>(id.as_str().as_bytes());
        u16::from_be_bytes([first, second]) >> 4
    }
}
