//! A release: a version of a package, from the first draft to the day it is withdrawn.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::fleet::{Index, IndexEntry};
use crate::number::{ByteLength, PackageVersion, SecurityEpoch, Sha256Digest};
use crate::text::{
    FileNameBuf, HardwareRevisionBuf, InstallTargetBuf, PackageNameBuf, ProductIdBuf, RevisionBuf, UrlBuf,
};
use crate::time::Timestamp;

/// A release. Its signed body lies among the stored files, under the digest that is the release's identity.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReleaseRecord {
    /// The product it is for.
    #[n(0)]
    pub product: ProductIdBuf,
    /// The package it is a version of.
    #[n(1)]
    pub package: PackageNameBuf,
    /// Its version.
    #[n(2)]
    pub version: PackageVersion,
    /// How far it has come.
    #[n(3)]
    pub status: ReleaseStatus,
    /// Who made the draft.
    #[n(4)]
    pub author: Box<str>,
    /// When the draft was made.
    #[n(5)]
    pub created: Timestamp,
    /// The hardware revisions it runs on, in rising order.
    #[n(6)]
    pub hardware: Vec<HardwareRevisionBuf>,
    /// Its security epoch.
    #[n(7)]
    pub epoch: SecurityEpoch,
    /// What must be installed before it.
    #[n(8)]
    pub requirements: Vec<RequirementRecord>,
    /// Its files in the order in which they are fetched.
    #[n(9)]
    pub files: Vec<FileRecord>,
    /// When it may no longer be installed.
    #[n(10)]
    pub expires: Timestamp,
    /// Whether it closes a security hole.
    #[n(11)]
    pub security: bool,
    /// Where people read what changed.
    #[n(12)]
    pub notes: Option<UrlBuf>,
    /// The digest of its software bill of materials.
    #[n(13)]
    pub sbom: Option<Sha256Digest>,
    /// Length of the body, in bytes; 0 while it is a draft.
    #[n(14)]
    pub body_size: u32,
    /// The envelope with the signatures that there are so far; empty before the first.
    #[cbor(n(15), with = "minicbor::bytes")]
    pub envelope: Vec<u8>,
    /// Why it was withdrawn, for people.
    #[n(16)]
    pub withdrawn: Option<Box<str>>,
}

/// How far a release has come. Nothing but signatures is added once its body is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ReleaseStatus {
    /// It can still be changed.
    #[n(0)]
    Draft,
    /// Its body is fixed and waits for signatures.
    #[n(1)]
    Fixed,
    /// Enough keys have signed it.
    #[n(2)]
    Signed,
    /// It is no longer offered to anybody.
    #[n(3)]
    Withdrawn,
}

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FileRecord {
    /// Its name.
    #[n(0)]
    pub name: FileNameBuf,
    /// Its revision.
    #[n(1)]
    pub revision: RevisionBuf,
    /// Its length.
    #[n(2)]
    pub size: ByteLength,
    /// Where on the device it goes.
    #[n(3)]
    pub target: InstallTargetBuf,
    /// The SHA-256 of its bytes: what it is stored under.
    #[n(4)]
    pub digest: Sha256Digest,
    /// Its integrity strings as text, weakest first.
    #[n(5)]
    pub integrity: Vec<Box<str>>,
    /// Digests of its units, if it has them.
    #[n(6)]
    pub block_map: Option<BlockMapRecord>,
    /// Where else it can be fetched.
    #[n(7)]
    pub urls: Vec<UrlBuf>,
    /// Who keeps its bytes.
    #[n(8)]
    pub hosting: Hosting,
}

/// Who keeps the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Hosting {
    /// Our own store of files.
    #[n(0)]
    Here,
    /// Somebody else, under the file's URLs: the server only keeps a copy of what it fetched and checked.
    #[n(1)]
    Elsewhere,
}

/// The block map of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BlockMapRecord {
    /// Length of a unit, in bytes.
    #[n(0)]
    pub unit: u32,
    /// Length of the map.
    #[n(1)]
    pub size: ByteLength,
    /// SHA-256 of the map: what it is stored under.
    #[n(2)]
    pub digest: Sha256Digest,
}

/// What must be true of a device before the release can be installed on it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RequirementRecord {
    /// This file has one of the revisions that the release's requirements name for it.
    #[n(0)]
    FileRevision {
        /// The file.
        #[n(0)]
        file: FileNameBuf,
        /// One of the revisions that will do.
        #[n(1)]
        revision: RevisionBuf,
    },
    /// The device's security epoch is at least this.
    #[n(1)]
    EpochAtLeast {
        /// The epoch.
        #[n(0)]
        epoch: SecurityEpoch,
    },
}

impl ReleaseRecord {
    /// Where a release wants to be found.
    pub(crate) fn places(&self, places: &mut Vec<IndexEntry>) {
        let product = self.product.as_str();
        places.push(
            IndexEntry::new(Index::ReleaseVersion)
                .text(product)
                .text(self.package.as_str())
                .number(self.version.0),
        );
        for file in &self.files {
            places.push(
                IndexEntry::new(Index::ReleaseFile)
                    .text(product)
                    .text(file.name.as_str())
                    .text(file.revision.as_str()),
            );
            places.push(IndexEntry::new(Index::ReleaseBlob).bytes(&file.digest.0));
            if let Some(map) = &file.block_map {
                places.push(IndexEntry::new(Index::ReleaseBlob).bytes(&map.digest.0));
            }
        }
        places.sort_unstable();
        places.dedup();
    }
}
