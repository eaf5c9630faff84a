//! A deterministic simulation: the engine as it is, over three simulated replicas and an unreliable network, under
//! virtual time, with faults drawn from a seed. `docs/simulation.md` describes it.
//!
//! **Invariant**: everything that happens follows from the seed. One thread, a paused clock, random numbers from the
//! seed, no map whose order depends on anything else. The hash of a run says whether two runs were the same.

mod admins;
mod audience;
mod claims;
mod conducted;
mod documents;
mod executor;
mod faults;
mod network;
mod oracle;
mod pods;
pub(crate) mod probe;
mod quorum;
mod replica;
mod runs;
mod viewers;

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use siphasher::sip::SipHasher13;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use self::claims::Claims;
use self::conducted::Plan;
use self::executor::Executor;
use self::network::{Cut, NODES, Network, Weather};
use self::oracle::{Figures, Oracle};
use self::pods::Pod;
use self::replica::{Cell, Key, Replica};
use self::viewers::Tab;
use crate::cluster::ItemHandle;
use crate::cluster::engine::ItemError;
use crate::cluster::mutant::{Mutant, with_mutant};
use crate::domain::ballot::Ratings;
use crate::domain::bareme::presets;
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::phase::{Phase, Rank};
use crate::store::ItemId;

const START_US: u64 = 1_800_000_000_000_000;

/// How long a jeu may take from the last fault to its result on every pod.
const PATIENCE: Duration = Duration::from_secs(30);

fn item() -> ItemId {
    ItemId { live: LiveId(Uuid::from_u128(1)), jeu: JeuId(1) }
}

fn ballot() -> Arc<Ratings> {
    static BALLOT: LazyLock<Arc<Ratings>> = LazyLock::new(|| Arc::new(Ratings::new(Arc::new(presets().remove(0)))));
    Arc::clone(&BALLOT)
}

/// One run's everything.
pub(crate) struct World {
    seed: u64,
    started: Instant,
    network: Mutex<Network>,
    sent: Notify,
    /// What must hold of each item.
    oracles: BTreeMap<ItemId, Mutex<Oracle>>,
    /// What must hold of lives.
    claims: Mutex<Claims>,
    /// Which lives there are, where pods run conductors.
    plan: Option<Plan>,
    /// Runs the tasks of pods that run conductors.
    executor: Option<Executor>,
    pods: Mutex<Vec<Option<Arc<Pod>>>>,
    skews_us: Vec<AtomicI64>,
    furthest_us: Vec<AtomicI64>,
    incarnations: AtomicU64,
    ballots: AtomicU64,
    /// Transactions so far: each has its number.
    attempts: AtomicU64,
    voting_is_over: AtomicBool,
    faults_are_over: AtomicBool,
    is_over: AtomicBool,
    /// The next chunk that is read comes with a bit flipped.
    damage_next: AtomicBool,
    /// The next announcement of a lane reaches nobody.
    lose_registration: AtomicBool,
    hash: Mutex<SipHasher13>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a run showed.
#[derive(Debug)]
pub(crate) struct Report {
    /// What did not hold, in the order it was noticed.
    pub(crate) violations: Vec<String>,
    pub(crate) figures: Figures,
    /// What admins asked for and what became of records, for who replays one seed.
    pub(crate) history: Vec<String>,
    /// Of everything that happened.
    pub(crate) hash: u64,
    pub(crate) virtual_ms: u64,
}

/// What runs on the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// The engine, with one item.
    Engine,
    /// The conductor, with lives that admins drive.
    Conductor,
}

/// Runs a scenario once, without a rule if one is named.
pub(crate) fn run(scenario: Scenario, seed: u64, mutant: Option<Mutant>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime: {error}"),
    };
    let report = with_mutant(mutant, || {
        runtime.block_on(async {
            let world = Arc::new(World::new(scenario, seed));
            probe::listen(Some(Arc::clone(&world)));
            let report = match scenario {
                Scenario::Engine => world.live().await,
                Scenario::Conductor => world.conduct().await,
            };
            probe::listen(None);
            report
        })
    });
    drop(runtime);
    report
}

impl World {
    fn new(scenario: Scenario, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed ^ 0x3707);
        let plan = (scenario == Scenario::Conductor).then(|| Plan::of(seed));
        let items = plan.as_ref().map_or_else(|| vec![item()], Plan::items);
        let slots = random.random_range(2..=3);
        // A pod whose clock is ahead lets lives go that another one takes back.
        let widest_us = if plan.is_some() && random.random_bool(0.3) { 60_000_000 } else { 30_000 };
        let skew = |_| AtomicI64::new(random.random_range(-widest_us..widest_us));
        Self {
            seed,
            started: Instant::now(),
            network: Mutex::new(Network::new(seed ^ 0x0E77)),
            sent: Notify::new(),
            oracles: items.into_iter().map(|item| (item, Mutex::new(Oracle::new(item)))).collect(),
            claims: Mutex::default(),
            executor: plan.is_some().then(Executor::default),
            plan,
            pods: Mutex::new((0..slots).map(|_| None).collect()),
            skews_us: (0..slots).map(skew).collect(),
            furthest_us: (0..slots).map(|_| AtomicI64::new(widest_us)).collect(),
            incarnations: AtomicU64::new(0),
            ballots: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            voting_is_over: AtomicBool::new(false),
            faults_are_over: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            damage_next: AtomicBool::new(false),
            lose_registration: AtomicBool::new(false),
            hash: Mutex::new(SipHasher13::new_with_keys(1, 2)),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        locked(&self.network)
    }

    fn oracle(&self, item: ItemId) -> MutexGuard<'_, Oracle> {
        let Some(oracle) = self.oracles.get(&item) else { panic!("{item} is no item of this run") };
        let mut oracle = locked(oracle);
        oracle.tick(self.now_ms());
        oracle
    }

    fn each_oracle(&self, what: impl Fn(&mut Oracle)) {
        self.oracles.keys().for_each(|item| what(&mut self.oracle(*item)));
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        let mut claims = locked(&self.claims);
        claims.tick(self.now_ms());
        claims
    }

    /// A node has written cells.
    fn applied(&self, replicas: &[Replica; NODES], node: usize, cells: &[(Key, Cell)]) {
        for cell in cells {
            match cell.0 {
                Key::Writer(item, _)
                | Key::Materialised(item, _)
                | Key::Chunk(item, ..)
                | Key::Note(item, _)
                | Key::Result(item, _) => self.oracle(item).applied(replicas, node, std::slice::from_ref(cell)),
                Key::Rank(live, jeu) => {
                    self.oracle(ItemId { live, jeu }).applied(replicas, node, std::slice::from_ref(cell));
                }
                Key::Beat(live, _) => {
                    for item in self.oracles.keys().filter(|item| item.live == live) {
                        self.oracle(*item).applied(replicas, node, std::slice::from_ref(cell));
                    }
                }
                Key::Channel(_) | Key::Live(_) => self.claims().decided(cell.0, &cell.1),
            }
        }
    }

    fn went_on(&self, pod: &Pod) {
        let now_ms = self.now_ms();
        self.each_oracle(|oracle| oracle.goes_on(pod.writer, now_ms));
    }

    /// How often faults come, on average. Lives take longer than one jeu, so that what happens to them has to be rarer.
    fn mean_between_faults_ms(&self, random: &mut SmallRng) -> u64 {
        let choices = if self.plan.is_some() { [1500, 5000, 15_000, 60_000] } else { [700, 1500, 3000, 8000] };
        choices[random.random_range(0..choices.len())]
    }

    /// What was seen in the whole run.
    fn report(&self) -> Report {
        let (mut found, mut figures) = (self.claims().violations.clone(), Figures::default());
        for oracle in self.oracles.values().map(locked) {
            found.extend(oracle.violations.iter().cloned());
            figures.add(&oracle.figures);
        }
        figures.presses = self.claims().presses();
        found.sort();
        let violations = found.into_iter().map(|(ms, what)| format!("{:.3} s: {what}", ms as f64 / 1000.0)).collect();
        let history = std::mem::take(&mut self.claims().history);
        Report { violations, history, figures, hash: locked(&self.hash).finish(), virtual_ms: self.now_ms() }
    }

    fn pods(&self) -> MutexGuard<'_, Vec<Option<Arc<Pod>>>> {
        locked(&self.pods)
    }

    fn pod(&self, index: usize) -> Option<Arc<Pod>> {
        self.pods()[index].clone()
    }

    fn slots(&self) -> usize {
        self.skews_us.len()
    }

    fn running(&self) -> Vec<Arc<Pod>> {
        self.pods().iter().flatten().filter(|pod| pod.gate.runs()).cloned().collect()
    }

    fn voting_is_over(&self) -> bool {
        self.voting_is_over.load(Ordering::Relaxed)
    }

    fn faults_are_over(&self) -> bool {
        self.faults_are_over.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn next_ballot(&self, above: u64) -> u64 {
        let next = self.ballots.load(Ordering::Relaxed).max(above) + 1;
        self.ballots.store(next, Ordering::Relaxed);
        next
    }

    fn trace(&self, facts: &[u64]) {
        let mut hash = locked(&self.hash);
        facts.iter().for_each(|fact| hash.write_u64(*fact));
    }

    fn maybe_damaged(&self, chunk: bytes::Bytes) -> bytes::Bytes {
        if !self.damage_next.swap(false, Ordering::Relaxed) {
            return chunk;
        }
        let mut bytes = chunk.to_vec();
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 4;
        }
        bytes.into()
    }

    fn start(self: &Arc<Self>, index: usize) {
        if self.is_over() || self.pod(index).is_some() {
            return;
        }
        let incarnation = self.incarnations.fetch_add(1, Ordering::Relaxed);
        let pod = Arc::new(Pod::start(self, index, incarnation));
        self.trace(&[4, self.now_ms(), index as u64, incarnation]);
        self.pods()[index] = Some(pod);
    }

    /// One run, from the first pod to the last check.
    async fn live(self: Arc<Self>) -> Report {
        let mut random = SmallRng::seed_from_u64(self.seed ^ 0xAD_3171);
        let carrier = tokio::spawn(Arc::clone(&self).carry());
        (0..self.slots()).for_each(|index| self.start(index));
        self.drive(&mut random, |item| async move { item.open().await }).await;
        let sampler = tokio::spawn(Arc::clone(&self).sample());
        let viewers = random.random_range(2..=8);
        let mut tabs = Vec::new();
        for viewer in 0..viewers {
            for tab in 0..random.random_range(1..=2) {
                tabs.push(tokio::spawn(Tab::new(&self, viewer, tab, self.slots()).run()));
            }
        }
        self.network().weather = Weather::of(&mut random);
        let faults = tokio::spawn(faults::run(Arc::clone(&self)));
        sleep(Duration::from_millis(random.random_range(1500..6000))).await;
        for _ in 0..random.random_range(0..=2) {
            self.close_under_fire(&mut random).await;
        }
        sleep(Duration::from_millis(random.random_range(500..4000))).await;
        self.finish(&mut random, faults, tabs).await;
        sampler.abort();

        self.is_over.store(true, Ordering::Relaxed);
        let pods: Vec<_> = self.pods().iter_mut().filter_map(Option::take).collect();
        pods.iter().for_each(|pod| pod.gate.kill());
        let last = pods.iter().map(|pod| pod.item().view().rank).max().unwrap_or_default();
        drop(pods);
        self.drain().await;
        {
            let network = self.network();
            self.oracle(item()).check_results(last, &network.replicas);
        }
        carrier.abort();
        self.report()
    }

    /// Asks one pod after the other for a change of phase until one says that it is done.
    async fn drive<F>(self: &Arc<Self>, random: &mut SmallRng, ask: impl Fn(ItemHandle<Ratings>) -> F) -> Option<usize>
    where
        F: Future<Output = Result<Rank, ItemError>>,
    {
        for _ in 0..200 {
            let index = random.random_range(0..self.slots());
            if let Some(pod) = self.pod(index) {
                let asked = timeout(Duration::from_millis(3000), ask(pod.item().clone())).await;
                if matches!(asked, Ok(Ok(_))) {
                    return Some(index);
                }
            }
            sleep(Duration::from_millis(random.random_range(20..200))).await;
        }
        None
    }

    /// Closes while votes and faults go on, now and then with the closer killed on the way, and reopens.
    async fn close_under_fire(self: &Arc<Self>, random: &mut SmallRng) {
        match random.random_range(0..4) {
            0 => self.close_at_one(random).await,
            1 => self.close_slowly(random).await,
            _ => {}
        }
        let closer = self.drive(random, |item| async move { item.close().await }).await;
        if let Some(closer) = closer.filter(|_| random.random_bool(0.4)) {
            sleep(Duration::from_millis(random.random_range(0..2500))).await;
            self.kill(closer, random.random_range(100..6000));
        }
        for _ in 0..60 {
            sleep(Duration::from_millis(random.random_range(50..600))).await;
            let reopened = self.drive_once(random).await;
            if reopened {
                break;
            }
        }
        sleep(Duration::from_millis(random.random_range(500..4000))).await;
    }

    /// A phase reaches one node, and the pod that raised it dies.
    async fn close_at_one(self: &Arc<Self>, random: &mut SmallRng) {
        let (index, only) = (random.random_range(0..self.slots()), random.random_range(0..NODES));
        let Some(pod) = self.pod(index) else { return };
        self.network().cuts.insert(index, Cut { asks: false, tells: false, only: Some(only) });
        let _unknown = timeout(Duration::from_millis(700), pod.item().close()).await;
        self.kill(index, random.random_range(100..6000));
        self.network().cuts.remove(&index);
        sleep(Duration::from_millis(random.random_range(0..5000))).await;
    }

    /// A phase takes its time to be raised, while another pod gets its answers late.
    async fn close_slowly(self: &Arc<Self>, random: &mut SmallRng) {
        let (index, other) = (random.random_range(0..self.slots()), random.random_range(0..self.slots()));
        let Some(pod) = self.pod(index) else { return };
        self.network().cuts.insert(index, Cut { asks: true, tells: false, only: None });
        let heals_ms = random.random_range(350..420);
        // Some stand still from before the phase is raised until a closer has read that did not wait for those who do.
        let (stops_ms, stands_ms) = if random.random_bool(0.5) {
            (random.random_range(0..400), random.random_range(100..900))
        } else {
            let stops_ms = random.random_range(300..400);
            (stops_ms, random.random_range(1200..1400) - stops_ms)
        };
        let world = Arc::clone(self);
        let heal = async {
            sleep(Duration::from_millis(stops_ms)).await;
            if other != index {
                world.stop(other, stands_ms);
            }
            sleep(Duration::from_millis(heals_ms - stops_ms.min(heals_ms))).await;
            world.network().cuts.remove(&index);
        };
        let _closed = tokio::join!(timeout(Duration::from_millis(3000), pod.item().close()), heal);
    }

    async fn drive_once(self: &Arc<Self>, random: &mut SmallRng) -> bool {
        let Some(pod) = self.pod(random.random_range(0..self.slots())) else { return false };
        matches!(timeout(Duration::from_millis(2000), pod.item().reopen()).await, Ok(Ok(_)))
    }

    /// Heals everything, closes, and waits for the result on every pod.
    async fn finish(
        self: &Arc<Self>,
        random: &mut SmallRng,
        faults: tokio::task::JoinHandle<()>,
        tabs: Vec<tokio::task::JoinHandle<()>>,
    ) {
        // Some closings begin while all is well, some in the middle of it.
        let closes_early = random.random_bool(0.5);
        if closes_early {
            self.drive(random, |item| async move { item.close().await }).await;
            sleep(Duration::from_millis(random.random_range(0..2000))).await;
        }
        self.faults_are_over.store(true, Ordering::Relaxed);
        faults.abort();
        self.network().heal();
        for index in 0..self.slots() {
            self.start(index);
            if let Some(pod) = self.pod(index).filter(|pod| !pod.gate.runs()) {
                pod.gate.go_on();
                self.went_on(&pod);
            }
        }
        let healed_ms = self.now_ms();
        if !closes_early {
            sleep(Duration::from_millis(random.random_range(500..1500))).await;
            self.voting_is_over.store(true, Ordering::Relaxed);
            // The lanes of dead writers are finished while the jeu is open, 10 s later.
            let is_open = self.pods().iter().flatten().all(|pod| pod.item().view().rank.phase() == Phase::Open);
            if random.random_bool(0.15) && is_open {
                sleep(Duration::from_millis(15_000)).await;
                let alive: Vec<_> = self.pods().iter().flatten().map(|pod| pod.writer).collect();
                let network = self.network();
                self.oracle(item()).check_adopted(&network.replicas, &alive);
            }
        }
        self.voting_is_over.store(true, Ordering::Relaxed);
        let pods: Vec<_> = self.pods().iter().flatten().cloned().collect();
        if timeout(PATIENCE, self.close_for_good(random, &pods)).await.is_err() {
            let ranks: Vec<_> = pods.iter().map(|pod| pod.item().view().rank).collect();
            self.oracle(item()).violated(&format!("no result, and nothing is wrong any more: {ranks:?}"));
        }
        while self.oracle(item()).owes_answers(healed_ms) && self.now_ms() < healed_ms + 15_000 {
            sleep(Duration::from_millis(250)).await;
        }
        if self.oracle(item()).owes_answers(healed_ms) {
            self.oracle(item()).violated("a vote has no answer, and nothing is wrong any more");
        }
        tabs.iter().for_each(tokio::task::JoinHandle::abort);
        for pod in &pods {
            self.oracle(item()).looked_at(pod.writer, &pod.item().view(), true);
        }
    }

    /// Closes until every pod has the result. A reopening that was asked for in the storm may come in between.
    async fn close_for_good(self: &Arc<Self>, random: &mut SmallRng, pods: &[Arc<Pod>]) {
        let is_final = |pod: &Arc<Pod>| pod.item().view().rank.phase() == Phase::Final;
        loop {
            self.drive(random, |item| async move { item.close().await }).await;
            let all = async {
                for pod in pods {
                    pod.item().reached(Phase::Final).await;
                }
            };
            let reached = timeout(PATIENCE / 3, all).await;
            sleep(Duration::from_millis(500)).await;
            if reached.is_ok() && pods.iter().all(is_final) {
                return;
            }
        }
    }

    /// Looks at every pod, again and again.
    async fn sample(self: Arc<Self>) {
        for round in 0_u64.. {
            sleep(Duration::from_millis(250)).await;
            for pod in self.running() {
                self.oracle(item()).looked_at(pod.writer, &pod.item().view(), round % 4 == 0);
            }
        }
    }
}
