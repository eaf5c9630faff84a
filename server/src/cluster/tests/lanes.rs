//! Tasks of one item that follow each other in one incarnation, and journals that hold what nobody expects.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::chunk::ChunkBuilder;
use super::super::close::stored_result;
use super::super::engine::Engine;
use super::super::mutant::{Mutant, with_mutant};
use super::super::simulation::probe::alarms;
use super::super::{ItemHandle, Outcome, Submission};
use super::{START_US, ballot, exclusive, fun, item, open_pod, pod, shared, test_env, viewer, vote, vote_until_final};
use crate::domain::ballot::{Entry, Ratings};
use crate::domain::decimal::Decimal;
use crate::domain::note::Note;
use crate::domain::phase::Phase;
use crate::store::{Store, StoreError};

/// Lets the task of an item end whose last handle is gone, by way of everything it still has to do at this moment.
async fn ended() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

async fn final_voters(store: &Arc<dyn Store>) -> u64 {
    stored_result::<Ratings>(&**store, item(), 0).await.unwrap().unwrap().tally.voters
}

fn paused<T>(mutant: Option<Mutant>, work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    with_mutant(mutant, || runtime.block_on(work))
}

/// Two tasks of one engine, each with acknowledged votes, and the result that a later pod makes of them; and how many
/// alarms that one raised.
async fn one_task_after_another(store: Arc<dyn Store>) -> (u64, u64) {
    let engine = Engine::new(Arc::clone(&store), test_env(1));
    let first = engine.start(item(), ballot());
    first.open().await.unwrap();
    for who in 0..5 {
        assert_eq!(vote_until_final(&first, who, 10, 4).await, Outcome::Ok);
    }
    drop(first);
    ended().await;
    let second = engine.start(item(), ballot());
    second.loaded().await;
    for who in 5..8 {
        assert_eq!(vote_until_final(&second, who, 10, 4).await, Outcome::Ok);
    }
    // Killed before the next checkpoint.
    drop((second, engine));
    let third = pod(&store, 2);
    third.loaded().await;
    third.close().await.unwrap();
    third.reached(Phase::Final).await;
    (final_voters(&store).await, alarms())
}

#[test]
fn a_task_that_follows_another_one_begins_a_journal_of_its_own_and_nothing_is_lost() {
    for store in [exclusive, shared] {
        let before = alarms();
        assert_eq!(paused(None, one_task_after_another(store())), (8, before));
        // The same lane again, which the store notices: the votes go elsewhere, and somebody is told.
        let (voters, after) = paused(Some(Mutant::ReusesLane), one_task_after_another(store()));
        assert_eq!((voters, after > before), (5 + 3, true));
        // And as it was: the store takes other bytes for the same again.
        assert!(paused(Some(Mutant::AcceptsOtherBytes), one_task_after_another(store())).0 < 8);
    }
}

#[test]
fn a_result_that_lacks_what_was_acknowledged_raises_the_alarm() {
    let closed_by_the_second = async |store: Arc<dyn Store>| {
        let engine = Engine::new(Arc::clone(&store), test_env(1));
        let first = engine.start(item(), ballot());
        first.open().await.unwrap();
        assert_eq!(vote_until_final(&first, 1, 10, 4).await, Outcome::Ok);
        drop(first);
        ended().await;
        let second = engine.start(item(), ballot());
        second.loaded().await;
        assert_eq!(vote_until_final(&second, 2, 10, 4).await, Outcome::Ok);
        let before = alarms();
        second.close().await.unwrap();
        second.reached(Phase::Final).await;
        (final_voters(&store).await, alarms() - before)
    };
    assert_eq!(paused(None, closed_by_the_second(exclusive())), (2, 0));
    let (voters, alarms) = paused(Some(Mutant::AcceptsOtherBytes), closed_by_the_second(exclusive()));
    assert_eq!((voters, alarms > 0), (1, true), "what is lost is not lost silently");
}

#[tokio::test(start_paused = true)]
async fn an_item_that_runs_is_not_started_again() {
    let store = exclusive();
    let engine = Engine::new(Arc::clone(&store), test_env(1));
    let (one, other) = (engine.start(item(), ballot()), engine.start(item(), ballot()));
    one.open().await.unwrap();
    assert_eq!(vote(&other, 1, 10, 4).await, Outcome::Ok);
    assert_eq!(one.view(), other.view());
    drop(one);
    ended().await;
    assert_eq!(vote(&other, 2, 10, 4).await, Outcome::Ok, "one handle is enough to keep it");
    assert_eq!(store.lanes(item()).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_revision_of_an_items_numbers_never_falls_whichever_task_publishes_them() {
    let engine = Engine::new(exclusive(), test_env(1));
    let first = engine.start(item(), ballot());
    first.open().await.unwrap();
    for who in 0..9 {
        assert_eq!(vote(&first, who, 10, 4).await, Outcome::Ok);
    }
    let mut seen = first.view().revision;
    assert!(engine.fixed_revision(item()) >= seen);
    drop(first);
    ended().await;
    let second = engine.start(item(), ballot());
    let mut views = second.watch();
    while !second.view().loaded {
        assert!(second.view().revision > seen, "nor before the notes are read");
        seen = second.view().revision;
        views.changed().await.unwrap();
    }
    assert!(second.view().revision > seen);
}

/// Something that another writer put where the next chunk of a pod's only lane goes.
async fn plant(store: &Arc<dyn Store>, who: u8) -> Result<(), StoreError> {
    let lane = store.lanes(item()).await?[0].id;
    let next_seq = store.read_lane(item(), lane, 0).await?.len() as u64;
    let payload = Note::new(ballot().bareme(), [("fun", Decimal::whole(5))]).unwrap().encode();
    let mut chunk = ChunkBuilder::new(0);
    assert!(chunk.push(viewer(who), Entry { version: START_US + 5, payload: &payload }));
    store.append(item(), lane, next_seq, chunk.finish()).await
}

#[tokio::test(start_paused = true)]
async fn a_journal_with_other_bytes_is_left_and_its_votes_are_durable_elsewhere() {
    for store in [exclusive(), shared()] {
        let pod = open_pod(&store, 1).await;
        assert_eq!(vote_until_final(&pod, 1, 10, 4).await, Outcome::Ok);
        let before = alarms();
        plant(&store, 9).await.unwrap();
        assert_eq!(vote_until_final(&pod, 2, 10, 4).await, Outcome::Ok);
        assert_eq!(vote_until_final(&pod, 3, 10, 4).await, Outcome::Ok);
        assert_eq!(alarms(), before + 1);
        assert_eq!(store.lanes(item()).await.unwrap().len(), 2);
        // What was found there is read like any other pod's.
        let seen = async {
            while pod.view().tally.voters != 4 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), seen).await.expect("all four are shown");
        assert_eq!(fun(&pod), [0, 0, 0, 3, 1]);
        pod.settled().await;
        assert_eq!(store.read_notes(item(), None, 100).await.unwrap().len(), 4);
        pod.close().await.unwrap();
        pod.reached(Phase::Final).await;
        assert_eq!((final_voters(&store).await, alarms()), (4, before + 1));
    }
}

async fn counts_when_answered(pod: &ItemHandle<Ratings>, who: u8) -> (Outcome, u64) {
    let (sender, answer) = oneshot::channel();
    let payload = Note::new(ballot().bareme(), [("fun", Decimal::whole(4))]).unwrap().encode();
    let view = pod.watch();
    let on_outcome = Box::new(move |outcome| drop(sender.send((outcome, view.borrow().tally.voters))));
    pod.submit(Submission { viewer: viewer(who), version: START_US + 10, payload, on_outcome });
    answer.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_numbers_count_a_vote_before_it_is_answered() {
    let pod = open_pod(&exclusive(), 1).await;
    for who in 1..=5 {
        assert_eq!(counts_when_answered(&pod, who).await, (Outcome::Ok, u64::from(who)));
    }
}
