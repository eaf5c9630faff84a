//! `GET /ws/{channel}`: who may open a socket, and as whom.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::RequestHead;
use actix_web::http::{Method, StatusCode, Version, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::admission::Full;
#[cfg(target_os = "linux")]
use super::fast;
use super::handler::{self, Credential, PING_INTERVAL, Socket};
use super::session::{Role, Session};
use super::sizes;
use crate::auth::request::{admin_of, overlay_key};
use crate::auth::{Opener, Via};
use crate::catalogue::Scope;
use crate::domain::key::Slug;
use crate::domain::rule::Rule;
use crate::http::AppState;
use crate::http::assets;
use crate::http::error::Problem;
use crate::http::identity::{new_viewer, origin_allowed, viewer_of};
use crate::http::request_id;
use crate::hub::Kind;
use crate::hub::frames::encode;
use crate::protocol::{PROTOCOL_VERSION, ServerMessage, Welcome};
use crate::supervise;
use crate::traces::Begun;

/// Before the channel in the path of a socket.
const PREFIX: &str = "/ws";

/// How long an address with too many sockets is asked to wait, in seconds.
pub(crate) const ADDRESS_WAIT_S: u64 = 10;

/// What the address says beside the channel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    #[serde(default)]
    role: AskedRole,
    key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AskedRole {
    #[default]
    Viewer,
    Overlay,
    Admin,
}

fn kind_of(role: &Role) -> Kind {
    match role {
        Role::Viewer(_) => Kind::Viewer,
        Role::Overlay => Kind::Overlay,
        Role::Admin => Kind::Admin,
    }
}

/// Whether a request may become a socket, by its method and path alone.
pub fn is_socket(head: &RequestHead) -> bool {
    head.method == Method::GET && head.uri.path().strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a request says more than its head. Its bytes would be read as frames by this server, and as its body by a
/// proxy.
fn has_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

/// Adds the route.
pub fn configure(config: &mut web::ServiceConfig) {
    // The prefix is compared as it is. A pattern for the channel would be a regular expression, which costs a connection
    // more than its signature.
    config.service(web::scope(PREFIX).default_service(web::to(connect)));
}

async fn connect(
    request: HttpRequest,
    body: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    if request.method() != Method::GET {
        return Err(Problem::method_not_allowed(&[Method::GET]));
    }
    let mut begun = request_id::begin_trace(&state.traces, "join", &request);
    if !origin_allowed(&state.settings, &request) {
        let remedy = "open the socket from a page of this server, or without an Origin header; check public_url";
        return Err(Problem::new(StatusCode::FORBIDDEN, "wrong_origin", "another site opened this socket", remedy));
    }
    // Until the balancer has noticed: a socket that is taken now would be told to go at once, and its viewer would wait.
    if state.readiness.is_draining() {
        let remedy = "connect again: another server answers, or this one after its restart";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "this server is stopping", remedy);
        return Err(problem.retry_after(1));
    }
    if state.readiness.is_cut_off() {
        let remedy = "connect again: another server answers";
        let reason = "this server does not reach its store";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason, remedy).retry_after(1));
    }
    if request.version() != Version::HTTP_11 || has_body(&request) {
        return Err(no_handshake(&"it is not an HTTP/1.1 request without a body"));
    }
    let query = web::Query::<Query>::from_query(request.query_string()).map_err(|error| {
        Problem::malformed(
            Rule::WrongQuery,
            format!("the query cannot be read: {error}"),
            "send role=viewer, overlay or admin, and key",
        )
    })?;
    if state.connections.is_short() && query.role != AskedRole::Admin {
        return Err(refuse(Full::Server));
    }
    let unknown = || Problem::unknown("unknown_channel", "there is no such channel");
    let name = request.path().strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    let channel = Slug::new(name).map_err(|_| unknown())?;
    let client = state.limited_client(&request);
    let ticket = state.admission.admit(client).map_err(refuse)?;
    // Before the credential is looked at: what is revoked from here on closes the socket. It is held after that, so that
    // what another pod revokes meanwhile does, too.
    let revocations = || state.hub.revocations();
    let (role, credential, token) = match query.role {
        AskedRole::Viewer => match viewer_of(&state, &request) {
            Some((viewer, _)) => (Role::Viewer(viewer), None, None),
            None => {
                let (viewer, token) = new_viewer(&state);
                (Role::Viewer(viewer), None, Some(token))
            }
        },
        AskedRole::Overlay => {
            let revoked = revocations();
            let key = query.key.as_deref().unwrap_or_default();
            let remedy = "copy the overlay's address from the admin page again";
            let refused =
                || Problem::forbidden(Rule::InvalidOverlayKey, "the overlay key is not valid, or not any more", remedy);
            let id = overlay_key(&state, &channel, key).await?.ok_or_else(refused)?;
            let held = state.auth.hold(&id, Opener::OverlayKey(channel.clone()));
            (Role::Overlay, Some(Credential { held, revoked }), None)
        }
        AskedRole::Admin => {
            let revoked = revocations();
            let principal = admin_of(&state, &request).await?;
            if !principal.may(Scope::Read) {
                let (reason, remedy) = ("the token was made without `read`", "make one that may read");
                return Err(Problem::forbidden(Rule::ScopeMissing, reason, remedy));
            }
            let opener = if principal.via == Via::Token { Opener::Token } else { Opener::Session };
            let held = state.auth.hold(&principal.credential, opener);
            (Role::Admin, Some(Credential { held, revoked }), None)
        }
    };
    let mut seat = state.hub.enter(&channel).await?.ok_or_else(unknown)?;
    seat.counts_as(kind_of(&role));
    if let Some(begun) = &mut begun {
        begun.note("channel", channel.to_string());
        begun.note("role", kind_of(&role).as_str());
    }
    let is_new = token.is_some();
    let welcome = encode(&ServerMessage::Welcome(Welcome {
        protocol: PROTOCOL_VERSION,
        now_us: state.now_us(),
        build: assets::build().to_owned(),
        channel: channel.to_string(),
        viewer: token,
        ping_interval_s: PING_INTERVAL.as_secs(),
    }));
    let is_admin = role == Role::Admin;
    let session = Session::on(Arc::clone(&state.terms), Arc::clone(seat.channel()), role, is_new, Duration::ZERO)
        .limited_as(client)
        .traced(begun.as_ref().map(Begun::joined));
    // Admins are few, and hear once a second how the room does: what the fast path is made to do without.
    #[cfg(target_os = "linux")]
    if !is_admin && fast::gate::is_at(&request) {
        let member = fast::Member { session, seat, ticket, credential, welcome };
        return fast::gate::accept(&request, fast::Accepted::Member(Box::new(member)))
            .map_err(|error| no_handshake(&error));
    }
    let _ = is_admin;
    let body = sizes::limited(&request, body).await.map_err(Problem::internal)?;
    let (response, sender, messages) = actix_ws::handle(&request, body).map_err(|error| no_handshake(&error))?;
    let hub = state.hub.clone();
    let messages = handler::limited(messages);
    let socket = Socket { session, seat, ticket, hub, credential, welcome, sender, messages };
    actix_web::rt::spawn(supervise::once("socket", socket.run()));
    Ok(response)
}

fn no_handshake(error: &dyn std::fmt::Display) -> Problem {
    let reason = format!("this is not a WebSocket handshake: {error}");
    Problem::malformed(Rule::Unreadable, reason, "send an RFC 6455 upgrade request")
}

fn refuse(full: Full) -> Problem {
    metrics::counter!("ws_refused_total", "reason" => full.as_str()).increment(1);
    match full {
        Full::Server => Problem::unavailable("this server has as many sockets as it may have"),
        Full::Address => Problem::too_fast(ADDRESS_WAIT_S),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use crate::app::{App, Listeners};
    use crate::domain::key::Slug;
    use crate::hub::SHARES;
    use crate::protocol::close;
    use crate::settings::{Settings, Sockets};
    use crate::store::memory::MemoryStore;

    async fn open(port: u16) -> tokio::net::TcpStream {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = "GET /ws/nobody HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       X-Request-Id: knock-7\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn knock(port: u16) -> String {
        let mut stream = open(port).await;
        let mut answer = vec![0; 2048];
        let read = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..read]).to_lowercase()
    }

    #[tokio::test]
    async fn a_server_that_stops_opens_no_socket_on_any_path_and_says_so_before_anything_else() {
        for sockets in [Sockets::Fast, Sockets::Portable] {
            let settings = Settings { sockets, ..Settings::default() };
            let app = App::build(settings, Arc::new(MemoryStore::exclusive()), Listeners::any()).await.unwrap();
            let (port, state) = (app.port(), app.state());
            let knocking = async {
                let answer = knock(port).await;
                assert!(answer.starts_with("http/1.1 404 "), "{sockets:?}: {answer}");
                assert!(answer.contains("x-request-id: knock-7"), "{sockets:?}: {answer}");
                state.readiness.drain();
                let answer = knock(port).await;
                let is_refused = answer.starts_with("http/1.1 503 ") && answer.contains("retry-after: 1");
                assert!(is_refused, "{sockets:?}: {answer}");
            };
            let mut has_knocked = false;
            tokio::select! {
                _ended = app.run(std::future::pending(), std::future::pending()) => {}
                () = knocking => has_knocked = true,
            }
            assert!(has_knocked, "the server ended by itself");
        }
    }

    /// Reads until `wanted` comes; `false` when the connection ends before.
    async fn hears(stream: &mut tokio::net::TcpStream, wanted: &[u8]) -> bool {
        let mut heard = Vec::new();
        while !heard.windows(wanted.len()).any(|bytes| bytes == wanted) {
            let mut buffer = [0; 4096];
            let Ok(read @ 1..) = stream.read(&mut buffer).await else { return false };
            heard.extend_from_slice(&buffer[..read]);
        }
        true
    }

    #[tokio::test]
    async fn a_server_that_is_cut_off_sends_its_sockets_elsewhere_on_any_path_and_opens_no_other() {
        for sockets in [Sockets::Fast, Sockets::Portable] {
            let settings = Settings { sockets, ..Settings::default() };
            let app = App::build(settings, Arc::new(MemoryStore::exclusive()), Listeners::any()).await.unwrap();
            let (port, state) = (app.port(), app.state());
            state.catalogue.create_channel(Slug::new("nobody").unwrap(), "Nobody", 0).await.unwrap();
            let knocking = async {
                let mut stream = open(port).await;
                assert!(hears(&mut stream, b"\"welcome\"").await, "{sockets:?}");
                state.readiness.cut_off(true);
                let answer = knock(port).await;
                assert!(answer.starts_with("http/1.1 503 "), "{sockets:?}: {answer}");
                state.hub.send_away(SHARES);
                let code = close::CUT_OFF.code.to_be_bytes();
                assert!(hears(&mut stream, &code).await, "{sockets:?}");
                state.readiness.cut_off(false);
                assert!(knock(port).await.starts_with("http/1.1 101 "), "{sockets:?}");
            };
            let mut has_knocked = false;
            tokio::select! {
                _ended = app.run(std::future::pending(), std::future::pending()) => {}
                () = knocking => has_knocked = true,
            }
            assert!(has_knocked, "the server ended by itself");
        }
    }
}
