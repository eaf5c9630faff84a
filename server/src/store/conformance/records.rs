//! Cases about records and their compare-and-set.

use futures_util::future::join_all;

use super::{delete, done, get, ids, key, put};
use crate::store::{MAX_RECORD_BYTES, Record, RecordKey, RecordKind, Store, Swap};

/// Creating is a swap from 0.
pub async fn a_record_is_created_once(store: &dyn Store) {
    let at = key("a");
    assert_eq!(put(store, &at, 0, "{}").await, Swap::Done(1));
    assert_eq!(put(store, &at, 0, "[]").await, Swap::Conflict(1));
    assert_eq!(get(store, &at).await, Some((1, "{}".to_owned())));
}

/// A conflict names the revision and writes nothing.
pub async fn a_record_changes_only_from_the_expected_revision(store: &dyn Store) {
    let at = key("a");
    assert_eq!(put(store, &at, 3, "{}").await, Swap::Conflict(0));
    assert_eq!(get(store, &at).await, None);
    for expected in 0..3 {
        assert_eq!(put(store, &at, expected, &expected.to_string()).await, Swap::Done(expected + 1));
        assert_eq!(put(store, &at, expected, "late").await, Swap::Conflict(expected + 1));
    }
    assert_eq!(put(store, &at, 4, "early").await, Swap::Conflict(3));
    assert_eq!(delete(store, &at, 2).await, Swap::Conflict(3));
    assert_eq!(delete(store, &at, 0).await, Swap::Conflict(3));
    assert_eq!(get(store, &at).await, Some((3, "2".to_owned())));
}

/// Deletion is a swap to 0, and deleting what is not there is done already.
pub async fn a_deleted_record_is_absent_and_may_be_created_again(store: &dyn Store) {
    let at = key("a");
    assert_eq!(delete(store, &at, 0).await, Swap::Done(0));
    assert_eq!(delete(store, &at, 1).await, Swap::Conflict(0));
    put(store, &at, 0, "1").await;
    put(store, &key("b"), 0, "b").await;
    assert_eq!(delete(store, &at, 1).await, Swap::Done(0));
    assert_eq!(get(store, &at).await, None);
    assert_eq!(ids(store, at.kind, &at.scope, None, 10).await, ["b"]);
    assert_eq!(put(store, &at, 1, "2").await, Swap::Conflict(0));
    assert_eq!(put(store, &at, 0, "3").await, Swap::Done(1));
    assert_eq!(get(store, &at).await, Some((1, "3".to_owned())));
}

/// Whoever loses learns the revision that won.
pub async fn of_two_swaps_of_one_record_exactly_one_wins(store: &dyn Store) {
    let at = key("a");
    for expected in 0..10 {
        let swaps = ["left", "right", "left"].map(|body| store.put_record(&at, expected, body.to_owned()));
        let swaps: Vec<_> = join_all(swaps).await.into_iter().map(|swap| done("put_record", swap)).collect();
        let wins = swaps.iter().filter(|swap| **swap == Swap::Done(expected + 1)).count();
        let losses = swaps.iter().filter(|swap| **swap == Swap::Conflict(expected + 1)).count();
        assert_eq!((wins, losses), (1, 2), "{swaps:?}");
    }
    let deletions = join_all([store.delete_record(&at, 10), store.delete_record(&at, 10)]).await;
    let deletions: Vec<_> = deletions.into_iter().map(|swap| done("delete_record", swap)).collect();
    assert_eq!(deletions.iter().filter(|swap| **swap == Swap::Done(0)).count(), 1, "{deletions:?}");
}

/// Ids compare as bytes.
pub async fn records_come_in_order_of_id_and_in_pages(store: &dyn Store) {
    let expected = ["", "A", "a", "a-b", "ab", "é"];
    for id in ["é", "ab", "a", "", "a-b", "A"] {
        put(store, &key(id), 0, id).await;
    }
    let (kind, scope) = (key("").kind, key("").scope);
    assert_eq!(ids(store, kind, &scope, None, 100).await, expected);
    for limit in 1..=expected.len() {
        let mut paged: Vec<String> = Vec::new();
        loop {
            let page = ids(store, kind, &scope, paged.last().map(String::as_str), limit).await;
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, expected, "pages of {limit}");
    }
    assert_eq!(ids(store, kind, &scope, Some("aa"), 1).await, ["ab"]);
    assert!(ids(store, kind, &scope, None, 0).await.is_empty());
    let found = done("records", store.records(kind, &scope, Some("ab"), 1).await);
    assert_eq!(found, [Record { id: "é".to_owned(), revision: 1, body: "é".to_owned() }]);
}

/// Kind, scope and id are all of the key.
pub async fn records_of_two_kinds_or_scopes_do_not_mix(store: &dyn Store) {
    let keys = [
        RecordKey::new(RecordKind::Instance, "", "x"),
        RecordKey::new(RecordKind::Channel, "", "x"),
        RecordKey::new(RecordKind::Jeux, "", "x"),
        RecordKey::new(RecordKind::Bareme, "", "x"),
        RecordKey::new(RecordKind::Bareme, "a", "x"),
        RecordKey::new(RecordKind::Bareme, "ax", ""),
        RecordKey::new(RecordKind::Live, "", "x"),
        RecordKey::new(RecordKind::ChannelLive, "a", "x"),
        RecordKey::new(RecordKind::OverlayKey, "a", "x"),
        RecordKey::new(RecordKind::Account, "", "x"),
        RecordKey::new(RecordKind::Token, "", "x"),
        RecordKey::new(RecordKind::Session, "", "x"),
    ];
    for (index, at) in keys.iter().enumerate() {
        assert_eq!(put(store, at, 0, &index.to_string()).await, Swap::Done(1));
    }
    for (index, at) in keys.iter().enumerate() {
        assert_eq!(get(store, at).await, Some((1, index.to_string())));
        assert_eq!(ids(store, at.kind, &at.scope, None, 10).await, std::slice::from_ref(&at.id));
    }
}

/// Text is text: no escaping, no normalisation, no limit below the documented one.
pub async fn record_texts_come_back_as_they_were(store: &dyn Store) {
    let longest = "é".repeat(MAX_RECORD_BYTES / 2);
    let bodies = ["", "{\"titre\":\"L'été — \\u00e9\"}", "a\0b", "e\u{301}", longest.as_str()];
    for (index, body) in bodies.into_iter().enumerate() {
        let at = RecordKey::new(RecordKind::Account, "portée; --", format!("clé {index} '\""));
        put(store, &at, 0, body).await;
        assert_eq!(get(store, &at).await, Some((1, body.to_owned())));
    }
}
