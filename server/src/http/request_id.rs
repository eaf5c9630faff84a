//! The id of a request: in its answer, in every line that is logged for it, and in its trace.
//!
//! **Invariant**: an id that a client chose is taken only if it is short and plain, so that nobody writes into our logs.
//! Nothing else of a request becomes part of the log but its method and the pattern of its path: neither query nor
//! headers, which may hold keys, nor the address.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::traces::{Begun, Traces};

/// Where a proxy says which request this is, and where the answer repeats it.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a client, in bytes: a UUID has 36, ids of the usual proxies at most 64.
const MAX_ID: usize = 64;

/// The id of a request, found in its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id that the client or a proxy gave, if it is letters, digits, `-`, `_`, `.` and no longer than 64 bytes; else
    /// a new one.
    fn of(given: Option<&HeaderValue>) -> Self {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let is_fit =
            |value: &&HeaderValue| (1..=MAX_ID).contains(&value.len()) && value.as_bytes().iter().all(is_plain);
        let own = || HeaderValue::try_from(Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("-"));
        Self(given.filter(is_fit).cloned().unwrap_or_else(own))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }
}

/// Begins a trace that names the request's id; `None` for nearly everybody.
pub fn begin_trace(traces: &Traces, name: &'static str, request: &HttpRequest) -> Option<Begun> {
    let mut begun = traces.begin(name)?;
    if let Some(id) = request.extensions().get::<RequestId>() {
        begun.note("request_id", id.as_str().to_owned());
    }
    Some(begun)
}

/// Gives each request its id.
///
/// # Errors
/// None of its own.
pub async fn identify(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = RequestId::of(request.headers().get(HEADER));
    // A page asks for some thirty files, each with its head: there the id is repeated only to whoever asked for it.
    let is_silent = request.path().starts_with("/assets/") && !request.headers().contains_key(HEADER);
    let span = tracing::info_span!("request", request_id = id.as_str(), method = %request.method());
    request.extensions_mut().insert(id.clone());
    let answering = async move {
        let started = std::time::Instant::now();
        let mut response = next.call(request).await?;
        // The pattern is looked up through all routes again: not for nothing.
        if tracing::enabled!(tracing::Level::DEBUG) {
            let (path, status) = (response.request().match_pattern(), response.status().as_u16());
            let ms = started.elapsed().as_secs_f64() * 1000.0;
            tracing::debug!(path = path.as_deref().unwrap_or("none"), status, ms, "answered");
        }
        if !is_silent {
            response.headers_mut().insert(HEADER, id.0);
        }
        Ok(response)
    };
    answering.instrument(span).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_only_if_it_is_short_and_plain() {
        let of = |given: &'static str| RequestId::of(Some(&HeaderValue::from_static(given)));
        for fit in ["7", "req-1_a.B", "0193f7c2-6f0a-7d6e-9c3b-0f5b1f6f2a10"] {
            assert_eq!(of(fit).as_str(), fit);
        }
        for unfit in [
            "",
            "a b",
            "a\"b",
            "{\"level\":\"ERROR\"}",
            "a;b",
            "0123456789012345678901234567890123456789012345678901234567890123x",
        ] {
            assert_ne!(of(unfit).as_str(), unfit);
        }
        let (one, other) = (RequestId::of(None), RequestId::of(None));
        assert_ne!(one.as_str(), other.as_str());
        assert_eq!(one.as_str().len(), 36);
    }
}
