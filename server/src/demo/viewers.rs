//! Simulated viewers: each is a real socket that votes as a person might, changes its mind, and comes back when cut off.
//!
//! **Invariant**: they speak the public protocol and nothing else, so what they show is what real viewers would.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_websockets::{ClientBuilder, Message};

use crate::domain::bareme::Critere;
use crate::domain::live::LiveStatus;
use crate::domain::phase::Phase;
use crate::protocol::{ClientMessage, LiveState, ServerMessage};

/// Shortest and longest pause between two votes of one viewer, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 1_500..9_000;
/// Longest pause before a viewer who was cut off comes back.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// Chance that a viewer leaves a critere out.
const NO_OPINION: f64 = 0.08;

/// What a viewer remembers from one connection to the next.
struct Viewer {
    random: StdRng,
    /// How kind this person is, from -0.25 to 0.25.
    kindness: f64,
    token: Option<String>,
    last_v: u64,
    /// Steps given, by live and jeu.
    notes: HashMap<(uuid::Uuid, u32), BTreeMap<String, u8>>,
}

/// Keeps `count` viewers voting on a channel of the server at `address`, which answers under the name `host`, for ever.
pub async fn simulate(address: SocketAddr, host: String, channel: String, count: u32) {
    let uri = format!("ws://{host}/ws/{channel}");
    let viewers = (0..count).map(|number| live_on(address, uri.clone(), number));
    futures_util::future::join_all(viewers).await;
}

async fn live_on(address: SocketAddr, uri: String, number: u32) {
    let mut random = StdRng::seed_from_u64(u64::from(number));
    let kindness = random.random_range(-0.25..0.25);
    let mut viewer = Viewer { random, kindness, token: None, last_v: 0, notes: HashMap::new() };
    let mut backoff = Duration::from_millis(200);
    // Not everybody arrives at once.
    sleep(Duration::from_millis(viewer.random.random_range(0..3_000))).await;
    loop {
        let connected = Instant::now();
        if let Err(error) = watch(&mut viewer, address, &uri).await {
            tracing::debug!(number, %error, "a simulated viewer was cut off");
        }
        if connected.elapsed() > MAX_BACKOFF {
            backoff = Duration::from_millis(200);
        }
        sleep(backoff.mul_f64(viewer.random.random_range(0.5..1.0))).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One connection, until it ends.
async fn watch(viewer: &mut Viewer, address: SocketAddr, uri: &str) -> Result<(), Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut socket, _) = ClientBuilder::from_uri(uri.parse()?).connect_on(stream).await?;
    if let Some(token) = &viewer.token {
        let hello = ClientMessage::Hello { viewer: token.clone() };
        socket.send(Message::text(serde_json::to_string(&hello)?)).await?;
    }
    let mut live: Option<LiveState> = None;
    let mut next_vote = Instant::now() + viewer.pause();
    loop {
        tokio::select! {
            message = socket.next() => {
                let Some(message) = message else { return Ok(()) };
                let message = message?;
                let Some(text) = message.as_text() else { continue };
                match serde_json::from_str(text) {
                    Ok(ServerMessage::Welcome(welcome)) if viewer.token.is_none() => viewer.token = welcome.viewer,
                    Ok(ServerMessage::State(state)) => live = state.live,
                    _ => {}
                }
            }
            () = sleep_until(next_vote) => {
                next_vote = Instant::now() + viewer.pause();
                if let Some(note) = live.as_ref().and_then(|live| viewer.note(live)) {
                    socket.send(Message::text(serde_json::to_string(&note)?)).await?;
                }
            }
        }
    }
}

impl Viewer {
    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(PAUSE_MS))
    }

    /// A first note on a jeu that has none yet, or a changed one.
    fn note(&mut self, live: &LiveState) -> Option<ClientMessage> {
        if live.status != LiveStatus::Open {
            return None;
        }
        let open: Vec<u32> =
            live.programme.iter().filter(|entry| entry.phase == Phase::Open).map(|entry| entry.jeu.jeu_id.0).collect();
        let fresh = open.iter().copied().find(|jeu| !self.notes.contains_key(&(live.live_id, *jeu)));
        let jeu = match fresh {
            Some(jeu) => jeu,
            None if open.is_empty() => return None,
            None => open[self.random.random_range(0..open.len())],
        };
        let mut steps = self.notes.remove(&(live.live_id, jeu)).unwrap_or_default();
        let is_new = steps.is_empty();
        let changed = self.random.random_range(0..live.bareme.criteres.len().max(1));
        for (index, critere) in live.bareme.criteres.iter().enumerate() {
            if is_new {
                if !critere.optional || !self.random.random_bool(NO_OPINION) {
                    steps.insert(critere.key.to_string(), self.step(critere, jeu, index));
                }
            } else if index == changed {
                let up = self.random.random_bool(0.5);
                let step = steps.entry(critere.key.to_string()).or_insert(critere.steps() / 2);
                *step = if up { step.saturating_add(1).min(critere.steps()) } else { step.saturating_sub(1) };
            }
        }
        if steps.is_empty() {
            return None;
        }
        let mut scores = Map::new();
        for critere in &live.bareme.criteres {
            if let Some(step) = steps.get(critere.key.as_str()) {
                scores
                    .insert(critere.key.to_string(), serde_json::to_value(critere.score(*step)).unwrap_or(Value::Null));
            }
        }
        self.notes.insert((live.live_id, jeu), steps);
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.last_v = u64::try_from(now_us).unwrap_or_default().max(self.last_v + 1);
        Some(ClientMessage::Note { live: live.live_id, jeu, v: self.last_v, scores })
    }

    /// A score around what this jeu deserves on this critere, by this person's measure.
    fn step(&mut self, critere: &Critere, jeu: u32, index: usize) -> u8 {
        // Any fixed spread of qualities will do; this one makes the jeux look different from each other.
        let position = u32::try_from(index).unwrap_or_default();
        let deserved = 0.35 + 0.55 * f64::from((jeu * 7 + position * 5 + jeu * position * 3) % 11) / 10.0;
        let scatter: f64 = (0..3).map(|_| self.random.random_range(-0.2..0.2)).sum();
        let place = (deserved + self.kindness + scatter).clamp(0.0, 1.0);
        let step = (place * f64::from(critere.steps())).round();
        (0..=critere.steps()).find(|k| f64::from(*k) >= step).unwrap_or(critere.steps())
    }
}
