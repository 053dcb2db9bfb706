//! An Ed25519 key in memory. Its seed is wiped when the value is dropped and is never shown.

use ed25519_dalek::{Signer as _, SigningKey};

use super::{SignError, Signer, is_wiped};
use crate::crypto::{SIGNATURE_BYTES, SignatureAlgorithm};

/// An Ed25519 private key in memory: for development, tests and the online assignment key.
pub struct Ed25519Signer(SigningKey);

impl Ed25519Signer {
    /// The key that belongs to a seed (RFC 8032, section 5.1.5): any 32 unpredictable bytes.
    ///
    /// The caller's copy of the seed is his to wipe.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }
}

const _: () = is_wiped::<SigningKey>();

impl Signer for Ed25519Signer {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::Ed25519
    }

    fn public_key(&self) -> &[u8] {
        self.0.as_ref().as_bytes()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignError> {
        self.0.try_sign(message).map(|signature| signature.to_bytes()).map_err(|_| SignError::Unavailable)
    }
}

impl core::fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Ed25519Signer(public ")?;
        crate::hex::fmt(self.public_key(), f)?;
        f.write_str(")")
    }
}
