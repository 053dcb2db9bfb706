//! The behaviour suite of [`DeviceStorage`]: every sentence of the trait that needs no power cut to be checked.

use alloc::vec;
use alloc::vec::Vec;

use crate::device::{Area, DeviceStorage, Log, Slot, StorageFault, StorageFaultKind};
use crate::limits::{RECORD_BYTES_MAX, RECORDS_KEPT_MIN};
use crate::number::{ByteLength, ByteOffset, FileIndex};
use crate::text::InstallTarget;

const LOGS: [Log; 3] = [Log::Trusted, Log::Sets, Log::Journal];
/// Enough appends that every backend has to make room several times.
const APPENDS: u32 = 300;

/// Runs the whole suite and panics at the first promise that is not kept.
///
/// `fresh` gives an empty storage with the install target `app`, none called `missing`, every other kind of area
/// (block maps of the first two files), and room for 1 KiB in each area and
/// for two erase granules in the slots and the body of a release. `reopen` is a
/// restart without a power cut: it drops the storage and opens what it left.
pub fn device_storage<S: DeviceStorage>(mut fresh: impl FnMut() -> S, mut reopen: impl FnMut(S) -> S) {
    the_granularity_is_powers_of_two(&fresh());
    an_unknown_area_is_refused_everywhere(&mut fresh());
    written_bytes_read_back(&mut fresh());
    pieces_may_come_in_any_order(&mut fresh());
    too_much_is_refused_before_anything_is_erased(&mut fresh());
    a_wrong_keep_is_refused(&mut fresh());
    the_front_is_kept(fresh(), &mut reopen);
    an_area_can_be_prepared_again_and_again(&mut fresh());
    writes_outside_what_was_prepared_are_refused(fresh(), &mut reopen);
    reads_outside_are_refused(&mut fresh());
    areas_are_independent(fresh(), &mut reopen);
    an_empty_log_holds_nothing(&mut fresh());
    records_come_newest_first(fresh(), &mut reopen);
    a_wrong_record_is_refused_and_changes_nothing(&mut fresh());
    a_short_buffer_is_refused(&mut fresh());
    logs_are_independent(fresh(), &mut reopen);
    for log in LOGS {
        the_newest_records_are_kept(fresh(), &mut reopen, log, |_| RECORD_BYTES_MAX);
        the_newest_records_are_kept(fresh(), &mut reopen, log, |_| 1);
        the_newest_records_are_kept(fresh(), &mut reopen, log, |number| {
            1 + (number as usize).wrapping_mul(7919) % RECORD_BYTES_MAX
        });
    }
}

fn app(slot: Slot) -> Area<'static> {
    Area::Slot(InstallTarget::new("app").expect("a name"), slot)
}

fn every_area() -> Vec<Area<'static>> {
    let mut areas = vec![Area::ReleaseBody, Area::ReleaseEnvelope, Area::RootEnvelope];
    for slot in [Slot::A, Slot::B] {
        areas.extend([app(slot), Area::Root(slot), Area::SetBody(slot)]);
    }
    areas.extend([Area::BlockMap(FileIndex(0)), Area::BlockMap(FileIndex(1))]);
    areas
}

fn pattern(seed: u64, length: u64) -> Vec<u8> {
    (0..length).map(|at| (seed.wrapping_mul(31).wrapping_add(at.wrapping_mul(at | 3)) >> 2) as u8).collect()
}

fn is<T: core::fmt::Debug>(found: Result<T, StorageFault>, kind: StorageFaultKind, promise: &str) {
    assert_eq!(found.expect_err(promise).kind, kind, "{promise}");
}

fn check<S: DeviceStorage>(storage: &mut S, area: Area<'_>, offset: u64, expected: &[u8], promise: &str) {
    let mut into = vec![0; expected.len()];
    storage.read(area, ByteOffset(offset), &mut into).expect(promise);
    assert!(into == expected, "{promise}: {area:?} from {offset}");
}

/// Prepares an area and fills it with a pattern in pieces of a few granules.
fn fill<S: DeviceStorage>(storage: &mut S, area: Area<'_>, seed: u64, length: u64) -> Vec<u8> {
    let bytes = pattern(seed, length);
    storage.prepare(area, ByteLength(length), ByteLength(0)).expect("prepare within the capacity");
    let piece = u64::from(storage.granularity().write) * 5;
    for (number, part) in bytes.chunks(piece as usize).enumerate() {
        storage.write(area, ByteOffset(number as u64 * piece), part).expect("write what was prepared");
    }
    bytes
}

fn the_granularity_is_powers_of_two<S: DeviceStorage>(storage: &S) {
    let granularity = storage.granularity();
    assert!(granularity.write.is_power_of_two(), "the write granularity is a power of two");
    assert!(granularity.erase.is_power_of_two(), "the erase granularity is a power of two");
    assert!(granularity.write <= granularity.erase, "the write granularity divides the erase granularity");
    for area in every_area() {
        let capacity = storage.capacity(area).expect("every kind of area is there").0;
        let granules = if matches!(area, Area::Slot(..) | Area::ReleaseBody) { 2 } else { 0 };
        assert!(
            capacity >= (u64::from(granularity.erase) * granules).max(1024),
            "{area:?} has room for the suite"
        );
    }
}

fn an_unknown_area_is_refused_everywhere<S: DeviceStorage>(storage: &mut S) {
    let promise = "an area that the device does not have is refused";
    let missing = InstallTarget::new("missing").expect("a name");
    for area in [Area::Slot(missing, Slot::A), Area::BlockMap(FileIndex(u16::MAX))] {
        assert_eq!(storage.capacity(area), None, "{promise}");
        is(storage.prepare(area, ByteLength(1), ByteLength(0)), StorageFaultKind::NoSuchArea, promise);
        is(storage.write(area, ByteOffset(0), &[1]), StorageFaultKind::NoSuchArea, promise);
        is(storage.read(area, ByteOffset(0), &mut [0]), StorageFaultKind::NoSuchArea, promise);
    }
}

fn written_bytes_read_back<S: DeviceStorage>(storage: &mut S) {
    let promise = "what was written reads back, at any offset and in any length";
    let granule = u64::from(storage.granularity().erase);
    // The last piece is no multiple of anything.
    let length = (granule + granule / 2 + 1).max(97);
    let bytes = fill(storage, app(Slot::A), 1, length);
    check(storage, app(Slot::A), 0, &bytes, promise);
    for offset in [1, 2, 3, length / 2, length - 1] {
        for end in [offset, offset + 1, (offset + 7).min(length), length] {
            check(storage, app(Slot::A), offset, &bytes[offset as usize..end as usize], promise);
        }
    }
    storage.prepare(app(Slot::A), ByteLength(0), ByteLength(0)).expect("an area may be prepared for nothing");
}

fn pieces_may_come_in_any_order<S: DeviceStorage>(storage: &mut S) {
    let promise = "pieces may be written in any order";
    let piece = u64::from(storage.granularity().write);
    let length = (u64::from(storage.granularity().erase) * 2).clamp(piece * 16, piece * 64);
    let bytes = pattern(2, length);
    storage.prepare(app(Slot::B), ByteLength(length), ByteLength(0)).expect(promise);
    let count = length / piece;
    // 5 has no common factor with a power of two, so every piece has its turn.
    for step in 0..count {
        let at = (step * 5 + 3) % count * piece;
        let part = &bytes[at as usize..(at + piece) as usize];
        storage.write(app(Slot::B), ByteOffset(at), part).expect(promise);
        check(storage, app(Slot::B), at, part, "a written piece reads back at once");
    }
    check(storage, app(Slot::B), 0, &bytes, promise);
}

fn too_much_is_refused_before_anything_is_erased<S: DeviceStorage>(storage: &mut S) {
    let promise = "a size over the capacity is refused before anything is erased";
    for area in every_area() {
        let capacity = storage.capacity(area).expect("every kind of area is there");
        let bytes = fill(storage, area, 3, 100);
        for size in [capacity.0 + 1, u64::from(u32::MAX) + 1, u64::MAX] {
            is(storage.prepare(area, ByteLength(size), ByteLength(0)), StorageFaultKind::Full, promise);
        }
        check(storage, area, 0, &bytes, promise);
        storage.prepare(area, capacity, ByteLength(0)).expect("the whole capacity can be prepared");
    }
}

fn a_wrong_keep_is_refused<S: DeviceStorage>(storage: &mut S) {
    let promise = "what is kept is at most the size and a multiple of the erase granularity";
    let erase = u64::from(storage.granularity().erase);
    fill(storage, app(Slot::A), 4, erase * 2);
    let mut wrong = vec![(erase, erase * 2), (0, erase)];
    if erase > 1 {
        wrong.extend([(erase, 1), (erase * 2, erase + 1), (erase * 2, erase - 1)]);
    }
    for (size, keep) in wrong {
        let found = storage.prepare(app(Slot::A), ByteLength(size), ByteLength(keep));
        is(found, StorageFaultKind::OutOfBounds, promise);
    }
}

fn the_front_is_kept<S: DeviceStorage>(mut storage: S, reopen: &mut impl FnMut(S) -> S) {
    let promise = "the first bytes stay as they are, what is behind them can be written again";
    let erase = u64::from(storage.granularity().erase);
    let old = fill(&mut storage, app(Slot::A), 5, erase * 2);
    storage = reopen(storage);
    storage.prepare(app(Slot::A), ByteLength(erase * 2), ByteLength(erase)).expect(promise);
    check(&mut storage, app(Slot::A), 0, &old[..erase as usize], promise);
    let new = pattern(6, erase);
    storage.write(app(Slot::A), ByteOffset(erase), &new).expect(promise);
    storage = reopen(storage);
    check(&mut storage, app(Slot::A), 0, &old[..erase as usize], promise);
    check(&mut storage, app(Slot::A), erase, &new, promise);
}

fn an_area_can_be_prepared_again_and_again<S: DeviceStorage>(storage: &mut S) {
    let erase = u64::from(storage.granularity().erase);
    for round in 0..6 {
        let length = [erase * 2, 1, erase + 1][round as usize % 3];
        let bytes = fill(storage, Area::ReleaseBody, round, length);
        check(storage, Area::ReleaseBody, 0, &bytes, "an area can be prepared again and again");
    }
}

fn writes_outside_what_was_prepared_are_refused<S: DeviceStorage>(
    mut storage: S,
    reopen: &mut impl FnMut(S) -> S,
) {
    let promise = "a write outside of what was prepared since the restart is refused";
    let area = app(Slot::A);
    let erase = u64::from(storage.granularity().erase);
    let granule = vec![7; storage.granularity().write as usize];
    is(storage.write(area, ByteOffset(0), &granule), StorageFaultKind::OutOfBounds, promise);
    let bytes = fill(&mut storage, area, 8, erase);
    for offset in [erase, erase * 2, u64::MAX - granule.len() as u64 + 1] {
        is(storage.write(area, ByteOffset(offset), &granule), StorageFaultKind::OutOfBounds, promise);
    }
    let long = vec![7; erase as usize + granule.len()];
    is(storage.write(area, ByteOffset(0), &long), StorageFaultKind::OutOfBounds, promise);
    if granule.len() > 1 {
        let promise = "a piece that does not fit the granularity is refused";
        storage.prepare(area, ByteLength(erase * 2), ByteLength(0)).expect(promise);
        is(storage.write(area, ByteOffset(1), &granule), StorageFaultKind::OutOfBounds, promise);
        is(storage.write(area, ByteOffset(0), &granule[1..]), StorageFaultKind::OutOfBounds, promise);
        fill(&mut storage, area, 8, erase);
    }
    storage = reopen(storage);
    is(storage.write(area, ByteOffset(0), &granule), StorageFaultKind::OutOfBounds, promise);
    storage.prepare(area, ByteLength(erase * 2), ByteLength(erase)).expect("keep what was written");
    let promise = "a write to what was kept is refused";
    is(storage.write(area, ByteOffset(0), &granule), StorageFaultKind::OutOfBounds, promise);
    check(&mut storage, area, 0, &bytes, promise);
}

fn reads_outside_are_refused<S: DeviceStorage>(storage: &mut S) {
    let promise = "a read past the capacity is refused";
    for area in every_area() {
        let capacity = storage.capacity(area).expect("every kind of area is there").0;
        for (offset, length) in [(capacity, 1), (capacity - 1, 2), (u64::MAX, 1), (u64::MAX - 1, 2)] {
            let found = storage.read(area, ByteOffset(offset), &mut vec![0; length]);
            is(found, StorageFaultKind::OutOfBounds, promise);
        }
    }
}

fn areas_are_independent<S: DeviceStorage>(mut storage: S, reopen: &mut impl FnMut(S) -> S) {
    let promise = "no area and no log touches another";
    let areas = every_area();
    let mut kept = Vec::new();
    for (seed, area) in areas.iter().enumerate() {
        let capacity = storage.capacity(*area).expect("every kind of area is there").0;
        kept.push(fill(&mut storage, *area, seed as u64, capacity));
    }
    for number in 0..20 {
        for log in LOGS {
            storage.append(log, &pattern(number, 100)).expect("append");
        }
    }
    storage = reopen(storage);
    for (area, bytes) in areas.iter().zip(&kept) {
        check(&mut storage, *area, 0, bytes, promise);
    }
    storage.prepare(areas[0], ByteLength(1), ByteLength(0)).expect("prepare one of them");
    for (area, bytes) in areas.iter().zip(&kept).skip(1) {
        check(&mut storage, *area, 0, bytes, promise);
    }
}

fn record<S: DeviceStorage>(storage: &mut S, log: Log, newest_first: u32) -> Option<Vec<u8>> {
    let mut into = [0xA5; RECORD_BYTES_MAX];
    let length = storage.record(log, newest_first, &mut into).expect("a record is read")?;
    Some(into[..length].to_vec())
}

fn an_empty_log_holds_nothing<S: DeviceStorage>(storage: &mut S) {
    for log in LOGS {
        for newest_first in [0, 1, RECORDS_KEPT_MIN, u32::MAX] {
            assert_eq!(record(storage, log, newest_first), None, "an empty log holds nothing");
        }
    }
}

fn records_come_newest_first<S: DeviceStorage>(mut storage: S, reopen: &mut impl FnMut(S) -> S) {
    for round in 0..2 {
        for number in 0..u64::from(RECORDS_KEPT_MIN) {
            storage.append(Log::Sets, &pattern(number + round, 10 + number)).expect("append");
        }
        storage = reopen(storage);
        for number in 0..u64::from(RECORDS_KEPT_MIN) {
            let expected = pattern(number + round, 10 + number);
            let newest_first = RECORDS_KEPT_MIN - 1 - number as u32;
            let found = record(&mut storage, Log::Sets, newest_first);
            assert_eq!(found, Some(expected), "records come newest first");
        }
    }
}

fn a_wrong_record_is_refused_and_changes_nothing<S: DeviceStorage>(storage: &mut S) {
    let promise = "an empty or too long record is refused and changes nothing";
    for log in LOGS {
        storage.append(log, b"kept").expect("append");
        is(storage.append(log, &[]), StorageFaultKind::OutOfBounds, promise);
        is(storage.append(log, &[1; RECORD_BYTES_MAX + 1]), StorageFaultKind::OutOfBounds, promise);
        assert_eq!(record(storage, log, 0).as_deref(), Some(b"kept".as_slice()), "{promise}");
        assert_eq!(record(storage, log, 1), None, "{promise}");
        storage.append(log, &[1; RECORD_BYTES_MAX]).expect("the longest record is taken");
    }
}

fn a_short_buffer_is_refused<S: DeviceStorage>(storage: &mut S) {
    storage.append(Log::Journal, &[9; 100]).expect("append");
    for length in [0, 1, 99] {
        let found = storage.record(Log::Journal, 0, &mut vec![0; length]);
        is(found, StorageFaultKind::OutOfBounds, "a buffer that is too short for the record is refused");
    }
    assert_eq!(
        storage.record(Log::Journal, 0, &mut [0; 100]),
        Ok(Some(100)),
        "a buffer that just fits will do"
    );
}

fn logs_are_independent<S: DeviceStorage>(mut storage: S, reopen: &mut impl FnMut(S) -> S) {
    storage.append(Log::Trusted, b"trusted").expect("append");
    storage.append(Log::Sets, b"sets").expect("append");
    for number in 0..APPENDS {
        storage.append(Log::Journal, &pattern(number.into(), 50)).expect("append");
    }
    storage = reopen(storage);
    let promise = "a log is not touched by another";
    assert_eq!(record(&mut storage, Log::Trusted, 0).as_deref(), Some(b"trusted".as_slice()), "{promise}");
    assert_eq!(record(&mut storage, Log::Sets, 0).as_deref(), Some(b"sets".as_slice()), "{promise}");
    assert_eq!(record(&mut storage, Log::Sets, 1), None, "{promise}");
}

fn the_newest_records_are_kept<S: DeviceStorage>(
    mut storage: S,
    reopen: &mut impl FnMut(S) -> S,
    log: Log,
    length: impl Fn(u32) -> usize,
) {
    let expected = |number: u32| pattern(number.into(), length(number) as u64);
    for number in 0..APPENDS {
        storage.append(log, &expected(number)).expect("append never runs out of room");
        if number % 13 == 5 {
            storage = reopen(storage);
        }
        let mut ended = false;
        for newest_first in 0..RECORDS_KEPT_MIN + 3 {
            let found = record(&mut storage, log, newest_first);
            let Some(written) = number.checked_sub(newest_first) else {
                assert_eq!(found, None, "a log holds nothing that was not appended");
                continue;
            };
            match found {
                Some(bytes) => {
                    assert!(!ended, "nothing comes behind the oldest record");
                    assert!(
                        bytes == expected(written),
                        "record {newest_first} of {log:?} is what was appended"
                    );
                }
                None => ended = true,
            }
            assert!(
                !ended || newest_first >= RECORDS_KEPT_MIN,
                "the newest {RECORDS_KEPT_MIN} records are kept"
            );
        }
    }
}
