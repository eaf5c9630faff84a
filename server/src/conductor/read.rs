//! Reading lives: states, numbers, notes. Running jeux answer from memory, the others from the store.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::timeout;

use super::view::{Standing, live_state};
use super::{ConductError, Conductor, LOAD_WAIT, LiveView, Result, all_ready};
use crate::cluster::close::{EpochResult, stored_result};
use crate::cluster::load::{LoadError, Rows};
use crate::cluster::{ItemHandle, ItemView};
use crate::domain::ballot::{Ballot, Entry, Ratings};
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::note::{Note, Version};
use crate::domain::phase::{Phase, Rank};
use crate::domain::tally::Tally;
use crate::domain::viewer::ViewerId;
use crate::notebook::Notebook;
use crate::protocol::{LiveState, Mine, TallyFrame};
use crate::store::{ErrorKind, ItemId, NoteRow, Store, StoreError};

/// Rows that are read at a time where all notes of a jeu are wanted: some 100 KB, and milliseconds of a processor.
pub(crate) const NOTES_PAGE: usize = 1024;

/// Most counts held of results that were read: 16 MiB of them, some tens of thousands of results.
const MAX_HELD_COUNTS: usize = 2 << 20;

/// Numbers of one jeu as the results show them.
#[derive(Debug, Clone)]
pub struct JeuNumbers {
    /// The jeu.
    pub jeu: JeuId,
    /// Its numbers, unmasked.
    pub frame: TallyFrame,
    /// False when they cannot be read now: then those of `frame` are none.
    pub available: bool,
}

/// One counted note.
#[derive(Debug, Clone)]
pub struct CountedNote {
    /// Who.
    pub viewer: ViewerId,
    /// Version.
    pub v: Version,
    /// What.
    pub note: Note,
}

/// The numbers of an item as a frame, unmasked, without a revision.
pub(crate) fn tally_frame(live: &Live, jeu: JeuId, view: &ItemView<Tally>) -> TallyFrame {
    let summary = view.tally.summary(&live.bareme);
    TallyFrame {
        live: live.live_id.0,
        jeu: jeu.0,
        epoch: view.rank.epoch(),
        phase: view.rank.phase(),
        rev: view.revision,
        voters: summary.voters,
        mean: summary.mean,
        criteres: summary.criteres,
        masked: None,
        as_of_us: view.as_of_us,
    }
}

/// A jeu that nobody has voted on, as far as one knows.
fn no_numbers(live: &Live, ballot: &Ratings, rank: Rank) -> ItemView<Tally> {
    ItemView {
        rank,
        tally: ballot.empty(),
        revision: 1,
        as_of_us: live.closed_at_us.unwrap_or(live.created_at_us),
        made_at_us: None,
        loaded: true,
        stale: false,
        unreadable: false,
    }
}

/// How the jeux of this pod are, for its operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vigour {
    /// Those that take votes, or whose result is being made.
    pub running: u32,
    /// Those of them whose numbers are marked stale.
    pub stale: u32,
    /// Those of them whose numbers are those of the store as it is now: neither stale nor damaged.
    pub fresh: u32,
    /// Those of which something that is stored is damaged.
    pub unreadable: u32,
    /// Age of the oldest acknowledged note that is in the journal only, in microseconds.
    pub checkpoint_lag_us: u64,
    /// How far the clock of another pod is from this one's, at least.
    pub clock_skew: std::time::Duration,
    /// How far server time is ahead of the wall clock.
    pub clock_lead: std::time::Duration,
}

/// Results that were read. The first one stored for an epoch stands, so one that was read never has to be read again.
#[derive(Default)]
pub(crate) struct HeldResults {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    results: HashMap<(ItemId, u64), Arc<(Tally, u64)>>,
    /// In the order they came, which is the order they go in.
    order: VecDeque<(ItemId, u64)>,
    counts: usize,
}

fn counts(tally: &Tally) -> usize {
    // The entry itself counts, too.
    16 + tally.histograms.iter().map(Vec::len).sum::<usize>()
}

impl HeldResults {
    /// The tally of an epoch's result, and when it was made; `None` if there is no result.
    async fn read(
        &self,
        store: &dyn Store,
        item: ItemId,
        epoch: u64,
    ) -> std::result::Result<Option<Arc<(Tally, u64)>>, StoreError> {
        let held = |held: &Mutex<Held>| {
            let held = held.lock().unwrap_or_else(PoisonError::into_inner);
            held.results.get(&(item, epoch)).cloned()
        };
        if let Some(result) = held(&self.held) {
            return Ok(Some(result));
        }
        let Some(EpochResult { tally, made_at_us, .. }) = stored_result::<Ratings>(store, item, epoch).await? else {
            return Ok(None);
        };
        let result = Arc::new((tally, made_at_us));
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.results.insert((item, epoch), Arc::clone(&result)).is_none() {
            held.order.push_back((item, epoch));
            held.counts += counts(&result.0);
        }
        while held.counts > MAX_HELD_COUNTS {
            let Some(oldest) = held.order.pop_front() else { break };
            if let Some(gone) = held.results.remove(&oldest) {
                held.counts -= counts(&gone.0);
            }
        }
        Ok(Some(result))
    }
}

/// The numbers of a jeu that has no task: those of its stored result, or none.
pub(super) async fn stored_view(
    store: &dyn Store,
    held: &HeldResults,
    live: &Live,
    ballot: &Ratings,
    id: ItemId,
    rank: Rank,
) -> std::result::Result<ItemView<Tally>, StoreError> {
    let result = match rank.phase() {
        Phase::Final => held.read(store, id, rank.epoch()).await?,
        _ => None,
    };
    let none = no_numbers(live, ballot, rank);
    Ok(match result.as_deref() {
        Some((tally, made_at_us)) => {
            ItemView { tally: tally.clone(), as_of_us: *made_at_us, made_at_us: Some(*made_at_us), ..none }
        }
        None => none,
    })
}

/// As [`stored_view`]; a result that is damaged hides no other one, and says so.
pub(super) async fn shown_view(
    store: &dyn Store,
    held: &HeldResults,
    live: &Live,
    ballot: &Ratings,
    id: ItemId,
    rank: Rank,
) -> std::result::Result<ItemView<Tally>, StoreError> {
    match stored_view(store, held, live, ballot, id, rank).await {
        Err(error) if error.kind == ErrorKind::Corrupt => {
            tracing::error!(item = %id, %error, "cannot read the result of a jeu");
            Ok(ItemView { loaded: false, unreadable: true, ..no_numbers(live, ballot, rank) })
        }
        stored => stored,
    }
}

/// The numbers of a live that no task runs, unmasked and in order of the programme, from their results. A jeu that cannot
/// be read does not hide the others.
///
/// # Errors
/// The store's.
pub(crate) async fn stored_numbers(
    store: &dyn Store,
    held: &HeldResults,
    live: &Live,
) -> std::result::Result<Vec<JeuNumbers>, StoreError> {
    let ballot = Ratings::new(Arc::new(live.bareme.clone()));
    let ranks = store.ranks(live.live_id).await?;
    let mut numbers = Vec::with_capacity(live.programme.len());
    for jeu in &live.programme {
        let rank: Rank = ranks.iter().find(|row| row.jeu == jeu.jeu_id).map(|row| row.rank).unwrap_or_default();
        let id = ItemId { live: live.live_id, jeu: jeu.jeu_id };
        let stored = stored_view(store, held, live, &ballot, id, rank).await;
        let available = stored.is_ok();
        let view = stored.unwrap_or_else(|error| {
            tracing::warn!(item = %id, %error, "cannot read the result of a jeu");
            no_numbers(live, &ballot, rank)
        });
        numbers.push(JeuNumbers { jeu: jeu.jeu_id, frame: tally_frame(live, jeu.jeu_id, &view), available });
    }
    Ok(numbers)
}

/// The numbers of a jeu that is still open, added up from the store by somebody who runs no task of it.
///
/// # Errors
/// When its notes cannot be read.
pub(crate) async fn counted_numbers(
    store: &dyn Store,
    live: &Live,
    jeu: JeuId,
    rank: Rank,
) -> std::result::Result<JeuNumbers, LoadError> {
    let ballot = Arc::new(Ratings::new(Arc::new(live.bareme.clone())));
    let mut notebook = Notebook::new(Arc::clone(&ballot));
    let mut rows = Rows::open(store, &ballot, ItemId { live: live.live_id, jeu }, NOTES_PAGE).await?;
    while let Some(page) = rows.next().await? {
        for row in page {
            notebook.merge(row.viewer, Entry { version: row.version, payload: &row.payload });
        }
    }
    let view = ItemView { tally: notebook.tally().clone(), ..no_numbers(live, &ballot, rank) };
    Ok(JeuNumbers { jeu, frame: tally_frame(live, jeu, &view), available: true })
}

/// What a row says, if it counts.
pub(crate) fn counted(live: &Live, row: &NoteRow) -> Option<CountedNote> {
    let note = Note::decode(&live.bareme, &row.payload)?;
    (!note.is_withdrawn()).then_some(CountedNote { viewer: row.viewer, v: row.version, note })
}

fn unreadable(item: ItemId, error: &LoadError) -> ConductError {
    tracing::error!(%item, %error, "cannot read the notes");
    ConductError::NotReady
}

/// The counted notes of a jeu, being read.
pub struct Notes<'a> {
    rows: Rows<'a, Ratings>,
    live: &'a Live,
    item: ItemId,
}

impl Notes<'_> {
    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// [`ConductError::NotReady`].
    pub async fn next(&mut self) -> Result<Option<Vec<CountedNote>>> {
        let page = self.rows.next().await.map_err(|error| unreadable(self.item, &error))?;
        Ok(page.map(|page| page.iter().filter_map(|row| counted(self.live, row)).collect()))
    }
}

impl Conductor {
    /// How the jeux of this pod are.
    pub fn vigour(&self) -> Vigour {
        let now_us = self.inner.env.now_us();
        let views: Vec<_> = self.lives().values().map(|running| Arc::clone(&running.view)).collect();
        let (clock_skew, clock_lead) = (self.inner.engine.clock_skew(), self.inner.env.clock.lead());
        let mut vigour = Vigour { clock_skew, clock_lead, ..Vigour::default() };
        for item in views.iter().flat_map(|view| &view.items).filter(|item| !item.is_fixed()) {
            vigour.checkpoint_lag_us = vigour.checkpoint_lag_us.max(item.checkpoint_lag_us(now_us));
            let view = item.view();
            vigour.unreadable += u32::from(view.unreadable);
            if matches!(view.rank.phase(), Phase::Open | Phase::Closing) || !view.loaded {
                vigour.running += 1;
                vigour.stale += u32::from(view.stale && !view.unreadable);
                vigour.fresh += u32::from(!view.stale && !view.unreadable);
            }
        }
        vigour
    }

    /// A live as pages know it, with phases: open, closed or draft.
    ///
    /// # Errors
    /// [`ConductError`].
    pub async fn live_state(&self, live_id: LiveId) -> Result<LiveState> {
        if let Some(view) = self.view(live_id) {
            return Ok(view.state());
        }
        let live = self.stored_live(live_id).await?.value;
        let ballot = Ratings::new(Arc::new(live.bareme.clone()));
        let mut standings = BTreeMap::new();
        for row in self.inner.store.ranks(live_id).await? {
            let id = ItemId { live: live_id, jeu: row.jeu };
            let view = shown_view(&*self.inner.store, &self.inner.results, &live, &ballot, id, row.rank).await?;
            standings.insert(row.jeu, Standing::of(&view));
        }
        Ok(live_state(&live, |jeu| standings.get(&jeu).copied().unwrap_or_default()))
    }

    /// The lives on air, in order of channel.
    pub fn open_lives(&self) -> Vec<Arc<Live>> {
        let on_air = |view: &Arc<LiveView>| view.live.status == LiveStatus::Open;
        let mut open: Vec<_> = {
            let lives = self.lives();
            let views = lives.values().map(|running| &running.view);
            views.filter(|view| on_air(view)).map(|view| Arc::clone(&view.live)).collect()
        };
        open.sort_by(|one, other| one.channel.cmp(&other.channel));
        open
    }

    /// The live of a channel that is on air on this pod.
    pub fn channel_live(&self, channel: &Slug) -> Option<Arc<Live>> {
        self.open_lives().into_iter().find(|live| live.channel == *channel)
    }

    /// The record of a live and its numbers, unmasked and in order of the programme: the running jeux as they are, the
    /// others from their results. A jeu that cannot be read does not hide the others.
    ///
    /// # Errors
    /// [`ConductError`].
    pub async fn numbers(&self, live_id: LiveId) -> Result<(Arc<Live>, Vec<JeuNumbers>)> {
        if let Some(view) = self.view(live_id) {
            // Just after a start the notes are still being read, and nothing is not a result.
            let _some_cannot_be_read = all_ready(&view).await;
            let number = |item: &ItemHandle<Ratings>| {
                let (jeu, numbers) = (item.item().jeu, item.view());
                JeuNumbers { jeu, frame: tally_frame(&view.live, jeu, &numbers), available: numbers.loaded }
            };
            return Ok((Arc::clone(&view.live), view.items.iter().map(number).collect()));
        }
        let live = self.stored_live(live_id).await?.value;
        let numbers = stored_numbers(&*self.inner.store, &self.inner.results, &live).await?;
        Ok((Arc::new(live), numbers))
    }

    /// The counted notes of a jeu, in order of viewer and in pages: what a recount needs. At least what was acknowledged
    /// before is in them.
    ///
    /// # Errors
    /// [`ConductError::NotReady`].
    pub async fn notes<'a>(&'a self, live: &'a Live, jeu: JeuId) -> Result<Notes<'a>> {
        let ballot = Arc::new(Ratings::new(Arc::new(live.bareme.clone())));
        let item = ItemId { live: live.live_id, jeu };
        let rows = Rows::open(&*self.inner.store, &ballot, item, NOTES_PAGE).await;
        Ok(Notes { rows: rows.map_err(|error| unreadable(item, &error))?, live, item })
    }

    /// A viewer's own notes in a live, of the jeux that were ever opened.
    ///
    /// # Errors
    /// [`ConductError`].
    pub async fn own_notes(&self, live_id: LiveId, viewer: ViewerId) -> Result<Vec<Mine>> {
        let Some(view) = self.view(live_id) else { return Ok(Vec::new()) };
        // Just after a start the notes are still being read: those who wait for that keep nobody else from reading.
        let _some_cannot_be_read = all_ready(&view).await;
        let read = async {
            let _turn = self.inner.reading.acquire().await;
            self.read_own(&view, viewer).await
        };
        timeout(LOAD_WAIT, read).await.unwrap_or(Err(ConductError::NotReady))
    }

    async fn read_own(&self, view: &LiveView, viewer: ViewerId) -> Result<Vec<Mine>> {
        let mut own = Vec::new();
        for item in &view.items {
            if item.view().rank.phase() == Phase::Pending && item.view().rank.epoch() == 0 {
                continue;
            }
            let row = match item.note_of(viewer).await {
                Some(row) => row,
                None => self.stored_note(item.item(), viewer).await?,
            };
            let note = row.and_then(|row| Some((row.version, Note::decode(&view.live.bareme, &row.payload)?)));
            if let Some((v, note)) = note {
                let scores = note.to_json(&view.live.bareme);
                own.push(Mine { live: view.live.live_id.0, jeu: item.item().jeu.0, v, scores });
            }
        }
        Ok(own)
    }

    /// One viewer's row of `notes`: the first after the greatest id below it.
    async fn stored_note(&self, item: ItemId, viewer: ViewerId) -> Result<Option<NoteRow>> {
        let before = u128::from_be_bytes(viewer.0).checked_sub(1).map(|id| ViewerId(id.to_be_bytes()));
        let rows = self.inner.store.read_notes(item, before, 1).await?;
        Ok(rows.into_iter().next().filter(|row| row.viewer == viewer))
    }
}
