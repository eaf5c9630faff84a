//! The command line: what people type, what they are told, and with which code the program ends.
//!
//! Codes: 0 when all went well, 1 when something failed while running, 2 when the command or a setting is wrong.
//!
//! **Invariant**: `token new` prints the token and nothing else on standard output, so that scripts can keep it.

mod announce;
mod archive;
mod audit;
mod export;
mod people;
mod progress;
mod repair;
mod status;
mod tools;

use std::io::IsTerminal as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::app::{App, AppError, Listeners, listen, own_address, signal};
use crate::audit::{Filter, Kind};
use crate::catalogue::{Role, Scope};
use crate::settings::{LogFormat, Options, Settings, SettingsError, Shown, StoreKind, check_environment, resolve};
use crate::store::cql::{CqlStore, CqlUrl};
use crate::store::memory::MemoryStore;
use crate::store::metered::MeteredStore;
use crate::store::patient::patiently;
use crate::store::sqlite::SqliteStore;
use crate::store::{ErrorKind, Store, StoreError};
use crate::{demo, logs};

/// Simulated viewers of `demo` unless it is told otherwise.
const DEMO_VIEWERS: u32 = 30;
/// Most simulated viewers: they are a show in the server's own process, not a measurement.
const MAX_DEMO_VIEWERS: i64 = 5_000;

/// Viewers rate the games of a live; the stream sees the averages move.
///
/// Settings come from flags, then from variables BAREME_*, then from the file of --config, then from defaults.
#[derive(Debug, Parser)]
#[command(name = "bareme", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// File with settings in TOML, such as `listen = "0.0.0.0:8080"`
    #[arg(long, global = true, env = "BAREME_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves pages, API and WebSockets (this is what happens without a command)
    Serve,
    /// Serves a sample channel with a live on air and simulated viewers
    Demo {
        /// Simulated viewers; 0 for none
        #[arg(long, env = "BAREME_VIEWERS", default_value_t = DEMO_VIEWERS,
            value_parser = clap::value_parser!(u32).range(0..=MAX_DEMO_VIEWERS))]
        viewers: u32,
    },
    /// Makes, lists and revokes API tokens, also beside a running server
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Makes, lists and removes accounts, also beside a running server: the way back for a lost password, second factor or
    /// passkey
    Streamer {
        #[command(subcommand)]
        command: people::Command,
    },
    /// Prints the audit log, newest first, also beside a running server
    Audit {
        /// Only these
        #[arg(long, value_enum, default_value_t)]
        kind: Kind,
        /// Only those with this text in the name, the action or the object
        #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
        text: String,
        /// Most entries
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: audit::Format,
    },
    /// What all viewers have in common, also beside a running server
    Viewers {
        #[command(subcommand)]
        command: ViewersCommand,
    },
    #[command(flatten)]
    Archive(archive::Command),
    /// Lists chunks of the journal, notes and results that cannot be read, and sets chunks aside so that their jeux can be;
    /// ends with 1 while there are some. Beside running servers (--store sqlite, or cql://…)
    Repair {
        /// Sets chunks aside, into the table `set_aside`
        #[arg(long)]
        set_aside: bool,
    },
    /// Brings the keyspace of a cluster (--store cql://…) to this version's schema; run it once, from one place
    Migrate,
    /// Prints the settings that would be used and where each comes from, and checks them
    Config,
    /// Ends with 0 when the server at --ops-listen answers, else with 1; for containers
    Healthcheck {
        /// Asks whether it is ready for traffic, not only whether it runs
        #[arg(long)]
        ready: bool,
    },
    /// Shows how a running server is: ready or not, connections in all and by channel
    Status {
        /// Its address for operators, such as http://10.0.0.7:9080 [default: the server at --ops-listen]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Prints the JSON of /api/v1/monitoring/websocket/stats instead
        #[arg(long)]
        json: bool,
    },
    /// Measures the store on this machine
    #[command(hide = true)]
    Bench {
        /// Serves a WebSocket that echoes on this port instead, on the path that --sockets names
        #[arg(long, hide = true, value_name = "PORT")]
        echo_ws: Option<u16>,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Makes a token and prints it; it is not shown again
    New {
        /// What it is for
        #[arg(long)]
        name: String,
        /// What it may do, in one word: `admin` everything but accounts, `moderator` read and drive lives
        #[arg(long, value_enum, required_unless_present = "scope")]
        role: Option<Role>,
        /// What it may do: some of read, drive, manage, accounts
        #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "role")]
        scope: Vec<Scope>,
        /// Ends by itself after so many days
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3_650))]
        days: Option<u64>,
    },
    /// Lists tokens: id, what they may do, when they end, name
    List,
    /// Revokes a token; servers close the sockets that are open with it
    Revoke {
        /// Its id, as `token list` shows it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum ViewersCommand {
    /// Makes a new secret for viewer tokens after the old one has leaked: every browser is a new viewer within two seconds
    Rotate {
        /// Also while a live is on air, where everybody can then vote a second time
        #[arg(long)]
        force: bool,
    },
}

/// Why the program ends with something else than 0.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn running(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self { code: 2, message: error.to_string() }
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        Self::running(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::running(error.to_string())
    }
}

/// Files and folders that this program makes are its owner's: a database, dumps, backups, exports, and what a library
/// makes on the way to them.
fn keep_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Runs the command that was typed; returns the code to end with.
pub fn main() -> u8 {
    keep_private();
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // There is no better place to complain about a broken terminal.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let outcome = Cli::from_arg_matches(&matches)
        .map_err(|error| Failure { code: 2, message: error.to_string() })
        .and_then(|cli| {
            let variables = std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
            check_environment(variables)?;
            let (settings, shown) = resolve(&cli.options, &matches, cli.config.as_deref())?;
            run(cli.command.unwrap_or(Command::Serve), &settings, &shown)
        });
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            logs::last_word(format!("bareme: {}\n", failure.message));
            failure.code
        }
    }
}

fn run(command: Command, settings: &Settings, shown: &[Shown]) -> Result<(), Failure> {
    match command {
        Command::Config => tools::print_settings(shown),
        Command::Serve => serve(settings, None),
        Command::Demo { viewers } => serve(settings, Some(viewers)),
        Command::Token { command } => runtime()?.block_on(tools::tokens(settings, command)),
        Command::Streamer { command } => runtime()?.block_on(people::run(settings, command)),
        Command::Audit { kind, text, limit, format } => {
            runtime()?.block_on(audit::print(settings, Filter { kind, text }, limit, format))
        }
        Command::Viewers { command } => runtime()?.block_on(tools::viewers(settings, &command)),
        Command::Archive(command) => runtime()?.block_on(archive::run(settings, command)),
        Command::Repair { set_aside } => runtime()?.block_on(repair::repair(settings, set_aside)),
        Command::Migrate => runtime()?.block_on(tools::migrate(settings)),
        Command::Healthcheck { ready } => runtime()?.block_on(tools::healthcheck(settings.ops_listen, ready)),
        Command::Status { url, json } => status::status(url.as_deref(), settings.ops_listen, json),
        Command::Bench { echo_ws: Some(port) } => {
            Ok(runtime()?.block_on(crate::bench::echo_ws::serve(port, settings.sockets))?)
        }
        Command::Bench { echo_ws: None } => tools::bench(&settings.data_dir),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().map_err(|error| Failure::running(format!("cannot start threads: {error}")))
}

/// Has log lines written in the form that settings ask for; where other lines go that belong among them.
fn init_logs(settings: &Settings) -> logs::Lines {
    // What these say at `info` is of interest to their authors; naming them in --log brings it back. What a client does
    // wrong, which actix-http calls an error, is the client's own affair: anybody could fill the log with it. It is counted
    // (`app/connections.rs`), and so is who is refused for want of descriptors, of which actix-server writes twice a second.
    let quiet = format!(
        "actix_server=warn,actix_server::accept=off,actix_http=off,rusqlite_migration=warn,scylla=warn,{}",
        settings.log
    );
    let filter = EnvFilter::try_new(quiet).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_json = match settings.log_format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !std::io::stdout().is_terminal(),
    };
    // It says on standard error, and panics if it cannot, that a line was not written: the queue's failures are counted.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let written = logs::start(is_json);
    let lines = lines.with_writer(written.clone());
    // Only one of a process can be installed, and then it is this one.
    let _ = if is_json {
        // The spans of a line say which request, live and jeu it is about.
        lines.json().flatten_event(true).with_current_span(false).with_span_list(true).try_init()
    } else {
        lines.with_ansi(std::io::stdout().is_terminal()).with_target(false).try_init()
    };
    written
}

fn store_failure(settings: &Settings, error: &StoreError) -> Failure {
    let place = match &settings.store {
        StoreKind::Cql(_) => "the cluster".to_owned(),
        StoreKind::Sqlite | StoreKind::Memory => format!("the data directory {}", settings.data_dir.display()),
    };
    match error.kind {
        ErrorKind::Full => Failure::running(format!(
            "cannot use {place}: its disk is full ({}); nothing is lost; make room there and start again",
            error.source
        )),
        _ => Failure::running(format!("cannot use {place}: {}", error.source)),
    }
}

/// Why an app does not start, naming the place of the store if it was the store.
fn app_failure(settings: &Settings, error: AppError) -> Failure {
    match error.of_store() {
        Some(of_store) => store_failure(settings, of_store),
        None => error.into(),
    }
}

/// Opens a SQLite store where blocking is allowed.
async fn open_file(
    settings: &Settings,
    open: impl FnOnce(&Path) -> Result<SqliteStore, StoreError> + Send + 'static,
) -> Result<Arc<dyn Store>, Failure> {
    let folder = settings.data_dir.clone();
    let opening = tokio::task::spawn_blocking(move || open(&folder));
    let store = opening.await.map_err(|_| Failure::running("cannot open the store"))?;
    Ok(Arc::new(store.map_err(|error| store_failure(settings, &error))?))
}

async fn open_cluster(settings: &Settings, url: &CqlUrl) -> Result<Arc<dyn Store>, Failure> {
    Ok(Arc::new(CqlStore::connect(url).await.map_err(|error| store_failure(settings, &error))?))
}

/// As [`open_cluster`], for a server: a cluster that is busy or starting is waited for.
async fn await_cluster(settings: &Settings, url: &CqlUrl) -> Result<Arc<dyn Store>, Failure> {
    let store = patiently(|| CqlStore::connect(url), StoreError::may_pass).await;
    Ok(Arc::new(store.map_err(|error| store_failure(settings, &error))?))
}

async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, Failure> {
    let store: Arc<dyn Store> = match &settings.store {
        StoreKind::Memory => Arc::new(MemoryStore::exclusive()),
        StoreKind::Sqlite => open_file(settings, SqliteStore::open).await?,
        StoreKind::Cql(url) => await_cluster(settings, url).await?,
    };
    Ok(Arc::new(MeteredStore::new(store)))
}

/// Opens the address that a flag is for.
fn opened(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    use std::io::ErrorKind;
    listen(address).map_err(|error| {
        let reason = match error.kind() {
            ErrorKind::AddrInUse => format!("another program uses this port; stop it, or choose another with {flag}"),
            ErrorKind::AddrNotAvailable => format!("this machine does not have this address; correct {flag}"),
            ErrorKind::PermissionDenied => format!("ports below 1024 need permission; choose another with {flag}"),
            _ => error.to_string(),
        };
        Failure::running(format!("cannot listen on {address}: {reason}"))
    })
}

fn serve(settings: &Settings, demo_viewers: Option<u32>) -> Result<(), Failure> {
    let said = init_logs(settings);
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        crate::app::connections::raise_file_limit();
        // The ports first: whoever starts the program twice shall not wait for the store to say so.
        let public = opened(settings.listen, "--listen")?;
        let listeners = Listeners { public, ops: opened(settings.ops_listen, "--ops-listen")? };
        // Before the store, which asks for its counters when it is made.
        crate::metrics::install().map_err(|error| Failure::running(error.to_string()))?;
        let store = open_store(settings).await?;
        let app = App::build(settings.clone(), store, listeners).await.map_err(|error| app_failure(settings, error))?;
        let state = app.state();
        let demo = match demo_viewers {
            Some(_) => Some(demo::prepare(&state).await?),
            None => None,
        };
        let addresses = (app.address(), app.ops_address());
        let text = announce::text(&state.settings, addresses, app.setup_secret(), demo.as_ref());
        said.say(text.as_bytes());
        if let (Some(demo), Some(count @ 1..)) = (&demo, demo_viewers) {
            let address = own_address(app.address());
            let public = state.settings.public_url.as_ref().and_then(|url| url.host_str().map(str::to_owned));
            let host = public.unwrap_or_else(|| address.to_string());
            state.conductor.spawn("demo", demo::simulate(address, host, demo.channel.to_string(), count));
        }
        Ok(app.run(signal(), async { signal().await }).await?)
    });
    // Threads that hang in a system call must not keep the process; what was acknowledged is on disk.
    runtime.shutdown_timeout(std::time::Duration::from_secs(3));
    logs::flush();
    served
}
