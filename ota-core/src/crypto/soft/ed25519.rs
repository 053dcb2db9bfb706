//! Ed25519 (RFC 8032), verified strictly: one encoding of each key and one signature for each message and nonce.

use ed25519_dalek::{Signature, VerifyingKey};

use crate::crypto::{SIGNATURE_BYTES, SignatureAlgorithm, SignatureError, SignatureVerifier};

/// Checks Ed25519 signatures.
///
/// Refuses keys and commitments of small order, scalars that are not reduced, and every encoding of a point but
/// the canonical one; the equation is the one without cofactor. Needs about 8 KiB of stack on a Cortex-M3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ed25519;

impl SignatureVerifier for Ed25519 {
    fn supports(algorithm: SignatureAlgorithm) -> bool {
        algorithm == SignatureAlgorithm::Ed25519
    }

    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), SignatureError> {
        if !Self::supports(algorithm) {
            return Err(SignatureError::Unsupported);
        }
        let key = public_key.try_into().map_err(|_| SignatureError::PublicKey)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| SignatureError::PublicKey)?;
        // Decompression takes coordinates that are not reduced. A second encoding of one key would be a second
        // key to whoever counts keys by their bytes.
        if key.is_weak() || key.to_edwards().compress().as_bytes().as_slice() != public_key {
            return Err(SignatureError::PublicKey);
        }
        key.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| SignatureError::Mismatch)
    }
}
