//! What is shown of channels and lives, and the items behind it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::read::shown_view;
use super::{ConductError, Conductor, Rehearsal, Result, Running, channel_key};
use crate::cluster::mutant::mutant;
use crate::cluster::{ItemHandle, ItemView};
use crate::domain::ballot::Ratings;
use crate::domain::channel::Channel;
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus, UNDO_WINDOW_US};
use crate::domain::phase::{Phase, Rank};
use crate::domain::tally::Tally;
use crate::protocol::{LiveState, ProgrammeEntry};
use crate::records::Versioned;
use crate::store::{ItemId, PhaseRow, StoreError};
use crate::supervise::Scope;
use crate::traces::Unshown;

/// Pause before it is looked again whether the jeux of a live that ended are over.
const OVER_RETRY: Duration = Duration::from_secs(1);

/// How often it is looked whether a jeu went on since its numbers were read, as long as a request may have opened it.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Pause after a store failed, before the closing of a jeu is tried again.
const CLOSE_RETRY: Duration = Duration::from_secs(5);

/// How long after the window of an undo one that was accepted may still be on its way to the record: a compare-and-set is
/// tried for 6 s. By then a jeu is open, too, that a request opened who had read that the live was on air: it waits 10 s for
/// the notes, 6 s for the record and 10 s for a result at most.
const UNDO_SETTLES_US: u64 = 10_000_000;

/// A live and its items, at one revision of its record.
pub struct LiveView {
    /// The record.
    pub live: Arc<Live>,
    /// One item for each jeu, in order of the programme.
    pub items: Vec<ItemHandle<Ratings>>,
    /// The bareme, as a ballot.
    pub ballot: Arc<Ratings>,
    /// Notes accepted on this pod since the live is here.
    pub accepted: Arc<AtomicU64>,
    /// Sampled votes that no room has shown yet.
    pub unshown: Arc<Unshown>,
    /// Whether it is made up, for a rehearsal.
    pub is_test: bool,
}

impl LiveView {
    /// The item of a jeu.
    pub fn item(&self, jeu: JeuId) -> Option<&ItemHandle<Ratings>> {
        self.items.iter().find(|item| item.item().jeu == jeu)
    }

    /// The revision of a jeu's numbers now. They count every vote that was answered.
    pub fn revision(&self, jeu: JeuId) -> u64 {
        self.item(jeu).map_or(0, |item| item.view().revision)
    }

    /// The live as pages know it.
    pub fn state(&self) -> LiveState {
        let standing = |jeu| self.item(jeu).map(|item| Standing::of(&item.view())).unwrap_or_default();
        LiveState { test: self.is_test, ..live_state(&self.live, standing) }
    }
}

/// Where a jeu stands.
#[derive(Clone, Copy, Default)]
pub(super) struct Standing {
    rank: Rank,
    made_at_us: Option<u64>,
    unreadable: bool,
}

impl Standing {
    pub(super) fn of(view: &ItemView<Tally>) -> Self {
        Self { rank: view.rank, made_at_us: view.made_at_us, unreadable: view.unreadable }
    }
}

/// A live as pages know it, given where each jeu stands.
pub(super) fn live_state(live: &Live, standing: impl Fn(JeuId) -> Standing) -> LiveState {
    let entry = |jeu: &crate::domain::jeu::Jeu| {
        let Standing { rank, made_at_us, unreadable } = standing(jeu.jeu_id);
        ProgrammeEntry {
            jeu: jeu.clone(),
            phase: rank.phase(),
            epoch: rank.epoch(),
            closes_at_us: live.closes_at_us.get(&jeu.jeu_id).copied().filter(|_| rank.phase() == Phase::Open),
            closed_at_us: made_at_us.filter(|_| rank.phase() == Phase::Final),
            unreadable,
        }
    };
    LiveState {
        live_id: live.live_id.0,
        channel: live.channel.to_string(),
        title: live.title.clone(),
        status: live.status,
        current: live.current.map(|jeu| jeu.0),
        blind: live.blind,
        minimum_votes: live.minimum_votes,
        bareme: live.bareme.clone(),
        scale: live.bareme.overall_scale(),
        programme: live.programme.iter().map(entry).collect(),
        ends_at_us: live.ends_at_us,
        closed_at_us: live.closed_at_us.filter(|_| live.status == LiveStatus::Closed),
        test: false,
    }
}

/// A channel and the live that pages show.
#[derive(Clone, Default)]
pub struct ChannelView {
    /// The record; `None` when the channel is gone.
    pub channel: Option<Channel>,
    /// The open live, or the last one.
    pub shown: Option<Arc<LiveView>>,
    /// What overlays and admins are shown instead, on this pod; never while a live is on air.
    pub rehearsal: Option<Rehearsal>,
}

impl ChannelView {
    /// The live on air.
    pub fn on_air(&self) -> Option<LiveId> {
        let live = self.shown.as_ref().map(|shown| &shown.live);
        live.filter(|live| live.status == LiveStatus::Open).map(|live| live.live_id)
    }

    /// Takes over what was read of the channel; a rehearsal is not in the store, and goes on.
    pub(super) fn refresh(&mut self, read: Self) {
        *self = Self { rehearsal: self.rehearsal.take(), ..read };
    }
}

impl Conductor {
    /// The view of a live that is on air here, or was last.
    pub fn view(&self, live_id: LiveId) -> Option<Arc<LiveView>> {
        self.lives().get(&live_id).map(|running| Arc::clone(&running.view))
    }

    /// A channel's view as it changes; `None` when there is no such channel.
    ///
    /// # Errors
    /// The store's.
    pub async fn channel_view(&self, channel: &Slug) -> Result<Option<watch::Receiver<Arc<ChannelView>>>> {
        if let Some(sender) = self.channels().get(channel) {
            let receiver = sender.subscribe();
            let gone = receiver.borrow().channel.is_none();
            if !gone {
                return Ok(Some(receiver));
            }
        }
        let view = self.read_channel(channel).await?;
        if view.channel.is_none() {
            return Ok(None);
        }
        let receiver = {
            let mut channels = self.inner.channels.write().unwrap_or_else(PoisonError::into_inner);
            let sender = channels.entry(channel.clone()).or_insert_with(|| watch::Sender::new(Arc::default()));
            change(sender, |shown| shown.refresh(view));
            sender.subscribe()
        };
        self.publish_on_air(channel);
        Ok(Some(receiver))
    }

    /// Changes what is shown of a channel; `None` when nobody ever looked at it.
    pub(super) fn change_view<R>(&self, channel: &Slug, edit: impl FnOnce(&mut ChannelView) -> R) -> Option<R> {
        let sender = self.channels().get(channel).cloned()?;
        change(&sender, edit)
    }

    /// Publishes the live of a channel that is on air, over what was read of the channel before it was.
    pub(super) fn publish_on_air(&self, channel: &Slug) {
        if let Some(live) = self.channel_live(channel) {
            self.publish(channel, live.live_id);
        }
    }

    /// Reads a channel's record and the live it shows.
    pub(super) async fn read_channel(&self, channel: &Slug) -> std::result::Result<ChannelView, StoreError> {
        let Some(stored) = self.inner.records.get::<Channel>(&channel_key(channel)).await? else {
            return Ok(ChannelView::default());
        };
        let shown = match stored.value.shown_live() {
            Some(live_id) => match self.view(live_id) {
                Some(view) => Some(view),
                None => self.closed_view(live_id).await?,
            },
            None => None,
        };
        Ok(ChannelView { channel: Some(stored.value), shown, rehearsal: None })
    }

    /// Shows a live at a newer revision of its record: keeps its items, starts those that are new.
    pub(super) fn show(&self, stored: Versioned<Live>) {
        self.show_with(stored, &[]);
    }

    /// As [`Conductor::show`], with items that are `awake`: of a live that is opened again, for those without a task.
    pub(super) fn show_with(&self, stored: Versioned<Live>, awake: &[ItemHandle<Ratings>]) {
        let Versioned { revision, value: live } = stored;
        if live.status == LiveStatus::Draft {
            return;
        }
        let channel = live.channel.clone();
        let (view, fresh) = {
            let mut lives = self.inner.lives.write().unwrap_or_else(PoisonError::into_inner);
            let known = lives.get(&live.live_id);
            let is_older = known.is_some_and(|running| running.revision > revision);
            // One that is over and not kept here needs no tasks: it is read from its results when somebody asks.
            if is_older || (known.is_none() && live.status == LiveStatus::Closed) {
                return;
            }
            let ballot = known.map_or_else(
                || Arc::new(Ratings::new(Arc::new(live.bareme.clone()))),
                |running| Arc::clone(&running.view.ballot),
            );
            let needs_tasks = live.status == LiveStatus::Open;
            let item = |jeu: JeuId| {
                let kept = known.and_then(|running| running.view.item(jeu));
                let kept = kept.filter(|item| !(needs_tasks && item.is_fixed()));
                let kept = kept.or_else(|| awake.iter().find(|item| item.item().jeu == jeu)).cloned();
                let id = ItemId { live: live.live_id, jeu };
                kept.unwrap_or_else(|| self.inner.engine.start(id, Arc::clone(&ballot)))
            };
            let items = live.programme.iter().map(|jeu| item(jeu.jeu_id)).collect();
            let accepted = known.map(|running| Arc::clone(&running.view.accepted)).unwrap_or_default();
            let unshown = known.map(|running| Arc::clone(&running.view.unshown)).unwrap_or_default();
            // The keeper of a live ends with it: one that is opened again gets another.
            let kept = known.filter(|running| !needs_tasks || running.view.live.status == LiveStatus::Open);
            let keeper = kept.map(|running| Arc::clone(&running.keeper));
            let fresh = keeper.is_none();
            let keeper = keeper.unwrap_or_else(|| Arc::new(Notify::new()));
            let live = Arc::new(live);
            let view = Arc::new(LiveView { live, items, ballot, accepted, unshown, is_test: false });
            keeper.notify_one();
            let running = Running { revision, view: Arc::clone(&view), keeper: Arc::clone(&keeper) };
            lives.insert(view.live.live_id, running);
            (view, fresh.then_some(keeper))
        };
        if let Some(keeper) = fresh.filter(|_| view.live.status == LiveStatus::Open) {
            self.keep_live(view.live.live_id, keeper);
        }
        self.publish(&channel, view.live.live_id);
    }

    /// Publishes the newest view of a live to whoever follows its channel. Which is the newest is looked up here, under
    /// the lock of the channel: of two that publish at once, the later one must not show what the earlier one knew.
    pub(super) fn publish(&self, channel: &Slug, live_id: LiveId) {
        self.change_view(channel, |shown| {
            let Some(view) = self.view(live_id) else { return };
            let same = shown.shown.as_ref().is_some_and(|known| known.live.live_id == live_id);
            if same || view.live.status == LiveStatus::Open {
                shown.shown = Some(view);
            }
        });
    }

    /// Once every opened jeu of a closed live is final, and the live can not be opened again any more, replaces the items'
    /// tasks by their fixed numbers.
    ///
    /// Whether it can be opened again is decided by the live's record, which another pod may have changed by its own clock
    /// at the last moment. So what counts is a reading of it that begins when that is over, and when that is goes by the
    /// clock since boot: a wall clock that is ahead would leave out what requests from before the end still open. A live that
    /// is opened again after all gets tasks, with lanes of their own.
    pub(super) fn retire(&self, live_id: LiveId) {
        let conductor = self.clone();
        self.keep(Scope::Part, "retire", move || conductor.clone().retire_when_final(live_id));
    }

    async fn retire_when_final(self, live_id: LiveId) {
        let conductor = &self;
        let Some(view) = conductor.view(live_id) else { return };
        let ended = view.live.closed_at_us;
        let wait_us = if mutant!(RetiresByClock) {
            let until_us = ended.unwrap_or_default().saturating_add(UNDO_WINDOW_US);
            until_us.saturating_sub(conductor.env().now_us()).min(UNDO_WINDOW_US)
        } else {
            UNDO_WINDOW_US + UNDO_SETTLES_US
        };
        let since_boot = || conductor.env().clock.since_boot();
        let until = since_boot() + Duration::from_micros(wait_us);
        while since_boot() < until {
            conductor.env().sleep(until.saturating_sub(since_boot()).min(LOOK_AGAIN)).await;
            if conductor.reads_again(live_id).await {
                return;
            }
        }
        let view = loop {
            // One that ended a second time is looked after since, and one that is forgotten was.
            let now = conductor.view(live_id).filter(|view| view.live.closed_at_us == ended);
            let Some(view) = now else { return };
            for item in &view.items {
                item.loaded().await;
            }
            if conductor.all_over(&view).await || mutant!(RetiresWhatIsOpen) && view.items.iter().all(is_over) {
                break view;
            }
            if !conductor.stays_over(live_id, ended).await {
                return;
            }
            // Opened by a request that read that the live was on air, and could not read that it was over.
            if conductor.reads_again(live_id).await {
                return;
            }
            for item in view.items.iter().filter(|item| item.view().rank.phase() == Phase::Open) {
                if let Err(error) = item.close().await {
                    tracing::warn!(item = %item.item(), %error, "cannot close a jeu of a closed live; trying again");
                }
            }
            tokio::time::sleep(OVER_RETRY).await;
        };
        if let Err(error) = conductor.close_removed(&view.live).await {
            tracing::warn!(live = %live_id, %error, "cannot look for jeux that left its programme");
        }
        conductor.all_results_made(&view.live.channel, live_id).await;
        if !mutant!(RetiresByClock) && !conductor.stays_over(live_id, ended).await {
            return;
        }
        // What is final stays true, whatever trouble the store was in at the end.
        let fixed = |item: &ItemHandle<Ratings>| {
            ItemHandle::fixed(item.item(), ItemView { stale: false, ..ItemView::clone(&item.view()) })
        };
        let retired = {
            let mut lives = conductor.inner.lives.write().unwrap_or_else(PoisonError::into_inner);
            let Some(running) = lives.get_mut(&live_id) else { return };
            // One that was opened again stays awake, and one that ended a second time is looked after since.
            if running.view.live.status != LiveStatus::Closed || running.view.live.closed_at_us != ended {
                return;
            }
            // One that was opened a moment ago will be closed again, since the live is over.
            if !running.view.items.iter().all(is_over) && !mutant!(RetiresWhatIsOpen) {
                conductor.retire(live_id);
                return;
            }
            running.view = Arc::new(LiveView {
                live: Arc::clone(&running.view.live),
                items: running.view.items.iter().map(fixed).collect(),
                ballot: Arc::clone(&running.view.ballot),
                accepted: Arc::clone(&running.view.accepted),
                unshown: Arc::clone(&running.view.unshown),
                is_test: false,
            });
            forget_older(&mut lives, live_id, conductor.env().now_us())
        };
        if let Some(view) = retired {
            conductor.publish(&view.live.channel, live_id);
        }
    }

    /// Whether every jeu of a live is final or was never opened, here and in the store by a reading that begins now.
    async fn all_over(&self, view: &LiveView) -> bool {
        let Ok(ranks) = self.inner.store.ranks(view.live.live_id).await else { return false };
        view.items.iter().all(|item| is_over(item) && item.view().rank >= rank_of(&ranks, item.item().jeu))
    }

    /// Shows a closed live anew if a jeu went on in the store since its numbers were fixed here. It is then looked after
    /// from here on.
    async fn reads_again(&self, live_id: LiveId) -> bool {
        let Some(view) = self.view(live_id).filter(|view| view.items.iter().any(ItemHandle::is_fixed)) else {
            return false;
        };
        let ranks = self.inner.store.ranks(live_id).await;
        let has_gone_on = ranks.is_ok_and(|ranks| has_gone_on(&view, &ranks));
        let is_read = has_gone_on && matches!(self.closed_view(live_id).await, Ok(Some(_)));
        if is_read {
            self.publish(&view.live.channel, live_id);
        }
        is_read
    }

    /// Notes that a live has all its results, so that no pod looks for them when it starts.
    pub(super) async fn all_results_made(&self, channel: &Slug, live_id: LiveId) {
        let key = channel_key(channel);
        let finished = self.inner.records.update(&key, |channel: &mut Channel| {
            channel.unfinished.remove(&live_id);
            Ok::<_, std::convert::Infallible>(())
        });
        if let Err(error) = finished.await {
            tracing::debug!(live = %live_id, %error, "a live stays among those that may lack results");
        }
    }

    /// Whether the record of a live that ended says, by a reading that begins now, that it is over since then.
    async fn stays_over(&self, live_id: LiveId, ended: Option<u64>) -> bool {
        loop {
            match self.stored_live(live_id).await {
                Ok(stored) if stored.value.status == LiveStatus::Closed && stored.value.closed_at_us == ended => {
                    return true;
                }
                Ok(stored) => {
                    self.adopt(stored).await;
                    return false;
                }
                // Deleted with its channel: nobody can open it again.
                Err(ConductError::UnknownLive(_)) => return true,
                Err(error) => {
                    tracing::warn!(live = %live_id, %error, "cannot read whether a live is still over; trying again");
                    tokio::time::sleep(CLOSE_RETRY).await;
                }
            }
        }
    }

    /// The view of a closed live, from its stored results.
    pub(super) async fn closed_view(&self, live_id: LiveId) -> std::result::Result<Option<Arc<LiveView>>, StoreError> {
        let stored = match self.stored_live(live_id).await {
            Ok(stored) if stored.value.status == LiveStatus::Closed => stored,
            Ok(_) | Err(ConductError::UnknownLive(_)) => return Ok(None),
            Err(ConductError::Store(error)) => return Err(error),
            Err(_) => return Ok(None),
        };
        let live = stored.value;
        let ballot = Arc::new(Ratings::new(Arc::new(live.bareme.clone())));
        let ranks = self.inner.store.ranks(live_id).await?;
        let mut items = Vec::with_capacity(live.programme.len());
        for jeu in &live.programme {
            let id = ItemId { live: live_id, jeu: jeu.jeu_id };
            let rank = rank_of(&ranks, jeu.jeu_id);
            // A crash between the closing of a jeu and its result: the item's task finishes it.
            if matches!(rank.phase(), Phase::Open | Phase::Closing) {
                let item = self.inner.engine.start(id, Arc::clone(&ballot));
                if rank.phase() == Phase::Open {
                    // Not waited for: one that cannot be read must not keep a pod from starting.
                    let item = item.clone();
                    self.keep(Scope::Part, "close", move || close_again(item.clone(), rank.epoch()));
                }
                items.push(Ok(item));
                continue;
            }
            let view = shown_view(&*self.inner.store, &self.inner.results, &live, &ballot, id, rank).await?;
            items.push(Err((id, view)));
        }
        // Revisions are taken once nothing is waited for any more: tasks of the view before publish meanwhile.
        let fixed = |(id, view)| {
            let revision = self.inner.engine.fixed_revision(id);
            ItemHandle::fixed(id, ItemView { revision, ..view })
        };
        let view = {
            let mut lives = self.inner.lives.write().unwrap_or_else(PoisonError::into_inner);
            // Shown by somebody else while this was read, and perhaps on air again.
            let is_newer = |known: &Running| known.revision > stored.revision;
            let is_same = |known: &Running| known.revision == stored.revision && !has_gone_on(&known.view, &ranks);
            if let Some(known) = lives.get(&live_id).filter(|known| is_newer(known) || is_same(known)) {
                return Ok(Some(Arc::clone(&known.view)));
            }
            // A task goes on: its numbers are shown already, and may be newer.
            let running = |jeu| lives.get(&live_id)?.view.item(jeu).filter(|item| !item.is_fixed()).cloned();
            let stored_item = |(id, view): (ItemId, _)| running(id.jeu).unwrap_or_else(|| fixed((id, view)));
            let view = Arc::new(LiveView {
                live: Arc::new(live),
                items: items.into_iter().map(|item| item.unwrap_or_else(stored_item)).collect(),
                ballot,
                accepted: Arc::default(),
                unshown: Arc::default(),
                is_test: false,
            });
            let running = Running { revision: stored.revision, view: Arc::clone(&view), keeper: Arc::default() };
            lives.insert(live_id, running);
            view
        };
        // Requests from before the end may still open a jeu: these numbers are looked at again.
        self.retire(live_id);
        Ok(Some(view))
    }
}

/// Changes what is shown of a channel, and ends a rehearsal that what is shown now leaves no room for.
fn change<R>(sender: &watch::Sender<Arc<ChannelView>>, edit: impl FnOnce(&mut ChannelView) -> R) -> Option<R> {
    let mut edited = None;
    sender.send_modify(|shown| {
        let mut next = ChannelView::clone(shown);
        edited = Some(edit(&mut next));
        if next.channel.is_none() || next.on_air().is_some() {
            next.rehearsal = None;
        }
        *shown = Arc::new(next);
    });
    edited
}

/// Closes a jeu that a crash left open in a closed live, once it is read; not one that was opened again since.
pub(super) async fn close_again(item: ItemHandle<Ratings>, epoch: u64) {
    while let Err(error) = item.close_epoch(epoch).await {
        tracing::warn!(item = %item.item(), %error, "cannot close a jeu of a closed live; trying again");
        tokio::time::sleep(CLOSE_RETRY).await;
    }
}

fn rank_of(ranks: &[PhaseRow], jeu: JeuId) -> Rank {
    ranks.iter().find(|row| row.jeu == jeu).map(|row| row.rank).unwrap_or_default()
}

/// Whether a jeu that has no task is further on in the store.
fn has_gone_on(view: &LiveView, ranks: &[PhaseRow]) -> bool {
    view.items.iter().any(|item| item.is_fixed() && item.view().rank < rank_of(ranks, item.item().jeu))
}

/// Whether votes on an item are over, or never began.
fn is_over(item: &ItemHandle<Ratings>) -> bool {
    let view = item.view();
    // Of one without a task it was decided when its numbers were fixed, and they may be damaged.
    (view.loaded || item.is_fixed()) && matches!(view.rank.phase(), Phase::Pending | Phase::Final)
}

/// Forgets the closed lives of the same channel that ended before the last one, so that a long-running pod keeps one per
/// channel; not those that can be opened again or still have tasks, which go when they retire.
fn forget_older(lives: &mut BTreeMap<LiveId, Running>, retired: LiveId, now_us: u64) -> Option<Arc<LiveView>> {
    let view = Arc::clone(&lives.get(&retired)?.view);
    let ended = |live: &Live| (live.closed_at_us.unwrap_or_default(), live.live_id);
    let is_closed = |live: &Live| live.channel == view.live.channel && live.status == LiveStatus::Closed;
    let closed = lives.values().map(|running| &running.view.live).filter(|live| is_closed(live));
    let last = closed.map(|live| ended(live)).max();
    lives.retain(|live_id, Running { view: other, .. }| {
        let is_kept = if mutant!(ForgetsNewerLives) {
            *live_id == retired
        } else {
            let can_open = ended(&other.live).0.saturating_add(UNDO_WINDOW_US + UNDO_SETTLES_US) >= now_us;
            Some(ended(&other.live)) == last || can_open || !other.items.iter().all(ItemHandle::is_fixed)
        };
        !is_closed(&other.live) || is_kept
    });
    Some(view)
}
