//! The power-cut sweep of a whole update: check-in, metadata, blocks, staging, commit, boot, trial, confirm.
//!
//! One undisturbed life collects what every cut in it would leave on the flash: torn at the first, the middle and the
//! last unit of each write, inside each erase, and after each operation. Each of these images is started with
//! different luck, and lives on to the end; there, cuts are collected again, and so on. Images with the same content
//! and the same state of the bootloader have the same future, so each is lived once and counted every time.
//!
//! What must hold after every cut: the active files are the old set or the new one, byte for byte; the device reaches
//! the new set within bounded time; the epoch ends where the release puts it.

use std::collections::HashSet;

use ota_core::device::{Area, DeviceStorage, Granularity, Log, StorageFault};
use ota_core::number::{ByteLength, ByteOffset};
use ota_core::time::Millis;
use ota_core::wire::Phase;
use ota_device::Policy;
use ota_storage::flash::{FlashLayout, FlashStorage};

use crate::device::{SimBoot, firmware_image};
use crate::flash::{CutImage, Luck, SimFlash};
use crate::random::Dice;
use crate::storage::{AREAS, layout};
use crate::workshop::{SourceFile, SourceRelease, Terms, Workshop};
use crate::world::{BufferSizes, End, Powered, Verdict, World};

/// What a sweep has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cuts in the undisturbed life, times the luck they were started with.
    pub single: u64,
    /// Cuts in lives after a cut, times luck.
    pub nested: u64,
    /// Lives that were really lived; the other cases left the same flash behind as one of them.
    pub lived: u64,
    /// Lives after which the new set was active at once.
    pub began_new: u64,
}

/// The storage of a device that is swept.
struct Flash<const W: usize, const E: usize> {
    inner: Option<FlashStorage<SimFlash<W, E>, AREAS, 64>>,
    layout: FlashLayout<AREAS>,
    luck: Luck,
}

impl<const W: usize, const E: usize> Flash<W, E> {
    fn new(flash: SimFlash<W, E>, layout: FlashLayout<AREAS>, luck: Luck) -> Self {
        let inner = FlashStorage::new(flash, layout).expect("the layout fits the flash");
        Self { inner: Some(inner), layout, luck }
    }

    fn inner(&mut self) -> &mut FlashStorage<SimFlash<W, E>, AREAS, 64> {
        self.inner.as_mut().expect("a storage between two restarts")
    }

    fn flash(&mut self) -> &mut SimFlash<W, E> {
        self.inner().flash_mut()
    }
}

impl<const W: usize, const E: usize> DeviceStorage for Flash<W, E> {
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

impl<const W: usize, const E: usize> Powered for Flash<W, E> {
    fn is_cut(&self) -> bool {
        false
    }

    fn power_on(&mut self) {
        let flash = self.inner.take().expect("a storage between two restarts").into_flash();
        *self = Self::new(flash, self.layout, self.luck);
    }

    fn changes(&mut self) -> u64 {
        self.flash().operations()
    }
}

/// A sweep over one flash geometry.
pub struct UpdateSweep<const W: usize, const E: usize> {
    old: Vec<SourceFile>,
    new: Vec<SourceFile>,
    release: SourceRelease,
    layout: FlashLayout<AREAS>,
    lucks: Vec<Luck>,
    depth: usize,
    known: HashSet<(u128, SimBoot, usize)>,
    counts: Counts,
}

impl<const W: usize, const E: usize> UpdateSweep<W, E> {
    /// Sweeps an update of firmware and one more file, with cuts up to `depth` deep.
    ///
    /// # Panics
    /// If anything that must hold does not.
    #[must_use]
    pub fn run(lucks: Vec<Luck>, depth: usize) -> Counts {
        let bytes = |seed, length| Dice::new(seed).bytes(length);
        let old = vec![
            SourceFile::new("fw.bin", "1", "firmware", firmware_image(&bytes(1, 1500))),
            SourceFile::new("app.bin", "1", "app", bytes(2, 900)),
        ];
        let new = vec![
            SourceFile::new("fw.bin", "2", "firmware", firmware_image(&bytes(3, 2200))),
            SourceFile::new("app.bin", "2", "app", bytes(4, 1400)).in_units(512),
        ];
        let terms = Terms { epoch: 2, ..Terms::default() };
        let release = Workshop::new().release(&terms, new.clone());
        let (layout, blocks) = layout::<W, E, 64>(4096, 1024, 3, 384);
        let mut sweep = Self {
            old,
            new,
            release,
            layout,
            lucks,
            depth,
            known: HashSet::new(),
            counts: Counts::default(),
        };
        let mut storage = Flash::new(SimFlash::new(blocks), sweep.layout, Luck::Untouched);
        storage.inner().format().expect("an erased flash can be formatted");
        let factory = World::provisioned(storage, 1, &sweep.old);
        let flash = factory.storage.inner.expect("a storage").into_flash();
        let boot = factory.boot;
        let images = sweep.live(flash, boot, Luck::Untouched);
        sweep.follow(images, 1);
        sweep.counts
    }

    /// Starts every image with every luck, and follows the cuts in what comes then.
    fn follow(&mut self, images: Vec<(CutImage<SimFlash<W, E>>, SimBoot)>, depth: usize) {
        for (image, boot) in images {
            for luck in self.lucks.clone() {
                if depth == 1 {
                    self.counts.single += 1;
                } else {
                    self.counts.nested += 1;
                }
                let mut flash = image.flash.clone();
                flash.restart(luck);
                let luck_number = self.lucks.iter().position(|one| *one == luck).unwrap_or(0);
                // Without unstable units luck plays no part.
                let luck_number = if flash.unstable_units() == 0 { usize::MAX } else { luck_number };
                if !self.known.insert((flash.content_hash(), boot.clone(), luck_number)) {
                    continue;
                }
                self.judge(&flash, &boot, luck);
                let images = self.live(flash, boot.clone(), luck);
                if depth < self.depth {
                    self.follow(images, depth + 1);
                }
            }
        }
    }

    fn world(&self, flash: SimFlash<W, E>, mut boot: SimBoot, luck: Luck) -> World<Flash<W, E>> {
        let mut storage = Flash::new(flash, self.layout, luck);
        boot.restart(&mut storage);
        let mut world = World::on(storage, boot, 1);
        world.server.release = Some(self.release.clone());
        world.verdict = Verdict::Pass;
        world.policy = Policy { block_bytes: 512, ..Policy::default() };
        world.buffers = BufferSizes { metadata: 4096, blocks: 2048 };
        world
    }

    /// The active files right after the start are the old ones or the new ones.
    fn judge(&mut self, flash: &SimFlash<W, E>, boot: &SimBoot, luck: Luck) {
        let is_new = self.world(flash.clone(), boot.clone(), luck).finds_installed(&self.new);
        let is_old = self.world(flash.clone(), boot.clone(), luck).finds_installed(&self.old);
        assert!(is_new != is_old, "old {is_old}, new {is_new}: {boot:?}");
        self.counts.began_new += u64::from(is_new);
    }

    /// Lives until the update is confirmed, and gives the cuts that could have happened on the way.
    fn live(
        &mut self,
        flash: SimFlash<W, E>,
        boot: SimBoot,
        luck: Luck,
    ) -> Vec<(CutImage<SimFlash<W, E>>, SimBoot)> {
        self.counts.lived += 1;
        let mut world = self.world(flash, boot, luck);
        world.storage.flash().collect_cuts();
        let first = (world.storage.changes(), world.boot.clone());
        world.boot_trace = vec![first];
        let end = world.run_through(Millis::from_seconds(4 * 24 * 3600), |world, progress| {
            progress.activity == ota_device::Activity::Idle
                && (world.server.has_heard(Phase::Confirmed) || world.server.up_to_date > 0)
        });
        assert_eq!(end, End::Reached, "{:?} {:?}", world.events, world.server.heard);
        let cuts = world.storage.flash().take_cuts();
        let trace = world.boot_trace.clone();
        let flash = world.storage.inner.expect("a storage").into_flash();
        let mut after = self.world(flash, world.boot.clone(), luck);
        assert!(after.finds_installed(&self.new), "{:?}", world.events);
        cuts.into_iter()
            .map(|image| {
                // What the bootloader knew when the operation began.
                let known = trace.iter().rev().find(|(operations, _)| *operations <= image.operation);
                let boot = known.or(trace.first()).map(|(_, boot)| boot.clone());
                (image, boot.expect("the trace begins with the start"))
            })
            .collect()
    }
}
