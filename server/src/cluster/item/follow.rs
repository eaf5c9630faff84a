//! Following the other pods of a shared store: their phases, which renew the lease, and their lanes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Done, Item, TROUBLE_RETRY_MS, stored_rank};
use crate::cluster::engine::Engine;
use crate::cluster::load::{Cursor, merge_page};
use crate::domain::ballot::Ballot;
use crate::domain::phase::{Phase, Rank};
use crate::store::{ItemId, LaneId, LaneRow, StoreError};

/// What another pod's writing looks like from here.
pub(super) struct Polled {
    pub(super) rank: Rank,
    pub(super) pages: Vec<(LaneId, Vec<(u64, Bytes)>)>,
}

impl<B: Ballot> Item<B> {
    pub(super) fn start_poll(&mut self, now: Instant) {
        self.polling = true;
        self.next_poll = now + self.engine.cadence.poll_interval;
        let cursors = self.cursors.clone();
        let loaded = self.loaded;
        self.start(move |engine, _, id| async move {
            let started = engine.env.clock.since_boot();
            Done::Polled(started, poll(&engine, id, &cursors, loaded).await)
        });
    }

    pub(super) fn on_polled(&mut self, started: Duration, result: Result<Polled, StoreError>) {
        self.polling = false;
        let Ok(Polled { rank, pages }) = result else { return };
        if !self.loaded {
            return;
        }
        self.heard_until = Some(started + self.engine.cadence.lease);
        if rank > self.rank {
            self.enter(rank);
        }
        // Only an open jeu renews the lease: a closer waits for as long as the last one that was given can hold.
        if rank.phase() == Phase::Open && rank == self.rank {
            self.lease_until = self.heard_until;
        }
        // Other pods fold their own lanes into `notes`; what is read here only has to be shown.
        let mut merged = Vec::new();
        for (lane, page) in pages.into_iter().filter(|(lane, _)| lane.writer != self.engine.writer) {
            let cursor = self.cursors.entry(lane).or_default();
            let outcome = merge_page(&*self.ballot, &mut self.notebook, lane, cursor, &page, &mut merged);
            if let Err(error) = outcome {
                tracing::error!(item = %self.id, %error, "cannot follow another pod");
                if !self.degraded {
                    self.degraded = true;
                    self.start_loading(Duration::from_millis(2 * TROUBLE_RETRY_MS));
                }
            }
        }
        self.changed |= !merged.is_empty();
    }
}

/// Reads what other pods wrote: the rank, then every lane from its cursor. A lane met for the first time is read from
/// its beginning, since part of it may have gone into `notes` after this pod read them.
async fn poll(
    engine: &Engine,
    id: ItemId,
    cursors: &BTreeMap<LaneId, Cursor>,
    read_lanes: bool,
) -> Result<Polled, StoreError> {
    let rank = stored_rank(&*engine.store, id).await?;
    let mut pages = Vec::new();
    if read_lanes {
        for LaneRow { id: lane, .. } in engine.store.lanes(id).await? {
            if lane.writer != engine.writer {
                let from = cursors.get(&lane).map_or(0, |cursor| cursor.next_seq);
                let page = engine.store.read_lane(id, lane, from).await?;
                if !page.is_empty() {
                    pages.push((lane, page));
                }
            }
        }
    }
    Ok(Polled { rank, pages })
}
