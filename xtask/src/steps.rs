//! Steps of the commands, and how one is run and shown.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Where the steps run.
pub(crate) struct Steps {
    root: PathBuf,
    started: Instant,
}

/// A server that ends with its guard.
struct Server {
    child: Child,
    url: String,
    _data: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
        let _left_behind = std::fs::remove_dir_all(&self._data);
    }
}

#[expect(clippy::print_stdout, reason = "headings are this program's output")]
fn say(text: &str) {
    println!("{text}");
}

impl Steps {
    /// Steps at the root of this workspace.
    pub(crate) fn new() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has a parent folder")?.to_owned();
        Ok(Self { root, started: Instant::now() })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from)
    }

    pub(crate) fn venv(&self) -> PathBuf {
        self.target().join("python")
    }

    fn binary(&self) -> PathBuf {
        self.target().join("release/bareme")
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

    fn cargo(&self, heading: &str, arguments: &[&str]) -> Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        self.run(heading, Command::new(cargo).args(arguments).current_dir(&self.root))
    }

    pub(crate) fn lint(&self) -> Result<()> {
        self.cargo("format", &["fmt", "--all", "--check"])?;
        self.cargo("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
    }

    pub(crate) fn rust_tests(&self) -> Result<()> {
        self.cargo("Rust tests: unit, property, conformance, integration", &["test", "--workspace", "--locked"])
    }

    pub(crate) fn release(&self) -> Result<()> {
        self.cargo("release build", &["build", "--release", "--locked"])
    }

    /// Pages: types, units, and everything in a real browser.
    pub(crate) fn pages(&self) -> Result<()> {
        let tests = self.root.join("overlay/tests");
        let npm = |script: &str| {
            let mut npm = Command::new("npm");
            npm.args(["run", "--silent", script]).current_dir(&tests).env("BAREME_BIN", self.binary());
            npm
        };
        self.run("pages: types and lints", &mut npm("check"))?;
        self.run("pages: unit tests", &mut npm("unit"))?;
        self.run("pages: in Chromium", &mut npm("browser"))
    }

    /// The two machine-readable contracts, by validators that are not ours.
    pub(crate) fn contracts(&self) -> Result<()> {
        let tests = self.root.join("overlay/tests");
        let mut asyncapi = Command::new("npm");
        self.run("AsyncAPI document", asyncapi.args(["run", "--silent", "asyncapi"]).current_dir(&tests))?;
        let server = self.serve("memory")?;
        let document = self.target().join("openapi.json");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--output"]).arg(&document);
        self.run("fetch the OpenAPI document", curl.arg(format!("{}/api/openapi.json", server.url)))?;
        let mut validate = Command::new(self.venv().join("bin/openapi-spec-validator"));
        self.run("OpenAPI document", validate.arg(&document))
    }

    /// Schema-driven fuzzing: no 5xx, no undocumented answer.
    pub(crate) fn fuzz(&self) -> Result<()> {
        let server = self.serve("sqlite")?;
        let token = Command::new(self.binary())
            .args(["token", "new", "--name", "fuzz", "--role", "admin", "--data-dir"])
            .arg(&server._data)
            .output()
            .context("cannot make a token")?;
        if !token.status.success() {
            bail!("cannot make a token: {}", String::from_utf8_lossy(&token.stderr));
        }
        let token = String::from_utf8(token.stdout)?;
        let mut schemathesis = Command::new(self.venv().join("bin/schemathesis"));
        schemathesis
            .args(["run", "--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
            .args(["--checks", "response_schema_conformance,response_headers_conformance"])
            .args(["--max-examples", "40", "--seed", "20261120", "--request-timeout", "20", "--workers", "2"])
            .args(["--suppress-health-check", "all", "--no-color"])
            .args(["-H", &format!("Authorization: Bearer {}", token.trim())])
            .arg(format!("{}/api/openapi.json", server.url))
            .current_dir(self.target());
        self.run("API fuzzing", &mut schemathesis)
    }

    pub(crate) fn bench(&self) -> Result<()> {
        self.run("benchmarks", Command::new(self.binary()).arg("bench"))
    }

    pub(crate) fn done(&self) -> Result<()> {
        say(&format!("\nall of it passed in {:.0} s", self.started.elapsed().as_secs_f64()));
        Ok(())
    }

    /// The release binary as `demo`, without viewers, on a free port of the loopback.
    fn serve(&self, store: &str) -> Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let data = self.target().join(format!("served-{port}"));
        let url = format!("http://127.0.0.1:{port}");
        let child = Command::new(self.binary())
            .args(["demo", "--viewers", "0", "--store", store, "--listen"])
            .arg(format!("127.0.0.1:{port}"))
            .arg("--data-dir")
            .arg(&data)
            .args(["--log", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the server")?;
        let mut server = Server { child, url, _data: data };
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended at once: {status}");
            }
            if Instant::now() > deadline {
                bail!("the server does not listen after 30 s");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}
