//! How often somebody may try to prove who they are: a bucket of tries for each name and one for each address.
//!
//! Whoever guesses gets some tries a minute and no more, and a person who mistypes has enough of them. Both tables are
//! bounded: when they are full, the names that were tried longest ago begin anew.

use core::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ota_core::time::{Millis, Timestamp};
use quick_cache::sync::Cache;

/// Tries at once for one name, and how long it takes until another one is allowed.
const BY_NAME: Rate = Rate { burst: 8, every: Millis(10_000) };
/// The same for one address, behind which a whole office may be.
const BY_ADDRESS: Rate = Rate { burst: 40, every: Millis(1_000) };
/// Names, and addresses, that are remembered.
const REMEMBERED_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: u64,
    every: Millis,
}

/// When the bucket will be full again: with it alone everything else can be told.
#[derive(Debug, Default)]
struct Bucket(Mutex<u64>);

impl Bucket {
    /// Takes one try, or tells how long to wait for it.
    fn take(&self, rate: Rate, now: Timestamp) -> Result<(), Millis> {
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let most = now.0.saturating_add(rate.every.0.saturating_mul(rate.burst));
        // No later than an empty bucket is full again: a clock that was set back locks nobody out for longer.
        let after = (*full_at).clamp(now.0, most).saturating_add(rate.every.0);
        if after > most {
            return Err(Millis(after - most));
        }
        *full_at = after;
        Ok(())
    }
}

/// Counts tries.
pub(super) struct Limiter {
    names: Cache<Box<str>, Arc<Bucket>>,
    addresses: Cache<IpAddr, Arc<Bucket>>,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { names: Cache::new(REMEMBERED_MAX), addresses: Cache::new(REMEMBERED_MAX) }
    }
}

impl Limiter {
    /// Takes one try for this name from this address, or tells how long to wait.
    pub(super) fn try_for(&self, name: &str, from: Option<IpAddr>, now: Timestamp) -> Result<(), Millis> {
        if let Some(from) = from {
            of(&self.addresses, network(from)).take(BY_ADDRESS, now)?;
        }
        of(&self.names, name.to_lowercase().into_boxed_str()).take(BY_NAME, now)
    }
}

fn of<K: core::hash::Hash + Eq + Clone>(table: &Cache<K, Arc<Bucket>>, key: K) -> Arc<Bucket> {
    let made: Result<_, core::convert::Infallible> = table.get_or_insert_with(&key, || Ok(Arc::default()));
    let Ok(bucket) = made;
    bucket
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_one_name_is_slowed_down_and_others_are_not() {
        let (limiter, now) = (Limiter::default(), Timestamp(1_000_000));
        let tries = (0..100).filter(|_| limiter.try_for("ann", None, now).is_ok()).count();
        assert_eq!(tries, 8);
        assert_eq!(limiter.try_for("ANN", None, now), Err(Millis(10_000)));
        assert!(limiter.try_for("bob", None, now).is_ok());
        assert!(limiter.try_for("ann", None, Timestamp(1_010_000)).is_ok());
        assert!(limiter.try_for("ann", None, Timestamp(1_010_000)).is_err());
    }

    #[test]
    fn guessing_many_names_from_one_network_is_slowed_down() {
        let (limiter, now) = (Limiter::default(), Timestamp(1_000_000));
        let from = |last: u16| Some(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]));
        let tries = (0..100).filter(|n| limiter.try_for(&n.to_string(), from(*n), now).is_ok()).count();
        assert_eq!(tries, 40);
        assert!(limiter.try_for("x", Some(IpAddr::from([10, 0, 0, 1])), now).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_locks_nobody_out_for_ever() {
        let limiter = Limiter::default();
        assert!(limiter.try_for("ann", None, Timestamp(u64::MAX / 2)).is_ok());
        assert_eq!(limiter.try_for("ann", None, Timestamp(0)), Err(Millis(10_000)));
    }
}
