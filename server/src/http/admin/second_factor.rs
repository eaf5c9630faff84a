//! The second factor of whoever is signed in.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use serde::{Deserialize, Serialize};

use super::super::api::qr_svg;
use super::super::error::{Problem, ProblemBody};
use super::super::{State, body};
use crate::auth::{require_confirmed_person, require_person, require_scope};
use crate::catalogue::Scope;

/// A second factor.
#[derive(Serialize, utoipa::ToSchema)]
struct FactorInfo {
    /// Since when it is on, microseconds since 1970; null while it is off.
    since_us: Option<u64>,
    /// How many recovery codes are left.
    recovery_left: usize,
}

/// A second factor that is being set up.
#[derive(Serialize, utoipa::ToSchema)]
struct FactorSetUp {
    /// The secret, to type into an app.
    secret: String,
    /// The same as an address of an app.
    url: String,
    /// The same as a QR code, SVG.
    qr: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CodeBody {
    /// The six digits that the app shows.
    #[schema(max_length = 64)]
    code: String,
}

/// Recovery codes.
#[derive(Serialize, utoipa::ToSchema)]
struct RecoveryCodes {
    /// Each opens once, in the place of a code of the app. They are not shown again.
    recovery: Vec<String>,
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config
        .service(second_factor)
        .service(begin_second_factor)
        .service(finish_second_factor)
        .service(renew_recovery)
        .service(end_second_factor);
}

/// The second factor of whoever is signed in
#[utoipa::path(tag = "people", responses((status = 200, description = "On or off", body = FactorInfo)))]
#[get("/api/admin/second-factor")]
async fn second_factor(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = require_scope(&state, &request, Scope::Read).await?;
    require_person(&principal)?;
    let factor = state.catalogue.account(&principal.name).await?.and_then(|account| account.second_factor);
    let since_us = factor.as_ref().map(|factor| factor.since_us);
    let recovery_left = factor.map_or(0, |factor| factor.recovery.len());
    Ok(HttpResponse::Ok().json(FactorInfo { since_us, recovery_left }))
}

/// Begins to set up a second factor
///
/// Codes of an authenticator app (TOTP). It is on once a code was sent back, within a quarter of an hour. For this and the
/// following, the password must have been given in the last ten minutes.
#[utoipa::path(tag = "people", responses((status = 200, description = "Begun", body = FactorSetUp)))]
#[post("/api/admin/second-factor")]
async fn begin_second_factor(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = require_confirmed_person(&state, &request, Scope::Read).await?;
    let (secret, url) = state.auth.begin_second_factor(&principal.name, state.now_us()).await?;
    let qr = qr_svg(&url)?;
    Ok(HttpResponse::Ok().json(FactorSetUp { secret, url, qr }))
}

/// Switches the second factor on
#[utoipa::path(tag = "people", request_body = CodeBody, responses(
    (status = 200, description = "On", body = RecoveryCodes),
    (status = 429, description = "Too many attempts",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[put("/api/admin/second-factor")]
async fn finish_second_factor(
    state: State,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let principal = require_confirmed_person(&state, &request, Scope::Read).await?;
    let body: CodeBody = body::json(&request, &mut payload).await?;
    require_confirmed_person(&state, &request, Scope::Read).await?;
    let recovery = state.auth.finish_second_factor(&principal.name, &body.code, state.now_us()).await?;
    Ok(HttpResponse::Ok().json(RecoveryCodes { recovery }))
}

/// Makes new recovery codes
///
/// Those before them open nothing any more.
#[utoipa::path(tag = "people", responses((status = 200, description = "Made", body = RecoveryCodes)))]
#[post("/api/admin/second-factor/recovery")]
async fn renew_recovery(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = require_confirmed_person(&state, &request, Scope::Read).await?;
    let recovery = state.auth.renew_recovery(&principal.name).await?;
    Ok(HttpResponse::Ok().json(RecoveryCodes { recovery }))
}

/// Switches the second factor off
#[utoipa::path(tag = "people", responses((status = 204, description = "Off")))]
#[delete("/api/admin/second-factor")]
async fn end_second_factor(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = require_confirmed_person(&state, &request, Scope::Read).await?;
    state.auth.end_second_factor(&principal.name).await?;
    Ok(HttpResponse::NoContent().finish())
}
