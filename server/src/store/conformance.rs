//! What every store does, as cases whose names are sentences. A backend runs all of them, each on an empty store:
//!
//! ```ignore
//! macro_rules! on_mine {
//!     ($($case:ident)*) => { $(
//!         #[tokio::test]
//!         async fn $case() { conformance::$case(&MyStore::new()).await; }
//!     )* };
//! }
//! bareme::store_cases!(on_mine);
//! ```
//!
//! [`Random`] adds seeded batches, compared with a model that only remembers what was written.
//!
//! Invariant: a case uses nothing but the [`Store`] trait, and asks nothing that its documentation does not say.

#![expect(clippy::expect_used, clippy::panic, reason = "a case fails by panicking")]

mod lanes;
mod notes;
mod phases;
mod random;
mod records;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    ErrorKind, ItemId, LANE_PAGE, LaneId, MAX_CHUNK_BYTES, MAX_NOTE_ROWS, MAX_NUMBER, MAX_PAYLOAD_BYTES,
    MAX_RECORD_BYTES, MAX_SEQ, NoteRow, Payload, RecordKey, RecordKind, Result, Store, Swap, WriterId,
};
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::domain::viewer::ViewerId;

pub use self::lanes::*;
pub use self::notes::*;
pub use self::phases::*;
pub use self::random::Random;
pub use self::records::*;

/// Calls a macro with the names of all cases.
#[macro_export]
macro_rules! store_cases {
    ($each:ident) => {
        $each! {
            an_empty_store_has_nothing_and_takes_writes
            registering_a_lane_twice_changes_nothing
            a_lane_belongs_to_one_item_one_writer_and_one_number
            appending_a_chunk_again_changes_nothing
            other_bytes_under_a_known_number_are_refused_and_not_written
            a_lane_is_read_in_order_whatever_the_order_of_writing
            a_lane_is_read_in_pages
            a_lane_counts_beyond_32_bits
            an_empty_and_a_full_chunk_come_back
            lanes_do_not_mix
            many_lanes_may_be_appended_to_at_once
            a_chunk_for_an_unregistered_lane_is_refused_or_kept_but_never_moved
            pruning_deletes_the_journal_of_its_item_only
            pruning_twice_changes_nothing
            a_long_journal_is_pruned_whole
            a_lane_may_be_registered_again_after_pruning
            the_newest_note_stays
            a_late_retry_does_not_undo_a_newer_note
            of_equal_versions_the_greater_payload_stays
            one_batch_may_name_a_viewer_twice
            payloads_of_any_allowed_length_come_back
            notes_are_read_in_order_of_viewer_and_in_pages
            notes_of_two_items_do_not_mix
            a_full_batch_of_notes_is_written_whole
            pruning_notes_deletes_those_of_its_item_only
            many_notes_are_pruned_whole_and_pruning_again_changes_nothing
            pruned_notes_can_be_restored
            materialised_only_grows
            a_rank_only_grows
            ranks_come_in_order_of_jeu_and_of_one_live
            the_first_result_of_an_epoch_stays
            heartbeats_replace_each_other_per_writer_and_live
            a_record_is_created_once
            a_record_changes_only_from_the_expected_revision
            a_deleted_record_is_absent_and_may_be_created_again
            of_two_swaps_of_one_record_exactly_one_wins
            records_come_in_order_of_id_and_in_pages
            records_of_two_kinds_or_scopes_do_not_mix
            record_texts_come_back_as_they_were
            what_is_too_large_is_refused_and_not_written
        }
    };
}

macro_rules! name_cases {
    ($($case:ident)*) => {
        /// Names of all cases, in the order of the trait.
        pub const CASES: &[&str] = &[$(stringify!($case)),*];
    };
}
store_cases!(name_cases);

/// Seeds of the random batches that tests run; any other will do.
pub const SEEDS: [u64; 3] = [1, 20_260_101, 0x0BAD_5EED];

// Things to write, each from small numbers -----------------------------------------------------------------------

fn live(number: u128) -> LiveId {
    LiveId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number))
}

fn item(of_live: u128, jeu: u32) -> ItemId {
    ItemId { live: live(of_live), jeu: JeuId(jeu) }
}

fn writer(number: u128) -> WriterId {
    WriterId(Uuid::from_u128(0x0191_0000_0000_7000_8000_0000_0000_0000 + number))
}

fn lane(of_writer: u128, number: u8) -> LaneId {
    LaneId { writer: writer(of_writer), lane: number }
}

fn viewer(number: u32) -> ViewerId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    ViewerId(bytes)
}

fn note(of_viewer: u32, version: u64, payload: &[u8]) -> NoteRow {
    NoteRow { viewer: viewer(of_viewer), version, payload: Payload::from_slice(payload) }
}

fn chunk(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn key(id: &str) -> RecordKey {
    RecordKey::new(RecordKind::Bareme, "chaine", id)
}

// Calls that must succeed ------------------------------------------------------------------------------------------

fn done<T>(what: &str, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error} ({:?})", error.kind),
    }
}

fn refused<T>(what: &str, result: Result<T>) {
    match result {
        Ok(_) => panic!("{what} was taken"),
        Err(error) => assert_eq!(error.kind, ErrorKind::Refused, "{what}: {error}"),
    }
}

async fn register(store: &dyn Store, of: ItemId, id: LaneId) {
    done("register_lane", store.register_lane(of, id, 1).await);
}

async fn append(store: &dyn Store, of: ItemId, id: LaneId, seq: u64, text: &str) {
    done("append", store.append(of, id, seq, chunk(text)).await);
}

async fn read_all(store: &dyn Store, of: ItemId, id: LaneId) -> Vec<(u64, Bytes)> {
    let mut all: Vec<(u64, Bytes)> = Vec::new();
    loop {
        let from = all.last().map_or(0, |(seq, _)| seq + 1);
        let page = done("read_lane", store.read_lane(of, id, from).await);
        assert!(page.len() <= LANE_PAGE, "a page of {} chunks", page.len());
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn write(store: &dyn Store, of: ItemId, rows: &[NoteRow]) {
    done("write_notes", store.write_notes(of, rows.to_vec()).await);
}

async fn notes(store: &dyn Store, of: ItemId) -> Vec<NoteRow> {
    done("read_notes", store.read_notes(of, None, usize::MAX).await)
}

async fn put(store: &dyn Store, at: &RecordKey, expected: u64, body: &str) -> Swap {
    done("put_record", store.put_record(at, expected, body.to_owned()).await)
}

async fn delete(store: &dyn Store, at: &RecordKey, expected: u64) -> Swap {
    done("delete_record", store.delete_record(at, expected).await)
}

async fn get(store: &dyn Store, at: &RecordKey) -> Option<(u64, String)> {
    let found = done("record", store.record(at).await)?;
    assert_eq!(found.id, at.id);
    Some((found.revision, found.body))
}

async fn ids(store: &dyn Store, kind: RecordKind, scope: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let found = done("records", store.records(kind, scope, after, limit).await);
    found.into_iter().map(|record| record.id).collect()
}

// Cases --------------------------------------------------------------------------------------------------------------

/// Every read of an empty store is empty, and it says that it would take writes.
pub async fn an_empty_store_has_nothing_and_takes_writes(store: &dyn Store) {
    done("probe", store.probe().await);
    done("probe", store.probe().await);
    let of = item(1, 1);
    assert!(done("lanes", store.lanes(of).await).is_empty());
    assert!(read_all(store, of, lane(1, 0)).await.is_empty());
    assert!(notes(store, of).await.is_empty());
    assert!(done("ranks", store.ranks(of.live).await).is_empty());
    assert!(done("result", store.result(of, 0).await).is_none());
    assert!(done("heartbeats", store.heartbeats(of.live).await).is_empty());
    assert_eq!(get(store, &key("a")).await, None);
    assert!(ids(store, RecordKind::Bareme, "chaine", None, 10).await.is_empty());
    assert!(!store.backend().is_empty());
}

/// A refusal leaves nothing behind.
pub async fn what_is_too_large_is_refused_and_not_written(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    register(store, of, id).await;
    refused("a chunk", store.append(of, id, 0, Bytes::from(vec![0; MAX_CHUNK_BYTES + 1])).await);
    refused("a seq", store.append(of, id, MAX_SEQ + 1, chunk("x")).await);
    refused("a payload", store.write_notes(of, vec![note(1, 1, b"x"), note(2, 1, &[0; MAX_PAYLOAD_BYTES + 1])]).await);
    refused("a version", store.write_notes(of, vec![note(1, MAX_NUMBER + 1, b"x")]).await);
    refused("a batch", store.write_notes(of, vec![note(1, 1, b"x"); MAX_NOTE_ROWS + 1]).await);
    refused("a rank", store.raise_rank(of, Rank(MAX_NUMBER + 1)).await);
    refused("an epoch", store.put_result(of, u64::MAX, chunk("x")).await);
    refused("a progress", store.advance_materialised(of, id, u64::MAX).await);
    refused("a record", store.put_record(&key("a"), 0, "x".repeat(MAX_RECORD_BYTES + 1)).await);
    refused("a revision", store.put_record(&key("a"), u64::MAX, String::new()).await);
    assert!(read_all(store, of, id).await.is_empty());
    assert!(notes(store, of).await.is_empty());
    assert!(done("ranks", store.ranks(of.live).await).is_empty());
    assert_eq!(get(store, &key("a")).await, None);
    done("probe", store.probe().await);
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_in_the_list() {
        let files = [
            include_str!("conformance.rs"),
            include_str!("conformance/lanes.rs"),
            include_str!("conformance/notes.rs"),
            include_str!("conformance/phases.rs"),
            include_str!("conformance/records.rs"),
        ];
        let written: usize = files.iter().map(|text| text.matches("\npub async fn ").count()).sum();
        assert_eq!(written, super::CASES.len());
    }
}
