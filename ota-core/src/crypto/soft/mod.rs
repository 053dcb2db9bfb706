//! The algorithms in software, one feature each: thin faces of well-kept crates, whose types never show.
//!
//! Nothing here decides anything: lengths, encodings and strictness are fixed by the traits above, and each face
//! only makes sure that its crate keeps to them.

#[cfg(feature = "crc32")]
mod crc32;
#[cfg(feature = "ed25519")]
mod ed25519;
#[cfg(feature = "hmac")]
mod hmac;
#[cfg(feature = "p256")]
mod p256;
#[cfg(feature = "sha2")]
mod sha2;
#[cfg(feature = "sha3")]
mod sha3;

#[cfg(feature = "crc32")]
pub use crc32::{SoftCrc32, SoftCrc32Fast, SoftCrc32Tiny};
#[cfg(feature = "ed25519")]
pub use ed25519::Ed25519;
#[cfg(feature = "hmac")]
pub use hmac::HmacSha256;
#[cfg(feature = "p256")]
pub use p256::EcdsaP256;
#[cfg(feature = "sha2")]
pub use sha2::{SoftSha256, SoftSha512};
#[cfg(feature = "sha3")]
pub use sha3::{SoftSha3_256, SoftSha3_512};
