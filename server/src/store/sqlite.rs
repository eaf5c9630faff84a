//! One machine: everything in one SQLite file, `bareme.sqlite3`, in a directory that one server locks.
//!
//! WAL mode with `synchronous = FULL`: COMMIT returns once the transaction is flushed to disk. One thread writes (see
//! `writer`), a few read, one copies the WAL into the database. The file is meant to be read by people too:
//! `sqlite3 bareme.sqlite3 'SELECT * FROM v_notes'`.
//!
//! Invariant: only `writer` writes, and nothing but [`Store::delete_record`], [`Store::prune_journal`] and
//! [`Store::prune_notes`] deletes.

mod backup;
mod checkpoint;
mod inbox;
mod ops;
mod readers;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tokio::sync::oneshot;

use self::inbox::Refusal;
use self::ops::{Outcome, Write, find_item, find_lane, journal_id, signed, text, unsigned};
use self::readers::Readers;
use self::schema::Role;
use self::writer::{CHECKPOINT, Job, URGENT, WriteInbox, Writer};
use super::{
    ErrorKind, ItemId, LANE_PAGE, LaneId, LaneRow, MAX_SEQ, NoteRow, Payload, PhaseRow, Record, RecordKey, RecordKind,
    Result, Store, StoreError, Swap, WriterId, limits,
};
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::domain::viewer::ViewerId;

const BACKEND: &str = "sqlite";

/// An open data directory. Dropping it finishes what was accepted and closes the file; that blocks for a moment.
pub struct SqliteStore {
    inbox: Arc<WriteInbox>,
    readers: Readers,
    shared: Arc<checkpoint::Shared>,
    writer: Option<JoinHandle<Option<Connection>>>,
    checkpointer: Option<JoinHandle<()>>,
    // In this order: descriptor after the connections, lock last.
    _file: Arc<File>,
    _lock: Option<schema::Lock>,
    #[cfg(test)]
    faults: Arc<tests::Faults>,
}

impl SqliteStore {
    /// Opens a data directory as its one server, making it if it is missing. Blocks: reads the whole file once, to
    /// find damage.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if another server has it or the file system fails, [`ErrorKind::Corrupt`] if the file
    /// is damaged or another program's, [`ErrorKind::Newer`] if a newer version of this program wrote it. The message
    /// says what to do; nothing is deleted.
    pub fn open(dir: &Path) -> Result<Self> {
        schema::make_directory(dir)?;
        let lock = schema::Lock::try_take(dir)?.ok_or_else(|| schema::Lock::held(dir))?;
        let path = dir.join(schema::DATABASE);
        let file = schema::database_file(dir)?;
        schema::check_header(&path, &file)?;
        schema::prepare(&path)?;
        Self::start(path, file, Some(lock))
    }

    /// Whether a directory holds a database.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(schema::DATABASE).exists()
    }

    /// Opens a data directory for a tool that reads and writes [`Record`]s while a server may be running.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; also [`ErrorKind::Unavailable`] if the server that runs is of another version.
    pub fn open_beside(dir: &Path) -> Result<Self> {
        schema::make_directory(dir)?;
        let path = dir.join(schema::DATABASE);
        match schema::Lock::try_take(dir)? {
            // No server: what a server would do, then let one come.
            Some(_lock) => {
                let file = schema::database_file(dir)?;
                schema::check_header(&path, &file)?;
                schema::prepare(&path)?;
                Self::start(path, file, None)
            }
            None => {
                let version = schema::check_version(&path, &schema::connect(&path, Role::Reader)?)?;
                if version != schema::SCHEMA_VERSION {
                    let text = "the server that is running is of another version, or just starting; use its own tool";
                    return Err(StoreError::new(ErrorKind::Unavailable, BACKEND, text));
                }
                let file = schema::database_file(dir)?;
                Self::start(path, file, None)
            }
        }
    }

    fn start(path: PathBuf, file: Arc<File>, lock: Option<schema::Lock>) -> Result<Self> {
        let unavailable = |error: std::io::Error| StoreError::new(ErrorKind::Unavailable, BACKEND, error);
        let readers = Readers::start(&path)?;
        let inbox = Arc::new(writer::inbox());
        let shared = Arc::new(checkpoint::Shared::default());
        let (signal, signals) = mpsc::sync_channel(1);
        #[cfg(test)]
        let faults = Arc::<tests::Faults>::default();
        let connection = schema::connect(&path, Role::Writer)?;
        // A server's: a tool's few writes do not need it.
        if lock.is_some()
            && let Err(error) = schema::lay_out_wal(&path, &connection)
        {
            tracing::warn!(%error, "no room is laid out for the write-ahead log; commits take longer while it grows");
        }
        let writer = Writer {
            connection: Some(connection),
            path: path.clone(),
            inbox: Arc::clone(&inbox),
            shared: Arc::clone(&shared),
            signal,
            interned: ops::Interned::default(),
            unseen_bytes: 0,
            readers: Arc::clone(&readers.inbox),
            begin_anew: None,
            #[cfg(test)]
            faults: Arc::clone(&faults),
        };
        let writer = std::thread::Builder::new().name("store-write".into()).spawn(move || writer.run());
        let mut store = Self {
            inbox,
            readers,
            shared: Arc::clone(&shared),
            writer: Some(writer.map_err(unavailable)?),
            checkpointer: None,
            _file: Arc::clone(&file),
            _lock: lock,
            #[cfg(test)]
            faults,
        };
        let checkpointer = std::thread::Builder::new().name("store-copy".into());
        let checkpointer = checkpointer.spawn(move || checkpoint::run(&path, &file, &shared, &signals));
        store.checkpointer = Some(checkpointer.map_err(unavailable)?);
        Ok(store)
    }

    /// Moves a chunk that cannot be read to the table `set_aside`, and puts one that can be read in its place.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub async fn set_aside(&self, item: ItemId, lane: LaneId, seq: u64, instead: Bytes) -> Result<()> {
        limits::chunk(BACKEND, seq, &instead)?;
        self.do_write(URGENT, Write::SetAside { item, lane, seq, instead }).await
    }

    async fn write(&self, queue: usize, write: Write) -> Result<Outcome> {
        let (reply, answer) = oneshot::channel();
        let name = if queue == URGENT { "urgent" } else { "checkpoint" };
        self.inbox.push(queue, Job { write, reply }).map_err(|refusal| queue_error(name, refusal))?;
        answer.await.map_err(|_| StoreError::new(ErrorKind::Unknown, BACKEND, "the writing thread stopped"))?
    }

    async fn do_write(&self, queue: usize, write: Write) -> Result<()> {
        self.write(queue, write).await.map(|_| ())
    }

    async fn swap(&self, write: Write) -> Result<Swap> {
        match self.write(URGENT, write).await? {
            Outcome::Swap(swap) => Ok(swap),
            _ => Err(StoreError::new(ErrorKind::Unknown, BACKEND, "the writer answered another question")),
        }
    }
}

fn queue_error(queue: &str, refusal: Refusal) -> StoreError {
    let text = match refusal {
        Refusal::Full => format!("the {queue} queue is full"),
        Refusal::Closed => "the store is closed".to_owned(),
    };
    StoreError::new(ErrorKind::Unavailable, BACKEND, text)
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.inbox.close();
        self.readers.stop();
        // A thread that panicked has dropped its connection.
        let connection = self.writer.take().and_then(|thread| thread.join().ok()).flatten();
        if let Some(thread) = self.checkpointer.take() {
            let _ = thread.join();
        }
        // The last connection to close copies the WAL into the database and removes it, which is tidy; but after a
        // failed flush the WAL is the only good copy of some pages.
        if let Some(connection) = connection
            && self.shared.has_failed()
        {
            let keep = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            if let Err(error) = connection.set_db_config(keep, true) {
                tracing::error!(%error, "the write-ahead log cannot be kept");
            }
        }
    }
}

fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<uuid::Uuid> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error: uuid::Error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}

fn blob(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    row.get::<_, Vec<u8>>(column).map(Bytes::from)
}

fn record_row(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record { id: row.get(0)?, revision: unsigned(row, 1)?, body: row.get(2)? })
}

fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for SqliteStore {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<()> {
        self.do_write(URGENT, Write::Probe).await
    }

    async fn register_lane(&self, item: ItemId, lane: LaneId, format: u8) -> Result<()> {
        self.do_write(URGENT, Write::RegisterLane { item, lane, format }).await
    }

    async fn lanes(&self, item: ItemId) -> Result<Vec<LaneRow>> {
        let read = move |connection: &Connection| {
            let sql = "SELECT writer, number, format, materialised FROM lanes JOIN items USING (item) \
                       WHERE live_id = ?1 AND jeu_id = ?2 ORDER BY writer, number";
            let row = |row: &Row<'_>| {
                let id = LaneId { writer: WriterId(uuid(row, 0)?), lane: row.get(1)? };
                Ok(LaneRow { id, format: row.get(2)?, materialised: unsigned(row, 3)? })
            };
            connection.prepare_cached(sql)?.query_map(params![text(item.live.0), item.jeu.0], row)?.collect()
        };
        self.readers.read(read).await
    }

    async fn append(&self, item: ItemId, lane: LaneId, seq: u64, chunk: Bytes) -> Result<()> {
        limits::chunk(BACKEND, seq, &chunk)?;
        self.do_write(URGENT, Write::Append { item, lane, seq, chunk }).await
    }

    async fn read_lane(&self, item: ItemId, lane: LaneId, from_seq: u64) -> Result<Vec<(u64, Bytes)>> {
        if from_seq > MAX_SEQ {
            return Ok(Vec::new());
        }
        let read = move |connection: &Connection| {
            // Two statements, two snapshots: the number of a lane never becomes another lane's.
            let Some(lane) = find_lane(connection, item, lane)? else { return Ok(Vec::new()) };
            let first = journal_id(lane, 0);
            let sql = "SELECT id, chunk FROM journal WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3";
            let range = params![journal_id(lane, from_seq), journal_id(lane + 1, 0), row_limit(LANE_PAGE)];
            let row = |row: &Row<'_>| Ok(((row.get::<_, i64>(0)? - first).cast_unsigned(), blob(row, 1)?));
            connection.prepare_cached(sql)?.query_map(range, row)?.collect()
        };
        self.readers.read(read).await
    }

    async fn prune_journal(&self, item: ItemId) -> Result<()> {
        self.do_write(CHECKPOINT, Write::PruneJournal { item }).await
    }

    async fn write_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        limits::rows(BACKEND, &rows)?;
        self.do_write(CHECKPOINT, Write::Notes { item, rows }).await
    }

    async fn read_notes(&self, item: ItemId, after: Option<ViewerId>, limit: usize) -> Result<Vec<NoteRow>> {
        let read = move |connection: &Connection| {
            let Some(item) = find_item(connection, item)? else { return Ok(Vec::new()) };
            // An empty blob is before every viewer.
            let after = after.as_ref().map_or(&[][..], |viewer| &viewer.0[..]);
            let sql = "SELECT viewer, version, payload FROM notes WHERE item = ?1 AND viewer > ?2 \
                       ORDER BY viewer LIMIT ?3";
            let row = |row: &Row<'_>| {
                let payload = row.get_ref(2)?.as_blob().map(Payload::from_slice)?;
                Ok(NoteRow { viewer: ViewerId(row.get(0)?), version: unsigned(row, 1)?, payload })
            };
            connection.prepare_cached(sql)?.query_map(params![item, after, row_limit(limit)], row)?.collect()
        };
        self.readers.read(read).await
    }

    async fn prune_notes(&self, item: ItemId) -> Result<()> {
        self.do_write(CHECKPOINT, Write::PruneNotes { item }).await
    }

    async fn restore_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        self.write_notes(item, rows).await
    }

    async fn advance_materialised(&self, item: ItemId, lane: LaneId, materialised: u64) -> Result<()> {
        limits::number(BACKEND, "materialised", materialised)?;
        self.do_write(CHECKPOINT, Write::AdvanceMaterialised { item, lane, materialised }).await
    }

    async fn raise_rank(&self, item: ItemId, rank: Rank) -> Result<()> {
        limits::number(BACKEND, "rank", rank.0)?;
        self.do_write(URGENT, Write::RaiseRank { item, rank }).await
    }

    async fn ranks(&self, live: LiveId) -> Result<Vec<PhaseRow>> {
        let read = move |connection: &Connection| {
            let sql = "SELECT jeu_id, rank FROM jeu_state WHERE live_id = ?1 ORDER BY jeu_id";
            let row = |row: &Row<'_>| Ok(PhaseRow { jeu: JeuId(row.get(0)?), rank: Rank(unsigned(row, 1)?) });
            connection.prepare_cached(sql)?.query_map([text(live.0)], row)?.collect()
        };
        self.readers.read(read).await
    }

    async fn put_result(&self, item: ItemId, epoch: u64, body: Bytes) -> Result<()> {
        limits::number(BACKEND, "epoch", epoch)?;
        self.do_write(URGENT, Write::PutResult { item, epoch, body }).await
    }

    async fn result(&self, item: ItemId, epoch: u64) -> Result<Option<Bytes>> {
        if limits::number(BACKEND, "epoch", epoch).is_err() {
            return Ok(None);
        }
        let read = move |connection: &Connection| {
            let sql = "SELECT body FROM results WHERE live_id = ?1 AND jeu_id = ?2 AND epoch = ?3";
            let key = params![text(item.live.0), item.jeu.0, signed(epoch)];
            connection.prepare_cached(sql)?.query_row(key, |row| blob(row, 0)).optional()
        };
        self.readers.read(read).await
    }

    async fn beat(&self, live: LiveId, writer: WriterId, body: Bytes) -> Result<()> {
        self.do_write(URGENT, Write::Beat { live, writer, body }).await
    }

    async fn heartbeats(&self, live: LiveId) -> Result<Vec<(WriterId, Bytes)>> {
        let read = move |connection: &Connection| {
            let sql = "SELECT writer, body FROM heartbeats WHERE live_id = ?1 ORDER BY writer";
            let row = |row: &Row<'_>| Ok((WriterId(uuid(row, 0)?), blob(row, 1)?));
            connection.prepare_cached(sql)?.query_map([text(live.0)], row)?.collect()
        };
        self.readers.read(read).await
    }

    async fn record(&self, key: &RecordKey) -> Result<Option<Record>> {
        let key = key.clone();
        let read = move |connection: &Connection| {
            let sql = "SELECT id, revision, body FROM records WHERE kind = ?1 AND scope = ?2 AND id = ?3";
            let key = params![key.kind.as_str(), key.scope, key.id];
            connection.prepare_cached(sql)?.query_row(key, record_row).optional()
        };
        self.readers.read(read).await
    }

    async fn records(&self, kind: RecordKind, scope: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>> {
        let (scope, after) = (scope.to_owned(), after.map(str::to_owned));
        let read = move |connection: &Connection| {
            // Two statements, so that each walks the index from its place.
            let (sql, after) = match after {
                Some(after) => (
                    "SELECT id, revision, body FROM records WHERE kind = ?1 AND scope = ?2 AND id > ?3 \
                     ORDER BY id LIMIT ?4",
                    after,
                ),
                None => (
                    "SELECT id, revision, body FROM records WHERE kind = ?1 AND scope = ?2 AND id >= ?3 \
                     ORDER BY id LIMIT ?4",
                    String::new(),
                ),
            };
            let key = params![kind.as_str(), scope, after, row_limit(limit)];
            connection.prepare_cached(sql)?.query_map(key, record_row)?.collect()
        };
        self.readers.read(read).await
    }

    async fn put_record(&self, key: &RecordKey, expected: u64, body: String) -> Result<Swap> {
        limits::record(BACKEND, expected, &body)?;
        self.swap(Write::PutRecord { key: key.clone(), expected, body }).await
    }

    async fn delete_record(&self, key: &RecordKey, expected: u64) -> Result<Swap> {
        limits::number(BACKEND, "revision", expected)?;
        self.swap(Write::DeleteRecord { key: key.clone(), expected }).await
    }
}
