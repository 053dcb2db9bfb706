//! Gates: whether what a stage has shown is good enough to go on, or bad enough to stop.
//!
//! A gate is looked at again and again while devices report, so a plain confidence interval would err far more often
//! than it says. Here judgement falls at *looks*: the first when `sample_min` devices have ended, each next one when
//! their number has doubled. Look `k` may spend `1 / (k (k + 1))` of the error that the plan allows; these parts sum
//! to one over all looks, so by the union bound the whole error is never exceeded, however long a campaign runs.
//! (Error spending: Lan and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70, 1983. The
//! test at each look is the exact binomial one: Clopper and Pearson, Biometrika 26, 1934.)
//!
//! Two shares are told apart, as in Wald's sequential test: a release that fails on at most `failures_good_ppm` of
//! devices is stopped with probability at most `false_stop_ppm`; one that fails on at least `failures_bad_ppm`
//! passes with probability at most `missed_stop_ppm`. Between the two no promise is made.
//!
//! Budgets of single causes and the share of silent devices spend from the same allowance: it is divided evenly.
//!
//! A group that is too small for any of this waits for a person, or is judged as a whole if the plan says so: see
//! [`judge_whole`].

use ota_core::fleet::records::{AttemptPhase, Cause, Gate, SmallGroup};
use ota_core::wire::ReportCode;

use super::attempt::cause_of;

/// What a stage has shown, from its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Devices that confirmed the release after their boot.
    pub confirmed: u64,
    /// Devices that failed for good or rolled back, by [`Cause`].
    pub failed: [u64; 4],
    /// Devices that took the offer and then fell silent.
    pub silent: u64,
    /// Devices that are still at it.
    pub open: u64,
}

impl Evidence {
    /// Adds devices that stand in this phase for this cause.
    pub fn add(&mut self, phase: AttemptPhase, cause: u16, devices: u64) {
        use AttemptPhase as P;
        match phase {
            P::Confirmed => self.confirmed += devices,
            P::Failed | P::RolledBack | P::Rejected => {
                self.failed[position(cause_of(ReportCode::from_number(cause)))] += devices;
            }
            P::Silent => self.silent += devices,
            // What was taken back says nothing about the release.
            P::Cancelled => {}
            _ => self.open += devices,
        }
    }

    /// Devices that failed, whatever the cause.
    #[must_use]
    pub fn failed_in_all(&self) -> u64 {
        self.failed.iter().sum()
    }

    /// Devices that failed for this cause.
    #[must_use]
    pub const fn failed_by(&self, cause: Cause) -> u64 {
        self.failed[position(cause)]
    }

    /// Devices that ended, well or badly.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.confirmed + self.failed_in_all()
    }
}

const fn position(cause: Cause) -> usize {
    match cause {
        Cause::Download => 0,
        Cause::Verification => 1,
        Cause::Install => 2,
        Cause::Boot => 3,
    }
}

/// What a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough has been seen.
    Wait,
    /// It is good enough.
    Pass,
    /// It is too bad.
    Fail(Breach),
}

/// What was too bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach {
    /// Which allowance was exceeded.
    pub what: Allowance,
    /// How many devices did so.
    pub seen: u64,
    /// Of how many.
    pub of: u64,
}

/// What a gate allows a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// Failures of any cause.
    Failures,
    /// Failures of one cause.
    Cause(Cause),
    /// Silent devices.
    Silent,
}

impl core::fmt::Display for Breach {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let what = match self.what {
            Allowance::Failures => "failed",
            Allowance::Cause(Cause::Download) => "failed to download",
            Allowance::Cause(Cause::Verification) => "failed to verify",
            Allowance::Cause(Cause::Install) => "failed to install",
            Allowance::Cause(Cause::Boot) => "failed to boot",
            Allowance::Silent => "fell silent",
        };
        write!(f, "{} of {} devices {what}", self.seen, self.of)
    }
}

/// Judges what was seen. `looks` is how many looks there have been; the second result is how many there are now.
///
/// Call it as often as you like: between looks it waits.
#[must_use]
pub fn judge(gate: &Gate, looks: u32, seen: &Evidence) -> (Verdict, u32) {
    // Silent devices have ended for the time being: a release that bricks everything must reach its looks.
    let sample = seen.ended() + seen.silent;
    if sample < sample_at(gate, looks) {
        return (Verdict::Wait, looks);
    }
    // A sample that jumped over several looks spends the errors of the last one that it reached.
    let mut look = looks + 1;
    while sample >= sample_at(gate, look) {
        look += 1;
    }
    let part = 1.0 / (f64::from(look) * f64::from(look + 1));
    let allowances = 2.0 + u32::try_from(gate.budgets.len()).map_or(f64::INFINITY, f64::from);
    let false_stop = share(gate.false_stop_ppm) * part / allowances;
    let breach = |what, count, of, good_ppm| {
        (tail_at_least(count, of, share(good_ppm)) <= false_stop).then_some(Breach { what, seen: count, of })
    };
    let breaches = [
        breach(Allowance::Failures, seen.failed_in_all(), seen.ended(), gate.failures_good_ppm),
        breach(Allowance::Silent, seen.silent, sample, gate.silent_max_ppm),
    ];
    let budgets = gate.budgets.iter().map(|budget| {
        breach(
            Allowance::Cause(budget.cause),
            seen.failed[position(budget.cause)],
            seen.ended(),
            budget.good_ppm,
        )
    });
    if let Some(breach) = breaches.into_iter().chain(budgets).flatten().next() {
        return (Verdict::Fail(breach), look);
    }
    let missed_stop = share(gate.missed_stop_ppm) * part;
    // For passing, a silent device is one that failed: it has not shown that it works.
    let not_shown = seen.failed_in_all() + seen.silent;
    if tail_at_most(not_shown, sample, share(gate.failures_bad_ppm.max(1))) <= missed_stop {
        return (Verdict::Pass, look);
    }
    (Verdict::Wait, look)
}

/// Judges a group that has too few devices for the gate's next look, once every one of them has ended. `looks` is how many
/// looks there have been.
///
/// Nothing is concluded from a sample here: the whole group was seen. What that says about other devices is for people to
/// judge; the plan must have asked for it, and shows it to whoever approves.
#[must_use]
pub fn judge_whole(gate: &Gate, looks: u32, group: u64, seen: &Evidence) -> Verdict {
    let shown = seen.ended() + seen.silent;
    let is_small = gate.small_group == Some(SmallGroup::ByShare) && group < sample_at(gate, looks);
    if !is_small || seen.open > 0 || shown < group {
        return Verdict::Wait;
    }
    let not_shown = seen.failed_in_all() + seen.silent;
    if u128::from(not_shown) * 1_000_000 <= u128::from(shown) * u128::from(gate.failures_good_ppm) {
        return Verdict::Pass;
    }
    let what = if seen.failed_in_all() > 0 { Allowance::Failures } else { Allowance::Silent };
    Verdict::Fail(Breach { what, seen: not_shown, of: shown })
}

/// How many devices must have ended, well, badly or in silence, for the look after this many.
#[must_use]
pub fn sample_at(gate: &Gate, looks: u32) -> u64 {
    u64::from(gate.sample_min.max(1)).checked_shl(looks).filter(|_| looks < 40).unwrap_or(u64::MAX)
}

/// The fewest devices with which a gate can pass at its first look, none of them failing.
///
/// A gate whose group is smaller than this never passes by itself; the dry run says so.
#[must_use]
pub fn sample_that_can_pass(gate: &Gate) -> u64 {
    let (bad, missed) = (share(gate.failures_bad_ppm.max(1)), share(gate.missed_stop_ppm));
    (0..40_u32)
        .map(|looks| (sample_at(gate, looks), f64::from(looks + 1)))
        .find(|(sample, look)| tail_at_most(0, *sample, bad) <= missed / (look * (look + 1.0)))
        .map_or(u64::MAX, |(sample, _)| sample)
}

fn share(ppm: u32) -> f64 {
    f64::from(ppm) / 1e6
}

/// The probability that at least `count` of `of` devices fail when each does with probability `p`.
fn tail_at_least(count: u64, of: u64, p: f64) -> f64 {
    match count {
        0 => 1.0,
        _ if p <= 0.0 || count > of => 0.0,
        _ if p >= 1.0 => 1.0,
        // Terms fall from here on if the count is above the mean; below it, the other tail is the short one.
        _ if as_f64(count) > as_f64(of) * p => sum_from(count, of, p, Direction::Up),
        _ => 1.0 - sum_from(count - 1, of, p, Direction::Down),
    }
}

/// The probability that at most `count` of `of` devices fail when each does with probability `p`.
fn tail_at_most(count: u64, of: u64, p: f64) -> f64 {
    if count >= of || p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    if as_f64(count) < as_f64(of) * p {
        sum_from(count, of, p, Direction::Down)
    } else {
        1.0 - sum_from(count + 1, of, p, Direction::Up)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Up,
    Down,
}

/// Sums the binomial probabilities from `start` on, as long as they matter. The ratio of neighbours gives each next.
fn sum_from(start: u64, of: u64, p: f64, direction: Direction) -> f64 {
    let n = as_f64(of);
    let odds = p / (1.0 - p);
    let mut term = (ln_choose(of, start) + as_f64(start) * p.ln() + (n - as_f64(start)) * (-p).ln_1p()).exp();
    let (mut sum, mut at) = (term, start);
    while term > sum * 1e-17 {
        let k = as_f64(at);
        match direction {
            Direction::Up if at < of => {
                term *= (n - k) / (k + 1.0) * odds;
                at += 1;
            }
            Direction::Down if at > 0 => {
                term *= k / ((n - k + 1.0) * odds);
                at -= 1;
            }
            _ => break,
        }
        sum += term;
    }
    sum.min(1.0)
}

/// Logarithm of the number of ways to choose `k` of `n`.
fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// Logarithm of a factorial: a product while it is short, then Stirling's series (error below 1e-12 from 20 on).
fn ln_factorial(n: u64) -> f64 {
    if n < 20 {
        return (1..=n).map(|factor| as_f64(factor).ln()).sum();
    }
    let x = as_f64(n);
    let correction = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    x * x.ln() - x + 0.5 * (core::f64::consts::TAU * x).ln() + correction
}

/// Counts of devices are far below 2^53, where every whole number has a float of its own.
fn as_f64(count: u64) -> f64 {
    let (high, low) = (u32::try_from(count >> 32).unwrap_or(u32::MAX), u32::try_from(count & 0xffff_ffff));
    f64::from(high) * 4_294_967_296.0 + low.map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests;
