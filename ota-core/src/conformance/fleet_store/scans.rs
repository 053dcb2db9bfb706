//! Cases about scans: order, bounds, pages, and walks during which others write.

use alloc::vec;
use alloc::vec::Vec;

use super::samples::{
    bucket_place, commit, device, device_key, found, new, put, setting, setting_key, tag_place, walk,
};
use crate::fleet::{Cursor, FleetStore, Index, IndexEntry, Key, Query, StoreErrorKind, Table};

fn devices(names: &[&str]) -> Vec<Key> {
    names.iter().map(|name| device_key(name)).collect()
}

pub(super) async fn a_table_is_walked_in_the_order_of_its_keys(store: &dyn FleetStore) {
    for name in ["b", "a", "ab", "ä", "B", "a-"] {
        commit(store, vec![new(device_key(name), device(1, 1, &[])), new(setting_key(name), setting(name))])
            .await;
    }
    let expected = devices(&["B", "a", "a-", "ab", "b", "ä"]);
    assert_eq!(
        found(store, &Query::table(Table::Device)).await,
        expected,
        "records come in the order of their keys"
    );
    let page = store.scan(&Query::table(Table::Setting), None, 100).await.unwrap();
    for (key, stored) in page.items {
        let Key::Setting(name) = &key else { panic!("{key} is in another table") };
        assert_eq!(stored.record, setting(name), "a scan returns the record of the key");
        assert_eq!(stored.version.0, 1);
    }
}

pub(super) async fn a_prefix_narrows_a_table(store: &dyn FleetStore) {
    for name in ["a", "b1", "b2", "b", "c"] {
        commit(store, vec![new(setting_key(name), setting(name))]).await;
    }
    let query = Query::Table { table: Table::Setting, prefix: b"b".to_vec() };
    let expected: Vec<Key> = ["b", "b1", "b2"].into_iter().map(setting_key).collect();
    assert_eq!(found(store, &query).await, expected);
}

pub(super) async fn places_follow_what_is_written(store: &dyn FleetStore) {
    let key = device_key("a");
    let first = device(1, 1, &["old", "both"]);
    let second = device(1, 2, &["both", "new"]);
    commit(store, vec![new(key.clone(), first.clone())]).await;
    assert_eq!(found(store, &Query::under(tag_place("old"))).await, vec![key.clone()]);
    commit(store, vec![put(key.clone(), 1, Some(first), Some(second.clone()))]).await;
    assert_eq!(found(store, &Query::under(tag_place("old"))).await, vec![], "a place that was left is left");
    assert_eq!(found(store, &Query::under(bucket_place(1))).await, vec![]);
    for place in [tag_place("both"), tag_place("new"), bucket_place(2)] {
        let items = walk(store, &Query::under(place), 10).await;
        assert_eq!(items.len(), 1, "a place that was entered or kept finds the record");
        assert_eq!((&items[0].0, &items[0].1.record), (&key, &second));
    }
    commit(store, vec![put(key, 2, Some(second), None)]).await;
    for place in [tag_place("both"), tag_place("new"), bucket_place(2)] {
        assert_eq!(found(store, &Query::under(place)).await, vec![], "a removed record has no place");
    }
}

pub(super) async fn records_with_the_same_place_come_in_the_order_of_their_keys(store: &dyn FleetStore) {
    for (ordinal, name) in (0..).zip(["b", "a", "c", "aa"]) {
        commit(store, vec![new(device_key(name), device(ordinal, 5, &[]))]).await;
    }
    let expected = devices(&["a", "aa", "b", "c"]);
    assert_eq!(found(store, &Query::under(bucket_place(5))).await, expected);
    let from = bucket_place(5).bytes(b"aa");
    let below = bucket_place(5).bytes(b"c").place;
    assert_eq!(
        found(store, &Query::between(from, below)).await,
        devices(&["aa", "b"]),
        "a query goes into a place"
    );
}

pub(super) async fn a_record_is_found_once_for_each_of_its_places(store: &dyn FleetStore) {
    commit(store, vec![new(device_key("a"), device(1, 1, &["x", "y", "x"]))]).await;
    let all_tags = Query::under(IndexEntry::new(Index::DeviceTag).text("pump"));
    assert_eq!(found(store, &all_tags).await, devices(&["a", "a"]));
}

pub(super) async fn an_index_is_walked_between_bounds(store: &dyn FleetStore) {
    for (name, bucket) in [("a", 4), ("b", 300), ("c", 2), ("d", 4095)] {
        commit(store, vec![new(device_key(name), device(u64::from(bucket), bucket, &[]))]).await;
    }
    let between = |from, below: u16| Query::between(bucket_place(from), bucket_place(below).place);
    assert_eq!(found(store, &between(2, 300)).await, devices(&["c", "a"]), "from is included, below is not");
    assert_eq!(found(store, &between(3, 4096)).await, devices(&["a", "b", "d"]));
    assert_eq!(found(store, &between(5, 5)).await, vec![], "an empty range is empty");
    assert_eq!(found(store, &between(300, 2)).await, vec![], "an end before the start is an empty range");
    assert_eq!(found(store, &Query::between(bucket_place(5), vec![])).await, devices(&["b", "d"]));
    let whole = Query::under(IndexEntry::new(Index::DeviceBucket));
    assert_eq!(found(store, &whole).await, devices(&["c", "a", "b", "d"]));
    let other_product = IndexEntry::new(Index::DeviceBucket).text("pum");
    assert_eq!(found(store, &Query::under(other_product)).await, vec![], "a text part is compared whole");
}

pub(super) async fn pages_join_without_gap_or_repetition(store: &dyn FleetStore) {
    let names: Vec<_> = (0..23_u64).map(|ordinal| alloc::format!("device-{ordinal:02}")).collect();
    let units =
        (0..).zip(&names).map(|(ordinal, name)| new(device_key(name), device(ordinal, 7, &[]))).collect();
    commit(store, units).await;
    let expected: Vec<Key> = names.iter().map(|name| device_key(name)).collect();
    for query in [Query::table(Table::Device), Query::under(bucket_place(7))] {
        for limit in [1, 2, 22, 23, 24, 1000] {
            let walked: Vec<Key> = walk(store, &query, limit).await.into_iter().map(|(key, _)| key).collect();
            assert_eq!(walked, expected, "pages of {limit} join to the whole");
        }
        let error = store.scan(&query, None, 0).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "a page of nothing makes no progress");
    }
}

pub(super) async fn a_walk_goes_on_while_others_write(store: &dyn FleetStore) {
    let units = ["b", "d", "f", "h", "j"].map(|name| new(device_key(name), device(1, 3, &[])));
    commit(store, units.into()).await;
    for query in [Query::table(Table::Device), Query::under(bucket_place(3))] {
        let first = store.scan(&query, None, 2).await.unwrap();
        assert_eq!(first.items.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), devices(&["b", "d"]));
        let next = first.next.expect("more follows");
        // The record under the cursor goes away, one comes before it and one behind it.
        let record = || Some(device(1, 3, &[]));
        let gone = put(device_key("d"), 1, record(), None);
        commit(
            store,
            vec![gone, new(device_key("a"), device(9, 3, &[])), new(device_key("g"), device(9, 3, &[]))],
        )
        .await;
        let mut rest = Vec::new();
        let mut after = Some(next);
        while let Some(cursor) = after {
            let page = store.scan(&query, Some(&cursor), 2).await.unwrap();
            rest.extend(page.items.into_iter().map(|(key, _)| key));
            after = page.next;
        }
        rest.retain(|key| *key != device_key("g"));
        assert_eq!(rest, devices(&["f", "h", "j"]), "records that keep their place are found exactly once");
        let back = |name: &str| put(device_key(name), 1, Some(device(9, 3, &[])), None);
        commit(store, vec![back("a"), back("g"), new(device_key("d"), device(1, 3, &[]))]).await;
    }
}

pub(super) async fn a_cursor_of_another_query_is_refused(store: &dyn FleetStore) {
    let units = ["a", "b", "c"].map(|name| new(device_key(name), device(1, 3, &[])));
    commit(store, units.into()).await;
    let query = Query::under(bucket_place(3));
    let cursor = store.scan(&query, None, 1).await.unwrap().next.expect("more follows");
    let others = [
        Query::table(Table::Device),
        Query::under(bucket_place(4)),
        Query::under(bucket_place(2)),
        Query::under(tag_place("x")),
    ];
    for other in others {
        let error = store.scan(&other, Some(&cursor), 1).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{other:?} does not accept the cursor");
    }
    for made_up in [&b""[..], b"\0", b"\xff\xff\xff"] {
        let error = store.scan(&query, Some(&Cursor(made_up.to_vec())), 1).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "a made-up cursor is refused");
    }
}
