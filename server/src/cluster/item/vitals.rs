//! What a heartbeat says of an item, and what is made of the other pods'.
//!
//! **Invariant**: maps that were read from the same chunks are equal. Whatever shows otherwise raises the alarm.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Item;
use crate::cluster::mutant::mutant;
use crate::domain::ballot::Ballot;
use crate::domain::phase::Phase;
use crate::metrics::TALLY_COMPARISONS;
use crate::store::{LaneId, WriterId};

/// Own states that are remembered, to compare with heartbeats that come later: as many seconds, about.
const MAX_RECENT: usize = 16;

/// An item in a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// The jeu.
    pub jeu: u32,
    /// Chunks merged of each lane, those of which none was left out.
    pub lanes: Vec<(Uuid, u8, u64)>,
    /// Digest of the map that they make.
    pub digest: String,
}

/// The other pods, as their heartbeats show them.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// What they hold of this item.
    pub vitals: Vec<Vitals>,
    /// Writers that are dead and whose lanes are this pod's to finish.
    pub orphans: Vec<WriterId>,
}

/// States this pod was in at its last heartbeats.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Vitals>);

impl Recent {
    fn remember(&mut self, vitals: &Vitals) {
        if self.0.back() == Some(vitals) {
            return;
        }
        if self.0.len() >= MAX_RECENT {
            self.0.pop_front();
        }
        self.0.push_back(vitals.clone());
    }

    /// Whether this pod was where another one is.
    fn was_at(&self, other: &Vitals) -> bool {
        self.0.iter().any(|ours| ours.lanes == other.lanes)
    }

    /// Whether another pod made something else of the same chunks.
    fn contradicts(&self, other: &Vitals) -> bool {
        self.0.iter().any(|ours| ours.lanes == other.lanes && ours.digest != other.digest)
    }
}

impl<B: Ballot> Item<B> {
    /// How much of each lane is in the map.
    pub(super) fn vector(&self) -> BTreeMap<LaneId, u64> {
        let merged = self.cursors.iter().filter(|(_, cursor)| cursor.next_seq > 0);
        merged.map(|(lane, cursor)| (*lane, cursor.next_seq)).collect()
    }

    /// The item as it stands, while votes may change it.
    pub(super) fn vitals(&mut self) -> Option<Vitals> {
        if !self.loaded || self.degraded || !matches!(self.rank.phase(), Phase::Open | Phase::Closing) {
            return None;
        }
        let lanes = self.vector().into_iter().map(|(lane, chunks)| (lane.writer.0, lane.lane, chunks));
        let vitals = Vitals { jeu: self.id.jeu.0, lanes: lanes.collect(), digest: self.notebook.digest().to_string() };
        self.recent.remember(&vitals);
        Some(vitals)
    }

    pub(super) fn on_peers(&mut self, peers: &Peers) {
        let compared = peers.vitals.iter().filter(|other| self.recent.was_at(other)).count();
        metrics::counter!(TALLY_COMPARISONS).increment(u64::try_from(compared).unwrap_or(0));
        if peers.vitals.iter().any(|other| self.recent.contradicts(other)) {
            self.drifted("another pod made a different tally of the same chunks");
        }
        if !mutant!(NoAdoption) {
            self.start_adopting(&peers.orphans);
        }
    }
}
