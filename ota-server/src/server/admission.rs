//! How many check-ins a second are taken: after an outage a whole fleet comes back at once, and each of its check-ins may
//! lead to a commit. Those above the rate are put off before the store is asked, each to a later moment of its own, so that
//! they come back spread over just the time that the rate needs for them.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ota_core::time::{Millis, Timestamp};

/// The least and the longest wait of a device that is put off.
const WAIT_MIN: Millis = Millis(1_000);
const WAIT_MAX: Millis = Millis(15 * 60_000);

/// Takes check-ins up to a rate.
#[derive(Debug)]
pub(super) struct Admission {
    /// Check-ins a second; 0 for any number.
    rate: u32,
    state: Mutex<State>,
    put_off: AtomicU64,
}

/// Both in microseconds since 1970.
#[derive(Debug, Default)]
struct State {
    /// When the bucket of one second's check-ins will be full again.
    full_at: u64,
    /// Up to when those who were put off have been told to come back.
    told_until: u64,
}

impl Admission {
    pub(super) const fn new(rate: u32) -> Self {
        let state = State { full_at: 0, told_until: 0 };
        Self { rate, state: Mutex::new(state), put_off: AtomicU64::new(0) }
    }

    /// Takes a check-in, or says when to come back. `chance` is unpredictable: it keeps devices apart that were told the
    /// same.
    pub(super) fn admit(&self, now: Timestamp, chance: u16) -> Result<(), Millis> {
        if self.rate == 0 {
            return Ok(());
        }
        let each = (1_000_000 / u64::from(self.rate)).max(1);
        let now = now.0.saturating_mul(1_000);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // No later than an empty bucket is full again: a clock that was set back shuts nobody out for longer.
        state.full_at = state.full_at.clamp(now, now.saturating_add(1_000_000));
        let full_at = state.full_at.saturating_add(each);
        if full_at <= now.saturating_add(1_000_000) {
            state.full_at = full_at;
            return Ok(());
        }
        let most = now.saturating_add(WAIT_MAX.0 * 1_000);
        let from = state.told_until.clamp(now.saturating_add(WAIT_MIN.0 * 1_000), most);
        state.told_until = from.saturating_add(each);
        drop(state);
        self.put_off.fetch_add(1, Ordering::Relaxed);
        let wait = (from - now) / 1_000;
        // Up to an eighth more.
        Err(Millis(wait + wait * u64::from(chance) / (8 * u64::from(u16::MAX))))
    }

    /// How many were put off since the start.
    pub(super) fn put_off(&self) -> u64 {
        self.put_off.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_comes_back_at_once_is_taken_at_the_rate_and_everybody_comes_in() {
        let admission = Admission::new(100);
        let start = 1_000_000;
        // Each device's next try, in milliseconds; all at once at first.
        let mut waiting: Vec<u64> = vec![start; 5_000];
        let (mut taken, mut now) = (Vec::new(), start);
        while let Some(due) = waiting.iter().copied().min() {
            now = now.max(due);
            let (here, later): (Vec<u64>, Vec<u64>) = waiting.into_iter().partition(|due| *due <= now);
            waiting = later;
            for (index, _) in here.into_iter().enumerate() {
                match admission.admit(Timestamp(now), u16::try_from(index * 7919 % 65_536).unwrap()) {
                    Ok(()) => taken.push(now),
                    Err(Millis(wait)) => {
                        assert!((WAIT_MIN.0..=WAIT_MAX.0 * 9 / 8).contains(&wait), "{wait}");
                        waiting.push(now + wait);
                    }
                }
            }
        }
        assert_eq!(taken.len(), 5_000);
        // At most the rate in any second, and its burst once.
        for second in start / 1000..=now / 1000 {
            let count = taken.iter().filter(|at| **at / 1000 == second).count();
            assert!(count <= 200, "{count} in second {second}");
        }
        // 5,000 at 100 a second need 50 seconds; being told when to come back costs no more than as much again.
        assert!(now - start < 120_000, "{}", now - start);
        assert!(admission.put_off() >= 4_900);
    }

    #[test]
    fn no_rate_takes_everybody_and_a_clock_that_goes_back_shuts_nobody_out() {
        let open = Admission::new(0);
        assert!((0..100_000).all(|_| open.admit(Timestamp(5), 0).is_ok()));
        let admission = Admission::new(10);
        while admission.admit(Timestamp(u64::MAX / 4_000), 0).is_ok() {}
        assert!(admission.admit(Timestamp(0), 0).unwrap_err() <= WAIT_MAX);
        assert!(admission.admit(Timestamp(2_000), 0).is_ok());
    }
}
