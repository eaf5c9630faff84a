//! How many votes a second the embedded store makes durable on this machine.
//!
//! One lane, one chunk in flight, as the engine appends, alone and while a checkpoint of `notes` never ends; the same
//! bytes written and flushed to a plain file, which is what the disk allows; and one upsert per vote, which is what the
//! journal is instead of.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::viewer::ViewerId;
use crate::store::sqlite::SqliteStore;
use crate::store::{
    ErrorKind, ItemId, LaneId, MAX_NOTE_ROWS, NoteRow, Payload, Result, Store as _, StoreError, WriterId,
};

/// Votes in one commit.
const SIZES: [usize; 4] = [1, 10, 100, 1000];

/// How long each figure is measured.
const DURATION: Duration = Duration::from_secs(2);

/// Viewers of the checkpoint and of the upserts.
const VIEWERS: u64 = 200_000;

/// Viewer, version, length and the payload of a bareme of five criteres.
const VOTE_BYTES: usize = 16 + 8 + 2 + 6;

/// Header and checksum of a chunk.
const CHUNK_BYTES: usize = 20;

/// What was measured at one size.
#[derive(Debug, Clone)]
pub struct Row {
    /// Votes in one commit.
    pub votes_per_commit: usize,
    /// The store: one chunk per commit.
    pub store: Measure,
    /// The same while another thread writes rows of `notes` as fast as it can.
    pub beside_checkpoint: Measure,
    /// The same bytes appended to a plain file and flushed.
    pub raw: Measure,
    /// One upsert per vote in a SQLite file with the same settings.
    pub upserts: Measure,
}

/// One way of writing, measured.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Durable votes a second.
    pub votes_per_s: f64,
    /// CPU of the whole process, user and system, per vote.
    pub cpu_us_per_vote: f64,
    /// Median commit as the caller sees it.
    pub p50_us: f64,
    /// 99th percentile of the same.
    pub p99_us: f64,
    /// 99.9th percentile of the same, where copying the log would show.
    pub p999_us: f64,
}

/// Measures the embedded store in a directory of its own under `dir`, on that directory's disk. Takes about half a
/// minute, and leaves the directory for the caller to delete.
///
/// # Errors
/// Those of the store, and [`ErrorKind::Unavailable`] when a file cannot be written.
pub fn store_bench(dir: &Path) -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
    let dir = dir.join(format!("bench-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&dir).map_err(failed)?;
    SIZES
        .into_iter()
        .map(|votes| {
            let chunk = Bytes::from(vec![0x5A; CHUNK_BYTES + votes * VOTE_BYTES]);
            Ok(Row {
                votes_per_commit: votes,
                store: store(&runtime, &dir.join(format!("store-{votes}")), votes, &chunk, false)?,
                beside_checkpoint: store(&runtime, &dir.join(format!("both-{votes}")), votes, &chunk, true)?,
                raw: raw(&dir.join(format!("raw-{votes}")), votes, &chunk)?,
                upserts: upserts(&dir.join(format!("upserts-{votes}.sqlite3")), votes)?,
            })
        })
        .collect()
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(ErrorKind::Unavailable, "bench", error)
}

/// Repeats a commit for [`DURATION`].
fn measure(votes: usize, mut commit: impl FnMut(u64) -> Result<()>) -> Result<Measure> {
    let mut commits = Vec::with_capacity(100_000);
    let cpu = cpu_time();
    let begun = Instant::now();
    let mut last = begun;
    while last - begun < DURATION {
        commit(commits.len() as u64)?;
        let now = Instant::now();
        commits.push(now - last);
        last = now;
    }
    let cpu = cpu_time().saturating_sub(cpu);
    let total = (votes * commits.len()) as f64;
    commits.sort_unstable();
    let at = |per_mille: usize| commits[(commits.len() - 1) * per_mille / 1000].as_secs_f64() * 1e6;
    Ok(Measure {
        votes_per_s: total / (last - begun).as_secs_f64(),
        cpu_us_per_vote: cpu.as_secs_f64() * 1e6 / total,
        p50_us: at(500),
        p99_us: at(990),
        p999_us: at(999),
    })
}

/// CPU that this process used, in the kernel's hundredths of a second. Zero where there is no `/proc`.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold anything, in parentheses: fields 14 and 15 of the line are the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn store(
    runtime: &tokio::runtime::Runtime,
    dir: &Path,
    votes: usize,
    chunk: &Bytes,
    with_checkpoint: bool,
) -> Result<Measure> {
    let store = SqliteStore::open(dir)?;
    let item = ItemId { live: LiveId(Uuid::now_v7()), jeu: JeuId(1) };
    let lane = LaneId { writer: WriterId(Uuid::now_v7()), lane: 0 };
    runtime.block_on(store.register_lane(item, lane, 1))?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let checkpoint = with_checkpoint.then(|| scope.spawn(|| checkpoint(&store, item, &done)));
        let measured = measure(votes, |seq| runtime.block_on(store.append(item, lane, seq, chunk.clone())));
        done.store(true, Ordering::Relaxed);
        if let Some(checkpoint) = checkpoint {
            checkpoint.join().map_err(|_| failed(std::io::Error::other("the checkpoint panicked")))??;
        }
        measured
    })
}

/// Folds a tenth of the viewers again and again, in order, as the engine does once a second.
fn checkpoint(store: &SqliteStore, item: ItemId, done: &AtomicBool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
    for pass in 0_u64.. {
        let viewers: Vec<u64> =
            (0..VIEWERS).filter(|viewer| spread(viewer ^ (pass << 32)).is_multiple_of(10)).collect();
        let mut rows: Vec<_> = viewers
            .into_iter()
            .map(|viewer| NoteRow { viewer: viewer_id(viewer), version: pass, payload: Payload::from_slice(&[0; 6]) })
            .collect();
        rows.sort_by_key(|row| row.viewer);
        for batch in rows.chunks(MAX_NOTE_ROWS) {
            if done.load(Ordering::Relaxed) {
                return Ok(());
            }
            runtime.block_on(store.write_notes(item, batch.to_vec()))?;
        }
    }
    Ok(())
}

/// Numbers in no order: ids of viewers are random.
const fn spread(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

fn viewer_id(number: u64) -> ViewerId {
    ViewerId((u128::from(spread(number)) << 64).to_be_bytes())
}

fn raw(path: &Path, votes: usize, chunk: &Bytes) -> Result<Measure> {
    let mut file = File::create(path).map_err(failed)?;
    measure(votes, |_| file.write_all(chunk).and_then(|()| file.sync_data()).map_err(failed))
}

fn upserts(path: &Path, votes: usize) -> Result<Measure> {
    let database = rusqlite::Connection::open(path).map_err(failed)?;
    let set_up = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                  CREATE TABLE notes (viewer BLOB PRIMARY KEY, version INTEGER, payload BLOB) WITHOUT ROWID;";
    database.execute_batch(set_up).map_err(failed)?;
    let sql = "INSERT INTO notes VALUES (?1, ?2, ?3) ON CONFLICT (viewer) DO UPDATE \
               SET version = excluded.version, payload = excluded.payload WHERE excluded.version > notes.version";
    let mut upsert = database.prepare(sql).map_err(failed)?;
    measure(votes, |number| {
        database.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        for vote in 0..votes as u64 {
            let version = number * votes as u64 + vote;
            let row = rusqlite::params![&viewer_id(version % VIEWERS).0[..], version.cast_signed(), &[0_u8; 6][..]];
            upsert.execute(row).map_err(failed)?;
        }
        database.execute_batch("COMMIT").map_err(failed)
    })
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, measure: &Measure| {
            writeln!(
                f,
                "{:>5} votes/commit  {name:<22} {:>10.0} votes/s  {:>7.2} µs CPU/vote  p50 {:>6.0} µs  p99 {:>6.0} µs  \
                 p99.9 {:>6.0} µs  store is {:.2} ×",
                self.votes_per_commit,
                measure.votes_per_s,
                measure.cpu_us_per_vote,
                measure.p50_us,
                measure.p99_us,
                measure.p999_us,
                self.store.votes_per_s / measure.votes_per_s,
            )
        };
        line(f, "store", &self.store)?;
        line(f, "store, checkpointing", &self.beside_checkpoint)?;
        line(f, "raw write + flush", &self.raw)?;
        line(f, "an upsert per vote", &self.upserts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo test --release -p bareme --lib bench::store -- --ignored --nocapture`
    #[test]
    #[ignore = "half a minute of measuring; meant for a release build"]
    #[expect(clippy::print_stdout, reason = "it is there to be read")]
    fn print() {
        let dir = tempfile::Builder::new().tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        for row in store_bench(dir.path()).unwrap() {
            println!("{row}");
        }
    }
}
