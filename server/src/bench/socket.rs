//! What a vote costs the server over a real WebSocket, and what an idle connection weighs.
//!
//! The server runs as a process of its own on the first processor; the clients are here, on the second. The figure of merit
//! is the server's CPU time per acknowledged vote, read from `/proc/PID/task/*/schedstat`, never a rate by the wall
//! clock. The baseline of the same run is a program that only echoes bytes of the same sizes over the same sockets.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_websockets::{ClientBuilder, Message};

/// Sockets with one vote in flight each.
const VOTERS: usize = 1000;

/// Idle sockets whose memory is weighed.
const IDLE: usize = 5000;

/// How long votes are counted.
const DURATION: Duration = Duration::from_secs(8);

/// Bytes of a vote and of its reply on the wire, for the echo.
const ECHO_BYTES: usize = 150;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Acknowledged votes a second while they were counted.
    pub votes_per_s: f64,
    /// Server CPU per vote with a snapshot every 100 ms to every socket.
    pub cpu_us_per_vote: f64,
    /// Server CPU per vote with snapshots switched off.
    pub cpu_us_per_vote_quiet: f64,
    /// CPU of the echo per message.
    pub cpu_us_per_echo: f64,
    /// Resident bytes per idle connection.
    pub bytes_per_idle: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VOTERS} sockets, one vote in flight each, SQLite with synchronous=FULL")?;
        writeln!(f, "  durable votes/s                         {:>10.0}", self.votes_per_s)?;
        writeln!(f, "  CPU per echo of {ECHO_BYTES} bytes (baseline)     {:>10.2} µs", self.cpu_us_per_echo)?;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, cost: f64| {
            writeln!(f, "  {name:<39} {cost:>10.2} µs   {:.2} × the echo", cost / self.cpu_us_per_echo)
        };
        line(f, "CPU per vote, snapshots off", self.cpu_us_per_vote_quiet)?;
        line(f, "CPU per vote, snapshots every 100 ms", self.cpu_us_per_vote)?;
        write!(f, "{IDLE} idle sockets\n  resident memory per connection          {:>10.0} B", self.bytes_per_idle)
    }
}

/// A process that ends with its guard.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Process {
    /// CPU time of all its threads, in microseconds.
    fn cpu_us(&self) -> Result<f64, Failure> {
        let mut total_ns = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            total_ns += text.split_whitespace().next().unwrap_or("0").parse::<f64>()?;
        }
        Ok(total_ns / 1000.0)
    }

    /// Resident memory, in bytes.
    fn resident(&self) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024.0)
    }
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts this program on the first processor and waits until it listens.
fn start(arguments: &[&str], port: u16) -> Result<Process, Failure> {
    let program = std::env::current_exe()?;
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).args(arguments);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let process = Process(child);
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            return Err("the measured program does not listen after 20 s".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

/// A demo server in `dir`, with a snapshot every `tick_ms`.
fn server(dir: &Path, tick_ms: &str) -> Result<(Process, SocketAddr), Failure> {
    let port = free_port()?;
    let listen = format!("127.0.0.1:{port}");
    let data = dir.join(format!("demo-{port}"));
    let data = data.to_str().ok_or("the folder's name is not UTF-8")?;
    let process = start(
        &[
            "demo",
            "--viewers",
            "0",
            "--listen",
            &listen,
            "--data-dir",
            data,
            "--socket-rate",
            "1000000",
            "--tick-ms",
            tick_ms,
            "--workers",
            "1",
            "--log",
            "error",
        ],
        port,
    )?;
    Ok((process, listen.parse()?))
}

/// The live that the demo has on air.
fn live_id(address: SocketAddr) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /api/channels/demo/live HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let start = answer.find('{').ok_or("no JSON in the answer")?;
    let end = answer.rfind('}').ok_or("no JSON in the answer")?;
    let live: Value = serde_json::from_str(&answer[start..=end])?;
    Ok(live["live_id"].as_str().ok_or("no live on air")?.to_owned())
}

type Socket = tokio_websockets::WebSocketStream<tokio_websockets::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(address: SocketAddr) -> Result<Socket, Failure> {
    let url = format!("ws://{address}/ws/demo");
    let (mut socket, _) = ClientBuilder::new().uri(&url)?.connect().await?;
    loop {
        let message = socket.next().await.ok_or("closed before the state")??;
        if message.as_text().is_some_and(|text| text.starts_with("{\"t\":\"state\"")) {
            return Ok(socket);
        }
    }
}

/// Votes on one socket until `until`, one in flight; says how many were acknowledged.
async fn voter(mut socket: Socket, live: String, until: Instant) -> Result<u64, Failure> {
    let mut acknowledged = 0;
    let mut v = u64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_micros())?;
    while Instant::now() < until {
        v += 1;
        let note = json!({"t": "note", "live": live, "jeu": 1, "v": v, "scores": {"fun": v % 5 + 1, "graph": 3}});
        socket.send(Message::text(note.to_string())).await?;
        loop {
            let message = socket.next().await.ok_or("closed while voting")??;
            let Some(text) = message.as_text().filter(|text| text.starts_with("{\"t\":\"reply\"")) else { continue };
            if !text.contains("\"status\":\"ok\"") {
                return Err(format!("refused: {text}").into());
            }
            acknowledged += 1;
            break;
        }
    }
    Ok(acknowledged)
}

/// Acknowledged votes and server CPU in microseconds.
async fn vote(dir: &Path, tick_ms: &str) -> Result<(f64, f64), Failure> {
    let (server, address) = server(dir, tick_ms)?;
    let live = live_id(address)?;
    let mut sockets = Vec::with_capacity(VOTERS);
    for _ in 0..VOTERS {
        sockets.push(connect(address).await?);
    }
    let before = server.cpu_us()?;
    let until = Instant::now() + DURATION;
    let voters: Vec<_> = sockets.into_iter().map(|socket| tokio::spawn(voter(socket, live.clone(), until))).collect();
    let mut votes = 0;
    for voter in voters {
        votes += voter.await??;
    }
    let cpu_us = server.cpu_us()? - before;
    #[expect(clippy::cast_precision_loss, reason = "votes of a few seconds stay far below 2^53")]
    Ok((votes as f64, cpu_us))
}

/// CPU of the echo per message, in microseconds.
async fn echo() -> Result<f64, Failure> {
    let port = free_port()?;
    let process = start(&["bench", "--echo", &port.to_string()], port)?;
    let before = process.cpu_us()?;
    let until = Instant::now() + DURATION;
    let mut clients = Vec::with_capacity(VOTERS);
    for _ in 0..VOTERS {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        clients.push(tokio::spawn(async move {
            let mut bytes = [7; ECHO_BYTES];
            let mut count = 0.0;
            while Instant::now() < until {
                stream.write_all(&bytes).await?;
                stream.read_exact(&mut bytes).await?;
                count += 1.0;
            }
            Ok::<f64, std::io::Error>(count)
        }));
    }
    let mut messages = 0.0;
    for client in clients {
        messages += client.await??;
    }
    Ok((process.cpu_us()? - before) / messages)
}

/// Serves the echo on a port of the loopback, until the process is ended.
///
/// # Errors
/// The socket's.
pub async fn serve_echo(port: u16) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok(count) = stream.read(&mut bytes).await {
                if count == 0 || stream.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Resident bytes per idle connection.
async fn idle(dir: &Path) -> Result<f64, Failure> {
    let (server, address) = server(dir, "100")?;
    // What the first connections touch is paid once.
    let first = connect(address).await?;
    let before = server.resident()?;
    let mut sockets = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        sockets.push(connect(address).await?);
    }
    let after = server.resident()?;
    drop((sockets, first));
    #[expect(clippy::cast_precision_loss, reason = "a small constant")]
    Ok((after - before) / IDLE as f64)
}

/// Measures on the disk of `dir`; takes about a minute. Needs two processors, `taskset` and 10,000 file descriptors.
///
/// # Errors
/// What the operating system or the measured server says.
pub async fn socket_bench(dir: &Path) -> Result<Figures, Failure> {
    let cpu_us_per_echo = echo().await?;
    let (quiet_votes, quiet_cpu) = vote(dir, "3600000").await?;
    let (votes, cpu) = vote(dir, "100").await?;
    Ok(Figures {
        votes_per_s: votes / DURATION.as_secs_f64(),
        cpu_us_per_vote: cpu / votes,
        cpu_us_per_vote_quiet: quiet_cpu / quiet_votes,
        cpu_us_per_echo,
        bytes_per_idle: idle(dir).await?,
    })
}
