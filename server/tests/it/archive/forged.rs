//! Dumps that somebody made up: what is wrong with one is said by the name of the file, and nothing of it is stored.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::restore::{count_records, over};
use super::{done, files_in, on};
use crate::harness::data_dir;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A dump to change: its manifest, and its documents as lines.
struct Forgery {
    manifest: Value,
    documents: Vec<String>,
}

impl Forgery {
    fn of(dump: &Path) -> Self {
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(dump.join("manifest.json")).unwrap()).unwrap();
        let bytes = std::fs::read(dump.join(manifest["documents"]["name"].as_str().unwrap())).unwrap();
        let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
        // What the changed text has, unless a test says otherwise.
        manifest["documents"]["text_bytes"] = Value::Null;
        Self { manifest, documents: text.lines().map(str::to_owned).collect() }
    }

    /// Changes the body of every document of a kind.
    fn each(&mut self, kind: &str, change: impl Fn(&mut Value)) {
        for line in &mut self.documents {
            let mut document: Value = serde_json::from_str(line).unwrap();
            if document["kind"] == kind {
                change(&mut document);
                *line = document.to_string();
            }
        }
    }

    /// Changes every document of a kind and everything that has to agree with it in the manifest.
    fn body(&mut self, kind: &str, change: impl Fn(&mut Value)) {
        self.each(kind, |document| change(&mut document["body"]));
    }

    /// Changes results, and seals them again.
    fn result(&mut self, change: impl Fn(&mut Value)) {
        self.body("result", |body| {
            change(&mut body["result"]);
            body["sha256"] = json!(sha256(body["result"].to_string().as_bytes()));
        });
    }

    /// Writes it into the place of a copy of the dump, with sums and lengths that agree.
    fn write(mut self, dump: &Path) {
        let text: String = self.documents.iter().map(|line| format!("{line}\n")).collect();
        let bytes = zstd::encode_all(text.as_bytes(), 3).unwrap();
        let file = &mut self.manifest["documents"];
        file["lines"] = json!(self.documents.len());
        if file["text_bytes"].is_null() {
            file["text_bytes"] = json!(text.len());
        }
        (file["bytes"], file["sha256"]) = (json!(bytes.len()), json!(sha256(&bytes)));
        // A name that leads elsewhere is not written to.
        if let Some(name) = file["name"].as_str().filter(|name| !name.contains("..")) {
            std::fs::write(dump.join(name), &bytes).unwrap();
        }
        std::fs::write(dump.join("manifest.json"), self.manifest.to_string()).unwrap();
    }
}

/// A copy of a dump, to be spoiled.
fn copy(dump: &Path) -> tempfile::TempDir {
    let folder = data_dir();
    for file in files_in(dump) {
        let to = folder.path().join(file.strip_prefix(dump).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&file, to).unwrap();
    }
    folder
}

type Change = fn(&mut Forgery);

const DAMAGED: &[&str] = &["is damaged"];

/// What is changed, what the refusal says, and the change.
const FORGERIES: &[(&str, &[&str], Change)] = &[
    ("documents that nobody needs", DAMAGED, |dump| {
        // Some 50 KB that were 48 MB in the store.
        for number in 0..200 {
            let body = json!({"name": "x".repeat(240_000), "criteres": []});
            let id = format!("019b76da-a800-7000-8000-{number:012}");
            dump.documents.push(json!({"kind": "bareme", "id": id, "body": body}).to_string());
        }
    }),
    ("a record of another channel", &["channel"], |dump| {
        dump.each("channel", |document| {
            document["id"] = json!("zoe");
            document["body"]["slug"] = json!("zoe");
        });
    }),
    ("a channel that names itself otherwise", &["channel"], |dump| {
        dump.body("channel", |body| body["slug"] = json!("zoe"));
    }),
    ("jeux of another channel", &["jeux", "channel"], |dump| {
        dump.each("jeux", |document| document["id"] = json!("zoe"));
    }),
    ("a bareme under another id", &["bareme", "id"], |dump| {
        dump.each("bareme", |document| document["id"] = json!("019b76da-a800-7000-8000-000000000001"));
    }),
    ("a live of another channel", &["live", "channel"], |dump| {
        dump.body("live", |body| body["channel"] = json!("zoe"));
    }),
    ("results of another live", &["result"], |dump| {
        dump.result(|result| result["live"] = json!("019b76da-a800-7000-8000-000000000001"));
    }),
    ("a live twice", DAMAGED, |dump| {
        let live = dump.documents[0].clone();
        dump.documents.insert(1, live);
    }),
    ("a control character in the title of the live", &["title", "U+0007"], |dump| {
        dump.manifest["title"] = json!("a\u{7}b");
        dump.body("live", |body| body["title"] = json!("a\u{7}b"));
    }),
    ("an escape sequence in the name of the program", &["made_by", "U+001B"], |dump| {
        dump.manifest["made_by"] = json!("\u{1b}[2J");
    }),
    ("a direction override in the title of the channel", &["title", "U+202E"], |dump| {
        dump.body("channel", |body| body["title"] = json!("a\u{202e}b"));
    }),
    ("a control character in a jeu of the catalogue", &["jeux", "U+0000"], |dump| {
        dump.body("jeux", |body| body["jeux"][0]["title"] = json!("a\u{0}b"));
    }),
    ("a control character in a jeu of the programme", &["title", "U+0085"], |dump| {
        dump.body("live", |body| body["programme"][1]["title"] = json!("a\u{85}b"));
    }),
    ("a catalogue that is no catalogue", &["jeux"], |dump| dump.body("jeux", |body| *body = json!([]))),
    ("a catalogue whose next number is taken", &["jeux"], |dump| {
        dump.body("jeux", |body| body["next_id"] = json!(1));
    }),
    ("a channel without a title", &["channel"], |dump| {
        dump.body("channel", |body| drop(body.as_object_mut().unwrap().remove("title")));
    }),
    ("a channel that closes in a year", &["close_delay_ms"], |dump| {
        dump.body("channel", |body| body["close_delay_ms"] = json!(31_000_000_000_u64));
    }),
    ("a bareme without criteres", &["criteres"], |dump| {
        dump.body("bareme", |body| body["criteres"] = json!([]));
    }),
    ("a live on air", &["live"], |dump| dump.body("live", |body| body["status"] = json!("open"))),
    ("a live with more in it than a live has", &["does not know"], |dump| {
        dump.body("live", |body| body["more"] = json!("x".repeat(1000)));
    }),
    ("a live that shows a jeu it has not", &["programme"], |dump| {
        dump.body("live", |body| body["current"] = json!(99));
    }),
    ("a live that asks for no vote at all", &["minimum_votes"], |dump| {
        dump.body("live", |body| body["minimum_votes"] = json!(0));
    }),
    ("a time that no store takes", &["too great"], |dump| {
        dump.body("live", |body| body["created_at_us"] = json!(u64::MAX));
    }),
    ("a result of an earlier epoch with a critere less", &["result", "bareme"], |dump| {
        dump.result(|result| {
            if result["epoch"] == 0 {
                drop(result["tally"]["histograms"].as_array_mut().unwrap().pop());
            }
        });
    }),
    ("a result that counts more than voted", &["result", "numbers"], |dump| {
        dump.result(|result| {
            if result["epoch"] == 0 {
                result["tally"]["histograms"][0][0] = json!(u64::MAX);
            }
        });
    }),
    ("a text that is longer than announced", &["longer than 10 bytes"], |dump| {
        // As a bomb: what it says stands, whatever is in the file.
        dump.manifest["documents"]["text_bytes"] = json!(10);
        dump.manifest["documents"]["lines"] = json!(7);
    }),
    ("more text than there can be lines for", &["cannot be"], |dump| {
        dump.manifest["jeux"][0]["notes"]["text_bytes"] = json!(1_u64 << 40);
    }),
    ("a jeu twice", DAMAGED, |dump| {
        let jeu = dump.manifest["jeux"][0].clone();
        dump.manifest["jeux"].as_array_mut().unwrap().push(jeu);
    }),
    ("an epoch without end", &["cannot be"], |dump| dump.manifest["jeux"][0]["epoch"] = json!(u64::MAX)),
    ("a file elsewhere", &["none of a dump"], |dump| {
        dump.manifest["documents"]["name"] = json!("../../../etc/passwd");
    }),
    ("one file for two purposes", &["none of a dump"], |dump| {
        dump.manifest["jeux"][1]["notes"] = dump.manifest["jeux"][0]["notes"].clone();
    }),
];

/// A dump with two epochs of its first jeu.
async fn dump() -> (tempfile::TempDir, PathBuf) {
    let (dir, server, studio, live, first) = over(40).await;
    studio.post(&server, &format!("/api/admin/lives/{live}/reopen"), Value::Null).await;
    super::crowd(&server, &live, 1, 2).await;
    super::end(&studio, &server, &live).await;
    let folder = dir.path().join("dumps");
    let dump = crate::harness::eventually("the second dump", async || {
        super::dumps_in(&folder).into_iter().find(|dump| *dump != first)
    })
    .await;
    server.stop().await;
    (dir, dump)
}

#[tokio::test]
async fn what_is_wrong_with_a_dump_is_said_and_nothing_of_it_is_stored() {
    let (_dir, dump) = dump().await;
    let mut passed = Vec::new();
    for (what, words, change) in FORGERIES {
        let (folder, store) = (copy(&dump), data_dir());
        let mut forgery = Forgery::of(folder.path());
        change(&mut forgery);
        forgery.write(folder.path());
        let ended = on(store.path(), &["restore", &folder.path().display().to_string()]);
        let is_refused = ended.code == Some(1) && words.iter().all(|word| ended.stderr.contains(word));
        let is_clean = !ended.stderr.contains(['\u{1b}', '\u{7}', '\u{202e}', '\0']);
        if !is_refused || !is_clean || count_records(store.path()) != 0 {
            passed.push(format!("{what}: {:?} {}, {} records", ended.code, ended.stderr, count_records(store.path())));
        }
    }
    assert_eq!(passed, Vec::<String>::new());
    println!("{} of {} made-up dumps refused, nothing of them stored", FORGERIES.len(), FORGERIES.len());
    // And a dump that was taken apart and put together again is as good as it was.
    let (folder, store) = (copy(&dump), data_dir());
    Forgery::of(folder.path()).write(folder.path());
    done(store.path(), &["restore", &folder.path().display().to_string()]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn only_regular_files_of_a_dump_are_read() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let (dir, dump) = dump().await;
    let fifo = |path: &Path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let secret = dir.path().join("secret");
    for name in ["manifest.json", "notes-1.ndjson.zst", "documents.ndjson.zst"] {
        for kind in ["a pipe", "a link", "a link to a device", "a folder"] {
            let (folder, store) = (copy(&dump), data_dir());
            let files = files_in(folder.path());
            let file = files.iter().find(|file| file.file_name().unwrap() == name).unwrap();
            std::fs::rename(file, &secret).unwrap();
            match kind {
                "a pipe" => fifo(file),
                "a link" => std::os::unix::fs::symlink(&secret, file).unwrap(),
                "a link to a device" => std::os::unix::fs::symlink("/dev/zero", file).unwrap(),
                _ => std::fs::create_dir(file).unwrap(),
            }
            let ended = on(store.path(), &["restore", &folder.path().display().to_string()]);
            assert!(
                ended.code == Some(1) && ended.stderr.contains("no regular file"),
                "{name}: {kind}: {}",
                ended.stderr
            );
            assert_eq!(count_records(store.path()), 0, "{name}: {kind}");
        }
    }
    // The folder of an attempt that is a link leads elsewhere, too.
    let (folder, store) = (copy(&dump), data_dir());
    let attempt =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    let attempt = attempt.unwrap();
    std::fs::rename(&attempt, dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &attempt).unwrap();
    let ended = on(store.path(), &["restore", &folder.path().display().to_string()]);
    assert!(ended.code == Some(1) && ended.stderr.contains("no regular file"), "{}", ended.stderr);
    // What lies beside the files of a dump is not looked at.
    let (folder, store) = (copy(&dump), data_dir());
    fifo(&folder.path().join("pipe"));
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero")).unwrap();
    std::fs::write(folder.path().join("notes-9.ndjson.zst"), b"not one of the dump").unwrap();
    done(store.path(), &["restore", &folder.path().display().to_string()]);
}
