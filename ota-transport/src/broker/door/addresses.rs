//! How many connections an address has, and how fast it opens them.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Addresses that are remembered before those without a connection are looked through for who can be forgotten.
const REMEMBERED_MAX: usize = 4096;

/// Why an address is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Crowded {
    #[error("its address has too many connections")]
    Connections,
    #[error("its address connects too often")]
    Rate,
    #[error("too many addresses at once")]
    Addresses,
}

/// What one address may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddressAllowance {
    pub(super) connections: usize,
    pub(super) connects_per_second: u32,
    /// Connects at once, before the rate counts.
    pub(super) burst: u32,
}

pub(super) struct Addresses {
    allowance: AddressAllowance,
    visits: Mutex<HashMap<IpAddr, Visits>>,
}

struct Visits {
    open: usize,
    /// When everything that was spent is earned again.
    due: Instant,
}

/// One connection of an address, until it is dropped.
pub(super) struct Visit {
    address: IpAddr,
    addresses: Arc<Addresses>,
}

impl Addresses {
    pub(super) fn new(allowance: AddressAllowance) -> Arc<Self> {
        Arc::new(Self { allowance, visits: Mutex::default() })
    }

    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Visit, Crowded> {
        let address = block(address);
        let cost = Duration::from_secs(1) / self.allowance.connects_per_second.max(1);
        let tolerance = cost.saturating_mul(self.allowance.burst.max(1));
        let mut all = self.visits();
        if all.len() >= REMEMBERED_MAX {
            all.retain(|_, visits| visits.open > 0 || visits.due > now);
        }
        if all.len() >= REMEMBERED_MAX * 16 {
            return Err(Crowded::Addresses);
        }
        let visits = all.entry(address).or_insert(Visits { open: 0, due: now });
        if visits.open >= self.allowance.connections {
            return Err(Crowded::Connections);
        }
        let due = visits.due.max(now) + cost;
        if due.saturating_duration_since(now) > tolerance {
            return Err(Crowded::Rate);
        }
        visits.due = due;
        visits.open += 1;
        Ok(Visit { address, addresses: Arc::clone(self) })
    }

    fn visits(&self) -> MutexGuard<'_, HashMap<IpAddr, Visits>> {
        // Nothing panics while it is held.
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(visits) = self.addresses.visits().get_mut(&self.address) {
            visits.open = visits.open.saturating_sub(1);
        }
    }
}

/// Who has one IPv6 address has the 2^64 beside it as well.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: AddressAllowance =
        AddressAllowance { connections: 3, connects_per_second: 10, burst: 5 };

    #[test]
    fn an_address_has_so_many_connections_and_others_are_not_concerned() {
        let (addresses, now) = (Addresses::new(ALLOWANCE), Instant::now());
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let mut open: Vec<Visit> = (0..3).map(|_| addresses.admit(one, now).unwrap()).collect();
        assert_eq!(addresses.admit(one, now).err(), Some(Crowded::Connections));
        assert!(addresses.admit("192.0.2.2".parse().unwrap(), now).is_ok());
        open.pop();
        assert!(addresses.admit(one, now).is_ok());
    }

    #[test]
    fn an_address_connects_no_faster_than_its_rate() {
        let (addresses, now) = (Addresses::new(ALLOWANCE), Instant::now());
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff".parse().unwrap();
        for _ in 0..5 {
            drop(addresses.admit(one, now).unwrap());
        }
        assert_eq!(addresses.admit(neighbour, now).err(), Some(Crowded::Rate));
        assert!(addresses.admit(neighbour, now + Duration::from_millis(100)).is_ok());
    }
}
