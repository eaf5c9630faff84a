//! Runs the lives of this pod: brings each open live's jeux into the engine, carries out what admins ask, and keeps
//! announced deadlines.
//!
//! **Invariant**: every change to a live is a compare-and-set of its record (or a raised rank) before anything shows it,
//! so that a restart, or another pod, goes on from what was shown.

mod keeper;
mod peers;
mod read;
mod rehearsal;
#[cfg(test)]
mod tests;
mod submit;
mod undo;
mod view;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};

use crate::cluster::engine::ItemError;
use crate::cluster::env::Env;
use crate::cluster::{Engine, ItemHandle};
use crate::domain::Invalid;
use crate::domain::ballot::Ratings;
use crate::domain::channel::{Channel, checked_close_delay};
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::phase::Phase;
use crate::domain::rule::Rule;
use crate::protocol::LiveState;
use crate::records::{Records, Versioned};
use crate::store::{RecordKey, RecordKind, Store, StoreError, Swap};

pub use read::{CountedNote, JeuNumbers};
pub(crate) use read::{counted, counted_numbers, stored_numbers, tally_frame};
pub use rehearsal::{DEFAULT_VOTES_PER_S, MAX_VOTES_PER_S, Rehearsal, check_rate};
pub use submit::{OnReply, Vote, Wanted};
pub use view::{ChannelView, LiveView};

/// Channels read from the store at a time when a pod starts.
const BOOT_PAGE: usize = 500;

/// Viewers whose own notes are read at once; the others wait, since a store's reading queue is short.
const MAX_OWN_NOTE_READS: usize = 64;

/// How long a reopening waits for a result that is being made.
const REOPEN_WAIT: Duration = Duration::from_secs(10);

/// How long an action, or a reading, waits for jeux that have not been read from the store yet.
const LOAD_WAIT: Duration = Duration::from_secs(10);

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

/// Why an admin's action was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ConductError {
    /// There is no such channel.
    #[error("there is no channel {0}")]
    UnknownChannel(Slug),
    /// There is no such live.
    #[error("there is no live {0}")]
    UnknownLive(LiveId),
    /// The live has no such jeu.
    #[error("live {0} has no jeu {1}")]
    UnknownJeu(LiveId, JeuId),
    /// The state of things does not allow it.
    #[error("{reason}; {remedy}")]
    Conflict {
        /// Stable word for it.
        code: &'static str,
        /// Which rule it is, for programs.
        rule: Rule,
        /// Why not.
        reason: String,
        /// What to do first.
        remedy: String,
    },
    /// A field of the request is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The jeu has not read its notes yet, or cannot.
    #[error("the jeu is not ready")]
    NotReady,
}

impl ConductError {
    /// The state of things does not allow it, for a reason that needs no word of its own.
    pub(crate) fn conflict(rule: Rule, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Conflict { code: "conflict", rule, reason: reason.into(), remedy: remedy.into() }
    }

    /// The programme is not what the caller thinks it is.
    pub(crate) fn programme_changed() -> Self {
        Self::own_conflict(Rule::ProgrammeChanged, "the programme was changed at the same moment", "look at it again")
    }

    /// As [`ConductError::conflict`], with the word of the rule as its code.
    fn own_conflict(rule: Rule, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Conflict { code: rule.word(), rule, reason: reason.into(), remedy: remedy.into() }
    }
}

impl From<ItemError> for ConductError {
    fn from(error: ItemError) -> Self {
        match error {
            ItemError::Phase(phase) => {
                let (rule, reason, remedy) = match phase {
                    Phase::Pending => (Rule::JeuPending, "the jeu has not been opened", "open it first"),
                    Phase::Open => (Rule::JeuOpen, "the jeu is open", "close it first"),
                    Phase::Closing => {
                        (Rule::JeuClosing, "the result of the jeu is being made", "try again in a few seconds")
                    }
                    Phase::Final => (Rule::JeuFinal, "the jeu is final", "reopen it"),
                };
                Self::conflict(rule, reason, remedy)
            }
            ItemError::Store(error) => Self::Store(error),
            ItemError::NotReady => Self::NotReady,
        }
    }
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
    lives: RwLock<HashMap<LiveId, Running>>,
    channels: RwLock<HashMap<Slug, watch::Sender<Arc<ChannelView>>>>,
    pending: Arc<AtomicU64>,
    reading: Arc<Semaphore>,
    meters: submit::Meters,
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
        let inner = Inner {
            engine: Engine::new(Arc::clone(&store), env.clone()),
            records: Records::new(Arc::clone(&store)),
            store,
            env,
            lives: RwLock::default(),
            channels: RwLock::default(),
            pending: Arc::default(),
            reading: Arc::new(Semaphore::new(MAX_OWN_NOTE_READS)),
            meters: submit::Meters::new(),
        };
        let conductor = Self { inner: Arc::new(inner) };
        let mut after: Option<String> = None;
        loop {
            let page = conductor.inner.records.list::<Channel>(RecordKind::Channel, "", after.as_deref(), BOOT_PAGE);
            let page = page.await?;
            let full = page.len() == BOOT_PAGE;
            after = page.last().map(|(id, _)| id.clone());
            for (_, Versioned { value: channel, .. }) in page {
                conductor.resume(channel).await?;
            }
            if !full {
                break;
            }
        }
        if conductor.inner.store.is_shared() {
            conductor.follow_peers();
        }
        Ok(conductor)
    }

    /// Brings a channel's open live back, finishing what a crash interrupted.
    async fn resume(&self, channel: Channel) -> Result<()> {
        if let Some(last) = channel.last_live {
            self.finish(last).await?;
        }
        let Some(live_id) = channel.open_live else { return Ok(()) };
        let Some(stored) = self.inner.records.get::<Live>(&live_key(live_id)).await? else {
            return self.release_channel(&channel.slug, live_id, false).await;
        };
        match stored.value.status {
            LiveStatus::Open => self.go_on(stored),
            // The channel was taken and then the pod died: the opening goes on.
            LiveStatus::Draft => {
                self.put_on_air(live_id).await?;
            }
            LiveStatus::Closed => {
                self.finish(live_id).await?;
                self.release_channel(&channel.slug, live_id, true).await?;
            }
        }
        Ok(())
    }

    /// Makes the results that a closed live still lacks, if a crash came before them.
    async fn finish(&self, live_id: LiveId) -> Result<()> {
        let ranks = self.inner.store.ranks(live_id).await?;
        if ranks.iter().any(|row| matches!(row.rank.phase(), Phase::Open | Phase::Closing)) {
            self.closed_view(live_id).await?;
        }
        Ok(())
    }

    /// This pod's name: its writer.
    pub fn pod(&self) -> String {
        self.inner.engine.writer().to_string()
    }

    /// Runs a task where the engine's run; see [`Engine::spawn`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.engine.spawn(task);
    }

    /// Clock and randomness.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    // What admins do ---------------------------------------------------------------------------------------------

    /// Puts a draft on air: at most one live of a channel at a time. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the channel has another live on air or this one is over.
    pub async fn open_live(&self, live_id: LiveId, jeux: OpenJeux) -> Result<LiveState> {
        let live = self.stored_live(live_id).await?.value;
        match live.status {
            // An opening that a crash cut short before its first jeu was open goes on below.
            LiveStatus::Open if live.current.is_some() => return self.live_state(live_id).await,
            LiveStatus::Closed => {
                return Err(ConductError::conflict(
                    Rule::LiveOver,
                    "the live is over",
                    "make a new live and open that",
                ));
            }
            LiveStatus::Open | LiveStatus::Draft => {}
        }
        self.take_channel(&live.channel, live_id).await?;
        let live = match self.put_on_air(live_id).await {
            // Ended or deleted by somebody else meanwhile: it must not keep the channel.
            Err(error @ (ConductError::Conflict { .. } | ConductError::UnknownLive(_))) => {
                self.release_channel(&live.channel, live_id, false).await?;
                return Err(error);
            }
            other => other?,
        };
        let opened: Vec<_> = match jeux {
            OpenJeux::First => live.programme.iter().take(1).collect(),
            OpenJeux::All => live.programme.iter().collect(),
            OpenJeux::None => Vec::new(),
        };
        let view = self.view(live_id).ok_or(ConductError::UnknownLive(live_id))?;
        for jeu in &opened {
            let item = view.item(jeu.jeu_id).ok_or(ConductError::UnknownJeu(live_id, jeu.jeu_id))?;
            ready(item).await?;
            item.open().await?;
        }
        let items: Vec<_> = opened.iter().filter_map(|jeu| view.item(jeu.jeu_id)).collect();
        self.show_opened(live_id, &items, |_| {}).await?;
        self.live_state(live_id).await
    }

    /// Makes `live_id` the one live of its channel that is on air.
    async fn take_channel(&self, channel: &Slug, live_id: LiveId) -> Result<()> {
        let key = channel_key(channel);
        let mut freed = None;
        loop {
            let taken = self.inner.records.update(&key, |channel: &mut Channel| match channel.open_live {
                Some(other) if other != live_id => Err(other),
                _ => {
                    channel.open_live = Some(live_id);
                    Ok(())
                }
            });
            match taken.await? {
                Some(Ok(_)) => return Ok(()),
                Some(Err(other)) => {
                    // One that is over, or gone, was not released because the store failed at that moment.
                    let status = match self.stored_live(other).await {
                        Ok(stored) => Some(stored.value.status),
                        Err(ConductError::UnknownLive(_)) => None,
                        Err(error) => return Err(error),
                    };
                    if freed == Some(other) || matches!(status, Some(LiveStatus::Open | LiveStatus::Draft)) {
                        let reason = format!("live {other} of this channel is on air");
                        return Err(ConductError::conflict(Rule::LiveOnAir, reason, "close it first"));
                    }
                    self.release_channel(channel, other, status.is_some()).await?;
                    freed = Some(other);
                }
                None => {
                    return Err(ConductError::conflict(
                        Rule::ChannelGone,
                        "the channel of this live is gone",
                        "make a new live",
                    ));
                }
            }
        }
    }

    async fn put_on_air(&self, live_id: LiveId) -> Result<Live> {
        let now_us = self.inner.env.now_us();
        self.change(live_id, |live| {
            if live.status == LiveStatus::Closed {
                return Err(ConductError::conflict(
                    Rule::LiveOver,
                    "the live is over",
                    "make a new live and open that",
                ));
            }
            live.status = LiveStatus::Open;
            live.opened_at_us.get_or_insert(now_us);
            Ok(())
        })
        .await
    }

    /// Ends a live: its open jeux close at the deadline, then the live is closed. `None`: the channel's delay.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the live is a draft.
    pub async fn close_live(&self, live_id: LiveId, delay_ms: Option<u64>) -> Result<LiveState> {
        let live = self.stored_live(live_id).await?.value;
        match live.status {
            LiveStatus::Draft => {
                return Err(ConductError::conflict(
                    Rule::LiveNotOnAir,
                    "the live is not on air",
                    "open it, or delete it",
                ));
            }
            LiveStatus::Closed => {
                // What comes after the closing may have failed when it was asked for.
                self.end_live(live_id).await?;
                return self.live_state(live_id).await;
            }
            LiveStatus::Open => {}
        }
        let view = self.on_air(live_id).await?;
        all_ready(&view).await?;
        let is_open = |item: &&ItemHandle<Ratings>| item.view().rank.phase() == Phase::Open;
        let open: Vec<JeuId> = view.items.iter().filter(is_open).map(|item| item.item().jeu).collect();
        let delay_ms = if open.is_empty() { 0 } else { self.delay(&live.channel, delay_ms).await? };
        if delay_ms == 0 {
            self.end_live(live_id).await?;
        } else {
            let ends_at_us = self.inner.env.now_us() + delay_ms * 1000;
            self.change_on_air(live_id, |live| {
                for jeu in &open {
                    let at = live.closes_at_us.entry(*jeu).or_insert(ends_at_us);
                    *at = (*at).min(ends_at_us);
                }
                live.ends_at_us = Some(ends_at_us);
                Ok(())
            })
            .await?;
        }
        self.live_state(live_id).await
    }

    /// Announces the closing of the current jeu, opens the next one and makes it current; `from`: only if that jeu is
    /// current.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict after the last jeu, or when another one than `from` is current.
    pub async fn next(&self, live_id: LiveId, delay_ms: Option<u64>, from: Option<JeuId>) -> Result<LiveState> {
        let view = self.on_air(live_id).await?;
        // One that cannot be read does not hold up the others.
        let _still_reading = all_ready(&view).await;
        let live = &view.live;
        if from.is_some() && live.current != from {
            let reason = "another jeu is current by now";
            return Err(ConductError::own_conflict(Rule::MovedOn, reason, "look at it again"));
        }
        let delay_ms = self.delay(&live.channel, delay_ms).await?;
        let after = live.current.and_then(|current| live.jeu(current)).map_or(0, |(index, _)| index + 1);
        let can_follow = |item: &&ItemHandle<Ratings>| item.view().rank.phase() <= Phase::Open;
        let Some(next) = view.items.iter().skip(after).find(can_follow) else {
            let remedy = "add a jeu to the programme, reopen one, or close the live";
            return Err(ConductError::conflict(Rule::NoJeuLeft, "no jeu of the programme is left", remedy));
        };
        ready(next).await?;
        next.open().await?;
        let left = live.current.filter(|current| *current != next.item().jeu).and_then(|current| view.item(current));
        let left = left.filter(|item| item.view().rank.phase() == Phase::Open);
        if let (Some(item), 0) = (left, delay_ms) {
            item.close().await?;
        }
        let closes_at_us = self.inner.env.now_us() + delay_ms * 1000;
        self.show_opened(live_id, &[next], |live| {
            live.closes_at_us.remove(&next.item().jeu);
            if let (Some(item), 1..) = (left, delay_ms) {
                live.closes_at_us.entry(item.item().jeu).or_insert(closes_at_us);
            }
        })
        .await?;
        self.live_state(live_id).await
    }

    /// Makes a jeu the one that pages follow.
    ///
    /// # Errors
    /// [`ConductError`].
    pub async fn set_current(&self, live_id: LiveId, jeu: JeuId) -> Result<LiveState> {
        let view = self.on_air(live_id).await?;
        view.item(jeu).ok_or(ConductError::UnknownJeu(live_id, jeu))?;
        self.follow(live_id, jeu, |_| {}).await?;
        self.live_state(live_id).await
    }

    /// Makes a jeu current, with `edit`, if the live is still on air and still has it.
    async fn follow(&self, live_id: LiveId, jeu: JeuId, mut edit: impl FnMut(&mut Live) + Send) -> Result<()> {
        let current = |live: &mut Live| {
            live.jeu(jeu).ok_or(ConductError::UnknownJeu(live_id, jeu))?;
            live.current = Some(jeu);
            edit(live);
            Ok(())
        };
        self.change_on_air(live_id, current).await.map(drop)
    }

    /// Makes the first of some jeux current that were just opened, or closes them again.
    async fn show_opened(
        &self,
        live_id: LiveId,
        items: &[&ItemHandle<Ratings>],
        edit: impl FnMut(&mut Live) + Send,
    ) -> Result<()> {
        let Some(first) = items.first() else { return Ok(()) };
        let shown = self.follow(live_id, first.item().jeu, edit).await;
        close_unless(shown, items).await
    }

    /// Opens a jeu and makes it current. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the jeu is final.
    pub async fn open_jeu(&self, live_id: LiveId, jeu: JeuId) -> Result<LiveState> {
        let view = self.on_air(live_id).await?;
        let item = view.item(jeu).ok_or(ConductError::UnknownJeu(live_id, jeu))?;
        ready(item).await?;
        item.open().await?;
        self.show_opened(live_id, &[item], |_| {}).await?;
        self.live_state(live_id).await
    }

    /// Closes a jeu after an announced delay; `None`: the channel's. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the jeu was never opened.
    pub async fn close_jeu(&self, live_id: LiveId, jeu: JeuId, delay_ms: Option<u64>) -> Result<LiveState> {
        let view = self.on_air(live_id).await?;
        let item = view.item(jeu).ok_or(ConductError::UnknownJeu(live_id, jeu))?;
        ready(item).await?;
        let delay_ms = self.delay(&view.live.channel, delay_ms).await?;
        if delay_ms == 0 || item.view().rank.phase() != Phase::Open {
            item.close().await?;
            self.forget_deadline(live_id, jeu, false).await?;
        } else {
            let closes_at_us = self.inner.env.now_us() + delay_ms * 1000;
            self.change_on_air(live_id, |live| {
                let at = live.closes_at_us.entry(jeu).or_insert(closes_at_us);
                *at = (*at).min(closes_at_us);
                Ok(())
            })
            .await?;
        }
        self.live_state(live_id).await
    }

    /// Opens a final jeu again and makes it current, or takes an announced closing back.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the jeu was never opened.
    pub async fn reopen_jeu(&self, live_id: LiveId, jeu: JeuId) -> Result<LiveState> {
        let view = self.on_air(live_id).await?;
        let item = view.item(jeu).ok_or(ConductError::UnknownJeu(live_id, jeu))?;
        ready(item).await?;
        self.forget_deadline(live_id, jeu, true).await?;
        reopened(item).await?;
        self.show_opened(live_id, &[item], |_| {}).await?;
        self.live_state(live_id).await
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

    // Inside -----------------------------------------------------------------------------------------------------

    fn lives(&self) -> std::sync::RwLockReadGuard<'_, HashMap<LiveId, Running>> {
        self.inner.lives.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn channels(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Slug, watch::Sender<Arc<ChannelView>>>> {
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
                self.adopt(stored);
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

    /// Forgets the announced closing of a jeu. With `goes_on`, the announced end of the live is taken back with it: a
    /// live with a jeu that was just reopened does not end.
    async fn forget_deadline(&self, live_id: LiveId, jeu: JeuId, goes_on: bool) -> Result<()> {
        self.change_on_air(live_id, |live| {
            live.closes_at_us.remove(&jeu);
            if goes_on {
                live.ends_at_us = None;
            }
            Ok(())
        })
        .await
        .map(drop)
    }

    async fn delay(&self, channel: &Slug, asked_ms: Option<u64>) -> Result<u64> {
        match asked_ms {
            Some(asked_ms) => Ok(checked_close_delay("delay_ms", asked_ms)?),
            None => {
                let channel = self.inner.records.get::<Channel>(&channel_key(channel)).await?;
                Ok(channel.map_or(0, |channel| channel.value.close_delay_ms))
            }
        }
    }

    /// Closes whatever is open, then the live, then frees the channel; in this order, each step survives a crash, and
    /// all of it can be asked for again.
    async fn end_live(&self, live_id: LiveId) -> Result<()> {
        let closing = self.view(live_id).map(|view| closed_with(&view)).unwrap_or_default();
        self.close_jeux(live_id).await?;
        let now_us = self.inner.env.now_us();
        let live = self
            .change(live_id, |live| {
                live.status = LiveStatus::Closed;
                live.closed_at_us.get_or_insert(now_us);
                live.closed_with.extend(&closing);
                live.closes_at_us.clear();
                live.ends_at_us = None;
                Ok(())
            })
            .await?;
        // Once more: one may have been opened before the record said that the live is over, and none can be from here on.
        self.close_jeux(live_id).await?;
        self.release_channel(&live.channel, live_id, true).await?;
        self.retire(live_id);
        Ok(())
    }

    /// Closes every jeu of a live that was opened.
    async fn close_jeux(&self, live_id: LiveId) -> Result<()> {
        // A live that is over may have been forgotten, with all its jeux final.
        let Some(view) = self.view(live_id) else { return Ok(()) };
        all_ready(&view).await?;
        for item in &view.items {
            match item.close().await {
                Ok(_) | Err(ItemError::Phase(Phase::Pending)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Frees a channel from its open live, which becomes the last one if it `was_on_air`.
    async fn release_channel(&self, channel: &Slug, live_id: LiveId, was_on_air: bool) -> Result<()> {
        let key = channel_key(channel);
        let freed = self.inner.records.update(&key, |channel: &mut Channel| {
            if channel.open_live == Some(live_id) {
                channel.open_live = None;
                channel.last_live = if was_on_air { Some(live_id) } else { channel.last_live };
            }
            Ok::<_, std::convert::Infallible>(())
        });
        freed.await?;
        self.channel_changed(channel).await;
        Ok(())
    }

    /// Deletes a draft.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the live was ever on air: results are kept.
    pub async fn delete_live(&self, live_id: LiveId) -> Result<()> {
        let stored = self.stored_live(live_id).await?;
        if stored.value.status != LiveStatus::Draft {
            return Err(ConductError::conflict(
                Rule::LiveWasOnAir,
                "the live has been on air",
                "keep it: its results belong to it",
            ));
        }
        match self.inner.records.delete(&live_key(live_id), stored.revision).await? {
            // An opening that failed half-way has taken the channel.
            Swap::Done(_) => self.release_channel(&stored.value.channel, live_id, false).await,
            Swap::Conflict(_) => {
                Err(ConductError::conflict(Rule::Raced, "the live was just changed", "look at it again"))
            }
        }
    }
}

/// The jeux that the ending of a live closes: those that are open, and those whose announced closing comes with it.
fn closed_with(view: &LiveView) -> Vec<JeuId> {
    let with_it = |item: &&ItemHandle<Ratings>| {
        item.view().rank.phase() == Phase::Open || view.live.closes_at_us.contains_key(&item.item().jeu)
    };
    view.items.iter().filter(with_it).map(|item| item.item().jeu).collect()
}

/// Closes jeux that were just opened, where what should show them was refused because somebody else ended the live
/// meanwhile or took them out of it: nothing else would ever close them.
async fn close_unless<T>(shown: Result<T>, items: &[&ItemHandle<Ratings>]) -> Result<T> {
    if let Err(ConductError::Conflict { .. } | ConductError::UnknownJeu(..) | ConductError::UnknownLive(_)) = &shown {
        for item in items {
            item.close().await?;
            // The task ends with its last handle, which may be this one.
            let _timed_out = tokio::time::timeout(REOPEN_WAIT, item.reached(Phase::Final)).await;
        }
    }
    shown
}

/// Begins a new epoch of a jeu that is final, or about to be, and has read its notes.
async fn reopened(item: &ItemHandle<Ratings>) -> Result<()> {
    if item.view().rank.phase() == Phase::Closing {
        let _timed_out = tokio::time::timeout(REOPEN_WAIT, item.reached(Phase::Final)).await;
    }
    item.reopen().await?;
    Ok(())
}

/// Waits until a jeu has read its notes.
///
/// # Errors
/// [`ConductError::NotReady`] when that takes too long, or its notes cannot be read.
async fn ready(item: &ItemHandle<Ratings>) -> Result<()> {
    tokio::time::timeout(LOAD_WAIT, item.loaded()).await.map_err(|_| ConductError::NotReady)
}

/// As [`ready`], for all jeux of a live together.
async fn all_ready(view: &LiveView) -> Result<()> {
    let loaded = async {
        for item in &view.items {
            item.loaded().await;
        }
    };
    tokio::time::timeout(LOAD_WAIT, loaded).await.map_err(|_| ConductError::NotReady)
}
