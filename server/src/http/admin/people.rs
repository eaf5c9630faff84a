//! Accounts, API tokens and sessions.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use serde::{Deserialize, Serialize};

use super::super::error::{Problem, ProblemBody};
use super::super::{State, audit, body};
use crate::auth::{AuthError, admin_of, require_confirmed, require_confirmed_person, require_person, require_scope};
use crate::catalogue::{Account, Role, Scope, Token};
use crate::domain::Invalid;
use crate::domain::key::fold_key;
use crate::domain::rule::Rule;

/// Longest life of a token that ends by itself.
const MAX_TOKEN_DAYS: u64 = 3_650;
const DAY_US: u64 = 24 * 3_600 * 1_000_000;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTokenBody {
    /// What it is for.
    #[schema(min_length = 1, max_length = 80, pattern = "@text")]
    name: String,
    /// What it may do, in one word: a moderator's token reads and drives, an admin's also manages. Either this or `scopes`.
    role: Option<Role>,
    /// What it may do. `accounts` has to be asked for here.
    #[schema(min_items = 1)]
    scopes: Option<Vec<Scope>>,
    /// When it ends by itself; left out: when it is revoked.
    #[schema(minimum = 1, maximum = 3650)]
    expires_in_days: Option<u64>,
}

/// An API token.
#[derive(Serialize, utoipa::ToSchema)]
struct TokenInfo {
    /// Its id: the SHA-256 of the token, in hexadecimal.
    token_id: String,
    /// What it is for.
    name: String,
    /// What it may do.
    scopes: Vec<Scope>,
    /// When it was made, microseconds since 1970.
    created_at_us: u64,
    /// When it ends, or ended, microseconds since 1970; null when nothing ends it but revoking.
    expires_at_us: Option<u64>,
    /// Id of the token that made it, and that it ends with.
    made_by: Option<String>,
    /// The token itself, only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccountBody {
    /// Name to sign in with.
    #[schema(max_length = 64, pattern = "^[A-Za-z0-9À-ÖØ-öø-ÿ][A-Za-z0-9À-ÖØ-öø-ÿ._@-]*$")]
    name: String,
    /// Its password.
    #[schema(min_length = 10, max_length = 256, format = Password)]
    password: String,
    /// What it may do.
    role: Role,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    /// The new password.
    #[schema(min_length = 10, max_length = 256, format = Password)]
    password: String,
    /// The password until now: for one's own account.
    #[schema(max_length = 256, format = Password)]
    current: Option<String>,
}

/// An account.
#[derive(Serialize, utoipa::ToSchema)]
struct AccountInfo {
    /// Name to sign in with.
    name: String,
    /// What it may do.
    role: Role,
    /// When it was made, microseconds since 1970.
    created_at_us: u64,
    /// Whether it has a second factor.
    has_second_factor: bool,
    /// How many passkeys it has.
    passkeys: usize,
}

impl From<Account> for AccountInfo {
    fn from(account: Account) -> Self {
        let (has_second_factor, passkeys) = (account.second_factor.is_some(), account.passkeys().len());
        let Account { name, role, created_at_us, .. } = account;
        Self { name, role, created_at_us, has_second_factor, passkeys }
    }
}

/// A browser somebody is signed in with.
#[derive(Serialize, utoipa::ToSchema)]
struct SessionEntry {
    /// Its id.
    session_id: String,
    /// Folded name of the account.
    account: String,
    /// When somebody signed in, microseconds since 1970.
    created_at_us: u64,
    /// When it was used last, to the hour.
    seen_at_us: u64,
    /// Whether it is the one that asks.
    current: bool,
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config
        .service(list_tokens)
        .service(create_token)
        .service(delete_token)
        .service(list_accounts)
        .service(create_account)
        .service(delete_account)
        .service(change_password)
        .service(end_second_factor_of)
        .service(list_sessions)
        .service(delete_session);
}

/// Every API token
#[utoipa::path(tag = "people", responses((status = 200, description = "Oldest first", body = [TokenInfo])))]
#[get("/api/admin/tokens")]
async fn list_tokens(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    require_scope(&state, &request, Scope::Accounts).await?;
    let tokens = state.catalogue.tokens().await?.into_iter().map(|(id, token)| token_info(id, token, None));
    Ok(HttpResponse::Ok().json(tokens.collect::<Vec<_>>()))
}

/// Makes an API token
///
/// The token is shown once. One that is made with a token may do no more than that, ends no later, and is revoked with it.
/// A person must have given their password in the last ten minutes.
#[utoipa::path(tag = "people", request_body = NewTokenBody,
    responses((status = 201, description = "Made", body = TokenInfo)))]
#[post("/api/admin/tokens")]
async fn create_token(state: State, request: HttpRequest, mut payload: web::Payload) -> Result<HttpResponse, Problem> {
    require_confirmed(&state, &request, Scope::Accounts).await?;
    let body: NewTokenBody = body::json(&request, &mut payload).await?;
    let maker = require_confirmed(&state, &request, Scope::Accounts).await?;
    audit::about(&request, "name", &body.name);
    let scopes = match (body.role, body.scopes) {
        (Some(role), None) => role.token_scopes().to_vec(),
        (None, Some(scopes)) => scopes,
        _ => return Err(Invalid::new("scopes", Rule::Required, "is not there", "send either role or scopes").into()),
    };
    if let Some(missing) = scopes.iter().find(|scope| !maker.may(**scope)) {
        let reason = format!("a token cannot give {missing:?} away without having it");
        return Err(Problem::forbidden(Rule::ScopeMissing, reason, "ask for less").field("scopes"));
    }
    if body.expires_in_days.is_some_and(|days| !(1..=MAX_TOKEN_DAYS).contains(&days)) {
        let rule = Rule::range(1, u32::try_from(MAX_TOKEN_DAYS).unwrap_or(u32::MAX));
        let remedy = format!("send 1 to {MAX_TOKEN_DAYS}, or leave it out");
        return Err(Invalid::new("expires_in_days", rule, "is out of range", remedy).into());
    }
    let now_us = state.now_us();
    let asked = body.expires_in_days.map(|days| now_us.saturating_add(days * DAY_US));
    let expires_at_us = asked.into_iter().chain(maker.expires_at_us).min();
    let made_by = (!maker.is_person()).then(|| maker.credential.clone());
    let words: Vec<_> = scopes.iter().map(|scope| format!("{scope:?}").to_lowercase()).collect();
    audit::about(&request, "scopes", &words.join(" "));
    let new = Token { name: body.name, scopes, created_at_us: now_us, expires_at_us, made_by };
    let (token_id, token, secret) = state.auth.make_token(new).await?;
    // Whoever revokes the maker after this look finds the token.
    if let Err(problem) = require_confirmed(&state, &request, Scope::Accounts).await {
        state.catalogue.delete_token(&token_id).await?;
        return Err(problem);
    }
    Ok(HttpResponse::Created().json(token_info(token_id, token, Some(secret.reveal().to_owned()))))
}

fn token_info(token_id: String, token: Token, secret: Option<String>) -> TokenInfo {
    let Token { name, scopes, created_at_us, expires_at_us, made_by } = token;
    TokenInfo { token_id, name, scopes, created_at_us, expires_at_us, made_by, token: secret }
}

/// Revokes an API token
///
/// And the tokens that were made with it.
#[utoipa::path(tag = "people", params(("token_id" = String, Path, description = "Id of the token")),
    responses((status = 204, description = "Revoked")))]
#[delete("/api/admin/tokens/{token_id}")]
async fn delete_token(state: State, request: HttpRequest, token: web::Path<String>) -> Result<HttpResponse, Problem> {
    require_scope(&state, &request, Scope::Accounts).await?;
    for id in state.catalogue.delete_token(&token).await? {
        state.hub.revoke(&id);
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Every account
#[utoipa::path(tag = "people", responses((status = 200, description = "By name", body = [AccountInfo])))]
#[get("/api/admin/accounts")]
async fn list_accounts(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    require_scope(&state, &request, Scope::Accounts).await?;
    let accounts = state.catalogue.accounts().await?.into_iter().map(|(_, account)| AccountInfo::from(account));
    Ok(HttpResponse::Ok().json(accounts.collect::<Vec<_>>()))
}

/// Makes an account
///
/// By a person, who must have given their password in the last ten minutes: it would outlive a token.
#[utoipa::path(tag = "people", request_body = NewAccountBody,
    responses((status = 201, description = "Made", body = AccountInfo)))]
#[post("/api/admin/accounts")]
async fn create_account(
    state: State,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require_confirmed_person(&state, &request, Scope::Accounts).await?;
    let body: NewAccountBody = body::json(&request, &mut payload).await?;
    require_confirmed(&state, &request, Scope::Accounts).await?;
    audit::about(&request, "name", &body.name);
    let account = state.auth.add_account(&body.name, &body.password, body.role, state.now_us()).await?;
    Ok(HttpResponse::Created().json(AccountInfo::from(account)))
}

/// Deletes an account
///
/// And ends its sessions. The last admin stays. Admins are deleted by a person, who must have given their password in the
/// last ten minutes.
#[utoipa::path(tag = "people", params(("name" = String, Path, description = "Name of the account")),
    responses((status = 204, description = "Deleted")))]
#[delete("/api/admin/accounts/{name}")]
async fn delete_account(state: State, request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let principal = require_confirmed(&state, &request, Scope::Accounts).await?;
    match state.catalogue.account(&name).await? {
        Some(account) if account.role == Role::Admin => require_person(&principal)?,
        _ => {}
    }
    for session in state.auth.delete_account(&name).await? {
        state.hub.revoke(&session);
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Changes a password
///
/// By a person: one's own, with the one until now as `current`; or as an admin anybody's, after giving one's own in the last
/// ten minutes. Ends the other sessions of the account.
#[utoipa::path(tag = "people", params(("name" = String, Path, description = "Name of the account")),
    request_body = PasswordBody, responses((status = 204, description = "Changed"),
    (status = 429, description = "Too many attempts",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[put("/api/admin/accounts/{name}/password")]
async fn change_password(
    state: State,
    request: HttpRequest,
    name: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let principal = admin_of(&state, &request).await?;
    // A token that happens to bear an account's name is not that account.
    let is_own = principal.is_person() && fold_key(&principal.name) == fold_key(&name);
    let ended = if is_own {
        require_scope(&state, &request, Scope::Read).await?;
        let body: PasswordBody = body::json(&request, &mut payload).await?;
        let Some(current) = body.current else {
            let remedy = "send the password until now";
            return Err(Invalid::new("current", Rule::Required, "is not there", remedy).into());
        };
        let keep = &principal.credential;
        let changed = state.auth.change_own_password(&name, &current, &body.password, keep).await;
        changed.map_err(|error| match error {
            AuthError::WrongPassword => Problem::from(error).field("current"),
            other => other.into(),
        })?
    } else {
        require_confirmed_person(&state, &request, Scope::Accounts).await?;
        let body: PasswordBody = body::json(&request, &mut payload).await?;
        require_confirmed(&state, &request, Scope::Accounts).await?;
        state.auth.set_password(&name, &body.password, None).await?
    };
    for session in ended {
        state.hub.revoke(&session);
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Switches the second factor of an account off
///
/// For somebody who lost it. By a person, who must have given their password in the last ten minutes.
#[utoipa::path(tag = "people", params(("name" = String, Path, description = "Name of the account")),
    responses((status = 204, description = "Off")))]
#[delete("/api/admin/accounts/{name}/second-factor")]
async fn end_second_factor_of(
    state: State,
    request: HttpRequest,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    require_confirmed_person(&state, &request, Scope::Accounts).await?;
    state.auth.end_second_factor(&name).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Every session
#[utoipa::path(tag = "people", responses((status = 200, description = "Oldest first", body = [SessionEntry])))]
#[get("/api/admin/sessions")]
async fn list_sessions(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = require_scope(&state, &request, Scope::Accounts).await?;
    let sessions = state.catalogue.sessions().await?.into_iter().map(|(session_id, session)| SessionEntry {
        current: session_id == principal.credential,
        session_id,
        account: session.account,
        created_at_us: session.created_at_us,
        seen_at_us: session.seen_at_us,
    });
    Ok(HttpResponse::Ok().json(sessions.collect::<Vec<_>>()))
}

/// Ends a session
#[utoipa::path(tag = "people", params(("session_id" = String, Path, description = "Id of the session")),
    responses((status = 204, description = "Ended")))]
#[delete("/api/admin/sessions/{session_id}")]
async fn delete_session(
    state: State,
    request: HttpRequest,
    session: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    require_scope(&state, &request, Scope::Accounts).await?;
    if !state.catalogue.delete_session(&session).await? {
        return Err(Problem::unknown("unknown_session", "there is no such session"));
    }
    state.hub.revoke(&session);
    Ok(HttpResponse::NoContent().finish())
}
