//! What the checks need of cryptography, as small traits that speak bytes.
//!
//! A product picks its implementations by type parameter, so firmware links only what it uses and a vendor can put
//! hardware behind the same traits. Software implementations stand behind one feature each.

/// A running hash or checksum over a file fed in pieces.
pub trait Hasher: Clone {
    /// What comes out, as bytes in the order in which they are written as text.
    type Digest: AsRef<[u8]> + Copy + PartialEq + Eq;

    /// Begins with nothing.
    fn new() -> Self;

    /// Adds bytes; pieces of any size give the same digest as one piece.
    fn update(&mut self, bytes: &[u8]);

    /// The digest of everything that was added.
    fn finish(self) -> Self::Digest;
}

/// SHA-256, whoever computes it. Trust rests on it, so every build has one.
pub trait Sha256: Hasher<Digest = [u8; 32]> {}
impl<H: Hasher<Digest = [u8; 32]> + Sha256Marker> Sha256 for H {}

/// Says of a 32-byte hasher that it computes SHA-256 and not, for example, SHA3-256.
pub trait Sha256Marker {}

/// The digest of some bytes in one call.
#[must_use]
pub fn digest<H: Hasher>(bytes: &[u8]) -> H::Digest {
    let mut hasher = H::new();
    hasher.update(bytes);
    hasher.finish()
}

/// A signature scheme. Both have signatures of 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// Ed25519 (RFC 8032), verified strictly: no small-order keys, no malleable signatures. Keys have 32 bytes.
    Ed25519,
    /// ECDSA over P-256 with SHA-256 (ES256). Keys are compressed points of 33 bytes; low and high S are both valid.
    EcdsaP256,
}

impl SignatureAlgorithm {
    /// Length of a public key in bytes.
    #[must_use]
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::EcdsaP256 => 33,
        }
    }

    /// Its number in the registry of COSE algorithms (RFC 9053): -8 for `EdDSA`, -7 for ES256.
    #[must_use]
    pub const fn cose(self) -> i64 {
        match self {
            Self::Ed25519 => -8,
            Self::EcdsaP256 => -7,
        }
    }

    /// The algorithm with this number in the registry of COSE algorithms.
    #[must_use]
    pub const fn from_cose(number: i64) -> Option<Self> {
        match number {
            -8 => Some(Self::Ed25519),
            -7 => Some(Self::EcdsaP256),
            _ => None,
        }
    }
}

/// Length of every signature, in bytes.
pub const SIGNATURE_BYTES: usize = 64;
/// Length of the longest public key, in bytes.
pub const PUBLIC_KEY_BYTES_MAX: usize = 33;

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// This build cannot check this algorithm.
    #[error("this build cannot check the algorithm")]
    Unsupported,
    /// The public key is no valid point, or one that must not be used.
    #[error("the public key is not valid")]
    PublicKey,
    /// The signature does not belong to the message and the key.
    #[error("the signature does not match")]
    Mismatch,
}

/// Checks signatures.
pub trait SignatureVerifier {
    /// Whether it can check this algorithm.
    fn supports(&self, algorithm: SignatureAlgorithm) -> bool;

    /// Checks one signature over `message`.
    ///
    /// # Errors
    /// [`SignatureError`]; everything but `Ok` means that nothing was proven.
    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), SignatureError>;
}
