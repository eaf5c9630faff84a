//! Attacks on a real server on loopback, and what held. Each ends by itself.
//!
//! An attack is a function of [`ATTACKS`]: it says what it sent and what came of it, and whether that is as it should be.
//! The server has few descriptors, so that what takes a crowd elsewhere takes a thousand connections here. Between two
//! attacks, probes and admins have to be served as before.

mod disguises;
mod voters;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::paths::SocketPath;
use crate::pods::{Balance, PODS, haproxy};
use crate::served::{Ends, Server, free_port, knock, wait};
use crate::steps::{Steps, say};

/// Open files of the server: what a shell gives a program by default.
const FILES: u32 = 1024;
/// Connections of an attack: more than the server can have.
const CONNECTIONS: usize = 1100;
/// Of those, how many are opened before their answers are read, where there are any.
const AT_ONCE: usize = 100;
/// How long an answer may take, on a busy machine. A body has a deadline of ten seconds.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// Pings that are sent at most.
const PINGS: usize = 5_000_000;

/// Notes of the live that is exported while viewers vote.
const EXPORTED_NOTES: &str = "100000";

/// What makes a server take a request for a handshake.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// What came of an attack.
struct Outcome {
    has_held: bool,
    figures: String,
}

type Attack = fn(&Target) -> Result<Outcome>;

/// The attacks, in order.
const ATTACKS: &[(&str, Attack)] = &[
    ("requests for an upgrade where there is none", upgrades),
    ("bodies that do not come", bodies),
    ("sockets beyond the descriptors", sockets),
    ("control pings", pings),
    ("votes of viewers that one address makes up", voters::stuffing),
    ("votes from more networks than are kept apart", voters::networks),
    ("operators' routes, by every spelling", disguises::disguises),
];

/// The server that is attacked.
struct Target {
    server: Server,
    address: String,
    /// The shipped HAProxy before it.
    balanced: String,
    _balancer: Ends,
    /// The live on air, and its jeu that takes votes.
    live: String,
    jeu: u64,
}

impl Target {
    fn new(steps: &Steps, server: Server) -> Result<Self> {
        let [address, ops] = [server.url(), server.ops_url()].map(|url| url.trim_start_matches("http://").to_owned());
        let port = free_port()?;
        // It knows three servers.
        let servers = vec![[address.clone(), ops]; PODS];
        let balancer = haproxy(steps, &steps.target(), Balance::RoundRobin, port, &servers)?;
        let balanced = format!("127.0.0.1:{port}");
        let lives = server.get("/api/lives", None)?;
        let live = lives[0]["live_id"].as_str().context("no live is on air")?.to_owned();
        let mut target = Self { server, address, balanced, _balancer: balancer, live, jeu: 0 };
        let results = target.results()?;
        let jeux = results["jeux"].as_array().into_iter().flatten();
        let mut open = jeux.filter(|jeu| jeu["phase"] == "open").filter_map(|jeu| jeu["jeu_id"].as_u64());
        target.jeu = open.next().context("no jeu is open")?;
        Ok(target)
    }

    fn results(&self) -> Result<Value> {
        self.server.get(&format!("/api/lives/{}/results", self.live), None)
    }

    /// Voters that the results show of the jeu.
    fn voters(&self) -> Result<u64> {
        let results = self.results()?;
        let mut jeux = results["jeux"].as_array().into_iter().flatten();
        let jeu = jeux.find(|jeu| jeu["jeu_id"] == self.jeu).context("results without the jeu")?;
        jeu["voters"].as_u64().context("a jeu without voters")
    }

    fn connect(&self) -> Result<TcpStream> {
        connect(&self.address)
    }

    fn send(&self, request: &str) -> Result<TcpStream> {
        send(&self.address, request)
    }

    /// The status of an address; `None` when it is not answered.
    fn status(&self, path: &str) -> Option<u16> {
        status_at(&self.address, path)
    }

    /// The longest that a probe or an admin waits, of some; fails when one is not served.
    fn probe(&self) -> Result<Duration> {
        let mut longest = Duration::ZERO;
        let ops = self.server.ops_url().trim_start_matches("http://");
        let asked = [(ops, "/healthz", 200), (ops, "/readyz", 200), (self.address.as_str(), "/api/admin/session", 401)];
        for (address, path, expected) in asked.repeat(5) {
            let asked = Instant::now();
            match status_at(address, path) {
                Some(status) if status == expected => longest = longest.max(asked.elapsed()),
                other => bail!("{path} is answered {other:?} instead of {expected}"),
            }
        }
        Ok(longest)
    }

    /// The value of a metric, all its labels together.
    fn metric(&self, name: &str) -> Result<f64> {
        let text = String::from_utf8(self.server.curl_ops("/metrics")?)?;
        let samples = text.lines().filter(|line| line.starts_with(name));
        Ok(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).context("the server takes no connection")?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
    stream.set_write_timeout(Some(ANSWERS_WITHIN))?;
    Ok(stream)
}

fn send(address: &str, request: &str) -> Result<TcpStream> {
    let mut stream = connect(address)?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// The status of a path at an address; `None` when it is not answered.
fn status_at(address: &str, path: &str) -> Option<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    status(send(address, &request).ok()?)
}

/// The status of an answer that ends its connection; `None` when there is none, or no end.
fn status(mut stream: TcpStream) -> Option<u16> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let head = String::from_utf8_lossy(answer.get(..12)?).into_owned();
    head.strip_prefix("HTTP/1.1 ")?.parse().ok()
}

fn login(headers: &str) -> String {
    format!("POST /api/admin/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n")
}

/// Row 1: a route that reads a body, asked for an upgrade.
fn upgrades(target: &Target) -> Result<Outcome> {
    let (mut sent, mut answered) = (0, 0);
    while sent < CONNECTIONS {
        let batch: Vec<_> = (0..AT_ONCE).map(|_| target.send(&login(UPGRADE))).collect::<Result<_>>()?;
        sent += batch.len();
        answered += batch.into_iter().filter_map(status).filter(|status| (400..500).contains(status)).count();
    }
    Ok(Outcome { has_held: answered == sent, figures: format!("{answered} of {sent} answered and closed") })
}

/// Row 2: bodies that are announced and do not come.
fn bodies(target: &Target) -> Result<Outcome> {
    // Those that had to make room are reset while others still come.
    let open = |_| target.send(&login("Content-Length: 16000\r\n"));
    let waiting: Vec<_> = (0..CONNECTIONS).map(open).filter_map(Result::ok).collect();
    let longest = target.probe()?;
    let began = Instant::now();
    wait("viewers are served again", ANSWERS_WITHIN, || Ok(target.status("/api/lives") == Some(200)))?;
    let again = began.elapsed();
    let late = waiting.into_iter().filter_map(status).filter(|status| *status == 408).count();
    let figures = format!(
        "{CONNECTIONS} at once, {late} answered 408; probes and admins within {} ms meanwhile, viewers after {:.1} s",
        longest.as_millis(),
        again.as_secs_f64()
    );
    Ok(Outcome { has_held: late > 0, figures })
}

/// Row 3: more sockets than there are descriptors.
fn sockets(target: &Target) -> Result<Outcome> {
    let mut taken = Vec::new();
    let refusal = loop {
        let (stream, head) = knock(&target.address, "/ws/demo")?;
        if !head.starts_with("HTTP/1.1 101 ") || taken.len() > CONNECTIONS {
            break head;
        }
        taken.push(stream);
    };
    let refusal = refusal.get(9..12).unwrap_or_default().to_owned();
    let longest = target.probe()?;
    let (files, most) = (target.metric("process_open_fds ")?, target.metric("process_max_fds ")?);
    let figures = format!(
        "{} taken, the next answered {refusal}; {files} of {most} files open; probes and admins within {} ms",
        taken.len(),
        longest.as_millis()
    );
    let has_held = refusal == "503" && files < most;
    drop(taken);
    wait("sockets are taken again", ANSWERS_WITHIN, || {
        Ok(knock(&target.address, "/ws/demo").is_ok_and(|(_, head)| head.starts_with("HTTP/1.1 101 ")))
    })?;
    Ok(Outcome { has_held, figures })
}

/// Row 17: pings of the protocol as fast as they can be sent.
fn pings(target: &Target) -> Result<Outcome> {
    let (mut stream, _) = knock(&target.address, "/ws/demo")?;
    let mut reading = stream.try_clone()?;
    // Answers are read all the while: whoever does not read is given up for that.
    let reader = std::thread::spawn(move || {
        let mut heard = Vec::new();
        let _ended_or_reset = reading.read_to_end(&mut heard);
        heard
    });
    let pings = [0x89, 0x80, 1, 2, 3, 4].repeat(1000);
    let (began, mut sent) = (Instant::now(), 0);
    while sent < PINGS {
        match stream.write_all(&pings) {
            Ok(()) => sent += 1000,
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let took = began.elapsed();
    let _already_ended = stream.shutdown(std::net::Shutdown::Both);
    let heard = reader.join().map_err(|_| anyhow::anyhow!("the reader of answers panicked"))?;
    let pongs = heard.windows(2).filter(|window| *window == [0x8A, 0]).count();
    // A goodbye with the code 4029.
    let is_ended = heard.windows(4).any(|window| matches!(window, [0x88, _, 0x0F, 0xBD]));
    let goodbye = if is_ended { "closed with 4029" } else { "no goodbye" };
    let figures = format!("{sent} sent in {:.1} s, {pongs} answered, {goodbye}", took.as_secs_f64());
    Ok(Outcome { has_held: is_ended && pongs < 1000, figures })
}

/// Runs every attack against a server on each socket path, prints what held, and fails if something did not.
pub(crate) fn run(steps: &Steps) -> Result<()> {
    let mut failed = Vec::new();
    for path in SocketPath::of(&steps.binary()) {
        // What comes from this machine is exempt unless a proxy on it says whom it is from.
        let arguments = [path.arguments(), &["--trusted-proxies", "127.0.0.0/8"]].concat();
        let target = Target::new(steps, Server::start_limited(&steps.binary(), &steps.target(), FILES, &arguments)?)?;
        say(&format!(
            "\nattacks on a server with {FILES} files, path {path}\n\n| attack | held | |\n| --- | --- | --- |"
        ));
        for (name, attack) in ATTACKS {
            let outcome = attack(&target).and_then(|outcome| target.probe().map(|_| outcome));
            let (has_held, figures) = match outcome {
                Ok(Outcome { has_held, figures }) => (has_held, figures),
                Err(error) => (false, format!("{error:#}")),
            };
            say(&format!("| {name} | {} | {figures} |", if has_held { "yes" } else { "no" }));
            if !has_held {
                failed.push(format!("{name} ({path})"));
            }
        }
        target.server.check_and_stop()?;
    }
    steps.it_tests("dumps that somebody made up", "archive::forged::", &[], false)?;
    let notes: &[(&str, &Path)] = &[("BAREME_BIN", &steps.binary()), ("BAREME_DUMP_NOTES", Path::new(EXPORTED_NOTES))];
    steps.it_tests("exports and readers beside votes", "archive::measure::what_exports_and", notes, true)?;
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("the server did not hold against: {}", failed.join(", ")),
    }
}
