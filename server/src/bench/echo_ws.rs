//! A WebSocket that says back what it hears, on either path: what a conformance suite runs against.
//!
//! **Invariant**: handshake, frames and goodbyes are those of the server. Only the limits differ, which are wide enough
//! for the suite's messages.

use std::net::SocketAddr;

use actix_web::{App, HttpRequest, HttpResponse, web};
use actix_ws::AggregatedMessage;

use crate::app::connections::{Connections, Limits, file_limit};
use crate::app::http_server::{Size, http_server};
use crate::app::listen;
use crate::settings::Sockets;
use crate::ws::Loops;

/// Longest message: the suite's largest has 16 MiB.
const MAX_MESSAGE_BYTES: usize = 17 * 1024 * 1024;

/// Sockets at once.
const CONNECTIONS: usize = 100_000;

/// Serves the echo on a port of the loopback, until the process is ended.
///
/// # Errors
/// The socket's.
pub async fn serve(port: u16, sockets: Sockets) -> std::io::Result<()> {
    let loops = loops(sockets)?;
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], port)))?;
    let connections = Connections::new(Limits::new(file_limit(), CONNECTIONS, u32::MAX), Vec::new());
    http_server(
        listener,
        Size { workers: 1 },
        connections,
        loops,
        |_| true,
        || App::new().default_service(web::to(echo)),
    )?
    .await
}

fn loops(sockets: Sockets) -> std::io::Result<Option<Loops>> {
    #[cfg(target_os = "linux")]
    if sockets == Sockets::Fast {
        return Loops::start(1, None).map(Some);
    }
    let _ = sockets;
    Ok(None)
}

async fn echo(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    #[cfg(target_os = "linux")]
    if crate::ws::fast::gate::is_at(&request) {
        return Ok(crate::ws::fast::gate::accept(&request, crate::ws::fast::Accepted::Echo)?);
    }
    let (response, mut sender, messages) = actix_ws::handle(&request, body)?;
    let mut messages =
        messages.max_frame_size(MAX_MESSAGE_BYTES).aggregate_continuations().max_continuation_size(MAX_MESSAGE_BYTES);
    actix_web::rt::spawn(async move {
        let goodbye = loop {
            let sent = match messages.recv().await {
                Some(Ok(AggregatedMessage::Text(text))) => sender.text(text).await,
                Some(Ok(AggregatedMessage::Binary(bytes))) => sender.binary(bytes).await,
                Some(Ok(AggregatedMessage::Ping(payload))) => sender.pong(&payload).await,
                Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
                Some(Ok(AggregatedMessage::Close(reason))) => break reason,
                Some(Err(error)) => break Some(crate::ws::handler::close_of(&error).into()),
                None => return,
            };
            if sent.is_err() {
                return;
            }
        };
        // Whoever has gone hears no goodbye.
        let _gone = sender.close(goodbye).await;
    });
    Ok(response)
}
