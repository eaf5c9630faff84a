//! Reading request bodies: bounded in bytes and in time, UTF-8, and with errors that name the field.
//!
//! **Invariant**: no body is read but through [`watch`], so that none is waited for without a deadline.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::{self, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpMessage as _, HttpRequest};
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep_until};

use super::error::Problem;
use crate::domain::Invalid;
use crate::domain::key::MAX_KEY;
use crate::domain::object::Object;
use crate::domain::rule::Rule;
use crate::metrics::HTTP_TIMEOUTS;
use crate::ws::route::is_socket;

/// Longest body of a request, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// Longest body of a bareme or another document with many texts, in bytes: twelve criteres with full labels.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// How much of a body that is too long is read and thrown away, so that the client hears the answer instead of a reset
/// connection.
const MAX_DRAINED_BYTES: usize = 4 * 1024 * 1024;
/// How long that may take.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(5);
/// How long a body may take in any case: a phone that changes its network in the middle of one needs some seconds.
pub const BODY_GRACE: Duration = Duration::from_secs(10);
/// Beyond that, bytes a second on average since the body began: below the slowest connection a page loads over. The longest
/// body then takes at most a minute and a quarter.
pub const MIN_BODY_RATE: u32 = 1024;

/// Gives the body of a request its deadline, and its end: actix-http takes a request with `Upgrade: websocket` for a
/// handshake and its body for one that ends with the connection, whatever `Content-Length` says.
pub fn watch(request: &mut ServiceRequest) {
    if is_socket(request.head()) {
        return;
    }
    let payload = match request.take_payload() {
        dev::Payload::None => return,
        payload => payload,
    };
    let headers = request.headers();
    let left = match headers.contains_key(header::TRANSFER_ENCODING) {
        true => u64::MAX,
        // What is no number was refused when the head was read.
        false => {
            let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
            length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
        }
    };
    let watched = Watched { payload, left, received: 0, began: Instant::now(), deadline: None };
    request.set_payload(dev::Payload::Stream { payload: Box::pin(watched) });
}

/// A body that has to go on coming.
struct Watched {
    payload: dev::Payload,
    /// Bytes that are still to come at most.
    left: u64,
    received: u64,
    began: Instant,
    /// Made once the body has to be waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    fn end(&mut self) {
        (self.payload, self.left, self.deadline) = (dev::Payload::None, 0, None);
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.payload).poll_next(context) {
            Poll::Ready(Some(Ok(mut chunk))) => {
                chunk.truncate(usize::try_from(this.left).unwrap_or(usize::MAX));
                let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                this.left -= bytes;
                this.received += bytes;
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(None) => {
                // A body of chunks says itself where it ends.
                let is_cut = this.left < u64::MAX - this.received;
                this.end();
                Poll::Ready(is_cut.then_some(Err(PayloadError::Incomplete(None))))
            }
            Poll::Ready(error) => {
                this.end();
                Poll::Ready(error)
            }
            Poll::Pending => {
                let earned = Duration::from_secs(this.received / u64::from(MIN_BODY_RATE));
                let until = this.began + BODY_GRACE + earned;
                let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep_until(until)));
                deadline.as_mut().reset(until);
                if deadline.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                ::metrics::counter!(HTTP_TIMEOUTS, "what" => "body").increment(1);
                this.end();
                Poll::Ready(Some(Err(PayloadError::Io(std::io::ErrorKind::TimedOut.into()))))
            }
        }
    }
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// 413, 408 when it comes too slowly, or 400 when the connection breaks.
pub async fn read(payload: &mut Payload, limit: usize) -> Result<BytesMut, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| match error {
            PayloadError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Problem::too_slow(),
            _ => Problem::malformed(Rule::Unreadable, "the body ended early", "send the whole body"),
        })?;
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

    /// A request with a body of these pieces, each so long after the one before, that then ends or is waited for.
    async fn body(head: &[(&str, &str)], pieces: &[(u64, usize)], ends: bool) -> Result<usize, u16> {
        let pieces = pieces.to_vec();
        let coming = futures_util::stream::unfold(0, move |index| {
            let next = pieces.get(index).copied();
            async move {
                match next {
                    Some((wait_s, bytes)) => {
                        tokio::time::sleep(Duration::from_secs(wait_s)).await;
                        Some((Ok(Bytes::from(vec![b'x'; bytes])), index + 1))
                    }
                    None if ends => None,
                    None => std::future::pending().await,
                }
            }
        });
        let mut request = actix_web::test::TestRequest::post();
        for header in head {
            request = request.insert_header(*header);
        }
        let mut request = request.to_srv_request();
        request.set_payload(dev::Payload::Stream { payload: Box::pin(coming) });
        watch(&mut request);
        let mut payload = request.extract::<Payload>().await.unwrap();
        read(&mut payload, MAX_BODY_BYTES).await.map(|body| body.len()).map_err(|problem| problem.status().as_u16())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_where_its_head_says_and_has_to_go_on_coming() {
        let sixteen = [("Content-Length", "16000")];
        assert_eq!(body(&sixteen, &[(0, 16_000)], false).await, Ok(16_000), "nothing after it is waited for");
        assert_eq!(body(&sixteen, &[(0, 20_000)], false).await, Ok(16_000), "what follows is not its own");
        assert_eq!(body(&sixteen, &[(0, 9)], true).await, Err(400), "cut short");
        assert_eq!(body(&[], &[], false).await, Ok(0), "no length: no body, whatever the request asks for");
        assert_eq!(body(&[("Transfer-Encoding", "chunked")], &[(1, 5), (1, 5)], true).await, Ok(10));
        let began = Instant::now();
        assert_eq!(body(&sixteen, &[], false).await, Err(408), "it never comes");
        assert_eq!(began.elapsed().as_secs(), BODY_GRACE.as_secs());
        let trickle: Vec<_> = (0..16_000).map(|_| (1, 1)).collect();
        assert_eq!(body(&sixteen, &trickle, false).await, Err(408), "a byte a second");
        let slow: Vec<_> = (0..16).map(|_| (1, 1000)).collect();
        assert_eq!(body(&sixteen, &slow, false).await, Ok(16_000), "a thousand bytes a second are slow enough");
    }

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
