//! Moves pages from the WAL into the database, off the path of acknowledgements.
//!
//! A checkpoint copies pages and flushes them, milliseconds that a COMMIT should not pay. One thread does it on a
//! connection of its own while the writer goes on committing. Only a writer that never pauses has to help: the WAL
//! starts over when nothing in it is left to copy, so the writer copies the few last pages between two transactions.
//!
//! Invariant: pages leave the WAL only after a flush of the database that reported no error. A copy that failed is done
//! again; a *flush* that failed is not, because the kernel then forgets the pages it could not write, and SQLite that
//! it still had them to copy. The store refuses writes from there on, until the writer has begun anew: with every
//! connection closed, SQLite forgets what it took for copied, and all of the WAL is copied and flushed once more.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ffi};

use super::schema::{self, Role};
use crate::supervise;

/// WAL pages from which a checkpoint begins: 16 MiB. Pages written again and again (the top of a tree) are copied once
/// per checkpoint, and after a crash so much is read again in well under a second.
pub(super) const BEGIN_AT_PAGES: i64 = 4096;

/// How often the thread goes after a writer that goes on committing before it asks the writer to finish.
const ROUNDS: usize = 4;

/// What the WAL holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Pages in it.
    pub(super) pages: i64,
    /// How many of them are in the database too.
    pub(super) copied: i64,
    /// Whether somebody else was in the way.
    pub(super) busy: bool,
}

impl Progress {
    pub(super) const fn is_complete(self) -> bool {
        !self.busy && self.pages == self.copied
    }
}

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    /// Only look.
    Look,
    /// Copy what can be copied without waiting for anybody.
    Passive,
    /// Copy everything and empty the WAL file; waits for readers.
    Truncate,
}

/// Runs one checkpoint, or looks at the WAL.
pub(super) fn checkpoint(connection: &Connection, mode: Mode) -> rusqlite::Result<Progress> {
    let sql = match mode {
        Mode::Look => "PRAGMA wal_checkpoint(NOOP)",
        Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    connection
        .prepare_cached(sql)?
        .query_row([], |row| Ok(Progress { busy: row.get::<_, i64>(0)? != 0, pages: row.get(1)?, copied: row.get(2)? }))
}

/// What the writer and the checkpoint thread share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Held during a checkpoint: two at once would only find each other busy.
    turn: Mutex<()>,
    /// The checkpoint thread's connection; the writer closes it to begin anew.
    pub(super) copier: Mutex<Option<Connection>>,
    /// The writer is to copy what is left before its next transaction.
    pub(super) finish: AtomicBool,
    /// A flush of the database failed: no write and no checkpoint until the writer has begun anew.
    flush_failed: AtomicBool,
}

impl Shared {
    /// Runs a checkpoint in turn, and remembers a flush that failed.
    pub(super) fn checkpoint(&self, connection: &Connection, mode: Mode) -> rusqlite::Result<Progress> {
        // Looking is for the writer between two transactions, and must not wait for a copy that is going on.
        let _turn = match mode {
            Mode::Look => None,
            Mode::Passive | Mode::Truncate => Some(self.turn.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        checkpoint(connection, mode).inspect_err(|error| {
            if is_failed_flush(error) {
                self.fail_flush();
            }
        })
    }

    /// Remembers that a flush failed.
    pub(super) fn fail_flush(&self) {
        self.flush_failed.store(true, Ordering::Release);
    }

    /// All of the WAL was copied and flushed anew.
    pub(super) fn forget_failure(&self) {
        self.flush_failed.store(false, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.flush_failed.load(Ordering::Acquire)
    }
}

fn is_failed_flush(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if matches!(failure.extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

/// The thread's work: one checkpoint per signal, until the writer is gone.
pub(super) fn run(path: &Path, file: &File, shared: &Arc<Shared>, signals: &Receiver<()>) {
    while signals.recv().is_ok() {
        let mut copier = shared.copier.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.has_failed() {
            continue;
        }
        if copier.is_none() {
            *copier = schema::connect(path, Role::Checkpointer)
                .inspect_err(|error| tracing::warn!(%error, "checkpoint not possible for now"))
                .ok();
        }
        let Some(open) = &*copier else { continue };
        match supervise::caught("store-copy", || catch_up(open, file, shared)) {
            Some(Ok(true)) => {}
            Some(Ok(false)) => shared.finish.store(true, Ordering::Release),
            // After an I/O error, or in the middle of something, the handle is not to be trusted.
            None => *copier = None,
            Some(Err(error)) => {
                tracing::warn!(%error, "checkpoint failed; the next one tries again");
                *copier = None;
            }
        }
    }
    // The last connection to close is the writer's.
    *shared.copier.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Copies until nothing is left, or until it is clear that the writer does not pause. Says which.
fn catch_up(connection: &Connection, file: &File, shared: &Shared) -> rusqlite::Result<bool> {
    for _ in 0..ROUNDS {
        if shared.checkpoint(connection, Mode::Passive)?.is_complete() {
            return Ok(true);
        }
        // SQLite flushes the database only when it has copied all; flushed here, the writer's last bit is short.
        if let Err(error) = file.sync_data() {
            tracing::error!(%error, "flush of the database failed; no more writes until all of the log is copied anew");
            shared.fail_flush();
            return Ok(true);
        }
    }
    Ok(false)
}
