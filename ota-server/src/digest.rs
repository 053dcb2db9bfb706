//! SHA-256 over parts, for what only this server makes and reads again.

use ota_core::crypto::Hasher;
use ota_core::crypto::soft::SoftSha256;

/// SHA-256 of the parts one behind the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = SoftSha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}
