//! How the revisions of a file spread over a fleet in the course of time.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::time::Timestamp;

/// The course of one file of a product: bounded, and thinned out as it grows older.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FileCourse {
    /// What was counted when, oldest first.
    #[n(0)]
    pub samples: Vec<FileSample>,
}

/// How many devices had which revision of a file at one time.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FileSample {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// The revisions that most devices had, as interned names in rising order; 0 is all that were never released.
    #[n(1)]
    pub revisions: Vec<RevisionDevices>,
    /// Devices that had any other released revision.
    #[n(2)]
    pub others: u64,
}

/// How many devices had a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RevisionDevices {
    /// The revision as an interned name.
    #[n(0)]
    pub revision: u32,
    /// How many.
    #[n(1)]
    pub devices: u64,
}
