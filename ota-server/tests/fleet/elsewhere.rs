//! Files that another host keeps: fetched once, in pieces, and nothing leaves before the whole is what was signed.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::conformance::memory::MemoryBlobStore;
use ota_core::crypto::digest;
use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::{BlobStore, BoxError};
use ota_core::number::Sha256Digest;
use ota_core::text::{FileNameBuf, UrlBuf};
use ota_server::delivery::fetch::{FetchError, Fetcher, fetch_once};
use ota_server::delivery::shelf::Elsewhere;

/// A host of one file that fails now and then.
struct Host {
    content: Vec<u8>,
    requests: Mutex<Vec<(u64, u64)>>,
    /// Every so many requests one fails; 0 for never, 1 for always.
    fails_every: u32,
    count: AtomicU32,
}

impl Host {
    fn of(content: Vec<u8>, fails_every: u32) -> Self {
        Self { content, requests: Mutex::default(), fails_every, count: AtomicU32::new(0) }
    }
}

#[async_trait]
impl Fetcher for Host {
    async fn fetch(&self, _: &UrlBuf, offset: u64, length: u64) -> Result<Bytes, BoxError> {
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if self.fails_every > 0 && count.is_multiple_of(self.fails_every) {
            return Err("connection reset".into());
        }
        self.requests.lock().unwrap().push((offset, length));
        let from = usize::try_from(offset).unwrap().min(self.content.len());
        let until = (from + usize::try_from(length).unwrap()).min(self.content.len());
        Ok(Bytes::copy_from_slice(&self.content[from..until]))
    }
}

fn file(content: &[u8]) -> Elsewhere {
    Elsewhere {
        name: FileNameBuf::new("map.bin").unwrap(),
        urls: vec![UrlBuf::new("https://a.example/f").unwrap(), UrlBuf::new("https://b.example/f").unwrap()],
        digest: Sha256Digest(digest::<SoftSha256>(content)),
        size: u64::try_from(content.len()).unwrap(),
    }
}

fn content() -> Vec<u8> {
    (0..3_000_000_u32).map(|n| u8::try_from(n % 241).unwrap()).collect()
}

#[tokio::test]
async fn a_file_is_fetched_once_in_bounded_pieces_and_resumed_where_a_piece_failed() {
    let (blobs, host) = (MemoryBlobStore::new(), Host::of(content(), 3));
    let file = file(&content());
    fetch_once(&blobs, &host, &file).await.unwrap();
    let requests = host.requests.lock().unwrap().clone();
    assert!(requests.iter().all(|(_, length)| *length <= 1 << 20), "{requests:?}");
    assert!(requests.windows(2).all(|pair| pair[0].0 < pair[1].0), "nothing is fetched twice: {requests:?}");
    assert_eq!(blobs.size(&file.digest).await.unwrap().unwrap().0, file.size);
    let before = host.count.load(Ordering::SeqCst);
    fetch_once(&blobs, &host, &file).await.unwrap();
    assert_eq!(host.count.load(Ordering::SeqCst), before, "it is here");
}

#[tokio::test]
async fn content_that_has_changed_is_refused_and_leaves_nothing() {
    let signed = content();
    let mut other = signed.clone();
    other[1_234_567] ^= 1;
    for changed in [other, signed[..signed.len() - 1].to_vec(), [signed.clone(), vec![0]].concat()] {
        let (blobs, host) = (MemoryBlobStore::new(), Host::of(changed, 0));
        let refused = fetch_once(&blobs, &host, &file(&signed)).await;
        assert!(matches!(refused, Err(FetchError::Changed(_))), "{refused:?}");
        assert!(blobs.list(None, 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_host_that_never_answers_is_given_up_after_bounded_tries() {
    let (blobs, host) = (MemoryBlobStore::new(), Host::of(content(), 1));
    let refused = fetch_once(&blobs, &host, &file(&content())).await;
    assert!(matches!(refused, Err(FetchError::Unreachable { offset: 0, .. })), "{refused:?}");
    assert_eq!(host.count.load(Ordering::SeqCst), 8);
}
