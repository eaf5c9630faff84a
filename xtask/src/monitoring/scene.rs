//! A server under load with Prometheus and Alertmanager beside it, and what goes wrong there.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::dashboards::Panel;
use super::tools::{Running, Webhook};
use crate::served::{free_port, knock, program, wait};
use crate::steps::say;

/// Simulated viewers, who vote.
const VIEWERS: u32 = 40;
/// Most connections of the server: the viewers are well below the alarm, and [`CROWD`] more are above it.
const MAX_CONNECTIONS: u32 = 100;
const CROWD: usize = 50;
/// Size of the disk that is filled.
const DISK: &str = "16m";
/// How long anything may take to be seen.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(200);

/// What panels may show nothing of here: what needs a cluster, a collector, a live that ended, or something to go wrong.
const MAY_BE_SILENT: [&str; 5] = ["cql_", "spans_", "dump_last_success_timestamp_seconds", "ALERTS", "ws_closed_total"];

/// A disk of its own for the server, so that it can be filled; unmounted at the end.
struct Disk(Option<PathBuf>);

impl Disk {
    /// A small one, or an ordinary folder where this process may not mount.
    fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let size = format!("size={DISK}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        Ok(Self(is_mounted.then(|| folder.to_owned())))
    }

    fn filler(&self) -> Option<PathBuf> {
        self.0.as_ref().map(|folder| folder.join("filler"))
    }

    /// Takes every byte there is.
    fn fill(&self) -> Result<()> {
        let Some(filler) = self.filler() else { return Ok(()) };
        let mut file = OpenOptions::new().append(true).create(true).open(filler)?;
        for size in [65_536, 4096, 1] {
            let bytes = vec![0xAA; size];
            while file.write_all(&bytes).is_ok() {}
        }
        Ok(())
    }

    fn free(&self) -> Result<()> {
        self.filler().map_or(Ok(()), |filler| Ok(std::fs::remove_file(filler)?))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            let _unmounted = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}

/// The server and who watches it. In the order in which they end.
pub(super) struct Scene {
    prometheus: Running,
    _alertmanager: Running,
    webhook: Webhook,
    server: Running,
    port: u16,
    disk: Disk,
}

impl Scene {
    /// Starts everything and waits for the first numbers.
    pub(super) fn start(binary: &Path, folder: &Path, rules: &Path) -> Result<Self> {
        let disk = Disk::new(&folder.join("data"))?;
        let (port, ops_port) = (free_port()?, free_port()?);
        let (address, ops_address) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{ops_port}"));
        let mut command = program(binary);
        command.args(["demo", "--viewers", &VIEWERS.to_string(), "--max-connections", &MAX_CONNECTIONS.to_string()]);
        // Nobody takes its traces: then there are metrics of them, too.
        command.args(["--otlp-endpoint", "http://127.0.0.1:9"]);
        // One thread for connections, because each has its share of the limit.
        command.args(["--workers", "1", "--log", "error", "--listen", &address, "--ops-listen", &ops_address]);
        command.arg("--data-dir").arg(folder.join("data"));
        let url = format!("http://{ops_address}");
        let server = Running::start("server", &mut command, folder, &url, "/readyz")?;

        let webhook = Webhook::start()?;
        let manager_port = free_port()?;
        let config = folder.join("alertmanager.yml");
        std::fs::write(&config, alertmanager_config(&webhook.url))?;
        let checked = Command::new("amtool").arg("check-config").arg(&config).output().context("cannot run amtool")?;
        if !checked.status.success() {
            bail!("amtool: {}", String::from_utf8_lossy(&checked.stderr));
        }
        let mut command = Command::new("prometheus-alertmanager");
        command.args(["--config.file=alertmanager.yml", "--storage.path=alertmanager", "--cluster.listen-address="]);
        command.arg(format!("--web.listen-address=127.0.0.1:{manager_port}"));
        let url = format!("http://127.0.0.1:{manager_port}");
        let alertmanager = Running::start("alertmanager", &mut command, folder, &url, "/-/ready")?;

        let prometheus_port = free_port()?;
        std::fs::write(folder.join("rules.yaml"), impatient(&std::fs::read_to_string(rules)?))?;
        std::fs::write(folder.join("prometheus.yml"), prometheus_config(ops_port, manager_port))?;
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{prometheus_port}"));
        let url = format!("http://127.0.0.1:{prometheus_port}");
        let prometheus = Running::start("prometheus", &mut command, folder, &url, "/-/ready")?;
        let scene = Self { prometheus, _alertmanager: alertmanager, webhook, server, port, disk };
        // Two scrapes make a rate.
        let has_rate = || Ok(scene.value("sum(rate(notes_accepted_total[1m]))")?.is_some_and(|rate| rate > 0.0));
        wait("votes in Prometheus", PATIENCE, has_rate)?;
        Ok(scene)
    }

    /// What the server says of itself now.
    pub(super) fn exposition(&self) -> Result<String> {
        Ok(String::from_utf8(self.server.get("/metrics")?)?)
    }

    /// Every alert, as Prometheus understood it.
    pub(super) fn alerts(&self) -> Result<Vec<Panel>> {
        let data = self.prometheus.api("/api/v1/rules", &[("type", "alert")])?;
        let groups = data["groups"].as_array().context("groups of rules")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        let text =
            |value: &serde_json::Value| value.as_str().map(str::to_owned).context("a rule with a name and a query");
        let mut alerts = Vec::new();
        for rule in rules {
            let (place, expression) = (text(&rule["name"])?, text(&rule["query"])?);
            let annotations = &rule["annotations"];
            let anchor = format!("docs/runbook.md#{}", place.to_ascii_lowercase());
            if annotations["runbook_url"] != anchor.as_str() {
                bail!("{place}: its runbook_url is not {anchor}");
            }
            let is_said = |key: &str| annotations[key].as_str().is_some_and(|text| !text.is_empty());
            if !is_said("summary") || !is_said("description") {
                bail!("{place} has no summary or no description");
            }
            if rule["labels"]["severity"] != "critical" && rule["labels"]["severity"] != "warning" {
                bail!("{place}: its severity is neither critical nor warning");
            }
            alerts.push(Panel { place, expression });
        }
        Ok(alerts)
    }

    /// Panels that show nothing though they could, however often one looks: a busy machine misses a scrape now and then.
    pub(super) fn silent(&self, panels: &[Panel]) -> Result<Vec<String>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let silent = self.silent_now(panels)?;
            if silent.is_empty() || Instant::now() > deadline {
                return Ok(silent);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn silent_now(&self, panels: &[Panel]) -> Result<Vec<String>> {
        let mut silent = Vec::new();
        for Panel { place, expression } in panels {
            let data = self.prometheus.api("/api/v1/query", &[("query", expression)])?;
            let is_empty = data["result"].as_array().is_none_or(Vec::is_empty);
            let may_be = MAY_BE_SILENT.iter().any(|name| expression.contains(name));
            let has_disk = self.disk.0.is_some() || !expression.contains("data_dir_");
            if is_empty && !may_be && has_disk {
                silent.push(format!("{place}: {expression}"));
            }
        }
        Ok(silent)
    }

    fn value(&self, query: &str) -> Result<Option<f64>> {
        let data = self.prometheus.api("/api/v1/query", &[("query", query)])?;
        Ok(data["result"][0]["value"][1].as_str().and_then(|text| text.parse().ok()))
    }

    fn firing(&self) -> Result<BTreeSet<String>> {
        let data = self.prometheus.api("/api/v1/alerts", &[])?;
        let alerts = data["alerts"].as_array().context("alerts")?;
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        Ok(firing.filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned)).collect())
    }

    /// Breaks things, sees the alarms, mends them, sees them end.
    pub(super) fn faults(&mut self) -> Result<()> {
        let mut expected = vec!["BaremeSocketsNearLimit"];
        if self.disk.0.is_some() {
            expected.extend(["BaremeDiskFull", "BaremeStoreUnreachable"]);
        } else {
            say("no small disk can be mounted here: the disk is not filled");
        }
        self.quiet(&expected)?;
        let crowd = (0..CROWD).map(|_| self.connect()).collect::<Result<Vec<_>>>()?;
        self.disk.fill()?;
        self.alarm(&expected, || self.disk.fill())?;
        drop(crowd);
        self.disk.free()?;
        self.all_clear(&expected)?;

        let expected = ["BaremeDown"];
        self.quiet(&expected)?;
        self.server.signal("STOP")?;
        let told = self.alarm(&expected, || Ok(()));
        // Whatever was seen: one that hangs could not be ended in order.
        self.server.signal("CONT")?;
        told?;
        self.all_clear(&expected)
    }

    fn quiet(&self, expected: &[&str]) -> Result<()> {
        let firing = self.firing()?;
        match expected.iter().find(|alert| firing.contains(**alert)) {
            Some(alert) => bail!("{alert} fires before anything is wrong"),
            None => Ok(()),
        }
    }

    /// They fire, and Alertmanager tells of them; `worse` is done again and again until then.
    fn alarm(&self, expected: &[&str], worse: impl Fn() -> Result<()>) -> Result<()> {
        let begun = Instant::now();
        for alert in expected {
            let what = format!("{alert} fires and is delivered");
            wait(&what, PATIENCE, || {
                worse()?;
                Ok(self.firing()?.contains(*alert) && self.webhook.was_told(alert, "firing"))
            })?;
            let described = self.webhook.annotation(alert, "description").unwrap_or_default();
            say(&format!("{:4.1} s  {alert}: {described}", begun.elapsed().as_secs_f64()));
        }
        Ok(())
    }

    fn all_clear(&self, expected: &[&str]) -> Result<()> {
        let begun = Instant::now();
        for alert in expected {
            let what = format!("{alert} ends and that is delivered");
            wait(&what, PATIENCE, || Ok(!self.firing()?.contains(*alert) && self.webhook.was_told(alert, "resolved")))?;
        }
        say(&format!("{:4.1} s  over: {}", begun.elapsed().as_secs_f64(), expected.join(", ")));
        Ok(())
    }

    /// A viewer's socket, open as long as it is held.
    fn connect(&self) -> Result<TcpStream> {
        let (stream, head) = knock(&format!("127.0.0.1:{}", self.port), "/ws/demo")?;
        if !head.starts_with("HTTP/1.1 101") {
            bail!("no socket: {head}");
        }
        Ok(stream)
    }
}

/// The rules, with every wait cut to a second: what is tested is that they fire and stop, not how long they wait.
fn impatient(rules: &str) -> String {
    let line = |line: &str| match line.trim_start().starts_with("for:") {
        true => format!("{}for: 1s\n", " ".repeat(line.len() - line.trim_start().len())),
        false => format!("{line}\n"),
    };
    rules.lines().map(line).collect()
}

fn prometheus_config(server: u16, alertmanager: u16) -> String {
    format!(
        "global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}\n\
         rule_files: [rules.yaml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]}}]}}\n\
         scrape_configs: [{{job_name: bareme, static_configs: [{{targets: ['127.0.0.1:{server}']}}]}}]\n"
    )
}

fn alertmanager_config(webhook: &str) -> String {
    format!(
        "route: {{receiver: test, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: test, webhook_configs: [{{url: '{webhook}', send_resolved: true}}]}}]\n"
    )
}
