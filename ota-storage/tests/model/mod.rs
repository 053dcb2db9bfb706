//! Random operations, and the simplest thing that could be right about them: a list of what is there, changed by hand.

use std::collections::BTreeMap;

use ota_core::fleet::records::Setting;
use ota_core::fleet::{
    CounterChange, CounterKey, CounterPrefix, FleetStore, Key, Outcome, Query, Record, Table, Unit, Version,
    Write,
};
use ota_core::text::ProductIdBuf;
use proptest::prelude::*;

/// A write to one of a few records: which, what it expects relative to the truth, and what it leaves.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    key: u8,
    is_stale: bool,
    value: Option<u8>,
}

/// The units of one commit: what each writes, and what it adds to a counter.
pub(crate) type Commit = Vec<(Vec<Change>, i8)>;

/// A commit of a few units.
pub(crate) fn units() -> impl Strategy<Value = Commit> {
    let change = (0..6_u8, prop::bool::weighted(0.1), prop::option::weighted(0.7, any::<u8>()));
    let change = change.prop_map(|(key, is_stale, value)| Change { key, is_stale, value });
    let unit = (prop::collection::vec(change, 0..4), any::<i8>());
    prop::collection::vec(unit, 0..6)
}

fn record(value: u8) -> Record {
    Record::Setting(Setting { value: value.to_string().repeat(usize::from(value)).into() })
}

fn key(number: u8) -> Key {
    Key::Setting(format!("key {number}").into())
}

fn counter() -> CounterKey {
    CounterKey::Devices { product: ProductIdBuf::new("pump").unwrap() }
}

/// The present state.
#[derive(Default)]
pub(crate) struct Model {
    records: BTreeMap<u8, (u64, u8)>,
    sum: i64,
}

impl Model {
    /// The units as a caller would make them, and what has to become of each.
    pub(crate) fn commit(&mut self, units: &Commit) -> (Vec<Unit>, Vec<Outcome>) {
        units.iter().map(|(changes, by)| self.apply(changes, *by)).unzip()
    }

    /// The unit as a caller would make it, and what has to become of it. Later units see earlier ones.
    fn apply(&mut self, changes: &[Change], by: i8) -> (Unit, Outcome) {
        let mut unit =
            Unit { counters: vec![CounterChange { key: counter(), by: by.into() }], ..Unit::default() };
        let mut after = self.records.clone();
        let mut conflict = None;
        for change in changes {
            if unit.expects.iter().any(|(expected, _)| *expected == key(change.key)) {
                continue;
            }
            let found = self.records.get(&change.key).copied();
            let version = found.map_or(0, |(version, _)| version);
            // A stale writer read an older state, in which the record was there.
            let (expected, before) = match change.is_stale {
                true => (version + 1, Some(record(0))),
                false => (version, found.map(|(_, value)| record(value))),
            };
            if change.is_stale && conflict.is_none() {
                conflict = Some(Outcome::Conflict(key(change.key)));
            }
            unit.expects.push((key(change.key), Version(expected)));
            unit.writes.push(Write { key: key(change.key), before, after: change.value.map(record) });
            match change.value {
                Some(value) => after.insert(change.key, (version + 1, value)),
                None => after.remove(&change.key),
            };
        }
        if let Some(conflict) = conflict {
            return (unit, conflict);
        }
        self.records = after;
        self.sum += i64::from(by);
        (unit, Outcome::Committed)
    }

    /// Checks that the store holds this and nothing else.
    pub(crate) async fn compare(&self, store: &dyn FleetStore) {
        let page = store.scan(&Query::table(Table::Setting), None, 100).await.unwrap();
        let found: Vec<_> = page.items.into_iter().map(|(key, it)| (key, it.version.0, it.record)).collect();
        let expected: Vec<_> = self
            .records
            .iter()
            .map(|(number, (version, value))| (key(*number), *version, record(*value)))
            .collect();
        assert_eq!(found, expected);
        let counters = store.counters(&CounterPrefix::Devices).await.unwrap();
        assert_eq!(counters.first().map_or(0, |(_, value)| *value), self.sum);
    }
}
