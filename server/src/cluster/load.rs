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
use crate::notebook::{Merged, Notebook};
use crate::store::{ErrorKind, ItemId, LANE_PAGE, LaneId, LaneRow, NoteRow, Store, StoreError};

/// Rows of `notes` read at a time.
const NOTES_PAGE: usize = 4096;

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

/// Every entry of an item as it counts, in order of viewer: of a final item what is in its result, and nothing that
/// came too late for it.
///
/// # Errors
/// [`LoadError`].
pub(crate) async fn rows_of<B: Ballot>(
    store: &dyn Store,
    ballot: &Arc<B>,
    item: ItemId,
) -> Result<Vec<NoteRow>, LoadError> {
    if stored_rank(store, item).await?.phase() == Phase::Final {
        let mut notebook = Notebook::new(Arc::clone(ballot));
        merge_notes(store, &**ballot, item, &mut notebook).await?;
        return Ok(notebook.all_rows());
    }
    let loaded = load(store, ballot, item, Extent::Visible).await?;
    Ok(loaded.notebook.all_rows())
}

/// The rank a store holds for an item.
pub(super) async fn stored_rank(store: &dyn Store, item: ItemId) -> Result<Rank, StoreError> {
    let rows = store.ranks(item.live).await?;
    Ok(rows.into_iter().find(|row| row.jeu == item.jeu).map(|row| row.rank).unwrap_or_default())
}

/// A chunk that cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct DamagedChunk {
    /// Its lane.
    pub lane: LaneId,
    /// Its number.
    pub seq: u64,
    /// Its length in bytes.
    pub bytes: usize,
    /// What is wrong with it.
    pub why: ChunkError,
}

/// The chunks of an item that keep it from being read: those that are not in `notes` yet.
///
/// # Errors
/// The store's.
pub(crate) async fn damaged_chunks(store: &dyn Store, item: ItemId) -> Result<Vec<DamagedChunk>, StoreError> {
    let mut damaged = Vec::new();
    for LaneRow { id: lane, materialised, .. } in store.lanes(item).await? {
        let mut next = materialised;
        loop {
            let page = store.read_lane(item, lane, next).await?;
            let Some((last, _)) = page.last() else { break };
            next = last + 1;
            let unread = page.iter().filter_map(|(seq, bytes)| Some((*seq, bytes.len(), chunk::read(bytes).err()?)));
            damaged.extend(unread.map(|(seq, bytes, why)| DamagedChunk { lane, seq, bytes, why }));
        }
    }
    Ok(damaged)
}
