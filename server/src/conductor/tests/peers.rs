//! Several pods on one store.

use std::time::Duration;

use super::super::{Conductor, OpenJeux};
use super::{channel, live_id, phases, shown, start, until, vote, with_drafts};
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveStatus;
use crate::domain::phase::Phase;
use crate::protocol::Status;
use crate::store::memory::MemoryStore;

/// Votes until the answer is not about a pod that is still finding its feet.
async fn vote_in_time(conductor: &Conductor, jeu: u32, who: u8, fun: i32) -> Status {
    loop {
        match vote(conductor, jeu, who, fun).await.status {
            Status::RetryAfter | Status::Unknown => tokio::time::sleep(Duration::from_millis(50)).await,
            status => return status,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_pod_opens_changes_and_ends_the_others_show_and_any_of_them_may_end_it() {
    let store = with_drafts(MemoryStore::new(), 1).await;
    let (one, other) = (start(&store, 1).await, start(&store, 2).await);
    let followed = shown(&other).await;
    assert!(followed.borrow().shown.is_none());
    one.open_live(live_id(1), OpenJeux::First).await.unwrap();
    let opened = until(&other, "open on the other pod", |state| phases(state)[0] == Phase::Open).await;
    assert_eq!(opened.current, Some(1));
    until(&other, "followed", |_| followed.borrow().shown.as_ref().is_some_and(|live| live.live.current.is_some()))
        .await;

    assert_eq!(vote_in_time(&one, 1, 1, 4).await, Status::Ok);
    assert_eq!(vote_in_time(&other, 1, 2, 5).await, Status::Ok);
    let voters = async |conductor: &Conductor| conductor.numbers(live_id(1)).await.unwrap().1[0].frame.voters;
    while voters(&one).await != 2 || voters(&other).await != 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let announced = one.close_jeu(live_id(1), JeuId(1), Some(5000)).await.unwrap().programme[0].closes_at_us;
    assert!(announced.is_some());
    until(&other, "announced", |state| state.programme[0].closes_at_us == announced).await;
    other.next(live_id(1), Some(0), None).await.unwrap();
    until(&one, "the next jeu", |state| state.current == Some(2) && phases(state)[0] == Phase::Final).await;

    other.close_live(live_id(1), Some(0)).await.unwrap();
    until(&one, "over", |state| state.status == LiveStatus::Closed && phases(state)[1] == Phase::Final).await;
    until(&other, "over", |state| phases(state)[1] == Phase::Final).await;
    let results = async |conductor: &Conductor| {
        let numbers = conductor.numbers(live_id(1)).await.unwrap().1.into_iter();
        numbers.map(|jeu| (jeu.frame.phase, jeu.frame.voters, jeu.frame.mean, jeu.frame.epoch)).collect::<Vec<_>>()
    };
    assert_eq!(results(&one).await, results(&other).await);
    assert!(channel(&store).await.open_live.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_admin_may_drive_on_another_pod_a_live_that_was_opened_this_moment() {
    let store = with_drafts(MemoryStore::new(), 1).await;
    let (one, other) = (start(&store, 1).await, start(&store, 2).await);
    one.open_live(live_id(1), OpenJeux::None).await.unwrap();
    let state = other.open_jeu(live_id(1), JeuId(2)).await.unwrap();
    assert_eq!((state.current, phases(&state)[1]), (Some(2), Phase::Open));
    until(&one, "open here, too", |state| phases(state)[1] == Phase::Open && state.current == Some(2)).await;
}
