//! Message authentication codes: HMAC-SHA-256 under one key, in software or behind hardware.
//!
//! A code is only ever compared in constant time, because a comparison that stops at the first difference tells
//! a forger how far he has come.

use subtle::ConstantTimeEq;

/// Length of a code, in bytes.
pub const MAC_BYTES: usize = 32;

/// Why there is no code, or not the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum MacError {
    /// What holds the key did not answer; trying again may help.
    #[error("the key is not available")]
    Unavailable,
    /// The code does not belong to the message and the key.
    #[error("the code does not match")]
    Mismatch,
}

/// A key for HMAC-SHA-256 (RFC 2104, FIPS 198-1), wherever it lives.
///
/// A message is given in parts so that nobody has to join them in memory. The code is over their bytes one behind
/// the other and does not see where one ends: what is authenticated must tell its own lengths, as CBOR does.
pub trait Authenticator {
    /// The code of a message.
    ///
    /// # Errors
    /// [`MacError::Unavailable`] if what holds the key does not answer; software never fails.
    fn authenticate(&self, parts: &[&[u8]]) -> Result<[u8; MAC_BYTES], MacError>;

    /// Checks a code in constant time.
    ///
    /// # Errors
    /// [`MacError`]; everything but `Ok` means that nothing was proven.
    fn verify(&self, parts: &[&[u8]], mac: &[u8; MAC_BYTES]) -> Result<(), MacError> {
        let expected = self.authenticate(parts)?;
        if bool::from(expected.ct_eq(mac)) { Ok(()) } else { Err(MacError::Mismatch) }
    }
}

impl<A: Authenticator + ?Sized> Authenticator for &A {
    fn authenticate(&self, parts: &[&[u8]]) -> Result<[u8; MAC_BYTES], MacError> {
        (**self).authenticate(parts)
    }

    fn verify(&self, parts: &[&[u8]], mac: &[u8; MAC_BYTES]) -> Result<(), MacError> {
        (**self).verify(parts, mac)
    }
}
