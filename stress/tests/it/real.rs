//! Against the real server, as a person would run it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bareme_stress::result::RunResult;
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(50);

/// The server's program: that of `STRESS_TEST_SERVER`, else a build of it beside this test. (A name that begins with `BAREME_`
/// would be a setting of the servers that other tests start, and one that they do not know.)
fn server_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(path) = std::env::var_os("STRESS_TEST_SERVER") {
            return path.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo).args(["build", "--quiet", "-p", "bareme", "--bin", "bareme"]).status().unwrap();
        assert!(built.success(), "the server does not build");
        Path::new(env!("CARGO_BIN_EXE_bareme-stress")).with_file_name("bareme")
    })
}

/// A command without settings of this process in its environment.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("BAREME_") || name.starts_with("STRESS_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A port below those that the system gives to clients, which would otherwise meet themselves while the server is away.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 24_000 + u16::try_from(std::process::id() % 6_000).unwrap();
    loop {
        // Tests run at the same time, and a port is free until its server listens. Its port for operators is one of the
        // next thousand.
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 1_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Where a server listens for operators, beside a port for viewers.
fn ops_port(port: u16) -> u16 {
    port + 1_000
}

/// Whether a server says that it is ready.
fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", ops_port(port)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

/// A running server, killed with its test.
struct Server {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Server {
    fn start(dir: &Path, port: u16) -> Self {
        let mut command = command(server_program());
        command
            .args(["serve", "--log", "error", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"])
            .arg(dir.join("data"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while !is_ready(port) {
            assert!(started.elapsed() < PATIENCE, "the server does not get ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, port, dir: dir.to_owned() }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The tool with these arguments, told where this server and its data are.
    fn tool(&self, arguments: &[&str]) -> Command {
        // The token is made by the program beside the tool.
        server_program();
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_bareme-stress")));
        command.args(arguments).arg("--url").arg(format!("http://127.0.0.1:{}", self.port));
        command.arg("--data-dir").arg(self.dir.join("data")).arg("--out").arg(self.dir.join("report"));
        command
    }

    fn result(&self) -> RunResult {
        RunResult::read(&self.dir.join("report.json")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn server() -> (TempDir, Server) {
    let dir = tempfile::Builder::new().prefix("bareme-stress-it-").tempdir().unwrap();
    let server = Server::start(dir.path(), free_port());
    (dir, server)
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_live_is_driven_counted_and_reported_in_one_command() {
    let (dir, server) = server();
    let output =
        server.tool(&["live", "--minutes", "0.08", "--notes", "400", "--jeux", "2", "--quiet"]).output().unwrap();
    let said = words(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("sent 400, acked 400, unknown 0, refused 0") && said.contains("lost 0, double 0"), "{said}");
    let result = server.result();
    assert!(result.recount.counted > 300 && result.frames_checked > 10, "{result:?}");
    assert!(result.points_of("visible").p99 < 5000.0 && result.points_of("visible").count > 300);
    let says = |name: &str| result.samples.iter().any(|sample| sample.metrics.contains_key(name));
    assert!(says("ws_active_connections"), "the metrics are found");
    assert!(result.cost.cpu_us_per_vote.is_some_and(|cost| cost > 0.0), "the server's process is found");
    let html = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("passed"));
    assert!(
        !["<script", "src=", "href=", "url("].iter().any(|other| html.contains(other)),
        "it needs nothing but itself"
    );
    let mut tokens = command(server_program());
    let tokens = tokens.args(["token", "list", "--data-dir"]).arg(dir.path().join("data")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&tokens.stdout), "", "the token of the run was revoked");
    let json = dir.path().join("report.json");
    let compared =
        command(Path::new(env!("CARGO_BIN_EXE_bareme-stress"))).arg("compare").args([&json, &json]).output().unwrap();
    let compared = words(&compared);
    assert!(
        compared.contains("tap to ok, p99") && !compared.contains("WORSE") && !compared.contains("BETTER"),
        "{compared}"
    );
}

#[test]
fn a_crowd_that_sleeps_changes_its_mind_and_leaves_is_counted_exactly() {
    let (_dir, server) = server();
    let arguments = ["crowd", "--sockets", "150", "--ramp", "0.5", "--stage", "3", "--burst", "2", "--jeux", "2"];
    let more = ["--nap", "0.3", "--leave", "0.2", "--change", "0.5", "--withdraw", "0.3", "--threads", "2", "--quiet"];
    let output = server.tool(&[&arguments[..], &more[..]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let counters = server.result().counters;
    assert!(counters.naps > 10 && counters.left > 10 && counters.reconnects > 10, "{counters:?}");
}

#[test]
fn votes_over_http_are_counted_exactly() {
    let (_dir, server) = server();
    let output = server.tool(&["http", "--rate", "150", "--seconds", "3", "--quiet"]).output().unwrap();
    let said = words(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("sent 450, acked 450"), "{said}");
}

#[test]
fn without_a_token_a_live_is_joined_and_every_viewer_asks_for_its_own_note() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut demo = command(server_program());
    demo.args(["demo", "--viewers", "0", "--log", "error", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"]);
    let child = demo.arg(dir.path().join("data")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let server = Server { child, port, dir: dir.path().to_owned() };
    let started = Instant::now();
    let output = loop {
        let arguments = ["live", "--join", "--minutes", "0.05", "--notes", "60", "--jeux", "1", "--quiet"];
        let output = server.tool(&arguments).output().unwrap();
        // Until the demo is there.
        if output.status.code() == Some(0) || started.elapsed() > PATIENCE / 2 {
            break output;
        }
    };
    let said = words(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("sent 60, acked 60") && said.contains("lost 0, double not checked"), "{said}");
}

#[test]
fn a_server_that_is_killed_and_comes_back_has_lost_nothing() {
    let (dir, mut server) = server();
    let arguments = ["crowd", "--sockets", "120", "--ramp", "0.5", "--stage", "8", "--burst", "7", "--jeux", "1"];
    let more = ["--nap", "0", "--leave", "0", "--expect-restarts", "--change", "0.8"];
    let mut tool = server.tool(&[&arguments[..], &more[..]].concat());
    let mut running = tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(running.stderr.take().unwrap()).lines();
    let mut kills = 0;
    // In the middle of the votes, twice.
    for line in progress.by_ref() {
        let line = line.unwrap();
        let share: u32 = line.split_whitespace().nth(1).and_then(|share| share.parse().ok()).unwrap_or(0);
        if line.contains("jeu 1 of 1") && (kills == 0 && share >= 20 || kills == 1 && share >= 50) {
            server.kill();
            server = Server::start(dir.path(), server.port);
            kills += 1;
        }
    }
    let output = running.wait_with_output().unwrap();
    let said = words(&output);
    assert_eq!((output.status.code(), kills), (Some(0), 2), "{said}");
    assert!(said.contains("lost 0, double 0"), "{said}");
    let result = server.result();
    assert!(result.counters.reconnects > 0 && result.counters.error_count() >= 120, "{:?}", result.counters);
    assert_eq!(result.last_wishes, (120, 120), "what was not answered was sent again until it was");
}

#[test]
fn interrupted_it_counts_what_it_has() {
    let (dir, server) = server();
    let mut tool = server.tool(&["live", "--minutes", "5", "--notes", "20000"]);
    let mut running = tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(running.stderr.take().unwrap()).lines();
    let voting = progress.by_ref().find(|line| line.as_ref().is_ok_and(|line| line.contains("jeu 1 of 4")));
    assert!(voting.is_some());
    let pid = running.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    progress.for_each(drop);
    let output = running.wait_with_output().unwrap();
    let said = words(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ended early") && said.contains("lost 0, double 0"), "{said}");
    assert!(server.result().interrupted && dir.path().join("report.html").exists());
}

#[test]
fn wrong_calls_are_answered_with_what_to_do() {
    let (dir, server) = server();
    let free = free_port();
    let away = format!("http://127.0.0.1:{free}");
    let here = format!("http://127.0.0.1:{}", server.port);
    let cases: [(&[&str], i32, &str); 10] = [
        (&["live", "--url", &away], 1, "Check --url"),
        (&["live", "--url", "here"], 1, "is no address"),
        (&["live", "--url", "https://127.0.0.1"], 1, "plain port"),
        (&["live", "--url", "http://no-such-host.invalid"], 1, "no host"),
        (&["live", "--url", &here, "--token", "wrong"], 1, "bareme token new"),
        (&["live", "--url", &here, "--join"], 1, "no live is open"),
        (&["live", "--url", &here, "--join", "--channel", "nobody"], 1, "no channel nobody"),
        (&["live", "--jeux", "0"], 2, "--jeux"),
        (&["fly"], 2, "unrecognized"),
        (&["compare", "/no/such/a.json", "/no/such/b.json"], 2, "cannot read"),
    ];
    for (arguments, code, remedy) in cases {
        let mut tool = command(Path::new(env!("CARGO_BIN_EXE_bareme-stress")));
        let output = tool.args(arguments).current_dir(dir.path()).output().unwrap();
        let said = words(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(remedy), "{arguments:?}: {said}");
    }
}
