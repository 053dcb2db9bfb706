//! Bodies and their digests: a receipt ties bytes to the SHA-256 that was computed over exactly these bytes.

use crate::crypto::{Sha256, digest};
use crate::number::Sha256Digest;
use crate::trust::TrustError;

/// A body and its SHA-256. Only hashing makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashedBody<'a> {
    bytes: &'a [u8],
    digest: Sha256Digest,
}

impl<'a> HashedBody<'a> {
    /// Hashes a body in one go; [`BodyHasher`] does it in steps.
    #[must_use]
    pub fn hash<H: Sha256>(bytes: &'a [u8]) -> Self {
        Self { bytes, digest: Sha256Digest(digest::<H>(bytes)) }
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Their SHA-256; for a release this is its identity.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Lets go of the bytes but keeps what is known about them, for a caller that must reuse its borrow.
    #[must_use]
    pub const fn detach(self) -> BodyReceipt {
        BodyReceipt { length: self.bytes.len(), digest: self.digest }
    }
}

/// What hashing has found out about bytes that are not borrowed at the moment.
///
/// It exists for owners of one buffer who can hold no borrow of it from one step to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyReceipt {
    length: usize,
    digest: Sha256Digest,
}

impl BodyReceipt {
    /// The digest that was found.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Ties the receipt to its bytes again.
    ///
    /// **The caller promises** that these are the bytes that were hashed, in memory of its own that nobody has
    /// written since. This and [`PausedHash::resume`] are the only places where such a promise replaces a borrow;
    /// bytes that were read anew from a medium are hashed anew.
    ///
    /// # Errors
    /// [`TrustError::OtherBody`] if the length is another.
    pub fn attach(self, bytes: &[u8]) -> Result<HashedBody<'_>, TrustError> {
        if bytes.len() == self.length {
            Ok(HashedBody { bytes, digest: self.digest })
        } else {
            Err(TrustError::OtherBody)
        }
    }
}

/// The SHA-256 of a body, computed in steps, so that no step holds up its caller for longer than it likes.
#[derive(Debug, Clone)]
pub struct BodyHasher<'a, H> {
    bytes: &'a [u8],
    done: usize,
    hasher: H,
}

impl<'a, H: Sha256> BodyHasher<'a, H> {
    /// Begins at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, done: 0, hasher: H::new() }
    }

    /// Hashes at most `bytes_max` further bytes and says whether all have been hashed.
    pub fn step(&mut self, bytes_max: usize) -> bool {
        let end = self.done.saturating_add(bytes_max).min(self.bytes.len());
        self.hasher.update(self.bytes.get(self.done..end).unwrap_or_default());
        self.done = end;
        self.done == self.bytes.len()
    }

    /// Hashes what is left, if anything, and gives the receipt.
    #[must_use]
    pub fn finish(mut self) -> HashedBody<'a> {
        self.step(usize::MAX);
        HashedBody { bytes: self.bytes, digest: Sha256Digest(self.hasher.finish()) }
    }

    /// Lets go of the bytes between two steps.
    #[must_use]
    pub fn pause(self) -> PausedHash<H> {
        PausedHash { length: self.bytes.len(), done: self.done, hasher: self.hasher }
    }
}

/// A [`BodyHasher`] that has let go of its bytes.
#[derive(Debug, Clone)]
pub struct PausedHash<H> {
    length: usize,
    done: usize,
    hasher: H,
}

impl<H: Sha256> PausedHash<H> {
    /// Goes on; the caller promises the same as for [`BodyReceipt::attach`].
    ///
    /// # Errors
    /// [`TrustError::OtherBody`] if the length is another.
    pub fn resume(self, bytes: &[u8]) -> Result<BodyHasher<'_, H>, TrustError> {
        if bytes.len() == self.length {
            Ok(BodyHasher { bytes, done: self.done, hasher: self.hasher })
        } else {
            Err(TrustError::OtherBody)
        }
    }
}
