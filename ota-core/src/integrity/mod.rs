//! Integrity strings: how one file is checked, by what the device can compute.
//!
//! ```text
//! crc32:cbf43926                          checksum
//! sha2-256:<64 hex>   sha2-512:…          hash
//! sha3-256:<64 hex>   sha3-512:…          hash
//! ed25519:<key id>:<base64url>            signature
//! ecdsa-p256:<key id>:<base64url>         signature
//! ```
//!
//! One grammar: an algorithm's name, a colon, and a value of exactly the algorithm's length. Hexadecimal digits are
//! lower case; a key id is 16 of them; base64url is without padding and canonical. Every build reads all of them,
//! also those that it cannot compute. Whatever is not exactly that is an error and never a check that is skipped.
//!
//! A file is checked by the strongest of its strings that the device can compute ([`strongest`]), and by no other
//! when that one fails. [`FileCheck`] does it while the bytes stream by, and leaves a [`VerifiedFile`] as a receipt.

mod base64url;
mod check;
mod error;
#[cfg(feature = "sign")]
mod sign;
mod statement;
mod string;
mod strings;
mod suite;
mod text;

pub use check::{FileCheck, VerifiedFile, strongest};
pub use error::{IntegrityError, StringError, StringErrorKind, StringsError, StringsErrorKind};
#[cfg(feature = "sign")]
pub use sign::sign_file;
pub use statement::{DOMAIN, FileSubject};
pub use string::{Algorithm, IntegrityString, Strength};
pub use strings::IntegrityStrings;
pub use suite::{Digests, FileHasher, Suite};
