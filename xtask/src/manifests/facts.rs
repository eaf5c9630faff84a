//! What the program itself says: its settings, its commands, its metrics, what it answers, how long it takes to stop.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use super::tools::output;
use crate::served::{Server, program};
use crate::steps::Steps;

/// Variables that are read besides those of the settings.
const OTHER_SETTINGS: [&str; 1] = ["BAREME_CONFIG"];

/// Constants whose sum is the longest time from SIGTERM to the end, and where they are: in the order they are waited for.
const DRAIN: [(&str, &str); 8] = [
    ("server/src/hub.rs", "const DRAIN_TIMEOUT: Duration = Duration::from_secs("),
    // Once for votes, and once for entries of the audit log.
    ("server/src/app.rs", "const SETTLE_TIMEOUT: Duration = Duration::from_secs("),
    ("server/src/app.rs", "const SETTLE_TIMEOUT: Duration = Duration::from_secs("),
    ("server/src/ws/fast.rs", "const STOP_GRACE: Duration = Duration::from_secs("),
    ("server/src/app/http_server.rs", "const STOP_TIMEOUT_S: u64 = "),
    ("server/src/traces.rs", "const STOP_TIMEOUT: Duration = Duration::from_secs("),
    ("server/src/cli.rs", "runtime.shutdown_timeout(std::time::Duration::from_secs("),
    ("server/src/logs.rs", "const FLUSH_PATIENCE: Duration = Duration::from_secs("),
];
/// Which document says the sum, and in what words.
const DRAIN_SAID: (&str, &str) = ("docs/operations.md", "with traces");

/// What is known of the program.
pub(super) struct Facts {
    binary: PathBuf,
    /// Such as `0.1.0`.
    pub(super) version: String,
    /// Names of environment variables.
    settings: BTreeSet<String>,
    metrics: BTreeSet<String>,
    /// Seconds from SIGTERM to the end, at most.
    pub(super) drain_s: u64,
    server: Server,
    /// Where files that somebody names are.
    pub(super) root: PathBuf,
    answers: RefCell<HashMap<String, bool>>,
    commands: RefCell<HashMap<Vec<String>, Option<String>>>,
    configurations: RefCell<HashMap<BTreeMap<String, String>, Option<String>>>,
}

impl Facts {
    /// Asks the program under test, and starts it.
    pub(super) fn of(steps: &Steps) -> Result<Self> {
        let binary = steps.binary();
        let version = String::from_utf8(output(program(&binary).arg("--version"))?)?;
        let version = version.trim().strip_prefix("bareme ").context("--version says something else")?.to_owned();
        let shown = String::from_utf8(output(program(&binary).arg("config"))?)?;
        let settings = shown.lines().filter_map(|line| line.trim_start_matches("# ").split(' ').next());
        let settings = settings.map(|name| format!("BAREME_{}", name.to_uppercase()));
        let settings: BTreeSet<_> = settings.chain(OTHER_SETTINGS.map(str::to_owned)).collect();
        let server = Server::start(&binary, &steps.target(), "memory", &[])?;
        let exposed = String::from_utf8(server.curl_ops("/metrics")?)?;
        let metrics = exposed.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        Ok(Self {
            metrics: metrics.map(str::to_owned).collect(),
            drain_s: drain(steps.root())?,
            root: steps.root().to_owned(),
            binary,
            version,
            settings,
            server,
            answers: RefCell::default(),
            commands: RefCell::default(),
            configurations: RefCell::default(),
        })
    }

    /// Names of the metrics that a server has from its start.
    pub(super) fn metrics(&self) -> &BTreeSet<String> {
        &self.metrics
    }

    /// Whether there is such a metric. Histograms have three names more.
    pub(super) fn has_metric(&self, name: &str) -> bool {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        self.metrics.contains(name) || base.is_some_and(|base| self.metrics.contains(base))
    }

    /// Whether it reads such a variable.
    pub(super) fn has_setting(&self, name: &str) -> bool {
        self.settings.contains(name)
    }

    /// Whether it answers operators this path with 200.
    pub(super) fn answers(&self, path: &str) -> bool {
        let ask = || self.server.curl_ops(path).is_ok();
        *self.answers.borrow_mut().entry(path.to_owned()).or_insert_with(ask)
    }

    /// Why these arguments are refused, if they are.
    pub(super) fn refuses(&self, arguments: &[String]) -> Result<Option<String>> {
        if let Some(known) = self.commands.borrow().get(arguments) {
            return Ok(known.clone());
        }
        let mut command = program(&self.binary);
        let done = command.args(arguments).arg("--help").stdin(Stdio::null()).output().context("cannot run bareme")?;
        let said = String::from_utf8_lossy(&done.stderr);
        let why = (!done.status.success()).then(|| said.lines().next().unwrap_or_default().to_owned());
        self.commands.borrow_mut().insert(arguments.to_owned(), why.clone());
        Ok(why)
    }

    /// Why it would not start with these settings, if it would not.
    pub(super) fn misconfigured(&self, environment: &BTreeMap<String, String>) -> Result<Option<String>> {
        if let Some(known) = self.configurations.borrow().get(environment) {
            return Ok(known.clone());
        }
        let mut command = program(&self.binary);
        let done =
            command.arg("config").envs(environment).stdin(Stdio::null()).output().context("cannot run bareme")?;
        let why = (!done.status.success()).then(|| String::from_utf8_lossy(&done.stderr).trim().to_owned());
        self.configurations.borrow_mut().insert(environment.clone(), why.clone());
        Ok(why)
    }

    /// Ends the server in order.
    pub(super) fn done(self) -> Result<()> {
        self.server.check_and_stop()
    }
}

/// Reads the constants, and whether the document says their sum.
fn drain(root: &Path) -> Result<u64> {
    let mut sum = 0;
    for (file, before) in DRAIN {
        let text = std::fs::read_to_string(root.join(file))?;
        let after = text.split_once(before).with_context(|| format!("{file} has no `{before}` any more"))?.1;
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        sum += digits.parse::<u64>().with_context(|| format!("{file}: no number after `{before}`"))?;
    }
    let (document, words) = DRAIN_SAID;
    if !std::fs::read_to_string(root.join(document))?.contains(&format!(", {sum} {words}")) {
        bail!("{document} does not say that a stop takes {sum} s at most {words}");
    }
    Ok(sum)
}
