//! Three pods on the cluster of this machine, behind HAProxy with the configuration in `k8s/haproxy`.
//!
//! **Invariant**: what was started here ends with its guard.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::cluster;
use crate::namespace::Namespace;
use crate::served::{Ends, curl, program};
use crate::steps::Steps;

/// Where viewers come in; pod N listens N ports above.
const BALANCER_PORT: u16 = 8100;
/// Pod N listens N ports above for operators.
const OPS_PORT: u16 = 9100;
/// Pods.
pub(crate) const PODS: usize = 3;

const READY_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// How a pod lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Habitat {
    /// How far its wall clock is off, as libfaketime has it, such as `+1h`.
    pub(crate) clock: Option<&'static str>,
    /// Whether it reaches the cluster through a network of its own, which can be cut.
    pub(crate) apart: bool,
}

/// Which way viewers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balance {
    /// With affinity.
    Sticky,
    /// One pod after the other, without affinity.
    RoundRobin,
}

/// One pod.
pub(crate) struct Pod {
    number: usize,
    binary: PathBuf,
    sockets: &'static [&'static str],
    store: String,
    folder: PathBuf,
    habitat: Habitat,
    namespace: Option<Namespace>,
    child: Option<Child>,
}

/// The pods and their balancer.
pub(crate) struct Pods {
    pods: Vec<Pod>,
    balancer: Ends,
    token: String,
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(pid: u32, name: &str) -> Result<()> {
    if !Command::new("kill").args([name, &pid.to_string()]).status()?.success() {
        bail!("cannot signal process {pid}");
    }
    Ok(())
}

impl Pod {
    fn new(number: usize, steps: &Steps, folder: &Path, store: &str, habitat: Habitat) -> Result<Self> {
        let namespace = if habitat.apart { Some(Namespace::make(steps, folder, number)?) } else { None };
        let (binary, store, folder) = (steps.binary(), store.to_owned(), folder.to_owned());
        let sockets = steps.socket_arguments();
        Ok(Self { number, binary, sockets, store, folder, habitat, namespace, child: None })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.at(BALANCER_PORT)
    }

    /// Where it listens for operators.
    fn ops_address(&self) -> String {
        self.at(OPS_PORT)
    }

    fn at(&self, below: u16) -> String {
        let host = self.namespace.as_ref().map_or("127.0.0.1", Namespace::host);
        format!("{host}:{}", usize::from(below) + self.number)
    }

    /// The same for people and their programs.
    fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The same for operators.
    fn ops_url(&self) -> String {
        format!("http://{}", self.ops_address())
    }

    /// Starts it, without waiting.
    pub(crate) fn start(&mut self) -> Result<()> {
        let mut command = match &self.namespace {
            Some(namespace) => namespace.command(&program(&self.binary)),
            None => program(&self.binary),
        };
        if let Some(offset) = self.habitat.clock {
            // The library of Debian's package `libfaketime`; monotonic clocks stay right.
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            command.env("FAKETIME_DISABLE_SHM", "1");
        }
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        command.args([
            "serve",
            "--log",
            "info",
            "--log-format",
            "human",
            "--trusted-proxies",
            "127.0.0.0/8,10.213.0.0/16",
        ]);
        // The load of a whole audience comes from this machine, through the balancer, which exempts nobody.
        command.args(["--vote-rate", "1000000", "--new-viewers-per-address", "1000000"]);
        command.args(["--sockets-per-address", "1000000"]);
        command.args(["--listen", &self.address(), "--ops-listen", &self.ops_address()]);
        command.args(["--store", &self.store, "--data-dir"]);
        command.arg(self.folder.join(format!("pod-{}", self.number))).args(self.sockets);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().with_context(|| format!("cannot start {}", self.binary.display()))?);
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("pod-{}.log", self.number))
    }

    /// What it said.
    fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Waits until it takes viewers.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while curl(&self.ops_url(), "/readyz", None).is_err() {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("pod {} ended ({status}): {}", self.number, self.log());
            }
            if Instant::now() > deadline {
                bail!("pod {} is not ready: {}", self.number, self.log());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).context("the pod does not run")
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _already_gone = child.kill();
            let _reaped = child.wait();
        }
    }

    /// Asks it to end, without waiting.
    pub(crate) fn ask_to_stop(&self) -> Result<()> {
        signal(self.pid()?, "-TERM")
    }

    /// Whether it has ended, since it was asked to.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        let Some(child) = &mut self.child else { return Ok(true) };
        let has_ended = child.try_wait()?.is_some();
        if has_ended {
            self.child = None;
        }
        Ok(has_ended)
    }

    /// Whether it says that it takes viewers.
    pub(crate) fn is_ready(&self) -> bool {
        curl(&self.ops_url(), "/readyz", None).is_ok()
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if self.child.is_none() {
            return Ok(());
        }
        self.ask_to_stop()?;
        let deadline = Instant::now() + ENDS_WITHIN;
        while !self.has_ended()? {
            if Instant::now() > deadline {
                bail!("pod {} does not end", self.number);
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Lets it stand still for a while.
    pub(crate) fn freeze(&self, length: Duration) -> Result<()> {
        let pid = self.pid()?;
        signal(pid, "-STOP")?;
        std::thread::sleep(length);
        signal(pid, "-CONT")
    }

    /// Cuts it off from the cluster, or ends that.
    pub(crate) fn cut(&self, is_cut: bool) -> Result<()> {
        self.namespace.as_ref().context("the pod has no network of its own")?.cut(is_cut)
    }

    /// The sum of a metric over its labels.
    fn metric(&self, name: &str) -> Result<f64> {
        let text = String::from_utf8(curl(&self.ops_url(), "/metrics", None)?)?;
        let values = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        Ok(values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }
}

/// What LD_PRELOAD loads.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

impl Pods {
    /// Starts pods on a keyspace that is made new, and the balancer, and waits until all of it is ready.
    pub(crate) fn start(
        steps: &Steps,
        folder: &Path,
        keyspace: &str,
        balance: Balance,
        habitats: [Habitat; PODS],
    ) -> Result<Self> {
        for port in (BALANCER_PORT..=BALANCER_PORT + 3).chain(OPS_PORT + 1..=OPS_PORT + 3) {
            TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port} is in use"))?;
        }
        let _was_not_there = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)?;
        let store = cluster::url(keyspace);
        let migrated = program(&steps.binary()).args(["migrate", "--store", &store]).stdin(Stdio::null()).output()?;
        if !migrated.status.success() {
            bail!("bareme migrate: {}", String::from_utf8_lossy(&migrated.stderr));
        }
        let made = program(&steps.binary())
            .args(["token", "new", "--name", "faults", "--role", "admin", "--store", &store])
            .stdin(Stdio::null())
            .output()?;
        if !made.status.success() {
            bail!("cannot make a token: {}", String::from_utf8_lossy(&made.stderr));
        }
        let token = String::from_utf8(made.stdout)?.trim().to_owned();
        let mut pods = Vec::new();
        for (number, habitat) in (1..).zip(habitats) {
            pods.push(Pod::new(number, steps, folder, &store, habitat)?);
        }
        for pod in &mut pods {
            pod.start()?;
        }
        for pod in &mut pods {
            pod.wait()?;
        }
        let servers: Vec<_> = pods.iter().map(|pod| [pod.address(), pod.ops_address()]).collect();
        let balancer = haproxy(steps, folder, balance, BALANCER_PORT, &servers)?;
        let pods = Self { pods, balancer, token };
        let deadline = Instant::now() + READY_WITHIN;
        while curl(&pods.url(), "/version", None).is_err() {
            if Instant::now() > deadline {
                bail!("HAProxy does not answer: {}", std::fs::read_to_string(folder.join("haproxy.log"))?);
            }
            std::thread::sleep(LOOK);
        }
        Ok(pods)
    }

    /// Where viewers come in.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{BALANCER_PORT}")
    }

    /// An admin's token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// A pod, 0 to 2.
    pub(crate) fn pod(&mut self, index: usize) -> &mut Pod {
        &mut self.pods[index]
    }

    /// Addresses of the pods themselves.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.pods.iter().map(Pod::url).collect()
    }

    /// Their addresses for operators.
    pub(crate) fn ops_urls(&self) -> Vec<String> {
        self.pods.iter().map(Pod::ops_url).collect()
    }

    /// Whether all came through well: ready, no tally that differs from another pod's or its recount, no panic.
    /// Returns how many tallies the pods compared with each other.
    pub(crate) fn check(&mut self) -> Result<u64> {
        let mut compared = 0.0;
        for pod in &mut self.pods {
            pod.wait()?;
            let drift = pod.metric("tally_drift_total")?;
            if drift != 0.0 {
                bail!("pod {}: {drift} tallies differ from another pod's, or from their recount", pod.number);
            }
            compared += pod.metric("tally_comparisons_total")?;
            let log = pod.log();
            if let Some(line) = log.lines().find(|line| line.contains("panicked") || line.contains("ERROR")) {
                bail!("pod {}: {line}", pod.number);
            }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        Ok(compared as u64)
    }

    /// Lets all of it run on without this program, and says what is what: name, process.
    pub(crate) fn leave(mut self) -> Vec<(String, u32)> {
        let mut left: Vec<_> = self
            .pods
            .iter()
            .filter_map(|pod| Some((format!("pod-{}", pod.number), pod.child.as_ref()?.id())))
            .collect();
        left.push(("balancer".to_owned(), self.balancer.0.id()));
        for pod in &mut self.pods {
            pod.child = None;
        }
        // Its guard would end the balancer.
        std::mem::forget(self);
        left
    }

    /// What a pod (0 to 2) said.
    pub(crate) fn said(&self, index: usize) -> String {
        self.pods.get(index).map(Pod::log).unwrap_or_default()
    }

    /// Ends all of it in order.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.pods.iter_mut().try_for_each(Pod::stop)
    }
}

/// HAProxy with the shipped configuration, on a port of the loopback, before three servers: where each listens for viewers
/// and for operators.
pub(crate) fn haproxy(
    steps: &Steps,
    folder: &Path,
    balance: Balance,
    port: u16,
    servers: &[[String; 2]],
) -> Result<Ends> {
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(steps.root().join("k8s/haproxy/haproxy.cfg"));
    command.env("LISTEN", format!("127.0.0.1:{port}")).env("STATS", folder.join("haproxy.sock"));
    for (number, [address, ops_address]) in (1..).zip(servers) {
        command.env(format!("POD_{number}"), address).env(format!("OPS_{number}"), ops_address);
    }
    command.env("MAXCONN", "9000");
    let is_sticky = balance == Balance::Sticky;
    command.env("BALANCE", if is_sticky { "leastconn" } else { "roundrobin" });
    command.env("STICKY", if is_sticky { "1" } else { "0" });
    let log = File::create(folder.join("haproxy.log"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Ends(command.spawn().context("cannot start haproxy")?))
}
