//! The body of a root: whose keys count for what.

use crate::cbor::{DecodeError, DecodeErrorKind, EncodeError, Reader, Sink, Writer};
use crate::crypto::{PUBLIC_KEY_BYTES_MAX, SignatureAlgorithm};
use crate::integrity::Strength;
use crate::list::{Item, List};
use crate::number::{Generation, KeyId, RootVersion};
use crate::text::ProductId;
use crate::time::Timestamp;

/// What a root says. One root per product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root<'a> {
    /// The product whose devices trust it.
    pub product: ProductId<'a>,
    /// Its version; the next root is exactly one higher.
    pub version: RootVersion,
    /// When it was made.
    pub issued: Timestamp,
    /// From when on it blocks installs; it never blocks the next root.
    pub expires: Timestamp,
    /// All public keys; none twice, and none in two roles.
    pub keys: List<'a, Key<'a>>,
    /// Keys and threshold of each role, in the order of [`Role::ALL`](super::Role::ALL).
    pub roles: [RoleKeys<'a>; 4],
    /// The weakest integrity string that a file may rest on.
    pub strength_min: Strength,
    /// Whether a development key made it: release builds refuse it unless they are told otherwise.
    pub development: bool,
}

/// A public key and its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// What its signatures are checked with. The header of a signature must agree.
    pub algorithm: SignatureAlgorithm,
    /// The key itself, of exactly the algorithm's length.
    pub public: &'a [u8],
}

/// Which keys sign for a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleKeys<'a> {
    /// The keys, by id.
    pub keys: List<'a, KeyId>,
    /// How many distinct ones must sign; at least 1 and at most their number (0 only for a role without keys).
    pub threshold: u8,
    /// Raised when one of the keys may have been stolen.
    pub generation: Generation,
}

impl<'a> Item<'a> for Key<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.tuple(2)?;
        let offset = reader.position();
        let algorithm =
            SignatureAlgorithm::from_cose(reader.i64()?).ok_or(DecodeErrorKind::OutOfRange.at(offset))?;
        let offset = reader.position();
        let public = reader.bytes(PUBLIC_KEY_BYTES_MAX)?;
        if public.len() != algorithm.public_key_bytes() {
            return Err(DecodeErrorKind::OutOfRange.at(offset));
        }
        Ok(Self { algorithm, public })
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.array(2)?;
        writer.i64(self.algorithm.cose())?;
        writer.bytes(self.public)
    }
}

impl<'a> Item<'a> for KeyId {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self(reader.byte_array()?))
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.bytes(&self.0)
    }
}
