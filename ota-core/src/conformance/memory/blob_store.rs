//! A blob store in an ordered map: the shortest code that keeps the promises of [`BlobStore`].

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::fleet::{BlobStore, BlobUpload, StoreError, StoreErrorKind};
use crate::number::{ByteLength, ByteOffset, Sha256Digest};

/// A [`BlobStore`] that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryBlobStore {
    files: Files,
}

type Files = Arc<Mutex<BTreeMap<Sha256Digest, Bytes>>>;

fn lock(files: &Files) -> MutexGuard<'_, BTreeMap<Sha256Digest, Bytes>> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryBlobStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl BlobStore for MemoryBlobStore {
    async fn upload(&self) -> Result<Box<dyn BlobUpload>, StoreError> {
        Ok(Box::new(MemoryUpload { files: Arc::clone(&self.files), bytes: Vec::new() }))
    }

    async fn read(
        &self,
        digest: &Sha256Digest,
        offset: ByteOffset,
        length: ByteLength,
    ) -> Result<Bytes, StoreError> {
        let file = lock(&self.files).get(digest).cloned().ok_or(StoreErrorKind::NotFound)?;
        let start = usize::try_from(offset.0).map_err(|_| StoreErrorKind::Invalid)?;
        if start > file.len() {
            return Err(StoreErrorKind::Invalid.into());
        }
        let end = start.saturating_add(usize::try_from(length.0).unwrap_or(usize::MAX)).min(file.len());
        Ok(file.slice(start..end))
    }

    async fn size(&self, digest: &Sha256Digest) -> Result<Option<ByteLength>, StoreError> {
        let files = lock(&self.files);
        Ok(files.get(digest).map(|file| ByteLength(u64::try_from(file.len()).unwrap_or(u64::MAX))))
    }

    async fn remove(&self, digest: &Sha256Digest) -> Result<(), StoreError> {
        lock(&self.files).remove(digest);
        Ok(())
    }

    async fn list(
        &self,
        after: Option<&Sha256Digest>,
        limit: usize,
    ) -> Result<Vec<Sha256Digest>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(lock(&self.files)
            .range((start, Bound::Unbounded))
            .take(limit)
            .map(|(digest, _)| *digest)
            .collect())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

struct MemoryUpload {
    files: Files,
    bytes: Vec<u8>,
}

#[async_trait]
impl BlobUpload for MemoryUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(Sha256Digest, ByteLength), StoreError> {
        let digest = Sha256Digest(Sha256::digest(&self.bytes).into());
        let length = ByteLength(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX));
        lock(&self.files).insert(digest, Bytes::from(self.bytes));
        Ok((digest, length))
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;

    use super::super::super::futures::poll_once;
    use super::*;

    #[test]
    fn the_reference_conforms_and_never_waits() {
        let suite = crate::conformance::blob_store(async || MemoryBlobStore::new());
        assert!(poll_once(pin!(suite)));
    }
}
