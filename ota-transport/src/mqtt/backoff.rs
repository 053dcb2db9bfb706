//! Pauses between attempts to connect: doubling up to a limit, each shortened at random so that servers that lost the
//! same broker do not come back in step ("full jitter" keeps half: Brooker, "Exponential Backoff And Jitter", 2015).

use core::hash::{BuildHasher, Hasher};
use core::time::Duration;
use std::hash::RandomState;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    random: u64,
}

impl Backoff {
    /// Each process draws other pauses, and each name in it too.
    pub(super) fn new(name: &[u8]) -> Self {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write(name);
        Self { pause: FIRST, random: hasher.finish() | 1 }
    }

    /// The next pause: between half of the current one and all of it; the current one doubles.
    pub(super) fn next_pause(&mut self) -> Duration {
        // Xorshift (Marsaglia, 2003): unpredictability does not matter here, spreading does.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let half = self.pause / 2;
        let share = u32::try_from(self.random >> 48).unwrap_or(0);
        let pause = half + half * share / 0x1_0000;
        self.pause = (self.pause * 2).min(LONGEST);
        pause
    }

    pub(super) fn reset(&mut self) {
        self.pause = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_begin_anew_after_success() {
        let mut backoff = Backoff::new(b"a");
        let mut expected = FIRST;
        for _ in 0..20 {
            let pause = backoff.next_pause();
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} of {expected:?}");
            expected = (expected * 2).min(LONGEST);
        }
        assert_eq!(expected, LONGEST);
        backoff.reset();
        assert!(backoff.next_pause() <= FIRST);
    }

    #[test]
    fn two_servers_do_not_come_back_in_step() {
        let (mut one, mut other) = (Backoff::new(b"a"), Backoff::new(b"b"));
        assert!((0..20).any(|_| one.next_pause() != other.next_pause()));
    }
}
