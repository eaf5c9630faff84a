//! Where sockets leave the HTTP server: every request that asks for an upgrade comes here, and is answered by the same
//! application as all others.
//!
//! actix-http takes every request with `Upgrade: websocket` for a handshake, whatever its method and path, and has then
//! forgotten how long its body is. Whether a request may become a socket is decided by its route; any other is answered
//! here as an ordinary request that has a body of `Content-Length` bytes, and its connection is closed (RFC 9110 section
//! 7.8: a server may ignore `Upgrade`).
//!
//! A socket that no event loop takes (an admin's, or any on the portable path) is served from here by the answer that
//! actix-ws gave. The HTTP server would keep its buffers for it, and wait for up to a second after the last frame before it
//! ends the connection.
//!
//! **Invariants**
//! - The gate decides nothing. An answer that carries an [`Accepted`] takes the socket to an event loop; any other is
//!   written as it is.
//! - Nothing the client sent is lost: what came together with the request goes along with the socket.
//! - Nothing is waited for without a deadline: a body has that of [`crate::http::body`], a write [`SEND_TIMEOUT`].

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_codec::{Encoder as _, Framed};
use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_http::h1::{Codec, Message};
use actix_http::{HttpMessage as _, Payload, Request, Response};
use actix_web::dev::{Service, ServiceFactory, ServiceResponse, fn_factory};
use actix_web::{HttpRequest, HttpResponse};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use super::connection::Newcomer;
use super::{Accepted, Loops};
use crate::app::connections::Stream;
use crate::app::http_server::IsSocket;
use crate::ws::handler::SEND_TIMEOUT;

/// Marks a request that came through the gate: its socket can leave.
struct AtGate;

/// Handshakes that are answered, or refused, before the thread that does so lets others have the processor, when somebody
/// votes: in a rush it would keep it for milliseconds, and a vote goes through four threads. It costs the event loop a round
/// for so many newcomers; after every single one, a connection would cost twice as much.
const HANDSHAKES_AT_ONCE: usize = 8;

/// Bytes that are read at once.
const READ_BYTES: usize = 4096;

/// Bytes that are collected before they are written.
const WRITE_BYTES: usize = 16 * 1024;

/// How long a client has to read the last of what it was sent, and to end the connection.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the socket of this request can be given to an event loop.
pub fn is_at(request: &HttpRequest) -> bool {
    request.extensions().contains::<AtGate>()
}

/// The answer that takes the socket of a request to an event loop.
///
/// # Errors
/// The request is no WebSocket handshake.
pub fn accept(request: &HttpRequest, accepted: Accepted) -> Result<HttpResponse, actix_http::ws::HandshakeError> {
    let answer = actix_http::ws::handshake(request.head())?.finish().map_body(|_, _| BoxBody::new(()));
    let mut response = HttpResponse::from(answer);
    response.extensions_mut().insert(accepted);
    Ok(response)
}

/// The service that actix-http hands upgrades to, over an instance of the application. Without loops, no socket leaves.
///
/// `is_socket` says of a request whether it may become a socket.
pub(crate) fn factory<F, S, B>(
    app: F,
    loops: Option<Loops>,
    is_socket: IsSocket,
) -> impl ServiceFactory<
    (Request, Framed<Stream, Codec>),
    Config = (),
    Response = (),
    Error = Never,
    InitError = (),
    Future = impl Future + 'static,
>
where
    F: ServiceFactory<Request, Config = (), Response = ServiceResponse<B>, Error = HttpResponse, Service = S> + 'static,
    S: Service<Request, Response = ServiceResponse<B>, Error = HttpResponse> + 'static,
    S::Future: 'static,
    F::Future: 'static,
    B: MessageBody + 'static,
{
    fn_factory(move || {
        let (app, loops) = (app.new_service(()), loops.clone());
        async move { app.await.map(|app| Gate { app: Rc::new(app), loops, is_socket, count: Cell::new(0) }).map_err(drop) }
    })
}

/// What a gate never does: fail.
#[derive(Debug)]
pub struct Never(Infallible);

impl std::fmt::Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {}
    }
}

impl From<Never> for Response<BoxBody> {
    fn from(never: Never) -> Self {
        match never.0 {}
    }
}

struct Gate<S> {
    app: Rc<S>,
    loops: Option<Loops>,
    is_socket: IsSocket,
    /// Handshakes so far.
    count: Cell<usize>,
}

impl<S, B> Service<(Request, Framed<Stream, Codec>)> for Gate<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = HttpResponse> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ();
    type Error = Never;
    type Future = Pin<Box<dyn Future<Output = Result<(), Never>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Never>> {
        // An application whose routes are not ready says so in its answer.
        self.app.poll_ready(context).map(|_| Ok(()))
    }

    fn call(&self, (mut request, framed): (Request, Framed<Stream, Codec>)) -> Self::Future {
        if !(self.is_socket)(request.head()) {
            return Box::pin(serve_plainly(Rc::clone(&self.app), request, framed));
        }
        let (body, socket) = oneshot::channel();
        if let Some(loops) = &self.loops {
            request.extensions_mut().insert(AtGate);
            self.count.set(self.count.get().wrapping_add(1));
            if self.count.get().is_multiple_of(HANDSHAKES_AT_ONCE) && loops.hear_votes() {
                std::thread::yield_now();
            }
        }
        *request.payload() = Payload::Stream { payload: Box::pin(received(socket)) };
        let answering = self.app.call(request);
        let loops = self.loops.clone();
        Box::pin(async move {
            let outcome = match answering.await {
                Ok(mut response) => {
                    let accepted = response.response_mut().extensions_mut().remove::<Accepted>();
                    match (accepted, loops) {
                        (Some(accepted), Some(loops)) => hand_over(framed, &response, &loops, accepted).await,
                        _ => answer(framed, response.into(), body).await,
                    }
                }
                Err(refusal) => answer(framed, refusal.into(), body).await,
            };
            note_gone(outcome);
            Ok(())
        })
    }
}

fn note_gone(outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a client left while its upgrade was answered");
    }
}

/// Answers a request that is none for a socket, whatever it asks for. The connection ends with the answer.
async fn serve_plainly<S, B>(app: Rc<S>, mut request: Request, framed: Framed<Stream, Codec>) -> Result<(), Never>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = HttpResponse>,
    B: MessageBody,
{
    let mut parts = framed.into_parts();
    let (tcp, _connection) = parts.io.leave();
    let (reading, writing) = tcp.into_split();
    if request.head().expect() {
        parts.write_buf.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let mut half = Answering { codec: parts.codec, out: parts.write_buf, writing };
    // Answers to requests before this one, and that its body is welcome.
    let outcome = match half.flush().await {
        Ok(()) => {
            let (early, socket) = oneshot::channel();
            let (back, unread) = oneshot::channel();
            let listening = Listening { reading: Some(reading), back: Some(back) };
            let _received = early.send((parts.read_buf.freeze(), listening));
            *request.payload() = Payload::Stream { payload: Box::pin(received(socket)) };
            let outcome = match app.call(request).await {
                Ok(response) => half.answer(response.into()).await,
                Err(refusal) => half.answer(refusal.into()).await,
            };
            if let Ok(reading) = unread.await {
                read_to_the_end(reading).await;
            }
            outcome
        }
        Err(error) => Err(error),
    };
    note_gone(outcome);
    Ok(())
}

/// Gives the socket to an event loop, with the answer that is still to be sent.
async fn hand_over<B>(
    framed: Framed<Stream, Codec>,
    response: &ServiceResponse<B>,
    loops: &Loops,
    accepted: Accepted,
) -> std::io::Result<()> {
    let mut parts = framed.into_parts();
    let (mut tcp, connection) = parts.io.leave();
    connection.becomes_socket();
    // Answers to requests before this one, if it was pipelined behind them.
    written(tcp.write_all_buf(&mut parts.write_buf)).await?;
    let mut head = BytesMut::with_capacity(256);
    head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n");
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let socket = tcp.into_std()?.into();
    loops.adopt(Newcomer {
        socket,
        answer: head.freeze(),
        early: parts.read_buf,
        accepted,
        descriptor: connection.take_descriptor(),
    });
    Ok(())
}

/// The client's half of a connection. When nobody listens any more it is read to its end, for a while: to close with bytes
/// unread would take away what the client has not read yet.
struct Listening {
    reading: Option<OwnedReadHalf>,
    /// Who does that, if it is not to be done from here.
    back: Option<oneshot::Sender<OwnedReadHalf>>,
}

impl Listening {
    /// What comes next; nothing at the end. There is no buffer for somebody who says nothing.
    async fn read(&self) -> std::io::Result<Bytes> {
        let Some(reading) = &self.reading else { return Ok(Bytes::new()) };
        loop {
            reading.readable().await?;
            let mut bytes = BytesMut::with_capacity(READ_BYTES);
            match reading.try_read_buf(&mut bytes) {
                Ok(_) => return Ok(bytes.freeze()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Some(reading) = self.reading.take() else { return };
        if let Some(back) = self.back.take() {
            // Whoever is there no more needs it no more.
            let _ended = back.send(reading);
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Without a runtime the process is at its end.
            runtime.spawn(read_to_the_end(reading));
        }
    }
}

async fn read_to_the_end(mut reading: OwnedReadHalf) {
    let mut bytes = [0; 1024];
    let unread = async { while matches!(reading.read(&mut bytes).await, Ok(1..)) {} };
    let _given_up = tokio::time::timeout(LINGER_TIMEOUT, unread).await;
}

/// What a client sends after its request, once it is known that somebody here listens.
fn received(
    socket: oneshot::Receiver<(Bytes, Listening)>,
) -> impl futures_util::Stream<Item = Result<Bytes, PayloadError>> {
    enum From {
        Waiting(oneshot::Receiver<(Bytes, Listening)>),
        Socket(Listening),
    }
    futures_util::stream::unfold(Some(From::Waiting(socket)), |from| async move {
        let socket = match from? {
            From::Socket(socket) => {
                // actix-ws reads for as long as there is something, and only then looks at what it has.
                tokio::task::yield_now().await;
                socket
            }
            From::Waiting(waiting) => {
                let (early, socket) = waiting.await.ok()?;
                if !early.is_empty() {
                    return Some((Ok(early), Some(From::Socket(socket))));
                }
                socket
            }
        };
        match socket.read().await {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some((Ok(bytes), Some(From::Socket(socket)))),
            Err(error) => Some((Err(PayloadError::Io(error)), None)),
        }
    })
}

/// A write that is given up when the client reads nothing for too long.
async fn written(write: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
    tokio::time::timeout(SEND_TIMEOUT, write).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// The server's half of a connection whose request is being answered.
struct Answering {
    codec: Codec,
    /// What is still to be written.
    out: BytesMut,
    writing: OwnedWriteHalf,
}

impl Answering {
    async fn flush(&mut self) -> std::io::Result<()> {
        written(self.writing.write_all_buf(&mut self.out)).await
    }

    /// Writes an answer as the HTTP server would, and ends the server's half.
    async fn answer<B: MessageBody>(mut self, mut response: Response<B>) -> std::io::Result<()> {
        if response.head().status != actix_http::StatusCode::SWITCHING_PROTOCOLS {
            response.head_mut().set_connection_type(actix_http::ConnectionType::Close);
        }
        let size = response.body().size();
        let mut body = None;
        let head = response.map_body(|_, taken| body = Some(taken));
        self.codec.encode(Message::Item((head, size)), &mut self.out)?;
        if let Some(body) = body.filter(|_| !matches!(size, BodySize::None | BodySize::Sized(0))) {
            let mut body = pin!(body);
            loop {
                // What is there already leaves in one write.
                let chunk = match poll_fn(|context| body.as_mut().poll_next(context)).now_or_never() {
                    Some(chunk) if self.out.remaining() < WRITE_BYTES => chunk,
                    known => {
                        self.flush().await?;
                        match known {
                            Some(chunk) => chunk,
                            None => poll_fn(|context| body.as_mut().poll_next(context)).await,
                        }
                    }
                };
                match chunk {
                    Some(Ok(chunk)) => self.codec.encode(Message::Chunk(Some(chunk)), &mut self.out)?,
                    Some(Err(_)) => return Err(std::io::Error::other("the body of an answer broke off")),
                    None => break,
                }
            }
            self.codec.encode(Message::Chunk(None), &mut self.out)?;
        }
        self.flush().await?;
        self.writing.shutdown().await
    }
}

/// Answers a request for a socket; an answer that switches protocols goes on both ways until it ends.
async fn answer<B: MessageBody>(
    framed: Framed<Stream, Codec>,
    response: Response<B>,
    body_of_request: oneshot::Sender<(Bytes, Listening)>,
) -> std::io::Result<()> {
    let parts = framed.into_parts();
    let (tcp, connection) = parts.io.leave();
    let (reading, writing) = tcp.into_split();
    let half = Answering { codec: parts.codec, out: parts.write_buf, writing };
    if response.head().status == actix_http::StatusCode::SWITCHING_PROTOCOLS {
        connection.becomes_socket();
        // When nobody listens, nothing more is read.
        let listening = Listening { reading: Some(reading), back: None };
        let _unread = body_of_request.send((parts.read_buf.freeze(), listening));
        return half.answer(response).await;
    }
    drop(body_of_request);
    half.answer(response).await?;
    read_to_the_end(reading).await;
    Ok(())
}
