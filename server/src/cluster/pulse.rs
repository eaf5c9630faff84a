//! Heartbeats: that this pod lives and what it holds, and what the other pods say of themselves. One task for each live.
//!
//! **Invariant**: nobody's clock is compared with another's. A writer is dead when its heartbeat has not changed for a
//! while by the clock of the reader; a writer wrongly thought dead loses nothing, since finishing a lane is harmless.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::engine::Engine;
use super::item::Control;
use super::item::vitals::{Peers, Vitals};
use super::mutant::mutant;
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::store::{ItemId, StoreError, WriterId};
use crate::supervise::Scope;

/// A pod's heartbeat in a live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Heartbeat {
    /// Layout of this document.
    format: u32,
    /// Grows by one each time.
    beat: u64,
    /// Items on which votes may come.
    items: Vec<Vitals>,
}

const FORMAT: u32 = 1;

type Followed = BTreeMap<JeuId, mpsc::WeakSender<Control>>;

/// The lives of this pod that have a heartbeat. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Pulses(Arc<Mutex<BTreeMap<LiveId, Followed>>>);

impl Pulses {
    fn lives(&self) -> std::sync::MutexGuard<'_, BTreeMap<LiveId, Followed>> {
        // Every change below is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Speaks of an item until its task ends.
    pub(super) fn follow(&self, engine: &Engine, item: ItemId, controls: mpsc::WeakSender<Control>) {
        let is_first = {
            let mut lives = self.lives();
            let is_first = !lives.contains_key(&item.live);
            lives.entry(item.live).or_default().insert(item.jeu, controls);
            is_first
        };
        if is_first {
            let (kept, engine, pulses) = (engine, engine.clone(), self.clone());
            let beat = move || beat_on(engine.clone(), pulses.clone(), item.live);
            kept.keep(Scope::Part, "heartbeat", beat);
        }
    }

    /// The items of a live that still run; forgets the live when there is none.
    fn items(&self, live: LiveId) -> Vec<(JeuId, mpsc::Sender<Control>)> {
        let mut lives = self.lives();
        let Some(followed) = lives.get_mut(&live) else { return Vec::new() };
        followed.retain(|_, controls| controls.strong_count() > 0);
        let items: Vec<_> = followed.iter().filter_map(|(jeu, weak)| Some((*jeu, weak.upgrade()?))).collect();
        if items.is_empty() {
            lives.remove(&live);
        }
        items
    }
}

/// What is known of one writer.
struct Seen {
    beat: Option<u64>,
    changed_at: Duration,
}

async fn beat_on(engine: Engine, pulses: Pulses, live: LiveId) {
    let mut seen = BTreeMap::new();
    let mut beat = 0;
    loop {
        let items = pulses.items(live);
        if items.is_empty() {
            return;
        }
        if let Err(error) = beat_once(&engine, live, items, beat, &mut seen).await {
            tracing::warn!(%live, %error, "no heartbeat");
        }
        beat += 1;
        sleep(engine.cadence.heartbeat_interval).await;
    }
}

async fn beat_once(
    engine: &Engine,
    live: LiveId,
    items: Vec<(JeuId, mpsc::Sender<Control>)>,
    beat: u64,
    seen: &mut BTreeMap<WriterId, Seen>,
) -> Result<(), StoreError> {
    let mut vitals = Vec::with_capacity(items.len());
    for (_, controls) in &items {
        let (sender, answer) = oneshot::channel();
        // An item that is overloaded or ends says nothing.
        if controls.try_send(Control::Vitals(sender)).is_ok() {
            vitals.extend(answer.await.ok().flatten());
        }
    }
    let own = Heartbeat { format: FORMAT, beat, items: vitals };
    // A heartbeat is made of numbers and strings: it always has a JSON form.
    let body = serde_json::to_vec(&own).map(Bytes::from).unwrap_or_default();
    engine.store.beat(live, engine.writer, body).await?;

    let now = engine.env.clock.since_boot();
    let mut others = Vec::new();
    for (writer, body) in engine.store.heartbeats(live).await? {
        // One that this program cannot read says nothing; finishing the lanes of its writer is harmless.
        let Ok(read) = serde_json::from_slice::<Heartbeat>(&body) else { continue };
        let known = seen.entry(writer).or_insert(Seen { beat: None, changed_at: now });
        // Two readings may come from different replicas, and the later one be older.
        if known.beat.is_none_or(|beat| beat < read.beat || (mutant!(AnyBeatIsNews) && beat != read.beat)) {
            *known = Seen { beat: Some(read.beat), changed_at: now };
        }
        if writer != engine.writer {
            others.push(read);
        }
    }
    // Whoever has a lane and never had a heartbeat is known from now on, and dead after a while.
    for (writer, _, _) in own.items.iter().flat_map(|item| &item.lanes) {
        seen.entry(WriterId(*writer)).or_insert(Seen { beat: None, changed_at: now });
    }
    let is_dead = |known: &Seen| now.saturating_sub(known.changed_at) >= engine.cadence.dead_after;
    let dead: BTreeSet<_> =
        seen.iter().filter(|(writer, known)| **writer != engine.writer && is_dead(known)).map(|(id, _)| *id).collect();
    // Registered writers without a heartbeat of their own are nobody who could finish a lane.
    let alive = seen.iter().filter(|(writer, known)| known.beat.is_some() && !dead.contains(writer));
    let is_lowest = alive.map(|(writer, _)| *writer).min().is_none_or(|lowest| lowest >= engine.writer);
    for (jeu, controls) in items {
        let of_item = |heartbeat: &Heartbeat| heartbeat.items.iter().find(|item| item.jeu == jeu.0).cloned();
        let peers = Peers {
            vitals: others.iter().filter_map(of_item).collect(),
            orphans: if is_lowest { dead.iter().copied().collect() } else { Vec::new() },
        };
        let _too_busy = controls.try_send(Control::Peers(peers));
    }
    Ok(())
}
