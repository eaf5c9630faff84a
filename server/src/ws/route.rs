//! `GET /ws/{channel}`: who may open a socket, and as whom.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::handler::{self, PING_INTERVAL, Socket};
use super::session::{Role, Session};
use super::sizes;
use crate::auth::request::{admin_of, overlay_key};
use crate::domain::key::Slug;
use crate::domain::rule::Rule;
use crate::http::AppState;
use crate::http::assets;
use crate::http::error::Problem;
use crate::http::identity::{new_viewer, origin_allowed, viewer_of};
use crate::http::request_id;
use crate::hub::Kind;
use crate::protocol::{PROTOCOL_VERSION, Welcome};
use crate::traces::Begun;

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

/// Adds the route.
pub fn configure(config: &mut web::ServiceConfig) {
    config.route("/ws/{channel}", web::get().to(connect));
}

async fn connect(
    request: HttpRequest,
    body: web::Payload,
    path: web::Path<String>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
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
    let query = web::Query::<Query>::from_query(request.query_string()).map_err(|error| {
        Problem::malformed(
            Rule::WrongQuery,
            format!("the query cannot be read: {error}"),
            "send role=viewer, overlay or admin, and key",
        )
    })?;
    let unknown = || Problem::unknown("unknown_channel", "there is no such channel");
    let channel = Slug::new(&path).map_err(|_| unknown())?;
    // Before the credential is looked at: what is revoked from here on closes the socket.
    let revoked = state.hub.revocations();
    let (role, credential, token) = match query.role {
        AskedRole::Viewer => match viewer_of(&state, &request) {
            Some((viewer, _)) => (Role::Viewer(viewer), None, None),
            None => {
                let (viewer, token) = new_viewer(&state);
                (Role::Viewer(viewer), None, Some(token))
            }
        },
        AskedRole::Overlay => {
            let key = query.key.as_deref().unwrap_or_default();
            let remedy = "copy the overlay's address from the admin page again";
            let refused =
                || Problem::forbidden(Rule::InvalidOverlayKey, "the overlay key is not valid, or not any more", remedy);
            (Role::Overlay, Some(overlay_key(&state, &channel, key).await?.ok_or_else(refused)?), None)
        }
        AskedRole::Admin => (Role::Admin, Some(admin_of(&state, &request).await?.credential), None),
    };
    let mut seat = state.hub.enter(&channel).await?.ok_or_else(unknown)?;
    seat.counts_as(kind_of(&role));
    if let Some(begun) = &mut begun {
        begun.note("channel", channel.to_string());
        begun.note("role", kind_of(&role).as_str());
    }
    let body = sizes::limited(&request, body).await.map_err(Problem::internal)?;
    let (response, sender, messages) = actix_ws::handle(&request, body).map_err(|error| {
        Problem::malformed(
            Rule::Unreadable,
            format!("this is not a WebSocket handshake: {error}"),
            "send an RFC 6455 upgrade request",
        )
    })?;
    let welcome = Welcome {
        protocol: PROTOCOL_VERSION,
        now_us: state.now_us(),
        build: assets::build().to_owned(),
        channel: channel.to_string(),
        viewer: token,
        ping_interval_s: PING_INTERVAL.as_secs(),
    };
    let session =
        Session::new(role, channel.as_str(), state.viewers.clone(), state.settings.socket_rate(), Duration::ZERO);
    let session = session.traced(begun.as_ref().map(Begun::joined));
    let hub = state.hub.clone();
    let messages = handler::limited(messages);
    actix_web::rt::spawn(Socket { session, seat, hub, credential, revoked, welcome, sender, messages }.run());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use crate::app::{App, listen};
    use crate::settings::Settings;
    use crate::store::memory::MemoryStore;

    async fn knock(port: u16) -> String {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = "GET /ws/nobody HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 2048];
        let read = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..read]).to_lowercase()
    }

    #[tokio::test]
    async fn a_server_that_stops_opens_no_socket_and_says_so_before_anything_else() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let app = App::build(Settings::default(), Arc::new(MemoryStore::exclusive()), listener).await.unwrap();
        let (port, state) = (app.port(), app.state());
        let knocking = async {
            let answer = knock(port).await;
            assert!(answer.starts_with("http/1.1 404 "), "{answer}");
            state.readiness.drain();
            let answer = knock(port).await;
            assert!(answer.starts_with("http/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
        };
        let mut has_knocked = false;
        tokio::select! {
            _ended = app.run(std::future::pending(), std::future::pending()) => {}
            () = knocking => has_knocked = true,
        }
        assert!(has_knocked, "the server ended by itself");
    }
}
