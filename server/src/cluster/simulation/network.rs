//! Messages between pods and nodes: late, lost, doubled, out of order; nodes that are down or stand still.
//!
//! One task carries all of them, in order of virtual time and then of chance. An attempt ends after
//! [`ATTEMPT_TIMEOUT_MS`]; what it sent goes on travelling, and may be applied long after its sender gave up.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::oneshot;

use super::World;
use super::replica::{Replica, Reply, Request};

pub(super) const NODES: usize = 3;

/// Of the design; the store's own timeout of one attempt.
const ATTEMPT_TIMEOUT_MS: u64 = 400;

/// How bad the network is, in tenths of a percent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) lost: u32,
    pub(super) slow: u32,
    pub(super) very_slow: u32,
    pub(super) doubled: u32,
}

impl Weather {
    pub(super) const CALM: Self = Self { lost: 0, slow: 0, very_slow: 0, doubled: 0 };

    pub(super) fn of(random: &mut SmallRng) -> Self {
        match random.random_range(0..4) {
            0 => Self { lost: 2, slow: 10, very_slow: 1, doubled: 2 },
            1 => Self { lost: 10, slow: 60, very_slow: 10, doubled: 10 },
            2 => Self { lost: 60, slow: 30, very_slow: 20, doubled: 20 },
            _ => Self { lost: 20, slow: 200, very_slow: 50, doubled: 5 },
        }
    }
}

enum Kind {
    Ask { op: u64, node: usize, request: Arc<Request> },
    Tell { op: u64, pod: usize, node: usize, reply: Reply },
    GiveUp { op: u64 },
}

struct Event {
    at_ms: u64,
    tie: u32,
    number: u64,
    kind: Kind,
}

impl Event {
    fn place(&self) -> (u64, u32, u64) {
        (self.at_ms, self.tie, self.number)
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

struct Op {
    pod: usize,
    needed: usize,
    replies: BTreeMap<usize, Reply>,
    done: oneshot::Sender<Option<Vec<Reply>>>,
}

/// What is wrong between a pod and all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) asks: bool,
    pub(super) tells: bool,
    /// What is asked reaches this node and no other.
    pub(super) only: Option<usize>,
}

pub(super) struct Network {
    random: SmallRng,
    pub(super) weather: Weather,
    /// Each pod reads from the same two nodes, as drivers do that prefer the nearest.
    prefers: bool,
    pub(super) replicas: [Replica; NODES],
    pub(super) is_down: [bool; NODES],
    /// When a node that stands still goes on.
    pub(super) still_until_ms: [u64; NODES],
    pub(super) cuts: BTreeMap<usize, Cut>,
    queue: BinaryHeap<Reverse<Event>>,
    ops: BTreeMap<u64, Op>,
    next_number: u64,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        Self {
            prefers: random.random_bool(0.5),
            random,
            weather: Weather::CALM,
            replicas: Default::default(),
            is_down: [false; NODES],
            still_until_ms: [0; NODES],
            cuts: BTreeMap::new(),
            queue: BinaryHeap::new(),
            ops: BTreeMap::new(),
            next_number: 0,
        }
    }

    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.random.random_range(0..1000) < per_mille
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.random.random_range(0..limit)
    }

    /// Everything works from now on; what is under way is still late.
    pub(super) fn heal(&mut self) {
        self.weather = Weather::CALM;
        self.is_down = [false; NODES];
        self.still_until_ms = [0; NODES];
        self.cuts.clear();
    }

    fn push(&mut self, at_ms: u64, kind: Kind) {
        let (tie, number) = (self.random.random_range(0..1000), self.next_number);
        self.next_number += 1;
        self.queue.push(Reverse(Event { at_ms, tie, number, kind }));
    }

    fn delay_ms(&mut self) -> u64 {
        let Weather { slow, very_slow, .. } = self.weather;
        match self.random.random_range(0..1000) {
            place if place < very_slow => self.random.random_range(300..8000),
            place if place < very_slow + slow => self.random.random_range(10..200),
            _ => self.random.random_range(0..3),
        }
    }

    /// Sends a request to some nodes; the answer comes when `needed` have replied, or nothing in time.
    fn send(
        &mut self,
        now_ms: u64,
        pod: usize,
        nodes: &[usize],
        needed: usize,
        request: &Arc<Request>,
    ) -> oneshot::Receiver<Option<Vec<Reply>>> {
        let (done, answer) = oneshot::channel();
        let op = self.next_number;
        self.ops.insert(op, Op { pod, needed, replies: BTreeMap::new(), done });
        self.push(now_ms + ATTEMPT_TIMEOUT_MS, Kind::GiveUp { op });
        let cut = self.cuts.get(&pod).copied().unwrap_or_default();
        for node in nodes {
            let is_cut = cut.asks || cut.only.is_some_and(|only| only != *node);
            if is_cut || self.chance(self.weather.lost) {
                continue;
            }
            let at_ms = now_ms + self.delay_ms();
            self.push(at_ms, Kind::Ask { op, node: *node, request: Arc::clone(request) });
            if self.chance(self.weather.doubled) {
                let again_ms = at_ms + self.below(20_000);
                self.push(again_ms, Kind::Ask { op, node: *node, request: Arc::clone(request) });
            }
        }
        answer
    }

    pub(super) fn next_at_ms(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse(event)| event.at_ms)
    }
}

impl World {
    /// One attempt: the replies of `needed` nodes, or nothing in time.
    pub(super) async fn attempt(
        &self,
        pod: usize,
        needed: usize,
        request: &Arc<Request>,
        is_again: bool,
    ) -> Option<Vec<Reply>> {
        let now_ms = self.now_ms();
        let answer = {
            let mut network = self.network();
            let mut nodes = [0, 1, 2];
            let any = usize::try_from(network.below(NODES as u64 * 2)).unwrap_or(0);
            let left_out = if network.prefers && !is_again { pod % NODES } else { any };
            let is_read = matches!(**request, Request::Read { .. });
            let count = if is_read && left_out < NODES {
                nodes.swap(left_out, NODES - 1);
                NODES - 1
            } else {
                NODES
            };
            network.send(now_ms, pod, &nodes[..count], needed, request)
        };
        self.sent.notify_one();
        answer.await.ok().flatten()
    }

    /// Carries messages for as long as the world stands.
    pub(super) async fn carry(self: Arc<Self>) {
        loop {
            let now_ms = self.now_ms();
            while self.carry_one(now_ms) {}
            let next_ms = self.network().next_at_ms();
            tokio::select! {
                biased;
                () = self.sent.notified() => {}
                () = self.sleep_until_ms(next_ms.unwrap_or(now_ms + 60_000)) => {}
            }
        }
    }

    fn carry_one(&self, now_ms: u64) -> bool {
        let mut network = self.network();
        if network.next_at_ms().is_none_or(|at_ms| at_ms > now_ms) {
            return false;
        }
        let Some(Reverse(event)) = network.queue.pop() else { return false };
        let network = &mut *network;
        match event.kind {
            Kind::Ask { op, node, request } => {
                if network.is_down[node] {
                    // Somebody may have kept a hint for it.
                    if matches!(*request, Request::Write(_)) && network.chance(500) {
                        let at_ms = now_ms + 500 + network.below(8000);
                        network.push(at_ms, Kind::Ask { op, node, request });
                    }
                    return true;
                }
                if network.still_until_ms[node] > now_ms {
                    let at_ms = network.still_until_ms[node];
                    network.push(at_ms, Kind::Ask { op, node, request });
                    return true;
                }
                let reply = network.replicas[node].handle(&request);
                self.trace(&[1, now_ms, op, node as u64]);
                if let Request::Write(cells) = &*request {
                    self.applied(&network.replicas, node, cells);
                }
                let Some(pod) = network.ops.get(&op).map(|op| op.pod) else { return true };
                if !network.chance(network.weather.lost) {
                    let at_ms = now_ms + network.delay_ms();
                    network.push(at_ms, Kind::Tell { op, pod, node, reply });
                }
            }
            Kind::Tell { op, pod, node, reply } => {
                let is_cut = network.cuts.get(&pod).is_some_and(|cut| cut.tells);
                let Some(asked) = network.ops.get_mut(&op).filter(|_| !is_cut) else { return true };
                asked.replies.insert(node, reply);
                if asked.replies.len() >= asked.needed {
                    let op = network.ops.remove(&op);
                    if let Some(Op { replies, done, .. }) = op {
                        drop(done.send(Some(replies.into_values().collect())));
                    }
                }
            }
            Kind::GiveUp { op } => {
                if let Some(op) = network.ops.remove(&op) {
                    drop(op.done.send(None));
                }
            }
        }
        true
    }

    /// Lets everything that still travels arrive.
    pub(super) async fn drain(&self) {
        while let Some(at_ms) = { self.network().next_at_ms() } {
            self.sleep_until_ms(at_ms + 1).await;
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn sleep_until_ms(&self, at_ms: u64) {
        tokio::time::sleep_until(self.started + Duration::from_millis(at_ms)).await;
    }
}
