//! Cases about calls that are under way together.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::super::futures::{join, poll_once};
use super::samples::{
    add, commit, count, device, device_key, devices_counter, load, new, put, setting, setting_key, version,
};
use crate::fleet::{CounterPrefix, FleetStore, Outcome, Unit};

/// Calls at once.
const CALLS: usize = 16;

pub(super) async fn one_of_many_calls_that_expect_the_same_version_wins(store: &dyn FleetStore) {
    let key = device_key("a");
    let calls = (0..).take(CALLS).map(|bucket| store.commit(vec![new(key.clone(), device(1, bucket, &[]))]));
    let outcomes: Vec<_> = join(calls).await.into_iter().map(|outcome| outcome.unwrap()).collect();
    let won = outcomes.iter().filter(|it| **it == [Outcome::Committed]).count();
    let lost = outcomes.iter().filter(|it| **it == [Outcome::Conflict(key.clone())]).count();
    assert_eq!((won, lost), (1, CALLS - 1), "exactly one wins, and the others are told");
    assert_eq!(version(store, &key).await, 1);
}

pub(super) async fn counters_of_concurrent_calls_add_up(store: &dyn FleetStore) {
    let counter = devices_counter("pump");
    let calls = (0..CALLS).map(|_| store.commit(vec![count(counter.clone(), 1), count(counter.clone(), 1)]));
    for outcome in join(calls).await {
        assert_eq!(outcome.unwrap(), vec![Outcome::Committed; 2]);
    }
    let sum = i64::try_from(2 * CALLS).unwrap();
    assert_eq!(store.counters(&CounterPrefix::Devices).await.unwrap(), vec![(counter, sum)]);
}

pub(super) async fn a_dropped_commit_happened_whole_or_not_at_all(store: &dyn FleetStore) {
    for round in 0..CALLS {
        let keys = ["a", "b"].map(|name| device_key(&alloc::format!("{name}-{round}")));
        let mut unit = count(devices_counter(&alloc::format!("p{round}")), 1);
        for key in &keys {
            add(&mut unit, key.clone(), 0, None, Some(device(1, 1, &[])));
        }
        let mut call = store.commit(vec![unit]);
        poll_once(call.as_mut());
        drop(call);
        // Whatever became of it, a later call finds the store in order.
        commit(store, vec![new(setting_key(&alloc::format!("{round}")), setting(""))]).await;
        let found = store.load(&keys).await.unwrap();
        let there = found.iter().filter(|it| it.is_some()).count();
        assert!(there == 0 || there == keys.len(), "a unit happened whole or not at all");
        let counted = store.counters(&CounterPrefix::Devices).await.unwrap();
        let counted = counted.iter().any(|(key, _)| *key == devices_counter(&alloc::format!("p{round}")));
        assert_eq!(counted, there == keys.len(), "counters belong to the unit");
    }
}

pub(super) async fn a_load_sees_one_state(store: &dyn FleetStore) {
    let keys = [setting_key("left"), setting_key("right")];
    let unit = |round: u64| {
        let mut unit = Unit::default();
        for key in &keys {
            let before = round.checked_sub(1).map(|before| setting(&before.to_string()));
            add(&mut unit, key.clone(), round, before, Some(setting(&round.to_string())));
        }
        unit
    };
    commit(store, vec![unit(0)]).await;
    let writer = async {
        for round in 1..50 {
            commit(store, vec![unit(round)]).await;
        }
    };
    let reader = async {
        for _ in 0..200 {
            let found = store.load(&keys).await.unwrap();
            assert_eq!(found[0], found[1], "records that change together are loaded from the same state");
            // Lets the writer go on where neither of them ever waits.
            core::future::ready(()).await;
        }
    };
    let both: [core::pin::Pin<Box<dyn Future<Output = ()> + '_>>; 2] = [Box::pin(writer), Box::pin(reader)];
    join(both).await;
    let last = load(store, &keys[0]).await.unwrap();
    assert_eq!(last.version.0, 50);
    let removal = put(keys[0].clone(), 50, Some(last.record), None);
    commit(store, vec![removal]).await;
}
