//! Pods that are killed, stand still while time goes on, and whose wall clocks are wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::conducted::Conducted;
use super::quorum::QuorumStore;
use super::{START_US, World, ballot, item};
use crate::cluster::engine::Cadence;
use crate::cluster::env::{Clock, Entropy, Env, ServerTime, Tasks};
use crate::cluster::mutant::mutant;
use crate::cluster::{Engine, ItemHandle};
use crate::domain::ballot::Ratings;
use crate::store::WriterId;
use crate::store::tips::Tips;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    Yes,
    Stopped { since_ms: u64 },
    Killed,
}

/// Whether a pod's tasks may run.
pub(super) struct Gate {
    state: Mutex<(Running, Vec<Waker>)>,
    /// For how long it stood still until now, in milliseconds.
    stood_ms: AtomicI64,
    world: Arc<World>,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, (Running, Vec<Waker>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, running: Running) {
        let wakers = {
            let mut state = self.state();
            if state.0 == Running::Killed {
                return;
            }
            if let Running::Stopped { since_ms } = state.0 {
                let stood_ms = self.world.now_ms() - since_ms;
                self.stood_ms.fetch_add(i64::try_from(stood_ms).unwrap_or(0), Ordering::Relaxed);
            }
            state.0 = running;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn stop(&self) {
        self.turn(Running::Stopped { since_ms: self.world.now_ms() });
    }

    pub(super) fn go_on(&self) {
        self.turn(Running::Yes);
    }

    pub(super) fn kill(&self) {
        self.turn(Running::Killed);
    }

    pub(super) fn runs(&self) -> bool {
        self.state().0 == Running::Yes
    }

    pub(super) fn is_killed(&self) -> bool {
        self.state().0 == Running::Killed
    }
}

/// A pod's task.
struct Gated {
    gate: Arc<Gate>,
    task: Option<BoxFuture<'static, ()>>,
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = self.gate.state();
            if state.0 != Running::Killed {
                state.1.retain(|waker| !waker.will_wake(context.waker()));
                state.1.push(context.waker().clone());
            }
            match state.0 {
                Running::Yes => {}
                Running::Stopped { .. } => return Poll::Pending,
                Running::Killed => {
                    drop(state);
                    self.task = None;
                    return Poll::Ready(());
                }
            }
        }
        let Some(task) = &mut self.task else { return Poll::Ready(()) };
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            self.gate.world.claims().violated("a task of a pod has panicked");
            self.task = None;
            Poll::Ready(())
        })
    }
}

pub(super) struct GatedTasks(Arc<Gate>);

impl Tasks for GatedTasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let task = Gated { gate: Arc::clone(&self.0), task: Some(task) };
        match &self.0.world.executor {
            Some(executor) => executor.spawn(Box::pin(task)),
            None => drop(tokio::spawn(task)),
        }
    }
}

struct PodClock {
    world: Arc<World>,
    pod: usize,
    gate: Arc<Gate>,
    time: ServerTime,
}

impl Clock for PodClock {
    fn now_us(&self) -> u64 {
        let wall_us = self.world.clock_us(self.pod);
        let boot_us = u64::try_from(self.since_boot().as_micros()).unwrap_or(u64::MAX);
        self.time.now_us(boot_us, wall_us)
    }

    fn since_boot(&self) -> Duration {
        let stood_ms = if mutant!(LeaseClockStops) { self.gate.stood_ms.load(Ordering::Relaxed) } else { 0 };
        let now_ms = self.world.now_ms() + 1_000_000 * (self.pod as u64 + 1);
        Duration::from_millis(now_ms.saturating_sub(u64::try_from(stood_ms).unwrap_or(0)))
    }
}

struct PodEntropy(Mutex<SmallRng>);

impl Entropy for PodEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

/// One incarnation.
pub(super) struct Pod {
    pub(super) index: usize,
    pub(super) gate: Arc<Gate>,
    pub(super) writer: WriterId,
    runs: Runs,
}

/// What a pod runs.
enum Runs {
    /// One item, driven directly.
    Item(ItemHandle<Ratings>),
    /// Lives, as a server does.
    Conductor(Arc<Conducted>),
}

impl Pod {
    pub(super) fn start(world: &Arc<World>, index: usize, incarnation: u64) -> Self {
        let state = Mutex::new((Running::Yes, Vec::new()));
        let gate = Arc::new(Gate { state, stood_ms: AtomicI64::new(0), world: Arc::clone(world) });
        let (world_of, gate_of) = (Arc::clone(world), Arc::clone(&gate));
        let clock = PodClock { world: world_of, pod: index, gate: gate_of, time: ServerTime::default() };
        let seed = if mutant!(ReusesWriter) { index as u64 } else { world.seed ^ (incarnation << 8) ^ index as u64 };
        let entropy = PodEntropy(Mutex::new(SmallRng::seed_from_u64(seed)));
        let env = Env { clock: Arc::new(clock), entropy: Arc::new(entropy) };
        let store = Arc::new(QuorumStore { world: Arc::clone(world), pod: index, tips: Tips::default() });
        let tasks = Arc::new(GatedTasks(Arc::clone(&gate)));
        let mut engine = Engine::with_tasks(
            Arc::<QuorumStore>::clone(&store),
            env.clone(),
            Cadence::shared(),
            Arc::<GatedTasks>::clone(&tasks) as _,
        );
        if mutant!(ReusesWriter) {
            engine.writer = WriterId(uuid::Uuid::from_u128(index as u128 + 1));
        }
        let writer = engine.writer();
        let runs = if world.plan.is_some() {
            Runs::Conductor(Conducted::start(world, index, engine, store, env, tasks))
        } else {
            Runs::Item(engine.start(item(), ballot()))
        };
        Self { index, gate, writer, runs }
    }

    /// The item of a pod that runs one.
    pub(super) fn item(&self) -> &ItemHandle<Ratings> {
        match &self.runs {
            Runs::Item(item) => item,
            Runs::Conductor(_) => panic!("this pod runs lives"),
        }
    }

    /// What a pod runs that runs lives.
    pub(super) fn conducted(&self) -> &Arc<Conducted> {
        match &self.runs {
            Runs::Conductor(conducted) => conducted,
            Runs::Item(_) => panic!("this pod runs one item"),
        }
    }
}

impl World {
    /// A pod's wall clock.
    pub(super) fn clock_us(&self, pod: usize) -> u64 {
        let skew_us = self.skews_us[pod].load(Ordering::Relaxed);
        (START_US + self.now_ms() * 1000).saturating_add_signed(skew_us)
    }

    /// The furthest that a pod's wall clock can have been, whatever it said in between.
    pub(super) fn furthest_clock_us(&self, pod: usize) -> u64 {
        let skew_us = self.furthest_us[pod].load(Ordering::Relaxed);
        (START_US + self.now_ms() * 1000).saturating_add_signed(skew_us)
    }

    pub(super) fn set_clock(&self, pod: usize, skew_us: i64) {
        self.skews_us[pod].store(skew_us, Ordering::Relaxed);
        self.furthest_us[pod].fetch_max(skew_us, Ordering::Relaxed);
    }
}
