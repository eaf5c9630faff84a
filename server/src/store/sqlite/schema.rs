//! The file: its tables, its connections, and what is refused when it is opened.
//!
//! Invariant: nothing here deletes or rewrites what it does not understand. A damaged, foreign or newer file is left
//! as it is, and the error says what a person can do.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use rusqlite_migration::{M, Migrations};

use super::{BACKEND, StoreError};
use crate::store::{ErrorKind, MAX_SEQ, Result};

/// Name of the database in its directory.
pub(super) const DATABASE: &str = "bareme.sqlite3";

/// Name of the lock file beside it.
const LOCK: &str = "bareme.lock";

/// Bits of `journal.id` below the lane.
pub(super) const SEQ_BITS: u32 = 36;
const _: () = assert!(MAX_SEQ == (1 << SEQ_BITS) - 1);

/// "BARE" in the header of the file, so that another program's database is not taken for ours.
const APPLICATION_ID: i32 = 0x4241_5245;

/// How long to wait for a tool that writes beside the server. Its transactions take milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// What the WAL file is cut to when it starts over: a burst does not keep its room for ever.
const WAL_SIZE_LIMIT_BYTES: u64 = 64 << 20;

/// Room in the WAL file that is written before it is needed: what it holds when a checkpoint begins, and what comes
/// while that runs. A flush of what was overwritten has the data to write alone; that of a file that grew also its length
/// and its new blocks.
const WAL_READY_BYTES: u64 = 20 << 20;

/// Page cache of the writer: the inner pages of `notes` for a million viewers, and the leaves of a checkpoint.
const WRITER_CACHE_KIB: u32 = 32 << 10;

/// The first 16 bytes of every SQLite 3 file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// `journal.id` holds lane and seq in one integer, so that a chunk is one row of a rowid table: a text key would be
/// written again in each row and in a second tree. In a WITHOUT ROWID table a chunk of 100 notes would overflow its page.
const TABLES: &str = "
CREATE TABLE items (
    item INTEGER PRIMARY KEY,
    live_id TEXT NOT NULL,
    jeu_id INTEGER NOT NULL,
    UNIQUE (live_id, jeu_id)
) STRICT;
CREATE TABLE lanes (
    lane INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL,
    writer TEXT NOT NULL,
    number INTEGER NOT NULL,
    format INTEGER NOT NULL,
    materialised INTEGER NOT NULL DEFAULT 0,
    UNIQUE (item, writer, number)
) STRICT;
CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    chunk BLOB NOT NULL
) STRICT;
CREATE TABLE set_aside (
    id INTEGER PRIMARY KEY,
    chunk BLOB NOT NULL
) STRICT;
CREATE TABLE notes (
    item INTEGER NOT NULL,
    viewer BLOB NOT NULL,
    version INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (item, viewer)
) STRICT, WITHOUT ROWID;
CREATE TABLE jeu_state (
    live_id TEXT NOT NULL,
    jeu_id INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    PRIMARY KEY (live_id, jeu_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE results (
    live_id TEXT NOT NULL,
    jeu_id INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (live_id, jeu_id, epoch)
) STRICT;
CREATE TABLE heartbeats (
    live_id TEXT NOT NULL,
    writer TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (live_id, writer)
) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (kind, scope, id)
) STRICT;
CREATE TABLE probe (
    id INTEGER PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT;

CREATE VIEW v_notes AS
    SELECT live_id, jeu_id, lower(hex(viewer)) AS viewer, version,
        strftime('%Y-%m-%dT%H:%M:%fZ', version / 1000000.0, 'unixepoch') AS chosen_at,
        lower(hex(payload)) AS payload
    FROM notes JOIN items USING (item);
CREATE VIEW v_journal AS
    SELECT live_id, jeu_id, writer, number AS lane, id & 0xFFFFFFFFF AS seq,
        (id & 0xFFFFFFFFF) < materialised AS materialised, length(chunk) AS bytes, lower(hex(chunk)) AS chunk
    FROM journal JOIN lanes ON lane = id >> 36 JOIN items USING (item);
CREATE VIEW v_phases AS
    SELECT live_id, jeu_id, rank / 4 AS epoch,
        CASE rank % 4 WHEN 0 THEN 'pending' WHEN 1 THEN 'open' WHEN 2 THEN 'closing' ELSE 'final' END AS phase
    FROM jeu_state;
CREATE VIEW v_channels AS
    SELECT id AS channel, revision, body FROM records WHERE kind = 'channel';
CREATE VIEW v_lives AS
    SELECT id AS live_id, revision,
        iif(json_valid(body), json_extract(body, '$.channel'), NULL) AS channel,
        iif(json_valid(body), json_extract(body, '$.title'), NULL) AS title,
        iif(json_valid(body), json_extract(body, '$.status'), NULL) AS status,
        iif(json_valid(body), json_extract(body, '$.current'), NULL) AS current,
        body
    FROM records WHERE kind = 'live';
";

/// Each migration is one transaction; a released one never changes.
static MIGRATIONS: LazyLock<Migrations<'static>> = LazyLock::new(|| Migrations::new(vec![M::up(TABLES)]));

/// `user_version` of a file that has all migrations.
pub(super) const SCHEMA_VERSION: i64 = 1;

fn refusal(kind: ErrorKind, text: String) -> StoreError {
    StoreError::new(kind, BACKEND, text)
}

fn file_error(path: &Path, error: &std::io::Error) -> StoreError {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        _ => ErrorKind::Unavailable,
    };
    refusal(kind, format!("{}: {error}", path.display()))
}

/// What to do with a file that cannot be read.
pub(super) fn damaged(path: &Path, what: &str) -> StoreError {
    let shown = path.display();
    let remedy = "stop the server, keep a copy of this file and of the -wal beside it, then restore a backup, or move \
                  both away to start empty";
    refusal(ErrorKind::Corrupt, format!("{shown} cannot be used: {what}; nothing was changed; {remedy}"))
}

/// An error of SQLite in this module's terms. Whether a write took place is for the caller to know: an I/O error says
/// [`ErrorKind::Unavailable`] here.
pub(super) fn translate(path: &Path, error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode;
    let kind = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DiskFull => ErrorKind::Full,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => return damaged(path, &error.to_string()),
            _ => ErrorKind::Unavailable,
        },
        rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..) => return damaged(path, &error.to_string()),
        _ => ErrorKind::Unavailable,
    };
    StoreError::new(kind, BACKEND, error)
}

/// Makes the data directory if it is missing, for its owner only.
pub(super) fn make_directory(dir: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| file_error(dir, &error))
}

/// Opens a file, making it if it is missing, for its owner only. SQLite gives the files beside it the same mode.
pub(super) fn private_file(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| file_error(path, &error))
}

/// A lock on the data directory, held until dropped: of a file of its own, and of the database itself. The first is there
/// before the database is, and says who holds it; the second holds also when somebody deletes the first.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    database: Option<Arc<File>>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Another store of this process may hold the descriptor, and would keep the lock with it.
        if let Some(Err(error)) = self.database.take().map(|database| database.unlock()) {
            tracing::warn!(%error, "the database stays locked until this process ends");
        }
    }
}

/// Locks the database against other servers, in a way that SQLite's own locks, which come and go, do not know of. Only on
/// Linux: elsewhere the two may be the same.
fn lock_database(dir: &Path) -> Result<std::result::Result<Option<Arc<File>>, std::fs::TryLockError>> {
    if !cfg!(target_os = "linux") {
        return Ok(Ok(None));
    }
    let file = database_file(dir)?;
    Ok(file.try_lock().map(|()| Some(file)))
}

impl Lock {
    /// Takes the lock, or `None` if another process holds it. The file stays when the lock goes: deleting it would let
    /// two processes lock two files of the same name.
    pub(super) fn try_take(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(LOCK);
        let mut file = private_file(&path)?;
        match file.try_lock() {
            Ok(()) => {
                let database = match lock_database(dir)? {
                    Ok(database) => database,
                    Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
                    Err(std::fs::TryLockError::Error(error)) => return Err(file_error(&path, &error)),
                };
                // For the message below, and only for that: a full disk must not keep the server from starting.
                let _ = file.set_len(0);
                let _ = write!(file, "{}", std::process::id());
                Ok(Some(Self { _file: file, database }))
            }
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(file_error(&path, &error)),
        }
    }

    /// The error for a directory that another process has locked.
    pub(super) fn held(dir: &Path) -> StoreError {
        let pid = std::fs::read_to_string(dir.join(LOCK)).unwrap_or_default();
        let by = if pid.is_empty() { String::new() } else { format!(" (process {pid})") };
        let text = format!(
            "another server{by} is using {}; stop it first, or give this one another data directory",
            dir.display()
        );
        refusal(ErrorKind::Unavailable, text)
    }
}

/// The database as a plain file, to read its header and to flush it.
///
/// SQLite locks with POSIX locks, which a process loses on a file as soon as it closes *any* descriptor of that file. So
/// there is one of these per file and process, kept until the last store on it is gone.
pub(super) fn database_file(dir: &Path) -> Result<Arc<File>> {
    static OPEN: Mutex<BTreeMap<PathBuf, Weak<File>>> = Mutex::new(BTreeMap::new());

    let dir = dir.canonicalize().map_err(|error| file_error(dir, &error))?;
    let path = dir.join(DATABASE);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = open.get(&path).and_then(Weak::upgrade) {
        return Ok(file);
    }
    open.retain(|_, file| file.strong_count() > 0);
    let existed = path.exists();
    let file = Arc::new(private_file(&path)?);
    if !existed {
        // The name itself must survive a power cut, or the first acknowledged note would not.
        File::open(&dir).and_then(|dir| dir.sync_all()).map_err(|error| file_error(&dir, &error))?;
    }
    open.insert(path, Arc::downgrade(&file));
    Ok(file)
}

/// Checks that the file is empty or a SQLite database, before SQLite touches it.
pub(super) fn check_header(path: &Path, mut file: &File) -> Result<()> {
    let length = file.metadata().map_err(|error| file_error(path, &error))?.len();
    if length == 0 {
        return Ok(());
    }
    let mut header = [0_u8; 16];
    match file.rewind().and_then(|()| file.read_exact(&mut header)) {
        Ok(()) if header == *MAGIC => Ok(()),
        Ok(()) => Err(damaged(path, "it is not a SQLite database")),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(damaged(path, "it is cut short")),
        Err(error) => Err(file_error(path, &error)),
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
    Checkpointer,
}

/// Opens a connection.
pub(super) fn connect(path: &Path, role: Role) -> Result<Connection> {
    let opened = || -> rusqlite::Result<Connection> {
        // Never SQLITE_OPEN_CREATE: a file that went away is an error, not a fresh start.
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // FULL also for the checkpointer: the level decides whether it syncs before and after copying.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Checkpoints run where and when `checkpoint` says, never inside somebody's COMMIT.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_prepared_statement_cache_capacity(64);
        match role {
            Role::Writer => {
                connection.pragma_update(None, "cache_size", -i64::from(WRITER_CACHE_KIB))?;
                connection.pragma_update(None, "journal_size_limit", WAL_SIZE_LIMIT_BYTES as i64)?;
            }
            Role::Reader => connection.pragma_update(None, "query_only", true)?,
            Role::Checkpointer => {}
        }
        if role != Role::Writer {
            // The writer's is the last to close, and knows whether the WAL may be emptied then.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        Ok(connection)
    };
    opened().map_err(|error| translate(path, error))
}

/// A file whose name goes on after that of another one.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Writes zeros behind what the WAL file holds, up to [`WAL_READY_BYTES`]. SQLite reads a WAL up to the first frame that
/// is none, and overwrites what comes after it.
///
/// # Errors
/// The system's or SQLite's, a full disk's among them. The WAL is as it was.
pub(super) fn lay_out_wal(path: &Path, writer: &Connection) -> Result<()> {
    let translated = |error| translate(path, error);
    // While this is held nobody else writes to the file, and nobody cuts it.
    let turn = Transaction::new_unchecked(writer, TransactionBehavior::Immediate).map_err(translated)?;
    let name = with_ending(path, "-wal");
    let file = OpenOptions::new().write(true).open(&name).map_err(|error| file_error(&name, &error))?;
    let outcome = zero_up_to(&file, WAL_READY_BYTES).map_err(|error| file_error(&name, &error));
    turn.rollback().map_err(translated)?;
    outcome
}

/// Lengthens a file with zeros that are on disk, or not at all.
fn zero_up_to(mut file: &File, length: u64) -> std::io::Result<()> {
    let begin = file.seek(SeekFrom::End(0))?;
    let missing = length.saturating_sub(begin);
    let written = std::io::copy(&mut std::io::repeat(0).take(missing), &mut file);
    written.and_then(|_| file.sync_all()).or_else(|error| {
        file.set_len(begin)?;
        Err(error)
    })
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Refuses a file of another program, or of a newer version of this one. Returns its schema version.
pub(super) fn check_version(path: &Path, connection: &Connection) -> Result<i64> {
    let translated = |error| translate(path, error);
    let version = pragma(connection, "user_version").map_err(translated)?;
    let application = pragma(connection, "application_id").map_err(translated)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(translated)?;
    if application != i64::from(APPLICATION_ID) && (tables > 0 || version != 0) {
        return Err(damaged(path, "it is the database of another program"));
    }
    if version > SCHEMA_VERSION {
        let shown = path.display();
        let text = format!(
            "{shown} has schema {version}, and this program knows {SCHEMA_VERSION}: a newer version wrote it; start \
             that version, or restore a backup made before the upgrade into another data directory"
        );
        return Err(refusal(ErrorKind::Newer, text));
    }
    Ok(version)
}

/// Looks for damage and brings the schema up to date. The lock is held.
pub(super) fn prepare(path: &Path) -> Result<()> {
    let translated = |error| translate(path, error);
    let mut connection = connect(path, Role::Writer)?;
    // Closing the last connection would copy the WAL into a file that may be about to be refused.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(translated)?;
    let version = check_version(path, &connection)?;
    if version > 0 {
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(translated)?;
        if verdict != "ok" {
            return Err(damaged(path, verdict.trim()));
        }
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(translated)?;
    if !mode.eq_ignore_ascii_case("wal") {
        let text = format!(
            "{} cannot be put in WAL mode: its file system has no shared memory; use a local disk",
            path.display()
        );
        return Err(refusal(ErrorKind::Unavailable, text));
    }
    if version == 0 {
        connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(translated)?;
    }
    MIGRATIONS.to_latest(&mut connection).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => translate(path, err),
        other => StoreError::new(ErrorKind::Unavailable, BACKEND, other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_apply_and_lead_to_the_schema_version() {
        MIGRATIONS.validate().unwrap();
        assert_eq!(
            MIGRATIONS.pending_migrations(&Connection::open_in_memory().unwrap()).unwrap(),
            SCHEMA_VERSION as i32
        );
    }

    #[test]
    fn commits_are_flushed_and_readers_cannot_write() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join(DATABASE);
        private_file(&path).unwrap();
        prepare(&path).unwrap();
        let writer = connect(&path, Role::Writer).unwrap();
        let full = 2;
        assert_eq!(pragma(&writer, "synchronous").unwrap(), full);
        assert_eq!(pragma(&writer, "wal_autocheckpoint").unwrap(), 0);
        let mode: String = writer.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        let reader = connect(&path, Role::Reader).unwrap();
        assert!(reader.execute("INSERT INTO probe VALUES (1, 1)", []).is_err());
    }

    #[test]
    fn sqlite_has_the_repair_of_concurrent_wal_resets() {
        // Before 3.51.3 a checkpoint and a writer on two connections could lose pages.
        assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    }
}
