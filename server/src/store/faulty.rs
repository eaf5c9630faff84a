//! A store that fails on purpose: wraps another one and asks, before every operation, what should go wrong.
//!
//! It is how tests and simulations make disks full and clusters unreachable at chosen moments; nothing else uses it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    ErrorKind, ItemId, LaneId, LaneRow, NoteRow, PhaseRow, Record, RecordKey, RecordKind, Result, Store, StoreError,
    Swap, WriterId,
};
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::domain::viewer::ViewerId;

/// What goes wrong with one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It takes longer.
    Delay(Duration),
    /// It is not done, and says so.
    Refused(ErrorKind),
    /// It is done, but the answer is lost.
    AnswerLost,
    /// It is not done, and whoever asked panics.
    Panic,
}

/// Decides, given the operation's name, what goes wrong.
pub type Plan = Arc<dyn Fn(&'static str) -> Fault + Send + Sync>;

/// A store with faults.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Plan,
}

impl FaultyStore {
    /// `inner`, with the faults of `plan`.
    pub fn new(inner: Arc<dyn Store>, plan: Plan) -> Self {
        Self { inner, plan }
    }

    async fn with_faults<T>(&self, operation: &'static str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let error = |kind| StoreError::new(kind, self.inner.backend(), format!("injected fault in {operation}"));
        match (self.plan)(operation) {
            Fault::None => work.await,
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                work.await
            }
            Fault::Refused(kind) => Err(error(kind)),
            #[expect(clippy::panic, reason = "what it is asked to do")]
            Fault::Panic => panic!("injected panic in {operation}"),
            Fault::AnswerLost => {
                work.await?;
                Err(error(ErrorKind::Unknown))
            }
        }
    }
}

macro_rules! delegate {
    ($(fn $name:ident(&self $(, $argument:ident: $kind:ty)*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Store for FaultyStore {
            fn backend(&self) -> &'static str {
                self.inner.backend()
            }

            fn is_shared(&self) -> bool {
                self.inner.is_shared()
            }

            $(async fn $name(&self $(, $argument: $kind)*) -> Result<$answer> {
                self.with_faults(stringify!($name), self.inner.$name($($argument),*)).await
            })*
        }
    };
}

delegate! {
    fn probe(&self) -> ();
    fn register_lane(&self, item: ItemId, lane: LaneId, format: u8) -> ();
    fn lanes(&self, item: ItemId) -> Vec<LaneRow>;
    fn append(&self, item: ItemId, lane: LaneId, seq: u64, chunk: Bytes) -> ();
    fn read_lane(&self, item: ItemId, lane: LaneId, from_seq: u64) -> Vec<(u64, Bytes)>;
    fn prune_journal(&self, item: ItemId) -> ();
    fn write_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> ();
    fn read_notes(&self, item: ItemId, after: Option<ViewerId>, limit: usize) -> Vec<NoteRow>;
    fn prune_notes(&self, item: ItemId) -> ();
    fn restore_notes(&self, item: ItemId, rows: Vec<NoteRow>) -> ();
    fn advance_materialised(&self, item: ItemId, lane: LaneId, materialised: u64) -> ();
    fn raise_rank(&self, item: ItemId, rank: Rank) -> ();
    fn ranks(&self, live: LiveId) -> Vec<PhaseRow>;
    fn put_result(&self, item: ItemId, epoch: u64, body: Bytes) -> ();
    fn result(&self, item: ItemId, epoch: u64) -> Option<Bytes>;
    fn beat(&self, live: LiveId, writer: WriterId, body: Bytes) -> ();
    fn heartbeats(&self, live: LiveId) -> Vec<(WriterId, Bytes)>;
    fn record(&self, key: &RecordKey) -> Option<Record>;
    fn records(&self, kind: RecordKind, scope: &str, after: Option<&str>, limit: usize) -> Vec<Record>;
    fn put_record(&self, key: &RecordKey, expected: u64, body: String) -> Swap;
    fn delete_record(&self, key: &RecordKey, expected: u64) -> Swap;
}
