//! Decisions of one socket: what to answer, what to send of a room's frames, when to give up.
//!
//! **Invariants**
//! - Nothing is sent twice: the session remembers which form of which revision the client has.
//! - A viewer's reply comes from the engine or from a refusal here; each `note` gets exactly one.
//! - Whoever did not vote on a blind jeu gets its public form only.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::message::parse;
use crate::auth::limits::ClientKey;
use crate::auth::newcomers::Newcomers;
use crate::conductor::{Vote, Wanted};
use crate::domain::Invalid;
use crate::domain::rule::Rule;
use crate::domain::viewer::{ViewerId, ViewerSecret};
use crate::hub::frames::{Audience, Encoded, Frames, JeuFrames, encode};
use crate::protocol::text::Text;
use crate::protocol::{
    ClientMessage, Close, MAX_CLIENT_MESSAGE_BYTES, Masked, Mine, Reply, ServerMessage, Status, TallyFrame, close,
};
use crate::traces::Joined;

/// Votes of one socket waiting for their answer.
const MAX_PENDING_REPLIES: usize = 64;

/// Refused messages after which a socket is closed.
const MAX_EXCESS: u32 = 500;
/// Refused messages that one in order makes up for: a client may be eleven times as fast as it should for ever.
const FORGIVEN: u32 = 10;

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A viewer, who may vote.
    Viewer(ViewerId),
    /// An overlay.
    Overlay,
    /// The admin page, or a tool with a token.
    Admin,
}

/// How many messages a socket may send: a token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Messages a second in the long run.
    pub per_second: f64,
    /// Messages at once.
    pub burst: f64,
}

impl Default for Rate {
    /// A person taps a few times a second.
    fn default() -> Self {
        Self { per_second: 10.0, burst: 40.0 }
    }
}

/// What the socket has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this text.
    Send(Text),
    /// Hand this vote in; its reply comes back through [`Session::on_reply`].
    Submit(Vote),
    /// Read the viewer's own notes; they, or the failure, come back through [`Session::on_own_notes`].
    ReadOwnNotes(ViewerId),
    /// Say goodbye.
    Close(Close),
}

/// What all sockets of a server have in common.
#[derive(Debug)]
pub struct Terms {
    /// Knows viewer tokens.
    pub secret: ViewerSecret,
    /// How much a socket may say.
    pub rate: Rate,
    /// How many viewers an address may bring.
    pub newcomers: Arc<Newcomers>,
}

/// What a socket and its viewer have to do with one jeu.
#[derive(Debug, Clone, Copy)]
struct Known {
    jeu: u32,
    voted: bool,
    /// Which form of which revision the client has.
    sent: bool,
    masked: Option<Masked>,
    rev: u64,
}

/// One socket. There are tens of thousands of them, most of them idle: what many share is shared, what is empty takes no
/// memory of its own.
pub struct Session {
    terms: Arc<Terms>,
    channel: Arc<str>,
    role: Role,
    /// What its client is limited by; `None` for a client that is exempt.
    client: Option<ClientKey>,
    /// The viewer has been let in to vote.
    is_admitted: bool,
    live: Option<uuid::Uuid>,
    tokens: f64,
    /// When that was, in microseconds of the clock.
    refilled_us: u64,
    excess: u32,
    pending: usize,
    has_voted: bool,
    reading: bool,
    read_again: bool,
    /// The viewer was made for this socket: there are no notes to read.
    is_new: bool,
    sent_state: Option<u64>,
    jeux: Vec<Known>,
    withdrawing: Vec<(u32, u64)>,
    trace: Option<Arc<Joined>>,
}

impl Session {
    /// A session at time `now` of any steady clock.
    pub fn new(role: Role, channel: &str, secret: ViewerSecret, rate: Rate, now: Duration) -> Self {
        let newcomers = Arc::new(Newcomers::new(u32::MAX));
        Self::on(Arc::new(Terms { secret, rate, newcomers }), channel.into(), role, false, now)
    }

    /// A session on terms that others share. `is_new` says that the viewer was made just now, for this socket.
    pub fn on(terms: Arc<Terms>, channel: Arc<str>, role: Role, is_new: bool, now: Duration) -> Self {
        let tokens = terms.rate.burst;
        Self {
            terms,
            channel,
            role,
            client: None,
            is_admitted: false,
            live: None,
            tokens,
            refilled_us: micros(now),
            excess: 0,
            pending: 0,
            has_voted: false,
            reading: false,
            read_again: false,
            is_new,
            sent_state: None,
            jeux: Vec::new(),
            withdrawing: Vec::new(),
            trace: None,
        }
    }

    /// The first messages after `welcome`: what the room shows, and the viewer's own notes if there can be any.
    pub fn begin(&mut self, frames: &Frames, actions: &mut Vec<Action>) {
        self.on_frames(frames, actions);
        if !self.is_new {
            self.read_own_notes(actions);
        }
    }

    /// The trace that the votes of this socket belong to.
    #[must_use]
    pub fn traced(mut self, trace: Option<Arc<Joined>>) -> Self {
        self.trace = trace;
        self
    }

    /// Limits the first votes of this socket's viewers by their client.
    #[must_use]
    pub fn limited_as(mut self, client: Option<ClientKey>) -> Self {
        self.client = client;
        self
    }

    /// How many viewers voted in this channel for the first time lately; `None` when nobody did.
    pub fn newcomers(&self) -> Option<crate::protocol::Newcomers> {
        self.terms.newcomers.numbers(&self.channel)
    }

    /// Who is at the other end.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The live the client was last shown.
    pub fn live(&self) -> Option<uuid::Uuid> {
        self.live
    }

    /// Votes handed in and not answered.
    pub fn pending(&self) -> usize {
        self.pending
    }

    fn audience(&self, jeu: u32) -> Audience {
        match self.role {
            Role::Admin => Audience::Admin,
            Role::Overlay => Audience::Public,
            Role::Viewer(_) if self.jeux.iter().any(|known| known.jeu == jeu && known.voted) => Audience::Voter,
            Role::Viewer(_) => Audience::Public,
        }
    }

    /// What the client does not have yet of a room's frames.
    pub fn on_frames(&mut self, frames: &Frames, actions: &mut Vec<Action>) {
        let frames = match self.role {
            Role::Viewer(_) => frames,
            Role::Overlay | Role::Admin => frames.for_staff(),
        };
        if frames.gone {
            actions.push(Action::Close(close::GONE));
            return;
        }
        let live = frames.state.value.live.as_ref().map(|live| live.live_id);
        if live != self.live {
            // Another live: what was voted belongs to the one before.
            let first = self.live.is_none() && self.sent_state.is_none();
            self.live = live;
            self.jeux.clear();
            if !first {
                self.read_own_notes(actions);
            }
        }
        if self.sent_state != Some(frames.state.value.rev) {
            self.sent_state = Some(frames.state.value.rev);
            actions.push(Action::Send(frames.state.text.clone()));
        }
        for jeu in &frames.jeux {
            self.send_jeu(jeu, actions);
        }
    }

    /// Asks for the viewer's own notes in the live that is shown: one reading at a time, however often it is asked.
    pub fn read_own_notes(&mut self, actions: &mut Vec<Action>) {
        let (Role::Viewer(viewer), true) = (&self.role, self.live.is_some()) else { return };
        if self.reading {
            self.read_again = true;
        } else {
            self.reading = true;
            actions.push(Action::ReadOwnNotes(*viewer));
        }
    }

    /// What is known of a jeu, from now on if nothing was.
    fn known(&mut self, jeu: u32) -> &mut Known {
        let index = self.jeux.iter().position(|known| known.jeu == jeu).unwrap_or_else(|| {
            // Jeux come one by one in the course of an evening: room for exactly those there are.
            self.jeux.reserve_exact(1);
            self.jeux.push(Known { jeu, voted: false, sent: false, masked: None, rev: 0 });
            self.jeux.len() - 1
        });
        &mut self.jeux[index]
    }

    fn send_jeu(&mut self, jeu: &JeuFrames, actions: &mut Vec<Action>) {
        let Encoded { value, text } = jeu.for_audience(self.audience(jeu.jeu));
        let TallyFrame { rev, masked, .. } = **value;
        let known = self.known(jeu.jeu);
        if !known.sent || (known.rev, known.masked) != (rev, masked) {
            (known.sent, known.rev, known.masked) = (true, rev, masked);
            actions.push(Action::Send(text.clone()));
        }
    }

    /// A text message of the client, at time `now`.
    pub fn on_text(&mut self, text: &str, now: Duration, now_us: u64, actions: &mut Vec<Action>) {
        if text.len() > MAX_CLIENT_MESSAGE_BYTES {
            actions.push(Action::Close(close::TOO_BIG));
            return;
        }
        if !self.take_token(now) {
            self.excess += 1;
            if self.excess > MAX_EXCESS {
                actions.push(Action::Close(close::FLOOD));
                return;
            }
            let reply = match parse(text) {
                Ok(ClientMessage::Note { live, jeu, v, .. } | ClientMessage::Withdraw { live, jeu, v }) => {
                    Reply::plain(Some(live), Some(jeu), Some(v), Status::TooFast)
                }
                _ => Reply::plain(None, None, None, Status::TooFast),
            };
            actions.push(too_fast(reply, self.pause()));
            return;
        }
        match parse(text) {
            Ok(message) => self.on_message(message, now_us, actions),
            Err(invalid) => actions.push(refuse(Reply::plain(None, None, None, Status::Invalid), invalid, now_us)),
        }
    }

    /// How long until the socket may say something again.
    fn pause(&self) -> Duration {
        Duration::from_secs_f64((1.0 / self.terms.rate.per_second.max(0.001)).clamp(0.05, 10.0))
    }

    /// A ping or pong of the client, at time `now`. It counts as a message does; `false`: there were too many, and a ping has
    /// no answer.
    pub fn on_control(&mut self, now: Duration, actions: &mut Vec<Action>) -> bool {
        if self.take_token(now) {
            return true;
        }
        self.excess += 1;
        if self.excess > MAX_EXCESS {
            actions.push(Action::Close(close::FLOOD));
        }
        false
    }

    fn take_token(&mut self, now: Duration) -> bool {
        let now_us = micros(now);
        let elapsed = Duration::from_micros(now_us.saturating_sub(self.refilled_us));
        self.refilled_us = now_us;
        let Rate { per_second, burst } = self.terms.rate;
        self.tokens = (self.tokens + elapsed.as_secs_f64() * per_second).min(burst);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
            self.excess = self.excess.saturating_sub(FORGIVEN);
        }
        allowed
    }

    fn on_message(&mut self, message: ClientMessage, now_us: u64, actions: &mut Vec<Action>) {
        match message {
            ClientMessage::Ping { id } => actions.push(Action::Send(encode(&ServerMessage::Pong { id, now_us }))),
            ClientMessage::Hello { viewer } => self.on_hello(&viewer, now_us, actions),
            ClientMessage::Note { live, jeu, v, scores } => {
                self.on_vote(live, jeu, v, Wanted::Json(scores), now_us, actions);
            }
            ClientMessage::Withdraw { live, jeu, v } => {
                self.on_vote(live, jeu, v, Wanted::Withdrawn, now_us, actions);
            }
        }
    }

    fn on_hello(&mut self, token: &str, now_us: u64, actions: &mut Vec<Action>) {
        let refused = |field: &str, rule: Rule, reason: &str, remedy: &str| {
            refuse(Reply::plain(None, None, None, Status::Invalid), Invalid::new(field, rule, reason, remedy), now_us)
        };
        let refusal = match (&self.role, self.terms.secret.verify(token)) {
            (Role::Overlay | Role::Admin, _) => {
                refused("t", Rule::ViewersOnly, "only viewers say hello", "open a viewer's socket")
            }
            (Role::Viewer(_), _) if self.has_voted => refused(
                "t",
                Rule::HelloTooLate,
                "hello comes before the first note",
                "say hello first, or connect again",
            ),
            (Role::Viewer(_), None) => refused(
                "viewer",
                Rule::InvalidViewer,
                "is not a token of this server",
                "send the token of an earlier welcome, or none",
            ),
            (Role::Viewer(_), Some(viewer)) => {
                self.role = Role::Viewer(viewer);
                self.is_admitted = false;
                self.jeux.iter_mut().for_each(|known| known.voted = false);
                return self.read_own_notes(actions);
            }
        };
        actions.push(refusal);
    }

    fn on_vote(&mut self, live: uuid::Uuid, jeu: u32, v: u64, wanted: Wanted, now_us: u64, actions: &mut Vec<Action>) {
        let base = Reply::plain(Some(live), Some(jeu), Some(v), Status::Invalid);
        let Role::Viewer(viewer) = self.role else {
            let invalid = Invalid::new("t", Rule::ViewersOnly, "only viewers vote", "open a viewer's socket");
            actions.push(refuse(base, invalid, now_us));
            return;
        };
        if self.live != Some(live) {
            let channel = &self.channel;
            let remedy = match self.live {
                Some(shown) => format!("send to live {shown}, which channel {channel} shows"),
                None => format!("wait: channel {channel} shows no live yet"),
            };
            actions.push(refuse(
                base,
                Invalid::new("live", Rule::WrongLive, "is not the live of this channel", remedy),
                now_us,
            ));
            return;
        }
        if self.pending >= MAX_PENDING_REPLIES {
            actions.push(too_fast(Reply { status: Status::TooFast, ..base }, self.pause()));
            return;
        }
        if !self.is_admitted
            && let Err(wait) = self.terms.newcomers.admit(self.client, viewer, &self.channel)
        {
            actions.push(too_fast(Reply { status: Status::TooFast, ..base }, wait));
            return;
        }
        self.is_admitted = true;
        self.pending += 1;
        self.has_voted = true;
        if wanted == Wanted::Withdrawn {
            self.withdrawing.push((jeu, v));
        }
        actions.push(Action::Submit(Vote { live, jeu, viewer, v: Some(v), wanted, trace: self.trace.clone() }));
    }

    /// The reply to a vote that was handed in. After the first note on a blind jeu its numbers follow.
    pub fn on_reply(&mut self, reply: Reply, frames: &Frames, actions: &mut Vec<Action>) {
        self.pending = self.pending.saturating_sub(1);
        let withdrawn =
            self.withdrawing.iter().position(|known| (Some(known.0), Some(known.1)) == (reply.jeu, reply.v));
        let noted = reply.status == Status::Ok && reply.live == self.live && withdrawn.is_none();
        let noted = noted.then_some(reply.jeu).flatten();
        if let Some(index) = withdrawn {
            self.withdrawing.swap_remove(index);
        }
        actions.push(send(reply));
        if let Some(jeu) = noted
            && !std::mem::replace(&mut self.known(jeu).voted, true)
            && let Some(known) = frames.jeux.iter().find(|known| known.jeu == jeu)
        {
            self.send_jeu(known, actions);
        }
    }

    /// A viewer's own notes, after connecting, after `hello` and when another live begins; none when they could not be
    /// read. Those of the viewer one was before `hello` are not this one's.
    pub fn on_own_notes(&mut self, viewer: ViewerId, notes: Vec<Mine>, frames: &Frames, actions: &mut Vec<Action>) {
        self.reading = false;
        if std::mem::take(&mut self.read_again) {
            self.read_own_notes(actions);
        }
        if self.role != Role::Viewer(viewer) {
            return;
        }
        for mine in notes {
            if Some(mine.live) != self.live {
                continue;
            }
            if !mine.scores.is_empty() {
                self.known(mine.jeu).voted = true;
            }
            actions.push(Action::Send(encode(&ServerMessage::Mine(mine))));
        }
        for jeu in &frames.jeux {
            self.send_jeu(jeu, actions);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn too_fast(reply: Reply, wait: Duration) -> Action {
    metrics::counter!("notes_refused_total", "reason" => Status::TooFast.as_str()).increment(1);
    // A wait of less than a millisecond is one.
    let wait_ms = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    send(Reply { retry_after_ms: Some(wait_ms), ..reply })
}

fn send(reply: Reply) -> Action {
    Action::Send(encode(&ServerMessage::Reply(reply)))
}

fn refuse(base: Reply, invalid: Invalid, now_us: u64) -> Action {
    metrics::counter!("notes_refused_total", "reason" => Status::Invalid.as_str()).increment(1);
    send(Reply { status: Status::Invalid, problem: Some(Box::new(invalid.into())), now_us: Some(now_us), ..base })
}
