//! Runs the lives of this pod: brings each open live's jeux into the engine, carries out what admins ask, and keeps
//! announced deadlines.
//!
//! **Invariant**: every change to a live is a compare-and-set of its record (or a raised rank) before anything shows it,
//! so that a restart, or another pod, goes on from what was shown.

mod clock;
mod error;
mod jeux;
mod keeper;
mod on_air;
mod peers;
mod read;
mod rehearsal;
#[cfg(test)]
mod tests;
mod submit;
mod undo;
mod view;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot, watch};

use crate::cluster::engine::ItemError;
use crate::cluster::env::Env;
use crate::cluster::mutant::mutant;
use crate::cluster::{Engine, ItemHandle};
use crate::domain::ballot::Ratings;
use crate::domain::channel::Channel;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::rule::Rule;
use crate::protocol::LiveState;
use crate::records::{Records, Versioned};
use crate::store::patient::patiently;
use crate::store::{ErrorKind, RecordKey, RecordKind, Store};
use crate::supervise::{Scope, Supervisor};

pub use error::ConductError;
pub use read::{CountedNote, JeuNumbers};
pub(crate) use read::{HeldResults, NOTES_PAGE, counted, counted_numbers, stored_numbers, tally_frame};
pub use rehearsal::{DEFAULT_VOTES_PER_S, MAX_VOTES_PER_S, Rehearsal, check_rate};
pub use submit::{Vote, Wanted};
pub use view::{ChannelView, LiveView};

/// Channels read from the store at a time when a pod starts.
const BOOT_PAGE: usize = 500;

/// Viewers whose own notes are read at once; the others wait, since a store's reading queue is short.
const MAX_OWN_NOTE_READS: usize = 64;

/// How long an action, or a reading, waits for jeux that have not been read from the store yet.
const LOAD_WAIT: Duration = Duration::from_secs(10);

/// Pause before a live that could not go on at the start is tried again; doubled each time, up to the second.
const RESUME_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RESUME_RETRY: Duration = Duration::from_secs(60);

/// Which jeux open with a live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OpenJeux {
    /// The first of the programme.
    #[default]
    First,
    /// All of them; the first is current.
    All,
    /// None.
    None,
}

type Result<T> = std::result::Result<T, ConductError>;

/// An on-air or lately closed live of this pod.
struct Running {
    revision: u64,
    view: Arc<LiveView>,
    keeper: Arc<Notify>,
}

struct Inner {
    engine: Engine,
    store: Arc<dyn Store>,
    records: Records,
    env: Env,
    lives: RwLock<BTreeMap<LiveId, Running>>,
    channels: RwLock<BTreeMap<Slug, watch::Sender<Arc<ChannelView>>>>,
    pending: Arc<AtomicU64>,
    reading: Arc<Semaphore>,
    results: HeldResults,
    meters: submit::Meters,
    /// When what other pods change was last read, in milliseconds of the clock since boot.
    heard_ms: AtomicU64,
}

/// The lives of this pod. Cheap to clone.
#[derive(Clone)]
pub struct Conductor {
    inner: Arc<Inner>,
}

fn live_key(live: LiveId) -> RecordKey {
    RecordKey::new(RecordKind::Live, "", live.to_string())
}

fn channel_key(channel: &Slug) -> RecordKey {
    RecordKey::new(RecordKind::Channel, "", channel.as_str())
}

impl Conductor {
    /// Reads which lives are on air and goes on with them.
    ///
    /// # Errors
    /// The store's.
    pub async fn start(store: Arc<dyn Store>, env: Env) -> Result<Self> {
        if !store.is_shared() {
            clock::go_on_from(&Records::new(Arc::clone(&store)), &env).await?;
        }
        let engine = Engine::new(Arc::clone(&store), env.clone());
        Self::start_on(engine, store, env).await
    }

    /// As [`Conductor::start`], on an engine of the same store and environment: every task of the conductor runs where the
    /// engine's run.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn start_on(engine: Engine, store: Arc<dyn Store>, env: Env) -> Result<Self> {
        let inner = Inner {
            engine,
            records: Records::new(Arc::clone(&store)),
            store,
            env,
            lives: RwLock::default(),
            channels: RwLock::default(),
            pending: Arc::default(),
            reading: Arc::new(Semaphore::new(MAX_OWN_NOTE_READS)),
            results: HeldResults::default(),
            meters: submit::Meters::new(),
            heard_ms: AtomicU64::new(0),
        };
        let conductor = Self { inner: Arc::new(inner) };
        let mut after: Option<String> = None;
        loop {
            let page = conductor.inner.records.page::<Channel>(RecordKind::Channel, "", after.as_deref(), BOOT_PAGE);
            let page = page.await?;
            for (id, error) in page.unreadable {
                tracing::error!(channel = %id, %error, "cannot read a channel; trying again");
                if let Ok(slug) = Slug::new(&id) {
                    conductor.keep_resuming(slug);
                }
            }
            for (_, Versioned { value: channel, .. }) in page.documents {
                conductor.finish_all(&channel).await;
                conductor.resume_or_later(channel).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        conductor.hears();
        if conductor.inner.store.is_shared() {
            conductor.follow_peers();
        } else {
            conductor.keep_clock();
        }
        Ok(conductor)
    }

    /// Brings a channel's open live back: now, or, when there is no room or something of it cannot be read, as soon as that
    /// is mended. The other channels go on meanwhile.
    async fn resume_or_later(&self, channel: Channel) -> Result<()> {
        let may_pass = |error: &ConductError| matches!(error, ConductError::Store(error) if error.may_pass());
        match patiently(|| self.resume(channel.clone()), may_pass).await {
            Err(ConductError::Store(error)) if matches!(error.kind, ErrorKind::Full | ErrorKind::Corrupt) => {
                tracing::error!(channel = %channel.slug, %error, "cannot go on with the live of a channel; trying again");
                self.keep_resuming(channel.slug);
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn keep_resuming(&self, channel: Slug) {
        let conductor = self.clone();
        self.keep(Scope::Part, "resume", move || conductor.clone().resume_later(channel.clone()));
    }

    async fn resume_later(self, channel: Slug) {
        let mut pause = RESUME_RETRY;
        loop {
            tokio::time::sleep(pause).await;
            // Somebody may have changed it meanwhile.
            let known = self.inner.records.get::<Channel>(&channel_key(&channel)).await;
            let outcome = match known {
                Ok(None) => return,
                Ok(Some(stored)) => self.resume(stored.value.clone()).await.map(|()| stored.value),
                Err(error) => Err(error.into()),
            };
            match outcome {
                Ok(known) => {
                    // Which these are could perhaps not be read at the start.
                    self.finish_all(&known).await;
                    return self.channel_changed(&channel).await;
                }
                Err(error) => tracing::warn!(%channel, %error, "still cannot go on with its live"),
            }
            pause = (pause * 2).min(LONGEST_RESUME_RETRY);
        }
    }

    /// Brings a channel's open live back, finishing what a crash interrupted of it.
    async fn resume(&self, channel: Channel) -> Result<()> {
        let Some(live_id) = channel.open_live else { return Ok(()) };
        let Some(stored) = self.inner.records.get::<Live>(&live_key(live_id)).await? else {
            return self.release_channel(&channel.slug, live_id, None).await;
        };
        match stored.value.status {
            LiveStatus::Open => self.go_on(stored),
            // The channel was taken and then the pod died: the opening goes on.
            LiveStatus::Draft => {
                self.put_on_air(live_id).await?;
            }
            LiveStatus::Closed => {
                self.finish(&channel.slug, live_id).await?;
                self.free_channel(&channel.slug, live_id).await?;
            }
        }
        Ok(())
    }

    /// Looks after the lives of a channel that may lack results: now, or else on its own.
    async fn finish_all(&self, channel: &Channel) {
        for live_id in &channel.unfinished {
            if let Err(error) = self.finish(&channel.slug, *live_id).await {
                tracing::warn!(live = %live_id, %error, "cannot make the results of a live that is over; trying again");
                let (conductor, slug, live_id) = (self.clone(), channel.slug.clone(), *live_id);
                self.keep(Scope::Part, "finish", move || conductor.clone().finish_later(slug.clone(), live_id));
            }
        }
    }

    async fn finish_later(self, channel: Slug, live_id: LiveId) {
        let mut pause = RESUME_RETRY;
        loop {
            tokio::time::sleep(pause).await;
            match self.finish(&channel, live_id).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(live = %live_id, %error, "still cannot make the results of a live"),
            }
            pause = (pause * 2).min(LONGEST_RESUME_RETRY);
        }
    }

    /// Makes the results that a closed live still lacks, if a crash came before them.
    async fn finish(&self, channel: &Slug, live_id: LiveId) -> Result<()> {
        match self.closed_view(live_id).await? {
            // A request from before the crash may still be on its way: that it has all is said when it retires.
            Some(view) => self.close_removed(&view.live).await?,
            None => self.all_results_made(channel, live_id).await,
        }
        Ok(())
    }

    /// For how long this pod has not read what it shares with others, numbers of its jeux included; zero where it shares
    /// nothing.
    pub fn unheard(&self) -> Duration {
        if !self.inner.store.is_shared() {
            return Duration::ZERO;
        }
        if self.vigour().fresh > 0 {
            return Duration::ZERO;
        }
        let heard = Duration::from_millis(self.inner.heard_ms.load(Ordering::Relaxed));
        self.inner.env.clock.since_boot().saturating_sub(heard)
    }

    /// The store was read just now.
    fn hears(&self) {
        let now_ms = self.inner.env.clock.since_boot().as_millis();
        self.inner.heard_ms.store(u64::try_from(now_ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// This pod's name: its writer.
    pub fn pod(&self) -> String {
        self.inner.engine.writer().to_string()
    }

    /// Runs a task where the engine's run; see [`Engine::spawn`].
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.engine.spawn(name, task);
    }

    /// Runs a task where the engine's run, and makes it anew when it panics; see [`Engine::keep`].
    pub fn keep<F: Future<Output = ()> + Send + 'static>(
        &self,
        scope: Scope,
        name: &'static str,
        make: impl FnMut() -> F + Send + 'static,
    ) {
        self.inner.engine.keep(scope, name, make);
    }

    /// Which tasks of this pod are down.
    pub fn supervisor(&self) -> &Supervisor {
        self.inner.engine.supervisor()
    }

    /// Clock and randomness.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    /// Applies an edit to a live's record and shows it.
    ///
    /// # Errors
    /// What `edit` refuses, and the store's.
    pub async fn edit_live(
        &self,
        live_id: LiveId,
        edit: impl FnMut(&mut Live) -> Result<()> + Send,
    ) -> Result<LiveState> {
        self.change(live_id, edit).await?;
        self.live_state(live_id).await
    }

    /// Tells that a channel's record was changed or deleted.
    pub async fn channel_changed(&self, channel: &Slug) {
        let is_known = self.channels().contains_key(channel);
        if is_known {
            match self.read_channel(channel).await {
                Ok(view) => {
                    self.change_view(channel, |shown| shown.refresh(view));
                    self.publish_on_air(channel);
                }
                Err(error) => tracing::warn!(%channel, %error, "cannot read the channel again"),
            }
        }
    }

    /// Returns when no vote waits for an answer any more and every note is in the table.
    pub async fn settle(&self) {
        let views: Vec<_> = self.lives().values().map(|running| Arc::clone(&running.view)).collect();
        for item in views.iter().flat_map(|view| &view.items) {
            item.settled().await;
        }
    }

    /// Votes handed in and not answered yet.
    pub fn pending_votes(&self) -> u64 {
        self.inner.pending.load(Ordering::Relaxed)
    }

    /// Carries a change out to its end, also when who asked for it hangs up: half of it may leave a jeu open in a live that
    /// is over.
    async fn to_the_end<R, F>(&self, change: impl FnOnce(Self) -> F) -> Result<R>
    where
        R: Send + 'static,
        F: Future<Output = Result<R>> + Send + 'static,
    {
        let change = change(self.clone());
        if mutant!(EndsWithTheRequest) {
            return change.await;
        }
        let (sender, answer) = oneshot::channel();
        self.spawn("change", async move {
            let _asker_left = sender.send(change.await);
        });
        // The task is gone only with the server.
        answer.await.unwrap_or(Err(ConductError::NotReady))
    }

    // Inside -----------------------------------------------------------------------------------------------------

    fn lives(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<LiveId, Running>> {
        self.inner.lives.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn channels(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Slug, watch::Sender<Arc<ChannelView>>>> {
        self.inner.channels.read().unwrap_or_else(PoisonError::into_inner)
    }

    async fn stored_live(&self, live_id: LiveId) -> Result<Versioned<Live>> {
        let live = self.inner.records.get::<Live>(&live_key(live_id)).await?;
        live.ok_or(ConductError::UnknownLive(live_id))
    }

    /// The view of a live that is on air.
    async fn on_air(&self, live_id: LiveId) -> Result<Arc<LiveView>> {
        if let Some(view) = self.view(live_id).filter(|view| view.live.status == LiveStatus::Open) {
            return Ok(view);
        }
        let stored = self.stored_live(live_id).await?;
        match stored.value.status {
            LiveStatus::Draft => {
                Err(ConductError::conflict(Rule::LiveNotOnAir, "the live is not on air", "open it first"))
            }
            LiveStatus::Closed => Err(ConductError::conflict(Rule::LiveOver, "the live is over", "make a new live")),
            LiveStatus::Open => {
                // Another pod put it on air a moment ago.
                self.adopt(stored).await;
                self.view(live_id).ok_or(ConductError::NotReady)
            }
        }
    }

    /// Changes a live's record and shows it.
    async fn change(&self, live_id: LiveId, edit: impl FnMut(&mut Live) -> Result<()> + Send) -> Result<Live> {
        let changed = self.inner.records.update(&live_key(live_id), edit).await?;
        let (stored, ()) = changed.ok_or(ConductError::UnknownLive(live_id))??;
        let live = stored.value.clone();
        self.show(stored);
        Ok(live)
    }

    /// Changes the record of a live that is on air: one that somebody else ended meanwhile stays as it is.
    async fn change_on_air(
        &self,
        live_id: LiveId,
        mut edit: impl FnMut(&mut Live) -> Result<()> + Send,
    ) -> Result<Live> {
        self.change(live_id, |live| match live.status {
            LiveStatus::Open => edit(live),
            LiveStatus::Draft => {
                Err(ConductError::conflict(Rule::LiveNotOnAir, "the live is not on air", "open it first"))
            }
            LiveStatus::Closed => Err(ConductError::conflict(Rule::LiveOver, "the live is over", "make a new live")),
        })
        .await
    }
}

/// Waits until a jeu has read its notes.
///
/// # Errors
/// [`ConductError::NotReady`] when that takes too long; a conflict when they are damaged.
async fn ready(item: &ItemHandle<Ratings>) -> Result<()> {
    heard_of(item).await?;
    if item.view().unreadable { Err(ItemError::Unreadable.into()) } else { Ok(()) }
}

/// Waits until a jeu has read its notes, or has found them damaged: it can be closed all the same.
///
/// # Errors
/// [`ConductError::NotReady`] when that takes too long.
async fn heard_of(item: &ItemHandle<Ratings>) -> Result<()> {
    tokio::time::timeout(LOAD_WAIT, item.loaded()).await.map_err(|_| ConductError::NotReady)
}

/// As [`heard_of`], for all jeux of a live together.
async fn all_ready(view: &LiveView) -> Result<()> {
    let loaded = async {
        for item in &view.items {
            item.loaded().await;
        }
    };
    tokio::time::timeout(LOAD_WAIT, loaded).await.map_err(|_| ConductError::NotReady)
}
