//! Making the result of an epoch: join, fold, manifest.
//!
//! **Invariants**
//! - Whoever makes the result, and however often, the first body stored stands, and its manifest names every chunk that
//!   was acknowledged in the epoch: acknowledgements ended before the lanes are read.
//! - Every chunk of a manifest is on a QUORUM before the result is stored.
//! - `notes` is completed from the manifest of the result that stands, before the phase says final. What was seen and is
//!   not in that result does not get there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::env::Env;
use super::load::{Extent, LoadError, Loaded, load, stored_rank};
use super::mutant::mutant;
use crate::domain::ballot::Ballot;
use crate::domain::phase::{Phase, Rank};
use crate::notebook::Notebook;
use crate::store::{ErrorKind, ItemId, LaneId, MAX_NOTE_ROWS, NoteRow, Store, StoreError, WriterId};

/// How far a lane belongs to a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestLane {
    /// Who wrote it.
    pub writer: Uuid,
    /// Which of the writer's lanes.
    pub lane: u8,
    /// Number of chunks, from the first.
    pub chunks: u64,
}

/// The result of an epoch, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Serialize + serde::de::DeserializeOwned")]
pub struct EpochResult<T> {
    /// Layout of this document.
    pub format: u32,
    /// The live.
    pub live: Uuid,
    /// The jeu.
    pub jeu: u32,
    /// The epoch.
    pub epoch: u64,
    /// When it was made, microseconds since 1970.
    pub made_at_us: u64,
    /// Viewers with an entry, withdrawn ones included.
    pub viewers: u64,
    /// Digest of the entries.
    pub digest: String,
    /// Which chunks are in it.
    pub manifest: Vec<ManifestLane>,
    /// The fold of the entries.
    pub tally: T,
}

/// A result with the SHA-256 of its JSON text.
#[derive(Serialize, Deserialize)]
struct Sealed {
    sha256: String,
    result: Box<RawValue>,
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A result as it is stored: with its sum.
///
/// # Errors
/// When it cannot be JSON.
pub(crate) fn seal<T: Serialize + DeserializeOwned>(result: &EpochResult<T>) -> serde_json::Result<Vec<u8>> {
    let result = RawValue::from_string(serde_json::to_string(result)?)?;
    serde_json::to_vec(&Sealed { sha256: hex(&Sha256::digest(result.get())), result })
}

/// Reads a result as it is stored, and checks its sum.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn unseal<T: Serialize + DeserializeOwned>(body: &[u8]) -> Result<EpochResult<T>, String> {
    let sealed: Sealed = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if hex(&Sha256::digest(sealed.result.get())) != sealed.sha256 {
        return Err("it does not match its sum".to_owned());
    }
    serde_json::from_str(sealed.result.get()).map_err(|error| error.to_string())
}

fn corrupt(store: &dyn Store, text: impl Into<String>) -> StoreError {
    StoreError::new(ErrorKind::Corrupt, store.backend(), text.into())
}

/// Reads a stored result and checks its sum.
///
/// # Errors
/// The store's; `Corrupt` when the body is not what was written.
pub async fn stored_result<B: Ballot>(
    store: &dyn Store,
    item: ItemId,
    epoch: u64,
) -> Result<Option<EpochResult<B::Tally>>, StoreError> {
    let Some(body) = store.result(item, epoch).await? else { return Ok(None) };
    let result = unseal(&body).map_err(|error| corrupt(store, format!("result of {item} epoch {epoch}: {error}")))?;
    Ok(Some(result))
}

/// Writes rows to `notes`, then says in every given lane how far it is materialised. The order is the promise.
///
/// # Errors
/// The store's; what was written by then stays, and doing it again is harmless.
pub async fn materialise(
    store: &dyn Store,
    item: ItemId,
    rows: &[NoteRow],
    lanes: &[(LaneId, u64)],
) -> Result<(), StoreError> {
    if mutant!(MaterialisedBeforeNotes) {
        advance(store, item, lanes).await?;
    }
    for batch in rows.chunks(MAX_NOTE_ROWS) {
        store.write_notes(item, batch.to_vec()).await?;
    }
    advance(store, item, lanes).await
}

async fn advance(store: &dyn Store, item: ItemId, lanes: &[(LaneId, u64)]) -> Result<(), StoreError> {
    for (lane, materialised) in lanes {
        store.advance_materialised(item, *lane, *materialised).await?;
    }
    Ok(())
}

/// A result that stands.
pub struct Finalised<B: Ballot> {
    /// The result.
    pub result: EpochResult<B::Tally>,
    /// What its manifest covers; `None` if it was published by somebody else and nothing was read.
    pub covered: Option<Notebook<B>>,
    /// Whether that folds to something else: a bug somewhere.
    pub differs: bool,
}

/// Makes, stores and publishes the result of an epoch, or adopts the one that is there.
///
/// The caller has seen to it that nothing is acknowledged any more.
///
/// # Errors
/// [`LoadError`]; try again, from the beginning.
pub async fn finalise<B: Ballot>(
    store: &dyn Store,
    env: &Env,
    ballot: &Arc<B>,
    item: ItemId,
    epoch: u64,
) -> Result<Finalised<B>, LoadError> {
    let published = Rank::new(epoch, Phase::Final);
    let (result, loaded) = match stored_result::<B>(store, item, epoch).await? {
        // Published means complete.
        Some(result) if stored_rank(store, item).await? >= published => {
            return Ok(Finalised { result, covered: None, differs: false });
        }
        Some(result) => (result, None),
        None => {
            let loaded = load(store, ballot, item, Extent::Whole).await?;
            if mutant!(FinalBeforeResult) {
                store.raise_rank(item, published).await?;
            }
            let made = make_result(store, env, item, epoch, &loaded).await?;
            let stored = stored_result::<B>(store, item, epoch).await?;
            let missing = || corrupt(store, format!("result of {item} epoch {epoch} is not readable"));
            let stored = stored.ok_or_else(missing)?;
            // Another pod may have been first; what is stored stands.
            let is_ours = stored == made;
            (stored, is_ours.then_some(loaded))
        }
    };
    let lane = |lane: &ManifestLane| (LaneId { writer: WriterId(lane.writer), lane: lane.lane }, lane.chunks);
    let ends: BTreeMap<_, _> = result.manifest.iter().map(lane).collect();
    let covered = match loaded {
        Some(loaded) => loaded,
        None => load(store, ballot, item, Extent::Chunks(&ends)).await?,
    };
    let mut differs = covered.notebook.digest().to_string() != result.digest;
    if differs {
        // Unless votes of a later epoch are there already: then this one was published meanwhile.
        differs = stored_rank(store, item).await? <= published;
    }
    let rows = covered.notebook.rows(covered.dirty);
    let lanes: Vec<_> = ends.into_iter().collect();
    materialise(store, item, &rows, &lanes).await?;
    store.raise_rank(item, published).await?;
    Ok(Finalised { result, covered: Some(covered.notebook), differs })
}

/// Stores the result of what was read; another one may be there by then.
async fn make_result<B: Ballot>(
    store: &dyn Store,
    env: &Env,
    item: ItemId,
    epoch: u64,
    loaded: &Loaded<B>,
) -> Result<EpochResult<B::Tally>, LoadError> {
    if mutant!(NotesBeforeResult) {
        let rows = loaded.notebook.rows(loaded.dirty.clone());
        materialise(store, item, &rows, &[]).await?;
    }
    if store.is_shared() && !mutant!(FinaliserLeavesTips) {
        // What was read of a lane's end may be on one replica, and nobody left who would write it to the others.
        for (lane, (seq, chunk)) in &loaded.tips {
            store.append(item, *lane, *seq, chunk.clone()).await?;
        }
    }
    let manifest = loaded.cursors.iter().map(|(lane, cursor)| ManifestLane {
        writer: lane.writer.0,
        lane: lane.lane,
        chunks: cursor.next_seq,
    });
    let result = EpochResult {
        format: 1,
        live: item.live.0,
        jeu: item.jeu.0,
        epoch,
        made_at_us: env.now_us(),
        viewers: u64::try_from(loaded.notebook.len()).unwrap_or(u64::MAX),
        digest: loaded.notebook.digest().to_string(),
        manifest: manifest.collect(),
        tally: loaded.notebook.tally().clone(),
    };
    let body = seal(&result).map_err(|error| corrupt(store, error.to_string()))?;
    store.put_result(item, epoch, Bytes::from(body)).await?;
    Ok(result)
}
