//! Heartbeats: that this pod lives and what it holds, and what the other pods say of themselves. One task for each live.
//!
//! **Invariant**: nothing is decided by another pod's clock; that clocks differ is an alarm and no more. A writer is dead when its heartbeat has not changed for a
//! while by the clock of the reader; a writer wrongly thought dead loses nothing, since finishing a lane is harmless.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

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
    /// Grows by one each time, from the server time at which the first was made.
    beat: u64,
    /// Server time of this pod when it was made.
    now_us: u64,
    /// Items on which votes may come.
    items: Vec<Vitals>,
}

const FORMAT: u32 = 1;

/// How old a heartbeat may be and still say something of its pod's clock: a pod that is gone raises no alarm.
const LATELY: Duration = Duration::from_secs(10);

/// How long a heartbeat waits for what items say of themselves, all together: they answer within milliseconds, and a pod
/// whose heartbeat is late counts as dead.
const VITALS_WAIT: Duration = Duration::from_millis(500);

type Followed = BTreeMap<JeuId, mpsc::WeakSender<Control>>;

/// The lives of this pod that have a heartbeat, and how far other pods' clocks are from this one's at least. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Pulses {
    lives: Arc<Mutex<BTreeMap<LiveId, Followed>>>,
    skews: Arc<Mutex<BTreeMap<LiveId, Duration>>>,
}

impl Pulses {
    fn lives(&self) -> std::sync::MutexGuard<'_, BTreeMap<LiveId, Followed>> {
        // Every change below is one insertion or removal.
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn skews(&self) -> std::sync::MutexGuard<'_, BTreeMap<LiveId, Duration>> {
        self.skews.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the clock of another pod is from this one's, at least; zero while no heartbeat shows a difference.
    pub(super) fn skew(&self) -> Duration {
        self.skews().values().copied().max().unwrap_or_default()
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
    /// How far its clock is from this pod's, at least.
    skew: Duration,
}

impl Seen {
    fn new(beat: Option<u64>, changed_at: Duration) -> Self {
        Self { beat, changed_at, skew: Duration::ZERO }
    }
}

/// How far a pod's clock is from this one's at least, given what it said in a heartbeat that was made between two moments
/// of this clock: one that says a time in between may be right.
fn least_skew(said_us: u64, after_us: Option<u64>, before_us: u64) -> Duration {
    let ahead_us = said_us.saturating_sub(before_us);
    let behind_us = after_us.map_or(0, |after_us| after_us.saturating_sub(said_us));
    Duration::from_micros(ahead_us.max(behind_us))
}

async fn beat_on(engine: Engine, pulses: Pulses, live: LiveId) {
    let (mut seen, mut read_us) = (BTreeMap::new(), None);
    // Above every one of a task before this one, whose beats the other pods remember: a lower one is no news to them.
    let mut beat = engine.env.now_us();
    loop {
        let items = pulses.items(live);
        if items.is_empty() {
            pulses.skews().remove(&live);
            return;
        }
        if let Err(error) = beat_once(&engine, live, items, beat, &mut seen, &mut read_us).await {
            tracing::warn!(%live, %error, "no heartbeat");
        }
        let is_alive = |known: &&Seen| engine.env.clock.since_boot().saturating_sub(known.changed_at) < LATELY;
        let skew = seen.values().filter(is_alive).map(|known| known.skew).max();
        pulses.skews().insert(live, skew.unwrap_or_default());
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
    read_us: &mut Option<u64>,
) -> Result<(), StoreError> {
    let ask = |(_, controls): &(JeuId, mpsc::Sender<Control>)| {
        let (sender, answer) = oneshot::channel();
        controls.try_send(Control::Vitals(sender)).ok().map(|()| answer)
    };
    let answers: Vec<_> = items.iter().filter_map(ask).collect();
    let until = Instant::now() + VITALS_WAIT;
    let mut vitals = Vec::with_capacity(answers.len());
    for answer in answers {
        // An item that is overloaded or ends says nothing, and one whose task died holds nobody up.
        vitals.extend(timeout_at(until, answer).await.ok().and_then(Result::ok).flatten());
    }
    let own = Heartbeat { format: FORMAT, beat, now_us: engine.env.now_us(), items: vitals };
    // A heartbeat is made of numbers and strings: it always has a JSON form.
    let body = serde_json::to_vec(&own).map(Bytes::from).unwrap_or_default();
    engine.store.beat(live, engine.writer, body).await?;

    let now = engine.env.clock.since_boot();
    let mut others = Vec::new();
    // What is news was made after the reading before this one began.
    let began_us = engine.env.now_us();
    let heartbeats = engine.store.heartbeats(live).await?;
    let after_us = read_us.replace(began_us);
    let before_us = engine.env.now_us();
    for (writer, body) in heartbeats {
        // One that this program cannot read says nothing; finishing the lanes of its writer is harmless.
        let Ok(read) = serde_json::from_slice::<Heartbeat>(&body) else { continue };
        let known = seen.entry(writer).or_insert(Seen::new(None, now));
        // Two readings may come from different replicas, and the later one be older.
        if known.beat.is_none_or(|beat| beat < read.beat || (mutant!(AnyBeatIsNews) && beat != read.beat)) {
            let skew = least_skew(read.now_us, after_us.filter(|_| known.beat.is_some()), before_us);
            *known = Seen { skew, ..Seen::new(Some(read.beat), now) };
        }
        if writer != engine.writer {
            others.push(read);
        }
    }
    // Whoever has a lane and never had a heartbeat is known from now on, and dead after a while.
    for (writer, _, _) in own.items.iter().flat_map(|item| &item.lanes) {
        seen.entry(WriterId(*writer)).or_insert(Seen::new(None, now));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_by_what_no_delay_explains() {
        let skew = |said, after, before| least_skew(said, after, before).as_micros();
        assert_eq!(skew(150, Some(100), 200), 0, "made in between");
        assert_eq!(skew(1150, Some(100), 200), 950, "ahead: nothing is read before it is made");
        assert_eq!(skew(40, Some(100), 200), 60, "behind: the reading before did not find it");
        assert_eq!(skew(40, None, 200), 0, "nobody knows how long it has been there");
    }
}
