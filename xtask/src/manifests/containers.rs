//! The Dockerfile, the Compose files, and what these mount: read as Docker reads them, held against the program.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::facts::Facts;
use super::tools::{cache, output};
use super::{Python, is_there, list, pods, text};
use crate::go::go;
use crate::steps::Steps;

/// All of it, as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Containers {
    /// compose.yaml with everything filled in.
    pub(super) compose: Value,
    /// The same with compose.scylla.yaml over it.
    pub(super) scylla: Value,
    /// The stages of the Dockerfile.
    pub(super) stages: Value,
    /// compose/prometheus.yml.
    pub(super) prometheus: Value,
    /// k8s/haproxy/haproxy.cfg.
    pub(super) balancer: String,
}

impl Containers {
    /// Reads everything; what Docker would refuse is an error.
    pub(super) fn read(steps: &Steps, python: &Python) -> Result<Self> {
        let root = steps.root();
        // Go builds what has changed only.
        let reader = cache()?.join("containers");
        let mut build = go();
        build.args(["build", "-mod=readonly", "-gcflags=all=-N -l", "-o"]).arg(&reader).arg(".");
        output(build.current_dir(root.join("xtask/manifests/containers"))).context("the reader of Compose files")?;
        let read = |arguments: &[&str]| -> Result<Value> {
            Ok(serde_json::from_slice(&output(Command::new(&reader).args(arguments).current_dir(root))?)?)
        };
        let prometheus = python.load(&root.join("compose/prometheus.yml"))?;
        start_script(steps)?;
        balancer(steps)?;
        for (program, arguments) in [
            ("promtool", ["check", "config", "--syntax-only", "compose/prometheus.yml"].as_slice()),
            ("amtool", &["check-config", "compose/alertmanager.yml"]),
        ] {
            output(Command::new(program).args(arguments).current_dir(root))?;
        }
        Ok(Self {
            compose: read(&["compose", "compose.yaml"])?,
            scylla: read(&["compose", "compose.yaml", "compose.scylla.yaml"])?,
            stages: read(&["dockerfile", "Dockerfile"])?,
            prometheus: prometheus.into_iter().next().context("compose/prometheus.yml is empty")?,
            balancer: std::fs::read_to_string(root.join("k8s/haproxy/haproxy.cfg"))?,
        })
    }

    /// What is wrong.
    pub(super) fn check(&self, facts: &Facts) -> Result<Vec<String>> {
        let mut found = self.dockerfile(facts)?;
        found.extend(self.services(facts)?);
        found.extend(self.balanced(facts));
        found.extend(self.scraped(facts));
        found.extend(self.nodes());
        Ok(found)
    }

    fn dockerfile(&self, facts: &Facts) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for stage in list(&self.stages, "") {
            let base = text(stage, "/Base");
            if base.split_once(':').is_none_or(|(_, tag)| tag == "latest") {
                found.push(format!("base image {base} names no version"));
            }
        }
        let Some(last) = list(&self.stages, "").last() else { return Ok(vec!["no stage".to_owned()]) };
        let commands: Vec<&str> = list(last, "/Commands").iter().filter_map(Value::as_str).collect();
        let argument = |word: &str| commands.iter().find_map(|line| line.strip_prefix(word)).unwrap_or_default().trim();
        let environment: BTreeMap<String, String> = argument("ENV ")
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        found.extend(pods::environment(&environment, facts)?);
        match pods::port_of(&environment, pods::LISTEN) {
            Err(why) => found.push(why),
            Ok(port) if argument("EXPOSE ") != port.to_string() => {
                found.push(format!("exposes {} and listens on {port}", argument("EXPOSE ")));
            }
            Ok(_) => {}
        }
        let user = argument("USER ").split(':').next().unwrap_or_default();
        if !user.parse::<u32>().is_ok_and(|user| user > 0) {
            found.push(format!("runs as `{user}`, which Kubernetes cannot see not to be root"));
        }
        let words = |line: &str| -> Vec<String> { serde_json::from_str(line).unwrap_or_default() };
        let health = argument("HEALTHCHECK ");
        let asked = words(health.split_once("CMD ").map_or("", |(_, words)| words));
        let begun = [words(argument("ENTRYPOINT ")), words(argument("CMD "))].concat();
        for command in [asked, begun] {
            match command.split_first() {
                Some((program, arguments)) if program == "bareme" => {
                    found.extend(
                        facts.refuses(arguments)?.map(|why| format!("`bareme {}`: {why}", arguments.join(" "))),
                    );
                }
                _ => found.push(format!("runs {command:?}, which is not the program")),
            }
        }
        let wanted = rust_version(facts)?;
        let compiler =
            list(&self.stages, "").iter().map(|stage| text(stage, "/Base")).find(|base| base.starts_with("rust:"));
        if compiler.is_none_or(|base| !base.starts_with(&format!("rust:{wanted}"))) {
            found.push(format!("builds with {}, and Cargo.toml says {wanted}", compiler.unwrap_or("nothing")));
        }
        Ok(found.into_iter().map(|complaint| format!("Dockerfile: {complaint}")).collect())
    }

    fn environment(service: &Value) -> BTreeMap<String, String> {
        let variables = service["environment"].as_object().into_iter().flatten();
        variables.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    }

    fn services(&self, facts: &Facts) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let services = self.compose["services"].as_object().context("compose.yaml has no services")?;
        for (name, service) in services {
            let mut of_service: Vec<String> = pods::image(text(service, "/image"), facts).into_iter().collect();
            for mount in list(service, "/volumes").iter().filter(|mount| text(mount, "/type") == "bind") {
                if !is_there(&facts.root, text(mount, "/source")) {
                    of_service.push(format!("mounts {}, which is not there", text(mount, "/source")));
                }
            }
            if pods::is_ours(text(service, "/image")) {
                of_service.extend(self.ours(service, facts)?);
            }
            found.extend(of_service.into_iter().map(|complaint| format!("compose.yaml: {name}: {complaint}")));
        }
        Ok(found)
    }

    fn ours(&self, service: &Value, facts: &Facts) -> Result<Vec<String>> {
        let variables = Self::environment(service);
        let mut found = pods::environment(&variables, facts)?;
        let arguments: Vec<String> =
            list(service, "/command").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        found.extend(facts.refuses(&arguments)?.map(|why| format!("`bareme {}`: {why}", arguments.join(" "))));
        if service["read_only"] != true || service["cap_drop"][0] != "ALL" {
            found.push("may do more than it needs: read_only, cap_drop".to_owned());
        }
        // A new volume belongs to root, unless the image has its folder and gives it to somebody.
        let copies = list(&self.stages, "").last().map(|stage| list(stage, "/Commands")).unwrap_or_default();
        let given = |target: &str| {
            let mut lines = copies.iter().filter_map(Value::as_str).filter(|line| line.contains("--chown="));
            lines.any(|line| line.ends_with(&format!(" {target}")))
        };
        for mount in list(service, "/volumes").iter().filter(|mount| text(mount, "/type") == "volume") {
            if !given(text(mount, "/target")) {
                found.push(format!("cannot write to {}: the image gives it to nobody", text(mount, "/target")));
            }
        }
        let grace = text(service, "/stop_grace_period");
        if grace.trim_end_matches('s').parse::<u64>().is_ok_and(|given| given < facts.drain_s) {
            found.push(format!("has {grace} to end, and takes up to {} s", facts.drain_s));
        }
        let store = variables.get("BAREME_STORE").map_or("", String::as_str);
        let centre = store.split(['?', '&']).find_map(|part| part.strip_prefix("dc=")).unwrap_or_default();
        for host in store.trim_start_matches("cql://").split('/').next().unwrap_or_default().split(',') {
            let node = &self.compose["services"][host];
            if node.is_null() {
                found.push(format!("BAREME_STORE leads to {host}, which is no service"));
            } else if text(node, "/environment/CASSANDRA_DC") != centre {
                found.push(format!("BAREME_STORE says dc={centre}, and {host} is in another one"));
            }
        }
        Ok(found)
    }

    /// Whether a server of ours listens at host:port, by this setting.
    fn is_server(&self, address: &str, setting: (&str, &str)) -> bool {
        let Some((host, port)) = address.rsplit_once(':') else { return false };
        let service = &self.compose["services"][host];
        pods::is_ours(text(service, "/image"))
            && pods::port_of(&Self::environment(service), setting).is_ok_and(|listens| listens.to_string() == port)
    }

    fn balanced(&self, facts: &Facts) -> Vec<String> {
        let mut found = Vec::new();
        let balancer = &self.compose["services"]["balancer"];
        let given = Self::environment(balancer);
        for name in self.balancer.split("${").skip(1).filter_map(|rest| rest.split('}').next()) {
            if !given.contains_key(name) {
                found.push(format!("compose.yaml: balancer: haproxy.cfg wants {name}"));
            }
        }
        for (start, setting) in [("POD_", pods::LISTEN), ("OPS_", pods::OPS_LISTEN)] {
            for (name, address) in given.iter().filter(|(name, _)| name.starts_with(start)) {
                if !self.is_server(address, setting) {
                    found.push(format!("compose.yaml: balancer: {name} is {address}, where no server listens"));
                }
                let [pod, ops] = ["POD_", "OPS_"].map(|of| given.get(&name.replace(start, of)).map(|at| host_of(at)));
                if pod != ops {
                    found.push(format!("compose.yaml: balancer: {name} is of another server than its pair"));
                }
            }
        }
        for number in 1..=3 {
            let line = format!("server pod-{number} \"${{POD_{number}}}\" ");
            let asked = self.balancer.lines().filter(|each| each.contains(&line) && !each.contains(" track "));
            if asked.into_iter().all(|each| !each.contains(&format!(" addr \"${{OPS_{number}}}\""))) {
                found.push(format!("haproxy.cfg: pod-{number} is not asked where operators are answered"));
            }
        }
        let listens = given.get("LISTEN").map_or("", String::as_str).rsplit(':').next().unwrap_or_default();
        if list(balancer, "/ports").iter().all(|port| port["target"].as_u64() != listens.parse().ok()) {
            found.push(format!("compose.yaml: balancer: listens on {listens}, and publishes another port"));
        }
        // In the configuration: what is asked of a pod.
        let paths = self.balancer.split_whitespace().filter(|word| word.starts_with('/'));
        // What ends with a slash is the beginning of a path.
        for path in paths.filter(|path| !path.ends_with('/') && !facts.answers(path)) {
            found.push(format!("haproxy.cfg: {path} is nothing the program answers"));
        }
        if !self.balancer.contains("uri /readyz") {
            found.push("haproxy.cfg: pods are not asked for /readyz".to_owned());
        }
        found
    }

    fn scraped(&self, facts: &Facts) -> Vec<String> {
        let mut found = Vec::new();
        let jobs = list(&self.prometheus, "/scrape_configs");
        let Some(job) = jobs.iter().find(|job| text(job, "/job_name") == "bareme") else {
            return vec!["prometheus.yml: no job is called bareme, as alarms and dashboards expect".to_owned()];
        };
        let path = job.get("metrics_path").and_then(Value::as_str).unwrap_or("/metrics");
        if path != "/metrics" || !facts.answers(path) {
            found.push(format!("prometheus.yml: scrapes {path}, where the program has no metrics"));
        }
        let targets: Vec<&str> = list(job, "/static_configs/0/targets").iter().filter_map(Value::as_str).collect();
        found.extend(
            targets
                .iter()
                .filter(|target| !self.is_server(target, pods::OPS_LISTEN))
                .map(|target| format!("prometheus.yml: no server listens for operators at {target}")),
        );
        let mounts = list(&self.compose, "/services/prometheus/volumes");
        for file in list(&self.prometheus, "/rule_files") {
            if !mounts.iter().any(|mount| mount["target"] == *file) {
                found.push(format!("prometheus.yml: {file} is not mounted"));
            }
        }
        found
    }

    /// Nodes flush what they acknowledge.
    fn nodes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for name in ["db-1", "db-2", "db-3"] {
            if self.compose["services"][name]["entrypoint"] != serde_json::json!(["bash", "/start/start.sh"]) {
                found.push(format!("compose.yaml: {name}: does not set its commit log by start.sh"));
            }
            let service = &self.scylla["services"][name];
            let words: Vec<&str> = list(service, "/command").iter().filter_map(Value::as_str).collect();
            let flushes = words.windows(2).any(|pair| pair == ["--commitlog-sync", "batch"]);
            if !flushes || !service["entrypoint"].is_null() {
                found.push(format!("compose.scylla.yaml: {name}: does not flush before it acknowledges"));
            }
        }
        found
    }
}

/// The host of host:port.
fn host_of(address: &str) -> &str {
    address.split(':').next().unwrap_or_default()
}

fn rust_version(facts: &Facts) -> Result<String> {
    let text = std::fs::read_to_string(facts.root.join("Cargo.toml"))?;
    let after = text.split_once("rust-version = \"").context("Cargo.toml has no rust-version")?.1;
    Ok(after.split('"').next().unwrap_or_default().to_owned())
}

/// The script that starts a node does what it says to a file like the image's, and refuses one that it cannot set.
fn start_script(steps: &Steps) -> Result<()> {
    let folder = steps.target().join("manifests/start");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("cassandra.yaml");
    let script = steps.root().join("k8s/database/cassandra/start.sh");
    let run = |host: &str| {
        let mut bash = Command::new("bash");
        // `env` in place of the entry point: it shows with what the node would be started.
        bash.arg(&script).env("CASSANDRA_CONF", &folder).env("CASSANDRA_ENTRYPOINT", folder.join("entrypoint"));
        output(bash.env("HOSTNAME", host))
    };
    std::fs::write(folder.join("entrypoint"), "#!/bin/sh\necho \"$CASSANDRA_RACK $*\"\n")?;
    output(Command::new("chmod").arg("+x").arg(folder.join("entrypoint")))?;
    std::fs::write(
        &file,
        "cluster_name: x\ncommitlog_sync: periodic\ncommitlog_sync_period: 10000ms\n# batch_size_warn_threshold: 5KiB\n",
    )?;
    // Twice: a container that is started again finds its own file.
    for _ in 0..2 {
        let said = String::from_utf8(run("cassandra-2")?)?;
        let text = std::fs::read_to_string(&file)?;
        let set = |line: &str| text.lines().any(|each| each == line);
        let is_set = set("commitlog_sync: group")
            && set("commitlog_sync_group_window: 10ms")
            && set("batch_size_warn_threshold: 32KiB");
        if said != "rack3 cassandra -f\n" || !is_set || set("commitlog_sync_period: 10000ms") {
            bail!("start.sh started `{}` with:\n{text}", said.trim());
        }
    }
    std::fs::write(&file, "cluster_name: x\n")?;
    if run("db").is_ok() {
        bail!("start.sh starts a node whose commit log it could not set");
    }
    guarded(&folder, &script)
}

/// With certificates, a node asks for passwords and speaks TLS alone, whatever the image's file says.
fn guarded(folder: &Path, script: &Path) -> Result<()> {
    let (file, tls) = (folder.join("cassandra.yaml"), folder.join("tls"));
    std::fs::create_dir_all(&tls)?;
    std::fs::write(tls.join("password"), "0123abcd")?;
    std::fs::write(
        &file,
        "commitlog_sync: periodic\nauthenticator:\n  class_name: AllowAllAuthenticator\n#  parameters:\nauthorizer:\n  \
         class_name: AllowAllAuthorizer\nclient_encryption_options:\n  enabled: false\n#  x\n  optional: true\n\
         partitioner: Murmur3\nserver_encryption_options:\n  internode_encryption: none\n",
    )?;
    for _ in 0..2 {
        let mut bash = Command::new("bash");
        bash.arg(script).env("CASSANDRA_CONF", folder).env("CASSANDRA_ENTRYPOINT", "true");
        output(bash.env("CASSANDRA_TLS", &tls).env("HOSTNAME", "cassandra-0"))?;
        let text = std::fs::read_to_string(&file)?;
        let count = |line: &str| text.lines().filter(|each| each.trim() == line).count();
        let once = [
            "class_name: PasswordAuthenticator",
            "class_name: CassandraAuthorizer",
            "internode_encryption: all",
            "require_client_auth: true",
            "enabled: true",
            "partitioner: Murmur3",
        ];
        let wrong = ["AllowAll", "optional: true", "enabled: false", "internode_encryption: none"];
        if once.iter().any(|line| count(line) != 1) || wrong.iter().any(|word| text.contains(word)) {
            bail!("start.sh leaves a node open:\n{text}");
        }
    }
    Ok(())
}

/// HAProxy itself reads its configuration.
fn balancer(steps: &Steps) -> Result<()> {
    let mut haproxy = Command::new("/usr/sbin/haproxy");
    haproxy.args(["-c", "-q", "-f"]).arg(steps.root().join("k8s/haproxy/haproxy.cfg"));
    haproxy.env("LISTEN", "127.0.0.1:8080").env("STATS", steps.target().join("haproxy.sock")).env("MAXCONN", "100");
    for number in 1..=3 {
        haproxy.env(format!("POD_{number}"), format!("127.0.0.1:808{number}"));
        haproxy.env(format!("OPS_{number}"), format!("127.0.0.1:908{number}"));
    }
    output(haproxy.env("BALANCE", "leastconn").env("STICKY", "1")).map(drop)
}
