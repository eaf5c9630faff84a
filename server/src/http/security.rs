//! Headers on every answer that keep browsers from doing more than the pages need.

use actix_http::ConnectionType;
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;

use super::{State, body, identity};
use crate::metrics::HTTP_REQUESTS;

/// Everything comes from this origin, nothing is framed, no inline script or style runs.
pub const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The overlay: OBS puts the streamer's custom CSS into the page as an inline `<style>`, and the admin page frames it
/// for its preview.
pub const CSP_OVERLAY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'self'";

/// The admin page frames the overlay's preview.
pub const CSP_ADMIN: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
    connect-src 'self'; font-src 'self'; manifest-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// Swagger UI writes style attributes and shows icons from `data:` URLs. Scripts stay our own files.
pub const CSP_DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; font-src 'self' data:; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// Where people come over https, a browser that was here once does not try plain http for a year.
const HSTS: &str = "max-age=31536000";

/// Class of a status as a label.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

fn policy(path: &str) -> &'static str {
    if path.starts_with("/overlay/") {
        CSP_OVERLAY
    } else if path == "/admin" || path.starts_with("/admin/") {
        CSP_ADMIN
    } else if path.starts_with("/api/docs") {
        CSP_DOCS
    } else {
        CSP
    }
}

/// Adds the headers to an answer that does not have its own. A socket is no document and needs none.
///
/// # Errors
/// None of its own.
pub async fn secure(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let csp = policy(request.path());
    let is_api = request.path().starts_with("/api/");
    // Policies are for documents. A page asks for some thirty files, each with its head.
    let is_file = request.path().starts_with("/assets/") && !request.path().ends_with(".svg");
    body::watch(&mut request);
    let is_https = request.app_data::<State>().is_some_and(|state| identity::is_https(&state.settings));
    let mut response = next.call(request).await?;
    ::metrics::counter!(HTTP_REQUESTS, "class" => class(response.status())).increment(1);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    if response.request().head().upgrade() {
        // Otherwise actix-http repeats the wish as if it were granted.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let headers = response.headers_mut();
    let mut add = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if is_file {
        return Ok(response);
    }
    if is_https {
        add(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    add(header::CONTENT_SECURITY_POLICY, csp);
    add(header::REFERRER_POLICY, "no-referrer");
    add(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    add(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if is_api {
        add(header::CACHE_CONTROL, "no-store");
    }
    Ok(response)
}
