//! Headers on every answer that keep browsers from doing more than the pages need. Every answer passes here, so this is where
//! the audit log gets its entries, too.

use std::rc::Rc;

use actix_http::ConnectionType;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _};
use tracing::Instrument as _;

use super::error::Problem;
use super::{State, audit, body, identity};
use crate::app::connections::{Connection, Place};
use crate::metrics::{CONNECTIONS_REFUSED, HTTP_REQUESTS};
use crate::ws::route::ADDRESS_WAIT_S;

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

/// What operators ask is read by programs.
pub const CSP_NOTHING: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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

/// Whether a path is answered while there is room for admins only: theirs, and the files of their pages. A handshake is
/// decided by its route.
fn is_reserved(path: &str) -> bool {
    let below = ["/admin/", "/api/admin/", "/assets/", "/ws/"];
    path == "/admin" || below.iter().any(|start| path.starts_with(start))
}

/// A request's place among those of its client, and whether connections are short.
fn admit(request: &ServiceRequest) -> Result<(Option<Place>, bool), Problem> {
    let Some(state) = request.app_data::<State>() else { return Ok((None, false)) };
    let is_short = state.connections.is_short();
    if is_short && !is_reserved(request.path()) {
        ::metrics::counter!(CONNECTIONS_REFUSED, "reason" => "server").increment(1);
        return Err(Problem::unavailable("this server has as many connections as it may have"));
    }
    let peer = request.peer_addr().map(|peer| peer.ip());
    let client = identity::client_address(&state.settings, request.request());
    let place = state.connections.admit_request(peer, client).map_err(|full| {
        ::metrics::counter!(CONNECTIONS_REFUSED, "reason" => full.as_str()).increment(1);
        Problem::too_fast(ADDRESS_WAIT_S)
    })?;
    Ok((place, is_short))
}

/// Adds the headers to an answer that does not have its own. A socket is no document and needs none.
///
/// # Errors
/// None of its own.
pub async fn secure(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let connection = request.conn_data::<Rc<Connection>>().cloned();
    let _answering = connection.as_ref().map(|connection| connection.begin());
    let is_kept = audit::is_kept(request.method(), request.path());
    let csp = policy(request.path());
    let is_api = request.path().starts_with("/api/");
    // Policies are for documents. A page asks for some thirty files, each with its head.
    let is_file = request.path().starts_with("/assets/") && !request.path().ends_with(".svg");
    body::watch(&mut request);
    let is_https = request.app_data::<State>().is_some_and(|state| identity::is_https(&state.settings));
    let admitted = admit(&request);
    let is_short = !matches!(admitted, Ok((_, false)));
    let mut response = match admitted {
        // As a task of its own, which goes on when the connection is reset: what it changes is not left half done, and has
        // its entry.
        Ok((place, _)) if is_kept => {
            let answer = async move {
                let _place_until_answered = place;
                let response = next.call(request).await?;
                audit::keep(&response).await;
                Ok::<_, Error>(response)
            };
            let answered = actix_web::rt::spawn(answer.in_current_span()).await;
            answered.map_err(Problem::internal)??.map_into_left_body()
        }
        Ok(_place_until_answered) => next.call(request).await?.map_into_left_body(),
        Err(problem) => request.into_response(problem.error_response()).map_into_right_body(),
    };
    ::metrics::counter!(HTTP_REQUESTS, "class" => class(response.status())).increment(1);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(connection) = connection {
            connection.becomes_socket();
        }
        return Ok(response);
    }
    // actix-http repeats the wish for an upgrade as if it were granted.
    if is_short || response.request().head().upgrade() {
        close(&mut response);
    }
    if is_file {
        add(response.headers_mut(), header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        return Ok(response);
    }
    add_headers(response.headers_mut(), csp, is_api, is_https);
    Ok(response)
}

/// Has the connection ended after this answer.
pub(super) fn close<B>(response: &mut ServiceResponse<B>) {
    response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    if !headers.contains_key(&name) {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Adds what an answer that is no file does not have yet.
pub(super) fn add_headers(headers: &mut HeaderMap, csp: &'static str, is_api: bool, is_https: bool) {
    add(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if is_https {
        add(headers, header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    add(headers, header::CONTENT_SECURITY_POLICY, csp);
    add(headers, header::REFERRER_POLICY, "no-referrer");
    add(headers, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    add(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if is_api {
        add(headers, header::CACHE_CONTROL, "no-store");
    }
}
