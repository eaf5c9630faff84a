//! Nodes that die, stop and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bareme::domain::jeu::JeuId;
use bareme::domain::live::LiveId;
use bareme::domain::phase::Rank;
use bareme::store::{ErrorKind, ItemId, LaneId, LaneRow, RecordKey, RecordKind, Store, Swap, WriterId};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use uuid::Uuid;

use super::{Breaker, CASES, RUNTIME, alone, hold, store, url};

/// Cases at once: what two processors and three nodes carry.
const AT_ONCE: usize = 4;

/// After this long a store whose cluster is whole again takes writes.
const HEALS_WITHIN: Duration = Duration::from_secs(30);

fn item() -> ItemId {
    ItemId { live: LiveId(Uuid::new_v4()), jeu: JeuId(1) }
}

fn lane() -> LaneId {
    LaneId { writer: WriterId(Uuid::new_v4()), lane: 0 }
}

fn chunk(seq: u64) -> Bytes {
    Bytes::from(format!("chunk {seq}"))
}

#[test]
fn every_case_holds_while_a_node_is_killed_and_while_it_is_gone() {
    let (Some(url), Some(breaker)) = (url(), Breaker::find()) else { return };
    let _alone = alone();
    let _mend = breaker.mend_in_the_end();
    RUNTIME.block_on(async {
        let store = store(&url).await;
        let ended = AtomicU64::new(0);
        let run = stream::iter(CASES).for_each_concurrent(AT_ONCE, |(name, case)| {
            let (store, ended) = (Arc::clone(&store), &ended);
            async move {
                println!("{name}");
                hold(&store, *case).await;
                ended.fetch_add(1, Ordering::Relaxed);
            }
        });
        let kill = async {
            while ended.load(Ordering::Relaxed) < 6 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::task::block_in_place(|| breaker.run(&["kill", "3"]));
        };
        tokio::join!(run, kill);
        assert_eq!(ended.into_inner(), CASES.len() as u64);
    });
}

/// Appends chunk after chunk, each until it is acknowledged, as the engine does; returns when `stop` says so.
async fn append_on(store: &dyn Store, of: ItemId, id: LaneId, mut seq: u64, stop: impl Fn(u64) -> bool) -> u64 {
    while !stop(seq) {
        match store.append(of, id, seq, chunk(seq)).await {
            Ok(()) => seq += 1,
            Err(error) => assert!(error.may_pass(), "{error}"),
        }
    }
    seq
}

#[test]
fn appends_go_on_while_a_node_is_stopped_and_none_is_lost() {
    let (Some(url), Some(breaker)) = (url(), Breaker::find()) else { return };
    let _alone = alone();
    let _mend = breaker.mend_in_the_end();
    RUNTIME.block_on(async {
        let store = store(&url).await;
        let (of, id) = (item(), lane());
        store.register_lane(of, id, 1).await.unwrap();
        let mut slowest = Duration::ZERO;
        for seq in 0..300 {
            if seq == 100 {
                tokio::task::block_in_place(|| breaker.run(&["stop", "2"]));
            }
            if seq == 200 {
                tokio::task::block_in_place(|| breaker.run(&["cont", "2"]));
            }
            let started = Instant::now();
            append_on(&*store, of, id, seq, |next| next > seq).await;
            slowest = slowest.max(started.elapsed());
        }
        println!("slowest append: {slowest:?}");
        let mut read = store.read_lane(of, id, 0).await.unwrap();
        read.extend(store.read_lane(of, id, read.len() as u64).await.unwrap());
        assert_eq!(read, (0..300).map(|seq| (seq, chunk(seq))).collect::<Vec<_>>());
    });
}

#[test]
fn without_a_quorum_nothing_is_acknowledged_and_with_it_again_everything_goes_on() {
    let (Some(url), Some(breaker)) = (url(), Breaker::find()) else { return };
    let _alone = alone();
    let _mend = breaker.mend_in_the_end();
    RUNTIME.block_on(async {
        let store = store(&url).await;
        let (of, id) = (item(), lane());
        let key = RecordKey::new(RecordKind::Bareme, of.live.to_string(), "a");
        store.register_lane(of, id, 1).await.unwrap();
        store.append(of, id, 0, chunk(0)).await.unwrap();
        assert_eq!(store.put_record(&key, 0, "1".to_owned()).await.unwrap(), Swap::Done(1));

        tokio::task::block_in_place(|| {
            breaker.run(&["kill", "1"]);
            breaker.run(&["kill", "3"]);
        });
        let error = store.append(of, id, 1, chunk(1)).await.unwrap_err();
        assert!(error.may_pass(), "{error}");
        let error = store.put_record(&key, 1, "2".to_owned()).await.unwrap_err();
        assert!(error.may_pass(), "{error}");
        let error = store.lanes(of).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "a read changes nothing: {error}");
        // Whether the one that is left refuses before it writes or times out depends on how soon it misses the others.
        for _ in 0..3 {
            let error = store.raise_rank(of, Rank(1)).await.unwrap_err();
            assert!(error.may_pass(), "{error}");
        }

        tokio::task::block_in_place(|| breaker.run(&["up"]));
        let started = Instant::now();
        while store.probe().await.is_err() {
            assert!(started.elapsed() < HEALS_WITHIN);
        }
        println!("takes writes again {:?} after the ring was whole", started.elapsed());
        append_on(&*store, of, id, 1, |next| next > 1).await;
        assert_eq!(store.read_lane(of, id, 0).await.unwrap(), [(0, chunk(0)), (1, chunk(1))]);
        assert_eq!(store.lanes(of).await.unwrap(), [LaneRow { id, format: 1, materialised: 0 }]);
        let record = store.record(&key).await.unwrap().unwrap();
        let next = store.put_record(&key, record.revision, "3".to_owned()).await.unwrap();
        assert_eq!(next, Swap::Done(record.revision + 1));
    });
}
