//! Several pods on one store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::super::{Conductor, OpenJeux, channel_key, live_key};
use super::{channel, live_id, phases, shown, slug, start, store_with_drafts, until, vote, with_drafts};
use crate::cluster::ItemHandle;
use crate::cluster::mutant::{Mutant, with_mutant};
use crate::cluster::tests::skewed_env;
use crate::domain::channel::Channel;
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveStatus};
use crate::domain::phase::{Phase, Rank};
use crate::protocol::Status;
use crate::records::Records;
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::memory::MemoryStore;
use crate::store::{ErrorKind, ItemId, RecordKey, RecordKind, Store};

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

/// A live of two pods ends with 21 votes; one of them has retired it, by its own clock, when the other one, whose clock is
/// behind, accepts that the end is taken back. Six more votes come, on both.
#[tokio::test(start_paused = true)]
async fn a_pod_that_retired_a_live_comes_back_when_another_one_takes_the_end_back() {
    let store = with_drafts(MemoryStore::new(), 1).await;
    let behind = skewed_env(1, Duration::from_secs(30));
    let one = Conductor::start(Arc::clone(&store), behind).await.unwrap();
    let other = start(&store, 2).await;
    other.open_live(live_id(1), OpenJeux::First).await.unwrap();
    let is_here = || one.view(live_id(1)).is_some();
    until(&one, "open here, too", |state| is_here() && phases(state)[0] == Phase::Open).await;
    for who in 0..21 {
        let conductor = if who % 2 == 0 { &one } else { &other };
        assert_eq!(vote_in_time(conductor, 1, who, 4).await, Status::Ok);
    }
    other.close_live(live_id(1), Some(0)).await.unwrap();
    until(&one, "over", |state| state.status == LiveStatus::Closed && phases(state)[0] == Phase::Final).await;
    // By the clock of `one` it ends half a minute later than by that of `other`.
    let is_retired = || other.view(live_id(1)).unwrap().items.iter().all(ItemHandle::is_fixed);
    let retired = async {
        while !is_retired() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(50), retired).await.expect("retired while the end can be taken back");
    let rev = async |conductor: &Conductor| conductor.numbers(live_id(1)).await.unwrap().1[0].frame.rev;
    let (rev_of_one, rev_of_other) = (rev(&one).await, rev(&other).await);
    one.reopen_live(live_id(1)).await.unwrap();
    until(&other, "open again", |state| phases(state)[0] == Phase::Open).await;
    assert!(rev(&one).await >= rev_of_one && rev(&other).await > rev_of_other);
    for who in 21..27 {
        let conductor = if who % 2 == 0 { &one } else { &other };
        assert_eq!(vote_in_time(conductor, 1, who, 4).await, Status::Ok);
    }
    other.close_live(live_id(1), Some(0)).await.unwrap();
    for conductor in [&one, &other] {
        until(conductor, "final", |state| phases(state)[0] == Phase::Final).await;
        assert_eq!(conductor.numbers(live_id(1)).await.unwrap().1[0].frame.voters, 27);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_request_opens_just_after_the_end_of_a_live_is_closed_again_and_shown_by_every_pod() {
    let store = with_drafts(MemoryStore::new(), 1).await;
    let behind = skewed_env(1, Duration::from_secs(60));
    let one = Conductor::start(Arc::clone(&store), behind).await.unwrap();
    let other = start(&store, 2).await;
    one.open_live(live_id(1), OpenJeux::First).await.unwrap();
    until(&other, "open here, too", |state| phases(state)[0] == Phase::Open).await;
    // By the clock of `other` that was a minute ago.
    one.close_live(live_id(1), Some(0)).await.unwrap();
    until(&other, "over", |state| state.status == LiveStatus::Closed && phases(state)[0] == Phase::Final).await;
    let late = start(&store, 3).await;
    let followed = shown(&late).await;
    assert!(followed.borrow().shown.as_ref().is_some_and(|live| live.items[0].is_fixed()));
    tokio::time::sleep(Duration::from_secs(20)).await;
    // The pod that reopened it died before it could read that the live is over.
    store.raise_rank(ItemId { live: live_id(1), jeu: JeuId(1) }, Rank::new(1, Phase::Open)).await.unwrap();
    let raised = Instant::now();
    for pod in [&late, &one, &other] {
        until(pod, "closed again", |state| (state.programme[0].epoch, state.programme[0].phase) == (1, Phase::Final))
            .await;
    }
    assert!(raised.elapsed() < Duration::from_secs(15), "{:?}", raised.elapsed());
    assert_eq!(followed.borrow().shown.as_ref().unwrap().items[0].view().rank, Rank::new(1, Phase::Final));
}

/// Whether a live is open here, with tasks, 20 s after another pod took its end back that this pod does not hear of.
async fn is_awake_after_an_unheard_undo() -> bool {
    // Alone on its store, it never asks for what others do.
    let store = with_drafts(MemoryStore::exclusive(), 1).await;
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    assert_eq!(vote_in_time(&conductor, 1, 1, 4).await, Status::Ok);
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(29_700)).await;
    let open = |live: &mut Live| {
        live.status = LiveStatus::Open;
        live.closed_at_us = None;
        Ok::<_, ()>(())
    };
    let records = Records::new(Arc::clone(&store));
    records.update(&live_key(live_id(1)), open).await.unwrap().unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let view = conductor.view(live_id(1)).unwrap();
    view.live.status == LiveStatus::Open && !view.items.iter().any(ItemHandle::is_fixed)
}

#[test]
fn a_live_retires_by_what_is_read_of_its_record_and_not_by_the_clock() {
    let run = |mutant| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        with_mutant(mutant, || runtime.block_on(is_awake_after_an_unheard_undo()))
    };
    assert!(run(None));
    assert!(!run(Some(Mutant::RetiresByClock)));
}

/// Makes `live_id(7)` a live whose record is damaged.
async fn with_damaged_live(store: &Arc<dyn Store>) {
    store.put_record(&live_key(live_id(7)), 0, "{}".to_owned()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_damaged_cuts_no_pod_off_from_the_others() {
    let store = with_drafts(MemoryStore::new(), 1).await;
    let damaged = RecordKey::new(RecordKind::Channel, "", "broken");
    store.put_record(&damaged, 0, "{}".to_owned()).await.unwrap();
    with_damaged_live(&store).await;
    let records = Records::new(Arc::clone(&store));
    let also = Channel { slug: Slug::new("also").unwrap(), last_live: Some(live_id(7)), ..channel(&store).await };
    records.put(&channel_key(&also.slug), 0, &also).await.unwrap();
    let (one, other) = (start(&store, 1).await, start(&store, 2).await);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(one.unheard() < Duration::from_secs(2), "{:?}", one.unheard());
    one.open_live(live_id(1), OpenJeux::First).await.unwrap();
    until(&other, "open on the other pod", |state| phases(state)[0] == Phase::Open).await;
}

#[tokio::test(start_paused = true)]
async fn jeux_that_are_damaged_do_not_hide_that_the_store_is_gone() {
    let memory = with_drafts(MemoryStore::new(), 1).await;
    start(&memory, 1).await.open_live(live_id(1), OpenJeux::First).await.unwrap();
    let is_gone = Arc::new(AtomicUsize::new(0));
    let switch = Arc::clone(&is_gone);
    let plan = Arc::new(move |asked: &'static str| match (switch.load(Ordering::Relaxed), asked) {
        (0, "read_notes") => Fault::Refused(ErrorKind::Corrupt),
        (0, _) => Fault::None,
        _ => Fault::Refused(ErrorKind::Unavailable),
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(memory, plan));
    let pod = start(&store, 2).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(pod.unheard() < Duration::from_secs(2), "{:?}", pod.unheard());
    is_gone.store(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(pod.unheard() >= Duration::from_secs(19), "{:?}", pod.unheard());
}

#[tokio::test(start_paused = true)]
async fn a_live_that_is_over_and_damaged_does_not_keep_the_one_on_air_from_going_on() {
    let store = store_with_drafts(1).await;
    with_damaged_live(&store).await;
    store.raise_rank(ItemId { live: live_id(7), jeu: JeuId(1) }, Rank::new(0, Phase::Open)).await.unwrap();
    start(&store, 1).await.open_live(live_id(1), OpenJeux::First).await.unwrap();
    let lacks_results = |channel: &mut Channel| {
        channel.unfinished.insert(live_id(7));
        Ok::<_, ()>(())
    };
    Records::new(Arc::clone(&store)).update(&channel_key(&slug()), lacks_results).await.unwrap().unwrap().unwrap();
    assert_eq!(start(&store, 2).await.open_lives().len(), 1);
}
