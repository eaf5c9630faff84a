//! The reference store: maps behind one lock, gone with the process. Tests and simulations run on it.
//!
//! Invariant: it is the plainest reading of the contract in [`super`]; a backend that differs from it is wrong.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    ItemId, LANE_PAGE, LaneId, LaneRow, NoteRow, Payload, PhaseRow, Record, RecordKey, RecordKind, Result, Store, Swap,
    WriterId, limits,
};
use crate::cluster::mutant::mutant;
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::note::Version;
use crate::domain::phase::Rank;
use crate::domain::viewer::ViewerId;

const BACKEND: &str = "memory";

/// Facts in maps.
#[derive(Debug)]
pub struct MemoryStore {
    shared: bool,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    lanes: BTreeMap<(ItemId, LaneId), LaneRow>,
    journal: BTreeMap<(ItemId, LaneId, u64), Bytes>,
    notes: BTreeMap<(ItemId, ViewerId), (Version, Payload)>,
    ranks: BTreeMap<(LiveId, JeuId), Rank>,
    results: BTreeMap<(ItemId, u64), Bytes>,
    heartbeats: BTreeMap<(LiveId, WriterId), Bytes>,
    records: BTreeMap<RecordKey, (u64, String)>,
}

impl MemoryStore {
    /// An empty store that several pods of a test may share.
    pub fn new() -> Self {
        Self { shared: true, facts: Mutex::default() }
    }

    /// An empty store that claims to have one user, as a locked file has.
    pub fn exclusive() -> Self {
        Self { shared: false, facts: Mutex::default() }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // A panic of another test task leaves whole facts: every change below is one insertion or removal.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn is_shared(&self) -> bool {
        self.shared
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }

    async fn register_lane(&self, item: ItemId, lane: LaneId, format: u8) -> Result<()> {
        self.facts().lanes.entry((item, lane)).or_insert(LaneRow { id: lane, format, materialised: 0 });
        Ok(())
    }

    async fn lanes(&self, item: ItemId) -> Result<Vec<LaneRow>> {
        let facts = self.facts();
        Ok(facts.lanes.iter().filter(|((of, _), _)| *of == item).map(|(_, row)| *row).collect())
    }

    async fn append(&self, item: ItemId, lane: LaneId, seq: u64, chunk: Bytes) -> Result<()> {
        limits::chunk(BACKEND, seq, &chunk)?;
        let mut facts = self.facts();
        if !facts.lanes.contains_key(&(item, lane)) {
            return Err(limits::not_registered(BACKEND));
        }
        let kept = facts.journal.entry((item, lane, seq)).or_insert_with(|| chunk.clone());
        if *kept != chunk && !mutant!(AcceptsOtherBytes) {
            return Err(limits::mismatch(BACKEND, seq));
        }
        Ok(())
    }

    async fn read_lane(&self, item: ItemId, lane: LaneId, from_seq: u64) -> Result<Vec<(u64, Bytes)>> {
        let facts = self.facts();
        let range = facts.journal.range((item, lane, from_seq)..=(item, lane, u64::MAX));
        Ok(range.take(LANE_PAGE).map(|((_, _, seq), chunk)| (*seq, chunk.clone())).collect())
    }

    async fn prune_journal(&self, item: ItemId) -> Result<()> {
        let mut facts = self.facts();
        facts.journal.retain(|(of, _, _), _| *of != item);
        facts.lanes.retain(|(of, _), _| *of != item);
        Ok(())
    }

    async fn write_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        limits::rows(BACKEND, &rows)?;
        let mut facts = self.facts();
        for row in rows {
            let new = (row.version, row.payload);
            let kept = facts.notes.entry((item, row.viewer)).or_insert_with(|| new.clone());
            if new > *kept {
                *kept = new;
            }
        }
        Ok(())
    }

    async fn read_notes(&self, item: ItemId, after: Option<ViewerId>, limit: usize) -> Result<Vec<NoteRow>> {
        let from = match after {
            Some(viewer) => Bound::Excluded((item, viewer)),
            None => Bound::Included((item, ViewerId([0; 16]))),
        };
        let facts = self.facts();
        let range = facts.notes.range((from, Bound::Included((item, ViewerId([0xFF; 16])))));
        let row = |((_, viewer), (version, payload)): (&(ItemId, ViewerId), &(Version, Payload))| NoteRow {
            viewer: *viewer,
            version: *version,
            payload: payload.clone(),
        };
        Ok(range.take(limit).map(row).collect())
    }

    async fn prune_notes(&self, item: ItemId) -> Result<()> {
        self.facts().notes.retain(|(of, _), _| *of != item);
        Ok(())
    }

    async fn restore_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        self.write_notes(item, rows).await
    }

    async fn advance_materialised(&self, item: ItemId, lane: LaneId, materialised: u64) -> Result<()> {
        limits::number(BACKEND, "materialised", materialised)?;
        if let Some(row) = self.facts().lanes.get_mut(&(item, lane)) {
            row.materialised = row.materialised.max(materialised);
        }
        Ok(())
    }

    async fn raise_rank(&self, item: ItemId, rank: Rank) -> Result<()> {
        limits::number(BACKEND, "rank", rank.0)?;
        let mut facts = self.facts();
        let kept = facts.ranks.entry((item.live, item.jeu)).or_insert(rank);
        *kept = rank.max(*kept);
        Ok(())
    }

    async fn ranks(&self, live: LiveId) -> Result<Vec<PhaseRow>> {
        let facts = self.facts();
        let range = facts.ranks.range((live, JeuId(0))..=(live, JeuId(u32::MAX)));
        Ok(range.map(|((_, jeu), rank)| PhaseRow { jeu: *jeu, rank: *rank }).collect())
    }

    async fn put_result(&self, item: ItemId, epoch: u64, body: Bytes) -> Result<()> {
        limits::number(BACKEND, "epoch", epoch)?;
        self.facts().results.entry((item, epoch)).or_insert(body);
        Ok(())
    }

    async fn result(&self, item: ItemId, epoch: u64) -> Result<Option<Bytes>> {
        Ok(self.facts().results.get(&(item, epoch)).cloned())
    }

    async fn beat(&self, live: LiveId, writer: WriterId, body: Bytes) -> Result<()> {
        self.facts().heartbeats.insert((live, writer), body);
        Ok(())
    }

    async fn heartbeats(&self, live: LiveId) -> Result<Vec<(WriterId, Bytes)>> {
        let facts = self.facts();
        let of_live = facts.heartbeats.iter().filter(|((of, _), _)| *of == live);
        Ok(of_live.map(|((_, writer), body)| (*writer, body.clone())).collect())
    }

    async fn record(&self, key: &RecordKey) -> Result<Option<Record>> {
        let facts = self.facts();
        let found = facts.records.get(key);
        Ok(found.map(|(revision, body)| Record { id: key.id.clone(), revision: *revision, body: body.clone() }))
    }

    async fn records(&self, kind: RecordKind, scope: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>> {
        let from = RecordKey::new(kind, scope, after.unwrap_or_default());
        let from = if after.is_some() { Bound::Excluded(from) } else { Bound::Included(from) };
        let facts = self.facts();
        let range = facts.records.range((from, Bound::Unbounded));
        let of_scope = range.take_while(|(key, _)| key.kind == kind && key.scope == scope);
        let record = |(key, (revision, body)): (&RecordKey, &(u64, String))| Record {
            id: key.id.clone(),
            revision: *revision,
            body: body.clone(),
        };
        Ok(of_scope.take(limit).map(record).collect())
    }

    async fn put_record(&self, key: &RecordKey, expected: u64, body: String) -> Result<Swap> {
        limits::record(BACKEND, expected, &body)?;
        let mut facts = self.facts();
        let current = facts.records.get(key).map_or(0, |(revision, _)| *revision);
        if current != expected {
            return Ok(Swap::Conflict(current));
        }
        facts.records.insert(key.clone(), (expected + 1, body));
        Ok(Swap::Done(expected + 1))
    }

    async fn delete_record(&self, key: &RecordKey, expected: u64) -> Result<Swap> {
        let mut facts = self.facts();
        let current = facts.records.get(key).map_or(0, |(revision, _)| *revision);
        if current != expected {
            return Ok(Swap::Conflict(current));
        }
        facts.records.remove(key);
        Ok(Swap::Done(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    macro_rules! on_memory {
        ($($case:ident)*) => { $(
            #[tokio::test]
            async fn $case() {
                conformance::$case(&MemoryStore::new()).await;
            }
        )* };
    }
    crate::store_cases!(on_memory);

    #[tokio::test]
    async fn random_batches_agree_with_the_model() {
        for seed in conformance::SEEDS {
            let store = MemoryStore::new();
            let mut random = conformance::Random::new(seed);
            for _ in 0..100 {
                random.batch(&store).await;
            }
        }
    }

    #[test]
    fn it_is_shared_unless_made_exclusive() {
        assert!(MemoryStore::new().is_shared());
        assert!(!MemoryStore::exclusive().is_shared());
    }
}
