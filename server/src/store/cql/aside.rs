//! Chunks that cannot be read, and what takes their place.
//!
//! Invariant: a chunk is replaced only once what it was is in the table `set_aside`.

use bytes::Bytes;

use super::attempt::{Class, error};
use super::{BACKEND, CqlStore, on, segment, signed};
use crate::store::{ErrorKind, ItemId, LaneId, Result, limits};

impl CqlStore {
    /// Copies a chunk that cannot be read to the table `set_aside`, where the first one stays, and puts one that can be read
    /// in its place. May be repeated.
    ///
    /// # Errors
    /// As [`crate::store::Store::append`]; [`ErrorKind::Refused`] when there is no such chunk.
    pub async fn set_aside(&self, item: ItemId, lane: LaneId, seq: u64, instead: Bytes) -> Result<()> {
        limits::chunk(BACKEND, seq, &instead)?;
        let (live, jeu, writer, number) = on(item, lane);
        let (segment, seq) = (segment(seq), signed(seq)?);
        let key = (live, jeu, writer, number, segment, seq);
        let found = self.rows::<(Vec<u8>, i64)>(Class::Read, &self.statements.chunk, key).await?;
        let Some((chunk, written_at)) = found.into_iter().next() else {
            return Err(error(ErrorKind::Refused, format!("there is no chunk {seq}")));
        };
        let kept = (live, jeu, writer, number, segment, seq, chunk);
        self.execute(Class::Cas, &self.statements.set_aside, kept).await?;
        // The clock of whoever wrote it may have been ahead of this one.
        let stamp = self.stamp().max(written_at.saturating_add(1));
        let values = (live, jeu, writer, number, segment, seq, &instead[..], stamp);
        self.write(&self.statements.append, values).await
    }
}
