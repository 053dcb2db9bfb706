//! An upload: parts go out while the digest is computed, and the name is given last.

use core::hash::BuildHasher as _;
use core::sync::atomic::{AtomicU64, Ordering};
use std::hash::RandomState;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart};
use ota_core::fleet::{BlobUpload, StoreError, StoreErrorKind};
use ota_core::number::{ByteLength, Sha256Digest};
use sha2::{Digest, Sha256};

use super::error::store_error;
use super::{UPLOADS, blob_path};

/// So many parts are under way at once: memory for an upload is bounded by one more.
const PARTS_AT_ONCE: usize = 2;

pub(super) struct ObjectUpload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// Gone once the upload is finished or lost.
    parts: Option<WriteMultipart>,
    part_bytes: usize,
    hasher: Sha256,
    length: u64,
}

impl ObjectUpload {
    pub(super) async fn begin(store: Arc<dyn ObjectStore>, part_bytes: usize) -> Result<Self, StoreError> {
        let path = fresh_path();
        let upload = store.put_multipart(&path).await.map_err(store_error)?;
        let parts = WriteMultipart::new_with_chunk_size(upload, part_bytes);
        Ok(Self { store, path, parts: Some(parts), part_bytes, hasher: Sha256::new(), length: 0 })
    }
}

/// A name that no other upload has, in this process or another.
fn fresh_path() -> Path {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Each state is seeded with randomness of the operating system.
    let [high, low] = [RandomState::new(), RandomState::new()].map(|state| state.hash_one(number));
    Path::from_iter([UPLOADS, &format!("{high:016x}{low:016x}")])
}

#[async_trait]
impl BlobUpload for ObjectUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        // Taken out, so that an upload that failed or was left in the middle of a write cannot be finished.
        let mut parts = self.parts.take().ok_or(StoreErrorKind::Invalid)?;
        for chunk in bytes.chunks(self.part_bytes) {
            if let Err(error) = parts.wait_for_capacity(PARTS_AT_ONCE).await {
                // What was sent is of no use; whether it could be removed does not change the answer.
                let _ = parts.abort().await;
                return Err(store_error(error));
            }
            parts.write(chunk);
        }
        self.hasher.update(&bytes);
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.parts = Some(parts);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(Sha256Digest, ByteLength), StoreError> {
        let parts = self.parts.take().ok_or(StoreErrorKind::Invalid)?;
        parts.finish().await.map_err(store_error)?;
        let digest = Sha256Digest(self.hasher.finalize_reset().into());
        // Whoever uploaded the same bytes before gets them again: nothing is ever half-replaced.
        if let Err(error) = self.store.rename(&self.path, &blob_path(&digest)).await {
            let _ = self.store.delete(&self.path).await;
            return Err(store_error(error));
        }
        Ok((digest, ByteLength(self.length)))
    }
}

impl Drop for ObjectUpload {
    fn drop(&mut self) {
        // A local upload removes its file by itself; others have to be told, which needs a runtime.
        if let Some(parts) = self.parts.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn(parts.abort()));
        }
    }
}
