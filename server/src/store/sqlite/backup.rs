//! A copy of the database while a server writes to it.
//!
//! **Invariant**: the copy is one moment of the database, and whole: it has its name only after it was flushed and found
//! sound. The server never waits for it: a reader of the WAL holds up no writer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::schema::{self, Role};
use super::{BACKEND, SqliteStore};
use crate::store::{ErrorKind, Result, StoreError};

/// Pages copied at a time: 4 MiB.
const STEP_PAGES: std::os::raw::c_int = 1024;

/// Pause when the copy's file is busy, which only another program could make it.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

fn unavailable(text: impl std::fmt::Display) -> StoreError {
    StoreError::new(ErrorKind::Unavailable, BACKEND, text.to_string())
}

/// The copy under its temporary name, which does not outlive a failure.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            let _gone = std::fs::remove_file(schema::with_ending(&self.0, end));
        }
    }
}

impl SqliteStore {
    /// Copies the database of a data directory to a file that is not there yet, beside a server or without one; says how
    /// many pages of how many are done. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when there is no database, the file is there or cannot be written;
    /// [`ErrorKind::Corrupt`] when the database, and so the copy, is damaged. Then there is no copy.
    pub fn back_up(dir: &Path, to: &Path, mut told: impl FnMut(u64, u64)) -> Result<()> {
        let path = dir.join(schema::DATABASE);
        if !path.exists() {
            return Err(unavailable(format!("there is no {}", path.display())));
        }
        if to.exists() {
            return Err(unavailable(format!("{} is there already; name another file", to.display())));
        }
        let source = schema::connect(&path, Role::Reader)?;
        schema::check_version(&path, &source)?;
        let partial = Partial(schema::with_ending(to, ".partial"));
        drop(schema::private_file(&partial.0)?);
        let of_copy = |error| schema::translate(&partial.0, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(&partial.0, flags).map_err(of_copy)?;
        copy_all(&path, &source, &mut copy, &mut told)?;
        let verdict: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(of_copy)?;
        if verdict != "ok" {
            return Err(schema::damaged(&path, verdict.trim()));
        }
        copy.close().map_err(|(_, error)| of_copy(error))?;
        let publish = || -> std::io::Result<()> {
            std::fs::File::open(&partial.0)?.sync_all()?;
            // Not renamed over: of two backups to one name the second must not replace the first.
            std::fs::hard_link(&partial.0, to)?;
            let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::File::open(folder)?.sync_all()
        };
        publish().map_err(|error| unavailable(format!("{}: {error}", to.display())))
    }
}

fn copy_all(path: &Path, source: &Connection, copy: &mut Connection, told: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let translated = |error| schema::translate(path, error);
    // One reading transaction around all steps: without it the copy begins anew whenever the server commits.
    source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;").map_err(translated)?;
    let backup = Backup::new(source, copy).map_err(translated)?;
    loop {
        let step = backup.step(STEP_PAGES).map_err(translated)?;
        let progress = backup.progress();
        let pages = |count: std::os::raw::c_int| u64::try_from(count).unwrap_or(0);
        told(pages(progress.pagecount - progress.remaining), pages(progress.pagecount));
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => std::thread::sleep(BUSY_PAUSE),
        }
    }
    drop(backup);
    source.execute_batch("COMMIT").map_err(translated)
}
