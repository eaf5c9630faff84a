//! Counts the notes of a data file again, by SQL and by reading bytes as `docs/data-model.md` describes them. Uses none
//! of the server's code.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::harness::database;

/// A note as it is stored: version and the steps of the criteres, 255 for none.
pub(crate) type Stored = (u64, Vec<u8>);

/// Opens the file of a server that has stopped.
fn open(data_dir: &Path) -> Connection {
    Connection::open_with_flags(database(data_dir), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
}

/// A copy of the file and its log as a crash left them, because reading them in place would tidy them up.
pub(crate) fn copy_after_crash(data_dir: &Path) -> tempfile::TempDir {
    let copy = crate::harness::data_dir();
    for end in ["", "-wal"] {
        let name = format!("bareme.sqlite3{end}");
        if data_dir.join(&name).exists() {
            std::fs::copy(data_dir.join(&name), copy.path().join(&name)).unwrap();
        }
    }
    copy
}

/// Every viewer's greatest note as hex, by nothing but SQL: what is in `notes`, and what the journal has beyond it. A
/// chunk is 16 bytes, its last two being the number of entries; an entry is a viewer (16 bytes), a version (8, little
/// endian), a length (2) and a payload; so that turned round, versions sort as text.
const GREATEST: &str = "
WITH RECURSIVE
item_of AS (SELECT item FROM items WHERE live_id = ?1 AND jeu_id = ?2),
entries (chunk, at, length, more) AS (
    SELECT chunk, 17, {length_at_41}, {length_at_15} - 1
    FROM journal JOIN lanes ON lane = id >> 36 JOIN item_of USING (item)
    UNION ALL
    SELECT chunk, at + 26 + length, {length_of_next}, more - 1 FROM entries WHERE more > 0
),
notes_of (viewer, note) AS (
    SELECT viewer, printf('%016X', version) || hex(payload) FROM notes JOIN item_of USING (item)
    UNION ALL
    SELECT substr(chunk, at, 16),
        hex(substr(chunk, at + 23, 1)) || hex(substr(chunk, at + 22, 1)) || hex(substr(chunk, at + 21, 1)) ||
        hex(substr(chunk, at + 20, 1)) || hex(substr(chunk, at + 19, 1)) || hex(substr(chunk, at + 18, 1)) ||
        hex(substr(chunk, at + 17, 1)) || hex(substr(chunk, at + 16, 1)) || hex(substr(chunk, at + 26, length))
    FROM entries
),
greatest (viewer, steps) AS (SELECT viewer, substr(max(note), 19) FROM notes_of GROUP BY viewer),
counted AS (SELECT viewer, steps FROM greatest WHERE replace(steps, 'FF', '') <> '')
";

/// SQL for the two bytes at a place of a chunk as a number, little endian; SQLite reads no hex by itself.
fn number_at(place: &str) -> String {
    let digit = |byte: usize, digit: usize| {
        format!("(instr('0123456789ABCDEF', substr(hex(substr(chunk, {place} + {byte}, 1)), {digit}, 1)) - 1)")
    };
    format!("({} * 16 + {} + {} * 4096 + {} * 256)", digit(0, 1), digit(0, 2), digit(1, 1), digit(1, 2))
}

/// Voters and histograms of a jeu by nothing but SQL, in the shape of [`shown`].
pub(crate) fn by_sql(data_dir: &Path, live: &str, jeu: u32, criteres: usize, steps: usize) -> Value {
    let connection = open(data_dir);
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let greatest = GREATEST
        .replace("{length_at_15}", &number_at("15"))
        .replace("{length_at_41}", &number_at("41"))
        .replace("{length_of_next}", &number_at("at + 26 + length + 24"));
    let voters: i64 = connection
        .query_row(&format!("{greatest} SELECT count(*) FROM counted"), (live, jeu), |row| row.get(0))
        .unwrap();
    let mut histograms = vec![vec![0_i64; steps]; criteres];
    for (index, histogram) in histograms.iter_mut().enumerate() {
        let at = 1 + 2 * index;
        let sql = format!("{greatest} SELECT substr(steps, {at}, 2) AS step, count(*) FROM counted GROUP BY step");
        let mut statement = connection.prepare(&sql).unwrap();
        let rows =
            statement.query_map((live, jeu), |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).unwrap();
        for row in rows {
            let (step, count) = row.unwrap();
            if step != "FF" {
                histogram[usize::from_str_radix(&step, 16).unwrap()] = count;
            }
        }
    }
    json!({"voters": voters, "histograms": histograms})
}

/// How many rows of a jeu the view for people has: after an orderly stop, which leaves nothing in the journal alone, all.
pub(crate) fn rows_for_people(data_dir: &Path, live: &str, jeu: u32) -> usize {
    let sql = "SELECT count(*) FROM v_notes WHERE live_id = ?1 AND jeu_id = ?2";
    let rows: i64 = open(data_dir).query_row(sql, (live, jeu), |row| row.get(0)).unwrap();
    usize::try_from(rows).unwrap()
}

/// The same numbers as the results endpoint shows them.
pub(crate) fn shown(results: &Value, jeu: u32) -> Value {
    let jeu = jeu_of(results, jeu);
    let histograms: Vec<_> = jeu["criteres"].as_array().unwrap().iter().map(|critere| &critere["histogram"]).collect();
    json!({"voters": jeu["voters"], "histograms": histograms})
}

/// One jeu of the results.
pub(crate) fn jeu_of(results: &Value, jeu: u32) -> &Value {
    results["jeux"].as_array().unwrap().iter().find(|entry| entry["jeu_id"] == jeu).unwrap()
}

/// The greatest note of each viewer of a jeu, in `notes` and in the journal together.
pub(crate) fn by_bytes(data_dir: &Path, live: &str, jeu: u32) -> HashMap<Vec<u8>, Stored> {
    let connection = open(data_dir);
    let mut greatest = HashMap::<Vec<u8>, Stored>::new();
    let mut merge = |viewer: Vec<u8>, version: u64, payload: &[u8]| {
        assert_eq!(payload[0], 1, "format of a note");
        let stored = (version, payload[1..].to_vec());
        let held = greatest.entry(viewer).or_insert_with(|| stored.clone());
        *held = held.clone().max(stored);
    };
    let sql = "SELECT viewer, version, payload FROM notes JOIN items USING (item) WHERE live_id = ?1 AND jeu_id = ?2";
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query((live, jeu)).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let version: i64 = row.get(1).unwrap();
        merge(row.get(0).unwrap(), version.cast_unsigned(), &row.get::<_, Vec<u8>>(2).unwrap());
    }
    let sql = "SELECT chunk FROM journal JOIN lanes ON lane = id >> 36 JOIN items USING (item) \
               WHERE live_id = ?1 AND jeu_id = ?2";
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query((live, jeu)).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let chunk: Vec<u8> = row.get(0).unwrap();
        assert_eq!(chunk[..5], *b"BRMJ\x01", "magic and format of a chunk");
        let count = u16::from_le_bytes(*chunk[14..].first_chunk().unwrap());
        let mut rest = &chunk[16..];
        for _ in 0..count {
            let version = u64::from_le_bytes(*rest[16..].first_chunk().unwrap());
            let length = usize::from(u16::from_le_bytes(*rest[24..].first_chunk().unwrap()));
            merge(rest[..16].to_vec(), version, &rest[26..26 + length]);
            rest = &rest[26 + length..];
        }
        assert_eq!(rest.len(), 4, "nothing but the checksum is left");
    }
    greatest
}
