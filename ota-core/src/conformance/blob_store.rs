//! The suite of [`BlobStore`]: every sentence of the trait is a case.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::futures::{join, poll_once};
use crate::fleet::{BlobStore, StoreErrorKind};
use crate::number::{ByteLength, ByteOffset, Sha256Digest};

/// Longer than any buffer that a store may keep for an upload's parts, in bytes.
const LARGE_BYTES: usize = 11 * 1024 * 1024 + 7;

/// Asks a store for everything that [`BlobStore`] promises while a process runs. `fresh` opens an empty store each
/// time; [`blob_store_reopened`] asks for what survives.
///
/// # Panics
/// At the first broken promise.
pub async fn blob_store<S: BlobStore>(fresh: impl AsyncFn() -> S) {
    macro_rules! ask {
        ($($case:ident)+) => { $($case(&fresh().await).await;)+ };
    }
    ask! {
        a_fresh_store_is_empty
        a_file_is_read_under_the_digest_of_its_bytes
        an_empty_file_is_a_file
        how_the_bytes_were_cut_does_not_matter
        a_large_file_is_read_in_ranges
        an_upload_shows_nothing_before_it_is_finished
        a_dropped_upload_leaves_nothing
        a_file_can_be_uploaded_twice
        uploads_at_the_same_time_do_not_meet
        what_is_not_there_cannot_be_read
        ranges_end_with_the_file
        removing_is_final_and_can_be_repeated
        files_are_listed_in_the_order_of_their_digests
    }
}

/// Asks a durable store for what has to survive. `open` opens the same place each time, empty at first; the store
/// before it has been dropped by then.
///
/// # Panics
/// At the first broken promise.
pub async fn blob_store_reopened<S: BlobStore>(open: impl AsyncFn() -> S) {
    let mut expected = Vec::new();
    for round in 0..3_usize {
        let store = open().await;
        assert_eq!(
            list(&store).await,
            sorted(&expected),
            "finished files are there after opening, and nothing else"
        );
        expected.push(put(&store, &sample(round * 100_000)).await);
        // Left behind by a process that ends in the middle of an upload.
        let mut upload = store.upload().await.unwrap();
        upload.write(Bytes::from(sample(70_000 + round))).await.unwrap();
        core::mem::forget(upload);
    }
    let store = open().await;
    for (round, digest) in expected.iter().enumerate() {
        assert_eq!(read(&store, digest, 0, u64::MAX).await, sample(round * 100_000), "files are there whole");
    }
}

/// Bytes that repeat nowhere soon, different for each length.
fn sample(length: usize) -> Vec<u8> {
    let mut state = u32::try_from(length).unwrap() | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    core::iter::repeat_with(next).take(length).collect()
}

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest(Sha256::digest(bytes).into())
}

fn sorted(digests: &[Sha256Digest]) -> Vec<Sha256Digest> {
    let mut sorted = digests.to_vec();
    sorted.sort();
    sorted
}

async fn put_in(store: &dyn BlobStore, bytes: &[u8], part: usize) -> Sha256Digest {
    let mut upload = store.upload().await.unwrap();
    for part in bytes.chunks(part.max(1)) {
        upload.write(Bytes::copy_from_slice(part)).await.unwrap();
    }
    let (found, length) = upload.finish().await.unwrap();
    assert_eq!(found, digest(bytes), "a store computes the digest of the bytes itself");
    assert_eq!(length, ByteLength(u64::try_from(bytes.len()).unwrap()));
    found
}

async fn put(store: &dyn BlobStore, bytes: &[u8]) -> Sha256Digest {
    put_in(store, bytes, usize::MAX).await
}

async fn read(store: &dyn BlobStore, digest: &Sha256Digest, offset: u64, length: u64) -> Bytes {
    store.read(digest, ByteOffset(offset), ByteLength(length)).await.unwrap()
}

async fn list(store: &dyn BlobStore) -> Vec<Sha256Digest> {
    store.list(None, 1000).await.unwrap()
}

async fn a_fresh_store_is_empty(store: &dyn BlobStore) {
    store.probe().await.unwrap();
    assert_eq!(list(store).await, vec![]);
    assert_eq!(store.size(&digest(b"")).await.unwrap(), None);
}

async fn a_file_is_read_under_the_digest_of_its_bytes(store: &dyn BlobStore) {
    // The example of FIPS 180-4.
    let abc =
        Sha256Digest::from_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
    assert_eq!(put(store, b"abc").await, abc);
    assert_eq!(read(store, &abc, 0, 3).await, &b"abc"[..]);
    assert_eq!(store.size(&abc).await.unwrap(), Some(ByteLength(3)));
    assert_eq!(list(store).await, vec![abc]);
}

async fn an_empty_file_is_a_file(store: &dyn BlobStore) {
    let empty = put(store, b"").await;
    assert_eq!(store.size(&empty).await.unwrap(), Some(ByteLength(0)));
    assert_eq!(read(store, &empty, 0, 10).await, Bytes::new());
    assert_eq!(list(store).await, vec![empty]);
}

async fn how_the_bytes_were_cut_does_not_matter(store: &dyn BlobStore) {
    let bytes = sample(10_000);
    for part in [1, 7, 4096, 10_000] {
        let digest = put_in(store, &bytes, part).await;
        assert_eq!(read(store, &digest, 0, u64::MAX).await, bytes);
    }
    let mut upload = store.upload().await.unwrap();
    for part in [&b""[..], b"ab", b"", b"c", b""] {
        upload.write(Bytes::from_static(part)).await.unwrap();
    }
    assert_eq!(upload.finish().await.unwrap().0, digest(b"abc"), "empty parts add nothing");
}

async fn a_large_file_is_read_in_ranges(store: &dyn BlobStore) {
    let bytes = sample(LARGE_BYTES);
    let digest = put_in(store, &bytes, 1_000_003).await;
    assert_eq!(store.size(&digest).await.unwrap(), Some(ByteLength(u64::try_from(LARGE_BYTES).unwrap())));
    let ranges = [(0, 1), (4096, 4096), (5 * 1024 * 1024 - 1, 2), (LARGE_BYTES - 7, 7), (1, LARGE_BYTES - 1)];
    for (offset, length) in ranges {
        let found =
            read(store, &digest, u64::try_from(offset).unwrap(), u64::try_from(length).unwrap()).await;
        assert_eq!(found, bytes[offset..offset + length], "{length} bytes from {offset} on");
    }
}

async fn an_upload_shows_nothing_before_it_is_finished(store: &dyn BlobStore) {
    let bytes = sample(50_000);
    let mut upload = store.upload().await.unwrap();
    upload.write(Bytes::from(bytes.clone())).await.unwrap();
    let wanted = digest(&bytes);
    assert_eq!(
        store.size(&wanted).await.unwrap(),
        None,
        "nothing can be read of an upload before it is finished"
    );
    let error = store.read(&wanted, ByteOffset(0), ByteLength(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotFound);
    assert_eq!(list(store).await, vec![]);
    upload.finish().await.unwrap();
    assert_eq!(list(store).await, vec![wanted]);
}

async fn a_dropped_upload_leaves_nothing(store: &dyn BlobStore) {
    let bytes = sample(LARGE_BYTES);
    drop(store.upload().await.unwrap());
    let mut upload = store.upload().await.unwrap();
    upload.write(Bytes::from(bytes.clone())).await.unwrap();
    drop(upload);
    // Dropped in the middle of a write.
    let mut upload = store.upload().await.unwrap();
    {
        let mut write = upload.write(Bytes::from(bytes.clone()));
        poll_once(write.as_mut());
    }
    drop(upload);
    assert_eq!(list(store).await, vec![], "a dropped upload leaves nothing");
    assert_eq!(store.size(&digest(&bytes)).await.unwrap(), None);
}

async fn a_file_can_be_uploaded_twice(store: &dyn BlobStore) {
    let bytes = sample(9000);
    let digest = put(store, &bytes).await;
    assert_eq!(put(store, &bytes).await, digest, "finishing what is there already is no error");
    assert_eq!(read(store, &digest, 0, u64::MAX).await, bytes);
    assert_eq!(list(store).await, vec![digest]);
}

async fn uploads_at_the_same_time_do_not_meet(store: &dyn BlobStore) {
    let samples: Vec<Vec<u8>> = [1000, 2000, 1000, 3000].map(sample).into();
    let digests = join(samples.iter().map(|bytes| put_in(store, bytes, 64))).await;
    for (digest, bytes) in digests.iter().zip(&samples) {
        assert_eq!(read(store, digest, 0, u64::MAX).await, *bytes);
    }
    assert_eq!(list(store).await.len(), 3, "the same bytes are one file");
}

async fn what_is_not_there_cannot_be_read(store: &dyn BlobStore) {
    for length in [0, 1, u64::MAX] {
        let read = store.read(&digest(b"nowhere"), ByteOffset(0), ByteLength(length)).await;
        assert_eq!(read.unwrap_err().kind(), StoreErrorKind::NotFound);
    }
    assert_eq!(store.size(&digest(b"nowhere")).await.unwrap(), None);
}

async fn ranges_end_with_the_file(store: &dyn BlobStore) {
    let bytes = sample(100);
    let digest = put(store, &bytes).await;
    assert_eq!(read(store, &digest, 90, 20).await, bytes[90..], "fewer bytes only at the end of the file");
    assert_eq!(read(store, &digest, 0, u64::MAX).await, bytes);
    assert_eq!(read(store, &digest, 50, 0).await, Bytes::new());
    assert_eq!(read(store, &digest, 100, 10).await, Bytes::new(), "the end of the file is a place in it");
    for (offset, length) in [(101, 1), (101, 0), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
        let read = store.read(&digest, ByteOffset(offset), ByteLength(length)).await;
        assert_eq!(read.unwrap_err().kind(), StoreErrorKind::Invalid, "{length} bytes from {offset} on");
    }
}

async fn removing_is_final_and_can_be_repeated(store: &dyn BlobStore) {
    let (gone, kept) = (put(store, b"gone").await, put(store, b"kept").await);
    for _ in 0..2 {
        store.remove(&gone).await.unwrap();
        assert_eq!(store.size(&gone).await.unwrap(), None);
        let error = store.read(&gone, ByteOffset(0), ByteLength(1)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::NotFound);
    }
    assert_eq!(list(store).await, vec![kept]);
    assert_eq!(put(store, b"gone").await, gone, "a removed file can come back");
    assert_eq!(read(store, &gone, 0, 4).await, &b"gone"[..]);
}

async fn files_are_listed_in_the_order_of_their_digests(store: &dyn BlobStore) {
    let mut expected = Vec::new();
    for number in 0..40_u8 {
        expected.push(put(store, &[number]).await);
    }
    let expected = sorted(&expected);
    assert_eq!(store.list(None, 0).await.unwrap(), vec![]);
    for limit in [1, 7, 40, 41] {
        let mut found: Vec<Sha256Digest> = Vec::new();
        loop {
            let page = store.list(found.last(), limit).await.unwrap();
            assert!(page.len() <= limit, "at most as many as were asked for");
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected);
    }
    let after_none = store.list(Some(&Sha256Digest([0xff; 32])), 10).await.unwrap();
    assert_eq!(after_none, vec![]);
    let boxed: Box<[Sha256Digest]> = store.list(Some(&Sha256Digest([0; 32])), 100).await.unwrap().into();
    assert_eq!(*boxed, *expected, "`after` need not be there");
}
