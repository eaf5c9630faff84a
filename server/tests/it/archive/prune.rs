//! What is forgotten: only what is in a dump, and never a result.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{beside, crowd, done, dump_of, dumps_in, end, files_in, on, shown};
use crate::harness::{Server, data_dir, database, eventually};
use crate::studio::Studio;

/// Moves the end of a live into the past, in the file of a server that has stopped.
fn age(dir: &Path, live: &str, days: u64) {
    let file = Connection::open(database(dir)).unwrap();
    let sql = "SELECT body FROM records WHERE kind = 'live' AND id = ?1";
    let body: String = file.query_row(sql, [live], |row| row.get(0)).unwrap();
    let mut body: Value = serde_json::from_str(&body).unwrap();
    let closed_at_us = body["closed_at_us"].as_u64().unwrap();
    body["closed_at_us"] = json!(closed_at_us - days * 86_400_000_000);
    let sql = "UPDATE records SET body = ?2, revision = revision + 1 WHERE kind = 'live' AND id = ?1";
    assert_eq!(file.execute(sql, (live, body.to_string())).unwrap(), 1);
}

/// What a server shows of a live, without the ends of the last lines, which a command's output lost.
async fn trimmed(studio: &Studio, server: &Server, live: &str) -> [String; 3] {
    shown(studio, server, live).await.map(|text| text.trim_end().to_owned())
}

/// Rows of a table.
fn count(dir: &Path, table: &str) -> i64 {
    let file = Connection::open(database(dir)).unwrap();
    file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// A data directory with a live that ended some days ago and was never dumped.
async fn old_live(days: u64) -> (tempfile::TempDir, Studio, String, [String; 3]) {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::start(&["serve", "--dump-to", "off"], dir.path()).await;
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    crowd(&server, &live, jeux[0], 500).await;
    crowd(&server, &live, jeux[1], 100).await;
    end(&studio, &server, &live).await;
    server.stop().await;
    age(dir.path(), &live, days);
    // By commands, since a server would begin to forget.
    let before = ["json", "csv", "ndjson"].map(|format| done(dir.path(), &["export", &live, "--format", format]));
    (dir, studio, live, before)
}

#[tokio::test]
async fn a_server_forgets_old_notes_and_journals_by_itself_and_only_with_a_dump() {
    let (dir, studio, live, before) = old_live(91).await;
    assert_eq!((count(dir.path(), "notes"), count(dir.path(), "journal") > 0), (600, true));
    let away = beside(dir.path(), "not-mounted/dumps");
    let server = Server::start(&["serve", "--dump-to", &away], dir.path()).await;
    eventually("an attempt", async || (server.metric("prunes_failed_total").await > 0.0).then_some(())).await;
    server.stop().await;
    assert_eq!(count(dir.path(), "notes"), 600, "without a dump they are kept");
    assert_eq!((count(dir.path(), "journal"), count(dir.path(), "lanes")), (0, 0), "notes alone say all of it");

    let server = Server::start(&["serve"], dir.path()).await;
    eventually("notes are pruned", async || (server.metric("notes_pruned_total").await == 600.0).then_some(())).await;
    let after = trimmed(&studio, &server, &live).await;
    assert_eq!(after[..2], before[..2], "results stay, byte for byte");
    assert_eq!(after[2], "");
    assert_eq!(server.complaints(), Vec::<String>::new());
    let dump = dump_of(&dir.path().join("dumps"), &live).await;
    let refused = on(dir.path(), &["export", &live, "--format", "ndjson"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("were pruned") && refused.stderr.contains(&live), "{}", refused.stderr);
    assert_eq!(done(dir.path(), &["export", &live, "--format", "csv"]), before[1]);
    done(dir.path(), &["restore", &dump.display().to_string(), "--same-id"]);
    assert_eq!(trimmed(&studio, &server, &live).await, before, "back from the dump");
    server.stop().await;
    let server = Server::start(&["serve"], dir.path()).await;
    let kept = trimmed(&studio, &server, &live).await;
    assert_eq!(kept, before, "restored notes are kept from then on");
    server.stop().await;
    assert_eq!(count(dir.path(), "notes"), 600);
    assert_eq!(dumps_in(&dir.path().join("dumps")).len(), 1);
}

#[tokio::test]
async fn pruning_by_hand_recounts_the_dump_and_makes_it_again_where_it_is_damaged() {
    let (dir, _studio, live, _before) = old_live(10).await;
    let kept = done(dir.path(), &["prune"]);
    assert!(kept.contains("deleted 0 notes and the journals of 2 jeux"), "{kept}");
    done(dir.path(), &["dump"]);
    let dump = dump_of(&dir.path().join("dumps"), &live).await;
    let notes = files_in(&dump).into_iter().find(|path| path.to_string_lossy().contains("notes-1")).unwrap();
    std::fs::write(&notes, b"rust").unwrap();
    let off = on(dir.path(), &["prune", "--days", "0", "--dump-to", "off"]);
    assert_eq!(off.code, Some(2), "{}", off.stderr);
    let away = on(dir.path(), &["prune", "--days", "0", "--dump-to", &beside(dir.path(), "a/b")]);
    assert!(away.code == Some(1) && away.stderr.contains("all of it is kept"), "{}", away.stderr);
    assert_eq!(count(dir.path(), "notes"), 600);
    let said = done(dir.path(), &["prune", "--days", "9"]);
    assert!(said.contains("deleted 600 notes"), "{said}");
    assert_eq!(count(dir.path(), "notes"), 0);
    assert_ne!(std::fs::read(&notes).ok().as_deref(), Some(&b"rust"[..]), "it was made again before");
    let again = done(dir.path(), &["prune", "--days", "0"]);
    assert!(again.contains("deleted 0 notes"), "{again}");
    let copy = done(dir.path(), &["restore", &dump.display().to_string()]);
    assert!(copy.contains("600 notes restored"), "{copy}");
}

#[tokio::test]
async fn nothing_of_a_live_that_just_ended_is_pruned() {
    let (dir, _studio, _live, _before) = old_live(0).await;
    let said = done(dir.path(), &["prune", "--days", "0"]);
    assert!(said.contains("deleted 0 notes and the journals of 0 jeux"), "{said}");
    assert_eq!(count(dir.path(), "notes"), 600);
    let too_many = on(dir.path(), &["prune", "--keep-notes-days", "99999"]);
    assert_eq!(too_many.code, Some(2), "{}", too_many.stderr);
}
