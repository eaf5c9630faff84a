//! A cluster that several servers share: ScyllaDB or Apache Cassandra, three replicas, quorum of one data centre.
//!
//! Every vote is a plain write of one row at LOCAL_QUORUM with an explicit timestamp; lightweight transactions are for
//! documents of admins and for results (see `documents`). The tables are those of `cql/`, which `bareme migrate` makes.
//!
//! Three tricks make last-write-wins say what the [`super::Store`] trait promises:
//! - a rank and a `mat` are written with their value as the timestamp, so that the greatest stays;
//! - a note is written with its version as the timestamp, and equal timestamps keep the greater bytes;
//! - what replaces what came before it (a heartbeat) has a timestamp that never goes back within this process.
//!
//! Invariant: no statement touches two partitions, and no partition grows without bound (see [`bounds`]).

mod aside;
mod attempt;
pub mod bounds;
mod connect;
mod documents;
mod meters;
mod schema;
mod statements;
mod url;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use self::attempt::{Attempt, Class, InFlight, Watch, error};
use self::bounds::{BUCKETS, SEGMENT_BITS};
pub use self::schema::SCHEMA_VERSION;
use self::statements::{Profiles, Statements};
pub use self::url::{CqlUrl, UrlError};
use super::tips::{Step, Tips};
use super::{
    ErrorKind, ItemId, LANE_PAGE, LaneId, LaneRow, MAX_SEQ, NoteRow, Payload, PhaseRow, Record, RecordKey, RecordKind,
    Result, Store, Swap, WriterId, limits,
};
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::domain::viewer::ViewerId;
use crate::supervise::{Scope, Supervisor};

const BACKEND: &str = "cql";

/// Most rows and bytes of one batch. Cassandra warns of batches above 5 KiB and refuses those above 50 KiB unless told
/// otherwise; all rows of ours are of one partition, where a batch is one mutation.
const MAX_BATCH_ROWS: usize = 64;
const MAX_BATCH_BYTES: usize = 16 * 1024;

/// Batches of one call in flight together, and partitions read ahead of the one that is asked for.
const AT_ONCE: usize = 4;

/// Rows of `notes` read at a time, some 60 bytes each.
const NOTES_PAGE: usize = 4096;

/// Chunks read at a time: 4 MiB when all are full, which a slow network still carries within one attempt.
const CHUNKS_PAGE: usize = 64;

/// A session with a cluster.
pub struct CqlStore {
    session: Arc<Session>,
    statements: Statements,
    in_flight: InFlight,
    last_stamp: AtomicI64,
    tips: Tips,
    probe_id: Uuid,
}

/// What is left of a driver's row after it was checked.
fn unreadable(what: impl std::fmt::Display) -> super::StoreError {
    error(ErrorKind::Corrupt, what)
}

fn signed(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| error(ErrorKind::Refused, format!("{value} is too great")))
}

fn unsigned(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| unreadable(format!("{value} where no negative number can be")))
}

/// Partition key of an item.
fn at(item: ItemId) -> (Uuid, i64) {
    (item.live.0, i64::from(item.jeu.0))
}

/// Key of a lane.
fn on(item: ItemId, lane: LaneId) -> (Uuid, i64, Uuid, i16) {
    (item.live.0, i64::from(item.jeu.0), lane.writer.0, i16::from(lane.lane))
}

fn segment(seq: u64) -> i64 {
    (seq >> SEGMENT_BITS).cast_signed()
}

/// Viewers are hashes, so their first bits spread them evenly; and buckets in order are viewers in order.
fn bucket(viewer: &ViewerId) -> i8 {
    (viewer.0[0] / (u8::MAX / BUCKETS + 1)).cast_signed()
}

/// The cell of a note: what is compared first comes first.
fn cell(row: &NoteRow) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + row.payload.len());
    bytes.extend(row.version.to_be_bytes());
    bytes.extend(&row.payload);
    bytes
}

fn note_row(viewer: &[u8], cell: &[u8]) -> Result<NoteRow> {
    let split = cell.split_first_chunk::<8>();
    let (Ok(viewer), Some((version, payload))) = (viewer.try_into(), split) else {
        return Err(unreadable("a note of another layout"));
    };
    let version = u64::from_be_bytes(*version);
    Ok(NoteRow { viewer: ViewerId(viewer), version, payload: Payload::from_slice(payload) })
}

/// Rows of one partition of `notes`, cut into batches.
fn batches(mut rows: Vec<NoteRow>) -> Vec<(i8, Vec<NoteRow>)> {
    rows.sort_by(|one, other| {
        (one.viewer, one.version, &one.payload).cmp(&(other.viewer, other.version, &other.payload))
    });
    let mut batches: Vec<(i8, Vec<NoteRow>)> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let of_row = 48 + row.payload.len();
        let bucket = bucket(&row.viewer);
        bytes += of_row;
        match batches.last_mut() {
            // The greatest of a viewer comes last.
            Some((_, rows)) if rows.last().is_some_and(|last| last.viewer == row.viewer) => {
                rows.pop();
                rows.push(row);
            }
            Some((of, rows)) if *of == bucket && rows.len() < MAX_BATCH_ROWS && bytes <= MAX_BATCH_BYTES => {
                rows.push(row);
            }
            _ => {
                bytes = of_row;
                batches.push((bucket, vec![row]));
            }
        }
    }
    batches
}

impl CqlStore {
    /// Connects to a cluster whose schema is this program's.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the cluster cannot be reached, [`ErrorKind::Refused`] when it has no schema or an older one;
    /// [`ErrorKind::Newer`] when it has a newer one. The message says what to do.
    pub async fn connect(url: &CqlUrl) -> Result<Self> {
        let profiles = Profiles::new(&url.datacenter);
        let session = Arc::new(connect::connect(url, &profiles).await?);
        schema::check(schema::version(&session, url).await?, url)?;
        connect::warn_of_late_sync(&session).await;
        let statements = Statements::prepare(&session, &url.keyspace, &profiles).await?;
        let metered = Arc::downgrade(&session);
        let copy = move || meters::copy(metered.clone());
        tokio::spawn(async move { Supervisor::default().keep(Scope::Part, "cql-meters", copy).await });
        Ok(Self {
            session,
            statements,
            in_flight: InFlight::new(),
            last_stamp: AtomicI64::new(0),
            tips: Tips::default(),
            probe_id: Uuid::new_v4(),
        })
    }

    /// Brings a keyspace to this program's schema, making it if it is missing; says what it does through `told`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`], after which it may be run again; [`ErrorKind::Newer`] when there is nothing to do for
    /// this version.
    pub async fn migrate(url: &CqlUrl, told: impl FnMut(String)) -> Result<()> {
        let session = connect::connect(url, &Profiles::new(&url.datacenter)).await?;
        schema::migrate(&session, url, told).await
    }

    /// A timestamp after all that this process gave: microseconds since 1970.
    fn stamp(&self) -> i64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX);
        let next = |last: i64| Some(now.max(last.saturating_add(1)));
        let last = self.last_stamp.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        now.max(last.unwrap_or_default().saturating_add(1))
    }

    async fn execute(
        &self,
        class: Class,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
    ) -> Result<QueryResult> {
        let (session, values) = (&self.session, &values);
        let attempt = move |watch: Arc<Watch>| -> Attempt<'_, QueryResult> {
            let mut statement = statement.clone();
            statement.set_history_listener(watch);
            Box::pin(async move { session.execute_unpaged(&statement, values).await })
        };
        self.in_flight.request(class, attempt).await
    }

    async fn write(&self, statement: &PreparedStatement, values: impl SerializeRow + Sync) -> Result<()> {
        self.execute(Class::Write, statement, values).await.map(drop)
    }

    async fn rows<R>(
        &self,
        class: Class,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
    ) -> Result<Vec<R>>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let rows = self.execute(class, statement, values).await?.into_rows_result().map_err(unreadable)?;
        rows.rows::<R>().map_err(unreadable)?.map(|row| row.map_err(unreadable)).collect()
    }

    /// Writes rows of one bucket, with `stamp` or else their versions as timestamps.
    async fn write_batch(&self, item: ItemId, bucket: i8, rows: &[NoteRow], stamp: Option<i64>) -> Result<()> {
        let (live, jeu) = at(item);
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            let stamp = stamp.map_or_else(|| signed(row.version), Ok)?;
            values.push((live, jeu, bucket, row.viewer.0, cell(row), stamp));
        }
        let statement = BatchStatement::from(self.statements.write_note.clone());
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, vec![statement; rows.len()]);
        batch.set_is_idempotent(true);
        batch.set_execution_profile_handle(self.statements.write_note.get_execution_profile_handle().cloned());
        let (session, values) = (&self.session, &values);
        let attempt = move |watch: Arc<Watch>| -> Attempt<'_, QueryResult> {
            let mut batch = batch.clone();
            batch.set_history_listener(watch);
            Box::pin(async move { session.batch(&batch, values).await })
        };
        self.in_flight.request(Class::Background, attempt).await.map(drop)
    }

    async fn write_rows(&self, item: ItemId, rows: Vec<NoteRow>, stamp: Option<i64>) -> Result<()> {
        limits::rows(BACKEND, &rows)?;
        let batches = batches(rows);
        let writes: Vec<_> =
            batches.iter().map(|(bucket, rows)| self.write_batch(item, *bucket, rows, stamp)).collect();
        stream::iter(writes).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Rows of one bucket after a viewer, at most `limit`.
    async fn read_bucket(
        &self,
        item: ItemId,
        bucket: i8,
        after: Option<ViewerId>,
        limit: usize,
    ) -> Result<Vec<NoteRow>> {
        let (live, jeu) = at(item);
        let mut found: Vec<NoteRow> = Vec::new();
        while found.len() < limit {
            let count = NOTES_PAGE.min(limit - found.len());
            // No bytes at all come before every viewer.
            let after = found.last().map(|row| row.viewer).or(after).map_or(Vec::new(), |viewer| viewer.0.to_vec());
            let values = (live, jeu, bucket, after, i32::try_from(count).unwrap_or(i32::MAX));
            let rows = self.rows::<(Vec<u8>, Vec<u8>)>(Class::Read, &self.statements.read_notes, values).await?;
            let was_full = rows.len() == count;
            for (viewer, cell) in rows {
                found.push(note_row(&viewer, &cell)?);
            }
            if !was_full {
                break;
            }
        }
        Ok(found)
    }

    /// Chunks of one segment of a lane from `from_seq` on, at most `limit`.
    async fn read_segment(&self, item: ItemId, lane: LaneId, from_seq: u64, limit: usize) -> Result<Vec<(u64, Bytes)>> {
        let (live, jeu, writer, number) = on(item, lane);
        let segment = segment(from_seq);
        let mut found: Vec<(u64, Bytes)> = Vec::new();
        while found.len() < limit {
            let count = CHUNKS_PAGE.min(limit - found.len());
            let from = signed(found.last().map_or(from_seq, |(seq, _)| seq + 1))?;
            let values = (live, jeu, writer, number, segment, from, i32::try_from(count).unwrap_or(i32::MAX));
            let rows = self.rows::<(i64, Vec<u8>)>(Class::Read, &self.statements.read_lane, values).await?;
            let was_full = rows.len() == count;
            for (seq, chunk) in rows {
                found.push((unsigned(seq)?, chunk.into()));
            }
            if !was_full {
                break;
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Store for CqlStore {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn probe(&self) -> Result<()> {
        let stamp = self.stamp();
        self.write(&self.statements.probe, (self.probe_id, CqlTimestamp(stamp / 1000), stamp)).await
    }

    async fn register_lane(&self, item: ItemId, lane: LaneId, format: u8) -> Result<()> {
        let (live, jeu, writer, number) = on(item, lane);
        let values = (live, jeu, writer, number, i16::from(format), self.stamp());
        self.write(&self.statements.register, values).await
    }

    async fn lanes(&self, item: ItemId) -> Result<Vec<LaneRow>> {
        let rows =
            self.rows::<(Uuid, i16, Option<i16>, Option<i64>)>(Class::Read, &self.statements.lanes, at(item)).await?;
        // Without a format it is a `mat` that came after the lane was pruned.
        let registered = rows.into_iter().filter_map(|(writer, lane, format, mat)| Some((writer, lane, format?, mat)));
        let row = |(writer, lane, format, mat): (Uuid, i16, i16, Option<i64>)| {
            let byte = |value: i16| u8::try_from(value).map_err(|_| unreadable(format!("lane or format {value}")));
            let id = LaneId { writer: WriterId(writer), lane: byte(lane)? };
            Ok(LaneRow { id, format: byte(format)?, materialised: unsigned(mat.unwrap_or(0))? })
        };
        registered.map(row).collect()
    }

    async fn append(&self, item: ItemId, lane: LaneId, seq: u64, chunk: Bytes) -> Result<()> {
        limits::chunk(BACKEND, seq, &chunk)?;
        let (live, jeu, writer, number) = on(item, lane);
        match self.tips.begin(item, lane, seq, &chunk) {
            Step::Write => {}
            Step::Mismatch => return Err(limits::mismatch(BACKEND, seq)),
            Step::Compare => {
                let stored = self.read_segment(item, lane, seq, 1).await?;
                if stored.first().is_some_and(|(number, bytes)| *number == seq && *bytes != chunk) {
                    return Err(limits::mismatch(BACKEND, seq));
                }
                self.tips.compared(item, lane, seq, &chunk);
            }
        }
        // Given once, for all attempts.
        let stamp = self.stamp();
        let values = (live, jeu, writer, number, segment(seq), signed(seq)?, &chunk[..], stamp);
        let written = self.write(&self.statements.append, values).await;
        if written.as_ref().is_err_and(|error| error.kind != ErrorKind::Unknown) {
            self.tips.withdraw(item, lane, seq);
        }
        written
    }

    async fn read_lane(&self, item: ItemId, lane: LaneId, from_seq: u64) -> Result<Vec<(u64, Bytes)>> {
        let mut found = Vec::new();
        let mut from = from_seq;
        while from <= MAX_SEQ && found.len() < LANE_PAGE {
            found.extend(self.read_segment(item, lane, from, LANE_PAGE - found.len()).await?);
            // A lane goes on in the next segment only after the last chunk of this one.
            let next_segment = ((from >> SEGMENT_BITS) + 1) << SEGMENT_BITS;
            if found.last().is_none_or(|(seq, _)| seq + 1 != next_segment) {
                break;
            }
            from = next_segment;
        }
        Ok(found)
    }

    async fn prune_journal(&self, item: ItemId) -> Result<()> {
        for LaneRow { id, materialised, .. } in self.lanes(item).await? {
            let (live, jeu, writer, number) = on(item, id);
            let mut from = 0;
            loop {
                // What is known to have been written, and on until there is nothing.
                let is_known = from < materialised;
                if !is_known && self.read_segment(item, id, from, 1).await?.is_empty() {
                    break;
                }
                let values = (self.stamp(), live, jeu, writer, number, segment(from));
                self.execute(Class::Background, &self.statements.drop_segment, values).await?;
                from += 1 << SEGMENT_BITS;
            }
            // Last, so that what was cut short is found again. By row: the item's later lanes have small timestamps.
            let values = (self.stamp(), live, jeu, writer, number);
            self.execute(Class::Background, &self.statements.forget_lane, values).await?;
        }
        Ok(())
    }

    async fn write_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        self.write_rows(item, rows, None).await
    }

    async fn prune_notes(&self, item: ItemId) -> Result<()> {
        let (live, jeu) = at(item);
        // One tombstone for each partition, later than every version there is: a row that comes late, by a hint or a
        // retry, is behind it for as long as tombstones are kept (10 days), and no such write is under way for so long.
        for bucket in 0..BUCKETS.cast_signed() {
            let values = (self.stamp(), live, jeu, bucket);
            self.execute(Class::Background, &self.statements.drop_bucket, values).await?;
        }
        Ok(())
    }

    async fn restore_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        // Later than the tombstones of an earlier pruning, which a version is not. The version stays in the cell.
        self.write_rows(item, rows, Some(self.stamp())).await
    }

    async fn read_notes(&self, item: ItemId, after: Option<ViewerId>, limit: usize) -> Result<Vec<NoteRow>> {
        let first = after.as_ref().map_or(0, bucket);
        let mut found = self.read_bucket(item, first, after, limit).await?;
        if found.len() >= limit {
            return Ok(found);
        }
        // Where one bucket is not enough for a page, the next ones are short as well.
        let rest = limit - found.len();
        let buckets = first + 1..BUCKETS.cast_signed();
        let reads: Vec<_> = buckets.map(|bucket| self.read_bucket(item, bucket, None, rest)).collect();
        let mut buckets = stream::iter(reads).buffered(AT_ONCE);
        while let Some(rows) = buckets.try_next().await? {
            found.extend(rows);
            if found.len() >= limit {
                found.truncate(limit);
                break;
            }
        }
        Ok(found)
    }

    async fn advance_materialised(&self, item: ItemId, lane: LaneId, materialised: u64) -> Result<()> {
        limits::number(BACKEND, "materialised", materialised)?;
        let mat = signed(materialised)?;
        let (live, jeu, writer, number) = on(item, lane);
        let values = (mat, mat, live, jeu, writer, number);
        self.execute(Class::Background, &self.statements.advance, values).await.map(drop)
    }

    async fn raise_rank(&self, item: ItemId, rank: Rank) -> Result<()> {
        limits::number(BACKEND, "rank", rank.0)?;
        let (live, jeu) = at(item);
        let rank = signed(rank.0)?;
        self.write(&self.statements.raise_rank, (live, jeu, rank, rank)).await
    }

    async fn ranks(&self, live: LiveId) -> Result<Vec<PhaseRow>> {
        let rows = self.rows::<(i64, i64)>(Class::Read, &self.statements.ranks, (live.0,)).await?;
        let row = |(jeu, rank): (i64, i64)| {
            let jeu = u32::try_from(jeu).map_err(|_| unreadable(format!("jeu {jeu}")))?;
            Ok(PhaseRow { jeu: JeuId(jeu), rank: Rank(unsigned(rank)?) })
        };
        rows.into_iter().map(row).collect()
    }

    async fn put_result(&self, item: ItemId, epoch: u64, body: Bytes) -> Result<()> {
        self.keep_result(item, epoch, body).await
    }

    async fn result(&self, item: ItemId, epoch: u64) -> Result<Option<Bytes>> {
        self.kept_result(item, epoch).await
    }

    async fn beat(&self, live: LiveId, writer: WriterId, body: Bytes) -> Result<()> {
        self.write(&self.statements.beat, (live.0, writer.0, &body[..], self.stamp())).await
    }

    async fn heartbeats(&self, live: LiveId) -> Result<Vec<(WriterId, Bytes)>> {
        let rows = self.rows::<(Uuid, Vec<u8>)>(Class::Read, &self.statements.heartbeats, (live.0,)).await?;
        Ok(rows.into_iter().map(|(writer, body)| (WriterId(writer), body.into())).collect())
    }

    async fn record(&self, key: &RecordKey) -> Result<Option<Record>> {
        self.document(key).await
    }

    async fn records(&self, kind: RecordKind, scope: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>> {
        self.documents(kind, scope, after, limit).await
    }

    async fn put_record(&self, key: &RecordKey, expected: u64, body: String) -> Result<Swap> {
        self.swap_in(key, expected, body).await
    }

    async fn delete_record(&self, key: &RecordKey, expected: u64) -> Result<Swap> {
        self.swap_out(key, expected).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(first: u8, version: u64, payload: &[u8]) -> NoteRow {
        let mut viewer = [7; 16];
        viewer[0] = first;
        NoteRow { viewer: ViewerId(viewer), version, payload: Payload::from_slice(payload) }
    }

    #[test]
    fn buckets_in_order_are_viewers_in_order() {
        let buckets: Vec<_> = (0..=u8::MAX).map(|first| bucket(&note(first, 1, b"").viewer)).collect();
        assert!(buckets.is_sorted());
        assert_eq!((buckets[0], buckets[255]), (0, 15));
        assert!((0..16).all(|of| buckets.iter().filter(|bucket| **bucket == of).count() == 16));
    }

    #[test]
    fn the_cell_of_a_note_compares_as_its_version_and_payload() {
        let rows = [note(1, 1, b"z"), note(1, 2, b""), note(1, 2, b"a"), note(1, 256, b"")];
        assert!(rows.iter().map(cell).collect::<Vec<_>>().is_sorted());
        for row in rows {
            assert_eq!(note_row(&row.viewer.0, &cell(&row)).unwrap(), row);
        }
        assert_eq!(note_row(&[1; 16], &[0; 7]).unwrap_err().kind, ErrorKind::Corrupt);
        assert_eq!(note_row(&[1; 15], &[0; 8]).unwrap_err().kind, ErrorKind::Corrupt);
    }

    #[test]
    fn a_batch_is_of_one_bucket_with_one_row_for_each_viewer_and_stays_within_its_limits() {
        let same = batches(vec![note(1, 2, b"b"), note(1, 3, b"a"), note(1, 1, b"c"), note(0xFF, 1, b"")]);
        assert_eq!(same, [(0, vec![note(1, 3, b"a")]), (15, vec![note(0xFF, 1, b"")])]);
        let viewer = |number: u32, payload: &[u8]| {
            let mut row = note(0, 1, payload);
            row.viewer.0[1..5].copy_from_slice(&number.to_be_bytes());
            row
        };
        let small = batches((0..200).map(|number| viewer(number, b"x")).collect());
        assert_eq!(small.iter().map(|(_, rows)| rows.len()).collect::<Vec<_>>(), [64, 64, 64, 8]);
        let long = batches((0..200).map(|number| viewer(number, &[9; 256])).collect());
        assert!(long.iter().all(|(_, rows)| rows.len() * 256 < MAX_BATCH_BYTES));
        assert_eq!(long.iter().map(|(_, rows)| rows.len()).sum::<usize>(), 200);
    }

    #[test]
    fn segments_are_numbered_up_to_the_last_chunk_there_can_be() {
        assert_eq!((segment(0), segment(1023), segment(1024), segment(MAX_SEQ)), (0, 0, 1, (1 << 26) - 1));
    }
}
