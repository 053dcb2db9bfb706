//! Waiting longer after each failure, with jitter, so that a fleet does not come back in step.

use ota_core::time::Millis;

use crate::random::Jitter;

/// Doubles from `first` to `most`; each wait is drawn from the upper half of its span.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Millis,
    most: Millis,
    failures: u8,
}

impl Backoff {
    pub(crate) const fn new(first: Millis, most: Millis) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The next wait.
    pub(crate) fn next(&mut self, jitter: &mut Jitter) -> Millis {
        let doubled =
            self.first.0.saturating_mul(1_u64.checked_shl(u32::from(self.failures)).unwrap_or(u64::MAX));
        self.failures = self.failures.saturating_add(1).min(40);
        let span = doubled.min(self.most.0);
        let half = span / 2;
        Millis(half.saturating_add(jitter.up_to(span.saturating_sub(half))))
    }

    /// The next wait, of at most so long: once it is, waits grow no further.
    pub(crate) fn next_up_to(&mut self, most: Millis, jitter: &mut Jitter) -> Millis {
        let wait = self.next(jitter);
        if wait <= most {
            return wait;
        }
        self.failures = self.failures.saturating_sub(1);
        most
    }

    /// Something worked: the next wait is the first again.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_again_after_a_success() {
        let mut jitter = Jitter::new(7);
        let mut backoff = Backoff::new(Millis(1000), Millis(60_000));
        for span in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            let wait = backoff.next(&mut jitter).0;
            assert!((span / 2..=span).contains(&wait), "{wait} of {span}");
        }
        for _ in 0..100 {
            assert!(backoff.next(&mut jitter).0 <= 60_000);
        }
        backoff.reset();
        assert!(backoff.next(&mut jitter).0 <= 1000);
    }
}
