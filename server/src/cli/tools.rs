//! The commands that do one thing and end.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::archive::open_beside;
use super::{Failure, TokenCommand, ViewersCommand, store_failure};
use crate::app::own_address;
use crate::audit::{Audit, Entry};
use crate::auth::Auth;
use crate::catalogue::{Catalogue, Refused, Token};
use crate::cluster::env::Env;
use crate::http::admin::audit::time_of;
use crate::records::Records;
use crate::settings::{Settings, SettingsError, Shown, StoreKind};
use crate::store::cql::CqlStore;

const DAY_US: u64 = 24 * 3_600 * 1_000_000;
/// How long a health check may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Prints the settings as a file that would set them.
pub(super) fn print_settings(shown: &[Shown]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for Shown { name, value, source } in shown {
        let line = match value {
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name} is not set"),
        };
        writeln!(out, "{line:<44} # {source}")?;
    }
    Ok(())
}

pub(super) fn refused(refused: Refused) -> Failure {
    match refused {
        Refused::Store(error) => Failure::running(error.source.to_string()),
        other => Failure::running(other.to_string()),
    }
}

/// Makes a new secret for viewer tokens, beside a server that may be running.
pub(super) async fn viewers(settings: &Settings, command: &ViewersCommand) -> Result<(), Failure> {
    let records = Records::new(open_beside(settings, false).await?);
    let (catalogue, audit) = (Catalogue::new(records.clone()), Audit::new(records));
    let ViewersCommand::Rotate { force } = command;
    let channels = catalogue.channels().await.map_err(refused)?;
    if let Some(channel) = channels.iter().find(|channel| channel.open_live.is_some() && !force) {
        let slug = &channel.slug;
        return Err(Failure::running(format!(
            "a live of channel {slug} is on air, and everybody could vote a second time: wait until it has ended, or add --force"
        )));
    }
    Auth::new(catalogue).rotate_viewer_secret().await.map_err(refused)?;
    writeln!(std::io::stdout(), "every browser is a new viewer from now on")?;
    keep(&audit, Entry::of_command(Env::system().now_us(), "rotate_viewers", &[])).await
}

/// Writes down what was done.
pub(super) async fn keep(audit: &Audit, entry: Entry) -> Result<(), Failure> {
    audit.keep_now(&entry).await.map_err(|error| {
        let action = &entry.action;
        Failure::running(format!("{action} was done, and has no entry in the audit log: {}", error.source))
    })
}

/// Makes, lists or revokes tokens, beside a server that may be running.
pub(super) async fn tokens(settings: &Settings, command: TokenCommand) -> Result<(), Failure> {
    let may_make = matches!(command, TokenCommand::New { .. });
    let records = Records::new(open_beside(settings, may_make).await?);
    let (catalogue, audit, now_us) = (Catalogue::new(records.clone()), Audit::new(records), Env::system().now_us());
    let mut out = Vec::new();
    match command {
        TokenCommand::New { name, role, scope, days } => {
            let scopes = role.map_or(scope, |role| role.token_scopes().to_vec());
            let expires_at_us = days.map(|days| now_us.saturating_add(days * DAY_US));
            let new = Token { name: name.clone(), scopes, created_at_us: now_us, expires_at_us, made_by: None };
            let (_, _, secret) = Auth::new(catalogue).make_token(new).await.map_err(refused)?;
            writeln!(std::io::stdout(), "{}", secret.reveal())?;
            keep(&audit, Entry::of_command(now_us, "create_token", &[("name", name.as_str())])).await?;
        }
        TokenCommand::List => {
            for (id, token) in catalogue.tokens().await.map_err(refused)? {
                let scopes: Vec<_> = token.scopes.iter().map(|scope| format!("{scope:?}").to_lowercase()).collect();
                let end = token.expires_at_us.map(|end| format!("until {}  ", time_of(end))).unwrap_or_default();
                // The name comes last: it may have spaces.
                writeln!(out, "{id}  {:<17}  {end}{}", scopes.join(","), token.name)?;
            }
        }
        TokenCommand::Revoke { id } => {
            catalogue.delete_token(&id).await.map_err(refused)?;
            keep(&audit, Entry::of_command(now_us, "delete_token", &[("token_id", id.as_str())])).await?;
        }
    }
    std::io::stdout().write_all(&out)?;
    Ok(())
}

/// Makes or updates the schema of a cluster.
pub(super) async fn migrate(settings: &Settings) -> Result<(), Failure> {
    let StoreKind::Cql(url) = &settings.store else {
        return Err(SettingsError {
            setting: "store".to_owned(),
            reason: format!("`{}` needs no migration: a server brings its file up to date itself", settings.store),
            remedy: "name a cluster, such as cql://node-1,node-2/bareme?dc=NAME".to_owned(),
        }
        .into());
    };
    let told = |line: String| {
        // Whoever closed our standard output does not want to read it.
        let _ = writeln!(std::io::stdout(), "{line}");
    };
    CqlStore::migrate(url, told).await.map_err(|error| store_failure(settings, &error))
}

/// Asks the server that listens for operators at this address how it is.
pub(super) async fn healthcheck(ops_listen: SocketAddr, ready: bool) -> Result<(), Failure> {
    let address = own_address(ops_listen);
    let path = if ready { "/readyz" } else { "/healthz" };
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = match tokio::time::timeout(HEALTH_TIMEOUT, ask).await {
        Ok(answer) => answer.map_err(|error| Failure::running(format!("{address} does not answer: {error}")))?,
        Err(_) => return Err(Failure::running(format!("{address} does not answer within {HEALTH_TIMEOUT:?}"))),
    };
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
    Err(Failure::running(format!("{address} is not well: {}", body.trim())))
}

/// Measures the store.
pub(super) fn bench(folder: &Path) -> Result<(), Failure> {
    let folder = folder.join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = measure(&folder);
    // What was measured counts, whether or not its leftovers can be deleted.
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

fn measure(folder: &Path) -> Result<(), Failure> {
    pin(0);
    let rows = crate::bench::store::store_bench(folder).map_err(|error| Failure::running(error.to_string()))?;
    for row in rows {
        writeln!(std::io::stdout(), "{row}")?;
    }
    Ok(())
}

/// Keeps this thread, and those it starts from now on, on one processor. Where that does not work, figures vary more.
fn pin(processor: usize) {
    #[cfg(target_os = "linux")]
    {
        let mut processors = rustix::thread::CpuSet::new();
        processors.set(processor);
        let _ = rustix::thread::sched_setaffinity(None, &processors);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = processor;
}
