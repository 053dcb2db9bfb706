//! Integrity strings: how one file is checked, by what the device can compute.
//!
//! ```text
//! crc32:cbf43926                          checksum
//! sha2-256:<64 hex>   sha2-512:…          hash
//! sha3-256:<64 hex>   sha3-512:…          hash
//! ed25519:<key id>:<base64url>            signature
//! ecdsa-p256:<key id>:<base64url>         signature
//! ```

mod string;

pub use string::{Algorithm, IntegrityString, Strength};
