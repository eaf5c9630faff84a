//! The engine over the reference store, with a paused clock: one pod alone, and two that share a store.

mod deaths;
mod lanes;
mod random;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::engine::Cadence;
use super::env::{Clock, Entropy, Env, ServerTime};
use super::{Engine, ItemHandle, Outcome, Submission};
use crate::domain::ballot::Ratings;
use crate::domain::bareme::presets;
use crate::domain::decimal::Decimal;
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::note::Note;
use crate::domain::phase::Phase;
use crate::domain::viewer::ViewerId;
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::memory::MemoryStore;
use crate::store::{ErrorKind, ItemId, Store};

const START_US: u64 = 1_800_000_000_000_000;

/// Both clocks follow tokio's, which the tests pause.
struct TestClock(Instant, u64);

impl Clock for TestClock {
    fn now_us(&self) -> u64 {
        START_US + u64::try_from(self.0.elapsed().as_micros()).unwrap() - self.1
    }
    fn since_boot(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A machine whose wall clock is set while it runs: each look at it takes a microsecond.
pub(crate) struct Steppable {
    began: Instant,
    ahead_us: AtomicI64,
    time: ServerTime,
}

impl Steppable {
    /// Puts the wall clock forward, or back.
    pub(crate) fn step(&self, by_us: i64) {
        self.ahead_us.fetch_add(by_us, Ordering::Relaxed);
    }

    fn boot_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }
}

impl Clock for Steppable {
    fn now_us(&self) -> u64 {
        let ahead_us = self.ahead_us.fetch_add(1, Ordering::Relaxed);
        self.time.now_us(self.boot_us(), (START_US + self.boot_us()).saturating_add_signed(ahead_us))
    }
    fn since_boot(&self) -> Duration {
        self.began.elapsed()
    }
    fn not_before(&self, us: u64) {
        self.time.not_before(self.boot_us(), us);
    }
}

/// A machine whose wall clock is `ahead_us` ahead, and can be set.
pub(crate) fn steppable_env(seed: u64, ahead_us: i64) -> (Env, Arc<Steppable>) {
    let clock =
        Arc::new(Steppable { began: Instant::now(), ahead_us: AtomicI64::new(ahead_us), time: ServerTime::default() });
    (Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..test_env(seed) }, clock)
}

struct TestEntropy(Mutex<SmallRng>);

impl Entropy for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill_bytes(bytes);
    }
}

/// A paused machine.
pub(crate) fn test_env(seed: u64) -> Env {
    skewed_env(seed, Duration::ZERO)
}

/// One whose wall clock is behind those of the others.
pub(crate) fn skewed_env(seed: u64, behind: Duration) -> Env {
    let entropy = TestEntropy(Mutex::new(SmallRng::seed_from_u64(seed)));
    let behind_us = u64::try_from(behind.as_micros()).unwrap();
    Env { clock: Arc::new(TestClock(Instant::now(), behind_us)), entropy: Arc::new(entropy) }
}

fn item() -> ItemId {
    ItemId { live: LiveId(Uuid::from_u128(1)), jeu: JeuId(1) }
}

fn ballot() -> Arc<Ratings> {
    Arc::new(Ratings::new(Arc::new(presets().remove(0))))
}

fn pod(store: &Arc<dyn Store>, seed: u64) -> ItemHandle<Ratings> {
    Engine::new(Arc::clone(store), test_env(seed)).start(item(), ballot())
}

async fn open_pod(store: &Arc<dyn Store>, seed: u64) -> ItemHandle<Ratings> {
    let handle = pod(store, seed);
    handle.open().await.unwrap();
    handle
}

fn viewer(number: u8) -> ViewerId {
    ViewerId([number; 16])
}

async fn vote(pod: &ItemHandle<Ratings>, who: u8, version: u64, fun: i32) -> Outcome {
    let (sender, outcome) = oneshot::channel();
    let payload = match fun {
        0 => Note::withdrawn(ballot().bareme()).encode(),
        _ => Note::new(ballot().bareme(), [("fun", Decimal::whole(fun))]).unwrap().encode(),
    };
    let on_outcome = Box::new(move |outcome| drop(sender.send(outcome)));
    pod.submit(Submission { viewer: viewer(who), version: START_US + version, payload, on_outcome });
    outcome.await.unwrap()
}

/// Votes until the answer is final.
async fn vote_until_final(pod: &ItemHandle<Ratings>, who: u8, version: u64, fun: i32) -> Outcome {
    loop {
        match vote(pod, who, version, fun).await {
            Outcome::Unknown => tokio::time::sleep(Duration::from_millis(50)).await,
            Outcome::RetryAfter { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            outcome => return outcome,
        }
    }
}

fn fun(pod: &ItemHandle<Ratings>) -> Vec<u64> {
    pod.view().tally.histograms[0].clone()
}

fn exclusive() -> Arc<dyn Store> {
    Arc::new(MemoryStore::exclusive())
}

fn shared() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_note_is_there_after_a_crash_whether_or_not_it_was_checkpointed() {
    let store = exclusive();
    for wait_ms in [0, 3000] {
        let first = open_pod(&store, 1 + wait_ms).await;
        assert_eq!(vote(&first, 1, 10 + wait_ms, 4).await, Outcome::Ok);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        drop(first);
        let second = open_pod(&store, 2 + wait_ms).await;
        assert_eq!(second.view().tally.voters, 1, "after {wait_ms} ms");
        assert_eq!(fun(&second), [0, 0, 0, 1, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_leaves_every_note_in_the_table_and_says_so() {
    let store = exclusive();
    let pod = open_pod(&store, 1).await;
    for who in 0..20 {
        assert_eq!(vote(&pod, who, 10, 1 + i32::from(who % 5)).await, Outcome::Ok);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(store.read_notes(item(), None, 100).await.unwrap().len(), 20);
    let lanes = store.lanes(item()).await.unwrap();
    assert_eq!(lanes.len(), 1);
    let chunks = store.read_lane(item(), lanes[0].id, 0).await.unwrap().len();
    assert_eq!(lanes[0].materialised, u64::try_from(chunks).unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_same_note_again_is_ok_and_an_older_one_is_stale() {
    let store = exclusive();
    let pod = open_pod(&store, 1).await;
    assert_eq!(vote(&pod, 1, 10, 4).await, Outcome::Ok);
    assert_eq!(vote(&pod, 1, 10, 4).await, Outcome::Ok);
    let Outcome::Stale { version, .. } = vote(&pod, 1, 9, 1).await else { panic!("stale") };
    assert_eq!(version, START_US + 10);
    assert!(matches!(vote(&pod, 1, 10, 1).await, Outcome::Stale { .. }), "another note of the same version");
    assert_eq!(vote(&pod, 1, 11, 5).await, Outcome::Ok);
    assert_eq!(fun(&pod), [0, 0, 0, 0, 1]);
    assert_eq!(vote(&pod, 1, 12, 0).await, Outcome::Ok);
    assert_eq!(pod.view().tally.voters, 0, "withdrawn");
}

#[tokio::test(start_paused = true)]
async fn a_version_far_in_the_future_is_refused_with_the_servers_time() {
    let store = exclusive();
    let pod = open_pod(&store, 1).await;
    assert_eq!(vote(&pod, 1, 59_000_000, 4).await, Outcome::Ok);
    let Outcome::TooFarAhead { now_us, next } = vote(&pod, 2, 62_000_000, 4).await else { panic!("too far") };
    assert!((START_US..START_US + 1_000_000).contains(&now_us) && next == now_us);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_whose_stored_version_lies_an_hour_ahead_can_change_and_withdraw_and_nobody_else_gains_by_it() {
    const HOUR_US: u64 = 3_600_000_000;
    let store = exclusive();
    let (ahead, _) = steppable_env(1, i64::try_from(HOUR_US).unwrap());
    let wrong = Engine::new(Arc::clone(&store), ahead).start(item(), ballot());
    wrong.open().await.unwrap();
    assert_eq!(vote(&wrong, 1, HOUR_US, 4).await, Outcome::Ok);
    wrong.settled().await;
    drop(wrong);
    let pod = open_pod(&store, 2).await;
    assert!(matches!(vote(&pod, 1, 10, 5).await, Outcome::Stale { version, .. } if version == START_US + HOUR_US));
    let Outcome::TooFarAhead { next, .. } = vote(&pod, 1, HOUR_US + 2, 5).await else {
        panic!("further than it need be")
    };
    assert_eq!(next, START_US + HOUR_US + 1, "it says what to use");
    assert_eq!(vote(&pod, 1, HOUR_US, 4).await, Outcome::Ok, "a repeat");
    assert_eq!(vote(&pod, 1, HOUR_US + 1, 5).await, Outcome::Ok);
    assert_eq!(vote(&pod, 1, HOUR_US + 2, 0).await, Outcome::Ok, "withdrawn");
    assert_eq!(pod.view().tally.voters, 0);
    assert!(matches!(vote(&pod, 2, HOUR_US, 4).await, Outcome::TooFarAhead { .. }), "another viewer");
}

#[tokio::test(start_paused = true)]
async fn the_moment_that_numbers_name_does_not_go_back_with_a_closing_its_result_or_a_restart() {
    let store = exclusive();
    let (env, clock) = steppable_env(1, 0);
    let pod = Engine::new(Arc::clone(&store), env).start(item(), ballot());
    pod.open().await.unwrap();
    assert_eq!(vote(&pod, 1, 10, 4).await, Outcome::Ok);
    clock.step(-200_000);
    let mut view = pod.watch();
    let watching = tokio::spawn(async move {
        let mut last = 0;
        while view.changed().await.is_ok() {
            let shown = view.borrow_and_update().clone();
            assert!(shown.as_of_us >= last, "{} after {last}", shown.as_of_us);
            last = shown.as_of_us;
            if shown.rank.phase() == Phase::Final {
                assert_eq!(shown.made_at_us, Some(last), "a restart reads the same");
                break;
            }
        }
        last
    });
    tokio::time::sleep(Duration::from_millis(38)).await;
    assert_eq!(vote(&pod, 1, 11, 5).await, Outcome::Ok);
    pod.close().await.unwrap();
    pod.reached(Phase::Final).await;
    let shown = watching.await.unwrap();
    drop(pod);
    let again = Engine::new(Arc::clone(&store), steppable_env(2, 0).0).start(item(), ballot());
    again.loaded().await;
    assert_eq!(again.view().as_of_us, shown);
}

#[tokio::test(start_paused = true)]
async fn phases_say_what_a_vote_may_expect() {
    let store = exclusive();
    let handle = pod(&store, 1);
    handle.loaded().await;
    assert_eq!(vote(&handle, 1, 1, 4).await, Outcome::NotOpen);
    assert!(handle.close().await.is_err() && handle.reopen().await.is_err());
    handle.open().await.unwrap();
    assert_eq!(handle.open().await.unwrap().epoch(), 0, "opening twice changes nothing");
    assert_eq!(vote(&handle, 1, 1, 4).await, Outcome::Ok);
    handle.close().await.unwrap();
    handle.close().await.unwrap();
    assert_eq!(vote(&handle, 2, 1, 4).await, Outcome::Closed);
    handle.reached(Phase::Final).await;
    assert!(handle.open().await.is_err(), "a final jeu is reopened, not opened");
    assert_eq!(vote(&handle, 2, 1, 4).await, Outcome::Closed);
    assert_eq!(handle.view().tally.voters, 1);
}

#[tokio::test(start_paused = true)]
async fn changes_of_phase_that_pile_up_behind_an_unreadable_store_are_refused_beyond_a_limit() {
    let plan = Arc::new(|operation| match operation {
        "lanes" => Fault::Refused(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(exclusive(), plan));
    let handle = pod(&store, 1);
    let waiting: Vec<_> = (0..64)
        .map(|_| {
            tokio::spawn({
                let handle = handle.clone();
                async move { handle.open().await }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = tokio::time::timeout(Duration::from_secs(5), handle.open()).await.expect("an answer at once");
    assert!(matches!(refused, Err(super::engine::ItemError::NotReady)));
    assert!(waiting.iter().all(|open| !open.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn the_result_says_what_was_shown_and_what_a_recount_says() {
    let store = exclusive();
    let pod = open_pod(&store, 1).await;
    for who in 0..100 {
        assert_eq!(vote(&pod, who, 10, 1 + i32::from(who % 3)).await, Outcome::Ok);
    }
    let shown = pod.view().tally.clone();
    pod.close().await.unwrap();
    pod.reached(Phase::Final).await;
    assert_eq!(pod.view().tally, shown);
    let result = super::close::stored_result::<Ratings>(&*store, item(), 0).await.unwrap().unwrap();
    assert_eq!((result.tally.clone(), result.viewers), (shown, 100));
    let rows = store.read_notes(item(), None, 1000).await.unwrap();
    let notes = rows.iter().map(|row| Note::decode(ballot().bareme(), &row.payload).unwrap());
    let mut recount = crate::domain::tally::Tally::empty(ballot().bareme());
    notes.for_each(|note| recount.add(&note));
    assert_eq!(recount, result.tally);
}

#[tokio::test(start_paused = true)]
async fn reopening_begins_an_epoch_that_keeps_the_notes_and_has_its_own_result() {
    let store = exclusive();
    let pod = open_pod(&store, 1).await;
    vote(&pod, 1, 10, 4).await;
    pod.close().await.unwrap();
    pod.reached(Phase::Final).await;
    assert_eq!(pod.reopen().await.unwrap().epoch(), 1);
    assert_eq!(vote(&pod, 2, 10, 5).await, Outcome::Ok);
    assert_eq!(vote(&pod, 1, 11, 1).await, Outcome::Ok);
    pod.close().await.unwrap();
    pod.reached(Phase::Final).await;
    let of_epoch = async |epoch| super::close::stored_result::<Ratings>(&*store, item(), epoch).await.unwrap().unwrap();
    assert_eq!(of_epoch(0).await.tally.histograms[0], [0, 0, 0, 1, 0]);
    assert_eq!(of_epoch(1).await.tally.histograms[0], [1, 0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_closing_ends_in_a_result_after_the_restart() {
    let inner = exclusive();
    let broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&broken);
    let plan = Arc::new(move |operation| match operation {
        "put_result" if switch.load(Ordering::Relaxed) => Fault::Refused(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    let faulty: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&inner), plan));
    let first = open_pod(&faulty, 1).await;
    vote(&first, 1, 10, 4).await;
    first.close().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(first.view().rank.phase(), Phase::Closing, "it says that it is finalising for as long as it takes");
    drop(first);
    let second = pod(&inner, 2);
    second.reached(Phase::Final).await;
    assert_eq!(second.view().tally.voters, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_votes_and_loses_none_that_was_acknowledged() {
    let inner = exclusive();
    let full = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&full);
    let plan = Arc::new(move |operation| match operation {
        "append" | "write_notes" if switch.load(Ordering::Relaxed) => Fault::Refused(ErrorKind::Full),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(inner, plan));
    let pod = open_pod(&store, 1).await;
    assert_eq!(vote(&pod, 1, 1, 4).await, Outcome::Ok);
    full.store(true, Ordering::Relaxed);
    assert!(matches!(vote(&pod, 2, 1, 4).await, Outcome::RetryAfter { .. }));
    assert!(pod.view().stale && pod.view().tally.voters == 1);
    full.store(false, Ordering::Relaxed);
    assert_eq!(vote_until_final(&pod, 2, 1, 4).await, Outcome::Ok);
    drop(pod);
    assert_eq!(open_pod(&store, 2).await.view().tally.voters, 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_with_the_same_bytes_and_counted_once() {
    let inner = exclusive();
    let losses = Arc::new(AtomicU32::new(3));
    let left = Arc::clone(&losses);
    let plan = Arc::new(move |operation| {
        let lose = operation == "append"
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if lose { Fault::AnswerLost } else { Fault::None }
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&inner), plan));
    let pod = open_pod(&store, 1).await;
    assert_eq!(vote(&pod, 1, 1, 4).await, Outcome::Ok);
    let lane = inner.lanes(item()).await.unwrap()[0].id;
    assert_eq!(inner.read_lane(item(), lane, 0).await.unwrap().len(), 1);
    assert_eq!(pod.view().tally.voters, 1);
}

#[tokio::test(start_paused = true)]
async fn a_vote_whose_fate_the_store_does_not_tell_is_answered_unknown() {
    let inner = exclusive();
    let plan = Arc::new(|operation| match operation {
        "append" => Fault::Refused(ErrorKind::Unknown),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(inner, plan));
    let pod = open_pod(&store, 1).await;
    assert_eq!(vote(&pod, 1, 1, 4).await, Outcome::Unknown);
    assert_eq!(pod.view().tally.voters, 0, "what is not known to be durable is not shown");
}

#[tokio::test(start_paused = true)]
async fn two_pods_that_share_a_store_show_the_same_and_agree_on_the_result() {
    let store = shared();
    let (one, two) = (pod(&store, 1), pod(&store, 2));
    one.open().await.unwrap();
    two.reached(Phase::Open).await;
    for who in 0..40_u8 {
        let pod = if who % 2 == 0 { &one } else { &two };
        assert_eq!(vote_until_final(pod, who, 10, 1 + i32::from(who % 5)).await, Outcome::Ok);
    }
    // The same viewer through both pods: the newest version wins everywhere, whoever got it.
    assert_eq!(vote_until_final(&one, 0, 30, 5).await, Outcome::Ok);
    assert!(matches!(vote_until_final(&two, 0, 20, 2).await, Outcome::Ok | Outcome::Stale { .. }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(one.view().tally, two.view().tally);
    assert_eq!((one.view().tally.voters, fun(&one)), (40, vec![7, 8, 8, 8, 9]));
    two.close().await.unwrap();
    one.reached(Phase::Final).await;
    two.reached(Phase::Final).await;
    assert_eq!(fun(&one), [7, 8, 8, 8, 9]);
    assert_eq!(one.view().tally, two.view().tally);
}

#[tokio::test(start_paused = true)]
async fn pods_whose_clocks_differ_say_by_how_much_and_count_the_same() {
    let store = shared();
    let (right, behind) = (Engine::new(Arc::clone(&store), steppable_env(1, 0).0), steppable_env(2, -3_600_000_000));
    let wrong = Engine::new(Arc::clone(&store), behind.0);
    let (one, two) = (right.start(item(), ballot()), wrong.start(item(), ballot()));
    one.open().await.unwrap();
    two.reached(Phase::Open).await;
    assert_eq!(vote_until_final(&one, 1, 10_000_000, 4).await, Outcome::Ok);
    tokio::time::sleep(Duration::from_secs(5)).await;
    for engine in [&right, &wrong] {
        let skew = engine.clock_skew();
        assert!((Duration::from_secs(3595)..=Duration::from_secs(3605)).contains(&skew), "{skew:?}");
    }
    // Far ahead for the pod that is behind, and known to it: it can be changed there at once.
    let Outcome::TooFarAhead { next, .. } = vote_until_final(&two, 1, 20_000_000, 5).await else { panic!("far ahead") };
    assert_eq!(next, START_US + 10_000_001);
    assert_eq!(vote_until_final(&two, 1, 10_000_001, 5).await, Outcome::Ok);
    drop(two);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(right.clock_skew(), Duration::ZERO, "a pod that is gone raises no alarm");
}

#[tokio::test(start_paused = true)]
async fn a_pod_cut_off_from_the_store_acknowledges_nothing_and_says_that_its_numbers_are_old() {
    let inner = shared();
    let cut = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&cut);
    let plan = Arc::new(move |operation| match operation {
        // The pod's writes still arrive; it only hears nothing of the phase any more.
        "ranks" if switch.load(Ordering::Relaxed) => Fault::Refused(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(inner, plan));
    let pod = open_pod(&store, 1).await;
    assert_eq!(vote_until_final(&pod, 1, 1, 4).await, Outcome::Ok);
    cut.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(matches!(vote(&pod, 2, 1, 4).await, Outcome::RetryAfter { .. }));
    assert!(matches!(vote(&pod, 1, 1, 4).await, Outcome::RetryAfter { .. }), "not even a duplicate is acknowledged");
    assert!(pod.view().stale);
    cut.store(false, Ordering::Relaxed);
    assert_eq!(vote_until_final(&pod, 2, 1, 4).await, Outcome::Ok);
}

/// Votes with one viewer after the other, without a pause, until the jeu takes no more; says who was acknowledged.
async fn vote_until_closed(pod: ItemHandle<Ratings>, first: u8) -> Vec<u8> {
    let mut acknowledged = Vec::new();
    for who in first.. {
        match vote_until_final(&pod, who, 1, 4).await {
            Outcome::Ok => acknowledged.push(who),
            Outcome::Closed => break,
            outcome => panic!("{outcome:?}"),
        }
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    acknowledged
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_while_a_jeu_closes_is_in_its_result() {
    for is_shared in [false, true] {
        let inner = if is_shared { shared() } else { exclusive() };
        let plan = Arc::new(|operation| match operation {
            "append" => Fault::Delay(Duration::from_millis(40)),
            _ => Fault::None,
        });
        let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&inner), plan));
        // Where the store is shared, another pod closes: the voter's pod hears of it a poll later.
        let closer = pod(&store, 1);
        let voting = if is_shared { pod(&store, 2) } else { closer.clone() };
        closer.open().await.unwrap();
        voting.reached(Phase::Open).await;
        let voter = tokio::spawn(vote_until_closed(voting, 0));
        tokio::time::sleep(Duration::from_millis(3030)).await;
        closer.close().await.unwrap();
        let acknowledged = voter.await.unwrap();
        assert!(acknowledged.len() > 10);
        closer.reached(Phase::Final).await;
        let rows = inner.read_notes(item(), None, 1000).await.unwrap();
        let noted: Vec<_> = rows.iter().map(|row| row.viewer.0[0]).collect();
        let lost: Vec<_> = acknowledged.iter().filter(|who| !noted.contains(who)).collect();
        assert!(lost.is_empty(), "shared {is_shared}: acknowledged and not in the result: {lost:?}");
        assert_eq!(closer.view().tally.voters, u64::try_from(noted.len()).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_answer_does_not_free_the_number_of_the_chunk() {
    let inner = exclusive();
    let attempts = Arc::new(AtomicU32::new(0));
    let plan = Arc::new(move |operation| match operation {
        "append" => match attempts.fetch_add(1, Ordering::Relaxed) {
            0 => Fault::AnswerLost,
            1..4 => Fault::Refused(ErrorKind::Unavailable),
            _ => Fault::None,
        },
        "write_notes" => Fault::Refused(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&inner), plan));
    let first = open_pod(&store, 1).await;
    // Whatever the first viewer hears, the second one's note must not take the place of a chunk that is on disk.
    let _outcome = vote(&first, 1, 1, 4).await;
    assert_eq!(vote_until_final(&first, 2, 1, 5).await, Outcome::Ok);
    drop(first);
    assert_eq!(fun(&open_pod(&inner, 2).await), [0, 0, 0, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_took_longer_than_the_lease_is_not_acknowledged_once_another_pod_closes() {
    let inner = shared();
    let slow = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&slow);
    let plan = Arc::new(move |operation| match operation {
        "append" if switch.load(Ordering::Relaxed) => Fault::Delay(Duration::from_secs(4)),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&inner), plan));
    let (closer, voting) = (open_pod(&inner, 1).await, pod(&store, 2));
    voting.reached(Phase::Open).await;
    assert_eq!(vote_until_final(&voting, 1, 1, 4).await, Outcome::Ok);
    slow.store(true, Ordering::Relaxed);
    let late = tokio::spawn(async move { vote(&voting, 2, 1, 4).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    closer.close().await.unwrap();
    closer.reached(Phase::Final).await;
    assert_eq!(closer.view().tally.voters, 1);
    assert_ne!(late.await.unwrap(), Outcome::Ok);
}

#[tokio::test(start_paused = true)]
async fn votes_behind_a_chunk_that_hangs_are_told_to_come_back() {
    let plan = Arc::new(|operation| match operation {
        "append" => Fault::Delay(Duration::from_secs(3600)),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(exclusive(), plan));
    let pod = open_pod(&store, 1).await;
    let first = tokio::spawn({
        let pod = pod.clone();
        async move { vote(&pod, 1, 1, 4).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(matches!(vote(&pod, 2, 1, 4).await, Outcome::RetryAfter { .. }));
    assert_eq!(first.await.unwrap(), Outcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn after_a_clean_stop_the_table_alone_holds_every_note() {
    let store = exclusive();
    let pod = open_pod(&store, 1).await;
    for who in 0..50 {
        assert_eq!(vote(&pod, who, 1, 4).await, Outcome::Ok);
    }
    pod.settled().await;
    assert_eq!(store.read_notes(item(), None, 100).await.unwrap().len(), 50);
    pod.close().await.unwrap();
    pod.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_missed_a_reopening_shows_the_result_of_the_newer_epoch() {
    let store = shared();
    let one = open_pod(&store, 1).await;
    // The other one reads seldom: it sees the first result, and then only the second.
    let seldom = Cadence {
        poll_interval: Duration::from_secs(60),
        idle_poll_interval: Duration::from_secs(60),
        ..Cadence::shared()
    };
    let other = Engine::with_cadence(Arc::clone(&store), test_env(2), seldom).start(item(), ballot());
    assert_eq!(vote_until_final(&one, 1, 1, 4).await, Outcome::Ok);
    one.close().await.unwrap();
    one.reached(Phase::Final).await;
    other.reached(Phase::Final).await;
    one.reopen().await.unwrap();
    assert_eq!(vote_until_final(&one, 2, 2, 4).await, Outcome::Ok);
    one.close().await.unwrap();
    one.reached(Phase::Final).await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert_eq!((other.view().rank, fun(&other)), (one.view().rank, fun(&one)));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_comes_late_does_not_freeze_the_epoch_after_it() {
    let store = shared();
    let one = open_pod(&store, 1).await;
    let slow = Arc::new(AtomicBool::new(false));
    let plan = {
        let slow = Arc::clone(&slow);
        Arc::new(move |asked: &'static str| match asked {
            "result" if slow.load(Ordering::Relaxed) => Fault::Delay(Duration::from_secs(5)),
            _ => Fault::None,
        })
    };
    let behind: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::clone(&store), plan));
    let other = pod(&behind, 2);
    other.reached(Phase::Open).await;
    slow.store(true, Ordering::Relaxed);
    one.close().await.unwrap();
    one.reached(Phase::Final).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    one.reopen().await.unwrap();
    for who in [2, 3] {
        assert_eq!(vote_until_final(&one, who, 2, 4).await, Outcome::Ok);
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    assert_eq!((other.view().rank, fun(&other)), (one.view().rank, fun(&one)));
}

/// Each answer hands the next vote in, so that one always waits.
fn vote_for_ever(pod: &ItemHandle<Ratings>) {
    let payload = Note::new(ballot().bareme(), [("fun", Decimal::whole(3))]).unwrap().encode();
    let next = pod.clone();
    let on_outcome = Box::new(move |outcome| {
        // Until the task has ended, and answers at once whatever comes.
        if !matches!(outcome, Outcome::RetryAfter { .. }) {
            vote_for_ever(&next);
        }
    });
    pod.submit(Submission { viewer: viewer(1), version: START_US, payload, on_outcome });
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_votes_that_never_pauses_does_not_hold_up_the_checkpoint() {
    let store = exclusive();
    let pod = open_pod(&store, 1).await;
    assert_eq!(vote(&pod, 1, 1, 4).await, Outcome::Ok);
    vote_for_ever(&pod);
    tokio::time::resume();
    let noted = async {
        while store.read_notes(item(), None, 10).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), noted).await.expect("a checkpoint");
}

#[tokio::test(start_paused = true)]
async fn the_same_note_again_after_the_close_is_still_acknowledged() {
    let store = exclusive();
    let pod = open_pod(&store, 1).await;
    assert_eq!(vote(&pod, 1, 1, 4).await, Outcome::Ok);
    pod.close().await.unwrap();
    pod.reached(Phase::Final).await;
    assert_eq!(vote(&pod, 1, 1, 4).await, Outcome::Ok);
    assert_eq!(vote(&pod, 1, 2, 5).await, Outcome::Closed);
}

#[test]
fn an_item_outlives_the_thread_of_the_request_that_started_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let home = runtime();
    let engine = home.block_on(async { Engine::new(exclusive(), test_env(1)) });
    let pod = runtime().block_on(async { engine.start(item(), ballot()) });
    let outcome = home.block_on(async {
        pod.open().await.unwrap();
        vote(&pod, 1, 1, 4).await
    });
    assert_eq!(outcome, Outcome::Ok);
}

#[tokio::test(start_paused = true)]
async fn an_item_whose_task_dies_is_read_again_and_goes_on_with_nothing_lost() {
    for operation in ["append", "write_notes", "raise_rank", "put_result"] {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        // Of what it asks of the store, the second of one kind kills it.
        let plan = Arc::new(move |asked: &'static str| {
            let is_second =
                asked == operation && counted.fetch_add(1, Ordering::Relaxed) == u32::from(asked != "put_result");
            if is_second { Fault::Panic } else { Fault::None }
        });
        let store: Arc<dyn Store> = Arc::new(FaultyStore::new(exclusive(), plan));
        let engine = Engine::new(Arc::clone(&store), test_env(1));
        let handle = engine.start(item(), ballot());
        handle.open().await.unwrap();
        for who in 0..20 {
            assert_eq!(vote_until_final(&handle, who, 1, 4).await, Outcome::Ok, "{operation}");
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        // Whoever asks while it dies hears that it is not ready, and asks again.
        while handle.close().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        handle.reached(Phase::Final).await;
        assert_eq!(fun(&handle).iter().sum::<u64>(), 20, "{operation}");
        assert!(calls.load(Ordering::Relaxed) > 1, "{operation}");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(engine.supervisor().down(), [], "{operation}");
        // What is stored says the same.
        let again = pod(&store, 2);
        again.reached(Phase::Final).await;
        assert_eq!(again.view().tally, handle.view().tally, "{operation}");
    }
}
