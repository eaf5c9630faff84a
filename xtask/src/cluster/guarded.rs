//! Nodes as `k8s/database/cassandra` starts them, without containers: passwords, permissions, TLS, one joining after the
//! other, and the Job that makes the roles.
//!
//! Scripts, variables, volumes and the servers' addresses are read from the manifests as kustomize renders them; a volume is
//! a folder below `target/guarded`, a name of a node its address. `xtask/cassandra/entrypoint.sh` plays the image's own
//! entry point, `kubectl.sh` plays kubectl for `secrets.sh`.
//!
//! **Invariant**: nothing that the manifests say is said here a second time, so that what is tested is what they say.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::node::NODES;
use crate::manifests::{self, Python, list, output, text};
use crate::steps::Steps;

/// The overlay whose servers use these nodes.
const SERVERS: &str = "overlays/minikube";
const NODES_OF: &str = "database/cassandra";

/// Programs of the scripts, each with [`RECORDER`] before it: their command lines go to the file `commands`.
const RECORDED: [&str; 13] =
    ["awk", "cat", "cp", "cqlsh", "grep", "keytool", "kubectl", "mktemp", "od", "openssl", "rm", "sed", "tr"];
const RECORDER: &str = "record.sh";

/// What the manifests say.
struct Manifests {
    nodes: Vec<Value>,
    servers: Vec<Value>,
}

/// What guards the nodes.
pub(super) struct Guard {
    folder: PathBuf,
    root: PathBuf,
    target: PathBuf,
    venv: PathBuf,
    python: Python,
    manifests: OnceCell<Manifests>,
}

/// Where volumes of a pod are: the path in its containers, and the folder here.
type Mounts = Vec<(String, PathBuf)>;

/// A text with paths below mounts in it, alone or behind a `=`, as it reads here.
fn placed(text: &str, mounts: &Mounts) -> String {
    let mut placed = text.to_owned();
    for (path, folder) in mounts {
        let folder = folder.display();
        if let Some(rest) = placed.strip_prefix(path.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            placed = format!("{folder}{rest}");
        }
        placed = placed.replace(&format!("={path}/"), &format!("={folder}/"));
    }
    placed
}

fn find<'a>(documents: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let is_it = |each: &&Value| text(each, "/kind") == kind && text(each, "/metadata/name") == name;
    documents.iter().find(is_it).with_context(|| format!("the manifests have no {kind}/{name}"))
}

impl Guard {
    pub(super) fn new(steps: &Steps, folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            root: steps.root().to_owned(),
            target: steps.target(),
            venv: steps.venv(),
            python: Python::new(steps),
            manifests: OnceCell::new(),
        }
    }

    /// Address of a node, from 1.
    pub(super) fn ip(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 0, 10 + number)
    }

    fn manifests(&self) -> Result<&Manifests> {
        if let Some(read) = self.manifests.get() {
            return Ok(read);
        }
        let kubectl = manifests::kubectl()?;
        let read = |name: &str| {
            let text = kubectl.kustomize(&self.root.join("k8s").join(name))?;
            self.python.read(&self.target, name, &text)
        };
        let read = Manifests { nodes: read(NODES_OF)?, servers: read(SERVERS)? };
        Ok(self.manifests.get_or_init(|| read))
    }

    /// Names of nodes, and the addresses that they have here.
    fn names(&self) -> Result<Vec<(String, String)>> {
        let nodes = find(&self.manifests()?.nodes, "StatefulSet", "cassandra")?;
        let (name, service) = (text(nodes, "/metadata/name"), text(nodes, "/spec/serviceName"));
        if nodes["spec"]["replicas"] != NODES || text(nodes, "/spec/podManagementPolicy") != "OrderedReady" {
            bail!("StatefulSet/{name} is not of {NODES} nodes that start one after the other");
        }
        let one = |number| (format!("{name}-{}.{service}", number - 1), Self::ip(number).to_string());
        let mut names: Vec<_> = (1..=NODES).map(one).collect();
        let all: Vec<_> = names.iter().map(|(_, ip)| ip.as_str()).collect();
        names.push((format!("{service}.{}", text(nodes, "/metadata/namespace")), all.join(",")));
        Ok(names)
    }

    /// The volumes of a container: secrets where `secrets.sh` put them, all else in a folder of the pod.
    fn mounts(
        &self,
        documents: &[Value],
        namespace: &str,
        pod: &Value,
        container: &Value,
        own: &Path,
    ) -> Result<Mounts> {
        let mut mounts = Vec::new();
        for mount in list(container, "/volumeMounts") {
            let name = text(mount, "/name");
            let volume = list(pod, "/volumes").iter().find(|volume| text(volume, "/name") == name);
            let secret = volume.map_or("", |volume| text(volume, "/secret/secretName"));
            let map = volume.map_or("", |volume| text(volume, "/configMap/name"));
            let folder = if secret.is_empty() {
                own.join(name)
            } else {
                self.folder.join("secrets").join(namespace).join(secret)
            };
            if secret.is_empty() {
                std::fs::create_dir_all(&folder)?;
            } else if !folder.exists() {
                bail!("secrets.sh made no secret {secret} in {namespace}");
            }
            if !map.is_empty() {
                let data = find(documents, "ConfigMap", map)?["data"].as_object().context("an empty ConfigMap")?;
                for (file, content) in data {
                    std::fs::write(folder.join(file), content.as_str().unwrap_or_default())?;
                }
            }
            mounts.push((text(mount, "/mountPath").to_owned(), folder));
        }
        Ok(mounts)
    }

    /// A container's command with its variables, and nothing else of this process's.
    fn command(&self, document: &Value, container: &str, own: &Path, ip: &str) -> Result<Command> {
        let pod = &document["spec"]["template"]["spec"];
        let kind = format!("{}/{container}", text(document, "/metadata/name"));
        let container = list(pod, container).first().with_context(|| format!("{kind} is not there"))?;
        let namespace = text(document, "/metadata/namespace");
        let mounts = self.mounts(&self.manifests()?.nodes, namespace, pod, container, own)?;
        let words: Vec<_> = list(container, "/command").iter().filter_map(Value::as_str).collect();
        let (program, arguments) = words.split_first().with_context(|| format!("{kind} has no command"))?;
        let mut command = Command::new(program);
        command.args(arguments.iter().map(|word| placed(word, &mounts)));
        command.env_clear().env("PATH", self.path()?);
        let names = self.names()?;
        for variable in list(container, "/env") {
            let of_field = if text(variable, "/valueFrom/fieldRef/fieldPath") == "status.podIP" { ip } else { "" };
            let value = variable.get("value").and_then(Value::as_str).unwrap_or(of_field);
            let value = names.iter().fold(placed(value, &mounts), |value, (name, ip)| value.replace(name, ip));
            command.env(text(variable, "/name"), value);
        }
        Ok(command)
    }

    /// Recorders first, which are gone from what they start.
    fn path(&self) -> Result<OsString> {
        let own = std::env::var_os("PATH").context("PATH is not set")?;
        let folders = [self.folder.join("recorded"), self.folder.join("played"), self.venv.join("bin")];
        Ok(std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&own)))?)
    }

    /// The secrets, by the script that makes them; once.
    pub(super) fn secrets(&self) -> Result<()> {
        let (secrets, scripts) = (self.folder.join("secrets"), self.root.join("xtask/cassandra"));
        if secrets.exists() {
            return Ok(());
        }
        for folder in ["recorded", "played"] {
            let _was_not_there = std::fs::remove_dir_all(self.folder.join(folder));
            std::fs::create_dir_all(self.folder.join(folder))?;
        }
        for program in RECORDED {
            symlink(scripts.join(RECORDER), self.folder.join("recorded").join(program))?;
        }
        symlink(scripts.join("kubectl.sh"), self.folder.join("played/kubectl"))?;
        let mut make = Command::new("bash");
        make.arg(self.root.join("k8s").join(NODES_OF).join("secrets.sh"));
        make.env_clear().env("PATH", self.path()?).env("SECRETS", &secrets);
        output(&mut make).map(drop)
    }

    /// Makes the certificate of a node whose files are in `own`, and returns what starts it.
    pub(super) fn node(&self, number: u8, own: &Path) -> Result<Command> {
        let nodes = find(&self.manifests()?.nodes, "StatefulSet", "cassandra")?;
        let host = format!("{}-{}", text(nodes, "/metadata/name"), number - 1);
        let ip = Self::ip(number).to_string();
        let mut certificate = self.command(nodes, "/initContainers", own, &ip)?;
        output(certificate.env("HOSTNAME", &host))?;
        let mut start = self.command(nodes, "/containers", own, &ip)?;
        start.env("HOSTNAME", host).env("CASSANDRA_CONF", own);
        start.env("CASSANDRA_ENTRYPOINT", self.root.join("xtask/cassandra/entrypoint.sh"));
        Ok(start)
    }

    /// Runs the Job that makes the roles, once.
    pub(super) fn roles(&self) -> Result<()> {
        let job = find(&self.manifests()?.nodes, "Job", "cassandra-roles")?;
        let mut roles = self.command(job, "/containers", &self.folder.join("roles"), "")?;
        output(&mut roles).map(drop)
    }

    /// Addresses of the store as servers and their migration have them, with files and nodes of here.
    pub(super) fn urls(&self) -> Result<[String; 2]> {
        let documents = &self.manifests()?.servers;
        let url = |kind: &str, name: &str| -> Result<String> {
            let owner = find(documents, kind, name)?;
            let pod = &owner["spec"]["template"]["spec"];
            let container = &pod["containers"][0];
            let own = list(container, "/env").iter().find(|each| text(each, "/name") == "BAREME_STORE");
            let url = match own {
                Some(variable) => text(variable, "/value"),
                None => {
                    let map = find(documents, "ConfigMap", text(container, "/envFrom/0/configMapRef/name"))?;
                    text(map, "/data/BAREME_STORE")
                }
            };
            let namespace = text(owner, "/metadata/namespace");
            let folder = self.folder.join(name);
            let url = placed(url, &self.mounts(documents, namespace, pod, container, &folder)?);
            Ok(self.names()?.iter().fold(url, |url, (name, ip)| url.replace(name, ip)))
        };
        Ok([url("Deployment", "bareme")?, url("Job", "bareme-migrate")?])
    }

    /// Deletes secrets and what was recorded.
    pub(super) fn forget(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_volumes_are_those_of_here_and_others_stay() {
        let mounts = vec![("/tls".to_owned(), PathBuf::from("/t/tls")), ("/run/db".to_owned(), PathBuf::from("/s"))];
        let of = |text| placed(text, &mounts);
        assert_eq!(
            (of("/tls"), of("/tls/ca.pem"), of("/tlsx")),
            ("/t/tls".into(), "/t/tls/ca.pem".into(), "/tlsx".into())
        );
        assert_eq!(
            of("cql://a/k?dc=x&password_file=/run/db/pw&tls=/run/db/ca"),
            "cql://a/k?dc=x&password_file=/s/pw&tls=/s/ca"
        );
    }
}
