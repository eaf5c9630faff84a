//! `/healthz`, `/readyz`, `/version`, `/metrics`.
//!
//! **Invariant**: `/healthz` looks at nothing but this process, so that a store that is away does not get pods killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use tokio::sync::Mutex;

use super::State;
use crate::store::{ErrorKind, Store};

/// How long the answer of a probe holds: probing writes.
const PROBE_LIFE: Duration = Duration::from_secs(1);
/// How long a probe may take before the store counts as away.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether this pod should get traffic.
#[derive(Default)]
pub struct Readiness {
    draining: AtomicBool,
    probed: Mutex<Option<(Instant, Option<&'static str>)>>,
}

/// Body of `/readyz`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Ready {
    /// Whether this pod should get traffic.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<&'static str>,
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

    /// Probes the store, at most once a second however many ask.
    async fn reasons(&self, store: &dyn Store) -> Vec<&'static str> {
        let mut probed = self.probed.lock().await;
        let fresh = probed.filter(|(at, _)| at.elapsed() < PROBE_LIFE);
        let trouble = match fresh {
            Some((_, trouble)) => trouble,
            None => {
                let trouble = match tokio::time::timeout(PROBE_TIMEOUT, store.probe()).await {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "the store is not ready");
                        Some(match error.kind {
                            ErrorKind::Full => "the store has no room",
                            ErrorKind::Unavailable | ErrorKind::Unknown => "the store is away",
                            ErrorKind::Corrupt | ErrorKind::Refused => "the store is damaged",
                            ErrorKind::Newer => "the store belongs to a newer version",
                        })
                    }
                    Err(_) => Some("the store does not answer"),
                };
                *probed = Some((Instant::now(), trouble));
                trouble
            }
        };
        self.is_draining().then_some("draining").into_iter().chain(trouble).collect()
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

/// Says that the process runs.
#[utoipa::path(get, path = "/healthz", tag = "operations",
    responses((status = 200, description = "It runs", body = String, content_type = "text/plain")))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Says whether this pod should get traffic: its store takes writes and it is not stopping.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "Ready", body = Ready), (status = 503, description = "Not ready", body = Ready)))]
pub async fn readyz(state: State) -> HttpResponse {
    let reasons = state.readiness.reasons(&*state.store).await;
    let ready = reasons.is_empty();
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(Ready { ready, reasons })
}

/// Which version this is.
#[utoipa::path(get, path = "/version", tag = "operations",
    responses((status = 200, description = "The version", body = Version)))]
pub async fn version() -> HttpResponse {
    let version = env!("CARGO_PKG_VERSION");
    HttpResponse::Ok().json(Version { name: "bareme", version, protocol: crate::protocol::PROTOCOL_VERSION })
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain")))]
pub async fn metrics(state: State) -> HttpResponse {
    let body = state.metrics.render();
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(body)
}

/// Registers the four, for GET and HEAD.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/healthz").route(web::get().to(healthz)).route(web::head().to(healthz)))
        .service(web::resource("/readyz").route(web::get().to(readyz)).route(web::head().to(readyz)))
        .service(web::resource("/version").route(web::get().to(version)).route(web::head().to(version)))
        .service(web::resource("/metrics").route(web::get().to(metrics)).route(web::head().to(metrics)));
}
