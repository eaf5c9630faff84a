//! Steps of the commands, and how one is run and shown.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::fuzz::{Fuzzer, in_venv};
use crate::paths::SocketPath;
use crate::served::Server;

/// How what is run or measured is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As it is delivered: for measurements, and for what takes hours.
    Release,
    /// With every assertion left in. The tests of the whole workspace build the programs as well, so that dependencies
    /// are compiled once.
    Checked,
}

impl Profile {
    /// Its name, for cargo and as a folder.
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Checked => "checked",
        }
    }
}

/// Where the steps run, and on what.
pub(crate) struct Steps {
    root: PathBuf,
    profile: Profile,
    sockets: Option<SocketPath>,
    started: Instant,
}

#[expect(clippy::print_stdout, reason = "headings are this program's output")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// The program that `BAREME_BIN` names, if it does.
fn given_binary() -> Option<PathBuf> {
    std::env::var_os("BAREME_BIN").and_then(|path| std::path::absolute(path).ok())
}

impl Steps {
    /// Steps at the root of this workspace.
    pub(crate) fn new(profile: Profile) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has a parent folder")?.to_owned();
        Ok(Self { root, profile, sockets: None, started: Instant::now() })
    }

    /// The same on this socket path, if one is chosen, where a program would take that of the platform.
    pub(crate) fn on(self, sockets: Option<SocketPath>) -> Self {
        Self { sockets, ..self }
    }

    /// Arguments of a server for its socket path.
    pub(crate) fn socket_arguments(&self) -> &'static [&'static str] {
        self.sockets.map_or(&[], SocketPath::arguments)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from)
    }

    pub(crate) fn venv(&self) -> PathBuf {
        self.target().join("python")
    }

    /// The program under test: `BAREME_BIN`, else that of the profile.
    pub(crate) fn binary(&self) -> PathBuf {
        given_binary().unwrap_or_else(|| self.built("bareme"))
    }

    /// The load tool.
    pub(crate) fn stress(&self) -> PathBuf {
        self.built("bareme-stress")
    }

    fn built(&self, name: &str) -> PathBuf {
        self.target().join(self.profile.name()).join(name)
    }

    /// Runs one step under a heading; nothing of it reads from the terminal.
    pub(crate) fn run(&self, heading: &str, command: &mut Command) -> Result<()> {
        say(&format!("\n=== {heading}"));
        let started = Instant::now();
        let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run: {heading}"))?;
        if !status.success() {
            bail!("failed: {heading} ({status})");
        }
        say(&format!("--- {heading}: {:.0} s", started.elapsed().as_secs_f64()));
        Ok(())
    }

    fn cargo_command(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).current_dir(&self.root);
        cargo
    }

    fn cargo(&self, heading: &str, arguments: &[&str]) -> Result<()> {
        self.run(heading, &mut self.cargo_command(arguments))
    }

    pub(crate) fn lint(&self) -> Result<()> {
        self.cargo("format", &["fmt", "--all", "--check"])?;
        // In the profile of the tests, so that macros and C libraries are built once.
        let profile = self.profile.name();
        let arguments =
            ["clippy", "--workspace", "--all-targets", "--locked", "--profile", profile, "--", "-D", "warnings"];
        self.cargo("lints", &arguments)
    }

    pub(crate) fn rust_tests(&self) -> Result<()> {
        self.run("Rust tests: unit, property, conformance, integration", &mut self.tests(&[]))
    }

    /// Tests of the workspace, all of it each time: other packages would want other features of dependencies.
    pub(crate) fn tests(&self, arguments: &[&str]) -> Command {
        let mut tests = self.cargo_command(&["test", "--workspace", "--locked", "--profile", self.profile.name()]);
        tests.args(arguments);
        // What the tests of the load tool run against: else they build it again, in another profile.
        tests.env("STRESS_TEST_SERVER", self.binary());
        tests
    }

    /// The store on a real cluster, which may be broken by this very program.
    pub(crate) fn cluster_tests(&self, url: &str, certificate: &Path, more: &[&str]) -> Result<()> {
        let mut tests = self.tests(&["--test", "it", "--", "cql::"]);
        tests.args(more);
        tests.env("BAREME_CQL", url).env("BAREME_CQL_TLS", certificate).env("BAREME_XTASK", std::env::current_exe()?);
        self.run("Rust tests: a real cluster", &mut tests)
    }

    /// Some of the integration tests, with variables and on standard output what they measured.
    pub(crate) fn it_tests(
        &self,
        heading: &str,
        names: &str,
        variables: &[(&str, &Path)],
        ignored: bool,
    ) -> Result<()> {
        let mut tests = self.tests(&["--test", "it", "--", names]);
        tests.args(ignored.then_some("--ignored")).arg("--nocapture").envs(variables.iter().copied());
        self.run(&format!("Rust tests: {heading}"), &mut tests)
    }

    /// How large partitions are on a real cluster, with this many notes on one jeu.
    pub(crate) fn cluster_partitions(&self, url: &str, notes: u64) -> Result<()> {
        let name = "cql::partitions::no_partition_of_a_live_passes_its_bound_and_each_is_on_the_nodes_of_its_token";
        let mut test = self.tests(&["--test", "it", "--", name, "--ignored", "--exact", "--nocapture"]);
        test.env("BAREME_CQL", url).env("BAREME_XTASK", std::env::current_exe()?);
        test.env("BAREME_PARTITIONS_NOTES", notes.to_string());
        self.run("partitions of a real cluster", &mut test)
    }

    /// The programs; that under test only unless there is one already. Both at once: each alone would want other features
    /// of dependencies, and have them compiled again.
    pub(crate) fn build(&self) -> Result<()> {
        if let Some(binary) = given_binary() {
            say(&format!("\ntests {}", binary.display()));
            if self.stress().exists() {
                return Ok(());
            }
        }
        let profile = self.profile.name();
        let arguments =
            ["build", "--locked", "--profile", profile, "--package", "bareme", "--package", "bareme-stress"];
        self.cargo("build", &arguments)
    }

    /// A script of the package of tests.
    fn npm(&self, script: &str) -> Command {
        let mut npm = Command::new("npm");
        npm.args(["run", "--silent", script]).current_dir(self.root.join("overlay/tests"));
        npm.env("BAREME_BIN", self.binary());
        if let Some(sockets) = self.sockets {
            npm.env("BAREME_SOCKETS", sockets.to_string());
        }
        npm
    }

    /// Pages: types, units, and everything in a real browser.
    pub(crate) fn pages(&self) -> Result<()> {
        self.run("pages: types and lints", &mut self.npm("check"))?;
        self.run("pages: unit tests", &mut self.npm("unit"))?;
        self.run("pages: in Chromium", &mut self.npm("browser"))?;
        self.run("pages: Lighthouse", &mut self.npm("lighthouse"))
    }

    /// Pictures of every scene, for people to look at.
    pub(crate) fn screenshots(&self, part: &str) -> Result<()> {
        let folder = self.target().join("screenshots");
        let mut pictures = self.npm("screenshots");
        self.run("pictures", pictures.arg("--").arg(&folder).arg(part))
    }

    /// The two machine-readable contracts, by validators that are not ours, and the frames of a real server.
    pub(crate) fn contracts(&self) -> Result<()> {
        self.run("AsyncAPI document and the examples of the protocol", &mut self.npm("asyncapi"))?;
        self.run("frames of a real server against the AsyncAPI document", &mut self.npm("frames"))?;
        let server = self.serve("memory")?;
        let document = self.target().join("openapi.json");
        std::fs::write(&document, server.curl("/api/openapi.json", None)?)?;
        let mut validate = Command::new(self.venv().join("bin/openapi-spec-validator"));
        self.run("OpenAPI document", validate.arg(&document))?;
        server.check_and_stop()
    }

    /// Schema-driven fuzzing: nothing undocumented is answered, nothing wrong is taken, and the server stays well.
    pub(crate) fn fuzz(&self, seed: u32) -> Result<()> {
        say("\n=== API fuzzing");
        let started = Instant::now();
        let (known, anything) = (self.serve("sqlite")?, self.serve("sqlite")?);
        let fuzzer = Fuzzer { schemathesis: in_venv(&self.venv()), folder: self.target().join("fuzz"), seed };
        say(fuzzer.run(&known, &anything)?.trim_end());
        known.check_and_stop()?;
        anything.check_and_stop()?;
        say(&format!("--- API fuzzing: {:.0} s", started.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Peers that are not ours, and one that does it wrong, against a real server on each of its socket paths.
    pub(crate) fn peers(&self) -> Result<()> {
        for path in SocketPath::of(&self.binary()) {
            let server = Server::start(&self.binary(), &self.target(), "sqlite", path.arguments())?;
            let socket = format!("{}/ws/demo", server.url().replace("http://", "ws://"));
            let (host, port) = server.url().trim_start_matches("http://").split_once(':').context("no port")?;
            let python = |script: &str| {
                let mut python = Command::new(self.venv().join("bin/python"));
                python.arg(self.root.join("xtask/peers").join(script));
                python
            };
            let pid = server.pid().to_string();
            self.run(&format!("peers: Python's websockets, path {path}"), python("peer.py").args([&socket, &pid]))?;
            let mut wrong = python("wrong_peer.py");
            self.run(&format!("peers: one that does it wrong, path {path}"), wrong.args([host, port, &pid]))?;
            server.check_and_stop()?;
        }
        Ok(())
    }

    pub(crate) fn bench_store(&self) -> Result<()> {
        self.run("benchmarks of the store", Command::new(self.binary()).arg("bench"))
    }

    /// Sockets from outside, by the load tool.
    pub(crate) fn bench_sockets(&self, arguments: &[String]) -> Result<()> {
        let mut bench = Command::new(self.stress());
        bench.arg("bench").arg("--server").arg(self.binary()).arg("--work").arg(self.target()).args(arguments);
        self.run("benchmarks of the sockets", bench.current_dir(&self.root))
    }

    pub(crate) fn done(&self) -> Result<()> {
        say(&format!("\nall of it passed in {:.0} s", self.started.elapsed().as_secs_f64()));
        Ok(())
    }

    fn serve(&self, store: &str) -> Result<Server> {
        Server::start(&self.binary(), &self.target(), store, &[])
    }
}
