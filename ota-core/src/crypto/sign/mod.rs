//! Making signatures: what holds a private key, and the one function through which anything gets published.
//!
//! A device never needs this. The invariant: no signature leaves [`sign_checked`] that the *expected* public key
//! does not verify, whatever the signer thinks its own key is.

#[cfg(feature = "ed25519")]
mod ed25519;
#[cfg(feature = "p256")]
mod p256;

#[cfg(feature = "ed25519")]
pub use ed25519::Ed25519Signer;
#[cfg(feature = "p256")]
pub use p256::EcdsaP256Signer;

use super::{SIGNATURE_BYTES, SignatureAlgorithm, SignatureError, SignatureVerifier};
use crate::trust::Key;

/// Stands where a key in memory is defined: does not compile should its crate stop wiping it when it is dropped.
#[cfg(any(feature = "ed25519", feature = "p256"))]
const fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}

/// Something that holds a private key and signs with it: a key in memory, a token, or people elsewhere.
pub trait Signer {
    /// What its signatures are checked with.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Its public key, of exactly the algorithm's length.
    fn public_key(&self) -> &[u8];

    /// Signs a message. Publish only what [`sign_checked`] returns.
    ///
    /// # Errors
    /// [`SignError::Unavailable`] if what holds the key does not answer or does not want to, also where the
    /// signature is yet to be brought from elsewhere.
    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignError>;
}

/// Why there is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// What holds the key did not answer, or there is no signature of this message yet.
    #[error("the signing key is not available")]
    Unavailable,
    /// The bytes are not a private key of this scheme.
    #[error("the bytes are not a private key")]
    PrivateKey,
    /// The signer holds another key than the one that is expected to sign.
    #[error("the signer holds another key than the expected one")]
    WrongKey,
    /// What is to be signed exceeds a limit of its format.
    #[error("what is to be signed exceeds a limit of its format")]
    Message,
    /// The signature that the signer made does not verify under the expected public key. It must not be published.
    #[error("the expected public key does not verify the signature that was made")]
    SelfCheck(#[source] SignatureError),
}

/// Signs a message and verifies the result under the key that is *expected* to have signed, as the root lists it.
///
/// A signer that holds another key, or reports one key and signs with another, is found out here and not by
/// a fleet that refuses the release.
///
/// # Errors
/// [`SignError`]; nothing is returned that the expected key does not verify.
pub fn sign_checked(
    signer: &(impl Signer + ?Sized),
    expected: Key<'_>,
    verifier: &impl SignatureVerifier,
    message: &[u8],
) -> Result<[u8; SIGNATURE_BYTES], SignError> {
    if signer.algorithm() != expected.algorithm || signer.public_key() != expected.public {
        return Err(SignError::WrongKey);
    }
    let signature = signer.sign(message)?;
    verifier
        .verify(expected.algorithm, expected.public, message, &signature)
        .map_err(SignError::SelfCheck)?;
    Ok(signature)
}
