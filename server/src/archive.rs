//! What outlives a live: its dump, made by itself and read back before it counts; restoring one; and what is forgotten
//! once there is one.
//!
//! A dump is a few files of NDJSON and zstd and a `manifest.json` that names them, in a directory or a bucket. Every
//! attempt writes its files into a folder of its own and the manifest last, only if there is none yet: whoever else dumps
//! the same live at the same time, and wherever a crash comes, there is one manifest and it is whole.
//!
//! **Invariants**
//! - A manifest is written only after its files were read back from the target and recounted: their sums, their lines,
//!   and each jeu's notes, which fold to the result that is stored.
//! - Nothing of a dump is stored before all of it was read, each document as what it claims to be, and recounted.
//! - Nothing is deleted from the store before a dump was read back and recounted at that moment.
//! - Memory is bounded: pages of notes, never a live.
//! - Nothing here is on the way of a vote. A target that is away costs a retry now and then.

mod checks;
mod documents;
mod dump;
mod fold;
mod format;
pub mod keeper;
pub mod ledger;
mod lines;
mod prune;
mod restore;
pub mod target;
mod upload;
mod verify;

use std::time::{Duration, Instant};

pub use dump::{Dumped, dump};
use format::FORMAT;
pub use format::{DumpedFile, DumpedJeu, MANIFEST, Manifest};
pub use prune::{JOURNAL_DAYS, Pruned, Retention, prune};
pub use restore::{Restored, Restoring, restore};
pub use target::{DumpTo, Target, TargetUrl};
pub use verify::{read_manifest, verify};

use crate::cluster::load::LoadError;
use crate::domain::jeu::JeuId;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::records::{Records, Versioned};
use crate::store::{RecordKey, RecordKind, StoreError};

/// Notes read at a time: some 100 KB, and a few milliseconds of one processor.
const PAGE: usize = 1024;

/// Lives read at a time when all are looked through: a document may have 256 KiB.
const LIVES_PAGE: usize = 20;

/// Why a dump was not made, or not used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The target failed, or has no such file.
    #[error("{place}: {reason}")]
    Target {
        /// Which file or folder.
        place: String,
        /// What happened.
        reason: String,
        /// Whether it is just not there.
        is_missing: bool,
    },
    /// A file of a dump is not what was written.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// Which.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What is stored does not add up: a bug, or a damaged store.
    #[error("live {live}: {reason}")]
    Differs {
        /// Of which live.
        live: LiveId,
        /// What does not add up.
        reason: String,
    },
    /// It cannot be done now, and may be later.
    #[error("live {live} {reason}")]
    NotYet {
        /// Which live.
        live: LiveId,
        /// Why, as the rest of a sentence.
        reason: &'static str,
    },
    /// It is over, and a server that runs makes its last results: a matter of a second.
    #[error("live {live} has a jeu whose result is being made; start a server on its store if none runs")]
    Closing {
        /// Which live.
        live: LiveId,
    },
    /// It cannot be done.
    #[error("{reason}; {remedy}")]
    Refused {
        /// Why.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

impl ArchiveError {
    pub(crate) fn refused(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), remedy: remedy.into() }
    }

    fn damaged(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged { file: file.into(), reason: reason.into() }
    }
}

impl From<LoadError> for ArchiveError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => Self::Store(error),
            other => Self::refused(other.to_string(), "try again; if it stays so, restore a backup"),
        }
    }
}

/// What this module returns.
pub type Result<T> = std::result::Result<T, ArchiveError>;

/// What is being done, for people who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Notes are written to the target.
    Writing,
    /// Files are read back and recounted.
    Checking,
    /// Notes are written to the store.
    Restoring,
}

/// Hears how far work is: the stage, notes done in it, and of how many.
pub type Progress<'a> = &'a (dyn Fn(Stage, u64, u64) + Send + Sync);

/// Tells nobody.
pub fn silent(_: Stage, _: u64, _: u64) {}

/// How much of the machine the work may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All it can get: a command somebody waits for.
    Full,
    /// At most half of one processor, in pieces of milliseconds: beside people who vote.
    Gentle,
}

impl Pace {
    /// Rests as long as the last piece took.
    async fn rest(self, since: Instant) {
        match self {
            Self::Full => tokio::task::yield_now().await,
            Self::Gentle => tokio::time::sleep(since.elapsed().min(Duration::from_millis(100))).await,
        }
    }
}

/// Name of the file of a jeu's notes, with a folder of the attempt before it.
fn notes_file(jeu: JeuId) -> String {
    format!("notes-{jeu}.ndjson.zst")
}

fn live_key(live: LiveId) -> RecordKey {
    RecordKey::new(RecordKind::Live, "", live.to_string())
}

/// The record of a live.
///
/// # Errors
/// The store's; refused when there is none.
pub async fn stored_live(records: &Records, live_id: LiveId) -> Result<Versioned<Live>> {
    let stored = records.get::<Live>(&live_key(live_id)).await?;
    stored.ok_or_else(|| no_such_live(live_id))
}

fn no_such_live(live_id: LiveId) -> ArchiveError {
    ArchiveError::refused(format!("there is no live {live_id}"), "look at the admin page for its id")
}

/// Every live that is over, in order of id.
///
/// # Errors
/// The store's.
pub async fn lives_that_are_over(records: &Records) -> Result<Vec<LiveId>> {
    let mut over = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = records.page::<Live>(RecordKind::Live, "", after.as_deref(), LIVES_PAGE).await?;
        let closed = page.documents.iter().map(|(_, row)| &row.value).filter(|live| live.status == LiveStatus::Closed);
        over.extend(closed.map(|live| live.live_id));
        // Whoever goes through them finds out, and says so, without stopping at it.
        over.extend(page.unreadable.iter().filter_map(|(id, _)| id.parse().ok().map(LiveId)));
        after = page.next;
        if after.is_none() {
            return Ok(over);
        }
    }
}
