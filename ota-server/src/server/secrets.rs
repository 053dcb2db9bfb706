//! Secrets in the store: keys of grants and of evidence lie there wrapped, so that a copy of the store is no copy of them.

use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use super::Entropy;

/// Wraps the secrets that the store keeps. `purpose` names the place of a secret: one that was moved to another place does
/// not unwrap there.
pub trait SecretWrap: Send + Sync + 'static {
    /// The wrapped form, or `None` if what holds the key does not answer.
    fn wrap(&self, purpose: &str, secret: &[u8; 32]) -> Option<Vec<u8>>;

    /// The secret, or `None` if it was not wrapped for this purpose with a key that is known.
    fn unwrap(&self, purpose: &str, wrapped: &[u8]) -> Option<[u8; 32]>;
}

/// Wraps nothing: secrets lie in the store as they are. For installations that encrypt the whole disk, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWrap;

impl SecretWrap for NoWrap {
    fn wrap(&self, _: &str, secret: &[u8; 32]) -> Option<Vec<u8>> {
        Some(secret.to_vec())
    }

    fn unwrap(&self, _: &str, wrapped: &[u8]) -> Option<[u8; 32]> {
        wrapped.try_into().ok()
    }
}

/// Wraps with XChaCha20-Poly1305 (RFC 8439 with the longer nonce of draft-irtf-cfrg-xchacha) under a configured key.
///
/// Secrets that were stored before a key was configured are still read, and those that a former key wrapped.
///
/// ```text
/// 1 | nonce 24 | sealed secret 32 | tag 16
/// ```
pub struct WrappingKey {
    present: XChaCha20Poly1305,
    former: Vec<XChaCha20Poly1305>,
    entropy: Arc<dyn Entropy>,
}

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 24;
const WRAPPED_BYTES: usize = 1 + NONCE_BYTES + 32 + 16;

impl WrappingKey {
    /// Wraps with this key.
    #[must_use]
    pub fn new(key: &[u8; 32], entropy: Arc<dyn Entropy>) -> Self {
        Self { present: cipher(key), former: Vec::new(), entropy }
    }

    /// Also unwraps what this key wrapped.
    #[must_use]
    pub fn and_former(mut self, key: &[u8; 32]) -> Self {
        self.former.push(cipher(key));
        self
    }
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key))
}

impl SecretWrap for WrappingKey {
    fn wrap(&self, purpose: &str, secret: &[u8; 32]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        self.entropy.fill(&mut nonce);
        let payload = Payload { msg: secret, aad: purpose.as_bytes() };
        let sealed = self.present.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some([&[FORMAT], nonce.as_slice(), &sealed].concat())
    }

    fn unwrap(&self, purpose: &str, wrapped: &[u8]) -> Option<[u8; 32]> {
        // From before there was a key: no wrapped secret is this short.
        if let Ok(plain) = wrapped.try_into() {
            return Some(plain);
        }
        let (format, rest) = wrapped.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if *format != FORMAT || wrapped.len() != WRAPPED_BYTES {
            return None;
        }
        let nonce = XNonce::from(*nonce);
        [&self.present].into_iter().chain(&self.former).find_map(|cipher| {
            let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
            cipher.decrypt(&nonce, payload).ok()?.try_into().ok()
        })
    }
}

/// Where the key of a device's evidence lies.
pub(crate) fn evidence_purpose(device: &ota_core::text::DeviceIdBuf) -> String {
    format!("ota/v1/evidence/{device}")
}

/// Where a key of grants lies.
pub(super) fn grant_purpose(number: u32) -> String {
    format!("ota/v1/grant-key/{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(5);
        }
    }

    fn with(key: u8) -> WrappingKey {
        WrappingKey::new(&[key; 32], Arc::new(Counting))
    }

    #[test]
    fn a_secret_comes_back_only_with_its_key_and_in_its_place() {
        let wrapped = with(1).wrap("a", &[9; 32]).unwrap();
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
        assert!(!wrapped.windows(8).any(|bytes| bytes == [9; 8]), "it is not there to be read");
        assert_eq!(with(1).unwrap("a", &wrapped), Some([9; 32]));
        assert_eq!(with(2).and_former(&[1; 32]).unwrap("a", &wrapped), Some([9; 32]));
        assert_eq!(with(1).unwrap("b", &wrapped), None, "it was moved");
        assert_eq!(with(2).unwrap("a", &wrapped), None, "another key");
        for bit in 0..wrapped.len() * 8 {
            let mut changed = wrapped.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(with(1).unwrap("a", &changed), None, "bit {bit}");
        }
        for length in (0..wrapped.len()).filter(|length| *length != 32) {
            assert_eq!(with(1).unwrap("a", &wrapped[..length]), None, "{length} bytes");
        }
        assert_eq!(with(1).unwrap("a", &[7; 32]), Some([7; 32]), "stored before there was a key");
    }
}
