//! The real program as a process of its own: started, watched, stopped, killed.

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up on it: far more than it does on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks at something that cannot be waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// A free port below those the system gives to clients: a client that connects again and again to a port of its own
/// range, while the server is down, ends up connected to itself.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 16_000 + u16::try_from(std::process::id() % 8_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 8_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The program with nothing of this process's settings in its environment.
pub(crate) fn bareme() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bareme"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BAREME_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A folder for a server that outlives the server.
pub(crate) fn data_dir() -> TempDir {
    tempfile::Builder::new().prefix("bareme-it-").tempdir().unwrap()
}

/// What a process that ended by itself said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program with some arguments to its end.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    finish(bareme().args(arguments))
}

/// Runs a command of the program to its end, which has to come by itself.
pub(crate) fn finish(command: &mut Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
    let status = wait_for_exit(&mut child, PATIENCE).unwrap_or_else(|| {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("it did not end: {}{}", stdout.lock().unwrap().join("\n"), stderr.lock().unwrap().join("\n"))
    });
    // Both pipes end with the process, but their readers may be a moment behind.
    let whole = |lines: Arc<Mutex<Vec<String>>>| {
        let started = Instant::now();
        while Arc::strong_count(&lines) > 1 && started.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
        lines.lock().unwrap().join("\n")
    };
    Ended { code: status.code(), stdout: whole(stdout), stderr: whole(stderr) }
}

fn collect(pipe: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { return };
            collected.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
        }
    });
    lines
}

fn wait_for_exit(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if started.elapsed() > patience {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

/// The socket path that a module's tests are for: the portable one inside of `portable`, else this platform's own.
fn sockets_of(module: &str) -> &'static str {
    if module.contains("::portable::") || !cfg!(target_os = "linux") { "portable" } else { "fast" }
}

/// The arguments that say where a server listens, and how it logs, up to its folder.
fn places(port: u16, ops_port: u16) -> Vec<String> {
    let (listen, ops_listen) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{ops_port}"));
    let arguments = ["--listen", &listen, "--ops-listen", &ops_listen, "--log-format", "json", "--data-dir"];
    arguments.map(str::to_owned).into()
}

/// A running server. It is killed when the test ends, whatever became of the test.
pub(crate) struct Server {
    child: Child,
    port: u16,
    ops_port: u16,
    output: [Arc<Mutex<Vec<String>>>; 2],
}

impl Server {
    /// Starts the program, without waiting for it.
    pub(crate) fn spawn(command: &[&str], data_dir: &Path, port: u16) -> Self {
        Self::spawn_with(command, data_dir, port, &[])
    }

    fn spawn_with(command: &[&str], data_dir: &Path, port: u16, variables: &[(&str, &str)]) -> Self {
        Self::spawn_program(bareme(), command, data_dir, port, variables)
    }

    fn spawn_program(
        mut program: Command,
        command: &[&str],
        data_dir: &Path,
        port: u16,
        variables: &[(&str, &str)],
    ) -> Self {
        let ops_port = free_port();
        program.envs(variables.iter().copied()).args(command).args(places(port, ops_port)).arg(data_dir);
        let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = [collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap())];
        Self { child, port, ops_port, output }
    }

    /// Starts the program, with what it says going where nobody keeps it.
    pub(crate) fn spawn_saying(command: &[&str], data_dir: &Path, port: u16, stdout: Stdio, stderr: Stdio) -> Self {
        let ops_port = free_port();
        let mut child = bareme();
        child.args(command).args(places(port, ops_port)).arg(data_dir);
        let child = child.stdout(stdout).stderr(stderr).spawn().unwrap();
        Self { child, port, ops_port, output: [Arc::default(), Arc::default()] }
    }

    /// Starts the program and waits until it is ready.
    pub(crate) async fn start(command: &[&str], data_dir: &Path) -> Self {
        let mut server = Self::spawn(command, data_dir, free_port());
        server.ready().await;
        server
    }

    /// As [`Server::start`], with some variables.
    pub(crate) async fn start_with(command: &[&str], data_dir: &Path, variables: &[(&str, &str)]) -> Self {
        let mut server = Self::spawn_with(command, data_dir, free_port(), variables);
        server.ready().await;
        server
    }

    /// As [`Server::start`], on the socket path that the module of a test is for, and with limits of open files: the soft
    /// one, which a program may raise, and the hard one.
    #[cfg(target_os = "linux")]
    pub(crate) async fn start_limited(command: &[&str], module: &str, data_dir: &Path, files: [u32; 2]) -> Self {
        let mut program = Command::new("sh");
        let limits = format!("ulimit -Sn {} && ulimit -Hn {} && exec \"$0\" \"$@\"", files[0], files[1]);
        program.args(["-c", &limits, env!("CARGO_BIN_EXE_bareme")]).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BAREME_")) {
            program.env_remove(name);
        }
        let command = [command, &["--sockets", sockets_of(module)]].concat();
        let mut server = Self::spawn_program(program, &command, data_dir, free_port(), &[]);
        server.ready().await;
        server
    }

    /// A demo without simulated viewers: a live with three open jeux.
    pub(crate) async fn demo(data_dir: &Path) -> Self {
        Self::start(&["demo", "--viewers", "0"], data_dir).await
    }

    /// A server on the socket path that the module of a test is for: see `main.rs`.
    pub(crate) async fn serve_of(module: &str, data_dir: &Path) -> Self {
        Self::start(&["serve", "--sockets", sockets_of(module)], data_dir).await
    }

    /// As [`Server::demo`], on the socket path that the module of a test is for.
    pub(crate) async fn demo_of(module: &str, data_dir: &Path) -> Self {
        Self::demo_with(module, data_dir, &[]).await
    }

    /// As [`Server::demo_of`], with some settings.
    pub(crate) async fn demo_with(module: &str, data_dir: &Path, settings: &[&str]) -> Self {
        let command = ["demo", "--viewers", "0", "--sockets", sockets_of(module)];
        Self::start(&[&command[..], settings].concat(), data_dir).await
    }

    /// As [`Server::demo_of`], where a socket may say as much as it likes.
    pub(crate) async fn patient_demo_of(module: &str, data_dir: &Path) -> Self {
        let command = ["demo", "--viewers", "0", "--sockets", sockets_of(module)];
        Self::start_with(&command, data_dir, &[("BAREME_SOCKET_RATE", "1000000")]).await
    }

    /// Files that the server holds open.
    #[cfg(target_os = "linux")]
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Waits until `/readyz` says yes.
    pub(crate) async fn ready(&mut self) {
        let started = Instant::now();
        let client = client();
        loop {
            if let Ok(response) = client.get(self.ops_url("/readyz")).send().await
                && response.status() == 200
            {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended with {status}: {}", self.said());
            }
            assert!(started.elapsed() < PATIENCE, "the server does not get ready: {}", self.said());
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn ops_port(&self) -> u16 {
        self.ops_port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// As [`Server::url`], on the listener of operators.
    pub(crate) fn ops_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ops_port)
    }

    pub(crate) fn ws_url(&self, path: &str) -> String {
        format!("ws://127.0.0.1:{}{path}", self.port)
    }

    /// Everything it printed.
    pub(crate) fn said(&self) -> String {
        self.output.iter().map(|lines| lines.lock().unwrap().join("\n")).collect::<Vec<_>>().join("\n")
    }

    /// Log lines of level WARN or ERROR.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let complains =
            |line: &&str| line.contains("\"WARN\"") || line.contains("\"ERROR\"") || line.contains("panicked");
        self.said().lines().filter(complains).map(str::to_owned).collect()
    }

    /// The power goes.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Its exit code, after it ended by itself or by [`Server::terminate`].
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        match wait_for_exit(&mut self.child, PATIENCE) {
            Some(status) => status.code(),
            None => panic!("the server does not end: {}", self.said()),
        }
    }

    /// Stops it as an operator would; fails unless it says that all went well.
    pub(crate) async fn stop(mut self) {
        self.terminate();
        let code = tokio::task::spawn_blocking(move || (self.exit_code(), self.said())).await.unwrap();
        assert_eq!(code.0, Some(0), "{}", code.1);
    }

    /// The value of a metric: the sum over the lines whose name and labels begin with `prefix`.
    pub(crate) async fn metric(&self, prefix: &str) -> f64 {
        let text = client().get(self.ops_url("/metrics")).send().await.unwrap().text().await.unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#') && line.starts_with(prefix));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// JSON of a GET.
    pub(crate) async fn get(&self, path: &str) -> Value {
        json_at(self.url(path)).await
    }

    /// JSON of a GET on the listener of operators.
    pub(crate) async fn get_ops(&self, path: &str) -> Value {
        json_at(self.ops_url(path)).await
    }

    /// Results of a live for everybody.
    pub(crate) async fn results(&self, live: &str) -> Value {
        self.get(&format!("/api/lives/{live}/results")).await
    }

    /// Slug of the only channel with an open live, and that live.
    pub(crate) async fn open_live(&self) -> (String, String) {
        let lives = self.get("/api/lives").await;
        let [live] = &lives.as_array().unwrap()[..] else { panic!("one open live: {lives}") };
        (live["channel"].as_str().unwrap().to_owned(), live["live_id"].as_str().unwrap().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the server said:\n{}", self.said());
        }
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn json_at(url: String) -> Value {
    let response = client().get(&url).send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 200, "{url}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// An HTTP client without cookies, proxies or redirects.
pub(crate) fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.timeout(PATIENCE).build().unwrap()
}

/// Looks until `look` finds what it looks for.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "in {PATIENCE:?} never: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The seed of a random test: `IT_SEED`, or a new one; printed so that a failure can be repeated.
pub(crate) fn seed(test: &str) -> u64 {
    let seed = std::env::var("IT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("{test}: IT_SEED={seed}");
    seed
}

/// Where the server keeps its facts.
pub(crate) fn database(data_dir: &Path) -> PathBuf {
    data_dir.join("bareme.sqlite3")
}
