//! The keys of records: a table, and bytes that sort as people expect.

use alloc::vec::Vec;

use crate::number::{CampaignId, ReleaseId, RootVersion, Sha256Digest};
use crate::text::{DeviceIdBuf, ProductIdBuf};

/// What kind of record it is. The numbers are stored: they are only ever added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Table {
    /// A product (device template).
    Product = 1,
    /// A device.
    Device = 2,
    /// A release: draft, signed or withdrawn.
    Release = 3,
    /// A root of a product.
    Root = 4,
    /// A stored file.
    Blob = 5,
    /// A campaign.
    Campaign = 6,
    /// One device's work in one campaign.
    Attempt = 7,
    /// An interned name: file and revision texts become small numbers.
    Interned = 8,
    /// A saved group of devices.
    Group = 9,
    /// A secret that makes grants.
    GrantKey = 10,
    /// A person or a program that may do something.
    Principal = 11,
    /// An API token.
    Token = 12,
    /// A setting of the installation.
    Setting = 13,
}

/// Which record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Key {
    /// A product.
    Product(ProductIdBuf),
    /// A device.
    Device(DeviceIdBuf),
    /// A release; a draft has an id of its own until its body is fixed.
    Release(ReleaseId),
    /// One version of a product's root.
    Root(ProductIdBuf, RootVersion),
    /// A stored file, by the SHA-256 of its bytes.
    Blob(Sha256Digest),
    /// A campaign.
    Campaign(CampaignId),
    /// One device's work in one campaign.
    Attempt(CampaignId, DeviceIdBuf),
    /// An interned name of a product.
    Interned(ProductIdBuf, u32),
    /// A saved group of a product.
    Group(ProductIdBuf, Box<str>),
    /// A secret that makes grants.
    GrantKey(u32),
    /// A person or a program.
    Principal(Box<str>),
    /// An API token, by its public half.
    Token(Box<str>),
    /// A setting.
    Setting(Box<str>),
}

impl Key {
    /// The table it belongs to.
    #[must_use]
    pub const fn table(&self) -> Table {
        match self {
            Self::Product(_) => Table::Product,
            Self::Device(_) => Table::Device,
            Self::Release(_) => Table::Release,
            Self::Root(..) => Table::Root,
            Self::Blob(_) => Table::Blob,
            Self::Campaign(_) => Table::Campaign,
            Self::Attempt(..) => Table::Attempt,
            Self::Interned(..) => Table::Interned,
            Self::Group(..) => Table::Group,
            Self::GrantKey(_) => Table::GrantKey,
            Self::Principal(_) => Table::Principal,
            Self::Token(_) => Table::Token,
            Self::Setting(_) => Table::Setting,
        }
    }

    /// The key inside its table, so that comparing bytes sorts by the parts in order.
    ///
    /// Text that another part follows ends with a zero byte, which no text of ours contains; numbers are big-endian.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Product(product) => bytes.extend_from_slice(product.as_str().as_bytes()),
            Self::Device(device) => bytes.extend_from_slice(device.as_str().as_bytes()),
            Self::Release(release) => bytes.extend_from_slice(&release.0),
            Self::Root(product, version) => {
                bytes.extend_from_slice(product.as_str().as_bytes());
                bytes.push(0);
                bytes.extend_from_slice(&version.0.to_be_bytes());
            }
            Self::Blob(digest) => bytes.extend_from_slice(&digest.0),
            Self::Campaign(campaign) => bytes.extend_from_slice(&campaign.0.to_be_bytes()),
            Self::Attempt(campaign, device) => {
                bytes.extend_from_slice(&campaign.0.to_be_bytes());
                bytes.extend_from_slice(device.as_str().as_bytes());
            }
            Self::Interned(product, number) => {
                bytes.extend_from_slice(product.as_str().as_bytes());
                bytes.push(0);
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Self::Group(product, name) => {
                bytes.extend_from_slice(product.as_str().as_bytes());
                bytes.push(0);
                bytes.extend_from_slice(name.as_bytes());
            }
            Self::GrantKey(number) => bytes.extend_from_slice(&number.to_be_bytes()),
            Self::Principal(name) | Self::Token(name) | Self::Setting(name) => {
                bytes.extend_from_slice(name.as_bytes());
            }
        }
        bytes
    }
}

impl core::fmt::Display for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Product(product) => write!(f, "product {product}"),
            Self::Device(device) => write!(f, "device {device}"),
            Self::Release(release) => write!(f, "release {release}"),
            Self::Root(product, version) => write!(f, "root {version} of {product}"),
            Self::Blob(digest) => write!(f, "file {digest}"),
            Self::Campaign(campaign) => write!(f, "campaign {campaign}"),
            Self::Attempt(campaign, device) => write!(f, "attempt of {device} in campaign {campaign}"),
            Self::Interned(product, number) => write!(f, "name {number} of {product}"),
            Self::Group(product, name) => write!(f, "group {name} of {product}"),
            Self::GrantKey(number) => write!(f, "grant key {number}"),
            Self::Principal(name) => write!(f, "principal {name}"),
            Self::Token(name) => write!(f, "token {name}"),
            Self::Setting(name) => write!(f, "setting {name}"),
        }
    }
}
