//! Connections of this server, sockets or not: how many there may be, and how long each may keep the server waiting.
//!
//! Most of the descriptors that the system allows are for connections ([`Limits`]). The last ones of each listener are a
//! reserve, those of viewers for admins: [`Connections::is_short`] tells the rest of the server to refuse everybody else.
//! Whoever connects then takes the place of the one who has been there longest, so that no crowd of silent clients keeps an
//! admin, or a probe, out.
//!
//! **Invariants**
//! - A [`Descriptor`] is one of the system's: it is held for as long as the connection is, also by an event loop.
//! - An address, and the networks around it, are remembered for as long as it has a connection or a request, so the table
//!   is never larger than three times the number of these.
//! - Nothing here is shared with the path of a message: a socket of an event loop only counts.

mod limits;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::Protocol;
use actix_http::error::DispatchError;
use actix_web::dev::{Service, ServiceFactory, fn_factory};
use actix_web::rt::net::TcpStream;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::limits::{Limits, file_limit, raise_file_limit};
use crate::auth::limits::{ClientKey, Counts};
use crate::metrics::{CONNECTIONS_REFUSED, HTTP_MALFORMED, HTTP_TIMEOUTS};
use crate::ws::admission::Full;

/// How long the head of a request may take, from its first byte; the first one of a connection, from the connection on.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// An idle connection is closed after this long.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How often a connection is looked at. What is late is ended this much later at most.
const TICK: Duration = Duration::from_secs(5);

/// The time over which the speed of a reader is taken. The system takes bytes by the lump: whoever reads little makes room
/// seldom.
const READER_WINDOW: Duration = Duration::from_secs(60);

/// Bytes a second that the reader of an answer has to take.
const MIN_READER_RATE: u64 = 1024;

/// The shortage is said again in the log after this long at the earliest.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// A connection among the last there are descriptors for, as the table knows it.
struct Waiting {
    number: usize,
    end: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    /// Connections with requests, and requests that a proxy brings, by address.
    by_address: Counts,
    /// Those that came when ordinary places were taken, the oldest first.
    spare: VecDeque<Waiting>,
    next_number: usize,
    said_at: Option<Instant>,
}

struct Inner {
    limits: Limits,
    proxies: Vec<IpNet>,
    open: AtomicUsize,
    table: Mutex<Table>,
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_short(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= self.limits.ordinary
    }

    fn count(&self, client: ClientKey) -> Result<(), Full> {
        self.table().by_address.add(client, self.limits.per_address).then_some(()).ok_or(Full::Address)
    }

    fn forget(&self, client: ClientKey) {
        self.table().by_address.remove(client);
    }
}

/// The connections of a server. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    inner: Arc<Inner>,
}

/// A request's place among those of its client.
pub struct Place {
    inner: Arc<Inner>,
    client: ClientKey,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.forget(self.client);
    }
}

/// A connection that has to go when others come.
struct Spare {
    inner: Arc<Inner>,
    number: usize,
    end: Arc<Notify>,
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.inner.table().spare.retain(|other| other.number != self.number);
    }
}

/// One connection's descriptor; giving it up makes room.
pub struct Descriptor(Arc<Inner>);

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Permission for one connection.
struct Ticket {
    descriptor: Descriptor,
    place: Option<Place>,
    spare: Option<Spare>,
}

impl Connections {
    /// At most so many. Connections of `proxies` are not counted by their address: each stands for many clients.
    pub fn new(limits: Limits, proxies: Vec<IpNet>) -> Self {
        let (open, table) = (AtomicUsize::new(0), Mutex::default());
        Self { inner: Arc::new(Inner { limits, proxies, open, table }) }
    }

    /// How many there may be.
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// Whether there is room in the reserve only.
    pub fn is_short(&self) -> bool {
        self.inner.is_short()
    }

    /// Whether the peer of a connection is a proxy that stands for others.
    fn is_proxy(&self, peer: IpAddr) -> bool {
        self.inner.proxies.iter().any(|network| network.contains(&peer.to_canonical()))
    }

    /// Lets a connection in.
    ///
    /// # Errors
    /// Its address has as many as it may have.
    fn admit(&self, peer: Option<IpAddr>) -> Result<Ticket, Full> {
        // The peer's own address and no other: what a proxy says of itself is anybody's claim.
        let is_exempt = peer.is_some_and(|peer| peer.to_canonical().is_loopback() || self.is_proxy(peer));
        let place = match is_exempt {
            true => None,
            false => {
                let client = ClientKey::new(peer);
                self.inner.count(client)?;
                Some(Place { inner: Arc::clone(&self.inner), client })
            }
        };
        let is_spare = self.inner.open.fetch_add(1, Ordering::Relaxed) >= self.inner.limits.ordinary;
        let spare = is_spare.then(|| self.spare());
        Ok(Ticket { descriptor: Descriptor(Arc::clone(&self.inner)), place, spare })
    }

    /// A place among the last ones, for which the oldest there has to go.
    fn spare(&self) -> Spare {
        let mut table = self.inner.table();
        let (number, end) = (table.next_number, Arc::new(Notify::new()));
        table.next_number = number.wrapping_add(1);
        table.spare.push_back(Waiting { number, end: Arc::clone(&end) });
        if table.spare.len() > self.inner.limits.reserve
            && let Some(oldest) = table.spare.pop_front()
        {
            metrics::counter!(CONNECTIONS_REFUSED, "reason" => "reserve").increment(1);
            oldest.end.notify_one();
        }
        let now = Instant::now();
        if table.said_at.is_none_or(|said_at| now - said_at >= SAID_AGAIN) {
            table.said_at = Some(now);
            let most = self.inner.limits.ordinary;
            tracing::warn!(most, "no room for more connections; those in the reserve make room for each other");
        }
        drop(table);
        Spare { inner: Arc::clone(&self.inner), number, end }
    }

    /// A request's place among those of its client, when a proxy brings it; `None` for all others, whose connections are
    /// counted.
    ///
    /// # Errors
    /// The client has as many under way as it may have.
    pub fn admit_request(&self, peer: Option<IpAddr>, client: Option<IpAddr>) -> Result<Option<Place>, Full> {
        if client == peer || !peer.is_some_and(|peer| self.is_proxy(peer)) {
            return Ok(None);
        }
        let client = ClientKey::new(client);
        self.inner.count(client)?;
        Ok(Some(Place { inner: Arc::clone(&self.inner), client }))
    }
}

/// What a connection is doing, as its bytes and requests tell.
pub struct Connection {
    inner: Arc<Inner>,
    descriptor: RefCell<Option<Descriptor>>,
    place: RefCell<Option<Place>>,
    spare: RefCell<Option<Spare>>,
    /// Whether it is for the HTTP server. A socket, and what the gate answers, have deadlines of their own.
    is_watched: Cell<bool>,
    /// Requests that are being answered.
    requests: Cell<u32>,
    /// Since when the head of the next request is awaited.
    head_since: Cell<Option<Instant>>,
    heard_at: Cell<Instant>,
    wrote_at: Cell<Instant>,
    /// Whether the system had no room for the last write.
    is_blocked: Cell<bool>,
    /// Since when the speed of the reader is taken, and what it has read.
    window: Cell<Option<(Instant, u64)>>,
}

impl Connection {
    fn new(ticket: Ticket) -> Self {
        let now = Instant::now();
        Self {
            inner: Arc::clone(&ticket.descriptor.0),
            descriptor: RefCell::new(Some(ticket.descriptor)),
            place: RefCell::new(ticket.place),
            spare: RefCell::new(ticket.spare),
            is_watched: Cell::new(true),
            requests: Cell::new(0),
            head_since: Cell::new(Some(now)),
            heard_at: Cell::new(now),
            wrote_at: Cell::new(now),
            is_blocked: Cell::new(false),
            window: Cell::new(None),
        }
    }

    /// Whether there is room for others in the reserve only.
    pub fn is_short(&self) -> bool {
        self.inner.is_short()
    }

    /// Whoever serves it from now on has deadlines of its own.
    pub fn leave(&self) {
        self.is_watched.set(false);
    }

    /// It is a socket from now on: counted as such by its address, and nobody's to be ended.
    pub fn becomes_socket(&self) {
        self.leave();
        drop((self.place.take(), self.spare.take()));
    }

    /// Its descriptor, to go where the socket goes.
    pub fn take_descriptor(&self) -> Option<Descriptor> {
        self.descriptor.take()
    }

    /// A request begins; it ends with what is returned.
    pub fn begin(self: &Rc<Self>) -> Answering {
        self.head_since.set(None);
        self.requests.set(self.requests.get() + 1);
        Answering(Rc::clone(self))
    }

    fn heard(&self) {
        let now = Instant::now();
        self.heard_at.set(now);
        if self.requests.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(now));
        }
    }

    fn wrote(&self, bytes: usize) {
        self.wrote_at.set(Instant::now());
        self.is_blocked.set(false);
        if let Some((since, before)) = self.window.get() {
            self.window.set(Some((since, before.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)))));
        }
    }

    fn blocked(&self) {
        self.is_blocked.set(true);
        if self.window.get().is_none() {
            self.window.set(Some((Instant::now(), 0)));
        }
    }

    /// What the client should have done by now.
    fn overdue(&self, now: Instant) -> Option<&'static str> {
        if self.requests.get() == 0 && !self.is_blocked.get() {
            let quiet = now - self.heard_at.get().max(self.wrote_at.get());
            let head = self.head_since.get().map(|since| now - since.max(self.wrote_at.get()));
            // The HTTP server answers 408 to a first head that is late, and ends idle connections, but for those that left
            // it with a part of a request.
            let is_late = head.is_some_and(|head| head >= HEAD_TIMEOUT + TICK) || quiet >= KEEP_ALIVE + HEAD_TIMEOUT;
            if is_late || (quiet >= TICK && self.inner.is_short()) {
                return Some("head");
            }
        }
        let (since, bytes) = self.window.get()?;
        if now - since < READER_WINDOW {
            return None;
        }
        let is_slow = self.is_blocked.get() && bytes < MIN_READER_RATE * READER_WINDOW.as_secs();
        self.window.set(self.is_blocked.get().then_some((now, 0)));
        is_slow.then_some("reader")
    }

    /// Ends when the client is late, or has to make room.
    async fn watch(&self) -> &'static str {
        let end = self.spare.borrow().as_ref().map(|spare| Arc::clone(&spare.end));
        let late = async {
            loop {
                tokio::time::sleep(TICK).await;
                if !self.is_watched.get() {
                    std::future::pending::<()>().await;
                }
                if let Some(what) = self.overdue(Instant::now()) {
                    return what;
                }
            }
        };
        let Some(end) = end else { return late.await };
        tokio::select! {
            what = late => what,
            () = end.notified() => "reserve",
        }
    }
}

/// A request that is being answered.
pub struct Answering(Rc<Connection>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get().saturating_sub(1));
        self.0.wrote_at.set(Instant::now());
    }
}

/// The bytes of a connection, watched.
pub struct Stream {
    tcp: TcpStream,
    connection: Rc<Connection>,
}

impl Stream {
    /// The system's part of it.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// What is known of it.
    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Both parts, for whoever serves it with deadlines of its own.
    pub fn leave(self) -> (TcpStream, Rc<Connection>) {
        self.connection.leave();
        (self.tcp, self.connection)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.heard();
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(context, bytes);
        match &written {
            Poll::Ready(Ok(count)) => self.connection.wrote(*count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.blocked(),
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// What serves a connection.
pub(crate) type Arrived = (Stream, Protocol, Option<SocketAddr>);

/// The service of a server's connections: each is counted, watched, and served by `http` if there is room for it.
pub(super) fn factory<H>(
    http: H,
    connections: Connections,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    H: ServiceFactory<Arrived, Config = (), Response = (), Error = DispatchError, InitError = ()> + 'static,
    H::Service: 'static,
{
    let http = Rc::new(http);
    fn_factory(move || {
        let (http, connections) = (Rc::clone(&http), connections.clone());
        async move { Ok(Watching { http: Rc::new(http.new_service(()).await?), connections }) }
    })
}

struct Watching<H> {
    http: Rc<H>,
    connections: Connections,
}

impl<H> Service<TcpStream> for Watching<H>
where
    H: Service<Arrived, Response = (), Error = DispatchError> + 'static,
{
    type Response = ();
    type Error = DispatchError;
    type Future = Pin<Box<dyn Future<Output = Result<(), DispatchError>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), DispatchError>> {
        self.http.poll_ready(context)
    }

    fn call(&self, tcp: TcpStream) -> Self::Future {
        let peer = tcp.peer_addr().ok();
        let ticket = match self.connections.admit(peer.map(|peer| peer.ip())) {
            Ok(ticket) => ticket,
            Err(full) => {
                metrics::counter!(CONNECTIONS_REFUSED, "reason" => full.as_str()).increment(1);
                // Its request is not read, so it may hear nothing but a reset.
                let _answered = tcp.try_write(TOO_MANY);
                return Box::pin(std::future::ready(Ok(())));
            }
        };
        let connection = Rc::new(Connection::new(ticket));
        let serving = self.http.call((Stream { tcp, connection: Rc::clone(&connection) }, Protocol::Http1, peer));
        Box::pin(async move {
            let (mut serving, mut watching) = (pin!(serving), pin!(connection.watch()));
            let outcome = poll_fn(|context| {
                if let Poll::Ready(served) = serving.as_mut().poll(context) {
                    return Poll::Ready(Ok(served));
                }
                watching.as_mut().poll(context).map(Err)
            });
            match outcome.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => note(&error),
                Err("reserve") => {}
                Err(what) => metrics::counter!(HTTP_TIMEOUTS, "what" => what).increment(1),
            }
            Ok(())
        })
    }
}

/// The whole answer to a connection of an address that has too many.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 10\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What clients do wrong is counted, and no line of the log: anybody could fill it.
fn note(error: &DispatchError) {
    match error {
        DispatchError::Parse(_) => metrics::counter!(HTTP_MALFORMED).increment(1),
        DispatchError::Body(error) => tracing::warn!(%error, "the body of an answer broke off"),
        DispatchError::InternalError | DispatchError::Service(_) => {
            tracing::warn!(%error, "a connection ended by a fault of the server");
        }
        _ => {}
    }
    tracing::debug!(%error, "a connection ended");
}

#[cfg(test)]
mod tests;
