//! Folding what changed into `notes`, behind the acknowledgements: our own lanes, and those of dead writers.
//!
//! **Invariant**: rows of `notes` are entries of chunks that every result yet to be made covers. Under a valid lease
//! that is every chunk whose append has returned: nobody reads for a result before the lease has run out. What returned
//! later may have missed the result, and a row of it could take the place of one that is in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{Done, Item};
use crate::cluster::chunk;
use crate::cluster::close::materialise;
use crate::cluster::engine::Engine;
use crate::cluster::load::LoadError;
use crate::cluster::mutant::mutant;
use crate::domain::ballot::Ballot;
use crate::store::{ItemId, LANE_PAGE, LaneId, NoteRow, StoreError, WriterId};

/// What is to be written: rows, and how far their lanes are then materialised.
pub(super) struct Batch {
    pub(super) rows: Vec<NoteRow>,
    pub(super) lanes: Vec<(LaneId, u64)>,
}

/// A row that may not be in `notes` yet.
#[derive(Debug, Clone)]
pub(super) struct Dirty {
    pub(super) row: NoteRow,
    /// Whether every result yet to be made has to cover it: it was acknowledged, or was there under a lease.
    pub(super) counts: bool,
}

impl Dirty {
    /// One that was read from the store, by whoever is alone on it.
    pub(super) fn of_stored(row: NoteRow) -> Self {
        Self { row, counts: true }
    }
}

/// Since when what is acknowledged is in the journal only; for the eyes of an operator, and of no effect.
///
/// Cheap to clone: all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unfolded(Arc<[AtomicU64; 2]>);

impl Unfolded {
    /// Microseconds since 1970, of what waits and of what is being written; 0 is nothing.
    fn parts(&self) -> (&AtomicU64, &AtomicU64) {
        let [waiting, writing] = &*self.0;
        (waiting, writing)
    }

    /// There is something, or nothing.
    pub(super) fn note(&self, any: bool, now_us: u64) {
        let (waiting, _) = self.parts();
        if !any {
            waiting.store(0, Ordering::Relaxed);
        } else if waiting.load(Ordering::Relaxed) == 0 {
            waiting.store(now_us, Ordering::Relaxed);
        }
    }

    /// A task begins, and knows of nothing yet: what it finds it notes itself.
    pub(super) fn reset(&self) {
        let (waiting, writing) = self.parts();
        waiting.store(0, Ordering::Relaxed);
        writing.store(0, Ordering::Relaxed);
    }

    /// All that waits is being written.
    fn begin(&self) {
        let (waiting, writing) = self.parts();
        writing.store(waiting.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// It was written, or waits again.
    fn end(&self, written: bool) {
        let (waiting, writing) = self.parts();
        let began = writing.swap(0, Ordering::Relaxed);
        if !written && began != 0 {
            waiting.store(began, Ordering::Relaxed);
        }
    }

    /// The age of the oldest.
    pub(crate) fn lag_us(&self, now_us: u64) -> u64 {
        let (waiting, writing) = self.parts();
        let since = [waiting, writing].map(|part| part.load(Ordering::Relaxed)).into_iter().filter(|since| *since != 0);
        since.min().map_or(0, |since| now_us.saturating_sub(since))
    }
}

/// One row for each viewer, the one that wins, in order of viewer.
fn newest(mut rows: Vec<NoteRow>) -> Vec<NoteRow> {
    rows.sort_unstable_by(|one, other| {
        (one.viewer, one.version, &one.payload).cmp(&(other.viewer, other.version, &other.payload))
    });
    rows.dedup_by(|later, kept| {
        let same = later.viewer == kept.viewer;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
    rows
}

impl<B: Ballot> Item<B> {
    /// Notes since when something that was acknowledged waits. What came without a lease, and after the result, is not
    /// owed to anybody, and may wait for ever.
    pub(super) fn note_unfolded(&self) {
        self.unfolded.note(self.dirty.iter().any(|dirty| dirty.counts), self.engine.env.now_us());
    }

    /// Whether what is dirty may be written now; see the module.
    pub(super) fn may_checkpoint(&self) -> bool {
        self.loaded && !self.checkpointing && (self.lease_holds() || mutant!(CheckpointsWithoutLease))
    }

    /// Folds what changed into `notes`, and then says how far our lanes are there.
    pub(super) fn start_checkpoint(&mut self, now: Instant) {
        self.checkpointing = true;
        self.unfolded.begin();
        self.next_checkpoint = now + self.engine.cadence.checkpoint_interval;
        let mut rows = newest(std::mem::take(&mut self.dirty).into_iter().map(|dirty| dirty.row).collect());
        if mutant!(CheckpointsOthersNotes) {
            rows = self.notebook.rows(rows.into_iter().map(|row| row.viewer).collect());
        }
        let is_due = |(lane, end): &(LaneId, u64)| self.cursors.get(lane).is_none_or(|read| read.materialised < *end);
        let lanes: Vec<_> = if self.is_shared() {
            self.lanes.iter().map(|lane| (lane.id, lane.next_seq)).filter(is_due).collect()
        } else {
            // Alone on the store, the lanes of earlier incarnations are ours to finish, too.
            self.cursors.iter().map(|(lane, cursor)| (*lane, cursor.next_seq)).filter(is_due).collect()
        };
        self.start(|engine, _, id| async move {
            let result = materialise(&*engine.store, id, &rows, &lanes).await;
            Done::Checkpointed(Batch { rows, lanes }, result)
        });
    }

    pub(super) fn on_checkpointed(&mut self, batch: Batch, result: Result<(), StoreError>) {
        self.checkpointing = false;
        self.checkpoint_failed = result.is_err();
        self.unfolded.end(result.is_ok());
        match result {
            Ok(()) => self.note_materialised(&batch.lanes),
            Err(error) => {
                tracing::warn!(item = %self.id, %error, "checkpoint failed; the journal keeps the notes");
                // They were there under a lease.
                self.dirty.extend(batch.rows.into_iter().map(|row| Dirty { row, counts: true }));
            }
        }
    }

    fn note_materialised(&mut self, lanes: &[(LaneId, u64)]) {
        for (lane, materialised) in lanes {
            let cursor = self.cursors.entry(*lane).or_default();
            cursor.materialised = cursor.materialised.max(*materialised);
        }
    }

    /// Whether a lane is one that this task appends to. Those of an earlier task of this pod, and those it left because
    /// they held other bytes, are read like another pod's.
    pub(super) fn is_ours(&self, lane: &LaneId) -> bool {
        self.lanes.iter().any(|ours| ours.id == *lane)
    }

    /// Begins to finish the lanes of writers that are dead, and those that this pod does not use any more. Another pod may
    /// do the same; that is harmless.
    pub(super) fn start_adopting(&mut self, dead: &[WriterId]) {
        if self.adopting || !self.loaded || !self.lease_holds() {
            return;
        }
        // What a reading says of a lane may be on one replica, from somebody who died while writing it: this pod writes it
        // once itself.
        let unfinished = self.cursors.iter().filter(|(lane, read)| {
            let adopted = self.adopted.get(lane).copied().unwrap_or(0);
            let is_left = dead.contains(&lane.writer) || lane.writer == self.engine.writer;
            is_left && !self.is_ours(lane) && adopted < read.next_seq
        });
        let lanes: Vec<_> = unfinished.map(|(lane, read)| (*lane, read.materialised)).collect();
        if lanes.is_empty() {
            return;
        }
        self.adopting = true;
        self.start(|engine, _, id| async move {
            let read = lanes.into_iter().map(|(lane, from)| orphaned(&engine, id, lane, from));
            Done::Orphaned(try_join_all(read).await)
        });
    }

    pub(super) fn on_orphaned(&mut self, read: Result<Vec<Batch>, LoadError>) {
        match read {
            // As for our own lanes: all of it is on a QUORUM now, and only under a lease is it in the result.
            Ok(batches) if self.lease_holds() => {
                tracing::info!(item = %self.id, lanes = batches.len(), "finishing the lanes of dead writers");
                self.start(|engine, _, id| async move {
                    let lanes: Vec<_> = batches.iter().flat_map(|batch| batch.lanes.clone()).collect();
                    let mut rows = newest(batches.into_iter().flat_map(|batch| batch.rows).collect());
                    if mutant!(AdoptsWithoutNotes) {
                        rows.clear();
                    }
                    let result = materialise(&*engine.store, id, &rows, &lanes).await;
                    Done::Adopted(lanes, result)
                });
            }
            Ok(_) => self.adopting = false,
            Err(error) => {
                tracing::warn!(item = %self.id, %error, "cannot read the lanes of a dead writer; trying again");
                self.adopting = false;
            }
        }
    }

    pub(super) fn on_adopted(&mut self, lanes: &[(LaneId, u64)], result: Result<(), StoreError>) {
        self.adopting = false;
        match result {
            Ok(()) => {
                self.note_materialised(lanes);
                self.adopted.extend(lanes.iter().copied());
            }
            Err(error) => tracing::warn!(item = %self.id, %error, "cannot finish the lanes of a dead writer"),
        }
    }
}

/// What is left of a dead writer's lane, the last chunk written again: it may have reached one replica only.
async fn orphaned(engine: &Engine, item: ItemId, lane: LaneId, from: u64) -> Result<Batch, LoadError> {
    let (mut rows, mut next_seq, mut tip) = (Vec::new(), from, None);
    loop {
        let page = engine.store.read_lane(item, lane, next_seq).await?;
        let is_last = page.len() < LANE_PAGE;
        let contiguous = page.into_iter().zip(next_seq..).take_while(|((seq, _), expected)| seq == expected);
        for ((seq, chunk), _) in contiguous {
            let (_epoch, entries) = chunk::read(&chunk).map_err(|source| LoadError::Chunk { lane, seq, source })?;
            rows.extend(entries.into_iter().map(|(viewer, entry)| NoteRow {
                viewer,
                version: entry.version,
                payload: entry.payload.into(),
            }));
            next_seq = seq + 1;
            tip = Some((seq, chunk));
        }
        if is_last {
            break;
        }
    }
    if let Some((seq, chunk)) = tip {
        engine.store.append(item, lane, seq, chunk).await?;
    }
    Ok(Batch { rows, lanes: vec![(lane, next_seq)] })
}
