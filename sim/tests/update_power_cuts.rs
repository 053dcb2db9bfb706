//! The fast part of the power-cut sweep of a whole update: every single cut of three updates, on one geometry.

use ota_sim::flash::Luck;
use ota_sim::medium::FlashMedium;
use ota_sim::update_sweep::{Counts, Course, Scenario, UpdateSweep};

fn on_flash(course: Course) -> Counts {
    let lucks = vec![Luck::Untouched, Luck::Completed, Luck::Random(7)];
    let scenario = Scenario { course, seed: 0, depth: 1 };
    let counts = UpdateSweep::run(&FlashMedium::<4, 1024>::new(4096), lucks, scenario, 1024);
    println!("{course:?}: {counts}");
    assert!(counts.single > 500, "{counts}");
    assert!(counts.began_new > 0 && counts.began_new < counts.single, "{counts}");
    counts
}

#[test]
fn no_single_power_cut_leaves_anything_but_the_old_set_or_the_new_one() {
    on_flash(Course::Kept);
}

#[test]
fn no_single_power_cut_keeps_a_set_that_was_given_up() {
    on_flash(Course::GivenUp);
}

#[test]
fn no_single_power_cut_takes_back_a_root_that_came_in_mid_update() {
    assert!(on_flash(Course::Rotated).began_rotated > 0);
}
