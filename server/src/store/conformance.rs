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

mod random;

use bytes::Bytes;
use futures_util::future::join_all;
use uuid::Uuid;

use super::{
    ErrorKind, ItemId, LANE_PAGE, LaneId, LaneRow, MAX_CHUNK_BYTES, MAX_NOTE_ROWS, MAX_NUMBER, MAX_PAYLOAD_BYTES,
    MAX_RECORD_BYTES, MAX_SEQ, NoteRow, Payload, PhaseRow, Record, RecordKey, RecordKind, Result, Store, Swap,
    WriterId,
};
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::phase::{Phase, Rank};
use crate::domain::viewer::ViewerId;

pub use self::random::Random;

/// Calls a macro with the names of all cases.
#[macro_export]
macro_rules! store_cases {
    ($each:ident) => {
        $each! {
            an_empty_store_has_nothing_and_takes_writes
            registering_a_lane_twice_changes_nothing
            a_lane_belongs_to_one_item_one_writer_and_one_number
            appending_a_chunk_again_changes_nothing
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

/// Registration is idempotent: neither format nor progress is reset.
pub async fn registering_a_lane_twice_changes_nothing(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    done("register_lane", store.register_lane(of, id, 3).await);
    done("advance", store.advance_materialised(of, id, 7).await);
    done("register_lane", store.register_lane(of, id, 3).await);
    assert_eq!(done("lanes", store.lanes(of).await), [LaneRow { id, format: 3, materialised: 7 }]);
}

/// All lanes of an item are listed, and no other.
pub async fn a_lane_belongs_to_one_item_one_writer_and_one_number(store: &dyn Store) {
    let expected = [lane(1, 0), lane(1, 255), lane(2, 0)];
    for id in expected {
        register(store, item(1, 1), id).await;
    }
    register(store, item(1, 2), lane(3, 0)).await;
    register(store, item(2, 1), lane(4, 0)).await;
    let mut rows = done("lanes", store.lanes(item(1, 1)).await);
    rows.sort_by_key(|row| row.id);
    assert_eq!(rows, expected.map(|id| LaneRow { id, format: 1, materialised: 0 }));
}

/// W1 is repeated until it is acknowledged.
pub async fn appending_a_chunk_again_changes_nothing(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    register(store, of, id).await;
    for _ in 0..3 {
        append(store, of, id, 0, "zéro").await;
        append(store, of, id, 1, "un").await;
    }
    assert_eq!(read_all(store, of, id).await, [(0, chunk("zéro")), (1, chunk("un"))]);
}

/// Order of reading is order of `seq`, from the one asked for.
pub async fn a_lane_is_read_in_order_whatever_the_order_of_writing(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    register(store, of, id).await;
    for seq in [2, 0, 3, 1] {
        append(store, of, id, seq, &seq.to_string()).await;
    }
    let expected: Vec<_> = (0..4).map(|seq: u64| (seq, chunk(&seq.to_string()))).collect();
    assert_eq!(read_all(store, of, id).await, expected);
    assert_eq!(done("read_lane", store.read_lane(of, id, 2).await), expected[2..]);
    assert!(done("read_lane", store.read_lane(of, id, 4).await).is_empty());
    assert!(done("read_lane", store.read_lane(of, id, u64::MAX).await).is_empty());
}

/// A page holds the first [`LANE_PAGE`] chunks; the next begins after it.
pub async fn a_lane_is_read_in_pages(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    register(store, of, id).await;
    let count = LANE_PAGE as u64 + 3;
    let appends = (0..count).map(|seq| store.append(of, id, seq, chunk("x")));
    join_all(appends).await.into_iter().for_each(|result| done("append", result));
    let page = done("read_lane", store.read_lane(of, id, 0).await);
    let seqs: Vec<_> = page.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (0..LANE_PAGE as u64).collect::<Vec<_>>());
    assert_eq!(read_all(store, of, id).await.len() as u64, count);
}

/// `seq` is wider than 32 bits. What lies beyond a gap may be left out: the reader would stop before it anyway.
pub async fn a_lane_counts_beyond_32_bits(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    register(store, of, id).await;
    register(store, of, lane(1, 1)).await;
    let around = u64::from(u32::MAX);
    for seq in [0, around - 1, around, around + 1, MAX_SEQ] {
        append(store, of, id, seq, &seq.to_string()).await;
    }
    for (from, to) in [(0, 0), (around - 1, around + 1), (around, around + 1), (MAX_SEQ, MAX_SEQ)] {
        let mut read = done("read_lane", store.read_lane(of, id, from).await);
        let expected: Vec<_> = (from..=to).map(|seq| (seq, chunk(&seq.to_string()))).collect();
        read.truncate(expected.len());
        assert_eq!(read, expected);
    }
    assert!(read_all(store, of, lane(1, 1)).await.is_empty());
}

/// The store does not look into chunks.
pub async fn an_empty_and_a_full_chunk_come_back(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    register(store, of, id).await;
    let full: Bytes = (0..MAX_CHUNK_BYTES).map(|index| (index % 251) as u8).collect();
    done("append", store.append(of, id, 0, Bytes::new()).await);
    done("append", store.append(of, id, 1, full.clone()).await);
    assert_eq!(read_all(store, of, id).await, [(0, Bytes::new()), (1, full)]);
}

/// Same `seq`, different lanes: different chunks.
pub async fn lanes_do_not_mix(store: &dyn Store) {
    let places = [
        (item(1, 1), lane(1, 0)),
        (item(1, 1), lane(1, 1)),
        (item(1, 1), lane(2, 0)),
        (item(1, 2), lane(1, 0)),
        (item(2, 1), lane(1, 0)),
    ];
    for (index, (of, id)) in places.into_iter().enumerate() {
        register(store, of, id).await;
        append(store, of, id, 0, &index.to_string()).await;
    }
    for (index, (of, id)) in places.into_iter().enumerate() {
        assert_eq!(read_all(store, of, id).await, [(0, chunk(&index.to_string()))]);
    }
}

/// Appends of several lanes in flight together are all kept.
pub async fn many_lanes_may_be_appended_to_at_once(store: &dyn Store) {
    let places: Vec<_> = (0..8).map(|number| (item(1, 1 + u32::from(number) % 2), lane(1, number))).collect();
    let work = places.iter().map(|&(of, id)| async move {
        register(store, of, id).await;
        for seq in 0..20 {
            append(store, of, id, seq, &format!("{} {seq}", id.lane)).await;
        }
    });
    join_all(work).await;
    for (of, id) in places {
        let expected: Vec<_> = (0..20).map(|seq| (seq, chunk(&format!("{} {seq}", id.lane)))).collect();
        assert_eq!(read_all(store, of, id).await, expected);
    }
}

/// A backend may not know that a lane is not registered; but the chunk must not turn up elsewhere.
pub async fn a_chunk_for_an_unregistered_lane_is_refused_or_kept_but_never_moved(store: &dyn Store) {
    let of = item(1, 1);
    register(store, of, lane(1, 0)).await;
    if let Err(error) = store.append(of, lane(2, 0), 0, chunk("x")).await {
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    }
    assert!(read_all(store, of, lane(1, 0)).await.is_empty());
}

/// Lanes and chunks of the item go; everything else stays.
pub async fn pruning_deletes_the_journal_of_its_item_only(store: &dyn Store) {
    let (pruned, kept) = (item(1, 1), item(1, 2));
    for of in [pruned, kept] {
        for number in 0..2 {
            register(store, of, lane(1, number)).await;
            append(store, of, lane(1, number), 0, "x").await;
        }
        write(store, of, &[note(1, 5, b"n")]).await;
        done("raise_rank", store.raise_rank(of, Rank(3)).await);
        done("put_result", store.put_result(of, 0, chunk("r")).await);
    }
    done("prune_journal", store.prune_journal(pruned).await);
    assert!(done("lanes", store.lanes(pruned).await).is_empty());
    assert!(read_all(store, pruned, lane(1, 0)).await.is_empty());
    assert!(read_all(store, pruned, lane(1, 1)).await.is_empty());
    assert_eq!(done("lanes", store.lanes(kept).await).len(), 2);
    assert_eq!(read_all(store, kept, lane(1, 1)).await, [(0, chunk("x"))]);
    for of in [pruned, kept] {
        assert_eq!(notes(store, of).await, [note(1, 5, b"n")]);
        assert_eq!(done("result", store.result(of, 0).await), Some(chunk("r")));
    }
    assert_eq!(done("ranks", store.ranks(live(1)).await).len(), 2);
}

/// Pruning is idempotent, and nothing to prune is fine.
pub async fn pruning_twice_changes_nothing(store: &dyn Store) {
    let of = item(1, 1);
    done("prune_journal", store.prune_journal(of).await);
    register(store, of, lane(1, 0)).await;
    append(store, of, lane(1, 0), 0, "x").await;
    done("prune_journal", store.prune_journal(of).await);
    done("prune_journal", store.prune_journal(of).await);
    assert!(done("lanes", store.lanes(of).await).is_empty());
}

/// More chunks than a backend deletes at once.
pub async fn a_long_journal_is_pruned_whole(store: &dyn Store) {
    let of = item(1, 1);
    for number in 0..3 {
        register(store, of, lane(1, number)).await;
        for from in (0..600).step_by(200) {
            let appends = (from..from + 200).map(|seq| store.append(of, lane(1, number), seq, chunk("x")));
            join_all(appends).await.into_iter().for_each(|result| done("append", result));
        }
    }
    done("prune_journal", store.prune_journal(of).await);
    assert!(done("lanes", store.lanes(of).await).is_empty());
    for number in 0..3 {
        assert!(read_all(store, of, lane(1, number)).await.is_empty());
    }
}

/// A reopened jeu has a journal again, without the old chunks.
pub async fn a_lane_may_be_registered_again_after_pruning(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    register(store, of, id).await;
    append(store, of, id, 0, "before").await;
    done("advance", store.advance_materialised(of, id, 1).await);
    done("prune_journal", store.prune_journal(of).await);
    let fresh = lane(2, 0);
    register(store, of, fresh).await;
    append(store, of, fresh, 0, "after").await;
    assert_eq!(done("lanes", store.lanes(of).await), [LaneRow { id: fresh, format: 1, materialised: 0 }]);
    assert_eq!(read_all(store, of, fresh).await, [(0, chunk("after"))]);
}

/// A viewer who changes their mind has one row.
pub async fn the_newest_note_stays(store: &dyn Store) {
    let of = item(1, 1);
    write(store, of, &[note(1, 10, b"a")]).await;
    write(store, of, &[note(1, 11, b"b")]).await;
    write(store, of, &[note(1, 11, b"b")]).await;
    assert_eq!(notes(store, of).await, [note(1, 11, b"b")]);
}

/// Versions decide, not the order of arrival.
pub async fn a_late_retry_does_not_undo_a_newer_note(store: &dyn Store) {
    let of = item(1, 1);
    write(store, of, &[note(1, 20, b"new"), note(2, 5, b"x")]).await;
    write(store, of, &[note(1, 10, b"zzz"), note(2, 6, b"y")]).await;
    assert_eq!(notes(store, of).await, [note(1, 20, b"new"), note(2, 6, b"y")]);
}

/// Bytes compare as in a dictionary: the first difference decides, then the length.
pub async fn of_equal_versions_the_greater_payload_stays(store: &dyn Store) {
    let of = item(1, 1);
    let payloads: [&[u8]; 5] = [&[1, 2], &[1], &[2], &[], &[1, 0xFF]];
    for payload in payloads {
        write(store, of, &[note(1, 7, payload)]).await;
    }
    for payload in payloads.into_iter().rev() {
        write(store, of, &[note(2, 7, payload)]).await;
    }
    assert_eq!(notes(store, of).await, [note(1, 7, &[2]), note(2, 7, &[2])]);
}

/// A batch is a set of rows; the greatest wins inside it as well.
pub async fn one_batch_may_name_a_viewer_twice(store: &dyn Store) {
    let of = item(1, 1);
    write(store, of, &[note(1, 2, b"b"), note(1, 3, b"c"), note(1, 1, b"a")]).await;
    write(store, of, &[]).await;
    assert_eq!(notes(store, of).await, [note(1, 3, b"c")]);
}

/// Payloads are opaque: empty, zeros, the longest; versions up to the greatest.
pub async fn payloads_of_any_allowed_length_come_back(store: &dyn Store) {
    let of = item(1, 1);
    let longest: Vec<u8> = (0..MAX_PAYLOAD_BYTES).map(|index| index as u8).collect();
    let rows = [note(1, 0, b""), note(2, 1, b"\0\0"), note(3, MAX_NUMBER, &longest), note(4, 1, b"'\";\xff")];
    write(store, of, &rows).await;
    assert_eq!(notes(store, of).await, rows);
}

/// Pages of any size, without gap or repetition.
pub async fn notes_are_read_in_order_of_viewer_and_in_pages(store: &dyn Store) {
    let of = item(1, 1);
    let count = 50;
    let mut rows: Vec<_> = (0..count).map(|number| note(number * 7 % count, 1, b"x")).collect();
    rows.push(NoteRow { viewer: ViewerId([0xFF; 16]), version: 1, payload: Payload::new() });
    write(store, of, &rows).await;
    rows.sort_by_key(|row| row.viewer);
    assert_eq!(notes(store, of).await, rows);
    for limit in [1, 7, 51, 52] {
        let mut paged: Vec<NoteRow> = Vec::new();
        loop {
            let after = paged.last().map(|row| row.viewer);
            let page = done("read_notes", store.read_notes(of, after, limit).await);
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, rows, "pages of {limit}");
    }
    assert!(done("read_notes", store.read_notes(of, None, 0).await).is_empty());
}

/// The same viewer has a note per item.
pub async fn notes_of_two_items_do_not_mix(store: &dyn Store) {
    let places = [item(1, 1), item(1, 2), item(2, 1), item(1, u32::MAX)];
    for (index, of) in places.into_iter().enumerate() {
        write(store, of, &[note(1, index as u64, &[index as u8])]).await;
    }
    for (index, of) in places.into_iter().enumerate() {
        assert_eq!(notes(store, of).await, [note(1, index as u64, &[index as u8])]);
    }
}

/// [`MAX_NOTE_ROWS`] rows, several batches in flight.
pub async fn a_full_batch_of_notes_is_written_whole(store: &dyn Store) {
    let of = item(1, 1);
    let size = MAX_NOTE_ROWS as u32;
    let batch = |number: u32| -> Vec<_> {
        (number * size..(number + 1) * size).map(|viewer| note(viewer, 1, &[viewer as u8])).collect()
    };
    let writes = (0..4).map(|number| store.write_notes(of, batch(number)));
    join_all(writes).await.into_iter().for_each(|result| done("write_notes", result));
    let expected: Vec<_> = (0..4).flat_map(batch).collect();
    assert_eq!(notes(store, of).await, expected);
}

/// The rest of the item stays: its result says for ever what the notes came to.
pub async fn pruning_notes_deletes_those_of_its_item_only(store: &dyn Store) {
    let (pruned, kept) = (item(1, 1), item(1, 2));
    for of in [pruned, kept] {
        register(store, of, lane(1, 0)).await;
        append(store, of, lane(1, 0), 0, "x").await;
        write(store, of, &[note(1, 5, b"n"), note(u32::MAX, 6, b"m")]).await;
        done("raise_rank", store.raise_rank(of, Rank(3)).await);
        done("put_result", store.put_result(of, 0, chunk("r")).await);
    }
    done("prune_notes", store.prune_notes(pruned).await);
    assert!(notes(store, pruned).await.is_empty());
    assert_eq!(notes(store, kept).await, [note(1, 5, b"n"), note(u32::MAX, 6, b"m")]);
    assert_eq!(read_all(store, pruned, lane(1, 0)).await, [(0, chunk("x"))]);
    assert_eq!(done("result", store.result(pruned, 0).await), Some(chunk("r")));
    assert_eq!(done("ranks", store.ranks(live(1)).await).len(), 2);
}

/// More rows than a backend deletes at once.
pub async fn many_notes_are_pruned_whole_and_pruning_again_changes_nothing(store: &dyn Store) {
    // Of another item: what is written after a pruning may stay deleted.
    let (of, empty) = (item(1, 1), item(1, 2));
    done("prune_notes", store.prune_notes(empty).await);
    let rows: Vec<_> = (0..5000_u32).map(|number| note(number.wrapping_mul(0x9E37_79B9), 1, b"x")).collect();
    for batch in rows.chunks(MAX_NOTE_ROWS) {
        write(store, of, batch).await;
    }
    assert_eq!(notes(store, of).await.len(), rows.len());
    for _ in 0..2 {
        done("prune_notes", store.prune_notes(of).await);
        assert!(notes(store, of).await.is_empty());
    }
}

/// With the versions that they had, and as often as one likes.
pub async fn pruned_notes_can_be_restored(store: &dyn Store) {
    let of = item(1, 1);
    let rows = [note(1, 5, b"n"), note(2, 9, b""), note(u32::MAX, 6, b"m")];
    write(store, of, &rows).await;
    done("prune_notes", store.prune_notes(of).await);
    for _ in 0..2 {
        done("restore_notes", store.restore_notes(of, rows.to_vec()).await);
        assert_eq!(notes(store, of).await, rows);
    }
    done("prune_notes", store.prune_notes(of).await);
    assert!(notes(store, of).await.is_empty());
}

/// W3 is a max-register.
pub async fn materialised_only_grows(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    register(store, of, id).await;
    register(store, of, lane(1, 1)).await;
    for (value, expected) in [(5, 5), (3, 5), (5, 5), (6, 6), (0, 6), (1 << 40, 1 << 40)] {
        done("advance", store.advance_materialised(of, id, value).await);
        let mut rows = done("lanes", store.lanes(of).await);
        rows.sort_by_key(|row| row.id);
        let progress: Vec<_> = rows.iter().map(|row| row.materialised).collect();
        assert_eq!(progress, [expected, 0]);
    }
}

/// W4 is a max-register.
pub async fn a_rank_only_grows(store: &dyn Store) {
    let of = item(1, 1);
    let reopened = Rank::new(1, Phase::Open);
    let raises = [
        (Rank::new(0, Phase::Open), Rank::new(0, Phase::Open)),
        (Rank::new(0, Phase::Pending), Rank::new(0, Phase::Open)),
        (reopened, reopened),
        (Rank::new(0, Phase::Final), reopened),
        (reopened, reopened),
        (Rank(MAX_NUMBER), Rank(MAX_NUMBER)),
    ];
    for (raised, expected) in raises {
        done("raise_rank", store.raise_rank(of, raised).await);
        assert_eq!(done("ranks", store.ranks(of.live).await), [PhaseRow { jeu: of.jeu, rank: expected }]);
    }
}

/// R3 reads one live.
pub async fn ranks_come_in_order_of_jeu_and_of_one_live(store: &dyn Store) {
    for jeu in [3, 1, u32::MAX, 2] {
        done("raise_rank", store.raise_rank(item(1, jeu), Rank(u64::from(jeu))).await);
    }
    done("raise_rank", store.raise_rank(item(2, 9), Rank(9)).await);
    let expected = [1, 2, 3, u32::MAX].map(|jeu| PhaseRow { jeu: JeuId(jeu), rank: Rank(u64::from(jeu)) });
    assert_eq!(done("ranks", store.ranks(live(1)).await), expected);
}

/// Two pods may finalise the same jeu; one result is the result.
pub async fn the_first_result_of_an_epoch_stays(store: &dyn Store) {
    let of = item(1, 1);
    for body in ["first", "second", "first"] {
        done("put_result", store.put_result(of, 0, chunk(body)).await);
    }
    done("put_result", store.put_result(of, 1, Bytes::new()).await);
    done("put_result", store.put_result(item(1, 2), 0, chunk("other")).await);
    assert_eq!(done("result", store.result(of, 0).await), Some(chunk("first")));
    assert_eq!(done("result", store.result(of, 1).await), Some(Bytes::new()));
    assert_eq!(done("result", store.result(of, 2).await), None);
    assert_eq!(done("result", store.result(item(1, 2), 0).await), Some(chunk("other")));
}

/// The last heartbeat of each writer, of one live.
pub async fn heartbeats_replace_each_other_per_writer_and_live(store: &dyn Store) {
    for (of_live, of_writer, body) in [(1, 1, "a"), (1, 2, "b"), (2, 1, "c"), (1, 1, "d")] {
        done("beat", store.beat(live(of_live), writer(of_writer), chunk(body)).await);
    }
    let mut beats = done("heartbeats", store.heartbeats(live(1)).await);
    beats.sort_by_key(|(of, _)| *of);
    assert_eq!(beats, [(writer(1), chunk("d")), (writer(2), chunk("b"))]);
    assert_eq!(done("heartbeats", store.heartbeats(live(2)).await), [(writer(1), chunk("c"))]);
}

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
        let written = include_str!("conformance.rs").matches("\npub async fn ").count();
        assert_eq!(written, super::CASES.len());
    }
}
