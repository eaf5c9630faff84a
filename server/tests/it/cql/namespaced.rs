//! A store that is empty for whoever makes it: all that it writes is under names of its own.
//!
//! Making and dropping a keyspace for each case would take longer than the cases.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bareme::domain::live::LiveId;
use bareme::domain::phase::Rank;
use bareme::domain::viewer::ViewerId;
use bareme::store::{
    ItemId, LaneId, LaneRow, NoteRow, PhaseRow, Record, RecordKey, RecordKind, Result, Store, Swap, WriterId,
};
use bytes::Bytes;
use uuid::Uuid;

/// A busy cluster may refuse for a moment; for longer it is broken.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);

/// Between two of its calls.
const PAUSE: Duration = Duration::from_millis(100);

/// Repeats what may be repeated until its outcome is known, as the engine does: that a node dies is no fault of a store.
pub(super) async fn until_known<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> Result<T> {
    let started = Instant::now();
    loop {
        match call().await {
            Err(error) if error.may_pass() && started.elapsed() < KNOWN_WITHIN => {}
            outcome => return outcome,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// See the module.
pub(super) struct Namespaced {
    inner: Arc<dyn Store>,
    salt: Uuid,
    is_undecided: AtomicBool,
}

impl Namespaced {
    pub(super) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, salt: Uuid::new_v4(), is_undecided: AtomicBool::new(false) }
    }

    /// Whether the outcome of a swap was not known.
    pub(super) fn is_undecided(&self) -> bool {
        self.is_undecided.load(Ordering::Relaxed)
    }

    fn decided(&self, outcome: Result<Swap>) -> Result<Swap> {
        if matches!(&outcome, Err(error) if error.may_pass()) {
            self.is_undecided.store(true, Ordering::Relaxed);
        }
        outcome
    }

    fn live(&self, live: LiveId) -> LiveId {
        LiveId(Uuid::from_u128(live.0.as_u128() ^ self.salt.as_u128()))
    }

    fn item(&self, item: ItemId) -> ItemId {
        ItemId { live: self.live(item.live), jeu: item.jeu }
    }

    fn scope(&self, scope: &str) -> String {
        format!("{} {scope}", self.salt)
    }

    fn key(&self, key: &RecordKey) -> RecordKey {
        RecordKey::new(key.kind, self.scope(&key.scope), key.id.clone())
    }
}

#[async_trait]
impl Store for Namespaced {
    fn backend(&self) -> &'static str {
        self.inner.backend()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn probe(&self) -> Result<()> {
        self.inner.probe().await
    }

    async fn register_lane(&self, item: ItemId, lane: LaneId, format: u8) -> Result<()> {
        until_known(|| self.inner.register_lane(self.item(item), lane, format)).await
    }

    async fn lanes(&self, item: ItemId) -> Result<Vec<LaneRow>> {
        until_known(|| self.inner.lanes(self.item(item))).await
    }

    async fn append(&self, item: ItemId, lane: LaneId, seq: u64, chunk: Bytes) -> Result<()> {
        until_known(|| self.inner.append(self.item(item), lane, seq, chunk.clone())).await
    }

    async fn read_lane(&self, item: ItemId, lane: LaneId, from_seq: u64) -> Result<Vec<(u64, Bytes)>> {
        until_known(|| self.inner.read_lane(self.item(item), lane, from_seq)).await
    }

    async fn prune_journal(&self, item: ItemId) -> Result<()> {
        until_known(|| self.inner.prune_journal(self.item(item))).await
    }

    async fn write_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        until_known(|| self.inner.write_notes(self.item(item), rows.clone())).await
    }

    async fn read_notes(&self, item: ItemId, after: Option<ViewerId>, limit: usize) -> Result<Vec<NoteRow>> {
        until_known(|| self.inner.read_notes(self.item(item), after, limit)).await
    }

    async fn prune_notes(&self, item: ItemId) -> Result<()> {
        self.inner.prune_notes(self.item(item)).await
    }

    async fn restore_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> Result<()> {
        self.inner.restore_notes(self.item(item), rows).await
    }

    async fn advance_materialised(&self, item: ItemId, lane: LaneId, materialised: u64) -> Result<()> {
        until_known(|| self.inner.advance_materialised(self.item(item), lane, materialised)).await
    }

    async fn raise_rank(&self, item: ItemId, rank: Rank) -> Result<()> {
        until_known(|| self.inner.raise_rank(self.item(item), rank)).await
    }

    async fn ranks(&self, live: LiveId) -> Result<Vec<PhaseRow>> {
        until_known(|| self.inner.ranks(self.live(live))).await
    }

    async fn put_result(&self, item: ItemId, epoch: u64, body: Bytes) -> Result<()> {
        until_known(|| self.inner.put_result(self.item(item), epoch, body.clone())).await
    }

    async fn result(&self, item: ItemId, epoch: u64) -> Result<Option<Bytes>> {
        until_known(|| self.inner.result(self.item(item), epoch)).await
    }

    async fn beat(&self, live: LiveId, writer: WriterId, body: Bytes) -> Result<()> {
        until_known(|| self.inner.beat(self.live(live), writer, body.clone())).await
    }

    async fn heartbeats(&self, live: LiveId) -> Result<Vec<(WriterId, Bytes)>> {
        until_known(|| self.inner.heartbeats(self.live(live))).await
    }

    async fn record(&self, key: &RecordKey) -> Result<Option<Record>> {
        let key = self.key(key);
        until_known(|| self.inner.record(&key)).await
    }

    async fn records(&self, kind: RecordKind, scope: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>> {
        let scope = self.scope(scope);
        until_known(|| self.inner.records(kind, &scope, after, limit)).await
    }

    async fn put_record(&self, key: &RecordKey, expected: u64, body: String) -> Result<Swap> {
        self.decided(self.inner.put_record(&self.key(key), expected, body).await)
    }

    async fn delete_record(&self, key: &RecordKey, expected: u64) -> Result<Swap> {
        self.decided(self.inner.delete_record(&self.key(key), expected).await)
    }
}
