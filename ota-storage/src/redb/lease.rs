//! Leases: held in memory, because only one process has the file open, with tokens on disk, because they must never
//! fall. The clock is one that never goes backwards.

use core::time::Duration;
use std::collections::HashMap;
use std::time::Instant;

use ota_core::fleet::{Lease, LeaseRequest};
use ota_core::time::Millis;
use redb::{ReadableTable, WriteTransaction};

use super::error::Fault;
use super::schema::LEASES;

#[derive(Debug, Clone, Default)]
pub(super) struct Leases {
    held: HashMap<String, Held>,
}

#[derive(Debug, Clone)]
struct Held {
    holder: String,
    token: u64,
    until: Instant,
}

impl Leases {
    /// Answers a request; says whether the transaction now holds a raised token.
    pub(super) fn answer(
        &mut self,
        request: &LeaseRequest,
        transaction: &WriteTransaction,
        now: Instant,
    ) -> Result<(Option<Lease>, bool), Fault> {
        self.held.retain(|_, held| held.until > now);
        let current = self.held.get(&request.name);
        if current.is_some_and(|held| held.holder != request.holder) {
            return Ok((None, false));
        }
        if request.duration == Millis(0) {
            self.held.remove(&request.name);
            return Ok((None, false));
        }
        let (token, raised) = match current {
            Some(held) => (held.token, false),
            None => (raise_token(transaction, &request.name)?, true),
        };
        // Longer than the clock can tell is as good as a century.
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        let duration = Duration::from_millis(request.duration.0).min(CENTURY);
        let held = Held { holder: request.holder.clone(), token, until: now + duration };
        self.held.insert(request.name.clone(), held);
        Ok((Some(Lease { token, left: request.duration, now: None }), raised))
    }
}

fn raise_token(transaction: &WriteTransaction, name: &str) -> Result<u64, Fault> {
    let mut leases = transaction.open_table(LEASES)?;
    let last = leases.get(name)?.map_or(0, |token| token.value());
    let token = last.saturating_add(1);
    leases.insert(name, token)?;
    Ok(token)
}
