//! Key files: private keys as PKCS#8 in PEM, which other tools read too.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ota_core::crypto::sign::{EcdsaP256Signer, Ed25519Signer, Signer};

use super::Failure;
use super::host::random;
use crate::http::body::PublicKey;

/// A scheme of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyAlgorithm {
    /// Ed25519.
    Ed25519,
    /// ECDSA over P-256 with SHA-256.
    P256,
}

/// Makes a private key and writes it to a file that did not exist, readable by its owner only.
///
/// # Errors
/// [`Failure`] if the file exists or cannot be written.
pub fn generate_key(algorithm: KeyAlgorithm, path: &Path) -> Result<PublicKey, Failure> {
    let unwritable =
        |why: &dyn core::error::Error| Failure::caused("the key cannot be written as PKCS#8", why, "");
    let pem = match algorithm {
        KeyAlgorithm::Ed25519 => {
            ed25519_dalek::SigningKey::from_bytes(&random()).to_pkcs8_pem(LineEnding::LF)
        }
        KeyAlgorithm::P256 => loop {
            // One in 2^32 draws is no scalar.
            if let Ok(key) = p256::SecretKey::from_slice(&random::<32>()) {
                break key.to_pkcs8_pem(LineEnding::LF);
            }
        },
    };
    let pem = pem.map_err(|why| unwritable(&why))?;
    write_secret(path, pem.as_bytes())?;
    Ok(PublicKey::of(&*read_signer(path)?))
}

/// Writes a file that must not exist yet, readable by its owner only, durable when this returns.
pub(super) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |why: std::io::Error| {
        let way_out = match why.kind() {
            std::io::ErrorKind::AlreadyExists => {
                "keys are never overwritten: choose another name, or move it away"
            }
            _ => "check that the folder is there and may be written",
        };
        Failure::caused(format_args!("cannot write {}", path.display()), &why, way_out)
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

/// Reads a private key.
///
/// # Errors
/// [`Failure`] if the file cannot be read or holds no private key of a known scheme.
pub fn read_signer(path: &Path) -> Result<Box<dyn Signer + Send + Sync>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|why| {
        let way_out = "give the file of a private key, or make one with `ota key generate`";
        Failure::caused(format_args!("cannot read the key {}", path.display()), &why, way_out)
    })?;
    if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_pem(&text) {
        return Ok(Box::new(Ed25519Signer::from_seed(&key.to_bytes())));
    }
    if let Ok(key) = p256::SecretKey::from_pkcs8_pem(&text)
        && let Ok(signer) = EcdsaP256Signer::from_scalar(&key.to_bytes().into())
    {
        return Ok(Box::new(signer));
    }
    let way_out = "expected PKCS#8 in PEM with an Ed25519 or P-256 key, as `ota key generate` writes it";
    Err(Failure::new(format!("{} holds no private key", path.display()), way_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_from_its_file_and_its_public_text() {
        let folder = tempfile::tempdir().unwrap();
        for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::P256] {
            let path = folder.path().join(format!("{algorithm:?}"));
            let public = generate_key(algorithm, &path).unwrap();
            assert_eq!(PublicKey::of(&*read_signer(&path).unwrap()), public);
            assert_eq!(public.to_string().parse(), Ok(public));
            assert!(generate_key(algorithm, &path).is_err(), "a key was overwritten");
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_a_key() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = tempfile::tempdir().unwrap().keep().join("key.pem");
        generate_key(KeyAlgorithm::Ed25519, &path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
