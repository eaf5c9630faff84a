//! The documents of a dump: the live, what it refers to, and its results, each byte for byte as stored.
//!
//! **Invariant**: no secret and no viewer is in them. Channels, jeux, baremes, lives and results hold none.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::checks;
use super::dump::Over;
use super::format::{Document, DocumentKind, DumpedFile, MAX_DOCUMENT_LINE_BYTES, Manifest};
use super::lines::{Lines, each};
use super::upload::Upload;
use super::{ArchiveError, Result, Target};
use crate::cluster::close::{EpochResult, unseal};
use crate::domain::jeu::JeuId;
use crate::domain::live::Live;
use crate::domain::tally::Tally;
use crate::store::{ErrorKind, ItemId, Record, RecordKey, RecordKind, Store, StoreError};

/// Name of the file, with a folder of the attempt before it.
pub(super) const FILE: &str = "documents.ndjson.zst";

/// What a dump's documents say.
pub(super) struct Documents {
    /// The live.
    pub(super) live: Live,
    /// Documents of the channel, as text that was read and written again, so that nothing else is in them.
    pub(super) catalogue: BTreeMap<DocumentKind, String>,
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

/// Documents that are being read: the live first, then what it refers to, each once.
struct Reading<'a> {
    manifest: &'a Manifest,
    live: Option<Live>,
    catalogue: BTreeMap<DocumentKind, String>,
    results: BTreeMap<(JeuId, u64), Vec<u8>>,
}

impl Reading<'_> {
    fn keep(&mut self, document: &Document) -> std::result::Result<(), String> {
        let text = document.body.get();
        let id = document.id.as_deref().unwrap_or_default();
        let kind = document.kind;
        let named = |reason: String| format!("the {} in it: {reason}", format!("{kind:?}").to_lowercase());
        match (kind, &self.live, document.jeu.zip(document.epoch)) {
            (DocumentKind::Live, None, None) => {
                self.live = Some(checks::live(self.manifest, id, text).map_err(named)?);
                return Ok(());
            }
            (DocumentKind::Result, Some(_), Some((jeu, epoch))) => {
                let jeu = JeuId(jeu);
                checks::result(self.manifest, jeu, epoch, text)
                    .map_err(|reason| format!("the result of jeu {jeu}, epoch {epoch}: {reason}"))?;
                if self.results.insert((jeu, epoch), text.as_bytes().to_vec()).is_none() {
                    return Ok(());
                }
            }
            (DocumentKind::Channel | DocumentKind::Jeux | DocumentKind::Bareme, Some(live), None) => {
                let text = match kind {
                    DocumentKind::Channel => checks::channel(live, id, text),
                    DocumentKind::Jeux => checks::jeux(live, id, text),
                    _ => checks::bareme(live, id, text),
                };
                if self.catalogue.insert(kind, text.map_err(named)?).is_none() {
                    return Ok(());
                }
            }
            _ => {}
        }
        Err(named("it is there twice, or not where it belongs".to_owned()))
    }

    fn finish(self) -> std::result::Result<Documents, String> {
        let live = self.live.ok_or("the live is not in it")?;
        Ok(Documents { live, catalogue: self.catalogue, results: self.results })
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

/// Writes the documents of a live that is over and the results of its jeux.
///
/// # Errors
/// [`ArchiveError`]: the store's and the target's; differs when a result is missing.
pub(super) async fn write(store: &Arc<dyn Store>, mut upload: Upload, over: &Over) -> Result<DumpedFile> {
    let written = push_all(&**store, &mut upload, over).await;
    match written {
        Ok(()) => upload.finish().await,
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

async fn push_record(store: &dyn Store, upload: &mut Upload, kind: DocumentKind, record: Record) -> Result<()> {
    let Record { id, body, .. } = record;
    let body = raw(store, &id, body)?;
    upload.push(&line(&Document { kind, id: Some(id), jeu: None, epoch: None, body })?, 1).await
}

async fn push_all(store: &dyn Store, upload: &mut Upload, over: &Over) -> Result<()> {
    let Over { live, record, ranks, .. } = over;
    push_record(store, upload, DocumentKind::Live, record.clone()).await?;
    let channel = live.channel.as_str();
    let places = [
        (DocumentKind::Channel, RecordKey::new(RecordKind::Channel, "", channel)),
        (DocumentKind::Jeux, RecordKey::new(RecordKind::Jeux, "", channel)),
        (DocumentKind::Bareme, RecordKey::new(RecordKind::Bareme, channel, live.bareme_id.to_string())),
    ];
    for (kind, key) in places {
        // A channel that was deleted takes its documents along; the live has its own copies.
        let Some(record) = store.record(&key).await? else { continue };
        push_record(store, upload, kind, record).await?;
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

/// Reads the documents of a dump. Each is what it claims to be and belongs to the live of the manifest: [`checks`].
///
/// # Errors
/// [`ArchiveError`]; what is wrong is said with the name of the file.
pub(super) async fn read(target: &Target, folder: &str, manifest: &Manifest) -> Result<Documents> {
    let mut lines = Lines::open(target, folder, &manifest.documents, MAX_DOCUMENT_LINE_BYTES).await?;
    let mut reading = Reading { manifest, live: None, catalogue: BTreeMap::new(), results: BTreeMap::new() };
    while let Some(block) = lines.next().await? {
        for line in each(&block) {
            let document = serde_json::from_slice(line).map_err(|error| format!("a line of it: {error}"));
            let kept = document.and_then(|document| reading.keep(&document));
            kept.map_err(|reason| lines.damaged(reason))?;
        }
    }
    reading.finish().map_err(|reason| lines.damaged(reason))
}
