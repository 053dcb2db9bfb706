//! Cases about units: whole or not at all, with the versions they expect.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::samples::{
    add, bucket_place, commit, count, device, device_key, devices_counter, draft, found, load, new, product,
    put, setting, setting_key, version,
};
use crate::fleet::records::{
    BlobRecord, Enrolment, EnrolmentKind, FileCourse, FileSample, GrantKey, Interned, RevisionDevices,
    RootRecord,
};
use crate::fleet::{
    CounterChange, CounterPrefix, FleetStore, Key, Outcome, Query, Record, StoreErrorKind, Table, Unit,
    Version, Write,
};
use crate::limits;
use crate::number::{ByteLength, RootVersion, Sha256Digest};
use crate::time::Timestamp;

pub(super) async fn a_fresh_store_is_empty(store: &dyn FleetStore) {
    for table in Table::ALL {
        assert_eq!(found(store, &Query::table(*table)).await, vec![], "a fresh store has no record");
    }
    assert_eq!(store.counters(&CounterPrefix::Devices).await.unwrap(), vec![]);
    assert_eq!(store.audit(1, 10).await.unwrap(), vec![]);
    assert_eq!(load(store, &device_key("a")).await, None);
}

pub(super) async fn records_of_every_kind_are_loaded_as_they_were_written(store: &dyn FleetStore) {
    let digest = Sha256Digest([9; 32]);
    let records = [
        (device_key("gerät 1"), device(1, 2, &["a", "b"])),
        (setting_key(""), setting("")),
        (setting_key("zero\0inside"), setting("\0")),
        (
            Key::Blob(digest),
            Record::Blob(BlobRecord {
                size: ByteLength(u64::MAX),
                stored: Timestamp(1),
                integrity: None,
                maps: None,
            }),
        ),
        (Key::Interned(product("pump"), 7), Record::Interned(Interned { text: "1.2.3".into() })),
        (
            Key::Root(product("pump"), RootVersion(1)),
            Record::Root(RootRecord { body: vec![0; 300], envelope: vec![] }),
        ),
        (
            Key::Course(product("pump"), 7),
            Record::Course(FileCourse {
                samples: vec![FileSample {
                    at: Timestamp(3),
                    revisions: vec![RevisionDevices { revision: 0, devices: u64::MAX }],
                    others: 1,
                }],
            }),
        ),
        (
            Key::Enrolment(digest),
            Record::Enrolment(Enrolment {
                product: product("pump"),
                device: None,
                tags: vec!["a".into()],
                uses_max: 3,
                uses: 0,
                expires: None,
                created: Timestamp(1),
                by: EnrolmentKind::Token,
            }),
        ),
        (
            Key::GrantKey(1),
            Record::GrantKey(GrantKey { secret: vec![1; 32], from: Timestamp(1), until: Timestamp(2) }),
        ),
    ];
    let mut unit = Unit::default();
    for (key, record) in &records {
        add(&mut unit, key.clone(), 0, None, Some(record.clone()));
    }
    commit(store, vec![unit]).await;
    for (key, record) in &records {
        let stored = load(store, key).await;
        assert_eq!(stored.map(|it| it.record).as_ref(), Some(record), "{key} is loaded as it was written");
    }
}

pub(super) async fn the_largest_record_is_stored_and_a_larger_one_refused(store: &dyn FleetStore) {
    let key = setting_key("large");
    let overhead = setting(&"x".repeat(limits::STORED_RECORD_BYTES_MAX / 2)).to_bytes().len()
        - limits::STORED_RECORD_BYTES_MAX / 2;
    let largest = setting(&"x".repeat(limits::STORED_RECORD_BYTES_MAX - overhead));
    assert_eq!(largest.to_bytes().len(), limits::STORED_RECORD_BYTES_MAX);
    commit(store, vec![new(key.clone(), largest.clone())]).await;
    assert_eq!(load(store, &key).await.unwrap().record, largest);
    let larger = setting(&"x".repeat(limits::STORED_RECORD_BYTES_MAX - overhead + 1));
    let refused = store.commit(vec![put(key.clone(), 1, Some(largest), Some(larger))]).await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Invalid, "a record over its limit is refused");
    assert_eq!(version(store, &key).await, 1);
    let longest = "k".repeat(limits::RECORD_KEY_BYTES_MAX);
    commit(store, vec![new(setting_key(&longest), setting(""))]).await;
    assert_eq!(version(store, &setting_key(&longest)).await, 1, "the longest key is stored");
}

pub(super) async fn versions_rise_by_one(store: &dyn FleetStore) {
    let key = device_key("a");
    let mut before = None;
    for round in 0..5 {
        let after = Some(device(round, 1, &[]));
        commit(store, vec![put(key.clone(), round, before, after.clone())]).await;
        let stored = load(store, &key).await.unwrap();
        assert_eq!(stored.version, Version(round + 1), "each write raises the version by one");
        assert_eq!(Some(&stored.record), after.as_ref());
        before = after;
    }
}

pub(super) async fn a_removed_record_is_gone_and_begins_again(store: &dyn FleetStore) {
    let key = device_key("a");
    let record = device(1, 1, &["x"]);
    commit(store, vec![new(key.clone(), record.clone())]).await;
    commit(store, vec![put(key.clone(), 1, Some(record.clone()), None)]).await;
    assert_eq!(load(store, &key).await, None, "a removed record is gone");
    assert_eq!(found(store, &Query::table(Table::Device)).await, vec![]);
    assert_eq!(found(store, &Query::under(bucket_place(1))).await, vec![], "and found nowhere");
    commit(store, vec![new(key.clone(), record)]).await;
    assert_eq!(version(store, &key).await, 1, "a record that comes back begins again with version 1");
}

pub(super) async fn a_unit_in_conflict_does_nothing_and_names_the_record(store: &dyn FleetStore) {
    let (a, b) = (device_key("a"), device_key("b"));
    commit(store, vec![new(b.clone(), device(1, 1, &[]))]).await;
    let mut unit = new(a.clone(), device(2, 2, &["x"]));
    add(&mut unit, b.clone(), 2, Some(device(1, 1, &[])), Some(device(1, 3, &[])));
    unit.counters = count(devices_counter("pump"), 1).counters;
    unit.audit = vec![draft("never")];
    let outcomes = store.commit(vec![unit]).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Conflict(b.clone())], "the conflict names the record");
    assert_eq!(load(store, &a).await, None, "nothing of a unit in conflict is done: records");
    assert_eq!(version(store, &b).await, 1);
    assert_eq!(found(store, &Query::under(bucket_place(2))).await, vec![], "indexes");
    assert_eq!(found(store, &Query::under(bucket_place(1))).await, vec![b], "indexes");
    assert_eq!(store.counters(&CounterPrefix::Devices).await.unwrap(), vec![], "counters");
    assert_eq!(store.audit(1, 10).await.unwrap(), vec![], "audit");
}

pub(super) async fn a_conflict_does_not_hinder_other_units(store: &dyn FleetStore) {
    let units = vec![
        new(device_key("a"), device(1, 1, &[])),
        put(device_key("b"), 3, Some(device(2, 1, &[])), Some(device(2, 1, &["x"]))),
        new(device_key("c"), device(3, 1, &[])),
    ];
    let outcomes = store.commit(units).await.unwrap();
    let expected = vec![Outcome::Committed, Outcome::Conflict(device_key("b")), Outcome::Committed];
    assert_eq!(outcomes, expected, "one unit in conflict does not hinder the others");
    assert_eq!(found(store, &Query::table(Table::Device)).await, vec![device_key("a"), device_key("c")]);
}

pub(super) async fn units_of_one_commit_see_each_other_in_order(store: &dyn FleetStore) {
    let key = device_key("a");
    let record = |bucket| Some(device(1, bucket, &[]));
    commit(
        store,
        vec![
            put(key.clone(), 0, None, record(1)),
            put(key.clone(), 1, record(1), record(2)),
            put(key.clone(), 2, record(2), None),
            put(key.clone(), 0, None, record(3)),
            put(key.clone(), 1, record(3), record(4)),
        ],
    )
    .await;
    let stored = load(store, &key).await.unwrap();
    assert_eq!((stored.version, Some(stored.record)), (Version(2), record(4)));
    for bucket in 1..4 {
        assert_eq!(found(store, &Query::under(bucket_place(bucket))).await, vec![], "former places are gone");
    }
    assert_eq!(found(store, &Query::under(bucket_place(4))).await, vec![key]);
}

pub(super) async fn the_first_of_two_units_that_expect_the_same_version_wins(store: &dyn FleetStore) {
    let key = device_key("a");
    let units = vec![new(key.clone(), device(1, 1, &[])), new(key.clone(), device(2, 2, &[]))];
    let outcomes = store.commit(units).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Committed, Outcome::Conflict(key.clone())], "the first wins");
    assert_eq!(load(store, &key).await.unwrap().record, device(1, 1, &[]));
}

pub(super) async fn a_record_that_is_only_expected_is_checked_and_left_alone(store: &dyn FleetStore) {
    let (campaign, a) = (setting_key("campaign"), device_key("a"));
    commit(store, vec![new(campaign.clone(), setting("running"))]).await;
    let relying = |on: u64| Unit {
        expects: vec![(campaign.clone(), Version(on)), (a.clone(), Version(0))],
        writes: vec![Write { key: a.clone(), before: None, after: Some(device(1, 1, &[])) }],
        ..Unit::default()
    };
    for stale in [0, 2] {
        let outcomes = store.commit(vec![relying(stale)]).await.unwrap();
        assert_eq!(outcomes, vec![Outcome::Conflict(campaign.clone())], "what is relied on is checked");
    }
    commit(store, vec![relying(1)]).await;
    assert_eq!(version(store, &campaign).await, 1, "what is only relied on is not written");
    assert_eq!(version(store, &a).await, 1);
    let absent = Unit { expects: vec![(setting_key("absent"), Version(0))], ..Unit::default() };
    commit(store, vec![absent]).await;
}

pub(super) async fn a_unit_that_breaks_a_rule_is_refused_with_its_whole_call(store: &dyn FleetStore) {
    let key = || device_key("a");
    let record = || Some(device(1, 1, &[]));
    let write = |after| Write { key: key(), before: None, after };
    let long = "k".repeat(limits::RECORD_KEY_BYTES_MAX + 1);
    let mut long_entry = draft("long");
    long_entry.detail = String::from("x").repeat(limits::AUDIT_ENTRY_BYTES_MAX);
    let broken: Vec<(&str, Unit)> = vec![
        ("a written record is not expected", Unit { writes: vec![write(record())], ..Unit::default() }),
        (
            "a key is expected twice",
            Unit { expects: vec![(key(), Version(0)), (key(), Version(0))], ..Unit::default() },
        ),
        (
            "a key is written twice",
            Unit {
                expects: vec![(key(), Version(0))],
                writes: vec![write(record()), write(record())],
                ..Unit::default()
            },
        ),
        ("a record is of another table", new(key(), setting("x"))),
        ("nothing was before version 1", put(key(), 1, None, record())),
        ("something was before version 0", put(key(), 0, record(), record())),
        ("a key is too long", new(setting_key(&long), setting("x"))),
        (
            "a unit has too many parts",
            Unit {
                counters: vec![
                    CounterChange { key: devices_counter("pump"), by: 1 };
                    limits::UNIT_PARTS_MAX + 1
                ],
                ..Unit::default()
            },
        ),
        ("an audit entry is too long", Unit { audit: vec![long_entry], ..Unit::default() }),
    ];
    for (what, unit) in broken {
        let error = store.commit(vec![new(device_key("good"), device(2, 2, &[])), unit]).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "refused: {what}");
    }
    let too_many = vec![Unit::default(); limits::COMMIT_UNITS_MAX + 1];
    assert_eq!(store.commit(too_many).await.unwrap_err().kind(), StoreErrorKind::Invalid);
    assert_eq!(
        found(store, &Query::table(Table::Device)).await,
        vec![],
        "nothing of a refused call happened"
    );
}

pub(super) async fn nothing_to_do_is_no_error(store: &dyn FleetStore) {
    assert_eq!(store.commit(vec![]).await.unwrap(), vec![]);
    assert_eq!(store.load(&[]).await.unwrap(), vec![]);
    commit(store, vec![Unit::default(), put(device_key("a"), 0, None, None)]).await;
    assert_eq!(load(store, &device_key("a")).await, None, "removing what is not there does nothing");
}

pub(super) async fn records_are_loaded_in_the_order_of_the_keys(store: &dyn FleetStore) {
    let (a, b, none) = (device_key("a"), setting_key("a"), device_key("none"));
    commit(store, vec![new(a.clone(), device(1, 1, &[])), new(b.clone(), setting("v"))]).await;
    let found = store.load(&[b.clone(), none, a.clone(), b]).await.unwrap();
    let records: Vec<Option<Record>> = found.into_iter().map(|it| it.map(|stored| stored.record)).collect();
    let setting = Some(setting("v"));
    assert_eq!(records, vec![setting.clone(), None, Some(device(1, 1, &[])), setting]);
}
