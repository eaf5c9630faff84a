//! Installing what tests need, by package name, with the ordinary clients; what is there already is left alone.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::go;
use crate::steps::Steps;

/// A Debian package, and a file that shows that it is installed.
const DEBIAN: [(&str, &str); 5] = [
    ("chromium", "/usr/bin/chromium"),
    ("chromium-headless-shell", "/usr/bin/chromium-headless-shell"),
    ("sqlite3", "/usr/bin/sqlite3"),
    ("curl", "/usr/bin/curl"),
    ("python3-venv", "/usr/share/doc/python3-venv"),
];

/// What the cluster runs on and is resolved with.
const JAVA: [(&str, &str); 2] = [("openjdk-17-jre-headless", "/usr/bin/java"), ("maven", "/usr/bin/mvn")];

/// The balancer, wall clocks that are wrong, and networks that can be cut.
const PODS: [(&str, &str); 3] =
    [("haproxy", "/usr/sbin/haproxy"), ("libfaketime", "/usr/share/doc/libfaketime"), ("iproute2", "/usr/bin/ip")];

/// Those who watch. Their packages start services, unless [`without_services`] keeps them from it.
const MONITORING: [(&str, &str); 2] =
    [("prometheus", "/usr/bin/promtool"), ("prometheus-alertmanager", "/usr/bin/prometheus-alertmanager")];

/// What a package asks before it starts a service: 101 is no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// PyPI packages of the API fuzzer, of the OpenAPI validator, of a WebSocket client that is not ours, of the schemas of
/// Kubernetes, and of the client of Cassandra that is in its image.
const PYTHON: [&str; 5] = [
    "schemathesis==4.32.5",
    "openapi-spec-validator==0.9.0",
    "websockets==15.0.1",
    "kubernetes-validate==1.37.0",
    "cqlsh==6.2.0",
];

/// Everything.
pub(crate) fn all(steps: &Steps) -> Result<()> {
    browser(steps)?;
    pods(steps)?;
    manifests(steps)
}

/// What reads manifests, and the configurations of balancer, Prometheus and Alertmanager.
pub(crate) fn manifests(steps: &Steps) -> Result<()> {
    python(steps)?;
    go::install(steps)?;
    monitoring(steps)?;
    balancer(steps)
}

/// The balancer, as a program and not as a service of this machine.
pub(crate) fn balancer(steps: &Steps) -> Result<()> {
    without_services(steps, &[("haproxy", "/usr/sbin/haproxy")])
}

/// What the cluster for development and tests runs on; a guarded one also on what reads the manifests.
pub(crate) fn cluster(steps: &Steps, guarded: bool) -> Result<()> {
    debian(steps, &JAVA)?;
    crate::cluster::jars(steps)?;
    if guarded {
        python(steps)?;
        go::install(steps)?;
    }
    Ok(())
}

/// What several pods run with on one machine.
pub(crate) fn pods(steps: &Steps) -> Result<()> {
    cluster(steps, false)?;
    debian(steps, &PODS)
}

/// Whether this user may install Debian packages.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// What a control plane of Kubernetes keeps its objects in, and makes its keys with. Its own programs are built.
pub(crate) fn control_plane(steps: &Steps) -> Result<()> {
    go::install(steps)?;
    without_services(steps, &[("etcd-server", "/usr/bin/etcd"), ("openssl", "/usr/bin/openssl")])
}

/// Prometheus and Alertmanager, as programs and not as services of this machine.
pub(crate) fn monitoring(steps: &Steps) -> Result<()> {
    without_services(steps, &MONITORING)
}

/// Installs programs whose packages would start services of this machine.
fn without_services(steps: &Steps, packages: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = packages.iter().copied().filter(|(_, file)| !Path::new(file).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    // Where the machine has a policy, it stands; without one, theirs would be to start.
    let policy = Path::new(POLICY);
    let is_ours = !policy.exists() && forbid_services(policy).is_ok();
    let installed = debian(steps, &missing);
    if is_ours {
        std::fs::remove_file(policy)?;
    }
    installed?;
    end_services(&missing);
    Ok(())
}

fn forbid_services(policy: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(policy, "#!/bin/sh\nexit 101\n")?;
    std::fs::set_permissions(policy, std::fs::Permissions::from_mode(0o755))
}

/// Ends what was started all the same: a policy of the machine may allow it.
fn end_services(packages: &[(&str, &str)]) {
    for (name, _) in packages {
        let mut stop = Command::new("service");
        stop.args([name, "stop"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let _was_not_running = stop.status();
    }
}

fn debian(steps: &Steps, packages: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> =
        packages.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        bail!("install these Debian packages, then try again: {}", missing.join(" "));
    }
    steps.run("apt-get update", Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing);
    steps.run(&format!("apt-get install {}", missing.join(" ")), install.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Chromium and the packages of the page tests.
pub(crate) fn browser(steps: &Steps) -> Result<()> {
    debian(steps, &DEBIAN)?;
    npm(steps, "overlay/tests")
}

/// What the load tool compares this project with.
pub(crate) fn others(steps: &Steps) -> Result<()> {
    npm(steps, "stress/others")
}

/// The packages that a folder's lock file names.
fn npm(steps: &Steps, folder: &str) -> Result<()> {
    let folder = steps.root().join(folder);
    if newer(&folder.join("node_modules/.package-lock.json"), &folder.join("package-lock.json")) {
        return Ok(());
    }
    steps.run("npm ci", Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))
}

/// A virtual environment with the API fuzzer.
pub(crate) fn python(steps: &Steps) -> Result<()> {
    debian(steps, &DEBIAN)?;
    let venv = steps.venv();
    let wanted = PYTHON.join("\n");
    let stamp = venv.join("installed.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    steps.run("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/pip"));
    steps.run("pip install", pip.args(["install", "--quiet"]).args(PYTHON).stdin(Stdio::null()))?;
    Ok(std::fs::write(stamp, wanted)?)
}

fn newer(file: &Path, than: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    matches!((modified(file), modified(than)), (Some(file), Some(than)) if file >= than)
}
