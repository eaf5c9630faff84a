//! Starting on a store that is busy: every statement of a start is tried again for [`PATIENCE`].
//!
//! Pods that start together, or beside a node that does, find a cluster that is busy with itself; that is when pods start.
//!
//! **Invariant**: what is tried again may be: reads, and writes that say the same when repeated. A compare-and-set whose
//! outcome is unknown is decided by its caller, who reads first ([`patiently`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{
    ErrorKind, ItemId, LaneId, LaneRow, NoteRow, PhaseRow, Record, RecordKey, RecordKind, Result, Store, StoreError,
    Swap, WriterId,
};
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::domain::viewer::ViewerId;

/// How long a start waits for a store that is away or busy, with each of its statements.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two tries: the first, and the longest of those that follow.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Does what a start needs of the store, again and again for [`PATIENCE`].
///
/// # Errors
/// The last one, when it may not pass or came too late.
pub async fn patiently<T, E: std::fmt::Display, F: Future<Output = std::result::Result<T, E>>>(
    attempt: impl Fn() -> F,
    may_pass: impl Fn(&E) -> bool,
) -> std::result::Result<T, E> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Err(error) if may_pass(&error) && Instant::now() + pause < deadline => {
                tracing::warn!(%error, "the store is not ready; trying again");
            }
            outcome => return outcome,
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A store as a start sees it; after [`PatientStore::started`], the store inside.
pub struct PatientStore {
    inner: Arc<dyn Store>,
    is_started: AtomicBool,
}

impl PatientStore {
    /// `inner`, for a start.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, is_started: AtomicBool::new(false) }
    }

    /// The start is over: from here on every error is its caller's at once.
    pub fn started(&self) {
        self.is_started.store(true, Ordering::Relaxed);
    }

    fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Relaxed)
    }

    fn may_repeat(&self, operation: &str, error: &StoreError) -> bool {
        let is_swap = matches!(operation, "put_record" | "delete_record");
        !self.is_started() && error.may_pass() && !(is_swap && error.kind == ErrorKind::Unknown)
    }
}

macro_rules! delegate {
    ($(fn $name:ident(&self $(, $argument:ident: $kind:ty)*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Store for PatientStore {
            fn backend(&self) -> &'static str {
                self.inner.backend()
            }

            fn is_shared(&self) -> bool {
                self.inner.is_shared()
            }

            $(async fn $name(&self $(, $argument: $kind)*) -> Result<$answer> {
                if self.is_started() {
                    return self.inner.$name($($argument),*).await;
                }
                let attempt = || self.inner.$name($(Clone::clone(&$argument)),*);
                patiently(attempt, |error| self.may_repeat(stringify!($name), error)).await
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
