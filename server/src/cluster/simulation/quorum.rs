//! The store of the simulation: three replicas, a QUORUM of two for everything.
//!
//! A reading of many rows is many readings, each of other replicas at another moment: a snapshot of nothing. What one
//! reading saw the next may miss, since nothing repairs a replica that was left out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::World;
use super::network::NODES;
use super::replica::{Cell, Key, Reply, Request, Rows};
use crate::cluster::mutant::mutant;
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::domain::viewer::ViewerId;
use crate::store::tips::{Step, Tips};
use crate::store::{
    ErrorKind, ItemId, LANE_PAGE, LaneId, LaneRow, NoteRow, PhaseRow, Record, RecordKey, RecordKind, Result, Store,
    StoreError, Swap, WriterId,
};

/// Attempts of a reading or a writing before the engine hears of it.
const ATTEMPTS: usize = 2;

/// What one pod sees of the cluster.
pub(super) struct QuorumStore {
    pub(super) world: Arc<World>,
    pub(super) pod: usize,
    /// As a store of this kind has it, one for each incarnation.
    pub(super) tips: Tips,
}

pub(super) fn error(kind: ErrorKind, what: &str) -> StoreError {
    StoreError::new(kind, "simulated", what.to_owned())
}

fn number(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

fn number_of(cell: &Cell) -> u64 {
    cell.1.as_ref().try_into().map(u64::from_be_bytes).unwrap_or_default()
}

const LOWEST: LaneId = LaneId { writer: WriterId(uuid::Uuid::nil()), lane: 0 };
const HIGHEST: LaneId = LaneId { writer: WriterId(uuid::Uuid::max()), lane: u8::MAX };

impl QuorumStore {
    fn clock_us(&self) -> u64 {
        self.world.clock_us(self.pod)
    }

    pub(super) async fn write(&self, cells: Vec<(Key, Cell)>) -> Result<()> {
        let needed = if mutant!(WritesAtOne) { 1 } else { NODES / 2 + 1 };
        {
            let mut network = self.world.network();
            let up = network.is_down.iter().filter(|is_down| !**is_down).count();
            let is_cut = network.cuts.get(&self.pod).is_some_and(|cut| cut.asks);
            if (up < needed || is_cut) && network.chance(500) {
                return Err(error(ErrorKind::Unavailable, "not enough nodes, and nothing was sent"));
            }
        }
        let request = Arc::new(Request::Write(cells));
        for attempt in 0..ATTEMPTS {
            if self.world.attempt(self.pod, needed, &request, attempt > 0).await.is_some() {
                return Ok(());
            }
        }
        Err(error(ErrorKind::Unknown, "no QUORUM answered the writing"))
    }

    pub(super) async fn read(&self, request: Request) -> Result<Rows> {
        let needed = if mutant!(ReadsAtOne) { 1 } else { NODES / 2 + 1 };
        let request = Arc::new(request);
        for attempt in 0..ATTEMPTS {
            let Some(replies) = self.world.attempt(self.pod, needed, &request, attempt > 0).await else { continue };
            let mut merged = Rows::new();
            for reply in replies {
                let Reply::Rows(rows) = reply else { continue };
                for (key, cell) in rows {
                    let kept = merged.entry(key).or_insert_with(|| cell.clone());
                    if cell > *kept {
                        *kept = cell;
                    }
                }
            }
            return Ok(merged);
        }
        Err(error(ErrorKind::Unavailable, "no QUORUM answered the reading"))
    }

    /// A few rows at a time, each time from other replicas. `after` says where the next reading starts.
    async fn read_pages(
        &self,
        from: Key,
        to: Key,
        limit: usize,
        after: impl Fn(&Key) -> Option<Key> + Send + Sync,
    ) -> Result<Vec<(Key, Cell)>> {
        let dice = self.world.network().below(4);
        let page = [1, 3, limit, limit][usize::try_from(dice).unwrap_or(0)];
        let (mut found, mut from) = (Vec::new(), from);
        loop {
            let rows = self.read(Request::Read { ranges: vec![from..=to], limit: page }).await?;
            let count = rows.len();
            found.extend(rows.into_iter().take(page));
            let next = found.last().and_then(|(key, _)| after(key)).filter(|next| *next <= to);
            match next {
                Some(next) if count >= page && found.len() < limit => from = next,
                _ => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Paxos for a cell that is written once.
    async fn write_once(&self, key: Key, body: Bytes) -> Result<()> {
        let quorum = NODES / 2 + 1;
        let unknown = || error(ErrorKind::Unknown, "no QUORUM decided");
        let mut ballot = self.world.next_ballot(0);
        for _ in 0..4 {
            let prepare = Arc::new(Request::Prepare(key, ballot));
            let replies = self.world.attempt(self.pod, quorum, &prepare, true).await.ok_or_else(unknown)?;
            let (mut accepted, mut decided, mut refused) = (None, None, 0);
            for reply in replies {
                match reply {
                    Reply::Promise(earlier, known) => {
                        accepted = accepted.max(earlier);
                        decided = decided.or(known);
                    }
                    Reply::Refused(higher) => refused = refused.max(higher),
                    Reply::Done | Reply::Rows(_) => {}
                }
            }
            if refused > 0 {
                ballot = self.world.next_ballot(refused);
                let wait_ms = 20 + self.world.network().below(100);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                continue;
            }
            let value = match (decided, accepted) {
                (Some((_, value)), _) | (None, Some((_, value))) => value,
                (None, None) => body.clone(),
            };
            let accept = Arc::new(Request::Accept(key, ballot, value.clone()));
            let replies = self.world.attempt(self.pod, quorum, &accept, true).await.ok_or_else(unknown)?;
            if replies.iter().any(|reply| matches!(reply, Reply::Refused(_))) {
                ballot = self.world.next_ballot(ballot);
                continue;
            }
            return self.write(vec![(key, (ballot, value))]).await.map_err(|_| unknown());
        }
        Err(unknown())
    }
}

#[async_trait]
impl Store for QuorumStore {
    fn backend(&self) -> &'static str {
        "simulated"
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }

    async fn register_lane(&self, item: ItemId, lane: LaneId, format: u8) -> Result<()> {
        if self.world.lose_registration.swap(false, Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(800)).await;
            return Err(error(ErrorKind::Unknown, "every message was lost"));
        }
        self.write(vec![(Key::Writer(item, lane), (1, Bytes::copy_from_slice(&[format])))]).await
    }

    async fn lanes(&self, item: ItemId) -> Result<Vec<LaneRow>> {
        let ranges = vec![
            Key::Writer(item, LOWEST)..=Key::Writer(item, HIGHEST),
            Key::Materialised(item, LOWEST)..=Key::Materialised(item, HIGHEST),
        ];
        let rows = self.read(Request::Read { ranges, limit: usize::MAX }).await?;
        let lane = |(key, (_, format)): (&Key, &Cell)| {
            let Key::Writer(_, id) = *key else { return None };
            let materialised = rows.get(&Key::Materialised(item, id)).map_or(0, number_of);
            Some(LaneRow { id, format: format.first().copied().unwrap_or_default(), materialised })
        };
        Ok(rows.iter().filter_map(lane).collect())
    }

    async fn append(&self, item: ItemId, lane: LaneId, seq: u64, chunk: Bytes) -> Result<()> {
        let key = Key::Chunk(item, lane, seq);
        match self.tips.begin(item, lane, seq, &chunk) {
            Step::Write => {}
            Step::Mismatch => return Err(error(ErrorKind::Mismatch, "other bytes were written there")),
            Step::Compare => {
                let rows = self.read(Request::Read { ranges: vec![key..=key], limit: 1 }).await?;
                if rows.get(&key).is_some_and(|(_, stored)| *stored != chunk) {
                    return Err(error(ErrorKind::Mismatch, "other bytes are stored there"));
                }
                self.tips.compared(item, lane, seq, &chunk);
            }
        }
        let written = self.write(vec![(key, (1, chunk))]).await;
        if written.as_ref().is_err_and(|error| error.kind != ErrorKind::Unknown) {
            self.tips.withdraw(item, lane, seq);
        }
        written
    }

    async fn read_lane(&self, item: ItemId, lane: LaneId, from_seq: u64) -> Result<Vec<(u64, Bytes)>> {
        let (from, to) = (Key::Chunk(item, lane, from_seq), Key::Chunk(item, lane, u64::MAX));
        let next = |key: &Key| match key {
            Key::Chunk(item, lane, seq) => Some(Key::Chunk(*item, *lane, seq + 1)),
            _ => None,
        };
        let rows = self.read_pages(from, to, LANE_PAGE, next).await?;
        let mut chunks = Vec::with_capacity(rows.len());
        for (key, (_, chunk)) in rows {
            let Key::Chunk(_, _, seq) = key else { continue };
            chunks.push((seq, self.world.maybe_damaged(chunk)));
        }
        Ok(chunks)
    }

    async fn prune_journal(&self, item: ItemId) -> Result<()> {
        self.world.oracle(item).violated("the engine pruned a journal");
        Ok(())
    }

    async fn write_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        let clock_us = self.clock_us();
        let cell = |row: NoteRow| {
            let timestamp = if mutant!(NotesByClock) { clock_us } else { row.version };
            let mut value = row.version.to_be_bytes().to_vec();
            value.extend_from_slice(&row.payload);
            (Key::Note(item, row.viewer), (timestamp, Bytes::from(value)))
        };
        self.write(rows.into_iter().map(cell).collect()).await
    }

    async fn read_notes(&self, item: ItemId, after: Option<ViewerId>, limit: usize) -> Result<Vec<NoteRow>> {
        let following = |viewer: ViewerId| {
            u128::from_be_bytes(viewer.0).checked_add(1).map(|id| Key::Note(item, ViewerId(id.to_be_bytes())))
        };
        let from = match after {
            None => Key::Note(item, ViewerId([0; 16])),
            Some(viewer) => match following(viewer) {
                Some(key) => key,
                None => return Ok(Vec::new()),
            },
        };
        let next = |key: &Key| match key {
            Key::Note(_, viewer) => following(*viewer),
            _ => None,
        };
        let rows = self.read_pages(from, Key::Note(item, ViewerId([0xFF; 16])), limit, next).await?;
        Ok(rows.iter().filter_map(|(key, cell)| note_row(key, cell)).collect())
    }

    async fn prune_notes(&self, item: ItemId) -> Result<()> {
        self.world.oracle(item).violated("the engine pruned notes");
        Ok(())
    }

    async fn restore_notes(&self, item: ItemId, _rows: Vec<NoteRow>) -> Result<()> {
        self.world.oracle(item).violated("the engine restored notes");
        Ok(())
    }

    async fn advance_materialised(&self, item: ItemId, lane: LaneId, materialised: u64) -> Result<()> {
        self.write(vec![(Key::Materialised(item, lane), (materialised, number(materialised)))]).await
    }

    async fn raise_rank(&self, item: ItemId, rank: Rank) -> Result<()> {
        let timestamp = if mutant!(RankByClock) { self.clock_us() } else { rank.0 };
        self.write(vec![(Key::Rank(item.live, item.jeu), (timestamp, number(rank.0)))]).await
    }

    async fn ranks(&self, live: LiveId) -> Result<Vec<PhaseRow>> {
        let ranges = vec![Key::Rank(live, JeuId(0))..=Key::Rank(live, JeuId(u32::MAX))];
        let rows = self.read(Request::Read { ranges, limit: usize::MAX }).await?;
        let phase = |(key, cell): (&Key, &Cell)| {
            let Key::Rank(_, jeu) = *key else { return None };
            Some(PhaseRow { jeu, rank: Rank(number_of(cell)) })
        };
        Ok(rows.iter().filter_map(phase).collect())
    }

    async fn put_result(&self, item: ItemId, epoch: u64, body: Bytes) -> Result<()> {
        let key = Key::Result(item, epoch);
        if mutant!(LastResultStands) {
            return self.write(vec![(key, (self.clock_us(), body))]).await;
        }
        self.write_once(key, body).await
    }

    async fn result(&self, item: ItemId, epoch: u64) -> Result<Option<Bytes>> {
        let key = Key::Result(item, epoch);
        let rows = self.read(Request::Read { ranges: vec![key..=key], limit: 1 }).await?;
        Ok(rows.get(&key).map(|(_, body)| body.clone()))
    }

    async fn beat(&self, live: LiveId, writer: WriterId, body: Bytes) -> Result<()> {
        self.write(vec![(Key::Beat(live, writer), (self.clock_us(), body))]).await
    }

    async fn heartbeats(&self, live: LiveId) -> Result<Vec<(WriterId, Bytes)>> {
        let ranges = vec![Key::Beat(live, LOWEST.writer)..=Key::Beat(live, HIGHEST.writer)];
        let rows = self.read(Request::Read { ranges, limit: usize::MAX }).await?;
        let beat = |(key, (_, body)): (Key, Cell)| match key {
            Key::Beat(_, writer) => Some((writer, body)),
            _ => None,
        };
        Ok(rows.into_iter().filter_map(beat).collect())
    }

    async fn record(&self, key: &RecordKey) -> Result<Option<Record>> {
        self.document(key).await
    }

    async fn records(&self, kind: RecordKind, _: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>> {
        self.documents(kind, after, limit).await
    }

    async fn put_record(&self, key: &RecordKey, expected: u64, body: String) -> Result<Swap> {
        self.swap_in(key, expected, &body).await
    }

    async fn delete_record(&self, key: &RecordKey, expected: u64) -> Result<Swap> {
        self.swap_out(key, expected).await
    }
}

/// A row of `notes` as it is in a cell.
pub(super) fn note_row(key: &Key, (_, value): &Cell) -> Option<NoteRow> {
    let Key::Note(_, viewer) = *key else { return None };
    let (version, payload) = value.split_first_chunk()?;
    Some(NoteRow { viewer, version: u64::from_be_bytes(*version), payload: payload.into() })
}
