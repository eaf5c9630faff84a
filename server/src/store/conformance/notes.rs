//! Cases about the notes table.

use futures_util::future::join_all;

use super::{append, chunk, done, item, lane, live, note, notes, read_all, register, write};
use crate::domain::phase::Rank;
use crate::domain::viewer::ViewerId;
use crate::store::{MAX_NOTE_ROWS, MAX_NUMBER, MAX_PAYLOAD_BYTES, NoteRow, Payload, Store};

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
