//! Dumps: made by themselves, read by somebody who knows only their documentation, brought back, and what is forgotten.

mod drill;
mod dumped;
mod forged;
mod measure;
mod prune;
mod restore;
mod s3;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::disk::SmallDisk;
use crate::harness::{Ended, PATIENCE, Server, bareme, client, data_dir, eventually, finish};
use crate::studio::Studio;

/// Votes that are under way together.
const AT_ONCE: usize = 32;

/// Every address a test may dump to is a folder next to the data.
pub(super) fn beside(dir: &Path, name: &str) -> String {
    format!("file://{}", dir.join(name).display())
}

/// Runs a command of the program on a data directory.
pub(super) fn on(dir: &Path, arguments: &[&str]) -> Ended {
    finish(bareme().args(arguments).arg("--data-dir").arg(dir))
}

/// As [`on`]; what it wrote to standard output, once it has said that all went well.
pub(super) fn done(dir: &Path, arguments: &[&str]) -> String {
    let ended = on(dir, arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

/// Notes of so many viewers on a jeu, each by a viewer of its own.
pub(super) async fn crowd(server: &Server, live: &str, jeu: u32, count: u32) {
    let http = client();
    let vote = |number: u32| {
        let body =
            json!({"live_id": live, "jeu_id": jeu, "fun": number % 5 + 1, "graph": f64::from(number % 9) / 2.0 + 1.0});
        let request = http.post(server.url("/api/note")).json(&body);
        async move { assert_eq!(request.send().await.unwrap().status(), 200) }
    };
    futures_util::stream::iter(0..count).map(vote).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// Ends a live, as the button does: its last results are made a moment later.
async fn begin_to_end(studio: &Studio, server: &Server, live: &str) {
    studio.post(server, &format!("/api/admin/lives/{live}/close"), json!({"delay_ms": 0})).await;
}

/// Ends a live, and waits until all its results are final.
pub(super) async fn end(studio: &Studio, server: &Server, live: &str) {
    begin_to_end(studio, server, live).await;
    eventually("the last results of a live", async || {
        let results = server.results(live).await;
        let mut jeux = results["jeux"].as_array().unwrap().iter();
        jeux.all(|jeu| jeu["phase"] == "final" || jeu["phase"] == "pending").then_some(())
    })
    .await;
}

/// Folders of the dumps below a folder: those with a manifest.
pub(super) fn dumps_in(folder: &Path) -> Vec<PathBuf> {
    let manifests = files_in(folder).into_iter().filter(|path| path.ends_with("manifest.json"));
    let mut found: Vec<_> = manifests.filter_map(|path| Some(path.parent()?.to_owned())).collect();
    found.sort();
    found
}

/// Every file below a folder.
pub(super) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}

/// Waits for the dump of a live.
pub(super) async fn dump_of(folder: &Path, live: &str) -> PathBuf {
    eventually("the dump of a live", async || {
        dumps_in(folder).into_iter().find(|path| path.to_string_lossy().contains(live))
    })
    .await
}

/// Results of a live as an admin gets them: JSON and CSV.
pub(super) async fn shown(studio: &Studio, server: &Server, live: &str) -> [String; 3] {
    let mut texts = Vec::new();
    for path in ["results", "results.csv", "notes"] {
        let request = client().get(server.url(&format!("/api/lives/{live}/{path}")));
        let response = request.header("Authorization", studio.bearer()).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        texts.push(response.text().await.unwrap());
    }
    texts.try_into().unwrap()
}

#[tokio::test]
async fn a_live_of_ten_thousand_notes_is_dumped_after_its_end() {
    let dir = data_dir();
    let (server, studio) = (Server::start(&["serve"], dir.path()).await, Studio::new(dir.path()));
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    let count = std::env::var("BAREME_DUMP_NOTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    crowd(&server, &live, jeux[0], count / 2).await;
    crowd(&server, &live, jeux[1], count - count / 2).await;
    begin_to_end(&studio, &server, &live).await;
    let ended = Instant::now();
    let dump = dump_of(&dir.path().join("dumps"), &live).await;
    let took = ended.elapsed();
    println!("{count} notes: dumped and read back {took:?} after the end of the live");
    eventually("it is counted", async || (server.metric("dumps_made_total").await == 1.0).then_some(())).await;
    eventually("nothing is left", async || (server.metric("dump_pending").await == 0.0).then_some(())).await;
    assert!(server.metric("dump_last_success_timestamp_seconds").await > 1e9);
    assert_eq!(server.metric("dumps_failed_total").await, 0.0);
    let results = server.results(&live).await;
    dumped::check(&dump, &live, &results);
    assert_eq!(server.complaints(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn a_live_without_a_vote_has_a_dump_and_one_that_is_on_air_has_none() {
    let dir = data_dir();
    let (server, studio) = (Server::start(&["serve"], dir.path()).await, Studio::new(dir.path()));
    let (empty, _) = studio.live(&server, "max", json!({}), "none").await;
    let (silent, _) = studio.live(&server, "zoe", json!({}), "all").await;
    let (on_air, jeux) = studio.live(&server, "ana", json!({}), "all").await;
    crowd(&server, &on_air, jeux[0], 1).await;
    for live in [&empty, &silent] {
        end(&studio, &server, live).await;
        let dump = dump_of(&dir.path().join("dumps"), live).await;
        dumped::check(&dump, live, &server.results(live).await);
    }
    let refused = on(dir.path(), &["dump", "--live", &on_air]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("is on air"), "{}", refused.stderr);
    let unknown = on(dir.path(), &["dump", "--live", "019b76da-a800-7000-8000-000000000001"]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains("there is no live"), "{}", unknown.stderr);
    eventually("both are noted", async || (server.metric("dump_pending").await == 0.0).then_some(())).await;
    let rest = done(dir.path(), &["dump"]);
    assert!(rest.contains("2 more have their dump"), "{rest}");
    let all = done(dir.path(), &["dump", "--all"]);
    assert_eq!(all.matches("was there, read back").count(), 2, "{all}");
    assert_eq!(dumps_in(&dir.path().join("dumps")).len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_live_that_goes_on_after_its_end_has_a_dump_of_each_ending_with_every_epoch() {
    let dir = data_dir();
    let (server, studio) = (Server::start(&["serve"], dir.path()).await, Studio::new(dir.path()));
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    crowd(&server, &live, jeux[0], 3).await;
    end(&studio, &server, &live).await;
    let folder = dir.path().join("dumps");
    let first = dump_of(&folder, &live).await;
    let before = server.results(&live).await;
    studio.post(&server, &format!("/api/admin/lives/{live}/reopen"), Value::Null).await;
    crowd(&server, &live, jeux[0], 2).await;
    end(&studio, &server, &live).await;
    let both = eventually("a second dump", async || {
        let dumps = dumps_in(&folder);
        (dumps.len() == 2).then_some(dumps)
    })
    .await;
    assert_eq!(both[0], first, "the first is as it was");
    dumped::check(&first, &live, &before);
    let manifest = dumped::check(&both[1], &live, &server.results(&live).await);
    assert_eq!((&manifest["jeux"][0]["epoch"], &manifest["jeux"][0]["voters"]), (&json!(1), &json!(5)));
    let results = dumped::lines(&both[1], &manifest["documents"]);
    let of_first = |line: &&Value| line["kind"] == "result" && line["jeu"] == jeux[0];
    assert_eq!(results.iter().filter(of_first).count(), 2, "a result of each epoch");
    server.stop().await;
}

#[tokio::test]
async fn a_target_that_is_away_is_tried_again_and_nobody_who_votes_notices() {
    let dir = data_dir();
    let to = beside(dir.path(), "not-mounted/dumps");
    let server = Server::start(&["serve", "--dump-to", &to], dir.path()).await;
    let studio = Studio::new(dir.path());
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    crowd(&server, &live, jeux[0], 5).await;
    end(&studio, &server, &live).await;
    eventually("two attempts", async || (server.metric("dumps_failed_total").await >= 2.0).then_some(())).await;
    assert_eq!(server.metric("dump_pending").await, 1.0);
    let warnings = server.complaints();
    assert!(warnings.iter().all(|line| line.contains("a dump failed") && line.contains("not-mounted")), "{warnings:?}");
    let (next, jeux) = studio.live(&server, "zoe", json!({}), "all").await;
    crowd(&server, &next, jeux[0], 5).await;
    assert_eq!(server.results(&next).await["jeux"][0]["voters"], 5);
    assert_eq!(client().get(server.ops_url("/readyz")).send().await.unwrap().status(), 200);
    std::fs::create_dir(dir.path().join("not-mounted")).unwrap();
    let dump = dump_of(&dir.path().join("not-mounted/dumps"), &live).await;
    dumped::check(&dump, &live, &server.results(&live).await);
    eventually("nothing is left", async || (server.metric("dump_pending").await == 0.0).then_some(())).await;
    server.stop().await;
}

#[tokio::test]
async fn a_target_without_room_gets_the_dump_once_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = data_dir();
    let to = beside(&disk.folder, "dumps");
    disk.fill();
    let server = Server::start(&["serve", "--dump-to", &to], dir.path()).await;
    let studio = Studio::new(dir.path());
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    crowd(&server, &live, jeux[0], 50).await;
    end(&studio, &server, &live).await;
    eventually("a failure", async || (server.metric("dumps_failed_total").await >= 1.0).then_some(())).await;
    assert_eq!(dumps_in(&disk.folder.join("dumps")), Vec::<PathBuf>::new(), "half a dump is none");
    assert_eq!(server.results(&live).await["jeux"][0]["voters"], 50);
    std::fs::remove_file(disk.filler()).unwrap();
    let dump = dump_of(&disk.folder.join("dumps"), &live).await;
    dumped::check(&dump, &live, &server.results(&live).await);
    server.stop().await;
}

#[tokio::test]
async fn a_server_killed_while_it_dumps_makes_the_dump_after_its_next_start() {
    let dir = data_dir();
    let folder = dir.path().join("dumps");
    let studio = Studio::new(dir.path());
    let mut server = Server::start(&["serve"], dir.path()).await;
    let mut lives = BTreeMap::new();
    for (round, channel) in ["max", "zoe", "ana", "luc"].into_iter().enumerate() {
        let (live, jeux) = studio.live(&server, channel, json!({}), "all").await;
        crowd(&server, &live, jeux[0], 300).await;
        end(&studio, &server, &live).await;
        lives.insert(live.clone(), server.results(&live).await);
        // At once, at the first file, and later and later: the moments in which a dump is half there.
        let started = Instant::now();
        let begun = || files_in(&folder).iter().any(|path| path.to_string_lossy().contains(&live));
        while round > 0 && !begun() && started.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        if round > 1 {
            tokio::time::sleep(Duration::from_millis(3_u64.pow(u32::try_from(round).unwrap() - 2) * 4)).await;
        }
        server.kill();
        server = Server::start(&["serve"], dir.path()).await;
    }
    for (live, results) in &lives {
        let dump = dump_of(&folder, live).await;
        let manifest = dumped::check(&dump, live, results);
        eventually("what the killed one left is gone", async || {
            (files_in(&dump).len() == 2 + manifest["jeux"].as_array().unwrap().len()).then_some(())
        })
        .await;
    }
    assert_eq!(dumps_in(&folder).len(), lives.len(), "one each");
    server.stop().await;
}

/// A live of so many notes that ended this moment, on a server that dumps none.
async fn not_dumped(dir: &Path, notes: u32) -> (Studio, Server, String) {
    let studio = Studio::new(dir);
    let server = Server::start(&["serve", "--dump-to", "off"], dir).await;
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    crowd(&server, &live, jeux[0], notes).await;
    begin_to_end(&studio, &server, &live).await;
    (studio, server, live)
}

#[tokio::test]
async fn what_was_left_beside_a_dump_that_is_whole_is_deleted_when_it_is_read_back() {
    let dir = data_dir();
    let (_studio, server, live) = not_dumped(dir.path(), 20).await;
    let to = beside(dir.path(), "dumps");
    done(dir.path(), &["dump", "--live", &live, "--dump-to", &to]);
    let dump = dumps_in(&dir.path().join("dumps")).remove(0);
    let whole = files_in(&dump);
    // What is there when the maker is killed between the manifest's name and the end of its work.
    std::fs::write(dump.join("manifest.json#1"), b"{}").unwrap();
    std::fs::create_dir(dump.join("0a1b2c3d")).unwrap();
    std::fs::write(dump.join("0a1b2c3d/notes-1.ndjson.zst"), b"half").unwrap();
    assert!(done(dir.path(), &["dump", "--live", &live, "--dump-to", &to]).contains("was there, read back: 20 notes"));
    assert_eq!(files_in(&dump), whole);
    assert!(!dump.join("0a1b2c3d").exists());
    server.stop().await;
}

#[tokio::test]
async fn many_who_dump_a_live_at_once_leave_one_dump() {
    let dir = data_dir();
    let (studio, server, live) = not_dumped(dir.path(), 200).await;
    let to = beside(dir.path(), "dumps");
    let dump = || {
        let (path, live, to) = (dir.path().to_owned(), live.clone(), to.clone());
        tokio::task::spawn_blocking(move || done(&path, &["dump", "--live", &live, "--dump-to", &to]))
    };
    for said in futures_util::future::join_all([dump(), dump(), dump()]).await {
        assert!(said.unwrap().contains("200 notes"));
    }
    let found = dumps_in(&dir.path().join("dumps"));
    assert_eq!(found.len(), 1);
    dumped::check(&found[0], &live, &server.results(&live).await);
    assert_eq!(server.metric("dumps_made_total").await, 0.0, "this server was told not to");
    let (status, _) = studio.request(&server, Method::GET, "/api/admin/channels", &Value::Null).await;
    assert_eq!(status, 200);
    server.stop().await;
}

/// What others than their owner may read: files and folders below a folder, itself included.
#[cfg(unix)]
fn shared(path: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let open = std::fs::metadata(path).unwrap().permissions().mode() & 0o077 != 0;
    let below = path.read_dir().into_iter().flatten().flat_map(|entry| shared(&entry.unwrap().path()));
    open.then(|| path.to_owned()).into_iter().chain(below).collect()
}

#[cfg(unix)]
#[tokio::test]
async fn dumps_backups_and_exports_are_their_owners_alone() {
    let dir = data_dir();
    let (_studio, server, live) = not_dumped(dir.path(), 3).await;
    let (to, out) = (beside(dir.path(), "dumps"), dir.path().join("out"));
    std::fs::create_dir(&out).unwrap();
    done(dir.path(), &["dump", "--live", &live, "--dump-to", &to]);
    let file = |name: &str| out.join(name).display().to_string();
    done(dir.path(), &["backup", &file("backup.sqlite3")]);
    for format in ["csv", "json", "ndjson"] {
        done(dir.path(), &["export", &live, "--format", format, "--output", &file(format)]);
    }
    let made =
        [shared(&dir.path().join("dumps")), out.read_dir().unwrap().flat_map(|e| shared(&e.unwrap().path())).collect()];
    assert_eq!(made.concat(), Vec::<PathBuf>::new());
    assert_eq!(out.read_dir().unwrap().count(), 4);
    server.stop().await;
}

#[tokio::test]
async fn a_backup_is_made_while_people_vote_and_is_a_database_to_start_from() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::start(&["serve"], dir.path()).await;
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    crowd(&server, &live, jeux[0], 100).await;
    let file = dir.path().join("backup.sqlite3");
    let shown = file.display().to_string();
    let (path, name) = (dir.path().to_owned(), shown.clone());
    let copying = tokio::task::spawn_blocking(move || done(&path, &["backup", &name]));
    crowd(&server, &live, jeux[0], 100).await;
    assert!(copying.await.unwrap().contains("found sound"));
    let again = on(dir.path(), &["backup", &shown]);
    assert!(again.code == Some(1) && again.stderr.contains("is there already"), "{}", again.stderr);
    assert_eq!(server.metric("tally_drift_total").await, 0.0);
    server.stop().await;

    let other = data_dir();
    std::fs::copy(&file, crate::harness::database(other.path())).unwrap();
    let server = Server::start(&["serve"], other.path()).await;
    let voters = server.results(&live).await["jeux"][0]["voters"].as_u64().unwrap();
    assert!((100..=200).contains(&voters), "every note from before the backup: {voters}");
    server.stop().await;
    let nothing = on(&dir.path().join("nothing"), &["backup", "x.sqlite3"]);
    assert!(nothing.code == Some(1) && nothing.stderr.contains("there is no"), "{}", nothing.stderr);
    let cluster = on(dir.path(), &["backup", "x", "--store", "memory"]);
    assert_eq!(cluster.code, Some(2), "{}", cluster.stderr);
}
