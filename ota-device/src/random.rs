//! Jitter: numbers that spread devices over time. Nothing secret rests on them.

/// A small generator (xorshift64*, Marsaglia 2003, Vigna 2014) fed by the caller's seed.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        // The generator stands still at 0, so that seed is replaced.
        Self(if seed == 0 { 0x9e37_79b9_7f4a_7c15 } else { seed })
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to `most`, both included.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(count) => self.next().checked_rem(count).unwrap_or(0),
            None => self.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_inside_its_bounds_and_moves() {
        for seed in [0, 1, u64::MAX] {
            let mut jitter = Jitter::new(seed);
            let drawn: Vec<_> = (0..100).map(|_| jitter.up_to(9)).collect();
            assert!(drawn.iter().all(|number| *number <= 9));
            assert!((0..=9).all(|number| drawn.contains(&number)));
            assert_eq!(jitter.up_to(0), 0);
        }
    }
}
