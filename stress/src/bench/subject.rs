//! The programs that are compared, each started on the server's processor with rooms that are on air.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dialect::Dialect;
use super::process::{Process, free_address};
use crate::admin::Api;

/// Bytes of a frame with numbers on the wire, head included, as this project's server sends it for the bareme below. The
/// others are told to send as many.
pub(super) const FRAME_BYTES: usize = 280;

/// The live that programs show which know none.
const NO_LIVE: &str = "019b76da-a800-7000-8000-000000000001";
const PATIENCE: Duration = Duration::from_secs(20);

/// A program, and how it serves sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The least that is possible; see [`super::floor`].
    Floor,
    /// This project's server, portable path.
    Portable,
    /// Another build of this project's server, fast path.
    Before,
    /// This project's server, fast path.
    Fast,
    /// `ws` on Node.
    Ws,
    /// Socket.IO 4 on Node.
    SocketIo,
}

impl Subject {
    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Portable => "portable",
            Self::Before => "before",
            Self::Fast => "fast",
            Self::Ws => "Node ws",
            Self::SocketIo => "Socket.IO 4",
        }
    }

    /// Whether its votes are on disk when they are acknowledged.
    pub(super) fn is_durable(self) -> bool {
        matches!(self, Self::Portable | Self::Before | Self::Fast)
    }
}

/// Where programs and their files are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// This project's server.
    pub server: PathBuf,
    /// The build it is compared with, if any.
    pub before: Option<PathBuf>,
    /// The Node programs.
    pub others: PathBuf,
    /// Where data may be written; its disk is measured.
    pub folder: PathBuf,
}

/// What a program is started for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Least time between two frames; `None`: no frames after the first.
    pub tick: Option<Duration>,
    /// Channels with a live on air.
    pub rooms: u32,
    /// Messages that a socket may send in a second; otherwise more than anybody sends.
    pub socket_rate: Option<u32>,
    /// Whether connections from this machine may say whom they come from.
    pub behind_proxy: bool,
}

impl Default for Wanted {
    /// One room without frames after the first.
    fn default() -> Self {
        Self { tick: None, rooms: 1, socket_rate: None, behind_proxy: false }
    }
}

/// A running program.
pub(super) struct Served {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// How it talks.
    pub dialect: Dialect,
    /// Path and live of each room.
    pub rooms: Vec<Room>,
    _folder: TempDir,
}

/// A channel.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// The path of its sockets.
    pub path: String,
    /// Its live.
    pub live: String,
    /// The jeu that is open.
    pub jeu: u32,
}

/// Two criteres make a frame of [`FRAME_BYTES`], more or less, as the numbers have it.
fn bareme() -> Value {
    let critere = |key: &str, name: &str| {
        json!({"key": key, "labels": {"fr": name, "en": name}, "min": 1, "max": 5, "step": 1, "weight": 1,
               "low": {"fr": "peu", "en": "little"}, "high": {"fr": "beaucoup", "en": "much"}, "optional": true})
    };
    json!({"name": "Mesure", "criteres": [critere("fun", "Fun"), critere("duree", "Durée")]})
}

/// Whether the server takes a choice of socket paths.
pub(super) fn takes(server: &Path, arguments: &[&str]) -> bool {
    let mut config = quiet(server);
    config.arg("config").args(arguments);
    config.status().is_ok_and(|status| status.success())
}

/// A program that says nothing and takes no setting of this process.
fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BAREME_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Subject {
    /// The arguments that choose the path; none for a server that has only one.
    fn path_arguments(self, server: &Path) -> Result<&'static [&'static str]> {
        let (asked, is_default): (&[&str], _) = match self {
            Self::Before | Self::Fast => (&["--sockets", "fast"], false),
            _ => (&["--sockets", "portable"], true),
        };
        if takes(server, asked) {
            return Ok(asked);
        }
        if is_default && takes(server, &[]) {
            return Ok(&[]);
        }
        bail!("{} has no socket path `{}` on this machine", server.display(), self.name())
    }

    /// Starts it.
    pub(super) fn start(self, place: &Place, wanted: Wanted) -> Result<Served> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&place.folder);
        let folder = folder.with_context(|| format!("cannot write in {}", place.folder.display()))?;
        let address = free_address()?;
        let tick_ms = wanted.tick.map_or(0, |tick| tick.as_millis());
        let dialect = if self == Self::SocketIo { Dialect::SocketIo } else { Dialect::Plain };
        let path = if self == Self::SocketIo { "/socket.io/?EIO=4&transport=websocket" } else { "/" };
        let shared = Room { path: path.to_owned(), live: NO_LIVE.to_owned(), jeu: 1 };
        let numbers = [tick_ms.to_string(), FRAME_BYTES.to_string()];
        let (process, rooms) = match self {
            Self::Floor => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["floor", "--listen", &address.to_string()]);
                command.args(["--tick-ms", &numbers[0], "--frame-bytes", &numbers[1]]);
                (Process::start(&mut command, address)?, vec![shared])
            }
            Self::Ws | Self::SocketIo => {
                let script = if self == Self::Ws { "ws.mjs" } else { "socketio.mjs" };
                let mut command = Command::new("node");
                command.arg(place.others.join(script)).arg(address.port().to_string()).args(numbers);
                (Process::start(&mut command, address)?, vec![shared])
            }
            Self::Portable | Self::Before | Self::Fast => {
                let server = match self {
                    Self::Before => place.before.as_ref().context("name the other build with --before")?,
                    _ => &place.server,
                };
                let data = folder.path().join("data");
                let tick_ms = if tick_ms == 0 { 3_600_000 } else { tick_ms };
                let mut command = quiet(server);
                let rate = wanted.socket_rate.unwrap_or(1_000_000).to_string();
                command.args(["serve", "--workers", "1", "--log", "error", "--socket-rate", &rate]);
                command.args(["--tick-ms", &tick_ms.to_string(), "--listen", &address.to_string(), "--data-dir"]);
                command.arg(&data).args(self.path_arguments(server)?).stderr(Stdio::inherit());
                if wanted.behind_proxy {
                    command.args(["--trusted-proxies", "127.0.0.0/8"]);
                }
                let process = Process::start(&mut command, address)?;
                let rooms = rooms(server, &data, address, wanted.rooms)?;
                (process, rooms)
            }
        };
        process.settle()?;
        Ok(Served { process, address, dialect, rooms, _folder: folder })
    }
}

/// Waits until a server has read its store: it listens before.
fn wait_until_ready(server: &Path, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let ask = || quiet(server).args(["healthcheck", "--ready", "--listen", &address.to_string()]).status();
    while !ask().is_ok_and(|status| status.success()) {
        if Instant::now() > deadline {
            bail!("the measured server is not ready after {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Puts lives on air.
fn rooms(server: &Path, data: &Path, address: SocketAddr, count: u32) -> Result<Vec<Room>> {
    wait_until_ready(server, address)?;
    let mut token = quiet(server);
    token.args(["token", "new", "--name", "bench", "--role", "admin", "--data-dir"]).arg(data);
    let made = token.stdout(Stdio::piped()).output().context("cannot make a token")?;
    if !made.status.success() {
        bail!("cannot make a token beside the measured server");
    }
    let token = String::from_utf8(made.stdout)?.trim().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let api = Api::new(&format!("http://{address}").parse()?, Some(token), PATIENCE)?;
        let mut rooms = Vec::new();
        for number in 1..=count {
            let channel = format!("salle-{number}");
            let live = api.make_live(&channel, 1, Some(&bareme())).await?;
            let jeu = live.programme.first().context("a live without a jeu")?.jeu.jeu_id.0;
            api.open_jeu(live.live_id, jeu).await?;
            rooms.push(Room { path: format!("/ws/{channel}"), live: live.live_id.to_string(), jeu });
        }
        Ok(rooms)
    })
}
