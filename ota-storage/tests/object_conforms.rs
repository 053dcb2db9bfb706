//! Files in a local folder, and in any object store, keep every promise of the trait.
#![cfg(feature = "object-store")]

#[cfg(feature = "s3")]
mod s3;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use ota_core::conformance::{blob_store, blob_store_reopened};
use ota_core::fleet::{BlobStore, StoreErrorKind};
use ota_core::number::{ByteLength, ByteOffset};
use ota_storage::object::ObjectBlobStore;

#[tokio::test]
async fn a_local_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let number = core::cell::Cell::new(0);
    blob_store(async || {
        number.set(number.get() + 1);
        ObjectBlobStore::local(folder.path().join(number.get().to_string())).unwrap()
    })
    .await;
}

#[tokio::test]
async fn any_object_store_conforms() {
    blob_store(async || ObjectBlobStore::new(Arc::new(InMemory::new()))).await;
}

#[tokio::test]
async fn a_local_folder_keeps_what_was_finished_and_clears_what_was_not() {
    let folder = tempfile::tempdir().unwrap();
    blob_store_reopened(async || ObjectBlobStore::local(folder.path()).unwrap()).await;
    drop(ObjectBlobStore::local(folder.path()).unwrap());
    assert_eq!(files_below(folder.path()), 3, "nothing but the three finished files is left");
}

fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, b"in the way").unwrap();
    let error = ObjectBlobStore::local(&path).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn an_upload_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectBlobStore::local(folder.path()).unwrap();
    let mut upload = store.upload().await.unwrap();
    upload.write(Bytes::from_static(b"kept back")).await.unwrap();
    // The folder where the file would go is taken by something else.
    std::fs::write(folder.path().join("blobs"), b"in the way").unwrap();
    upload.finish().await.unwrap_err();
    std::fs::remove_file(folder.path().join("blobs")).unwrap();
    assert_eq!(store.list(None, 10).await.unwrap(), vec![]);
    assert_eq!(files_below(folder.path()), 0, "what was uploaded is removed");
    let mut again = store.upload().await.unwrap();
    again.write(Bytes::from_static(b"now it works")).await.unwrap();
    let (digest, _) = again.finish().await.unwrap();
    assert_eq!(store.read(&digest, ByteOffset(0), ByteLength(100)).await.unwrap(), &b"now it works"[..]);
}
