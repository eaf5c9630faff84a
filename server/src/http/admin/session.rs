//! Signing in and out, and the first account.

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};

use super::super::error::{Problem, ProblemBody};
use super::super::{State, body, identity};
use crate::auth::secrets::csrf_of;
use crate::auth::{Door, SignedIn, Via, admin_of, check_same_site, require};
use crate::catalogue::Role;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SetupBody {
    /// From the link that the server printed at its start.
    #[schema(max_length = 200)]
    token: String,
    /// Name of the first account.
    #[schema(max_length = 64, pattern = "^[A-Za-z0-9À-ÖØ-öø-ÿ][A-Za-z0-9À-ÖØ-öø-ÿ._@-]*$")]
    name: String,
    /// Its password.
    #[schema(min_length = 10, max_length = 256, format = Password)]
    password: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    /// Name of the account.
    #[schema(max_length = 200)]
    name: String,
    /// Its password.
    #[schema(max_length = 256, format = Password)]
    password: String,
}

/// Who is signed in.
#[derive(Serialize, utoipa::ToSchema)]
struct SessionInfo {
    /// Name of the account, or of the token.
    name: String,
    /// What it may do.
    role: Role,
    /// For the header `X-CSRF-Token` of unsafe requests; null for tokens, which need none.
    csrf: Option<String>,
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config.service(set_up).service(log_in).service(log_out).service(current_session);
}

fn door<'a>(state: &State, request: &HttpRequest, device: Option<&'a Cookie<'_>>) -> Door<'a> {
    Door { client: identity::client_key(&state.settings, request), device: device.map(Cookie::value) }
}

fn signed_in(state: &State, signed: SignedIn, mut response: actix_web::HttpResponseBuilder) -> HttpResponse {
    for session in &signed.ended {
        state.hub.revoke(session);
    }
    let csrf = Some(csrf_of(signed.session.reveal()));
    response
        .cookie(identity::session_cookie(&state.settings, signed.session.reveal()))
        .cookie(identity::device_cookie(&state.settings, signed.device))
        .json(SessionInfo { name: signed.name, role: signed.role, csrf })
}

/// Makes the first account
///
/// Only while there is none, with the one-time token that the server printed at its start.
#[utoipa::path(tag = "people", request_body = SetupBody, responses(
    (status = 201, description = "Made and signed in", body = SessionInfo),
    (status = 401, description = "The token is wrong",
        body = ProblemBody<'static>, content_type = "application/problem+json"),
    (status = 429, description = "Too many attempts",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[post("/api/admin/setup")]
async fn set_up(state: State, request: HttpRequest, mut payload: web::Payload) -> Result<HttpResponse, Problem> {
    check_same_site(&state.settings, &request)?;
    let body: SetupBody = body::json(&request, &mut payload).await?;
    let device = request.cookie(identity::device_cookie_name(&state.settings));
    let door = door(&state, &request, device.as_ref());
    let signed = state.auth.set_up(door, &body.token, &body.name, &body.password, state.now_us()).await?;
    tracing::info!(account = %signed.name, "the first account was made");
    Ok(signed_in(&state, signed, HttpResponse::Created()))
}

/// Signs in
#[utoipa::path(tag = "people", request_body = LoginBody, responses(
    (status = 200, description = "Signed in", body = SessionInfo),
    (status = 401, description = "Wrong name or password",
        body = ProblemBody<'static>, content_type = "application/problem+json"),
    (status = 429, description = "Too many attempts",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[post("/api/admin/login")]
async fn log_in(state: State, request: HttpRequest, mut payload: web::Payload) -> Result<HttpResponse, Problem> {
    check_same_site(&state.settings, &request)?;
    let body: LoginBody = body::json(&request, &mut payload).await?;
    let device = request.cookie(identity::device_cookie_name(&state.settings));
    let door = door(&state, &request, device.as_ref());
    let signed = state.auth.log_in(door, &body.name, &body.password, state.now_us()).await?;
    Ok(signed_in(&state, signed, HttpResponse::Ok()))
}

/// Signs out
///
/// Ends the session of the cookie. Repeating it changes nothing.
#[utoipa::path(tag = "people", responses((status = 204, description = "Signed out")))]
#[post("/api/admin/logout")]
async fn log_out(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    check_same_site(&state.settings, &request)?;
    if request.cookie(identity::session_cookie_name(&state.settings)).is_some() {
        match require(&state, &request, Role::Moderator).await {
            Ok(principal) if principal.via != Via::Token => {
                state.catalogue.delete_session(&principal.credential).await?;
                state.hub.revoke(&principal.credential);
            }
            Ok(_) => {}
            // A session that is over already is signed out.
            Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(HttpResponse::NoContent().cookie(identity::no_session_cookie(&state.settings)).finish())
}

/// Who is signed in
#[utoipa::path(tag = "people", responses((status = 200, description = "Somebody", body = SessionInfo)))]
#[get("/api/admin/session")]
async fn current_session(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = admin_of(&state, &request).await?;
    let csrf = match principal.via {
        Via::Session { csrf } => Some(csrf),
        Via::Token => None,
    };
    Ok(HttpResponse::Ok().json(SessionInfo { name: principal.name, role: principal.role, csrf }))
}
