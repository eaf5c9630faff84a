//! Settings: one struct, checked before anything starts. Flags, then `BAREME_*`, then a file, then defaults.
//!
//! **Invariant**: a setting nobody knows is refused by name, wherever it comes from, with the nearest known one; a typo
//! must not silently leave a default in force.

mod options;
mod resolve;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use crate::archive::{DumpTo, TargetUrl};
use crate::http::hosts::HostName;
use crate::store::cql::CqlUrl;
use crate::ws::session::Rate;

pub use options::Options;
pub use resolve::{check_environment, resolve};

/// Which store keeps the durable facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// One SQLite file in the data directory.
    Sqlite,
    /// Memory: everything is gone when the program ends. For trying things out.
    Memory,
    /// A cluster that several servers share.
    Cql(CqlUrl),
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite => f.write_str("sqlite"),
            Self::Memory => f.write_str("memory"),
            Self::Cql(url) => url.fmt(f),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// How sockets are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Sockets {
    /// By event loops of their own; Linux only.
    Fast,
    /// By actix-ws, as admins' sockets always are.
    Portable,
}

impl Sockets {
    /// The fast path where there is one.
    pub const fn default_here() -> Self {
        if cfg!(target_os = "linux") { Self::Fast } else { Self::Portable }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Portable => "portable",
        }
    }
}

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Address that operators' routes are on, and nothing else.
    pub ops_listen: SocketAddr,
    /// Folder of the database file.
    pub data_dir: PathBuf,
    /// Which store.
    pub store: StoreKind,
    /// Origin and path prefix people reach this server under; `None`: what the request says.
    pub public_url: Option<url::Url>,
    /// Names this server answers under besides.
    pub allowed_hosts: Vec<HostName>,
    /// Serves `overlay/` from this folder instead of the embedded files, while working on them.
    pub assets_dir: Option<PathBuf>,
    /// Networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What is logged, as `tracing_subscriber::EnvFilter` reads it.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where traces of votes go (OTLP over HTTP); `None`: nowhere, and none are made.
    pub otlp_endpoint: Option<url::Url>,
    /// Share of those who join whose votes are traced, from 0 to 1.
    pub trace_ratio: f64,
    /// Votes per second that one address may send over HTTP, ten times as many at once; loopback is exempt.
    pub vote_rate: u32,
    /// Viewers of one address that may vote for the first time at once, and as many again in ten minutes; loopback is
    /// exempt.
    pub new_viewers_per_address: u32,
    /// Messages per second that one socket may send, four times as many at once.
    pub socket_rate: u32,
    /// Most sockets of one address at once; loopback is exempt.
    pub sockets_per_address: u32,
    /// How sockets are served.
    pub sockets: Sockets,
    /// Least time between two snapshots of a room, in milliseconds.
    pub tick_ms: u64,
    /// Most connections at once.
    pub max_connections: usize,
    /// Threads that serve connections; 0: one for each processor.
    pub workers: usize,
    /// Where lives that are over are dumped.
    pub dump_to: DumpTo,
    /// Days that notes are kept after the end of their live, once they are in a dump; 0: for ever.
    pub keep_notes_days: u32,
}

/// Folder of dumps in the data directory.
const DUMPS: &str = "dumps";

/// Most days that notes can be kept: a hundred years.
const MAX_KEEP_DAYS: u32 = 36_500;

/// Where a server listens unless it is told otherwise.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// How far above the port for viewers that for operators is, unless it is set: two servers of one machine that have
/// different ports for viewers have different ones for operators.
const OPS_PORTS_ABOVE: u16 = 1000;

/// Where operators' routes are beside this address for viewers, unless it is set. A port that the system chooses (0) has
/// another one that it chooses beside it.
pub fn ops_beside(listen: SocketAddr) -> SocketAddr {
    let port = match listen.port() {
        0 => 0,
        port => port.checked_add(OPS_PORTS_ABOVE).unwrap_or(port.saturating_sub(OPS_PORTS_ABOVE)),
    };
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            ops_listen: ops_beside(DEFAULT_LISTEN),
            data_dir: PathBuf::from("bareme-data"),
            store: StoreKind::Sqlite,
            public_url: None,
            allowed_hosts: Vec::new(),
            assets_dir: None,
            trusted_proxies: Vec::new(),
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
            otlp_endpoint: None,
            trace_ratio: 0.01,
            vote_rate: 50,
            new_viewers_per_address: 600,
            socket_rate: 10,
            sockets_per_address: 1000,
            sockets: Sockets::default_here(),
            tick_ms: 100,
            max_connections: 100_000,
            workers: 0,
            dump_to: DumpTo::Default,
            keep_notes_days: 90,
        }
    }
}

/// Every setting's name in the file; the flag is the same with dashes, the variable in capitals after `BAREME_`.
pub const NAMES: [&str; 22] = [
    "listen",
    "ops_listen",
    "data_dir",
    "store",
    "public_url",
    "allowed_hosts",
    "assets_dir",
    "trusted_proxies",
    "log",
    "log_format",
    "otlp_endpoint",
    "trace_ratio",
    "vote_rate",
    "new_viewers_per_address",
    "socket_rate",
    "sockets_per_address",
    "sockets",
    "tick_ms",
    "max_connections",
    "workers",
    "dump_to",
    "keep_notes_days",
];

/// A setting is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}; {remedy}")]
pub struct SettingsError {
    /// Which, or where.
    pub setting: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl SettingsError {
    fn new(setting: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { setting: setting.into(), reason: reason.into(), remedy: remedy.into() }
    }
}

/// A setting as `bareme config` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Name in the file.
    pub name: &'static str,
    /// Value in TOML; `None` when it is unset.
    pub value: Option<String>,
    /// Where it came from.
    pub source: String,
}

impl Settings {
    /// Checks what no single value shows.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let (public, ops) = (self.listen, self.ops_listen);
        let is_same_host = public.ip() == ops.ip() || public.ip().is_unspecified() || ops.ip().is_unspecified();
        if public.port() == ops.port() && public.port() != 0 && is_same_host {
            return Err(SettingsError::new("ops_listen", "is the port of `listen`", "use another port"));
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err(SettingsError::new("data_dir", "is empty", "name a folder"));
        }
        if self.vote_rate == 0 {
            return Err(SettingsError::new("vote_rate", "is 0, so nobody could vote", "use 1 or more"));
        }
        if self.new_viewers_per_address == 0 {
            let reason = "is 0, so nobody could vote";
            return Err(SettingsError::new("new_viewers_per_address", reason, "use 1 or more"));
        }
        if self.socket_rate == 0 {
            return Err(SettingsError::new("socket_rate", "is 0, so nobody could vote", "use 1 or more"));
        }
        if self.sockets_per_address == 0 {
            let reason = "is 0, so nobody could connect";
            return Err(SettingsError::new("sockets_per_address", reason, "use 1 or more"));
        }
        if self.sockets == Sockets::Fast && Sockets::default_here() != Sockets::Fast {
            return Err(SettingsError::new("sockets", "`fast` needs Linux", "use `portable`"));
        }
        if !(10..=3_600_000).contains(&self.tick_ms) {
            return Err(SettingsError::new("tick_ms", "is out of range", "use 10 to 3600000"));
        }
        if self.max_connections == 0 {
            return Err(SettingsError::new("max_connections", "is 0, so nobody could connect", "use 1 or more"));
        }
        if !(0.0..=1.0).contains(&self.trace_ratio) {
            return Err(SettingsError::new("trace_ratio", "is out of range", "use 0 to 1, such as 0.01"));
        }
        if self.workers > 1024 {
            return Err(SettingsError::new("workers", "is above 1024", "use 0 for one for each processor"));
        }
        if self.keep_notes_days > MAX_KEEP_DAYS {
            let reason = format!("is above {MAX_KEEP_DAYS}");
            return Err(SettingsError::new("keep_notes_days", reason, "use 0 to keep notes for ever"));
        }
        if tracing_subscriber::EnvFilter::try_new(&self.log).is_err() {
            let reason = format!("`{}` is not a filter", self.log);
            return Err(SettingsError::new("log", reason, "use error, warn, info, debug or trace"));
        }
        if let Some(folder) = self.assets_dir.as_ref().filter(|folder| !folder.is_dir()) {
            let reason = format!("{} is not a folder", folder.display());
            return Err(SettingsError::new("assets_dir", reason, "name the folder `overlay` of the sources"));
        }
        Ok(())
    }

    /// How many messages a socket may send.
    pub fn socket_rate(&self) -> Rate {
        let per_second = f64::from(self.socket_rate);
        Rate { per_second, burst: per_second * 4.0 }
    }

    /// Where lives that are over are dumped, if anywhere. Beside the file of a server on one machine unless it is told
    /// otherwise: a copy that people can read, that outlives the file, and that lets old notes be forgotten at all. Pods
    /// of a cluster have no disk that lasts, and memory nothing that should.
    pub fn dump_target(&self) -> Option<TargetUrl> {
        match (&self.dump_to, &self.store) {
            (DumpTo::There(url), _) => Some(url.clone()),
            (DumpTo::Default, StoreKind::Sqlite) => {
                let folder = self.data_dir.join(DUMPS);
                Some(TargetUrl::Folder(std::path::absolute(&folder).unwrap_or(folder)))
            }
            (DumpTo::Off, _) | (DumpTo::Default, _) => None,
        }
    }

    /// A setting in TOML; `None` when it is unset.
    fn value(&self, name: &str) -> Option<String> {
        let text = |text: String| Some(toml::Value::String(text).to_string());
        match name {
            "listen" => text(self.listen.to_string()),
            "ops_listen" => text(self.ops_listen.to_string()),
            "data_dir" => text(self.data_dir.display().to_string()),
            "store" => text(self.store.to_string()),
            "public_url" => self.public_url.as_ref().and_then(|url| text(url.to_string())),
            "allowed_hosts" => {
                let hosts = self.allowed_hosts.iter().map(|host| toml::Value::String(host.to_string()));
                Some(toml::Value::Array(hosts.collect()).to_string())
            }
            "assets_dir" => self.assets_dir.as_ref().and_then(|folder| text(folder.display().to_string())),
            "trusted_proxies" => {
                let networks = self.trusted_proxies.iter().map(|network| toml::Value::String(network.to_string()));
                Some(toml::Value::Array(networks.collect()).to_string())
            }
            "log" => text(self.log.clone()),
            "log_format" => text(format!("{:?}", self.log_format).to_lowercase()),
            "otlp_endpoint" => self.otlp_endpoint.as_ref().and_then(|url| text(url.to_string())),
            "trace_ratio" => Some(toml::Value::Float(self.trace_ratio).to_string()),
            "vote_rate" => Some(self.vote_rate.to_string()),
            "new_viewers_per_address" => Some(self.new_viewers_per_address.to_string()),
            "socket_rate" => Some(self.socket_rate.to_string()),
            "sockets_per_address" => Some(self.sockets_per_address.to_string()),
            "sockets" => text(self.sockets.as_str().to_owned()),
            "tick_ms" => Some(self.tick_ms.to_string()),
            "max_connections" => Some(self.max_connections.to_string()),
            "workers" => Some(self.workers.to_string()),
            "dump_to" => text(self.dump_target().map_or_else(|| "off".to_owned(), |url| url.to_string())),
            "keep_notes_days" => Some(self.keep_notes_days.to_string()),
            _ => None,
        }
    }
}
