//! ECDSA over P-256 with SHA-256 (FIPS 186-5, ES256 of RFC 9053), with keys as compressed points (SEC 1, 2.3.3).

use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};

use crate::crypto::{SIGNATURE_BYTES, SignatureAlgorithm, SignatureError, SignatureVerifier};

/// Checks ECDSA signatures over P-256 with SHA-256; a signature is r and s, 32 bytes each, most significant first.
///
/// Both (r, s) and (r, n - s) are valid, as the standard says and as hardware produces them. So a signature is no
/// identity: nothing may tell two objects apart by their signatures. Needs about 5.5 KiB of stack on a Cortex-M3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EcdsaP256;

impl SignatureVerifier for EcdsaP256 {
    fn supports(algorithm: SignatureAlgorithm) -> bool {
        algorithm == SignatureAlgorithm::EcdsaP256
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
        // SEC 1 knows more encodings of a point (uncompressed, and a compact one of 33 bytes as well), and
        // a second encoding of one key would be a second key to whoever counts keys by their bytes.
        if public_key.len() != SignatureAlgorithm::EcdsaP256.public_key_bytes()
            || !matches!(public_key.first(), Some(2 | 3))
        {
            return Err(SignatureError::PublicKey);
        }
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| SignatureError::PublicKey)?;
        let signature = Signature::from_slice(signature).map_err(|_| SignatureError::Mismatch)?;
        key.verify(message, &signature).map_err(|_| SignatureError::Mismatch)
    }
}
