//! Driving a live: open, next, close, reopen. Each is one call that can be repeated.

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::Deserialize;

use super::super::error::Problem;
use super::super::{State, body, jeu_of, live_of};
use crate::auth::require;
use crate::catalogue::Role;
use crate::conductor::OpenJeux;
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::protocol::LiveState;

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct OpenBody {
    /// Which jeux open with the live.
    #[serde(default)]
    open_jeux: OpenJeux,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct DelayBody {
    /// How far ahead the closing is announced; left out: the channel's `close_delay_ms`; 0: at once.
    #[schema(maximum = 120000)]
    delay_ms: Option<u64>,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NextBody {
    /// How far ahead the closing is announced; left out: the channel's `close_delay_ms`; 0: at once.
    #[schema(maximum = 120000)]
    delay_ms: Option<u64>,
    /// The jeu to go on from: when another one is current by now, nothing is done (409 `moved_on`), so that two who press
    /// the button at once skip no jeu.
    from: Option<u32>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CurrentBody {
    /// The jeu.
    jeu_id: u32,
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config
        .service(open_live)
        .service(close_live)
        .service(reopen_live)
        .service(next_jeu)
        .service(set_current)
        .service(open_jeu)
        .service(close_jeu)
        .service(reopen_jeu);
}

async fn driver(state: &State, request: &HttpRequest, live_id: &str) -> Result<LiveId, Problem> {
    require(state, request, Role::Moderator).await?;
    live_of(live_id)
}

async fn driver_of_jeu(
    state: &State,
    request: &HttpRequest,
    path: &(String, String),
) -> Result<(LiveId, JeuId), Problem> {
    let live_id = driver(state, request, &path.0).await?;
    Ok((live_id, jeu_of(&path.1)?))
}

/// Puts a live on air
///
/// At most one live of a channel is. Repeating it changes nothing.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live")),
    request_body = Option<OpenBody>, responses((status = 200, description = "On air", body = LiveState)))]
#[post("/api/admin/lives/{live_id}/open")]
async fn open_live(
    state: State,
    request: HttpRequest,
    live_id: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let live_id = driver(&state, &request, &live_id).await?;
    let body: OpenBody = body::optional_json(&request, &mut payload).await?;
    Ok(HttpResponse::Ok().json(state.conductor.open_live(live_id, body.open_jeux).await?))
}

/// Ends a live
///
/// At once, or announced ahead. Every jeu that is open closes with it.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live")),
    request_body = Option<DelayBody>, responses((status = 200, description = "Ending or over", body = LiveState)))]
#[post("/api/admin/lives/{live_id}/close")]
async fn close_live(
    state: State,
    request: HttpRequest,
    live_id: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let live_id = driver(&state, &request, &live_id).await?;
    let body: DelayBody = body::optional_json(&request, &mut payload).await?;
    Ok(HttpResponse::Ok().json(state.conductor.close_live(live_id, body.delay_ms).await?))
}

/// Takes the end of a live back
///
/// An announced end, with the deadlines it gave to jeux, or, within 30 s, one that has come; later it is refused (409 `too_late_to_undo`). The jeux that the ending closed open again
/// and keep their notes. Repeating it changes nothing.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live")),
    responses((status = 200, description = "On air again", body = LiveState)))]
#[post("/api/admin/lives/{live_id}/reopen")]
async fn reopen_live(state: State, request: HttpRequest, live_id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let live_id = driver(&state, &request, &live_id).await?;
    Ok(HttpResponse::Ok().json(state.conductor.reopen_live(live_id).await?))
}

/// Goes on to the next jeu
///
/// Announces the closing of the current jeu, opens the next one and makes it current.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live")),
    request_body = Option<NextBody>, responses((status = 200, description = "Gone on", body = LiveState)))]
#[post("/api/admin/lives/{live_id}/next")]
async fn next_jeu(
    state: State,
    request: HttpRequest,
    live_id: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let live_id = driver(&state, &request, &live_id).await?;
    let body: NextBody = body::optional_json(&request, &mut payload).await?;
    let from = body.from.map(JeuId);
    Ok(HttpResponse::Ok().json(state.conductor.next(live_id, body.delay_ms, from).await?))
}

/// Chooses the jeu that pages follow
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live")),
    request_body = CurrentBody, responses((status = 200, description = "Chosen", body = LiveState)))]
#[post("/api/admin/lives/{live_id}/current")]
async fn set_current(
    state: State,
    request: HttpRequest,
    live_id: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let live_id = driver(&state, &request, &live_id).await?;
    let body: CurrentBody = body::json(&request, &mut payload).await?;
    Ok(HttpResponse::Ok().json(state.conductor.set_current(live_id, JeuId(body.jeu_id)).await?))
}

/// Opens a jeu
///
/// And makes it current. Repeating it changes nothing.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live"),
    ("jeu_id" = u32, Path, description = "Number of the jeu")),
    responses((status = 200, description = "Open", body = LiveState)))]
#[post("/api/admin/lives/{live_id}/jeux/{jeu_id}/open")]
async fn open_jeu(
    state: State,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (live_id, jeu_id) = driver_of_jeu(&state, &request, &path).await?;
    Ok(HttpResponse::Ok().json(state.conductor.open_jeu(live_id, jeu_id).await?))
}

/// Closes a jeu
///
/// Announced ahead, by the channel's delay unless the call says otherwise.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live"),
    ("jeu_id" = u32, Path, description = "Number of the jeu")),
    request_body = Option<DelayBody>, responses((status = 200, description = "Closing", body = LiveState)))]
#[post("/api/admin/lives/{live_id}/jeux/{jeu_id}/close")]
async fn close_jeu(
    state: State,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (live_id, jeu_id) = driver_of_jeu(&state, &request, &path).await?;
    let body: DelayBody = body::optional_json(&request, &mut payload).await?;
    Ok(HttpResponse::Ok().json(state.conductor.close_jeu(live_id, jeu_id, body.delay_ms).await?))
}

/// Opens a final jeu again
///
/// Or takes an announced closing back.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live"),
    ("jeu_id" = u32, Path, description = "Number of the jeu")),
    responses((status = 200, description = "Open", body = LiveState)))]
#[post("/api/admin/lives/{live_id}/jeux/{jeu_id}/reopen")]
async fn reopen_jeu(
    state: State,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (live_id, jeu_id) = driver_of_jeu(&state, &request, &path).await?;
    Ok(HttpResponse::Ok().json(state.conductor.reopen_jeu(live_id, jeu_id).await?))
}
