//! A P-256 key in memory. Its scalar is wiped when the value is dropped and is never shown.

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::sec1::ToSec1Point;

use super::{SignError, Signer, is_wiped};
use crate::crypto::{SIGNATURE_BYTES, SignatureAlgorithm};

/// A P-256 private key in memory, signing with nonces derived from key and message (RFC 6979).
pub struct EcdsaP256Signer {
    key: SigningKey,
    public: [u8; 33],
}

impl EcdsaP256Signer {
    /// The key with this scalar, most significant byte first: any 32 unpredictable bytes, but for one in 2^32.
    ///
    /// The caller's copy of the bytes is his to wipe.
    ///
    /// # Errors
    /// [`SignError::PrivateKey`] if the scalar is zero or not below the order of the curve: draw again.
    pub fn from_scalar(scalar: &[u8; 32]) -> Result<Self, SignError> {
        let key = SigningKey::from_slice(scalar).map_err(|_| SignError::PrivateKey)?;
        let point = key.verifying_key().as_affine().to_sec1_point(true);
        let public = point.as_bytes().try_into().map_err(|_| SignError::PrivateKey)?;
        Ok(Self { key, public })
    }
}

const _: () = is_wiped::<SigningKey>();

impl Signer for EcdsaP256Signer {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256
    }

    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignError> {
        let signature: Signature = self.key.try_sign(message).map_err(|_| SignError::Unavailable)?;
        Ok(signature.to_bytes().into())
    }
}

impl core::fmt::Debug for EcdsaP256Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("EcdsaP256Signer(public ")?;
        crate::hex::fmt(&self.public, f)?;
        f.write_str(")")
    }
}
