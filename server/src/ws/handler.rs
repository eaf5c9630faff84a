//! The portable socket loop, on actix-ws: it runs wherever actix does.
//!
//! **Invariant**: the loop holds one room version at a time. While a send waits for a slow reader nothing queues up
//! behind it; when it is through, only the newest frames follow, and after [`SEND_TIMEOUT`] the reader is dropped.

use std::sync::Arc;
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError};
use rand::RngExt as _;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at, timeout};

use super::admission::Ticket;
use super::session::{Action, Role, Session};
use crate::auth::Held;
use crate::conductor::Conductor;
use crate::domain::live::LiveId;
use crate::domain::viewer::ViewerId;
use crate::hub::frames::{Frames, encode};
use crate::hub::{Hub, SHARES, Seat};
use crate::protocol::text::Text;
use crate::protocol::{AdminFrame, Close, MAX_CLIENT_MESSAGE_BYTES, Mine, Reply, ServerMessage, close};
use crate::supervise::Scope;

/// Time between two pings of the server.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Silence after which a client is given up: three pings without a sign of life.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one message may wait for a reader that does not read.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stopping pod waits for the answers of one socket.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause before a viewer's own notes are asked for again; it doubles.
const OWN_NOTES_RETRY: Duration = Duration::from_millis(250);

/// Replies and notes on their way back to one socket: as many as may be pending, and a reading of own notes.
const MAX_NEWS: usize = 128;

/// What comes back from the engine. Small, because a channel keeps room for 32 of them on every connection.
enum News {
    Reply(Box<Reply>),
    OwnNotes(ViewerId, Vec<Mine>),
}

/// What a socket was opened with, and can be revoked.
pub struct Credential {
    /// The overlay key, token or session.
    pub held: Held,
    /// Revocations since before it was looked at.
    pub revoked: broadcast::Receiver<Arc<str>>,
}

/// One accepted socket and everything it needs.
pub struct Socket {
    /// Its decisions.
    pub session: Session,
    /// Its place in the room.
    pub seat: Seat,
    /// The rooms.
    pub hub: Hub,
    /// Its permission to be there.
    pub ticket: Ticket,
    /// What it was opened with, if that can be revoked.
    pub credential: Option<Credential>,
    /// The first message.
    pub welcome: Text,
    /// Answers.
    pub sender: actix_ws::Session,
    /// Messages.
    pub messages: AggregatedMessageStream,
}

/// Limits of messages, set on every stream.
pub fn limited(messages: actix_ws::MessageStream) -> AggregatedMessageStream {
    messages
        .max_frame_size(MAX_CLIENT_MESSAGE_BYTES)
        .aggregate_continuations()
        .max_continuation_size(MAX_CLIENT_MESSAGE_BYTES)
}

struct Loop {
    session: Session,
    conductor: Conductor,
    sender: actix_ws::Session,
    news: mpsc::Sender<News>,
    sent_total: metrics::Counter,
    started: Instant,
}

impl Socket {
    /// Serves the socket until one side ends it.
    pub async fn run(self) {
        let Self { session, seat, ticket, hub, credential, welcome, sender, mut messages } = self;
        let mut room = seat.subscribe();
        let (news, mut inbox) = mpsc::channel(MAX_NEWS);
        let (credential, mut revoked) = credential.map(|credential| (credential.held, credential.revoked)).unzip();
        let mut draining = hub.draining();
        // Sockets on this path are told apart by chance, those of an event loop by their place in its table.
        let (mut leaving, share) = (hub.leaving(), rand::rng().random_range(0..SHARES));
        let mut ping = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_admin = *session.role() == Role::Admin;
        let mut second = is_admin.then(|| interval(Duration::from_secs(1)));
        let mut speed = Speedometer::default();
        let mut last_heard = Instant::now();
        let mut drain_until = None;
        let mut socket = Loop {
            session,
            conductor: hub.conductor().clone(),
            sender,
            news,
            sent_total: metrics::counter!("frames_sent_total"),
            started: Instant::now(),
        };

        let mut actions = vec![Action::Send(welcome)];
        let frames = Arc::clone(&room.borrow_and_update());
        socket.session.begin(&frames, &mut actions);
        drop(frames);
        let goodbye = loop {
            if let Some(close) = socket.carry_out(&mut actions).await {
                break Some(close);
            }
            if let Some(until) = drain_until
                && (socket.session.pending() == 0 || Instant::now() >= until)
            {
                break Some(close::RESTART);
            }
            tokio::select! {
                message = messages.recv() => {
                    last_heard = Instant::now();
                    match message {
                        Some(Ok(message)) => match socket.on_message(message, &mut actions).await {
                            Heard::Something => {}
                            Heard::Goodbye(close) => break close,
                        },
                        Some(Err(error)) => break Some(close_of(&error)),
                        None => break None,
                    }
                }
                Some(news) = inbox.recv() => {
                    let frames = Arc::clone(&room.borrow());
                    socket.on_news(news, &frames, &mut actions);
                    // Several answers of one commit leave in one write.
                    while let Ok(news) = inbox.try_recv() {
                        socket.on_news(news, &frames, &mut actions);
                    }
                }
                Ok(()) = room.changed() => {
                    let frames = Arc::clone(&room.borrow_and_update());
                    socket.session.on_frames(&frames, &mut actions);
                }
                _ = ping.tick() => {
                    if last_heard.elapsed() > IDLE_TIMEOUT {
                        break Some(close::IDLE);
                    }
                    if !matches!(timeout(SEND_TIMEOUT, socket.sender.ping(b"")).await, Ok(Ok(()))) {
                        break Some(close::SLOW);
                    }
                }
                () = next_second(&mut second) => {
                    let frames = Arc::clone(&room.borrow());
                    if let Some(numbers) = speed.read(&socket, frames.for_staff(), &seat) {
                        actions.push(Action::Send(encode(&ServerMessage::Admin(numbers))));
                    }
                }
                gone = was_revoked(&mut revoked, credential.as_deref()) => break Some(gone),
                Ok(()) = sent_away(&mut leaving, share) => break Some(close::CUT_OFF),
                Ok(()) = stopping(&mut draining), if drain_until.is_none() => {
                    drain_until = Some(Instant::now() + DRAIN_TIMEOUT);
                }
            }
        };
        if let Some(close) = goodbye {
            metrics::counter!(crate::metrics::WS_CLOSED, "code" => close.code.to_string()).increment(1);
            // A reader that does not read gets no goodbye; the connection ends all the same.
            let _sent = timeout(Duration::from_secs(1), socket.sender.close(Some(close.into()))).await;
        }
        drop(ticket);
    }
}

/// What a message of the client asks of the loop.
enum Heard {
    Something,
    Goodbye(Option<Close>),
}

impl Loop {
    async fn on_message(&mut self, message: AggregatedMessage, actions: &mut Vec<Action>) -> Heard {
        match message {
            AggregatedMessage::Text(text) => {
                let now_us = self.conductor.env().now_us();
                self.session.on_text(&text, self.started.elapsed(), now_us, actions);
                Heard::Something
            }
            AggregatedMessage::Binary(_) => Heard::Goodbye(Some(close::BINARY)),
            AggregatedMessage::Ping(_) | AggregatedMessage::Pong(_)
                if !self.session.on_control(self.started.elapsed(), actions) =>
            {
                Heard::Something
            }
            AggregatedMessage::Ping(payload) => match timeout(SEND_TIMEOUT, self.sender.pong(&payload)).await {
                Ok(Ok(())) => Heard::Something,
                _ => Heard::Goodbye(Some(close::SLOW)),
            },
            AggregatedMessage::Pong(_) => Heard::Something,
            AggregatedMessage::Close(_) => Heard::Goodbye(Some(close::NORMAL)),
        }
    }

    fn on_news(&mut self, news: News, frames: &Frames, actions: &mut Vec<Action>) {
        match news {
            News::Reply(reply) => self.session.on_reply(*reply, frames, actions),
            News::OwnNotes(viewer, notes) => self.session.on_own_notes(viewer, notes, frames, actions),
        }
    }

    /// Does what the session decided; says how to end if it comes to that.
    async fn carry_out(&mut self, actions: &mut Vec<Action>) -> Option<Close> {
        for action in actions.drain(..) {
            match action {
                Action::Send(text) => match timeout(SEND_TIMEOUT, self.sender.text(text.to_byte_string())).await {
                    Ok(Ok(())) => self.sent_total.increment(1),
                    // The socket is gone or does not read; both end it.
                    _ => return Some(close::SLOW),
                },
                Action::Submit(vote) => {
                    let news = self.news.clone();
                    // There is room for every pending reply; a loop that has ended needs none.
                    let on_reply = move |reply| drop(news.try_send(News::Reply(Box::new(reply))));
                    self.conductor.submit(&vote, on_reply);
                }
                Action::ReadOwnNotes(viewer) => {
                    let (news, conductor) = (self.news.clone(), self.conductor.clone());
                    let Some(live) = self.session.live() else { continue };
                    self.conductor.keep(Scope::Part, "own-notes", move || {
                        let (news, conductor) = (news.clone(), conductor.clone());
                        async move {
                            let is_there = || !news.is_closed();
                            if let Some(notes) = read_own_notes(&conductor, LiveId(live), viewer, is_there).await {
                                drop(news.send(News::OwnNotes(viewer, notes)).await);
                            }
                        }
                    });
                }
                Action::Close(close) => return Some(close),
            }
        }
        None
    }
}

/// A viewer's own notes, asked for again as long as the store cannot say and the socket is there: without them, a blind
/// jeu would stay masked for somebody who has voted. `None` when the socket has ended.
pub(super) async fn read_own_notes(
    conductor: &Conductor,
    live: LiveId,
    viewer: ViewerId,
    is_there: impl Fn() -> bool,
) -> Option<Vec<Mine>> {
    let mut wait = OWN_NOTES_RETRY;
    while is_there() {
        match conductor.own_notes(live, viewer).await {
            Ok(notes) => return Some(notes),
            Err(error) => tracing::debug!(%error, "cannot read a viewer's own notes; trying again"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(IDLE_TIMEOUT);
    }
    None
}

impl From<Close> for CloseReason {
    fn from(close: Close) -> Self {
        Self { code: CloseCode::from(close.code), description: Some(close.reason.to_owned()) }
    }
}

/// The close code for what actix-ws could not read.
pub(crate) fn close_of(error: &ProtocolError) -> Close {
    match error {
        ProtocolError::Overflow => close::TOO_BIG,
        ProtocolError::Io(error) if is_overflow(error) => close::TOO_BIG,
        ProtocolError::Io(error) if is_not_utf8(error) => close::NOT_UTF8,
        ProtocolError::Io(error) if error.to_string().contains("maximum continuation size") => close::TOO_BIG,
        _ => close::PROTOCOL_ERROR,
    }
}

/// Whether [`super::sizes`] refused a frame.
fn is_overflow(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<PayloadError>());
    matches!(inner, Some(PayloadError::Overflow))
}

/// Whether text of a message could not be read. Reserved bits, alone, are reported with the same kind of error.
fn is_not_utf8(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData && !error.to_string().contains("reserved bits")
}

/// Returns when the socket's credential was revoked; never for sockets without one.
async fn was_revoked(revoked: &mut Option<broadcast::Receiver<Arc<str>>>, credential: Option<&str>) -> Close {
    loop {
        let Some(revocations) = revoked else { return std::future::pending().await };
        match revocations.recv().await {
            Ok(id) if Some(&*id) == credential => return close::REVOKED,
            Ok(_) => {}
            // Missed some: a new connection shows whether the credential still opens one.
            Err(broadcast::error::RecvError::Lagged(_)) => return close::RESTART,
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// The next second of a socket that counts them; never for the others.
async fn next_second(second: &mut Option<Interval>) {
    match second {
        Some(second) => drop(second.tick().await),
        None => std::future::pending().await,
    }
}

/// Returns when this socket is one of those that go elsewhere.
async fn sent_away(leaving: &mut watch::Receiver<u32>, share: u32) -> Result<(), watch::error::RecvError> {
    leaving.wait_for(|shares| *shares > share).await.map(drop)
}

/// Returns when the pod stops.
async fn stopping(draining: &mut watch::Receiver<bool>) -> Result<(), watch::error::RecvError> {
    draining.wait_for(|draining| *draining).await.map(drop)
}

/// Votes a second, from one look to the next.
#[derive(Default)]
struct Speedometer {
    last: Option<(Instant, u64)>,
    shown: Option<AdminFrame>,
}

impl Speedometer {
    /// The numbers for admins; `None` while they are what was sent before.
    #[expect(clippy::cast_precision_loss, reason = "votes in a second stay far below 2^53")]
    fn read(&mut self, socket: &Loop, frames: &Frames, seat: &Seat) -> Option<AdminFrame> {
        let accepted = frames.view.as_ref().map_or(0, |view| view.accepted.load(std::sync::atomic::Ordering::Relaxed));
        let now = Instant::now();
        let (before, count) = self.last.replace((now, accepted)).unwrap_or((now, accepted));
        let new = accepted.saturating_sub(count);
        let elapsed = now.duration_since(before).as_secs_f64();
        let votes_per_s = if elapsed > 0.0 { (new as f64 / elapsed * 10.0).round() / 10.0 } else { 0.0 };
        let frame = AdminFrame {
            sockets: seat.sockets(),
            votes_per_s,
            pod: socket.conductor.pod(),
            lists: seat.lists(),
            newcomers: socket.session.newcomers(),
        };
        (self.shown.as_ref() != Some(&frame)).then(|| self.shown.insert(frame).clone())
    }
}
