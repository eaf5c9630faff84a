//! The end of a live, taken back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::{ConductError, OpenJeux, channel_key, live_key};
use super::{channel, live_id, phases, shown, slug, start, store_with_drafts, until, vote, vote_in};
use crate::cluster::mutant::{Mutant, with_mutant};
use crate::domain::channel::Channel;
use crate::domain::jeu::JeuId;
use crate::domain::live::{Live, LiveStatus};
use crate::domain::phase::Phase;
use crate::protocol::Status;
use crate::records::Records;
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::{ErrorKind, Store};

#[tokio::test(start_paused = true)]
async fn the_end_of_a_live_is_taken_back_with_the_jeux_it_closed_and_their_notes() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::All).await.unwrap();
    assert_eq!(vote(&conductor, 1, 1, 4).await.status, Status::Ok);
    assert_eq!(vote(&conductor, 2, 1, 2).await.status, Status::Ok);
    conductor.close_jeu(live_id(1), JeuId(3), Some(0)).await.unwrap();
    let state = until(&conductor, "final", |state| state.programme[2].phase == Phase::Final).await;
    let closed_at_us = state.programme[2].closed_at_us.unwrap();
    assert_eq!((state.closed_at_us, state.programme[0].closed_at_us), (None, None));
    // Announced, so that the keeper ends it, and the jeu that was closed before stays closed.
    conductor.close_live(live_id(1), Some(5000)).await.unwrap();
    let closed = until(&conductor, "closed", |state| state.status == LiveStatus::Closed).await;
    let ended_us = closed.closed_at_us.unwrap();
    assert_eq!(closed.programme[2].closed_at_us, Some(closed_at_us));
    assert_eq!(vote(&conductor, 1, 2, 4).await.status, Status::Closed);
    tokio::time::sleep(Duration::from_secs(29)).await;
    let state = conductor.reopen_live(live_id(1)).await.unwrap();
    assert_eq!(
        (state.status, state.current, state.closed_at_us, state.ends_at_us),
        (LiveStatus::Open, Some(1), None, None)
    );
    assert_eq!(phases(&state), [Phase::Open, Phase::Open, Phase::Final]);
    assert_eq!((state.programme[0].epoch, state.programme[2].epoch), (1, 0));
    assert_eq!(channel(&store).await.open_live, Some(live_id(1)));
    assert_eq!(conductor.reopen_live(live_id(1)).await.unwrap(), state, "again changes nothing");
    assert_eq!(vote(&conductor, 1, 2, 2).await.status, Status::Ok);
    let (_, numbers) = conductor.numbers(live_id(1)).await.unwrap();
    assert_eq!((numbers[0].frame.voters, numbers[1].frame.voters), (2, 1), "the notes are still there");
    // Its keeper works, and it can end again, with a window of its own.
    conductor.close_jeu(live_id(1), JeuId(1), Some(1000)).await.unwrap();
    until(&conductor, "final again", |state| state.programme[0].phase == Phase::Final).await;
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    let closed = until(&conductor, "closed", |state| state.closed_at_us.is_some()).await;
    assert!(closed.closed_at_us.unwrap() > ended_us + 29_000_000, "{closed:?}");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let state = conductor.reopen_live(live_id(1)).await.unwrap();
    assert_eq!(phases(&state), [Phase::Final, Phase::Open, Phase::Final], "what was final before its end stays so");
    assert_eq!(vote(&conductor, 2, 2, 4).await.status, Status::Ok);
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    let late = conductor.reopen_live(live_id(1)).await.unwrap_err();
    assert!(matches!(late, ConductError::Conflict { code: "too_late_to_undo", .. }), "{late}");
    let (_, numbers) = conductor.numbers(live_id(1)).await.unwrap();
    assert_eq!((numbers[0].frame.voters, numbers[1].frame.voters), (2, 2));
    assert_eq!(channel(&store).await.open_live, None);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_end_of_a_live_can_still_be_taken_back() {
    let store = store_with_drafts(1).await;
    let first = start(&store, 1).await;
    first.open_live(live_id(1), OpenJeux::First).await.unwrap();
    assert_eq!(vote(&first, 1, 1, 4).await.status, Status::Ok);
    first.close_live(live_id(1), Some(0)).await.unwrap();
    until(&first, "final", |state| state.programme[0].phase == Phase::Final).await;
    drop(first);
    let second = start(&store, 2).await;
    let shown = shown(&second).await;
    let state = second.reopen_live(live_id(1)).await.unwrap();
    assert_eq!(phases(&state), [Phase::Open, Phase::Pending, Phase::Pending]);
    assert_eq!(shown.borrow().shown.as_ref().unwrap().state(), state);
    assert_eq!(vote(&second, 1, 2, 2).await.status, Status::Ok);
    second.close_live(live_id(1), Some(0)).await.unwrap();
    until(&second, "final", |state| state.programme[0].phase == Phase::Final).await;
    let state = second.reopen_live(live_id(1)).await.unwrap();
    assert_eq!((state.programme[0].epoch, state.programme[0].phase), (2, Phase::Open));
    assert_eq!(vote(&second, 1, 3, 4).await.status, Status::Ok);
    let (_, numbers) = second.numbers(live_id(1)).await.unwrap();
    assert_eq!(numbers[0].frame.voters, 3);
    second.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_of_taking_an_end_back_leaves_a_live_that_is_over_or_open_as_before() {
    let store = store_with_drafts(1).await;
    let records = Records::new(Arc::clone(&store));
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    assert_eq!(vote(&conductor, 1, 1, 4).await.status, Status::Ok);
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    until(&conductor, "final", |state| state.programme[0].phase == Phase::Final).await;
    drop(conductor);
    // The channel was taken, and the record not changed yet.
    let take = |channel: &mut Channel| {
        channel.open_live = Some(live_id(1));
        Ok::<_, ()>(())
    };
    records.update(&channel_key(&slug()), take).await.unwrap().unwrap().unwrap();
    let conductor = start(&store, 2).await;
    assert_eq!(channel(&store).await.open_live, None);
    assert_eq!(conductor.live_state(live_id(1)).await.unwrap().status, LiveStatus::Closed);
    drop(conductor);
    // The record was changed, and no jeu opened yet.
    records.update(&channel_key(&slug()), take).await.unwrap().unwrap().unwrap();
    let open = |live: &mut Live| {
        live.status = LiveStatus::Open;
        live.closed_at_us = None;
        Ok::<_, ()>(())
    };
    records.update(&live_key(live_id(1)), open).await.unwrap().unwrap().unwrap();
    let conductor = start(&store, 3).await;
    let state = until(&conductor, "open", |state| state.programme[0].phase == Phase::Open).await;
    assert_eq!(state.programme[0].epoch, 1);
    let is_done = async || records.get::<Live>(&live_key(live_id(1))).await.unwrap().unwrap().value.closed_with;
    while !is_done().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(vote(&conductor, 1, 2, 4).await.status, Status::Ok);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_live_is_not_taken_back_over_another_one() {
    let store = store_with_drafts(2).await;
    let conductor = start(&store, 1).await;
    assert!(matches!(conductor.reopen_live(live_id(1)).await, Err(ConductError::Conflict { .. })), "a draft");
    assert!(matches!(conductor.reopen_live(live_id(9)).await, Err(ConductError::UnknownLive(_))));
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    conductor.open_live(live_id(2), OpenJeux::First).await.unwrap();
    let refused = conductor.reopen_live(live_id(1)).await.unwrap_err();
    assert!(refused.to_string().contains("on air"), "{refused}");
    assert_eq!(conductor.live_state(live_id(1)).await.unwrap().status, LiveStatus::Closed);
    assert_eq!(channel(&store).await.open_live, Some(live_id(2)));
    conductor.close_live(live_id(2), Some(0)).await.unwrap();
    let state = conductor.reopen_live(live_id(1)).await.unwrap();
    assert_eq!((state.status, phases(&state)[0]), (LiveStatus::Open, Phase::Open));
    let shown = shown(&conductor).await;
    assert_eq!(shown.borrow().on_air(), Some(live_id(1)));
}

/// One live ends, another one takes 41 votes and ends, the first retires, the end of the second is taken back, and ten
/// more come. What is counted then, after a crash, and whether the second was still known when it was opened again.
async fn undone_after_an_older_live_retired() -> (u64, bool) {
    let store = store_with_drafts(2).await;
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(2), OpenJeux::First).await.unwrap();
    assert_eq!(vote_in(&conductor, live_id(2), 1, 1, 4).await.status, Status::Ok);
    conductor.close_live(live_id(2), Some(0)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    for who in 0..41 {
        assert_eq!(vote(&conductor, 1, who, 4).await.status, Status::Ok);
    }
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    until(&conductor, "final", |state| state.programme[0].phase == Phase::Final).await;
    // The first retires 40 s after its end; the second can be opened again until 45 s after it.
    tokio::time::sleep(Duration::from_secs(28)).await;
    let is_known = conductor.view(live_id(1)).is_some();
    conductor.reopen_live(live_id(1)).await.unwrap();
    for who in 41..51 {
        assert_eq!(vote(&conductor, 1, who, 2).await.status, Status::Ok);
    }
    let (_, numbers) = conductor.numbers(live_id(1)).await.unwrap();
    assert_eq!(numbers[0].frame.voters, 51);
    drop(conductor);
    let conductor = start(&store, 2).await;
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    until(&conductor, "final", |state| state.programme[0].phase == Phase::Final).await;
    let (_, numbers) = conductor.numbers(live_id(1)).await.unwrap();
    (numbers[0].frame.voters, is_known)
}

#[test]
fn an_end_taken_back_after_an_older_live_retired_loses_no_vote() {
    let run = |mutant| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        with_mutant(mutant, || runtime.block_on(undone_after_an_older_live_retired()))
    };
    assert_eq!(run(None), (51, true));
    assert_eq!(run(Some(Mutant::ForgetsNewerLives)), (51, false), "forgotten, and nothing is lost all the same");
}

#[tokio::test(start_paused = true)]
async fn a_live_that_retired_before_a_newer_one_ended_is_forgotten_with_that_one() {
    let store = store_with_drafts(2).await;
    let conductor = start(&store, 1).await;
    for (live, pause_s) in [(1, 60), (2, 20)] {
        conductor.open_live(live_id(live), OpenJeux::First).await.unwrap();
        conductor.close_live(live_id(live), Some(0)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(pause_s)).await;
    }
    assert!(conductor.view(live_id(1)).is_some() && conductor.view(live_id(2)).is_some());
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(conductor.view(live_id(1)).is_none() && conductor.view(live_id(2)).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_a_crash_cut_short_is_finished_however_long_a_result_takes() {
    let memory = store_with_drafts(1).await;
    let makes_results = Arc::new(AtomicUsize::new(0));
    let switch = Arc::clone(&makes_results);
    let plan = Arc::new(move |asked: &'static str| match (asked, switch.load(Ordering::Relaxed)) {
        ("put_result", 0) => Fault::Refused(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(memory, plan));
    let first = start(&store, 1).await;
    first.open_live(live_id(1), OpenJeux::First).await.unwrap();
    first.close_live(live_id(1), Some(0)).await.unwrap();
    drop(first);
    let records = Records::new(Arc::clone(&store));
    let take = |channel: &mut Channel| {
        channel.open_live = Some(live_id(1));
        Ok::<_, ()>(())
    };
    records.update(&channel_key(&slug()), take).await.unwrap().unwrap().unwrap();
    let open = |live: &mut Live| {
        live.status = LiveStatus::Open;
        live.closed_at_us = None;
        Ok::<_, ()>(())
    };
    records.update(&live_key(live_id(1)), open).await.unwrap().unwrap().unwrap();
    let second = start(&store, 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    makes_results.store(1, Ordering::Relaxed);
    let state = until(&second, "open", |state| state.programme[0].phase == Phase::Open).await;
    assert_eq!(state.programme[0].epoch, 1);
}
