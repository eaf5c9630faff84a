//! One item's task: takes votes, makes them durable in chunks, merges, answers, checkpoints, closes.
//!
//! The task owns all of the item's state and never waits for the store: what it started comes back as a [`Done`].
//!
//! **Invariants**
//! - The map changes only with chunks whose append returned `Ok`, or that were read from the store.
//! - A lane has one chunk in flight; the same `seq` is only ever sent with the same bytes, unless the store said that
//!   the earlier attempt was not written. A lane in which other bytes were found is never used again.
//! - Numbers that count a vote are published before the vote is answered.
//! - Every submission gets exactly one outcome.

pub(crate) mod checkpoint;
mod follow;
mod phases;
pub(crate) mod vitals;
mod votes;

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use self::checkpoint::{Batch, Dirty, Unfolded};
use self::follow::Polled;
use self::vitals::{Peers, Recent, Vitals};
use self::votes::{Lane, UNKNOWN_AFTER, Waiting};
use super::close::{EpochResult, Finalised, stored_result};
use super::engine::{Engine, ItemError};
use super::inbox;
use super::load::{Cursor, Extent, LoadError, Loaded, load, stored_rank};
use super::mutant::mutant;
use super::ranks::LiveRanks;
use super::registry::next_revision;
use crate::domain::ballot::Ballot;
use crate::domain::note::Version;
use crate::domain::phase::{Phase, Rank};
use crate::domain::viewer::ViewerId;
use crate::notebook::Notebook;
use crate::store::{ItemId, LaneId, NoteRow, Payload, StoreError};

/// What a client waits when a queue is full.
pub const BUSY_RETRY_MS: u64 = 200;

/// What a client waits when the store is in trouble, and how long the item leaves the store alone then.
pub const TROUBLE_RETRY_MS: u64 = 500;

/// How often what is damaged is read again: somebody may have mended it.
const DAMAGE_RETRY: Duration = Duration::from_secs(5);

/// Changes of phase that wait for the one under way, or for the item to be read.
const MAX_QUEUED_CONTROLS: usize = 64;

/// How often the item looks at what is due, at least.
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
    /// The version lies too far ahead of the server's clock, and of the note that the server holds.
    TooFarAhead {
        /// The server's clock, microseconds since 1970.
        now_us: u64,
        /// A version that would be taken: the clock, or the one after the note that is held.
        next: Version,
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
    /// Everything acknowledged before is counted, by any pod: microseconds since 1970 by this pod's clock. It does not go
    /// back; in phase final it is when the result was made, or later.
    pub as_of_us: u64,
    /// When the stored result was made, in phase final.
    pub made_at_us: Option<u64>,
    /// Whether the store has been read.
    pub loaded: bool,
    /// Whether the store cannot be read or written at present.
    pub stale: bool,
    /// Whether what is stored of it is damaged: it takes no votes and has no numbers until that is mended.
    pub unreadable: bool,
}

type Answer<T> = oneshot::Sender<T>;
type RankAnswer = Answer<Result<Rank, ItemError>>;

/// Requests that are not votes.
pub enum Control {
    /// See [`super::ItemHandle::open`].
    Open(RankAnswer),
    /// See [`super::ItemHandle::close`]; of one epoch only, if one is named.
    Close(Option<u64>, RankAnswer),
    /// See [`super::ItemHandle::reopen`].
    Reopen(RankAnswer),
    /// See [`super::ItemHandle::note_of`].
    NoteOf(ViewerId, Answer<Option<NoteRow>>),
    /// See [`super::ItemHandle::settled`].
    Settled(Answer<()>),
    /// What this pod's heartbeat says of the item; nothing while it says nothing.
    Vitals(Answer<Option<Vitals>>),
    /// What the other pods' heartbeats say.
    Peers(Peers),
}

/// Where an item's task hears from its handles. They outlive a task that dies: the next one goes on with them.
pub(super) struct Ports {
    pub(super) votes: inbox::Receiver,
    pub(super) controls: mpsc::Receiver<Control>,
}

/// Votes that were taken from the inbox and are not looked at yet: a task that dies owes them an outcome.
struct InHand(Vec<Submission>);

impl Drop for InHand {
    fn drop(&mut self) {
        for submission in self.0.drain(..) {
            (submission.on_outcome)(Outcome::RetryAfter { ms: TROUBLE_RETRY_MS });
        }
    }
}

/// Says of numbers that their task is gone.
struct Stales<T: Clone>(Arc<watch::Sender<Arc<ItemView<T>>>>);

impl<T: Clone> Drop for Stales<T> {
    fn drop(&mut self) {
        self.0.send_modify(|view| *view = Arc::new(ItemView { stale: true, loaded: false, ..ItemView::clone(view) }));
    }
}

/// What the store held of an item when it was read.
struct Stored<B: Ballot> {
    /// When the reading began, by the clock since boot.
    began: Duration,
    loaded: Loaded<B>,
    rank: Rank,
    result: Option<EpochResult<B::Tally>>,
}

/// What came back.
enum Done<B: Ballot> {
    /// What cannot be read comes with the rank when it is damaged.
    Loaded(Result<Stored<B>, (LoadError, Option<Rank>)>),
    Registered(Vec<LaneId>, Result<(), StoreError>),
    Appended(usize, Result<(), StoreError>),
    Checkpointed(Batch, Result<(), StoreError>),
    Orphaned(Result<Vec<Batch>, LoadError>),
    Adopted(Vec<(LaneId, u64)>, Result<(), StoreError>),
    Raised(Rank, Instant, RankAnswer, Result<(), StoreError>),
    Confirmed(Rank, Result<(), StoreError>),
    Finalised(u64, Result<Finalised<B>, LoadError>),
    Checked(Vec<Dirty>, Result<Vec<Dirty>, StoreError>),
    Polled(Result<Polled, StoreError>),
    Due,
}

/// The task of one item.
pub struct Item<B: Ballot> {
    engine: Engine,
    id: ItemId,
    ballot: Arc<B>,
    ranks: Arc<LiveRanks>,
    view: Arc<watch::Sender<Arc<ItemView<B::Tally>>>>,
    /// The last revision that numbers of this item had, of whichever task.
    revision: Arc<AtomicU64>,
    work: FuturesUnordered<BoxFuture<'static, Done<B>>>,

    loaded: bool,
    degraded: bool,
    unreadable: bool,
    rank: Rank,
    confirmed: Rank,
    confirming: bool,
    notebook: Notebook<B>,
    cursors: BTreeMap<LaneId, Cursor>,
    result: Option<EpochResult<B::Tally>>,

    lanes: Vec<Lane>,
    registering: bool,
    takes_votes_from: Instant,
    waiting: VecDeque<Waiting>,
    /// Votes to be answered once the numbers that count them are published.
    answers: Vec<(Waiting, Outcome)>,
    /// How many chunks of our lanes, from the first, hold something acknowledged.
    acknowledged: BTreeMap<LaneId, u64>,
    trouble_until: Option<Instant>,
    lease_until: Option<Duration>,
    heard_until: Option<Duration>,
    /// Until when, by the clock since boot, everything that other pods acknowledged is in the map.
    heard: Duration,
    unsettled_since: Option<Duration>,
    /// When the list of lanes was last asked for.
    lanes_read: Option<Duration>,

    dirty: Vec<Dirty>,
    checkpointing: bool,
    adopting: bool,
    /// How far this pod has finished lanes of dead writers.
    adopted: BTreeMap<LaneId, u64>,
    recent: Recent,
    checkpoint_failed: bool,
    unfolded: Unfolded,
    next_checkpoint: Instant,
    polling: bool,
    next_poll: Instant,
    next_refold: Instant,
    raising: bool,
    queued_controls: VecDeque<Control>,
    closing_since: Option<Instant>,
    is_closer: bool,
    finalising: bool,
    settled: Vec<Answer<()>>,
    changed: bool,
}

impl<B: Ballot> Item<B> {
    /// What is shown of an item that has not read its store. `revision`: the greatest that was shown before.
    pub(super) fn unread_view(engine: &Engine, ballot: &B, revision: &AtomicU64) -> ItemView<B::Tally> {
        ItemView {
            rank: Rank::default(),
            tally: ballot.empty(),
            // Whoever watches has seen the numbers of an earlier task, or fixed ones, which begin at 1.
            revision: next_revision(revision),
            as_of_us: engine.env.now_us(),
            made_at_us: None,
            loaded: false,
            stale: true,
            unreadable: false,
        }
    }

    /// The task, which publishes to `view`.
    pub(super) fn new(
        engine: Engine,
        id: ItemId,
        ballot: Arc<B>,
        ranks: Arc<LiveRanks>,
        view: Arc<watch::Sender<Arc<ItemView<B::Tally>>>>,
        unfolded: Unfolded,
        revision: Arc<AtomicU64>,
    ) -> Self {
        let notebook = Notebook::new(Arc::clone(&ballot));
        unfolded.reset();
        #[cfg(test)]
        super::simulation::probe::started(id, engine.writer);
        let now = Instant::now();
        Self {
            engine,
            id,
            ballot,
            ranks,
            view,
            revision,
            work: FuturesUnordered::new(),
            loaded: false,
            degraded: false,
            unreadable: false,
            rank: Rank::default(),
            confirmed: Rank::default(),
            confirming: false,
            notebook,
            cursors: BTreeMap::new(),
            result: None,
            lanes: Vec::new(),
            registering: false,
            takes_votes_from: now,
            waiting: VecDeque::new(),
            answers: Vec::new(),
            acknowledged: BTreeMap::new(),
            trouble_until: None,
            lease_until: None,
            heard_until: None,
            heard: Duration::ZERO,
            lanes_read: None,
            unsettled_since: None,
            dirty: Vec::new(),
            checkpointing: false,
            adopting: false,
            adopted: BTreeMap::new(),
            recent: Recent::default(),
            checkpoint_failed: false,
            unfolded,
            next_checkpoint: now,
            polling: false,
            next_poll: now,
            next_refold: now + REFOLD_INTERVAL,
            raising: false,
            queued_controls: VecDeque::new(),
            closing_since: None,
            is_closer: false,
            finalising: false,
            settled: Vec::new(),
            changed: false,
        }
    }

    /// Runs until every handle is gone.
    pub(super) async fn run(mut self, mut ports: OwnedMutexGuard<Ports>) {
        let ports = &mut *ports;
        let _stales = Stales(Arc::clone(&self.view));
        let mut votes = InHand(Vec::with_capacity(64));
        // One timer that is set anew, since this loop goes round for every batch of votes.
        let mut tick = pin!(sleep(Duration::ZERO));
        self.start_loading(Duration::ZERO);
        loop {
            tokio::select! {
                biased;
                Some(done) = self.work.next(), if !self.work.is_empty() => self.on_done(done),
                control = ports.controls.recv() => match control {
                    Some(control) => self.on_control(control),
                    None => return,
                },
                // Before the votes, which may never pause.
                () = &mut tick => {
                    self.on_tick();
                    tick.as_mut().reset(self.next_look(Instant::now()));
                }
                Some(()) = ports.votes.take(&mut votes.0), if ports.votes.is_open() => {
                    let now_us = self.engine.env.now_us();
                    votes.0.reverse();
                    while let Some(submission) = votes.0.pop() {
                        self.on_vote(submission, now_us);
                    }
                }
            }
            self.start_chunks();
            self.start_finalising();
            self.settle();
            self.publish();
            self.answers.drain(..).for_each(|(mut vote, outcome)| vote.answer(outcome));
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

    async fn read_all(engine: &Engine, ballot: &Arc<B>, id: ItemId) -> Result<Stored<B>, (LoadError, Option<Rank>)> {
        let store = &*engine.store;
        let began = engine.env.clock.since_boot();
        let loaded = match load(store, ballot, id, Extent::Visible).await {
            Err(error) if error.is_damage() => {
                let rank = stored_rank(store, id).await.map_err(|error| (error.into(), None))?;
                return Err((error, Some(rank)));
            }
            loaded => loaded.map_err(|error| (error, None))?,
        };
        let rank = stored_rank(store, id).await.map_err(|error| (error.into(), None))?;
        let result = match rank.phase() {
            Phase::Final => stored_result::<B>(store, id, rank.epoch()).await.map_err(|error| {
                let error = LoadError::from(error);
                let rank = error.is_damage().then_some(rank);
                (error, rank)
            })?,
            _ => None,
        };
        Ok(Stored { began, loaded, rank, result })
    }

    fn on_loaded(&mut self, stored: Stored<B>) {
        let Stored { began, loaded, rank, result } = stored;
        self.heard = self.heard.max(began);
        if self.loaded {
            // Read again after trouble, while our own lanes went on: merging what is stored cannot take anything back.
            if !self.is_shared() {
                let rows = loaded.notebook.rows(loaded.dirty);
                self.dirty.extend(rows.into_iter().map(Dirty::of_stored));
                self.note_unfolded();
            }
            for (viewer, held) in loaded.notebook.iter() {
                self.notebook.merge(*viewer, held.entry());
            }
            for (lane, read) in loaded.cursors {
                let cursor = self.cursors.entry(lane).or_default();
                cursor.next_seq = cursor.next_seq.max(read.next_seq);
                cursor.materialised = cursor.materialised.max(read.materialised);
            }
        } else {
            // Alone on the store, what earlier incarnations left in journals is ours to fold.
            let rows = if self.is_shared() { Vec::new() } else { loaded.notebook.rows(loaded.dirty) };
            self.dirty = rows.into_iter().map(Dirty::of_stored).collect();
            self.note_unfolded();
            self.notebook = loaded.notebook;
            self.cursors = loaded.cursors;
            self.result = result;
        }
        self.loaded = true;
        self.degraded = false;
        self.unreadable = false;
        self.next_checkpoint = Instant::now();
        self.enter(rank);
        self.next_control();
    }

    fn drifted(&self, what: &str) {
        tracing::error!(item = %self.id, "tally drift: {what}");
        metrics::counter!("tally_drift_total").increment(1);
        self.alarmed();
    }

    /// Whatever must not happen happened; a simulation hears of it.
    fn alarmed(&self) {
        #[cfg(test)]
        super::simulation::probe::drifted(self.id, self.engine.writer);
    }

    // Everything else --------------------------------------------------------------------------------------------

    fn on_done(&mut self, done: Done<B>) {
        match done {
            Done::Loaded(Ok(stored)) => self.on_loaded(stored),
            Done::Loaded(Err((error, None))) => {
                tracing::error!(item = %self.id, %error, "cannot read the stored notes; trying again");
                self.degraded = true;
                self.start_loading(Duration::from_millis(2 * TROUBLE_RETRY_MS));
            }
            Done::Loaded(Err((error, Some(rank)))) => {
                if !self.unreadable {
                    tracing::error!(item = %self.id, %error, "what is stored is damaged; see `bareme repair`");
                }
                (self.degraded, self.unreadable, self.changed) = (true, true, true);
                if !self.loaded && rank > self.rank {
                    // It can be closed as it is: what it lacks, its result waits for.
                    self.rank = rank;
                    if !self.is_shared() {
                        self.confirm(rank);
                    }
                    self.start_confirming();
                }
                self.publish();
                self.next_control();
                self.start_loading(DAMAGE_RETRY);
            }
            Done::Registered(lanes, Ok(())) => {
                self.registering = false;
                self.on_registered(&lanes);
            }
            Done::Registered(_, Err(error)) => {
                self.registering = false;
                tracing::warn!(item = %self.id, %error, "cannot announce a journal; trying again");
                let later = Outcome::RetryAfter { ms: TROUBLE_RETRY_MS };
                self.waiting.drain(..).for_each(|mut vote| vote.answer(later.clone()));
                self.start_registering(Duration::from_millis(TROUBLE_RETRY_MS));
            }
            Done::Appended(lane, result) => self.on_appended(lane, result),
            Done::Checkpointed(batch, result) => self.on_checkpointed(batch, result),
            Done::Orphaned(read) => self.on_orphaned(read),
            Done::Adopted(lanes, result) => self.on_adopted(&lanes, result),
            Done::Confirmed(rank, result) => self.on_confirmed(rank, result),
            Done::Raised(rank, asked, answer, result) => {
                self.raising = false;
                if result.is_ok() {
                    self.on_raised(rank, asked);
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
                        let pause = Duration::from_millis(TROUBLE_RETRY_MS);
                        self.start_finalise(epoch, if error.is_damage() { DAMAGE_RETRY } else { pause });
                    }
                }
            }
            Done::Checked(rows, missing) => self.on_checked(rows, missing),
            Done::Polled(result) => self.on_polled(result),
            Done::Due => {}
        }
    }

    /// Whether the map holds what counts, and nothing else. A chunk of another pod may have come too late for the result.
    fn knows_what_counts(&self) -> bool {
        self.loaded && !(self.is_shared() && self.rank.phase() == Phase::Final)
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::NoteOf(viewer, answer) => {
                if self.knows_what_counts() {
                    let held = self.notebook.get(&viewer);
                    let row = held.map(|held| NoteRow { viewer, version: held.version, payload: held.payload.clone() });
                    drop(answer.send(row));
                }
            }
            Control::Settled(answer) => self.settled.push(answer),
            Control::Vitals(answer) => drop(answer.send(self.vitals())),
            Control::Peers(peers) => self.on_peers(&peers),
            // Whoever is not let in hears that the item is not ready, because nobody is left to answer.
            phase if self.queued_controls.len() >= MAX_QUEUED_CONTROLS => drop(phase),
            phase => {
                self.queued_controls.push_back(phase);
                self.next_control();
            }
        }
    }

    /// When to look at what is due again. What other pods acknowledged is shown later by as much as its reading is late, so
    /// that is started when it is due.
    fn next_look(&self, now: Instant) -> Instant {
        let follows = self.is_shared() && !self.polling && self.next_poll > now;
        let latest = now + TICK;
        if follows { latest.min(self.next_poll) } else { latest }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        for lane in &mut self.lanes {
            if let Some(flight) = lane.flight.as_mut().filter(|flight| now >= flight.started + UNKNOWN_AFTER) {
                flight.votes.iter_mut().for_each(|vote| vote.answer(Outcome::Unknown));
            }
        }
        while self.waiting.front().is_some_and(|vote| now >= vote.since + UNKNOWN_AFTER) {
            // Behind a chunk that hangs: these were never sent.
            if let Some(mut vote) = self.waiting.pop_front() {
                vote.answer(Outcome::RetryAfter { ms: TROUBLE_RETRY_MS });
            }
        }
        if self.trouble_until.is_some_and(|until| now >= until) {
            self.trouble_until = None;
            self.changed = true;
        }
        if !self.dirty.is_empty() && now >= self.next_checkpoint && self.may_checkpoint() {
            self.start_checkpoint(now);
        }
        self.start_confirming();
        if self.is_shared() && (self.loaded || mutant!(FollowsBeforeLoading)) && !self.polling && now >= self.next_poll
        {
            self.start_poll(now);
        }
        if now >= self.next_refold && self.notebook.len() <= MAX_REFOLD_ENTRIES {
            self.next_refold = now + REFOLD_INTERVAL;
            if !self.notebook.is_sound() {
                self.drifted("the tally differs from the fold of its notes");
            }
        }
    }

    // Publishing -------------------------------------------------------------------------------------------------

    /// Answers whoever waits for this item to settle: no vote without an answer, and every note in the table.
    fn settle(&mut self) {
        let idle = self.waiting.is_empty() && self.lanes.iter().all(|lane| lane.flight.is_none());
        if self.settled.is_empty() || !idle || self.checkpointing {
            return;
        }
        if !self.dirty.is_empty() && self.may_checkpoint() {
            // A failed one is tried again at the next tick that is due, not in a loop.
            let now = Instant::now();
            if now >= self.next_checkpoint || !self.checkpoint_failed {
                self.start_checkpoint(now);
            }
            return;
        }
        for answer in self.settled.drain(..) {
            let _asker_left = answer.send(());
        }
    }

    fn publish(&mut self) {
        let heard =
            !self.is_shared() || self.heard_until.is_some_and(|until| self.engine.env.clock.since_boot() <= until);
        let is_old = !self.loaded || self.degraded || self.trouble_until.is_some() || !heard;
        let stale = is_old && !mutant!(NeverStale);
        let before = self.view.borrow().clone();
        if !self.changed && stale == before.stale {
            return;
        }
        self.changed = false;
        let tally = self.result.as_ref().map_or_else(|| self.notebook.tally(), |result| &result.tally);
        // Final numbers are those of the result, and until it is read the jeu is still being closed.
        let lacks_result = self.rank.phase() == Phase::Final && self.result.is_none() && !mutant!(FinalWithoutResult);
        let rank = if lacks_result { Rank::new(self.rank.epoch(), Phase::Closing) } else { self.rank };
        let as_of_us = self.as_of_us(&before);
        let revision = next_revision(&self.revision);
        let view = if self.loaded || self.unreadable {
            ItemView {
                rank,
                tally: tally.clone(),
                revision,
                as_of_us,
                made_at_us: self.result.as_ref().map(|result| result.made_at_us),
                loaded: self.loaded,
                stale,
                unreadable: self.unreadable,
            }
        } else {
            // Those of the task before this one, if there was one, until what is stored was read again.
            ItemView { revision, loaded: false, stale, unreadable: false, ..ItemView::clone(&before) }
        };
        #[cfg(test)]
        {
            let behind_us = self.engine.env.now_us().saturating_sub(as_of_us);
            // One that was made before was checked then, and is no younger by server time that runs slower.
            let is_new = as_of_us > before.as_of_us;
            let claim = (self.loaded && !self.knows_all() && is_new).then_some(behind_us);
            let digest = self.notebook.digest().to_string();
            super::simulation::probe::published(
                self.id,
                self.engine.writer,
                &self.vector(),
                &digest,
                if self.loaded { as_of_us } else { 0 },
                claim,
            );
        }
        self.view.send_replace(Arc::new(view));
    }

    /// Whether nobody else acknowledges: it is the only pod, or the item is final.
    fn knows_all(&self) -> bool {
        !self.is_shared() || self.result.is_some()
    }

    /// Until when everything that was acknowledged is in the numbers, by server time. What other pods acknowledged since
    /// they were last asked is not. How long ago that was is known from the other clock: this one may jump.
    fn as_of_us(&self, before: &ItemView<B::Tally>) -> u64 {
        let (clock, now_us) = (&self.engine.env.clock, self.engine.env.now_us());
        let known_us = match &self.result {
            // Nothing is acknowledged after it, and a restart reads the same.
            Some(result) => result.made_at_us,
            // The result that is being made says when that was: a later moment, shown before it, would go back with it.
            None if self.finalising && before.loaded => before.as_of_us,
            None if self.knows_all() || mutant!(ClaimsNow) => now_us,
            None => {
                let age = clock.since_boot().saturating_sub(self.heard);
                now_us.saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX))
            }
        };
        // What was true of a moment stays true. Server time that is slower than the clock since boot, and a result that
        // another pod made by its own clock, would have it go back.
        if before.loaded && !mutant!(AsOfGoesBack) { known_us.max(before.as_of_us) } else { known_us }
    }
}
