//! What only SQLite can get wrong: the file, its lock, its disk.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use rusqlite::ffi;
use tempfile::TempDir;

use super::*;
use crate::store::conformance;

/// Failures that a test orders; each counts down.
#[derive(Default)]
pub(super) struct Faults {
    /// COMMIT fails and nothing is written.
    lost: AtomicU32,
    /// COMMIT writes, and says that it failed.
    misreported: AtomicU32,
    /// The database cannot be opened again.
    closed: AtomicU32,
    /// COMMIT panics before it writes.
    panics: AtomicU32,
}

impl Faults {
    fn strike(counter: &AtomicU32) -> rusqlite::Result<()> {
        let left = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None)),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn before_commit(&self) -> rusqlite::Result<()> {
        assert!(Self::strike(&self.panics).is_ok(), "on purpose");
        Self::strike(&self.lost)
    }

    pub(super) fn after_commit(&self) -> rusqlite::Result<()> {
        Self::strike(&self.misreported)
    }

    pub(super) fn on_reopen(&self) -> rusqlite::Result<()> {
        Self::strike(&self.closed)
    }
}

fn open(dir: &TempDir) -> SqliteStore {
    SqliteStore::open(dir.path()).unwrap()
}

fn opening(dir: &Path) -> StoreError {
    match SqliteStore::open(dir) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

fn item() -> ItemId {
    ItemId { live: LiveId(uuid::Uuid::from_u128(1)), jeu: JeuId(1) }
}

fn lane() -> LaneId {
    LaneId { writer: WriterId(uuid::Uuid::from_u128(2)), lane: 0 }
}

fn note(viewer: u8, version: u64) -> NoteRow {
    NoteRow { viewer: ViewerId([viewer; 16]), version, payload: Payload::from_slice(&[1, 2, 3]) }
}

fn key() -> RecordKey {
    RecordKey::new(RecordKind::Instance, "", "secret")
}

async fn chunks(store: &SqliteStore) -> Vec<(u64, Bytes)> {
    let mut all: Vec<(u64, Bytes)> = Vec::new();
    loop {
        let page = store.read_lane(item(), lane(), all.last().map_or(0, |(seq, _)| seq + 1)).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

macro_rules! on_sqlite {
    ($($case:ident)*) => { $(
        #[tokio::test]
        async fn $case() {
            let dir = TempDir::new().unwrap();
            conformance::$case(&open(&dir)).await;
        }
    )* };
}
crate::store_cases!(on_sqlite);

#[tokio::test]
async fn random_batches_agree_with_the_model_across_reopenings() {
    for seed in conformance::SEEDS {
        let dir = TempDir::new().unwrap();
        let mut random = conformance::Random::new(seed);
        for _ in 0..4 {
            let store = open(&dir);
            for _ in 0..25 {
                random.batch(&store).await;
            }
        }
    }
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    store.register_lane(item(), lane(), 1).await.unwrap();
    store.append(item(), lane(), 0, Bytes::from_static(b"chunk")).await.unwrap();
    store.write_notes(item(), vec![note(1, 7)]).await.unwrap();
    store.advance_materialised(item(), lane(), 1).await.unwrap();
    store.raise_rank(item(), Rank(5)).await.unwrap();
    store.put_result(item(), 0, Bytes::from_static(b"result")).await.unwrap();
    store.put_record(&key(), 0, "{}".into()).await.unwrap();
    drop(store);

    let store = open(&dir);
    assert_eq!(store.lanes(item()).await.unwrap(), [LaneRow { id: lane(), format: 1, materialised: 1 }]);
    assert_eq!(chunks(&store).await, [(0, Bytes::from_static(b"chunk"))]);
    assert_eq!(store.read_notes(item(), None, 9).await.unwrap(), [note(1, 7)]);
    assert_eq!(store.ranks(item().live).await.unwrap(), [PhaseRow { jeu: item().jeu, rank: Rank(5) }]);
    assert_eq!(store.result(item(), 0).await.unwrap(), Some(Bytes::from_static(b"result")));
    assert_eq!(store.put_record(&key(), 0, "[]".into()).await.unwrap(), Swap::Conflict(1));
}

#[tokio::test]
async fn what_was_accepted_is_finished_when_the_store_is_dropped() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    store.register_lane(item(), lane(), 1).await.unwrap();
    let mut answers = Vec::new();
    for seq in 0..100 {
        let (reply, answer) = oneshot::channel();
        let write = Write::Append { item: item(), lane: lane(), seq, chunk: Bytes::from_static(b"x") };
        store.inbox.push(URGENT, Job { write, reply }).unwrap();
        answers.push(answer);
    }
    drop(store);
    for answer in answers {
        assert_eq!(answer.await.unwrap().unwrap(), Outcome::Done);
    }
    assert_eq!(chunks(&open(&dir)).await.len(), 100);
}

#[test]
fn files_belong_to_their_owner_and_one_is_left_after_closing() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("a/b");
    drop(SqliteStore::open(&data).unwrap());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let mut names: Vec<_> = data.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bareme.lock", "bareme.sqlite3"]);
    for name in names {
        assert_eq!(mode(&data.join(name)), 0o600);
    }
}

#[test]
fn a_second_server_is_refused_and_told_who_is_there() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let error = opening(dir.path());
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
    drop(store);
    open(&dir);
}

#[tokio::test]
async fn a_tool_may_write_records_beside_a_server_or_alone() {
    let dir = TempDir::new().unwrap();
    let alone = SqliteStore::open_beside(dir.path()).unwrap();
    assert_eq!(alone.put_record(&key(), 0, "1".into()).await.unwrap(), Swap::Done(1));
    let server = open(&dir);
    assert_eq!(server.record(&key()).await.unwrap().unwrap().body, "1");
    let beside = SqliteStore::open_beside(dir.path()).unwrap();
    // Both write at once; neither disturbs the other.
    server.register_lane(item(), lane(), 1).await.unwrap();
    let appends = (0..50).map(|seq| server.append(item(), lane(), seq, Bytes::from_static(b"x")));
    let tool = async {
        for revision in 1..20 {
            let swap = beside.put_record(&key(), revision, revision.to_string()).await.unwrap();
            assert_eq!(swap, Swap::Done(revision + 1));
        }
    };
    let (appended, ()) = tokio::join!(join_all(appends), tool);
    appended.into_iter().for_each(|result| result.unwrap());
    drop((alone, beside));
    assert_eq!(server.record(&key()).await.unwrap().unwrap().revision, 20);
    assert_eq!(chunks(&server).await.len(), 50);
}

fn assert_refused_untouched(dir: &TempDir, kind: ErrorKind, hints: &[&str]) {
    let path = dir.path().join(schema::DATABASE);
    let before = std::fs::read(&path).unwrap();
    let error = opening(dir.path());
    let text = error.to_string();
    assert_eq!(error.kind, kind, "{text}");
    for hint in hints.iter().chain(&["bareme.sqlite3"]) {
        assert!(text.contains(hint), "{hint:?} is not in {text:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before, "the file was changed");
}

#[test]
fn a_file_that_is_no_database_is_refused_with_the_remedy() {
    for content in [&b"bonjour, ceci est une lettre"[..], b"x", &[0; 5000]] {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join(schema::DATABASE), content).unwrap();
        assert_refused_untouched(&dir, ErrorKind::Corrupt, &["keep a copy", "restore a backup", "move both away"]);
    }
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_the_remedy() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    for number in 0..20_u64 {
        let rows = (0..200).map(|viewer| note(viewer, number)).collect();
        let of = ItemId { jeu: JeuId(number as u32), ..item() };
        store.write_notes(of, rows).await.unwrap();
    }
    drop(store);
    let path = dir.path().join(schema::DATABASE);
    let good = std::fs::read(&path).unwrap();
    let last = good.len() / 4096 - 1;
    let mut damages = vec![good[..good.len() - 5000].to_vec()];
    for page in [0, last] {
        let mut bytes = good.clone();
        // Past the header of the file: the header of the page, and what follows.
        bytes[page * 4096 + 100..(page + 1) * 4096].fill(0xA5);
        if page > 0 {
            bytes[page * 4096..page * 4096 + 100].fill(0xA5);
        }
        damages.push(bytes);
    }
    for bytes in damages {
        std::fs::write(&path, bytes).unwrap();
        assert_refused_untouched(&dir, ErrorKind::Corrupt, &["keep a copy"]);
    }
    std::fs::write(&path, good).unwrap();
    assert_eq!(open(&dir).read_notes(item(), None, usize::MAX).await.unwrap().len(), 200);
}

#[tokio::test]
async fn refusing_a_damaged_database_leaves_its_log_alone() {
    let (dir, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    drop(open(&dir));
    let store = open(&dir);
    store.write_notes(item(), (0..200).map(|viewer| note(viewer, 1)).collect()).await.unwrap();
    for name in ["bareme.sqlite3", "bareme.sqlite3-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let log = std::fs::read(copy.path().join("bareme.sqlite3-wal")).unwrap();
    assert!(!log.is_empty());
    let path = copy.path().join(schema::DATABASE);
    let mut bytes = std::fs::read(&path).unwrap();
    // Of the pages that the log does not replace.
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    assert_refused_untouched(&copy, ErrorKind::Corrupt, &["-wal"]);
    assert_eq!(std::fs::read(copy.path().join("bareme.sqlite3-wal")).unwrap(), log);
}

#[test]
fn a_newer_schema_and_another_programs_database_are_refused() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir));
    let path = dir.path().join(schema::DATABASE);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", schema::SCHEMA_VERSION + 1).unwrap();
    drop(connection);
    assert_refused_untouched(&dir, ErrorKind::Newer, &["schema 2", "start that version"]);
    assert_eq!(SqliteStore::open_beside(dir.path()).err().unwrap().kind, ErrorKind::Newer);

    let dir = TempDir::new().unwrap();
    Connection::open(dir.path().join(schema::DATABASE)).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert_refused_untouched(&dir, ErrorKind::Corrupt, &["another program"]);
}

#[tokio::test]
async fn people_can_read_the_tables() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    store.register_lane(item(), lane(), 1).await.unwrap();
    store.append(item(), lane(), MAX_SEQ, Bytes::from_static(b"\xAB")).await.unwrap();
    store.write_notes(item(), vec![note(0xCD, 1_700_000_000_000_000)]).await.unwrap();
    store.raise_rank(item(), Rank(6)).await.unwrap();
    let lives = RecordKey::new(RecordKind::Live, "", "x");
    store.put_record(&lives, 0, r#"{"title":"Soirée","channel":"chaine","status":"open"}"#.into()).await.unwrap();
    store.put_record(&RecordKey::new(RecordKind::Live, "", "y"), 0, "not json".into()).await.unwrap();
    store.put_record(&RecordKey::new(RecordKind::Channel, "", "chaine"), 0, "{}".into()).await.unwrap();
    let connection = Connection::open(dir.path().join(schema::DATABASE)).unwrap();
    let line = |sql: &str| -> String { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
    let live = item().live.to_string();
    assert_eq!(
        line("SELECT concat_ws(' ', live_id, jeu_id, viewer, chosen_at, payload) FROM v_notes"),
        format!("{live} 1 {} 2023-11-14T22:13:20.000Z 010203", "cd".repeat(16))
    );
    assert_eq!(
        line("SELECT concat_ws(' ', live_id, jeu_id, writer, lane, seq, bytes, chunk) FROM v_journal"),
        format!("{live} 1 {} 0 {MAX_SEQ} 1 ab", lane().writer)
    );
    assert_eq!(line("SELECT epoch || phase FROM v_phases"), "1closing");
    assert_eq!(
        line("SELECT concat_ws(' ', title, channel, status) FROM v_lives WHERE live_id = 'x'"),
        "Soirée chaine open"
    );
    assert_eq!(line("SELECT body FROM v_lives WHERE title IS NULL"), "not json");
    assert_eq!(line("SELECT channel FROM v_channels"), "chaine");
}

#[tokio::test]
async fn a_full_queue_answers_unavailable() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    // A tool that holds the file stops the writer for as long as it likes, up to the writer's patience.
    let tool = Connection::open(dir.path().join(schema::DATABASE)).unwrap();
    tool.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answers = join_all((0..200).map(|version| store.write_notes(item(), vec![note(1, version)])));
    // Polled after them, when all have been refused or wait.
    let release = async { tool.execute_batch("ROLLBACK").unwrap() };
    let (answers, ()) = tokio::join!(answers, release);
    let refusals = answers.iter().filter_map(|answer| answer.as_ref().err()).collect::<Vec<_>>();
    assert!(!refusals.is_empty() && refusals.len() < 200, "{} refusals", refusals.len());
    assert!(refusals.iter().all(|error| error.kind == ErrorKind::Unavailable));
    store.write_notes(item(), vec![note(1, 1000)]).await.unwrap();
}

#[tokio::test]
async fn after_a_failed_commit_each_write_is_settled_on_a_new_connection() {
    for misreported in [false, true] {
        let dir = TempDir::new().unwrap();
        let store = open(&dir);
        store.register_lane(item(), lane(), 1).await.unwrap();
        store.append(item(), lane(), 0, Bytes::from_static(b"before")).await.unwrap();
        let fault = if misreported { &store.faults.misreported } else { &store.faults.lost };
        fault.store(1, Ordering::Relaxed);
        store.append(item(), lane(), 1, Bytes::from_static(b"during")).await.unwrap();
        assert_eq!(fault.load(Ordering::Relaxed), 0);

        // Compare-and-set cannot tell its own doing from another's, and says so.
        fault.store(1, Ordering::Relaxed);
        let error = store.put_record(&key(), 0, "{}".into()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unknown);
        assert_eq!(store.record(&key()).await.unwrap().is_some(), misreported);

        store.append(item(), lane(), 2, Bytes::from_static(b"after")).await.unwrap();
        let expected = ["before", "during", "after"].map(|text| Bytes::from_static(text.as_bytes()));
        let found: Vec<_> = chunks(&store).await.into_iter().map(|(_, chunk)| chunk).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn while_the_database_cannot_be_reopened_the_doubtful_are_unknown_and_the_next_unavailable() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    store.register_lane(item(), lane(), 1).await.unwrap();
    store.faults.misreported.store(1, Ordering::Relaxed);
    store.faults.closed.store(2, Ordering::Relaxed);
    let first = store.append(item(), lane(), 0, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(first.kind, ErrorKind::Unknown);
    assert_eq!(store.probe().await.unwrap_err().kind, ErrorKind::Unavailable);
    store.probe().await.unwrap();
    store.append(item(), lane(), 0, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(chunks(&store).await.len(), 1);
}

#[tokio::test]
async fn the_number_of_an_item_is_forgotten_with_the_transaction_that_gave_it() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let other = ItemId { jeu: JeuId(2), ..item() };
    store.faults.lost.store(1, Ordering::Relaxed);
    store.faults.closed.store(1, Ordering::Relaxed);
    assert_eq!(store.write_notes(item(), vec![note(1, 1)]).await.unwrap_err().kind, ErrorKind::Unknown);
    store.write_notes(other, vec![note(2, 2)]).await.unwrap();
    store.write_notes(item(), vec![note(1, 1)]).await.unwrap();
    assert_eq!(store.read_notes(item(), None, 9).await.unwrap(), [note(1, 1)]);
    assert_eq!(store.read_notes(other, None, 9).await.unwrap(), [note(2, 2)]);
}

#[tokio::test]
async fn after_a_failed_flush_of_the_database_nothing_is_written_until_all_of_its_log_was_copied_anew() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    store.probe().await.unwrap();
    store.write_notes(item(), vec![note(1, 1)]).await.unwrap();
    // Each thread that reads has a connection, and so has the one that copies.
    for _ in 0..8 {
        assert_eq!(store.read_notes(item(), None, 9).await.unwrap(), [note(1, 1)]);
    }
    *store.shared.copier.lock().unwrap() =
        Some(schema::connect(&dir.path().join(schema::DATABASE), Role::Checkpointer).unwrap());
    let log = dir.path().join("bareme.sqlite3-wal");
    assert!(log.metadata().unwrap().len() > 0);
    store.faults.closed.store(1, Ordering::Relaxed);
    store.shared.fail_flush();
    for why in ["", "about to be copied anew"] {
        let error = store.probe().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(store.read_notes(item(), None, 9).await.unwrap(), [note(1, 1)], "what there is can be read");
    // After the pause it goes on by itself.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while store.probe().await.is_err() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    store.write_notes(item(), vec![note(2, 1)]).await.unwrap();
    assert_eq!(store.read_notes(item(), None, 9).await.unwrap(), [note(1, 1), note(2, 1)]);
    assert!(!store.shared.has_failed());
    drop(store);
    assert!(!log.exists(), "a store that is well again empties its log when it closes");
    assert_eq!(open(&dir).read_notes(item(), None, 9).await.unwrap(), [note(1, 1), note(2, 1)]);
}

#[tokio::test]
async fn while_another_program_has_the_file_open_a_failed_flush_is_not_forgotten_and_the_log_is_kept() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    store.write_notes(item(), vec![note(1, 1)]).await.unwrap();
    // Copied, as SQLite believes; somebody else keeps it believing so.
    let other = schema::connect(&dir.path().join(schema::DATABASE), Role::Checkpointer).unwrap();
    store.shared.checkpoint(&other, checkpoint::Mode::Passive).unwrap();
    store.shared.fail_flush();
    let error = store.probe().await.unwrap_err();
    assert!(error.to_string().contains("another program has the database open"), "{error}");
    drop(store);
    drop(other);
    assert!(dir.path().join("bareme.sqlite3-wal").metadata().unwrap().len() > 0);
    let store = open(&dir);
    store.probe().await.unwrap();
    assert_eq!(store.read_notes(item(), None, 9).await.unwrap(), [note(1, 1)]);
}

#[tokio::test]
async fn a_panic_of_a_thread_of_the_store_costs_what_it_had_in_hand_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    store.register_lane(item(), lane(), 1).await.unwrap();
    store.faults.panics.store(1, Ordering::Relaxed);
    let error = store.append(item(), lane(), 0, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unknown);
    store.append(item(), lane(), 0, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(chunks(&store).await.len(), 1);
    let read = store.readers.read(|_| -> rusqlite::Result<()> { panic!("on purpose") }).await;
    assert_eq!(read.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(chunks(&store).await.len(), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_lock_file_that_was_deleted_lets_no_second_server_in() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    std::fs::remove_file(dir.path().join("bareme.lock")).unwrap();
    // A lock belongs to a description of an open file: another process's is as another one here.
    let other = schema::private_file(&dir.path().join(schema::DATABASE)).unwrap();
    assert!(other.try_lock().is_err());
    std::mem::forget(other);
    drop(store);
    let store = open(&dir);
    store.probe().await.unwrap();
}

#[tokio::test]
async fn the_write_ahead_log_stays_bounded_under_a_writer_that_never_pauses() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let chunk = Bytes::from(vec![7; 60_000]);
    store.register_lane(item(), lane(), 1).await.unwrap();
    // 180 MB in all.
    for from in (0..3000).step_by(30) {
        let appends = (from..from + 30).map(|seq| store.append(item(), lane(), seq, chunk.clone()));
        join_all(appends).await.into_iter().for_each(|result| result.unwrap());
    }
    let log = dir.path().join("bareme.sqlite3-wal").metadata().unwrap().len();
    assert!(log < 100 << 20, "{log} bytes");
}

#[tokio::test]
async fn the_write_ahead_log_has_its_room_before_the_first_write_and_a_crash_does_not_read_it() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let log = dir.path().join("bareme.sqlite3-wal");
    let laid_out = log.metadata().unwrap().len();
    assert!(laid_out >= 20 << 20, "{laid_out} bytes");
    store.register_lane(item(), lane(), 1).await.unwrap();
    for seq in 0..200 {
        store.append(item(), lane(), seq, Bytes::from(vec![7; 20_000])).await.unwrap();
    }
    assert_eq!(log.metadata().unwrap().len(), laid_out, "a flush waits for no file that grows");
    // What a crash leaves.
    let copy = TempDir::new().unwrap();
    for name in ["bareme.sqlite3", "bareme.sqlite3-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    assert_eq!(chunks(&open(&copy)).await, chunks(&store).await);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_disk_without_room_for_a_laid_out_log_keeps_what_it_has() {
    // Full long before the log has its room, and just before.
    for disk_bytes in [6 << 20, 20 << 20] {
        let Some(disk) = SmallDisk::mount(disk_bytes) else { return };
        let store = SqliteStore::open(&disk.0.path().join("data")).unwrap();
        store.probe().await.unwrap();
        let log = disk.0.path().join("data/bareme.sqlite3-wal").metadata().unwrap().len();
        assert!(log < 1 << 20, "{log} bytes on a disk of {disk_bytes}");
    }
}

/// A small file system in memory, or `None` where mounting is not allowed.
///
/// By system calls rather than by `mount`: until a process that was forked runs its program, it holds the locks of the
/// directories that other tests have open, and those could not open theirs again.
#[cfg(target_os = "linux")]
struct SmallDisk(TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount(bytes: usize) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let options = std::ffi::CString::new(format!("size={bytes},mode=0700")).unwrap();
        match rustix::mount::mount("tmpfs", dir.path(), "tmpfs", rustix::mount::MountFlags::empty(), &*options) {
            Ok(()) => Some(Self(dir)),
            Err(error) => {
                #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
                {
                    eprintln!("skipped: a small disk cannot be mounted: {error}");
                }
                None
            }
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

/// Fills a small disk with appends and rows of notes at once, and looks at what is there when the disk is full, when it
/// has room again, and after opening it again.
#[cfg(target_os = "linux")]
async fn fill_a_disk(disk_bytes: usize, chunk_bytes: usize) {
    let Some(disk) = SmallDisk::mount(disk_bytes) else { return };
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; disk_bytes / 2]).unwrap();
    let data = disk.0.path().join("data");
    let store = SqliteStore::open(&data).unwrap();
    store.register_lane(item(), lane(), 1).await.unwrap();
    let chunk = |seq: u64| Bytes::from(vec![seq as u8; chunk_bytes]);
    let rows = |version: u64| (0..200).map(|viewer| note(viewer, version)).collect::<Vec<_>>();
    let (mut acknowledged, mut version) = (0, 0);
    let error = loop {
        let next = (acknowledged..acknowledged + 4).map(|seq| store.append(item(), lane(), seq, chunk(seq)));
        let (appended, noted) = tokio::join!(join_all(next), store.write_notes(item(), rows(version + 1)));
        version += u64::from(noted.is_ok());
        let kept = appended.iter().take_while(|result| result.is_ok()).count() as u64;
        acknowledged += kept;
        if let Some(Err(error)) = appended.into_iter().nth(kept as usize) {
            break error;
        }
    };
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    assert!(acknowledged > 20, "{acknowledged}");
    // A batch in which nothing fits fails one by one, and says so of each.
    for error in join_all((0..8).map(|_| store.append(item(), lane(), MAX_SEQ, chunk(0)))).await {
        assert_eq!(error.unwrap_err().kind, ErrorKind::Full);
    }
    let expected: Vec<_> = (0..acknowledged).map(|seq| (seq, chunk(seq))).collect();
    let found = chunks(&store).await;
    assert_eq!(found[..expected.len()], expected);
    assert_eq!(store.read_notes(item(), None, 1).await.unwrap()[0].version, version);

    std::fs::remove_file(&ballast).unwrap();
    store.probe().await.unwrap();
    store.append(item(), lane(), MAX_SEQ, chunk(0)).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&data).unwrap();
    let found = chunks(&store).await;
    assert_eq!(found[..expected.len()], expected);
    assert_eq!(found.last().unwrap(), &(MAX_SEQ, chunk(0)));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_a_full_disk_nothing_acknowledged_is_lost_and_it_goes_on_when_there_is_room() {
    // Chunks of many pages and of less than one; disks that end before the log is first copied, and long after.
    for (disk_bytes, chunk_bytes) in [(6 << 20, 20_000), (6 << 20, 3_000), (72 << 20, 60_000), (73 << 20, 20_000)] {
        fill_a_disk(disk_bytes, chunk_bytes).await;
    }
}
