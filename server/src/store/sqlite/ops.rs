//! What can be written, each as statements inside a transaction that the writer holds.
//!
//! Invariant: each write is idempotent, compare-and-set apart, and touches a bounded number of rows.

use std::collections::HashMap;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::schema::SEQ_BITS;
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::store::{ItemId, LaneId, MAX_NOTE_ROWS, NoteRow, RecordKey, Swap, WriterId};

/// Most chunks that one step of pruning deletes: a chunk is a page or more, and the step is one transaction.
const PRUNE_STEP: i64 = 512;

/// Most rows of `notes` that one step of pruning deletes: neighbours in the tree, so it dirties few pages.
const PRUNE_NOTES_STEP: i64 = 2048;

/// Pages that a small write dirties, in bytes: enough to know when to look at the WAL.
const PAGES_OF_A_WRITE: usize = 3 * 4096;

/// A write.
#[derive(Debug)]
pub(super) enum Write {
    Probe,
    RegisterLane { item: ItemId, lane: LaneId, format: u8 },
    Append { item: ItemId, lane: LaneId, seq: u64, chunk: Bytes },
    SetAside { item: ItemId, lane: LaneId, seq: u64, instead: Bytes },
    PruneJournal { item: ItemId },
    Notes { item: ItemId, rows: Vec<NoteRow> },
    PruneNotes { item: ItemId },
    AdvanceMaterialised { item: ItemId, lane: LaneId, materialised: u64 },
    RaiseRank { item: ItemId, rank: Rank },
    PutResult { item: ItemId, epoch: u64, body: Bytes },
    Beat { live: LiveId, writer: WriterId, body: Bytes },
    PutRecord { key: RecordKey, expected: u64, body: String },
    DeleteRecord { key: RecordKey, expected: u64 },
}

/// What a write did, once committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Swap(Swap),
    /// Nothing: there is no such lane.
    NotRegistered,
    /// Nothing: the chunk of that number is another one.
    Mismatch {
        seq: u64,
    },
    /// A step; execute it again.
    Unfinished,
}

/// Small integers that stand for items and lanes, as the writer knows them. To be cleared when a transaction fails.
#[derive(Debug, Default)]
pub(super) struct Interned {
    items: HashMap<ItemId, i64>,
    lanes: HashMap<(ItemId, LaneId), i64>,
}

impl Interned {
    /// Entries above which it starts over: a server that runs for years.
    const LIMIT: usize = 100_000;

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.lanes.clear();
    }

    fn item(&mut self, connection: &Connection, item: ItemId) -> rusqlite::Result<i64> {
        if let Some(id) = self.items.get(&item) {
            return Ok(*id);
        }
        let id = match find_item(connection, item)? {
            Some(id) => id,
            None => {
                let sql = "INSERT INTO items (live_id, jeu_id) VALUES (?1, ?2)";
                connection.prepare_cached(sql)?.insert(params![text(item.live.0), item.jeu.0])?
            }
        };
        if self.items.len() >= Self::LIMIT {
            self.items.clear();
        }
        self.items.insert(item, id);
        Ok(id)
    }

    fn lane(&mut self, connection: &Connection, item: ItemId, lane: LaneId) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.lanes.get(&(item, lane)) {
            return Ok(Some(*id));
        }
        let found = find_lane(connection, item, lane)?;
        if let Some(id) = found {
            if self.lanes.len() >= Self::LIMIT {
                self.lanes.clear();
            }
            self.lanes.insert((item, lane), id);
        }
        Ok(found)
    }
}

/// The integer of an item, if anything was ever written of it.
pub(super) fn find_item(connection: &Connection, item: ItemId) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT item FROM items WHERE live_id = ?1 AND jeu_id = ?2";
    connection.prepare_cached(sql)?.query_row(params![text(item.live.0), item.jeu.0], |row| row.get(0)).optional()
}

/// The integer of a registered lane.
pub(super) fn find_lane(connection: &Connection, item: ItemId, lane: LaneId) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT lane FROM lanes JOIN items USING (item) \
               WHERE live_id = ?1 AND jeu_id = ?2 AND writer = ?3 AND number = ?4";
    let key = params![text(item.live.0), item.jeu.0, text(lane.writer.0), lane.lane];
    connection.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()
}

/// Where a chunk is in `journal`.
pub(super) const fn journal_id(lane: i64, seq: u64) -> i64 {
    (lane << SEQ_BITS) | signed(seq)
}

/// A UUID as people and the sqlite3 shell read it.
pub(super) fn text(uuid: uuid::Uuid) -> String {
    uuid.hyphenated().to_string()
}

/// A number within [`MAX_NUMBER`](crate::store::MAX_NUMBER), as columns hold it.
pub(super) const fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// A column that never holds less than zero.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

impl Write {
    /// Roughly how many bytes it adds to the WAL.
    pub(super) fn weight(&self) -> usize {
        PAGES_OF_A_WRITE
            + match self {
                Self::Append { chunk, .. } => chunk.len(),
                // Sorted rows of a batch share pages, but not many of them when few viewers changed their note.
                Self::Notes { rows, .. } => rows.len() * 1024,
                Self::PruneJournal { .. } => PRUNE_STEP as usize * 64,
                Self::PruneNotes { .. } => PRUNE_NOTES_STEP as usize * 64,
                Self::PutResult { body, .. } | Self::Beat { body, .. } => body.len(),
                Self::PutRecord { body, .. } => body.len(),
                _ => 0,
            }
    }

    /// How much of a checkpoint's transaction it takes, in rows.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Notes { rows, .. } => rows.len(),
            Self::PruneJournal { .. } | Self::PruneNotes { .. } => MAX_NOTE_ROWS,
            _ => 1,
        }
    }

    /// Whether it is done although nobody waits any more. Only the long ones are dropped half-way.
    pub(super) fn is_worth_finishing(&self) -> bool {
        !matches!(self, Self::PruneJournal { .. } | Self::PruneNotes { .. })
    }

    /// Whether doing it twice differs from doing it once.
    pub(super) fn is_compare_and_set(&self) -> bool {
        matches!(self, Self::PutRecord { .. } | Self::DeleteRecord { .. })
    }

    pub(super) fn execute(&self, connection: &Connection, interned: &mut Interned) -> rusqlite::Result<Outcome> {
        let prepare = |sql| connection.prepare_cached(sql);
        match self {
            Self::Probe => {
                prepare(
                    "INSERT INTO probe (id, count) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1",
                )?
                .execute([])?;
            }
            Self::RegisterLane { item, lane, format } => {
                let item = interned.item(connection, *item)?;
                prepare(
                    "INSERT INTO lanes (item, writer, number, format) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                )?
                .execute(params![item, text(lane.writer.0), lane.lane, format])?;
            }
            Self::Append { item, lane, seq, chunk } => {
                let Some(lane) = interned.lane(connection, *item, *lane)? else {
                    return Ok(Outcome::NotRegistered);
                };
                let id = journal_id(lane, *seq);
                let inserted = prepare("INSERT INTO journal (id, chunk) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                    .execute(params![id, &chunk[..]])?;
                if inserted == 0 {
                    let is_same: bool = prepare("SELECT chunk = ?2 FROM journal WHERE id = ?1")?
                        .query_row(params![id, &chunk[..]], |row| row.get(0))?;
                    if !is_same {
                        return Ok(Outcome::Mismatch { seq: *seq });
                    }
                }
            }
            Self::SetAside { item, lane, seq, instead } => {
                let Some(lane) = interned.lane(connection, *item, *lane)? else { return Ok(Outcome::NotRegistered) };
                let id = journal_id(lane, *seq);
                prepare("INSERT OR IGNORE INTO set_aside SELECT id, chunk FROM journal WHERE id = ?1")?
                    .execute([id])?;
                prepare("UPDATE journal SET chunk = ?2 WHERE id = ?1")?.execute(params![id, &instead[..]])?;
            }
            Self::PruneJournal { item } => return prune(connection, interned, *item),
            Self::Notes { item, rows } => {
                let item = interned.item(connection, *item)?;
                let mut upsert = prepare(
                    "INSERT INTO notes (item, viewer, version, payload) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (item, viewer) DO UPDATE SET version = excluded.version, payload = excluded.payload \
                     WHERE (excluded.version, excluded.payload) > (notes.version, notes.payload)",
                )?;
                for row in rows {
                    upsert.execute(params![item, &row.viewer.0[..], signed(row.version), &row.payload[..]])?;
                }
            }
            Self::PruneNotes { item } => {
                let Some(item) = find_item(connection, *item)? else { return Ok(Outcome::Done) };
                let sql = "DELETE FROM notes WHERE item = ?1 AND viewer IN \
                           (SELECT viewer FROM notes WHERE item = ?1 ORDER BY viewer LIMIT ?2)";
                if prepare(sql)?.execute(params![item, PRUNE_NOTES_STEP])? as i64 == PRUNE_NOTES_STEP {
                    return Ok(Outcome::Unfinished);
                }
            }
            Self::AdvanceMaterialised { item, lane, materialised } => {
                let Some(lane) = interned.lane(connection, *item, *lane)? else { return Ok(Outcome::Done) };
                prepare("UPDATE lanes SET materialised = ?2 WHERE lane = ?1 AND materialised < ?2")?
                    .execute(params![lane, signed(*materialised)])?;
            }
            Self::RaiseRank { item, rank } => {
                prepare(
                    "INSERT INTO jeu_state (live_id, jeu_id, rank) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (live_id, jeu_id) DO UPDATE SET rank = excluded.rank WHERE excluded.rank > rank",
                )?
                .execute(params![text(item.live.0), item.jeu.0, signed(rank.0)])?;
            }
            Self::PutResult { item, epoch, body } => {
                prepare(
                    "INSERT INTO results (live_id, jeu_id, epoch, body) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![text(item.live.0), item.jeu.0, signed(*epoch), &body[..]])?;
            }
            Self::Beat { live, writer, body } => {
                prepare(
                    "INSERT INTO heartbeats (live_id, writer, body) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (live_id, writer) DO UPDATE SET body = excluded.body",
                )?
                .execute(params![text(live.0), text(writer.0), &body[..]])?;
            }
            Self::PutRecord { key, expected, body } => {
                let kind = key.kind.as_str();
                let changed = if *expected == 0 {
                    prepare(
                        "INSERT INTO records (kind, scope, id, revision, body) VALUES (?1, ?2, ?3, 1, ?4) \
                         ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![kind, key.scope, key.id, body])?
                } else {
                    prepare(
                        "UPDATE records SET revision = revision + 1, body = ?4 \
                         WHERE kind = ?1 AND scope = ?2 AND id = ?3 AND revision = ?5",
                    )?
                    .execute(params![kind, key.scope, key.id, body, signed(*expected)])?
                };
                let swap = if changed == 1 { Swap::Done(expected + 1) } else { conflict(connection, key)? };
                return Ok(Outcome::Swap(swap));
            }
            Self::DeleteRecord { key, expected } => {
                let deleted =
                    prepare("DELETE FROM records WHERE kind = ?1 AND scope = ?2 AND id = ?3 AND revision = ?4")?
                        .execute(params![key.kind.as_str(), key.scope, key.id, signed(*expected)])?;
                let swap = match (deleted, conflict(connection, key)?) {
                    (0, Swap::Conflict(0)) if *expected == 0 => Swap::Done(0),
                    (0, conflict) => conflict,
                    _ => Swap::Done(0),
                };
                return Ok(Outcome::Swap(swap));
            }
        }
        Ok(Outcome::Done)
    }
}

fn conflict(connection: &Connection, key: &RecordKey) -> rusqlite::Result<Swap> {
    let sql = "SELECT revision FROM records WHERE kind = ?1 AND scope = ?2 AND id = ?3";
    let current = connection
        .prepare_cached(sql)?
        .query_row(params![key.kind.as_str(), key.scope, key.id], |row| unsigned(row, 0))
        .optional()?;
    Ok(Swap::Conflict(current.unwrap_or(0)))
}

/// One step. Lanes go last: while one is left, what is left of its chunks can be found again.
fn prune(connection: &Connection, interned: &mut Interned, item: ItemId) -> rusqlite::Result<Outcome> {
    let Some(item_id) = find_item(connection, item)? else { return Ok(Outcome::Done) };
    let mut lanes = connection.prepare_cached("SELECT lane FROM lanes WHERE item = ?1")?;
    let lanes: Vec<i64> = lanes.query_map([item_id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut left = PRUNE_STEP;
    for lane in lanes {
        let sql = "DELETE FROM journal WHERE id IN \
                   (SELECT id FROM journal WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3)";
        let range = params![journal_id(lane, 0), journal_id(lane + 1, 0), left];
        left -= connection.prepare_cached(sql)?.execute(range)? as i64;
        if left <= 0 {
            return Ok(Outcome::Unfinished);
        }
    }
    connection.prepare_cached("DELETE FROM lanes WHERE item = ?1")?.execute([item_id])?;
    interned.lanes.retain(|(of, _), _| *of != item);
    Ok(Outcome::Done)
}
