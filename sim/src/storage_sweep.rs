//! Power cuts at every operation of the flash backend itself, and again at every operation of each recovery.
//!
//! Cuts are forked, never replayed: one run of a step collects what each of its cuts would leave. What is known at
//! the moment of a cut (which records were acknowledged or read, which one may or may not be there) is carried
//! along, and every later start of the device must agree with it, whatever unstable units read as.

use core::hash::{Hash, Hasher};
use std::collections::HashSet;
use std::hash::DefaultHasher;

use ota_core::device::{Area, DeviceStorage, Log, Slot, StorageFaultKind};
use ota_core::limits::RECORDS_KEPT_MIN;
use ota_core::number::{ByteLength, ByteOffset};
use ota_core::text::InstallTarget;
use ota_storage::flash::FlashStorage;

use crate::flash::{CutImage, CutPoint, Luck, SimFlash};
use crate::storage::{AREAS, SimStorage, layout};

/// What a sweep looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Starts after one cut.
    pub single: u64,
    /// Starts after a cut within the recovery from a cut.
    pub nested: u64,
    /// Starts after three or more.
    pub deeper: u64,
    /// Starts that were the same as one before: the same flash, the same luck, the same knowledge.
    pub known: u64,
    /// Cuts that tore something.
    pub torn: u64,
    /// Torn units that were completed with the same bytes later on.
    pub retraced: u64,
}

impl Counts {
    /// The sum of two sweeps.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            single: self.single + other.single,
            nested: self.nested + other.nested,
            deeper: self.deeper + other.deeper,
            known: self.known + other.known,
            torn: self.torn + other.torn,
            retraced: self.retraced + other.retraced,
        }
    }
}

impl core::fmt::Display for Counts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { single, nested, deeper, known, torn, retraced } = self;
        write!(f, "{single} single cuts, {nested} nested, {deeper} deeper, {known} known already; ")?;
        write!(f, "{torn} cuts tore a unit or a block, {retraced} units were completed later")
    }
}

/// How thorough a sweep is.
#[derive(Debug, Clone)]
pub struct Thoroughness {
    /// Starts of the device in the undisturbed run; each appends a few records.
    pub starts: u32,
    /// Most cuts in one path.
    pub depth: usize,
    /// What unstable units read as after the cut at each depth.
    pub lucks: Vec<Luck>,
    /// The longest record.
    pub record_bytes_max: u16,
    /// Segments of the log.
    pub segments: u16,
}

/// A record is known by its number and by how many cuts had happened when it was written, so that a torn record that
/// comes back is never mistaken for the one that took its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Written {
    number: u32,
    cuts: usize,
}

impl Written {
    fn bytes(self, record_bytes_max: u16) -> Vec<u8> {
        let length = 8 + (self.number as usize).wrapping_mul(7919) % (usize::from(record_bytes_max) - 7);
        let mut bytes = vec![(self.number % 251) as u8; length];
        bytes[..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[4..8].copy_from_slice(&(self.cuts as u32).to_le_bytes());
        bytes
    }
}

/// What an outside observer knows about a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Knowledge {
    /// The newest records that are there for sure, oldest first.
    sure: Vec<Written>,
    /// One behind them that may be there.
    perhaps: Option<Written>,
}

impl Knowledge {
    fn settle(&mut self) {
        self.sure.extend(self.perhaps.take());
        let surplus = self.sure.len().saturating_sub(RECORDS_KEPT_MIN as usize);
        self.sure.drain(..surplus);
    }

    fn next(&self, cuts: usize) -> Written {
        Written { number: self.sure.last().map_or(1, |newest| newest.number + 1), cuts }
    }
}

type Timeline = Vec<(u64, Knowledge)>;

/// Sweeps one log on one geometry.
pub struct LogSweep<const WRITE: usize, const ERASE: usize, const READ: usize, const CELL: usize> {
    how: Thoroughness,
    layout: ota_storage::flash::FlashLayout<AREAS>,
    blocks: usize,
    seen: HashSet<u128>,
    counts: Counts,
    trail: Vec<(u64, CutPoint, Luck)>,
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize, const CELL: usize>
    LogSweep<WRITE, ERASE, READ, CELL>
{
    /// Runs the sweep and panics, telling the cuts that led there, at the first thing that must not be.
    #[must_use]
    pub fn run(how: Thoroughness) -> Counts {
        let (layout, blocks) =
            layout::<WRITE, ERASE, CELL>(ERASE as u32, 1, how.segments, how.record_bytes_max);
        let mut sweep =
            Self { how, layout, blocks, seen: HashSet::new(), counts: Counts::default(), trail: Vec::new() };
        sweep.undisturbed();
        sweep.counts
    }

    fn undisturbed(&mut self) {
        let mut storage = self.storage(SimFlash::new(self.blocks));
        storage.format().expect("formatting works");
        let mut flash = storage.into_flash();
        let mut knowledge = Knowledge::default();
        for start in 0..self.how.starts {
            flash.restart(Luck::Untouched);
            let appends = start % 4;
            let (after, timeline, images) = self.start(flash, knowledge, appends, true);
            self.explore(images, &timeline);
            knowledge = timeline.last().expect("something is always known").1.clone();
            flash = after;
        }
        assert!(flash.erases().iter().sum::<u32>() > 0, "the run never came to the end of a segment");
    }

    fn storage(&self, flash: SimFlash<WRITE, ERASE, READ>) -> SimStorage<WRITE, ERASE, READ, CELL> {
        FlashStorage::new(flash, self.layout).expect("the layout fits")
    }

    /// Goes on from every cut of a run, with every luck.
    fn explore(&mut self, images: Vec<CutImage<SimFlash<WRITE, ERASE, READ>>>, timeline: &Timeline) {
        let base = timeline.first().map_or(0, |(operations, _)| *operations);
        assert!(images.iter().all(|image| image.operation >= base), "an image is older than its run");
        for image in images {
            assert!(image.flash.is_cut(), "this cut never happened");
            let known = timeline.iter().rev().find(|(operations, _)| *operations <= image.operation);
            let knowledge = &known.expect("the run began before its first operation").1;
            self.counts.torn += u64::from(matches!(image.point, CutPoint::Torn(_)));
            for luck in self.how.lucks.clone() {
                if image.flash.unstable_units() == 0 && luck != self.how.lucks[0] {
                    continue;
                }
                self.after_cut(&image, luck, knowledge.clone());
            }
        }
    }

    fn after_cut(
        &mut self,
        image: &CutImage<SimFlash<WRITE, ERASE, READ>>,
        luck: Luck,
        knowledge: Knowledge,
    ) {
        if !self.is_new(image.flash.content_hash(), luck, &knowledge) {
            self.counts.known += 1;
            return;
        }
        self.trail.push((image.operation, image.point, luck));
        let depth = self.trail.len();
        match depth {
            1 => self.counts.single += 1,
            2 => self.counts.nested += 1,
            _ => self.counts.deeper += 1,
        }
        let mut flash = image.flash.clone();
        let retraced = flash.retraced();
        flash.restart(luck);
        let deeper = depth < self.how.depth;
        let (flash, timeline, images) = self.start(flash, knowledge, 1, deeper);
        self.counts.retraced += flash.retraced() - retraced;
        if deeper {
            self.explore(images, &timeline);
        } else {
            self.settle(flash, timeline);
        }
        self.trail.pop();
    }

    /// What was told once is told again, whatever else unstable units read as.
    fn settle(&self, mut flash: SimFlash<WRITE, ERASE, READ>, mut timeline: Timeline) {
        for luck in [Luck::Completed, Luck::Untouched] {
            let knowledge = timeline.pop().expect("something is always known").1;
            flash.restart(luck);
            (flash, timeline, _) = self.start(flash, knowledge, 0, false);
        }
    }

    fn is_new(&mut self, content: u128, luck: Luck, knowledge: &Knowledge) -> bool {
        let mut hasher = DefaultHasher::new();
        (luck, knowledge, self.trail.len()).hash(&mut hasher);
        let key = content ^ (u128::from(hasher.finish()) << 64 | u128::from(hasher.finish().rotate_left(17)));
        self.seen.insert(key)
    }

    /// One start of the device: it reads the log, checks it against what is known, appends and reads again. Gives the
    /// flash, what was known after how many operations, and the cuts that could have happened.
    fn start(
        &self,
        mut flash: SimFlash<WRITE, ERASE, READ>,
        mut knowledge: Knowledge,
        appends: u32,
        collect: bool,
    ) -> (SimFlash<WRITE, ERASE, READ>, Timeline, Vec<CutImage<SimFlash<WRITE, ERASE, READ>>>) {
        let guard = Trail(&self.trail);
        if collect {
            flash.collect_cuts();
        }
        let mut timeline = vec![(flash.operations(), knowledge.clone())];
        let mut storage = self.storage(flash);
        self.observe(&mut storage, &mut knowledge);
        timeline.push((storage.flash_mut().operations(), knowledge.clone()));
        for _ in 0..appends {
            let record = knowledge.next(self.trail.len());
            knowledge.perhaps = Some(record);
            timeline.push((storage.flash_mut().operations(), knowledge.clone()));
            storage.append(Log::Journal, &record.bytes(self.how.record_bytes_max)).expect("append works");
            knowledge.settle();
            timeline.push((storage.flash_mut().operations(), knowledge.clone()));
            self.observe(&mut storage, &mut knowledge);
        }
        let mut flash = storage.into_flash();
        let images = flash.take_cuts();
        core::mem::forget(guard);
        (flash, timeline, images)
    }

    fn observe(&self, storage: &mut SimStorage<WRITE, ERASE, READ, CELL>, knowledge: &mut Knowledge) {
        let mut newest = self.read(storage, 0);
        if let Some(perhaps) = knowledge.perhaps
            && newest.as_deref() == Some(&perhaps.bytes(self.how.record_bytes_max)[..])
        {
            knowledge.settle();
        }
        knowledge.perhaps = None;
        for (newest_first, expected) in knowledge.sure.iter().rev().enumerate() {
            let found =
                if newest_first == 0 { newest.take() } else { self.read(storage, newest_first as u32) };
            assert!(
                found.as_deref() == Some(&expected.bytes(self.how.record_bytes_max)[..]),
                "record {newest_first} should be {expected:?}, and is {:?}",
                found.map(|bytes| bytes[..8].to_vec()),
            );
        }
        if knowledge.sure.is_empty() {
            assert_eq!(newest, None, "nothing was appended");
        }
    }

    fn read(&self, storage: &mut SimStorage<WRITE, ERASE, READ, CELL>, newest_first: u32) -> Option<Vec<u8>> {
        let mut into = vec![0; usize::from(self.how.record_bytes_max)];
        let length = storage.record(Log::Journal, newest_first, &mut into).expect("reading works")?;
        into.truncate(length);
        Some(into)
    }
}

/// Tells the cuts that led to a panic.
struct Trail<'a>(&'a [(u64, CutPoint, Luck)]);

impl Drop for Trail<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after these cuts (operation, where in it, luck): {:?}", self.0);
        }
    }
}

/// Sweeps the writing of an area on one geometry: prepare, write in pieces, prepare again behind what is known to be
/// there after each cut, to the end. Only the piece that was being written may be anything.
pub struct AreaSweep<const WRITE: usize, const ERASE: usize> {
    layout: ota_storage::flash::FlashLayout<AREAS>,
    lucks: Vec<Luck>,
    depth: usize,
    seen: HashSet<u128>,
    counts: Counts,
}

impl<const WRITE: usize, const ERASE: usize> AreaSweep<WRITE, ERASE> {
    const BLOCKS: u64 = 3;

    /// Runs the sweep and panics at the first byte that is wrong.
    #[must_use]
    pub fn run(depth: usize, lucks: Vec<Luck>) -> Counts {
        let size = Self::BLOCKS as u32 * ERASE as u32;
        let (layout, blocks) = layout::<WRITE, ERASE, 256>(size, 1, 2, 64);
        let mut sweep = Self { layout, lucks, depth, seen: HashSet::new(), counts: Counts::default() };
        let mut storage = sweep.storage(SimFlash::new(blocks));
        // What was there before, in the area and beside it.
        for slot in [Slot::A, Slot::B] {
            fill(&mut storage, Self::area(slot), 0, Self::bytes(9), ERASE);
        }
        let mut flash = storage.into_flash();
        flash.restart(Luck::Untouched);
        sweep.write(flash, 0, 0);
        sweep.counts
    }

    fn area(slot: Slot) -> Area<'static> {
        Area::Slot(InstallTarget::new("app").expect("a name"), slot)
    }

    /// The last piece is shorter than a unit.
    fn bytes(seed: usize) -> Vec<u8> {
        (0..Self::BLOCKS as usize * ERASE - 1).map(|at| (at * 7 + at / 256 + seed) as u8).collect()
    }

    fn storage(&self, flash: SimFlash<WRITE, ERASE>) -> SimStorage<WRITE, ERASE, 1, 256> {
        FlashStorage::new(flash, self.layout).expect("the layout fits")
    }

    /// Goes on behind `done` bytes, and from every cut on the way.
    fn write(&mut self, mut flash: SimFlash<WRITE, ERASE>, done: usize, depth: usize) {
        let bytes = Self::bytes(1);
        let area = Self::area(Slot::A);
        let keep = done / ERASE * ERASE;
        let piece = (ERASE / 8).max(WRITE);
        let deeper = depth < self.depth;
        if deeper {
            flash.collect_cuts();
        }
        let mut storage = self.storage(flash);
        // A write before the area is prepared again is refused, and not tried.
        let refused = storage.write(area, ByteOffset(keep as u64), &bytes[keep..keep + piece]);
        assert_eq!(refused, Err(StorageFaultKind::OutOfBounds.into()));
        let mut acknowledged = vec![(storage.flash_mut().operations(), keep)];
        storage
            .prepare(area, ByteLength(bytes.len() as u64), ByteLength(keep as u64))
            .expect("prepare works");
        for (number, part) in bytes[keep..].chunks(piece).enumerate() {
            let offset = keep + number * piece;
            storage.write(area, ByteOffset(offset as u64), part).expect("write works");
            acknowledged.push((storage.flash_mut().operations(), offset + part.len()));
        }
        Self::check(&mut storage, bytes.len());
        let images = storage.flash_mut().take_cuts();
        for image in images {
            assert!(image.flash.is_cut(), "this cut never happened");
            let told = acknowledged.iter().rev().find(|(operations, _)| *operations <= image.operation);
            let done = told.expect("the run began before its first operation").1;
            self.counts.torn += u64::from(matches!(image.point, CutPoint::Torn(_)));
            for luck in self.lucks.clone() {
                let mut hasher = DefaultHasher::new();
                (luck, done, depth).hash(&mut hasher);
                if !self.seen.insert(image.flash.content_hash() ^ u128::from(hasher.finish()) << 31) {
                    self.counts.known += 1;
                    continue;
                }
                match depth {
                    0 => self.counts.single += 1,
                    1 => self.counts.nested += 1,
                    _ => self.counts.deeper += 1,
                }
                let mut flash = image.flash.clone();
                flash.restart(luck);
                let mut storage = self.storage(flash);
                Self::check(&mut storage, done);
                self.write(storage.into_flash(), done, depth + 1);
            }
        }
    }

    fn check(storage: &mut SimStorage<WRITE, ERASE, 1, 256>, done: usize) {
        let mut found = vec![0; Self::bytes(1).len()];
        storage.read(Self::area(Slot::A), ByteOffset(0), &mut found).expect("reading works");
        assert!(found[..done] == Self::bytes(1)[..done], "what was acknowledged is not there any more");
        storage.read(Self::area(Slot::B), ByteOffset(0), &mut found).expect("reading works");
        assert!(found == Self::bytes(9), "the other slot has changed");
    }
}

fn fill<S: DeviceStorage>(storage: &mut S, area: Area<'_>, keep: u64, bytes: Vec<u8>, piece: usize) {
    storage.prepare(area, ByteLength(bytes.len() as u64), ByteLength(keep)).expect("prepare works");
    for (number, part) in bytes.chunks(piece).enumerate() {
        storage.write(area, ByteOffset((number * piece) as u64), part).expect("write works");
    }
}
