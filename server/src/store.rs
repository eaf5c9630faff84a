//! Durable facts: the primitives the engine and the catalogue are written over.
//!
//! The weakest backend sets the promises. Every write is idempotent and may be repeated with the same bytes; nothing
//! here needs a transaction over two rows, a counter, or an order between writers. Compare-and-set exists for
//! [`Record`]s only, which nobody writes while voting.
//!
//! Invariant: when a write returns `Ok`, it is on disk (fsynced, or on a QUORUM of replicas). An error of kind
//! [`ErrorKind::Unknown`] leaves open whether it is; every other kind means that it is not.

pub mod conformance;
pub mod cql;
pub mod faulty;
mod limits;
pub mod memory;
pub mod metered;
pub mod patient;
pub mod sqlite;
pub(crate) mod tips;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use smallvec::SmallVec;
use uuid::Uuid;

use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::note::Version;
use crate::domain::phase::Rank;
use crate::domain::viewer::ViewerId;

/// Longest payload of one viewer's entry, in bytes. The engine treats payloads as opaque.
pub const MAX_PAYLOAD_BYTES: usize = 256;

/// Longest chunk, in bytes: what one CQL mutation carries comfortably.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// Greatest version, rank, epoch, revision or `materialised`: integers are signed in every backend, and are the
/// timestamps of CQL writes. In microseconds it is the year 294,247.
pub const MAX_NUMBER: u64 = i64::MAX as u64;

/// Greatest `seq` of a chunk. At 125 chunks a second a lane gets there in 17 years; the bits above are free for
/// backends to put the lane in the same integer.
pub const MAX_SEQ: u64 = (1 << 36) - 1;

/// Most rows that one [`Store::read_lane`] returns.
pub const LANE_PAGE: usize = 256;

/// Most rows that one [`Store::write_notes`] takes.
pub const MAX_NOTE_ROWS: usize = 512;

/// Longest body of a [`Record`], in bytes.
pub const MAX_RECORD_BYTES: usize = 256 * 1024;

/// What votes are counted for: one jeu of one live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId {
    /// The live.
    pub live: LiveId,
    /// The jeu.
    pub jeu: JeuId,
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.live, self.jeu)
    }
}

/// One incarnation of one pod: a fresh UUIDv7 at every start, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub Uuid);

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One journal of an item: a writer appends to it densely, one chunk in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// Who appends.
    pub writer: WriterId,
    /// Which of the writer's lanes, from 0.
    pub lane: u8,
}

/// A registered lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneRow {
    /// The lane.
    pub id: LaneId,
    /// Chunk format the writer uses.
    pub format: u8,
    /// How many chunks from the beginning are in `notes`: every chunk with `seq < materialised`.
    pub materialised: u64,
}

/// A payload, inline while small.
pub type Payload = SmallVec<[u8; 16]>;

/// One viewer's row in `notes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteRow {
    /// The viewer.
    pub viewer: ViewerId,
    /// Version of the note. A store keeps, per viewer, the row with the greatest `(version, payload)`.
    pub version: Version,
    /// What the viewer said, opaque here.
    pub payload: Payload,
}

/// Phase of one jeu as stored: a max-register over `rank`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseRow {
    /// The jeu.
    pub jeu: JeuId,
    /// The greatest rank written.
    pub rank: Rank,
}

/// Which family of documents a [`Record`] belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// Settings of the instance: secrets, the set-up link. Scope empty.
    Instance,
    /// Channels. Scope empty, id = slug.
    Channel,
    /// A channel's catalogue of jeux: one document. Scope empty, id = slug.
    Jeux,
    /// Baremes. Scope = slug of the channel, id = UUID.
    Bareme,
    /// Lives. Scope empty, id = UUIDv7.
    Live,
    /// Which lives a channel has. Scope = slug, id = UUIDv7 of the live.
    ChannelLive,
    /// Overlay keys. Scope = slug, id = hash of the key.
    OverlayKey,
    /// Accounts. Scope empty, id = folded name.
    Account,
    /// API tokens. Scope empty, id = hash of the token.
    Token,
    /// Browser sessions. Scope empty, id = hash of the session id.
    Session,
    /// What became of the dump of a live, and what was pruned. Scope empty, id = the live.
    Dump,
    /// Entries of the audit log. Scope = number of the period of 30 days since 1970, id = time counted down, and a random
    /// ending.
    Audit,
}

impl RecordKind {
    /// Name in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Channel => "channel",
            Self::Jeux => "jeux",
            Self::Bareme => "bareme",
            Self::Live => "live",
            Self::ChannelLive => "channel_live",
            Self::OverlayKey => "overlay_key",
            Self::Account => "account",
            Self::Token => "token",
            Self::Session => "session",
            Self::Dump => "dump",
            Self::Audit => "audit",
        }
    }
}

/// Where a record is: family, scope within it, id within the scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// Family.
    pub kind: RecordKind,
    /// Scope, such as a channel's slug; may be empty.
    pub scope: String,
    /// Identity within the scope.
    pub id: String,
}

impl RecordKey {
    /// A key in a scope.
    pub fn new(kind: RecordKind, scope: impl Into<String>, id: impl Into<String>) -> Self {
        Self { kind, scope: scope.into(), id: id.into() }
    }
}

/// A small JSON document with a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id within kind and scope.
    pub id: String,
    /// Grows by one at each change; the first is 1.
    pub revision: u64,
    /// JSON text.
    pub body: String,
}

/// What became of a compare-and-set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// Done; the new revision (0 after a deletion).
    Done(u64),
    /// The record is at another revision (0 = there is none), so nothing was written.
    Conflict(u64),
}

/// What kind of trouble a store is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Not written, because there is no room. Tried again later it may succeed.
    Full,
    /// Not written: the backend cannot be reached, is busy, or its queue is full.
    Unavailable,
    /// Not written, and never will be: the call breaks a limit of this module, or names a lane that is not registered.
    /// A mistake of the caller.
    Refused,
    /// Not written: other bytes are stored, or may come to be, under this lane and `seq`. The lane has a second writer, or
    /// its writer forgot what it wrote; nothing of it may be used again.
    Mismatch,
    /// Whether it was written is not known. Write the same bytes again.
    Unknown,
    /// What is stored cannot be read: damaged, or not ours.
    Corrupt,
    /// What is stored was written by a newer version of this program.
    Newer,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Full, Self::Unavailable, Self::Refused, Self::Mismatch, Self::Unknown, Self::Corrupt, Self::Newer];

    /// The word for it, as metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Mismatch => "mismatch",
            Self::Unknown => "unknown",
            Self::Corrupt => "corrupt",
            Self::Newer => "newer",
        }
    }
}

/// A store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{backend} store: {source}")]
pub struct StoreError {
    /// What to do about it.
    pub kind: ErrorKind,
    /// Which backend.
    pub backend: &'static str,
    /// What happened, for logs.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// An error of a backend.
    pub fn new(
        kind: ErrorKind,
        backend: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, backend, source: source.into() }
    }

    /// Whether the same call may succeed a moment later.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Unknown)
    }
}

/// What every backend does.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Durable facts. See the module for what `Ok` promises.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Backend name for logs and metrics.
    fn backend(&self) -> &'static str;

    /// Whether other processes may write to it. Where they may, pods tail each other's lanes and hold leases; where
    /// they may not (one file, locked by one process), there is nothing to tail and nobody to wait for.
    fn is_shared(&self) -> bool;

    /// Whether a write would succeed now, tried with a real write; for readiness, and to leave read-only mode.
    async fn probe(&self) -> Result<()>;

    // The journal ------------------------------------------------------------------------------------------------

    /// Announces a lane, before its first chunk. Repeating it changes nothing. A lane that was pruned is not announced
    /// again: its writer is gone.
    async fn register_lane(&self, item: ItemId, lane: LaneId, format: u8) -> Result<()>;

    /// Every lane ever registered for an item and not pruned.
    async fn lanes(&self, item: ItemId) -> Result<Vec<LaneRow>>;

    /// Appends one chunk (W1), at most [`MAX_CHUNK_BYTES`], to a registered lane. `seq` counts from 0 without gaps, up to
    /// [`MAX_SEQ`]. The same bytes again change nothing; other bytes than those stored under the `(lane, seq)` are
    /// [`ErrorKind::Mismatch`] and change nothing either. A lane has one writer: two that append to it at the same moment
    /// are found out only by the next append of one of them, or not at all.
    async fn append(&self, item: ItemId, lane: LaneId, seq: u64, chunk: Bytes) -> Result<()>;

    /// Chunks of a lane from `from_seq` on, in order, at most [`LANE_PAGE`] (R1). On a cluster a `seq` may be missing
    /// below a visible one; the reader stops there and reads again, so what lies beyond may be left out.
    async fn read_lane(&self, item: ItemId, lane: LaneId, from_seq: u64) -> Result<Vec<(u64, Bytes)>>;

    /// Deletes the journal of an item, lanes included. Only once its last result is stored and materialised. Many
    /// chunks go in steps: an error may leave the beginning of some lanes deleted, and repeating it goes on.
    async fn prune_journal(&self, item: ItemId) -> Result<()>;

    // The checkpoint ---------------------------------------------------------------------------------------------

    /// Writes at most [`MAX_NOTE_ROWS`] rows (W2), best in order of viewer. A row never replaces one with a greater
    /// `(version, payload)`.
    async fn write_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()>;

    /// Rows of an item in order of viewer, at most `limit`, after the given viewer.
    async fn read_notes(&self, item: ItemId, after: Option<ViewerId>, limit: usize) -> Result<Vec<NoteRow>>;

    /// Deletes the rows of an item. Only once its last result is stored, nobody votes on it any more, and nothing that was
    /// written to it lies in the future. It goes in steps: an error may leave some rows, and repeating it goes on. What is
    /// written again by [`Store::write_notes`] may stay deleted; that is what [`Store::restore_notes`] is for.
    async fn prune_notes(&self, item: ItemId) -> Result<()>;

    /// Writes at most [`MAX_NOTE_ROWS`] rows of an item nobody votes on, also where they were pruned. A viewer who has
    /// another row already may keep either.
    async fn restore_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()>;

    /// Raises `materialised` of a lane (W3); a smaller value changes nothing. The lane is registered.
    async fn advance_materialised(&self, item: ItemId, lane: LaneId, materialised: u64) -> Result<()>;

    // Phases and results -----------------------------------------------------------------------------------------

    /// Raises the rank of a jeu (W4); a smaller one changes nothing.
    async fn raise_rank(&self, item: ItemId, rank: Rank) -> Result<()>;

    /// Ranks of all jeux of a live that were ever raised, in order of jeu (R3).
    async fn ranks(&self, live: LiveId) -> Result<Vec<PhaseRow>>;

    /// Stores the result of an epoch. The first body stays: repeating it, or writing another, changes nothing.
    async fn put_result(&self, item: ItemId, epoch: u64, body: Bytes) -> Result<()>;

    /// The result of an epoch.
    async fn result(&self, item: ItemId, epoch: u64) -> Result<Option<Bytes>>;

    // Heartbeats -------------------------------------------------------------------------------------------------

    /// Replaces a writer's heartbeat in a live.
    async fn beat(&self, live: LiveId, writer: WriterId, body: Bytes) -> Result<()>;

    /// Last heartbeat of every writer of a live, for a minute at least.
    async fn heartbeats(&self, live: LiveId) -> Result<Vec<(WriterId, Bytes)>>;

    // Records ----------------------------------------------------------------------------------------------------

    /// One record.
    async fn record(&self, key: &RecordKey) -> Result<Option<Record>>;

    /// Records of a kind and scope in order of id, at most `limit`, after the given id.
    async fn records(&self, kind: RecordKind, scope: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>>;

    /// Compare-and-set: writes `body` (at most [`MAX_RECORD_BYTES`]) if the record is at `expected` (0 = absent). After
    /// [`ErrorKind::Unknown`], read the record before trying again: it may be at `expected + 1` with this body.
    async fn put_record(&self, key: &RecordKey, expected: u64, body: String) -> Result<Swap>;

    /// Deletes the record if it is at `expected`; one that is absent (0) is deleted already.
    async fn delete_record(&self, key: &RecordKey, expected: u64) -> Result<Swap>;
}
