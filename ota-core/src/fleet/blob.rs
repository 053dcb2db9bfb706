//! Where files rest on the server: by the SHA-256 of their bytes, so that a blob can neither change nor be named wrongly.

use alloc::boxed::Box;
use alloc::vec::Vec;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::number::{ByteLength, ByteOffset, Sha256Digest};

/// A store of files.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Begins an upload. Nothing can be read of it before it is finished.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn upload(&self) -> Result<Box<dyn BlobUpload>, StoreError>;

    /// Reads up to `length` bytes from `offset` on; fewer only at the end of the file.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](super::StoreErrorKind::NotFound) if there is no such file;
    /// [`StoreErrorKind::Invalid`](super::StoreErrorKind::Invalid) past its end.
    async fn read(
        &self,
        digest: &Sha256Digest,
        offset: ByteOffset,
        length: ByteLength,
    ) -> Result<Bytes, StoreError>;

    /// How long the file is, or `None` if it is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn size(&self, digest: &Sha256Digest) -> Result<Option<ByteLength>, StoreError>;

    /// Removes the file; removing what is not there is no error. A crash soon after may bring it back.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn remove(&self, digest: &Sha256Digest) -> Result<(), StoreError>;

    /// At most `limit` files behind `after` in the order of their digests.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list(&self, after: Option<&Sha256Digest>, limit: usize)
    -> Result<Vec<Sha256Digest>, StoreError>;

    /// Asks for something small: whether the store is there and lets us in.
    ///
    /// # Errors
    /// [`StoreError`] says why not.
    async fn probe(&self) -> Result<(), StoreError>;
}

/// An upload that is under way. Dropping it leaves nothing behind.
#[async_trait]
pub trait BlobUpload: Send {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`StoreError`]; the upload is lost.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Makes the file durable and readable under the digest of its bytes, which the store computes itself.
    ///
    /// A crash before this returns leaves the whole file or nothing. Finishing what is there already is no error.
    ///
    /// # Errors
    /// [`StoreError`]; nothing can be read.
    async fn finish(self: Box<Self>) -> Result<(Sha256Digest, ByteLength), StoreError>;
}
