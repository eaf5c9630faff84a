//! Installing what tests need, by package name, with the ordinary clients; what is there already is left alone.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

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

/// PyPI packages of the API fuzzer and of the OpenAPI validator.
const PYTHON: [&str; 2] = ["schemathesis==4.32.5", "openapi-spec-validator==0.9.0"];

/// Everything.
pub(crate) fn all(steps: &Steps) -> Result<()> {
    browser(steps)?;
    python(steps)
}

/// What the cluster for development and tests runs on.
pub(crate) fn cluster(steps: &Steps) -> Result<()> {
    debian(steps, &JAVA)?;
    crate::cluster::jars(steps)
}

/// What programs of the tests are built with. Debian's is too old for some of them, so it is only looked for.
pub(crate) fn go() -> Result<()> {
    match Command::new("go").arg("version").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => bail!("install Go 1.24 or newer, then try again: https://go.dev/dl/"),
    }
}

/// What several pods run with on one machine.
pub(crate) fn pods(steps: &Steps) -> Result<()> {
    cluster(steps)?;
    debian(steps, &PODS)
}

fn debian(steps: &Steps, packages: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> =
        packages.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root {
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
    let tests = steps.root().join("overlay/tests");
    let installed = tests.join("node_modules/.package-lock.json");
    let lock = tests.join("package-lock.json");
    let is_current = newer(&installed, &lock);
    if is_current {
        return Ok(());
    }
    steps.run("npm ci", Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(tests))
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
