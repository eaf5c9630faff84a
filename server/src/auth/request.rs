//! Who sends a request, and whether a page of this site sent it.

use actix_web::HttpRequest;
use actix_web::http::header;

use super::AuthError;
use super::secrets::{csrf_of, hash, same};
use crate::catalogue::Role;
use crate::domain::key::Slug;
use crate::domain::rule::Rule;
use crate::http::AppState;
use crate::http::error::Problem;
use crate::http::identity::{origin_allowed, session_cookie_name};
use crate::settings::Settings;
use crate::store::StoreError;

/// Header that carries the CSRF token.
const CSRF_HEADER: &str = "X-CSRF-Token";

/// How somebody showed who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// `Authorization: Bearer …`.
    Token,
    /// The session cookie; unsafe requests must carry this CSRF token.
    Session {
        /// The expected token.
        csrf: String,
    },
}

/// Somebody who was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Name of the account, or of the token.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Id of the token or session: what is revoked.
    pub credential: String,
    /// How they showed it.
    pub via: Via,
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Wrong => Self::unauthorized(Rule::WrongCredentials, "name, password or link is wrong"),
            AuthError::AlreadySetUp => Self::conflict(Rule::AlreadySetUp, "this instance is set up already", "sign in"),
            AuthError::TooMany(seconds) => Self::too_fast(seconds),
            AuthError::Refused(refused) => refused.into(),
        }
    }
}

/// Who sends this request: the bearer token if there is one, else the session. Does not look at CSRF; see [`require`].
///
/// # Errors
/// 401, with the code `setup_required` while there is no account.
pub async fn admin_of(state: &AppState, request: &HttpRequest) -> Result<Principal, Problem> {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let secret = value.to_str().ok().and_then(bearer);
        let found = match secret {
            Some(secret) => state.auth.token(secret).await?,
            None => None,
        };
        return match found {
            Some((credential, token)) => {
                Ok(Principal { name: token.name, role: token.role, credential, via: Via::Token })
            }
            None => Err(Problem::unauthorized(Rule::InvalidToken, "the bearer token is not valid")),
        };
    }
    if let Some(cookie) = request.cookie(session_cookie_name(&state.settings))
        && let Some((credential, account)) = state.auth.session(cookie.value(), state.now_us()).await?
    {
        let via = Via::Session { csrf: csrf_of(cookie.value()) };
        return Ok(Principal { name: account.name, role: account.role, credential, via });
    }
    if state.catalogue.has_accounts().await? {
        return Err(Problem::unauthorized(Rule::SignedOut, "nobody is signed in"));
    }
    let remedy = "open the set-up link that the server printed at its start, or make a token with `bareme token new`";
    let status = actix_web::http::StatusCode::UNAUTHORIZED;
    Err(Problem::new(status, "setup_required", "there is no account yet", remedy).with("setup", true))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// Lets a request through that somebody of at least `role` sent, and that no other site made their browser send.
///
/// # Errors
/// 401, or 403.
pub async fn require(state: &AppState, request: &HttpRequest, role: Role) -> Result<Principal, Problem> {
    let principal = admin_of(state, request).await?;
    if let Via::Session { csrf } = &principal.via
        && !request.method().is_safe()
    {
        check_same_site(&state.settings, request)?;
        let given = request.headers().get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !same(given, csrf) {
            let reason = format!("the header {CSRF_HEADER} is missing or wrong");
            let remedy = "send the `csrf` of GET /api/admin/session";
            return Err(Problem::new(actix_web::http::StatusCode::FORBIDDEN, "csrf", reason, remedy));
        }
    }
    if role == Role::Admin && principal.role != Role::Admin {
        return Err(Problem::forbidden(Rule::AdminOnly, "only an admin may do this", "ask an admin"));
    }
    Ok(principal)
}

/// Refuses what a page of another site makes a browser send.
///
/// # Errors
/// 403 `wrong_origin`.
pub fn check_same_site(settings: &Settings, request: &HttpRequest) -> Result<(), Problem> {
    let fetch_site = request.headers().get("Sec-Fetch-Site").map(header::HeaderValue::as_bytes);
    let own_site = matches!(fetch_site, None | Some(b"same-origin" | b"none"));
    if own_site && origin_allowed(settings, request) {
        return Ok(());
    }
    let reason = "a page of another site sent this request";
    let remedy = "send it from a page of this server, or without an Origin header; check public_url behind a proxy";
    Err(Problem::new(actix_web::http::StatusCode::FORBIDDEN, "wrong_origin", reason, remedy))
}

/// The credential of an overlay key of a channel; `None` when the key is not (or no longer) one.
///
/// # Errors
/// The store's.
pub async fn overlay_key(state: &AppState, slug: &Slug, key: &str) -> Result<Option<String>, StoreError> {
    let hash = hash(key);
    Ok(state.catalogue.has_overlay_key(slug, &hash).await?.then_some(hash))
}
