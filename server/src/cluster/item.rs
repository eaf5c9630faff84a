//! One item's task: takes votes, makes them durable in chunks, merges, answers, checkpoints, closes.
//!
//! The task owns all of the item's state and never waits for the store: what it started comes back as a [`Done`].
//!
//! **Invariants**
//! - The map changes only with chunks whose append returned `Ok`, or that were read from the store.
//! - A lane has one chunk in flight; the same `seq` is only ever sent with the same bytes, unless the store said that
//!   the earlier attempt was not written.
//! - Every submission gets exactly one outcome.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::chunk::{self, ChunkBuilder};
use super::close::{EpochResult, finalise, materialise, note_rows, stored_result};
use super::engine::{Engine, ItemError};
use super::load::{Cursor, LoadError, Loaded, load, merge_page};
use crate::domain::ballot::{Ballot, Entry};
use crate::domain::note::Version;
use crate::domain::phase::{Phase, Rank};
use crate::domain::viewer::ViewerId;
use crate::notebook::Notebook;
use crate::protocol::MAX_VERSION_AHEAD_US;
use crate::store::{ErrorKind, ItemId, LaneId, LaneRow, NoteRow, Payload, Store, StoreError};

/// What a client waits when a queue is full.
pub const BUSY_RETRY_MS: u64 = 200;

/// What a client waits when the store is in trouble, and how long the item leaves the store alone then.
pub const TROUBLE_RETRY_MS: u64 = 500;

/// Votes taken from the inbox at a time, so that acknowledgements come in between.
const INBOX_BATCH: usize = 4096;

/// How long a vote waits for a store that does not say what became of its chunk before it is answered `unknown`.
const UNKNOWN_AFTER: Duration = Duration::from_secs(5);

/// How often the item looks at what is due.
const TICK: Duration = Duration::from_millis(50);

/// How often, and up to how many entries, the tally is folded anew while the item runs.
const REFOLD_INTERVAL: Duration = Duration::from_secs(30);
const MAX_REFOLD_ENTRIES: usize = 200_000;

/// A vote for the engine.
pub struct Submission {
    /// Who.
    pub viewer: ViewerId,
    /// Which version.
    pub version: Version,
    /// What, valid for the item's ballot.
    pub payload: Payload,
    /// Hears the outcome, once, on the item's task: it must not block.
    pub on_outcome: Box<dyn FnOnce(Outcome) + Send>,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Durable, and counted in the result.
    Ok,
    /// It may be durable; the same may be sent again, anywhere.
    Unknown,
    /// Not stored; the same may be sent again later.
    RetryAfter {
        /// When, in milliseconds.
        ms: u64,
    },
    /// A newer entry of the viewer is there.
    Stale {
        /// Its version.
        version: Version,
        /// What it says.
        payload: Payload,
    },
    /// No more votes are taken.
    Closed,
    /// No votes are taken yet.
    NotOpen,
    /// The version lies too far ahead of the server's clock.
    TooFarAhead {
        /// The server's clock, microseconds since 1970.
        now_us: u64,
    },
}

/// Numbers of an item at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemView<T> {
    /// Phase and epoch.
    pub rank: Rank,
    /// The fold; in phase final, that of the stored result.
    pub tally: T,
    /// Grows with every change.
    pub revision: u64,
    /// When this was true, microseconds since 1970.
    pub as_of_us: u64,
    /// Whether the store has been read.
    pub loaded: bool,
    /// Whether the store cannot be read or written at present.
    pub stale: bool,
}

type Answer<T> = oneshot::Sender<T>;
type RankAnswer = Answer<Result<Rank, ItemError>>;

/// Requests that are not votes.
pub enum Control {
    /// See [`super::ItemHandle::open`].
    Open(RankAnswer),
    /// See [`super::ItemHandle::close`].
    Close(RankAnswer),
    /// See [`super::ItemHandle::reopen`].
    Reopen(RankAnswer),
    /// See [`super::ItemHandle::note_of`].
    NoteOf(ViewerId, Answer<Option<NoteRow>>),
    /// See [`super::ItemHandle::notes`].
    Notes(Answer<Vec<NoteRow>>),
    /// See [`super::ItemHandle::settled`].
    Settled(Answer<()>),
}

/// A vote on its way to the store; the callback is gone once it was answered.
struct Waiting {
    viewer: ViewerId,
    version: Version,
    payload: Payload,
    on_outcome: Option<Box<dyn FnOnce(Outcome) + Send>>,
}

impl Waiting {
    fn answer(&mut self, outcome: Outcome) {
        if let Some(on_outcome) = self.on_outcome.take() {
            on_outcome(outcome);
        }
    }
}

impl Drop for Waiting {
    /// A task that ends with votes in hand owes them an outcome; the chunk may or may not have been written.
    fn drop(&mut self) {
        self.answer(Outcome::Unknown);
    }
}

/// One of this pod's lanes.
struct Lane {
    id: LaneId,
    next_seq: u64,
    not_before: Instant,
    flight: Option<Flight>,
}

struct Flight {
    started: Instant,
    votes: Vec<Waiting>,
}

/// What another pod's writing looks like from here.
struct Polled {
    rank: Rank,
    pages: Vec<(LaneId, Vec<(u64, Bytes)>)>,
}

/// What came back.
enum Done<B: Ballot> {
    Loaded(Result<(Loaded<B>, Rank, Option<EpochResult<B::Tally>>), LoadError>),
    Registered(Result<(), StoreError>),
    Appended(usize, Result<(), StoreError>),
    Checkpointed(Vec<ViewerId>, Vec<(LaneId, u64)>, Result<(), StoreError>),
    Raised(Rank, RankAnswer, Result<(), StoreError>),
    Finalised(u64, Result<EpochResult<B::Tally>, LoadError>),
    Polled(Duration, Result<Polled, StoreError>),
    Due,
}

/// The task of one item.
pub struct Item<B: Ballot> {
    engine: Engine,
    id: ItemId,
    ballot: Arc<B>,
    votes: mpsc::Receiver<Submission>,
    controls: mpsc::Receiver<Control>,
    view: watch::Sender<Arc<ItemView<B::Tally>>>,
    work: FuturesUnordered<BoxFuture<'static, Done<B>>>,

    loaded: bool,
    degraded: bool,
    rank: Rank,
    notebook: Notebook<B>,
    cursors: BTreeMap<LaneId, Cursor>,
    result: Option<EpochResult<B::Tally>>,

    lanes: Vec<Lane>,
    registering: bool,
    takes_votes_from: Instant,
    waiting: VecDeque<Waiting>,
    trouble_until: Option<Instant>,
    lease_until: Option<Duration>,

    dirty: Vec<ViewerId>,
    checkpointing: bool,
    next_checkpoint: Instant,
    polling: bool,
    next_poll: Instant,
    next_refold: Instant,
    raising: bool,
    queued_controls: VecDeque<Control>,
    closing_since: Option<Instant>,
    finalising: bool,
    settled: Vec<Answer<()>>,
    changed: bool,
}

impl<B: Ballot> Item<B> {
    /// The task, and what it publishes.
    pub(super) fn new(
        engine: Engine,
        id: ItemId,
        ballot: Arc<B>,
        votes: mpsc::Receiver<Submission>,
        controls: mpsc::Receiver<Control>,
    ) -> (Self, watch::Receiver<Arc<ItemView<B::Tally>>>) {
        let notebook = Notebook::new(Arc::clone(&ballot));
        let view = ItemView {
            rank: Rank::default(),
            tally: ballot.empty(),
            revision: 0,
            as_of_us: engine.env.now_us(),
            loaded: false,
            stale: true,
        };
        let (view, receiver) = watch::channel(Arc::new(view));
        let now = Instant::now();
        let task = Self {
            engine,
            id,
            ballot,
            votes,
            controls,
            view,
            work: FuturesUnordered::new(),
            loaded: false,
            degraded: false,
            rank: Rank::default(),
            notebook,
            cursors: BTreeMap::new(),
            result: None,
            lanes: Vec::new(),
            registering: false,
            takes_votes_from: now,
            waiting: VecDeque::new(),
            trouble_until: None,
            lease_until: None,
            dirty: Vec::new(),
            checkpointing: false,
            next_checkpoint: now,
            polling: false,
            next_poll: now,
            next_refold: now + REFOLD_INTERVAL,
            raising: false,
            queued_controls: VecDeque::new(),
            closing_since: None,
            finalising: false,
            settled: Vec::new(),
            changed: false,
        };
        (task, receiver)
    }

    /// Runs until every handle is gone.
    pub(super) async fn run(mut self) {
        let mut inbox = Vec::with_capacity(64);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.start_loading(Duration::ZERO);
        loop {
            tokio::select! {
                biased;
                Some(done) = self.work.next(), if !self.work.is_empty() => self.on_done(done),
                control = self.controls.recv() => match control {
                    Some(control) => self.on_control(control),
                    None => return,
                },
                count = self.votes.recv_many(&mut inbox, INBOX_BATCH), if !self.votes.is_closed() || !self.votes.is_empty() => {
                    if count > 0 {
                        let now_us = self.engine.env.now_us();
                        inbox.drain(..).for_each(|submission| self.on_vote(submission, now_us));
                    }
                }
                _ = tick.tick() => self.on_tick(),
            }
            self.start_chunks();
            self.start_finalising();
            self.publish();
        }
    }

    fn is_shared(&self) -> bool {
        self.engine.store.is_shared()
    }

    /// Starts something that ends in a [`Done`]. The store and the environment go with it.
    fn start<F>(&self, work: impl FnOnce(Engine, Arc<B>, ItemId) -> F)
    where
        F: Future<Output = Done<B>> + Send + 'static,
    {
        self.work.push(Box::pin(work(self.engine.clone(), Arc::clone(&self.ballot), self.id)));
    }

    // Loading ----------------------------------------------------------------------------------------------------

    fn start_loading(&self, after: Duration) {
        self.start(|engine, ballot, id| async move {
            sleep(after).await;
            Done::Loaded(Self::read_all(&engine, &ballot, id).await)
        });
    }

    async fn read_all(
        engine: &Engine,
        ballot: &Arc<B>,
        id: ItemId,
    ) -> Result<(Loaded<B>, Rank, Option<EpochResult<B::Tally>>), LoadError> {
        let loaded = load(&*engine.store, ballot, id, false).await?;
        let rank = stored_rank(&*engine.store, id).await?;
        let result = match rank.phase() {
            Phase::Final => stored_result::<B>(&*engine.store, id, rank.epoch()).await?,
            _ => None,
        };
        Ok((loaded, rank, result))
    }

    fn on_loaded(&mut self, loaded: Loaded<B>, rank: Rank, result: Option<EpochResult<B::Tally>>) {
        self.notebook = loaded.notebook;
        self.cursors = loaded.cursors;
        self.dirty = if self.is_shared() { Vec::new() } else { loaded.dirty };
        self.result = result;
        self.loaded = true;
        self.degraded = false;
        self.next_checkpoint = Instant::now();
        self.enter(rank);
        self.next_control();
    }

    // Phases -----------------------------------------------------------------------------------------------------

    /// Takes over a rank that is stored.
    fn enter(&mut self, rank: Rank) {
        if rank < self.rank {
            return;
        }
        self.rank = rank;
        self.changed = true;
        match rank.phase() {
            Phase::Pending => {}
            Phase::Open => {
                self.closing_since = None;
                self.result = None;
                if self.lanes.is_empty() && !self.registering {
                    self.start_registering(Duration::ZERO);
                }
            }
            Phase::Closing => {
                self.closing_since.get_or_insert_with(Instant::now);
                self.waiting.drain(..).for_each(|mut vote| vote.answer(Outcome::Closed));
            }
            Phase::Final => {
                self.waiting.drain(..).for_each(|mut vote| vote.answer(Outcome::Closed));
                if self.result.is_none() && !self.finalising {
                    self.start_finalise(rank.epoch(), Duration::ZERO);
                }
            }
        }
    }

    fn start_registering(&mut self, after: Duration) {
        self.registering = true;
        let ids: Vec<_> = (0..self.engine.cadence.lanes.max(1)).map(|lane| self.lane_id(lane)).collect();
        self.start(|engine, _, id| async move {
            sleep(after).await;
            for lane in ids {
                if let Err(error) = engine.store.register_lane(id, lane, chunk::FORMAT).await {
                    return Done::Registered(Err(error));
                }
            }
            Done::Registered(Ok(()))
        });
    }

    fn lane_id(&self, lane: u8) -> LaneId {
        LaneId { writer: self.engine.writer, lane }
    }

    fn start_raising(&mut self, rank: Rank, answer: RankAnswer) {
        self.raising = true;
        self.start(|engine, _, id| async move { Done::Raised(rank, answer, engine.store.raise_rank(id, rank).await) });
    }

    fn start_finalise(&mut self, epoch: u64, after: Duration) {
        self.finalising = true;
        self.start(move |engine, ballot, id| async move {
            sleep(after).await;
            Done::Finalised(epoch, finalise(&*engine.store, &engine.env, &ballot, id, epoch).await)
        });
    }

    /// Begins the result once no acknowledgement of the epoch can follow.
    fn start_finalising(&mut self) {
        let Some(since) = self.closing_since else { return };
        if self.finalising || self.rank.phase() != Phase::Closing {
            return;
        }
        let in_flight = self.lanes.iter().any(|lane| lane.flight.is_some());
        // Where nobody else acknowledges, our own chunks are all there is to wait for. Elsewhere the leases have to
        // run out, and our own chunk may then stay without an answer: it was not acknowledged, and never will be.
        let over = if self.is_shared() { since.elapsed() >= self.engine.cadence.close_wait } else { !in_flight };
        if over {
            self.start_finalise(self.rank.epoch(), Duration::ZERO);
        }
    }

    fn on_finalised(&mut self, epoch: u64, result: EpochResult<B::Tally>) {
        let ours = self.notebook.digest().to_string();
        let covers = |lane: &super::close::ManifestLane| {
            let id = LaneId { writer: crate::store::WriterId(lane.writer), lane: lane.lane };
            self.cursors.get(&id).map_or(lane.chunks == 0, |cursor| cursor.next_seq == lane.chunks)
        };
        if self.loaded
            && result.manifest.len() == self.cursors.len()
            && result.manifest.iter().all(covers)
            && ours != result.digest
        {
            self.drifted("the result differs from what was shown");
        }
        for lane in &result.manifest {
            let id = LaneId { writer: crate::store::WriterId(lane.writer), lane: lane.lane };
            let cursor = self.cursors.entry(id).or_default();
            cursor.materialised = cursor.materialised.max(lane.chunks);
        }
        self.result = Some(result);
        self.enter(Rank::new(epoch, Phase::Final));
    }

    fn drifted(&self, what: &str) {
        tracing::error!(item = %self.id, "tally drift: {what}");
        metrics::counter!("tally_drift_total").increment(1);
    }

    // Votes ------------------------------------------------------------------------------------------------------

    fn lease_holds(&self) -> bool {
        let until = self.lease_until;
        !self.is_shared() || until.is_some_and(|until| self.engine.env.clock.since_boot() <= until)
    }

    fn on_vote(&mut self, submission: Submission, now_us: u64) {
        let Submission { viewer, version, payload, on_outcome } = submission;
        match self.refusal(viewer, version, &payload, now_us) {
            Some(outcome) => on_outcome(outcome),
            None => {
                self.waiting.push_back(Waiting { viewer, version, payload, on_outcome: Some(on_outcome) });
            }
        }
    }

    /// What can be said of a vote without writing it.
    fn refusal(&self, viewer: ViewerId, version: Version, payload: &Payload, now_us: u64) -> Option<Outcome> {
        let later = Outcome::RetryAfter { ms: TROUBLE_RETRY_MS };
        if !self.loaded || self.degraded {
            return Some(later);
        }
        match self.rank.phase() {
            Phase::Pending => return Some(Outcome::NotOpen),
            Phase::Closing | Phase::Final => return Some(Outcome::Closed),
            Phase::Open => {}
        }
        if version > now_us.saturating_add(MAX_VERSION_AHEAD_US) {
            return Some(Outcome::TooFarAhead { now_us });
        }
        if let Some(held) = self.notebook.get(&viewer).filter(|held| held.version >= version) {
            if held.version == version && held.payload == *payload {
                return Some(if self.lease_holds() { Outcome::Ok } else { Outcome::Unknown });
            }
            return Some(Outcome::Stale { version: held.version, payload: held.payload.clone() });
        }
        let starting = self.lanes.is_empty() || Instant::now() < self.takes_votes_from;
        let troubled = self.trouble_until.is_some_and(|until| Instant::now() < until);
        if starting || troubled || !self.lease_holds() {
            return Some(later);
        }
        let full = self.waiting.len() >= crate::cluster::engine::MAX_WAITING_VOTES;
        full.then_some(Outcome::RetryAfter { ms: BUSY_RETRY_MS })
    }

    /// Sends the next chunk of every lane that has none in flight.
    fn start_chunks(&mut self) {
        if self.rank.phase() != Phase::Open {
            return;
        }
        let now = Instant::now();
        for index in 0..self.lanes.len() {
            if self.waiting.is_empty() {
                return;
            }
            let lane = &mut self.lanes[index];
            if lane.flight.is_some() || lane.not_before > now {
                continue;
            }
            let mut builder = ChunkBuilder::new(self.rank.epoch());
            let mut votes = Vec::with_capacity(self.waiting.len().min(2048));
            while let Some(vote) = self.waiting.pop_front() {
                if !builder.push(vote.viewer, Entry { version: vote.version, payload: &vote.payload }) {
                    self.waiting.push_front(vote);
                    break;
                }
                votes.push(vote);
            }
            if builder.is_empty() {
                // The payload at the front fits no chunk: it cannot be noted, by anybody.
                if let Some(mut vote) = self.waiting.pop_front() {
                    vote.answer(Outcome::RetryAfter { ms: TROUBLE_RETRY_MS });
                }
                continue;
            }
            metrics::histogram!("chunk_notes").record(f64::from(u32::try_from(votes.len()).unwrap_or(u32::MAX)));
            let (id, seq, bytes) = (lane.id, lane.next_seq, builder.finish());
            lane.flight = Some(Flight { started: now, votes });
            self.start(move |engine, _, item| async move {
                Done::Appended(index, append(&engine, item, id, seq, bytes).await)
            });
        }
    }

    fn on_appended(&mut self, index: usize, result: Result<(), StoreError>) {
        let lease_holds = self.lease_holds();
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let Some(mut flight) = lane.flight.take() else { return };
        match result {
            Ok(()) => {
                lane.next_seq += 1;
                lane.not_before = flight.started + self.engine.cadence.chunk_interval;
                if let Some(wait) =
                    lane.not_before.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
                {
                    self.work.push(Box::pin(async move {
                        sleep(wait).await;
                        Done::Due
                    }));
                }
                self.cursors.entry(lane.id).or_default().next_seq = lane.next_seq;
                self.trouble_until = None;
                // A vote is judged by the lease alone, not by the phase seen here: the lease is what a closer waits
                // out. Alone on the store, this pod reads the result only after its last chunk.
                let outcome = if lease_holds { Outcome::Ok } else { Outcome::Unknown };
                for vote in &mut flight.votes {
                    self.notebook.merge(vote.viewer, Entry { version: vote.version, payload: &vote.payload });
                    self.dirty.push(vote.viewer);
                    vote.answer(outcome.clone());
                }
                self.changed = true;
            }
            Err(error) => {
                tracing::warn!(item = %self.id, %error, "notes refused: the store did not take them");
                self.trouble_until = Some(Instant::now() + Duration::from_millis(TROUBLE_RETRY_MS));
                self.changed = true;
                let later = Outcome::RetryAfter { ms: TROUBLE_RETRY_MS };
                flight.votes.iter_mut().for_each(|vote| vote.answer(later.clone()));
                self.waiting.drain(..).for_each(|mut vote| vote.answer(later.clone()));
            }
        }
        if self.waiting.is_empty() && self.lanes.iter().all(|lane| lane.flight.is_none()) {
            for answer in self.settled.drain(..) {
                let _asker_left = answer.send(());
            }
        }
    }

    // Everything else --------------------------------------------------------------------------------------------

    fn on_done(&mut self, done: Done<B>) {
        match done {
            Done::Loaded(Ok((loaded, rank, result))) => self.on_loaded(loaded, rank, result),
            Done::Loaded(Err(error)) => {
                tracing::error!(item = %self.id, %error, "cannot read the stored notes; trying again");
                self.degraded = true;
                self.start_loading(Duration::from_millis(2 * TROUBLE_RETRY_MS));
            }
            Done::Registered(Ok(())) => {
                self.registering = false;
                let now = Instant::now();
                self.takes_votes_from = now + self.engine.cadence.registration_wait;
                let ids = (0..self.engine.cadence.lanes.max(1)).map(|lane| self.lane_id(lane));
                self.lanes = ids.map(|id| Lane { id, next_seq: 0, not_before: now, flight: None }).collect();
                for lane in &self.lanes {
                    self.cursors.entry(lane.id).or_default();
                }
            }
            Done::Registered(Err(error)) => {
                tracing::warn!(item = %self.id, %error, "cannot announce a journal; trying again");
                self.start_registering(Duration::from_millis(TROUBLE_RETRY_MS));
            }
            Done::Appended(lane, result) => self.on_appended(lane, result),
            Done::Checkpointed(viewers, lanes, result) => self.on_checkpointed(viewers, &lanes, result),
            Done::Raised(rank, answer, result) => {
                self.raising = false;
                if result.is_ok() {
                    self.enter(rank);
                }
                let answered = answer.send(result.map(|()| rank).map_err(ItemError::from));
                drop(answered);
                self.next_control();
            }
            Done::Finalised(epoch, result) => {
                self.finalising = false;
                match result {
                    Ok(result) => self.on_finalised(epoch, result),
                    Err(error) => {
                        tracing::warn!(item = %self.id, %error, "cannot make the result; trying again");
                        self.start_finalise(epoch, Duration::from_millis(TROUBLE_RETRY_MS));
                    }
                }
            }
            Done::Polled(started, result) => self.on_polled(started, result),
            Done::Due => {}
        }
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::NoteOf(viewer, answer) => {
                if self.loaded {
                    let held = self.notebook.get(&viewer);
                    let row = held.map(|held| NoteRow { viewer, version: held.version, payload: held.payload.clone() });
                    drop(answer.send(row));
                }
            }
            Control::Notes(answer) => {
                if self.loaded {
                    let viewers = self.notebook.iter().map(|(viewer, _)| *viewer).collect();
                    drop(answer.send(note_rows(&self.notebook, viewers)));
                }
            }
            Control::Settled(answer) => {
                if self.waiting.is_empty() && self.lanes.iter().all(|lane| lane.flight.is_none()) {
                    let _asker_left = answer.send(());
                } else {
                    self.settled.push(answer);
                }
            }
            phase => {
                self.queued_controls.push_back(phase);
                self.next_control();
            }
        }
    }

    /// Carries out the next change of phase, one at a time and only once the stored phase is known.
    fn next_control(&mut self) {
        while self.loaded && !self.raising {
            let Some(control) = self.queued_controls.pop_front() else { return };
            let (epoch, phase) = (self.rank.epoch(), self.rank.phase());
            let (answer, next) = match control {
                Control::Open(answer) => match phase {
                    Phase::Pending => (answer, Some(Rank::new(epoch, Phase::Open))),
                    Phase::Open => (answer, None),
                    Phase::Closing | Phase::Final => {
                        drop(answer.send(Err(ItemError::Phase(phase))));
                        continue;
                    }
                },
                Control::Close(answer) => match phase {
                    Phase::Open => (answer, Some(Rank::new(epoch, Phase::Closing))),
                    Phase::Closing | Phase::Final => (answer, None),
                    Phase::Pending => {
                        drop(answer.send(Err(ItemError::Phase(phase))));
                        continue;
                    }
                },
                Control::Reopen(answer) => match phase {
                    Phase::Final => (answer, Some(Rank::new(epoch + 1, Phase::Open))),
                    Phase::Open => (answer, None),
                    Phase::Pending | Phase::Closing => {
                        drop(answer.send(Err(ItemError::Phase(phase))));
                        continue;
                    }
                },
                Control::NoteOf(..) | Control::Notes(_) | Control::Settled(_) => continue,
            };
            match next {
                Some(rank) => self.start_raising(rank, answer),
                None => drop(answer.send(Ok(self.rank))),
            }
        }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        for lane in &mut self.lanes {
            if let Some(flight) = lane.flight.as_mut().filter(|flight| now >= flight.started + UNKNOWN_AFTER) {
                flight.votes.iter_mut().for_each(|vote| vote.answer(Outcome::Unknown));
            }
        }
        if self.trouble_until.is_some_and(|until| now >= until) {
            self.trouble_until = None;
            self.changed = true;
        }
        if self.loaded && !self.checkpointing && !self.dirty.is_empty() && now >= self.next_checkpoint {
            self.start_checkpoint(now);
        }
        if self.is_shared() && !self.polling && now >= self.next_poll {
            self.start_poll(now);
        }
        if now >= self.next_refold && self.notebook.len() <= MAX_REFOLD_ENTRIES {
            self.next_refold = now + REFOLD_INTERVAL;
            if !self.notebook.is_sound() {
                self.drifted("the tally differs from the fold of its notes");
            }
        }
    }

    /// Folds what changed into `notes`, and then says how far our lanes are there.
    fn start_checkpoint(&mut self, now: Instant) {
        self.checkpointing = true;
        self.next_checkpoint = now + self.engine.cadence.checkpoint_interval;
        let viewers = std::mem::take(&mut self.dirty);
        let rows = note_rows(&self.notebook, viewers.clone());
        // Alone on the store, the lanes of earlier incarnations are ours to finish, too.
        let ours = |lane: &LaneId| !self.engine.store.is_shared() || lane.writer == self.engine.writer;
        let due = |(lane, cursor): (&LaneId, &Cursor)| {
            (ours(lane) && cursor.materialised < cursor.next_seq).then_some((*lane, cursor.next_seq))
        };
        let lanes: Vec<_> = self.cursors.iter().filter_map(due).collect();
        self.start(|engine, _, id| async move {
            let result = materialise(&*engine.store, id, rows, lanes.clone()).await;
            Done::Checkpointed(viewers, lanes, result)
        });
    }

    fn on_checkpointed(&mut self, viewers: Vec<ViewerId>, lanes: &[(LaneId, u64)], result: Result<(), StoreError>) {
        self.checkpointing = false;
        match result {
            Ok(()) => {
                for (lane, materialised) in lanes {
                    let cursor = self.cursors.entry(*lane).or_default();
                    cursor.materialised = cursor.materialised.max(*materialised);
                }
            }
            Err(error) => {
                tracing::warn!(item = %self.id, %error, "checkpoint failed; the journal keeps the notes");
                self.dirty.extend(viewers);
            }
        }
    }

    fn start_poll(&mut self, now: Instant) {
        self.polling = true;
        self.next_poll = now + self.engine.cadence.poll_interval;
        let cursors = self.cursors.clone();
        let loaded = self.loaded;
        self.start(move |engine, _, id| async move {
            let started = engine.env.clock.since_boot();
            Done::Polled(started, poll(&engine, id, &cursors, loaded).await)
        });
    }

    fn on_polled(&mut self, started: Duration, result: Result<Polled, StoreError>) {
        self.polling = false;
        let Ok(Polled { rank, pages }) = result else { return };
        if !self.loaded {
            return;
        }
        self.lease_until = Some(started + self.engine.cadence.lease);
        // Other pods fold their own lanes into `notes`; what is read here only has to be shown.
        let mut merged = Vec::new();
        for (lane, page) in pages.into_iter().filter(|(lane, _)| lane.writer != self.engine.writer) {
            let cursor = self.cursors.entry(lane).or_default();
            let outcome = merge_page(&*self.ballot, &mut self.notebook, lane, cursor, &page, &mut merged);
            if let Err(error) = outcome {
                tracing::error!(item = %self.id, %error, "cannot follow another pod");
                self.degraded = true;
            }
        }
        self.changed |= !merged.is_empty();
        if rank > self.rank {
            self.enter(rank);
        }
    }

    // Publishing -------------------------------------------------------------------------------------------------

    fn publish(&mut self) {
        let stale = !self.loaded || self.degraded || self.trouble_until.is_some() || !self.lease_holds();
        let before = self.view.borrow().clone();
        if !self.changed && stale == before.stale {
            return;
        }
        self.changed = false;
        let tally = self.result.as_ref().map_or_else(|| self.notebook.tally(), |result| &result.tally);
        let view = ItemView {
            rank: self.rank,
            tally: tally.clone(),
            revision: before.revision + 1,
            as_of_us: self.engine.env.now_us(),
            loaded: self.loaded,
            stale,
        };
        self.view.send_replace(Arc::new(view));
    }
}

/// The rank a store holds for an item.
async fn stored_rank(store: &dyn Store, id: ItemId) -> Result<Rank, StoreError> {
    let rows = store.ranks(id.live).await?;
    Ok(rows.into_iter().find(|row| row.jeu == id.jeu).map(|row| row.rank).unwrap_or_default())
}

/// Appends a chunk, sending the same bytes again for as long as the store cannot say what became of them.
async fn append(engine: &Engine, item: ItemId, lane: LaneId, seq: u64, chunk: Bytes) -> Result<(), StoreError> {
    let mut wait = Duration::from_millis(20);
    loop {
        match engine.store.append(item, lane, seq, chunk.clone()).await {
            Err(error) if error.kind == ErrorKind::Unknown => {
                tracing::warn!(%item, %error, "a chunk may or may not be written; sending it again");
                sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(1));
            }
            result => return result,
        }
    }
}

/// Reads what other pods wrote: the rank, then every lane from its cursor. A lane met for the first time is read from
/// its beginning, since part of it may have gone into `notes` after this pod read them.
async fn poll(
    engine: &Engine,
    id: ItemId,
    cursors: &BTreeMap<LaneId, Cursor>,
    read_lanes: bool,
) -> Result<Polled, StoreError> {
    let rank = stored_rank(&*engine.store, id).await?;
    let mut pages = Vec::new();
    if read_lanes {
        for LaneRow { id: lane, .. } in engine.store.lanes(id).await? {
            if lane.writer != engine.writer {
                let from = cursors.get(&lane).map_or(0, |cursor| cursor.next_seq);
                let page = engine.store.read_lane(id, lane, from).await?;
                if !page.is_empty() {
                    pages.push((lane, page));
                }
            }
        }
    }
    Ok(Polled { rank, pages })
}
