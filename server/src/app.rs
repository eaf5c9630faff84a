//! Wiring: from settings, a store and a listener to a server that runs until it is told to stop.
//!
//! **Invariant**: the engine and the rooms run on the runtime that built the app, not on the threads that serve
//! connections; a slow handler cannot delay a commit.

pub(crate) mod connections;
mod cut_off;
pub(crate) mod http_server;
mod listeners;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::{Compress, from_fn};
use actix_web::{App as ActixApp, web};

use crate::archive::keeper::Keeper;
use crate::audit::Audit;
use crate::auth::Auth;
use crate::auth::limits::Limiter;
use crate::auth::newcomers::Newcomers;
use crate::auth::secrets::Secret;
use crate::catalogue::{Catalogue, Refused};
use crate::cluster::env::Env;
use crate::conductor::{ConductError, Conductor};
use crate::http::api::Exports;
use crate::http::hosts::{self, Hosts};
use crate::http::openapi::Api;
use crate::http::{AppState, State, assets, configure, not_found, ops, request_id, security};
use crate::hub::Hub;
use crate::metrics;
use crate::records::Records;
use crate::settings::Settings;
#[cfg(target_os = "linux")]
use crate::settings::Sockets;
use crate::store::patient::{PatientStore, patiently};
use crate::store::{ErrorKind, Store, StoreError};
use crate::supervise::Scope;
use crate::traces::{Traces, TracesError};
use crate::ws::Loops;
use crate::ws::admission::Admission;
use crate::ws::session::Terms;
use connections::{Connections, Limits, file_limit};
use http_server::{Size, http_server};
pub use listeners::{Listeners, listen, own_address};

/// How long votes under way may take to become durable when stopping.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take from the accepting thread to a worker when stopping.
const IN_HAND: Duration = Duration::from_millis(50);
/// How often rate limits forget who has been quiet.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);
/// How often sessions whose time is over are looked for: about as long as their sockets outlive them. Everything that
/// sockets were opened with is looked at as often, in case whoever revoked something could not say so.
const SESSION_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How often this pod asks whether another one, or the command line, revoked something: one small read, and half of what a
/// revoked socket may stay open for, so that a look that finds the store busy leaves time for another one.
const REVOCATION_INTERVAL: Duration = Duration::from_secs(1);
/// How often entries of the audit log that the store did not take are tried again, and old ones are looked for.
const AUDIT_RETRY_INTERVAL: Duration = Duration::from_secs(1);
const AUDIT_PRUNE_INTERVAL: Duration = Duration::from_secs(6 * 3_600);
/// How often a new secret for viewer tokens is looked for.
const SECRET_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Most threads that actix serves with.
const MAX_WORKERS: usize = 512;
/// Why an app could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The store or what is in it.
    #[error(transparent)]
    Catalogue(#[from] Refused),
    /// The lives could not go on.
    #[error(transparent)]
    Conduct(#[from] ConductError),
    /// The network.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Metrics.
    #[error("metrics: {0}")]
    Metrics(String),
    /// Traces.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// Told a second time to stop.
    #[error("stopped at once, because a second signal came; votes that were acknowledged are safe")]
    Aborted,
}

impl AppError {
    /// What the store said, if it was the store.
    pub const fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Catalogue(Refused::Store(error)) | Self::Conduct(ConductError::Store(error)) => Some(error),
            _ => None,
        }
    }
}

/// A server that is ready to run.
pub struct App {
    state: State,
    server: Server,
    ops_server: Server,
    address: SocketAddr,
    ops_address: SocketAddr,
    alive: Arc<()>,
    setup: Option<Secret>,
}

impl App {
    /// Reads what the store holds, goes on with the lives that are on air, and gets ready to serve.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn build(settings: Settings, store: Arc<dyn Store>, listeners: Listeners) -> Result<Self, AppError> {
        // First of all: a counter that is created before the recorder counts for nobody.
        let recorder = metrics::install().map_err(|error| AppError::Metrics(error.to_string()))?;
        let starting = Arc::new(PatientStore::new(store));
        let store: Arc<dyn Store> = Arc::clone(&starting) as _;
        let records = Records::new(Arc::clone(&store));
        let catalogue = Catalogue::new(records.clone());
        let auth = Auth::new(catalogue.clone());
        let viewers = patiently(|| auth.viewer_secret(), Refused::may_pass).await?;
        let conductor = Conductor::start(Arc::clone(&store), Env::system()).await?;
        let traces = match &settings.otlp_endpoint {
            Some(endpoint) => Traces::start(endpoint, settings.trace_ratio, &conductor.pod())?,
            None => Traces::default(),
        };
        let now_us = conductor.env().now_us();
        let setup = match patiently(|| auth.new_setup_secret(now_us), Refused::may_pass).await {
            // A server that was killed on a full disk starts on it: it shows what there is, and says that it is full.
            Err(Refused::Store(error)) if error.kind == ErrorKind::Full => {
                tracing::error!(%error, "the disk is full: no set-up link can be made; make room and start again for one");
                None
            }
            outcome => outcome?,
        };
        let hub = Hub::new(conductor.clone(), Duration::from_millis(settings.tick_ms));
        let loops = loops(&settings, &hub)?;
        let (address, ops_address) = (listeners.public.local_addr()?, listeners.ops.local_addr()?);
        let limits = limits(&settings);
        let newcomers = Arc::new(Newcomers::new(settings.new_viewers_per_address));
        let state = web::Data::new(AppState {
            exports: Exports::default(),
            vote_limiter: Arc::new(Limiter::per_second(settings.vote_rate)),
            terms: Arc::new(Terms {
                secret: viewers.clone(),
                rate: settings.socket_rate(),
                newcomers: Arc::clone(&newcomers),
            }),
            newcomers,
            connections: Connections::new(limits, settings.trusted_proxies.clone()),
            // The reserve is for the sockets of admins, too: those of viewers are refused once connections are short.
            admission: Admission::new(limits.ordinary.saturating_add(limits.reserve), settings.sockets_per_address),
            loops,
            address: own_address(address),
            hosts: Arc::new(Hosts::new(&settings)),
            settings: Arc::new(settings),
            store,
            conductor,
            hub,
            viewers,
            catalogue,
            audit: Audit::new(records.clone()),
            records,
            auth,
            readiness: Arc::default(),
            metrics: recorder.clone(),
            traces,
            started: Instant::now(),
            api: Api::collect(),
        });
        let alive = metrics::alive();
        let keeping = state.conductor.clone();
        let is_alive = Arc::downgrade(&alive);
        keeping.keep(Scope::Part, "metrics", move || metrics::upkeep(recorder.clone(), is_alive.clone()));
        let (kept, is_alive) = (state.clone(), Arc::downgrade(&alive));
        keeping.keep(Scope::Part, "limits", move || forget_quiet(kept.clone(), is_alive.clone()));
        let (kept, is_alive) = (state.clone(), Arc::downgrade(&alive));
        keeping.keep(Scope::Server, "sessions", move || end_sessions(kept.clone(), is_alive.clone()));
        let (kept, is_alive) = (state.clone(), Arc::downgrade(&alive));
        keeping.keep(Scope::Server, "revocations", move || follow_revocations(kept.clone(), is_alive.clone()));
        if state.store.is_shared() {
            let (kept, is_alive) = (state.clone(), Arc::downgrade(&alive));
            keeping.keep(Scope::Server, "cut off", move || {
                let (conductor, hub, readiness) = (&kept.conductor, &kept.hub, &kept.readiness);
                cut_off::watch(conductor.clone(), hub.clone(), Arc::clone(readiness), is_alive.clone())
            });
        }
        let (kept, is_alive) = (state.clone(), Arc::downgrade(&alive));
        keeping.keep(Scope::Part, "dumps", move || keeper(&kept).run(is_alive.clone()));
        let (kept, is_alive) = (state.clone(), Arc::downgrade(&alive));
        keeping.keep(Scope::Part, "audit", move || tend_audit(kept.clone(), is_alive.clone()));
        let (kept, is_alive) = (state.clone(), Arc::downgrade(&alive));
        keeping.keep(Scope::Server, "viewer secret", move || follow_viewer_secret(kept.clone(), is_alive.clone()));
        // Nothing waits for it, and nothing is lost when the process ends first.
        if let Err(error) = assets::warm_up() {
            tracing::warn!(%error, "each file is compressed when it is first asked for");
        }
        let server = serve(&state, listeners.public)?;
        let ops_server = serve_ops(&state, listeners.ops)?;
        starting.started();
        Ok(Self { state, server, ops_server, address, ops_address, alive, setup })
    }

    /// What makes the first account, while there is none. It was made when the app was, and made earlier ones worthless.
    pub const fn setup_secret(&self) -> Option<&Secret> {
        self.setup.as_ref()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address it listens on for operators.
    pub fn ops_address(&self) -> SocketAddr {
        self.ops_address
    }

    /// What its handlers can reach.
    pub fn state(&self) -> State {
        self.state.clone()
    }

    /// Serves until `stop` is done; then lets votes under way become durable, tells sockets to come back elsewhere, and
    /// ends. When `abort` is done while it does that, it ends at once.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn run(self, stop: impl Future<Output = ()>, abort: impl Future<Output = ()>) -> Result<(), AppError> {
        let Self { state, server, ops_server, alive, .. } = self;
        let (handle, ops_handle) = (server.handle(), ops_server.handle());
        let (mut serving, mut serving_ops) = (tokio::spawn(server), tokio::spawn(ops_server));
        tokio::select! {
            ended = &mut serving => return Ok(ended.map_err(std::io::Error::other)??),
            ended = &mut serving_ops => return Ok(ended.map_err(std::io::Error::other)??),
            () = stop => {}
        }
        tracing::info!("stopping");
        let outcome = tokio::select! {
            () = drain(&state, &handle) => Ok(()),
            () = abort => Err(AppError::Aborted),
        };
        drop(alive);
        if outcome.is_ok() {
            // It was told to stop; what it says about that is of no interest any more.
            let _ = serving.await;
            // Operators hear that it stops for as long as anybody is served.
            ops_handle.stop(false).await;
            let _ = serving_ops.await;
            state.traces.stop().await;
            tracing::info!("stopped");
        }
        outcome
    }
}

async fn drain(state: &State, handle: &ServerHandle) {
    state.readiness.drain();
    state.hub.drain().await;
    if tokio::time::timeout(SETTLE_TIMEOUT, state.conductor.settle()).await.is_err() {
        tracing::warn!(pending = state.conductor.pending_votes(), "some votes did not become durable in time");
    }
    if let Ok(Err(error)) = tokio::time::timeout(SETTLE_TIMEOUT, state.audit.write_late()).await {
        tracing::warn!(%error, "entries of the audit log could not be written");
    }
    if let Some(loops) = &state.loops {
        loops.stop().await;
    }
    // From here on nobody is let in. Whom the accepting thread has in hand still gets to a worker: one that had ended by
    // then would be missed, and that thread cannot be asked.
    handle.pause().await;
    tokio::time::sleep(IN_HAND).await;
    handle.stop(true).await;
}

/// Ends sessions whose time is over, and closes the sockets that were opened with them.
async fn end_sessions(state: State, alive: std::sync::Weak<()>) {
    let mut ticks = tokio::time::interval(SESSION_CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while alive.strong_count() > 0 {
        ticks.tick().await;
        match state.auth.end_over(state.now_us()).await {
            Ok(ended) => ended.iter().for_each(|session| state.hub.revoke(session)),
            Err(error) => tracing::debug!(%error, "cannot look for sessions that are over; trying again"),
        }
    }
}

/// Writes entries of the audit log that had to wait, and deletes those that are old or too many.
async fn tend_audit(state: State, alive: std::sync::Weak<()>) {
    let mut ticks = tokio::time::interval(AUDIT_RETRY_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pruned: Option<Instant> = None;
    while alive.strong_count() > 0 {
        ticks.tick().await;
        if let Err(error) = state.audit.write_late().await {
            tracing::debug!(%error, "the audit log cannot be written; trying again");
        }
        if pruned.is_none_or(|at| at.elapsed() >= AUDIT_PRUNE_INTERVAL) {
            pruned = Some(Instant::now());
            match state.audit.prune(state.now_us()).await {
                Ok(0) => {}
                Ok(entries) => tracing::info!(entries, "deleted old entries of the audit log"),
                Err(error) => tracing::warn!(%error, "cannot prune the audit log; trying again later"),
            }
        }
    }
}

/// Closes the sockets here that were opened with what another pod, or the command line, has revoked.
///
/// While the store is out of reach nobody can say what is valid, and sockets stay; the first look after that closes them.
async fn follow_revocations(state: State, alive: std::sync::Weak<()>) {
    let mut ticks = tokio::time::interval(REVOCATION_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = None;
    let mut looked = Instant::now();
    while alive.strong_count() > 0 {
        ticks.tick().await;
        let look = async {
            // Before the credentials: what is revoked after this look changes the next one.
            let count = state.catalogue.revocations().await?;
            let all = seen != Some(count) || looked.elapsed() >= SESSION_CHECK_INTERVAL;
            let gone = state.auth.check_held(all, state.now_us()).await?;
            Ok::<_, Refused>((count, all, gone))
        };
        match look.await {
            Ok((count, all, gone)) => {
                gone.iter().for_each(|credential| state.hub.revoke(credential));
                seen = Some(count);
                if all {
                    looked = Instant::now();
                }
            }
            Err(error) => tracing::debug!(%error, "cannot look for what was revoked; trying again"),
        }
    }
}

/// Takes over a new secret for viewer tokens, which `bareme viewers rotate` makes beside this server.
async fn follow_viewer_secret(state: State, alive: std::sync::Weak<()>) {
    let mut ticks = tokio::time::interval(SECRET_CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while alive.strong_count() > 0 {
        ticks.tick().await;
        match state.auth.follow_viewer_secret(&state.viewers).await {
            Ok(true) => tracing::warn!("the secret of viewer tokens was replaced: every browser is a new viewer"),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "cannot look for a new secret of viewer tokens; trying again"),
        }
    }
}

/// Who dumps the lives that are over.
fn keeper(state: &State) -> Keeper {
    let settings = &state.settings;
    let (env, pod) = (state.conductor.env().clone(), state.conductor.pod());
    Keeper::new(Arc::clone(&state.store), env, pod, settings.dump_target(), settings.keep_notes_days)
}

async fn forget_quiet(state: State, alive: std::sync::Weak<()>) {
    let mut ticks = tokio::time::interval(FORGET_INTERVAL);
    while alive.strong_count() > 0 {
        ticks.tick().await;
        state.vote_limiter.forget_idle();
        state.newcomers.forget_idle();
        state.auth.forget_idle();
    }
}

fn serve(state: &State, listener: TcpListener) -> std::io::Result<Server> {
    let size = Size { workers: workers(&state.settings) };
    let connections = state.connections.clone();
    let loops = state.loops.clone();
    let state = state.clone();
    http_server(listener, size, connections, loops, crate::ws::route::is_socket, move || {
        let state = state.clone();
        ActixApp::new()
            .wrap(Compress::default())
            .wrap(from_fn(hosts::check))
            .wrap(from_fn(security::secure))
            // The last is the outermost: whatever the others say has the id.
            .wrap(from_fn(request_id::identify))
            .configure(|config| configure(&state, config))
            .default_service(web::to(not_found))
    })
}

/// What operators ask is answered by one thread of its own: however busy those of viewers are.
fn serve_ops(state: &State, listener: TcpListener) -> std::io::Result<Server> {
    let connections = Connections::new(Limits::of_operators(), Vec::new());
    let state = state.clone();
    http_server(
        listener,
        Size { workers: 1 },
        connections,
        None,
        |_| false,
        move || {
            let state = state.clone();
            ActixApp::new()
                .wrap(Compress::default())
                .wrap(from_fn(hosts::check_ops))
                .wrap(from_fn(ops::secure))
                .wrap(from_fn(request_id::identify))
                .configure(|config| ops::configure(&state, config))
        },
    )
}

/// How many connections there may be; says so once.
fn limits(settings: &Settings) -> Limits {
    let files = file_limit();
    let limits = Limits::new(files, settings.max_connections, settings.sockets_per_address);
    let Limits { ordinary, per_address, .. } = limits;
    match ordinary < settings.max_connections {
        true => tracing::info!(
            files,
            connections = ordinary,
            per_address,
            "the system allows fewer open files than max_connections needs; raise LimitNOFILE= or `ulimit -Hn` for more"
        ),
        false => tracing::info!(files, connections = ordinary, per_address, "connections that are allowed"),
    }
    limits
}

/// How many threads serve requests, and as many sockets.
fn workers(settings: &Settings) -> usize {
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    workers.min(MAX_WORKERS)
}

/// The event loops that sockets are served by, if they are.
fn loops(settings: &Settings, hub: &Hub) -> std::io::Result<Option<Loops>> {
    #[cfg(target_os = "linux")]
    if settings.sockets == Sockets::Fast {
        return Loops::start(workers(settings), Some(hub)).map(Some);
    }
    let _ = (settings, hub);
    Ok(None)
}

/// Waits for SIGTERM or Ctrl-C.
pub async fn signal() {
    #[cfg(unix)]
    {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        if let Ok(mut terminate) = terminate {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    // Without handlers the system's defaults hold, and waiting for ever is right.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::store::faulty::{Fault, FaultyStore};
    use crate::store::memory::MemoryStore;
    use crate::store::patient::PATIENCE;

    async fn tries_until(kind: ErrorKind, successes_after: u32) -> (bool, u32) {
        let tries = AtomicU32::new(0);
        let attempt = || async {
            let number = tries.fetch_add(1, Ordering::Relaxed);
            if number < successes_after { Err(StoreError::new(kind, "test", "busy")) } else { Ok(()) }
        };
        let is_done = patiently(attempt, StoreError::may_pass).await.is_ok();
        (is_done, tries.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_a_store_that_is_busy_but_not_for_ever_and_not_for_one_that_is_damaged() {
        assert_eq!(tries_until(ErrorKind::Unknown, 3).await, (true, 4));
        assert_eq!(tries_until(ErrorKind::Unavailable, 3).await, (true, 4));
        let began = tokio::time::Instant::now();
        let (is_done, tries) = tries_until(ErrorKind::Unavailable, u32::MAX).await;
        assert!(!is_done && tries > 10 && began.elapsed() <= PATIENCE, "{tries} tries");
        assert_eq!(tries_until(ErrorKind::Corrupt, 1).await, (false, 1));
    }

    #[actix_web::test]
    async fn each_statement_of_a_start_may_fail_once() {
        let inside: Arc<dyn Store> = Arc::new(MemoryStore::exclusive());
        let settings = Settings::default();
        // A live that is on air: a start reads all of it.
        let app = App::build(settings.clone(), Arc::clone(&inside), Listeners::any()).await.unwrap();
        crate::demo::prepare(&app.state()).await.unwrap();
        drop(app);
        for kind in [ErrorKind::Unavailable, ErrorKind::Unknown] {
            let calls = Arc::new(std::sync::Mutex::new(std::collections::HashMap::<_, u32>::new()));
            let counted = Arc::clone(&calls);
            // Of each operation every other call fails, the first among them.
            let plan = Arc::new(move |operation: &'static str| {
                let mut counted = counted.lock().unwrap();
                let count = counted.entry(operation).or_default();
                *count += 1;
                if *count % 2 == 1 { Fault::Refused(kind) } else { Fault::None }
            });
            let store = Arc::new(FaultyStore::new(Arc::clone(&inside), plan));
            let app = App::build(settings.clone(), store, Listeners::any()).await.unwrap();
            let calls: u32 = calls.lock().unwrap().values().sum();
            assert!(calls > 8, "{kind:?}: {calls}");
            assert_eq!(app.state().conductor.open_lives().len(), 1);
        }
    }

    #[actix_web::test]
    async fn no_write_of_a_start_fails_it_when_a_busy_store_takes_the_next() {
        let writes = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&writes);
        // Of two writes, the first one has no known outcome.
        let plan = Arc::new(move |operation: &'static str| {
            let is_first = operation == "put_record" && counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            if is_first { Fault::Refused(ErrorKind::Unknown) } else { Fault::None }
        });
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::exclusive()), plan));
        let app = App::build(Settings::default(), store, Listeners::any()).await.unwrap();
        assert!(app.setup_secret().is_some());
        assert!(
            writes.load(Ordering::Relaxed) >= 4,
            "the viewers' secret and the set-up secret are each written twice"
        );
    }
}
