//! Reading an item from its store: `notes` joined with the journals.
//!
//! **Invariant**: `materialised` of every lane is read before `notes` is, so that an entry is in the one or still to be
//! read in the other; which lanes there are is asked again after it, so that whatever `notes` holds of a lane that was
//! registered meanwhile is known to come from there. Lanes are read only over contiguous `seq`; what lies above a hole
//! is left for the next reading.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::{self, ChunkError};
use super::mutant::mutant;
use crate::domain::ballot::{Ballot, Entry};
use crate::domain::phase::{Phase, Rank};
use crate::domain::viewer::ViewerId;
use crate::notebook::{Held, Merged, Notebook};
use crate::store::{ErrorKind, ItemId, LANE_PAGE, LaneId, LaneRow, NoteRow, Store, StoreError};

/// Rows of `notes` read at a time.
pub(super) const NOTES_PAGE: usize = 4096;

/// Why an item cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A chunk cannot be read.
    #[error("lane {lane:?}, chunk {seq}: {source}")]
    Chunk {
        /// Whose.
        lane: LaneId,
        /// Which.
        seq: u64,
        /// Why.
        source: ChunkError,
    },
    /// A payload means nothing to the ballot.
    #[error("an entry of viewer {0} has a payload this program does not understand")]
    Payload(ViewerId),
    /// A chunk is missing below a visible one.
    #[error("lane {0:?} has a hole")]
    Hole(LaneId),
}

impl LoadError {
    /// Whether what is stored cannot be read, today or tomorrow, unless somebody mends it.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Chunk { .. } | Self::Payload(_) => true,
            Self::Store(error) => error.kind == ErrorKind::Corrupt,
            Self::Hole(_) => false,
        }
    }
}

/// Where the reading of a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    /// The first chunk not merged yet.
    pub next_seq: u64,
    /// The first chunk not known to be in `notes`.
    pub materialised: u64,
}

/// An item as read from its store.
pub(super) struct Loaded<B: Ballot> {
    /// The merged entries.
    pub notebook: Notebook<B>,
    /// How far each lane was read.
    pub cursors: BTreeMap<LaneId, Cursor>,
    /// Viewers of whom something was read in a journal, which may not be in `notes`.
    pub dirty: Vec<ViewerId>,
    /// The last chunk of each lane of which one was read. It may be on one replica only: a writer sends the next chunk
    /// only after the one before is on a QUORUM.
    pub tips: BTreeMap<LaneId, (u64, Bytes)>,
}

/// How far to read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent<'a> {
    /// What is there, up to the first hole of each lane.
    Visible,
    /// What is there; a hole is an error.
    Whole,
    /// This many chunks of each lane, and none of a lane that is not named; one that misses is an error.
    Chunks(&'a BTreeMap<LaneId, u64>),
}

/// Merges a page of a lane, over contiguous `seq` only, and says which viewers it was about.
///
/// # Errors
/// [`LoadError`] for a chunk that cannot be understood; the cursor stays before it.
pub(super) fn merge_page<B: Ballot>(
    ballot: &B,
    notebook: &mut Notebook<B>,
    lane: LaneId,
    cursor: &mut Cursor,
    page: &[(u64, Bytes)],
    dirty: &mut Vec<ViewerId>,
) -> Result<(), LoadError> {
    for (seq, bytes) in page {
        if *seq < cursor.next_seq {
            continue;
        }
        if *seq > cursor.next_seq {
            if !mutant!(SkipsHoles) {
                break;
            }
            cursor.next_seq = *seq;
        }
        if mutant!(SkipsUnreadable) && chunk::read(bytes).is_err() {
            cursor.next_seq += 1;
            continue;
        }
        let (_epoch, entries) = chunk::read(bytes).map_err(|source| LoadError::Chunk { lane, seq: *seq, source })?;
        if let Some((viewer, _)) = entries.iter().find(|(_, entry)| !ballot.is_valid(entry.payload)) {
            return Err(LoadError::Payload(*viewer));
        }
        for (viewer, entry) in entries {
            // Unchanged says nothing of `notes`: the row that was read there may be on one replica only.
            if notebook.merge(viewer, entry) != Merged::Unchanged || !mutant!(TrustsRows) {
                dirty.push(viewer);
            }
        }
        cursor.next_seq += 1;
    }
    Ok(())
}

/// Reads a lane from its cursor to its end, to the first hole, or as far as it was asked.
///
/// # Errors
/// The store's, and those of [`merge_page`].
async fn tail<B: Ballot>(
    store: &dyn Store,
    ballot: &B,
    item: ItemId,
    lane: LaneId,
    loaded: &mut Loaded<B>,
    extent: Extent<'_>,
) -> Result<(), LoadError> {
    let mut cursor = loaded.cursors.get(&lane).copied().unwrap_or_default();
    let end = match extent {
        Extent::Chunks(ends) => ends.get(&lane).copied().unwrap_or(0),
        Extent::Visible | Extent::Whole => u64::MAX,
    };
    while cursor.next_seq < end {
        let mut page = store.read_lane(item, lane, cursor.next_seq).await?;
        let is_last = page.len() < LANE_PAGE;
        page.retain(|(seq, _)| *seq < end);
        merge_page(ballot, &mut loaded.notebook, lane, &mut cursor, &page, &mut loaded.dirty)?;
        loaded.cursors.insert(lane, cursor);
        if let Some(tip) = page.iter().rev().find(|(seq, _)| *seq < cursor.next_seq) {
            loaded.tips.insert(lane, tip.clone());
        }
        let hole = page.last().is_some_and(|(seq, _)| *seq >= cursor.next_seq);
        let missing = is_last && end != u64::MAX && cursor.next_seq < end;
        if missing || (hole && matches!(extent, Extent::Whole)) {
            return Err(LoadError::Hole(lane));
        }
        if hole || is_last {
            return Ok(());
        }
    }
    Ok(())
}

async fn merge_notes<B: Ballot>(
    store: &dyn Store,
    ballot: &B,
    item: ItemId,
    notebook: &mut Notebook<B>,
) -> Result<(), LoadError> {
    let mut after = None;
    loop {
        let page = store.read_notes(item, after, NOTES_PAGE).await?;
        for row in &page {
            if !ballot.is_valid(&row.payload) {
                return Err(LoadError::Payload(row.viewer));
            }
            notebook.merge(row.viewer, Entry { version: row.version, payload: &row.payload });
        }
        if page.len() < NOTES_PAGE {
            return Ok(());
        }
        after = page.last().map(|row| row.viewer);
    }
}

/// Reads an item: every lane's `materialised`, then `notes`, then each lane from there.
///
/// # Errors
/// [`LoadError`]. Of [`LoadError::Hole`]: read again.
pub(super) async fn load<B: Ballot>(
    store: &dyn Store,
    ballot: &Arc<B>,
    item: ItemId,
    extent: Extent<'_>,
) -> Result<Loaded<B>, LoadError> {
    let mut loaded = Loaded {
        notebook: Notebook::new(Arc::clone(ballot)),
        cursors: BTreeMap::new(),
        dirty: Vec::new(),
        tips: BTreeMap::new(),
    };
    if mutant!(NotesBeforeMaterialised) {
        merge_notes(store, &**ballot, item, &mut loaded.notebook).await?;
    }
    let before = store.lanes(item).await?;
    for LaneRow { id, materialised, .. } in before {
        loaded.cursors.insert(id, Cursor { next_seq: materialised, materialised });
    }
    if !mutant!(NotesBeforeMaterialised) {
        merge_notes(store, &**ballot, item, &mut loaded.notebook).await?;
    }
    if store.is_shared() && !mutant!(NoRegistrationWait) {
        // A lane met only now is read from its beginning: its rows may have come after those that were read.
        for LaneRow { id, .. } in store.lanes(item).await? {
            loaded.cursors.entry(id).or_default();
        }
    }
    if mutant!(FinaliserSkipsNewLanes) && matches!(extent, Extent::Whole) {
        loaded.cursors.retain(|_, cursor| cursor.materialised > 0);
    }
    let lanes: Vec<_> = loaded.cursors.keys().copied().collect();
    for lane in lanes {
        tail(store, &**ballot, item, lane, &mut loaded, extent).await?;
    }
    Ok(loaded)
}

/// The entries of an item as they count, in order of viewer and in pages: of a final item what is in its result, and
/// nothing that came too late for it; of another one at least what was acknowledged before the reading began.
///
/// It asks the store alone, so that the task of an item that takes votes has nothing to do with it. In memory are a page
/// and what the journals hold beyond `materialised`: the votes of some seconds, not the item.
pub(crate) struct Rows<'a, B: Ballot> {
    store: &'a dyn Store,
    ballot: Arc<B>,
    item: ItemId,
    page: usize,
    journal: BTreeMap<ViewerId, Held>,
    after: Option<ViewerId>,
    is_done: bool,
}

impl<'a, B: Ballot> Rows<'a, B> {
    /// Reads what the journals hold; pages have `page` rows of `notes`, and what the journals add to them.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) async fn open(
        store: &'a dyn Store,
        ballot: &Arc<B>,
        item: ItemId,
        page: usize,
    ) -> Result<Self, LoadError> {
        let mut loaded = Loaded {
            notebook: Notebook::new(Arc::clone(ballot)),
            cursors: BTreeMap::new(),
            dirty: Vec::new(),
            tips: BTreeMap::new(),
        };
        if stored_rank(store, item).await?.phase() != Phase::Final {
            // `materialised` and journals before `notes`: what is folded meanwhile is in both, and never in neither.
            for LaneRow { id, materialised, .. } in store.lanes(item).await? {
                loaded.cursors.insert(id, Cursor { next_seq: materialised, materialised });
                tail(store, &**ballot, item, id, &mut loaded, Extent::Visible).await?;
            }
        }
        let journal = loaded.notebook.iter().map(|(viewer, held)| (*viewer, held.clone())).collect();
        Ok(Self { store, ballot: Arc::clone(ballot), item, page, journal, after: None, is_done: false })
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<NoteRow>>, LoadError> {
        if self.is_done {
            return Ok(None);
        }
        let mut rows = self.store.read_notes(self.item, self.after, self.page).await?;
        self.is_done = rows.len() < self.page;
        self.after = rows.last().map(|row| row.viewer);
        let later = match self.after.filter(|_| !self.is_done) {
            Some(last) => self.journal.split_off(&last),
            None => BTreeMap::new(),
        };
        let mut journal = std::mem::replace(&mut self.journal, later);
        if let Some((viewer, held)) = self.after.and_then(|last| self.journal.remove_entry(&last)) {
            journal.insert(viewer, held);
        }
        for row in &mut rows {
            let entry = Entry { version: row.version, payload: &row.payload };
            if !self.ballot.is_valid(entry.payload) {
                return Err(LoadError::Payload(row.viewer));
            }
            if let Some(held) = journal.remove(&row.viewer).filter(|held| self.ballot.beats(held.entry(), entry)) {
                (row.version, row.payload) = (held.version, held.payload);
            }
        }
        if !journal.is_empty() {
            let row =
                |(viewer, held): (ViewerId, Held)| NoteRow { viewer, version: held.version, payload: held.payload };
            rows.extend(journal.into_iter().map(row));
            rows.sort_unstable_by_key(|row| row.viewer);
        }
        Ok(Some(rows))
    }
}

/// The rank a store holds for an item.
pub(super) async fn stored_rank(store: &dyn Store, item: ItemId) -> Result<Rank, StoreError> {
    let rows = store.ranks(item.live).await?;
    Ok(rows.into_iter().find(|row| row.jeu == item.jeu).map(|row| row.rank).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ballot::Ratings;
    use crate::domain::bareme::presets;
    use crate::domain::jeu::JeuId;
    use crate::domain::live::LiveId;
    use crate::store::memory::MemoryStore;
    use crate::store::{Payload, WriterId};

    fn row(viewer: u8, version: u64) -> NoteRow {
        let payload = Payload::from_slice(&[1, viewer % 5, 0xFF, 0xFF, 0xFF, 0xFF]);
        NoteRow { viewer: ViewerId([viewer; 16]), version, payload }
    }

    async fn read(store: &MemoryStore, ballot: &Arc<Ratings>, item: ItemId, page: usize) -> Vec<NoteRow> {
        let mut rows = Rows::open(store, ballot, item, page).await.unwrap();
        let mut all = Vec::new();
        while let Some(page) = rows.next().await.unwrap() {
            all.extend(page);
        }
        all
    }

    #[tokio::test]
    async fn rows_are_notes_and_journals_together_in_pages_of_any_size() {
        let (store, item) = (MemoryStore::exclusive(), ItemId { live: LiveId(Uuid::from_u128(1)), jeu: JeuId(1) });
        let ballot = Arc::new(Ratings::new(Arc::new(presets().remove(0))));
        assert_eq!(read(&store, &ballot, item, 2).await, []);
        let lane = LaneId { writer: WriterId(Uuid::from_u128(2)), lane: 0 };
        store.register_lane(item, lane, chunk::FORMAT).await.unwrap();
        // The first chunk is in `notes`; the second changes one of its notes, repeats an older one, and has new ones
        // before, between and after them.
        let (folded, fresh) = (
            [row(2, 1), row(4, 9), row(6, 1), row(8, 1)],
            [row(1, 1), row(4, 3), row(5, 1), row(6, 2), row(9, 1), row(8, 5)],
        );
        for (seq, rows) in [&folded[..], &fresh[..]].into_iter().zip(0..).map(|(rows, seq)| (seq, rows)) {
            let mut chunk = chunk::ChunkBuilder::new(0);
            for row in rows {
                assert!(chunk.push(row.viewer, Entry { version: row.version, payload: &row.payload }));
            }
            store.append(item, lane, seq, chunk.finish()).await.unwrap();
        }
        store.write_notes(item, folded.to_vec()).await.unwrap();
        store.advance_materialised(item, lane, 1).await.unwrap();
        let expected = [row(1, 1), row(2, 1), row(4, 9), row(5, 1), row(6, 2), row(8, 5), row(9, 1)];
        for page in 1..=9 {
            assert_eq!(read(&store, &ballot, item, page).await, expected, "pages of {page}");
        }
        // Of a final item, what came too late for its result is not in `notes`, and does not count.
        store.raise_rank(item, Rank::new(0, Phase::Final)).await.unwrap();
        assert_eq!(read(&store, &ballot, item, 3).await, folded);
    }

    #[tokio::test]
    async fn what_is_folded_while_rows_are_read_is_read_once() {
        let (store, item) = (MemoryStore::exclusive(), ItemId { live: LiveId(Uuid::from_u128(1)), jeu: JeuId(1) });
        let ballot = Arc::new(Ratings::new(Arc::new(presets().remove(0))));
        let lane = LaneId { writer: WriterId(Uuid::from_u128(2)), lane: 0 };
        store.register_lane(item, lane, chunk::FORMAT).await.unwrap();
        let rows: Vec<_> = (1..=9).map(|viewer| row(viewer, 1)).collect();
        let mut chunk = chunk::ChunkBuilder::new(0);
        for row in &rows {
            assert!(chunk.push(row.viewer, Entry { version: row.version, payload: &row.payload }));
        }
        store.append(item, lane, 0, chunk.finish()).await.unwrap();
        let mut read = Rows::open(&store, &ballot, item, 4).await.unwrap();
        store.write_notes(item, rows.clone()).await.unwrap();
        store.advance_materialised(item, lane, 1).await.unwrap();
        let mut all = Vec::new();
        while let Some(page) = read.next().await.unwrap() {
            assert!(page.len() <= 4, "{}", page.len());
            all.extend(page);
        }
        assert_eq!(all, rows);
    }
}
