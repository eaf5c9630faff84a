//! From a vote as it arrives to the engine, and from the engine's outcome to a reply. Sockets and HTTP share this.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Conductor, LiveView};
use crate::cluster::{Outcome, Submission};
use crate::domain::Invalid;
use crate::domain::decimal::Decimal;
use crate::domain::jeu::JeuId;
use crate::domain::live::{LiveId, LiveStatus};
use crate::domain::note::{Note, Version};
use crate::domain::rule::Rule;
use crate::domain::viewer::ViewerId;
use crate::protocol::{Held, MAX_VERSION_AHEAD_US, Reply, Status};
use crate::traces::{Joined, VoteTrace};

/// Largest version: the largest integer that scripts hold exactly.
const MAX_VERSION: Version = (1 << 53) - 1;

/// What somebody wants noted.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// Scores by critere as JSON.
    Json(Map<String, Value>),
    /// Scores by critere as text, from a form.
    Text(Vec<(String, String)>),
    /// No note any more.
    Withdrawn,
}

/// A vote as it comes from a socket or a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    /// The live it is meant for.
    pub live: Uuid,
    /// The jeu.
    pub jeu: u32,
    /// Who votes.
    pub viewer: ViewerId,
    /// Version, or `None` to let the server take its own clock (a client that keeps no state).
    pub v: Option<Version>,
    /// The note.
    pub wanted: Wanted,
    /// The trace of whoever votes, if they were sampled.
    pub trace: Option<Arc<Joined>>,
}

/// The meters of votes, looked up once.
pub(super) struct Meters {
    accepted: metrics::Counter,
    ack_seconds: metrics::Histogram,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            accepted: metrics::counter!("notes_accepted_total"),
            ack_seconds: metrics::histogram!("note_ack_seconds"),
        }
    }
}

/// Votes on their way to the items they are for.
#[derive(Default)]
struct Handful {
    /// A few at most: an audience votes on what is shown.
    groups: Vec<(Arc<LiveView>, JeuId, Vec<Submission>)>,
}

impl Handful {
    fn add(&mut self, view: Arc<LiveView>, jeu: JeuId, submission: Submission) {
        let is_for = |group: &&mut (Arc<LiveView>, JeuId, _)| Arc::ptr_eq(&group.0, &view) && group.1 == jeu;
        match self.groups.iter_mut().find(is_for) {
            Some((_, _, submissions)) => submissions.push(submission),
            None => self.groups.push((view, jeu, vec![submission])),
        }
    }

    fn hand_in(self) {
        for (view, jeu, submissions) in self.groups {
            if let Some(item) = view.item(jeu) {
                item.submit_all(submissions);
            }
        }
    }
}

impl Reply {
    /// A reply that says no more than its status.
    pub fn plain(live: Option<Uuid>, jeu: Option<u32>, v: Option<Version>, status: Status) -> Self {
        Self { live, jeu, v, status, held: None, retry_after_ms: None, problem: None, now_us: None }
    }
}

impl Conductor {
    /// Hands a vote in; `on_reply` hears what became of it, after it is durable, once and on any thread. It must not block.
    pub fn submit(&self, vote: &Vote, on_reply: impl FnOnce(Reply) + Send + 'static) {
        let mut handful = Handful::default();
        self.prepare(vote, on_reply, Instant::now(), &mut handful);
        handful.hand_in();
    }

    /// Hands votes in that came together since `since`, as [`Conductor::submit`] does each: whoever counts them is woken
    /// once for all.
    pub fn submit_all<R>(&self, votes: impl IntoIterator<Item = (Vote, R)>, since: Instant)
    where
        R: FnOnce(Reply) + Send + 'static,
    {
        let mut handful = Handful::default();
        for (vote, on_reply) in votes {
            self.prepare(&vote, on_reply, since, &mut handful);
        }
        handful.hand_in();
    }

    /// Answers a vote that is refused; puts any other into the handful.
    fn prepare(
        &self,
        vote: &Vote,
        on_reply: impl FnOnce(Reply) + Send + 'static,
        since: Instant,
        handful: &mut Handful,
    ) {
        let now_us = self.inner.env.now_us();
        let v = vote.v.unwrap_or(now_us);
        let (of_live, of_jeu) = (vote.live, vote.jeu);
        // Made when it is needed: what waits for the disk is kept small, since it waits by the thousand.
        let plain = move |status| Reply::plain(Some(of_live), Some(of_jeu), Some(v), status);
        let mut trace = vote.trace.as_ref().and_then(|joined| joined.vote(vote.live, vote.jeu));
        let refuse = |reply: Reply, trace: Option<Box<VoteTrace>>| {
            metrics::counter!("notes_refused_total", "reason" => reply.status.as_str()).increment(1);
            trace.map(|trace| trace.answered(reply.status));
            reply
        };
        let (view, payload) = match self.checked(vote, v) {
            Ok(checked) => checked,
            Err(problem) => {
                let problem = Some(Box::new(problem.into()));
                let reply = Reply { problem, now_us: Some(now_us), ..plain(Status::Invalid) };
                return on_reply(refuse(reply, trace));
            }
        };
        let jeu = JeuId(vote.jeu);
        if view.item(jeu).is_none() {
            return on_reply(refuse(plain(Status::NotOpen), trace));
        }
        if view.live.status == LiveStatus::Closed {
            return on_reply(refuse(plain(Status::Closed), trace));
        }
        let inner = Arc::clone(&self.inner);
        inner.pending.fetch_add(1, Ordering::Relaxed);
        let answered = Arc::clone(&view);
        if let Some(trace) = &mut trace {
            trace.handed_in();
        }
        let on_outcome = Box::new(move |outcome: Outcome| {
            inner.pending.fetch_sub(1, Ordering::Relaxed);
            let reply = reply_of(&answered, plain, outcome);
            if reply.status == Status::Ok {
                inner.meters.accepted.increment(1);
                inner.meters.ack_seconds.record(since.elapsed().as_secs_f64());
                answered.accepted.fetch_add(1, Ordering::Relaxed);
                if let Some(stored) = trace.and_then(|trace| trace.answered(Status::Ok)) {
                    answered.unshown.add(jeu.0, answered.revision(jeu), stored);
                }
                on_reply(reply);
            } else {
                on_reply(refuse(reply, trace));
            }
        });
        handful.add(view, jeu, Submission { viewer: vote.viewer, version: v, payload, on_outcome });
    }

    /// The live and the payload of a vote.
    fn checked(&self, vote: &Vote, v: Version) -> Result<(Arc<LiveView>, crate::store::Payload), Invalid> {
        let Some(view) = self.view(LiveId(vote.live)) else {
            return Err(Invalid::new(
                "live",
                Rule::WrongLive,
                "is not on air",
                "ask which live the channel shows and send to that",
            ));
        };
        if view.live.jeu(JeuId(vote.jeu)).is_none() {
            let known: Vec<_> = view.live.programme.iter().map(|jeu| jeu.jeu_id.to_string()).collect();
            let remedy = format!("send one of {}", known.join(", "));
            return Err(Invalid::new(
                "jeu",
                Rule::NotInProgramme,
                format!("{} is not in the programme", vote.jeu),
                remedy,
            ));
        }
        if v > MAX_VERSION {
            return Err(Invalid::new(
                "v",
                Rule::VersionAhead { max_s: MAX_VERSION_AHEAD_US / 1_000_000, next_v: self.inner.env.now_us() },
                "is too large",
                "send microseconds since 1970",
            ));
        }
        let bareme = view.ballot.bareme();
        let note = match &vote.wanted {
            Wanted::Json(scores) => Note::from_json(bareme, scores)?,
            Wanted::Withdrawn => Note::withdrawn(bareme),
            Wanted::Text(fields) => {
                let mut scores = Vec::with_capacity(fields.len());
                for (key, text) in fields.iter().filter(|(_, text)| !text.is_empty()) {
                    let score: Decimal = text.parse().map_err(|error| {
                        Invalid::new(key, Rule::NotANumber, format!("is {error}"), "send a score of the bareme")
                    })?;
                    scores.push((key.as_str(), score));
                }
                Note::new(bareme, scores)?
            }
        };
        Ok((Arc::clone(&view), note.encode()))
    }
}

fn reply_of(view: &LiveView, plain: impl Fn(Status) -> Reply, outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Ok => plain(Status::Ok),
        Outcome::Unknown => plain(Status::Unknown),
        Outcome::RetryAfter { ms } => Reply { retry_after_ms: Some(ms), ..plain(Status::RetryAfter) },
        Outcome::Closed => plain(Status::Closed),
        Outcome::NotOpen => plain(Status::NotOpen),
        Outcome::Stale { version, payload } => {
            let bareme = view.ballot.bareme();
            let scores = Note::decode(bareme, &payload).map(|note| note.to_json(bareme)).unwrap_or_default();
            Reply { held: Some(Box::new(Held { v: version, scores })), ..plain(Status::Stale) }
        }
        Outcome::TooFarAhead { now_us, next } => {
            let problem = Invalid::new(
                "v",
                Rule::VersionAhead { max_s: MAX_VERSION_AHEAD_US / 1_000_000, next_v: next },
                "lies more than a minute ahead of the server's clock",
                "use `next_v`",
            );
            Reply { problem: Some(Box::new(problem.into())), now_us: Some(now_us), ..plain(Status::Invalid) }
        }
    }
}
