//! Who sends a request, and whether a page of this site sent it.

use actix_web::http::header;
use actix_web::{HttpMessage as _, HttpRequest};

use super::secrets::{csrf_of, hash, same};
use super::webauthn::Refusal;
use super::{AuthError, CONFIRMED_US, SECOND_US};
use crate::catalogue::{Role, Scope};
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
        /// When the password was last given, or a passkey used, microseconds since 1970.
        confirmed_at_us: u64,
        /// Whether the account has a second factor.
        has_second_factor: bool,
        /// Whether the account has a passkey.
        has_passkey: bool,
    },
}

/// Somebody who was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Name of the account, or of the token.
    pub name: String,
    /// What they may do, in one word.
    pub role: Role,
    /// What they may do.
    pub scopes: Vec<Scope>,
    /// When the token ends, microseconds since 1970.
    pub expires_at_us: Option<u64>,
    /// Id of the token or session: what is revoked.
    pub credential: String,
    /// How they showed it.
    pub via: Via,
}

impl Principal {
    /// Whether they may do something.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it is a person, and not a program.
    pub fn is_person(&self) -> bool {
        self.via != Via::Token
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Wrong => Self::unauthorized(Rule::WrongCredentials, "name, password or link is wrong"),
            AuthError::AlreadySetUp => Self::conflict(Rule::AlreadySetUp, "this instance is set up already", "sign in"),
            AuthError::TooMany(seconds) => Self::too_fast(seconds),
            // Not 401: who is signed in stays so.
            AuthError::CodeRequired => {
                let remedy = "send the six digits that the app shows now as `code`, or a recovery code";
                let status = actix_web::http::StatusCode::FORBIDDEN;
                Self::new(status, "code_required", "the account has a second factor", remedy).field("code")
            }
            AuthError::WrongCode => {
                let reason = "the code is wrong, or was used already";
                Self::forbidden(Rule::WrongCode, reason, "send the next one that the app shows").field("code")
            }
            AuthError::WrongPassword => {
                let reason = "it is not the password of this account";
                Self::forbidden(Rule::WrongPassword, reason, "send the password you sign in with").field("password")
            }
            AuthError::Passkey(refusal) => refusal.into(),
            AuthError::Refused(refused) => refused.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        // Not 401: who is signed in stays so. Which check failed is in the audit log, and helps nobody who guesses.
        match refusal {
            Refusal::Challenge | Refusal::Late | Refusal::Used => {
                let reason = "the challenge is over, or was answered already";
                Self::forbidden(Rule::PasskeyLate, reason, "ask for another one, and answer it within five minutes")
            }
            Refusal::Counter => {
                let reason = "the passkey counts fewer uses than it had: there may be a copy of it";
                Self::forbidden(Rule::PasskeyCopied, reason, "sign in with the password, and remove this passkey")
            }
            _ => {
                let reason = "the passkey is not one of this account and this site";
                Self::forbidden(Rule::PasskeyRefused, reason, "use another one, or sign in with the password")
            }
        }
    }
}

/// Who sends this request: the bearer token if there is one, else the session. Does not look at CSRF; see [`require`].
///
/// # Errors
/// 401, with the code `setup_required` while there is no account.
pub async fn admin_of(state: &AppState, request: &HttpRequest) -> Result<Principal, Problem> {
    let principal = recognise(state, request).await?;
    // For the audit log, which is kept after the answer: see `http/audit.rs`.
    request.extensions_mut().insert(principal.clone());
    Ok(principal)
}

async fn recognise(state: &AppState, request: &HttpRequest) -> Result<Principal, Problem> {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let secret = value.to_str().ok().and_then(bearer);
        let found = match secret {
            Some(secret) => state.auth.token(secret, state.now_us()).await?,
            None => None,
        };
        return match found {
            Some((credential, token)) => Ok(Principal {
                name: token.name,
                role: if token.scopes.contains(&Scope::Manage) { Role::Admin } else { Role::Moderator },
                scopes: token.scopes,
                expires_at_us: token.expires_at_us,
                credential,
                via: Via::Token,
            }),
            None => Err(Problem::unauthorized(Rule::InvalidToken, "the bearer token is not valid")),
        };
    }
    if let Some(cookie) = request.cookie(session_cookie_name(&state.settings))
        && let Some((credential, session, account)) = state.auth.session(cookie.value(), state.now_us()).await?
    {
        let via = Via::Session {
            csrf: csrf_of(cookie.value()),
            confirmed_at_us: session.confirmed_at_us,
            has_second_factor: account.second_factor.is_some(),
            has_passkey: !account.passkeys().is_empty(),
        };
        let scopes = account.role.scopes().to_vec();
        return Ok(Principal { name: account.name, role: account.role, scopes, expires_at_us: None, credential, via });
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

/// Lets a request through that somebody of at least `role` sent, and that no other site made their browser send: to read
/// and to drive is for moderators, by the method that is asked with; the rest is for admins.
///
/// # Errors
/// 401, or 403.
pub async fn require(state: &AppState, request: &HttpRequest, role: Role) -> Result<Principal, Problem> {
    let scope = match role {
        Role::Admin => Scope::Manage,
        Role::Moderator if request.method().is_safe() => Scope::Read,
        Role::Moderator => Scope::Drive,
    };
    require_scope(state, request, scope).await
}

/// As [`require_scope`]; a person must have given their password within [`CONFIRMED_US`].
///
/// # Errors
/// 401, or 403, with the code `confirm_required` when the password has to be given again.
pub async fn require_confirmed(state: &AppState, request: &HttpRequest, scope: Scope) -> Result<Principal, Problem> {
    let principal = require_scope(state, request, scope).await?;
    if let Via::Session { confirmed_at_us, .. } = principal.via
        && state.now_us().saturating_sub(confirmed_at_us) > CONFIRMED_US
    {
        let max_s = CONFIRMED_US / SECOND_US;
        let reason = format!("the password was given more than {max_s} s ago");
        let remedy = "send it to POST /api/admin/confirm, then the same again";
        let status = actix_web::http::StatusCode::FORBIDDEN;
        let problem = Problem::new(status, "confirm_required", reason, remedy);
        return Err(problem.rule(Rule::ConfirmRequired { max_s }));
    }
    Ok(principal)
}

/// As [`require_confirmed`], for what no program may do.
///
/// # Errors
/// Those of [`require_confirmed`] and [`require_person`].
pub async fn require_confirmed_person(
    state: &AppState,
    request: &HttpRequest,
    scope: Scope,
) -> Result<Principal, Problem> {
    let principal = require_confirmed(state, request, scope).await?;
    require_person(&principal)?;
    Ok(principal)
}

/// Refuses programs: for what would outlive a token, or is a person's own.
///
/// # Errors
/// 403 `person_only`.
pub fn require_person(principal: &Principal) -> Result<(), Problem> {
    if principal.is_person() {
        return Ok(());
    }
    let remedy = "sign in to the admin page, or use `bareme streamer` on the server";
    Err(Problem::forbidden(Rule::PersonOnly, "no token may do this", remedy))
}

/// Lets a request through that somebody sent who may do this, and that no other site made their browser send.
///
/// # Errors
/// 401, or 403.
pub async fn require_scope(state: &AppState, request: &HttpRequest, scope: Scope) -> Result<Principal, Problem> {
    let principal = admin_of(state, request).await?;
    if let Via::Session { csrf, .. } = &principal.via
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
    if principal.may(scope) {
        return Ok(principal);
    }
    if principal.is_person() {
        return Err(Problem::forbidden(Rule::AdminOnly, "only an admin may do this", "ask an admin"));
    }
    let word = format!("{scope:?}").to_lowercase();
    let (reason, remedy) = (format!("the token was made without `{word}`"), "make one that may do this");
    Err(Problem::forbidden(Rule::ScopeMissing, reason, remedy))
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
