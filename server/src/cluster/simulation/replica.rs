//! One node's disk: cells with timestamps, the greater `(timestamp, value)` of each staying, as in CQL.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::viewer::ViewerId;
use crate::store::{ItemId, LaneId, WriterId};

/// Where a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Writer(ItemId, LaneId),
    Materialised(ItemId, LaneId),
    Chunk(ItemId, LaneId, u64),
    Note(ItemId, ViewerId),
    Rank(LiveId, JeuId),
    Result(ItemId, u64),
    Beat(LiveId, WriterId),
    /// The record of a channel, by its number.
    Channel(u8),
    /// The record of a live.
    Live(LiveId),
}

/// A value and its timestamp, in the order in which they win.
pub(super) type Cell = (u64, Bytes);

pub(super) type Rows = BTreeMap<Key, Cell>;

/// What is asked of a node.
#[derive(Debug)]
pub(super) enum Request {
    Write(Vec<(Key, Cell)>),
    Read {
        ranges: Vec<RangeInclusive<Key>>,
        limit: usize,
    },
    /// First phase of Paxos for the value of a cell that is written once.
    Prepare(Key, u64),
    /// Its second phase.
    Accept(Key, u64, Bytes),
}

/// What a node says.
#[derive(Debug)]
pub(super) enum Reply {
    Done,
    Rows(Rows),
    /// A promise to take nothing with a lower ballot; what was accepted before; what is decided.
    Promise(Option<Cell>, Option<Cell>),
    /// A higher ballot was promised.
    Refused(u64),
}

#[derive(Debug, Default)]
pub(super) struct Replica {
    cells: Rows,
    promised: BTreeMap<Key, u64>,
    accepted: BTreeMap<Key, Cell>,
}

impl Replica {
    pub(super) fn get(&self, key: &Key) -> Option<&Cell> {
        self.cells.get(key)
    }

    pub(super) fn range(&self, range: RangeInclusive<Key>) -> impl Iterator<Item = (&Key, &Cell)> {
        self.cells.range(range)
    }

    pub(super) fn handle(&mut self, request: &Request) -> Reply {
        match request {
            Request::Write(cells) => {
                for (key, cell) in cells {
                    let kept = self.cells.entry(*key).or_insert_with(|| cell.clone());
                    if cell > kept {
                        *kept = cell.clone();
                    }
                }
                Reply::Done
            }
            Request::Read { ranges, limit } => {
                let found = ranges.iter().flat_map(|range| self.cells.range(range.clone()).take(*limit));
                Reply::Rows(found.map(|(key, cell)| (*key, cell.clone())).collect())
            }
            Request::Prepare(key, ballot) => match self.promised.get(key) {
                Some(promised) if promised >= ballot => Reply::Refused(*promised),
                _ => {
                    self.promised.insert(*key, *ballot);
                    Reply::Promise(self.accepted.get(key).cloned(), self.cells.get(key).cloned())
                }
            },
            Request::Accept(key, ballot, value) => match self.promised.get(key) {
                Some(promised) if promised > ballot => Reply::Refused(*promised),
                _ => {
                    self.promised.insert(*key, *ballot);
                    self.accepted.insert(*key, (*ballot, value.clone()));
                    Reply::Done
                }
            },
        }
    }
}
