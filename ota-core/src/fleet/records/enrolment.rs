//! An enrolment: the right of a device that is not known yet to register itself.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::fleet::{Index, IndexEntry};
use crate::text::{DeviceIdBuf, ProductIdBuf};
use crate::time::Timestamp;

/// The right to register oneself, kept under the SHA-256 of the client certificate or of the token that gives it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Enrolment {
    /// The product that devices become members of.
    #[n(0)]
    pub product: ProductIdBuf,
    /// The only device that may use it, if it is for one.
    #[n(1)]
    pub device: Option<DeviceIdBuf>,
    /// The tags that devices get.
    #[n(2)]
    pub tags: Vec<Box<str>>,
    /// How many devices may use it.
    #[n(3)]
    pub uses_max: u32,
    /// How many have.
    #[n(4)]
    pub uses: u32,
    /// When it stops being good, if ever.
    #[n(5)]
    pub expires: Option<Timestamp>,
    /// When it was made.
    #[n(6)]
    pub created: Timestamp,
    /// What gives it.
    #[n(7)]
    pub by: EnrolmentKind,
}

/// What gives the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum EnrolmentKind {
    /// A client certificate.
    #[n(0)]
    Certificate,
    /// A token.
    #[n(1)]
    Token,
}

impl Enrolment {
    /// Where an enrolment wants to be found.
    pub(crate) fn places(&self, places: &mut Vec<IndexEntry>) {
        places.push(IndexEntry::new(Index::EnrolmentProduct).text(self.product.as_str()));
    }
}
