//! A product (device template) and its roots.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::number::{PackageVersion, RootVersion};
use crate::time::Timestamp;

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Product {
    /// What people call it.
    #[n(0)]
    pub title: Box<str>,
    /// When it was made.
    #[n(1)]
    pub created: Timestamp,
    /// The ordinal of the next device.
    #[n(2)]
    pub next_ordinal: u64,
    /// The number of the next interned name; 0 stands for texts that are not interned.
    #[n(3)]
    pub next_name: u32,
    /// The newest root.
    #[n(4)]
    pub root: RootVersion,
    /// The version of the next release that does not say its own.
    #[n(5)]
    pub next_version: PackageVersion,
    /// How many people must approve a campaign at least, not counting its author.
    #[n(6)]
    pub approvals_min: u8,
    /// How many failed attempts in a row put a device into quarantine; 0 for never.
    #[n(7)]
    pub quarantine_after: u8,
    /// Whether only authenticated evidence counts, whatever a gate says.
    #[n(8)]
    pub attested_only: bool,
    /// The protocols that its devices may speak, one bit for the number of each dialect; 0 for all.
    #[n(9)]
    pub dialects: u32,
}

/// One version of a product's root, as it is handed to devices.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RootRecord {
    /// The body.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// The signatures over it; empty for the first root, which is trusted as it is given.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub envelope: Vec<u8>,
}
