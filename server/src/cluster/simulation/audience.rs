//! Viewers of lives: they look at what a pod shows of their channel, and vote on whichever jeu is open, by the rules of
//! the protocol.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::pods::Pod;
use super::{World, ballot};
use crate::cluster::Outcome;
use crate::conductor::{Vote, Wanted};
use crate::domain::live::LiveStatus;
use crate::domain::note::Note;
use crate::domain::phase::Phase;
use crate::domain::viewer::ViewerId;
use crate::protocol::{Reply, Status};
use crate::store::{ItemId, Payload};

/// One tab of a viewer's browser.
pub(super) struct Viewer {
    world: Arc<World>,
    viewer: ViewerId,
    random: SmallRng,
    channel: u8,
    pod: usize,
    last_v: u64,
    /// How long this viewer thinks about it, at most.
    pace_ms: u64,
    /// How coarse the estimate of the server's time is: two tabs may choose the same `v`.
    grain_us: u64,
}

impl Viewer {
    pub(super) fn new(world: &Arc<World>, viewer: u8, tab: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(world.seed ^ (u64::from(viewer) << 20) ^ (tab << 40) ^ 0xA0D1);
        let channel = random.random_range(0..world.plan().channels);
        let pod = random.random_range(0..world.slots());
        let pace_ms = [600, 1500, 4000][random.random_range(0..3)];
        let grain_us = [1, 1, 500_000][random.random_range(0..3)];
        let viewer = ViewerId(u128::from(viewer).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes());
        Self { world: Arc::clone(world), viewer, random, channel, pod, last_v: 0, pace_ms, grain_us }
    }

    /// Votes and changes its mind until voting ends.
    pub(super) async fn run(mut self) {
        while !self.world.voting_is_over() {
            let pause_ms = self.random.random_range(1..=self.pace_ms);
            sleep(Duration::from_millis(pause_ms)).await;
            let Some(item) = self.open_item() else {
                if self.random.random_bool(0.1) {
                    self.pod = self.random.random_range(0..self.world.slots());
                }
                continue;
            };
            let estimate_us = self.world.clock_us(self.pod) / self.grain_us * self.grain_us;
            self.last_v = estimate_us.max(self.last_v + 1);
            let scores = self.scores();
            self.want(item, self.last_v, scores).await;
        }
    }

    /// A jeu that is shown as open; a closed one now and then, as who taps at the last moment sends.
    fn open_item(&mut self) -> Option<ItemId> {
        let pod = self.world.pod(self.pod)?;
        let shown = pod.conducted().shown(self.channel)?.shown.clone()?;
        let hurries = self.random.random_bool(0.05);
        let is_open = |phase| phase == Phase::Open || hurries;
        let open: Vec<_> =
            shown.items.iter().filter(|item| is_open(item.view().rank.phase())).map(|item| item.item()).collect();
        if open.is_empty() || (shown.live.status != LiveStatus::Open && !hurries) {
            return None;
        }
        Some(open[self.random.random_range(0..open.len())])
    }

    fn scores(&mut self) -> Map<String, Value> {
        match self.random.random_range(0..6) {
            0 => Map::new(),
            score => Map::from_iter([("fun".to_owned(), Value::from(score))]),
        }
    }

    /// Sends one note until the answer is final, or the viewer taps again.
    async fn want(&mut self, item: ItemId, v: u64, scores: Map<String, Value>) {
        let taps_again_ms = self.random.random_range(100..12_000);
        let until_ms = self.world.now_ms() + taps_again_ms;
        while self.world.now_ms() < until_ms && !self.world.is_over() {
            let Some(pod) = self.world.pod(self.pod) else {
                sleep(Duration::from_millis(self.random.random_range(10..200))).await;
                self.pod = self.random.random_range(0..self.world.slots());
                continue;
            };
            let patience = Duration::from_millis(self.random.random_range(200..3000));
            let pause_ms = match timeout(patience, self.send(&pod, item, v, scores.clone())).await {
                Ok(Some(Reply { status: Status::Ok | Status::Closed | Status::Invalid, .. })) => return,
                Ok(Some(Reply { status: Status::Stale, held, .. })) => {
                    self.last_v = self.last_v.max(held.map_or(0, |held| held.v));
                    return;
                }
                Ok(Some(Reply { status: Status::NotOpen, .. })) => 200,
                Ok(Some(Reply { status: Status::RetryAfter | Status::TooFast, retry_after_ms, .. })) => {
                    retry_after_ms.unwrap_or(200)
                }
                Ok(Some(Reply { status: Status::Unknown, .. })) => 20,
                // The connection is lost: again, on any pod.
                Ok(None) | Err(_) => {
                    self.pod = self.random.random_range(0..self.world.slots());
                    self.random.random_range(10..300)
                }
            };
            sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// `None` when the answer is lost.
    async fn send(&mut self, pod: &Arc<Pod>, item: ItemId, v: u64, scores: Map<String, Value>) -> Option<Reply> {
        let conductor = pod.conducted().conductor()?;
        let (world, viewer) = (Arc::clone(&self.world), self.viewer);
        let payload = encoded(&scores);
        let sending = world.oracle(item).sent(world.now_ms(), pod.writer, viewer, v, &payload);
        let (sender, answer) = oneshot::channel();
        let (gate, writer, index) = (Arc::clone(&pod.gate), pod.writer, pod.index);
        let on_reply = move |reply: Reply| {
            // A pod that is killed says nothing more.
            if gate.is_killed() {
                return;
            }
            let clock_us = world.furthest_clock_us(index);
            world.answered(item, sending, writer, clock_us, viewer, v, &payload, &outcome_of(&reply));
            drop(sender.send(reply));
        };
        let wanted = if scores.is_empty() { Wanted::Withdrawn } else { Wanted::Json(scores) };
        let vote = Vote { live: item.live.0, jeu: item.jeu.0, viewer, v: Some(v), wanted, trace: None };
        if pod.gate.runs() {
            conductor.submit(&vote, on_reply);
        } else {
            // It is read when the pod goes on.
            pod.conducted().spawn(async move { conductor.submit(&vote, on_reply) });
        }
        let answer = answer.await.ok();
        answer.filter(|_| !self.random.random_bool(0.02))
    }
}

fn encoded(scores: &Map<String, Value>) -> Payload {
    if scores.is_empty() {
        return Note::withdrawn(ballot().bareme()).encode();
    }
    match Note::from_json(ballot().bareme(), scores) {
        Ok(note) => note.encode(),
        Err(error) => panic!("{scores:?}: {error}"),
    }
}

fn outcome_of(reply: &Reply) -> Outcome {
    match (reply.status, &reply.held) {
        (Status::Ok, _) => Outcome::Ok,
        (Status::Unknown, _) => Outcome::Unknown,
        (Status::Stale, Some(held)) => Outcome::Stale { version: held.v, payload: encoded(&held.scores) },
        _ => Outcome::Closed,
    }
}
