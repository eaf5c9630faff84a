//! What one source of settings says: the command line with its variables, or the file.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::{LogFormat, Sockets};

/// One source of settings: the flags and the environment, or the file. What it does not name is `None`.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Address and port to listen on [default: 127.0.0.1:8080]
    ///
    /// 0.0.0.0:8080 lets phones on the same network in.
    #[arg(long, global = true, env = "BAREME_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Address and port for operators: health, metrics, connections [default: 127.0.0.1, 1000 ports above --listen]
    ///
    /// Viewers must not reach it. With 0 the system chooses a port, which is printed.
    #[arg(long, global = true, env = "BAREME_OPS_LISTEN", value_name = "ADDRESS:PORT")]
    pub ops_listen: Option<String>,
    /// Folder of the database file, made at the first start [default: ./bareme-data]
    #[arg(long, global = true, env = "BAREME_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Where votes are kept: `sqlite`, `memory` which forgets everything at the end, or a cluster [default: sqlite]
    ///
    /// A cluster of ScyllaDB or Apache Cassandra is cql://node-1,node-2/keyspace?dc=NAME, with &user=NAME,
    /// &password_file=FILE and &tls=FILE (certificates in PEM) where it asks for them.
    #[arg(long, global = true, env = "BAREME_STORE", value_name = "STORE")]
    pub store: Option<String>,
    /// URL people reach this server under, when a proxy stands before it [default: what each request says]
    #[arg(long, global = true, env = "BAREME_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Names this server answers under besides that of --public-url, or, without it, besides localhost and the addresses of
    /// this machine [default: none]
    #[arg(long, global = true, env = "BAREME_ALLOWED_HOSTS", value_name = "HOSTS", value_delimiter = ',')]
    #[serde(default, deserialize_with = "one_or_many")]
    pub allowed_hosts: Option<Vec<String>>,
    /// Serves the pages' files from this folder, for people who work on them
    #[arg(long, global = true, hide = true, env = "BAREME_ASSETS_DIR", value_name = "FOLDER")]
    pub assets_dir: Option<PathBuf>,
    /// Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, such as 10.0.0.0/8 [default: none]
    #[arg(long, global = true, env = "BAREME_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',')]
    #[serde(default, deserialize_with = "one_or_many")]
    pub trusted_proxies: Option<Vec<String>>,
    /// What to log: error, warn, info, debug, trace, or a filter such as info,bareme=debug [default: info]
    #[arg(long, global = true, env = "BAREME_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines look [default: auto, which is human on a terminal and json otherwise]
    #[arg(
        long,
        global = true,
        env = "BAREME_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true
    )]
    pub log_format: Option<LogFormat>,
    /// Collector that traces of votes are sent to, such as http://127.0.0.1:4318 [default: none, and no traces]
    ///
    /// OTLP over HTTP with protobuf. Headers it asks for come from the variable OTEL_EXPORTER_OTLP_HEADERS.
    #[arg(long, global = true, env = "BAREME_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Share of those who join whose votes are traced, from 0 to 1 [default: 0.01]
    #[arg(long, global = true, env = "BAREME_TRACE_RATIO", value_name = "NUMBER")]
    pub trace_ratio: Option<f64>,
    /// Votes per second that one address may send over HTTP; loopback is exempt [default: 50]
    #[arg(long, global = true, env = "BAREME_VOTE_RATE", value_name = "NUMBER")]
    pub vote_rate: Option<u32>,
    /// Viewers of one address that may vote for the first time at once, and as many again in ten minutes; loopback is
    /// exempt [default: 600]
    #[arg(long, global = true, env = "BAREME_NEW_VIEWERS_PER_ADDRESS", value_name = "NUMBER")]
    pub new_viewers_per_address: Option<u32>,
    /// Messages per second that one socket may send [default: 10]
    #[arg(long, global = true, env = "BAREME_SOCKET_RATE", value_name = "NUMBER")]
    pub socket_rate: Option<u32>,
    /// Most sockets of one address at once; loopback is exempt [default: 1000]
    #[arg(long, global = true, env = "BAREME_SOCKETS_PER_ADDRESS", value_name = "NUMBER")]
    pub sockets_per_address: Option<u32>,
    /// How sockets are served: `fast` by event loops of their own (Linux), `portable` by the HTTP server [default: fast]
    #[arg(long, global = true, env = "BAREME_SOCKETS", value_name = "PATH", value_enum, hide_possible_values = true)]
    pub sockets: Option<Sockets>,
    /// Milliseconds between two snapshots that pages get, at least [default: 100]
    #[arg(long, global = true, env = "BAREME_TICK_MS", value_name = "MILLISECONDS")]
    pub tick_ms: Option<u64>,
    /// Most connections at once [default: 100000]
    #[arg(long, global = true, env = "BAREME_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub max_connections: Option<usize>,
    /// Threads that serve connections [default: 0, one for each processor]
    #[arg(long, global = true, env = "BAREME_WORKERS", value_name = "NUMBER")]
    pub workers: Option<usize>,
    /// Where lives that are over are dumped: a folder, file:///…, s3://bucket/prefix, gs://…, az://…, or `off`
    /// [default: the folder `dumps` in the data directory; off on a cluster]
    ///
    /// Secrets are read from the variables of the provider, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from
    /// files that AWS_SECRET_ACCESS_KEY_FILE and the like name.
    #[arg(long, global = true, env = "BAREME_DUMP_TO", value_name = "PLACE")]
    pub dump_to: Option<String>,
    /// Days that single notes are kept after their live, once they are in a dump; 0 keeps them for ever [default: 90]
    #[arg(long, global = true, env = "BAREME_KEEP_NOTES_DAYS", value_name = "DAYS")]
    pub keep_notes_days: Option<u32>,
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(Some(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => text.split(',').map(str::to_owned).collect(),
        OneOrMany::Many(texts) => texts,
    }))
}
