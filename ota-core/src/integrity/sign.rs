//! Making integrity strings of the signature kind, never on a device.

use super::{FileSubject, IntegrityString};
use crate::crypto::sign::{SignError, Signer, sign_checked};
use crate::crypto::{Sha256, SignatureAlgorithm, SignatureVerifier, key_id};
use crate::limits::FILE_STATEMENT_BYTES_MAX;
use crate::number::Sha256Digest;
use crate::trust::Key;

/// Signs a file: over product, package, name, revision and size as the release says, and the SHA-256 of its bytes.
///
/// # Errors
/// As [`sign_checked`]: nothing is returned that `expected` does not verify.
pub fn sign_file<H: Sha256>(
    signer: &(impl Signer + ?Sized),
    expected: Key<'_>,
    verifier: &impl SignatureVerifier,
    subject: &FileSubject<'_>,
    sha256: &Sha256Digest,
) -> Result<IntegrityString, SignError> {
    let mut buffer = [0; FILE_STATEMENT_BYTES_MAX];
    let statement = subject.statement(sha256, &mut buffer).map_err(|_| SignError::Message)?;
    let signature = sign_checked(signer, expected, verifier, statement)?;
    let key = key_id::<H>(expected.public);
    Ok(match expected.algorithm {
        SignatureAlgorithm::Ed25519 => IntegrityString::Ed25519 { key, signature },
        SignatureAlgorithm::EcdsaP256 => IntegrityString::EcdsaP256 { key, signature },
    })
}
