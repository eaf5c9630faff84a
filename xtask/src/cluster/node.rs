//! One node: its folder, its configuration, its process.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::guarded::Guard;

/// Nodes of the cluster, each in a rack of its own.
pub(super) const NODES: u8 = 3;

const CQL_PORT: u16 = 9042;
const GOSSIP_PORT: u16 = 7000;
/// The port that differs: it is of the whole machine, not of an address.
const FIRST_JMX_PORT: u16 = 7199;
/// A killed process is gone after this long.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// A process has become another program after this long.
const BECOMES_WITHIN: Duration = Duration::from_secs(5);
/// Lines of its log that tell why a node did not start.
const LAST_LINES: usize = 15;

const KEY_STORE: &str = "keys.p12";
const KEY_STORE_PASSWORD: &str = "bareme-tests";
/// What clients trust.
pub(super) const CERTIFICATE: &str = "certificate.pem";

const YAML: &str = include_str!("../../cassandra/cassandra.yaml");
const JVM: &str = include_str!("../../cassandra/jvm.options");
const LOGBACK: &str = include_str!("../../cassandra/logback.xml");

/// The tools' own log: errors only.
const LOGBACK_TOOLS: &str = "logback-tools.xml";
const QUIET: &str = "<configuration><root level=\"OFF\"/></configuration>\n";

/// The columns of `sstablepartitions --csv` that are wanted, by their names in its first line.
fn partitions(csv: &str) -> Result<Vec<(String, String, u64, u64)>> {
    let mut lines = csv.lines().skip_while(|line| !line.starts_with("key,"));
    let names: Vec<_> = lines.next().context("sstablepartitions said nothing")?.split(',').collect();
    let mut found = Vec::new();
    for line in lines {
        // The first column is quoted and may hold commas; none of the others does.
        let (_, rest) = line.split_once("\",").with_context(|| format!("not a line of a table: {line}"))?;
        let fields: Vec<_> = std::iter::once("").chain(rest.split(',')).collect();
        let field = |name: &str| {
            let at = names.iter().position(|known| *known == name);
            at.and_then(|at| fields.get(at)).copied().with_context(|| format!("no {name} in: {line}"))
        };
        found.push((
            field("table")?.to_owned(),
            field("keyBinary")?.to_owned(),
            field("size")?.parse()?,
            field("rowCount")?.parse()?,
        ));
    }
    Ok(found)
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Stopped,
    Absent,
}

/// What a process is doing.
fn state(pid: u32) -> State {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program, in parentheses, may hold anything.
    match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
        Some('T' | 't') => State::Stopped,
        Some('Z' | 'X') | None => State::Absent,
        Some(_) => State::Running,
    }
}

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Kill,
    Stop,
    Continue,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "-KILL",
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
        }
    }

    pub(super) const fn done(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::Stop => "stopped",
            Self::Continue => "goes on",
        }
    }
}

/// How a node is started.
enum Kind {
    /// For everybody on this machine; TLS for those who want it, with these keys.
    Open { keys: PathBuf },
    /// As `k8s/database/cassandra` says.
    Guarded(Rc<Guard>),
}

/// One node.
pub(super) struct Node {
    number: u8,
    ip: Ipv4Addr,
    jars: PathBuf,
    folder: PathBuf,
    kind: Kind,
}

/// The nodes' key, in a file that Java reads, and its certificate for clients. It protects nothing: it is there to be
/// used.
pub(super) fn make_keys(cluster: &Path) -> Result<()> {
    let (keys, certificate) = (cluster.join(KEY_STORE), cluster.join(CERTIFICATE));
    if certificate.exists() {
        return Ok(());
    }
    let _cut_short = std::fs::remove_file(&keys);
    std::fs::create_dir_all(cluster)?;
    let addresses = (1..=NODES).map(|number| format!("ip:127.0.0.{number}")).collect::<Vec<_>>().join(",");
    let keytool = |arguments: &[&str]| -> Result<()> {
        let mut keytool = Command::new("keytool");
        keytool.args(arguments).args(["-alias", "node", "-storepass", KEY_STORE_PASSWORD, "-keystore"]).arg(&keys);
        let done = keytool.stdin(Stdio::null()).output().context("cannot run keytool")?;
        if !done.status.success() {
            bail!("keytool: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
    };
    let names = format!("SAN={addresses}");
    keytool(&[
        "-genkeypair",
        "-keyalg",
        "EC",
        "-groupname",
        "secp256r1",
        "-validity",
        "3650",
        "-storetype",
        "PKCS12",
        "-dname",
        "CN=bareme tests",
        "-ext",
        &names,
    ])?;
    let file = certificate.to_str().context("a path that is not UTF-8")?;
    keytool(&["-exportcert", "-rfc", "-file", file])
}

impl Node {
    pub(super) fn open(cluster: &Path, jars: &Path, number: u8) -> Self {
        let kind = Kind::Open { keys: cluster.join(KEY_STORE) };
        Self::new(cluster, jars, number, Ipv4Addr::new(127, 0, 0, number), kind)
    }

    pub(super) fn guarded(cluster: &Path, jars: &Path, number: u8, guard: Rc<Guard>) -> Self {
        Self::new(cluster, jars, number, Guard::ip(number), Kind::Guarded(guard))
    }

    fn new(cluster: &Path, jars: &Path, number: u8, ip: Ipv4Addr, kind: Kind) -> Self {
        Self { number, ip, jars: jars.to_owned(), folder: cluster.join(format!("node{number}")), kind }
    }

    pub(super) fn number(&self) -> u8 {
        self.number
    }

    /// Where it speaks CQL.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip.into(), CQL_PORT)
    }

    /// What makes its process recognisable.
    fn mark(&self) -> String {
        format!("-Dbareme.node={}", self.folder.display())
    }

    /// Its process, if it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        let pid = std::fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()?;
        let deadline = Instant::now() + BECOMES_WITHIN;
        loop {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            // One that becomes another program has no command line for a moment; one that has ended has none, either.
            if command.is_empty() && state(pid) != State::Absent && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            // Another program may have got the number since.
            let mark = self.mark();
            return command.split(|byte| *byte == 0).any(|argument| argument == mark.as_bytes()).then_some(pid);
        }
    }

    pub(super) fn state(&self) -> State {
        self.pid().map_or(State::Absent, state)
    }

    pub(super) fn describe(&self) -> String {
        let Some(pid) = self.pid() else { return format!("node {}  {}  not running", self.number, self.ip) };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).map_or("", str::trim);
        let state = if self.state() == State::Stopped { "stopped" } else { "running" };
        format!("node {}  {}  {state}, pid {pid}, resident {resident}", self.number, self.ip)
    }

    /// Starts it, if it does not run.
    pub(super) fn start(&self) -> Result<()> {
        if self.pid().is_some() {
            return Ok(());
        }
        for port in [CQL_PORT, GOSSIP_PORT] {
            let address = SocketAddr::new(self.ip.into(), port);
            TcpListener::bind(address)
                .with_context(|| format!("{address} is in use, perhaps by the cluster of another checkout"))?;
        }
        self.configure()?;
        let output = File::create(self.folder.join("output"))?;
        let mut command = match &self.kind {
            Kind::Open { .. } => {
                let mut java = Command::new("java");
                java.args(["@jvm.options", &self.mark(), "@node.options"]);
                java
            }
            Kind::Guarded(guard) => guard.node(self.number, &self.folder)?,
        };
        // In a process group of its own, so that signals from a terminal miss it.
        command.process_group(0).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut child = command.spawn().context("cannot run java; `cargo xtask setup` installs it")?;
        std::fs::write(self.folder.join("pid"), child.id().to_string())?;
        // Until it has become java it cannot be told by its command line.
        let deadline = Instant::now() + GONE_WITHIN;
        while self.pid().is_none() {
            if Instant::now() > deadline || child.try_wait()?.is_some() {
                bail!("node {} did not start: {}", self.number, self.last_words());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn configure(&self) -> Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let (ip, folder) = (self.ip, self.folder.display());
        let own = format!(
            "\nlisten_address: {ip}\nrpc_address: {ip}\n\
             data_file_directories: ['{folder}/data']\ncommitlog_directory: '{folder}/commitlog'\n\
             hints_directory: '{folder}/hints'\nsaved_caches_directory: '{folder}/caches'\n\
             cdc_raw_directory: '{folder}/cdc'\n"
        );
        let (yaml, own) = match &self.kind {
            Kind::Open { keys } => {
                let token = i128::from(i64::MIN) + i128::from(self.number - 1) * (1 << 64) / i128::from(NODES);
                let rack = format!("dc=dc1\nrack=rack{}\n", self.number);
                std::fs::write(self.folder.join("rackdc.properties"), rack)?;
                let keys = keys.display();
                let own = format!(
                    "{own}num_tokens: 1\ninitial_token: '{token}'\nauto_bootstrap: false\n\
                     client_encryption_options:\n  enabled: true\n  optional: true\n  store_type: PKCS12\n  \
                     keystore: '{keys}'\n  keystore_password: {KEY_STORE_PASSWORD}\n"
                );
                (YAML.to_owned(), own)
            }
            // What the manifests have to set is as in the image's own file, and wrong.
            Kind::Guarded(_) => {
                let periodic = "commitlog_sync: periodic\ncommitlog_sync_period: 10000ms";
                (YAML.replace("commitlog_sync: group", periodic), format!("{own}num_tokens: 1\n"))
            }
        };
        std::fs::write(self.folder.join("cassandra.yaml"), format!("{yaml}{own}"))?;
        std::fs::write(self.folder.join("logback.xml"), LOGBACK)?;
        std::fs::write(self.folder.join("jvm.options"), JVM)?;
        Ok(std::fs::write(self.folder.join("node.options"), self.options())?)
    }

    /// Arguments of java, in the form of its files of arguments.
    fn options(&self) -> String {
        let mut options = vec![format!("-Dcassandra.jmx.local.port={}", self.jmx_port())];
        for (property, file) in [
            ("cassandra.config", "cassandra.yaml"),
            ("cassandra-rackdc.properties", "rackdc.properties"),
            ("logback.configurationFile", "logback.xml"),
        ] {
            options.push(format!("-D{property}=file://{}", self.folder.join(file).display()));
        }
        options.push(format!("-Dcassandra.storagedir={}", self.folder.display()));
        options.extend(["-cp".to_owned(), format!("{}/*", self.jars.display())]);
        options
            .extend(["-Dcassandra-foreground=yes", "org.apache.cassandra.service.CassandraDaemon"].map(str::to_owned));
        options.iter().map(|option| format!("\"{option}\"\n")).collect()
    }

    /// Sends its process a signal. A killed one is gone when this returns.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid() else { bail!("node {} does not run", self.number) };
        if !Command::new("kill").args([signal.name(), &pid.to_string()]).status()?.success() {
            bail!("cannot signal process {pid}");
        }
        let deadline = Instant::now() + GONE_WITHIN;
        while signal == Signal::Kill && self.state() != State::Absent {
            if Instant::now() > deadline {
                bail!("process {pid} does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Runs one of the jars' own tools.
    fn tool(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let mut java = Command::new("java");
        java.arg(format!("@{}", self.folder.join("jvm.options").display())).args(["-Xms64m", "-Xmx256m"]);
        // Later Java versions refuse the brackets that the tools put around an address; and they keep a history.
        java.arg("-Dcom.sun.jndi.rmiURLParsing=legacy").arg(format!("-Duser.home={}", self.folder.display()));
        java.arg(format!("-Dlogback.configurationFile=file://{}", self.folder.join(LOGBACK_TOOLS).display()));
        java.arg("-cp").arg(format!("{}/*", self.jars.display())).arg(class).args(arguments);
        let done = java.stdin(Stdio::null()).output().context("cannot run java")?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            bail!("{class} {arguments:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(said)
    }

    /// Writes a keyspace to files, one for each table if that can be done, and lists the partitions in them: table, key in
    /// hexadecimal digits, bytes before compression, rows. A partition in several files comes several times.
    pub(super) fn sizes(&self, keyspace: &str) -> Result<Vec<(String, String, u64, u64)>> {
        std::fs::write(self.folder.join(LOGBACK_TOOLS), QUIET)?;
        let port = self.jmx_port().to_string();
        for command in ["flush", "compact"] {
            let class = "org.apache.cassandra.tools.NodeTool";
            self.tool(class, &["-h", "127.0.0.1", "-p", &port, command, keyspace])?;
        }
        let files = self.folder.join("data").join(keyspace);
        let files = files.to_str().context("a path that is not UTF-8")?;
        // It lists what is above a threshold only, and has none unless one is given.
        let class = "org.apache.cassandra.tools.SSTablePartitions";
        let text = self.tool(class, &["--recursive", "--csv", "--min-size", "0", files])?;
        partitions(&text)
    }

    fn jmx_port(&self) -> u16 {
        // The last number of its address, less that of the first node.
        FIRST_JMX_PORT + u16::from(self.ip.octets()[3]) - 1
    }

    /// Deletes its folder.
    pub(super) fn forget(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The end of what it said.
    pub(super) fn last_words(&self) -> String {
        let mut text = String::new();
        for file in ["system.log", "output"] {
            let said = std::fs::read(self.folder.join(file)).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).into_owned();
            let lines: Vec<_> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
            text = format!("{text}\n{last}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_by_the_names_of_their_columns() -> Result<()> {
        let csv = "key,keyBinary,live,offset,size,rowCount,cellCount,directory,keyspace,table,index\n\
                   \"019b:1:\"\"3,\"\"\",0010aa,true,0,4096,62,62,/data/k/notes-1/nc-1-big-Data.db,k,notes,\n";
        assert_eq!(partitions(csv)?, [("notes".to_owned(), "0010aa".to_owned(), 4096, 62)]);
        assert!(partitions("").is_err());
        assert!(partitions("key,keyBinary\n\"a\",00\n").is_err(), "another layout is refused");
        Ok(())
    }
}
