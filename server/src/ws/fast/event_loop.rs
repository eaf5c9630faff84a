//! One thread and its connections: waits for what the system and other threads have, and gives everybody a turn.
//!
//! **Invariants**
//! - A round is short: at most [`TURNS`] sockets of a room, pings or goodbyes and, while somebody votes, [`ADOPTIONS`]
//!   newcomers, then everything that came in meanwhile. Answers go first.
//! - There is no timer for a socket. Pings go round the table once in [`PING_INTERVAL`]; patience is counted for those
//!   who need it only.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use tokio::sync::broadcast::error::TryRecvError;

use super::connection::{Accepted, Connection, Mind, Newcomer, Participant, Phase};
use super::inbox::{Batch, Command, Inbox};
use super::meters::Meters;
use super::serving::{Fate, READ_BYTES, Serving};
use super::table::{Key, Table};
use crate::conductor::Conductor;
use crate::hub::SHARES;
use crate::protocol::close;
use crate::ws::handler::{Credential, DRAIN_TIMEOUT, IDLE_TIMEOUT, PING_INTERVAL, SEND_TIMEOUT};

/// Sockets that are sent to before the loop looks for what came in meanwhile, and lets other threads have the processor: a
/// tenth of a millisecond. With eight times as many, a vote waits three times as long while ten thousand are sent to.
const TURNS: usize = 32;

/// Newcomers that are taken in before it does, while somebody votes. The others wait their turn.
const ADOPTIONS: usize = 16;

/// The same while nobody does: a round costs something as well.
const ADOPTIONS_WITHOUT_VOTES: usize = 256;

/// Events taken from the system at once.
const EVENTS: usize = 512;

/// How often clocks are looked at.
const BEAT: Duration = Duration::from_millis(100);

/// What the bell's events carry. No key is equal to it: that would need 2³² sockets.
const BELL: u64 = u64::MAX;

/// Bytes that the system may hold for one socket (it reserves twice as much). A client that does not read costs no more;
/// without it, the system lets a connection grow to megabytes.
const SEND_BUFFER: usize = 16 * 1024;

/// Going round the table for goodbyes.
#[derive(Debug, Clone, Copy)]
struct Round {
    next: usize,
    /// Goodbye also to those who are owed something.
    is_last: bool,
}

pub(super) struct EventLoop {
    table: Table<Connection>,
    serving: Serving,
    /// Who came in and has not been taken in yet: those of a rush, who have their places already.
    newcomers: VecDeque<Box<Newcomer>>,
    /// Connections here, as others see it.
    load: Arc<AtomicUsize>,
    next_beat: Duration,
    /// Place up to which this round of pings has come, and when it began.
    pinged: usize,
    ping_round: Duration,
    goodbyes: Option<Round>,
    drain_until: Option<Duration>,
    stop_at: Option<Duration>,
}

impl EventLoop {
    /// A loop that takes the place of so many `earlier` ones that died.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(
        (worker, earlier): (usize, u32),
        inbox: Arc<Inbox>,
        conductor: Option<Conductor>,
        load: Arc<AtomicUsize>,
    ) -> std::io::Result<Self> {
        let epoll: OwnedFd = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, inbox.bell(), EventData::new_u64(BELL), EventFlags::IN)?;
        inbox.ring_again();
        Ok(Self {
            // Answers to sockets of the earlier loops may still be on their way, in the same inbox.
            table: Table::after(earlier),
            serving: Serving::new(epoll, inbox, conductor, Meters::new(worker)),
            newcomers: VecDeque::new(),
            load,
            next_beat: BEAT,
            pinged: 0,
            ping_round: Duration::ZERO,
            goodbyes: None,
            drain_until: None,
            stop_at: None,
        })
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// The system's, when it cannot be waited for events any more.
    pub(super) fn run(mut self) -> std::io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; READ_BYTES];
        let mut batch = Batch::default();
        loop {
            let timeout = self.timeout();
            if timeout == Some(Duration::ZERO) {
                // A vote passes through the threads that count and write it. Where they share this one's processor, each
                // would wait until the system takes it away, some milliseconds.
                std::thread::yield_now();
            }
            let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
            events.clear();
            match epoll::wait(&self.serving.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.serving.now = self.serving.started.elapsed();
            for event in &events {
                let (data, flags) = (event.data.u64(), event.flags);
                if data == BELL {
                    self.serving.inbox.hush();
                } else {
                    self.on_event(Key::from_u64(data), flags, &mut buffer);
                }
            }
            // Before the inbox is looked at: what is refused at once is answered in this round.
            self.serving.hand_in();
            self.serving.inbox.take(&mut batch);
            let letters = batch.len() + self.newcomers.len();
            self.on_batch(&mut batch);
            self.take_in();
            self.walk();
            self.say_goodbyes();
            self.beat();
            self.send_touched();
            // Of those who were not heard while they did not read.
            self.serving.hand_in();
            self.serving.meters.publish(self.table.len(), letters);
            let is_empty = self.table.len() == 0 && self.newcomers.is_empty();
            if self.stop_at.is_some_and(|at| is_empty || self.serving.now >= at) {
                return Ok(());
            }
        }
    }

    /// How long there is nothing to do; `None`: until something happens.
    fn timeout(&self) -> Option<Duration> {
        let has_turns = self.serving.rooms.are_walking() || !self.newcomers.is_empty();
        if has_turns || self.goodbyes.is_some() || self.pings_are_due() {
            return Some(Duration::ZERO);
        }
        let is_idle = self.table.len() == 0 && self.stop_at.is_none() && self.drain_until.is_none();
        (!is_idle).then(|| self.next_beat.saturating_sub(self.serving.started.elapsed()))
    }

    /// Does something for a connection that is still there.
    fn with(&mut self, key: Key, act: impl FnOnce(&mut Serving, &mut Connection) -> Fate) {
        if let Some(connection) = self.table.get_mut(key)
            && act(&mut self.serving, connection) == Fate::Goes
        {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(connection) = self.table.remove(key) else { return };
        self.load.fetch_sub(1, Ordering::Relaxed);
        if let Some(room) = connection.room {
            self.serving.rooms.leave(room);
            self.tidy(room);
        }
        // Closing the file descriptor takes it out of the epoll set.
        drop(connection);
    }

    fn tidy(&mut self, room: Key) {
        let table = &self.table;
        self.serving.rooms.tidy(|member, room| is_member(table, member, room), room);
    }

    fn on_event(&mut self, key: Key, flags: EventFlags, buffer: &mut [u8]) {
        self.with(key, |serving, connection| {
            if flags.intersects(EventFlags::ERR | EventFlags::HUP) && !flags.contains(EventFlags::IN) {
                return Fate::Goes;
            }
            if flags.contains(EventFlags::OUT) && serving.pump(key, connection) == Fate::Goes {
                return Fate::Goes;
            }
            if flags.contains(EventFlags::IN) { serving.on_readable(key, connection, buffer) } else { Fate::Stays }
        });
    }

    // What other threads ask ------------------------------------------------------------------------------------------

    fn on_batch(&mut self, batch: &mut Batch) {
        for (key, reply) in batch.replies.drain(..) {
            if let Some(connection) = self.table.get_mut(key) {
                self.serving.on_reply(key, connection, reply);
            }
        }
        // Before anything else: whoever voted is owed this.
        self.send_touched();
        for command in batch.commands.drain(..) {
            self.on_command(command);
        }
        batch.shrink();
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Adopt(newcomer) => self.newcomers.push_back(newcomer),
            Command::OwnNotes(key, viewer, notes) => {
                if let Some(connection) = self.table.get_mut(key) {
                    self.serving.on_own_notes(key, connection, viewer, notes);
                }
            }
            Command::Room(room) => self.serving.rooms.has_news(room),
            Command::Revoked(id) => self.close_where(close::REVOKED, |credential| credential == &*id),
            // Missed some: a new connection shows whether the credential still opens one.
            Command::RevocationsMissed => self.close_where(close::RESTART, |_| true),
            Command::SendAway(shares) => self.send_away(shares),
            Command::Drain => {
                self.serving.is_draining = true;
                self.drain_until = Some(self.serving.now + DRAIN_TIMEOUT);
                self.goodbyes = Some(Round { next: 0, is_last: false });
            }
            Command::Stop(grace) => self.stop_at = Some(self.serving.now + grace),
        }
    }

    /// Sends what a batch brought, each socket's in one write.
    fn send_touched(&mut self) {
        let mut touched = std::mem::take(&mut self.serving.touched);
        for key in touched.drain(..) {
            self.with(key, |serving, connection| {
                connection.is_touched = false;
                serving.pump(key, connection)
            });
        }
        touched.shrink_to(EVENTS);
        self.serving.touched = touched;
    }

    /// Takes some newcomers in. A revocation that went by while they waited is found with them.
    fn take_in(&mut self) {
        let most = if self.serving.hears_votes() { ADOPTIONS } else { ADOPTIONS_WITHOUT_VOTES };
        for _ in 0..most {
            let Some(newcomer) = self.newcomers.pop_front() else { break };
            self.adopt(*newcomer);
        }
        self.newcomers.shrink_to(EVENTS);
    }

    fn adopt(&mut self, newcomer: Newcomer) {
        let Newcomer { socket, answer, mut early, accepted, descriptor } = newcomer;
        if matches!(accepted, Accepted::Member(_))
            && let Err(error) = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)
        {
            tracing::debug!(%error, "a socket keeps the system's buffer");
        }
        let second = self.serving.second();
        let (mind, welcome) = match accepted {
            Accepted::Echo => (Mind::Echo, None),
            Accepted::Member(member) => {
                let super::connection::Member { session, seat, ticket, credential, welcome } = *member;
                let (held, revoked) = credential.map(|Credential { held, revoked }| (held, revoked)).unzip();
                let participant = Participant::new(session, seat, ticket, held.map(Box::new));
                (Mind::Participant(participant), Some((welcome, revoked)))
            }
        };
        let Some(key) = self.table.insert(Connection::new(socket, descriptor, mind, second)) else { return };
        let Some(connection) = self.table.get_mut(key) else { return };
        let data = EventData::new_u64(key.to_u64());
        if let Err(error) = epoll::add(&self.serving.epoll, &connection.socket, data, EventFlags::IN) {
            tracing::warn!(%error, "a socket cannot be served");
            return self.remove(key);
        }
        self.with(key, |serving, connection| {
            let (welcome, revoked) = welcome.unzip();
            serving.greet(key, connection, answer, welcome);
            match revoked.flatten().and_then(|revoked| was_revoked(revoked, connection.credential())) {
                Some(goodbye) => serving.say_goodbye(key, connection, goodbye),
                None => serving.drain(key, connection),
            }
            if !early.is_empty() {
                serving.hear(key, connection, &mut early);
            }
            serving.pump(key, connection)
        });
    }

    fn close_where(&mut self, goodbye: crate::protocol::Close, matches: impl Fn(&str) -> bool) {
        for index in 0..u32::try_from(self.table.places()).unwrap_or(u32::MAX) {
            let Some(key) = self.table.key_at(index) else { continue };
            self.with(key, |serving, connection| {
                if connection.credential().is_some_and(&matches) {
                    serving.say_goodbye(key, connection, goodbye);
                    serving.touch(key, connection);
                }
                Fate::Stays
            });
        }
    }

    fn send_away(&mut self, shares: u32) {
        for index in 0..u32::try_from(self.table.places()).unwrap_or(u32::MAX) {
            let Some(key) = self.table.key_at(index).filter(|_| index % SHARES < shares) else { continue };
            self.with(key, |serving, connection| {
                serving.say_goodbye(key, connection, close::CUT_OFF);
                serving.touch(key, connection);
                Fate::Stays
            });
        }
    }

    // What is due -----------------------------------------------------------------------------------------------------

    /// Gives some of those whose room has news their turn.
    fn walk(&mut self) {
        let mut shown = None;
        for _ in 0..TURNS {
            let table = &self.table;
            let next = self.serving.rooms.next(|member, room| is_member(table, member, room));
            let Some((key, room)) = next else { return };
            let frames = match &shown {
                Some((known, frames)) if *known == room => Arc::clone(frames),
                _ => match self.serving.rooms.frames(room) {
                    Some(frames) => Arc::clone(frames),
                    None => continue,
                },
            };
            self.with(key, |serving, connection| serving.show(key, connection, &frames));
            shown = Some((room, frames));
        }
        self.serving.rooms.rotate();
    }

    fn say_goodbyes(&mut self) {
        let Some(round) = &mut self.goodbyes else { return };
        let (first, is_last) = (round.next, round.is_last);
        round.next += TURNS;
        if round.next >= self.table.places() {
            self.goodbyes = None;
        }
        for index in first..first + TURNS {
            let Some(key) = u32::try_from(index).ok().and_then(|index| self.table.key_at(index)) else { continue };
            let Some(connection) = self.table.get_mut(key) else { continue };
            if is_last && connection.phase == Phase::Open {
                self.serving.say_goodbye(key, connection, close::RESTART);
                self.serving.touch(key, connection);
            } else {
                self.serving.drain(key, connection);
            }
        }
    }

    fn pings_are_due(&self) -> bool {
        self.pinged < self.ping_target()
    }

    /// Up to which place pings should have gone: round the table once in an interval.
    fn ping_target(&self) -> usize {
        let elapsed = self.serving.now.saturating_sub(self.ping_round).min(PING_INTERVAL);
        let places = u128::try_from(self.table.places()).unwrap_or(0);
        let target = places * elapsed.as_millis() / PING_INTERVAL.as_millis();
        usize::try_from(target).unwrap_or(usize::MAX)
    }

    fn beat(&mut self) {
        if self.serving.now >= self.next_beat {
            self.next_beat = self.serving.now + BEAT;
            self.serving.forget_votes();
            self.give_up_the_slow();
            self.part_with_those_who_stay();
            if self.drain_until.is_some_and(|until| self.serving.now >= until) {
                self.drain_until = None;
                self.goodbyes = Some(Round { next: 0, is_last: true });
            }
        }
        let target = self.ping_target();
        let last = target.min(self.pinged + TURNS);
        for index in self.pinged..last {
            if let Some(key) = u32::try_from(index).ok().and_then(|index| self.table.key_at(index)) {
                self.ping(key);
            }
        }
        self.pinged = self.pinged.max(last);
        if self.pinged >= self.table.places() && self.serving.now.saturating_sub(self.ping_round) >= PING_INTERVAL {
            (self.pinged, self.ping_round) = (0, self.serving.now);
        }
    }

    fn ping(&mut self, key: Key) {
        self.with(key, |serving, connection| {
            if connection.phase != Phase::Open {
                return Fate::Stays;
            }
            let silence = serving.second().saturating_sub(connection.heard_s);
            if u64::from(silence) > IDLE_TIMEOUT.as_secs() {
                serving.say_goodbye(key, connection, close::IDLE);
                serving.pump(key, connection)
            } else {
                serving.ping(key, connection)
            }
        });
    }

    fn give_up_the_slow(&mut self) {
        let mut waiting = std::mem::take(&mut self.serving.waiting);
        waiting.retain(|key| {
            let Some(connection) = self.table.get_mut(*key) else { return false };
            let Some(output) = &connection.output else {
                connection.is_listed = false;
                return false;
            };
            if self.serving.now.saturating_sub(output.since) <= SEND_TIMEOUT {
                return true;
            }
            self.serving.give_up(connection);
            self.remove(*key);
            false
        });
        waiting.append(&mut self.serving.waiting);
        self.serving.waiting = waiting;
    }

    /// Ends connections whose client had its time for a goodbye.
    fn part_with_those_who_stay(&mut self) {
        while let Some((until, key)) = self.serving.leaving.front().copied()
            && self.serving.now >= until
        {
            self.serving.leaving.pop_front();
            self.remove(key);
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.load.fetch_sub(self.table.len() + self.newcomers.len(), Ordering::Relaxed);
        self.serving.meters.publish(0, 0);
    }
}

fn is_member(table: &Table<Connection>, member: Key, room: Key) -> bool {
    table.get(member).is_some_and(|connection| connection.room == Some(room))
}

/// Whether a credential was revoked before its socket was here.
fn was_revoked(
    mut revoked: tokio::sync::broadcast::Receiver<Arc<str>>,
    credential: Option<&str>,
) -> Option<crate::protocol::Close> {
    loop {
        match revoked.try_recv() {
            Ok(id) if Some(&*id) == credential => return Some(close::REVOKED),
            Ok(_) => {}
            Err(TryRecvError::Lagged(_)) => return Some(close::RESTART),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
        }
    }
}
