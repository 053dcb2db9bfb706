//! The fast part of the power-cut sweep of a whole update: every single cut, on one geometry.

use ota_sim::flash::Luck;
use ota_sim::update_sweep::UpdateSweep;

#[test]
fn no_single_power_cut_leaves_anything_but_the_old_set_or_the_new_one() {
    let counts = UpdateSweep::<4, 1024>::run(vec![Luck::Untouched, Luck::Completed, Luck::Random(7)], 1);
    println!("{counts:?}");
    assert!(counts.single > 500, "{counts:?}");
    assert!(counts.began_new > 0 && counts.began_new < counts.lived, "{counts:?}");
}
