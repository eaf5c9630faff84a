//! What the server says of itself (`/metrics`), and, on one machine, what the system says of its process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bareme::settings::ops_beside;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::admin::Api;

/// One look at a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds of the run.
    pub at_s: f64,
    /// Sums of the metrics that are watched, by name. Missing when the server did not answer.
    pub metrics: BTreeMap<String, f64>,
    /// CPU time of the server's process since it began, in seconds.
    pub cpu_s: Option<f64>,
    /// Its resident memory in bytes.
    pub rss: Option<u64>,
    /// Its process.
    pub pid: Option<u32>,
    /// CPU time of this program, in seconds.
    pub own_cpu_s: f64,
}

/// Metrics that are watched.
const WATCHED: [&str; 7] = [
    "ws_active_connections",
    "notes_accepted_total",
    "notes_refused_total",
    "frames_sent_total",
    "tally_drift_total",
    "note_ack_seconds_sum",
    "note_ack_seconds_count",
];

/// Sums the lines of each watched metric over its labels.
pub fn sums(text: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let name = name.split('{').next().unwrap_or(name);
        if WATCHED.contains(&name)
            && let Ok(value) = value.parse::<f64>()
        {
            *sums.entry(name.to_owned()).or_default() += value;
        }
    }
    sums
}

/// CPU time of a process, in seconds.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of hours, for people")]
pub fn cpu_s(pid: &str) -> Option<f64> {
    let mut nanoseconds = 0_u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 / 1e9)
}

/// Resident memory of a process, in bytes.
pub fn rss(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// The process that listens at an address of this machine.
pub fn listener(address: SocketAddr) -> Option<u32> {
    if !address.ip().is_loopback() {
        return None;
    }
    let port = format!(":{:04X}", address.port());
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|file| {
        let table = std::fs::read_to_string(file).ok()?;
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN.
            let listens = fields.get(1)?.ends_with(&port) && *fields.get(3)? == "0A";
            listens.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
        })
    })?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|link| link.as_os_str() == inode.as_str())
    })
}

/// Where a server of this machine has its metrics unless it is told otherwise.
pub fn metrics_beside(address: SocketAddr) -> Option<Url> {
    let ops = address.ip().is_loopback().then(|| ops_beside(address))?;
    Url::parse(&format!("http://{ops}")).ok()
}

/// Looks at a server again and again.
pub struct Sampler {
    ops: Option<Api>,
    address: SocketAddr,
    pid: Option<u32>,
}

impl Sampler {
    /// For one server. Its metrics are asked for at `ops` once each time, and missing when nothing answers.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(ops: Option<&Url>, address: SocketAddr) -> Result<Self> {
        let ops = ops.map(|url| Api::new(url, None, Duration::ZERO)).transpose()?;
        Ok(Self { ops, address, pid: listener(address) })
    }

    /// One look.
    pub async fn look(&mut self, at_s: f64) -> Sample {
        let metrics = match &self.ops {
            Some(ops) => ops.text("/metrics").await.map(|text| sums(&text)).unwrap_or_default(),
            None => BTreeMap::new(),
        };
        let mut cpu = self.pid.and_then(|pid| cpu_s(&pid.to_string()));
        if cpu.is_none() {
            // It was started again, perhaps.
            self.pid = listener(self.address);
            cpu = self.pid.and_then(|pid| cpu_s(&pid.to_string()));
        }
        let rss = self.pid.and_then(rss);
        Sample { at_s, metrics, cpu_s: cpu, rss, pid: self.pid, own_cpu_s: cpu_s("self").unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let text =
            "# HELP x\nnotes_refused_total{reason=\"stale\"} 3\nnotes_refused_total{reason=\"closed\"} 4\nother 1\n";
        assert_eq!(sums(text), BTreeMap::from([("notes_refused_total".to_owned(), 7.0)]));
    }

    #[test]
    fn metrics_are_beside_a_server_of_this_machine_and_of_no_other() {
        let beside = |address: &str| metrics_beside(address.parse().unwrap()).map(|url| url.to_string());
        assert_eq!(beside("127.0.0.1:8080").as_deref(), Some("http://127.0.0.1:9080/"));
        assert_eq!(beside("127.0.0.1:65000").as_deref(), Some("http://127.0.0.1:64000/"));
        assert_eq!(beside("192.0.2.1:8080"), None);
    }

    #[test]
    fn the_process_that_listens_is_found() {
        let listener_of_this_test = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listener(listener_of_this_test.local_addr().unwrap()), Some(std::process::id()));
        assert!(cpu_s("self").unwrap() > 0.0);
    }
}
