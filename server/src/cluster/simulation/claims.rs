//! What must hold of lives and of what admins ask, checked while a simulated run goes on and after it.

use std::collections::BTreeMap;

use super::documents::Document;
use super::replica::{Cell, Key};
use crate::domain::channel::Channel;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::phase::Rank;
use crate::store::{ItemId, WriterId};

/// Most violations that are remembered; the first says most.
const MAX_VIOLATIONS: usize = 8;

/// A request of an admin that was not answered yet.
struct Press {
    writer: WriterId,
    at_ms: u64,
    what: String,
}

/// The oracle of lives.
#[derive(Default)]
pub(super) struct Claims {
    pub(super) violations: Vec<(u64, String)>,
    /// Each record as it was decided last, and the ballot of that.
    decided: BTreeMap<Key, u64>,
    pub(super) lives: BTreeMap<LiveId, Live>,
    pub(super) channels: BTreeMap<u8, Channel>,
    /// When a live was last seen to end.
    pub(super) ended_ms: BTreeMap<LiveId, u64>,
    /// When somebody last asked to take the end of a live back.
    undone_ms: BTreeMap<LiveId, u64>,
    presses: BTreeMap<u64, Press>,
    pressed: u64,
    /// Greatest rank and revision of an item that a pod has shown in its channel.
    shown: BTreeMap<(WriterId, ItemId), (Rank, u64)>,
    pub(super) history: Vec<String>,
    now_ms: u64,
}

/// A live in one line.
fn told(live: &Live) -> String {
    let Live { status, current, closes_at_us, ends_at_us, closed_at_us, closed_with, .. } = live;
    let jeux: Vec<_> = live.programme.iter().map(|jeu| jeu.jeu_id.0).collect();
    format!(
        "{status:?}, current {current:?} of {jeux:?}, closes {closes_at_us:?}, ends {ends_at_us:?}, ended {closed_at_us:?} \
         with {closed_with:?}"
    )
}

impl Claims {
    pub(super) fn violated(&mut self, what: &str) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push((self.now_ms, what.to_owned()));
        }
    }

    pub(super) fn note(&mut self, what: &str) {
        self.history.push(format!("{:.3} s: {what}", self.now_ms as f64 / 1000.0));
    }

    pub(super) fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    pub(super) fn forget(&mut self, writer: WriterId) {
        self.presses.retain(|_, press| press.writer != writer);
        self.shown.retain(|(of, _), _| *of != writer);
    }

    // Records ----------------------------------------------------------------------------------------------------

    /// A replica has a record as it was decided.
    pub(super) fn decided(&mut self, key: Key, (ballot, value): &Cell) {
        let known = self.decided.entry(key).or_insert(0);
        if ballot <= known {
            return;
        }
        *known = *ballot;
        let Document { revision, body, .. } = Document::of(value);
        match key {
            Key::Channel(number) => {
                if let Ok(channel) = serde_json::from_str::<Channel>(&body) {
                    self.note(&format!(
                        "channel {number}: {:?} on air, {:?} last",
                        channel.open_live, channel.last_live
                    ));
                    self.channels.insert(number, channel);
                }
            }
            Key::Live(live_id) if revision == 0 => {
                self.note(&format!("{live_id} is deleted"));
                if self.lives.remove(&live_id).is_some_and(|live| live.status != LiveStatus::Draft) {
                    self.violated(&format!("live {live_id} was on air and is deleted"));
                }
            }
            Key::Live(live_id) => {
                if let Ok(live) = serde_json::from_str::<Live>(&body) {
                    self.note(&format!("{live_id} at {revision}: {}", told(&live)));
                    self.live_changed(live_id, live);
                }
            }
            _ => {}
        }
    }

    fn live_changed(&mut self, live_id: LiveId, live: Live) {
        let before = self.lives.get(&live_id).map(|live| live.status);
        if live.status == LiveStatus::Closed && before != Some(LiveStatus::Closed) {
            self.ended_ms.insert(live_id, self.now_ms);
        }
        let is_reopened = before == Some(LiveStatus::Closed) && live.status == LiveStatus::Open;
        let ended_ms = self.ended_ms.get(&live_id).copied().unwrap_or(0);
        // A request may have begun before the end that it takes back.
        if is_reopened && self.undone_ms.get(&live_id).is_none_or(|at_ms| at_ms + 60_000 < ended_ms) {
            self.violated(&format!("live {live_id} is open again, and nobody asked for it"));
        }
        if live.status == LiveStatus::Draft && before.is_some_and(|before| before != LiveStatus::Draft) {
            self.violated(&format!("live {live_id} is a draft again"));
        }
        self.lives.insert(live_id, live);
        let mut on_air = BTreeMap::new();
        for live in self.lives.values().filter(|live| live.status == LiveStatus::Open) {
            *on_air.entry(live.channel.clone()).or_insert(0) += 1;
        }
        if let Some((channel, count)) = on_air.into_iter().find(|(_, count)| *count > 1) {
            self.violated(&format!("{count} lives of channel {channel} are on air"));
        }
    }

    pub(super) fn status(&self, live_id: LiveId) -> Option<LiveStatus> {
        self.lives.get(&live_id).map(|live| live.status)
    }

    pub(super) fn open_lives(&self) -> Vec<LiveId> {
        self.lives.values().filter(|live| live.status == LiveStatus::Open).map(|live| live.live_id).collect()
    }

    // Admins -----------------------------------------------------------------------------------------------------

    pub(super) fn presses(&self) -> u64 {
        self.pressed
    }

    pub(super) fn pressed(&mut self, writer: WriterId, undoes: Option<LiveId>, what: &str) -> u64 {
        self.pressed += 1;
        if let Some(live_id) = undoes {
            self.undone_ms.insert(live_id, self.now_ms);
        }
        self.note(&format!("#{} {what} at {writer}", self.pressed));
        self.presses.insert(self.pressed, Press { writer, at_ms: self.now_ms, what: what.to_owned() });
        self.pressed
    }

    pub(super) fn answered(&mut self, press: u64, how: &str) {
        self.presses.remove(&press);
        self.note(&format!("#{press} {how}"));
    }

    pub(super) fn owes_answers(&self) -> bool {
        !self.presses.is_empty()
    }

    /// What was asked and not answered, although nothing is wrong any more.
    pub(super) fn check_answers(&mut self) {
        let open: Vec<_> = self.presses.values().map(|press| format!("{} of {} ms", press.what, press.at_ms)).collect();
        if !open.is_empty() {
            self.violated(&format!("admins wait for an answer, and nothing is wrong any more: {}", open.join(", ")));
        }
    }

    // Pods -------------------------------------------------------------------------------------------------------

    /// What a pod shows of an item of its channel.
    pub(super) fn shows(&mut self, writer: WriterId, item: ItemId, rank: Rank, revision: u64) {
        // Numbers of a jeu that was never opened are not sent.
        if rank == Rank::default() {
            return;
        }
        let before = self.shown.insert((writer, item), (rank, revision)).unwrap_or_default();
        if before.1 > revision {
            self.violated(&format!("{writer} showed revision {} of {item} and now {revision}", before.1));
        }
    }
}
