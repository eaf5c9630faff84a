//! Random batches of writes, and what a store must hold after them.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{chunk, done, item, key, lane, live, note, notes, read_all};
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::store::{ItemId, LaneId, LaneRow, NoteRow, PhaseRow, RecordKey, Store, Swap, WriterId};

/// A random operation, on few enough places that they meet.
#[derive(Debug, Clone)]
enum Op {
    Register(ItemId, LaneId),
    Append(ItemId, LaneId, u64, Bytes),
    Notes(ItemId, Vec<NoteRow>),
    Advance(ItemId, LaneId, u64),
    Raise(ItemId, Rank),
    Result(ItemId, u64, Bytes),
    Beat(LiveId, WriterId, Bytes),
    Put(RecordKey, u64, String),
    Delete(RecordKey, u64),
    Prune(ItemId),
}

/// Seeded random batches of writes, in flight together, and what a store must hold after them. The model keeps a plain
/// list of what was written and answers by searching it, so that it has nothing in common with a backend.
pub struct Random {
    seed: u64,
    rng: StdRng,
    written: Vec<Op>,
    records: BTreeMap<RecordKey, (u64, String)>,
    batches: usize,
    prunings: u128,
}

impl Random {
    const LIVES: u128 = 2;
    const JEUX: u32 = 3;

    /// Batches of a seed, from an empty store.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            written: Vec::new(),
            records: BTreeMap::new(),
            batches: 0,
            prunings: 0,
        }
    }

    /// Writes one batch and compares everything.
    pub async fn batch(&mut self, store: &dyn Store) {
        self.batches += 1;
        let context = format!("seed {}, batch {}", self.seed, self.batches);
        if self.rng.random_ratio(1, 10) {
            let op = Op::Prune(self.item());
            self.apply(store, &op, &context).await;
            self.written.retain(|other| !other.is_journal_of(&op));
            self.prunings += 1;
        } else {
            let count = self.rng.random_range(1..12);
            let ops: Vec<_> = (0..count).map(|_| self.op()).collect();
            // Registration before use is the caller's duty, and swaps of one record depend on their order.
            let (first, together): (Vec<_>, Vec<_>) =
                ops.into_iter().partition(|op| matches!(op, Op::Register(..) | Op::Put(..) | Op::Delete(..)));
            for op in &first {
                self.apply(store, op, &context).await;
            }
            let together: Vec<_> = together.into_iter().filter(|op| self.is_registered(op)).collect();
            let this = &*self;
            join_all(together.iter().map(|op| this.write(store, op, &context))).await;
            // A first result stays: which of two in flight was first is the store's choice.
            for op in together {
                if let Op::Result(of, epoch, _) = &op {
                    let body = done(&context, store.result(*of, *epoch).await).expect("a result was just written");
                    if self.result(*of, *epoch).is_none() {
                        self.written.push(Op::Result(*of, *epoch, body));
                    }
                } else if let Op::Beat(of, by, _) = &op {
                    let beats = done(&context, store.heartbeats(*of).await);
                    let (_, body) = beats.into_iter().find(|(found, _)| found == by).expect("a beat was just written");
                    self.written.push(Op::Beat(*of, *by, body));
                } else {
                    self.written.push(op);
                }
            }
        }
        self.compare(store, &context).await;
    }

    fn item(&mut self) -> ItemId {
        item(self.rng.random_range(0..Self::LIVES), self.rng.random_range(0..Self::JEUX))
    }

    fn lane(&mut self) -> LaneId {
        // A lane that was pruned is not registered again.
        lane(2 * self.prunings + self.rng.random_range(0..2), self.rng.random_range(0..2))
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.rng.random_range(0..=most);
        (0..length).map(|_| self.rng.random_range(0..4)).collect()
    }

    fn op(&mut self) -> Op {
        let (of, id) = (self.item(), self.lane());
        match self.rng.random_range(0..10) {
            0 => Op::Register(of, id),
            1 | 2 => {
                let seq = self.rng.random_range(0..40);
                // The same place always carries the same bytes.
                Op::Append(of, id, seq, chunk(&format!("{of} {id:?} {seq}").repeat(1 + seq as usize)))
            }
            3 | 4 => {
                let count = self.rng.random_range(0..20);
                let rows = (0..count).map(|_| {
                    let (of, version) = (self.rng.random_range(0..30), self.rng.random_range(0..6));
                    note(of, version, &self.bytes(3))
                });
                Op::Notes(of, rows.collect())
            }
            5 => Op::Advance(of, id, self.rng.random_range(0..40)),
            6 => Op::Raise(of, Rank(self.rng.random_range(0..12))),
            7 => {
                let epoch = self.rng.random_range(0..4);
                Op::Result(of, epoch, self.bytes(20).into())
            }
            8 => Op::Beat(of.live, id.writer, self.bytes(20).into()),
            _ => {
                let at = key(&self.rng.random_range(0..5_u8).to_string());
                let expected = self.rng.random_range(0..4);
                if self.rng.random_ratio(1, 3) {
                    Op::Delete(at, expected)
                } else {
                    Op::Put(at, expected, self.rng.random_range(0..1000_u32).to_string())
                }
            }
        }
    }

    fn is_registered(&self, op: &Op) -> bool {
        match op {
            Op::Append(of, id, ..) | Op::Advance(of, id, _) => self.lanes(*of).iter().any(|row| row.id == *id),
            _ => true,
        }
    }

    async fn write(&self, store: &dyn Store, op: &Op, context: &str) {
        let result = match op.clone() {
            Op::Register(of, id) => store.register_lane(of, id, 1).await,
            Op::Append(of, id, seq, chunk) => store.append(of, id, seq, chunk).await,
            Op::Notes(of, rows) => store.write_notes(of, rows).await,
            Op::Advance(of, id, value) => store.advance_materialised(of, id, value).await,
            Op::Raise(of, rank) => store.raise_rank(of, rank).await,
            Op::Result(of, epoch, body) => store.put_result(of, epoch, body).await,
            Op::Beat(of, by, body) => store.beat(of, by, body).await,
            Op::Prune(of) => store.prune_journal(of).await,
            Op::Put(at, expected, body) => {
                let current = self.records.get(&at).map_or(0, |(revision, _)| *revision);
                let answer = done(context, store.put_record(&at, expected, body).await);
                let right = if current == expected { Swap::Done(expected + 1) } else { Swap::Conflict(current) };
                assert_eq!(answer, right, "{context}: {op:?}");
                Ok(())
            }
            Op::Delete(at, expected) => {
                let current = self.records.get(&at).map_or(0, |(revision, _)| *revision);
                let answer = done(context, store.delete_record(&at, expected).await);
                let right = if current == expected { Swap::Done(0) } else { Swap::Conflict(current) };
                assert_eq!(answer, right, "{context}: {op:?}");
                Ok(())
            }
        };
        done(&format!("{context}: {op:?}"), result);
    }

    /// Writes one operation, and keeps the records, which depend on the order.
    async fn apply(&mut self, store: &dyn Store, op: &Op, context: &str) {
        self.write(store, op, context).await;
        match op {
            Op::Register(..) => self.written.push(op.clone()),
            Op::Put(at, expected, body) if self.records.get(at).map_or(0, |(revision, _)| *revision) == *expected => {
                self.records.insert(at.clone(), (expected + 1, body.clone()));
            }
            Op::Delete(at, expected) if self.records.get(at).is_some_and(|(revision, _)| revision == expected) => {
                self.records.remove(at);
            }
            _ => {}
        }
    }

    fn lanes(&self, of: ItemId) -> Vec<LaneRow> {
        let mut rows: Vec<LaneRow> = Vec::new();
        for op in &self.written {
            match op {
                Op::Register(at, id) if *at == of && rows.iter().all(|row| row.id != *id) => {
                    rows.push(LaneRow { id: *id, format: 1, materialised: 0 });
                }
                Op::Advance(at, id, value) if *at == of => {
                    let lane = rows.iter_mut().filter(|row| row.id == *id);
                    lane.for_each(|row| row.materialised = row.materialised.max(*value));
                }
                _ => {}
            }
        }
        rows.sort_by_key(|row| row.id);
        rows
    }

    fn result(&self, of: ItemId, epoch: u64) -> Option<Bytes> {
        self.written.iter().find_map(|op| match op {
            Op::Result(at, in_epoch, body) if (*at, *in_epoch) == (of, epoch) => Some(body.clone()),
            _ => None,
        })
    }

    async fn compare(&self, store: &dyn Store, context: &str) {
        for of in (0..Self::LIVES).flat_map(|live| (0..Self::JEUX).map(move |jeu| item(live, jeu))) {
            let mut lanes = done(context, store.lanes(of).await);
            lanes.sort_by_key(|row| row.id);
            assert_eq!(lanes, self.lanes(of), "{context}: lanes of {of}");
            for LaneRow { id, .. } in lanes {
                let mut chunks: Vec<_> = self
                    .written
                    .iter()
                    .filter_map(|op| match op {
                        Op::Append(at, by, seq, chunk) if (*at, *by) == (of, id) => Some((*seq, chunk.clone())),
                        _ => None,
                    })
                    .collect();
                chunks.sort();
                chunks.dedup();
                assert_eq!(read_all(store, of, id).await, chunks, "{context}: {of} {id:?}");
            }
            let mut rows: Vec<&NoteRow> = self
                .written
                .iter()
                .filter_map(|op| match op {
                    Op::Notes(at, rows) if *at == of => Some(rows),
                    _ => None,
                })
                .flatten()
                .collect();
            // The greatest of each viewer comes last, and stays.
            rows.sort_by_key(|row| std::cmp::Reverse((row.viewer, row.version, &row.payload)));
            rows.dedup_by_key(|row| row.viewer);
            rows.reverse();
            let found = notes(store, of).await;
            assert_eq!(found.iter().collect::<Vec<_>>(), rows, "{context}: notes of {of}");
            for epoch in 0..4 {
                assert_eq!(done(context, store.result(of, epoch).await), self.result(of, epoch), "{context}: {of}");
            }
        }
        for of in (0..Self::LIVES).map(live) {
            let raised = |jeu| {
                let ranks = self.written.iter().filter_map(|op| match op {
                    Op::Raise(at, rank) if (at.live, at.jeu) == (of, jeu) => Some(*rank),
                    _ => None,
                });
                ranks.max().map(|rank| PhaseRow { jeu, rank })
            };
            let ranks: Vec<_> = (0..Self::JEUX).map(JeuId).filter_map(raised).collect();
            assert_eq!(done(context, store.ranks(of).await), ranks, "{context}: ranks of {of}");
            let last: BTreeMap<_, _> = self
                .written
                .iter()
                .filter_map(|op| match op {
                    Op::Beat(at, by, body) if *at == of => Some((*by, body.clone())),
                    _ => None,
                })
                .collect();
            let beats: BTreeMap<_, _> = done(context, store.heartbeats(of).await).into_iter().collect();
            assert_eq!(beats, last, "{context}: heartbeats of {of}");
        }
        let records = done(context, store.records(key("").kind, &key("").scope, None, usize::MAX).await);
        let found: BTreeMap<_, _> =
            records.into_iter().map(|record| (key(&record.id), (record.revision, record.body))).collect();
        assert_eq!(found, self.records, "{context}: records");
    }
}

impl Op {
    fn is_journal_of(&self, prune: &Self) -> bool {
        let Self::Prune(pruned) = prune else { return false };
        matches!(self, Self::Register(of, _) | Self::Append(of, ..) | Self::Advance(of, ..) if of == pruned)
    }
}
