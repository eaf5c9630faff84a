//! Looks at a connection before the HTTP server does: one that begins with a WebSocket handshake goes straight to the
//! gate. That spares it the server's buffers, timers and tasks, half of what a connection costs.
//!
//! **Invariants**
//! - A look takes nothing away. Only what is a whole handshake, read as such by actix's own decoder, is taken; everything
//!   else is served as if nobody had looked.
//! - Nothing the client sent after its handshake is touched: it stays with the system.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_codec::{Decoder as _, Framed};
use actix_http::error::DispatchError;
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{Request, ServiceConfig};
use actix_server::GracefulShutdownSignal;
use actix_web::dev::{Service, ServiceFactory, fn_factory};
use actix_web::rt::net::TcpStream;
use bytes::BytesMut;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;

use crate::app::connections::{Arrived, Stream};

/// Longest handshake that is looked for. Browsers send some 500 bytes, with cookies; longer ones take the ordinary way.
const MAX_HEAD_BYTES: usize = 4096;

/// How a handshake begins.
const BEGINNING: &[u8] = b"GET /ws/";

/// The service of a connection: the gate for handshakes, `http` for everything else. All connections are left to `http` when
/// the server stops.
pub fn factory<H, G>(
    http: H,
    gate: G,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<Arrived, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    H: ServiceFactory<Arrived, Config = (), Response = (), Error = DispatchError, InitError = ()> + 'static,
    H::Service: 'static,
    G: ServiceFactory<(Request, Framed<Stream, Codec>), Config = (), Response = (), InitError = ()> + 'static,
    G::Service: 'static,
{
    let factories = Rc::new((http, gate));
    fn_factory(move || {
        let (factories, stopping) = (Rc::clone(&factories), stopping.clone());
        async move {
            let (http, gate) = &*factories;
            // Made here, because the server's clock is a task of the thread that serves.
            let gate = (gate.new_service(()).await?, ServiceConfig::default());
            Ok(Front { inner: Rc::new(Inner { http: http.new_service(()).await?, gate, stopping }) })
        }
    })
}

struct Inner<H, G> {
    http: H,
    gate: (G, ServiceConfig),
    stopping: GracefulShutdownSignal,
}

struct Front<H, G> {
    inner: Rc<Inner<H, G>>,
}

impl<H, G> Service<Arrived> for Front<H, G>
where
    H: Service<Arrived, Response = (), Error = DispatchError> + 'static,
    G: Service<(Request, Framed<Stream, Codec>), Response = ()> + 'static,
{
    type Response = ();
    type Error = DispatchError;
    type Future = Pin<Box<dyn Future<Output = Result<(), DispatchError>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), DispatchError>> {
        self.inner.http.poll_ready(context)
    }

    fn call(&self, (stream, protocol, peer): Arrived) -> Self::Future {
        let inner = Rc::clone(&self.inner);
        Box::pin(async move {
            let (gate, config) = &inner.gate;
            if inner.hears_something(stream.tcp()).await
                && let Some((mut request, codec)) = handshake(stream.tcp(), config)?
            {
                request.head_mut().peer_addr = peer;
                // A gate answers whatever comes of it itself.
                let _answered = gate.call((request, Framed::new(stream, codec))).await;
                return Ok(());
            }
            inner.http.call((stream, protocol, peer)).await
        })
    }
}

impl<H, G> Inner<H, G> {
    /// Waits for the first bytes, as long as whoever counts the connection does; `false` when the server stops.
    async fn hears_something(&self, stream: &TcpStream) -> bool {
        let readable = stream.readable();
        tokio::select! {
            biased;
            heard = readable => heard.is_ok(),
            () = self.stopping.notified() => false,
        }
    }
}

/// Takes a whole handshake off the connection, if it begins with one.
///
/// # Errors
/// The system's, when it does not give what it has shown.
fn handshake(stream: &TcpStream, config: &ServiceConfig) -> std::io::Result<Option<(Request, Codec)>> {
    let mut seen = [0; MAX_HEAD_BYTES];
    let look = || Ok(recv(stream, &mut seen, RecvFlags::PEEK).map(|(_, count)| count)?);
    let Ok(count) = stream.try_io(Interest::READABLE, look) else { return Ok(None) };
    let Some(seen) = seen.get(..count).filter(|seen| seen.starts_with(BEGINNING)) else { return Ok(None) };
    let Some(end) = seen.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let mut bytes = BytesMut::from(&seen[..end]);
    let mut codec = Codec::new(config.clone());
    let Ok(Some(Message::Item(request))) = codec.decode(&mut bytes) else { return Ok(None) };
    if !bytes.is_empty() || !matches!(codec.message_type(), MessageType::Stream) {
        return Ok(None);
    }
    let mut taken = [0; MAX_HEAD_BYTES];
    let (_, count) = recv(stream, &mut taken[..end], RecvFlags::empty())?;
    if count != end {
        return Err(std::io::Error::other("a handshake that was seen could not be read"));
    }
    Ok(Some((request, codec)))
}
