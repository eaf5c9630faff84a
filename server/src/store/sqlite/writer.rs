//! The one thread that writes: takes what is queued, puts it in one transaction, and answers after COMMIT.
//!
//! Two queues. *Urgent* holds what somebody waits for, appends above all; *checkpoint* holds rows of `notes` and their
//! kind, which may wait. Every turn commits all urgent writes, then at most one bounded batch of the others, so that an
//! acknowledgement never waits for more than one such batch.
//!
//! Invariant: a caller hears `Ok` only after a COMMIT that succeeded and holds its write; the failure of one write never
//! fails another; a connection that met an I/O error is never used again.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::BACKEND;
use super::checkpoint::{self, Mode};
use super::inbox::{Inbox, Lane};
use super::ops::{Interned, Outcome, Write};
use super::readers::{self, ReadInbox};
use super::schema::{self, Role};
use crate::metrics::STORE_BEGUN_ANEW;
use crate::store::{ErrorKind, MAX_NOTE_ROWS, Result, StoreError, limits};
use crate::supervise;

/// Queue of writes that somebody waits for.
pub(super) const URGENT: usize = 0;

/// Queue of the checkpoint's writes.
pub(super) const CHECKPOINT: usize = 1;

/// Chunks are at most 64 KiB: 64 MiB queued. A lane has one chunk in flight, so a thousand lanes fit.
const URGENT_CAPACITY: usize = 1024;

/// Batches of at most 512 rows.
const CHECKPOINT_CAPACITY: usize = 64;

/// Most bytes in one urgent transaction: more would let the first of them wait for the last.
const URGENT_BYTES: usize = 1 << 20;

/// Bytes written between two looks at the size of the WAL.
const LOOK_EVERY_BYTES: usize = 1 << 20;

/// WAL pages from which the writer no longer waits for the checkpoint thread: 64 MiB.
const HELP_AT_PAGES: i64 = 4 * checkpoint::BEGIN_AT_PAGES;

/// Pause after a panic: one that comes back every time must not take the processor.
const PANIC_PAUSE: Duration = Duration::from_millis(100);

/// Pauses between two attempts to begin anew after a flush that failed.
const FIRST_ANEW_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_ANEW_PAUSE: Duration = Duration::from_secs(30);

/// What reaches the writer.
pub(super) type WriteInbox = Inbox<Job, 2>;

/// A write and who waits for it.
pub(super) struct Job {
    pub(super) write: Write,
    pub(super) reply: oneshot::Sender<Result<Outcome>>,
}

/// The queues, empty.
pub(super) fn inbox() -> WriteInbox {
    Inbox::new([
        Lane { name: "urgent", capacity: URGENT_CAPACITY },
        Lane { name: "checkpoint", capacity: CHECKPOINT_CAPACITY },
    ])
}

/// The transaction is not committed: nothing of it is on disk, for certain or perhaps.
enum Failure {
    /// Rolled back.
    Definite(rusqlite::Error),
    /// COMMIT met an I/O error.
    Doubtful(rusqlite::Error),
}

/// The thread's state.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) inbox: Arc<WriteInbox>,
    pub(super) shared: Arc<checkpoint::Shared>,
    pub(super) signal: SyncSender<()>,
    /// `None` after an I/O error, until it can be opened again.
    pub(super) connection: Option<Connection>,
    pub(super) interned: Interned,
    pub(super) unseen_bytes: usize,
    /// Of the threads that read: they close their connections when all begin anew.
    pub(super) readers: Arc<ReadInbox>,
    /// When to begin anew after a flush failed, and how long to wait when that fails, too.
    pub(super) begin_anew: Option<(Instant, Duration)>,
    #[cfg(test)]
    pub(super) faults: Arc<super::tests::Faults>,
}

impl Writer {
    /// Serves until the inbox is closed and empty. Gives the connection back, to be closed last.
    pub(super) fn run(mut self) -> Option<Connection> {
        /// Callers must not wait for a thread that is gone, whatever ended it.
        struct Abandon(Arc<WriteInbox>);
        impl Drop for Abandon {
            fn drop(&mut self) {
                self.0.abandon();
            }
        }
        // Nothing is known of it until the first look, and that may be far off.
        metrics::gauge!("store_wal_pages").set(0.0);
        let inbox = Arc::clone(&self.inbox);
        let _abandon = Abandon(Arc::clone(&inbox));

        while let Some((urgent, others)) = inbox.take(|[urgent, others]| {
            let mut bytes = 0;
            let mut rows = 0;
            let urgent = take_while(urgent, |write| {
                bytes += write.weight();
                bytes <= URGENT_BYTES
            });
            let others = take_while(others, |write| {
                rows += write.rows();
                rows <= MAX_NOTE_ROWS
            });
            (urgent, others)
        }) {
            let served = supervise::caught("store-write", || {
                self.serve(URGENT, urgent);
                self.serve(CHECKPOINT, others);
                self.look_after_wal();
            });
            if served.is_none() {
                // Those who were being served hear that nothing is known. A transaction that was open ends with its
                // connection; what was committed is settled when the next one is opened.
                self.connection = None;
                self.interned.clear();
                std::thread::sleep(PANIC_PAUSE);
            }
        }
        self.connection
    }

    fn serve(&mut self, queue: usize, mut jobs: Vec<Job>) {
        jobs.retain(|job| !job.reply.is_closed() || job.write.is_worth_finishing());
        if jobs.is_empty() {
            return;
        }
        let answers = self.answers(&jobs);
        for (job, answer) in jobs.into_iter().zip(answers) {
            match answer {
                Ok(Outcome::Unfinished) => self.inbox.put_back(queue, job),
                Ok(Outcome::NotRegistered) => drop(job.reply.send(Err(limits::not_registered(BACKEND)))),
                Ok(Outcome::Mismatch { seq }) => drop(job.reply.send(Err(limits::mismatch(BACKEND, seq)))),
                // Nobody listens any more: the caller gave up, and what it wrote stays written.
                answer => drop(job.reply.send(answer)),
            }
        }
    }

    /// Writes the jobs, together if possible, and says what became of each.
    fn answers(&mut self, jobs: &[Job]) -> Vec<Result<Outcome>> {
        match self.transact(jobs) {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(Failure::Definite(error)) if jobs.len() == 1 => vec![Err(schema::translate(&self.path, error))],
            // One that does not fit, or that meets a bad page, must not fail the others.
            Err(Failure::Definite(_)) => match self.ensure_open() {
                Ok(()) => jobs.iter().map(|job| self.alone(job)).collect(),
                Err(again) => all(jobs, again.kind, &again.source.to_string()),
            },
            Err(Failure::Doubtful(error)) => {
                tracing::error!(%error, "commit met an i/o error; opening the database again");
                match self.ensure_open() {
                    Ok(()) => jobs.iter().map(|job| self.settle(job, &error)).collect(),
                    Err(again) => all(jobs, ErrorKind::Unknown, &format!("commit failed: {error}; then: {again}")),
                }
            }
        }
    }

    fn ensure_open(&mut self) -> Result<()> {
        if self.shared.has_failed() {
            self.begin_anew().map_err(|error| schema::translate(&self.path, error))?;
        }
        if self.connection.is_none() {
            self.connection = Some(self.reopen().map_err(|error| schema::translate(&self.path, error))?);
        }
        Ok(())
    }

    fn alone(&mut self, job: &Job) -> Result<Outcome> {
        match self.transact(std::slice::from_ref(job)) {
            Ok(mut outcomes) => outcomes.pop().ok_or_else(|| unknown("nothing was done".into())),
            Err(Failure::Definite(error)) => Err(schema::translate(&self.path, error)),
            Err(Failure::Doubtful(error)) => Err(unknown(format!("commit failed: {error}"))),
        }
    }

    /// After a COMMIT of doubtful outcome: opening the connection again emptied the WAL into the database, flushed, so
    /// what is there now is durable and what is not will never be. Every write is idempotent and is simply written, on
    /// the new connection; except compare-and-set, where "it is there" does not say who put it there.
    fn settle(&mut self, job: &Job, error: &rusqlite::Error) -> Result<Outcome> {
        let doubtful = || unknown(format!("commit failed: {error}"));
        if job.write.is_compare_and_set() {
            return Err(doubtful());
        }
        self.alone(job).map_err(|again| match again.kind {
            ErrorKind::Refused => again,
            _ => doubtful(),
        })
    }

    /// One transaction.
    fn transact(&mut self, jobs: &[Job]) -> std::result::Result<Vec<Outcome>, Failure> {
        if self.shared.has_failed() {
            self.begin_anew().map_err(Failure::Definite)?;
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reopen().map_err(Failure::Definite)?,
        };
        let begun = Instant::now();
        let mut result = execute(&connection, &mut self.interned, jobs).map_err(Failure::Definite);
        if result.is_ok()
            && let Err(error) = self.commit(&connection)
        {
            let doubtful = is_io(&error);
            result = Err(if doubtful { Failure::Doubtful(error) } else { Failure::Definite(error) });
        }
        match &result {
            Ok(_) => {
                metrics::histogram!("store_commit_seconds").record(begun.elapsed());
                self.unseen_bytes += jobs.iter().map(|job| job.write.weight()).sum::<usize>();
                self.connection = Some(connection);
            }
            Err(Failure::Definite(error) | Failure::Doubtful(error)) => {
                // Ids given inside the transaction are gone with it.
                self.interned.clear();
                let rolled_back = connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok();
                if rolled_back && !is_io(error) {
                    self.connection = Some(connection);
                }
            }
        }
        result
    }

    fn commit(&self, connection: &Connection) -> rusqlite::Result<()> {
        #[cfg(test)]
        self.faults.before_commit()?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        #[cfg(test)]
        self.faults.after_commit()?;
        Ok(())
    }

    /// A new connection after an I/O error. A transaction whose COMMIT failed may still lie in the WAL, and be found
    /// there after a crash, or be seen without being on disk. Emptying the WAL settles it: what SQLite counts as
    /// committed is copied and flushed anew, the rest is cut off.
    fn reopen(&self) -> rusqlite::Result<Connection> {
        let opened = schema::connect(&self.path, Role::Writer).map_err(|error| unavailable(&error.to_string()))?;
        #[cfg(test)]
        self.faults.on_reopen()?;
        let progress = self.shared.checkpoint(&opened, Mode::Truncate)?;
        if !progress.is_complete() {
            return Err(unavailable("the database is being read; its journal cannot be emptied yet"));
        }
        tracing::info!("database opened again after an i/o error");
        Ok(opened)
    }

    /// After a flush of the database that failed, what a start would do: closes every connection, so that SQLite forgets
    /// which pages it took for copied, and copies and flushes all of the WAL. Tried at growing intervals for as long as it
    /// fails: a process that ended would find the same disk, and could not show results meanwhile.
    fn begin_anew(&mut self) -> rusqlite::Result<()> {
        let now = Instant::now();
        let (due, pause) = *self.begin_anew.get_or_insert((now, FIRST_ANEW_PAUSE));
        if now < due {
            return Err(unavailable("a flush of the database failed; its log is about to be copied anew"));
        }
        let outcome = self.try_begin_anew();
        match &outcome {
            Ok(()) => {
                self.begin_anew = None;
                self.shared.forget_failure();
                metrics::counter!(STORE_BEGUN_ANEW).increment(1);
                tracing::warn!("after a failed flush all of the log was copied anew; writes go on");
            }
            Err(error) => {
                self.begin_anew = Some((Instant::now() + pause, (pause * 2).min(LONGEST_ANEW_PAUSE)));
                tracing::error!(%error, "after a failed flush the log cannot be copied anew yet; trying again");
            }
        }
        outcome
    }

    fn try_begin_anew(&mut self) -> rusqlite::Result<()> {
        let kept = |connection: &Connection| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        self.interned.clear();
        if let Some(connection) = self.connection.take() {
            kept(&connection)?;
        }
        *self.shared.copier.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let Some(_paused) = readers::pause(&self.readers) else {
            return Err(unavailable("a flush of the database failed, and a long reading keeps its log in use"));
        };
        let opened = schema::connect(&self.path, Role::Writer).map_err(|error| unavailable(&error.to_string()))?;
        // Until all is well it must not touch the WAL when it closes.
        kept(&opened)?;
        #[cfg(test)]
        self.faults.on_reopen()?;
        let found = checkpoint::checkpoint(&opened, Mode::Look)?;
        if found.copied > 0 {
            // Another program has the database open: what was taken for copied still is.
            return Err(unavailable("a flush of the database failed, and another program has the database open"));
        }
        if !checkpoint::checkpoint(&opened, Mode::Truncate)?.is_complete() {
            return Err(unavailable("a flush of the database failed; its log is being read and cannot be emptied yet"));
        }
        opened.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        self.connection = Some(opened);
        Ok(())
    }

    /// Keeps the WAL bounded: wakes the checkpoint thread, and helps when it cannot keep up.
    fn look_after_wal(&mut self) {
        let Some(connection) = self.connection.as_ref().filter(|_| !self.shared.has_failed()) else { return };
        let asked = self.shared.finish.swap(false, Ordering::AcqRel);
        if !asked && self.unseen_bytes < LOOK_EVERY_BYTES {
            return;
        }
        self.unseen_bytes = 0;
        let mut result = self.shared.checkpoint(connection, if asked { Mode::Passive } else { Mode::Look });
        if let Ok(progress) = result
            && progress.pages > progress.copied
        {
            if progress.pages >= HELP_AT_PAGES && !asked {
                result = self.shared.checkpoint(connection, Mode::Passive);
            } else if progress.pages >= checkpoint::BEGIN_AT_PAGES {
                // A signal that is already there is enough.
                let _ = self.signal.try_send(());
            }
        }
        match result {
            Ok(progress) => metrics::gauge!("store_wal_pages").set(progress.pages as f64),
            Err(error) => {
                tracing::warn!(%error, "checkpoint failed; it is tried again");
                if is_io(&error) {
                    self.connection = None;
                    self.interned.clear();
                }
            }
        }
    }
}

/// The same answer to all.
fn all(jobs: &[Job], kind: ErrorKind, text: &str) -> Vec<Result<Outcome>> {
    jobs.iter().map(|_| Err(StoreError::new(kind, BACKEND, text))).collect()
}

/// The first of a queue: always one, more while they fit.
fn take_while(queue: &mut std::collections::VecDeque<Job>, mut fits: impl FnMut(&Write) -> bool) -> Vec<Job> {
    let mut count = queue.iter().take_while(|job| fits(&job.write)).count();
    count = count.max(1).min(queue.len());
    queue.drain(..count).collect()
}

fn execute(connection: &Connection, interned: &mut Interned, jobs: &[Job]) -> rusqlite::Result<Vec<Outcome>> {
    // IMMEDIATE: wait for a tool's transaction here, not in the middle.
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    jobs.iter().map(|job| job.write.execute(connection, interned)).collect()
}

fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

fn unknown(text: String) -> StoreError {
    StoreError::new(ErrorKind::Unknown, BACKEND, text)
}

/// An error of our own among SQLite's: it cannot be written now.
fn unavailable(text: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), Some(text.to_owned()))
}
