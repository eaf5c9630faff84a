//! A disk that is full, a file that is damaged, and starts that have to be refused.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Ended, Server, bareme, data_dir, database, eventually, finish, free_port};
use crate::recount::{by_bytes, by_sql, jeu_of, shown};
use crate::studio::Studio;
use crate::wire::Page;

/// A file system of a few MiB, unmounted at the end.
pub(crate) struct SmallDisk {
    pub(crate) folder: PathBuf,
    _parent: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where this process may not mount.
    pub(crate) fn mount() -> Option<Self> {
        let parent = data_dir();
        let folder = parent.path().join("small");
        std::fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&folder).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder, _parent: parent }),
            other => {
                println!("skipped: no small disk can be mounted here: {other:?}");
                None
            }
        }
    }

    pub(crate) fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Takes every byte there is.
    pub(crate) fn fill(&self) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.filler()).unwrap();
        for size in [65_536, 4096, 512, 1] {
            let bytes = vec![0xAA; size];
            while file.write_all(&bytes).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").args(["-l"]).arg(&self.folder).status();
    }
}

/// Votes until told otherwise, and remembers what it was told.
struct Tapper {
    page: Page,
    wanted: Option<Value>,
    acknowledged: Option<u64>,
    statuses: Vec<String>,
}

impl Tapper {
    async fn tap(&mut self, fun: u64) {
        let note = match self.wanted.take() {
            Some(wanted) => wanted,
            None => self.page.note(1, json!({"fun": fun % 5 + 1})),
        };
        let reply = self.page.ask(&note).await;
        let status = reply["status"].as_str().unwrap();
        self.statuses.push(status.to_owned());
        match status {
            "ok" => self.acknowledged = note["v"].as_u64(),
            "retry_after" | "unknown" | "too_fast" => {
                self.wanted = Some(note);
                let wait = reply["retry_after_ms"].as_u64().unwrap_or(50).min(500);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            _ => panic!("{reply}"),
        }
    }
}

async fn readiness(server: &Server) -> (u16, String) {
    let response = crate::harness::client().get(server.ops_url("/readyz")).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn on_a_full_disk_nothing_acknowledged_is_lost_and_votes_go_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = Server::demo(&disk.folder).await;
    let (channel, live) = server.open_live().await;
    let mut tappers = Vec::new();
    for _ in 0..20 {
        let page = Page::viewer(&server, &channel).await;
        tappers.push(Tapper { page, wanted: None, acknowledged: None, statuses: Vec::new() });
    }
    for (fun, tapper) in (0..).zip(&mut tappers) {
        tapper.tap(fun).await;
        assert_eq!(tapper.statuses, ["ok"]);
    }

    disk.fill();
    // There may be room inside the file for some more; in the end everybody is told to wait.
    let told_to_wait = |tapper: &Tapper| tapper.statuses.last().is_some_and(|status| status == "retry_after");
    let mut rounds = 0_u64;
    while !tappers.iter().all(told_to_wait) {
        assert!(rounds < 2000, "the disk is full and votes go on: {:?}", tappers[0].statuses.last());
        rounds += 1;
        disk.fill();
        for (fun, tapper) in (rounds..).zip(&mut tappers) {
            tapper.tap(fun).await;
        }
    }
    println!("everybody was told to wait after {rounds} rounds");
    let (status, reason) = eventually("it is not ready", async || {
        let (status, text) = readiness(&server).await;
        (status == 503).then_some((status, text))
    })
    .await;
    assert!(reason.contains("no room"), "{status} {reason}");
    assert_eq!(crate::harness::client().get(server.ops_url("/healthz")).send().await.unwrap().status(), 200);
    let mut watcher = Page::viewer(&server, &channel).await;
    watcher.tally(1, 20).await;
    assert_eq!(tappers[0].page.vote(1, json!({"fun": 9})).await["status"], "invalid", "mistakes are told all the same");

    std::fs::remove_file(disk.filler()).unwrap();
    eventually("it is ready", async || (readiness(&server).await.0 == 200).then_some(())).await;
    for (fun, tapper) in (0..).zip(&mut tappers) {
        // First the note that had to wait, then another one.
        for _ in 0..40 {
            tapper.tap(fun).await;
            if tapper.wanted.is_none() {
                break;
            }
        }
        tapper.tap(fun).await;
        assert_eq!(tapper.statuses.last().map(String::as_str), Some("ok"), "{:?}", tapper.statuses);
    }
    let results = server.results(&live).await;
    assert_eq!(server.metric("tally_drift_total").await, 0.0);
    server.stop().await;
    assert_eq!(by_sql(&disk.folder, &live, 1, 5, 5), shown(&results, 1));
    assert_eq!(jeu_of(&results, 1)["voters"], 20);
    let mut stored: Vec<u64> = by_bytes(&disk.folder, &live, 1).into_values().map(|(version, _)| version).collect();
    let mut acknowledged: Vec<u64> = tappers.iter().filter_map(|tapper| tapper.acknowledged).collect();
    stored.sort_unstable();
    acknowledged.sort_unstable();
    assert_eq!(stored, acknowledged);
}

#[tokio::test]
async fn a_crash_on_a_full_disk_loses_nothing_that_was_acknowledged() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = Server::demo(&disk.folder).await;
    let (channel, live) = server.open_live().await;
    let mut acknowledged = Vec::new();
    let mut pages = Vec::new();
    for fun in 0..10 {
        let mut page = Page::viewer(&server, &channel).await;
        assert_eq!(page.vote(1, json!({"fun": fun % 5 + 1})).await["status"], "ok");
        acknowledged.push(page.last_v);
        pages.push(page);
    }
    disk.fill();
    for (page, v) in pages.iter_mut().zip(&mut acknowledged) {
        if page.vote(1, json!({"fun": 5})).await["status"] == "ok" {
            *v = page.last_v;
        }
    }
    let port = server.port();
    server.kill();
    std::fs::remove_file(disk.filler()).unwrap();
    let mut server = Server::spawn(&["demo", "--viewers", "0"], &disk.folder, port);
    server.ready().await;
    assert_eq!(jeu_of(&server.results(&live).await, 1)["voters"], 10);
    server.stop().await;
    let stored: Vec<u64> = by_bytes(&disk.folder, &live, 1).into_values().map(|(version, _)| version).collect();
    // A note that was not acknowledged may be there or not; one that was is.
    let mut missing = acknowledged.iter().filter(|v| !stored.iter().any(|stored| stored >= v));
    assert_eq!((stored.len(), missing.next()), (10, None));
}

#[tokio::test]
async fn a_server_that_was_killed_on_a_full_disk_starts_on_it_shows_what_there_is_and_says_that_it_is_full() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = Server::start(&["serve"], &disk.folder).await;
    let studio = Studio::new(&disk.folder);
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    let mut page = Page::viewer(&server, "max").await;
    assert_eq!(page.vote(jeux[0], json!({"fun": 4})).await["status"], "ok");
    disk.fill();
    // Until there is no room inside the files either.
    eventually("votes are turned away", async || {
        let note = json!({"live_id": live, "jeu_id": jeux[1], "fun": 3});
        let answer = crate::harness::client().post(server.url("/api/note")).json(&note).send().await.unwrap();
        disk.fill();
        (answer.status() == 503).then_some(())
    })
    .await;
    let port = server.port();
    server.kill();
    disk.fill();
    let server = Server::spawn(&["serve"], &disk.folder, port);
    let results = eventually("it shows results", async || {
        let asked =
            crate::harness::client().get(server.url(&format!("/api/lives/{live}/results"))).send().await.ok()?;
        let results: Value = asked.json().await.ok()?;
        (results["jeux"][0]["voters"] == 1).then_some(results)
    })
    .await;
    assert_eq!(results["jeux"][0]["mean"], 4.0, "{results}");
    let (status, reason) = readiness(&server).await;
    assert!(status == 503 && reason.contains("no room"), "{status} {reason}");
    let mut page = Page::viewer(&server, "max").await;
    assert_eq!(page.vote(jeux[0], json!({"fun": 5})).await["status"], "retry_after");
    std::fs::remove_file(disk.filler()).unwrap();
    eventually("it is ready", async || (readiness(&server).await.0 == 200).then_some(())).await;
    eventually("votes are taken", async || {
        (page.vote(jeux[0], json!({"fun": 5})).await["status"] == "ok").then_some(())
    })
    .await;
    studio.post(&server, &format!("/api/admin/lives/{live}/close"), json!({"delay_ms": 0})).await;
    eventually("the result", async || {
        let results = server.results(&live).await;
        (results["jeux"][0]["phase"] == "final" && results["jeux"][0]["voters"] == 2).then_some(())
    })
    .await;
    server.stop().await;
}

/// A data directory with some notes, whose server stopped.
async fn written(dir: &Path) -> String {
    let server = Server::demo(dir).await;
    let (channel, live) = server.open_live().await;
    for fun in 1..=5 {
        let mut page = Page::viewer(&server, &channel).await;
        assert_eq!(page.vote(1, json!({"fun": fun})).await["status"], "ok");
    }
    server.stop().await;
    live
}

fn serve(dir: &Path, port: u16) -> Command {
    let mut command = bareme();
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--ops-listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(dir);
    command
}

/// Exit code 1, nothing but a refusal in it, and each of `words` in what it says.
fn assert_refused(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "`{word}` is not in: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked") && !ended.stderr.contains("RUST_BACKTRACE"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_damaged_file_is_refused_at_the_start_with_what_to_do_and_left_as_it_is() {
    // Half of the pages: a single one in the middle may be a free page, whose bytes mean nothing and are lost to nobody.
    for (what, from, length) in [("the header", 0, 2), ("the middle", 1, 2)] {
        let dir = data_dir();
        written(dir.path()).await;
        let path = database(dir.path());
        // What is still in the log would be read from there, and the damage would be none.
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(connection);
        let size = path.metadata().unwrap().len();
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(size / 4 * from)).unwrap();
        let quarters = usize::try_from(size / 4 * length).unwrap();
        file.write_all(&vec![0x5A; quarters]).unwrap();
        drop(file);
        let damaged = std::fs::read(&path).unwrap();
        let ended = finish(&mut serve(dir.path(), free_port()));
        assert_refused(&ended, 1, &[path.to_str().unwrap(), "keep a copy", "restore"]);
        assert_eq!(std::fs::read(&path).unwrap(), damaged, "{what}: a refused file stays as it is");
    }
}

#[tokio::test]
async fn a_port_in_use_and_a_folder_in_use_are_refused_by_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = data_dir();
    let ended = finish(&mut serve(dir.path(), port));
    assert_refused(&ended, 1, &[&port.to_string(), "another program", "--listen"]);
    drop(taken);
    let server = Server::start(&["serve"], dir.path()).await;
    let ended = finish(&mut serve(dir.path(), free_port()));
    assert_refused(&ended, 1, &[dir.path().to_str().unwrap()]);
    if cfg!(target_os = "linux") {
        // Its lock file is only the first of two locks.
        std::fs::remove_file(dir.path().join("bareme.lock")).unwrap();
        let ended = finish(&mut serve(dir.path(), free_port()));
        assert_refused(&ended, 1, &[dir.path().to_str().unwrap(), "another server"]);
    }
    server.stop().await;
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    assert_refused(&finish(&mut serve(&file, free_port())), 1, &[file.to_str().unwrap()]);
}

#[test]
fn an_unknown_setting_is_refused_by_name_wherever_it_comes_from() {
    let dir = data_dir();
    let ended = finish(serve(dir.path(), free_port()).args(["--colour", "red"]));
    assert_refused(&ended, 2, &["--colour"]);
    let ended = finish(serve(dir.path(), free_port()).env("BAREME_LISTN", "127.0.0.1:1"));
    assert_refused(&ended, 2, &["BAREME_LISTN", "BAREME_LISTEN"]);
    let ended = finish(serve(dir.path(), free_port()).args(["--store", "paper"]));
    assert_refused(&ended, 2, &["store", "paper"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a refused start leaves nothing behind");
}
