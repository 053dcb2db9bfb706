//! SHA-256 and SHA-512 (FIPS 180-4).

use sha2::Digest as _;

use crate::crypto::{Hasher, Sha256};
use crate::integrity::{Algorithm, FileHasher};

/// SHA-256.
#[derive(Debug, Clone)]
pub struct SoftSha256(sha2::Sha256);

impl Hasher for SoftSha256 {
    type Digest = [u8; 32];

    fn new() -> Self {
        Self(sha2::Sha256::new())
    }

    #[inline]
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Sha256 for SoftSha256 {}

/// SHA-512.
#[derive(Debug, Clone)]
pub struct SoftSha512(sha2::Sha512);

impl Hasher for SoftSha512 {
    type Digest = [u8; 64];

    fn new() -> Self {
        Self(sha2::Sha512::new())
    }

    #[inline]
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 64] {
        self.0.finalize().into()
    }
}

impl FileHasher for SoftSha512 {
    const ALGORITHM: Algorithm = Algorithm::Sha512;
}
