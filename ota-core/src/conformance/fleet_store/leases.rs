//! Cases about leases: one holder at a time, and tokens that never fall.

use alloc::string::ToString;
use std::time::Instant;

use crate::fleet::{FleetStore, Lease, LeaseRequest};
use crate::time::Millis;

const LONG: Millis = Millis(3_600_000);
/// How long a case waits for the clock of the store before it gives up on it, in seconds.
const PATIENCE_S: u64 = 30;

async fn ask(store: &dyn FleetStore, name: &str, holder: &str, duration: Millis) -> Option<Lease> {
    let request = LeaseRequest { name: name.to_string(), holder: holder.to_string(), duration };
    let lease = store.lease(&request).await.unwrap();
    if let Some(lease) = &lease {
        assert!(lease.left <= duration, "a lease lasts no longer than was asked for");
        assert!(lease.left > Millis(0) || duration < LONG, "a long lease lasts");
    }
    lease
}

async fn take(store: &dyn FleetStore, name: &str, holder: &str) -> u64 {
    ask(store, name, holder, LONG).await.expect("a lease that nobody holds is given").token
}

pub(super) async fn a_lease_has_one_holder(store: &dyn FleetStore) {
    take(store, "sweeper", "a").await;
    assert_eq!(ask(store, "sweeper", "b", LONG).await, None, "nobody else gets a lease that is held");
    assert!(ask(store, "sweeper", "a", LONG).await.is_some(), "being refused changes nothing for the holder");
}

pub(super) async fn asking_again_prolongs_with_the_same_token(store: &dyn FleetStore) {
    let token = take(store, "sweeper", "a").await;
    assert_eq!(take(store, "sweeper", "a").await, token, "the token stays while the lease is held");
}

pub(super) async fn a_returned_lease_is_taken_with_a_higher_token(store: &dyn FleetStore) {
    let mut last = 0;
    for holder in ["a", "b", "b", "a"] {
        let token = take(store, "sweeper", holder).await;
        assert!(token > last, "every taking raises the token");
        last = token;
        assert_eq!(ask(store, "sweeper", holder, Millis(0)).await, None, "giving back leaves no lease");
    }
}

pub(super) async fn a_lease_that_ran_out_is_taken_with_a_higher_token(store: &dyn FleetStore) {
    let first = ask(store, "sweeper", "a", Millis(1)).await.expect("nobody holds it").token;
    let started = Instant::now();
    let second = loop {
        if let Some(lease) = ask(store, "sweeper", "b", LONG).await {
            break lease.token;
        }
        assert!(started.elapsed().as_secs() < PATIENCE_S, "a lease of a millisecond runs out");
    };
    assert!(second > first, "a new holder has a higher token");
    assert_eq!(ask(store, "sweeper", "a", LONG).await, None, "the former holder is told");
}

pub(super) async fn only_the_holder_gives_back(store: &dyn FleetStore) {
    take(store, "sweeper", "a").await;
    assert_eq!(ask(store, "sweeper", "b", Millis(0)).await, None);
    assert_eq!(ask(store, "sweeper", "b", LONG).await, None, "another one's return changes nothing");
    assert_eq!(ask(store, "never taken", "b", Millis(0)).await, None);
    take(store, "never taken", "c").await;
}

pub(super) async fn leases_of_other_names_are_apart(store: &dyn FleetStore) {
    take(store, "sweeper", "a").await;
    take(store, "notifier", "b").await;
    assert_eq!(ask(store, "sweeper", "b", LONG).await, None);
    assert_eq!(ask(store, "notifier", "a", LONG).await, None);
}
