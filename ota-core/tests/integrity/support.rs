//! A product that can check everything, and releases to check.

use ota_core::crypto::sign::{EcdsaP256Signer, Ed25519Signer, Signer};
use ota_core::crypto::soft::{
    EcdsaP256, Ed25519, SoftCrc32, SoftSha3_256, SoftSha3_512, SoftSha256, SoftSha512,
};
use ota_core::crypto::{Either, digest, key_id};
use ota_core::integrity::{
    FileCheck, FileSubject, IntegrityError, IntegrityString, Strength, Suite, VerifiedFile,
};
use ota_core::list::List;
use ota_core::number::{ByteLength, FileIndex, KeyId, PackageVersion, SecurityEpoch};
use ota_core::text::{FileName, HardwareRevision, InstallTarget, PackageName, ProductId, Revision};
use ota_core::time::Timestamp;
use ota_core::trust::{File, Key, Release, ReleaseKind};

/// Everything that there is.
pub(crate) struct Everything;

impl Suite for Everything {
    type Sha256 = SoftSha256;
    type Others = (SoftCrc32, SoftSha3_256, SoftSha512, SoftSha3_512);
    type Verifier = Either<Ed25519, EcdsaP256>;
}

pub(crate) const VERIFIER: Either<Ed25519, EcdsaP256> = Either(Ed25519, EcdsaP256);

pub(crate) fn ed25519() -> Ed25519Signer {
    Ed25519Signer::from_seed(&[7; 32])
}

pub(crate) fn p256() -> EcdsaP256Signer {
    EcdsaP256Signer::from_scalar(&[9; 32]).unwrap()
}

pub(crate) fn key_of(signer: &dyn Signer) -> (KeyId, Key<'_>) {
    let key = Key { algorithm: signer.algorithm(), public: signer.public_key() };
    (key_id::<SoftSha256>(key.public), key)
}

/// A release of these files in the product `lamp` and the package `main`.
pub(crate) fn release<'a>(files: &'a [File<'a>]) -> Release<'a> {
    Release {
        product: ProductId::new("lamp").unwrap(),
        hardware: List::<HardwareRevision<'_>>::empty(),
        package: PackageName::new("main").unwrap(),
        version: PackageVersion(1),
        epoch: SecurityEpoch(1),
        requirements: List::empty(),
        files: List::from_slice(files),
        expires: Timestamp(0),
        kind: ReleaseKind::Feature,
        notes: None,
        sbom: None,
    }
}

pub(crate) fn file<'a>(name: &'a str, size: u64, integrity: &'a [IntegrityString]) -> File<'a> {
    File {
        name: FileName::new(name).unwrap(),
        revision: Revision::new("1.0").unwrap(),
        size: ByteLength(size),
        target: InstallTarget::new("app").unwrap(),
        integrity: List::from_slice(integrity),
        block_map: None,
        urls: List::empty(),
    }
}

/// All digests of these bytes, weakest first.
pub(crate) fn digests(bytes: &[u8]) -> [IntegrityString; 5] {
    [
        IntegrityString::Crc32(digest::<SoftCrc32>(bytes)),
        IntegrityString::Sha256(digest::<SoftSha256>(bytes)),
        IntegrityString::Sha3_256(digest::<SoftSha3_256>(bytes)),
        IntegrityString::Sha512(digest::<SoftSha512>(bytes)),
        IntegrityString::Sha3_512(digest::<SoftSha3_512>(bytes)),
    ]
}

/// Checks the first file of a release in pieces, with no key in the root.
pub(crate) fn check<S: Suite>(
    release: &Release<'_>,
    strength_min: Strength,
    pieces: &[&[u8]],
    verifier: &S::Verifier,
) -> Result<VerifiedFile, IntegrityError> {
    let subject = FileSubject::of(release, FileIndex(0)).unwrap();
    let mut check = FileCheck::<S>::begin(&subject, strength_min)?;
    for piece in pieces {
        check.update(piece)?;
    }
    check.finish(&subject, |_| None, verifier)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2) && digits.is_ascii(), "{digits}");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
