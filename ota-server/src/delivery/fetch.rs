//! Files that another host keeps: the server fetches each once, in bounded pieces, and believes nothing before the
//! fingerprint of the whole.
//!
//! Nothing can be read of a file before its last byte has been hashed: the store of files shows an upload only when it
//! is finished, and finishes it under the digest that it computed itself. So no block of a foreign file ever leaves.

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::fleet::{BlobStore, BoxError, StoreError};
use ota_core::text::UrlBuf;

use super::shelf::Elsewhere;

/// How many bytes are asked for at once.
const PIECE_BYTES: u64 = 1 << 20;
/// How often a piece is asked for, all URLs together, before the fetch is given up for now.
const TRIES_MAX: u32 = 8;

/// Fetches a part of what a URL names, such as HTTP does with a range.
#[async_trait]
pub trait Fetcher: Send + Sync + 'static {
    /// At most `length` bytes from `offset` on; fewer only at the end.
    ///
    /// # Errors
    /// Whatever hindered it; the piece is asked for again, from the next URL.
    async fn fetch(&self, url: &UrlBuf, offset: u64, length: u64) -> Result<Bytes, BoxError>;
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No host answered often enough; the next try begins anew.
    #[error("no host gave the bytes from {offset} on")]
    Unreachable {
        /// How far it had come.
        offset: u64,
        /// What the last host said.
        source: BoxError,
    },
    /// What the hosts have is not what was signed. It is refused for good.
    #[error("the content behind the URLs is not what the release says: {0}")]
    Changed(&'static str),
    /// The store of files failed.
    #[error("the store of files failed")]
    Store(#[from] StoreError),
}

/// Fetches a file into the store of files, going on where a piece failed with the next of its URLs.
///
/// # Errors
/// [`FetchError`]; nothing of the file can be read then.
pub async fn fetch_once(
    blobs: &dyn BlobStore,
    fetcher: &dyn Fetcher,
    file: &Elsewhere,
) -> Result<(), FetchError> {
    if blobs.size(&file.digest).await?.is_some() {
        return Ok(());
    }
    let mut upload = blobs.upload().await?;
    let mut offset = 0;
    while offset < file.size {
        let piece = fetch_piece(fetcher, file, offset).await?;
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        offset = offset.saturating_add(length);
        if offset > file.size {
            return Err(FetchError::Changed("it is longer"));
        }
        upload.write(piece).await?;
    }
    // One byte more than there should be is asked for: a file that goes on is another file.
    if !fetch_at_end(fetcher, file).await {
        return Err(FetchError::Changed("it is longer"));
    }
    let (digest, _) = upload.finish().await?;
    if digest == file.digest {
        return Ok(());
    }
    // It is stored under the digest that it has; nobody refers to that.
    blobs.remove(&digest).await?;
    Err(FetchError::Changed("its SHA-256 is another"))
}

async fn fetch_piece(fetcher: &dyn Fetcher, file: &Elsewhere, offset: u64) -> Result<Bytes, FetchError> {
    let length = PIECE_BYTES.min(file.size - offset);
    let mut last: BoxError = "the file has no URL".into();
    let mut ends_early = false;
    for url in file.urls.iter().cycle().take(usize::try_from(TRIES_MAX).unwrap_or(1)) {
        match fetcher.fetch(url, offset, length).await {
            Ok(piece) if piece.is_empty() => ends_early = true,
            Ok(piece) if u64::try_from(piece.len()).is_ok_and(|found| found <= length) => return Ok(piece),
            Ok(_) => last = "it gave more than was asked for".into(),
            Err(error) => last = error,
        }
    }
    if ends_early {
        return Err(FetchError::Changed("it is shorter"));
    }
    Err(FetchError::Unreachable { offset, source: last })
}

/// Whether the file ends where it should. Many hosts answer a range behind the end with an error: that is an end too.
async fn fetch_at_end(fetcher: &dyn Fetcher, file: &Elsewhere) -> bool {
    match file.urls.first() {
        Some(url) => fetcher.fetch(url, file.size, 1).await.map_or(true, |more| more.is_empty()),
        None => true,
    }
}
