//! Announced closings.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::super::{Conductor, OpenJeux};
use super::{live_id, store_with_drafts, until, until_gone, vote, with_drafts};
use crate::cluster::tests::{skewed_env, test_env};
use crate::domain::jeu::JeuId;
use crate::domain::phase::Phase;
use crate::protocol::Status;
use crate::store::Store;
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::memory::MemoryStore;

#[tokio::test(start_paused = true)]
async fn a_pod_whose_clock_is_ahead_carries_out_nothing_before_its_time() {
    let store = with_drafts(MemoryStore::new(), 1).await;
    let behind = skewed_env(1, Duration::from_secs(30));
    let one = Conductor::start(Arc::clone(&store), behind).await.unwrap();
    let other = Conductor::start(Arc::clone(&store), test_env(2)).await.unwrap();
    one.open_live(live_id(1), OpenJeux::All).await.unwrap();
    until(&other, "here", |_| other.view(live_id(1)).is_some_and(|view| view.live.current.is_some())).await;
    let began = Instant::now();
    one.close_jeu(live_id(1), JeuId(1), Some(5000)).await.unwrap();
    until(&one, "closing", |state| state.programme[0].phase > Phase::Open).await;
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    let began = Instant::now();
    one.close_live(live_id(1), Some(5000)).await.unwrap();
    until(&one, "over", |state| state.programme[1].phase > Phase::Open).await;
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_closing_that_came_due_while_no_server_ran_closes_the_epoch_that_it_was_announced_for() {
    let (store, env) = (store_with_drafts(1).await, test_env(1));
    let (of_first, is_gone) = until_gone(&store);
    let first = Conductor::start(of_first, env.clone()).await.unwrap();
    first.open_live(live_id(1), OpenJeux::First).await.unwrap();
    first.close_jeu(live_id(1), JeuId(1), Some(0)).await.unwrap();
    until(&first, "final", |state| state.programme[0].phase == Phase::Final).await;
    first.reopen_jeu(live_id(1), JeuId(1)).await.unwrap();
    assert_eq!(vote(&first, 1, 1, 4).await.status, Status::Ok);
    first.close_jeu(live_id(1), JeuId(1), Some(5000)).await.unwrap();
    is_gone.store(1, Ordering::Relaxed);
    drop(first);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let plan = Arc::new(|asked: &'static str| match asked {
        "read_notes" => Fault::Delay(Duration::from_secs(1)),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(store, plan));
    let second = Conductor::start(store, env).await.unwrap();
    let state = until(&second, "closed", |state| state.programme[0].phase == Phase::Final).await;
    assert_eq!((state.programme[0].epoch, state.programme[0].closes_at_us), (1, None));
    assert_eq!(second.numbers(live_id(1)).await.unwrap().1[0].frame.voters, 1);
}
