//! Fuzzing the HTTP API from its own OpenAPI document, with Schemathesis.
//!
//! Two passes, at the same time and each against a server of its own:
//!
//! - *known*: ids that exist, and nothing that takes them away. What is behind the lookup of an id is what is tested.
//! - *anything*: every operation with invented ids, and with those that earlier answers gave.
//!
//! **Invariant**: a pass has one worker. Hypothesis raises Python's recursion limit while it generates, and puts back
//! the limit that the thread found when it began; of two threads, the first to end lowers the limit under the other,
//! which dies of a `RecursionError` now and then. With one worker the order of requests follows from the seed, too.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::served::Server;

/// The same each time, so that a run says something about the program and not about luck.
pub(crate) const SEED: u32 = 20_261_120;
/// Cases for each operation whose ids exist, and for each with any ids.
const KNOWN_EXAMPLES: u32 = 100;
const ANYTHING_EXAMPLES: u32 = 50;

/// A token cannot be used after it deleted itself, so that is tried last, and alone.
const DELETE_TOKEN: &str = "/api/admin/tokens/{token_id}";
/// Needs the session of a person: a token is always refused there, which the *known* pass would call missing authentication.
const OF_A_PERSON: &str = "/api/admin/((second-factor|passkey|confirm).*|accounts|accounts/.*/password)$";
/// Takes the live of the *known* pass away, as `DELETE` does.
const CLOSE_LIVE: &str = "/api/admin/lives/{live_id}/close";

/// What both passes have in common.
///
/// Every check there is but one: not everything that a schema allows can be accepted. An id may be of nothing, a `max`
/// below its `min`, and `2.0`, which is an integer to JSON Schema, is none here.
const COMMON: &str = r#"
workers = 1
request-timeout = 20.0
continue-on-failure = true
color = false
cache.enabled = false
suppress-health-check = ["all"]
auth.openapi.bearer.bearer = "${FUZZ_TOKEN}"
generation.database = "none"
phases.stateful.max-steps = 10
checks.positive_data_acceptance.enabled = false
"#;

/// One run of Schemathesis.
struct Pass {
    name: &'static str,
    examples: u32,
    config: String,
    arguments: &'static [&'static str],
}

/// Where passes run, and with what.
pub(crate) struct Fuzzer {
    /// The program.
    pub(crate) schemathesis: PathBuf,
    /// Folder for configurations and reports.
    pub(crate) folder: PathBuf,
    /// Where chance begins.
    pub(crate) seed: u32,
}

impl Fuzzer {
    /// Both passes; prints what each found, and fails when one found something.
    pub(crate) fn run(&self, known: &Server, anything: &Server) -> Result<String> {
        std::fs::create_dir_all(&self.folder)?;
        let known_pass = Pass {
            name: "known",
            examples: KNOWN_EXAMPLES,
            config: known_ids(known)?,
            arguments: &[
                "--exclude-method",
                "DELETE",
                "--exclude-path",
                CLOSE_LIVE,
                "--exclude-path-regex",
                OF_A_PERSON,
            ],
        };
        let (examples, config) = (ANYTHING_EXAMPLES, String::new());
        let all =
            Pass { name: "anything", examples, config: config.clone(), arguments: &["--exclude-path", DELETE_TOKEN] };
        let last = Pass { name: "deleting-tokens", examples, config, arguments: &["--include-path", DELETE_TOKEN] };

        let token = anything.token("fuzz")?;
        let background = self.start(&known_pass, known, &known.token("fuzz")?)?;
        let foreground = self.start(&all, anything, &token).and_then(|child| self.finish(&all, child));
        let foreground = foreground.and_then(|summary| {
            let rest = self.start(&last, anything, &token).and_then(|child| self.finish(&last, child))?;
            Ok(summary + &rest)
        });
        // Waited for in any case, so that nothing is left running.
        let background = self.finish(&known_pass, background);
        Ok(background? + &foreground?)
    }

    fn file(&self, pass: &Pass, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", pass.name))
    }

    fn start(&self, pass: &Pass, server: &Server, token: &str) -> Result<Child> {
        let config = self.file(pass, "toml");
        let own = format!("seed = {}\ngeneration.max-examples = {}\n", self.seed, pass.examples);
        std::fs::write(&config, own + COMMON.trim_start() + &pass.config)?;
        let report = File::create(self.file(pass, "txt"))?;
        Command::new(&self.schemathesis)
            .arg("--config-file")
            .arg(config)
            .args(["run"])
            .args(pass.arguments)
            .arg(format!("{}/api/openapi.json", server.url()))
            .env("FUZZ_TOKEN", token)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(report.try_clone()?)
            .stderr(report)
            .spawn()
            .context("cannot start schemathesis")
    }

    /// Its last lines, or an error with all of them.
    fn finish(&self, pass: &Pass, mut child: Child) -> Result<String> {
        let status = child.wait()?;
        let report = std::fs::read_to_string(self.file(pass, "txt"))?;
        if !status.success() {
            bail!("{report}\nthe pass `{}` found something ({status})", pass.name);
        }
        let told =
            |line: &&str| ["Selected:", "Tested:", " generated, ", "Scenarios:"].iter().any(|one| line.contains(one));
        let mut summary = format!("{}:\n", pass.name);
        for line in report.lines().filter(told) {
            writeln!(summary, "  {}", line.trim())?;
        }
        Ok(summary)
    }
}

/// Ids and values that the demo has, most of the time: the rest of the time Schemathesis makes them up.
fn known_ids(server: &Server) -> Result<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).context("an id in the demo's data");
    let live = server.get("/api/channels/demo/live", None)?;
    let token = server.token("ids")?;
    let baremes = server.get("/api/admin/channels/demo/baremes", Some(&token))?;
    let (live, bareme) = (text(&live["live_id"])?, text(&baremes[0]["bareme_id"])?);
    let values: [(&str, String, &[&str]); 8] = [
        ("channel", "'demo'".into(), &["path.channel", "body.channel"]),
        ("live", format!("'{live}'"), &["path.live_id", "body.live_id"]),
        ("bareme", format!("'{bareme}'"), &["path.bareme_id", "body.bareme_id"]),
        ("jeu", "1, 2, 3".into(), &["path.jeu_id", "query.jeu", "body.jeu_id", "body.jeux[*]"]),
        ("key", "'fun', 'graph', 'durée'".into(), &["body.criteres[*].key"]),
        ("lowest", "0, 1".into(), &["body.criteres[*].min"]),
        ("highest", "5, 10".into(), &["body.criteres[*].max"]),
        ("step", "0.5, 1".into(), &["body.criteres[*].step"]),
    ];
    let (mut dictionaries, mut parameters) = ("[dictionaries]\n".to_owned(), "[parameters]\n".to_owned());
    for (name, values, places) in values {
        writeln!(dictionaries, "{name} = {{ values = [{values}] }}")?;
        for place in places {
            writeln!(parameters, "'{place}' = {{ dictionary = '{name}', probability = 0.8 }}")?;
        }
    }
    // Most operations answering nothing but 401 would mean that the token is gone.
    Ok(format!("warnings.fail-on = ['missing_auth']\n{dictionaries}{parameters}"))
}

/// Where the fuzzer is in a virtual environment.
pub(crate) fn in_venv(venv: &Path) -> PathBuf {
    venv.join("bin/schemathesis")
}
