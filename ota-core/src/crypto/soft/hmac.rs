//! HMAC-SHA-256 in software. The key is absorbed at once, and the states that it leads to are wiped when the value
//! is dropped.

use hmac::{EagerHash, Hmac, KeyInit, Mac};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::crypto::{Authenticator, MAC_BYTES, MacError};

/// A key for HMAC-SHA-256, kept as the two hash states that it leads to, so that each message costs two
/// compressions less.
#[derive(Clone)]
pub struct HmacSha256(Hmac<sha2::Sha256>);

// `Hmac` does not say of itself that it is wiped, but it holds nothing except two states of SHA-256, which are.
const _: () = is_wiped::<<sha2::Sha256 as EagerHash>::Core>();
const fn is_wiped<T: ZeroizeOnDrop>() {}

impl HmacSha256 {
    /// Takes a key; 32 unpredictable bytes are what it should be.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        // A key of 32 bytes is shorter than a block of SHA-256 and so is padded with zeros, as RFC 2104 has it.
        let mut block = hmac::digest::Key::<Hmac<sha2::Sha256>>::default();
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        let keyed = Self(Hmac::new(&block));
        block.zeroize();
        keyed
    }
}

impl Authenticator for HmacSha256 {
    fn authenticate(&self, parts: &[&[u8]]) -> Result<[u8; MAC_BYTES], MacError> {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        Ok(mac.finalize().into_bytes().into())
    }
}

impl core::fmt::Debug for HmacSha256 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HmacSha256(key withheld)")
    }
}
