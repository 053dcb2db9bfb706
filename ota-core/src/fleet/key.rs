//! The keys of records: a table, and bytes that sort as people expect.

use alloc::vec::Vec;
use core::str;

use super::numbered::numbered;
use crate::number::{CampaignId, ReleaseId, RootVersion, Sha256Digest};
use crate::text::{DeviceIdBuf, ProductIdBuf};

numbered! {
    /// What kind of record it is. The numbers are stored: they are only ever added to.
    Table {
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
        /// How the revisions of a file spread over a product.
        Course = 14,
        /// The right of an unknown device to register itself.
        Enrolment = 15,
    }
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
    /// The course of a file of a product; the number is its interned name.
    Course(ProductIdBuf, u32),
    /// An enrolment, by the SHA-256 of what gives it.
    Enrolment(Sha256Digest),
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
            Self::Course(..) => Table::Course,
            Self::Enrolment(_) => Table::Enrolment,
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
            Self::Blob(digest) | Self::Enrolment(digest) => bytes.extend_from_slice(&digest.0),
            Self::Campaign(campaign) => bytes.extend_from_slice(&campaign.0.to_be_bytes()),
            Self::Attempt(campaign, device) => {
                bytes.extend_from_slice(&campaign.0.to_be_bytes());
                bytes.extend_from_slice(device.as_str().as_bytes());
            }
            Self::Interned(product, number) | Self::Course(product, number) => {
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

    /// The key of a table that [`to_bytes`](Self::to_bytes) made these bytes of, or `None` if it made them of none.
    #[must_use]
    pub fn from_bytes(table: Table, bytes: &[u8]) -> Option<Self> {
        Some(match table {
            Table::Product => Self::Product(product(bytes)?),
            Table::Device => Self::Device(device(bytes)?),
            Table::Release => Self::Release(ReleaseId(bytes.try_into().ok()?)),
            Table::Root => {
                let (name, version) = product_and_rest(bytes)?;
                Self::Root(name, RootVersion(u32::from_be_bytes(version.try_into().ok()?)))
            }
            Table::Blob => Self::Blob(Sha256Digest(bytes.try_into().ok()?)),
            Table::Campaign => Self::Campaign(CampaignId(u64::from_be_bytes(bytes.try_into().ok()?))),
            Table::Attempt => {
                let (campaign, id) = bytes.split_first_chunk()?;
                Self::Attempt(CampaignId(u64::from_be_bytes(*campaign)), device(id)?)
            }
            Table::Interned => {
                let (name, number) = product_and_rest(bytes)?;
                Self::Interned(name, u32::from_be_bytes(number.try_into().ok()?))
            }
            Table::Group => {
                let (name, group) = product_and_rest(bytes)?;
                Self::Group(name, text(group)?.into())
            }
            Table::GrantKey => Self::GrantKey(u32::from_be_bytes(bytes.try_into().ok()?)),
            Table::Principal => Self::Principal(text(bytes)?.into()),
            Table::Token => Self::Token(text(bytes)?.into()),
            Table::Setting => Self::Setting(text(bytes)?.into()),
            Table::Course => {
                let (name, number) = product_and_rest(bytes)?;
                Self::Course(name, u32::from_be_bytes(number.try_into().ok()?))
            }
            Table::Enrolment => Self::Enrolment(Sha256Digest(bytes.try_into().ok()?)),
        })
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok()
}

fn product(bytes: &[u8]) -> Option<ProductIdBuf> {
    ProductIdBuf::new(text(bytes)?).ok()
}

fn device(bytes: &[u8]) -> Option<DeviceIdBuf> {
    DeviceIdBuf::new(text(bytes)?).ok()
}

fn product_and_rest(bytes: &[u8]) -> Option<(ProductIdBuf, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (name, rest) = bytes.split_at_checked(end)?;
    Some((product(name)?, rest.get(1..)?))
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
            Self::Course(product, number) => write!(f, "course of name {number} of {product}"),
            Self::Enrolment(digest) => write!(f, "enrolment {digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_back_what_it_writes() {
        let product = ProductIdBuf::new("pump").unwrap();
        let device = DeviceIdBuf::new("gerät-7").unwrap();
        for key in [
            Key::Product(product.clone()),
            Key::Device(device.clone()),
            Key::Release(ReleaseId([7; 32])),
            Key::Root(product.clone(), RootVersion(3)),
            Key::Blob(Sha256Digest([0; 32])),
            Key::Campaign(CampaignId(u64::MAX)),
            Key::Attempt(CampaignId(1), device),
            Key::Interned(product.clone(), 0),
            Key::Course(product.clone(), 3),
            Key::Enrolment(Sha256Digest([1; 32])),
            Key::Group(product, "a group\0with anything".into()),
            Key::GrantKey(9),
            Key::Principal("".into()),
            Key::Token("t".into()),
            Key::Setting("s".into()),
        ] {
            assert_eq!(Key::from_bytes(key.table(), &key.to_bytes()), Some(key));
        }
    }

    #[test]
    fn bytes_of_no_key_are_refused() {
        for (table, bytes) in [
            (Table::Product, &b""[..]),
            (Table::Product, b"\xff"),
            (Table::Release, b"short"),
            (Table::Root, b"pump"),
            (Table::Root, b"pump\0\0\0"),
            (Table::Attempt, b"\0\0\0\0\0\0\0\x01"),
            (Table::Attempt, b"\0\0\0\0\0\0\0\x01a/b"),
            (Table::GrantKey, b"12345"),
        ] {
            assert_eq!(Key::from_bytes(table, bytes), None, "{table:?} {bytes:?}");
        }
    }

    #[test]
    fn tables_keep_their_numbers() {
        for table in Table::ALL {
            assert_eq!(Table::from_number(table.number()), Some(*table));
        }
        assert_eq!(Table::from_number(0), None);
        assert_eq!((Table::Device.number(), Table::Setting.number()), (2, 13));
    }
}
