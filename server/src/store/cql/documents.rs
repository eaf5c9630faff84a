//! Records and results: what is written once or by compare-and-set, with lightweight transactions.
//!
//! A transaction that timed out may be carried out, now or by the next one that finds its traces. A serial read settles
//! it: what it did not see will never be there. The id of the attempt, kept in the row, tells whose write is seen.
//!
//! For the same reason a document is deleted in two steps: it becomes one of revision 0, which counts as none and tells
//! whose deletion it was, and then the row goes.
//!
//! Invariant: these tables are written by transactions only; mixing them with plain writes would mix two clocks.

use bytes::Bytes;
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};
use uuid::Uuid;

use super::attempt::{Class, error};
use super::{CqlStore, at, signed, unsigned};
use crate::store::{ErrorKind, ItemId, Record, RecordKey, RecordKind, Result, StoreError, Swap, limits};

/// Records read at a time: 64 of the longest are 16 MiB.
const RECORDS_PAGE: usize = 64;

/// Times that a transaction of unknown fate is settled and, when it was not carried out, run again.
const MAX_ROUNDS: usize = 5;

/// What a transaction answers.
enum Applied {
    Yes,
    /// With the revision that is there, if the row is.
    No(Option<i64>),
}

/// A document as a serial read finds it.
struct Settled {
    revision: i64,
    attempt: Option<Uuid>,
}

fn applied(result: QueryResult) -> Result<Applied> {
    let unreadable =
        |what: &dyn std::fmt::Display| error(ErrorKind::Unknown, format!("answer to a transaction: {what}"));
    let rows = result.into_rows_result().map_err(|failure| unreadable(&failure))?;
    // Cassandra adds the row's columns only when it did not apply, ScyllaDB always: both by name.
    let position = |name: &str| rows.column_specs().iter().position(|spec| spec.name() == name);
    let (done, revision) = (position("[applied]"), position("revision"));
    let row = rows.first_row::<Row>().map_err(|failure| unreadable(&failure))?;
    let column = |place: Option<usize>| place.and_then(|place| row.columns.get(place)).cloned().flatten();
    match column(done) {
        Some(CqlValue::Boolean(true)) => Ok(Applied::Yes),
        Some(CqlValue::Boolean(false)) => match column(revision) {
            Some(CqlValue::BigInt(revision)) => Ok(Applied::No(Some(revision))),
            _ => Ok(Applied::No(None)),
        },
        _ => Err(unreadable(&"it does not say whether it was applied")),
    }
}

fn not_through(key: &RecordKey) -> StoreError {
    error(ErrorKind::Unavailable, format!("record {}: no transaction came through", key.id))
}

impl CqlStore {
    async fn transact(&self, statement: &PreparedStatement, values: impl SerializeRow + Sync) -> Result<Applied> {
        applied(self.execute(Class::Cas, statement, values).await?)
    }

    async fn settled(&self, key: &RecordKey) -> Result<Option<Settled>> {
        let values = (key.kind.as_str(), &key.scope, &key.id);
        let rows = self.rows::<(i64, String, Option<Uuid>)>(Class::Settle, &self.statements.settled_record, values);
        let settled = rows.await?.into_iter().next();
        Ok(settled.map(|(revision, _, attempt)| Settled { revision, attempt }))
    }

    /// See [`crate::store::Store::put_record`].
    pub(super) async fn swap_in(&self, key: &RecordKey, expected: u64, body: String) -> Result<Swap> {
        limits::record(super::BACKEND, expected, &body)?;
        let attempt = Uuid::new_v4();
        let (new, old) = (signed(expected + 1)?, signed(expected)?);
        let (kind, scope, id) = (key.kind.as_str(), key.scope.as_str(), key.id.as_str());
        let mut row_is_there = expected > 0;
        for _ in 0..MAX_ROUNDS {
            let outcome = if row_is_there {
                let values = (new, body.as_str(), attempt, kind, scope, id, old);
                self.transact(&self.statements.update_record, values).await
            } else {
                let values = (new, body.as_str(), attempt, kind, scope, id);
                self.transact(&self.statements.insert_record, values).await
            };
            let unknown = match outcome {
                Ok(Applied::Yes) => return Ok(Swap::Done(expected + 1)),
                // The remains of a deletion, which may go at any moment.
                Ok(Applied::No(found)) if expected == 0 && found.unwrap_or(0) == 0 => {
                    row_is_there = found.is_some();
                    continue;
                }
                Ok(Applied::No(found)) => return Ok(Swap::Conflict(unsigned(found.unwrap_or(0))?)),
                Err(failure) if failure.kind == ErrorKind::Unknown => failure,
                Err(failure) => return Err(failure),
            };
            metrics::counter!("cql_settled_total").increment(1);
            let found = self.settled(key).await.map_err(|_| error(ErrorKind::Unknown, &unknown.source))?;
            match found {
                Some(found) if found.attempt == Some(attempt) => return Ok(Swap::Done(expected + 1)),
                Some(found) if found.revision == new => return Ok(Swap::Conflict(expected + 1)),
                Some(found) if found.revision == old => row_is_there = true,
                None if expected == 0 => row_is_there = false,
                // Ours may have come before what is there now.
                _ => return Err(unknown),
            }
        }
        // Every round ended with the proof that it was not carried out.
        Err(not_through(key))
    }

    /// See [`crate::store::Store::delete_record`].
    pub(super) async fn swap_out(&self, key: &RecordKey, expected: u64) -> Result<Swap> {
        let Ok(old) = signed(expected) else { return Ok(Swap::Conflict(self.revision(key).await?)) };
        if expected == 0 {
            return Ok(match self.revision(key).await? {
                0 => Swap::Done(0),
                revision => Swap::Conflict(revision),
            });
        }
        let attempt = Uuid::new_v4();
        let (kind, scope, id) = (key.kind.as_str(), key.scope.as_str(), key.id.as_str());
        for _ in 0..MAX_ROUNDS {
            let outcome = self.transact(&self.statements.retire_record, (attempt, kind, scope, id, old)).await;
            let unknown = match outcome {
                Ok(Applied::Yes) => return Ok(self.forget(key, attempt).await),
                Ok(Applied::No(found)) => return Ok(Swap::Conflict(unsigned(found.unwrap_or(0))?)),
                Err(failure) if failure.kind == ErrorKind::Unknown => failure,
                Err(failure) => return Err(failure),
            };
            metrics::counter!("cql_settled_total").increment(1);
            match self.settled(key).await {
                Ok(Some(found)) if found.attempt == Some(attempt) => return Ok(self.forget(key, attempt).await),
                Ok(Some(found)) if found.revision == old => {}
                // Gone, or written anew: by whom, cannot be told.
                _ => return Err(unknown),
            }
        }
        Err(not_through(key))
    }

    /// Takes the remains of a deletion away. They count as nothing, so it may fail.
    async fn forget(&self, key: &RecordKey, attempt: Uuid) -> Swap {
        let values = (key.kind.as_str(), &key.scope, &key.id, attempt);
        if let Err(failure) = self.transact(&self.statements.forget_record, values).await {
            tracing::debug!(%failure, "the remains of a deleted record stay");
        }
        Swap::Done(0)
    }

    async fn revision(&self, key: &RecordKey) -> Result<u64> {
        unsigned(self.settled(key).await?.map_or(0, |found| found.revision))
    }

    /// See [`crate::store::Store::record`].
    pub(super) async fn document(&self, key: &RecordKey) -> Result<Option<Record>> {
        let values = (key.kind.as_str(), &key.scope, &key.id);
        let rows = self.rows::<(i64, String, Option<Uuid>)>(Class::Read, &self.statements.record, values).await?;
        let there = rows.into_iter().find(|(revision, ..)| *revision > 0);
        let Some((revision, body, _)) = there else { return Ok(None) };
        Ok(Some(Record { id: key.id.clone(), revision: unsigned(revision)?, body }))
    }

    /// See [`crate::store::Store::records`].
    pub(super) async fn documents(
        &self,
        kind: RecordKind,
        scope: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>> {
        let mut found: Vec<Record> = Vec::new();
        let mut last: Option<String> = None;
        while found.len() < limit {
            let count = RECORDS_PAGE.min(limit - found.len());
            let most = i32::try_from(count).unwrap_or(i32::MAX);
            let after = last.as_deref().or(after);
            let rows: Vec<(String, i64, String)> = match after {
                None => self.rows(Class::Read, &self.statements.first_records, (kind.as_str(), scope, most)).await?,
                Some(after) => {
                    let values = (kind.as_str(), scope, after, most);
                    self.rows(Class::Read, &self.statements.next_records, values).await?
                }
            };
            let was_full = rows.len() == count;
            last = rows.last().map(|(id, ..)| id.clone());
            for (id, revision, body) in rows {
                // What remains of a deletion counts as nothing.
                if revision > 0 {
                    found.push(Record { id, revision: unsigned(revision)?, body });
                }
            }
            if !was_full {
                break;
            }
        }
        Ok(found)
    }

    /// See [`crate::store::Store::put_result`].
    pub(super) async fn keep_result(&self, item: ItemId, epoch: u64, body: Bytes) -> Result<()> {
        limits::number(super::BACKEND, "epoch", epoch)?;
        let (live, jeu) = at(item);
        let epoch = signed(epoch)?;
        for _ in 0..MAX_ROUNDS {
            let outcome = self.transact(&self.statements.put_result, (live, jeu, epoch, &body[..])).await;
            let unknown = match outcome {
                Ok(_) => return Ok(()),
                Err(failure) if failure.kind == ErrorKind::Unknown => failure,
                Err(failure) => return Err(failure),
            };
            metrics::counter!("cql_settled_total").increment(1);
            // Whoever wrote it: the first one stays.
            match self.settled_result(item, epoch).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(_) => return Err(unknown),
            }
        }
        Err(error(ErrorKind::Unavailable, "no transaction came through"))
    }

    async fn settled_result(&self, item: ItemId, epoch: i64) -> Result<Option<Bytes>> {
        let (live, jeu) = at(item);
        let rows = self.rows::<(Vec<u8>,)>(Class::Settle, &self.statements.settled_result, (live, jeu, epoch)).await?;
        Ok(rows.into_iter().next().map(|(body,)| body.into()))
    }

    /// See [`crate::store::Store::result`].
    pub(super) async fn kept_result(&self, item: ItemId, epoch: u64) -> Result<Option<Bytes>> {
        let Ok(epoch) = signed(epoch) else { return Ok(None) };
        let (live, jeu) = at(item);
        let rows = self.rows::<(Vec<u8>,)>(Class::Read, &self.statements.result, (live, jeu, epoch)).await?;
        match rows.into_iter().next() {
            Some((body,)) => Ok(Some(body.into())),
            // A transaction that lost to one under way has been answered; only a serial read is sure to see the winner.
            None => self.settled_result(item, epoch).await,
        }
    }
}
