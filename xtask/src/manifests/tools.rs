//! Programs that are not ours: kubectl or kustomize, Python with the schemas, Go modules with definitions of resources.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::go::go;
use crate::steps::Steps;

/// Built when there is no kubectl that brings one of its major version.
const KUSTOMIZE: &str = "sigs.k8s.io/kustomize/kustomize/v5@v5.5.0";

/// Definitions of resources that Kubernetes does not have by itself: a Go module, its sum, and what of it is taken.
const DEFINITIONS: [(&str, &str, &[&str]); 3] = [
    (
        "github.com/kedacore/keda/v2@v2.21.0",
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        &["config/crd/bases/keda.sh_scaledobjects.yaml"],
    ),
    (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        &[
            "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        ],
    ),
    (
        "sigs.k8s.io/gateway-api@v1.6.1",
        "h1:mock6phZbI6rvZerwrVNk7hVNymQgHo+6sJ81Ia7ftY=",
        // The experimental channel: it alone has the affinity.
        &[
            "config/crd/experimental/gateway.networking.k8s.io_gateways.yaml",
            "config/crd/experimental/gateway.networking.k8s.io_httproutes.yaml",
        ],
    ),
];

/// What a program printed; what it complained of is the error.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        let printed = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        bail!("{name}: {}", if said.is_empty() { printed } else { said });
    }
    Ok(done.stdout)
}

/// Where programs that took long to build are kept, whatever happens to this folder.
pub(crate) fn cache() -> Result<PathBuf> {
    let folder = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("neither HOME nor XDG_CACHE_HOME is set")?
        .join("bareme");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Who builds what is below `k8s/`.
pub(crate) struct Kubectl {
    program: PathBuf,
    is_kubectl: bool,
}

/// A kubectl with a kustomize of version 5, else one that is built.
pub(crate) fn kubectl() -> Result<Kubectl> {
    let version = output(Command::new("kubectl").args(["version", "--client"])).unwrap_or_default();
    if String::from_utf8_lossy(&version).contains("Kustomize Version: v5.") {
        return Ok(Kubectl { program: "kubectl".into(), is_kubectl: true });
    }
    let folder = cache()?.join("kustomize-5.5.0");
    let program = folder.join("kustomize");
    if !program.exists() {
        let why = "there is no kubectl with kustomize 5, and kustomize cannot be built";
        output(go().args(["install", KUSTOMIZE]).env("GOBIN", &folder)).context(why)?;
    }
    Ok(Kubectl { program, is_kubectl: false })
}

impl Kubectl {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        if self.is_kubectl { "kubectl kustomize" } else { "kustomize build" }
    }

    /// What a folder makes, as YAML.
    pub(crate) fn kustomize(&self, folder: &Path) -> Result<Vec<u8>> {
        let word = if self.is_kubectl { "kustomize" } else { "build" };
        output(Command::new(&self.program).arg(word).arg(folder))
    }
}

/// The folders of `k8s/` that are applied, or are the base of such.
pub(crate) fn folders(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for parent in ["database", "overlays"] {
        for entry in std::fs::read_dir(root.join(parent))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // A namespace alone is part of the others.
            if name != "namespace" {
                found.push(format!("{parent}/{name}"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Files with the definitions of all resources that are not Kubernetes' own.
pub(crate) fn crds(steps: &Steps) -> Result<Vec<PathBuf>> {
    let mut files = vec![steps.root().join("xtask/manifests/scyllacluster.yaml")];
    for (module, sum, paths) in DEFINITIONS {
        // Outside any module, or Go would look for it in ours.
        let said = output(go().args(["mod", "download", "-json", module]).current_dir(std::env::temp_dir()))
            .context("definitions of resources come in Go modules")?;
        let said: Value = serde_json::from_slice(&said)?;
        if said["Sum"] != sum {
            bail!("{module} is not what it was: {}", said["Sum"]);
        }
        let folder = PathBuf::from(said["Dir"].as_str().context("go mod download names no folder")?);
        files.extend(paths.iter().map(|path| folder.join(path)));
    }
    Ok(files)
}

/// Reads YAML and knows schemas.
pub(crate) struct Python {
    program: PathBuf,
    script: PathBuf,
}

impl Python {
    /// That of the virtual environment.
    pub(crate) fn new(steps: &Steps) -> Self {
        let script = steps.root().join("xtask/manifests/manifests.py");
        Self { program: steps.venv().join("bin/python"), script }
    }

    /// The documents of a file.
    pub(crate) fn load(&self, file: &Path) -> Result<Vec<Value>> {
        let text = output(Command::new(&self.program).arg(&self.script).arg("load").arg(file))?;
        let mut files: Value = serde_json::from_slice(&text)?;
        let documents = files.get_mut(&*file.to_string_lossy()).map(Value::take);
        serde_json::from_value(documents.context("no documents")?).context("no list of documents")
    }

    /// The documents of a text, which is kept in `target/manifests` for people to look at.
    pub(crate) fn read(&self, target: &Path, name: &str, text: &[u8]) -> Result<Vec<Value>> {
        let folder = target.join("manifests");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}.yaml", name.replace('/', "-")));
        std::fs::write(&file, text)?;
        self.load(&file)
    }

    /// What schemas say of each set of documents.
    pub(crate) fn schemas(&self, crds: &[PathBuf], sets: &[&[Value]]) -> Result<Vec<Vec<String>>> {
        let mut python = Command::new(&self.program);
        python.arg(&self.script).arg("schemas").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().context("cannot run Python")?;
        let request = serde_json::to_vec(&json!({"crds": crds, "sets": sets}))?;
        child.stdin.take().context("no way in")?.write_all(&request)?;
        let done = child.wait_with_output()?;
        if !done.status.success() {
            bail!("manifests.py ended with {}", done.status);
        }
        Ok(serde_json::from_slice(&done.stdout)?)
    }
}
