//! One update from check-in to confirmed, the real engine against a real storage and signed releases.

use ota_core::time::Millis;
use ota_core::wire::Phase;
use ota_sim::device::firmware_image;
use ota_sim::random::Dice;
use ota_sim::workshop::{SourceFile, Terms};
use ota_sim::world::{End, World};

fn file(name: &str, revision: &str, target: &str, length: usize, seed: u64) -> SourceFile {
    SourceFile::new(name, revision, target, Dice::new(seed).bytes(length))
}

#[test]
fn a_device_takes_a_file_and_keeps_it_once_it_has_checked_in_again() {
    let old = [file("app.bin", "1", "app", 3000, 1)];
    let new = [file("app.bin", "2", "app", 50_001, 2)];
    let mut world = World::in_memory(1, &old);
    world.server.release = Some(world.server.workshop.release(&Terms::default(), new.to_vec()));
    let end = world.run_through(Millis(60_000), |world, _| world.server.has_heard(Phase::Confirmed));
    assert_eq!(end, End::Reached, "{:?} {:?}", world.events, world.server.heard);
    assert!(world.has_installed(&new));
}

#[test]
fn a_device_takes_firmware_and_files_together() {
    let firmware = |seed| firmware_image(&Dice::new(seed).bytes(20_000));
    let old = [SourceFile::new("fw.bin", "1", "firmware", firmware(1)), file("app.bin", "1", "app", 3000, 1)];
    let new = [
        SourceFile::new("fw.bin", "2", "firmware", firmware(2)).in_units(4096),
        file("app.bin", "2", "app", 10_000, 4).in_units(1024),
    ];
    let mut world = World::in_memory(1, &old);
    world.server.release =
        Some(world.server.workshop.release(&Terms { epoch: 2, ..Terms::default() }, new.to_vec()));
    let end = world.run_through(Millis(60_000), |world, _| world.server.has_heard(Phase::Confirmed));
    assert_eq!(end, End::Reached, "{:?} {:?}", world.events, world.server.heard);
    assert!(world.has_installed(&new));
}
