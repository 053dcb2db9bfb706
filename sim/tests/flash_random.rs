//! Random operations on the flash backend with random cuts and faults, against a plain model of what was acknowledged.

use ota_core::device::{Area, DeviceStorage, Log, Slot};
use ota_core::number::{ByteLength, ByteOffset};
use ota_core::text::InstallTarget;
use ota_sim::flash::{CutPoint, Luck, SimFlash};
use ota_sim::storage::{SimStorage, layout};
use ota_storage::flash::FlashStorage;

const LOGS: [Log; 3] = [Log::Trusted, Log::Sets, Log::Journal];
const SEEDS: u64 = 150;
const OPERATIONS: u32 = 150;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % limit
    }
}

type Record = Vec<u8>;

#[derive(Default)]
struct Model {
    /// Records that are there, and one that may be, per log.
    logs: [(Vec<Record>, Option<Record>); 3],
    /// What the areas hold for sure.
    areas: [Vec<u8>; 4],
}

fn areas() -> [Area<'static>; 4] {
    let app = InstallTarget::new("app").unwrap();
    [Area::Slot(app, Slot::A), Area::Slot(app, Slot::B), Area::ReleaseBody, Area::Root(Slot::A)]
}

fn check<S: DeviceStorage>(storage: &mut S, model: &mut Model) {
    for (log, (sure, perhaps)) in LOGS.into_iter().zip(&mut model.logs) {
        let mut into = [0; 100];
        let mut read = |newest_first| {
            storage.record(log, newest_first, &mut into).unwrap().map(|length| into[..length].to_vec())
        };
        let newest = read(0);
        if perhaps.is_some() && newest == *perhaps {
            sure.extend(perhaps.take());
        }
        *perhaps = None;
        for (newest_first, expected) in sure.iter().rev().take(4).enumerate() {
            assert_eq!(read(newest_first as u32).as_ref(), Some(expected), "{log:?} {newest_first}");
        }
        assert_eq!(newest.is_some(), !sure.is_empty());
    }
    for (area, bytes) in areas().into_iter().zip(&model.areas) {
        let mut into = vec![0; bytes.len()];
        storage.read(area, ByteOffset(0), &mut into).unwrap();
        assert!(into == *bytes, "{area:?}");
    }
}

/// One operation; a fault ends it, and the model knows what is sure then.
fn operate<S: DeviceStorage>(storage: &mut S, model: &mut Model, random: &mut Random, number: u32) {
    if random.below(3) > 0 {
        let log = random.below(3) as usize;
        let mut record = vec![random.below(256) as u8; 4 + random.below(97) as usize];
        record[..4].copy_from_slice(&number.to_le_bytes());
        let (sure, perhaps) = &mut model.logs[log];
        // An append that failed may have left its record; the next one decides what is behind it.
        if perhaps.is_some() {
            return;
        }
        match storage.append(LOGS[log], &record) {
            Ok(()) => sure.push(record),
            Err(_) => *perhaps = Some(record),
        }
        return;
    }
    let index = random.below(4) as usize;
    let (area, known) = (areas()[index], &mut model.areas[index]);
    let erase = u64::from(storage.granularity().erase);
    let keep = random.below(known.len() as u64 / erase + 1) * erase;
    let size = keep + random.below(storage.capacity(area).unwrap().0 - keep + 1);
    known.truncate(keep as usize);
    if storage.prepare(area, ByteLength(size), ByteLength(keep)).is_err() {
        return;
    }
    while (known.len() as u64) < size {
        let left = size - known.len() as u64;
        let piece = vec![random.below(256) as u8; left.min(64 * (1 + random.below(8))) as usize];
        if storage.write(area, ByteOffset(known.len() as u64), &piece).is_err() {
            return;
        }
        known.extend(piece);
    }
}

fn run<const WRITE: usize, const ERASE: usize>() {
    let (layout, blocks) = layout::<WRITE, ERASE, 64>(2 * ERASE as u32, 1, 2, 100);
    let open = |flash| -> SimStorage<WRITE, ERASE, 1, 64> { FlashStorage::new(flash, layout).unwrap() };
    let (mut cuts, mut faults) = (0_u32, 0_u32);
    for seed in 0..SEEDS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut model = Model::default();
        let mut storage = open(SimFlash::new(blocks));
        storage.format().unwrap();
        for number in 0..OPERATIONS {
            let at = storage.flash_mut().operations() + random.below(12);
            let points = [CutPoint::Before, CutPoint::Torn(random.below(20) as usize), CutPoint::After];
            let point = points[random.below(3) as usize];
            let interrupted = random.below(4);
            match interrupted {
                0 => storage.flash_mut().cut_at(at, point),
                1 => storage.flash_mut().fail_at(at, point),
                _ => {}
            }
            operate(&mut storage, &mut model, &mut random, number);
            cuts += u32::from(storage.flash_mut().is_cut());
            faults += u32::from(interrupted == 1);
            // After a fault without a cut the device goes on, sometimes.
            storage.flash_mut().fail_at(u64::MAX, CutPoint::Before);
            if interrupted == 0 || random.below(8) == 0 {
                let lucks = [Luck::Untouched, Luck::Completed, Luck::Random(random.below(1 << 20))];
                let mut flash = storage.into_flash();
                flash.restart(lucks[random.below(3) as usize]);
                storage = open(flash);
            }
            check(&mut storage, &mut model);
        }
    }
    println!("units of {WRITE}, blocks of {ERASE}: {cuts} cuts, {faults} faults, {SEEDS} seeds");
    assert!(cuts > 1_000 && faults > 1_000);
}

#[test]
fn random_operations_with_cuts_and_faults_lose_nothing() {
    run::<4, 1024>();
    run::<8, 2048>();
}
