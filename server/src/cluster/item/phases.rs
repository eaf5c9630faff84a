//! Phases of one item: what admins ask, announcing journals, making the result.
//!
//! **Invariant**: no vote is acknowledged, and no closing waited out, on a rank that may be on one replica only: another
//! pod might not see it, and go on in the phase before. A rank that was met in a reading is therefore raised again, and
//! counts from when that is on a QUORUM.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::checkpoint::Dirty;
use super::votes::Lane;
use super::{Control, Done, Item, Outcome, RankAnswer};
use crate::cluster::chunk;
use crate::cluster::close::{Finalised, ManifestLane, finalise};
use crate::cluster::engine::ItemError;
use crate::cluster::mutant::mutant;
use crate::domain::ballot::{Ballot, Entry};
use crate::domain::phase::{Phase, Rank};
use crate::domain::viewer::ViewerId;
use crate::metrics::ACKNOWLEDGED_MISSING;
use crate::notebook::Notebook;
use crate::store::{LaneId, NoteRow, StoreError, WriterId};

/// Rows of `notes` that are read one by one to compare a result, made elsewhere, with what was acknowledged here in the
/// last half second before the close: enough to notice, and no load.
const MAX_CHECKED_ROWS: usize = 256;

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
                self.start_registering(Duration::ZERO);
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

    /// Announces those of our lanes that are not announced yet; the first time, takes some.
    pub(super) fn start_registering(&mut self, after: Duration) {
        if self.registering {
            return;
        }
        if self.lanes.is_empty() {
            self.lanes = (0..self.engine.cadence.lanes.max(1)).map(|_| self.fresh_lane()).collect();
            if [mutant!(ReusesLane), mutant!(AcceptsOtherBytes)].contains(&true) {
                (0..).zip(&mut self.lanes).for_each(|(number, lane)| lane.id.lane = number);
            }
        }
        let ids: Vec<_> = self.lanes.iter().filter(|lane| !lane.is_registered).map(|lane| lane.id).collect();
        if ids.is_empty() {
            return;
        }
        self.registering = true;
        if mutant!(VotesBeforeRegistration) {
            self.open_lanes(&ids);
        }
        self.start(|engine, _, id| async move {
            sleep(after).await;
            for lane in &ids {
                if let Err(error) = engine.store.register_lane(id, *lane, chunk::FORMAT).await {
                    return Done::Registered(ids, Err(error));
                }
            }
            Done::Registered(ids, Ok(()))
        });
    }

    /// A lane that nobody ever used, to be announced.
    pub(super) fn fresh_lane(&self) -> Lane {
        Lane {
            id: self.engine.next_lane(self.id),
            is_registered: false,
            next_seq: 0,
            not_before: Instant::now(),
            flight: None,
        }
    }

    pub(super) fn on_registered(&mut self, ids: &[LaneId]) {
        self.open_lanes(ids);
        // Another one may have been taken meanwhile.
        if self.rank.phase() == Phase::Open {
            self.start_registering(Duration::ZERO);
        }
    }

    /// Begins to use lanes that are registered.
    fn open_lanes(&mut self, ids: &[LaneId]) {
        let wait = if mutant!(NoRegistrationWait) { Duration::ZERO } else { self.engine.cadence.registration_wait };
        for lane in self.lanes.iter_mut().filter(|lane| !lane.is_registered && ids.contains(&lane.id)) {
            lane.is_registered = true;
            self.takes_votes_from = Instant::now() + wait;
            self.cursors.entry(lane.id).or_default();
        }
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

    pub(super) fn on_finalised(&mut self, epoch: u64, finalised: Finalised<B>) {
        let Finalised { result, covered, differs } = finalised;
        if differs {
            self.drifted("what a result covers folds to something else");
        }
        let ours = self.notebook.digest().to_string();
        let vector = |lane: &ManifestLane| {
            (lane.chunks > 0).then_some((LaneId { writer: WriterId(lane.writer), lane: lane.lane }, lane.chunks))
        };
        let chunks: BTreeMap<_, _> = result.manifest.iter().filter_map(vector).collect();
        if self.loaded && chunks == self.vector() && ours != result.digest {
            self.drifted("the result differs from what was shown");
        }
        // Of a result that an epoch has followed, nothing is known of what was acknowledged in it.
        if epoch == self.rank.epoch() {
            let covers = |(lane, end): (&LaneId, &u64)| chunks.get(lane).is_some_and(|chunks| chunks >= end);
            let lacks_chunks = !self.acknowledged.iter().all(covers);
            match &covered {
                Some(covered) => self.compare(covered, ours == result.digest),
                None => {
                    let covered = |lane: &Lane| chunks.get(&lane.id).copied().unwrap_or(0) >= lane.next_seq;
                    self.start_checking(self.lanes.iter().all(covered));
                }
            }
            if lacks_chunks {
                self.misses(1, "chunks of this server's journal");
            }
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

    /// Looks for what was acknowledged here in what a result covers, and forgets what `notes` holds because of it.
    fn compare(&mut self, covered: &Notebook<B>, same: bool) {
        let ballot = &self.ballot;
        let lacks = |viewer: &ViewerId, entry: Entry<'_>| {
            covered.get(viewer).is_none_or(|held| ballot.beats(entry, held.entry()))
        };
        let lacks_row = |row: &NoteRow| lacks(&row.viewer, Entry { version: row.version, payload: &row.payload });
        // Elsewhere the map may hold another pod's chunk that came too late.
        let missing = if self.is_shared() {
            self.dirty.iter().filter(|dirty| dirty.counts && lacks_row(&dirty.row)).count()
        } else if same {
            0
        } else {
            self.notebook.iter().filter(|(viewer, held)| lacks(viewer, held.entry())).count()
        };
        // Whoever made the result has written the others.
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|dirty| lacks_row(&dirty.row));
        self.dirty = dirty;
        self.note_unfolded();
        self.misses(missing, "notes");
    }

    /// Looks for what was acknowledged here at the end in `notes`, which another pod has completed from the result. What
    /// came before, this pod wrote there itself. Unless the result covers all chunks of this pod's lanes, rows of a later
    /// one still have to be written before the lane may be called materialised so far.
    fn start_checking(&mut self, is_whole: bool) {
        let rows: Vec<_> = self.dirty.iter().filter(|dirty| dirty.counts).take(MAX_CHECKED_ROWS).cloned().collect();
        if is_whole {
            self.dirty.clear();
        }
        self.note_unfolded();
        if rows.is_empty() {
            return;
        }
        self.start(|engine, ballot, id| async move {
            let mut missing = Vec::new();
            for dirty in &rows {
                let Dirty { row, .. } = dirty;
                let before = u128::from_be_bytes(row.viewer.0).checked_sub(1).map(|id| ViewerId(id.to_be_bytes()));
                let found = match engine.store.read_notes(id, before, 1).await {
                    Ok(found) => found.into_iter().next().filter(|found| found.viewer == row.viewer),
                    Err(error) => return Done::Checked(rows, Err(error)),
                };
                let entry = |row: &NoteRow| (row.version, row.payload.clone());
                let (version, payload) = entry(row);
                let is_beaten = found.as_ref().map(entry).is_some_and(|(held, kept)| {
                    !ballot.beats(Entry { version, payload: &payload }, Entry { version: held, payload: &kept })
                });
                if !is_beaten {
                    missing.push(dirty.clone());
                }
            }
            Done::Checked(rows, Ok(missing))
        });
    }

    pub(super) fn on_checked(&mut self, rows: Vec<Dirty>, missing: Result<Vec<Dirty>, StoreError>) {
        match missing {
            Ok(missing) => {
                self.misses(missing.len(), "notes");
                self.dirty.extend(missing);
            }
            Err(error) => {
                tracing::warn!(item = %self.id, %error, "cannot compare the result with what was acknowledged here");
                self.dirty.extend(rows);
            }
        }
    }

    /// The alarm for a result without something that this pod acknowledged.
    fn misses(&self, count: usize, what: &str) {
        if count == 0 || mutant!(SilentOnMissingVotes) {
            return;
        }
        tracing::error!(item = %self.id, count, "the result lacks {what} that were acknowledged here");
        metrics::counter!(ACKNOWLEDGED_MISSING).increment(u64::try_from(count).unwrap_or(u64::MAX));
        self.alarmed();
    }

    /// Carries out the next change of phase, one at a time and only once the stored phase is known.
    pub(super) fn next_control(&mut self) {
        while (self.loaded || self.unreadable) && !self.raising {
            let Some(control) = self.queued_controls.pop_front() else { return };
            let (epoch, phase) = (self.rank.epoch(), self.rank.phase());
            let (answer, next) = match (control, phase) {
                (Control::Open(answer) | Control::Reopen(answer), _) if self.unreadable => {
                    drop(answer.send(Err(ItemError::Unreadable)));
                    continue;
                }
                (Control::Open(answer), Phase::Pending) => (answer, Some(Rank::new(epoch, Phase::Open))),
                (Control::Close(of, answer), Phase::Open) if of.is_none_or(|of| of == epoch) => {
                    (answer, Some(Rank::new(epoch, Phase::Closing)))
                }
                (Control::Reopen(answer), Phase::Final) => (answer, Some(Rank::new(epoch + 1, Phase::Open))),
                (Control::Reopen(answer), Phase::Closing) if mutant!(ReopensWhileClosing) => {
                    (answer, Some(Rank::new(epoch + 1, Phase::Open)))
                }
                (Control::Open(answer) | Control::Reopen(answer), Phase::Open)
                | (Control::Close(_, answer), Phase::Open | Phase::Closing | Phase::Final) => (answer, None),
                (Control::Open(answer) | Control::Close(_, answer) | Control::Reopen(answer), _) => {
                    self.publish();
                    drop(answer.send(Err(ItemError::Phase(phase))));
                    continue;
                }
                (_, _) => continue,
            };
            match next {
                Some(rank) => self.start_raising(rank, answer),
                // Whoever asked looks at the view next.
                None => {
                    self.publish();
                    drop(answer.send(Ok(self.rank)));
                }
            }
        }
    }
}
