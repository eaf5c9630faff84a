//! Following the other pods of a shared store: their phases, which renew the lease, and their lanes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{Done, Item, TROUBLE_RETRY_MS};
use crate::cluster::engine::Engine;
use crate::cluster::load::{Cursor, merge_page, stored_rank};
use crate::cluster::mutant::mutant;
use crate::domain::ballot::Ballot;
use crate::domain::phase::{Phase, Rank};
use crate::store::{ItemId, LANE_PAGE, LaneId, LaneRow, StoreError};

/// When something began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// By the clock that also runs while the machine sleeps.
    pub(super) since_boot: Duration,
    /// By the wall clock, microseconds since 1970.
    pub(super) wall_us: u64,
}

/// What another pod's writing looks like from here.
pub(super) struct Polled {
    pub(super) rank: Rank,
    pub(super) lanes: Vec<LaneRow>,
    pub(super) pages: Vec<(LaneId, Vec<(u64, Bytes)>)>,
}

impl<B: Ballot> Item<B> {
    pub(super) fn start_poll(&mut self, now: Instant) {
        self.polling = true;
        let is_idle = matches!(self.rank.phase(), Phase::Pending | Phase::Final);
        let cadence = &self.engine.cadence;
        self.next_poll = now + if is_idle { cadence.idle_poll_interval } else { cadence.poll_interval };
        let cursors = self.cursors.clone();
        let read_lanes = self.loaded;
        self.start(move |engine, _, id| async move {
            let began = Moment { since_boot: engine.env.clock.since_boot(), wall_us: engine.env.now_us() };
            Done::Polled(began, poll(&engine, id, &cursors, read_lanes).await)
        });
    }

    pub(super) fn on_polled(&mut self, began: Moment, result: Result<Polled, StoreError>) {
        self.polling = false;
        let Ok(Polled { rank, lanes, pages }) = result else { return };
        if !self.loaded {
            return;
        }
        let started =
            if mutant!(LeaseFromEndOfReading) { self.engine.env.clock.since_boot() } else { began.since_boot };
        let holds_until = Some(started + self.engine.cadence.lease);
        if rank > self.rank {
            self.enter(rank);
        }
        // Only an open jeu renews the lease: a closer waits for as long as the last one that was given can hold.
        if (rank.phase() == Phase::Open && rank == self.rank && self.confirmed >= rank) || mutant!(ClosingRenewsLease) {
            self.lease_until = holds_until;
        }
        for lane in lanes {
            let cursor = self.cursors.entry(lane.id).or_default();
            if mutant!(NewLaneFromMaterialised) && cursor.next_seq == 0 {
                cursor.next_seq = lane.materialised;
            }
            // Of our own lanes we know better.
            if lane.id.writer != self.engine.writer {
                cursor.materialised = cursor.materialised.max(lane.materialised);
            }
        }
        // Other pods fold their own lanes into `notes`; what is read here only has to be shown.
        let (mut merged, mut is_whole) = (Vec::new(), true);
        for (lane, page) in pages.into_iter().filter(|(lane, _)| lane.writer != self.engine.writer) {
            is_whole &= page.len() < LANE_PAGE;
            let cursor = self.cursors.entry(lane).or_default();
            let outcome = merge_page(&*self.ballot, &mut self.notebook, lane, cursor, &page, &mut merged);
            if let Err(error) = outcome {
                tracing::error!(item = %self.id, %error, "cannot follow another pod");
                is_whole = false;
                if !self.degraded {
                    self.degraded = true;
                    self.start_loading(Duration::from_millis(2 * TROUBLE_RETRY_MS));
                }
            }
        }
        if is_whole {
            self.heard_until = holds_until;
            self.heard_at_us = began.wall_us;
            // Whoever waits to see what was acknowledged is shown once that this is all of it.
            if self.unsettled_since.is_some_and(|since| since <= began.since_boot) {
                self.unsettled_since = None;
                self.changed = true;
            }
        }
        if !merged.is_empty() {
            self.unsettled_since = Some(self.engine.env.clock.since_boot());
            self.changed = true;
        }
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
    if mutant!(FollowsBeforeLoading) && !read_lanes {
        return Ok(Polled { rank, lanes: Vec::new(), pages: Vec::new() });
    }
    let lanes = engine.store.lanes(id).await?;
    let others = lanes.iter().map(|row| row.id).filter(|lane| lane.writer != engine.writer);
    let pages = others.map(|lane| async move {
        let from = cursors.get(&lane).map_or(0, |cursor| cursor.next_seq);
        engine.store.read_lane(id, lane, from).await.map(|page| (lane, page))
    });
    let mut pages = try_join_all(pages).await?;
    pages.retain(|(_, page)| !page.is_empty());
    Ok(Polled { rank, lanes, pages })
}
