//! `/healthz`, `/readyz`, `/metrics`, for operators; `/version`, for everybody.
//!
//! **Invariant**: `/healthz` looks at nothing but this process, so that a store that is away does not get pods killed. It
//! is asked on another listener than that of viewers, and looks at that one, too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::{AppState, State};
use crate::logs;
use crate::metrics::machine::{self, DATA_DIR_FREE, DATA_DIR_SIZE};
use crate::metrics::{
    CHECKPOINT_LAG_SECONDS, CLOCK_LEAD_SECONDS, ITEMS_RUNNING, ITEMS_STALE, ITEMS_UNREADABLE, LOG_LINES_LOST,
    MAX_CONNECTIONS, PANICS, POD_CLOCK_SKEW_SECONDS, POD_CUT_OFF, POD_DRAINING, STORE_UP, TASKS_DOWN,
};
use crate::settings::StoreKind;
use crate::store::{ErrorKind, Store};
use crate::supervise::Scope;

/// How long the answer of a probe holds: probing writes.
const PROBE_LIFE: Duration = Duration::from_secs(1);
/// How long a probe may take before the store counts as away, or the listener for viewers as hanging.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long whoever reads the metrics waits for that: Prometheus gives up after ten seconds, some after one or two.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(1);

/// Whether this pod should get traffic.
#[derive(Default)]
pub struct Readiness {
    draining: AtomicBool,
    cut_off: AtomicBool,
    probed: Mutex<Option<(Instant, Option<&'static str>)>>,
}

/// Body of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Ready {
    /// Whether this pod should get traffic.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// What is wrong with a part of it that keeps nobody from being served: a task that died and does not run again yet.
    pub warnings: Vec<String>,
}

impl Readiness {
    /// From now on this pod is not ready, whatever the store says.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether [`Readiness::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether the pod does not reach the store that it shares with others, for so long that its sockets go elsewhere.
    pub fn cut_off(&self, is_cut_off: bool) {
        self.cut_off.store(is_cut_off, Ordering::Relaxed);
    }

    /// What [`Readiness::cut_off`] said last.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// Why this pod should get no traffic.
    async fn reasons(&self, store: &dyn Store) -> impl Iterator<Item = &'static str> {
        let trouble = self.trouble(store).await;
        let cut_off = self.is_cut_off().then_some("cut off from the other servers");
        self.is_draining().then_some("draining").into_iter().chain(cut_off).chain(trouble)
    }

    /// What is wrong with the store. It is probed at most once a second, however many ask.
    async fn trouble(&self, store: &dyn Store) -> Option<&'static str> {
        let mut probed = self.probed.lock().await;
        let fresh = probed.filter(|(at, _)| at.elapsed() < PROBE_LIFE);
        match fresh {
            Some((_, trouble)) => trouble,
            None => {
                let trouble = match tokio::time::timeout(PROBE_TIMEOUT, store.probe()).await {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "the store is not ready");
                        Some(match error.kind {
                            ErrorKind::Full => "the store has no room",
                            ErrorKind::Unavailable | ErrorKind::Unknown => "the store is away",
                            ErrorKind::Corrupt | ErrorKind::Refused | ErrorKind::Mismatch => "the store is damaged",
                            ErrorKind::Newer => "the store belongs to a newer version",
                        })
                    }
                    Err(_) => Some("the store does not answer"),
                };
                *probed = Some((Instant::now(), trouble));
                trouble
            }
        }
    }
}

/// Body of `/version`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Version {
    /// Name of the program.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Version of the WebSocket protocol.
    pub protocol: u32,
}

/// What is said of a listener for viewers that hangs.
const HANGS: &str = "viewers are not answered";

/// Whether viewers are not answered: a connection of our own that says goodbye at once is neither ended nor refused. One
/// that is refused, or ended for want of room, shows that somebody is there. A server that stops lets nobody in.
async fn hangs(state: &AppState) -> bool {
    let knock = async {
        let mut stream = TcpStream::connect(state.address).await?;
        stream.shutdown().await?;
        stream.read(&mut [0]).await
    };
    !state.readiness.is_draining() && tokio::time::timeout(PROBE_TIMEOUT, knock).await.is_err()
}

/// Says that the process runs, and takes viewers' connections.
pub async fn healthz(state: State) -> HttpResponse {
    let (mut response, said) = match hangs(&state).await {
        true => (HttpResponse::ServiceUnavailable(), HANGS),
        false => (HttpResponse::Ok(), "ok"),
    };
    response.content_type("text/plain; charset=utf-8").body(format!("{said}\n"))
}

/// Says whether this pod should get traffic: its store takes writes, every task that serves all of it runs, and it is not
/// stopping.
pub async fn readyz(state: State) -> HttpResponse {
    let down = state.conductor.supervisor().down();
    let of_scope = |wanted| {
        let of_scope = down.iter().filter(move |(scope, ..)| *scope == wanted);
        of_scope.map(|(_, task, count)| format!("{count} × {task} died and does not run"))
    };
    let reasons = state.readiness.reasons(&*state.store).await.map(str::to_owned);
    let hangs = hangs(&state).await.then(|| HANGS.to_owned());
    let reasons: Vec<_> = reasons.chain(of_scope(Scope::Server)).chain(hangs).collect();
    let warnings = of_scope(Scope::Part).collect();
    let ready = reasons.is_empty();
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(Ready { ready, reasons, warnings })
}

/// Which version this is.
#[utoipa::path(get, path = "/version", tag = "operations",
    responses((status = 200, description = "The version", body = Version)))]
pub async fn version() -> HttpResponse {
    let version = env!("CARGO_PKG_VERSION");
    HttpResponse::Ok().json(Version { name: "bareme", version, protocol: crate::protocol::PROTOCOL_VERSION })
}

/// Metrics for Prometheus.
pub async fn metrics(state: State) -> HttpResponse {
    observe(&state).await;
    // Counting open files takes a while when there are many.
    let process = web::block(machine::process).await.unwrap_or_default();
    let body = state.metrics.render() + &process;
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(body)
}

/// Sets what is only looked at when somebody asks.
async fn observe(state: &AppState) {
    use ::metrics::{counter, gauge};
    counter!(LOG_LINES_LOST).absolute(logs::lost());
    counter!(PANICS).absolute(logs::panics());
    let down: u64 = state.conductor.supervisor().down().iter().map(|(.., count)| count).sum();
    gauge!(TASKS_DOWN).set(bytes(down));
    // A store that does not answer must not take the rest of the metrics away from whoever looks for the reason.
    let probe = tokio::time::timeout(SCRAPE_PATIENCE, state.readiness.trouble(&*state.store)).await;
    gauge!(STORE_UP).set(f64::from(u8::from(probe == Ok(None))));
    gauge!(POD_DRAINING).set(f64::from(u8::from(state.readiness.is_draining())));
    let max_connections = u32::try_from(state.connections.limits().ordinary).unwrap_or(u32::MAX);
    gauge!(MAX_CONNECTIONS).set(f64::from(max_connections));
    let vigour = state.conductor.vigour();
    gauge!(ITEMS_RUNNING).set(f64::from(vigour.running));
    gauge!(ITEMS_STALE).set(f64::from(vigour.stale));
    gauge!(ITEMS_UNREADABLE).set(f64::from(vigour.unreadable));
    gauge!(CHECKPOINT_LAG_SECONDS).set(Duration::from_micros(vigour.checkpoint_lag_us).as_secs_f64());
    gauge!(POD_CUT_OFF).set(f64::from(u8::from(state.readiness.is_cut_off())));
    gauge!(POD_CLOCK_SKEW_SECONDS).set(vigour.clock_skew.as_secs_f64());
    gauge!(CLOCK_LEAD_SECONDS).set(vigour.clock_lead.as_secs_f64());
    if state.settings.store == StoreKind::Sqlite
        && let Some((size, free)) = machine::disk(&state.settings.data_dir)
    {
        gauge!(DATA_DIR_SIZE).set(bytes(size));
        gauge!(DATA_DIR_FREE).set(bytes(free));
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a disk, and tasks, stay below 2^53")]
fn bytes(count: u64) -> f64 {
    count as f64
}

/// Registers what everybody may ask, for GET and HEAD.
pub fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/version").route(web::get().to(version)).route(web::head().to(version)));
}

/// Registers what operators ask, for GET and HEAD.
pub fn configure_ops(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/healthz").route(web::get().to(healthz)).route(web::head().to(healthz)))
        .service(web::resource("/readyz").route(web::get().to(readyz)).route(web::head().to(readyz)))
        .service(web::resource("/metrics").route(web::get().to(metrics)).route(web::head().to(metrics)));
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;

    use actix_web::http::StatusCode;

    use super::*;
    use crate::app::{App, Listeners};
    use crate::settings::Settings;
    use crate::store::memory::MemoryStore;

    #[actix_web::test]
    async fn a_server_whose_listener_for_viewers_hangs_is_not_well() {
        let store = Arc::new(MemoryStore::exclusive());
        let app = App::build(Settings::default(), store, Listeners::any()).await.unwrap();
        let state = app.state();
        let running = tokio::spawn(app.run(std::future::pending(), std::future::pending()));
        let asked = async |address: SocketAddr| {
            let state = State::new(AppState { address, ..AppState::clone(&state) });
            (healthz(state.clone()).await.status(), readyz(state).await.status())
        };
        let well = (StatusCode::OK, StatusCode::OK);
        assert_eq!(asked(state.address).await, well);
        // Nobody takes what comes.
        let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = hanging.local_addr().unwrap();
        assert_eq!(asked(address).await, (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE));
        // Without room for one more connection, somebody is there all the same.
        drop(hanging);
        assert_eq!(asked(address).await, well);
        running.abort();
    }
}
