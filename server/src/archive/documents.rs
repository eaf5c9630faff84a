//! The documents of a dump: the live, what it refers to, and its results, each byte for byte as stored.
//!
//! **Invariant**: no secret and no viewer is in them. Channels, jeux, baremes, lives and results hold none.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::format::{Document, DocumentKind, DumpedFile, Manifest};
use super::lines::{Lines, each};
use super::upload::Upload;
use super::{ArchiveError, Result, Target, live_key};
use crate::cluster::close::{EpochResult, unseal};
use crate::domain::jeu::JeuId;
use crate::domain::live::Live;
use crate::domain::phase::Rank;
use crate::domain::tally::Tally;
use crate::store::{ErrorKind, ItemId, RecordKey, RecordKind, Store, StoreError};

/// Epochs of one jeu that are believed to be possible: each is a person pressing a button twice.
const MAX_EPOCHS: u64 = 10_000;

/// Name of the file, with a folder of the attempt before it.
pub(super) const FILE: &str = "documents.ndjson.zst";

/// What a dump's documents say.
pub(super) struct Documents {
    /// The record of the live as text.
    pub(super) live_text: String,
    /// The live.
    pub(super) live: Live,
    /// Documents of the channel: kind, id and text.
    pub(super) catalogue: Vec<(DocumentKind, String, String)>,
    /// Bodies of results by jeu and epoch.
    pub(super) results: BTreeMap<(JeuId, u64), Vec<u8>>,
}

impl Documents {
    /// A result, with its sum checked.
    ///
    /// # Errors
    /// In words, when it is missing or is not what it should be.
    pub(super) fn result(&self, jeu: JeuId, epoch: u64) -> std::result::Result<EpochResult<Tally>, String> {
        let body = self.results.get(&(jeu, epoch));
        let body = body.ok_or_else(|| format!("the result of jeu {jeu}, epoch {epoch}, is missing"))?;
        unseal(body).map_err(|error| format!("the result of jeu {jeu}, epoch {epoch}: {error}"))
    }
}

/// Text of a document as a line can hold it.
fn raw(store: &dyn Store, what: &str, text: String) -> Result<Box<RawValue>> {
    let corrupt = |reason: String| StoreError::new(ErrorKind::Corrupt, store.backend(), format!("{what}: {reason}"));
    if text.contains('\n') {
        return Err(corrupt("a document of several lines".to_owned()).into());
    }
    Ok(RawValue::from_string(text).map_err(|error| corrupt(error.to_string()))?)
}

fn line(document: &Document) -> Result<String> {
    let text = serde_json::to_string(document);
    let text = text.map_err(|error| ArchiveError::refused(error.to_string(), "report this"))?;
    Ok(text + "\n")
}

/// Writes the documents of a live and the results of its jeux up to these ranks.
///
/// # Errors
/// [`ArchiveError`]: the store's and the target's; differs when a result is missing.
pub(super) async fn write(
    store: &Arc<dyn Store>,
    mut upload: Upload,
    live: &Live,
    ranks: &[(JeuId, Rank)],
) -> Result<DumpedFile> {
    let written = push_all(&**store, &mut upload, live, ranks).await;
    match written {
        Ok(()) => upload.finish().await,
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

async fn push_all(store: &dyn Store, upload: &mut Upload, live: &Live, ranks: &[(JeuId, Rank)]) -> Result<()> {
    let channel = live.channel.as_str();
    let places = [
        (DocumentKind::Live, live_key(live.live_id)),
        (DocumentKind::Channel, RecordKey::new(RecordKind::Channel, "", channel)),
        (DocumentKind::Jeux, RecordKey::new(RecordKind::Jeux, "", channel)),
        (DocumentKind::Bareme, RecordKey::new(RecordKind::Bareme, channel, live.bareme_id.to_string())),
    ];
    for (kind, key) in places {
        // A channel that was deleted takes its documents along; the live has its own copies.
        let Some(record) = store.record(&key).await? else { continue };
        let body = raw(store, &record.id, record.body)?;
        upload.push(&line(&Document { kind, id: Some(record.id), jeu: None, epoch: None, body })?, 1).await?;
    }
    for (jeu, rank) in ranks {
        for epoch in 0..=rank.epoch() {
            let item = ItemId { live: live.live_id, jeu: *jeu };
            let missing = || ArchiveError::Differs {
                live: live.live_id,
                reason: format!("the result of jeu {jeu}, epoch {epoch}, is missing"),
            };
            let body = store.result(item, epoch).await?.ok_or_else(missing)?;
            let text = String::from_utf8_lossy(&body).into_owned();
            let body = raw(store, &format!("result of {item}"), text)?;
            let document =
                Document { kind: DocumentKind::Result, id: None, jeu: Some(jeu.0), epoch: Some(epoch), body };
            upload.push(&line(&document)?, 1).await?;
        }
    }
    Ok(())
}

/// Reads the documents of a dump, and checks that they are those of its manifest.
///
/// # Errors
/// [`ArchiveError`]; what is wrong is said with the name of the file.
pub(super) async fn read(target: &Target, folder: &str, manifest: &Manifest) -> Result<Documents> {
    let mut lines = Lines::open(target, folder, &manifest.documents).await?;
    let mut live = None;
    let (mut catalogue, mut results) = (Vec::new(), BTreeMap::new());
    while let Some(block) = lines.next().await? {
        for line in each(&block) {
            let document: Document =
                serde_json::from_slice(line).map_err(|error| lines.damaged(format!("a line of it: {error}")))?;
            let text = document.body.get().to_owned();
            match (document.kind, document.id, document.jeu.zip(document.epoch)) {
                (DocumentKind::Live, ..) => {
                    let read = serde_json::from_str::<Live>(&text);
                    live = Some((read.map_err(|error| lines.damaged(format!("the live in it: {error}")))?, text));
                }
                (DocumentKind::Result, _, Some((jeu, epoch))) if epoch < MAX_EPOCHS => {
                    results.insert((JeuId(jeu), epoch), text.into_bytes());
                }
                (kind @ (DocumentKind::Channel | DocumentKind::Jeux | DocumentKind::Bareme), Some(id), _) => {
                    catalogue.push((kind, id, text));
                }
                _ => return Err(lines.damaged("a document in it has no id")),
            }
        }
    }
    let Some((live, live_text)) = live else { return Err(lines.damaged("the live is not in it")) };
    if live.live_id != manifest.live_id || live.closed_at_us != Some(manifest.closed_at_us) {
        return Err(lines.damaged("it is of another live than the manifest"));
    }
    Ok(Documents { live_text, live, catalogue, results })
}
