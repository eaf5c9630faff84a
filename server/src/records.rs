//! Typed documents over the store's records: JSON in, JSON out, and compare-and-set loops.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{ErrorKind, RecordKey, RecordKind, Result, Store, StoreError, Swap};

/// Attempts of a compare-and-set before giving up: each failure means that somebody else succeeded, and a record has
/// a handful of admins at most.
pub(crate) const MAX_ATTEMPTS: usize = 32;

/// A document and the revision it was read at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// Revision to hand to the next write.
    pub revision: u64,
    /// The document.
    pub value: T,
}

/// A page of documents of which some may be damaged.
#[derive(Debug)]
pub struct Page<T> {
    /// Those that can be read, in order of id.
    pub documents: Vec<(String, Versioned<T>)>,
    /// Ids of those that cannot, and why.
    pub unreadable: Vec<(String, StoreError)>,
    /// The id after which the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// The documents of a store.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn Store>,
}

impl Records {
    /// The documents of `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The document in the body of a record.
    ///
    /// # Errors
    /// `Corrupt` when it is not a `T`.
    pub(crate) fn read<T: DeserializeOwned>(&self, id: &str, body: &str) -> Result<T> {
        let unreadable = |error| {
            let text = format!("record {id} cannot be read: {error}");
            StoreError::new(ErrorKind::Corrupt, self.store.backend(), text)
        };
        serde_json::from_str(body).map_err(unreadable)
    }

    fn write<T: Serialize>(&self, value: &T) -> Result<String> {
        serde_json::to_string(value).map_err(|error| StoreError::new(ErrorKind::Corrupt, self.store.backend(), error))
    }

    /// The document at `key`.
    ///
    /// # Errors
    /// The store's, and `Corrupt` when the document is not a `T`.
    pub async fn get<T: DeserializeOwned>(&self, key: &RecordKey) -> Result<Option<Versioned<T>>> {
        let Some(record) = self.store.record(key).await? else { return Ok(None) };
        Ok(Some(Versioned { revision: record.revision, value: self.read(&record.id, &record.body)? }))
    }

    /// Documents of a kind and scope in order of id, after `after`.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub async fn list<T: DeserializeOwned>(
        &self,
        kind: RecordKind,
        scope: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Versioned<T>)>> {
        let records = self.store.records(kind, scope, after, limit).await?;
        let typed = |record: crate::store::Record| {
            let value = self.read(&record.id, &record.body)?;
            Ok((record.id, Versioned { revision: record.revision, value }))
        };
        records.into_iter().map(typed).collect()
    }

    /// As [`Records::list`], for whoever goes on without those that are damaged.
    ///
    /// # Errors
    /// The store's.
    pub async fn page<T: DeserializeOwned>(
        &self,
        kind: RecordKind,
        scope: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<T>> {
        let records = self.store.records(kind, scope, after, limit).await?;
        let last = records.last().filter(|_| records.len() == limit);
        let next = last.map(|record| record.id.clone());
        let mut page = Page { documents: Vec::with_capacity(records.len()), unreadable: Vec::new(), next };
        for record in records {
            match self.read(&record.id, &record.body) {
                Ok(value) => page.documents.push((record.id, Versioned { revision: record.revision, value })),
                Err(error) => page.unreadable.push((record.id, error)),
            }
        }
        Ok(page)
    }

    /// Writes a document if it is at `expected` (0 = absent).
    ///
    /// # Errors
    /// The store's.
    pub async fn put<T: Serialize>(&self, key: &RecordKey, expected: u64, value: &T) -> Result<Swap> {
        self.store.put_record(key, expected, self.write(value)?).await
    }

    /// Deletes a document if it is at `expected`.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self, key: &RecordKey, expected: u64) -> Result<Swap> {
        self.store.delete_record(key, expected).await
    }

    /// Changes a document by compare-and-set, again from the newest revision after each conflict.
    ///
    /// `change` may run several times; what it refuses is returned as the inner error and nothing is written. `None`
    /// means that there is no such document. When `change` leaves the document as it was, nothing is written.
    ///
    /// # Errors
    /// The store's.
    pub async fn update<T, R, E>(
        &self,
        key: &RecordKey,
        mut change: impl FnMut(&mut T) -> std::result::Result<R, E> + Send,
    ) -> Result<Option<std::result::Result<(Versioned<T>, R), E>>>
    where
        T: Serialize + DeserializeOwned + Clone + PartialEq + Send,
        R: Send,
        E: Send,
    {
        let of_known = |known: Option<&T>| {
            let mut value = known.cloned().ok_or(None)?;
            let answer = change(&mut value).map_err(Some)?;
            Ok::<_, Option<E>>((value, answer))
        };
        Ok(match self.compare_and_set(key, of_known).await? {
            Ok(changed) => Some(Ok(changed)),
            Err(refusal) => refusal.map(Err),
        })
    }

    /// As [`Records::update`]; a document that is not there is changed from its default.
    ///
    /// # Errors
    /// The store's.
    pub async fn update_or_new<T, R, E>(
        &self,
        key: &RecordKey,
        mut change: impl FnMut(&mut T) -> std::result::Result<R, E> + Send,
    ) -> Result<std::result::Result<(Versioned<T>, R), E>>
    where
        T: Serialize + DeserializeOwned + Clone + PartialEq + Default + Send + Sync,
        R: Send,
        E: Send,
    {
        let of_any = |known: Option<&T>| {
            let mut value = known.cloned().unwrap_or_default();
            let answer = change(&mut value)?;
            Ok((value, answer))
        };
        self.compare_and_set(key, of_any).await
    }

    /// Writes what `change` makes of the document, until nobody else was faster.
    async fn compare_and_set<T, R, E>(
        &self,
        key: &RecordKey,
        mut change: impl FnMut(Option<&T>) -> std::result::Result<(T, R), E> + Send,
    ) -> Result<std::result::Result<(Versioned<T>, R), E>>
    where
        T: Serialize + DeserializeOwned + PartialEq + Send,
        R: Send,
        E: Send,
    {
        for _ in 0..MAX_ATTEMPTS {
            let known = self.get::<T>(key).await?;
            let (value, answer) = match change(known.as_ref().map(|known| &known.value)) {
                Ok(changed) => changed,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let revision = match known {
                Some(known) if known.value == value => return Ok(Ok((known, answer))),
                known => known.map_or(0, |known| known.revision),
            };
            if let Swap::Done(revision) = self.put(key, revision, &value).await? {
                return Ok(Ok((Versioned { revision, value }, answer)));
            }
        }
        let text = format!("record {} changed under {MAX_ATTEMPTS} attempts", key.id);
        Err(StoreError::new(ErrorKind::Unavailable, self.store.backend(), text))
    }
}
