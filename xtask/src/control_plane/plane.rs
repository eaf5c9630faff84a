//! The control plane itself: its processes, its certificates, its nodes, and how it is asked.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::programs::Programs;
use crate::manifests::output;
use crate::served::free_port;
use crate::steps::{Steps, say};

const READY_WITHIN: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);
/// Zones of the nodes, as overlays and databases name them.
const ZONES: [&str; 3] = ["europe-west1-b", "europe-west1-c", "europe-west1-d"];

/// A running control plane.
pub(super) struct Plane {
    programs: Programs,
    folder: PathBuf,
    /// The last one started ends first.
    children: Vec<Child>,
    metrics_port: u16,
}

impl Drop for Plane {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _already_gone = child.kill();
            let _reaped = child.wait();
        }
        let _left_behind = std::fs::remove_dir_all(self.folder.join("etcd"));
    }
}

impl Plane {
    /// Starts everything and waits until it answers.
    pub(super) fn start(steps: &Steps, programs: Programs) -> Result<Self> {
        let folder = steps.target().join("control-plane");
        let _was_not_there = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        let (etcd, peers, api, metrics_port) = (free_port()?, free_port()?, free_port()?, free_port()?);
        let mut plane = Self { programs, folder, children: Vec::new(), metrics_port };
        plane.credentials(api)?;
        plane.load(0, 50)?;
        let (etcd, peers) = (format!("http://127.0.0.1:{etcd}"), format!("http://127.0.0.1:{peers}"));
        let mut store = Command::new("/usr/bin/etcd");
        store.args(["--data-dir", "etcd", "--listen-client-urls", &etcd, "--advertise-client-urls", &etcd]);
        plane.spawn("etcd", store.args(["--listen-peer-urls", &peers]))?;
        let mut server = plane.programs.command("kube-apiserver");
        server.args(["--etcd-servers", &etcd, "--bind-address", "127.0.0.1", "--secure-port", &api.to_string()]);
        server.args(["--cert-dir", "certificates", "--service-account-issuer", "https://kubernetes.default.svc"]);
        server.args(["--service-account-key-file", "account.pub", "--service-account-signing-key-file", "account.key"]);
        server.args(["--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "RBAC"]);
        plane.spawn("kube-apiserver", server.args(["--token-auth-file", "tokens.csv"]))?;
        let started = Instant::now();
        plane.until("the API server is ready", READY_WITHIN, |plane| {
            plane.kubectl(&["get", "--raw", "/readyz"]).is_ok()
        })?;
        say(&format!("the API server is ready after {:.1} s", started.elapsed().as_secs_f64()));
        let mut controllers = plane.programs.command("kube-controller-manager");
        controllers.args(["--kubeconfig", "kubeconfig", "--service-account-private-key-file", "account.key"]);
        // As in a cluster, but every second, and of pods as new as ours.
        controllers.args(["--leader-elect=false", "--secure-port=0", "--horizontal-pod-autoscaler-sync-period=1s"]);
        controllers.args(["--horizontal-pod-autoscaler-initial-readiness-delay=0s"]);
        controllers.arg("--horizontal-pod-autoscaler-cpu-initialization-period=0s");
        plane.spawn("kube-controller-manager", &mut controllers)?;
        let mut scheduler = plane.programs.command("kube-scheduler");
        let scheduler = scheduler.args(["--kubeconfig", "kubeconfig", "--leader-elect=false", "--secure-port=0"]);
        plane.spawn("kube-scheduler", scheduler)?;
        let mut nodes = plane.programs.command("kwok");
        nodes.args(["--kubeconfig", "kubeconfig", "--manage-all-nodes", "--node-lease-duration-seconds=40"]);
        for stage in plane.programs.stages().to_vec() {
            nodes.arg("--config").arg(stage);
        }
        let home = plane.folder.clone();
        plane.spawn("kwok", nodes.env("HOME", home))?;
        let mut metrics = plane.programs.command("metrics");
        metrics.args([
            "--listen",
            &format!("127.0.0.1:{metrics_port}"),
            "--server",
            &format!("https://127.0.0.1:{api}"),
        ]);
        plane.spawn("metrics", metrics.args(["--token-file", "token", "--load", "load.json"]))?;
        Ok(plane)
    }

    fn spawn(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let log = File::create(self.folder.join(format!("{name}.log")))?;
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.children.push(command.spawn().with_context(|| format!("cannot start {name}"))?);
        Ok(())
    }

    /// Keys and a token that live as long as this run.
    fn credentials(&self, api: u16) -> Result<()> {
        let key = self.folder.join("account.key");
        output(Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"))?;
        let public = self.folder.join("account.pub");
        output(Command::new("openssl").args(["rsa", "-pubout", "-in"]).arg(&key).arg("-out").arg(public))?;
        let token = String::from_utf8(output(Command::new("openssl").args(["rand", "-hex", "16"]))?)?;
        let token = token.trim();
        std::fs::write(self.folder.join("tokens.csv"), format!("{token},admin,admin,\"system:masters\"\n"))?;
        std::fs::write(self.folder.join("token"), token)?;
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": format!("https://127.0.0.1:{api}"), "insecure-skip-tls-verify": true}}],
            "users": [{"name": "here", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
        });
        Ok(std::fs::write(self.folder.join("kubeconfig"), text.to_string())?)
    }

    /// Says how many sockets there are on all servers together, and what each uses of a processor.
    pub(super) fn load(&self, sockets: u64, cpu_milli: u64) -> Result<()> {
        // Under another name first: it is read at any moment.
        let (new, file) = (self.folder.join("load.new"), self.folder.join("load.json"));
        std::fs::write(&new, json!({"sockets": sockets, "cpu_milli": cpu_milli}).to_string())?;
        Ok(std::fs::rename(new, file)?)
    }

    /// kubectl with arguments.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.programs.command("kubectl");
        command.arg("--kubeconfig").arg(self.folder.join("kubeconfig")).args(arguments);
        command
    }

    /// What kubectl prints; its complaints are the error.
    pub(super) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        Ok(String::from_utf8(output(&mut self.command(arguments))?)?)
    }

    /// An object, or a list of them.
    pub(super) fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "--namespace", "bareme", "--output", "json"], arguments].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The same with something to read.
    pub(super) fn give(&self, arguments: &[&str], text: &[u8]) -> Result<String> {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run kubectl")?;
        child.stdin.take().context("no way in")?.write_all(text)?;
        let done = child.wait_with_output()?;
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        if !done.status.success() {
            bail!("{}", said.trim());
        }
        Ok(said)
    }

    /// What a folder of `k8s/` makes.
    pub(super) fn kustomize(&self, folder: &Path) -> Result<Vec<u8>> {
        output(&mut self.command(&["kustomize", &folder.to_string_lossy()]))
    }

    /// Which version it is.
    pub(super) fn version(&self) -> Result<String> {
        let said = self.kubectl(&["version"])?;
        let line = said.lines().find(|line| line.starts_with("Server")).context("no version")?;
        Ok(line.replace("Server Version:", "kube-apiserver, kube-controller-manager, kube-scheduler"))
    }

    /// Definitions of resources, nodes, the metrics.
    pub(super) fn install(&self, crds: &[PathBuf]) -> Result<()> {
        for file in crds {
            self.kubectl(&["apply", "--server-side", "--filename", &file.to_string_lossy()])?;
        }
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
        let nodes = ZONES.iter().enumerate().map(|(number, zone)| {
            let capacity = json!({"cpu": "16", "memory": "64Gi", "pods": "110"});
            json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": format!("node-{}", number + 1), "labels": {
                    "topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": format!("node-{}", number + 1)}},
                "status": {"allocatable": capacity, "capacity": capacity},
            })
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics", "namespace": "default"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": self.metrics_port}]},
        });
        let apis = [("custom.metrics.k8s.io", "v1beta2"), ("metrics.k8s.io", "v1beta1")].map(|(group, version)| {
            json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {"name": format!("{version}.{group}")},
                "spec": {"group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                    "insecureSkipTLSVerify": true,
                    "service": {"name": "metrics", "namespace": "default", "port": self.metrics_port}},
            })
        });
        let items: Vec<Value> = nodes.chain([service]).chain(apis).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        self.give(&["apply", "--server-side", "--filename", "-"], list.to_string().as_bytes())?;
        self.kubectl(&["wait", "--for=condition=Available", "apiservice", "--all", "--timeout=60s"])?;
        self.kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=60s"])?;
        say(&format!(
            "{} definitions of resources, {} nodes in as many zones, two metrics APIs",
            crds.len(),
            ZONES.len()
        ));
        Ok(())
    }

    /// Waits until something is so.
    pub(super) fn until(&self, what: &str, within: Duration, mut is_so: impl FnMut(&Self) -> bool) -> Result<f64> {
        let started = Instant::now();
        while !is_so(self) {
            if started.elapsed() > within {
                bail!("not within {} s: {what}; logs are in {}", within.as_secs(), self.folder.display());
            }
            std::thread::sleep(LOOK);
        }
        Ok(started.elapsed().as_secs_f64())
    }
}
