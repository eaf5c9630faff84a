//! Viewers, by the rules of the protocol: `v` chosen at the tap, one wanted note, the same one sent again until the
//! answer is final, on any pod.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::World;
use super::pods::Pod;
use crate::cluster::{Outcome, Submission};
use crate::domain::decimal::Decimal;
use crate::domain::note::Note;
use crate::domain::viewer::ViewerId;
use crate::store::Payload;

/// One tab of a viewer's browser.
pub(super) struct Tab {
    world: Arc<World>,
    viewer: ViewerId,
    random: SmallRng,
    pod: usize,
    last_v: u64,
    /// How long this viewer thinks about it, at most.
    pace_ms: u64,
    /// How coarse the estimate of the server's time is: two tabs may choose the same `v`.
    grain_us: u64,
}

impl Tab {
    pub(super) fn new(world: &Arc<World>, viewer: u8, tab: u64, pods: usize) -> Self {
        let mut random = SmallRng::seed_from_u64(world.seed ^ (u64::from(viewer) << 20) ^ (tab << 40) ^ 0x7AB);
        let pod = random.random_range(0..pods);
        let pace_ms = [300, 1000, 4000][random.random_range(0..3)];
        let grain_us = [1, 1, 500_000][random.random_range(0..3)];
        let viewer = ViewerId(u128::from(viewer).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes());
        Self { world: Arc::clone(world), viewer, random, pod, last_v: 0, pace_ms, grain_us }
    }

    /// Votes and changes its mind until voting ends.
    pub(super) async fn run(mut self) {
        while !self.world.voting_is_over() {
            let pause_ms = self.random.random_range(1..=self.pace_ms);
            sleep(Duration::from_millis(pause_ms)).await;
            let payload = self.note();
            let estimate_us = self.world.clock_us(self.pod) / self.grain_us * self.grain_us;
            self.last_v = estimate_us.max(self.last_v + 1);
            self.want(self.last_v, payload).await;
        }
    }

    fn note(&mut self) -> Payload {
        let bareme = super::ballot();
        let bareme = bareme.bareme();
        match self.random.random_range(0..6) {
            0 => Note::withdrawn(bareme).encode(),
            score => match Note::new(bareme, [("fun", Decimal::whole(score))]) {
                Ok(note) => note.encode(),
                Err(_) => Note::withdrawn(bareme).encode(),
            },
        }
    }

    /// Sends one note until the answer is final, or the viewer taps again.
    async fn want(&mut self, mut v: u64, payload: Payload) {
        let taps_again_ms = self.random.random_range(100..12_000);
        let until_ms = self.world.now_ms() + taps_again_ms;
        while self.world.now_ms() < until_ms && !self.world.is_over() {
            let Some(pod) = self.world.pod(self.pod) else {
                sleep(Duration::from_millis(self.random.random_range(10..200))).await;
                self.pod = self.random.random_range(0..self.world.slots());
                continue;
            };
            let patience = Duration::from_millis(self.random.random_range(200..3000));
            let pause_ms = match timeout(patience, self.send(&pod, v, payload.clone())).await {
                Ok(Some(Outcome::Ok | Outcome::Closed)) => return,
                // The same note again, as the server says.
                Ok(Some(Outcome::TooFarAhead { next, .. })) => {
                    (v, self.last_v) = (next, next);
                    20
                }
                Ok(Some(Outcome::Stale { version, .. })) => {
                    self.last_v = self.last_v.max(version);
                    return;
                }
                Ok(Some(Outcome::NotOpen)) => 200,
                Ok(Some(Outcome::RetryAfter { ms })) => ms,
                Ok(Some(Outcome::Unknown)) => 20,
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
    async fn send(&mut self, pod: &Arc<Pod>, v: u64, payload: Payload) -> Option<Outcome> {
        let (world, viewer) = (Arc::clone(&self.world), self.viewer);
        let sending = world.oracle(super::item()).sent(world.now_ms(), pod.writer, viewer, v, &payload);
        let (sender, answer) = oneshot::channel();
        let (gate, writer, index, told) = (Arc::clone(&pod.gate), pod.writer, pod.index, payload.clone());
        let on_outcome = Box::new(move |outcome: Outcome| {
            // A pod that is killed says nothing more.
            if gate.is_killed() {
                return;
            }
            let clock_us = world.furthest_clock_us(index);
            world.answered(super::item(), sending, writer, clock_us, viewer, v, &told, &outcome);
            drop(sender.send(outcome));
        });
        pod.item().submit(Submission { viewer, version: v, payload, on_outcome });
        let answer = answer.await.ok();
        answer.filter(|_| !self.random.random_bool(0.02))
    }
}
