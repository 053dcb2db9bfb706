//! What has to be there when a store is opened again.

use alloc::string::ToString;
use alloc::vec;

use super::samples::{
    bucket_place, commit, count, device, device_key, devices_counter, draft, found, load, new, put,
};
use super::totals::assert_chained;
use crate::fleet::{CounterPrefix, FleetStore, LeaseRequest, Query, Unit, Version};
use crate::time::Millis;

/// Asks a durable store for what has to survive. `open` opens the same place each time, empty at first; the store
/// before it has been dropped by then.
///
/// # Panics
/// At the first broken promise.
pub async fn fleet_store_reopened<S: FleetStore>(open: impl AsyncFn() -> S) {
    let key = device_key("a");
    let lease = |holder: &str| LeaseRequest {
        name: "sweeper".to_string(),
        holder: holder.to_string(),
        duration: Millis(1),
    };
    let mut token = 0;
    let mut before = None;
    for round in 0..4_u16 {
        let opened = open().await;
        let store: &dyn FleetStore = &opened;
        let stored = load(store, &key).await;
        assert_eq!(stored.as_ref().map(|it| it.version).unwrap_or_default(), Version(u64::from(round)));
        assert_eq!(stored.map(|it| it.record), before, "an acknowledged record is there after opening");
        let counted = store.counters(&CounterPrefix::Devices).await.unwrap();
        let sum: i64 = counted.iter().map(|(_, value)| *value).sum();
        assert_eq!(sum, i64::from(round), "so are counters");
        let entries = store.audit(1, 100).await.unwrap();
        assert_eq!(entries.len(), usize::from(round), "so is the audit chain");
        assert_chained(&entries);

        let after = Some(device(1, round, &[]));
        let mut unit = put(key.clone(), u64::from(round), before, after.clone());
        unit.counters = count(devices_counter("pump"), 1).counters;
        unit.audit = vec![draft("round")];
        commit(store, vec![unit, Unit::default()]).await;
        assert_eq!(found(store, &Query::under(bucket_place(round))).await, vec![key.clone()]);
        assert_eq!(found(store, &Query::under(bucket_place(round.wrapping_sub(1)))).await, vec![]);
        before = after;

        // Different holders, so that each taking is a new one even where leases outlive the process.
        let taken = loop {
            if let Some(taken) = store.lease(&lease(&round.to_string())).await.unwrap() {
                break taken;
            }
        };
        assert!(taken.token > token, "the token of a lease never falls");
        token = taken.token;
    }
    let store = open().await;
    commit(&store, vec![new(device_key("b"), device(2, 2, &[]))]).await;
}
