//! The alert rules and dashboards in `k8s/monitoring`, by Prometheus's own tools and against a running server.
//!
//! 1. promtool: the rules, their unit tests, and every expression of the dashboards.
//! 2. A server under load, scraped by Prometheus: every metric that a rule or a panel reads is there, panels show
//!    something, every alert has its case and its section in the runbook, and deliberate mistakes are found.
//! 3. Faults: connections up to the limit, a full disk (as root), a server that hangs. The rules fire, Alertmanager
//!    delivers, and both stop when the fault is over. `for:` is shortened; the expressions are those in the file.
//!
//! **Invariant**: all of it is on the loopback, and ends with this command.

mod dashboards;
mod names;
mod scene;
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::steps::{Steps, say};
use dashboards::Panel;
use names::Known;
use scene::Scene;

/// What the checks are about.
struct Files {
    folder: PathBuf,
    runbook: PathBuf,
    metrics: PathBuf,
}

impl Files {
    fn of(steps: &Steps) -> Self {
        let root = steps.root();
        Self {
            folder: root.join("k8s/monitoring"),
            runbook: root.join("docs/runbook.md"),
            metrics: root.join("server/src/metrics.rs"),
        }
    }

    fn rules(&self) -> PathBuf {
        self.folder.join("rules.yaml")
    }

    fn tests(&self) -> PathBuf {
        self.folder.join("rules_test.yaml")
    }
}

/// All of it.
pub(crate) fn run(steps: &Steps) -> Result<()> {
    let files = Files::of(steps);
    let folder = steps.target().join("monitoring");
    let _was_not_there = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;

    steps.run("alert rules", Command::new("promtool").args(["check", "rules"]).arg(files.rules()))?;
    steps.run("alert rules: unit tests", Command::new("promtool").args(["test", "rules"]).arg(files.tests()))?;
    let mut panels = Vec::new();
    for file in dashboards::files(&files.folder.join("dashboards"))? {
        panels.extend(dashboards::panels(&file)?);
    }
    check_panels(&folder, &panels)?;
    say(&format!("dashboards: {} expressions, each parsed", panels.len()));

    say("\n=== monitoring of a running server");
    let started = std::time::Instant::now();
    let mut scene = Scene::start(&steps.binary(), &folder, &files.rules())?;
    let alerts = scene.alerts()?;
    check_names(&scene, &files, &alerts, &panels)?;
    check_documents(&files, &alerts)?;
    let silent = scene.silent(&panels)?;
    if !silent.is_empty() {
        bail!("these panels show nothing of a server under load:\n{}", silent.join("\n"));
    }
    say(&format!("{} alerts and {} expressions of panels read metrics that a server has", alerts.len(), panels.len()));
    scene.faults()?;
    say(&format!("--- monitoring of a running server: {:.0} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Every expression of the dashboards is parsed, and one that is none is refused.
fn check_panels(folder: &Path, panels: &[Panel]) -> Result<()> {
    let check = |name: &str, panels: &[Panel]| {
        let file = folder.join(name);
        std::fs::write(&file, dashboards::as_rules(panels))?;
        let output = Command::new("promtool").args(["check", "rules"]).arg(&file).output()?;
        Ok::<_, anyhow::Error>((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (passed, told) = check("panels.json", panels)?;
    if !passed {
        bail!("an expression of a dashboard is none: {told}");
    }
    let wrong = Panel { place: "a mistake".to_owned(), expression: "sum by (le) (rate(a_total[1m])".to_owned() };
    if check("mistake.json", &[wrong])?.0 {
        bail!("promtool takes an expression that is none");
    }
    Ok(())
}

/// Every metric is there, and one that is not would be reported.
fn check_names(scene: &Scene, files: &Files, alerts: &[Panel], panels: &[Panel]) -> Result<()> {
    let known = Known::new(&scene.exposition()?, &std::fs::read_to_string(&files.metrics)?);
    let all = || alerts.iter().chain(panels);
    let mistakes = known.mistakes(all().map(|one| (one.place.as_str(), one.expression.as_str())));
    if !mistakes.is_empty() {
        bail!("{}", mistakes.join("\n"));
    }
    for one in all() {
        let metric = names::metrics_of(&one.expression).into_iter().next().unwrap_or_default();
        let wrong = one.expression.replace(&metric, &format!("{metric}x"));
        if known.mistakes([(one.place.as_str(), wrong.as_str())]).is_empty() {
            bail!("{}: `{metric}x` in place of `{metric}` is not noticed", one.place);
        }
    }
    Ok(())
}

/// Every alert has a case in the unit tests and a section in the runbook; no section is of an alert that is none.
fn check_documents(files: &Files, alerts: &[Panel]) -> Result<()> {
    let (tests, runbook) = (std::fs::read_to_string(files.tests())?, std::fs::read_to_string(&files.runbook)?);
    let sections: Vec<_> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut missing = Vec::new();
    for alert in alerts.iter().map(|alert| alert.place.as_str()) {
        if !tests.contains(&format!("alertname=\"{alert}\"")) {
            missing.push(format!("{alert} has no case in {}", files.tests().display()));
        }
        if !sections.contains(&alert) {
            missing.push(format!("{alert} has no section in {}", files.runbook.display()));
        }
    }
    for section in sections.iter().filter(|section| section.starts_with("Bareme")) {
        if !alerts.iter().any(|alert| alert.place == *section) {
            missing.push(format!("{} has a section {section}, which is no alert", files.runbook.display()));
        }
    }
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(())
}
