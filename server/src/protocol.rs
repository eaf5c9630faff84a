//! The wire contract of `GET /ws/{channel}`: messages, refusals and close codes, all of them data.
//!
//! Messages are JSON text frames with the type in `t`. Frames of the server are absolute: a page that has the newest
//! `state` and the newest `tally` of each jeu knows everything. `docs/protocol.md` says the same for other languages.

pub mod text;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::bareme::Bareme;
use crate::domain::bareme::Scale;
use crate::domain::jeu::Jeu;
use crate::domain::live::LiveStatus;
use crate::domain::note::Version;
use crate::domain::object::distinct;
use crate::domain::phase::Phase;
use crate::domain::tally::CritereSummary;

/// Version of this contract, sent in `welcome`.
pub const PROTOCOL_VERSION: u32 = 1;

/// Longest message a client may send, in bytes, all fragments together.
pub const MAX_CLIENT_MESSAGE_BYTES: usize = 4096;

/// How far ahead of the server's clock a version may lie, in microseconds.
pub const MAX_VERSION_AHEAD_US: u64 = 60_000_000;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// Who the client is, for clients without cookies: the token of an earlier `welcome`. Only before the first note.
    Hello {
        /// A viewer token.
        viewer: String,
    },
    /// The one wanted note on a jeu. Sent again with the same `v` until a final reply.
    Note {
        /// The live it is meant for.
        live: Uuid,
        /// The jeu.
        jeu: u32,
        /// Version: `max(last v + 1, estimate of the server's time in µs)`.
        v: Version,
        /// Scores by critere; `null` or absent is "sans avis".
        #[serde(deserialize_with = "distinct")]
        scores: Map<String, Value>,
    },
    /// Takes the note on a jeu back.
    Withdraw {
        /// The live it is meant for.
        live: Uuid,
        /// The jeu.
        jeu: u32,
        /// Version, as for a note.
        v: Version,
    },
    /// Asks for the server's clock.
    Ping {
        /// Anything; comes back in `pong`.
        #[serde(default)]
        id: u64,
    },
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ServerMessage {
    /// First message of every connection.
    Welcome(Welcome),
    /// The channel and its live, whenever something of it changes.
    State(Box<State>),
    /// The numbers of one jeu, whenever they change.
    Tally(TallyFrame),
    /// The viewer's own note on a jeu, after `welcome` and after `hello`.
    Mine(Mine),
    /// Answer to `note` and `withdraw`.
    Reply(Reply),
    /// Answer to `ping`.
    Pong {
        /// The id of the ping.
        id: u64,
        /// The server's clock, microseconds since 1970.
        now_us: u64,
    },
    /// Numbers for admins only.
    Admin(AdminFrame),
}

/// First message of every connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// The server's clock, microseconds since 1970.
    pub now_us: u64,
    /// Version of the program; a page made for another one reloads itself.
    pub build: String,
    /// The channel's slug.
    pub channel: String,
    /// The viewer token, when the client brought none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewer: Option<String>,
    /// Seconds between the server's pings; a client that hears nothing for three of these reconnects.
    pub ping_interval_s: u64,
}

/// The channel and its live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Grows with every change while a connection lasts.
    pub rev: u64,
    /// Title of the channel.
    pub channel_title: String,
    /// The open live, or the last one closed; null when there was none.
    pub live: Option<LiveState>,
    /// Whether the server's numbers may be old, because it cannot reach its store.
    pub stale: bool,
}

/// What pages know of a live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveState {
    /// The live.
    pub live_id: Uuid,
    /// Slug of its channel.
    pub channel: String,
    /// Title.
    pub title: String,
    /// Draft, open or closed.
    pub status: LiveStatus,
    /// The jeu that pages follow.
    pub current: Option<u32>,
    /// Whether averages are hidden until one has voted.
    pub blind: bool,
    /// Voters below which averages are not shown.
    pub minimum_votes: u32,
    /// Frozen bareme.
    pub bareme: Bareme,
    /// Scale of the overall mean.
    pub scale: Scale,
    /// The jeux in order.
    pub programme: Vec<ProgrammeEntry>,
    /// When the live ends, microseconds since 1970, if that was announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at_us: Option<u64>,
    /// When the live ended, microseconds since 1970, if it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at_us: Option<u64>,
    /// True for the made-up live of a rehearsal, whose votes nobody gave; else left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

/// One jeu of a programme and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProgrammeEntry {
    /// The jeu.
    #[serde(flatten)]
    pub jeu: Jeu,
    /// Pending, open, closing or final.
    pub phase: Phase,
    /// How often it was reopened.
    pub epoch: u64,
    /// When it stops taking notes, microseconds since 1970, if that was announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closes_at_us: Option<u64>,
    /// When its result was made, microseconds since 1970, in phase final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at_us: Option<u64>,
    /// Whether what is stored of it is damaged: it takes no notes and shows no numbers until that is mended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

/// Why a tally shows only the number of voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Masked {
    /// Blind mode: this viewer has not voted on it yet and it is not final.
    Blind,
    /// Fewer voters than the live's minimum.
    Minimum,
}

/// The numbers of one jeu.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TallyFrame {
    /// The live.
    pub live: Uuid,
    /// The jeu.
    pub jeu: u32,
    /// Epoch and phase the numbers belong to.
    pub epoch: u64,
    /// Phase.
    pub phase: Phase,
    /// Grows with every change of this jeu's numbers while a connection lasts.
    pub rev: u64,
    /// Viewers whose note counts.
    pub voters: u64,
    /// Overall mean on the live's scale; null while there is none or it is masked.
    pub mean: Option<f64>,
    /// One entry for each critere; empty when masked.
    pub criteres: Vec<CritereSummary>,
    /// Why the means are not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<Masked>,
    /// When the numbers were true, by the server's clock in microseconds since 1970.
    pub as_of_us: u64,
}

/// A viewer's own note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mine {
    /// The live.
    pub live: Uuid,
    /// The jeu.
    pub jeu: u32,
    /// Version of the note.
    pub v: Version,
    /// Its scores; empty when withdrawn.
    pub scores: Map<String, Value>,
}

/// What became of a note. Only `unknown`, `retry_after` and `too_fast` ask for the same `(v, note)` again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// On disk, and counted exactly once in the final result.
    Ok,
    /// It may be on disk. Send the same again.
    Unknown,
    /// Not stored; send the same again after `retry_after_ms`.
    RetryAfter,
    /// The server holds a newer note of this viewer: `held`.
    Stale,
    /// The jeu takes no more notes.
    Closed,
    /// The jeu is not open yet, or the live is not on air.
    NotOpen,
    /// Something in it is wrong: `problem`.
    Invalid,
    /// Too many messages; send the same again after `retry_after_ms`.
    TooFast,
}

impl Status {
    /// Name in JSON and in the label `reason` of the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::RetryAfter => "retry_after",
            Self::Stale => "stale",
            Self::Closed => "closed",
            Self::NotOpen => "not_open",
            Self::Invalid => "invalid",
            Self::TooFast => "too_fast",
        }
    }

    /// Whether the client is done with this `(v, note)`.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Unknown | Self::RetryAfter | Self::TooFast)
    }
}

/// Answer to `note` and `withdraw`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The live of the note; null when the message could not be read that far.
    pub live: Option<Uuid>,
    /// The jeu of the note.
    pub jeu: Option<u32>,
    /// The version of the note.
    pub v: Option<Version>,
    /// What became of it.
    pub status: Status,
    // What few replies have is boxed: replies are moved by the hundred thousand.
    /// With `stale`: the note the server holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Box<Held>>,
    /// With `retry_after` and `too_fast`: how long to wait, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// With `invalid`: field, reason and remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<Problem>>,
    /// The server's clock, for clients whose own is wrong; with `invalid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now_us: Option<u64>,
}

/// The newer note that the server holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Held {
    /// Its version.
    pub v: Version,
    /// Its scores; empty when withdrawn.
    #[schema(value_type = Object)]
    pub scores: Map<String, Value>,
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// The field.
    pub field: String,
    /// Which rule it does not keep: one of the words of `docs/problems.md`.
    #[schema(pattern = "^[a-z][a-z0-9_]*$")]
    pub rule: String,
    /// The numbers of the rule, such as `min` and `max`.
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
    /// What is wrong with it.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl From<crate::domain::Invalid> for Problem {
    fn from(invalid: crate::domain::Invalid) -> Self {
        Self {
            field: invalid.field,
            rule: invalid.rule.word().to_owned(),
            params: invalid.rule.params(),
            reason: invalid.reason,
            remedy: invalid.remedy,
        }
    }
}

/// Numbers for admins, once a second while they change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdminFrame {
    /// Open sockets of this channel on this pod.
    pub sockets: u64,
    /// Notes accepted in the last second on this pod.
    pub votes_per_s: f64,
    /// Which pod answers.
    pub pod: String,
    /// Goes up with every change of what is prepared in this channel (jeux, baremes, drafts, keys, settings).
    pub lists: u64,
    /// Viewers that voted for the first time in the last minute, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newcomers: Option<Newcomers>,
}

/// Viewers that sent their first vote in the last minute, in one channel on one pod. Those of the server's own machine
/// are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newcomers {
    /// Viewers that were let in.
    pub admitted: u64,
    /// First votes that were refused because their address had brought too many.
    pub refused: u64,
    /// Addresses they came from, 1000 when there were more.
    pub addresses: u64,
}

/// Why a socket was closed, as a number a client can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// Code of RFC 6455, or 4000 to 4999 for ours.
    pub code: u16,
    /// Short text for people who debug.
    pub reason: &'static str,
    /// Whether the client should connect again (with backoff).
    pub reconnect: bool,
}

/// Every reason this server closes a socket for.
pub mod close {
    use super::Close;

    /// The client said goodbye.
    pub const NORMAL: Close = Close { code: 1000, reason: "bye", reconnect: false };
    /// A frame that breaks RFC 6455.
    pub const PROTOCOL_ERROR: Close = Close { code: 1002, reason: "protocol error", reconnect: true };
    /// A binary frame; this protocol has text only.
    pub const BINARY: Close = Close { code: 1003, reason: "text frames only", reconnect: false };
    /// Text that is not UTF-8.
    pub const NOT_UTF8: Close = Close { code: 1007, reason: "not UTF-8", reconnect: false };
    /// More bytes than [`super::MAX_CLIENT_MESSAGE_BYTES`].
    pub const TOO_BIG: Close = Close { code: 1009, reason: "message too big", reconnect: false };
    /// The server failed inside.
    pub const INTERNAL: Close = Close { code: 1011, reason: "internal error", reconnect: true };
    /// The server is stopping or restarting.
    pub const RESTART: Close = Close { code: 1012, reason: "restarting", reconnect: true };
    /// The client reads too slowly, or not at all.
    pub const SLOW: Close = Close { code: 4000, reason: "too slow", reconnect: true };
    /// No pong for too long.
    pub const IDLE: Close = Close { code: 4001, reason: "no answer to ping", reconnect: true };
    /// The key, token or session this socket was opened with was revoked.
    pub const REVOKED: Close = Close { code: 4003, reason: "key revoked", reconnect: false };
    /// The channel was deleted.
    pub const GONE: Close = Close { code: 4004, reason: "channel gone", reconnect: false };
    /// The server does not reach the store that it shares with others.
    pub const CUT_OFF: Close = Close { code: 4005, reason: "cut off", reconnect: true };
    /// Far too many messages.
    pub const FLOOD: Close = Close { code: 4029, reason: "too many messages", reconnect: true };

    /// All of them, for documents and tests.
    pub const ALL: [Close; 13] = [
        NORMAL,
        PROTOCOL_ERROR,
        BINARY,
        NOT_UTF8,
        TOO_BIG,
        INTERNAL,
        RESTART,
        SLOW,
        IDLE,
        REVOKED,
        GONE,
        CUT_OFF,
        FLOOD,
    ];
}
