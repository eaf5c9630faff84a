//! What goes wrong, drawn from the seed: which pods and nodes, when, and for how long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use super::World;
use super::network::{Cut, NODES, Weather};

/// How often faults come, on average, and how hard they are. Some runs are nearly calm.
pub(super) async fn run(world: Arc<World>) {
    let mut random = SmallRng::seed_from_u64(world.seed ^ 0xFA_0175);
    let mean_ms = world.mean_between_faults_ms(&mut random);
    loop {
        sleep(Duration::from_millis(random.random_range(1..2 * mean_ms))).await;
        if world.faults_are_over() {
            return;
        }
        strike(&world, &mut random);
    }
}

/// From 0.1 s to `longest_ms`, the short ones as often as the long ones.
fn how_long(random: &mut SmallRng, longest_ms: f64) -> u64 {
    let exponent = random.random_range(0.0..1.0);
    let ms = 100.0 * (longest_ms / 100.0_f64).powf(exponent);
    ms.round().min(longest_ms) as u64
}

fn strike(world: &Arc<World>, random: &mut SmallRng) {
    let pod = random.random_range(0..world.slots());
    let node = random.random_range(0..NODES);
    let kind = random.random_range(0..100);
    world.trace(&[2, world.now_ms(), kind, pod as u64, node as u64]);
    match kind {
        0..16 => world.kill(pod, how_long(random, 8000.0)),
        16..19 => {
            let back_ms = how_long(random, 3000.0);
            (0..world.slots()).for_each(|pod| world.kill(pod, back_ms));
        }
        19..42 => {
            let longest_ms = if random.random_bool(0.15) { 30_000.0 } else { 6000.0 };
            let ms = how_long(random, longest_ms);
            world.stop(pod, ms);
        }
        42..56 => {
            let (asks, tells, only) = match random.random_range(0..4) {
                0 => (true, false, None),
                1 => (false, true, None),
                2 => (true, true, None),
                _ => (false, false, Some(node)),
            };
            let ms = how_long(random, 6000.0);
            world.network().cuts.insert(pod, Cut { asks, tells, only });
            // Killed while it was cut, it leaves behind what reached one node only.
            let dies_ms = random.random_bool(0.3).then(|| how_long(random, 8000.0));
            later(world, ms, move |world| {
                if let Some(back_ms) = dies_ms.filter(|_| !world.faults_are_over()) {
                    world.kill(pod, back_ms);
                }
                world.network().cuts.retain(|cut, _| *cut != pod);
            });
        }
        56..68 => {
            let ms = how_long(random, 6000.0);
            world.network().is_down[node] = true;
            later(world, ms, move |world| world.network().is_down[node] = false);
        }
        68..78 => {
            let until_ms = world.now_ms() + how_long(random, 5000.0);
            world.network().still_until_ms[node] = until_ms;
        }
        78..86 => {
            let skew_us = match random.random_range(0..3) {
                0 => random.random_range(-50_000..50_000),
                1 => random.random_range(-5_000_000..5_000_000),
                _ => random.random_range(-3_600_000_000..3_600_000_000_i64),
            };
            world.set_clock(pod, skew_us);
        }
        86..89 => world.damage_next.store(true, Ordering::Relaxed),
        89..93 => {
            // A start at which the announcement of the journal is lost, and perhaps not for long.
            world.lose_registration.store(true, Ordering::Relaxed);
            world.kill(pod, 100);
            let (lives_ms, back_ms) = (random.random_range(300..2500), how_long(random, 8000.0));
            later(world, lives_ms, move |world| {
                if !world.faults_are_over() {
                    world.kill(pod, back_ms);
                }
            });
        }
        _ => {
            let weather = Weather::of(random);
            world.network().weather = weather;
        }
    }
}

fn later(world: &Arc<World>, ms: u64, work: impl FnOnce(&Arc<World>) + Send + 'static) {
    let world = Arc::clone(world);
    drop(tokio::spawn(async move {
        sleep(Duration::from_millis(ms)).await;
        work(&world);
    }));
}

impl World {
    /// Kills a pod; another incarnation starts in its place after a while.
    pub(super) fn kill(self: &Arc<Self>, pod: usize, back_ms: u64) {
        let Some(killed) = self.pods()[pod].take() else { return };
        killed.gate.kill();
        self.claims().note(&format!("{} is killed", killed.writer));
        self.each_oracle(|oracle| oracle.forget(killed.writer));
        self.claims().forget(killed.writer);
        later(self, back_ms, move |world| world.start(pod));
    }

    /// Stops a pod, with all that comes in meanwhile waiting for it.
    pub(super) fn stop(self: &Arc<Self>, pod: usize, ms: u64) {
        let Some(stopped) = self.pod(pod) else { return };
        if !stopped.gate.runs() {
            return;
        }
        stopped.gate.stop();
        self.claims().note(&format!("{} stands still for {ms} ms", stopped.writer));
        later(self, ms, move |world| {
            stopped.gate.go_on();
            world.went_on(&stopped);
        });
    }
}
