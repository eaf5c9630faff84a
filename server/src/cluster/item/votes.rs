//! Votes of one item: refusing what can be refused without writing, filling chunks, answering.
//!
//! **Invariant**: an answer says nothing that is not durable. Where pods share the store, the map may hold another
//! pod's chunk that is on one replica only; what an answer relies on goes into our own journal first. A vote that became
//! durable is answered after the numbers that count it were published: whoever hears `ok` reads its own vote.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::checkpoint::Dirty;
use super::{BUSY_RETRY_MS, Done, Item, Outcome, Submission, TROUBLE_RETRY_MS};
use crate::cluster::chunk::ChunkBuilder;
use crate::cluster::engine::Engine;
use crate::cluster::inbox::MAX_WAITING_VOTES;
use crate::cluster::mutant::mutant;
use crate::domain::ballot::{Ballot, Entry};
use crate::domain::note::Version;
use crate::domain::phase::Phase;
use crate::domain::viewer::ViewerId;
use crate::metrics::JOURNAL_CONFLICTS;
use crate::protocol::MAX_VERSION_AHEAD_US;
use crate::store::{ErrorKind, ItemId, LaneId, NoteRow, Payload, StoreError};

/// How long a vote waits for a store that does not say what became of its chunk before it is answered `unknown`.
pub(super) const UNKNOWN_AFTER: Duration = Duration::from_secs(5);

/// A vote on its way to the store; the callback is gone once it was answered.
pub(super) struct Waiting {
    pub(super) since: Instant,
    pub(super) viewer: ViewerId,
    pub(super) version: Version,
    pub(super) payload: Payload,
    /// Whether this is not the vote itself but the newer entry that it is to hear of.
    pub(super) is_newer: bool,
    pub(super) on_outcome: Option<Box<dyn FnOnce(Outcome) + Send>>,
}

impl Waiting {
    pub(super) fn answer(&mut self, outcome: Outcome) {
        if let Some(on_outcome) = self.on_outcome.take() {
            on_outcome(outcome);
        }
    }
}

impl Drop for Waiting {
    /// A task that ends with votes in hand owes them an outcome; the chunk may or may not have been written.
    fn drop(&mut self) {
        self.answer(Outcome::Unknown);
    }
}

/// One of this pod's lanes.
pub(super) struct Lane {
    pub(super) id: LaneId,
    /// Whether it is announced: nothing is written to it before.
    pub(super) is_registered: bool,
    pub(super) next_seq: u64,
    pub(super) not_before: Instant,
    pub(super) flight: Option<Flight>,
}

pub(super) struct Flight {
    pub(super) started: Instant,
    pub(super) votes: Vec<Waiting>,
}

impl<B: Ballot> Item<B> {
    pub(super) fn lease_holds(&self) -> bool {
        let until = self.lease_until;
        let is_free = !self.is_shared() || mutant!(NoLease);
        is_free || until.is_some_and(|until| self.engine.env.clock.since_boot() <= until)
    }

    pub(super) fn on_vote(&mut self, submission: Submission, now_us: u64) {
        let Submission { viewer, version, payload, on_outcome } = submission;
        let on_outcome = Some(on_outcome);
        // From here on it is answered whatever happens: a task that dies drops it.
        let mut vote = Waiting { since: Instant::now(), viewer, version, payload, is_newer: false, on_outcome };
        if mutant!(ServerStampsVersions) {
            vote.version = self.notebook.get(&viewer).map_or(now_us, |held| now_us.max(held.version + 1));
        }
        let seen = if mutant!(RatchetsClock) { self.notebook.iter().map(|(_, held)| held.version).max() } else { None };
        let now_us = now_us.max(seen.unwrap_or(0));
        if let Some(outcome) = self.refusal(viewer, vote.version, &vote.payload, now_us) {
            return vote.answer(outcome);
        }
        // Only where pods share the store: the holder may be on one replica.
        let held = self.notebook.get(&viewer).filter(|held| held.version >= vote.version);
        if let Some(held) = held.filter(|held| held.version > vote.version || held.payload != vote.payload) {
            (vote.version, vote.payload, vote.is_newer) = (held.version, held.payload.clone(), true);
        }
        if mutant!(MergesBeforeWrite) {
            self.notebook.merge(viewer, Entry { version: vote.version, payload: &vote.payload });
        }
        self.waiting.push_back(vote);
    }

    /// What can be said of a vote without writing it.
    pub(super) fn refusal(
        &self,
        viewer: ViewerId,
        version: Version,
        payload: &Payload,
        now_us: u64,
    ) -> Option<Outcome> {
        let later = Outcome::RetryAfter { ms: TROUBLE_RETRY_MS };
        if !self.loaded || self.degraded {
            return Some(later);
        }
        let held = self.notebook.get(&viewer);
        let is_known = held.is_some_and(|held| held.version == version && held.payload == *payload);
        match self.rank.phase() {
            Phase::Pending => return Some(Outcome::NotOpen),
            // Alone on the store, whatever the map holds is in the result. Elsewhere it may be another pod's late chunk.
            Phase::Closing | Phase::Final if is_known && (!self.is_shared() || mutant!(RepeatsAreOkAfterClose)) => {
                return Some(Outcome::Ok);
            }
            Phase::Closing | Phase::Final => return Some(Outcome::Closed),
            Phase::Open => {}
        }
        // The version after the one that is held is always taken: a note that was stored while a clock was wrong, or by a
        // pod whose clock is, can be changed at once. It leads no further than by one for each note.
        let next = held.map_or(now_us, |held| now_us.max(held.version.saturating_add(1)));
        let by_clock = now_us.saturating_add(MAX_VERSION_AHEAD_US);
        let furthest = match () {
            () if mutant!(AnyVersion) => Version::MAX,
            () if mutant!(HeldGivesNoVersion) => by_clock,
            () if mutant!(HeldGivesAMinute) => next.saturating_add(MAX_VERSION_AHEAD_US),
            () => by_clock.max(next),
        };
        if version > furthest {
            return Some(Outcome::TooFarAhead { now_us, next });
        }
        let holds_newer = held.filter(|held| held.version >= version);
        let answers_at_once = [!self.is_shared(), mutant!(AnswersFromMap), mutant!(StaleIsOk)].contains(&true);
        if let Some(held) = holds_newer.filter(|_| answers_at_once) {
            if is_known || mutant!(StaleIsOk) {
                return Some(if self.lease_holds() { Outcome::Ok } else { Outcome::Unknown });
            }
            return Some(Outcome::Stale { version: held.version, payload: held.payload.clone() });
        }
        // Alone on the store, a jeu that was just opened announces its journal within a commit: votes wait for that here
        // rather than at their sender, who would come back only after half a second.
        let announcing = self.registering && !self.is_shared();
        let has_lane = self.lanes.iter().any(|lane| lane.is_registered);
        let starting = !announcing && (!has_lane || Instant::now() < self.takes_votes_from);
        let troubled = self.trouble_until.is_some_and(|until| Instant::now() < until);
        if starting || troubled || !self.lease_holds() {
            return Some(later);
        }
        let full = self.waiting.len() >= MAX_WAITING_VOTES;
        full.then_some(Outcome::RetryAfter { ms: BUSY_RETRY_MS })
    }

    /// Sends the next chunk of every lane that has none in flight.
    pub(super) fn start_chunks(&mut self) {
        if self.rank.phase() != Phase::Open {
            return;
        }
        let now = Instant::now();
        if now < self.takes_votes_from {
            return;
        }
        for index in 0..self.lanes.len() {
            if self.waiting.is_empty() {
                return;
            }
            let lane = &mut self.lanes[index];
            if !lane.is_registered || (lane.flight.is_some() && !mutant!(TwoInFlight)) || lane.not_before > now {
                continue;
            }
            let mut builder = ChunkBuilder::new(self.rank.epoch());
            let mut votes = Vec::with_capacity(self.waiting.len().min(2048));
            while let Some(vote) = self.waiting.pop_front() {
                if !builder.push(vote.viewer, Entry { version: vote.version, payload: &vote.payload }) {
                    self.waiting.push_front(vote);
                    break;
                }
                votes.push(vote);
            }
            if builder.is_empty() {
                // The payload at the front fits no chunk: it cannot be noted, by anybody.
                if let Some(mut vote) = self.waiting.pop_front() {
                    vote.answer(Outcome::RetryAfter { ms: TROUBLE_RETRY_MS });
                }
                continue;
            }
            metrics::histogram!("chunk_notes").record(f64::from(u32::try_from(votes.len()).unwrap_or(u32::MAX)));
            let (id, seq, bytes) = (lane.id, lane.next_seq, builder.finish());
            if mutant!(TwoInFlight) {
                lane.next_seq += 1;
            }
            if mutant!(AckBeforeWrite) {
                votes.iter_mut().for_each(|vote| vote.answer(Outcome::Ok));
            }
            lane.flight = Some(Flight { started: now, votes });
            self.start(move |engine, _, item| async move {
                Done::Appended(index, append(&engine, item, id, seq, bytes).await)
            });
        }
    }

    pub(super) fn on_appended(&mut self, index: usize, result: Result<(), StoreError>) {
        let mut lease_holds = self.lease_holds();
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let Some(mut flight) = lane.flight.take() else { return };
        if mutant!(LeaseTestedBefore) {
            let sent = self.engine.env.clock.since_boot().saturating_sub(flight.started.elapsed());
            lease_holds = self.lease_until.is_some_and(|until| sent <= until);
        }
        match result {
            Ok(()) => {
                if !mutant!(TwoInFlight) {
                    lane.next_seq += 1;
                }
                lane.not_before = flight.started + self.engine.cadence.chunk_interval;
                if let Some(wait) =
                    lane.not_before.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
                {
                    self.work.push(Box::pin(async move {
                        sleep(wait).await;
                        Done::Due
                    }));
                }
                self.cursors.entry(lane.id).or_default().next_seq = lane.next_seq;
                self.trouble_until = None;
                if lease_holds {
                    self.acknowledged.insert(lane.id, lane.next_seq);
                }
                // A vote is judged by the lease alone, not by the phase seen here: the lease is what a closer waits
                // out. Alone on the store, this pod reads the result only after its last chunk.
                for mut vote in flight.votes.drain(..) {
                    let Waiting { viewer, version, .. } = vote;
                    self.notebook.merge(viewer, Entry { version, payload: &vote.payload });
                    let row = NoteRow { viewer, version, payload: vote.payload.clone() };
                    self.dirty.push(Dirty { row, counts: lease_holds });
                    let outcome = match (lease_holds, vote.is_newer) {
                        (false, _) => Outcome::Unknown,
                        (true, false) => Outcome::Ok,
                        (true, true) => Outcome::Stale { version, payload: std::mem::take(&mut vote.payload) },
                    };
                    self.answers.push((vote, outcome));
                }
                self.note_unfolded();
                self.unsettled_since = self.is_shared().then(|| self.engine.env.clock.since_boot());
                self.changed = true;
            }
            Err(error) if error.kind == ErrorKind::Mismatch => self.leave_lane(index, flight, &error),
            Err(error) => {
                tracing::warn!(item = %self.id, %error, "notes refused: the store did not take them");
                self.trouble_until = Some(Instant::now() + Duration::from_millis(TROUBLE_RETRY_MS));
                self.changed = true;
                let later = Outcome::RetryAfter { ms: TROUBLE_RETRY_MS };
                flight.votes.iter_mut().for_each(|vote| vote.answer(later.clone()));
                self.waiting.drain(..).for_each(|mut vote| vote.answer(later.clone()));
            }
        }
    }
}

impl<B: Ballot> Item<B> {
    /// Other bytes are where a chunk was to go. Whoever wrote them, the lane is not ours alone: it is left to be read like
    /// any other pod's, and the votes go into a fresh one.
    fn leave_lane(&mut self, index: usize, flight: Flight, error: &StoreError) {
        let fresh = self.fresh_lane();
        let Some(lane) = self.lanes.get_mut(index) else { return };
        tracing::error!(
            item = %self.id, lane = ?lane.id, seq = lane.next_seq, %error,
            "other bytes were found in this server's journal; the votes go into a new one"
        );
        metrics::counter!(JOURNAL_CONFLICTS).increment(1);
        *lane = fresh;
        self.alarmed();
        self.changed = true;
        if self.rank.phase() != Phase::Open {
            flight.votes.into_iter().for_each(|mut vote| vote.answer(Outcome::Closed));
            return;
        }
        let unanswered = flight.votes.into_iter().filter(|vote| vote.on_outcome.is_some());
        unanswered.rev().for_each(|vote| self.waiting.push_front(vote));
        if !self.is_shared() {
            // Nothing else reads what is there.
            self.start_loading(Duration::ZERO);
        }
        self.start_registering(Duration::ZERO);
    }
}

/// Appends a chunk, sending the same bytes again for as long as the store cannot say what became of them.
///
/// Once an attempt's fate is unknown, no later refusal frees its number: the first attempt may be on disk, and other
/// bytes under the same `seq` would be dropped in its favour.
async fn append(engine: &Engine, item: ItemId, lane: LaneId, seq: u64, chunk: Bytes) -> Result<(), StoreError> {
    let mut wait = Duration::from_millis(20);
    let mut may_be_written = false;
    loop {
        match engine.store.append(item, lane, seq, chunk.clone()).await {
            // Certain, whatever became of earlier attempts: what is there is something else.
            Err(error) if error.kind == ErrorKind::Mismatch => return Err(error),
            Err(error) if (may_be_written || error.kind == ErrorKind::Unknown) && !mutant!(ReusesNumber) => {
                may_be_written = true;
                tracing::warn!(%item, %error, "a chunk may or may not be written; sending it again");
                sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(1));
            }
            result => return result,
        }
    }
}
