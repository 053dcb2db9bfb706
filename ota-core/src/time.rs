//! Time as a value: nothing here reads a clock.

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00 UTC, good for the next 584 million years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// A reading of a clock that never goes backwards: milliseconds since some start that the caller chose.
///
/// It is lost when a device restarts, so it is never stored or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

/// A span of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

macro_rules! moment {
    ($name:ident) => {
        impl $name {
            /// The moment `span` later, or the last one that can be told.
            #[must_use]
            pub const fn plus(self, span: Millis) -> Self {
                Self(self.0.saturating_add(span.0))
            }

            /// The span since `earlier`; nothing if that lies in the future.
            #[must_use]
            pub const fn since(self, earlier: Self) -> Millis {
                Millis(self.0.saturating_sub(earlier.0))
            }
        }
    };
}

moment!(Timestamp);
moment!(Instant);

impl Timestamp {
    /// From whole seconds since 1970.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }
}

impl Millis {
    /// From whole seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_year_2038_is_an_ordinary_year() {
        let last_of_32_bits = Timestamp::from_seconds(0x7fff_ffff);
        let next = last_of_32_bits.plus(Millis::from_seconds(1));
        assert!(next > last_of_32_bits);
        assert_eq!(next.as_seconds(), 0x8000_0000);
        assert_eq!(next.since(last_of_32_bits), Millis(1000));
    }

    #[test]
    fn the_far_end_of_time_saturates() {
        assert_eq!(Timestamp(u64::MAX).plus(Millis(1)), Timestamp(u64::MAX));
        assert_eq!(Instant(1).since(Instant(2)), Millis(0));
    }
}
