//! Cases about the journal: lanes, their chunks, and pruning them.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{append, chunk, done, item, lane, live, note, notes, read_all, register, write};
use crate::domain::phase::Rank;
use crate::store::{ErrorKind, LANE_PAGE, LaneRow, MAX_CHUNK_BYTES, MAX_SEQ, Store};

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

/// A lane has one writer, and it never writes two chunks under one number. If that goes wrong, it must not go unnoticed:
/// what was stored first stays, and whoever comes second hears so.
pub async fn other_bytes_under_a_known_number_are_refused_and_not_written(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    register(store, of, id).await;
    append(store, of, id, 0, "zéro").await;
    append(store, of, id, 1, "un").await;
    for (seq, text) in [(0, "autre"), (1, "autre"), (1, ""), (0, "un")] {
        match store.append(of, id, seq, chunk(text)).await {
            Ok(()) => panic!("{text} was taken for chunk {seq}"),
            Err(error) => assert_eq!(error.kind, ErrorKind::Mismatch, "{error}"),
        }
    }
    append(store, of, id, 0, "zéro").await;
    append(store, of, id, 2, "deux").await;
    let expected = ["zéro", "un", "deux"].map(chunk);
    assert_eq!(read_all(store, of, id).await, (0..).zip(expected).collect::<Vec<_>>());
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
