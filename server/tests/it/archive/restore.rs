//! Bringing lives back: once however often it is asked for, and never from a dump that is not whole.

use std::path::Path;

use serde_json::{Value, json};

use super::{beside, crowd, done, dump_of, end, files_in, on, shown};
use crate::harness::{Server, data_dir};
use crate::studio::Studio;

/// A server with a live that is over and dumped; its folder, the live and its dump.
pub(super) async fn over(notes: u32) -> (tempfile::TempDir, Server, Studio, String, std::path::PathBuf) {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::start(&["serve"], dir.path()).await;
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    crowd(&server, &live, jeux[0], notes).await;
    end(&studio, &server, &live).await;
    let dump = dump_of(&dir.path().join("dumps"), &live).await;
    (dir, server, studio, live, dump)
}

fn id_in(said: &str) -> String {
    said.strip_prefix("live ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned()
}

#[tokio::test]
async fn restoring_beside_a_server_as_often_as_one_likes_and_at_once_gives_one_copy() {
    let (dir, server, studio, live, dump) = over(700).await;
    let source = dump.display().to_string();
    let restore = |source: String| {
        let path = dir.path().to_owned();
        tokio::task::spawn_blocking(move || done(&path, &["restore", &source]))
    };
    let sources = [source.clone(), format!("file://{source}"), format!("{source}/manifest.json")];
    let said = futures_util::future::join_all(sources.map(restore)).await;
    let copies: Vec<_> = said.into_iter().map(|said| id_in(&said.unwrap())).collect();
    assert!(copies.iter().all(|copy| *copy == copies[0] && *copy != live), "{copies:?}");
    let again = id_in(&done(dir.path(), &["restore", &source]));
    assert_eq!(again, copies[0]);
    let [json, csv, notes] = shown(&studio, &server, &live).await;
    let copied = shown(&studio, &server, &again).await;
    let renamed = [json.replace(&live, &again), csv, notes];
    assert_eq!(copied, renamed, "all of it but the id");
    let elsewhere = id_in(&{
        studio.post(&server, "/api/admin/channels", json!({"slug": "zoe", "title": "Zoé"})).await;
        done(dir.path(), &["restore", &source, "--channel", "zoe"])
    });
    assert_ne!(elsewhere, again);
    let lives = server.get("/api/channels/zoe/lives").await;
    assert!(lives.to_string().contains(&elsewhere), "{lives}");
    let same = done(dir.path(), &["restore", &source, "--same-id"]);
    assert_eq!(id_in(&same), live, "on the live itself it changes nothing");
    assert_eq!(shown(&studio, &server, &live).await[0], json);
    assert_eq!(server.metric("tally_drift_total").await, 0.0);
    server.stop().await;
}

#[tokio::test]
async fn a_dump_that_is_not_whole_is_refused_by_the_name_of_the_file_and_nothing_is_written() {
    let (dir, server, _studio, _live, dump) = over(300).await;
    server.stop().await;
    let notes = files_in(&dump).into_iter().find(|path| path.to_string_lossy().contains("notes-1")).unwrap();
    let whole = std::fs::read(&notes).unwrap();
    let manifest = dump.join("manifest.json");
    let said = std::fs::read_to_string(&manifest).unwrap();
    let empty = data_dir();
    let refused = |what: &str, words: &[&str]| {
        let ended = on(empty.path(), &["restore", &dump.display().to_string(), "--same-id"]);
        assert_eq!(ended.code, Some(1), "{what}: {}", ended.stdout);
        assert!(words.iter().all(|word| ended.stderr.contains(word)), "{what}: {}", ended.stderr);
    };
    let of_notes = |bytes: &[u8]| std::fs::write(&notes, bytes).unwrap();
    of_notes(&whole[..whole.len() / 2]);
    refused("cut short", &["notes-1.ndjson.zst", "is damaged", "cut short"]);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    of_notes(&flipped);
    refused("a flipped bit", &["notes-1.ndjson.zst", "is damaged"]);
    of_notes(&[&whole[..], b"x"].concat());
    refused("longer", &["notes-1.ndjson.zst", "is longer"]);
    std::fs::remove_file(&notes).unwrap();
    refused("gone", &["notes-1.ndjson.zst", "is missing"]);

    // Somebody who takes the trouble to correct the sums changes what the notes come to.
    let forge = |change: &dyn Fn(String) -> String| {
        let text = change(String::from_utf8(zstd::decode_all(&whole[..]).unwrap()).unwrap());
        let bytes = zstd::encode_all(text.as_bytes(), 3).unwrap();
        of_notes(&bytes);
        let mut forged: Value = serde_json::from_str(&said).unwrap();
        let jeu = forged["jeux"].as_array_mut().unwrap().iter_mut().find(|jeu| jeu["jeu_id"] == 1).unwrap();
        jeu["notes"]["bytes"] = json!(bytes.len());
        jeu["notes"]["lines"] = json!(text.lines().count());
        jeu["notes"]["text_bytes"] = json!(text.len());
        jeu["notes"]["sha256"] = json!(sha256(&bytes));
        std::fs::write(&manifest, forged.to_string()).unwrap();
    };
    forge(&|text| text.replacen("\"payload\":\"0100", "\"payload\":\"0104", 1));
    refused("another score", &["notes-1.ndjson.zst", "do not come to the result"]);
    forge(&|text| text.lines().skip(1).fold(String::new(), |all, line| all + line + "\n"));
    refused("one viewer less", &["notes-1.ndjson.zst", "do not come to the result"]);
    forge(&|text| format!("{}\n{text}", text.lines().next().unwrap()));
    refused("a viewer twice", &["notes-1.ndjson.zst", "out of order"]);
    forge(&|text| text.replacen("\"v\":", "\"w\":", 1));
    refused("another layout", &["notes-1.ndjson.zst", "a line of it"]);

    of_notes(&whole);
    std::fs::write(&manifest, said.replacen("\"format\": 1", "\"format\": 2", 1)).unwrap();
    refused("a newer format", &["manifest.json", "has format 2", "newer"]);
    std::fs::write(&manifest, &said[..said.len() / 2]).unwrap();
    refused("half a manifest", &["manifest.json", "is damaged"]);
    std::fs::remove_file(&manifest).unwrap();
    refused("no manifest", &["there is no", "manifest.json"]);
    let nowhere = on(empty.path(), &["restore", &beside(dir.path(), "nowhere")]);
    assert!(nowhere.code == Some(1) && nowhere.stderr.contains("nowhere"), "{}", nowhere.stderr);
    let wrong = on(empty.path(), &["restore", "ftp://x/y"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    assert_eq!(count_records(empty.path()), 0, "nothing was written");

    std::fs::write(&manifest, said).unwrap();
    done(empty.path(), &["restore", &dump.display().to_string(), "--same-id"]);
    assert!(count_records(empty.path()) > 3);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn count_records(dir: &Path) -> i64 {
    let Ok(file) = rusqlite::Connection::open(crate::harness::database(dir)) else { return 0 };
    file.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).unwrap_or(0)
}

#[tokio::test]
async fn a_live_is_not_restored_over_another_of_its_id() {
    let (dir, server, studio, live, dump) = over(20).await;
    studio.post(&server, &format!("/api/admin/lives/{live}/reopen"), Value::Null).await;
    crowd(&server, &live, 1, 1).await;
    let refused = on(dir.path(), &["restore", &dump.display().to_string(), "--same-id"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("is here already") && refused.stderr.contains("--same-id"), "{}", refused.stderr);
    assert_eq!(server.results(&live).await["jeux"][0]["voters"], 21);
    server.stop().await;
}
