//! A server of its own for a step: the program as `demo`, without viewers, on a free port of the loopback. And what every
//! step needs that runs programs beside itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

const STARTS_WITHIN: Duration = Duration::from_secs(30);
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// How often is looked for what somebody waits for.
const LOOK: Duration = Duration::from_millis(100);
/// How long a handshake may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A free port of the loopback.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A process that ends with its guard.
pub(crate) struct Ends(pub(crate) Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Waits until something is so.
pub(crate) fn wait(what: &str, within: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + within;
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("within {} s never: {what}", within.as_secs());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Asks for a WebSocket, as plainly as can be: the connection, and the head of the answer.
pub(crate) fn knock(address: &str, path: &str) -> Result<(TcpStream, String)> {
    knock_from(address, path, "")
}

/// The same with headers beside the usual ones.
pub(crate) fn knock_from(address: &str, path: &str, headers: &str) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    let mut bytes = [0; 2048];
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut bytes)? {
            0 => break,
            read => answer.extend(bytes.iter().take(read)),
        }
    }
    Ok((stream, String::from_utf8_lossy(&answer).into_owned()))
}

/// A server that ends with its guard, and takes its data with it.
pub(crate) struct Server {
    binary: PathBuf,
    child: Child,
    url: String,
    ops_url: String,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
        let _left_behind = std::fs::remove_dir_all(&self.folder);
    }
}

/// The program without this process's own settings: it refuses variables that it does not know.
pub(crate) fn program(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    let is_setting = |name: &OsString| name.to_string_lossy().starts_with("BAREME_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command
}

/// The body of an address of a server.
pub(crate) fn curl(url: &str, path: &str, token: Option<&str>) -> Result<Vec<u8>> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "20"]);
    if let Some(token) = token {
        curl.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let answer = curl.arg(format!("{url}{path}")).stdin(Stdio::null()).output().context("cannot run curl")?;
    if !answer.status.success() {
        bail!("{path}: {}", String::from_utf8_lossy(&answer.stderr).trim());
    }
    Ok(answer.stdout)
}

impl Server {
    /// Starts it with these arguments beside the usual ones, and waits until it is ready. Its data is in a new folder below
    /// `parent`.
    pub(crate) fn start(binary: &Path, parent: &Path, store: &str, arguments: &[&str]) -> Result<Self> {
        Self::start_as(program(binary), binary, parent, store, arguments)
    }

    /// As [`Server::start`], with at most so many open files.
    pub(crate) fn start_limited(binary: &Path, parent: &Path, files: u32, arguments: &[&str]) -> Result<Self> {
        let mut shell = program(Path::new("sh"));
        shell.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\" \"$@\"")).arg(binary);
        Self::start_as(shell, binary, parent, "sqlite", arguments)
    }

    fn start_as(mut command: Command, binary: &Path, parent: &Path, store: &str, arguments: &[&str]) -> Result<Self> {
        let (port, ops_port) = (free_port()?, free_port()?);
        let folder = parent.join(format!("served-{port}"));
        let _was_not_there = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        let child = command
            .args(["demo", "--viewers", "0", "--store", store, "--log", "error", "--vote-rate", "100000"])
            .args(["--listen", &format!("127.0.0.1:{port}"), "--ops-listen", &format!("127.0.0.1:{ops_port}")])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("banner"))?)
            .stderr(File::create(folder.join("log"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let (url, ops_url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{ops_port}"));
        let mut server = Self { binary: binary.to_owned(), child, url, ops_url, folder };
        let deadline = Instant::now() + STARTS_WITHIN;
        while server.curl_ops("/readyz").is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended at once ({status}): {}", server.log()?);
            }
            if Instant::now() > deadline {
                bail!("the server is not ready after {} s: {}", STARTS_WITHIN.as_secs(), server.log()?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where operators ask.
    pub(crate) fn ops_url(&self) -> &str {
        &self.ops_url
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has to say; with `--log error`, nothing but errors and panics.
    fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("log"))?)
    }

    /// A new token that may do everything.
    pub(crate) fn token(&self, name: &str) -> Result<String> {
        let made = program(&self.binary)
            .args(["token", "new", "--name", name, "--scope", "read,drive,manage,accounts", "--data-dir"])
            .arg(self.folder.join("data"))
            .stdin(Stdio::null())
            .output()
            .context("cannot make a token")?;
        if !made.status.success() {
            bail!("cannot make a token: {}", String::from_utf8_lossy(&made.stderr));
        }
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }

    /// The body of an address.
    pub(crate) fn curl(&self, path: &str, token: Option<&str>) -> Result<Vec<u8>> {
        curl(&self.url, path, token)
    }

    /// The body of an address for operators.
    pub(crate) fn curl_ops(&self, path: &str) -> Result<Vec<u8>> {
        curl(&self.ops_url, path, None)
    }

    /// The JSON of an address.
    pub(crate) fn get(&self, path: &str, token: Option<&str>) -> Result<Value> {
        serde_json::from_slice(&self.curl(path, token)?).with_context(|| format!("{path} is not JSON"))
    }

    /// Whether it came through well: alive and ready, no tally that differs from its recount, an orderly end, and
    /// nothing in its log.
    pub(crate) fn check_and_stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended ({status}): {}", self.log()?);
        }
        self.curl_ops("/readyz")?;
        let metrics = String::from_utf8(self.curl_ops("/metrics")?)?;
        let drift: Vec<_> = metrics.lines().filter(|line| line.starts_with("tally_drift_total")).collect();
        if drift != ["tally_drift_total 0"] {
            bail!("tallies differ from their recount: {drift:?}");
        }
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let deadline = Instant::now() + ENDS_WITHIN;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > deadline => bail!("the server does not end (kill: {asked})"),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let log = self.log()?;
        if !status.success() || !log.is_empty() {
            bail!("the server ended with {status} and said:\n{log}");
        }
        Ok(())
    }
}
