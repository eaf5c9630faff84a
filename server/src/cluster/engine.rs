//! The items of one pod.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tracing::Instrument as _;

use super::env::{Env, Tasks};
use super::inbox::{self, Refusal};
use super::item::checkpoint::Unfolded;
use super::item::{self, Control, ItemView, Outcome, Submission};
use super::pulse::Pulses;
use super::ranks::Ranks;
use super::registry::Registry;
use crate::domain::ballot::Ballot;
use crate::domain::phase::{Phase, Rank};
use crate::domain::viewer::ViewerId;
use crate::store::{ItemId, LaneId, NoteRow, Store, StoreError, WriterId};
use crate::supervise::{self, Scope, Supervisor};

/// Requests to one item that are not votes.
const MAX_WAITING_CONTROLS: usize = 1024;

/// Cadences and limits. The defaults are those of the design; a simulation changes them.
#[derive(Debug, Clone)]
pub struct Cadence {
    /// Lanes a writer opens per item.
    pub lanes: u8,
    /// Shortest time between two chunks of a lane.
    pub chunk_interval: Duration,
    /// How often entries are folded into `notes`.
    pub checkpoint_interval: Duration,
    /// How often a shared store is read for other pods' chunks and phases.
    pub poll_interval: Duration,
    /// How often the phase of an item is read on which nobody votes: not yet, or not any more.
    pub idle_poll_interval: Duration,
    /// How often which lanes there are is read with it: less than `registration_wait`, so that a lane is known before
    /// anything in it is acknowledged.
    pub lanes_interval: Duration,
    /// How long after the start of a successful reading of the phase a pod may still acknowledge.
    pub lease: Duration,
    /// How long a closer waits before it reads: longer than any lease.
    pub close_wait: Duration,
    /// How long after its lanes are registered a pod begins to take votes.
    pub registration_wait: Duration,
    /// How long a closing may go without a result before another pod takes over.
    pub takeover: Duration,
    /// How often a pod says that it lives, and compares its tallies with the others'.
    pub heartbeat_interval: Duration,
    /// How long a writer may be silent before another one finishes its lanes.
    pub dead_after: Duration,
}

impl Cadence {
    /// One process owns the store: nobody to wait for.
    pub const fn exclusive() -> Self {
        Self {
            lanes: 1,
            chunk_interval: Duration::ZERO,
            checkpoint_interval: Duration::from_millis(1000),
            poll_interval: Duration::from_millis(100),
            idle_poll_interval: Duration::from_millis(100),
            lanes_interval: Duration::ZERO,
            lease: Duration::MAX,
            close_wait: Duration::ZERO,
            registration_wait: Duration::ZERO,
            takeover: Duration::ZERO,
            heartbeat_interval: Duration::MAX,
            dead_after: Duration::MAX,
        }
    }

    /// Pods share the store.
    pub const fn shared() -> Self {
        Self {
            lanes: 1,
            chunk_interval: Duration::from_millis(8),
            checkpoint_interval: Duration::from_millis(500),
            poll_interval: Duration::from_millis(70),
            idle_poll_interval: Duration::from_millis(450),
            lanes_interval: Duration::from_millis(200),
            lease: Duration::from_millis(1000),
            close_wait: Duration::from_millis(1200),
            registration_wait: Duration::from_millis(500),
            takeover: Duration::from_millis(3000),
            heartbeat_interval: Duration::from_millis(1000),
            dead_after: Duration::from_secs(10),
        }
    }
}

/// One pod's engine: a writer and what its items run on. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(super) store: Arc<dyn Store>,
    pub(super) env: Env,
    pub(super) writer: WriterId,
    pub(super) cadence: Arc<Cadence>,
    pub(super) tasks: Arc<dyn Tasks>,
    pulses: Pulses,
    ranks: Ranks,
    pub(super) registry: Registry,
    supervisor: Supervisor,
}

impl Engine {
    /// A new incarnation of a pod, whose tasks run on the current runtime, whoever starts them later.
    pub fn new(store: Arc<dyn Store>, env: Env) -> Self {
        let cadence = if store.is_shared() { Cadence::shared() } else { Cadence::exclusive() };
        Self::with_cadence(store, env, cadence)
    }

    /// As [`Engine::new`], with other cadences.
    pub fn with_cadence(store: Arc<dyn Store>, env: Env, cadence: Cadence) -> Self {
        Self::with_tasks(store, env, cadence, Arc::new(Handle::current()))
    }

    /// As [`Engine::with_cadence`], with its tasks run elsewhere.
    pub fn with_tasks(store: Arc<dyn Store>, env: Env, cadence: Cadence, tasks: Arc<dyn Tasks>) -> Self {
        let writer = WriterId(env.uuid());
        Self {
            store,
            env,
            writer,
            cadence: Arc::new(cadence),
            tasks,
            pulses: Pulses::default(),
            ranks: Ranks::default(),
            registry: Registry::default(),
            supervisor: Supervisor::default(),
        }
    }

    /// This incarnation.
    pub fn writer(&self) -> WriterId {
        self.writer
    }

    /// How far the clock of another pod is from this one's, at least; zero while no heartbeat shows a difference.
    pub fn clock_skew(&self) -> Duration {
        self.pulses.skew()
    }

    /// Runs a task on the engine's runtime. A request that starts one may come from a thread that serves connections;
    /// the task must neither wait behind those nor end with that thread.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(Box::pin(async move { supervise::once(name, task).await.unwrap_or_default() }));
    }

    /// As [`Engine::spawn`], for a task that is made anew when it panics: see [`Supervisor::keep`].
    pub fn keep<F: Future<Output = ()> + Send + 'static>(
        &self,
        scope: Scope,
        name: &'static str,
        make: impl FnMut() -> F + Send + 'static,
    ) {
        let supervisor = self.supervisor.clone();
        self.tasks.spawn(Box::pin(async move { supervisor.keep(scope, name, make).await }));
    }

    /// Which tasks of this pod are down.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Starts an item's task: it reads what is stored and then takes votes while it is open. An item that runs already
    /// is not started again: this is another handle of it. The task ends when every clone of the handle is dropped.
    pub fn start<B: Ballot>(&self, item: ItemId, ballot: Arc<B>) -> ItemHandle<B> {
        let (votes, controls, view, unfolded) =
            self.registry.get_or_start(item, (self.writer, &self.env), |revision| {
                let (votes, vote_inbox) = inbox::new();
                let (controls, control_inbox) = mpsc::channel(MAX_WAITING_CONTROLS);
                let unfolded = Unfolded::default();
                let unread = item::Item::unread_view(self, &*ballot, &revision);
                let (sender, view) = watch::channel(Arc::new(unread));
                let ports = item::Ports { votes: vote_inbox, controls: control_inbox };
                let (sender, ports) = (Arc::new(sender), Arc::new(Mutex::new(ports)));
                let (engine, noted) = (self.clone(), unfolded.clone());
                // A task that died has given its lanes up; the next one reads what is stored and is given others.
                let make = move || {
                    let (view, ranks) = (Arc::clone(&sender), engine.ranks.of(item.live));
                    let task = item::Item::new(
                        engine.clone(),
                        item,
                        Arc::clone(&ballot),
                        ranks,
                        view,
                        noted.clone(),
                        Arc::clone(&revision),
                    );
                    let ports = Arc::clone(&ports);
                    // What the task says in the log carries these ids.
                    let span = tracing::info_span!("item", live = %item.live, jeu = %item.jeu);
                    async move { task.run(ports.lock_owned().await).await }.instrument(span)
                };
                self.keep(Scope::Part, "item", make);
                if self.store.is_shared() {
                    self.pulses.follow(self, item, controls.downgrade());
                }
                (votes, controls, view, unfolded)
            });
        ItemHandle { item, view, task: Some((votes, controls)), unfolded }
    }

    /// A lane for an item that was never used in this incarnation.
    pub(super) fn next_lane(&self, item: ItemId) -> LaneId {
        self.registry.next_lane(item, (self.writer, &self.env))
    }

    /// The revision of numbers of an item that has no task: greater than every one this incarnation has shown.
    pub fn fixed_revision(&self, item: ItemId) -> u64 {
        self.registry.fixed_revision(item, (self.writer, &self.env))
    }
}

/// Why an item did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// Its phase does not allow it.
    #[error("the jeu is {0:?}")]
    Phase(Phase),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored of it is damaged.
    #[error("the notes of the jeu cannot be read")]
    Unreadable,
    /// It is starting, stopping or overloaded.
    #[error("the jeu is not ready")]
    NotReady,
}

type Senders = (inbox::Sender, mpsc::Sender<Control>);

/// A running item, or the fixed numbers of one that is over.
pub struct ItemHandle<B: Ballot> {
    item: ItemId,
    view: watch::Receiver<Arc<ItemView<B::Tally>>>,
    task: Option<Senders>,
    unfolded: Unfolded,
}

impl<B: Ballot> Clone for ItemHandle<B> {
    fn clone(&self) -> Self {
        Self { item: self.item, view: self.view.clone(), task: self.task.clone(), unfolded: self.unfolded.clone() }
    }
}

impl<B: Ballot> ItemHandle<B> {
    /// An item without a task, whose numbers do not change.
    pub fn fixed(item: ItemId, view: ItemView<B::Tally>) -> Self {
        let (_sender, view) = watch::channel(Arc::new(view));
        Self { item, view, task: None, unfolded: Unfolded::default() }
    }

    /// Whether it has no task.
    pub fn is_fixed(&self) -> bool {
        self.task.is_none()
    }

    /// Which item.
    pub fn item(&self) -> ItemId {
        self.item
    }

    /// How long the oldest note that is acknowledged has been in the journal only, in microseconds; 0 when all are in
    /// the table.
    pub fn checkpoint_lag_us(&self, now_us: u64) -> u64 {
        self.unfolded.lag_us(now_us)
    }

    /// Its numbers now.
    pub fn view(&self) -> Arc<ItemView<B::Tally>> {
        self.view.borrow().clone()
    }

    /// Its numbers as they change.
    pub fn watch(&self) -> watch::Receiver<Arc<ItemView<B::Tally>>> {
        self.view.clone()
    }

    /// Hands a vote in. The outcome is told exactly once, on any thread.
    pub fn submit(&self, submission: Submission) {
        self.submit_all(vec![submission]);
    }

    /// Hands votes in that came together, as [`ItemHandle::submit`] does each; the task is woken once.
    pub fn submit_all(&self, submissions: Vec<Submission>) {
        let (refused, outcome) = match &self.task {
            None => match self.view.borrow().rank.phase() {
                Phase::Pending => (submissions, Outcome::NotOpen),
                _ => (submissions, Outcome::Closed),
            },
            Some((votes, _)) => match votes.send(submissions) {
                Ok(()) => return,
                Err((refused, Refusal::Full)) => (refused, Outcome::RetryAfter { ms: item::BUSY_RETRY_MS }),
                Err((refused, Refusal::Gone)) => (refused, Outcome::RetryAfter { ms: item::TROUBLE_RETRY_MS }),
            },
        };
        refused.into_iter().for_each(|submission| (submission.on_outcome)(outcome.clone()));
    }

    async fn ask<R>(&self, control: impl FnOnce(oneshot::Sender<R>) -> Control) -> Option<R> {
        let (_, controls) = self.task.as_ref()?;
        let (sender, answer) = oneshot::channel();
        controls.send(control(sender)).await.ok()?;
        answer.await.ok()
    }

    /// Opens the item for votes; an open one stays as it is.
    ///
    /// # Errors
    /// [`ItemError`], among them the phases closing and final.
    pub async fn open(&self) -> Result<Rank, ItemError> {
        self.ask(Control::Open).await.unwrap_or(Err(ItemError::NotReady))
    }

    /// Stops taking votes and begins to make the result; returns when the phase is durable. A closing or final item
    /// stays as it is.
    ///
    /// # Errors
    /// [`ItemError`], among them the phase pending.
    pub async fn close(&self) -> Result<Rank, ItemError> {
        self.ask_to_close(None).await
    }

    /// As [`ItemHandle::close`], but of an epoch that another one has followed nothing is closed.
    ///
    /// # Errors
    /// As those of [`ItemHandle::close`].
    pub async fn close_epoch(&self, epoch: u64) -> Result<Rank, ItemError> {
        self.ask_to_close(Some(epoch)).await
    }

    async fn ask_to_close(&self, epoch: Option<u64>) -> Result<Rank, ItemError> {
        if self.task.is_none() {
            let rank = self.view.borrow().rank;
            return if rank.phase() == Phase::Pending { Err(ItemError::Phase(Phase::Pending)) } else { Ok(rank) };
        }
        self.ask(|answer| Control::Close(epoch, answer)).await.unwrap_or(Err(ItemError::NotReady))
    }

    /// Begins a new epoch of a final item; an open one stays as it is.
    ///
    /// # Errors
    /// [`ItemError`], among them the phases pending and closing.
    pub async fn reopen(&self) -> Result<Rank, ItemError> {
        self.ask(Control::Reopen).await.unwrap_or(Err(ItemError::NotReady))
    }

    /// What the item holds for a viewer; `None` when it is over (then ask the store) or not ready. Where pods share the
    /// store, what counts in a final item is what the store says, too: the item may hold votes that came too late.
    pub async fn note_of(&self, viewer: ViewerId) -> Option<Option<NoteRow>> {
        self.ask(|answer| Control::NoteOf(viewer, answer)).await
    }

    /// Returns when no vote waits for an answer and every note is in the table.
    pub async fn settled(&self) {
        let _ended: Option<()> = self.ask(Control::Settled).await;
    }

    /// Waits until the item has read its store and its phase is `phase` or a later one of the same epoch.
    pub async fn reached(&self, phase: Phase) {
        let mut view = self.view.clone();
        let _ended = view.wait_for(|view| view.loaded && view.rank.phase() >= phase).await;
    }

    /// Waits until the item has read its store, or has found that it cannot be read; see [`ItemView::unreadable`].
    pub async fn loaded(&self) {
        let mut view = self.view.clone();
        let _ended = view.wait_for(|view| view.loaded || view.unreadable).await;
    }
}
