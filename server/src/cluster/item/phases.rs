//! Phases of one item: what admins ask, announcing journals, making the result.
//!
//! **Invariant**: no vote is acknowledged, and no closing waited out, on a rank that may be on one replica only: another
//! pod might not see it, and go on in the phase before. A rank that was met in a reading is therefore raised again, and
//! counts from when that is on a QUORUM.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::votes::Lane;
use super::{Control, Done, Item, Outcome, RankAnswer};
use crate::cluster::chunk;
use crate::cluster::close::{Finalised, ManifestLane, finalise};
use crate::cluster::engine::ItemError;
use crate::cluster::mutant::mutant;
use crate::domain::ballot::Ballot;
use crate::domain::phase::{Phase, Rank};
use crate::store::{LaneId, StoreError, WriterId};

impl<B: Ballot> Item<B> {
    /// Takes over a rank that was read, or raised.
    pub(super) fn enter(&mut self, rank: Rank) {
        if rank < self.rank {
            return;
        }
        if rank > self.rank && !mutant!(KeepsOldClosingTime) {
            self.closing_since = None;
            self.is_closer = false;
        }
        if rank > self.rank {
            // In the span that names the live and the jeu.
            tracing::info!(phase = ?rank.phase(), epoch = rank.epoch(), "a jeu has another phase");
            // What is read less often while nobody votes is read at once now: the lease comes with it.
            self.next_poll = Instant::now();
        }
        self.rank = rank;
        self.changed = true;
        // A pod that reads seldom may have missed the reopening in between: a result is of one epoch only.
        self.result.take_if(|result| result.epoch != rank.epoch());
        match rank.phase() {
            Phase::Pending => {}
            Phase::Open => {
                self.result = None;
                if self.lanes.is_empty() && !self.registering {
                    self.start_registering(Duration::ZERO);
                }
            }
            Phase::Closing => self.waiting.drain(..).for_each(|mut vote| vote.answer(Outcome::Closed)),
            Phase::Final => {
                self.waiting.drain(..).for_each(|mut vote| vote.answer(Outcome::Closed));
                if self.result.is_none() && !self.finalising {
                    self.start_finalise(rank.epoch(), Duration::ZERO);
                }
            }
        }
        // Alone on the store, what was read is what is there.
        if !self.is_shared() || mutant!(RankNotConfirmed) {
            self.confirm(rank);
        }
        self.start_confirming();
    }

    /// A rank is known to be on a QUORUM.
    pub(super) fn confirm(&mut self, rank: Rank) {
        self.confirmed = self.confirmed.max(rank);
        if self.rank.phase() == Phase::Closing && self.confirmed >= self.rank {
            self.closing_since.get_or_insert_with(Instant::now);
        }
    }

    /// Raises a rank that was read, so that whoever reads after us reads it, too.
    pub(super) fn start_confirming(&mut self) {
        if self.confirming || self.confirmed >= self.rank {
            return;
        }
        self.confirming = true;
        let rank = self.rank;
        self.start(|engine, _, id| async move { Done::Confirmed(rank, engine.store.raise_rank(id, rank).await) });
    }

    pub(super) fn on_confirmed(&mut self, rank: Rank, result: Result<(), StoreError>) {
        self.confirming = false;
        match result {
            Ok(()) => self.confirm(rank),
            // The next tick tries again.
            Err(error) => tracing::warn!(item = %self.id, %error, "cannot confirm the phase"),
        }
    }

    /// What this pod wanted is on a QUORUM, as of `t0`.
    pub(super) fn on_raised(&mut self, rank: Rank, asked: Instant) {
        self.enter(rank);
        self.confirm(rank);
        if rank.phase() == Phase::Closing && rank == self.rank {
            self.is_closer = true;
            if mutant!(CloseWaitFromRequest) {
                self.closing_since = Some(asked);
            }
        }
        // Whoever asked looks at the view next.
        self.publish();
    }

    pub(super) fn start_registering(&mut self, after: Duration) {
        self.registering = true;
        if mutant!(VotesBeforeRegistration) && self.lanes.is_empty() {
            self.open_lanes();
        }
        let ids: Vec<_> = (0..self.engine.cadence.lanes.max(1)).map(|lane| self.lane_id(lane)).collect();
        self.start(|engine, _, id| async move {
            sleep(after).await;
            for lane in ids {
                if let Err(error) = engine.store.register_lane(id, lane, chunk::FORMAT).await {
                    return Done::Registered(Err(error));
                }
            }
            Done::Registered(Ok(()))
        });
    }

    /// Begins to use lanes that are registered.
    pub(super) fn open_lanes(&mut self) {
        let now = Instant::now();
        let wait = if mutant!(NoRegistrationWait) { Duration::ZERO } else { self.engine.cadence.registration_wait };
        self.takes_votes_from = now + wait;
        let ids = (0..self.engine.cadence.lanes.max(1)).map(|lane| self.lane_id(lane));
        self.lanes = ids.map(|id| Lane { id, next_seq: 0, not_before: now, flight: None }).collect();
        for lane in &self.lanes {
            self.cursors.entry(lane.id).or_default();
        }
    }

    pub(super) fn lane_id(&self, lane: u8) -> LaneId {
        LaneId { writer: self.engine.writer, lane }
    }

    pub(super) fn start_raising(&mut self, rank: Rank, answer: RankAnswer) {
        self.raising = true;
        let asked = Instant::now();
        self.start(move |engine, _, id| async move {
            Done::Raised(rank, asked, answer, engine.store.raise_rank(id, rank).await)
        });
    }

    pub(super) fn start_finalise(&mut self, epoch: u64, after: Duration) {
        self.finalising = true;
        self.start(move |engine, ballot, id| async move {
            sleep(after).await;
            Done::Finalised(epoch, finalise(&*engine.store, &engine.env, &ballot, id, epoch).await)
        });
    }

    /// Begins the result once no acknowledgement of the epoch can follow.
    pub(super) fn start_finalising(&mut self) {
        let Some(since) = self.closing_since else { return };
        if self.finalising || self.rank.phase() != Phase::Closing {
            return;
        }
        let in_flight = self.lanes.iter().any(|lane| lane.flight.is_some());
        // Where nobody else acknowledges, our own chunks are all there is to wait for. Elsewhere the leases have to
        // run out, and our own chunk may then stay without an answer: it was not acknowledged, and never will be.
        // Whoever did not close it itself leaves the first try to the pod that did.
        let cadence = &self.engine.cadence;
        let wait = if self.is_closer { cadence.close_wait } else { cadence.takeover };
        let waited = since.elapsed() >= wait || mutant!(NoCloseWait);
        let over = if self.is_shared() { waited && (self.is_closer || !mutant!(NoTakeover)) } else { !in_flight };
        if over {
            self.start_finalise(self.rank.epoch(), Duration::ZERO);
        }
    }

    pub(super) fn on_finalised(&mut self, epoch: u64, finalised: Finalised<B::Tally>) {
        let Finalised { result, differs } = finalised;
        if differs {
            self.drifted("what a result covers folds to something else");
        }
        let ours = self.notebook.digest().to_string();
        let vector = |lane: &ManifestLane| {
            (lane.chunks > 0).then_some((LaneId { writer: WriterId(lane.writer), lane: lane.lane }, lane.chunks))
        };
        let covered: BTreeMap<_, _> = result.manifest.iter().filter_map(vector).collect();
        if self.loaded && covered == self.vector() && ours != result.digest {
            self.drifted("the result differs from what was shown");
        }
        if self.lanes.iter().all(|lane| covered.get(&lane.id).copied().unwrap_or(0) >= lane.next_seq) {
            // Whoever made the result has written our rows.
            self.dirty.clear();
            self.unfolded.note(false, 0);
        }
        for lane in &result.manifest {
            let id = LaneId { writer: WriterId(lane.writer), lane: lane.lane };
            let cursor = self.cursors.entry(id).or_default();
            cursor.materialised = cursor.materialised.max(lane.chunks);
        }
        let made = Rank::new(epoch, Phase::Final);
        if made >= self.rank {
            self.result = Some(result);
            self.enter(made);
            self.confirm(made);
        } else {
            // Reopened meanwhile: what is shown belongs to a newer epoch, which may lack its own result.
            self.enter(self.rank);
        }
    }

    /// Carries out the next change of phase, one at a time and only once the stored phase is known.
    pub(super) fn next_control(&mut self) {
        while self.loaded && !self.raising {
            let Some(control) = self.queued_controls.pop_front() else { return };
            let (epoch, phase) = (self.rank.epoch(), self.rank.phase());
            let (answer, next) = match (control, phase) {
                (Control::Open(answer), Phase::Pending) => (answer, Some(Rank::new(epoch, Phase::Open))),
                (Control::Close(answer), Phase::Open) => (answer, Some(Rank::new(epoch, Phase::Closing))),
                (Control::Reopen(answer), Phase::Final) => (answer, Some(Rank::new(epoch + 1, Phase::Open))),
                (Control::Reopen(answer), Phase::Closing) if mutant!(ReopensWhileClosing) => {
                    (answer, Some(Rank::new(epoch + 1, Phase::Open)))
                }
                (Control::Open(answer) | Control::Reopen(answer), Phase::Open)
                | (Control::Close(answer), Phase::Closing | Phase::Final) => (answer, None),
                (Control::Open(answer) | Control::Close(answer) | Control::Reopen(answer), _) => {
                    drop(answer.send(Err(ItemError::Phase(phase))));
                    continue;
                }
                (_, _) => continue,
            };
            match next {
                Some(rank) => self.start_raising(rank, answer),
                None => drop(answer.send(Ok(self.rank))),
            }
        }
    }
}
