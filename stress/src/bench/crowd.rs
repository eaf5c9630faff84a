//! Sockets that have joined: opened at a steady pace, each with the room's numbers before anything is measured.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::client::{Client, Heard, Opening};
use super::dialect::{Dialect, Said};
use super::subject::{Room, Served};
use crate::clock::local_now_us;
use crate::limits;
use crate::stats::Times;

/// Handshakes under way at once.
const UNDER_WAY: usize = 64;
/// Revisions of a room whose first arrival is remembered.
const REVISIONS: usize = 16;
/// Everybody has joined after this long, whatever the machine.
const JOINED_WITHIN: Duration = Duration::from_secs(120);

/// Nothing that was sent takes longer than this to arrive.
const PAUSE: Duration = Duration::from_millis(30);

/// Answers that have not come after this long do not come.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// When each revision of a room first arrived anywhere.
#[derive(Debug, Default)]
struct Arrivals {
    first: VecDeque<(u64, Instant)>,
}

impl Arrivals {
    /// How long after the first socket of its room this one has a revision.
    fn after_first(&mut self, rev: u64, now: Instant) -> Option<Duration> {
        match self.first.iter().rev().find(|(known, _)| *known == rev) {
            Some((_, first)) => Some(now.duration_since(*first)),
            None if self.first.back().is_none_or(|(last, _)| *last < rev) => {
                if self.first.len() == REVISIONS {
                    self.first.pop_front();
                }
                self.first.push_back((rev, now));
                Some(Duration::ZERO)
            }
            // Older than all that is remembered: nobody knows how late it is.
            None => None,
        }
    }
}

/// What was heard since the counters were last taken.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Frames with numbers.
    pub frames: u64,
    /// Votes that count.
    pub acks: u64,
    /// Votes that do not.
    pub refused: u64,
    /// Sockets that went away.
    pub gone: u64,
    /// From the first socket of a room that has a revision to each other.
    pub spread: Times,
    /// From a vote to its acknowledgement.
    pub ack_times: Times,
    /// From when a vote was due to when this tool sent it: its own share of the above, and about that of reading the answer.
    pub own_delays: Times,
}

/// Sockets of a running program.
pub(super) struct Crowd {
    /// The sockets.
    pub client: Client,
    /// What was heard.
    pub tally: Tally,
    dialect: Dialect,
    rooms: Vec<Room>,
    room_of: Vec<usize>,
    opened_at: Vec<Instant>,
    joined_after: Vec<Option<Duration>>,
    joined_count: usize,
    arrivals: Vec<Arrivals>,
    /// Votes of each socket that wait for their answer, by when they were due.
    pending: Vec<VecDeque<Instant>>,
    last_v: u64,
    /// The last score of each socket: another each time, or the numbers of a room do not change and nothing is sent.
    scores: Vec<u8>,
    vote: String,
    /// Whether each acknowledgement is followed by the next vote.
    pub keeps_voting: bool,
}

/// Greater than every version before, and about the time.
fn next_v(last: &mut u64) -> u64 {
    *last = (*last + 1).max(local_now_us());
    *last
}

/// Another than the last, from 1 to 5.
fn next_score(last: &mut u8) -> u8 {
    *last = *last % 5 + 1;
    *last
}

impl Crowd {
    /// Nobody yet.
    pub(super) fn new(served: &Served) -> Result<Self> {
        Ok(Self {
            client: Client::new(served.address)?,
            tally: Tally::default(),
            dialect: served.dialect,
            rooms: served.rooms.clone(),
            room_of: Vec::new(),
            opened_at: Vec::new(),
            joined_after: Vec::new(),
            joined_count: 0,
            arrivals: served.rooms.iter().map(|_| Arrivals::default()).collect(),
            pending: Vec::new(),
            last_v: 0,
            scores: Vec::new(),
            vote: String::new(),
            keeps_voting: false,
        })
    }

    /// Begins to open a socket in the next room.
    pub(super) fn open(&mut self, opening: Opening) -> Result<usize> {
        let room = self.room_of.len() % self.rooms.len();
        let number = self.client.open(&self.rooms[room].path, opening)?;
        self.room_of.push(room);
        self.opened_at.push(Instant::now());
        self.joined_after.push(None);
        self.pending.push(VecDeque::new());
        self.scores.push(0);
        Ok(number)
    }

    /// How many have joined so far, those that are gone included.
    pub(super) fn joined(&self) -> usize {
        self.joined_count
    }

    /// How long each socket took from connecting to the numbers of its room; `None` for those that have none yet.
    pub(super) fn joined_after(&self) -> &[Option<Duration>] {
        &self.joined_after
    }

    /// Whether a socket has joined.
    pub(super) fn has_joined(&self, number: usize) -> bool {
        self.joined_after.get(number).is_some_and(Option::is_some)
    }

    /// Opens sockets and returns when all of them have joined.
    pub(super) fn join(&mut self, count: usize) -> Result<()> {
        let addresses = sources(self.opened_at.len() + count)?;
        let (target, deadline) = (self.joined_count + count, Instant::now() + JOINED_WITHIN);
        let mut to_open = count;
        while self.joined_count < target {
            while to_open > 0 && self.opened_at.len() - self.joined_count < UNDER_WAY {
                let source = (!addresses.is_empty()).then(|| addresses[self.opened_at.len() % addresses.len()]);
                self.open(Opening { source, ..Opening::default() })?;
                to_open -= 1;
            }
            self.poll_awake(Duration::from_millis(20))?;
            if self.tally.gone > 0 {
                bail!("the server turned {} of {} sockets away", self.tally.gone, self.opened_at.len());
            }
            if Instant::now() > deadline {
                let (joined, seconds) = (self.joined_count, JOINED_WITHIN.as_secs());
                bail!("{joined} of {target} sockets have joined after {seconds} s");
            }
        }
        Ok(())
    }

    /// Votes on a socket; the answer is timed from `due`.
    pub(super) fn vote(&mut self, number: usize, due: Instant) -> Result<()> {
        let v = next_v(&mut self.last_v);
        let room = &self.rooms[self.room_of[number]];
        self.vote.clear();
        let score = next_score(&mut self.scores[number]);
        self.dialect.vote(&mut self.vote, &room.live, room.jeu, v, score);
        self.pending[number].push_back(due);
        self.client.send(number, &self.vote)
    }

    /// Waits at most so long, and counts what comes.
    pub(super) fn poll(&mut self, wait: Duration) -> Result<()> {
        let Self { client, tally, dialect, rooms, room_of, opened_at, joined_after, .. } = self;
        let (joined_count, arrivals, pending) = (&mut self.joined_count, &mut self.arrivals, &mut self.pending);
        let (last_v, scores) = (&mut self.last_v, &mut self.scores);
        let keeps_voting = self.keeps_voting;
        client.poll(wait, &mut |number, heard, out| {
            let Heard::Text(text) = heard else {
                tally.gone += 1;
                return Ok(());
            };
            match dialect.hear(text, out) {
                Said::Numbers(rev) => {
                    tally.frames += 1;
                    let now = Instant::now();
                    if joined_after[number].is_none() {
                        joined_after[number] = Some(now.duration_since(opened_at[number]));
                        *joined_count += 1;
                    } else if let Some(after) = arrivals[room_of[number]].after_first(rev, now) {
                        tally.spread.record(after);
                    }
                }
                said @ (Said::Ack | Said::Refused) => {
                    let now = Instant::now();
                    if let Some(due) = pending[number].pop_front() {
                        tally.ack_times.record(now.duration_since(due));
                    }
                    if said == Said::Ack {
                        tally.acks += 1;
                    } else {
                        tally.refused += 1;
                    }
                    if keeps_voting {
                        let (v, room) = (next_v(last_v), &rooms[room_of[number]]);
                        dialect.vote(out, &room.live, room.jeu, v, next_score(&mut scores[number]));
                        pending[number].push_back(now);
                    }
                }
                Said::State | Said::Other => {}
            }
            Ok(())
        })
    }

    /// As [`Crowd::poll`], without ever sleeping. Waking a sleeper costs the sender more than the message does, and how often
    /// it has to depends on which of the two happens to be faster: a figure with that in it says nothing about the server.
    fn poll_awake(&mut self, wait: Duration) -> Result<()> {
        let (until, before) = (Instant::now() + wait, self.client.events());
        loop {
            self.poll(Duration::ZERO)?;
            if self.client.events() > before || Instant::now() >= until {
                return Ok(());
            }
            // Not so often that the two meet at the lock of the sockets' list.
            for _ in 0..200 {
                std::hint::spin_loop();
            }
        }
    }

    /// Takes what was counted, and begins anew.
    pub(super) fn take(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// As [`Crowd::watch`], and then until nothing is on its way: CPU read before and after is that of whole ticks. An error
    /// when the frames never pause.
    pub(super) fn watch_whole(&mut self, length: Duration, vote_every: Option<Duration>) -> Result<()> {
        self.watch(length, vote_every)?;
        let patience = Instant::now() + ANSWERED_WITHIN;
        loop {
            let before = (self.tally.frames, self.tally.acks);
            self.watch(PAUSE, None)?;
            if (self.tally.frames, self.tally.acks) == before {
                return Ok(());
            }
            if Instant::now() > patience {
                bail!("frames never pause: the program is saturated");
            }
        }
    }

    /// Counts for so long, with a vote in each room every `vote_every`, which keeps the numbers changing.
    pub(super) fn watch(&mut self, length: Duration, vote_every: Option<Duration>) -> Result<()> {
        let end = Instant::now() + length;
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            let mut wait = end - now;
            if let Some(every) = vote_every {
                if now >= next {
                    // The first sockets are one in each room.
                    for voter in 0..self.rooms.len() {
                        self.vote(voter, now)?;
                    }
                    next += every;
                }
                wait = wait.min(next.saturating_duration_since(now));
            }
            self.poll_awake(wait)?;
        }
    }
}

impl Crowd {
    /// Votes on one socket after the other at a steady rate, whatever the server does, and waits for the answers. Each is
    /// timed from when it was due, so that a server that stands still cannot hide it.
    #[expect(clippy::cast_precision_loss, reason = "a count of votes")]
    pub(super) fn vote_steadily(&mut self, per_second: f64, length: Duration) -> Result<u64> {
        let (start, sockets) = (Instant::now(), self.opened_at.len());
        let due = |vote: u64| start + Duration::from_secs_f64(vote as f64 / per_second);
        let mut sent = 0;
        while due(sent) < start + length {
            let now = Instant::now();
            let mut burst = 0;
            // Answers are looked for now and then, however far behind this is.
            while due(sent) <= now && due(sent) < start + length && burst < 256 {
                self.vote(usize::try_from(sent)? % sockets, due(sent))?;
                self.tally.own_delays.record(now.duration_since(due(sent)));
                sent += 1;
                burst += 1;
            }
            self.poll(due(sent).saturating_duration_since(Instant::now()))?;
        }
        let patience = Instant::now() + ANSWERED_WITHIN;
        while self.pending.iter().any(|votes| !votes.is_empty()) && Instant::now() < patience {
            self.poll(Duration::from_millis(10))?;
        }
        Ok(sent)
    }
}

/// Source addresses for so many sockets; none when the system's choice will do.
fn sources(sockets: usize) -> Result<Vec<Ipv4Addr>> {
    let sockets = u32::try_from(sockets)?;
    let addresses = limits::source_addresses(Ipv4Addr::LOCALHOST.into(), sockets, limits::ports_per_address())?;
    Ok(addresses
        .into_iter()
        .filter_map(|address| if let std::net::IpAddr::V4(v4) = address { Some(v4) } else { None })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_timed_from_its_first_arrival_in_the_room() {
        let mut arrivals = Arrivals::default();
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(arrivals.after_first(7, at(0)), Some(Duration::ZERO));
        assert_eq!(arrivals.after_first(7, at(3)), Some(Duration::from_millis(3)));
        assert_eq!(arrivals.after_first(8, at(5)), Some(Duration::ZERO));
        assert_eq!(arrivals.after_first(7, at(9)), Some(Duration::from_millis(9)));
    }

    #[test]
    fn what_is_older_than_all_that_is_remembered_is_not_timed() {
        let mut arrivals = Arrivals::default();
        let now = Instant::now();
        for rev in 10..40 {
            arrivals.after_first(rev, now);
        }
        assert_eq!(arrivals.after_first(3, now), None);
        assert_eq!(arrivals.first.len(), REVISIONS);
    }

    #[test]
    fn a_score_is_never_the_one_before() {
        let mut last = 0;
        let scores: Vec<u8> = (0..7).map(|_| next_score(&mut last)).collect();
        assert_eq!(scores, [1, 2, 3, 4, 5, 1, 2]);
    }

    #[test]
    fn versions_only_grow() {
        let mut last = 0;
        let first = next_v(&mut last);
        assert!(next_v(&mut last) > first);
        last = u64::MAX - 5;
        assert_eq!(next_v(&mut last), u64::MAX - 4);
    }
}
