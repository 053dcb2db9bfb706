//! The error rates that a gate promises, shown on simulated stages whose true failure rate is known.

use super::*;
use ota_core::fleet::records::Budget;
use ota_core::time::Millis;

fn gate() -> Gate {
    Gate {
        sample_min: 20,
        failures_good_ppm: 20_000,
        failures_bad_ppm: 60_000,
        false_stop_ppm: 50_000,
        missed_stop_ppm: 50_000,
        budgets: Vec::new(),
        silent_max_ppm: 50_000,
        soak: Millis(0),
        attested_only: false,
        small_group: None,
    }
}

/// A small generator with a full period (Steele, Lea, Flood: `SplitMix`, 2014), so that a failing run can be repeated.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / 4_294_967_296.0
    }
}

/// One stage: devices end one after the other, and the gate is asked after every single one.
fn run(gate: &Gate, rate: f64, silent_rate: f64, devices: u64, dice: &mut Dice) -> Verdict {
    let (mut seen, mut looks) = (Evidence::default(), 0);
    for _ in 0..devices {
        if dice.next() < silent_rate {
            seen.silent += 1;
        } else if dice.next() < rate {
            seen.failed[3] += 1;
        } else {
            seen.confirmed += 1;
        }
        let (verdict, now) = judge(gate, looks, &seen);
        looks = now;
        if verdict != Verdict::Wait {
            return verdict;
        }
    }
    Verdict::Wait
}

fn shares(gate: &Gate, rate: f64, silent_rate: f64, runs: u32, seed: u64) -> (f64, f64) {
    let mut dice = Dice(seed);
    let (mut stopped, mut passed) = (0_u32, 0_u32);
    for _ in 0..runs {
        match run(gate, rate, silent_rate, 20_000, &mut dice) {
            Verdict::Fail(_) => stopped += 1,
            Verdict::Pass => passed += 1,
            Verdict::Wait => {}
        }
    }
    (f64::from(stopped) / f64::from(runs), f64::from(passed) / f64::from(runs))
}

#[test]
fn a_good_release_is_stopped_no_more_often_than_promised() {
    // 2,000 stages at the very edge of what is still good, looked at after each device.
    for (rate, silent) in [(0.02, 0.0), (0.01, 0.0), (0.02, 0.05)] {
        let (stopped, _) = shares(&gate(), rate, silent, 2_000, 1);
        assert!(stopped <= 0.05, "{stopped} of good stages at rate {rate}, silent {silent} were stopped");
    }
}

#[test]
fn a_bad_release_passes_no_more_often_than_promised() {
    for rate in [0.06, 0.08, 0.2] {
        let (stopped, passed) = shares(&gate(), rate, 0.0, 2_000, 2);
        assert!(passed <= 0.05, "{passed} of bad stages at rate {rate} passed");
        assert!(stopped >= 0.95, "only {stopped} of bad stages at rate {rate} were stopped");
    }
}

#[test]
fn a_good_release_does_pass() {
    let (_, passed) = shares(&gate(), 0.01, 0.0, 500, 3);
    assert!(passed >= 0.95, "only {passed} of good stages passed");
}

#[test]
fn budgets_of_causes_share_the_allowance_and_do_not_add_to_it() {
    let budget = |cause| Budget { cause, good_ppm: 20_000 };
    let budgets = vec![budget(Cause::Boot), budget(Cause::Download), budget(Cause::Install)];
    let (stopped, _) = shares(&Gate { budgets, ..gate() }, 0.02, 0.0, 2_000, 4);
    assert!(stopped <= 0.05, "{stopped}");
}

#[test]
fn a_naive_look_after_every_device_would_break_the_promise() {
    // What the sequential design is for: the same test at a fixed 5 %, looked at after every device.
    let (mut dice, mut stopped) = (Dice(5), 0_u32);
    for _ in 0..500 {
        let (mut failed, mut wrong) = (0, false);
        for ended in 1..=2_000_u64 {
            failed += u64::from(dice.next() < 0.02);
            wrong |= ended >= 20 && tail_at_least(failed, ended, 0.02) <= 0.05;
        }
        stopped += u32::from(wrong);
    }
    assert!(stopped > 100, "the comparison lost its point: {stopped} of 500");
}

#[test]
fn a_release_that_bricks_everything_is_stopped_at_the_first_look() {
    let seen = Evidence { silent: 20, ..Evidence::default() };
    let (verdict, _) = judge(&gate(), 0, &seen);
    assert_eq!(verdict, Verdict::Fail(Breach { what: Allowance::Silent, seen: 20, of: 20 }));
}

#[test]
fn nothing_is_judged_below_the_minimum_sample() {
    let seen = Evidence { failed: [0, 0, 0, 19], ..Evidence::default() };
    assert_eq!(judge(&gate(), 0, &seen), (Verdict::Wait, 0));
}

#[test]
fn open_attempts_are_no_evidence() {
    let seen = Evidence { open: 1_000_000, confirmed: 19, ..Evidence::default() };
    assert_eq!(judge(&gate(), 0, &seen).0, Verdict::Wait);
}

#[test]
fn a_look_is_spent_once() {
    let seen = Evidence { confirmed: 20, ..Evidence::default() };
    let (verdict, looks) = judge(&gate(), 0, &seen);
    assert_eq!((verdict, looks), (Verdict::Wait, 1));
    assert_eq!(judge(&gate(), looks, &seen), (Verdict::Wait, 1));
}

#[test]
fn binomial_tails_are_those_of_the_tables() {
    // Exact values from summing rationals: n = 10, p = 1/2 and n = 20, p = 1/10.
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    close(tail_at_most(2, 10, 0.5), 56.0 / 1024.0);
    close(tail_at_least(8, 10, 0.5), 56.0 / 1024.0);
    close(tail_at_most(0, 20, 0.1), 0.9_f64.powi(20));
    close(tail_at_least(1, 20, 0.1), 1.0 - 0.9_f64.powi(20));
    for count in 0..=30 {
        close(tail_at_most(count, 30, 0.3) + tail_at_least(count + 1, 30, 0.3), 1.0);
    }
    assert!(tail_at_least(6_000_000, 10_000_000, 0.5) < 1e-300);
}

#[test]
fn the_smallest_sample_that_can_pass_does_pass() {
    let needed = sample_that_can_pass(&gate());
    let (mut looks, mut verdict) = (0, Verdict::Wait);
    for confirmed in 1..=needed {
        assert_eq!(verdict, Verdict::Wait, "it passed with {confirmed} of {needed}");
        (verdict, looks) = judge(&gate(), looks, &Evidence { confirmed, ..Evidence::default() });
    }
    assert_eq!(verdict, Verdict::Pass);
}

#[test]
fn a_small_group_is_judged_by_share_once_all_of_it_has_ended_and_only_if_the_plan_says_so() {
    let asks = Gate { small_group: Some(SmallGroup::ByShare), ..gate() };
    let seen = |confirmed, failed, open| Evidence {
        confirmed,
        failed: [0, 0, 0, failed],
        open,
        ..Evidence::default()
    };
    assert_eq!(judge_whole(&asks, 0, 3, &seen(3, 0, 0)), Verdict::Pass);
    assert_eq!(judge_whole(&gate(), 0, 3, &seen(3, 0, 0)), Verdict::Wait, "a person decides");
    assert_eq!(judge_whole(&asks, 0, 3, &seen(2, 0, 0)), Verdict::Wait, "one has not had it yet");
    assert_eq!(judge_whole(&asks, 0, 3, &seen(3, 0, 1)), Verdict::Wait, "one more is at it");
    assert!(matches!(judge_whole(&asks, 0, 3, &seen(2, 1, 0)), Verdict::Fail(Breach { seen: 1, of: 3, .. })));
    let silent = Evidence { silent: 1, ..seen(2, 0, 0) };
    assert!(matches!(
        judge_whole(&asks, 0, 3, &silent),
        Verdict::Fail(Breach { what: Allowance::Silent, .. })
    ));
    let enough = sample_at(&asks, 0);
    assert_eq!(judge_whole(&asks, 0, enough, &seen(enough, 0, 0)), Verdict::Wait, "its look has not been");
    // After a look that decided nothing the next one is twice as far, and this group will never get there.
    assert_eq!(judge_whole(&asks, 1, enough, &seen(enough, 0, 0)), Verdict::Pass);
}
