//! Simulated devices: they check in over the link, download, install, start and report, as the protocol says.

use bytes::Bytes;
use ota_core::crypto::soft::SoftSha256;
use ota_core::list::List;
use ota_core::number::{
    ByteLength, ByteOffset, FileIndex, Nonce, OfferId, ReportSequence, RootVersion, SecurityEpoch,
};
use ota_core::text::{Detail, DeviceIdBuf, FileName, HardwareRevision, ProductId, Revision};
use ota_core::trust::Generations;
use ota_core::wire::{
    AlgorithmSet, Capabilities, CheckIn, Down, InventoryItem, Part, Phase, Report, ReportCode,
    TrustedSummary, Up, Want, WantBlocks,
};

use crate::wire::{Connection, Wire};

/// What becomes of an update on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It confirms.
    Confirms,
    /// Its self-test fails and it goes back.
    RollsBack,
}

/// A device that lives on its own until it is dropped with the runtime.
pub(crate) struct Simulated {
    device: Connection,
    revision: String,
    nonce: u8,
    fate: Fate,
}

/// What a device keeps of an offer.
struct Offered {
    id: OfferId,
    grant: Bytes,
    body: u64,
    file: u64,
}

/// Connects devices, lets each tell what it runs, and then take what it is offered. `to` is the revision of the new file
/// and `size` its length.
pub(crate) fn run(
    link: &Wire,
    names: &[String],
    from: &str,
    to: &str,
    size: u64,
    fate: impl Fn(usize) -> Fate,
) {
    for (index, name) in names.iter().enumerate() {
        let device = link.connect(DeviceIdBuf::new(name.as_str()).unwrap());
        let simulated = Simulated { device, revision: from.to_owned(), nonce: 0, fate: fate(index) };
        let to = to.to_owned();
        tokio::spawn(async move { simulated.live(&to, size).await });
    }
}

impl Simulated {
    /// Checks in, and again whenever the server speaks to it.
    async fn live(mut self, to: &str, size: u64) {
        loop {
            if self.send(self.check_in()).is_none() {
                return;
            }
            let Some(answer) = self.hear().await else { return };
            if let Some(offer) = offer(&answer, size) {
                if self.update(&offer, to).await.is_none() {
                    return;
                }
                continue;
            }
            // Nothing for it: it waits for a hint, as a connected device does.
            if self.hear().await.is_none() {
                return;
            }
            self.nonce = self.nonce.wrapping_add(1);
        }
    }

    async fn update(&mut self, offer: &Offered, to: &str) -> Option<()> {
        self.nonce = self.nonce.wrapping_add(1);
        self.fetch(offer, Part::ReleaseBody, offer.body).await?;
        self.fetch(offer, Part::File(FileIndex(0)), offer.file).await?;
        self.report(offer, 0, Phase::Downloaded, ReportCode::Ok, "").await?;
        self.report(offer, 1, Phase::Installed, ReportCode::Ok, "").await?;
        match self.fate {
            Fate::Confirms => self.revision = to.to_owned(),
            Fate::RollsBack => {
                self.report(offer, 2, Phase::RolledBack, ReportCode::SelfTestFailed, "the lamp stayed dark")
                    .await?;
            }
        }
        Some(())
    }

    async fn fetch(&mut self, offer: &Offered, part: Part, size: u64) -> Option<()> {
        let mut have = 0;
        while have < size {
            let want = Up::WantBlocks(WantBlocks {
                offer: offer.id,
                grant: &offer.grant,
                part,
                offset: ByteOffset(have),
                block_bytes: 1024,
                want: Want::Count(1),
            });
            self.send(want.to_vec().unwrap().into())?;
            let answer = self.hear().await?;
            match Down::decode(&answer).unwrap() {
                Down::Block(block) if block.offset.0 == have => {
                    have += u64::try_from(block.bytes.len()).unwrap()
                }
                // A hint or an answer to something else.
                _ => {}
            }
        }
        Some(())
    }

    async fn report(
        &mut self,
        offer: &Offered,
        sequence: u32,
        phase: Phase,
        code: ReportCode,
        detail: &str,
    ) -> Option<()> {
        let report = Up::Report(Report {
            offer: offer.id,
            sequence: ReportSequence(sequence),
            file: None,
            phase,
            code,
            done: ByteLength(0),
            detail: Detail::new(detail).unwrap(),
            evidence: None,
        });
        self.send(report.to_vec().unwrap().into())?;
        self.hear().await.map(drop)
    }

    fn send(&self, message: Bytes) -> Option<()> {
        self.device.send(message)
    }

    async fn hear(&mut self) -> Option<Bytes> {
        self.device.receive().await
    }

    fn check_in(&self) -> Bytes {
        let items = [InventoryItem {
            file: FileName::new("app.bin").unwrap(),
            revision: Revision::new(&self.revision).unwrap(),
            digest: None,
        }];
        let check_in = Up::CheckIn(CheckIn {
            product: ProductId::new("lamp").unwrap(),
            hardware: HardwareRevision::new("rev-a").unwrap(),
            inventory: List::from_slice(&items),
            trusted: TrustedSummary {
                root: RootVersion(1),
                epoch: SecurityEpoch(0),
                generations: Generations::default(),
            },
            capabilities: Capabilities {
                block_bytes_max: 4096,
                window_max: 4,
                metadata_bytes_max: 8192,
                algorithms: AlgorithmSet(0x7f),
                encodings: 0,
                downloads_urls: false,
            },
            nonce: Nonce([self.nonce; 16]),
            outcome: None,
            evidence: None,
        });
        check_in.to_vec().unwrap().into()
    }
}

fn offer(answer: &Bytes, size: u64) -> Option<Offered> {
    match Down::decode(answer).unwrap() {
        Down::Offer(offer) => Some(Offered {
            id: ota_core::trust::offer_id::<SoftSha256>(offer.assignment),
            grant: Bytes::copy_from_slice(offer.grant),
            body: u64::from(offer.release.body),
            file: size,
        }),
        _ => None,
    }
}
