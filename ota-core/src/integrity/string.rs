//! One integrity string, parsed; every build can read all of them, even those that it cannot compute.

use crate::cbor::{DecodeErrorKind, EncodeError, Malformed, Reader, Sink, Writer};
use crate::crypto::SignatureAlgorithm;
use crate::list::Item;
use crate::number::KeyId;

/// How a file is checked. The order is the order of strength, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// CRC-32 (ISO-HDLC): finds accidents, stops nobody.
    Crc32 = 0,
    /// SHA-256.
    Sha256 = 1,
    /// SHA3-256.
    Sha3_256 = 2,
    /// SHA-512.
    Sha512 = 3,
    /// SHA3-512.
    Sha3_512 = 4,
    /// ECDSA over P-256 with SHA-256, by a key of the `file` role.
    EcdsaP256 = 5,
    /// Ed25519, by a key of the `file` role.
    Ed25519 = 6,
}

impl Algorithm {
    /// All algorithms, weakest first.
    pub const ALL: [Self; 7] = [
        Self::Crc32,
        Self::Sha256,
        Self::Sha3_256,
        Self::Sha512,
        Self::Sha3_512,
        Self::EcdsaP256,
        Self::Ed25519,
    ];

    /// Its number in encoded forms.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Crc32 => 0,
            Self::Sha256 => 1,
            Self::Sha3_256 => 2,
            Self::Sha512 => 3,
            Self::Sha3_512 => 4,
            Self::EcdsaP256 => 5,
            Self::Ed25519 => 6,
        }
    }

    /// Its name in texts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Sha256 => "sha2-256",
            Self::Sha3_256 => "sha3-256",
            Self::Sha512 => "sha2-512",
            Self::Sha3_512 => "sha3-512",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The scheme of its signature, if it is one.
    #[must_use]
    pub const fn signature(self) -> Option<SignatureAlgorithm> {
        match self {
            Self::EcdsaP256 => Some(SignatureAlgorithm::EcdsaP256),
            Self::Ed25519 => Some(SignatureAlgorithm::Ed25519),
            _ => None,
        }
    }

    /// What kind of promise it gives.
    #[must_use]
    pub const fn strength(self) -> Strength {
        match self {
            Self::Crc32 => Strength::Checksum,
            Self::Sha256 | Self::Sha3_256 | Self::Sha512 | Self::Sha3_512 => Strength::Hash,
            Self::EcdsaP256 | Self::Ed25519 => Strength::Signature,
        }
    }
}

impl core::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// What an integrity string promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// Against accidents.
    Checksum,
    /// Against anybody who cannot change the string.
    Hash,
    /// Against anybody who does not hold the key.
    Signature,
}

impl core::fmt::Display for Strength {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Checksum => "checksum",
            Self::Hash => "hash",
            Self::Signature => "signature",
        })
    }
}

/// One integrity string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntegrityString {
    /// A CRC-32.
    Crc32([u8; 4]),
    /// A SHA-256.
    Sha256([u8; 32]),
    /// A SHA3-256.
    Sha3_256([u8; 32]),
    /// A SHA-512.
    Sha512([u8; 64]),
    /// A SHA3-512.
    Sha3_512([u8; 64]),
    /// An ECDSA signature.
    EcdsaP256 {
        /// Who signed.
        key: KeyId,
        /// The signature.
        signature: [u8; 64],
    },
    /// An Ed25519 signature.
    Ed25519 {
        /// Who signed.
        key: KeyId,
        /// The signature.
        signature: [u8; 64],
    },
}

impl IntegrityString {
    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Crc32(_) => Algorithm::Crc32,
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha3_256(_) => Algorithm::Sha3_256,
            Self::Sha512(_) => Algorithm::Sha512,
            Self::Sha3_512(_) => Algorithm::Sha3_512,
            Self::EcdsaP256 { .. } => Algorithm::EcdsaP256,
            Self::Ed25519 { .. } => Algorithm::Ed25519,
        }
    }

    /// Whether this is the string of `algorithm` with this digest; a signature is never equal to a digest.
    #[must_use]
    pub(super) fn is_digest(&self, algorithm: Algorithm, digest: &[u8]) -> bool {
        let expected: &[u8] = match self {
            Self::Crc32(value) => value,
            Self::Sha256(value) | Self::Sha3_256(value) => value,
            Self::Sha512(value) | Self::Sha3_512(value) => value,
            Self::EcdsaP256 { .. } | Self::Ed25519 { .. } => return false,
        };
        self.algorithm() == algorithm && expected == digest
    }
}

/// Length of the longest encoded form: the number, a key id and a signature.
const ENCODED_BYTES_MAX: usize = 1 + 8 + 64;

impl<'a> Item<'a> for IntegrityString {
    /// One byte string: the number of the algorithm, then the digest, or the key id and the signature.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let offset = reader.position();
        let bytes = reader.bytes(ENCODED_BYTES_MAX)?;
        bytes
            .split_first()
            .and_then(|(number, value)| Self::from_parts(*number, value))
            .ok_or_else(|| reader.refuse(DecodeErrorKind::OutOfRange, offset))
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        let (key, value): (&[u8], &[u8]) = match self {
            Self::Crc32(value) => (&[], value),
            Self::Sha256(value) | Self::Sha3_256(value) => (&[], value),
            Self::Sha512(value) | Self::Sha3_512(value) => (&[], value),
            Self::EcdsaP256 { key, signature } | Self::Ed25519 { key, signature } => (&key.0, signature),
        };
        writer.bytes_head(key.len().saturating_add(value.len()).saturating_add(1))?;
        writer.raw(&[self.algorithm().number()])?;
        writer.raw(key)?;
        writer.raw(value)
    }
}

impl IntegrityString {
    /// The string with this number and exactly this value, or `None` if there is no such algorithm or length.
    fn from_parts(number: u8, value: &[u8]) -> Option<Self> {
        let signed = || {
            let (key, signature) = value.split_first_chunk::<8>()?;
            Some((KeyId(*key), <[u8; 64]>::try_from(signature).ok()?))
        };
        Some(match Algorithm::ALL.into_iter().find(|algorithm| algorithm.number() == number)? {
            Algorithm::Crc32 => Self::Crc32(value.try_into().ok()?),
            Algorithm::Sha256 => Self::Sha256(value.try_into().ok()?),
            Algorithm::Sha3_256 => Self::Sha3_256(value.try_into().ok()?),
            Algorithm::Sha512 => Self::Sha512(value.try_into().ok()?),
            Algorithm::Sha3_512 => Self::Sha3_512(value.try_into().ok()?),
            Algorithm::EcdsaP256 => signed().map(|(key, signature)| Self::EcdsaP256 { key, signature })?,
            Algorithm::Ed25519 => signed().map(|(key, signature)| Self::Ed25519 { key, signature })?,
        })
    }
}
