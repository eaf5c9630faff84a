//! The second scenario: pods that run whole conductors, with lives that admins drive.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::admins::Admin;
use super::audience::Viewer;
use super::network::Weather;
use super::pods::{GatedTasks, Pod};
use super::quorum::QuorumStore;
use super::replica::{Key, Request};
use super::{Report, START_US, World, ballot, documents, faults, locked};
use crate::cluster::Engine;
use crate::cluster::env::{Env, Tasks as _};
use crate::conductor::{ChannelView, ConductError, Conductor};
use crate::domain::channel::Channel;
use crate::domain::jeu::{Jeu, JeuDetails, JeuId};
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus, UNDO_WINDOW_US};
use crate::domain::phase::{Phase, Rank};
use crate::protocol::LiveState;
use crate::store::ItemId;

/// How long the last answers, and the results of all lives on all pods, may take once nothing is wrong any more: an
/// action waits 10 s for a jeu to be read and 10 s for a result, and what a lost request left open is closed 40 s after the end
/// of its live.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause before a pod asks again for the view of a channel.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// Which channels and lives a run has.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) channels: u8,
    /// Lives in order of channel, each as its draft.
    pub(super) lives: Vec<Live>,
    /// Whether somebody waits for the end of a live, or of its undo window, to be near.
    pub(super) is_late: bool,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed ^ 0x91A7);
        let channels = if random.random_bool(0.2) { 2 } else { 1 };
        let mut lives = Vec::new();
        for channel in 0..channels {
            for _ in 0..if channels == 2 { 1 } else { random.random_range(1..=2) } {
                let jeux = [1, 1, 2, 3][random.random_range(0..4)];
                lives.push(draft(lives.len() as u128 + 1, channel, jeux));
            }
        }
        Self { channels, lives, is_late: random.random_bool(0.4) }
    }

    /// Whatever votes may be counted for: a jeu that was taken out of a programme, too.
    pub(super) fn items(&self) -> Vec<ItemId> {
        let of_live = |live: &Live| {
            let live_id = live.live_id;
            live.programme.iter().map(move |jeu| ItemId { live: live_id, jeu: jeu.jeu_id }).collect::<Vec<_>>()
        };
        self.lives.iter().flat_map(of_live).collect()
    }
}

pub(super) fn slug(channel: u8) -> Slug {
    match Slug::try_from(documents::channel_id(channel)) {
        Ok(slug) => slug,
        Err(error) => panic!("channel {channel}: {error}"),
    }
}

fn draft(number: u128, channel: u8, jeux: u32) -> Live {
    let details =
        |jeu| JeuDetails { title: format!("{jeu}"), platform: String::new(), genre: String::new(), year: None };
    Live {
        live_id: LiveId(Uuid::from_u128(number)),
        channel: slug(channel),
        title: String::new(),
        bareme_id: Uuid::from_u128(1),
        bareme: ballot().bareme().as_ref().clone(),
        programme: (1..=jeux).map(|jeu| Jeu { jeu_id: JeuId(jeu), details: details(jeu) }).collect(),
        blind: false,
        minimum_votes: 1,
        status: LiveStatus::Draft,
        current: None,
        closes_at_us: BTreeMap::new(),
        delays_us: BTreeMap::new(),
        ends_at_us: None,
        created_at_us: START_US,
        opened_at_us: None,
        closed_at_us: None,
        closed_with: std::collections::BTreeSet::new(),
    }
}

/// What pages are told of a live, in one line.
fn told(state: &LiveState) -> String {
    let LiveState { title, status, current, ends_at_us, closed_at_us, .. } = state;
    let jeux: Vec<_> = state
        .programme
        .iter()
        .map(|entry| {
            let jeu = entry.jeu.jeu_id;
            format!("{jeu} {:?} {} {:?} {:?}", entry.phase, entry.epoch, entry.closes_at_us, entry.closed_at_us)
        })
        .collect();
    format!("{title:?} {status:?}, current {current:?} of {jeux:?}, ends {ends_at_us:?}, ended {closed_at_us:?}")
}

/// The server of a pod.
pub(super) struct Conducted {
    pub(super) store: Arc<QuorumStore>,
    tasks: Arc<GatedTasks>,
    /// `None` until it has started.
    conductor: Mutex<Option<Conductor>>,
    /// What it shows of each channel.
    views: Mutex<BTreeMap<u8, watch::Receiver<Arc<ChannelView>>>>,
}

impl Conducted {
    pub(super) fn start(
        world: &Arc<World>,
        index: usize,
        engine: Engine,
        store: Arc<QuorumStore>,
        env: Env,
        tasks: Arc<GatedTasks>,
    ) -> Arc<Self> {
        let conducted = Arc::new(Self { store, tasks, conductor: Mutex::default(), views: Mutex::default() });
        let (server, world, writer) = (Arc::clone(&conducted), Arc::clone(world), engine.writer());
        conducted.tasks.spawn(Box::pin(async move {
            match Conductor::start_on(engine, Arc::<QuorumStore>::clone(&server.store), env).await {
                Ok(conductor) => server.serve(&world, conductor).await,
                // The process ends, and another one is started.
                Err(_) => {
                    if world.pod(index).is_some_and(|pod| pod.writer == writer) {
                        world.kill(index, 500);
                    }
                }
            }
        }));
        conducted
    }

    async fn serve(&self, world: &Arc<World>, conductor: Conductor) {
        *locked(&self.conductor) = Some(conductor.clone());
        let channels = world.plan.as_ref().map_or(0, |plan| plan.channels);
        for channel in 0..channels {
            loop {
                if let Ok(Some(view)) = conductor.channel_view(&slug(channel)).await {
                    locked(&self.views).insert(channel, view);
                    break;
                }
                sleep(ASK_AGAIN).await;
            }
        }
    }

    pub(super) fn conductor(&self) -> Option<Conductor> {
        locked(&self.conductor).clone()
    }

    pub(super) fn shown(&self, channel: u8) -> Option<Arc<ChannelView>> {
        locked(&self.views).get(&channel).map(|view| Arc::clone(&view.borrow()))
    }

    pub(super) fn has_started(&self, channels: u8) -> bool {
        locked(&self.views).len() == usize::from(channels)
    }

    /// Runs something where the pod's tasks run.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(Box::pin(task));
    }
}

impl Pod {
    /// Asks the server for something, as a request of HTTP does: whoever hangs up may cancel it half-way. `None` when it
    /// did not answer in time.
    pub(super) async fn ask<R, F>(
        self: &Arc<Self>,
        world: &Arc<World>,
        what: &str,
        undoes: Option<LiveId>,
        patience: Duration,
        cancels: bool,
        work: impl FnOnce(Conductor) -> F,
    ) -> Option<R>
    where
        R: Send + std::fmt::Debug + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let conductor = self.conducted().conductor()?;
        let press = world.claims().pressed(self.writer, undoes, what);
        world.trace(&[5, world.now_ms(), self.index as u64, press]);
        let (sender, answer) = oneshot::channel();
        let (work, told) = (work(conductor), Arc::clone(world));
        self.conducted().spawn(async move {
            let mut sender = sender;
            let hangs_up = async {
                if cancels {
                    sender.closed().await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            let answered = tokio::select! {
                biased;
                answered = work => Some(answered),
                () = hangs_up => None,
            };
            let how = match &answered {
                Some(answered) => format!("{answered:.160?}").chars().take(160).collect(),
                None => "was cancelled".to_owned(),
            };
            told.claims().answered(press, &how);
            told.trace(&[6, told.now_ms(), press, u64::from(answered.is_some())]);
            if let Some(answered) = answered {
                drop(sender.send(answered));
            }
        });
        timeout(patience, answer).await.ok()?.ok()
    }
}

impl World {
    /// What the run has, of a scenario that has lives.
    pub(super) fn plan(&self) -> &Plan {
        match &self.plan {
            Some(plan) => plan,
            None => panic!("this run has no lives"),
        }
    }

    /// The channels that are there before the first pod starts.
    fn make_channels(&self) {
        for number in 0..self.plan().channels {
            let channel = Channel {
                slug: slug(number),
                title: String::new(),
                close_delay_ms: 1000,
                open_live: None,
                last_live: None,
                takes_back: None,
                unfinished: std::collections::BTreeSet::new(),
                created_at_us: START_US,
            };
            let body = serde_json::to_string(&channel).unwrap_or_default();
            let cell = documents::first_cell(body);
            let request = Request::Write(vec![(Key::Channel(number), cell.clone())]);
            for replica in &mut self.network().replicas {
                drop(replica.handle(&request));
            }
            self.claims().decided(Key::Channel(number), &cell);
        }
        // Ballots grow from there.
        self.next_ballot(1);
    }

    /// One run, from the first pod to the last check.
    pub(super) async fn conduct(self: Arc<Self>) -> Report {
        let mut random = SmallRng::seed_from_u64(self.seed ^ 0xC0_4D);
        let carrier = tokio::spawn(Arc::clone(&self).carry());
        let executor = self.executor.as_ref().map(|executor| tokio::spawn(executor.run()));
        self.make_channels();
        (0..self.slots()).for_each(|index| self.start(index));
        let sampler = tokio::spawn(Arc::clone(&self).sample_lives());
        let mut tabs = Vec::new();
        for viewer in 0..random.random_range(2..=5) {
            for tab in 0..random.random_range(1..=2) {
                tabs.push(tokio::spawn(Viewer::new(&self, viewer, tab).run()));
            }
        }
        self.network().weather = Weather::of(&mut random);
        let faults = tokio::spawn(faults::run(Arc::clone(&self)));
        let admins = random.random_range(1..=3);
        let admins: Vec<_> = (0..admins).map(|admin| tokio::spawn(Admin::new(&self, admin).run())).collect();
        for admin in admins {
            if admin.await.is_err() {
                self.claims().violated("an admin has panicked");
            }
        }
        self.conclude(&mut random, faults, tabs).await;
        sampler.abort();
        self.is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        let pods: Vec<_> = self.pods().iter_mut().filter_map(Option::take).collect();
        pods.iter().for_each(|pod| pod.gate.kill());
        drop(pods);
        self.drain().await;
        {
            let network = self.network();
            for item in self.plan().items() {
                let last = self.last_rank(&network.replicas, item);
                if last != Rank::default() {
                    self.oracle(item).check_results(last, &network.replicas);
                }
            }
        }
        carrier.abort();
        if let Some(executor) = executor {
            executor.abort();
        }
        self.report()
    }

    fn last_rank(&self, replicas: &[super::Replica; super::NODES], item: ItemId) -> Rank {
        let of = |replica: &super::Replica| {
            let cell = replica.get(&Key::Rank(item.live, item.jeu))?;
            cell.1.as_ref().try_into().ok().map(u64::from_be_bytes)
        };
        Rank(replicas.iter().filter_map(of).max().unwrap_or_default())
    }

    /// Heals everything, ends every live, and waits for what is shown of it on every pod.
    async fn conclude(
        self: &Arc<Self>,
        random: &mut SmallRng,
        faults: tokio::task::JoinHandle<()>,
        tabs: Vec<tokio::task::JoinHandle<()>>,
    ) {
        self.faults_are_over.store(true, std::sync::atomic::Ordering::Relaxed);
        faults.abort();
        self.network().heal();
        self.wake_all();
        let healed_ms = self.now_ms();
        sleep(Duration::from_millis(random.random_range(200..1500))).await;
        self.voting_is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        let channels = self.plan().channels;
        let all_started = |world: &World| {
            world.pods().iter().all(|pod| pod.as_ref().is_some_and(|pod| pod.conducted().has_started(channels)))
        };
        if !self.wait_until(PATIENCE, all_started).await {
            self.claims().violated("a pod does not start, and nothing is wrong any more");
            return;
        }
        if !self.wait_until(PATIENCE, |world| !world.claims().owes_answers()).await {
            self.claims().check_answers();
        }
        if timeout(PATIENCE, self.end_all(random)).await.is_err() {
            self.claims().violated("a live cannot be ended, and nothing is wrong any more");
        }
        if !self.wait_until(PATIENCE, Self::all_is_final).await {
            let what = self.unfinished();
            self.claims().violated(&format!("no result, and nothing is wrong any more: {what}"));
        }
        let owes = |world: &World| world.oracles.keys().any(|item| world.oracle(*item).owes_answers(healed_ms));
        if !self.wait_until(Duration::from_secs(15), |world| !owes(world)).await {
            self.claims().violated("a vote has no answer, and nothing is wrong any more");
        }
        tabs.iter().for_each(tokio::task::JoinHandle::abort);
        for tab in tabs {
            if tab.await.is_err_and(|error| error.is_panic()) {
                self.claims().violated("a viewer has panicked");
            }
        }
        // Pods read the records of lives that are over every 5 s.
        sleep(Duration::from_secs(6)).await;
        self.compare_pods().await;
        if random.random_bool(0.25) {
            // Until pods have let the tasks of these lives go.
            sleep(Duration::from_micros(UNDO_WINDOW_US) + Duration::from_secs(13)).await;
            self.compare_pods().await;
        }
    }

    fn wake_all(self: &Arc<Self>) {
        for index in 0..self.slots() {
            self.start(index);
            if let Some(pod) = self.pod(index).filter(|pod| !pod.gate.runs()) {
                pod.gate.go_on();
                self.went_on(&pod);
            }
        }
    }

    async fn wait_until(&self, patience: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let waited = async {
            while !is_so(self) {
                sleep(Duration::from_millis(250)).await;
            }
        };
        timeout(patience, waited).await.is_ok()
    }

    async fn end_all(self: &Arc<Self>, random: &mut SmallRng) {
        loop {
            let open = self.claims().open_lives();
            if open.is_empty() {
                // What goes on in the background may open one again: a reopening that was cut short.
                sleep(Duration::from_millis(1500)).await;
                if self.claims().open_lives().is_empty() {
                    return;
                }
            }
            for live_id in open {
                let Some(pod) = self.pod(random.random_range(0..self.slots())) else { continue };
                let ended = pod.ask(self, "close_live", None, PATIENCE, false, |conductor| async move {
                    conductor.close_live(live_id, Some(0)).await
                });
                let _again_if_it_failed = ended.await;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// What is not final yet, on whichever pod.
    fn unfinished(&self) -> String {
        let mut found = Vec::new();
        let network = self.network();
        for item in self.plan().items() {
            let last = self.last_rank(&network.replicas, item);
            if !matches!(last.phase(), Phase::Pending | Phase::Final) {
                found.push(format!("{item} is {last:?}"));
            }
        }
        drop(network);
        for pod in self.pods().iter().flatten() {
            let Some(conductor) = pod.conducted().conductor() else { continue };
            for live in &self.plan().lives {
                let Some(view) = conductor.view(live.live_id) else { continue };
                if view.live.status == LiveStatus::Open {
                    found.push(format!("{} shows {} on air", pod.index, live.live_id));
                }
                for item in &view.items {
                    let shown = item.view();
                    if !shown.loaded || !matches!(shown.rank.phase(), Phase::Pending | Phase::Final) {
                        found.push(format!("{} shows {} as {:?}", pod.index, item.item(), shown.rank));
                    }
                }
            }
        }
        found.join(", ")
    }

    fn all_is_final(&self) -> bool {
        self.unfinished().is_empty()
    }

    /// Every pod says the same of every live, and shows the numbers of its results.
    async fn compare_pods(self: &Arc<Self>) {
        let pods: Vec<_> = self.pods().iter().flatten().cloned().collect();
        for live in &self.plan().lives {
            let live_id = live.live_id;
            let mut first: Option<(usize, String)> = None;
            for pod in &pods {
                let asked = pod.ask(self, "live_state", None, PATIENCE, false, |conductor| async move {
                    let state = conductor.live_state(live_id).await?;
                    let (_, numbers) = conductor.numbers(live_id).await?;
                    // Which revision it is, and when they were made, is each pod's own.
                    let plain = |number: &crate::conductor::JeuNumbers| {
                        let frame = &number.frame;
                        format!("{} {:?} {} {:?}", frame.epoch, frame.phase, frame.voters, frame.criteres)
                    };
                    let numbers: Vec<_> = numbers.iter().map(plain).collect();
                    Ok::<_, ConductError>(format!("{} {numbers:?}", told(&state)))
                });
                let state = match asked.await {
                    Some(Ok(answer)) => answer,
                    Some(Err(ConductError::UnknownLive(_))) => continue,
                    Some(Err(error)) => {
                        self.claims().violated(&format!("a pod cannot say how {live_id} is: {error}"));
                        continue;
                    }
                    None => continue,
                };
                match &first {
                    None => first = Some((pod.index, state)),
                    Some((other, known)) if *known != state => {
                        let index = pod.index;
                        self.claims().violated(&format!(
                            "pods {other} and {index} do not agree on {live_id}: {known} and {state}"
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        self.look_at_all(true);
    }

    /// Looks at what every pod shows, again and again.
    async fn sample_lives(self: Arc<Self>) {
        for round in 0_u64.. {
            sleep(Duration::from_millis(250)).await;
            self.look_at_all(round % 4 == 0);
        }
    }

    fn look_at_all(&self, thoroughly: bool) {
        for pod in self.running() {
            for channel in 0..self.plan().channels {
                let Some(shown) = pod.conducted().shown(channel).and_then(|view| view.shown.clone()) else { continue };
                for item in &shown.items {
                    let (id, view) = (item.item(), item.view());
                    if item.is_fixed() {
                        if view.rank.phase() == Phase::Final {
                            self.oracle(id).looked_at_result(pod.writer, &view);
                        }
                    } else {
                        self.oracle(id).looked_at(pod.writer, &view, thoroughly);
                    }
                    self.claims().shows(pod.writer, id, view.rank, view.revision);
                }
            }
        }
    }
}
