//! The HTTP server: what `actix_web::HttpServer` sets up, with a gate through which sockets leave.
//!
//! **Invariant**: a request is answered by the same application whether it asks for an upgrade or not.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::{HttpService, Request, RequestHead};
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, map_config};
use actix_web::dev::{AppConfig, Service, ServiceResponse};
use actix_web::{Error, HttpResponse};

use super::connections::{self, Connections, HEAD_TIMEOUT, KEEP_ALIVE};
use crate::ws::Loops;

/// How long requests under way may take after the sockets were told to go.
const STOP_TIMEOUT_S: u64 = 5;
/// How long a client may take to end a connection that we ended.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Size of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Threads that serve requests.
    pub(crate) workers: usize,
}

/// Whether a request, by its method and path, may become a socket.
pub(crate) type IsSocket = fn(&RequestHead) -> bool;

/// A server on a listener. `app` makes an application, one or two for each worker; with `loops`, accepted upgrades are
/// theirs. What `is_socket` refuses is answered as an ordinary request, whatever it asks for.
///
/// # Errors
/// The system's.
pub(crate) fn http_server<F, I, S, B>(
    listener: TcpListener,
    size: Size,
    connections: Connections,
    loops: Option<Loops>,
    is_socket: IsSocket,
    app: F,
) -> std::io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::InitError: std::fmt::Debug,
    S::Future: 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let builder: ServerBuilder = Server::build()
        .workers(size.workers)
        // Those that are too many are let in and refused: who waits to be accepted keeps admins waiting.
        .max_concurrent_connections(usize::MAX)
        .shutdown_timeout(STOP_TIMEOUT_S)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let address = listener.local_addr()?;
    let builder = builder.listen("http", listener, move || {
        let (stopping, signal) = (stopping.clone(), stopping.clone());
        let service = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIMEOUT)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .local_addr(address)
            .on_connect_ext(|stream: &connections::Stream, data| {
                data.insert(Rc::clone(stream.connection()));
            })
            .finish(configured(app(), address));
        #[cfg(target_os = "linux")]
        {
            let gate = || crate::ws::fast::gate::factory(configured(app(), address), loops.clone(), is_socket);
            let front = crate::ws::fast::front::factory(service.upgrade(Some(gate())), gate(), signal);
            connections::factory(front, connections.clone())
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (&loops, &signal, &is_socket);
            connections::factory(service, connections.clone())
        }
    })?;
    Ok(builder.run())
}

/// An application as a server's worker runs it.
fn configured<I, S, B>(
    app: I,
    address: SocketAddr,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = ServiceResponse<B>,
    Error = HttpResponse,
    InitError = S::InitError,
    Service = impl Service<Request, Response = ServiceResponse<B>, Error = HttpResponse, Future = impl Future + 'static>,
    Future = impl Future + 'static,
>
where
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let app = app.into_factory().map_err(|error: Error| error.error_response());
    // What `HttpServer` makes of an address; there is no other name for it outside of actix-web.
    map_config(app, move |()| AppConfig::__priv_test_new(false, address.to_string(), address))
}
