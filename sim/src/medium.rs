//! Storages whose power can be cut anywhere, for sweeps over whole updates: one run tells what every cut in it leaves.
//!
//! A medium hands out images: contents without power. An image is started as often as a sweep likes, each time with
//! another luck for what was not finished; starting one never changes it.

use core::fmt::Debug;

use ota_core::device::{Area, DeviceStorage, Granularity, Log, StorageFault};
use ota_core::number::{ByteLength, ByteOffset};
use ota_core::text::InstallTarget;
use ota_storage::directory::DirectoryLayout;
use ota_storage::directory::model::{Luck as DirectoryLuck, ModelDirectory, ModelImage};
use ota_storage::flash::{FlashLayout, FlashStorage};

use crate::flash::{Luck, SimFlash};
use crate::storage::{AREAS, layout};
use crate::world::Powered;

/// A kind of storage that a sweep can cut.
pub trait Medium {
    /// What unfinished operations turn out to have done.
    type Luck: Copy + Debug + Send + 'static;
    /// Contents without power.
    type Image;
    /// The storage with power.
    type Storage: Powered;

    /// A storage as the factory gets it.
    fn fresh(&self) -> Self::Storage;
    /// Takes the power away between two operations.
    fn stop(&self, storage: Self::Storage) -> Self::Image;
    /// Starts an image.
    fn start(&self, image: &Self::Image, luck: Self::Luck) -> Started<Self::Storage>;
    /// From now on what each cut would leave is kept.
    fn collect_cuts(storage: &mut Self::Storage);
    /// The cuts since then, in order: the number of the operation, and what is left.
    fn take_cuts(storage: &mut Self::Storage) -> Vec<(u64, Self::Image)>;
}

/// A storage that has just been started.
#[derive(Debug)]
pub struct Started<S> {
    /// The storage.
    pub storage: S,
    /// Equal contents with equal luck have equal futures.
    pub content: u128,
    /// Whether all of it reads the same at every start from now on.
    pub is_certain: bool,
}

/// A NOR flash with write units of `W` bytes and erase blocks of `E` bytes, under the flash format.
#[derive(Debug, Clone, Copy)]
pub struct FlashMedium<const W: usize, const E: usize> {
    layout: FlashLayout<AREAS>,
    blocks: usize,
}

impl<const W: usize, const E: usize> FlashMedium<W, E> {
    /// Slots of `slot_bytes` each.
    #[must_use]
    pub fn new(slot_bytes: u32) -> Self {
        let (layout, blocks) = layout::<W, E, 64>(slot_bytes, 1024, 3, 384);
        Self { layout, blocks }
    }
}

/// The storage of a device on a flash that a sweep cuts.
#[derive(Debug)]
pub struct CutFlash<const W: usize, const E: usize> {
    inner: Option<FlashStorage<SimFlash<W, E>, AREAS, 64>>,
    layout: FlashLayout<AREAS>,
}

impl<const W: usize, const E: usize> CutFlash<W, E> {
    fn new(flash: SimFlash<W, E>, layout: FlashLayout<AREAS>) -> Self {
        let inner = FlashStorage::new(flash, layout).expect("the layout fits the flash");
        Self { inner: Some(inner), layout }
    }

    fn inner(&mut self) -> &mut FlashStorage<SimFlash<W, E>, AREAS, 64> {
        self.inner.as_mut().expect("a storage between two restarts")
    }
}

impl<const W: usize, const E: usize> Medium for FlashMedium<W, E> {
    type Luck = Luck;
    type Image = SimFlash<W, E>;
    type Storage = CutFlash<W, E>;

    fn fresh(&self) -> CutFlash<W, E> {
        let mut storage = CutFlash::new(SimFlash::new(self.blocks), self.layout);
        storage.inner().format().expect("an erased flash can be formatted");
        storage
    }

    fn stop(&self, storage: CutFlash<W, E>) -> SimFlash<W, E> {
        storage.inner.expect("a storage between two restarts").into_flash()
    }

    fn start(&self, image: &SimFlash<W, E>, luck: Luck) -> Started<CutFlash<W, E>> {
        let mut flash = image.clone();
        flash.restart(luck);
        let is_certain = flash.unstable_units() == 0;
        let luck = match luck {
            // Without unstable units luck plays no part.
            _ if is_certain => 0,
            Luck::Untouched => 1,
            Luck::Completed => 2,
            Luck::Random(seed) => 3 | u128::from(seed) << 2,
        };
        let content = flash.content_hash() ^ (luck << 60);
        Started { storage: CutFlash::new(flash, self.layout), content, is_certain }
    }

    fn collect_cuts(storage: &mut CutFlash<W, E>) {
        storage.inner().flash_mut().collect_cuts();
    }

    fn take_cuts(storage: &mut CutFlash<W, E>) -> Vec<(u64, SimFlash<W, E>)> {
        let cuts = storage.inner().flash_mut().take_cuts();
        assert!(cuts.iter().all(|cut| cut.flash.is_cut()), "a cut that never happened");
        cuts.into_iter().map(|cut| (cut.operation, cut.flash)).collect()
    }
}

impl<const W: usize, const E: usize> DeviceStorage for CutFlash<W, E> {
    fn capacity(&self, area: Area<'_>) -> Option<ByteLength> {
        self.inner.as_ref()?.capacity(area)
    }

    fn prepare(&mut self, area: Area<'_>, size: ByteLength, keep: ByteLength) -> Result<(), StorageFault> {
        self.inner().prepare(area, size, keep)
    }

    fn write(&mut self, area: Area<'_>, offset: ByteOffset, bytes: &[u8]) -> Result<(), StorageFault> {
        self.inner().write(area, offset, bytes)
    }

    fn read(&mut self, area: Area<'_>, offset: ByteOffset, into: &mut [u8]) -> Result<(), StorageFault> {
        self.inner().read(area, offset, into)
    }

    fn append(&mut self, log: Log, record: &[u8]) -> Result<(), StorageFault> {
        self.inner().append(log, record)
    }

    fn record(&mut self, log: Log, newest: u32, into: &mut [u8]) -> Result<Option<usize>, StorageFault> {
        self.inner().record(log, newest, into)
    }

    fn granularity(&self) -> Granularity {
        self.inner.as_ref().map_or(Granularity::BYTES, DeviceStorage::granularity)
    }
}

impl<const W: usize, const E: usize> Powered for CutFlash<W, E> {
    fn is_cut(&self) -> bool {
        false
    }

    fn power_on(&mut self) {
        let flash = self.inner.take().expect("a storage between two restarts").into_flash();
        *self = Self::new(flash, self.layout);
    }

    fn changes(&mut self) -> u64 {
        self.inner().flash_mut().operations()
    }
}

/// A directory on a file system that keeps what it promises about `fsync`, and nothing else.
#[derive(Debug, Clone)]
pub struct DirectoryMedium {
    layout: DirectoryLayout,
}

impl DirectoryMedium {
    /// Slots of `slot_bytes` each for the install targets `app` and `firmware`.
    ///
    /// # Panics
    /// Never: both are names.
    #[must_use]
    pub fn new(slot_bytes: u64) -> Self {
        let target = |name| InstallTarget::new(name).expect("a name");
        let layout = DirectoryLayout::new()
            .with_target(target("app"), ByteLength(slot_bytes))
            .with_target(target("firmware"), ByteLength(slot_bytes));
        Self { layout }
    }
}

impl Medium for DirectoryMedium {
    type Luck = DirectoryLuck;
    type Image = ModelImage;
    type Storage = ModelDirectory;

    fn fresh(&self) -> ModelDirectory {
        ModelDirectory::new(self.layout.clone())
    }

    fn stop(&self, storage: ModelDirectory) -> ModelImage {
        storage.stop()
    }

    fn start(&self, image: &ModelImage, luck: DirectoryLuck) -> Started<ModelDirectory> {
        let (storage, content) = image.start(luck, self.layout.clone());
        Started { storage, content: content.into(), is_certain: true }
    }

    fn collect_cuts(storage: &mut ModelDirectory) {
        storage.collect_cuts();
    }

    fn take_cuts(storage: &mut ModelDirectory) -> Vec<(u64, ModelImage)> {
        storage.take_cuts()
    }
}

impl Powered for ModelDirectory {
    fn is_cut(&self) -> bool {
        false
    }

    fn power_on(&mut self) {
        self.reopen();
    }

    fn changes(&mut self) -> u64 {
        self.operations()
    }
}
