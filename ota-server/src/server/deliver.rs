//! Serving blocks: a good grant, a place on the shelf, the bytes. No database.
//!
//! What is in memory needs nobody to be woken either: a link that can asks for it where the request arrives.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use ota_core::fleet::{AnswerAtOnce, Dialect, Outbound, StoreError, StoreErrorKind};
use ota_core::limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, REQUEST_BYTES_MAX};
use ota_core::number::ReleaseId;
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;
use ota_core::wire::RefuseCode;

use super::elsewhere::Elsewhen;
use super::{Inner, Server};
use crate::conversation::{Block, Heard, Said, WantBlocks, native};
use crate::delivery::grant::Granted;
use crate::delivery::shelf::{Parts, Source};

/// How long a device waits for a file that is being fetched from its host.
const FETCH_RETRY: Millis = Millis(5_000);

/// A server, as a link sees it that asks at once. It does not keep the server alive.
pub(super) struct AtOnce(pub(super) Weak<Inner>);

impl AnswerAtOnce for AtOnce {
    fn answer(&self, dialect: Dialect, device: &DeviceIdBuf, payload: &Bytes) -> Option<Vec<Bytes>> {
        let server = Server { inner: self.0.upgrade()? };
        match dialect {
            Dialect::Native => server.blocks_at_once(device, payload),
            _ => None,
        }
    }
}

impl Server {
    /// The blocks that a message asks for in the middle of a download, if all is well and all is in memory.
    fn blocks_at_once(&self, device: &DeviceIdBuf, payload: &Bytes) -> Option<Vec<Bytes>> {
        // Where other servers hear the device, too, bandwidth is a matter of the store, and stalls have to be noticed.
        if self.has_neighbours() {
            return None;
        }
        let Ok(Heard::WantBlocks(said)) = native::hear(device, payload) else { return None };
        let granted = self.granted(device, &said).ok()?;
        self.inner.begun.get(&(device.clone(), said.offer))?;
        let parts = self.inner.parts.get(&granted.what)?;
        let source = parts.source(said.part)?;
        let found = ranges(&said, &source).ok()?.into_iter().map(|(offset, length)| {
            let bytes = self.inner.shelf.at_hand(&source, offset, length)?;
            Some(Block { offer: said.offer, part: said.part, offset, bytes })
        });
        let blocks: Vec<Block> = found.collect::<Option<_>>()?;
        let bytes = blocks.iter().map(|block| u64::try_from(block.bytes.len()).unwrap_or(u64::MAX)).sum();
        let taken = self.budgets().take_bytes(granted.campaign, bytes, self.now());
        let said = match taken {
            Ok(()) => blocks.into_iter().map(Said::Block).collect(),
            Err(retry_after) => vec![Said::Busy { retry_after }],
        };
        said.iter().map(|said| native::say(said).ok()).collect()
    }

    /// What a request's grant permits, and whether the request is within the limits of the protocol.
    pub(super) fn granted(&self, device: &DeviceIdBuf, said: &WantBlocks) -> Result<Granted, RefuseCode> {
        let granted = self.keyring().check(device, said.offer, &said.grant, self.now())?;
        if !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&said.block_bytes) {
            return Err(RefuseCode::TooLarge);
        }
        let blocks = said.want.indexes().count();
        let bytes = u64::try_from(blocks).unwrap_or(u64::MAX).saturating_mul(u64::from(said.block_bytes));
        if bytes > u64::from(REQUEST_BYTES_MAX) { Err(RefuseCode::TooLarge) } else { Ok(granted) }
    }

    /// Answers a request whose grant is good.
    pub(super) async fn serve(
        &self,
        out: &mut Vec<Outbound>,
        dialect: Dialect,
        device: &DeviceIdBuf,
        said: &WantBlocks,
        granted: &Granted,
    ) {
        match self.blocks(said, granted).await {
            Ok(blocks) => {
                for block in blocks {
                    self.say(out, dialect, device, &block);
                }
            }
            Err(code) => self.refuse(out, dialect, device.clone(), code, Some(said.offer)),
        }
    }

    async fn blocks(&self, said: &WantBlocks, granted: &Granted) -> Result<Vec<Said>, RefuseCode> {
        let parts =
            self.parts(granted).await.map_err(|_| RefuseCode::Internal)?.ok_or(RefuseCode::StaleOffer)?;
        let source = parts.source(said.part).ok_or(RefuseCode::NoSuchPart)?;
        let ranges = ranges(said, &source)?;
        let bytes: u64 = ranges.iter().map(|(_, length)| length).sum();
        if let Err(retry_after) = self.take_bytes(granted.campaign, bytes).await {
            return Ok(vec![Said::Busy { retry_after }]);
        }
        let mut blocks = Vec::with_capacity(ranges.len());
        for (offset, length) in ranges {
            let bytes = match self.inner.shelf.read(&source, offset, length).await {
                Ok(bytes) => bytes,
                Err(error) => return self.not_here(&parts, &source, &error),
            };
            blocks.push(Said::Block(Block { offer: said.offer, part: said.part, offset, bytes }));
        }
        Ok(blocks)
    }

    /// A part could not be read: perhaps because another host keeps it and it has not been fetched yet.
    pub(super) fn not_here(
        &self,
        parts: &Parts,
        source: &Source,
        error: &StoreError,
    ) -> Result<Vec<Said>, RefuseCode> {
        let file = match source {
            Source::Blob { digest, .. } if error.kind() == StoreErrorKind::NotFound => {
                parts.elsewhere.iter().find(|file| file.digest == *digest)
            }
            _ => None,
        };
        match file.map(|file| self.want_elsewhere(file)) {
            Some(Elsewhen::Soon) => Ok(vec![Said::Busy { retry_after: FETCH_RETRY }]),
            Some(Elsewhen::Never) => Err(RefuseCode::NoSuchPart),
            None => Err(RefuseCode::Internal),
        }
    }

    /// What can be fetched under a grant: read from the store once, then from memory.
    pub(super) async fn parts(&self, granted: &Granted) -> Result<Option<Arc<Parts>>, StoreError> {
        if let Some(parts) = self.inner.parts.get(&granted.what) {
            return Ok(Some(parts));
        }
        let parts = if granted.campaign.0 == 0 {
            let Some(view) = self.view_by_roots(&granted.what) else { return Ok(None) };
            Parts::of_roots(&self.inner.catalog.roots(&view.id).await?)
        } else {
            let id = ReleaseId(granted.what);
            let Some(release) = self.inner.catalog.release(&id).await? else { return Ok(None) };
            if release.status != ota_core::fleet::records::ReleaseStatus::Signed {
                return Ok(None);
            }
            let roots = self.inner.catalog.roots(&release.product).await?;
            Parts::new(&id, &release, &roots)
        };
        let parts = Arc::new(parts);
        self.inner.parts.insert(granted.what, Arc::clone(&parts));
        Ok(Some(parts))
    }
}

/// The wanted ranges, each inside the part; the last block of a part is shorter.
fn ranges(said: &WantBlocks, source: &Source) -> Result<Vec<(u64, u64)>, RefuseCode> {
    let (size, block) = (source.size(), u64::from(said.block_bytes));
    said.want
        .indexes()
        .map(|index| {
            let offset = index.checked_mul(block).and_then(|bytes| said.offset.checked_add(bytes));
            match offset {
                Some(offset) if offset < size => Ok((offset, block.min(size - offset))),
                _ => Err(RefuseCode::OutOfRange),
            }
        })
        .collect()
}
