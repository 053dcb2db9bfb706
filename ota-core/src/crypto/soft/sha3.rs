//! SHA3-256 and SHA3-512 (FIPS 202).

use sha3::Digest as _;

use crate::crypto::Hasher;
use crate::integrity::{Algorithm, FileHasher};

/// SHA3-256. Deliberately not a [`Sha256`](crate::crypto::Sha256), though its digests are as long.
#[derive(Debug, Clone)]
pub struct SoftSha3_256(sha3::Sha3_256);

impl Hasher for SoftSha3_256 {
    type Digest = [u8; 32];

    fn new() -> Self {
        Self(sha3::Sha3_256::new())
    }

    #[inline]
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl FileHasher for SoftSha3_256 {
    const ALGORITHM: Algorithm = Algorithm::Sha3_256;
}

/// SHA3-512.
#[derive(Debug, Clone)]
pub struct SoftSha3_512(sha3::Sha3_512);

impl Hasher for SoftSha3_512 {
    type Digest = [u8; 64];

    fn new() -> Self {
        Self(sha3::Sha3_512::new())
    }

    #[inline]
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 64] {
        self.0.finalize().into()
    }
}

impl FileHasher for SoftSha3_512 {
    const ALGORITHM: Algorithm = Algorithm::Sha3_512;
}
