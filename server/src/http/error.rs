//! What a request is told when it cannot be served: `application/problem+json` (RFC 9457) with a stable code.
//!
//! **Invariant**: a [`Problem`] holds only what the caller may read. The cause of a failure inside goes to the log at
//! the moment it becomes a problem, and nowhere else.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::catalogue::Refused;
use crate::conductor::ConductError;
use crate::domain::Invalid;
use crate::domain::rule::Rule;
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
    rule: Cow<'static, str>,
    params: Map<String, Value>,
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
    /// Which rule it is that was not kept, where several have one code; else the same word as the code. They are listed
    /// in `docs/problems.md`, and pages say them in their own language.
    #[schema(pattern = "^[a-z][a-z0-9_]*$")]
    pub rule: &'a str,
    /// The numbers of the rule, such as `min` and `max`.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    pub params: &'a Map<String, Value>,
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
            rule: Cow::Borrowed(code),
            params: Map::new(),
            field: None,
            reason: reason.into(),
            remedy: remedy.into(),
            retry_after_s: None,
            allow: None,
            extra: Map::new(),
        }))
    }

    /// Says which rule it is.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.0.rule = Cow::Borrowed(rule.word());
        self.0.params = rule.params();
        self
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

    /// Whether it is about the code of a second factor, for which the password was right.
    pub fn is_about_code(&self) -> bool {
        [Rule::CodeRequired.word(), Rule::WrongCode.word()].contains(&&*self.0.rule)
    }

    /// 400: the body cannot be read at all.
    pub fn malformed(rule: Rule, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", reason, remedy).rule(rule)
    }

    /// 401: nobody, or not any more.
    pub fn unauthorized(rule: Rule, reason: impl Into<String>) -> Self {
        let remedy = "sign in, or send a bearer token that is valid";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", reason, remedy).rule(rule)
    }

    /// 403: somebody who may not.
    pub fn forbidden(rule: Rule, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", reason, remedy).rule(rule)
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
    pub fn conflict(rule: Rule, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", reason, remedy).rule(rule)
    }

    /// 408. The rest of the body is not waited for, so the connection ends with the answer.
    pub fn too_slow() -> Self {
        let remedy = "send the same again over a faster connection";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not come in time", remedy)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        let reason = format!("the body is longer than {limit} bytes");
        let rule = Rule::TooLarge { max: limit };
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", reason, "send less").rule(rule)
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let reason = "the body is of a content type this address does not read";
        let remedy = format!("send {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", reason, remedy)
    }

    /// 429.
    pub fn too_fast(seconds: u64) -> Self {
        let wait_s = seconds.max(1);
        let remedy = format!("wait {wait_s} s and send the same again");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_fast", "too many requests", remedy);
        problem.rule(Rule::TooFast { wait_s }).retry_after(wait_s)
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
        if inner.status == StatusCode::REQUEST_TIMEOUT {
            response.force_close();
        }
        if inner.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"bareme\""));
        }
        let body = ProblemBody {
            kind: "about:blank",
            title: inner.status.canonical_reason().unwrap_or("Error"),
            status: inner.status.as_u16(),
            code: inner.code,
            rule: &inner.rule,
            params: &inner.params,
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
        crate::protocol::Problem::from(invalid).into()
    }
}

impl From<crate::protocol::Problem> for Problem {
    fn from(wrong: crate::protocol::Problem) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", wrong.reason, wrong.remedy);
        problem.0.rule = Cow::Owned(wrong.rule);
        problem.0.params = wrong.params;
        problem.field(wrong.field)
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
            ErrorKind::Corrupt | ErrorKind::Newer | ErrorKind::Refused | ErrorKind::Mismatch => Self::internal(error),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown { code, reason } => Self::unknown(code, reason),
            Refused::Conflict { rule, reason, remedy } => Self::conflict(rule, reason, remedy),
            Refused::Invalid(invalid) => invalid.into(),
            Refused::Busy => Self::unavailable("too many passwords are being checked"),
            Refused::Store(error) => error.into(),
        }
    }
}

impl From<ConductError> for Problem {
    fn from(error: ConductError) -> Self {
        match error {
            ConductError::UnknownChannel(slug) => {
                Self::unknown("unknown_channel", format!("there is no channel {slug}"))
            }
            ConductError::UnknownLive(live) => Self::unknown("unknown_live", format!("there is no live {live}")),
            ConductError::UnknownJeu(_, jeu) => {
                Self::unknown("unknown_jeu", format!("the live has no jeu {jeu}")).field("jeu_id")
            }
            ConductError::Conflict { code, rule, reason, remedy } => {
                Self::new(StatusCode::CONFLICT, code, reason, remedy).rule(rule)
            }
            ConductError::Invalid(invalid) => invalid.into(),
            ConductError::Store(error) => error.into(),
            ConductError::NotReady => Self::unavailable("the jeu is still reading its notes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::assets::{CATALOGUES, Files, Messages, messages};
    use crate::http::openapi::Api;
    use crate::i18n::Lang;

    fn said(lang: Lang) -> Messages {
        messages(&Files::Embedded, lang, CATALOGUES)
    }

    #[test]
    fn every_rule_is_documented_and_said_in_both_languages_with_its_numbers() {
        let document = include_str!("../../../docs/problems.md");
        for (word, params) in Rule::ALL {
            let shown: Vec<_> = params.iter().map(|param| format!("`{param}`")).collect();
            let cell = if shown.is_empty() { String::new() } else { format!(" {}", shown.join(", ")) };
            assert!(document.contains(&format!("| `{word}` |{cell} |")), "{word} in docs/problems.md");
            for lang in Lang::ALL {
                let said = said(lang);
                let text = said.get(&format!("rule.{word}")).unwrap_or_else(|| panic!("rule.{word} in {lang:?}"));
                let used: BTreeSet<_> = text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
                // A version is for programs.
                let said = params.iter().copied().filter(|param| *param != "next_v");
                assert_eq!(used, said.collect(), "{text}");
            }
        }
        let known: BTreeSet<_> = Rule::ALL.iter().map(|(word, _)| *word).collect();
        for word in said(Lang::Fr).keys().filter_map(|key| key.strip_prefix("rule.")) {
            assert!(known.contains(word), "nothing is refused by {word}");
        }
    }

    /// The names of the properties of a schema and of those it refers to.
    fn names(document: &Value, schema: &Value, into: &mut BTreeSet<String>) {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/")) {
            names(document, &document["components"]["schemas"][name], into);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            into.insert(name.clone());
            names(document, property, into);
        }
        for parts in ["oneOf", "allOf", "anyOf"] {
            schema[parts].as_array().into_iter().flatten().for_each(|part| names(document, part, into));
        }
        if schema["items"].is_object() {
            names(document, &schema["items"], into);
        }
    }

    #[test]
    fn every_field_that_can_be_wrong_has_a_name_in_both_languages() {
        let document: Value = serde_json::from_slice(&Api::collect().json()).unwrap();
        // Those that are no property of a body: of the address, of the whole body, of a message on a socket.
        let mut fields: BTreeSet<_> =
            ["body", "query", "limit", "message", "t", "live", "jeu"].map(str::to_owned).into();
        for operation in document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap()) {
            for content in operation.1["requestBody"]["content"].as_object().into_iter().flatten() {
                names(&document, &content.1["schema"], &mut fields);
            }
        }
        assert!(fields.contains("minimum_votes") && fields.contains("step") && fields.contains("jeu_id"), "{fields:?}");
        for lang in Lang::ALL {
            let said = said(lang);
            let unsaid: Vec<_> = fields.iter().filter(|name| !said.contains_key(&format!("field.{name}"))).collect();
            assert!(unsaid.is_empty(), "{lang:?}: {unsaid:?}");
        }
        let named: Vec<_> =
            said(Lang::Fr).keys().filter_map(|key| Some(key.strip_prefix("field.")?.to_owned())).collect();
        let idle: Vec<_> = named.iter().filter(|name| !fields.contains(*name)).collect();
        assert!(idle.is_empty(), "no field is called {idle:?}");
    }

    #[actix_web::test]
    async fn a_problem_names_field_reason_and_remedy_and_never_the_cause() {
        let invalid = Invalid::new("fun", Rule::range(1, 5), "9 is out of range", "send 1 to 5");
        let response = Problem::from(invalid).error_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), PROBLEM_JSON);
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["field"], "fun");
        assert_eq!(body["code"], "invalid");
        assert_eq!(
            (&body["rule"], &body["params"]),
            (&Value::from("out_of_range"), &serde_json::json!({"min": 1, "max": 5}))
        );
        let hidden = Problem::from(StoreError::new(ErrorKind::Corrupt, "sqlite", "secret detail"));
        assert!(!hidden.to_string().contains("secret"));
    }
}
