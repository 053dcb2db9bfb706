//! The shelf: what can be fetched of a release, and a bounded cache of the bytes.
//!
//! Once a release is on the shelf, a block costs a look into two maps. What is not in memory is read in larger
//! pieces from the store of files; no request ever reaches the database of the fleet.

use std::sync::Arc;

use bytes::Bytes;
use ota_core::fleet::records::{Hosting, ReleaseRecord, RootRecord};
use ota_core::fleet::{BlobStore, StoreError, StoreErrorKind};
use ota_core::number::{ByteLength, ByteOffset, ReleaseId, RootVersion, Sha256Digest};
use ota_core::text::{FileNameBuf, UrlBuf};
use ota_core::wire::Part;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// Files are read and kept in pieces of this length, in bytes.
pub const PIECE_BYTES: u64 = 256 * 1024;

/// Where the bytes of a part are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In memory.
    Bytes(Bytes),
    /// In the store of files.
    Blob {
        /// Under this digest.
        digest: Sha256Digest,
        /// With this length.
        size: u64,
    },
}

impl Source {
    /// Its length, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Blob { size, .. } => *size,
        }
    }
}

/// What can be fetched under a grant.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    body: Option<Source>,
    envelope: Option<Source>,
    files: Vec<Source>,
    maps: Vec<Option<Source>>,
    roots: Vec<(RootVersion, Bytes, Bytes)>,
    /// Files that other hosts keep, for the server to fetch once.
    pub elsewhere: Vec<Elsewhere>,
}

/// A file that another host keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its name, for messages.
    pub name: FileNameBuf,
    /// Where it can be fetched.
    pub urls: Vec<UrlBuf>,
    /// What its bytes must be.
    pub digest: Sha256Digest,
    /// How many they must be.
    pub size: u64,
}

impl Parts {
    /// The parts of a release, and the roots of its product.
    #[must_use]
    pub fn new(id: &ReleaseId, release: &ReleaseRecord, roots: &[(RootVersion, RootRecord)]) -> Self {
        let blob = |digest, size| Source::Blob { digest, size };
        Self {
            body: Some(blob(Sha256Digest(id.0), u64::from(release.body_size))),
            envelope: Some(Source::Bytes(Bytes::copy_from_slice(&release.envelope))),
            files: release.files.iter().map(|file| blob(file.digest, file.size.0)).collect(),
            maps: release
                .files
                .iter()
                .map(|file| file.block_map.map(|map| blob(map.digest, map.size.0)))
                .collect(),
            elsewhere: release
                .files
                .iter()
                .filter(|file| file.hosting == Hosting::Elsewhere)
                .map(|file| Elsewhere {
                    name: file.name.clone(),
                    urls: file.urls.clone(),
                    digest: file.digest,
                    size: file.size.0,
                })
                .collect(),
            ..Self::of_roots(roots)
        }
    }

    /// The roots of a product alone.
    #[must_use]
    pub fn of_roots(roots: &[(RootVersion, RootRecord)]) -> Self {
        let both =
            |root: &RootRecord| (Bytes::copy_from_slice(&root.body), Bytes::copy_from_slice(&root.envelope));
        let roots = roots
            .iter()
            .map(|(version, root)| {
                let (body, envelope) = both(root);
                (*version, body, envelope)
            })
            .collect();
        Self { roots, ..Self::default() }
    }

    /// Where a part is, or `None` if there is no such part.
    #[must_use]
    pub fn source(&self, part: Part) -> Option<Source> {
        let root = |version: RootVersion| self.roots.iter().find(|(known, ..)| *known == version);
        match part {
            Part::ReleaseBody => self.body.clone(),
            Part::ReleaseEnvelope => self.envelope.clone(),
            Part::File(index) => self.files.get(usize::from(index.0)).cloned(),
            Part::BlockMap(index) => self.maps.get(usize::from(index.0)).cloned().flatten(),
            Part::RootBody(version) => root(version).map(|(_, body, _)| Source::Bytes(body.clone())),
            Part::RootEnvelope(version) => {
                root(version).map(|(.., envelope)| Source::Bytes(envelope.clone()))
            }
        }
    }
}

#[derive(Clone)]
struct ByLength;

impl Weighter<(Sha256Digest, u64), Bytes> for ByLength {
    fn weight(&self, _: &(Sha256Digest, u64), piece: &Bytes) -> u64 {
        u64::try_from(piece.len()).unwrap_or(u64::MAX).max(1)
    }
}

/// A bounded cache of files, in pieces.
pub struct Shelf {
    blobs: Arc<dyn BlobStore>,
    pieces: Cache<(Sha256Digest, u64), Bytes, ByLength>,
}

impl Shelf {
    /// A shelf that holds at most so many bytes.
    #[must_use]
    pub fn new(blobs: Arc<dyn BlobStore>, bytes_max: u64) -> Self {
        let pieces = usize::try_from(bytes_max / PIECE_BYTES).unwrap_or(usize::MAX).max(16);
        Self { blobs, pieces: Cache::with_weighter(pieces, bytes_max, ByLength) }
    }

    /// Reads from a source; the caller has checked that the range lies inside it.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be read, or ends before its release says.
    pub async fn read(&self, source: &Source, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        match source {
            Source::Bytes(bytes) => {
                slice(bytes, offset, length).ok_or_else(|| StoreErrorKind::Corrupt.into())
            }
            Source::Blob { digest, .. } => {
                let (piece, within) = (offset / PIECE_BYTES, offset % PIECE_BYTES);
                if within + length <= PIECE_BYTES {
                    let bytes = self.piece(digest, piece).await?;
                    return slice(&bytes, within, length).ok_or_else(|| StoreErrorKind::Corrupt.into());
                }
                // A block over the edge of a piece: put together once, since blocks are rarely that large.
                let mut joined = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
                let (mut at, end) = (offset, offset + length);
                while at < end {
                    let bytes = self.piece(digest, at / PIECE_BYTES).await?;
                    let take = (PIECE_BYTES - at % PIECE_BYTES).min(end - at);
                    let part = slice(&bytes, at % PIECE_BYTES, take).ok_or(StoreErrorKind::Corrupt)?;
                    joined.extend_from_slice(&part);
                    at += take;
                }
                Ok(joined.into())
            }
        }
    }

    /// The same without waiting: nothing if it is not in memory, or lies over the edge of a piece.
    #[must_use]
    pub fn at_hand(&self, source: &Source, offset: u64, length: u64) -> Option<Bytes> {
        match source {
            Source::Bytes(bytes) => slice(bytes, offset, length),
            Source::Blob { digest, .. } => {
                let piece = self.pieces.get(&(*digest, offset / PIECE_BYTES))?;
                slice(&piece, offset % PIECE_BYTES, length)
            }
        }
    }

    async fn piece(&self, digest: &Sha256Digest, piece: u64) -> Result<Bytes, StoreError> {
        let key = (*digest, piece);
        if let Some(bytes) = self.pieces.get(&key) {
            return Ok(bytes);
        }
        let bytes = self.blobs.read(digest, ByteOffset(piece * PIECE_BYTES), ByteLength(PIECE_BYTES)).await?;
        self.pieces.insert(key, bytes.clone());
        Ok(bytes)
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces.weight()
    }
}

fn slice(bytes: &Bytes, offset: u64, length: u64) -> Option<Bytes> {
    let from = usize::try_from(offset).ok()?;
    let until = from.checked_add(usize::try_from(length).ok()?)?;
    (until <= bytes.len()).then(|| bytes.slice(from..until))
}
