//! What is done for one connection: its bytes heard, its session's decisions carried out, its answers sent.
//!
//! **Invariants**
//! - Nothing here waits. What the system does not take now is kept in order and sent when there is room.
//! - Whoever does not read is not heard: answers of at most [`ENOUGH`] bytes wait before its own messages do.
//! - What one read or one batch brings leaves in one write.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::connection::{
    Connection, Interest, Mind, Output, PING_FRAME, Phase, Written, close_frame, echo_binary, echo_close, echo_text,
    pong_frame,
};
use super::frame::{Flow, Heard, Violation};
use super::inbox::{Command, Inbox};
use super::meters::Meters;
use super::rooms::Rooms;
use super::table::Key;
use crate::conductor::{Conductor, Vote};
use crate::domain::live::LiveId;
use crate::domain::viewer::ViewerId;
use crate::hub::frames::Frames;
use crate::protocol::text::Text;
use crate::protocol::{Close, Mine, Reply, close};
use crate::supervise::Scope;
use crate::ws::handler::read_own_notes;
use crate::ws::session::Action;

/// Bytes read at once. What a client may have in our hands beyond the system's buffers is no more than this.
pub(super) const READ_BYTES: usize = 16 * 1024;

/// Answers that may wait before what else a client says does.
const ENOUGH: usize = 16 * 1024;

/// How long the client has for its side of a goodbye.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Room for votes that is kept between rounds. One round brings no more than one read of each of its sockets has.
const VOTES_KEPT: usize = 1024;

/// Outputs kept for those who answer next.
const SPARE_OUTPUTS: usize = 1024;

/// Whether a connection stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    Goes,
}

/// Everything a loop has beside its connections.
pub(super) struct Serving {
    pub(super) epoll: OwnedFd,
    pub(super) inbox: Arc<Inbox>,
    /// The lives behind the rooms; an echo has none.
    pub(super) conductor: Option<Conductor>,
    pub(super) rooms: Rooms,
    pub(super) meters: Meters,
    pub(super) started: Instant,
    /// Time since `started`, looked up once a round.
    pub(super) now: Duration,
    /// Whether the server is stopping: whoever is owed nothing is told to come back.
    pub(super) is_draining: bool,
    pub(super) actions: Vec<Action>,
    /// Votes of this round.
    votes: Vec<(Key, Vote)>,
    /// Whether there was one since the last beat.
    has_voted: bool,
    /// Who has something to send at the end of this batch.
    pub(super) touched: Vec<Key>,
    /// Whose output waits.
    pub(super) waiting: Vec<Key>,
    /// Who has until when to leave.
    pub(super) leaving: std::collections::VecDeque<(Duration, Key)>,
    #[expect(clippy::vec_box, reason = "the boxes themselves are used again")]
    spare: Vec<Box<Output>>,
}

impl Serving {
    pub(super) fn new(epoll: OwnedFd, inbox: Arc<Inbox>, conductor: Option<Conductor>, meters: Meters) -> Self {
        Self {
            epoll,
            inbox,
            conductor,
            rooms: Rooms::default(),
            meters,
            started: Instant::now(),
            now: Duration::ZERO,
            is_draining: false,
            actions: Vec::new(),
            votes: Vec::new(),
            has_voted: false,
            touched: Vec::new(),
            waiting: Vec::new(),
            leaving: std::collections::VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// The second of the loop's clock.
    pub(super) fn second(&self) -> u32 {
        u32::try_from(self.now.as_secs()).unwrap_or(u32::MAX)
    }

    fn output<'a>(&mut self, connection: &'a mut Connection) -> &'a mut Output {
        let now = self.now;
        connection.output.get_or_insert_with(|| {
            let mut output = self.spare.pop().unwrap_or_default();
            output.since = now;
            output
        })
    }

    /// The first bytes of a connection: the answer to its upgrade, and what the room shows, in one write.
    pub(super) fn greet(&mut self, key: Key, connection: &mut Connection, answer: bytes::Bytes, welcome: Option<Text>) {
        self.output(connection).push(answer);
        let (Some(Mind::Participant(participant)), Some(conductor)) = (&connection.mind, &self.conductor) else {
            return;
        };
        connection.room = self.rooms.enter(&participant.seat, key, conductor, &self.inbox);
        let frames = connection.room.and_then(|room| self.rooms.frames(room)).cloned();
        self.actions.extend(welcome.map(Action::Send));
        if let (Some(frames), Some(session)) = (frames, connection.session()) {
            session.begin(&frames, &mut self.actions);
        }
        self.carry_out(key, connection);
    }

    // What comes in ---------------------------------------------------------------------------------------------------

    /// Reads once.
    pub(super) fn on_readable(&mut self, key: Key, connection: &mut Connection, buffer: &mut [u8]) -> Fate {
        let count = match recv(&connection.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Fate::Goes,
            Ok((_, count)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Fate::Stays,
            Err(_) => return Fate::Goes,
        };
        connection.heard_s = self.second();
        if let Some(bytes) = buffer.get_mut(..count) {
            self.hear(key, connection, bytes);
        }
        self.pump(key, connection)
    }

    /// Hears what was read; what has to wait is kept.
    pub(super) fn hear(&mut self, key: Key, connection: &mut Connection, bytes: &mut [u8]) {
        let Some(limits) = connection.mind.as_ref().map(Mind::limits) else {
            // Only its close frame is awaited, or its end.
            return self.hear_goodbye(connection, bytes);
        };
        let mut reader = std::mem::take(&mut connection.reader);
        let outcome = reader.read(bytes, limits, |heard| self.on_heard(key, connection, &heard));
        match outcome {
            Ok(read) => {
                connection.reader = reader;
                if read < bytes.len() && connection.phase == Phase::Open {
                    connection.input = Some(bytes[read..].into());
                }
            }
            Err(violation) => match connection.phase {
                // Nothing it says can be understood any more, its goodbye included, which may be what was wrong.
                Phase::Open => {
                    let close = close_of(violation);
                    self.leave(key, connection, close, close_frame(close), true);
                }
                _ => self.peer_has_closed(connection),
            },
        }
    }

    fn hear_goodbye(&mut self, connection: &mut Connection, bytes: &mut [u8]) {
        if connection.phase != Phase::Waiting {
            return;
        }
        let mut reader = std::mem::take(&mut connection.reader);
        let limits = Mind::Echo.limits();
        let mut has_closed = false;
        let outcome = reader.read(bytes, limits, |heard| {
            has_closed |= matches!(heard, Heard::Close(_));
            Flow::On
        });
        connection.reader = reader;
        if has_closed || outcome.is_err() {
            self.peer_has_closed(connection);
        }
    }

    /// The client will say nothing more that counts.
    fn peer_has_closed(&mut self, connection: &mut Connection) {
        match &mut connection.phase {
            Phase::Leaving { peer_closed } => *peer_closed = true,
            Phase::Waiting => self.shut(connection),
            Phase::Open | Phase::Shut => {}
        }
    }

    /// Ends our half: the client reads to the end of what was sent and then ends its own.
    fn shut(&mut self, connection: &mut Connection) {
        connection.phase = Phase::Shut;
        // Whatever is wrong with it shows in the next event.
        let _seen_later = shutdown(&connection.socket, Shutdown::Write);
    }

    fn on_heard(&mut self, key: Key, connection: &mut Connection, heard: &Heard<'_>) -> Flow {
        if connection.phase != Phase::Open {
            if matches!(heard, Heard::Close(_)) {
                self.peer_has_closed(connection);
            }
            return Flow::On;
        }
        match heard {
            Heard::Text(text) => match &mut connection.mind {
                Some(Mind::Participant(participant)) => {
                    let now_us = self.conductor.as_ref().map_or(0, |conductor| conductor.env().now_us());
                    participant.session.on_text(text, self.now, now_us, &mut self.actions);
                    self.carry_out(key, connection);
                }
                _ => self.output(connection).push(echo_text(text)),
            },
            Heard::Binary(bytes) => self.output(connection).push(echo_binary(bytes)),
            Heard::Ping(payload) => {
                if self.hears_control(key, connection) {
                    self.output(connection).push(pong_frame(payload));
                }
            }
            Heard::Pong => {
                self.hears_control(key, connection);
            }
            Heard::Close(code) => {
                let answer = match &connection.mind {
                    Some(Mind::Echo) => echo_close(*code),
                    _ => close_frame(close::NORMAL),
                };
                self.leave(key, connection, close::NORMAL, answer, true);
            }
        }
        // After a goodbye the rest is read to its end, where the client's own may be.
        let waits = connection.output.as_ref().map_or(0, |output| output.bytes());
        if connection.phase != Phase::Open || waits < ENOUGH { Flow::On } else { Flow::Pause }
    }

    /// Whether a ping or pong is one of those that a client may send.
    fn hears_control(&mut self, key: Key, connection: &mut Connection) -> bool {
        let Some(session) = connection.session() else { return true };
        let is_heard = session.on_control(self.now, &mut self.actions);
        if !self.actions.is_empty() {
            self.carry_out(key, connection);
        }
        is_heard
    }

    // What goes out ---------------------------------------------------------------------------------------------------

    /// Does what the session decided. The answers leave with the next [`Serving::pump`].
    pub(super) fn carry_out(&mut self, key: Key, connection: &mut Connection) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send(text) => {
                    self.meters.sent += 1;
                    self.output(connection).push(text.into_frame());
                }
                Action::Submit(vote) => {
                    self.votes.push((key, vote));
                }
                Action::ReadOwnNotes(viewer) => self.read_own_notes(key, connection, viewer),
                Action::Close(close) => {
                    self.say_goodbye(key, connection, close);
                    break;
                }
            }
        }
        actions.clear();
        self.actions = actions;
    }

    /// Hands in the votes that this round brought.
    pub(super) fn hand_in(&mut self) {
        if self.votes.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.has_voted, true) {
            self.inbox.hears_votes.store(true, Ordering::Relaxed);
        }
        if let Some(conductor) = &self.conductor {
            let inbox = &self.inbox;
            let votes = self.votes.drain(..).map(|(key, vote)| {
                let inbox = Arc::clone(inbox);
                (vote, move |reply| inbox.reply(key, reply))
            });
            conductor.submit_all(votes, self.started + self.now);
        }
        self.votes.clear();
        self.votes.shrink_to(VOTES_KEPT);
    }

    /// Whether somebody has voted in the last moments.
    pub(super) fn hears_votes(&self) -> bool {
        self.inbox.hears_votes.load(Ordering::Relaxed)
    }

    /// Once a beat: whether somebody votes is known to those who answer handshakes.
    pub(super) fn forget_votes(&mut self) {
        if !std::mem::take(&mut self.has_voted) {
            self.inbox.hears_votes.store(false, Ordering::Relaxed);
        }
    }

    fn read_own_notes(&mut self, key: Key, connection: &mut Connection, viewer: ViewerId) {
        let Some(live) = connection.session().and_then(|session| session.live()) else { return };
        let Some(conductor) = &self.conductor else { return };
        let reading = Arc::downgrade(connection.reading.get_or_insert_with(Arc::default));
        let (inbox, asked) = (Arc::clone(&self.inbox), conductor.clone());
        conductor.keep(Scope::Part, "own-notes", move || {
            let (reading, inbox, asked) = (Weak::clone(&reading), Arc::clone(&inbox), asked.clone());
            async move {
                let is_there = || reading.strong_count() > 0;
                if let Some(notes) = read_own_notes(&asked, LiveId(live), viewer, is_there).await {
                    inbox.send(Command::OwnNotes(key, viewer, notes));
                }
            }
        });
    }

    /// A viewer's own notes have been read.
    pub(super) fn on_own_notes(&mut self, key: Key, connection: &mut Connection, viewer: ViewerId, notes: Vec<Mine>) {
        connection.reading = None;
        let Some(frames) = connection.room.and_then(|room| self.rooms.frames(room)).cloned() else { return };
        if let Some(session) = connection.session() {
            session.on_own_notes(viewer, notes, &frames, &mut self.actions);
            self.carry_out(key, connection);
        }
        self.touch(key, connection);
    }

    /// The engine has answered.
    pub(super) fn on_reply(&mut self, key: Key, connection: &mut Connection, reply: Reply) {
        let Some(frames) = connection.room.and_then(|room| self.rooms.frames(room)).cloned() else { return };
        if let Some(session) = connection.session() {
            session.on_reply(reply, &frames, &mut self.actions);
            self.carry_out(key, connection);
            self.drain(key, connection);
        }
        self.touch(key, connection);
    }

    /// Says goodbye to somebody who is owed nothing, when the server is stopping.
    pub(super) fn drain(&mut self, key: Key, connection: &mut Connection) {
        if self.is_draining
            && let Some(session) = connection.session()
            && session.pending() == 0
        {
            self.say_goodbye(key, connection, close::RESTART);
            self.touch(key, connection);
        }
    }

    /// What it has to be sent leaves at the end of this batch.
    pub(super) fn touch(&mut self, key: Key, connection: &mut Connection) {
        if !connection.is_touched {
            connection.is_touched = true;
            self.touched.push(key);
        }
    }

    /// The room has new frames: what of them this client does not have is sent at once, if it reads.
    pub(super) fn show(&mut self, key: Key, connection: &mut Connection, frames: &Frames) -> Fate {
        if connection.output.is_some() {
            // Later, and then the newest.
            connection.is_dirty = true;
            return Fate::Stays;
        }
        let Some(session) = connection.session() else { return Fate::Stays };
        session.on_frames(frames, &mut self.actions);
        // One message of bytes that everybody shares: the common case by far.
        if let [Action::Send(text)] = &self.actions[..] {
            self.meters.sent += 1;
            let frame = text.frame();
            match send(&connection.socket, frame, SendFlags::NOSIGNAL) {
                Ok(count) if count == frame.len() => {
                    self.actions.clear();
                    return Fate::Stays;
                }
                Ok(count) => {
                    let frame = frame.clone();
                    self.output(connection).push_rest(frame, count);
                    self.actions.clear();
                }
                Err(Errno::AGAIN | Errno::INTR) => {
                    let frame = frame.clone();
                    self.output(connection).push(frame);
                    self.actions.clear();
                }
                Err(_) => {
                    self.actions.clear();
                    return Fate::Goes;
                }
            }
            return self.pump(key, connection);
        }
        if self.actions.is_empty() {
            return Fate::Stays;
        }
        self.carry_out(key, connection);
        self.pump(key, connection)
    }

    /// Asks whether somebody is still there.
    pub(super) fn ping(&mut self, key: Key, connection: &mut Connection) -> Fate {
        if connection.output.is_some() {
            return Fate::Stays;
        }
        self.output(connection).push(bytes::Bytes::from_static(&PING_FRAME));
        self.pump(key, connection)
    }

    /// Sends what waits; then, if the client reads, goes on with what had to wait for that.
    pub(super) fn pump(&mut self, key: Key, connection: &mut Connection) -> Fate {
        loop {
            if let Some(output) = &mut connection.output {
                match output.write(&connection.socket, self.now) {
                    Written::All => {
                        if let Some(output) = connection.output.take()
                            && self.spare.len() < SPARE_OUTPUTS
                            && output.is_small()
                        {
                            self.spare.push(output);
                        }
                    }
                    Written::Some => {
                        self.meters.blocked += 1;
                        if !connection.is_listed {
                            connection.is_listed = true;
                            self.waiting.push(key);
                        }
                        return self.listen(key, connection, Interest::Write);
                    }
                    Written::Gone => return Fate::Goes,
                }
            }
            if let Phase::Leaving { peer_closed } = connection.phase {
                // Nothing is sent after a close frame: the place is free.
                (connection.mind, connection.input, connection.reading) = (None, None, None);
                connection.phase = Phase::Waiting;
                if peer_closed {
                    self.shut(connection);
                }
            }
            if connection.phase == Phase::Open {
                if std::mem::take(&mut connection.is_dirty)
                    && let Some(frames) = connection.room.and_then(|room| self.rooms.frames(room)).cloned()
                    && let Some(session) = connection.session()
                {
                    session.on_frames(&frames, &mut self.actions);
                    self.carry_out(key, connection);
                }
                if connection.output.is_none()
                    && let Some(mut input) = connection.input.take()
                {
                    self.hear(key, connection, &mut input);
                }
            }
            if connection.output.is_none() && connection.input.is_none() {
                return self.listen(key, connection, Interest::Read);
            }
        }
    }

    fn listen(&mut self, key: Key, connection: &mut Connection, interest: Interest) -> Fate {
        if connection.interest == interest {
            return Fate::Stays;
        }
        connection.interest = interest;
        let flags = match interest {
            Interest::Read => epoll::EventFlags::IN,
            Interest::Write => epoll::EventFlags::OUT,
        };
        match epoll::modify(&self.epoll, &connection.socket, epoll::EventData::new_u64(key.to_u64()), flags) {
            Ok(()) => Fate::Stays,
            Err(error) => {
                tracing::debug!(%error, "a socket cannot be listened to");
                Fate::Goes
            }
        }
    }

    // How it ends -----------------------------------------------------------------------------------------------------

    /// Says goodbye; the close frame leaves with the next [`Serving::pump`].
    pub(super) fn say_goodbye(&mut self, key: Key, connection: &mut Connection, close: Close) {
        self.leave(key, connection, close, close_frame(close), false);
    }

    fn leave(&mut self, key: Key, connection: &mut Connection, close: Close, answer: bytes::Bytes, peer_closed: bool) {
        if connection.phase != Phase::Open {
            return;
        }
        metrics::counter!(crate::metrics::WS_CLOSED, "code" => close.code.to_string()).increment(1);
        self.output(connection).push(answer);
        connection.phase = Phase::Leaving { peer_closed };
        connection.input = None;
        self.leaving.push_back((self.now + LEAVE_TIMEOUT, key));
        if let Some(room) = connection.room.take() {
            self.rooms.leave(room);
        }
    }

    /// Gives up somebody who does not read: what waits for it in the system is thrown away.
    pub(super) fn give_up(&mut self, connection: &Connection) {
        if connection.phase == Phase::Open {
            metrics::counter!(crate::metrics::WS_CLOSED, "code" => close::SLOW.code.to_string()).increment(1);
        }
        self.meters.given_up += 1;
        // If it cannot be set, the system's own limit for unread bytes ends the connection.
        let _otherwise_later = rustix::net::sockopt::set_socket_linger(&connection.socket, Some(Duration::ZERO));
    }
}

fn close_of(violation: Violation) -> Close {
    match violation {
        Violation::Protocol => close::PROTOCOL_ERROR,
        Violation::Binary => close::BINARY,
        Violation::NotUtf8 => close::NOT_UTF8,
        Violation::TooBig => close::TOO_BIG,
    }
}
