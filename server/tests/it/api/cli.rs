//! The program as people start it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn bareme(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bareme"));
    command.current_dir(folder).stdin(Stdio::null()).env_remove("BAREME_LISTEN").env_remove("BAREME_DATA_DIR");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    bareme(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server that was started, and what it printed until it was ready.
struct Started {
    child: Child,
    said: String,
}

impl Started {
    fn new(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = bareme(folder).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("  operator ") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        }
        // Whatever it still says is read, so that it never blocks on a full pipe.
        std::thread::spawn(move || lines.read_to_string(&mut String::new()));
        Self { child, said }
    }

    fn url(&self, word: &str) -> String {
        let line = self.said.lines().find(|line| line.trim_start().starts_with(word)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    fn terminate(mut self) -> i32 {
        let signalled = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(signalled.success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_name_and_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let flag = run(folder.path(), &["serve", "--lisen", "x"]);
    assert_eq!(flag.status.code(), Some(2));
    assert!(text(&flag.stderr).contains("--listen"), "{}", text(&flag.stderr));
    let variable = bareme(folder.path()).arg("config").env("BAREME_DATA_DRI", "x").output().unwrap();
    assert_eq!(variable.status.code(), Some(2));
    assert!(text(&variable.stderr).contains("BAREME_DATA_DIR"), "{}", text(&variable.stderr));
    std::fs::write(folder.path().join("b.toml"), "listne = \"x\"\n").unwrap();
    let file = run(folder.path(), &["config", "--config", "b.toml"]);
    assert_eq!(file.status.code(), Some(2));
    assert!(text(&file.stderr).contains("listne") && text(&file.stderr).contains("listen"));
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = "listen = \"127.0.0.1:1\"\nstore = \"memory\"\nvote_rate = 3\n";
    std::fs::write(folder.path().join("b.toml"), file).unwrap();
    let mut command = bareme(folder.path());
    command.args(["config", "--listen", "127.0.0.1:3"]);
    command.env("BAREME_CONFIG", "b.toml").env("BAREME_LISTEN", "127.0.0.1:2").env("BAREME_STORE", "sqlite");
    let output = command.output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for (setting, source) in [
        ("listen = \"127.0.0.1:3\"", "# --listen"),
        ("ops_listen = \"127.0.0.1:1003\"", "# default"),
        ("store = \"sqlite\"", "# BAREME_STORE"),
        ("vote_rate = 3", "# b.toml"),
        ("data_dir = \"bareme-data\"", "# default"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(setting)).unwrap_or_else(|| panic!("{setting}: {shown}"));
        assert!(line.ends_with(source), "{line}");
    }
    assert!(shown.parse::<toml::Table>().is_ok(), "it is a file that would set the same");
    for wrong in [
        ["--listen", "x"],
        ["--ops-listen", "x"],
        ["--public-url", "x"],
        ["--store", "x"],
        ["--log", "=[="],
        ["--trusted-proxies", "x"],
    ] {
        assert_eq!(run(folder.path(), &["config", wrong[0], wrong[1]]).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_token_is_printed_alone() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(folder.path(), &["token", "new", "--name", "bot", "--role", "moderator"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let token = text(&made.stdout);
    assert!(token.starts_with("brm_token_") && token.trim().len() == 53 && token.lines().count() == 1, "{token}");
    let listed = text(&run(folder.path(), &["token", "list"]).stdout);
    assert!(listed.contains("read,drive ") && listed.contains(" bot"), "{listed}");
    let id = listed.split_whitespace().next().unwrap();
    assert_eq!(run(folder.path(), &["token", "revoke", id]).status.code(), Some(0));
    assert_eq!(run(folder.path(), &["token", "revoke", id]).status.code(), Some(1));
    assert!(run(folder.path(), &["token", "list"]).stdout.is_empty());
    assert_eq!(
        run(folder.path(), &["token", "new", "--name", "x", "--role", "admin", "--store", "memory"]).status.code(),
        Some(2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_prints_its_addresses_and_goes_on_with_its_live() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--viewers", "3", "--listen", "127.0.0.1:0", "--data-dir", "data"];
    let live_of = async |viewer: String| {
        let (base, channel) = viewer.rsplit_once('/').unwrap();
        let answer = reqwest::get(format!("{base}/api/channels/{channel}/live")).await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    let first = Started::new(folder.path(), &arguments);
    let live = live_of(first.url("viewer")).await;
    assert_eq!(live["programme"].as_array().map(Vec::len), Some(3));
    assert!(live["programme"].as_array().unwrap().iter().all(|jeu| jeu["phase"] == "open"), "{live}");
    assert_eq!(live["bareme"]["criteres"].as_array().map(Vec::len), Some(5));
    assert!(first.url("admin").contains("/admin#setup=brm_setup_"));
    let base = first.url("viewer").rsplit_once('/').unwrap().0.to_owned();
    let mut voted = false;
    for _ in 0..300 {
        let metrics = reqwest::get(first.url("operator")).await.unwrap().text().await.unwrap();
        let accepted = metrics.lines().find_map(|line| line.strip_prefix("notes_accepted_total "));
        voted = accepted.is_some_and(|count| count != "0");
        if voted {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(voted, "simulated viewers vote");
    let port = base.rsplit_once(':').unwrap().1.to_owned();
    let taken = run(folder.path(), &["serve", "--listen", &format!("127.0.0.1:{port}"), "--data-dir", "other"]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(text(&taken.stderr).contains("another program uses this port"), "{}", text(&taken.stderr));
    let same = run(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    assert_eq!(same.status.code(), Some(1), "{}", text(&same.stderr));
    let beside = run(folder.path(), &["token", "new", "--name", "x", "--role", "admin", "--data-dir", "data"]);
    assert_eq!(beside.status.code(), Some(0), "{}", text(&beside.stderr));
    let token = text(&beside.stdout);
    let used = reqwest::Client::new().get(format!("{base}/api/admin/channels")).bearer_auth(token.trim());
    assert_eq!(used.send().await.unwrap().status(), 200);
    let ops = first.url("operator");
    let ops = ops.trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
    let healthy = run(folder.path(), &["healthcheck", "--ready", "--ops-listen", &ops]);
    assert_eq!(healthy.status.code(), Some(0), "{}", text(&healthy.stderr));
    let key = first.url("overlay").rsplit_once('=').unwrap().1.to_owned();
    assert_eq!(first.terminate(), 0);
    let down = run(folder.path(), &["healthcheck", "--ops-listen", &ops]);
    assert_eq!(down.status.code(), Some(1));
    let second = Started::new(folder.path(), &arguments);
    assert_eq!(live_of(second.url("viewer")).await["live_id"], live["live_id"]);
    assert!(second.url("overlay").ends_with(&key), "the same key");
}

#[test]
fn a_damaged_database_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        run(folder.path(), &["token", "new", "--name", "n", "--role", "admin", "--data-dir", "data"]).status.success()
    );
    let database = std::fs::read_dir(folder.path().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end.to_string_lossy().starts_with("sqlite") || end == "db"))
        .unwrap();
    std::fs::write(&database, vec![0x5a; 8192]).unwrap();
    let refused = run(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("data") && said.lines().count() <= 2, "{said}");
}

#[test]
fn a_command_in_a_folder_without_a_database_says_so_and_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    for command in [&["viewers", "rotate"][..], &["token", "list"], &["token", "revoke", "abc"]] {
        let refused = run(folder.path(), command);
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(1) && said.contains("--data-dir"), "{command:?}: {said}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{command:?} leaves something");
    }
}
