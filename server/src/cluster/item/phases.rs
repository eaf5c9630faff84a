//! Phases of one item: what admins ask, announcing journals, making the result.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Control, Done, Item, Outcome, RankAnswer};
use crate::cluster::chunk;
use crate::cluster::close::{EpochResult, ManifestLane, finalise};
use crate::cluster::engine::ItemError;
use crate::domain::ballot::Ballot;
use crate::domain::phase::{Phase, Rank};
use crate::store::{LaneId, WriterId};

impl<B: Ballot> Item<B> {
    /// Takes over a rank that is stored.
    pub(super) fn enter(&mut self, rank: Rank) {
        if rank < self.rank {
            return;
        }
        self.rank = rank;
        self.changed = true;
        // A pod that reads seldom may have missed the reopening in between: a result is of one epoch only.
        self.result.take_if(|result| result.epoch != rank.epoch());
        match rank.phase() {
            Phase::Pending => {}
            Phase::Open => {
                self.closing_since = None;
                self.is_closer = false;
                self.result = None;
                if self.lanes.is_empty() && !self.registering {
                    self.start_registering(Duration::ZERO);
                }
            }
            Phase::Closing => {
                self.closing_since.get_or_insert_with(Instant::now);
                self.waiting.drain(..).for_each(|mut vote| vote.answer(Outcome::Closed));
            }
            Phase::Final => {
                self.waiting.drain(..).for_each(|mut vote| vote.answer(Outcome::Closed));
                if self.result.is_none() && !self.finalising {
                    self.start_finalise(rank.epoch(), Duration::ZERO);
                }
            }
        }
    }

    pub(super) fn start_registering(&mut self, after: Duration) {
        self.registering = true;
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

    pub(super) fn lane_id(&self, lane: u8) -> LaneId {
        LaneId { writer: self.engine.writer, lane }
    }

    pub(super) fn start_raising(&mut self, rank: Rank, answer: RankAnswer) {
        self.raising = true;
        self.start(|engine, _, id| async move { Done::Raised(rank, answer, engine.store.raise_rank(id, rank).await) });
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
        let over = if self.is_shared() { since.elapsed() >= wait } else { !in_flight };
        if over {
            self.start_finalise(self.rank.epoch(), Duration::ZERO);
        }
    }

    pub(super) fn on_finalised(&mut self, epoch: u64, result: EpochResult<B::Tally>) {
        let ours = self.notebook.digest().to_string();
        let covers = |lane: &ManifestLane| {
            let id = LaneId { writer: WriterId(lane.writer), lane: lane.lane };
            self.cursors.get(&id).map_or(lane.chunks == 0, |cursor| cursor.next_seq == lane.chunks)
        };
        if self.loaded
            && result.manifest.len() == self.cursors.len()
            && result.manifest.iter().all(covers)
            && ours != result.digest
        {
            self.drifted("the result differs from what was shown");
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
                (Control::Open(answer) | Control::Reopen(answer), Phase::Open)
                | (Control::Close(answer), Phase::Closing | Phase::Final) => (answer, None),
                (Control::Open(answer) | Control::Close(answer) | Control::Reopen(answer), _) => {
                    drop(answer.send(Err(ItemError::Phase(phase))));
                    continue;
                }
                (Control::NoteOf(..) | Control::Notes(_) | Control::Settled(_), _) => continue,
            };
            match next {
                Some(rank) => self.start_raising(rank, answer),
                None => drop(answer.send(Ok(self.rank))),
            }
        }
    }
}
