//! What a request is told when it cannot be served: `application/problem+json` (RFC 9457) with a stable code.
//!
//! **Invariant**: a [`Problem`] holds only what the caller may read. The cause of a failure inside goes to the log at
//! the moment it becomes a problem, and nowhere else.

use std::fmt;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::catalogue::Refused;
use crate::conductor::ConductError;
use crate::domain::Invalid;
use crate::store::{ErrorKind, StoreError};

/// Media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not served. One pointer wide, because it is the error half of every handler's result.
#[derive(Debug)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    field: Option<String>,
    reason: String,
    remedy: String,
    retry_after_s: Option<u64>,
    allow: Option<String>,
    extra: Map<String, Value>,
}

/// The body of every error.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Always `about:blank`: the code says which problem it is.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The status in words.
    pub title: &'a str,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// A stable word to branch on, such as `invalid`, `closed` or `unknown_live`.
    #[schema(pattern = "^[a-z][a-z0-9_]*$")]
    pub code: &'a str,
    /// The field that is wrong, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'a str>,
    /// What is wrong.
    pub reason: &'a str,
    /// What to do about it.
    pub remedy: &'a str,
    /// More about the problem: `held`, `open_lives`, `now_us`.
    #[serde(flatten)]
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    pub extra: &'a Map<String, Value>,
}

impl Problem {
    /// A problem with its status, code, reason and remedy.
    pub fn new(status: StatusCode, code: &'static str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            field: None,
            reason: reason.into(),
            remedy: remedy.into(),
            retry_after_s: None,
            allow: None,
            extra: Map::new(),
        }))
    }

    /// Names the field that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Says how long to wait before trying again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds.max(1));
        self
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.0.extra.insert(name.to_owned(), value);
        }
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// 400: the body cannot be read at all.
    pub fn malformed(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", reason, remedy)
    }

    /// 401: nobody, or not any more.
    pub fn unauthorized(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", reason, "sign in, or send a bearer token that is valid")
    }

    /// 403: somebody who may not.
    pub fn forbidden(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", reason, remedy)
    }

    /// 404 with the code of what is missing.
    pub fn unknown(code: &'static str, reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, reason, "check the name or number")
    }

    /// 404 for a path that leads nowhere.
    pub fn no_such_path() -> Self {
        let remedy = "see /api/docs for what there is";
        Self::new(StatusCode::NOT_FOUND, "not_found", "nothing is at this address", remedy)
    }

    /// 405 with the methods that do work.
    pub fn method_not_allowed(allowed: &[Method]) -> Self {
        let allow: Vec<_> = allowed.iter().map(Method::as_str).collect();
        let allow = allow.join(", ");
        let mut problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this address does not take this method",
            format!("use {allow}"),
        );
        problem.0.allow = Some(allow);
        problem
    }

    /// 409.
    pub fn conflict(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", reason, remedy)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        let reason = format!("the body is longer than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", reason, "send less")
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let reason = "the body is of a content type this address does not read";
        let remedy = format!("send {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", reason, remedy)
    }

    /// 429.
    pub fn too_fast(seconds: u64) -> Self {
        let remedy = format!("wait {} s and send the same again", seconds.max(1));
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_fast", "too many requests", remedy).retry_after(seconds)
    }

    /// 503.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        let remedy = "send the same again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason, remedy).retry_after(1)
    }

    /// 500, with the cause in the log.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(error = %cause, "a request failed inside");
        let remedy = "look at the server's log";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed inside", remedy)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.0.status.as_u16(), self.0.code, self.0.reason)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        let inner = &self.0;
        let mut response = HttpResponse::build(inner.status);
        if let Some(seconds) = inner.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(allow) = inner.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            response.insert_header((header::ALLOW, allow));
        }
        if inner.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"bareme\""));
        }
        let body = ProblemBody {
            kind: "about:blank",
            title: inner.status.canonical_reason().unwrap_or("Error"),
            status: inner.status.as_u16(),
            code: inner.code,
            field: inner.field.as_deref(),
            reason: &inner.reason,
            remedy: &inner.remedy,
            extra: &inner.extra,
        };
        response.content_type(PROBLEM_JSON).body(serde_json::to_string(&body).unwrap_or_default())
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", invalid.reason, invalid.remedy).field(invalid.field)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error.kind {
            ErrorKind::Full => {
                tracing::warn!(%error, "the store has no room");
                Self::unavailable("there is no room left to store it").retry_after(5)
            }
            ErrorKind::Unavailable => {
                tracing::warn!(%error, "the store is away");
                Self::unavailable("the store cannot be reached")
            }
            ErrorKind::Unknown => {
                tracing::warn!(%error, "the store did not say whether it wrote");
                let reason = "whether it was stored is not known";
                let remedy = "send the same again in a moment";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unknown", reason, remedy).retry_after(1)
            }
            ErrorKind::Corrupt | ErrorKind::Newer | ErrorKind::Refused => Self::internal(error),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown { code, reason } => Self::unknown(code, reason),
            Refused::Conflict { reason, remedy } => Self::conflict(reason, remedy),
            Refused::Invalid(invalid) => invalid.into(),
            Refused::Busy => Self::unavailable("too many passwords are being checked"),
            Refused::Store(error) => error.into(),
        }
    }
}

impl From<ConductError> for Problem {
    fn from(error: ConductError) -> Self {
        match error {
            ConductError::UnknownLive(live) => Self::unknown("unknown_live", format!("there is no live {live}")),
            ConductError::UnknownJeu(_, jeu) => {
                Self::unknown("unknown_jeu", format!("the live has no jeu {jeu}")).field("jeu_id")
            }
            ConductError::Conflict { reason, remedy } => Self::conflict(reason, remedy),
            ConductError::Invalid(invalid) => invalid.into(),
            ConductError::Store(error) => error.into(),
            ConductError::NotReady => Self::unavailable("the jeu is still reading its notes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_problem_names_field_reason_and_remedy_and_never_the_cause() {
        let invalid = Invalid::new("fun", "9 is out of range", "send 1 to 5");
        let response = Problem::from(invalid).error_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), PROBLEM_JSON);
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["field"], "fun");
        assert_eq!(body["code"], "invalid");
        let hidden = Problem::from(StoreError::new(ErrorKind::Corrupt, "sqlite", "secret detail"));
        assert!(!hidden.to_string().contains("secret"));
    }
}
