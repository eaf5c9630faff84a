//! Three pods behind HAProxy on the three-node cluster, that stay until they are told to go: what an operator tries things on.
//!
//! **Invariant**: only processes that this command started are ended. They are in a file of its folder, and count only while
//! their command line is still that of one of ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::pods::{Balance, Habitat, PODS, Pods};
use crate::served::curl;
use crate::setup;
use crate::steps::{Steps, say};

/// What they keep their data in; that of every test is another one.
const KEYSPACE: &str = "bareme_standing";
/// A server takes 25 s at most to stop, without traces.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Starts nodes, servers and balancer, and says where they are
    Up,
    /// Ends all of it, and deletes its data
    Down {
        /// Leaves the data for the next `up`
        #[arg(long)]
        keep_data: bool,
    },
    /// Shows what runs
    Status,
}

/// Does what was asked.
pub(crate) fn run(steps: &Steps, action: &Action) -> Result<()> {
    let standing = Standing { folder: steps.target().join("pods") };
    match action {
        Action::Up => standing.up(steps),
        Action::Down { keep_data } => standing.down(steps, *keep_data),
        Action::Status => standing.status(steps),
    }
}

struct Standing {
    folder: PathBuf,
}

/// One process: its name, its number, whether it is still ours.
struct Process {
    name: String,
    pid: u32,
    runs: bool,
}

impl Standing {
    fn file(&self) -> PathBuf {
        self.folder.join("processes.json")
    }

    fn processes(&self) -> Vec<Process> {
        let text = std::fs::read_to_string(self.file()).unwrap_or_default();
        let known: Value = serde_json::from_str(&text).unwrap_or_default();
        let all = known["processes"].as_object().into_iter().flatten();
        all.filter_map(|(name, pid)| {
            let pid = u32::try_from(pid.as_u64()?).ok()?;
            Some(Process { runs: is_ours(&self.folder, pid, name), name: name.clone(), pid })
        })
        .collect()
    }

    fn up(&self, steps: &Steps) -> Result<()> {
        if self.processes().iter().any(|process| process.runs) {
            bail!("it runs already: `cargo xtask pods status` shows it, `cargo xtask pods down` ends it");
        }
        setup::pods(steps)?;
        steps.build()?;
        Cluster::new(steps).up()?;
        let plain = Habitat::default();
        let habitats = [plain.clone(), plain.clone(), plain];
        let mut pods = Pods::start(steps, &self.folder, KEYSPACE, Balance::Sticky, habitats)?;
        // Each start makes a new link for the first account and ends the one before: this one is the last.
        pods.pod(PODS - 1).stop()?;
        pods.pod(PODS - 1).start()?;
        pods.pod(PODS - 1).wait()?;
        let said = pods.said(PODS - 1);
        let link = said.rsplit("/admin#setup=").next().filter(|rest| rest.len() < said.len());
        let link = link.and_then(|rest| rest.split_whitespace().next()).map(|secret| format!("#setup={secret}"));
        let token = self.folder.join("token");
        std::fs::write(&token, pods.token())?;
        private(&token)?;
        let (url, urls, ops_urls) = (pods.url(), pods.urls(), pods.ops_urls());
        let processes: Value =
            pods.leave().into_iter().map(|(name, pid)| (name, json!(pid))).collect::<serde_json::Map<_, _>>().into();
        std::fs::write(self.file(), json!({"processes": processes, "url": url, "ops": ops_urls}).to_string())?;
        say("\nthree servers behind HAProxy, on three nodes of Apache Cassandra\n");
        say(&format!("  viewers   {url}/"));
        say(&format!("  admin     {url}/admin{}", link.unwrap_or_default()));
        say(&format!("  servers   {}", urls.join("  ")));
        say(&format!("  operator  {}  (/metrics, /readyz)", ops_urls.join("  ")));
        say(&format!("  logs      {}/*.log", self.folder.display()));
        say(&format!("  token     in {} (admin): for bareme-stress --url {url} and for curl", token.display()));
        say("\n`cargo xtask pods down` ends all of it and deletes its data");
        Ok(())
    }

    fn status(&self, steps: &Steps) -> Result<()> {
        Cluster::new(steps).run(steps, &crate::cluster::Action::Status)?;
        let processes = self.processes();
        if processes.is_empty() {
            say("no server: `cargo xtask pods up` starts three");
        }
        let text = std::fs::read_to_string(self.file()).unwrap_or_default();
        let known: Value = serde_json::from_str(&text).unwrap_or_default();
        for process in &processes {
            let number = process.name.strip_prefix("pod-").and_then(|number| number.parse::<usize>().ok());
            let url = number
                .and_then(|number| known["ops"][number - 1].as_str())
                .or(known["url"].as_str())
                .unwrap_or_default();
            let path = if number.is_some() { "/readyz" } else { "/version" };
            let state = match (process.runs, curl(url, path, None)) {
                (false, _) => "has ended".to_owned(),
                (true, Ok(_)) => "ready".to_owned(),
                (true, Err(error)) => format!("not ready ({error})"),
            };
            say(&format!("{:<9} pid {:<7} {url}  {state}", process.name, process.pid));
        }
        Ok(())
    }

    fn down(&self, steps: &Steps, keep_data: bool) -> Result<()> {
        // The balancer last: viewers are told to come back, and some may.
        let mut processes: Vec<_> = self.processes().into_iter().filter(|process| process.runs).collect();
        processes.sort_by_key(|process| process.name == "balancer");
        for process in &processes {
            signal(process.pid, "-TERM")?;
            let deadline = Instant::now() + ENDS_WITHIN;
            while is_ours(&self.folder, process.pid, &process.name) {
                if Instant::now() > deadline {
                    signal(process.pid, "-KILL")?;
                    say(&format!("{}: killed, it did not end by itself", process.name));
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            say(&format!("{}: ended", process.name));
        }
        let _not_there = std::fs::remove_dir_all(&self.folder);
        Cluster::new(steps).down(keep_data)
    }
}

/// Whether a process is one that was started here.
fn is_ours(folder: &Path, pid: u32, name: &str) -> bool {
    // What has ended and was not asked for its status has no command line.
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let line = String::from_utf8_lossy(&line);
    match name {
        "balancer" => line.contains("haproxy") && line.contains("haproxy.cfg"),
        _ => line.contains(&*folder.join(name).to_string_lossy()),
    }
}

fn signal(pid: u32, name: &str) -> Result<()> {
    let done = Command::new("kill").args([name, &pid.to_string()]).status().context("cannot run kill")?;
    if !done.success() {
        bail!("cannot signal process {pid}");
    }
    Ok(())
}

fn private(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))?)
}
