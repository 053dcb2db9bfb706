//! What the checks need of cryptography, as small traits that speak bytes.
//!
//! A product picks its implementations by type parameter, so firmware links only what it uses and a vendor can put
//! hardware behind the same traits. Software implementations ([`soft`]) stand behind one feature each, and what
//! makes signatures (`sign`) behind another, because no device needs it.

mod mac;
#[cfg(feature = "sign")]
pub mod sign;
mod signature;
pub mod soft;

pub use mac::{Authenticator, MAC_BYTES, MacError};
pub use signature::{
    Either, NoSignatures, PUBLIC_KEY_BYTES_MAX, SIGNATURE_BYTES, SignatureAlgorithm, SignatureError,
    SignatureVerifier,
};

use crate::number::KeyId;

/// A running hash or checksum over a file fed in pieces.
pub trait Hasher: Clone {
    /// What comes out, as bytes in the order in which they are written as text.
    type Digest: AsRef<[u8]> + Copy + PartialEq + Eq;

    /// Begins with nothing.
    fn new() -> Self;

    /// Adds bytes; pieces of any size give the same digest as one piece.
    fn update(&mut self, bytes: &[u8]);

    /// The digest of everything that was added.
    fn finish(self) -> Self::Digest;
}

/// SHA-256, whoever computes it. Trust rests on it, so every build has one.
///
/// Implementing this trait is the claim that the hasher computes SHA-256 and not, for example, SHA3-256, whose
/// digests have the same length.
pub trait Sha256: Hasher<Digest = [u8; 32]> {}

/// The digest of some bytes in one call.
#[must_use]
pub fn digest<H: Hasher>(bytes: &[u8]) -> H::Digest {
    let mut hasher = H::new();
    hasher.update(bytes);
    hasher.finish()
}

/// The name of a public key in headers and integrity strings: the first 8 bytes of its SHA-256.
///
/// It says which key to look for. It proves nothing, since 8 bytes can be searched for: a check always uses the
/// whole key that the trusted root lists under this name.
#[must_use]
pub fn key_id<H: Sha256>(public_key: &[u8]) -> KeyId {
    let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = digest::<H>(public_key);
    KeyId([b0, b1, b2, b3, b4, b5, b6, b7])
}
