//! A store around a store: times and counts each operation.
//!
//! Invariant: it changes neither arguments nor answers, and branches on neither.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;

use super::{ItemId, LaneId, LaneRow, NoteRow, PhaseRow, Record, RecordKey, RecordKind, Result, Store, Swap, WriterId};
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::domain::viewer::ViewerId;

/// Measures the store inside: `store_op_seconds{op}` for every operation that ended, `store_errors_total{kind}` for
/// every error.
#[derive(Clone)]
pub struct MeteredStore {
    inner: Arc<dyn Store>,
}

impl MeteredStore {
    /// Measures `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner }
    }
}

async fn metered<T>(op: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let begun = Instant::now();
    let result = work.await;
    metrics::histogram!("store_op_seconds", "op" => op).record(begun.elapsed());
    if let Err(error) = &result {
        metrics::counter!("store_errors_total", "kind" => error.kind.as_str()).increment(1);
    }
    result
}

#[async_trait]
impl Store for MeteredStore {
    fn backend(&self) -> &'static str {
        self.inner.backend()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn probe(&self) -> Result<()> {
        metered("probe", self.inner.probe()).await
    }

    async fn register_lane(&self, item: ItemId, lane: LaneId, format: u8) -> Result<()> {
        metered("register_lane", self.inner.register_lane(item, lane, format)).await
    }

    async fn lanes(&self, item: ItemId) -> Result<Vec<LaneRow>> {
        metered("lanes", self.inner.lanes(item)).await
    }

    async fn append(&self, item: ItemId, lane: LaneId, seq: u64, chunk: Bytes) -> Result<()> {
        metered("append", self.inner.append(item, lane, seq, chunk)).await
    }

    async fn read_lane(&self, item: ItemId, lane: LaneId, from_seq: u64) -> Result<Vec<(u64, Bytes)>> {
        metered("read_lane", self.inner.read_lane(item, lane, from_seq)).await
    }

    async fn prune_journal(&self, item: ItemId) -> Result<()> {
        metered("prune_journal", self.inner.prune_journal(item)).await
    }

    async fn write_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        metered("write_notes", self.inner.write_notes(item, rows)).await
    }

    async fn read_notes(&self, item: ItemId, after: Option<ViewerId>, limit: usize) -> Result<Vec<NoteRow>> {
        metered("read_notes", self.inner.read_notes(item, after, limit)).await
    }

    async fn prune_notes(&self, item: ItemId) -> Result<()> {
        metered("prune_notes", self.inner.prune_notes(item)).await
    }

    async fn restore_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        metered("restore_notes", self.inner.restore_notes(item, rows)).await
    }

    async fn advance_materialised(&self, item: ItemId, lane: LaneId, materialised: u64) -> Result<()> {
        metered("advance_materialised", self.inner.advance_materialised(item, lane, materialised)).await
    }

    async fn raise_rank(&self, item: ItemId, rank: Rank) -> Result<()> {
        metered("raise_rank", self.inner.raise_rank(item, rank)).await
    }

    async fn ranks(&self, live: LiveId) -> Result<Vec<PhaseRow>> {
        metered("ranks", self.inner.ranks(live)).await
    }

    async fn put_result(&self, item: ItemId, epoch: u64, body: Bytes) -> Result<()> {
        metered("put_result", self.inner.put_result(item, epoch, body)).await
    }

    async fn result(&self, item: ItemId, epoch: u64) -> Result<Option<Bytes>> {
        metered("result", self.inner.result(item, epoch)).await
    }

    async fn beat(&self, live: LiveId, writer: WriterId, body: Bytes) -> Result<()> {
        metered("beat", self.inner.beat(live, writer, body)).await
    }

    async fn heartbeats(&self, live: LiveId) -> Result<Vec<(WriterId, Bytes)>> {
        metered("heartbeats", self.inner.heartbeats(live)).await
    }

    async fn record(&self, key: &RecordKey) -> Result<Option<Record>> {
        metered("record", self.inner.record(key)).await
    }

    async fn records(&self, kind: RecordKind, scope: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>> {
        metered("records", self.inner.records(kind, scope, after, limit)).await
    }

    async fn put_record(&self, key: &RecordKey, expected: u64, body: String) -> Result<Swap> {
        metered("put_record", self.inner.put_record(key, expected, body)).await
    }

    async fn delete_record(&self, key: &RecordKey, expected: u64) -> Result<Swap> {
        metered("delete_record", self.inner.delete_record(key, expected)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;
    use crate::store::memory::MemoryStore;

    macro_rules! metered_on_memory {
        ($($case:ident)*) => { $(
            #[tokio::test]
            async fn $case() {
                conformance::$case(&MeteredStore::new(Arc::new(MemoryStore::new()))).await;
            }
        )* };
    }
    crate::store_cases!(metered_on_memory);
}
