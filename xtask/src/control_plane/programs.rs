//! The programs of a control plane, from their modules, kept outside this folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::go::go;
use crate::manifests::{cache, output};
use crate::steps::{Steps, say};

/// Kubernetes' version, which its programs say of themselves only if they are told when they are built.
const VERSION: &str = "v1.33.13";

/// Program, the folder of its module in `xtask/control-plane`, its package.
const PROGRAMS: [(&str, &str, &str); 6] = [
    ("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    ("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
    ("metrics", "metrics", "."),
];

/// What kwok is told of how pods and nodes come and go: in its module.
const STAGES: [&str; 5] = [
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
];

/// Where they are.
pub(super) struct Programs {
    folder: PathBuf,
    stages: Vec<PathBuf>,
}

impl Programs {
    /// Builds those that are not there. Those of the metrics are ours, and built whenever they change.
    pub(super) fn build(steps: &Steps) -> Result<Self> {
        let modules = steps.root().join("xtask/control-plane");
        let folder = cache()?.join("control-plane").join("bin");
        std::fs::create_dir_all(&folder)?;
        for (program, module, package) in PROGRAMS {
            let file = folder.join(program);
            let module = modules.join(module);
            if is_built(&folder, &file, &module)? {
                continue;
            }
            say(&format!("builds {program}"));
            let started = Instant::now();
            let of_component = "k8s.io/component-base/version";
            let flags = format!(
                "-s -w -X {of_component}.gitVersion={VERSION} -X {of_component}.gitMajor=1 -X {of_component}.gitMinor=33"
            );
            let mut build = go();
            build.env("GOFLAGS", "-mod=readonly").args(["build", "-ldflags", &flags, "-o"]).arg(&file).arg(package);
            output(build.current_dir(&module)).with_context(|| format!("cannot build {program}"))?;
            std::fs::write(stamp(&folder, &file), pinned(&module)?)?;
            say(&format!("built {program} in {:.0} s", started.elapsed().as_secs_f64()));
        }
        let said = output(
            go().env("GOFLAGS", "-mod=readonly")
                .args(["list", "-m", "-json", "sigs.k8s.io/kwok"])
                .current_dir(modules.join("kwok")),
        )?;
        let said: Value = serde_json::from_slice(&said)?;
        let kwok = PathBuf::from(said["Dir"].as_str().context("kwok's module is nowhere")?).join("kustomize/stage");
        let stages = STAGES.iter().map(|stage| kwok.join(stage)).collect();
        Ok(Self { folder, stages })
    }

    /// A program, to be started.
    pub(super) fn command(&self, program: &str) -> Command {
        Command::new(self.folder.join(program))
    }

    /// Files for kwok.
    pub(super) fn stages(&self) -> &[PathBuf] {
        &self.stages
    }
}

fn stamp(folder: &Path, file: &Path) -> PathBuf {
    folder.join(file.file_name().unwrap_or_default()).with_extension("stamp")
}

/// What a program was built of.
fn pinned(module: &Path) -> Result<String> {
    let mut text = std::fs::read_to_string(module.join("go.mod"))?;
    // A program of our own has a source.
    text.push_str(&std::fs::read_to_string(module.join("main.go")).unwrap_or_default());
    Ok(text)
}

fn is_built(folder: &Path, file: &Path, module: &Path) -> Result<bool> {
    let wanted = pinned(module)?;
    Ok(file.exists() && std::fs::read_to_string(stamp(folder, file)).is_ok_and(|built| built == wanted))
}
