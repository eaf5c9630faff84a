//! Faults on the real thing: three pods behind HAProxy on the three-node cluster, an audience that votes, something that
//! breaks, and the load tool's recount at the end. `docs/faults.md` keeps the results.
//!
//! Each fault is a [`Script`]: how the audience votes, and what is done to them meanwhile.

mod rolling;
mod scripts;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::pods::{Balance, Habitat, PODS, Pods};
use crate::steps::{Steps, say};

/// The fault that belongs to the ordinary tests.
pub(crate) const SHORT: &str = "short";

/// Beyond the planned votes, for joining, answers, closings and the recount.
const ENDS_WITHIN: Duration = Duration::from_secs(180);

/// One fault.
pub(crate) struct Script {
    /// What it is called on the command line.
    name: &'static str,
    /// What happens, for people.
    what: &'static str,
    /// What the load tool is told; `SECONDS` stands for how long people vote.
    audience: &'static [&'static str],
    /// How long people vote.
    seconds: u64,
    balance: Balance,
    habitats: [Habitat; PODS],
    /// Within which time 99 of 100 viewers whose connection was lost have to see the live again, if that is asked.
    back_within_ms: Option<f64>,
    /// Breaks things until it has done enough of it, or people have stopped voting. Says how often.
    harm: fn(&mut Scene<'_>) -> Result<String>,
}

/// What a fault has before it.
pub(crate) struct Scene<'a> {
    cluster: &'a Cluster,
    pods: &'a mut Pods,
    audience: &'a mut Child,
    ends_at: Instant,
}

impl Scene<'_> {
    /// Waits; whether people still vote then.
    fn wait(&mut self, length: Duration) -> Result<bool> {
        let until = Instant::now() + length;
        while Instant::now() < until {
            if let Some(status) = self.audience.try_wait()? {
                if Instant::now() < self.ends_at {
                    bail!("the audience left early ({status})");
                }
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20).min(until.saturating_duration_since(Instant::now())));
        }
        Ok(Instant::now() < self.ends_at)
    }
}

/// What came of it.
struct Row {
    script: &'static Script,
    harm: String,
    result: Value,
    compared: u64,
    passed: bool,
}

/// Runs all, or those that are named, as often as they are; prints a table, which `target/faults/results.md` keeps.
pub(crate) fn run(steps: &Steps, names: &[String]) -> Result<()> {
    let mut chosen: Vec<_> = if names.is_empty() { scripts::ALL.iter().collect() } else { Vec::new() };
    for name in names {
        let Some(script) = scripts::ALL.iter().find(|script| script.name == name) else {
            let known: Vec<_> = scripts::ALL.iter().map(|script| script.name).collect();
            bail!("there is no fault called {name}; there are: {}", known.join(", "));
        };
        chosen.push(script);
    }
    let cluster = Cluster::new(steps);
    let folder = steps.target().join("faults");
    std::fs::create_dir_all(&folder)?;
    cluster.with(|| {
        let mut rows = Vec::new();
        for script in chosen {
            say(&format!("\n=== {}: {}", script.name, script.what));
            let row = play(steps, &cluster, script, &folder.join(script.name))?;
            say(&line(&row));
            rows.push(row);
        }
        let table = table(&rows);
        say(&format!("\n{table}"));
        std::fs::write(folder.join("results.md"), &table)?;
        let failed: Vec<_> = rows.iter().filter(|row| !row.passed).map(|row| row.script.name).collect();
        if failed.is_empty() { Ok(()) } else { bail!("not well: {}", failed.join(", ")) }
    })
}

/// Names and what they do.
pub(crate) fn list() {
    for script in scripts::ALL {
        say(&format!("{:<16} {}", script.name, script.what));
    }
}

fn play(steps: &Steps, cluster: &Cluster, script: &'static Script, folder: &Path) -> Result<Row> {
    // Each run has a keyspace of its own, on a cluster that may have been up before.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let keyspace = format!("faults_{}_{seconds}", script.name.replace('-', "_"));
    let mut pods = Pods::start(steps, folder, &keyspace, script.balance, script.habitats.clone())?;
    let out = folder.join("audience");
    let seconds = script.seconds.to_string();
    let mut stress = Command::new(steps.stress());
    stress.args(script.audience.iter().map(|&argument| if argument == "SECONDS" { &*seconds } else { argument }));
    stress.args(["--quiet", "--settle", "60", "--url", &pods.url(), "--watch", &pods.urls().join(",")]);
    stress.arg("--out").arg(&out).env("STRESS_TOKEN", pods.token());
    let log = std::fs::File::create(folder.join("audience.log"))?;
    stress.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut audience = stress.spawn().context("cannot start bareme-stress")?;
    let voting = Duration::from_secs(script.seconds);
    let ends_at = Instant::now() + voting;
    let harmed = (script.harm)(&mut Scene { cluster, pods: &mut pods, audience: &mut audience, ends_at });
    let status = end(&mut audience, ends_at + ENDS_WITHIN);
    let said = std::fs::read_to_string(folder.join("audience.log"))?;
    let harm = harmed.with_context(|| said.clone())?;
    let status = status?;
    let file = std::fs::read(out.with_extension("json")).with_context(|| format!("no result: {said}"))?;
    let result: Value = serde_json::from_slice(&file)?;
    // Whoever was started last may still read.
    let compared = pods.check()?;
    pods.stop()?;
    let back = result["points"]["reconnect"]["p99"].as_f64().unwrap_or(f64::INFINITY);
    let in_time = script.back_within_ms.is_none_or(|most| back <= most);
    if script.back_within_ms.is_some() {
        say(&format!(
            "viewers who lost their connection are back after (p50 / p99) {} ms",
            points(&result, "reconnect")
        ));
    }
    let passed = status && in_time && result["passed"] == true;
    if !passed {
        say(&said);
    }
    Ok(Row { script, harm, result, compared, passed })
}

/// Waits for the audience to end; whether it was content.
fn end(audience: &mut Child, deadline: Instant) -> Result<bool> {
    loop {
        if let Some(status) = audience.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() > deadline {
            let _already_gone = audience.kill();
            let _reaped = audience.wait();
            bail!("the audience does not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn complaints(result: &Value) -> u64 {
    result["recount"]["complaints"]["counts"].as_object().into_iter().flatten().map(|(_, number)| count(number)).sum()
}

fn points(result: &Value, name: &str) -> String {
    let points = &result["points"][name];
    let ms = |point: &str| points[point].as_f64().unwrap_or(0.0);
    if count(&points["count"]) == 0 { "–".to_owned() } else { format!("{:.0} / {:.0}", ms("p50"), ms("p99")) }
}

fn line(row: &Row) -> String {
    let fates = &row.result["recount"]["fates"];
    let of = |name: &str| count(&fates[name]);
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        row.script.name,
        row.harm,
        of("sent"),
        of("acked"),
        of("unknown"),
        of("refused"),
        complaints(&row.result),
        points(&row.result, "ack"),
        points(&row.result, "everywhere"),
        row.compared,
    )
}

fn table(rows: &[Row]) -> String {
    let mut text = "| fault | done | sent | acked | unknown | refused | wrong | ack p50 / p99, ms | on every pod p50 / p99, ms | tallies compared |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for row in rows {
        text.push_str(&line(row));
        text.push('\n');
    }
    text
}
