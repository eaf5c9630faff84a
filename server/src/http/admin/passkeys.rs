//! Passkeys of whoever is signed in, and signing in with one.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::Serialize;
use serde_json::Value;

use super::super::error::{Problem, ProblemBody};
use super::super::{State, audit, body, identity};
use super::session::{SessionInfo, door, signed_in};
use crate::auth::webauthn::{Answer, Made, RelyingParty};
use crate::auth::{AuthError, check_same_site, passkey_id, require_confirmed_person, require_person, require_scope};
use crate::catalogue::{Passkey, Scope};
use crate::domain::rule::Rule;

/// A passkey of an account.
#[derive(Serialize, utoipa::ToSchema)]
struct PasskeyInfo {
    /// Its id: the SHA-256 of its credential ID in base64url, in hexadecimal.
    passkey_id: String,
    /// What its owner calls it.
    name: String,
    /// When it was added, microseconds since 1970.
    created_at_us: u64,
    /// When it was used last, microseconds since 1970; null when it never was.
    used_at_us: Option<u64>,
    /// The host that it was made for: it works under that address only.
    party: String,
    /// Whether its owner may have it on several devices.
    may_sync: bool,
}

impl From<&Passkey> for PasskeyInfo {
    fn from(passkey: &Passkey) -> Self {
        Self {
            passkey_id: passkey_id(passkey),
            name: passkey.name.clone(),
            created_at_us: passkey.created_at_us,
            used_at_us: passkey.used_at_us,
            party: passkey.party.clone(),
            may_sync: passkey.may_sync,
        }
    }
}

/// What a page passes to the browser, after making bytes of what is in base64url:
/// [`PublicKeyCredentialCreationOptionsJSON`](https://www.w3.org/TR/webauthn-3/#dictdef-publickeycredentialcreationoptionsjson)
/// to add a passkey,
/// [`PublicKeyCredentialRequestOptionsJSON`](https://www.w3.org/TR/webauthn-3/#dictdef-publickeycredentialrequestoptionsjson) to
/// use one. Its `challenge` is good once, and for five minutes.
#[derive(utoipa::ToSchema)]
#[schema(value_type = Object)]
#[expect(dead_code, reason = "it describes what is sent")]
struct PasskeyOptions(Value);

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config
        .service(list_passkeys)
        .service(new_passkey)
        .service(add_passkey)
        .service(remove_passkey)
        .service(remove_passkeys_of)
        .service(passkey_challenge)
        .service(log_in_with_passkey)
        .service(confirm_challenge)
        .service(confirm_with_passkey);
}

fn relying_party(state: &State, request: &HttpRequest) -> Result<RelyingParty, Problem> {
    identity::relying_party(&state.settings, request).ok_or_else(|| {
        let remedy = "set public_url to the https address that people use, or go to http://localhost";
        Problem::conflict(Rule::PasskeysUnavailable, "browsers have no passkeys for the address of this server", remedy)
    })
}

/// Notes in the audit log which check a passkey did not pass.
fn noted<T>(request: &HttpRequest, result: Result<T, AuthError>) -> Result<T, AuthError> {
    if let Err(AuthError::Passkey(refusal)) = &result {
        audit::about(request, "reason", refusal.word());
    }
    result
}

/// Every passkey of whoever is signed in
#[utoipa::path(tag = "people", responses((status = 200, description = "Oldest first", body = [PasskeyInfo])))]
#[get("/api/admin/passkeys")]
async fn list_passkeys(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = require_scope(&state, &request, Scope::Read).await?;
    require_person(&principal)?;
    let account = state.catalogue.account(&principal.name).await?;
    let passkeys = account.iter().flat_map(|account| account.passkeys()).map(PasskeyInfo::from);
    Ok(HttpResponse::Ok().json(passkeys.collect::<Vec<_>>()))
}

/// What to ask the browser for to add a passkey
///
/// For this and the following, the password must have been given, or a passkey used, in the last ten minutes.
#[utoipa::path(tag = "people", responses(
    (status = 200, description = "For `navigator.credentials.create`", body = PasskeyOptions),
    (status = 409, description = "There are as many as there can be, or the address of this server is none for passkeys",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[get("/api/admin/passkey-options")]
async fn new_passkey(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = require_confirmed_person(&state, &request, Scope::Read).await?;
    let party = relying_party(&state, &request)?;
    let asked = state.auth.new_passkey(&party, &principal.name, &principal.credential, state.now_us()).await?;
    Ok(HttpResponse::Ok().json(asked))
}

/// Adds a passkey
///
/// What the browser made of `GET /api/admin/passkey-options` in the same session, within five minutes.
#[utoipa::path(tag = "people", request_body = Made, responses(
    (status = 201, description = "Added", body = PasskeyInfo),
    (status = 429, description = "Too many attempts",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[post("/api/admin/passkeys")]
async fn add_passkey(state: State, request: HttpRequest, mut payload: web::Payload) -> Result<HttpResponse, Problem> {
    let principal = require_confirmed_person(&state, &request, Scope::Read).await?;
    let made: Made = body::json(&request, &mut payload).await?;
    require_confirmed_person(&state, &request, Scope::Read).await?;
    audit::about(&request, "name", &made.name);
    let party = relying_party(&state, &request)?;
    let added = state.auth.add_passkey(&party, &principal.name, &principal.credential, &made, state.now_us()).await;
    Ok(HttpResponse::Created().json(PasskeyInfo::from(&noted(&request, added)?)))
}

/// Removes a passkey
///
/// It opens nothing any more. Sessions that began with it go on.
#[utoipa::path(tag = "people", params(("passkey_id" = String, Path, description = "Id of the passkey")),
    responses((status = 204, description = "Removed")))]
#[delete("/api/admin/passkeys/{passkey_id}")]
async fn remove_passkey(state: State, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let principal = require_confirmed_person(&state, &request, Scope::Read).await?;
    let removed = state.auth.remove_passkey(&principal.name, &id).await?;
    audit::about(&request, "name", &removed.name);
    Ok(HttpResponse::NoContent().finish())
}

/// Removes every passkey of an account
///
/// For somebody who lost a device. By a person, who must have given their password in the last ten minutes.
#[utoipa::path(tag = "people", params(("name" = String, Path, description = "Name of the account")),
    responses((status = 204, description = "Removed")))]
#[delete("/api/admin/accounts/{name}/passkeys")]
async fn remove_passkeys_of(
    state: State,
    request: HttpRequest,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    require_confirmed_person(&state, &request, Scope::Accounts).await?;
    let count = state.auth.remove_passkeys(&name).await?;
    audit::about(&request, "count", &count.to_string());
    Ok(HttpResponse::NoContent().finish())
}

/// What to ask the browser for to sign in with a passkey
///
/// The same for everybody. Nothing is kept of it.
#[utoipa::path(tag = "people", responses(
    (status = 200, description = "For `navigator.credentials.get`", body = PasskeyOptions),
    (status = 409, description = "The address of this server is none for passkeys",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[get("/api/admin/login/passkey")]
async fn passkey_challenge(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let party = relying_party(&state, &request)?;
    Ok(HttpResponse::Ok().json(state.auth.passkey_request(&party, state.now_us()).await?))
}

/// Signs in with a passkey
///
/// With what the browser made of `GET /api/admin/login/passkey`, within five minutes. It stands for both factors, so that no
/// code is asked for.
#[utoipa::path(tag = "people", request_body = Answer, responses(
    (status = 200, description = "Signed in", body = SessionInfo),
    (status = 429, description = "Too many attempts",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[post("/api/admin/login/passkey")]
async fn log_in_with_passkey(
    state: State,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    check_same_site(&state.settings, &request)?;
    // Nobody is known before the answer was read, nor by one that cannot be.
    audit::tried(&request, "");
    let answer: Answer = body::json(&request, &mut payload).await?;
    let party = relying_party(&state, &request)?;
    let owner = state.auth.passkey_owner(&answer).await?;
    if let Some(account) = &owner {
        audit::tried(&request, &account.name);
        let used = account.passkeys().iter().find(|passkey| passkey.id == answer.credential_id);
        if let Some(passkey) = used {
            audit::about(&request, "passkey", &passkey.name);
        }
    }
    let device = request.cookie(identity::device_cookie_name(&state.settings));
    let door = door(&state, &request, device.as_ref());
    let signed = state.auth.log_in_with_passkey(door, &party, owner.as_ref(), &answer, state.now_us()).await;
    signed_in(&state, noted(&request, signed)?, HttpResponse::Ok())
}

/// What to ask the browser for to confirm the session with a passkey
#[utoipa::path(tag = "people", responses(
    (status = 200, description = "For `navigator.credentials.get`", body = PasskeyOptions),
    (status = 404, description = "The account has no passkey",
        body = ProblemBody<'static>, content_type = "application/problem+json"),
    (status = 409, description = "The address of this server is none for passkeys",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[get("/api/admin/confirm/passkey")]
async fn confirm_challenge(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = require_scope(&state, &request, Scope::Read).await?;
    require_person(&principal)?;
    let party = relying_party(&state, &request)?;
    let asked = state.auth.confirm_request(&party, &principal.name, &principal.credential, state.now_us()).await?;
    Ok(HttpResponse::Ok().json(asked))
}

/// Uses a passkey in the place of the password
///
/// As `POST /api/admin/confirm`, with what the browser made of `GET /api/admin/confirm/passkey`, within five minutes.
#[utoipa::path(tag = "people", request_body = Answer, responses(
    (status = 204, description = "Confirmed"),
    (status = 429, description = "Too many attempts",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[post("/api/admin/confirm/passkey")]
async fn confirm_with_passkey(
    state: State,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let principal = require_scope(&state, &request, Scope::Read).await?;
    require_person(&principal)?;
    let answer: Answer = body::json(&request, &mut payload).await?;
    let party = relying_party(&state, &request)?;
    let (name, session) = (&principal.name, &principal.credential);
    let confirmed = state.auth.confirm_with_passkey(&party, name, session, &answer, state.now_us()).await;
    noted(&request, confirmed)?;
    Ok(HttpResponse::NoContent().finish())
}
