//! Cases about what is added up and what is only appended: counters and the audit chain.

use alloc::vec;
use alloc::vec::Vec;

use super::samples::{commit, count, devices_counter, draft, product};
use crate::fleet::{AuditEntry, AuditHash, CounterKey, CounterPrefix, FleetStore, Unit};
use crate::number::CampaignId;

pub(super) async fn changes_of_a_counter_add_up(store: &dyn FleetStore) {
    let counter = || devices_counter("pump");
    let mut twice = count(counter(), 5);
    twice.counters.extend(count(counter(), -2).counters);
    commit(store, vec![twice, count(counter(), 10)]).await;
    commit(store, vec![count(counter(), -1)]).await;
    let found = store.counters(&CounterPrefix::Devices).await.unwrap();
    assert_eq!(found, vec![(counter(), 12)], "changes add up inside a unit, a commit and between commits");
    commit(store, vec![count(counter(), -20)]).await;
    let found = store.counters(&CounterPrefix::Devices).await.unwrap();
    assert_eq!(found, vec![(counter(), -8)], "a store has no opinion about the sign");
}

pub(super) async fn counters_of_zero_vanish(store: &dyn FleetStore) {
    let (a, b) = (devices_counter("a"), devices_counter("b"));
    commit(store, vec![count(a.clone(), 3), count(b.clone(), 1)]).await;
    commit(store, vec![count(a.clone(), -3), count(devices_counter("c"), 0)]).await;
    assert_eq!(store.counters(&CounterPrefix::Devices).await.unwrap(), vec![(b, 1)]);
    commit(store, vec![count(a.clone(), 1), count(a, -1)]).await;
    assert_eq!(store.counters(&CounterPrefix::Devices).await.unwrap().len(), 1);
}

pub(super) async fn a_group_of_counters_holds_no_others(store: &dyn FleetStore) {
    let installed =
        |name: &str, file, revision| CounterKey::Installed { product: product(name), file, revision };
    let heard = |name: &str, hour| CounterKey::Heard { product: product(name), hour };
    let attempts = |campaign, stage, phase, cause| CounterKey::Attempts {
        campaign: CampaignId(campaign),
        stage,
        phase,
        cause,
    };
    let mut keys = vec![
        devices_counter("a"),
        devices_counter("a-"),
        devices_counter("b"),
        installed("a", 2, 1),
        installed("a", 1, 300),
        installed("a", 1, 2),
        installed("a-", 1, 2),
        heard("a", 500_000),
        heard("a", 1),
        heard("ab", 1),
        attempts(1, 0, 1, 0),
        attempts(1, 2, 1, 0),
        attempts(1, 1, 3, 9),
        attempts(256, 1, 1, 1),
    ];
    commit(store, keys.iter().map(|key| count(key.clone(), 1)).collect()).await;
    keys.sort();
    for group in [
        CounterPrefix::Devices,
        CounterPrefix::Installed(product("a")),
        CounterPrefix::Installed(product("none")),
        CounterPrefix::Heard(product("a")),
        CounterPrefix::Attempts(CampaignId(1)),
        CounterPrefix::Attempts(CampaignId(2)),
    ] {
        let found: Vec<CounterKey> =
            store.counters(&group).await.unwrap().into_iter().map(|(key, _)| key).collect();
        let expected: Vec<CounterKey> = keys.iter().filter(|key| group.covers(key)).cloned().collect();
        assert_eq!(found, expected, "{group:?} in the order of the keys, and nothing else");
    }
}

/// Checks numbers and hashes from the beginning of the chain.
pub(super) fn assert_chained(entries: &[AuditEntry]) {
    let mut previous = AuditHash::default();
    for (sequence, entry) in (1..).zip(entries) {
        assert_eq!(entry.sequence, sequence, "entries are numbered without a gap");
        assert_eq!(entry.previous, previous, "each entry holds the hash of the one before it");
        assert!(entry.is_intact(), "each entry holds the hash of its content");
        previous = entry.hash;
    }
}

pub(super) async fn audit_entries_are_numbered_and_chained(store: &dyn FleetStore) {
    let unit =
        |actions: &[&str]| Unit { audit: actions.iter().map(|it| draft(it)).collect(), ..Unit::default() };
    commit(store, vec![unit(&["1", "2"]), unit(&[]), unit(&["3"])]).await;
    commit(store, vec![unit(&["4"])]).await;
    let entries = store.audit(1, 100).await.unwrap();
    assert_chained(&entries);
    let drafts: Vec<_> = entries.into_iter().map(|entry| entry.draft).collect();
    assert_eq!(drafts, ["1", "2", "3", "4"].map(draft), "entries stand in the order of the units, whole");
}

pub(super) async fn the_audit_chain_is_read_in_parts(store: &dyn FleetStore) {
    let entries: Vec<_> = (0..10).map(|number| draft(&alloc::format!("{number}"))).collect();
    commit(store, vec![Unit { audit: entries, ..Unit::default() }]).await;
    let numbers = async |from, limit| -> Vec<u64> {
        store.audit(from, limit).await.unwrap().iter().map(|entry| entry.sequence).collect()
    };
    assert_eq!(numbers(0, 2).await, [1, 2], "the first has number 1");
    assert_eq!(numbers(4, 3).await, [4, 5, 6]);
    assert_eq!(numbers(9, 100).await, [9, 10]);
    assert_eq!(numbers(11, 100).await, [0; 0]);
    assert_eq!(numbers(u64::MAX, usize::MAX).await, [0; 0]);
    assert_eq!(numbers(1, 0).await, [0; 0]);
}
