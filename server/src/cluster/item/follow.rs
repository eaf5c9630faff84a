//! Following the other pods of a shared store: their phases, which renew the lease, and their lanes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{try_join, try_join_all};
use tokio::time::Instant;

use super::{Done, Item, TROUBLE_RETRY_MS};
use crate::cluster::close::ManifestLane;
use crate::cluster::engine::Engine;
use crate::cluster::load::{Cursor, merge_page};
use crate::cluster::mutant::mutant;
use crate::domain::ballot::Ballot;
use crate::domain::phase::{Phase, Rank};
use crate::store::{ItemId, LANE_PAGE, LaneId, LaneRow, StoreError, WriterId};

/// What another pod's writing looks like from here.
pub(super) struct Polled {
    /// The phase, and when the reading began that says so.
    rank: (Duration, Rank),
    lanes: Option<Followed>,
}

/// What was read of lanes.
struct Followed {
    /// By the clock since boot.
    began: Duration,
    /// Every lane there is, if that was asked.
    all: Option<Vec<LaneRow>>,
    pages: Vec<(LaneId, Vec<(u64, Bytes)>)>,
}

impl<B: Ballot> Item<B> {
    pub(super) fn start_poll(&mut self, now: Instant) {
        self.polling = true;
        // Nobody votes on it, so nothing is to be followed but its phase, and that is read for all such jeux at once.
        let is_idle = self.rank.phase() == Phase::Pending || self.has_all_of_the_result();
        let cadence = Arc::clone(&self.engine.cadence);
        self.next_poll = now + if is_idle { cadence.idle_poll_interval } else { cadence.poll_interval };
        // Both from one look at the clock: a pod that stands still between two would take an old list for a new one.
        let began = self.engine.env.clock.since_boot();
        let oldest = if is_idle { began.saturating_sub(cadence.idle_poll_interval / 2) } else { began };
        let interval = if mutant!(SeldomAsksForLanes) { Duration::from_secs(3) } else { cadence.lanes_interval };
        let asks_lanes = self.lanes_read.is_none_or(|at| began.saturating_sub(at) >= interval);
        let follows = self.loaded && !is_idle;
        let (ranks, cursors) = (Arc::clone(&self.ranks), if follows { self.cursors.clone() } else { BTreeMap::new() });
        let ours: Vec<_> = self.lanes.iter().map(|lane| lane.id).collect();
        self.start(move |engine, _, id| async move {
            let rank = ranks.read(&*engine.store, &engine.env, id, oldest);
            let lanes = async {
                if follows { follow(&engine, id, &cursors, &ours, began, asks_lanes).await.map(Some) } else { Ok(None) }
            };
            Done::Polled(try_join(rank, lanes).await.map(|(rank, lanes)| Polled { rank, lanes }))
        });
    }

    pub(super) fn on_polled(&mut self, result: Result<Polled, StoreError>) {
        self.polling = false;
        let Ok(Polled { rank: (known_since, rank), lanes }) = result else { return };
        if !self.loaded {
            return;
        }
        let lease = self.engine.cadence.lease;
        let started = if mutant!(LeaseFromEndOfReading) { self.engine.env.clock.since_boot() } else { known_since };
        let is_news = rank > self.rank;
        if is_news {
            self.enter(rank);
        }
        // Only an open jeu renews the lease: a closer waits for as long as the last one that was given can hold.
        if (rank.phase() == Phase::Open && rank == self.rank && self.confirmed >= rank) || mutant!(ClosingRenewsLease) {
            self.lease_until = Some(started + lease);
        }
        let Some(Followed { began, all, pages }) = lanes else {
            // Nobody had voted by then, unless that says so.
            let was_idle = !is_news && matches!(rank.phase(), Phase::Pending | Phase::Final);
            if was_idle || mutant!(FollowsBeforeLoading) {
                self.heard_from(known_since);
            }
            return;
        };
        if all.is_some() {
            self.lanes_read = Some(began);
        }
        for lane in all.into_iter().flatten() {
            let is_ours = self.is_ours(&lane.id);
            let cursor = self.cursors.entry(lane.id).or_default();
            if mutant!(NewLaneFromMaterialised) && cursor.next_seq == 0 {
                cursor.next_seq = lane.materialised;
            }
            // Of our own lanes we know better.
            if !is_ours {
                cursor.materialised = cursor.materialised.max(lane.materialised);
            }
        }
        // Other pods fold their own lanes into `notes`; what is read here only has to be shown.
        let (mut merged, mut is_whole) = (Vec::new(), true);
        for (lane, page) in pages {
            // It may have become ours while it was read.
            if self.is_ours(&lane) {
                continue;
            }
            is_whole &= page.len() < LANE_PAGE;
            let cursor = self.cursors.entry(lane).or_default();
            let outcome = merge_page(&*self.ballot, &mut self.notebook, lane, cursor, &page, &mut merged);
            if let Err(error) = outcome {
                is_whole = false;
                // Once: it is asked again, and fails again, many times a second.
                if !self.degraded {
                    tracing::error!(item = %self.id, %error, "cannot follow another pod");
                    self.degraded = true;
                    self.start_loading(Duration::from_millis(2 * TROUBLE_RETRY_MS));
                }
            }
        }
        if is_whole {
            self.heard_from(began);
        }
        if !merged.is_empty() {
            self.unsettled_since = Some(self.engine.env.clock.since_boot());
            self.changed = true;
        }
    }

    /// Whether the item is final, and the map holds all that was acknowledged until then, for the day it is reopened.
    fn has_all_of_the_result(&self) -> bool {
        let merged = |lane: &ManifestLane| {
            let id = LaneId { writer: WriterId(lane.writer), lane: lane.lane };
            self.cursors.get(&id).map_or(0, |cursor| cursor.next_seq) >= lane.chunks
        };
        let result = self.result.as_ref().filter(|_| self.rank.phase() == Phase::Final);
        result.is_some_and(|result| mutant!(FollowsNoFinal) || result.manifest.iter().all(merged))
    }

    /// All that other pods acknowledged before that is merged.
    fn heard_from(&mut self, began: Duration) {
        if began < self.heard {
            return;
        }
        self.heard = began;
        self.heard_until = Some(began + self.engine.cadence.lease);
        // Whoever waits to see what was acknowledged is shown once that this is all of it.
        if self.unsettled_since.is_some_and(|since| since <= began) {
            self.unsettled_since = None;
            self.changed = true;
        }
    }
}

/// Reads every lane but `ours` from its cursor. Which lanes there are is asked less often than a new one takes to be
/// used. A lane met for the first time is read from its beginning, since part of it may have gone into `notes` after
/// this pod read them.
async fn follow(
    engine: &Engine,
    id: ItemId,
    cursors: &BTreeMap<LaneId, Cursor>,
    ours: &[LaneId],
    began: Duration,
    asks_lanes: bool,
) -> Result<Followed, StoreError> {
    let store = &engine.store;
    let others = |lane: &LaneId| !ours.contains(lane);
    let page = |lane: LaneId, from: u64| async move { store.read_lane(id, lane, from).await.map(|page| (lane, page)) };
    let known = cursors.iter().filter(|(lane, _)| others(lane)).map(|(lane, cursor)| page(*lane, cursor.next_seq));
    let all = async { if asks_lanes { store.lanes(id).await.map(Some) } else { Ok(None) } };
    let (all, mut pages) = try_join(all, try_join_all(known)).await?;
    let met = all.iter().flatten().map(|row| row.id);
    let new = met.filter(|lane| others(lane) && !cursors.contains_key(lane)).map(|lane| page(lane, 0));
    pages.extend(try_join_all(new).await?);
    pages.retain(|(_, page)| !page.is_empty());
    Ok(Followed { began, all, pages })
}
