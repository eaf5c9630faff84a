//! Records of the simulated store: documents that change by compare-and-set, as lightweight transactions of CQL do.
//!
//! Paxos over the three replicas: a proposal that was accepted somewhere is finished by whoever meets it, so that a
//! transaction whose answer was lost may have been carried out, or be carried out later. As in the CQL store, a serial
//! read settles that (it proposes what it read, so that nothing older can follow), and the id of the attempt in the
//! row tells whose write it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::network::NODES;
use super::quorum::{QuorumStore, error};
use super::replica::{Cell, Key, Reply, Request};
use crate::domain::live::LiveId;
use crate::store::{ErrorKind, Record, RecordKey, RecordKind, Result, Swap};

const QUORUM: usize = NODES / 2 + 1;

/// Ballots of one transaction before its fate is unknown.
const MAX_BALLOTS: usize = 6;

/// Times that a transaction of unknown fate is settled and, when it was not carried out, run again.
const MAX_ROUNDS: usize = 5;

/// A document as it is in a cell. Revision 0 is none: deleted, or settled before it was ever written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) revision: u64,
    attempt: u64,
    pub(super) body: String,
}

impl Document {
    const NONE: Self = Self { revision: 0, attempt: 0, body: String::new() };

    fn encode(&self) -> Bytes {
        let numbers = [self.revision.to_be_bytes(), self.attempt.to_be_bytes()];
        Bytes::from([numbers.as_flattened(), self.body.as_bytes()].concat())
    }

    pub(super) fn of(value: &Bytes) -> Self {
        let number = |at: usize| {
            value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes).unwrap_or_default()
        };
        let body = value.get(16..).map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default();
        Self { revision: number(0), attempt: number(8), body }
    }
}

enum Applied {
    Yes,
    /// With the revision that is there.
    No(u64),
}

fn unknown() -> crate::store::StoreError {
    error(ErrorKind::Unknown, "no QUORUM decided")
}

/// Where a record is; nothing else is kept in this store.
fn place(key: &RecordKey) -> Result<Key> {
    let known = match key.kind {
        RecordKind::Live => Uuid::try_parse(&key.id).ok().map(|id| Key::Live(LiveId(id))),
        RecordKind::Channel => key.id.strip_prefix('c').and_then(|number| number.parse().ok()).map(Key::Channel),
        _ => None,
    };
    known.ok_or_else(|| error(ErrorKind::Refused, "no such record in the simulation"))
}

fn id_of(key: &Key) -> Option<String> {
    match key {
        Key::Channel(number) => Some(channel_id(*number)),
        Key::Live(live) => Some(live.to_string()),
        _ => None,
    }
}

/// The slug of a channel.
pub(super) fn channel_id(number: u8) -> String {
    format!("c{number}")
}

impl QuorumStore {
    /// One transaction: `change` sees what is decided and says what to write, or nothing.
    async fn transact(&self, key: Key, change: impl Fn(&Document) -> Option<Document> + Send) -> Result<Applied> {
        let mut ballot = self.world.next_ballot(0);
        for _ in 0..MAX_BALLOTS {
            let prepare = Arc::new(Request::Prepare(key, ballot));
            let replies = self.world.attempt(self.pod, QUORUM, &prepare, true).await.ok_or_else(unknown)?;
            let (mut accepted, mut decided, mut refused): (Option<Cell>, Option<Cell>, u64) = (None, None, 0);
            for reply in replies {
                match reply {
                    Reply::Promise(earlier, known) => {
                        accepted = accepted.max(earlier);
                        decided = decided.max(known);
                    }
                    Reply::Refused(higher) => refused = refused.max(higher),
                    Reply::Done | Reply::Rows(_) => {}
                }
            }
            if refused > 0 {
                ballot = self.world.next_ballot(refused);
                let wait_ms = 5 + self.world.network().below(60);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                continue;
            }
            // What somebody began and did not finish comes first.
            let begun = accepted.filter(|(at, _)| decided.as_ref().is_none_or(|(decided, _)| at > decided));
            let (value, is_ours) = match begun {
                Some((_, value)) => (value, false),
                None => {
                    let known = decided.map_or(Document::NONE, |(_, value)| Document::of(&value));
                    match change(&known) {
                        Some(document) => (document.encode(), true),
                        None => return Ok(Applied::No(known.revision)),
                    }
                }
            };
            let accept = Arc::new(Request::Accept(key, ballot, value.clone()));
            let replies = self.world.attempt(self.pod, QUORUM, &accept, true).await.ok_or_else(unknown)?;
            if replies.iter().any(|reply| matches!(reply, Reply::Refused(_))) {
                // Somebody may have accepted it, and somebody else may finish it.
                return Err(unknown());
            }
            self.write(vec![(key, (ballot, value))]).await.map_err(|_| unknown())?;
            if is_ours {
                return Ok(Applied::Yes);
            }
            ballot = self.world.next_ballot(ballot);
        }
        Err(unknown())
    }

    /// What is there, and nothing that was begun before can change it any more.
    async fn settled(&self, key: Key) -> Result<Document> {
        let found = std::sync::Mutex::new(Document::NONE);
        let again = |known: &Document| {
            super::locked(&found).clone_from(known);
            Some(known.clone())
        };
        self.transact(key, again).await?;
        let found = super::locked(&found).clone();
        Ok(found)
    }

    /// Changes a document that is at `expected` into one of `revision`.
    async fn swap(&self, key: Key, expected: u64, revision: u64, body: &str) -> Result<Swap> {
        let attempt = self.world.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        for _ in 0..MAX_ROUNDS {
            // The id of a live is never used again.
            let fits = |known: &Document| known.revision == expected && (expected > 0 || known.attempt == 0);
            let change = |known: &Document| fits(known).then(|| Document { revision, attempt, body: body.to_owned() });
            let unknown = match self.transact(key, change).await {
                Ok(Applied::Yes) => return Ok(Swap::Done(revision)),
                Ok(Applied::No(found)) => return Ok(Swap::Conflict(found)),
                Err(failure) => failure,
            };
            match self.settled(key).await {
                Ok(found) if found.attempt == attempt => return Ok(Swap::Done(revision)),
                Ok(found) if found.revision == expected => {}
                Ok(found) if revision > 0 && found.revision == revision => return Ok(Swap::Conflict(revision)),
                // Ours may have come before what is there now.
                _ => return Err(unknown),
            }
        }
        Err(error(ErrorKind::Unavailable, "no transaction came through"))
    }

    pub(super) async fn swap_in(&self, key: &RecordKey, expected: u64, body: &str) -> Result<Swap> {
        self.swap(place(key)?, expected, expected + 1, body).await
    }

    pub(super) async fn swap_out(&self, key: &RecordKey, expected: u64) -> Result<Swap> {
        if expected == 0 {
            let found = self.settled(place(key)?).await?.revision;
            return Ok(if found == 0 { Swap::Done(0) } else { Swap::Conflict(found) });
        }
        self.swap(place(key)?, expected, 0, "").await
    }

    pub(super) async fn document(&self, key: &RecordKey) -> Result<Option<Record>> {
        let place = place(key)?;
        let rows = self.read(Request::Read { ranges: vec![place..=place], limit: 1 }).await?;
        Ok(rows.iter().find_map(|(key, cell)| record(key, cell)))
    }

    pub(super) async fn documents(&self, kind: RecordKind, after: Option<&str>, limit: usize) -> Result<Vec<Record>> {
        if kind != RecordKind::Channel {
            return Err(error(ErrorKind::Refused, "only channels are listed in the simulation"));
        }
        let ranges = vec![Key::Channel(0)..=Key::Channel(u8::MAX)];
        let rows = self.read(Request::Read { ranges, limit: usize::MAX }).await?;
        let records = rows.iter().filter_map(|(key, cell)| record(key, cell));
        Ok(records.filter(|record| after.is_none_or(|after| *record.id > *after)).take(limit).collect())
    }
}

fn record(key: &Key, (_, value): &Cell) -> Option<Record> {
    let Document { revision, body, .. } = Document::of(value);
    let id = id_of(key)?;
    (revision > 0).then_some(Record { id, revision, body })
}

/// The cell of a document that was there before the run.
pub(super) fn first_cell(body: String) -> Cell {
    (1, Document { revision: 1, attempt: 0, body }.encode())
}
