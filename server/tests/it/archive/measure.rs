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
use crate::harness::data_dir;

/// A data directory with a live that ended long ago and has so many notes on its one jeu.
async fn prepare(dir: &Path, notes: u64) -> String {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir).unwrap());
    let catalogue = Catalogue::new(Records::new(Arc::clone(&store)));
    let slug = Slug::new("max").unwrap();
    catalogue.create_channel(slug.clone(), "Max", 1).await.unwrap();
    let details = JeuDetails { title: "Jeu".to_owned(), ..JeuDetails::default() };
    let jeu = catalogue.add_jeu(&slug, &details).await.unwrap().jeu_id;
    let (bareme_id, bareme) = catalogue.add_bareme(&slug, &presets()[0]).await.unwrap();
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
    store.raise_rank(item, Rank::new(0, Phase::Closing)).await.unwrap();
    let ballot = Arc::new(Ratings::new(Arc::new(bareme)));
    finalise(&*store, &Env::system(), &ballot, item, 0).await.unwrap();
    let key = RecordKey::new(RecordKind::Live, "", live.live_id.to_string());
    let over = Live { status: LiveStatus::Closed, opened_at_us: Some(1), closed_at_us: Some(2), ..live };
    store.put_record(&key, 1, serde_json::to_string(&over).unwrap()).await.unwrap();
    over.live_id.to_string()
}

/// Runs a command of the program and says what it took.
fn measured(dir: &Path, arguments: &[&str]) {
    let program = std::env::var("BAREME_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bareme").to_owned());
    let started = Instant::now();
    let mut command = Command::new(program);
    for name in ["BAREME_BIN", "BAREME_DUMP_NOTES"] {
        command.env_remove(name);
    }
    command.args(arguments).arg("--data-dir").arg(dir).stdin(Stdio::null()).stdout(Stdio::null());
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
    let notes = std::env::var("BAREME_DUMP_NOTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
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
