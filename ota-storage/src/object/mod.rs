//! Files by the SHA-256 of their bytes, in a local folder or any store that the `object_store` crate can reach.
//!
//! An upload is written under a name of its own in `uploads/` and moved to `blobs/xx/<digest>` when its digest is
//! known, so that nobody ever reads a part of a file under a digest. Locally each step is synced: file, new name,
//! folders.

mod error;
#[cfg(feature = "s3")]
mod s3;
mod upload;

use std::path::Path as FilePath;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use ota_core::fleet::{BlobStore, BlobUpload, StoreError, StoreErrorKind};
use ota_core::number::{ByteLength, ByteOffset, Sha256Digest};

use self::error::store_error;
#[cfg(feature = "s3")]
pub use self::s3::{S3Credentials, S3Options};
use self::upload::ObjectUpload;

/// Where finished files are.
const BLOBS: &str = "blobs";
/// Where files are that are being uploaded.
const UPLOADS: &str = "uploads";
/// An upload is sent in parts of this length, the last one apart: the least that S3 takes.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// A folder takes parts of any length, and short ones cost less memory.
const LOCAL_PART_BYTES: usize = 256 * 1024;

/// A [`BlobStore`] on an object store.
#[derive(Debug, Clone)]
pub struct ObjectBlobStore {
    store: Arc<dyn ObjectStore>,
    /// How long the parts of an upload are: three of them lie in memory at most.
    part_bytes: usize,
}

impl ObjectBlobStore {
    /// The store in this local folder, which is made if it is not there. Uploads that an earlier process left
    /// unfinished are removed, so only one process may use the folder. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be made or written.
    pub fn local(folder: impl AsRef<FilePath>) -> Result<Self, StoreError> {
        match std::fs::remove_dir_all(folder.as_ref().join(UPLOADS)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error::io_error(error)),
            _ => Self::shared(folder),
        }
    }

    /// The store in this folder, which is made if it is not there and which other processes may use, too: what uploads
    /// have left stays. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be made or written.
    pub fn shared(folder: impl AsRef<FilePath>) -> Result<Self, StoreError> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(error::io_error)?;
        let local = LocalFileSystem::new_with_prefix(folder).map_err(store_error)?;
        Ok(Self { store: Arc::new(local.with_fsync(true)), part_bytes: LOCAL_PART_BYTES })
    }

    /// The store in an object store that is set up already. What it acknowledges has to be durable.
    ///
    /// Uploads that a crash left in `uploads/` are for a rule of the object store to expire.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, part_bytes: PART_BYTES }
    }
}

/// Where the file with this digest is. The first byte spreads files over folders.
fn blob_path(digest: &Sha256Digest) -> Path {
    let name = digest.to_string();
    let (folder, _) = name.split_at(2);
    Path::from_iter([BLOBS, folder, &name])
}

#[async_trait]
impl BlobStore for ObjectBlobStore {
    async fn upload(&self) -> Result<Box<dyn BlobUpload>, StoreError> {
        Ok(Box::new(ObjectUpload::begin(Arc::clone(&self.store), self.part_bytes).await?))
    }

    async fn read(
        &self,
        digest: &Sha256Digest,
        offset: ByteOffset,
        length: ByteLength,
    ) -> Result<Bytes, StoreError> {
        let path = blob_path(digest);
        let range = offset.0..offset.0.saturating_add(length.0);
        if !range.is_empty() {
            match self.store.get_range(&path, range).await {
                Ok(bytes) => return Ok(bytes),
                Err(error @ object_store::Error::NotFound { .. }) => return Err(store_error(error)),
                // Perhaps the range lies behind the end: the size tells.
                Err(error) => match self.size(digest).await? {
                    Some(size) if offset.0 >= size.0 => {}
                    _ => return Err(store_error(error)),
                },
            }
        }
        match self.size(digest).await? {
            None => Err(StoreErrorKind::NotFound.into()),
            Some(size) if offset.0 > size.0 => Err(StoreErrorKind::Invalid.into()),
            Some(_) => Ok(Bytes::new()),
        }
    }

    async fn size(&self, digest: &Sha256Digest) -> Result<Option<ByteLength>, StoreError> {
        match self.store.head(&blob_path(digest)).await {
            Ok(meta) => Ok(Some(ByteLength(meta.size))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(store_error(error)),
        }
    }

    async fn remove(&self, digest: &Sha256Digest) -> Result<(), StoreError> {
        match self.store.delete(&blob_path(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(store_error(error)),
        }
    }

    async fn list(
        &self,
        after: Option<&Sha256Digest>,
        limit: usize,
    ) -> Result<Vec<Sha256Digest>, StoreError> {
        let found = self.store.list_with_delimiter(Some(&Path::from(BLOBS))).await.map_err(store_error)?;
        let mut folders = found.common_prefixes;
        folders.sort();
        let first = after.map(|after| blob_path(after).parts().nth(1).map(|part| part.as_ref().to_owned()));
        let mut digests = Vec::new();
        for folder in folders {
            if digests.len() >= limit {
                break;
            }
            let name = folder.filename();
            if first.as_ref().is_some_and(|first| name < first.as_deref()) {
                continue;
            }
            // An object store lists in any order it likes; one folder is a 256th of all.
            let files: Vec<_> = self.store.list(Some(&folder)).try_collect().await.map_err(store_error)?;
            let names = files.iter().filter_map(|file| file.location.filename());
            let mut here: Vec<Sha256Digest> = names.filter_map(Sha256Digest::from_hex).collect();
            here.retain(|digest| after.is_none_or(|after| digest > after));
            here.sort_unstable();
            digests.extend(here);
        }
        digests.truncate(limit);
        Ok(digests)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        // A file that is not there cannot be told from a bucket that is not there; a list can.
        match self.store.list_with_delimiter(None).await {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::new(StoreErrorKind::Unavailable, error)),
        }
    }
}
