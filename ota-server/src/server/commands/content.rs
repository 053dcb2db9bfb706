//! The content of files: uploads, and what is known about stored bytes because the server computed it itself.
//!
//! Whatever a draft says about content that lies here is compared with that: integrity strings and block maps end up
//! under signatures, and a wrong one would make every device refuse the release.
//!
//! Neither a file nor its block map is ever whole in memory: both go to the store of files piece by piece.

use bytes::Bytes;
use ota_core::block_map::UnitDigests;
use ota_core::crypto::Hasher;
use ota_core::crypto::soft::{SoftCrc32Fast, SoftSha3_256, SoftSha3_512, SoftSha256, SoftSha512};
use ota_core::fleet::records::{BlobRecord, BlockMapRecord, FileRecord, Hosting, ReleaseRecord};
use ota_core::fleet::{BlobStore, BlobUpload, Key, Record, StoreError, StoreErrorKind, Stored, Version};
use ota_core::integrity::IntegrityString;
use ota_core::number::{ByteLength, ByteOffset, Sha256Digest};
use ota_core::text::ProductIdBuf;

use super::CommandError;
use crate::engine::Changes;
use crate::rules::permission::{Action, Principal};
use crate::rules::release::{ReleaseError, Uploaded, check_strings};
use crate::server::Server;

/// Most block maps that are known of one content: each unit length has its own.
const MAPS_MAX: usize = 8;
/// How much of a stored file is read at once when it is looked at again.
const PIECE_BYTES: u64 = 1 << 20;
/// How much of a block map is gathered before it goes to the store of files.
const MAP_PIECE_BYTES: usize = 64 << 10;

/// Everything that is computed about content while it passes.
struct Looked {
    crc32: SoftCrc32Fast,
    sha256: SoftSha256,
    sha3_256: SoftSha3_256,
    sha512: SoftSha512,
    sha3_512: SoftSha3_512,
    map: Option<MapUnderWay>,
    size: u64,
}

impl Looked {
    fn new(unit: u32) -> Result<Self, CommandError> {
        let map = if unit == 0 { None } else { Some(MapUnderWay::new(unit)?) };
        Ok(Self {
            crc32: SoftCrc32Fast::new(),
            sha256: SoftSha256::new(),
            sha3_256: SoftSha3_256::new(),
            sha512: SoftSha512::new(),
            sha3_512: SoftSha3_512::new(),
            map,
            size: 0,
        })
    }

    async fn update(&mut self, blobs: &dyn BlobStore, bytes: &[u8]) -> Result<(), CommandError> {
        self.crc32.update(bytes);
        self.sha256.update(bytes);
        self.sha3_256.update(bytes);
        self.sha512.update(bytes);
        self.sha3_512.update(bytes);
        if let Some(map) = &mut self.map {
            map.update(blobs, bytes).await?;
        }
        self.size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// What was found, and the block map that is still to be finished.
    fn finish(self) -> (Found, Option<MapUnderWay>) {
        let digest = Sha256Digest(self.sha256.finish());
        let integrity = vec![
            IntegrityString::Crc32(self.crc32.finish()),
            IntegrityString::Sha256(digest.0),
            IntegrityString::Sha3_256(self.sha3_256.finish()),
            IntegrityString::Sha512(self.sha512.finish()),
            IntegrityString::Sha3_512(self.sha3_512.finish()),
        ];
        // An empty file has no units.
        let map = self.map.filter(|_| self.size > 0);
        (Found { digest, size: self.size, integrity }, map)
    }
}

/// The digest and every hash of content.
struct Found {
    digest: Sha256Digest,
    size: u64,
    integrity: Vec<IntegrityString>,
}

/// A block map in the making. Dropping it leaves nothing behind.
struct MapUnderWay {
    unit: u32,
    digests: UnitDigests<SoftSha256>,
    /// What has not gone to the store of files yet.
    pending: Vec<u8>,
    upload: Option<Box<dyn BlobUpload>>,
}

impl MapUnderWay {
    fn new(unit: u32) -> Result<Self, CommandError> {
        let digests = UnitDigests::new(unit).map_err(ReleaseError::Unit)?;
        Ok(Self { unit, digests, pending: Vec::new(), upload: None })
    }

    async fn update(&mut self, blobs: &dyn BlobStore, bytes: &[u8]) -> Result<(), CommandError> {
        let pending = &mut self.pending;
        let taken = self.digests.update(bytes, |_, digest| pending.extend_from_slice(digest));
        taken.map_err(ReleaseError::Unit)?;
        if self.pending.len() >= MAP_PIECE_BYTES {
            let upload = match self.upload.take() {
                Some(upload) => upload,
                None => blobs.upload().await?,
            };
            self.upload.insert(upload).write(core::mem::take(&mut self.pending).into()).await?;
        }
        Ok(())
    }

    /// Makes the map durable.
    async fn finish(self, blobs: &dyn BlobStore) -> Result<BlockMapRecord, CommandError> {
        let Self { unit, digests, mut pending, upload } = self;
        digests.finish(|_, digest| pending.extend_from_slice(digest)).map_err(ReleaseError::Unit)?;
        let mut upload = match upload {
            Some(upload) => upload,
            None => blobs.upload().await?,
        };
        upload.write(pending.into()).await?;
        let (digest, size) = upload.finish().await?;
        Ok(BlockMapRecord { unit, size, digest })
    }
}

/// An upload under way: bytes go to the store of files, and every hash is computed while they pass.
pub struct Upload {
    server: Server,
    blob: Box<dyn BlobUpload>,
    looked: Looked,
}

impl Upload {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`CommandError::Store`]; the upload is lost and nothing of it remains.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), CommandError> {
        self.looked.update(&*self.server.inner.blobs, &bytes).await?;
        Ok(self.blob.write(bytes).await?)
    }

    /// Makes the content durable, with its block map.
    ///
    /// # Errors
    /// [`CommandError::Store`]; nothing of it can be read.
    pub async fn finish(self) -> Result<Uploaded, CommandError> {
        let (digest, size) = self.blob.finish().await?;
        let (mut found, map) = self.looked.finish();
        if digest != found.digest || size.0 != found.size {
            // The store of files computes the digest itself: if it found another, what it has is not what was sent.
            return Err(StoreError::from(StoreErrorKind::Corrupt).into());
        }
        let block_map = self.server.keep(&found, map).await?;
        // The longest hash is known for whoever brings one along; releases carry it only if somebody does.
        found.integrity.retain(|string| !matches!(string, IntegrityString::Sha3_512(_)));
        Ok(Uploaded { digest, size: size.0, integrity: found.integrity, block_map })
    }
}

impl Server {
    /// Begins an upload of a file's content. `unit` is the length of the units of its block map, in bytes; 0 for none.
    ///
    /// # Errors
    /// [`CommandError`]; [`ReleaseError::Unit`] for a unit that no block map can have.
    pub async fn upload(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        unit: u32,
    ) -> Result<Upload, CommandError> {
        self.permit(principal, Action::DraftRelease, product)?;
        let looked = Looked::new(unit)?;
        Ok(Upload { server: self.clone(), blob: self.inner.blobs.upload().await?, looked })
    }

    /// Whether somebody may upload files of a product: for uploads that go on over several requests.
    ///
    /// # Errors
    /// [`CommandError::Denied`].
    pub fn may_upload(&self, principal: &Principal, product: &ProductIdBuf) -> Result<(), CommandError> {
        self.permit(principal, Action::DraftRelease, product).map(drop)
    }

    /// Whether these bytes lie in the store of files.
    ///
    /// # Errors
    /// [`CommandError::Store`].
    #[cfg(feature = "http")]
    pub(crate) async fn has_content(&self, digest: &Sha256Digest) -> Result<bool, CommandError> {
        Ok(self.inner.blobs.size(digest).await?.is_some())
    }

    pub(in crate::server) async fn put_blob(&self, bytes: Vec<u8>) -> Result<Sha256Digest, CommandError> {
        let mut upload = self.inner.blobs.upload().await?;
        upload.write(bytes.into()).await?;
        Ok(upload.finish().await?.0)
    }

    /// Stores the block map of content, and notes what was found about both: when, so that a later sweep leaves young
    /// files alone, and what, so that drafts can be held to it.
    async fn keep(
        &self,
        found: &Found,
        map: Option<MapUnderWay>,
    ) -> Result<Option<BlockMapRecord>, CommandError> {
        let mut blobs = vec![(found.digest, found.size)];
        let block_map = match map {
            Some(map) => Some(map.finish(&*self.inner.blobs).await?),
            None => None,
        };
        blobs.extend(block_map.map(|map| (map.digest, map.size.0)));
        let (now, content) = (self.now(), found.digest);
        let integrity: Vec<Box<str>> =
            found.integrity.iter().map(|string| string.to_string().into()).collect();
        self.command(|| async {
            let keys: Vec<Key> = blobs.iter().map(|(digest, _)| Key::Blob(*digest)).collect();
            let stored = self.inner.store.load(&keys).await?;
            let mut changes = Changes::default();
            for ((key, stored), (digest, size)) in keys.into_iter().zip(stored).zip(&blobs) {
                let (version, before) = match stored {
                    Some(Stored { version, record: Record::Blob(blob) }) => (version, Some(blob)),
                    _ => (Version(0), None),
                };
                let mut after = before.clone().unwrap_or(BlobRecord {
                    size: ByteLength(*size),
                    stored: now,
                    integrity: None,
                    maps: None,
                });
                after.stored = now;
                if *digest == content {
                    after.integrity = Some(integrity.clone());
                    let maps = after.maps.get_or_insert_default();
                    if let Some(map) = block_map.filter(|map| !maps.contains(map)) {
                        maps.push(map);
                        let too_many = maps.len().saturating_sub(MAPS_MAX);
                        maps.drain(..too_many);
                    }
                }
                changes.write(key, version, before.map(Record::Blob), Some(Record::Blob(after)));
            }
            Ok((changes, ()))
        })
        .await?;
        Ok(block_map)
    }

    /// What a draft says about its files is true of the bytes that lie here.
    pub(super) async fn demand_content(&self, record: &ReleaseRecord) -> Result<(), CommandError> {
        for file in &record.files {
            match file.hosting {
                Hosting::Here => self.demand_true(file).await?,
                // Its bytes may not be here yet, so nobody could say that the map is theirs.
                Hosting::Elsewhere if file.block_map.is_some() => {
                    return Err(ReleaseError::BlockMap(file.name.clone()).into());
                }
                Hosting::Elsewhere => {}
            }
        }
        Ok(())
    }

    async fn demand_true(&self, file: &FileRecord) -> Result<(), CommandError> {
        if self.inner.blobs.size(&file.digest).await? != Some(file.size) {
            return Err(ReleaseError::NotUploaded(file.name.clone()).into());
        }
        let known = match self.load_one(&Key::Blob(file.digest)).await? {
            Some(Stored { record: Record::Blob(blob), .. }) => Some(blob),
            _ => None,
        };
        let strings = known.as_ref().and_then(|blob| blob.integrity.clone());
        let maps = known.and_then(|blob| blob.maps).unwrap_or_default();
        let is_map_known = file.block_map.is_none_or(|map| maps.contains(&map));
        let (strings, maps) = match strings {
            Some(strings) if is_map_known => (strings, maps),
            // Stored in another way, or with units of another length: the bytes themselves are asked.
            _ => self.look_again(file).await?,
        };
        check_strings(file, &strings)?;
        if file.block_map.is_some_and(|map| !maps.contains(&map)) {
            return Err(ReleaseError::BlockMap(file.name.clone()).into());
        }
        Ok(())
    }

    /// Reads a stored file and computes everything about it.
    async fn look_again(
        &self,
        file: &FileRecord,
    ) -> Result<(Vec<Box<str>>, Vec<BlockMapRecord>), CommandError> {
        let mut looked = Looked::new(file.block_map.map_or(0, |map| map.unit))?;
        let mut offset = 0;
        while offset < file.size.0 {
            let length = ByteLength(PIECE_BYTES.min(file.size.0 - offset));
            let piece = self.inner.blobs.read(&file.digest, ByteOffset(offset), length).await?;
            if piece.is_empty() {
                return Err(StoreError::from(StoreErrorKind::Corrupt).into());
            }
            looked.update(&*self.inner.blobs, &piece).await?;
            offset += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        }
        let (found, map) = looked.finish();
        if found.digest != file.digest {
            return Err(StoreError::from(StoreErrorKind::Corrupt).into());
        }
        let map = self.keep(&found, map).await?;
        let strings = found.integrity.iter().map(|string| string.to_string().into()).collect();
        Ok((strings, map.into_iter().collect()))
    }
}
