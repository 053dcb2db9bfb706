//! The fast part of the sweep over the flash backend: every cut of a short run, and every cut of each recovery.
//! The long part is `cargo xtask soak flash`.

use ota_core::device::{DeviceStorage, Log};
use ota_sim::flash::{CutPoint, Luck, SimFlash};
use ota_sim::storage::layout;
use ota_sim::storage_sweep::{AreaSweep, Counts, LogSweep, Thoroughness};
use ota_storage::flash::FlashStorage;

const LUCKS: [Luck; 3] = [Luck::Untouched, Luck::Completed, Luck::Random(0x5EED)];

fn how(starts: u32) -> Thoroughness {
    Thoroughness { starts, depth: 2, lucks: LUCKS.to_vec(), record_bytes_max: 100, segments: 2 }
}

fn report(name: &str, counts: Counts, nested_min: u64) {
    println!("{name}: {counts}");
    assert!(counts.single > 100 && counts.nested > nested_min, "the sweep was too short: {counts}");
    assert!(counts.torn > 100, "hardly any cut tore something: {counts}");
}

#[test]
fn a_log_survives_every_cut_with_words_as_units() {
    let counts = LogSweep::<4, 1024, 1, 64>::run(how(24));
    report("log, units of 4, blocks of 1024", counts, 20_000);
    assert!(counts.retraced > 0, "no torn mark was ever completed");
}

#[test]
fn a_log_survives_every_cut_with_pages_of_4_kib() {
    report("log, units of 1, blocks of 4096", LogSweep::<1, 4096, 1, 64>::run(how(12)), 5_000);
}

#[test]
fn a_log_survives_every_cut_with_double_words_and_three_segments() {
    let how = Thoroughness { segments: 3, ..how(16) };
    report("log, units of 8, blocks of 2048", LogSweep::<8, 2048, 8, 64>::run(how), 10_000);
}

#[test]
fn an_area_survives_every_cut() {
    report("area, units of 4, blocks of 1024", AreaSweep::<4, 1024>::run(2, LUCKS.to_vec()), 300);
    report("area, units of 256, blocks of 4096", AreaSweep::<256, 4096>::run(2, LUCKS.to_vec()), 300);
}

/// A weak battery: the power goes at the same operation of every start, far more often than segments have spare
/// sessions for. When it is good again, everything is there, and the log goes on.
#[test]
fn a_supply_that_fails_at_the_same_operation_again_and_again_loses_nothing() {
    let (layout, blocks) = layout::<4, 1024, 64>(1024, 1, 2, 100);
    let open = |flash| FlashStorage::<SimFlash<4, 1024>, _, 64>::new(flash, layout).unwrap();
    let mut cuts = 0;
    for operation in 0..16 {
        for point in [CutPoint::Before, CutPoint::Torn(0), CutPoint::After] {
            let mut storage = open(SimFlash::new(blocks));
            storage.format().unwrap();
            for number in 0..6 {
                storage.append(Log::Sets, &[number; 90]).unwrap();
            }
            let mut flash = storage.into_flash();
            let mut newest = 5;
            for start in 0..60_u8 {
                flash.restart(Luck::Random(u64::from(start)));
                flash.cut_at(flash.operations() + operation, point);
                let mut storage = open(flash);
                let mut into = [0; 100];
                // What is told is right; being told nothing is no loss.
                if let Ok(found) = storage.record(Log::Sets, 0, &mut into) {
                    assert_eq!(found, Some(90));
                    assert!(into[0] == newest || into[0] == newest + 1, "{} after {newest}", into[0]);
                    newest = into[0];
                    if storage.append(Log::Sets, &[newest + 1; 90]).is_ok() {
                        newest += 1;
                    }
                }
                flash = storage.into_flash();
                cuts += u32::from(flash.is_cut());
            }
            flash.restart(Luck::Untouched);
            let mut storage = open(flash);
            for newest_first in 0..4 {
                let mut into = [0; 100];
                assert_eq!(storage.record(Log::Sets, newest_first, &mut into), Ok(Some(90)));
                assert!(into[0] + newest_first as u8 == newest || into[0] + newest_first as u8 == newest + 1);
            }
            storage.append(Log::Sets, b"goes on").unwrap();
        }
    }
    println!("{cuts} cuts at the same operations again and again");
    assert!(cuts > 1_000);
}
