//! What the cases write: small records, and units in few words.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use minicbor::Encoder;

use crate::fleet::records::Setting;
use crate::fleet::{
    AuditDraft, CounterChange, CounterKey, FleetStore, Index, IndexEntry, Key, Outcome, Query, Record,
    Stored, Table, Unit, Version, Write,
};
use crate::text::{DeviceIdBuf, ProductIdBuf};
use crate::time::Timestamp;

pub(super) fn product(name: &str) -> ProductIdBuf {
    ProductIdBuf::new(name).unwrap()
}

pub(super) fn device_key(id: &str) -> Key {
    Key::Device(DeviceIdBuf::new(id).unwrap())
}

/// A device as the first version of its record stored it: later fields are optional, so this never changes.
pub(super) fn device(ordinal: u64, bucket: u16, tags: &[&str]) -> Record {
    let installed = [(1_u32, 2_u32)];
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    let never: u64 = 0;
    let done = (|| {
        encoder.map(9)?.u8(0)?.str("pump")?.u8(1)?.u64(ordinal)?.u8(2)?.u16(bucket)?;
        encoder.u8(3)?.u64(1_700_000_000_000)?.u8(4)?.u64(never)?.u8(5)?.u8(0)?.u8(6)?.u8(0)?;
        encoder.u8(7)?.encode(installed)?.u8(8)?.encode(tags)?.ok()
    })();
    done.unwrap();
    Record::from_bytes(Table::Device, &bytes).unwrap()
}

pub(super) fn setting_key(name: &str) -> Key {
    Key::Setting(name.into())
}

pub(super) fn setting(value: &str) -> Record {
    Record::Setting(Setting { value: value.into() })
}

/// Under which devices of the product `pump` are found by their bucket.
pub(super) fn bucket_place(bucket: u16) -> IndexEntry {
    IndexEntry::new(Index::DeviceBucket).text("pump").number(u64::from(bucket))
}

pub(super) fn tag_place(tag: &str) -> IndexEntry {
    IndexEntry::new(Index::DeviceTag).text("pump").text(tag)
}

/// A unit that writes one record.
pub(super) fn put(key: Key, version: u64, before: Option<Record>, after: Option<Record>) -> Unit {
    let mut unit = Unit::default();
    add(&mut unit, key, version, before, after);
    unit
}

pub(super) fn add(unit: &mut Unit, key: Key, version: u64, before: Option<Record>, after: Option<Record>) {
    unit.expects.push((key.clone(), Version(version)));
    unit.writes.push(Write { key, before, after });
}

/// A unit that writes a record that was not there.
pub(super) fn new(key: Key, record: Record) -> Unit {
    put(key, 0, None, Some(record))
}

pub(super) fn devices_counter(name: &str) -> CounterKey {
    CounterKey::Devices { product: product(name) }
}

pub(super) fn count(key: CounterKey, by: i64) -> Unit {
    Unit { counters: [CounterChange { key, by }].into(), ..Unit::default() }
}

pub(super) fn draft(action: &str) -> AuditDraft {
    AuditDraft {
        at: Timestamp(7),
        principal: String::from("somebody"),
        action: action.to_string(),
        subject: String::from("campaign 1"),
        product: String::new(),
        detail: String::from("{}"),
    }
}

/// Commits what cannot conflict.
pub(super) async fn commit(store: &dyn FleetStore, units: Vec<Unit>) {
    let count = units.len();
    let outcomes = store.commit(units).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Committed; count], "units without conflict are committed");
}

pub(super) async fn load(store: &dyn FleetStore, key: &Key) -> Option<Stored> {
    let mut found = store.load(core::slice::from_ref(key)).await.unwrap();
    assert_eq!(found.len(), 1, "a load has one answer for each key");
    found.pop().flatten()
}

pub(super) async fn version(store: &dyn FleetStore, key: &Key) -> u64 {
    load(store, key).await.map_or(0, |stored| stored.version.0)
}

/// All that a query finds, in pages of this size.
pub(super) async fn walk(store: &dyn FleetStore, query: &Query, limit: usize) -> Vec<(Key, Stored)> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = store.scan(query, after.as_ref(), limit).await.unwrap();
        assert!(page.items.len() <= limit, "a page holds at most as many records as were asked for");
        assert!(page.next.is_none() || !page.items.is_empty(), "a page that is not the last makes progress");
        all.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

pub(super) async fn found(store: &dyn FleetStore, query: &Query) -> Vec<Key> {
    walk(store, query, 100).await.into_iter().map(|(key, _)| key).collect()
}
