//! Signing in and out, and the first account.

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};

use super::super::error::{Problem, ProblemBody};
use super::super::{State, audit, body, identity};
use crate::auth::secrets::csrf_of;
use crate::auth::{Door, Principal, SignedIn, Via, admin_of, check_same_site, require, require_person, require_scope};
use crate::catalogue::{Role, Scope};

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
    /// The six digits of the second factor, or a recovery code; left out by accounts without one.
    #[schema(max_length = 64)]
    code: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmBody {
    /// The password of the account that is signed in.
    #[schema(max_length = 256, format = Password)]
    password: String,
    /// The six digits of its second factor, or a recovery code.
    #[schema(max_length = 64)]
    code: Option<String>,
}

/// Who is signed in.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SessionInfo {
    /// Name of the account, or of the token.
    name: String,
    /// What it may do, in one word.
    role: Role,
    /// What it may do.
    scopes: Vec<Scope>,
    /// Whether the account has a second factor; false for tokens.
    has_second_factor: bool,
    /// Whether the account has a passkey; false for tokens.
    has_passkey: bool,
    /// For the header `X-CSRF-Token` of unsafe requests; null for tokens, which need none.
    csrf: Option<String>,
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config.service(set_up).service(log_in).service(log_out).service(confirm).service(current_session);
}

pub(super) fn door<'a>(state: &State, request: &HttpRequest, device: Option<&'a Cookie<'_>>) -> Door<'a> {
    Door { client: identity::client_key(&state.settings, request), device: device.map(Cookie::value) }
}

pub(super) fn signed_in(
    state: &State,
    signed: SignedIn,
    mut response: actix_web::HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    for session in &signed.ended {
        state.hub.revoke(session);
    }
    let csrf = Some(csrf_of(signed.session.reveal()));
    let session = identity::session_cookie(&state.settings, signed.session.reveal());
    let device = identity::device_cookie(&state.settings, signed.device);
    let mut response = response.json(SessionInfo {
        name: signed.name,
        role: signed.role,
        scopes: signed.role.scopes().to_vec(),
        has_second_factor: signed.has_second_factor,
        has_passkey: signed.has_passkey,
        csrf,
    });
    // One after the other: scripts take the first for the session.
    for cookie in [session, device] {
        response.add_cookie(&cookie).map_err(Problem::internal)?;
    }
    Ok(response)
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
    audit::tried(&request, &body.name);
    let device = request.cookie(identity::device_cookie_name(&state.settings));
    let door = door(&state, &request, device.as_ref());
    let signed = state.auth.set_up(door, &body.token, &body.name, &body.password, state.now_us()).await?;
    tracing::info!(account = %signed.name, "the first account was made");
    signed_in(&state, signed, HttpResponse::Created())
}

/// Signs in
///
/// An account with a second factor answers 403 `code_required` to the right password without a code.
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
    audit::tried(&request, &body.name);
    let device = request.cookie(identity::device_cookie_name(&state.settings));
    let door = door(&state, &request, device.as_ref());
    let signed = state.auth.log_in(door, &body.name, &body.password, body.code.as_deref(), state.now_us()).await?;
    signed_in(&state, signed, HttpResponse::Ok())
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

/// Gives the password again
///
/// For ten minutes after it, as after signing in, this session may change accounts and tokens.
#[utoipa::path(tag = "people", request_body = ConfirmBody, responses(
    (status = 204, description = "Confirmed"),
    (status = 429, description = "Too many attempts",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[post("/api/admin/confirm")]
async fn confirm(state: State, request: HttpRequest, mut payload: web::Payload) -> Result<HttpResponse, Problem> {
    let principal = require_scope(&state, &request, Scope::Read).await?;
    require_person(&principal)?;
    let body: ConfirmBody = body::json(&request, &mut payload).await?;
    let (session, name, code) = (&principal.credential, &principal.name, body.code.as_deref());
    state.auth.confirm(session, name, &body.password, code, state.now_us()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Who is signed in
#[utoipa::path(tag = "people", responses((status = 200, description = "Somebody", body = SessionInfo)))]
#[get("/api/admin/session")]
async fn current_session(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = admin_of(&state, &request).await?;
    let (csrf, has_second_factor, has_passkey) = match principal.via {
        Via::Session { csrf, has_second_factor, has_passkey, .. } => (Some(csrf), has_second_factor, has_passkey),
        Via::Token => (None, false, false),
    };
    let Principal { name, role, scopes, .. } = principal;
    Ok(HttpResponse::Ok().json(SessionInfo { name, role, scopes, has_second_factor, has_passkey, csrf }))
}
