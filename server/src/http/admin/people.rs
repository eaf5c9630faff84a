//! Accounts, API tokens and sessions.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use serde::{Deserialize, Serialize};

use super::super::error::Problem;
use super::super::{State, body};
use crate::auth::{Via, require};
use crate::catalogue::Role;
use crate::domain::key::fold_key;
use crate::domain::rule::Rule;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTokenBody {
    /// What it is for.
    #[schema(min_length = 1, max_length = 80, pattern = "@text")]
    name: String,
    /// What it may do.
    role: Role,
}

/// An API token.
#[derive(Serialize, utoipa::ToSchema)]
struct TokenInfo {
    /// Its id: the SHA-256 of the token, in hexadecimal.
    token_id: String,
    /// What it is for.
    name: String,
    /// What it may do.
    role: Role,
    /// When it was made, microseconds since 1970.
    created_at_us: u64,
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
        .service(list_sessions)
        .service(delete_session);
}

/// Every API token
#[utoipa::path(tag = "people", responses((status = 200, description = "Oldest first", body = [TokenInfo])))]
#[get("/api/admin/tokens")]
async fn list_tokens(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let tokens = state.catalogue.tokens().await?.into_iter().map(|(token_id, token)| TokenInfo {
        token_id,
        name: token.name,
        role: token.role,
        created_at_us: token.created_at_us,
        token: None,
    });
    Ok(HttpResponse::Ok().json(tokens.collect::<Vec<_>>()))
}

/// Makes an API token
///
/// The token is shown once.
#[utoipa::path(tag = "people", request_body = NewTokenBody,
    responses((status = 201, description = "Made", body = TokenInfo)))]
#[post("/api/admin/tokens")]
async fn create_token(state: State, request: HttpRequest, mut payload: web::Payload) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let body: NewTokenBody = body::json(&request, &mut payload).await?;
    let (token_id, token, secret) = state.auth.new_token(&body.name, body.role, state.now_us()).await?;
    Ok(HttpResponse::Created().json(TokenInfo {
        token_id,
        name: token.name,
        role: token.role,
        created_at_us: token.created_at_us,
        token: Some(secret.reveal().to_owned()),
    }))
}

/// Revokes an API token
#[utoipa::path(tag = "people", params(("token_id" = String, Path, description = "Id of the token")),
    responses((status = 204, description = "Revoked")))]
#[delete("/api/admin/tokens/{token_id}")]
async fn delete_token(state: State, request: HttpRequest, token: web::Path<String>) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    state.catalogue.delete_token(&token).await?;
    state.hub.revoke(&token);
    Ok(HttpResponse::NoContent().finish())
}

/// Every account
#[utoipa::path(tag = "people", responses((status = 200, description = "By name", body = [AccountInfo])))]
#[get("/api/admin/accounts")]
async fn list_accounts(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let accounts = state.catalogue.accounts().await?.into_iter().map(|(_, account)| AccountInfo {
        name: account.name,
        role: account.role,
        created_at_us: account.created_at_us,
    });
    Ok(HttpResponse::Ok().json(accounts.collect::<Vec<_>>()))
}

/// Makes an account
#[utoipa::path(tag = "people", request_body = NewAccountBody,
    responses((status = 201, description = "Made", body = AccountInfo)))]
#[post("/api/admin/accounts")]
async fn create_account(
    state: State,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let body: NewAccountBody = body::json(&request, &mut payload).await?;
    let account = state.auth.add_account(&body.name, &body.password, body.role, state.now_us()).await?;
    Ok(HttpResponse::Created().json(AccountInfo {
        name: account.name,
        role: account.role,
        created_at_us: account.created_at_us,
    }))
}

/// Deletes an account
///
/// And ends its sessions. The last admin stays.
#[utoipa::path(tag = "people", params(("name" = String, Path, description = "Name of the account")),
    responses((status = 204, description = "Deleted")))]
#[delete("/api/admin/accounts/{name}")]
async fn delete_account(state: State, request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    for session in state.auth.delete_account(&name).await? {
        state.hub.revoke(&session);
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Changes a password
///
/// One's own, or as an admin anybody's. Ends the other sessions of the account.
#[utoipa::path(tag = "people", params(("name" = String, Path, description = "Name of the account")),
    request_body = PasswordBody, responses((status = 204, description = "Changed")))]
#[put("/api/admin/accounts/{name}/password")]
async fn change_password(
    state: State,
    request: HttpRequest,
    name: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let principal = require(&state, &request, Role::Moderator).await?;
    // A token that happens to bear an account's name is not that account.
    let is_own = principal.via != Via::Token && fold_key(&principal.name) == fold_key(&name);
    if !is_own && principal.role != Role::Admin {
        return Err(Problem::forbidden(
            Rule::AdminOnly,
            "only an admin may change another account's password",
            "ask an admin",
        ));
    }
    let body: PasswordBody = body::json(&request, &mut payload).await?;
    let keep = is_own.then_some(principal.credential.as_str());
    for session in state.auth.set_password(&name, &body.password, keep).await? {
        state.hub.revoke(&session);
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Every session
#[utoipa::path(tag = "people", responses((status = 200, description = "Oldest first", body = [SessionEntry])))]
#[get("/api/admin/sessions")]
async fn list_sessions(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let principal = require(&state, &request, Role::Admin).await?;
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
    require(&state, &request, Role::Admin).await?;
    if !state.catalogue.delete_session(&session).await? {
        return Err(Problem::unknown("unknown_session", "there is no such session"));
    }
    state.hub.revoke(&session);
    Ok(HttpResponse::NoContent().finish())
}
