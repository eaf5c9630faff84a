//! What every backend refuses before doing anything.
//!
//! Invariant: the limits of [`super`] are enforced here only, so that a call that the memory store takes is one that
//! every other store takes.

use super::{
    ErrorKind, MAX_CHUNK_BYTES, MAX_NOTE_ROWS, MAX_NUMBER, MAX_PAYLOAD_BYTES, MAX_RECORD_BYTES, MAX_SEQ, NoteRow,
    Result, StoreError,
};

fn refused(backend: &'static str, what: String) -> StoreError {
    StoreError::new(ErrorKind::Refused, backend, what)
}

fn at_most(backend: &'static str, what: &str, value: u64, limit: u64) -> Result<()> {
    if value > limit {
        return Err(refused(backend, format!("{what} is {value}, more than {limit}")));
    }
    Ok(())
}

/// A number that goes into a signed column.
pub(super) fn number(backend: &'static str, what: &str, value: u64) -> Result<()> {
    at_most(backend, what, value, MAX_NUMBER)
}

/// A chunk and its place.
pub(super) fn chunk(backend: &'static str, seq: u64, chunk: &[u8]) -> Result<()> {
    at_most(backend, "seq", seq, MAX_SEQ)?;
    at_most(backend, "length of the chunk", chunk.len() as u64, MAX_CHUNK_BYTES as u64)
}

/// Rows of `notes`.
pub(super) fn rows(backend: &'static str, rows: &[NoteRow]) -> Result<()> {
    at_most(backend, "number of rows", rows.len() as u64, MAX_NOTE_ROWS as u64)?;
    for row in rows {
        number(backend, "version", row.version)?;
        at_most(backend, "length of the payload", row.payload.len() as u64, MAX_PAYLOAD_BYTES as u64)?;
    }
    Ok(())
}

/// A compare-and-set of a record.
pub(super) fn record(backend: &'static str, expected: u64, body: &str) -> Result<()> {
    // The revision after it must still be a number.
    number(backend, "revision", expected.saturating_add(1))?;
    at_most(backend, "length of the record", body.len() as u64, MAX_RECORD_BYTES as u64)
}

/// A lane that nobody announced.
pub(super) fn not_registered(backend: &'static str) -> StoreError {
    refused(backend, "the lane is not registered, or was pruned".to_owned())
}

/// Other bytes under the number of a chunk.
pub(super) fn mismatch(backend: &'static str, seq: u64) -> StoreError {
    StoreError::new(ErrorKind::Mismatch, backend, format!("chunk {seq} of the lane is stored with other bytes"))
}
