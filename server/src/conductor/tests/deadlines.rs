//! Announced closings.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::{Conductor, OpenJeux};
use super::{live_id, store_with_drafts, until, until_gone, vote};
use crate::cluster::tests::test_env;
use crate::domain::jeu::JeuId;
use crate::domain::phase::Phase;
use crate::protocol::Status;
use crate::store::Store;
use crate::store::faulty::{Fault, FaultyStore};

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
