//! A WebSocket server that sends back what it is sent, for conformance suites: the socket path under the protocol,
//! without the protocol's own limits.
//!
//! **Invariant**: bytes are read and written by the code that serves the real sockets; what is different is the size
//! that is allowed, and that binary messages are taken.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actix_ws::{AggregatedMessage, CloseCode, CloseReason};

use crate::protocol::close;
use crate::ws::handler::close_of;

/// Longest message: the suites send up to this.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Serves the portable path at any address of a port of the loopback, until the process is ended.
///
/// # Errors
/// The socket's.
pub async fn serve_portable(port: u16) -> std::io::Result<()> {
    HttpServer::new(|| App::new().default_service(web::to(echo))).workers(1).bind(("127.0.0.1", port))?.run().await
}

async fn echo(request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
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
                Some(Ok(AggregatedMessage::Close(_))) => break Some(close::NORMAL),
                Some(Err(error)) => break Some(close_of(&error)),
                None => break None,
            };
            if sent.is_err() {
                break None;
            }
        };
        if let Some(close) = goodbye {
            let reason = CloseReason { code: CloseCode::from(close.code), description: Some(close.reason.to_owned()) };
            // The peer may be gone already.
            let _sent = sender.close(Some(reason)).await;
        }
    });
    Ok(response)
}
