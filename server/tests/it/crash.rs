//! `kill -9` at random moments. Whatever was acknowledged is there afterwards, counted once.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Server, data_dir, eventually, free_port, seed};
use crate::recount::{Stored, by_bytes, by_sql, copy_after_crash, jeu_of, shown};
use crate::studio::Studio;
use crate::wire::{Heard, Page, now_us};

const VIEWERS: usize = 200;
const KEYS: [&str; 5] = ["fun", "graph", "duree", "son", "scenario"];

/// What one viewer sent, and the greatest of it that was acknowledged.
#[derive(Default)]
struct History {
    sent: HashMap<u64, Vec<u8>>,
    acknowledged: Option<u64>,
}

/// A viewer who wants one note at a time, sends it until it has a final reply, and then wants another.
struct Viewer {
    number: usize,
    url: String,
    random: StdRng,
    token: Option<String>,
    wanted: Option<Value>,
    last_v: u64,
    history: Arc<Mutex<History>>,
    stop: Arc<AtomicBool>,
    resent: Arc<AtomicU64>,
}

impl Viewer {
    fn jeu(number: usize) -> u32 {
        u32::try_from(number % 3).unwrap() + 1
    }

    /// The note it wants: the same until it was answered. The version's last digits name the viewer, so that a recount
    /// can tell whose row it found without asking the server.
    fn want(&mut self, live: &str) -> Value {
        if let Some(wanted) = &self.wanted {
            self.resent.fetch_add(1, Ordering::Relaxed);
            return wanted.clone();
        }
        let number = u64::try_from(self.number).unwrap();
        self.last_v = (now_us() / 1000 * 1000 + number).max(self.last_v + 1000);
        let steps: Vec<u8> = KEYS.iter().map(|_| self.random.random_range(0..5)).collect();
        let scores: serde_json::Map<_, _> =
            KEYS.iter().zip(&steps).map(|(key, step)| ((*key).to_owned(), json!(step + 1))).collect();
        self.history.lock().unwrap().sent.insert(self.last_v, steps);
        let jeu = Self::jeu(self.number);
        let note = json!({"t": "note", "live": live, "jeu": jeu, "v": self.last_v, "scores": scores});
        self.wanted.insert(note).clone()
    }

    async fn run(mut self) {
        while !(self.stop.load(Ordering::Relaxed) && self.wanted.is_none()) {
            let Ok(page) = Page::connect(&self.url, &[]).await else {
                tokio::time::sleep(Duration::from_millis(self.random.random_range(5..50))).await;
                continue;
            };
            self.visit(page).await;
        }
    }

    /// Until the socket ends.
    async fn visit(&mut self, mut page: Page) -> Option<()> {
        match &self.token {
            None => self.token = page.token.clone(),
            Some(token) => page.try_say(&json!({"t": "hello", "viewer": token})).await.then_some(())?,
        }
        let live = page.live();
        while self.wanted.is_some() || !self.stop.load(Ordering::Relaxed) {
            let note = self.want(&live);
            page.try_say(&note).await.then_some(())?;
            let reply = loop {
                match page.hear().await {
                    Heard::Message(message, _) if message["t"] == "reply" && message["v"] == note["v"] => {
                        break message;
                    }
                    Heard::Message(..) => {}
                    Heard::End(_) => return None,
                }
            };
            match reply["status"].as_str().unwrap() {
                "ok" => {
                    self.history.lock().unwrap().acknowledged = note["v"].as_u64();
                    self.wanted = None;
                }
                "unknown" | "retry_after" | "too_fast" => {}
                status => panic!("viewer {}: {status}: {reply}", self.number),
            }
            // A person does not tap faster; and nobody's socket runs into its rate.
            let pause = reply["retry_after_ms"].as_u64().unwrap_or_else(|| self.random.random_range(40..120));
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        None
    }
}

/// Compares what is on disk with what viewers were told.
fn check(dir: &Path, live: &str, histories: &[Arc<Mutex<History>>]) -> usize {
    let mut found = HashMap::<usize, Stored>::new();
    for jeu in 1..=3 {
        for (viewer, (version, steps)) in by_bytes(dir, live, jeu) {
            let number = usize::try_from(version % 1000).unwrap();
            assert_eq!(Viewer::jeu(number), jeu, "a note of viewer {number} on another jeu");
            let twice = found.insert(number, (version, steps));
            assert!(twice.is_none(), "viewer {number} is there twice, once as {viewer:?}");
        }
    }
    for (number, history) in histories.iter().enumerate() {
        let history = history.lock().unwrap();
        match (found.get(&number), history.acknowledged) {
            (Some((version, steps)), acknowledged) => {
                assert!(Some(*version) >= acknowledged, "viewer {number}: {version} is older than {acknowledged:?}");
                assert_eq!(history.sent.get(version), Some(steps), "viewer {number} never sent what is stored");
            }
            (None, Some(acknowledged)) => panic!("viewer {number} lost its note {acknowledged}"),
            (None, None) => {}
        }
    }
    found.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_during_the_votes_of_two_hundred_sockets_lose_nothing_that_was_acknowledged() {
    let kills: u32 = std::env::var("IT_KILLS").ok().map_or(30, |text| text.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed("thirty kills"));
    let dir = data_dir();
    let started = Instant::now();
    let command = ["demo", "--viewers", "0"];
    let mut server = Server::start(&command, dir.path()).await;
    let (channel, live) = server.open_live().await;
    let port = server.port();
    let (stop, resent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut histories = Vec::new();
    let mut viewers = Vec::new();
    for number in 0..VIEWERS {
        let history = Arc::<Mutex<History>>::default();
        histories.push(Arc::clone(&history));
        let viewer = Viewer {
            number,
            url: format!("ws://127.0.0.1:{port}/ws/{channel}"),
            random: StdRng::seed_from_u64(random.random()),
            token: None,
            wanted: None,
            last_v: 0,
            history,
            stop: Arc::clone(&stop),
            resent: Arc::clone(&resent),
        };
        viewers.push(tokio::spawn(viewer.run()));
    }
    let acknowledged =
        || -> usize { histories.iter().filter(|history| history.lock().unwrap().acknowledged.is_some()).count() };
    for kill in 0..kills {
        // One in five does not live to be ready.
        if kill % 5 == 4 {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
        } else {
            server.ready().await;
            tokio::time::sleep(Duration::from_millis(random.random_range(50..1200))).await;
            assert_eq!(server.open_live().await.1, live, "it goes on with its live");
        }
        assert_eq!(server.complaints(), Vec::<String>::new());
        server.kill();
        let copy = copy_after_crash(dir.path());
        check(copy.path(), &live, &histories);
        server = Server::spawn(&command, dir.path(), port);
    }
    server.ready().await;
    eventually("everybody has an answer", async || (acknowledged() == VIEWERS).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    for viewer in viewers {
        viewer.await.unwrap();
    }
    let results = server.results(&live).await;
    assert_eq!(server.metric("tally_drift_total").await, 0.0);
    assert_eq!(server.complaints(), Vec::<String>::new());
    server.stop().await;
    assert_eq!(check(dir.path(), &live, &histories), VIEWERS);
    let mut voters = 0;
    for jeu in 1..=3 {
        assert_eq!(by_sql(dir.path(), &live, jeu, KEYS.len(), 5), shown(&results, jeu), "jeu {jeu}");
        voters += jeu_of(&results, jeu)["voters"].as_u64().unwrap();
    }
    assert_eq!(usize::try_from(voters).unwrap(), VIEWERS, "each viewer counts once");
    for history in &histories {
        let history = history.lock().unwrap();
        assert_eq!(history.acknowledged.as_ref(), history.sent.keys().max(), "everything sent was answered in the end");
    }
    let sent: usize = histories.iter().map(|history| history.lock().unwrap().sent.len()).sum();
    let resent = resent.load(Ordering::Relaxed);
    println!("{kills} kills, {sent} notes, {resent} sent again, in {:?}", started.elapsed());
}

/// A live with one open jeu and `count` acknowledged notes on it.
async fn voted(dir: &TempDir, count: u64) -> (Studio, Server, String, u32) {
    let studio = Studio::new(dir.path());
    let server = Server::start(&["serve"], dir.path()).await;
    let (live, jeux) = studio.live(&server, "fin", json!({}), "first").await;
    for number in 0..count {
        let mut page = Page::viewer(&server, "fin").await;
        assert_eq!(page.noted(jeux[0], json!({"fun": 1 + number % 5, "graph": 2.5})).await["status"], "ok");
    }
    (studio, server, live, jeux[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_a_jeu_closes_ends_with_a_final_result_of_every_acknowledged_note() {
    let mut random = StdRng::seed_from_u64(seed("crash while closing"));
    let mut phases = HashSet::new();
    for round in 0..10 {
        let whole_live = round % 2 == 1;
        let dir = data_dir();
        let (studio, server, live, jeu) = voted(&dir, 25).await;
        let path = match whole_live {
            true => format!("/api/admin/lives/{live}/close"),
            false => format!("/api/admin/lives/{live}/jeux/{jeu}/close"),
        };
        let (url, bearer) = (server.url(&path), studio.bearer());
        let client = crate::harness::client();
        let closing = client.post(url).header("Authorization", bearer).json(&json!({"delay_ms": 0})).send();
        let closing = tokio::spawn(closing);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..40))).await;
        let port = server.port();
        server.kill();
        let was_told = closing.await.unwrap().is_ok_and(|response| response.status() == 200);
        let mut server = Server::spawn(&["serve"], dir.path(), port);
        server.ready().await;
        let phase = jeu_of(&server.results(&live).await, jeu)["phase"].as_str().unwrap().to_owned();
        println!("closed: {was_told}; after the restart the jeu is {phase}");
        phases.insert(phase);
        // Killed before the closing was on disk, nobody was told so; then it is asked for again.
        if !was_told {
            studio.post(&server, &path, json!({"delay_ms": 0})).await;
        }
        let results = eventually("a final result", async || {
            let results = server.results(&live).await;
            (jeu_of(&results, jeu)["phase"] == "final").then_some(results)
        })
        .await;
        assert_eq!(jeu_of(&results, jeu)["voters"], 25);
        assert_eq!(jeu_of(&results, jeu)["criteres"][0]["histogram"], json!([5, 5, 5, 5, 5]));
        server.stop().await;
        assert_eq!(by_sql(dir.path(), &live, jeu, 2, 9)["voters"], 25);
    }
    println!("phases right after a restart: {phases:?}");
}

#[tokio::test]
async fn an_overlay_is_right_again_after_a_restart_and_never_shows_less() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let port = free_port();
    let command = ["demo", "--viewers", "0"];
    let mut server = Server::spawn(&command, dir.path(), port);
    server.ready().await;
    let (channel, live) = server.open_live().await;
    let (_, key) = studio.overlay_key(&server, &channel).await;
    let url = server.ws_url(&format!("/ws/{channel}?role=overlay&key={key}"));
    for round in 1..=5_u64 {
        let mut page = Page::viewer(&server, &channel).await;
        assert_eq!(page.vote(1, json!({"fun": 1 + round % 5})).await["status"], "ok");
        let before = server.results(&live).await;
        server.kill();
        let restarted = Instant::now();
        server = Server::spawn(&command, dir.path(), port);
        let mut overlay = eventually("the overlay is connected", async || Page::connect(&url, &[]).await.ok()).await;
        let tally = overlay.tally(1, round).await;
        let took = restarted.elapsed();
        assert_eq!(
            (&tally["mean"], &tally["criteres"]),
            (&jeu_of(&before, 1)["mean"], &jeu_of(&before, 1)["criteres"])
        );
        assert!(
            overlay.log.iter().filter(|(_, text)| text.contains("\"t\":\"tally\"")).all(|(_, text)| {
                let tally: Value = serde_json::from_str(text).unwrap();
                tally["jeu"] != 1 || tally["voters"] == round
            }),
            "it never shows fewer votes than there are: {:?}",
            overlay.log
        );
        println!("right again {took:?} after the start");
        server.ready().await;
    }
}

#[tokio::test]
async fn as_soon_as_a_server_says_that_it_is_ready_it_takes_votes() {
    let dir = data_dir();
    let client = crate::harness::client();
    for round in 1..=10_u64 {
        let server = Server::demo(dir.path()).await;
        // Who sends a form once, as curl does, has no second try.
        let vote = client.post(server.url("/api/note")).form(&[("jeu_id", "1"), ("fun", "4")]);
        let response = vote.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "start {round}: {text}");
        server.kill();
    }
}

#[tokio::test]
async fn as_soon_as_a_jeu_is_said_to_be_open_it_takes_votes() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::start(&["serve"], dir.path()).await;
    let (live, jeux) = studio.draft(&server, "vite", 30, json!({})).await;
    studio.post(&server, &format!("/api/admin/lives/{live}/open"), json!({"open_jeux": "none"})).await;
    let mut page = Page::viewer(&server, "vite").await;
    for jeu in jeux {
        studio.post(&server, &format!("/api/admin/lives/{live}/jeux/{jeu}/open"), json!({})).await;
        let reply = page.vote(jeu, json!({"fun": 3})).await;
        assert_eq!(reply["status"], "ok", "jeu {jeu}: {reply}");
    }
}
