//! What is stored of an item and cannot be read, for people who mend it: chunks, rows of `notes`, results.
//!
//! **Invariant**: nothing is changed here, and one damaged place hides no other one, unless the store itself cannot tell
//! where the next one begins.

use super::chunk::{self, ChunkError};
use super::close::stored_result;
use super::load::{LoadError, NOTES_PAGE, stored_rank};
use crate::domain::ballot::Ballot;
use crate::store::{ErrorKind, ItemId, LaneId, LaneRow, Store, StoreError};

/// Something that cannot be read.
#[derive(Debug)]
pub(crate) enum Damage {
    /// A chunk that is not in `notes` yet, as a whole.
    Chunk(DamagedChunk),
    /// An entry of a chunk, a row of `notes` or a result, in words.
    Other(String),
}

/// A chunk that cannot be read.
#[derive(Debug)]
pub(crate) struct DamagedChunk {
    /// Its lane.
    pub lane: LaneId,
    /// Its number.
    pub seq: u64,
    /// Its length in bytes.
    pub bytes: usize,
    /// What is wrong with it.
    pub why: ChunkError,
}

/// What of an item cannot be read: chunks that are not in `notes` yet, `notes`, and the result of every epoch.
///
/// # Errors
/// The store's, unless it says that something is damaged.
pub(crate) async fn damage_of<B: Ballot>(
    store: &dyn Store,
    ballot: &B,
    item: ItemId,
) -> Result<Vec<Damage>, StoreError> {
    let mut found = Vec::new();
    chunks(store, ballot, item, &mut found).await?;
    notes(store, ballot, item, &mut found).await?;
    for epoch in 0..=stored_rank(store, item).await?.epoch() {
        if let Err(error) = stored_result::<B>(store, item, epoch).await {
            found.push(Damage::Other(damaged(error)?));
        }
    }
    Ok(found)
}

/// The words of an error that is about damage.
fn damaged(error: StoreError) -> Result<String, StoreError> {
    if error.kind == ErrorKind::Corrupt { Ok(error.to_string()) } else { Err(error) }
}

async fn chunks<B: Ballot>(
    store: &dyn Store,
    ballot: &B,
    item: ItemId,
    found: &mut Vec<Damage>,
) -> Result<(), StoreError> {
    for LaneRow { id: lane, materialised, .. } in store.lanes(item).await? {
        let mut next = materialised;
        loop {
            let page = store.read_lane(item, lane, next).await?;
            let Some((last, _)) = page.last() else { break };
            next = last + 1;
            for (seq, chunk) in &page {
                let seq = *seq;
                match chunk::read(chunk) {
                    Err(why) => found.push(Damage::Chunk(DamagedChunk { lane, seq, bytes: chunk.len(), why })),
                    Ok((_epoch, entries)) => {
                        let strange = entries.iter().filter(|(_, entry)| !ballot.is_valid(entry.payload));
                        found.extend(strange.map(|(viewer, _)| {
                            let LaneId { writer, lane } = lane;
                            let why = LoadError::Payload(*viewer);
                            Damage::Other(format!("lane {writer}/{lane}, chunk {seq}: {why}"))
                        }));
                    }
                }
            }
        }
    }
    Ok(())
}

async fn notes<B: Ballot>(
    store: &dyn Store,
    ballot: &B,
    item: ItemId,
    found: &mut Vec<Damage>,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = match store.read_notes(item, after, NOTES_PAGE).await {
            Err(error) => {
                let place = after.map_or_else(String::new, |viewer| format!(" after viewer {viewer}"));
                found.push(Damage::Other(format!("notes{place}: {}", damaged(error)?)));
                return Ok(());
            }
            Ok(page) => page,
        };
        for row in page.iter().filter(|row| !ballot.is_valid(&row.payload)) {
            let (why, bytes) = (LoadError::Payload(row.viewer), row.payload.len());
            found.push(Damage::Other(format!("notes, {bytes} bytes: {why}")));
        }
        if page.len() < NOTES_PAGE {
            return Ok(());
        }
        after = page.last().map(|row| row.viewer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::cluster::chunk::ChunkBuilder;
    use crate::domain::ballot::{Entry, Ratings};
    use crate::domain::bareme::presets;
    use crate::domain::jeu::JeuId;
    use crate::domain::live::LiveId;
    use crate::domain::phase::{Phase, Rank};
    use crate::domain::viewer::ViewerId;
    use crate::store::memory::MemoryStore;
    use crate::store::{NoteRow, Payload, WriterId};

    #[tokio::test]
    async fn every_damaged_place_of_an_item_is_found_and_nothing_else() {
        let (store, item) = (MemoryStore::exclusive(), ItemId { live: LiveId(Uuid::from_u128(1)), jeu: JeuId(1) });
        let ballot = Ratings::new(Arc::new(presets().remove(0)));
        let lane = LaneId { writer: WriterId(Uuid::from_u128(2)), lane: 0 };
        store.register_lane(item, lane, chunk::FORMAT).await.unwrap();
        let of = |viewer: u8, payload: &[u8]| {
            let mut chunk = ChunkBuilder::new(0);
            assert!(chunk.push(ViewerId([viewer; 16]), Entry { version: 1, payload }));
            chunk.finish()
        };
        let (whole, strange) = ([1, 2, 0xFF, 0xFF, 0xFF, 0xFF], [9; 2]);
        let other = || Bytes::from_static(b"other bytes");
        // The first one is in `notes` already: nobody reads it again.
        for (seq, chunk) in (0..).zip([other(), of(1, &whole), of(2, &strange), other(), of(3, &whole)]) {
            store.append(item, lane, seq, chunk).await.unwrap();
        }
        store.advance_materialised(item, lane, 1).await.unwrap();
        let row = |viewer: u8, payload: &[u8]| {
            let payload = Payload::from_slice(payload);
            NoteRow { viewer: ViewerId([viewer; 16]), version: 1, payload }
        };
        store.write_notes(item, vec![row(4, &whole), row(5, &strange)]).await.unwrap();
        // Of an earlier epoch than the one that votes are taken in.
        store.put_result(item, 0, other()).await.unwrap();
        store.raise_rank(item, Rank::new(1, Phase::Open)).await.unwrap();

        let found = damage_of(&store, &ballot, item).await.unwrap();
        let found: Vec<_> = found
            .into_iter()
            .map(|damage| match damage {
                Damage::Chunk(DamagedChunk { seq, bytes, why, .. }) => format!("chunk {seq}, {bytes} bytes: {why}"),
                Damage::Other(what) => what,
            })
            .collect();
        let ends = ["of viewer 02", "chunk 3, 11 bytes: chunk is damaged", "of viewer 05", "epoch 0: expected"];
        assert_eq!(found.len(), ends.len(), "{found:?}");
        assert!(found.iter().zip(ends).all(|(found, part)| found.contains(part)), "{found:?}");
    }
}
