//! Reading request bodies: bounded, UTF-8, and with errors that name the field.

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{BytesMut, Payload};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::error::Problem;
use crate::domain::Invalid;
use crate::domain::key::MAX_KEY;
use crate::domain::object::Object;
use crate::domain::rule::Rule;

/// Longest body of a request, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// Longest body of a bareme or another document with many texts, in bytes: twelve criteres with full labels.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// How much of a body that is too long is read and thrown away, so that the client hears the answer instead of a reset
/// connection.
const MAX_DRAINED_BYTES: usize = 4 * 1024 * 1024;
/// How long that may take.
const MAX_DRAIN_TIME: std::time::Duration = std::time::Duration::from_secs(5);

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// 413, or 400 when the connection breaks.
pub async fn read(payload: &mut Payload, limit: usize) -> Result<BytesMut, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|_| Problem::malformed(Rule::Unreadable, "the body ended early", "send the whole body"))?;
        if body.len() + chunk.len() > limit {
            let left = MAX_DRAINED_BYTES.saturating_sub(body.len() + chunk.len());
            // Whatever comes of draining, the answer is the same.
            let _ = tokio::time::timeout(MAX_DRAIN_TIME, drain(payload, left)).await;
            return Err(Problem::too_large(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn drain(payload: &mut Payload, mut left: usize) {
    while let Some(Ok(chunk)) = payload.next().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => break,
        }
    }
}

/// Media type of a request's body, lower case, without parameters.
pub fn media_type(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Reads a JSON body.
///
/// # Errors
/// 415, 413, 400 when it is not JSON, 422 when a field is wrong.
pub async fn json<T: DeserializeOwned>(request: &HttpRequest, payload: &mut Payload) -> Result<T, Problem> {
    json_up_to(request, payload, MAX_BODY_BYTES).await
}

/// Reads a JSON body of at most `limit` bytes.
///
/// # Errors
/// As [`json`].
pub async fn json_up_to<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
) -> Result<T, Problem> {
    let body = read(payload, limit).await?;
    if media_type(request).as_deref() != Some("application/json") {
        return Err(Problem::unsupported_media_type("application/json"));
    }
    parse::<Object<T>>(&body).map(|Object(read)| read)
}

/// Reads a JSON body that may be absent.
///
/// # Errors
/// As [`json`].
pub async fn optional_json<T: DeserializeOwned + Default>(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<T, Problem> {
    let body = read(payload, MAX_BODY_BYTES).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    if media_type(request).as_deref() != Some("application/json") {
        return Err(Problem::unsupported_media_type("application/json"));
    }
    // `null` is as absent as nothing.
    Ok(parse::<Option<Object<T>>>(&body)?.unwrap_or_default().0)
}

/// Parses JSON, naming the field that is wrong.
///
/// # Errors
/// 400 when it is not JSON, 422 when a field is wrong.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let Ok(text) = std::str::from_utf8(body) else { return Err(not_utf8()) };
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if !inner.is_data() {
            return Problem::malformed(Rule::Unreadable, format!("the body is not JSON: {inner}"), "send JSON");
        }
        let text = inner.to_string();
        let rule = rule_of(&text, &path);
        let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
        let own = ["unknown field `", "missing field `", "duplicate field `"].iter().find_map(|start| {
            let (name, _) = reason.strip_prefix(start)?.split_once('`')?;
            Some(name.to_owned())
        });
        let field = match (path.as_str(), own) {
            (".", Some(own)) => own,
            (".", None) => "body".to_owned(),
            // The path of an unknown field ends with it already.
            (path, Some(own)) if path == own || path.ends_with(&format!(".{own}")) => path.to_owned(),
            (path, Some(own)) => format!("{path}.{own}"),
            (path, None) => path.to_owned(),
        };
        Invalid::new(field, rule, reason, "see /api/docs for the fields and their types").into()
    })?;
    reader.end().map_err(|error| {
        Problem::malformed(Rule::Unreadable, format!("the body is not JSON: {error}"), "send one JSON value")
    })?;
    Ok(value)
}

/// The rule behind what serde says, whose errors are text. Keys are the one kind of text with a form of its own that is
/// checked while it is read; what is said of a wrong one begins otherwise than what serde says.
fn rule_of(text: &str, path: &str) -> Rule {
    let starts = |start: &str| text.starts_with(start);
    let is_type =
        |kinds: &[&str]| starts("invalid type") && kinds.iter().any(|kind| text.contains(&format!("expected {kind}")));
    if starts("unknown field") {
        Rule::UnknownField
    } else if starts("missing field") {
        Rule::Required
    } else if starts("duplicate field") {
        Rule::Duplicate
    } else if text.contains("UUID") {
        Rule::NotAnId
    } else if starts("key: ") && path.ends_with("key") {
        Rule::NotAKey { max: MAX_KEY }
    } else if is_type(&["a string"]) {
        Rule::NotAText
    } else if is_type(&["a boolean"]) {
        Rule::NotABoolean
    } else if is_type(&["an object"]) {
        Rule::NotAnObject
    } else if is_type(&["u8", "u16", "u32", "u64", "i64", "f64", "a number"]) {
        Rule::NotANumber
    } else {
        Rule::WrongValue
    }
}

/// 400 for text that is not UTF-8.
pub fn not_utf8() -> Problem {
    Problem::malformed(Rule::Unreadable, "the body is not UTF-8", "send UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bareme::Bareme;

    #[test]
    fn a_wrong_field_is_named_by_its_path() {
        let code = |text: &str| {
            let problem = parse::<Bareme>(text.as_bytes()).unwrap_err();
            (problem.status().as_u16(), problem.to_string())
        };
        let (status, text) = code(r#"{"name":"x","criteres":[{"key":"fun","min":"a","max":5}]}"#);
        assert_eq!(status, 422, "{text}");
        assert_eq!(code(r#"{"name":"x","criteres":[],"more":1}"#).0, 422);
        assert_eq!(code("{").0, 400);
        let criteres = r#"{"name":"x","criteres":[["fun",{},1,5]]}"#;
        let (status, text) = code(criteres);
        assert_eq!(status, 422, "{text}");
        assert!(text.contains("expected an object"), "{text}");
        assert_eq!(code(r#"{"name":"x","scale":[1,5],"criteres":[{"key":"fun","min":1,"max":5}]}"#).0, 422);
        assert_eq!(parse::<serde_json::Value>("[".repeat(100_000).as_bytes()).unwrap_err().status(), 400);
        assert_eq!(parse::<Bareme>(b"{\"name\":\"\xff\"}").unwrap_err().status(), 400);
    }
}
