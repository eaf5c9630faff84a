//! Reading an item from its store: `notes` joined with the journals.
//!
//! **Invariant**: `materialised` of every lane is read before `notes` is, so that an entry is in the one or still to be
//! read in the other. Lanes are read only over contiguous `seq`; what lies above a hole is left for the next reading.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::{self, ChunkError};
use crate::domain::ballot::{Ballot, Entry};
use crate::domain::viewer::ViewerId;
use crate::notebook::{Merged, Notebook};
use crate::store::{ItemId, LANE_PAGE, LaneId, LaneRow, NoteRow, Store, StoreError};

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
    /// Viewers whose entry came from a journal and may not be in `notes`.
    pub dirty: Vec<ViewerId>,
}

/// Merges a page of a lane, over contiguous `seq` only, and says which viewers changed.
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
            break;
        }
        let (_epoch, entries) = chunk::read(bytes).map_err(|source| LoadError::Chunk { lane, seq: *seq, source })?;
        if let Some((viewer, _)) = entries.iter().find(|(_, entry)| !ballot.is_valid(entry.payload)) {
            return Err(LoadError::Payload(*viewer));
        }
        for (viewer, entry) in entries {
            if notebook.merge(viewer, entry) != Merged::Unchanged {
                dirty.push(viewer);
            }
        }
        cursor.next_seq += 1;
    }
    Ok(())
}

/// Reads a lane from its cursor to its end, or to the first hole.
///
/// # Errors
/// The store's, and those of [`merge_page`].
async fn tail<B: Ballot>(
    store: &dyn Store,
    ballot: &B,
    item: ItemId,
    lane: LaneId,
    loaded: &mut Loaded<B>,
    holes_are_errors: bool,
) -> Result<(), LoadError> {
    let mut cursor = loaded.cursors.get(&lane).copied().unwrap_or_default();
    loop {
        let page = store.read_lane(item, lane, cursor.next_seq).await?;
        merge_page(ballot, &mut loaded.notebook, lane, &mut cursor, &page, &mut loaded.dirty)?;
        loaded.cursors.insert(lane, cursor);
        let hole = page.last().is_some_and(|(seq, _)| *seq >= cursor.next_seq);
        if hole && holes_are_errors {
            return Err(LoadError::Hole(lane));
        }
        if hole || page.len() < LANE_PAGE {
            return Ok(());
        }
    }
}

/// Reads an item: every lane's `materialised`, then `notes`, then each lane from there.
///
/// # Errors
/// [`LoadError`]. With `holes_are_errors` (when a result is made), a missing chunk is one: read again.
pub(super) async fn load<B: Ballot>(
    store: &dyn Store,
    ballot: &Arc<B>,
    item: ItemId,
    holes_are_errors: bool,
) -> Result<Loaded<B>, LoadError> {
    let lanes = store.lanes(item).await?;
    let mut loaded =
        Loaded { notebook: Notebook::new(Arc::clone(ballot)), cursors: BTreeMap::new(), dirty: Vec::new() };
    let mut after = None;
    loop {
        let page = store.read_notes(item, after, NOTES_PAGE).await?;
        for row in &page {
            if !ballot.is_valid(&row.payload) {
                return Err(LoadError::Payload(row.viewer));
            }
            loaded.notebook.merge(row.viewer, Entry { version: row.version, payload: &row.payload });
        }
        if page.len() < NOTES_PAGE {
            break;
        }
        after = page.last().map(|row| row.viewer);
    }
    for LaneRow { id, materialised, .. } in lanes {
        loaded.cursors.insert(id, Cursor { next_seq: materialised, materialised });
        tail(store, &**ballot, item, id, &mut loaded, holes_are_errors).await?;
    }
    Ok(loaded)
}

/// Every entry of an item as stored, in order of viewer.
///
/// # Errors
/// [`LoadError`].
pub(crate) async fn rows_of<B: Ballot>(
    store: &dyn Store,
    ballot: &Arc<B>,
    item: ItemId,
) -> Result<Vec<NoteRow>, LoadError> {
    let loaded = load(store, ballot, item, false).await?;
    Ok(loaded.notebook.all_rows())
}
