//! Tasks of an item, and heartbeats, that die and are made anew.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::super::engine::Engine;
use super::{Outcome, START_US, ballot, exclusive, item, open_pod, shared, test_env, vote, vote_until_final};
use crate::domain::phase::Phase;
use crate::store::Store;
use crate::store::faulty::{Fault, FaultyStore};

/// A store on which every call of `operation` panics while the number is not 0, and which counts down with each.
fn dying(store: Arc<dyn Store>, operation: &'static str) -> (Arc<dyn Store>, Arc<AtomicU32>) {
    let left = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&left);
    let plan = Arc::new(move |asked: &'static str| {
        let dies = asked == operation
            && counted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if dies { Fault::Panic } else { Fault::None }
    });
    (Arc::new(FaultyStore::new(store, plan)), left)
}

#[tokio::test(start_paused = true)]
async fn numbers_of_an_item_whose_task_died_stay_and_are_stale_until_they_were_read_again() {
    let (dies, left) = dying(exclusive(), "append");
    let slow = Arc::new(|asked: &'static str| match asked {
        "read_notes" => Fault::Delay(Duration::from_millis(100)),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(dies, slow));
    let pod = open_pod(&store, 1).await;
    assert_eq!(vote(&pod, 1, 1, 4).await, Outcome::Ok);
    left.store(1, Ordering::Relaxed);
    assert_eq!(vote(&pod, 2, 1, 4).await, Outcome::Unknown);
    let mut views = pod.watch();
    let mut seen = Vec::new();
    loop {
        let view = views.borrow_and_update().clone();
        seen.push((view.rank.phase(), view.tally.voters, view.loaded, view.stale));
        if view.loaded && !view.stale {
            break;
        }
        views.changed().await.unwrap();
    }
    assert!(seen.iter().all(|(phase, voters, ..)| (*phase, *voters) == (Phase::Open, 1)), "{seen:?}");
    assert!(seen.contains(&(Phase::Open, 1, false, true)), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn an_item_whose_task_dies_again_and_again_does_not_hold_up_the_heartbeat() {
    let (dies, left) = dying(shared(), "lanes");
    let beats = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&beats);
    let note = Arc::new(move |asked: &'static str| {
        if asked == "beat" {
            noted.lock().unwrap().push(Instant::now());
        }
        Fault::None
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(dies, note));
    let engine = Engine::new(store, test_env(1));
    let handle = engine.start(item(), ballot());
    handle.open().await.unwrap();
    left.store(u32::MAX, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let beats = beats.lock().unwrap();
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(beats.len() > 30 && longest <= Duration::from_secs(2), "{} beats, {longest:?}", beats.len());
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_whose_task_died_goes_on_above_the_beats_that_others_know() {
    let inner = shared();
    let (store, left) = dying(Arc::clone(&inner), "heartbeats");
    let engine = Engine::new(store, test_env(1));
    let handle = engine.start(item(), ballot());
    handle.open().await.unwrap();
    let beat = async || {
        let rows = inner.heartbeats(item().live).await.unwrap();
        let heartbeat: serde_json::Value = serde_json::from_slice(&rows[0].1).unwrap();
        heartbeat["beat"].as_u64().unwrap()
    };
    tokio::time::sleep(Duration::from_secs(30)).await;
    let known = beat().await;
    left.store(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(left.load(Ordering::Relaxed), 0, "it died");
    assert!(beat().await > known);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_died_while_it_wrote_notes_leaves_none_that_seem_to_wait() {
    let (store, left) = dying(shared(), "write_notes");
    let pod = open_pod(&store, 1).await;
    left.store(1, Ordering::Relaxed);
    assert_eq!(vote_until_final(&pod, 1, 1, 4).await, Outcome::Ok);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(left.load(Ordering::Relaxed), 0, "it died");
    assert_eq!(pod.checkpoint_lag_us(START_US + 60_000_000), 0);
}
