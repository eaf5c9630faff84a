//! HTTP: the API, the pages, the files, and on a listener of its own what operators ask. Maps what the rooms below say to
//! responses; decides nothing itself.
//!
//! **Invariant**: every answer under `/api` that is not a success is `application/problem+json`, whoever made it.

pub mod admin;
pub mod api;
pub mod assets;
pub mod audit;
pub mod body;
pub mod error;
pub mod health;
pub mod hosts;
pub mod identity;
pub mod monitoring;
pub mod openapi;
pub mod ops;
pub mod pages;
pub mod request_id;
pub mod security;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use metrics_exporter_prometheus::PrometheusHandle;
use uuid::Uuid;

use crate::app::connections::Connections;
use crate::audit::Audit;
use crate::auth::Auth;
use crate::auth::limits::{ClientKey, Limiter};
use crate::auth::newcomers::Newcomers;
use crate::catalogue::Catalogue;
use crate::conductor::Conductor;
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::LiveId;
use crate::domain::viewer::ViewerSecret;
use crate::hub::Hub;
use crate::records::Records;
use crate::settings::Settings;
use crate::store::Store;
use crate::traces::Traces;
use crate::ws::Loops;
use crate::ws::admission::Admission;
use crate::ws::session::Terms;
use error::Problem;
use health::Readiness;
use hosts::Hosts;
use openapi::Api;

/// What every handler can reach.
#[derive(Clone)]
pub struct AppState {
    /// Settings, checked.
    pub settings: Arc<Settings>,
    /// Durable facts.
    pub store: Arc<dyn Store>,
    /// Documents over the store.
    pub records: Records,
    /// The lives of this pod.
    pub conductor: Conductor,
    /// Rooms and their sockets.
    pub hub: Hub,
    /// Signs viewer tokens.
    pub viewers: ViewerSecret,
    /// Channels, jeux, baremes, accounts and what else admins keep.
    pub catalogue: Catalogue,
    /// Who changed what.
    pub audit: Audit,
    /// Passwords, sessions, tokens.
    pub auth: Auth,
    /// Where this machine reaches the listener for viewers.
    pub address: SocketAddr,
    /// Under which names it answers.
    pub hosts: Arc<Hosts>,
    /// Whether this pod should get traffic.
    pub readiness: Arc<Readiness>,
    /// Votes over HTTP, by client address.
    pub vote_limiter: Arc<Limiter<ClientKey>>,
    /// First votes of viewers, by client address, on every path.
    pub newcomers: Arc<Newcomers>,
    /// What all sockets have in common.
    pub terms: Arc<Terms>,
    /// How many connections there may be.
    pub connections: Connections,
    /// How many sockets there may be.
    pub admission: Admission,
    /// The event loops that serve them; `None` on the portable path.
    pub loops: Option<Loops>,
    /// What `/metrics` prints.
    pub metrics: PrometheusHandle,
    /// Where traces of votes begin.
    pub traces: Traces,
    /// Whose turn it is to export notes.
    pub exports: api::Exports,
    /// When this app was built.
    pub started: Instant,
    /// The OpenAPI document, and which methods each path has.
    pub api: Arc<Api>,
}

/// [`AppState`] as handlers receive it.
pub type State = web::Data<AppState>;

impl AppState {
    /// Wall clock, microseconds since 1970.
    pub fn now_us(&self) -> u64 {
        self.conductor.env().now_us()
    }

    /// Makes a change of a channel's record, or its end, seen by everybody who looks at it.
    pub async fn channel_changed(&self, channel: &Slug) {
        self.conductor.channel_changed(channel).await;
        self.hub.channel_changed(channel);
    }

    /// What a request's client is limited by; `None` for a client that is exempt.
    pub fn limited_client(&self, request: &HttpRequest) -> Option<ClientKey> {
        (!identity::is_exempt(request)).then(|| identity::client_key(&self.settings, request))
    }

    /// Takes one vote out of the bucket of a request's client.
    ///
    /// # Errors
    /// The seconds until there is one again.
    pub fn check_vote_rate(&self, client: Option<ClientKey>) -> Result<(), u64> {
        client.map_or(Ok(()), |client| self.vote_limiter.check(&client))
    }
}

/// The channel that a segment of a path names.
///
/// # Errors
/// 404: what is no slug names no channel.
pub fn slug_of(segment: &str) -> Result<Slug, Problem> {
    Slug::new(segment).map_err(|_| Problem::unknown("unknown_channel", "there is no such channel"))
}

/// The live that a segment of a path names.
///
/// # Errors
/// 404.
pub fn live_of(segment: &str) -> Result<LiveId, Problem> {
    uuid_of(segment).map(LiveId).ok_or_else(|| Problem::unknown("unknown_live", "there is no such live"))
}

/// A UUID in its usual form of 36 characters; the other forms that `uuid` reads are not ids of this API.
pub fn uuid_of(segment: &str) -> Option<Uuid> {
    Uuid::try_parse(segment).ok().filter(|_| segment.len() == 36)
}

/// The jeu that a segment of a path names.
///
/// # Errors
/// 404.
pub fn jeu_of(segment: &str) -> Result<JeuId, Problem> {
    let number = segment.bytes().all(|b| b.is_ascii_digit()).then(|| segment.parse().ok()).flatten();
    number.map(JeuId).ok_or_else(|| Problem::unknown("unknown_jeu", "there is no such jeu"))
}

/// Registers everything under `/api` except its documentation.
pub fn configure_api(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    api::configure(config);
    admin::configure(config);
}

/// Registers everything this module and its children serve, for one worker's application.
pub fn configure(state: &State, config: &mut web::ServiceConfig) {
    config.app_data(state.clone());
    config.app_data(web::PathConfig::default().error_handler(|_, _| Problem::no_such_path().into()));
    config.app_data(web::QueryConfig::default().error_handler(|error, _| {
        crate::domain::Invalid::new("query", crate::domain::rule::Rule::WrongQuery, error.to_string(), "see /api/docs")
            .map_into()
    }));
    // First, because the router tries one after the other and this is what most connections are for.
    crate::ws::route::configure(config);
    let mut documented = utoipa_actix_web::service_config::ServiceConfig::new(config);
    configure_api(&mut documented);
    openapi::configure(config);
    health::configure(config);
    assets::configure(config);
    // Last, because `/{channel}` takes any single segment.
    pages::configure(config);
}

/// Turns an [`crate::domain::Invalid`] into what actix wants.
trait MapInto {
    fn map_into(self) -> actix_web::Error;
}

impl MapInto for crate::domain::Invalid {
    fn map_into(self) -> actix_web::Error {
        Problem::from(self).into()
    }
}

/// What nobody else answers: under `/api` 405 with `Allow` where another method would do, else 404; elsewhere a page.
pub async fn not_found(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let allowed = state.api.methods(request.path());
    if !allowed.is_empty() {
        return Err(Problem::method_not_allowed(&allowed));
    }
    if request.path().starts_with("/api") {
        return Err(Problem::no_such_path());
    }
    Ok(pages::not_found(state, request).await)
}
