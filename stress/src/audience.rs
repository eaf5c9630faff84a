//! One worker's viewers: what they want, what they send, what they make of what they hear. No socket is in here; bytes
//! go in and out, and time is a parameter.
//!
//! A viewer follows `docs/protocol.md`: one wanted note for each jeu, kept with its version until a final answer. For each
//! jeu one message is on its way and one timer runs, which any answer for that jeu cancels: the note is sent again after a
//! reconnect, after a pause that doubles and is at least `retry_after_ms`, and after five to seven seconds of silence.

mod frames;
#[cfg(test)]
mod tests;
mod viewer;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use bareme::protocol::{Mine, Reply, Status, Welcome};
use rand::RngExt as _;
use rand_pcg::Pcg64;
use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Clock;
use crate::oracle::ledger::{Fate, Ledger};
use crate::oracle::recount::Row;
use crate::oracle::{Complaints, Wrong};
use crate::shape::{Encoder, Shape, Steps, WITHDRAWN};
use crate::stats::{Counters, Distributions, Second};
use crate::wire::{self, Heard, WireError};
use frames::Cache;
pub use frames::Seen;
use viewer::{Flight, Viewer, Waiting, Wanted};

/// How long an answer may take before the same is sent again.
const SILENCE: Duration = Duration::from_secs(5);

/// The first pause before a note is sent again, and the longest. Half of each is left to chance.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What an audience needs to know of the live.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The live.
    pub live: Uuid,
    /// Its scale.
    pub shape: Shape,
}

/// The viewers of one worker.
pub struct Audience {
    clock: Clock,
    live: Uuid,
    shape: Shape,
    encoder: Encoder,
    random: Pcg64,
    viewers: Vec<Viewer>,
    /// Number of the first viewer, and the distance of two.
    numbering: (u32, u32),
    cache: Cache,
    /// Timers by viewer and jeu: those of messages on their way, in order, and the others. One that is not the jeu's
    /// [`Turn`] any more was cancelled.
    silences: VecDeque<(Instant, usize, u32)>,
    retries: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    dirty: Vec<usize>,
    text: String,
    second: Second,
    finished: Vec<Second>,
    open: u64,
    joined: u64,
    wanted: u64,
    /// Every note, and what was heard of it.
    pub ledger: Ledger,
    /// What broke the protocol.
    pub complaints: Complaints,
    /// Counts of the whole run.
    pub counters: Counters,
    /// Distributions of the whole run.
    pub distributions: Distributions,
}

#[derive(Deserialize)]
struct Tagged<'a> {
    t: &'a str,
}

/// The type of a message, which is mostly at its start.
fn kind_of(text: &str) -> &str {
    if let Some(rest) = text.strip_prefix("{\"t\":\"")
        && let Some(end) = rest.find('"')
    {
        return &rest[..end];
    }
    serde_json::from_str::<Tagged<'_>>(text).map_or("", |tagged| tagged.t)
}

impl Audience {
    /// `count` viewers, numbered from `numbering.0` in steps of `numbering.1`.
    pub fn new(clock: Clock, subject: &Subject, count: usize, numbering: (u32, u32), random: Pcg64) -> Self {
        Self {
            clock,
            live: subject.live,
            shape: subject.shape.clone(),
            encoder: Encoder::new(subject.live, &subject.shape),
            random,
            viewers: (0..count).map(|_| Viewer::default()).collect(),
            numbering,
            cache: Cache::default(),
            silences: VecDeque::new(),
            retries: BinaryHeap::new(),
            dirty: Vec::new(),
            text: String::new(),
            second: Second::default(),
            finished: Vec::new(),
            open: 0,
            joined: 0,
            wanted: 0,
            ledger: Ledger::default(),
            complaints: Complaints::default(),
            counters: Counters::default(),
            distributions: Distributions::default(),
        }
    }

    /// A viewer's number in the run.
    pub fn number(&self, index: usize) -> u32 {
        self.numbering.0 + u32::try_from(index).unwrap_or(u32::MAX) * self.numbering.1
    }

    /// Viewers that have an open socket, that had the live on it once, and notes without a final answer.
    pub fn gauges(&self) -> (u64, u64, u64) {
        (self.open, self.joined, self.wanted)
    }

    /// Acknowledged notes that were not seen in a frame yet.
    pub fn unseen(&self) -> usize {
        self.viewers.iter().map(|viewer| viewer.waiting.len()).sum()
    }

    /// Random bytes, for keys and masks.
    pub fn random<T>(&mut self) -> T
    where
        rand::distr::StandardUniform: rand::distr::Distribution<T>,
    {
        self.random.random()
    }

    fn count(&mut self, change: impl Fn(&mut Counters)) {
        change(&mut self.counters);
        change(&mut self.second.counters);
    }

    fn turn_second(&mut self, now: Instant) {
        let second = self.clock.second(now);
        if second != self.second.second {
            self.second.open = self.open;
            let next = Second { second, ..Second::default() };
            self.finished.push(std::mem::replace(&mut self.second, next));
        }
    }

    /// The seconds that are over.
    pub fn take_seconds(&mut self, now: Instant) -> Vec<Second> {
        self.turn_second(now);
        std::mem::take(&mut self.finished)
    }

    /// The bytes that have to leave on a viewer's socket; what does not leave must be put back.
    pub fn outgoing(&mut self, index: usize) -> &mut Vec<u8> {
        &mut self.viewers[index].out
    }

    /// Viewers with bytes to send since this was asked last.
    pub fn take_dirty(&mut self, into: &mut Vec<usize>) {
        into.append(&mut self.dirty);
    }

    /// So many bytes left.
    pub fn on_written(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.count(|counters| counters.bytes_out += bytes);
    }

    fn put_text(&mut self, index: usize) {
        let mask = self.random();
        let viewer = &mut self.viewers[index];
        if viewer.out.is_empty() {
            self.dirty.push(index);
        }
        wire::put_text(&mut viewer.out, &self.text, mask);
    }

    /// Somebody wants a note. `due` is when the plan had it.
    pub fn tap(&mut self, index: usize, jeu: u32, steps: Steps, due: Instant, now: Instant) {
        self.turn_second(now);
        self.count(|counters| counters.wanted += 1);
        self.distributions.lag.record(now.saturating_duration_since(due));
        let v = self.clock.version(now);
        let note = self.ledger.want(self.number(index), jeu, v, steps);
        let wanted = Wanted { jeu, note, v, steps, due };
        let viewer = &mut self.viewers[index];
        match viewer.wanted.iter_mut().find(|wanted| wanted.jeu == jeu) {
            // The newer tap takes the older one's place, answered or not.
            Some(place) => *place = wanted,
            None => {
                viewer.wanted.push(wanted);
                self.wanted += 1;
            }
        }
        if self.viewers[index].ready {
            self.send_if_wanted(index, jeu, now);
        }
    }

    fn send(&mut self, index: usize, wanted: Wanted, now: Instant) {
        let now_us = self.clock.server_us(now);
        let again = self.ledger.notes[wanted.note].sent_us != 0;
        self.ledger.sent(wanted.note, now_us);
        self.text.clear();
        self.encoder.message(&mut self.text, wanted.jeu, wanted.v, &wanted.steps);
        self.put_text(index);
        self.viewers[index].flights.push(Flight { wanted, sent_us: now_us, shown_early: false });
        let at = now + SILENCE;
        self.silences.push_back((at, index, wanted.jeu));
        self.viewers[index].turn(wanted.jeu).timer = Some(at);
        self.count(|counters| {
            counters.sent += 1;
            counters.resent += u64::from(again);
        });
    }

    /// When something has to be sent again.
    pub fn next_timer(&self) -> Option<Instant> {
        let silence = self.silences.front().map(|&(at, ..)| at);
        let retry = self.retries.peek().map(|Reverse((at, ..))| *at);
        silence.into_iter().chain(retry).min()
    }

    /// Sends again what is due.
    pub fn on_timers(&mut self, now: Instant) {
        while let Some(&(at, index, jeu)) = self.silences.front().filter(|(at, ..)| *at <= now) {
            self.silences.pop_front();
            if self.viewers[index].turn(jeu).timer == Some(at) {
                let chance: f64 = self.random();
                self.send_later(index, jeu, now + (SILENCE / 2).mul_f64(chance));
            }
        }
        while let Some(&Reverse((at, index, jeu))) = self.retries.peek().filter(|Reverse((at, ..))| *at <= now) {
            self.retries.pop();
            if self.viewers[index].turn(jeu).timer == Some(at) {
                self.viewers[index].turn(jeu).timer = None;
                self.send_if_wanted(index, jeu, now);
            }
        }
    }

    fn send_later(&mut self, index: usize, jeu: u32, at: Instant) {
        self.viewers[index].turn(jeu).timer = Some(at);
        self.retries.push(Reverse((at, index, jeu)));
    }

    /// Sends what is wanted on a jeu, unless a message for it waits for its answer or for its turn.
    fn send_if_wanted(&mut self, index: usize, jeu: u32, now: Instant) {
        let viewer = &mut self.viewers[index];
        let wanted = viewer.wanted.iter().find(|wanted| wanted.jeu == jeu).copied();
        if let Some(wanted) = wanted.filter(|_| viewer.ready && viewer.turn(jeu).timer.is_none()) {
            self.send(index, wanted, now);
        }
    }

    /// An answer for a jeu came, to whichever of its messages; `again` is what it asked to wait for.
    fn take_turn(&mut self, index: usize, jeu: u32, again: Option<Duration>, now: Instant) {
        let turn = self.viewers[index].turn(jeu);
        turn.timer = None;
        let Some(asked) = again else {
            turn.refusals = 0;
            return self.send_if_wanted(index, jeu, now);
        };
        let most = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(turn.refusals.min(16)));
        turn.refusals += 1;
        let chance: f64 = self.random();
        self.send_later(index, jeu, now + asked.max((most / 2).mul_f64(1.0 + chance)));
    }

    /// A socket opened; `since` is when it was due, or when the one before was lost.
    pub fn on_open(&mut self, index: usize, since: Instant, now: Instant) {
        self.turn_second(now);
        let viewer = &mut self.viewers[index];
        let again = viewer.joined;
        viewer.opened_since = Some(since);
        self.open += 1;
        self.count(|counters| {
            counters.connects += 1;
            counters.reconnects += u64::from(again);
        });
    }

    /// Whether a viewer waits for an answer.
    pub fn has_wanted(&self, index: usize) -> bool {
        !self.viewers[index].wanted.is_empty()
    }

    /// Whether a viewer's socket showed the live.
    pub fn is_ready(&self, index: usize) -> bool {
        self.viewers[index].ready
    }

    /// A socket ended. Notes under way on it will not be answered there.
    pub fn on_closed(&mut self, index: usize) {
        let viewer = &mut self.viewers[index];
        for flight in viewer.flights.drain(..) {
            self.ledger.cut(flight.wanted.note);
        }
        viewer.end();
        self.open = self.open.saturating_sub(1);
    }

    /// A connection failed, or ended without having been asked to.
    pub fn on_error(&mut self, kind: String, now: Instant) {
        self.turn_second(now);
        self.count(move |counters| counters.error(kind.clone()));
    }

    /// A phone falls asleep.
    pub fn on_nap(&mut self) {
        self.count(|counters| counters.naps += 1);
    }

    /// A socket's goodbye is to be sent.
    pub fn say_goodbye(&mut self, index: usize) {
        let mask = self.random();
        wire::put_close(&mut self.viewers[index].out, mask);
        self.dirty.push(index);
    }

    /// Somebody leaves for good.
    pub fn on_leave(&mut self, index: usize) {
        self.say_goodbye(index);
        self.count(|counters| counters.left += 1);
    }

    /// Bytes came. Returns the close code when the server said goodbye.
    ///
    /// # Errors
    /// [`WireError`] when they are no frames.
    pub fn on_bytes(&mut self, index: usize, bytes: &[u8], now: Instant) -> Result<Option<u16>, WireError> {
        self.turn_second(now);
        let length = u64::try_from(bytes.len()).unwrap_or(0);
        self.count(|counters| counters.bytes_in += length);
        let mut goodbye = None;
        let mut reader = std::mem::take(&mut self.viewers[index].reader);
        let outcome = reader.feed(bytes, |heard| match heard {
            Heard::Text(text) => self.on_text(index, text, now),
            Heard::Ping(payload) => {
                let mask = self.random();
                let viewer = &mut self.viewers[index];
                wire::put_pong(&mut viewer.out, payload, mask);
                self.dirty.push(index);
            }
            Heard::Close(code) => goodbye = Some(code),
        });
        self.viewers[index].reader = reader;
        outcome.map(|()| goodbye)
    }

    fn on_text(&mut self, index: usize, text: &str, now: Instant) {
        let known = match kind_of(text) {
            "tally" | "state" => return self.on_frame(index, text, now),
            "reply" => serde_json::from_str::<Reply>(text).map(|reply| self.on_reply(index, &reply, now)),
            "mine" => serde_json::from_str::<Mine>(text).map(|mine| self.on_mine(index, &mine)),
            "welcome" => serde_json::from_str::<Welcome>(text).map(|welcome| self.on_welcome(index, welcome)),
            // A client ignores what it does not know.
            _ => return,
        };
        if let Err(error) = known {
            self.complaints.add(Wrong::Protocol, || format!("{error}: {text}"));
        }
    }

    fn on_welcome(&mut self, index: usize, welcome: Welcome) {
        match &self.viewers[index].token {
            None => self.viewers[index].token = welcome.viewer,
            Some(token) => {
                self.text = format!(r#"{{"t":"hello","viewer":{}}}"#, serde_json::Value::String(token.clone()));
                self.put_text(index);
            }
        }
    }

    /// The live is on the viewer's socket: from here on notes are taken.
    fn on_ready(&mut self, index: usize, now: Instant) {
        let viewer = &mut self.viewers[index];
        viewer.ready = true;
        let again = std::mem::replace(&mut viewer.joined, true);
        if let Some(since) = viewer.opened_since.take() {
            let took = now.saturating_duration_since(since);
            let times = if again { &mut self.distributions.reconnect } else { &mut self.distributions.connect };
            times.record(took);
        }
        self.joined += u64::from(!again);
        for wanted in self.viewers[index].wanted.clone() {
            self.send_if_wanted(index, wanted.jeu, now);
        }
    }

    fn on_reply(&mut self, index: usize, reply: &Reply, now: Instant) {
        let viewer = &mut self.viewers[index];
        let place = viewer.flights.iter().position(|flight| Some(flight.wanted.v) == reply.v);
        let Some(place) = place else {
            let number = self.number(index);
            self.complaints.add(Wrong::Protocol, || format!("viewer {number} got an answer to nothing: {reply:?}"));
            return;
        };
        let flight = viewer.flights.swap_remove(place);
        let now_us = self.clock.server_us(now);
        let already = self.ledger.notes[flight.wanted.note].fate == Fate::Acked;
        self.ledger.answered(flight.wanted.note, reply.status, now_us);
        if reply.status == Status::Ok {
            // Of a note that was sent twice, the first answer is the one that a viewer waited for.
            if !already {
                self.on_ack(index, flight, now);
            }
            return self.take_turn(index, flight.wanted.jeu, None, now);
        }
        let name = match &reply.problem {
            Some(problem) => format!("{}: {}", reply.status.as_str(), problem.field),
            None => reply.status.as_str().to_owned(),
        };
        self.count(|counters| *counters.refusals.entry(name.clone()).or_default() += 1);
        let again = (!reply.status.is_final()).then(|| Duration::from_millis(reply.retry_after_ms.unwrap_or(0)));
        if again.is_none() {
            self.settle(index, flight.wanted.note);
        }
        self.take_turn(index, flight.wanted.jeu, again, now);
    }

    fn on_ack(&mut self, index: usize, flight: Flight, now: Instant) {
        self.settle(index, flight.wanted.note);
        let took = now.saturating_duration_since(flight.wanted.due);
        self.distributions.ack.record(took);
        self.second.ack.record(took);
        self.count(|counters| counters.acked += 1);
        let Flight { wanted: Wanted { jeu, due, .. }, sent_us, shown_early } = flight;
        let dropped = self.viewers[index].wait(Waiting { jeu, due, sent_us, answered: now, shown_early });
        self.count(|counters| counters.not_shown += dropped);
    }

    /// A note has its final answer.
    fn settle(&mut self, index: usize, note: usize) {
        let wanted = &mut self.viewers[index].wanted;
        if let Some(place) = wanted.iter().position(|wanted| wanted.note == note) {
            wanted.swap_remove(place);
            self.wanted = self.wanted.saturating_sub(1);
        }
    }

    fn on_mine(&mut self, index: usize, mine: &Mine) {
        if mine.live != self.live {
            return;
        }
        let number = self.number(index);
        let Some(steps) = self.shape.read(&mine.scores) else {
            self.complaints.add(Wrong::Changed, || format!("viewer {number} was shown a note of no scale: {mine:?}"));
            return;
        };
        self.viewers[index].show_mine(mine.jeu, mine.v, steps);
        // One that equals what is wanted is no promise: that is the answer to what is sent again after a reconnect.
        let older =
            self.viewers[index].wanted.iter().find(|wanted| wanted.jeu == mine.jeu && wanted.v < mine.v).copied();
        if let Some(wanted) = older {
            self.settle(index, wanted.note);
        }
    }

    /// What the server says counts of each viewer, as of each one's last connection.
    pub fn own_notes(&self) -> Vec<Row> {
        let row = |number: u32, &(jeu, v, steps): &(u32, u64, Steps)| {
            let viewer = format!("viewer {number}");
            (steps != WITHDRAWN).then_some(Row { viewer, jeu, v, steps: Some(steps) })
        };
        let rows = |(index, viewer): (usize, &Viewer)| {
            let number = self.number(index);
            viewer.mine.iter().filter_map(move |mine| row(number, mine)).collect::<Vec<_>>()
        };
        self.viewers.iter().enumerate().flat_map(rows).collect()
    }

    /// Notes whose `ok` came and whose viewer was not shown any note on that jeu since [`Audience::forget_own_notes`].
    pub fn unaudited(&self) -> usize {
        let mut last: HashMap<(u32, u32), (u64, bool)> = HashMap::new();
        for note in self.ledger.notes.iter().filter(|note| note.fate == Fate::Acked) {
            let newest = last.entry((note.viewer, note.jeu)).or_default();
            *newest = (*newest).max((note.v, note.steps != WITHDRAWN));
        }
        let shown = |viewer: u32, jeu: u32| {
            let index = usize::try_from((viewer - self.numbering.0) / self.numbering.1).unwrap_or(usize::MAX);
            self.viewers.get(index).is_some_and(|viewer| viewer.mine.iter().any(|&(known, ..)| known == jeu))
        };
        last.iter().filter(|&(&(viewer, jeu), &(_, counts))| counts && !shown(viewer, jeu)).count()
    }

    /// Forgets what viewers were shown of their own notes, so that only what comes from now on is told.
    pub fn forget_own_notes(&mut self) {
        self.viewers.iter_mut().for_each(|viewer| viewer.mine.clear());
    }

    /// Ends the counting: what was not seen by now, and how many frames each socket had.
    pub fn finish(&mut self, now: Instant) -> (Vec<Seen>, Vec<Second>) {
        let mut unseen = 0;
        for index in 0..self.viewers.len() {
            let frames = self.viewers[index].frames;
            self.distributions.frames_per_socket.record_value(frames);
            for waiting in std::mem::take(&mut self.viewers[index].waiting) {
                match waiting.without_frame() {
                    Some(took) => self.distributions.visible.record(took),
                    None => unseen += 1,
                }
            }
        }
        self.count(|counters| counters.not_shown += unseen);
        self.turn_second(now + Duration::from_secs(1));
        (self.cache.take_seen(), std::mem::take(&mut self.finished))
    }
}
