//! Bringing a live back from its dump.
//!
//! By default it comes back as a copy, under an id of its own that follows from the dump, so that restoring twice gives
//! one copy. With the same id it is the live again, byte for byte: for a store that lost it.
//!
//! **Invariant**: the dump is read and recounted whole before anything is written, and what is written is read back and
//! recounted after it. Its notes are read a second time to be written, and held to the same rules; if they changed in
//! between, notes of a live that has no record are left. The record of the live comes last: a restoring that was cut short
//! shows nothing, and repeating it goes on.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::documents::Documents;
use super::fold::{Fold, fold_stored};
use super::format::{DocumentKind, DumpedJeu, Manifest};
use super::verify::{Notes, checked, read_manifest};
use super::{ArchiveError, MANIFEST, Pace, Progress, Result, Stage, Target, ledger, live_key};
use crate::catalogue::MAX_LIVES;
use crate::cluster::close::{EpochResult, seal};
use crate::cluster::env::Env;
use crate::domain::channel::Channel;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId};
use crate::domain::phase::{Phase, Rank};
use crate::domain::tally::Tally;
use crate::records::Records;
use crate::store::{ItemId, MAX_NOTE_ROWS, RecordKey, RecordKind, Store};

/// How a live is brought back.
#[derive(Debug, Clone, Default)]
pub struct Restoring {
    /// Under the id that it had, instead of as a copy.
    pub same_id: bool,
    /// In this channel, instead of its own.
    pub channel: Option<Slug>,
}

/// A live that was brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its id here.
    pub live_id: LiveId,
    /// Its channel here.
    pub channel: Slug,
    /// Notes that were written.
    pub notes: u64,
}

/// The id of the copy that a dump gives: that of the live in its first 48 bits, the time, so that it stands beside it.
fn id_of_copy(manifest: &Manifest, channel: &Slug) -> LiveId {
    let mut hash = Sha256::new();
    hash.update(b"bareme-copy\0");
    hash.update(manifest.live_id.0.as_bytes());
    hash.update(manifest.closed_at_us.to_be_bytes());
    hash.update(channel.as_str());
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&manifest.live_id.0.as_bytes()[..6]);
    bytes[6..].copy_from_slice(&digest[..10]);
    LiveId(uuid::Builder::from_random_bytes(bytes).with_version(uuid::Version::SortRand).into_uuid())
}

/// Brings the live back whose dump is in `folder`.
///
/// # Errors
/// [`ArchiveError`]: damaged when the dump is not whole, refused when something else is in its place.
pub async fn restore(
    store: &Arc<dyn Store>,
    target: &Target,
    folder: &str,
    env: &Env,
    how: &Restoring,
    progress: Progress<'_>,
) -> Result<Restored> {
    let place = target.shown(&super::verify::join(folder, MANIFEST));
    let manifest = read_manifest(target, folder).await?;
    let no_dump = || {
        let remedy = format!("name a folder with a {MANIFEST}, which is what makes files a dump");
        ArchiveError::refused(format!("there is no {place}"), remedy)
    };
    let manifest = manifest.ok_or_else(no_dump)?;
    let documents = checked(target, folder, &manifest, Pace::Full, progress).await?;
    let channel = how.channel.clone().unwrap_or_else(|| manifest.channel.clone());
    let live_id = if how.same_id { manifest.live_id } else { id_of_copy(&manifest, &channel) };
    let back = Back { store, records: Records::new(Arc::clone(store)), manifest: &manifest, live_id, channel };
    let live_text = back.live_text(&documents)?;
    back.check(&documents, &live_text).await?;
    back.catalogue(&documents).await?;
    let mut notes = 0;
    for jeu in &manifest.jeux {
        notes = back.jeu(target, folder, &documents, jeu, notes, progress).await?;
    }
    let now_us = env.now_us();
    ledger::change(&back.records, live_id, |ledger| {
        ledger.restored_at_us = Some(now_us);
        ledger.notes_pruned_at_us = None;
    })
    .await?;
    back.live(&live_text).await?;
    Ok(Restored { live_id, channel: back.channel, notes })
}

/// One restoring.
struct Back<'a> {
    store: &'a Arc<dyn Store>,
    records: Records,
    manifest: &'a Manifest,
    live_id: LiveId,
    channel: Slug,
}

impl Back<'_> {
    fn item(&self, jeu: &DumpedJeu) -> ItemId {
        ItemId { live: self.live_id, jeu: jeu.jeu_id }
    }

    /// The record of the live as it is going to be: the same text where it is the same live.
    fn live_text(&self, documents: &Documents) -> Result<String> {
        if self.live_id == self.manifest.live_id && self.channel == self.manifest.channel {
            return written(&documents.live);
        }
        let live = Live { live_id: self.live_id, channel: self.channel.clone(), ..documents.live.clone() };
        written(&live)
    }

    /// The body of a result as it is going to be: the same bytes where it is the same live.
    fn result(&self, documents: &Documents, jeu: &DumpedJeu, epoch: u64) -> Result<Bytes> {
        let damaged = |reason: String| ArchiveError::damaged(&self.manifest.documents.name, reason);
        if self.live_id == self.manifest.live_id {
            let body = documents.results.get(&(jeu.jeu_id, epoch));
            return Ok(Bytes::from(body.cloned().ok_or_else(|| damaged("a result is missing".to_owned()))?));
        }
        let result = documents.result(jeu.jeu_id, epoch).map_err(damaged)?;
        let result = EpochResult::<Tally> { live: self.live_id.0, ..result };
        seal(&result).map(Bytes::from).map_err(|error| ArchiveError::refused(error.to_string(), "report this"))
    }

    /// Refuses where something else is in the place of the live.
    async fn check(&self, documents: &Documents, live_text: &str) -> Result<()> {
        let other = |what: String| {
            let remedy = "leave --same-id out to restore a copy beside it, or restore into an empty store";
            ArchiveError::refused(format!("{what} is here already, and is another than that of the dump"), remedy)
        };
        if let Some(record) = self.store.record(&live_key(self.live_id)).await? {
            // Text for text first; a title that was edited later is no other live.
            let same_ending = |text: &str| {
                let live = serde_json::from_str::<Live>(text).ok();
                live.map(|live| (live.status, live.closed_at_us, live.bareme, live.programme.len()))
            };
            if record.body != live_text && same_ending(&record.body) != same_ending(live_text) {
                return Err(other(format!("live {}", self.live_id)));
            }
        }
        for row in self.store.ranks(self.live_id).await? {
            let dumped = self.manifest.jeux.iter().find(|jeu| jeu.jeu_id == row.jeu);
            let most = dumped.map(|jeu| Rank::new(jeu.epoch, Phase::Final));
            if row.rank > most.unwrap_or_default() {
                return Err(other(format!("jeu {} of live {}", row.jeu, self.live_id)));
            }
        }
        for jeu in &self.manifest.jeux {
            for epoch in 0..=jeu.epoch {
                let found = self.store.result(self.item(jeu), epoch).await?;
                if found.is_some_and(|found| self.result(documents, jeu, epoch).ok() != Some(found)) {
                    return Err(other(format!("a result of jeu {}", jeu.jeu_id)));
                }
            }
        }
        Ok(())
    }

    /// Documents of the channel where they are missing, and the entry of the live in the index of its channel.
    async fn catalogue(&self, documents: &Documents) -> Result<()> {
        if self.channel == self.manifest.channel {
            let channel = self.channel.as_str();
            for (kind, text) in &documents.catalogue {
                let key = match kind {
                    DocumentKind::Channel => RecordKey::new(RecordKind::Channel, "", channel),
                    DocumentKind::Jeux => RecordKey::new(RecordKind::Jeux, "", channel),
                    _ => RecordKey::new(RecordKind::Bareme, channel, documents.live.bareme_id.to_string()),
                };
                self.put_if_missing(&key, text.clone()).await?;
            }
        }
        let key = RecordKey::new(RecordKind::Channel, "", self.channel.as_str());
        if self.records.get::<Channel>(&key).await?.is_none() {
            let reason = format!("there is no channel {}, and the dump has none", self.channel);
            return Err(ArchiveError::refused(reason, "make it on the admin page, or name another with --channel"));
        }
        let index = self.store.records(RecordKind::ChannelLive, self.channel.as_str(), None, MAX_LIVES).await?;
        let id = self.live_id.to_string();
        if index.len() >= MAX_LIVES && index.iter().all(|entry| entry.id != id) {
            let reason = format!("channel {} has {MAX_LIVES} lives, which is the most", self.channel);
            return Err(ArchiveError::refused(reason, "name another with --channel"));
        }
        let made = documents.live.created_at_us;
        let entry = RecordKey::new(RecordKind::ChannelLive, self.channel.as_str(), id);
        self.put_if_missing(&entry, format!(r#"{{"created_at_us":{made}}}"#)).await
    }

    async fn put_if_missing(&self, key: &RecordKey, text: String) -> Result<()> {
        if self.store.record(key).await?.is_none() {
            // Somebody else may be first: then it is not missing.
            let _swap = self.store.put_record(key, 0, text).await?;
        }
        Ok(())
    }

    /// Notes, then results, then the phase of one jeu; then all of it is read back.
    async fn jeu(
        &self,
        target: &Target,
        folder: &str,
        documents: &Documents,
        jeu: &DumpedJeu,
        before: u64,
        progress: Progress<'_>,
    ) -> Result<u64> {
        let item = self.item(jeu);
        let mut done = before;
        let stored = async || fold_stored(&**self.store, &self.manifest.bareme, item, Pace::Full).await;
        if stored().await?.digest == jeu.digest {
            done += jeu.notes.lines;
        } else {
            let mut fold = Fold::new(&self.manifest.bareme);
            let mut notes = Notes::open(target, folder, jeu).await?;
            while let Some(rows) = notes.next().await? {
                rows.iter().try_for_each(|row| fold.push(row)).map_err(|error| notes.lines.damaged(error))?;
                for batch in rows.chunks(MAX_NOTE_ROWS) {
                    self.store.restore_notes(item, batch.to_vec()).await?;
                    done += batch.len() as u64;
                    progress(Stage::Restoring, done, self.manifest.notes());
                }
            }
            if stored().await?.digest != jeu.digest {
                let reason = format!("the notes of jeu {} are not those of the dump after restoring them", jeu.jeu_id);
                return Err(ArchiveError::Differs { live: self.live_id, reason });
            }
        }
        for epoch in 0..=jeu.epoch {
            self.store.put_result(item, epoch, self.result(documents, jeu, epoch)?).await?;
        }
        self.store.raise_rank(item, Rank::new(jeu.epoch, Phase::Final)).await?;
        Ok(done)
    }

    /// The record of the live, and the live as the last one of its channel if there is none later.
    async fn live(&self, live_text: &str) -> Result<()> {
        self.put_if_missing(&live_key(self.live_id), live_text.to_owned()).await?;
        let is_itself = self.live_id == self.manifest.live_id;
        let key = RecordKey::new(RecordKind::Channel, "", self.channel.as_str());
        let shown = self.records.update(&key, |channel: &mut Channel| {
            let is_newer = channel.last_live.is_none_or(|last| is_itself && last < self.live_id);
            if channel.open_live.is_none() && is_newer {
                channel.last_live = Some(self.live_id);
            }
            Ok::<_, std::convert::Infallible>(())
        });
        shown.await?;
        Ok(())
    }
}

/// A live as it is stored.
fn written(live: &Live) -> Result<String> {
    serde_json::to_string(live).map_err(|error| ArchiveError::refused(error.to_string(), "report this"))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_copy_has_an_id_of_its_own_that_is_the_same_each_time() {
        let live_id = LiveId(Uuid::now_v7());
        let (name, sha256) = (String::new(), String::new());
        let file = super::super::DumpedFile { name, lines: 0, text_bytes: 0, bytes: 0, sha256 };
        let manifest = Manifest {
            format: 1,
            made_by: String::new(),
            made_at_us: 0,
            live_id,
            channel: Slug::new("max").unwrap(),
            title: String::new(),
            closed_at_us: 7,
            bareme: crate::domain::bareme::presets().remove(0),
            jeux: Vec::new(),
            documents: file,
        };
        let id = |channel: &str| id_of_copy(&manifest, &Slug::new(channel).unwrap());
        assert_eq!(id("max"), id("max"));
        assert!(id("max") != live_id && id("max") != id("zoe"));
        assert_eq!(id("max").0.get_version_num(), 7);
        assert_eq!(id("max").0.as_bytes()[..6], live_id.0.as_bytes()[..6]);
        let other = Manifest { closed_at_us: 8, ..manifest.clone() };
        assert_ne!(id_of_copy(&other, &other.channel), id("max"));
    }
}
