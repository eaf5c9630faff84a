//! Folding what changed into `notes`, behind the acknowledgements.

use tokio::time::Instant;

use super::{Done, Item};
use crate::cluster::close::materialise;
use crate::cluster::load::Cursor;
use crate::domain::ballot::Ballot;
use crate::domain::viewer::ViewerId;
use crate::store::{LaneId, StoreError};

impl<B: Ballot> Item<B> {
    /// Folds what changed into `notes`, and then says how far our lanes are there.
    pub(super) fn start_checkpoint(&mut self, now: Instant) {
        self.checkpointing = true;
        self.next_checkpoint = now + self.engine.cadence.checkpoint_interval;
        let viewers = std::mem::take(&mut self.dirty);
        let rows = self.notebook.rows(viewers.clone());
        // Alone on the store, the lanes of earlier incarnations are ours to finish, too.
        let ours = |lane: &LaneId| !self.engine.store.is_shared() || lane.writer == self.engine.writer;
        let due = |(lane, cursor): (&LaneId, &Cursor)| {
            (ours(lane) && cursor.materialised < cursor.next_seq).then_some((*lane, cursor.next_seq))
        };
        let lanes: Vec<_> = self.cursors.iter().filter_map(due).collect();
        self.start(|engine, _, id| async move {
            let result = materialise(&*engine.store, id, rows, lanes.clone()).await;
            Done::Checkpointed(viewers, lanes, result)
        });
    }

    pub(super) fn on_checkpointed(
        &mut self,
        viewers: Vec<ViewerId>,
        lanes: &[(LaneId, u64)],
        result: Result<(), StoreError>,
    ) {
        self.checkpointing = false;
        self.checkpoint_failed = result.is_err();
        match result {
            Ok(()) => {
                for (lane, materialised) in lanes {
                    let cursor = self.cursors.entry(*lane).or_default();
                    cursor.materialised = cursor.materialised.max(*materialised);
                }
            }
            Err(error) => {
                tracing::warn!(item = %self.id, %error, "checkpoint failed; the journal keeps the notes");
                self.dirty.extend(viewers);
            }
        }
    }
}
