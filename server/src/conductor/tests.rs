//! Whole lives over the reference store, with a paused clock.

mod deadlines;
mod own;
mod peers;
mod rehearsal;
mod removed;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{ChannelView, ConductError, Conductor, OpenJeux, Vote, Wanted, channel_key, live_key};
use crate::cluster::tests::{steppable_env, test_env};
use crate::domain::bareme::presets;
use crate::domain::channel::Channel;
use crate::domain::jeu::{Jeu, JeuDetails, JeuId};
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::phase::Phase;
use crate::domain::viewer::ViewerId;
use crate::protocol::{LiveState, Reply, Status};
use crate::records::Records;
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::memory::MemoryStore;
use crate::store::{ErrorKind, Store};

fn live_id(number: u128) -> LiveId {
    LiveId(Uuid::from_u128(number))
}

fn slug() -> Slug {
    Slug::new("demo").unwrap()
}

async fn store_with_drafts(drafts: u128) -> Arc<dyn Store> {
    with_drafts(MemoryStore::exclusive(), drafts).await
}

async fn with_drafts(store: MemoryStore, drafts: u128) -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(store);
    let records = Records::new(Arc::clone(&store));
    let channel = Channel {
        slug: slug(),
        title: "Démo".into(),
        close_delay_ms: 3000,
        open_live: None,
        last_live: None,
        takes_back: None,
        unfinished: BTreeSet::new(),
        created_at_us: 0,
    };
    records.put(&channel_key(&slug()), 0, &channel).await.unwrap();
    let jeu = |number: u32| Jeu {
        jeu_id: JeuId(number),
        details: JeuDetails { title: format!("Jeu {number}"), ..JeuDetails::default() },
    };
    for number in 1..=drafts {
        let live = Live {
            live_id: live_id(number),
            channel: slug(),
            title: "Soirée".into(),
            bareme_id: Uuid::nil(),
            bareme: presets().remove(0),
            programme: vec![jeu(1), jeu(2), jeu(3)],
            blind: false,
            minimum_votes: 1,
            status: LiveStatus::Draft,
            current: None,
            closes_at_us: BTreeMap::new(),
            delays_us: BTreeMap::new(),
            ends_at_us: None,
            created_at_us: 0,
            opened_at_us: None,
            closed_at_us: None,
            closed_with: BTreeSet::new(),
        };
        records.put(&live_key(live_id(number)), 0, &live).await.unwrap();
    }
    store
}

async fn start(store: &Arc<dyn Store>, seed: u64) -> Conductor {
    Conductor::start(Arc::clone(store), test_env(seed)).await.unwrap()
}

async fn vote(conductor: &Conductor, jeu: u32, who: u8, fun: i32) -> Reply {
    vote_in(conductor, live_id(1), jeu, who, fun).await
}

async fn vote_in(conductor: &Conductor, live: LiveId, jeu: u32, who: u8, fun: i32) -> Reply {
    let (sender, reply) = oneshot::channel();
    let scores = json!({ "fun": fun }).as_object().cloned().unwrap();
    let vote =
        Vote { live: live.0, jeu, viewer: ViewerId([who; 16]), v: None, wanted: Wanted::Json(scores), trace: None };
    conductor.submit(&vote, move |answer| drop(sender.send(answer)));
    reply.await.unwrap()
}

fn phases(state: &LiveState) -> Vec<Phase> {
    state.programme.iter().map(|entry| entry.phase).collect()
}

/// Waits until the live looks as it should; the clock is paused, so a wrong live runs into the timeout at once.
async fn until(conductor: &Conductor, what: &str, wanted: impl Fn(&LiveState) -> bool) -> LiveState {
    let reached = async {
        loop {
            let state = conductor.live_state(live_id(1)).await.unwrap();
            if wanted(&state) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), reached).await.unwrap_or_else(|_| panic!("never {what}"))
}

#[tokio::test(start_paused = true)]
async fn a_live_goes_from_draft_to_results_and_every_jeu_has_its_own() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    assert_eq!(vote(&conductor, 1, 1, 4).await.status, Status::Invalid, "a draft takes no votes");
    let state = conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    assert_eq!((state.status, state.current), (LiveStatus::Open, Some(1)));
    assert_eq!(phases(&state), [Phase::Open, Phase::Pending, Phase::Pending]);
    assert_eq!(vote(&conductor, 2, 1, 4).await.status, Status::NotOpen);
    assert_eq!(vote(&conductor, 1, 1, 4).await.status, Status::Ok);
    let state = conductor.next(live_id(1), None, Some(JeuId(1))).await.unwrap();
    let again = conductor.next(live_id(1), None, Some(JeuId(1))).await.unwrap_err();
    assert!(matches!(again, ConductError::Conflict { code: "moved_on", .. }), "two who press at once skip no jeu");
    assert_eq!((state.current, phases(&state)[1]), (Some(2), Phase::Open));
    assert!(state.programme[0].closes_at_us.is_some(), "the one left behind closes after the channel's delay");
    assert_eq!(vote(&conductor, 1, 2, 2).await.status, Status::Ok, "until then it takes notes");
    until(&conductor, "final", |state| state.programme[0].phase == Phase::Final).await;
    assert_eq!(vote(&conductor, 1, 3, 4).await.status, Status::Closed);
    assert_eq!(vote(&conductor, 2, 1, 5).await.status, Status::Ok);
    conductor.close_live(live_id(1), None).await.unwrap();
    let state = until(&conductor, "closed", |state| state.status == LiveStatus::Closed).await;
    assert_eq!(state.ends_at_us, None);
    until(&conductor, "all final", |state| phases(state) == [Phase::Final, Phase::Final, Phase::Pending]).await;
    for conductor in [conductor, start(&store, 2).await] {
        let (_, numbers) = conductor.numbers(live_id(1)).await.unwrap();
        let voters: Vec<_> = numbers.iter().map(|jeu| (jeu.frame.voters, jeu.frame.mean)).collect();
        assert_eq!(voters, [(2, Some(3.0)), (1, Some(5.0)), (0, None)]);
        let (live, _) = conductor.numbers(live_id(1)).await.unwrap();
        let notes = conductor.notes(&live, JeuId(1)).await.unwrap().next().await.unwrap().unwrap();
        assert_eq!(notes.iter().map(|note| note.viewer.0[0]).collect::<Vec<_>>(), [1, 2]);
        let shown = conductor.channel_view(&slug()).await.unwrap().unwrap();
        assert_eq!(shown.borrow().shown.as_ref().unwrap().live.live_id, live_id(1), "pages show the last live");
        let own = conductor.own_notes(live_id(1), ViewerId([2; 16])).await.unwrap();
        assert_eq!((own.len(), own[0].jeu, &own[0].scores["fun"]), (1, 1, &json!(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_has_one_live_on_air_at_most() {
    let store = store_with_drafts(2).await;
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::None).await.unwrap();
    let refused = conductor.open_live(live_id(2), OpenJeux::First).await.unwrap_err();
    assert!(refused.to_string().contains(&live_id(1).to_string()), "{refused}");
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    conductor.open_live(live_id(2), OpenJeux::First).await.unwrap();
    let over = conductor.open_live(live_id(1), OpenJeux::First).await.unwrap_err();
    assert!(matches!(over, ConductError::Conflict { .. }));
}

#[tokio::test(start_paused = true)]
async fn several_jeux_are_open_at_once_and_pages_follow_one() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    let state = conductor.open_live(live_id(1), OpenJeux::All).await.unwrap();
    assert_eq!((phases(&state), state.current), (vec![Phase::Open; 3], Some(1)));
    for jeu in 1..=3 {
        assert_eq!(vote(&conductor, jeu, 1, 3).await.status, Status::Ok);
    }
    assert_eq!(conductor.set_current(live_id(1), JeuId(3)).await.unwrap().current, Some(3));
    assert!(conductor.set_current(live_id(1), JeuId(9)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_announced_closing_is_taken_back_by_reopening_and_a_final_jeu_begins_a_new_epoch() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    let state = conductor.close_jeu(live_id(1), JeuId(1), Some(5000)).await.unwrap();
    assert!(state.programme[0].closes_at_us.is_some());
    let state = conductor.reopen_jeu(live_id(1), JeuId(1)).await.unwrap();
    assert_eq!((state.programme[0].closes_at_us, state.programme[0].epoch), (None, 0));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(vote(&conductor, 1, 1, 3).await.status, Status::Ok);
    conductor.close_jeu(live_id(1), JeuId(1), Some(0)).await.unwrap();
    let state = conductor.reopen_jeu(live_id(1), JeuId(1)).await.unwrap();
    assert_eq!((state.programme[0].phase, state.programme[0].epoch), (Phase::Open, 1));
    assert!(conductor.close_jeu(live_id(1), JeuId(2), Some(0)).await.is_err(), "never opened");
    assert!(conductor.close_jeu(live_id(1), JeuId(1), Some(10_000_000)).await.is_err(), "too long a delay");
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_what_was_shown_and_keeps_announced_deadlines() {
    let store = store_with_drafts(1).await;
    let first = start(&store, 1).await;
    first.open_live(live_id(1), OpenJeux::All).await.unwrap();
    vote(&first, 1, 1, 4).await;
    first.close_jeu(live_id(1), JeuId(1), Some(60_000)).await.unwrap();
    drop(first);
    let second = start(&store, 2).await;
    assert_eq!(second.open_lives().len(), 1);
    until(&second, "open again", |state| phases(state) == [Phase::Open; 3]).await;
    assert_eq!(vote(&second, 1, 2, 4).await.status, Status::Ok);
    tokio::time::sleep(Duration::from_secs(61)).await;
    until(&second, "final", |state| state.programme[0].phase == Phase::Final).await;
    assert_eq!(second.numbers(live_id(1)).await.unwrap().1[0].frame.voters, 2);
}

#[tokio::test(start_paused = true)]
async fn an_announced_closing_takes_as_long_as_it_says_whatever_becomes_of_the_wall_clock() {
    for step_us in [-3_600_000_000, 3_600_000_000] {
        let store = store_with_drafts(1).await;
        let (env, clock) = steppable_env(1, 0);
        let conductor = Conductor::start(Arc::clone(&store), env).await.unwrap();
        conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
        assert_eq!(vote(&conductor, 1, 1, 4).await.status, Status::Ok);
        let announced = tokio::time::Instant::now();
        conductor.close_jeu(live_id(1), JeuId(1), Some(5000)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        clock.step(step_us);
        assert_eq!(vote(&conductor, 1, 1, 5).await.status, Status::Ok, "and a note can still be changed");
        until(&conductor, "closed", |state| state.programme[0].phase == Phase::Final).await;
        let took = announced.elapsed();
        assert!((Duration::from_secs(5)..Duration::from_millis(5100)).contains(&took), "{took:?} after {step_us}");
    }
}

#[tokio::test(start_paused = true)]
async fn server_time_goes_on_from_where_it_was_after_a_restart_with_an_earlier_wall_clock() {
    let store = store_with_drafts(1).await;
    let (of_first, is_gone) = until_gone(&store);
    let first = Conductor::start(of_first, steppable_env(1, 3_600_000_000).0).await.unwrap();
    first.open_live(live_id(1), OpenJeux::First).await.unwrap();
    assert_eq!(vote(&first, 1, 1, 4).await.status, Status::Ok);
    first.close_jeu(live_id(1), JeuId(1), Some(60_000)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(50)).await;
    let last_us = first.env().now_us();
    is_gone.store(1, Ordering::Relaxed);
    drop(first);
    let second = Conductor::start(Arc::clone(&store), steppable_env(2, 0).0).await.unwrap();
    let behind_us = last_us.saturating_sub(second.env().now_us());
    assert!(behind_us < 2_100_000, "{behind_us}");
    let began = tokio::time::Instant::now();
    assert_eq!(vote(&second, 1, 1, 5).await.status, Status::Ok, "a note can be changed");
    until(&second, "closed", |state| state.programme[0].phase == Phase::Final).await;
    assert!(began.elapsed() < Duration::from_secs(13), "what was left of the announced minute: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_the_steps_of_opening_and_of_ending_is_finished_at_the_next_start() {
    let store = store_with_drafts(1).await;
    let records = Records::new(Arc::clone(&store));
    let take = |channel: &mut Channel| {
        channel.open_live = Some(live_id(1));
        Ok::<_, std::convert::Infallible>(())
    };
    records.update(&channel_key(&slug()), take).await.unwrap();
    let conductor = start(&store, 1).await;
    assert_eq!(conductor.live_state(live_id(1)).await.unwrap().status, LiveStatus::Open);
    drop(conductor);
    let end = |live: &mut Live| {
        live.status = LiveStatus::Closed;
        Ok::<_, std::convert::Infallible>(())
    };
    records.update(&live_key(live_id(1)), end).await.unwrap();
    let conductor = start(&store, 2).await;
    assert!(conductor.open_lives().is_empty());
    let channel = records.get::<Channel>(&channel_key(&slug())).await.unwrap().unwrap().value;
    assert_eq!((channel.open_live, channel.last_live), (None, Some(live_id(1))));
}

#[tokio::test(start_paused = true)]
async fn wrong_votes_are_refused_by_field() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    let field = |reply: Reply| reply.problem.map(|problem| problem.field);
    assert_eq!(field(vote(&conductor, 9, 1, 4).await).as_deref(), Some("jeu"));
    assert_eq!(field(vote(&conductor, 1, 1, 9).await).as_deref(), Some("fun"));
}

/// A store that refuses everything once the number is not 0, as a server that is gone finds it: tasks of one that was
/// dropped go on.
fn until_gone(store: &Arc<dyn Store>) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
    let is_gone = Arc::new(AtomicUsize::new(0));
    let switch = Arc::clone(&is_gone);
    let plan = Arc::new(move |_: &'static str| match switch.load(Ordering::Relaxed) {
        0 => Fault::None,
        _ => Fault::Refused(ErrorKind::Unavailable),
    });
    (Arc::new(FaultyStore::new(Arc::clone(store), plan)), is_gone)
}

/// A store on which the call number `which` (from 1) of `operation` meets `fault`, counted from when the counter is 0.
fn once(
    store: &Arc<dyn Store>,
    operation: &'static str,
    which: usize,
    fault: Fault,
) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
    // Far from wrapping: not armed.
    let count = Arc::new(AtomicUsize::new(1 << 40));
    let counted = Arc::clone(&count);
    let plan = Arc::new(move |asked: &'static str| {
        let due = asked == operation && counted.fetch_add(1, Ordering::Relaxed) + 1 == which;
        if due { fault } else { Fault::None }
    });
    (Arc::new(FaultyStore::new(Arc::clone(store), plan)), count)
}

async fn channel(store: &Arc<dyn Store>) -> Channel {
    Records::new(Arc::clone(store)).get::<Channel>(&channel_key(&slug())).await.unwrap().unwrap().value
}

/// Returns when no pod that starts looks for results any more.
async fn has_all_results(store: &Arc<dyn Store>) {
    let noted = async {
        while !channel(store).await.unfinished.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), noted).await.expect("the live retires");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_store_cut_short_is_finished_by_the_keeper_or_by_asking_again() {
    for delay_ms in [3000, 0] {
        let (store, armed) = once(&store_with_drafts(2).await, "put_record", 2, Fault::Refused(ErrorKind::Full));
        let conductor = start(&store, 1).await;
        conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
        if delay_ms > 0 {
            conductor.close_live(live_id(1), Some(delay_ms)).await.unwrap();
            armed.store(0, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(10)).await;
        } else {
            armed.store(0, Ordering::Relaxed);
            assert!(conductor.close_live(live_id(1), Some(0)).await.is_err());
            conductor.close_live(live_id(1), Some(0)).await.unwrap();
        }
        let freed = channel(&store).await;
        assert_eq!((freed.open_live, freed.last_live), (None, Some(live_id(1))), "{delay_ms}");
        conductor.open_live(live_id(2), OpenJeux::First).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_draft_whose_opening_failed_half_way_frees_its_channel_when_it_is_deleted() {
    let (store, armed) = once(&store_with_drafts(2).await, "put_record", 2, Fault::Refused(ErrorKind::Full));
    let conductor = start(&store, 1).await;
    armed.store(0, Ordering::Relaxed);
    assert!(conductor.open_live(live_id(1), OpenJeux::First).await.is_err());
    conductor.delete_live(live_id(1)).await.unwrap();
    let freed = channel(&store).await;
    assert_eq!((freed.open_live, freed.last_live), (None, None), "a live that never was on air is not the last one");
    conductor.open_live(live_id(2), OpenJeux::First).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_jeu_that_is_opened_while_its_live_ends_does_not_stay_open() {
    let slow = Fault::Delay(Duration::from_millis(500));
    let (store, armed) = once(&store_with_drafts(1).await, "raise_rank", 1, slow);
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    armed.store(0, Ordering::Relaxed);
    let end = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        conductor.close_live(live_id(1), Some(0)).await
    };
    let (_opened, ended) = tokio::join!(conductor.open_jeu(live_id(1), JeuId(2)), end);
    ended.unwrap();
    until(&conductor, "over", |state| phases(state) == [Phase::Final, Phase::Final, Phase::Pending]).await;
    assert_eq!(conductor.live_state(live_id(1)).await.unwrap().status, LiveStatus::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_jeu_that_left_the_programme_while_it_was_opened_is_closed_again() {
    let slow = Fault::Delay(Duration::from_millis(500));
    let (store, armed) = once(&store_with_drafts(1).await, "raise_rank", 1, slow);
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    armed.store(0, Ordering::Relaxed);
    let remove = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let edit = |live: &mut Live| {
            live.programme.retain(|jeu| jeu.jeu_id != JeuId(2));
            Ok(())
        };
        conductor.edit_live(live_id(1), edit).await
    };
    let (opened, removed) = tokio::join!(conductor.open_jeu(live_id(1), JeuId(2)), remove);
    removed.unwrap();
    assert!(matches!(opened, Err(ConductError::UnknownJeu(..))), "{opened:?}");
    let ranks = store.ranks(live_id(1)).await.unwrap();
    assert_eq!(ranks.iter().map(|row| row.rank.phase()).collect::<Vec<_>>(), [Phase::Open, Phase::Final]);
    assert_eq!(conductor.live_state(live_id(1)).await.unwrap().current, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_channel_read_while_a_live_opens_shows_that_live() {
    let slow = Fault::Delay(Duration::from_secs(1));
    let (store, armed) = once(&store_with_drafts(2).await, "ranks", 1, slow);
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    until(&conductor, "final", |state| phases(state)[0] == Phase::Final).await;
    let conductor = start(&store, 2).await;
    armed.store(0, Ordering::Relaxed);
    let open = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        conductor.open_live(live_id(2), OpenJeux::First).await.unwrap();
    };
    let name = slug();
    let (view, ()) = tokio::join!(conductor.channel_view(&name), open);
    assert_eq!(view.unwrap().unwrap().borrow().shown.as_ref().unwrap().live.live_id, live_id(2));
}

#[tokio::test(start_paused = true)]
async fn editing_a_live_that_is_long_over_brings_none_of_its_jeux_back_to_work() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    until(&conductor, "final", |state| phases(state)[0] == Phase::Final).await;
    has_all_results(&store).await;
    let conductor = start(&store, 2).await;
    let edit = |live: &mut Live| {
        live.title = "Autre titre".into();
        Ok(())
    };
    let state = conductor.edit_live(live_id(1), edit).await.unwrap();
    assert_eq!((state.title.as_str(), phases(&state)[0]), ("Autre titre", Phase::Final));
    assert!(conductor.view(live_id(1)).is_none());
}

#[tokio::test(start_paused = true)]
async fn results_asked_for_just_after_a_restart_are_those_of_the_notes() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    assert_eq!(vote(&conductor, 1, 1, 4).await.status, Status::Ok);
    let conductor = start(&store, 2).await;
    let (_, numbers) = conductor.numbers(live_id(1)).await.unwrap();
    assert_eq!((numbers[0].frame.phase, numbers[0].frame.voters), (Phase::Open, 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_said_and_does_not_keep_an_admin_or_the_start_waiting() {
    let memory = store_with_drafts(1).await;
    let conductor = start(&memory, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    drop(conductor);
    let plan = Arc::new(|asked: &'static str| match asked {
        "read_notes" => Fault::Refused(ErrorKind::Corrupt),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&memory), plan));
    let conductor = start(&store, 2).await;
    let began = tokio::time::Instant::now();
    for refused in [
        conductor.open_jeu(live_id(1), JeuId(1)).await,
        conductor.reopen_jeu(live_id(1), JeuId(1)).await,
        // Every jeu is damaged, and none can follow.
        conductor.next(live_id(1), Some(0), None).await,
    ] {
        assert!(matches!(refused, Err(ConductError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(vote(&conductor, 1, 1, 4).await.status, Status::RetryAfter);
    let state = conductor.close_jeu(live_id(1), JeuId(1), Some(0)).await.unwrap();
    assert!(state.programme[0].unreadable && state.programme[0].phase == Phase::Closing, "{state:?}");
    let state = conductor.close_live(live_id(1), Some(0)).await.unwrap();
    assert_eq!(state.status, LiveStatus::Closed);
    assert!(conductor.own_notes(live_id(1), ViewerId([1; 16])).await.is_err(), "this store reads no notes at all");
    assert!(began.elapsed() < super::LOAD_WAIT, "nobody waits for what cannot be read: {:?}", began.elapsed());
    let minute = Duration::from_secs(60);
    let (_, numbers) = conductor.numbers(live_id(1)).await.unwrap();
    assert!(numbers.iter().all(|jeu| !jeu.available), "nothing is not a result");
    let end = |live: &mut Live| {
        live.status = LiveStatus::Closed;
        Ok::<_, std::convert::Infallible>(())
    };
    Records::new(Arc::clone(&memory)).update(&live_key(live_id(1)), end).await.unwrap();
    tokio::time::timeout(minute, start(&store, 3)).await.expect("the others can start");
}

#[tokio::test(start_paused = true)]
async fn trouble_just_before_the_end_does_not_leave_a_closed_live_stale() {
    let (store, armed) = once(&store_with_drafts(1).await, "append", 1, Fault::Refused(ErrorKind::Full));
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    armed.store(0, Ordering::Relaxed);
    assert_eq!(vote(&conductor, 1, 1, 4).await.status, Status::RetryAfter);
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let view = conductor.view(live_id(1)).unwrap();
    let item = view.item(JeuId(1)).unwrap().view();
    assert_eq!((item.rank.phase(), item.stale), (Phase::Final, false));
}

#[tokio::test(start_paused = true)]
async fn a_closing_taken_back_while_others_are_carried_out_does_not_happen() {
    let slow = Fault::Delay(Duration::from_millis(500));
    let (store, armed) = once(&store_with_drafts(1).await, "raise_rank", 1, slow);
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::All).await.unwrap();
    conductor.close_live(live_id(1), Some(3000)).await.unwrap();
    armed.store(0, Ordering::Relaxed);
    // The first jeu is being closed, slowly; the second one is next.
    tokio::time::sleep(Duration::from_millis(3200)).await;
    let state = conductor.reopen_jeu(live_id(1), JeuId(2)).await.unwrap();
    assert_eq!((phases(&state)[1], state.programme[1].epoch), (Phase::Open, 0));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let state = conductor.live_state(live_id(1)).await.unwrap();
    assert_eq!((state.status, phases(&state)), (LiveStatus::Open, vec![Phase::Final, Phase::Open, Phase::Final]));
}

async fn shown(conductor: &Conductor) -> tokio::sync::watch::Receiver<Arc<ChannelView>> {
    conductor.channel_view(&slug()).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_jeu_whose_result_cannot_be_read_does_not_hide_the_results_of_the_others() {
    let memory = store_with_drafts(1).await;
    let conductor = start(&memory, 1).await;
    conductor.open_live(live_id(1), OpenJeux::All).await.unwrap();
    for jeu in 1..=3 {
        assert_eq!(vote(&conductor, jeu, 1, 4).await.status, Status::Ok);
    }
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    until(&conductor, "final", |state| phases(state) == [Phase::Final; 3]).await;
    has_all_results(&memory).await;
    drop(conductor);
    let read = Arc::new(AtomicUsize::new(0));
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&memory), {
        let read = Arc::clone(&read);
        Arc::new(move |asked: &'static str| match asked {
            // The second of the results that are read.
            "result" if read.fetch_add(1, Ordering::Relaxed) == 1 => Fault::Refused(ErrorKind::Corrupt),
            _ => Fault::None,
        })
    }));
    let conductor = start(&store, 2).await;
    let found = async || {
        let (_, numbers) = conductor.numbers(live_id(1)).await.unwrap();
        numbers.iter().map(|jeu| (jeu.available, jeu.frame.phase, jeu.frame.voters)).collect::<Vec<_>>()
    };
    let expected = [(true, Phase::Final, 1), (false, Phase::Final, 0), (true, Phase::Final, 1)];
    assert_eq!(found().await, expected);
    // Nor does it hide its channel.
    let conductor = start(&store, 3).await;
    read.store(1, Ordering::Relaxed);
    let view = shown(&conductor).await.borrow().shown.clone().unwrap();
    let unreadable: Vec<_> = view.state().programme.iter().map(|entry| entry.unreadable).collect();
    assert_eq!(unreadable.iter().filter(|unreadable| **unreadable).count(), 1, "{unreadable:?}");
}
