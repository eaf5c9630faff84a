//! What dumps cost: seconds, memory and bytes of each command, on a live of as many notes as one likes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bareme::catalogue::{Catalogue, NewLive};
use bareme::cluster::close::finalise;
use bareme::cluster::env::Env;
use bareme::domain::ballot::Ratings;
use bareme::domain::bareme::presets;
use bareme::domain::jeu::JeuDetails;
use bareme::domain::key::Slug;
use bareme::domain::live::{Live, LiveStatus};
use bareme::domain::phase::{Phase, Rank};
use bareme::domain::viewer::ViewerId;
use bareme::records::Records;
use bareme::store::sqlite::SqliteStore;
use bareme::store::{ItemId, MAX_NOTE_ROWS, NoteRow, Payload, RecordKey, RecordKind, Store};

use super::{beside, dumps_in};
use crate::harness::{client, data_dir};

/// A draft with so many notes on its one jeu.
async fn filled(dir: &Path, notes: u64) -> (Arc<dyn Store>, Live, ItemId) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir).unwrap());
    let catalogue = Catalogue::new(Records::new(Arc::clone(&store)));
    let slug = Slug::new("max").unwrap();
    catalogue.create_channel(slug.clone(), "Max", 1).await.unwrap();
    let details = JeuDetails { title: "Jeu".to_owned(), ..JeuDetails::default() };
    let jeu = catalogue.add_jeu(&slug, &details).await.unwrap().jeu_id;
    let (bareme_id, _) = catalogue.add_bareme(&slug, &presets()[0]).await.unwrap();
    let new = NewLive { title: "M".to_owned(), bareme_id, jeux: vec![jeu], blind: false, minimum_votes: 1 };
    let live = catalogue.create_live(&slug, new, 1).await.unwrap();
    let item = ItemId { live: live.live_id, jeu };
    let mut viewers: Vec<[u8; 16]> = (0..notes).map(|_| rand::random()).collect();
    viewers.sort_unstable();
    for (batch, viewers) in viewers.chunks(MAX_NOTE_ROWS).enumerate() {
        let row = |(index, viewer): (usize, &[u8; 16])| {
            let steps: [u8; 5] = rand::random::<[u8; 5]>().map(|step| step % 5);
            let version = 1_700_000_000_000_000 + (batch * MAX_NOTE_ROWS + index) as u64 * 997;
            NoteRow { viewer: ViewerId(*viewer), version, payload: Payload::from_slice(&[&[1][..], &steps].concat()) }
        };
        store.write_notes(item, viewers.iter().enumerate().map(row).collect()).await.unwrap();
    }
    (store, live, item)
}

/// A data directory with a live that ended long ago and has so many notes on its one jeu.
async fn prepare(dir: &Path, notes: u64) -> String {
    let (store, live, item) = filled(dir, notes).await;
    store.raise_rank(item, Rank::new(0, Phase::Closing)).await.unwrap();
    let ballot = Arc::new(Ratings::new(Arc::new(live.bareme.clone())));
    finalise(&*store, &Env::system(), &ballot, item, 0).await.unwrap();
    let key = RecordKey::new(RecordKind::Live, "", live.live_id.to_string());
    let over = Live { status: LiveStatus::Closed, opened_at_us: Some(1), closed_at_us: Some(2), ..live };
    store.put_record(&key, 1, serde_json::to_string(&over).unwrap()).await.unwrap();
    over.live_id.to_string()
}

/// The program to measure, on a data directory.
fn program(dir: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var("BAREME_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bareme").to_owned());
    let mut command = Command::new(program);
    for name in ["BAREME_BIN", "BAREME_DUMP_NOTES"] {
        command.env_remove(name);
    }
    command.args(arguments).arg("--data-dir").arg(dir).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// So many notes as the variable says.
fn asked() -> u64 {
    std::env::var("BAREME_DUMP_NOTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

/// Runs a command of the program and says what it took.
fn measured(dir: &Path, arguments: &[&str]) {
    let started = Instant::now();
    let mut command = program(dir, arguments);
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = String::new();
    let ended = loop {
        if let Some(line) = std::fs::read_to_string(&status).ok().as_deref().and_then(peak_in) {
            peak = line;
        }
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success(), "{arguments:?}");
    println!("{:>8.2} s, {peak:>12} at most: {}", started.elapsed().as_secs_f64(), arguments[0]);
}

fn peak_in(status: &str) -> Option<String> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(|peak| peak.trim().to_owned())
}

#[tokio::test]
#[ignore = "a measurement: BAREME_BIN=target/release/bareme BAREME_DUMP_NOTES=1000000, with --nocapture"]
async fn what_each_command_costs() {
    let (dir, other) = (data_dir(), data_dir());
    let notes = asked();
    let live = prepare(dir.path(), notes).await;
    let to = beside(dir.path(), "dumps");
    println!("{notes} notes");
    measured(dir.path(), &["dump", "--live", &live, "--dump-to", &to]);
    let dump = &dumps_in(&dir.path().join("dumps"))[0];
    let bytes: u64 = super::files_in(dump).iter().map(|path| path.metadata().unwrap().len()).sum();
    println!("{bytes} bytes in the dump, {:.1} a note", bytes as f64 / notes as f64);
    measured(dir.path(), &["dump", "--all", "--dump-to", &to]);
    measured(other.path(), &["restore", &dump.display().to_string(), "--same-id"]);
    measured(dir.path(), &["export", &live, "--format", "ndjson"]);
    measured(dir.path(), &["backup", &dir.path().join("backup").display().to_string()]);
    measured(dir.path(), &["prune", "--dump-to", &to]);
}

/// Viewers who vote without a pause, and for how long each part of the measurement lasts.
const VOTERS: usize = 4;
const PART: Duration = Duration::from_secs(15);

/// What six exports and those who read may take of memory.
const EXPORTS_KILOBYTES: u64 = 150_000;

/// New viewers vote one after the other for a while; how long each vote took, in order.
async fn votes(base: &str, live: &str, jeu: u32) -> Vec<Duration> {
    let until = Instant::now() + PART;
    let one = || async {
        let mut took = Vec::new();
        while Instant::now() < until {
            let started = Instant::now();
            let body = serde_json::json!({"live_id": live, "jeu_id": jeu, "fun": 4});
            // Without its cookie the next vote is a new viewer's.
            let sent = client().post(format!("{base}/api/note")).json(&body).send().await.unwrap();
            assert_eq!(sent.status(), 200);
            took.push(started.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        took
    };
    let mut all = futures_util::future::join_all((0..VOTERS).map(|_| one())).await.concat();
    all.sort_unstable();
    all
}

/// Asks for something again and again until it is told to stop; how often it was answered in whole, and how often refused.
async fn again_and_again(
    url: String,
    token: Option<String>,
    every: Duration,
    stop: Arc<tokio::sync::Notify>,
) -> [u32; 2] {
    let mut counts = [0, 0];
    let asking = async {
        loop {
            let mut request = client().get(&url);
            if let Some(token) = &token {
                request = request.bearer_auth(token);
            }
            if let Ok(mut response) = request.send().await {
                let is_taken = response.status() == 200;
                while let Ok(Some(_)) = response.chunk().await {}
                counts[usize::from(!is_taken)] += 1;
            }
            tokio::time::sleep(every).await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = stop.notified() => {}
    }
    counts
}

/// Prints what votes and memory were; the p99, and the peak of memory in kB.
fn told(what: &str, took: &[Duration], pid: u32) -> (Duration, u64) {
    let at = |share: usize| took[(took.len() * share / 1000).min(took.len() - 1)];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = peak_in(&status).unwrap_or_default();
    println!(
        "{what:>22}: {:>5} votes, median {:?}, p99 {:?}, slowest {:?}; memory {peak} at most",
        took.len(),
        at(500),
        at(990),
        at(1000)
    );
    let kilobytes = peak.split(' ').next().and_then(|number| number.parse().ok());
    (at(990), kilobytes.unwrap_or_else(|| panic!("no peak of memory in {peak:?}")))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: BAREME_BIN=target/release/bareme BAREME_DUMP_NOTES=1000000, with --nocapture"]
async fn what_exports_and_readers_cost_those_who_vote() {
    let dir = data_dir();
    let (store, live, item) = filled(dir.path(), asked()).await;
    drop(store);
    let made = program(dir.path(), &["token", "new", "--name", "m", "--role", "admin"]).stdout(Stdio::piped()).output();
    let token = String::from_utf8(made.unwrap().stdout).unwrap().trim().to_owned();
    let port = crate::harness::free_port();
    let base = format!("http://127.0.0.1:{port}");
    let ops = format!("127.0.0.1:{}", crate::harness::free_port());
    let arguments = ["serve", "--listen", &format!("127.0.0.1:{port}"), "--ops-listen", &ops];
    let mut server = program(dir.path(), &arguments).spawn().unwrap();
    crate::harness::eventually("the server", async || {
        let ready = client().get(format!("http://{ops}/readyz")).send().await;
        ready.is_ok_and(|answer| answer.status() == 200).then_some(())
    })
    .await;
    let live_id = live.live_id.to_string();
    let open = client().post(format!("{base}/api/admin/lives/{live_id}/open")).bearer_auth(&token);
    assert_eq!(open.json(&serde_json::json!({"open_jeux": "all"})).send().await.unwrap().status(), 200);
    crate::harness::eventually("all notes are read", async || {
        let results = client().get(format!("{base}/api/lives/{live_id}/results")).send().await.ok()?;
        let results: serde_json::Value = results.json().await.ok()?;
        (results["jeux"][0]["voters"].as_u64()? >= asked()).then_some(())
    })
    .await;
    println!("{} notes, {VOTERS} voters, {PART:?} each", asked());
    let pid = server.id();
    let (calm, before) = told("calm", &votes(&base, &live_id, item.jeu.0).await, pid);
    let lives = format!("{base}/api/channels/max/lives");
    let exports = format!("{base}/api/lives/{live_id}/notes");
    for (what, url, token, readers, every) in [
        ("13 readers a second", lives, None, 13, Duration::from_secs(1)),
        ("six exports", exports, Some(token), 6, Duration::from_millis(1)),
    ] {
        let stop = Arc::new(tokio::sync::Notify::new());
        let asking = |_| tokio::spawn(again_and_again(url.clone(), token.clone(), every, Arc::clone(&stop)));
        let asking: Vec<_> = (0..readers).map(asking).collect();
        let (p99, peak) = told(what, &votes(&base, &live_id, item.jeu.0).await, pid);
        stop.notify_waiters();
        let mut counts = [0, 0];
        for one in asking {
            let [taken, refused] = one.await.unwrap();
            counts = [counts[0] + taken, counts[1] + refused];
        }
        let ratio = p99.as_secs_f64() / calm.as_secs_f64();
        println!("{:>22}  {} answers in whole, {} refusals; p99 {ratio:.2} x calm", "", counts[0], counts[1]);
        assert!(counts[0] + counts[1] > 0, "nobody was answered");
        // An export holds pages of a store, not the notes of a live.
        assert!(peak < before + EXPORTS_KILOBYTES, "{what} took {} kB", peak - before);
    }
    server.kill().unwrap();
    server.wait().unwrap();
}
