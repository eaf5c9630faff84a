//! A server that speaks the protocol as far as the tool needs it, keeps notes in memory, and lies in one chosen way.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_websockets::{Message, ServerBuilder};

const LIVE: &str = "019b76da-a800-7000-8000-000000000001";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// None at all.
    Honest,
    /// Every seventh note is acknowledged and forgotten.
    DropsAcked,
    /// Who changes their mind counts twice.
    CountsTwice,
    /// The mean is that of the frame before.
    StaleMean,
    /// All the numbers are those of the frame before, with a new time.
    StaleNumbers,
    /// Now and then a frame has a smaller revision than the one before.
    GoesBackwards,
    /// A note counts that nobody sent.
    Invents,
    /// The published result misses one voter, though the export has them all.
    WrongResult,
}

#[derive(Default)]
struct State {
    lie: Option<Lie>,
    phase: &'static str,
    /// Viewer's token to version and scores; several versions only for a lie.
    notes: BTreeMap<String, Vec<(u64, Value)>>,
    acked: u64,
    rev: u64,
    tally: Value,
    before: Value,
    peers: HashSet<IpAddr>,
    viewers: u64,
}

pub(crate) struct Liar {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

fn now_us() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap()
}

fn bareme() -> Value {
    let critere = |key: &str| json!({"key": key, "min": 1, "max": 5, "step": 1, "weight": 1, "optional": true});
    json!({"name": "Deux", "criteres": [critere("fun"), critere("graph")]})
}

impl State {
    fn live(&self) -> Value {
        json!({
            "live_id": LIVE, "channel": "stress", "title": "Liar", "status": "open", "current": 1, "blind": false,
            "minimum_votes": 1, "bareme": bareme(), "scale": {"min": 1, "max": 5},
            "programme": [{"jeu_id": 1, "title": "Jeu", "platform": "", "genre": "", "phase": self.phase, "epoch": 0}],
        })
    }

    fn note(&mut self, viewer: &str, v: u64, scores: Value) {
        self.acked += 1;
        if self.lie == Some(Lie::DropsAcked) && self.acked.is_multiple_of(7) {
            return;
        }
        let notes = self.notes.entry(viewer.to_owned()).or_default();
        if self.lie != Some(Lie::CountsTwice) {
            notes.clear();
        }
        notes.push((v, scores));
    }

    /// The numbers of what is kept, honest about them.
    fn numbers(&self) -> Value {
        let mut histograms = [[0_u64; 5]; 2];
        let counted: Vec<&Value> = self
            .notes
            .values()
            .flatten()
            .map(|(_, scores)| scores)
            .filter(|scores| scores.as_object().is_some_and(|scores| !scores.is_empty()))
            .collect();
        for scores in &counted {
            for (histogram, key) in histograms.iter_mut().zip(["fun", "graph"]) {
                if let Some(score) = scores[key].as_u64() {
                    histogram[usize::try_from(score).unwrap() - 1] += 1;
                }
            }
        }
        let tidy = |mean: f64| (mean * 1e9).round() / 1e9;
        let mut parts = Vec::new();
        let criteres: Vec<Value> = ["fun", "graph"]
            .iter()
            .zip(histograms)
            .map(|(key, histogram)| {
                let count: u64 = histogram.iter().sum();
                let sum: u64 = histogram.iter().zip(0..).map(|(votes, k)| votes * k).sum();
                let part = sum as f64 / count as f64;
                if count > 0 {
                    parts.push(part / 4.0);
                }
                let mean = (count > 0).then(|| tidy(1.0 + part));
                json!({"key": key, "count": count, "mean": mean, "histogram": histogram})
            })
            .collect();
        let mean = (!parts.is_empty()).then(|| tidy(1.0 + 4.0 * parts.iter().sum::<f64>() / parts.len() as f64));
        json!({"voters": counted.len(), "mean": mean, "criteres": criteres})
    }

    /// The next frame.
    fn frame(&mut self) -> Option<String> {
        if self.phase == "pending" {
            return None;
        }
        let honest = self.numbers();
        if honest == self.tally {
            return None;
        }
        self.before = std::mem::replace(&mut self.tally, honest.clone());
        self.rev += 1;
        let mut frame = match self.lie {
            Some(Lie::StaleNumbers) if !self.before.is_null() => self.before.clone(),
            _ => honest,
        };
        if self.lie == Some(Lie::StaleMean) && self.before["mean"].is_number() {
            frame["mean"] = self.before["mean"].clone();
        }
        let rev =
            if self.lie == Some(Lie::GoesBackwards) && self.rev.is_multiple_of(3) { self.rev - 2 } else { self.rev };
        let rest = json!({"t": "tally", "live": LIVE, "jeu": 1, "epoch": 0, "phase": self.phase, "rev": rev, "as_of_us": now_us()});
        frame.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        Some(frame.to_string())
    }

    fn export(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (viewer, notes) in &self.notes {
            for (v, scores) in notes.iter().filter(|(_, scores)| !scores.as_object().unwrap().is_empty()) {
                lines.push(json!({"viewer": viewer, "jeu": 1, "v": v, "scores": scores}).to_string());
            }
        }
        if self.lie == Some(Lie::Invents) {
            lines.push(json!({"viewer": "nobody", "jeu": 1, "v": 77, "scores": {"fun": 5}}).to_string());
        }
        lines.join("\n")
    }

    fn results(&self) -> Value {
        let mut numbers = self.numbers();
        if self.lie == Some(Lie::WrongResult) {
            numbers["voters"] = json!(numbers["voters"].as_u64().unwrap() - 1);
        }
        numbers.as_object_mut().unwrap().extend(json!({"jeu_id": 1, "phase": self.phase}).as_object().unwrap().clone());
        json!({"jeux": [numbers]})
    }

    fn answer(&mut self, method: &str, path: &str) -> (u16, String) {
        let ok = |value: Value| (200, value.to_string());
        match (method, path) {
            ("GET", "/version") => ok(json!({"name": "liar", "version": "0"})),
            ("GET", "/api/admin/session") => ok(json!({"role": "admin"})),
            ("GET", "/api/admin/channels/stress") => ok(json!({"open_live": null})),
            ("GET", "/api/admin/channels/stress/jeux") => ok(json!([{"jeu_id": 1}])),
            ("GET", "/api/admin/bareme-presets") => ok(json!([bareme()])),
            ("POST", "/api/admin/channels/stress/baremes") => ok(json!({"bareme_id": LIVE})),
            ("GET", "/api/lives") => ok(json!([{"channel": "stress"}])),
            ("GET", "/api/channels/stress/live") => ok(json!({"live": self.live()})),
            ("GET", path) if path.ends_with("/notes") => (200, self.export()),
            ("GET", path) if path.ends_with("/results") => ok(self.results()),
            ("POST", path) if path.ends_with("/jeux/1/open") => {
                self.phase = "open";
                ok(self.live())
            }
            ("POST", path) if path.ends_with("/close") => {
                self.phase = "final";
                ok(self.live())
            }
            ("POST", _) => ok(self.live()),
            _ => (404, json!({"code": "unknown", "reason": path}).to_string()),
        }
    }
}

impl Liar {
    pub(crate) async fn start(lie: Lie) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { lie: Some(lie), phase: "pending", ..State::default() }));
        let (frames, _) = tokio::sync::broadcast::channel::<String>(64);
        let (ticking, sender) = (Arc::clone(&state), frames.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if let Some(frame) = ticking.lock().unwrap().frame() {
                    let _nobody_listens = sender.send(frame);
                }
            }
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                serving.lock().unwrap().peers.insert(peer.ip());
                tokio::spawn(serve(stream, Arc::clone(&serving), frames.clone()));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn peers(&self) -> usize {
        self.state.lock().unwrap().peers.len()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, frames: tokio::sync::broadcast::Sender<String>) {
    let mut head = [0; 4096];
    let count = stream.peek(&mut head).await.unwrap_or(0);
    if head[..count].starts_with(b"GET /ws/") {
        return socket(stream, state, frames).await;
    }
    // Every request comes in one piece over the loopback; its body is of no interest.
    let Ok(count) = stream.read(&mut head).await else { return };
    let text = String::from_utf8_lossy(&head[..count]).into_owned();
    let mut words = text.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = state.lock().unwrap().answer(method, path);
    let answer = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let _gone = stream.write_all(answer.as_bytes()).await;
}

async fn socket(stream: TcpStream, state: Arc<Mutex<State>>, frames: tokio::sync::broadcast::Sender<String>) {
    let mut frames = frames.subscribe();
    let Ok((_, mut socket)) = ServerBuilder::new().accept(stream).await else { return };
    let (mut viewer, first) = {
        let mut state = state.lock().unwrap();
        state.viewers += 1;
        let viewer = format!("viewer-{}", state.viewers);
        let welcome = json!({"t": "welcome", "protocol": 1, "now_us": now_us(), "build": "x", "channel": "stress", "viewer": viewer, "ping_interval_s": 20});
        let shown = json!({"t": "state", "rev": 1, "channel_title": "x", "live": state.live(), "stale": false});
        (viewer, [welcome.to_string(), shown.to_string()])
    };
    for text in first {
        let _gone = socket.send(Message::text(text)).await;
    }
    loop {
        let text = tokio::select! {
            frame = frames.recv() => match frame {
                Ok(frame) => frame,
                Err(_) => return,
            },
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Some(message) = message.as_text().and_then(|text| serde_json::from_str::<Value>(text).ok()) else { continue };
                match message["t"].as_str().unwrap() {
                    "ping" => json!({"t": "pong", "id": message["id"], "now_us": now_us()}).to_string(),
                    "hello" => {
                        viewer = message["viewer"].as_str().unwrap().to_owned();
                        continue;
                    }
                    kind => {
                        let scores = if kind == "withdraw" { json!({}) } else { message["scores"].clone() };
                        state.lock().unwrap().note(&viewer, message["v"].as_u64().unwrap(), scores);
                        json!({"t": "reply", "live": LIVE, "jeu": 1, "v": message["v"], "status": "ok"}).to_string()
                    }
                }
            }
        };
        if socket.send(Message::text(text)).await.is_err() {
            return;
        }
    }
}
