//! Traces as a real OpenTelemetry Collector takes them: built from its Go modules, fed by a server with simulated viewers.
//!
//! On demand, because the build takes minutes; what is built is kept in the user's cache. The ordinary tests have a
//! receiver of their own.
//!
//! **Invariant**: all of it is on the loopback, and ends with this command.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::go::go;
use crate::manifests::cache;
use crate::served::{Ends, curl, free_port, program, wait};
use crate::steps::{Steps, say};

/// The last version whose modules fit each other.
const VERSION: &str = "v0.120.0";
/// How long the collector, the server and the traces may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What has to arrive.
const SPANS: [&str; 4] = ["join", "vote", "durable", "shown"];

/// Builds the collector if need be, runs it beside a demo, and looks at what it prints.
pub(crate) fn run(steps: &Steps) -> Result<()> {
    let collector = built(steps)?;
    let folder = steps.target().join("traces");
    let _was_not_there = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;

    let (otlp, log) = (free_port()?, folder.join("collector.log"));
    let config = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{otlp}'}}}}}}}}\n\
         exporters: {{debug: {{verbosity: detailed}}}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  \
         pipelines: {{traces: {{receivers: [otlp], exporters: [debug]}}}}\n"
    );
    std::fs::write(folder.join("collector.yaml"), config)?;
    let said = File::create(&log)?;
    let mut command = Command::new(&collector);
    command.args(["--config", "collector.yaml"]).current_dir(&folder).stdin(Stdio::null());
    let mut collecting = Ends(command.stdout(said.try_clone()?).stderr(said).spawn().context("cannot start it")?);
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    wait("the collector is ready", PATIENCE, || {
        if let Some(status) = collecting.0.try_wait()? {
            bail!("the collector ended ({status}): {}", read());
        }
        Ok(read().contains("Everything is ready"))
    })?;

    let (served, ops) = (free_port()?, format!("127.0.0.1:{}", free_port()?));
    let url = format!("http://{ops}");
    let mut command = program(&steps.binary());
    command.args(["demo", "--viewers", "10", "--store", "memory", "--log", "error", "--trace-ratio", "1"]);
    command.args(["--listen", &format!("127.0.0.1:{served}"), "--ops-listen", &ops]);
    command.args(["--otlp-endpoint", &format!("http://127.0.0.1:{otlp}")]);
    command.current_dir(&folder).stdin(Stdio::null()).stdout(File::create(folder.join("banner"))?);
    let _server = Ends(command.stderr(File::create(folder.join("log"))?).spawn().context("cannot start the server")?);
    wait("the server is ready", PATIENCE, || Ok(curl(&url, "/readyz", None).is_ok()))?;

    let has_all = |counts: &BTreeMap<String, usize>| SPANS.iter().all(|name| counts.contains_key(*name));
    wait("every kind of span arrived", PATIENCE, || Ok(has_all(&spans(&read()))))?;
    let lost = String::from_utf8(curl(&url, "/metrics", None)?)?;
    let lost: Vec<_> =
        lost.lines().filter(|line| line.starts_with("spans_lost_total") && !line.ends_with(" 0")).collect();
    if !lost.is_empty() {
        bail!("spans were lost: {}", lost.join(", "));
    }
    let text = read();
    if !text.contains("service.name: Str(bareme)") {
        bail!("the collector does not know whose they are: {}", log.display());
    }
    say(&format!("the collector took {:?}; all of it: {}", spans(&text), log.display()));
    Ok(())
}

/// How many spans of each name the collector printed.
fn spans(log: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let names = log.lines().filter_map(|line| line.trim().strip_prefix("Name ")?.trim().strip_prefix(": "));
    for name in names {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

/// The collector with the receiver and the exporter that are needed, and nothing else.
fn built(steps: &Steps) -> Result<PathBuf> {
    let folder = cache()?.join(format!("collector-{VERSION}"));
    let binary = folder.join("out/collector");
    if binary.exists() {
        return Ok(binary);
    }
    std::fs::create_dir_all(&folder)?;
    let config = format!(
        "dist: {{name: collector, output_path: out}}\n\
         receivers: [{{gomod: go.opentelemetry.io/collector/receiver/otlpreceiver {VERSION}}}]\n\
         exporters: [{{gomod: go.opentelemetry.io/collector/exporter/debugexporter {VERSION}}}]\n"
    );
    std::fs::write(folder.join("builder.yaml"), config)?;
    let builder = format!("go.opentelemetry.io/collector/cmd/builder@{VERSION}");
    let mut go = go();
    go.args(["run", &builder, "--config", "builder.yaml"]).current_dir(&folder);
    steps.run("build of the OpenTelemetry Collector", &mut go)?;
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_counted_by_name() {
        let log = "Span #0\n    Trace ID       : 1f\n    Name           : join\n    Kind           : Server\n\
                   Span #1\n    Name           : vote\nSpan #2\n    Name           : vote\n";
        assert_eq!(spans(log), BTreeMap::from([("join".to_owned(), 1), ("vote".to_owned(), 2)]));
    }
}
