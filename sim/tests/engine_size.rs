//! The engine's own memory, so that growth is noticed when it happens.

use ota_device::Updater;
use ota_sim::device::SimProfile;

#[test]
fn the_engine_stays_small() {
    let bytes = size_of::<Updater<'_, SimProfile>>();
    println!("the engine takes {bytes} bytes on this machine");
    // Pointers and lengths are twice as long here as on the devices that the budget of 2 KiB is for.
    assert!(bytes <= 4096, "{bytes}");
}
