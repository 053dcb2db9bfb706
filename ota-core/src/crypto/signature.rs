//! Signature schemes and who can check them.
//!
//! A check that cannot be made is an error, never a skip: [`NoSignatures`] refuses everything.

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
///
/// Software verifiers hold nothing ([`soft::Ed25519`](super::soft), [`soft::EcdsaP256`](super::soft)); one that
/// drives hardware holds what it needs for that.
pub trait SignatureVerifier {
    /// Whether this kind of verifier can check the algorithm. A fact of the type, so that it is known before any
    /// byte is fetched and the linker drops what no verifier of the product uses.
    fn supports(algorithm: SignatureAlgorithm) -> bool
    where
        Self: Sized;

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

impl<V: SignatureVerifier> SignatureVerifier for &V {
    fn supports(algorithm: SignatureAlgorithm) -> bool {
        V::supports(algorithm)
    }

    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), SignatureError> {
        (**self).verify(algorithm, public_key, message, signature)
    }
}

/// Two verifiers as one: what the first cannot check goes to the second.
///
/// `Either<Ed25519, EcdsaP256>` checks both schemes. When both support an algorithm the first is asked, and its
/// answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Either<A, B>(
    /// Asked first.
    pub A,
    /// Asked for what the first does not support.
    pub B,
);

impl<A: SignatureVerifier, B: SignatureVerifier> SignatureVerifier for Either<A, B> {
    fn supports(algorithm: SignatureAlgorithm) -> bool {
        A::supports(algorithm) || B::supports(algorithm)
    }

    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), SignatureError> {
        if A::supports(algorithm) {
            self.0.verify(algorithm, public_key, message, signature)
        } else {
            self.1.verify(algorithm, public_key, message, signature)
        }
    }
}

/// Checks no signatures: every one is refused as unsupported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NoSignatures;

impl SignatureVerifier for NoSignatures {
    fn supports(_: SignatureAlgorithm) -> bool {
        false
    }

    fn verify(
        &self,
        _: SignatureAlgorithm,
        _: &[u8],
        _: &[u8],
        _: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), SignatureError> {
        Err(SignatureError::Unsupported)
    }
}
