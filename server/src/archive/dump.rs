//! Making the dump of one live.
//!
//! It is made as soon as the live is over, without waiting until its end can no longer be taken back: a disk that dies in
//! those 30 s is as bad as any other. A live that is opened again ends again at another time, and that ending has a dump
//! of its own beside the first, which stays true of its moment.
//!
//! **Invariant**: see [`super`]; and what is dumped is one state of the live: its notes fold to the results of the ranks
//! that were read before them, and those ranks and the ending still stand when the manifest is written.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracing::{debug, info, warn};

use super::fold::{Fold, Folded};
use super::format::{DumpedFile, DumpedJeu, MANIFEST, Manifest, folder_of, write_note};
use super::upload::Upload;
use super::verify::{checked, join, read_manifest};
use super::{
    ArchiveError, FORMAT, PAGE, Pace, Progress, Result, Stage, Target, documents, live_key, no_such_live, notes_file,
};
use crate::cluster::close::stored_result;
use crate::cluster::env::Env;
use crate::domain::ballot::Ratings;
use crate::domain::jeu::JeuId;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::phase::{Phase, Rank};
use crate::records::Records;
use crate::store::{ItemId, Record, Store};

/// A dump that is there and was recounted.
#[derive(Debug, Clone, PartialEq)]
pub struct Dumped {
    /// Folder of its manifest, within the target.
    pub folder: String,
    /// What is in it.
    pub manifest: Manifest,
    /// Whether it was there already.
    pub was_there: bool,
}

/// The state of a live that a dump is of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Over {
    pub(super) live: Live,
    /// The record that `live` was read from. Its title may be edited at any time: what else is said of the live comes from
    /// this reading, and from no second one.
    pub(super) record: Record,
    pub(super) closed_at_us: u64,
    /// Jeux that were opened, all of them final.
    pub(super) ranks: Vec<(JeuId, Rank)>,
}

/// Reads a live that is over.
///
/// # Errors
/// The store's; not yet while it is on air; closing while a result is being made.
pub(super) async fn read_over(store: &dyn Store, records: &Records, live_id: LiveId) -> Result<Over> {
    let not_yet = |reason| ArchiveError::NotYet { live: live_id, reason };
    let no_such = || no_such_live(live_id);
    let record = store.record(&live_key(live_id)).await?.ok_or_else(no_such)?;
    let live: Live = records.read(&record.id, &record.body)?;
    let closed_at_us = match (live.status, live.closed_at_us) {
        (LiveStatus::Closed, Some(closed_at_us)) => closed_at_us,
        (LiveStatus::Draft, _) => return Err(not_yet("was never on air")),
        _ => return Err(not_yet("is on air")),
    };
    let mut ranks = Vec::new();
    for row in store.ranks(live_id).await? {
        match row.rank.phase() {
            Phase::Final => ranks.push((row.jeu, row.rank)),
            Phase::Pending if row.rank.epoch() == 0 => {}
            _ => return Err(ArchiveError::Closing { live: live_id }),
        }
    }
    Ok(Over { live, record, closed_at_us, ranks })
}

/// What a dump is made with.
#[derive(Clone, Copy)]
pub(super) struct Making<'a> {
    store: &'a Arc<dyn Store>,
    target: &'a Target,
    pace: Pace,
    progress: Progress<'a>,
}

/// Makes the dump of a live that is over, or finds the one that is there. Either was read back and recounted when this
/// returns.
///
/// A manifest that is there and does not check is replaced, as long as the store still has the notes.
///
/// # Errors
/// [`ArchiveError`].
pub async fn dump(
    store: &Arc<dyn Store>,
    target: &Target,
    env: &Env,
    live_id: LiveId,
    pace: Pace,
    progress: Progress<'_>,
) -> Result<Dumped> {
    let records = Records::new(Arc::clone(store));
    let over = read_over(&**store, &records, live_id).await?;
    let making = Making { store, target, pace, progress };
    let folder = folder_of(&over.live, over.closed_at_us);
    let is_damaged = match making.existing(&folder).await {
        Ok(Some(manifest)) => {
            // Who made it may have been killed before this.
            making.tidy(&folder, &manifest).await;
            return Ok(Dumped { folder, manifest, was_there: true });
        }
        Ok(None) => false,
        Err(error @ ArchiveError::Damaged { .. }) => {
            warn!(live = %live_id, %error, "a dump is damaged; making it again");
            true
        }
        Err(error) => return Err(error),
    };
    let attempt = format!("{:08x}", rand::random::<u32>());
    match making.attempt(&folder, &attempt, &over, env, &records, !is_damaged).await {
        Ok(Some(manifest)) => {
            making.tidy(&folder, &manifest).await;
            if is_damaged {
                // Two who replace one that is damaged may have deleted each other's files.
                checked(target, &folder, &manifest, pace, progress).await?;
            }
            Ok(Dumped { folder, manifest, was_there: false })
        }
        Ok(None) => {
            // Somebody else was first; what they made has to be as good.
            making.forget(&folder, &attempt).await;
            let manifest = making.existing(&folder).await?;
            let gone = || ArchiveError::damaged(target.shown(&join(&folder, MANIFEST)), "it came and went");
            Ok(Dumped { manifest: manifest.ok_or_else(gone)?, folder, was_there: true })
        }
        Err(error) => {
            making.forget(&folder, &attempt).await;
            // Whoever finishes first deletes the files of the others: then theirs counts.
            match making.existing(&folder).await {
                Ok(Some(manifest)) => Ok(Dumped { folder, manifest, was_there: true }),
                _ => Err(error),
            }
        }
    }
}

impl Making<'_> {
    /// The dump that is there, read back.
    async fn existing(self, folder: &str) -> Result<Option<Manifest>> {
        let Some(manifest) = read_manifest(self.target, folder).await? else { return Ok(None) };
        checked(self.target, folder, &manifest, self.pace, self.progress).await?;
        Ok(Some(manifest))
    }

    /// Writes all files and reads them back, then the manifest. `None`: there is one already.
    async fn attempt(
        self,
        folder: &str,
        attempt: &str,
        over: &Over,
        env: &Env,
        records: &Records,
        is_new: bool,
    ) -> Result<Option<Manifest>> {
        let live_id = over.live.live_id;
        let mut jeux = Vec::with_capacity(over.ranks.len());
        let mut done = 0;
        for (jeu, rank) in &over.ranks {
            let dumped = self.jeu(folder, attempt, &over.live, *jeu, *rank, done).await?;
            done += dumped.notes.lines;
            jeux.push(dumped);
        }
        let upload = Upload::start(self.target, folder, format!("{attempt}/{}", documents::FILE))?;
        let documents = documents::write(self.store, upload, over).await?;
        let manifest = Manifest {
            format: FORMAT,
            made_by: concat!("bareme ", env!("CARGO_PKG_VERSION")).to_owned(),
            made_at_us: env.now_us(),
            live_id,
            channel: over.live.channel.clone(),
            title: over.live.title.clone(),
            closed_at_us: over.closed_at_us,
            bareme: over.live.bareme.clone(),
            jeux,
            documents,
        };
        checked(self.target, folder, &manifest, self.pace, self.progress).await?;
        let now = read_over(&**self.store, records, live_id).await?;
        if (now.closed_at_us, &now.ranks) != (over.closed_at_us, &over.ranks) {
            return Err(ArchiveError::NotYet { live: live_id, reason: "was opened again while it was dumped" });
        }
        let name = join(folder, MANIFEST);
        let unwritable = |error: serde_json::Error| ArchiveError::refused(error.to_string(), "report this");
        let mut text = serde_json::to_vec_pretty(&manifest).map_err(unwritable)?;
        text.push(b'\n');
        if !self.target.write(&name, Bytes::from(text), is_new).await? {
            return Ok(None);
        }
        let back = read_manifest(self.target, folder).await?;
        if back.as_ref() != Some(&manifest) {
            return Err(ArchiveError::damaged(self.target.shown(&name), "it does not read back as it was written"));
        }
        info!(live = %live_id, notes = manifest.notes(), bytes = manifest.bytes(), place = self.target.shown(folder),
            "dumped and read back");
        Ok(Some(manifest))
    }

    /// Writes the notes of a jeu, counting them on the way.
    async fn jeu(
        self,
        folder: &str,
        attempt: &str,
        live: &Live,
        jeu: JeuId,
        rank: Rank,
        done: u64,
    ) -> Result<DumpedJeu> {
        let item = ItemId { live: live.live_id, jeu };
        let differs = |reason: String| ArchiveError::Differs { live: live.live_id, reason };
        let result = stored_result::<Ratings>(&**self.store, item, rank.epoch()).await?;
        let result = result.ok_or_else(|| differs(format!("the result of jeu {jeu} is missing")))?;
        let mut upload = Upload::start(self.target, folder, format!("{attempt}/{}", notes_file(jeu)))?;
        let (folded, notes) = match self.notes(&mut upload, live, item, done + result.viewers, done).await {
            Ok(folded) => (folded, upload.finish().await?),
            Err(error) => {
                upload.abort().await;
                return Err(error);
            }
        };
        if (folded.rows, &folded.digest, &folded.tally) != (result.viewers, &result.digest, &result.tally) {
            let (found, expected) = (folded.rows, result.viewers);
            return Err(differs(format!(
                "the notes of jeu {jeu} ({found}) do not come to its result ({expected}): were they pruned?"
            )));
        }
        let title = live.jeu(jeu).map(|(_, jeu)| jeu.details.title.clone()).unwrap_or_default();
        let (digest, voters) = (folded.digest, folded.tally.voters);
        Ok(DumpedJeu { jeu_id: jeu, title, epoch: rank.epoch(), voters, digest, notes })
    }

    async fn notes(self, upload: &mut Upload, live: &Live, item: ItemId, most: u64, done: u64) -> Result<Folded> {
        let mut fold = Fold::new(&live.bareme);
        let mut after = None;
        let mut text = String::new();
        loop {
            let since = Instant::now();
            let rows = self.store.read_notes(item, after, PAGE).await?;
            text.clear();
            for row in &rows {
                fold.push(row).map_err(|reason| ArchiveError::Differs { live: live.live_id, reason })?;
                write_note(&mut text, &live.bareme, row);
            }
            upload.push(&text, rows.len() as u64).await?;
            (self.progress)(Stage::Writing, done + fold.rows(), most);
            if rows.len() < PAGE {
                return Ok(fold.finish());
            }
            after = rows.last().map(|row| row.viewer);
            self.pace.rest(since).await;
        }
    }

    /// Deletes what an attempt left behind that came to nothing. It harms nobody, so it may fail.
    async fn forget(self, folder: &str, attempt: &str) {
        let folder = join(folder, attempt);
        match self.target.list(&folder).await {
            Ok(names) => self.delete(names.iter().map(|name| join(&folder, name))).await,
            Err(error) => debug!(%error, "cannot look for what an attempt left behind"),
        }
    }

    /// Deletes what is in a dump's folder and not named by its manifest: attempts that a crash cut short.
    async fn tidy(self, folder: &str, manifest: &Manifest) {
        let is_ours =
            |name: &str| name == MANIFEST || manifest.files().any(|DumpedFile { name: ours, .. }| ours == name);
        match self.target.list(folder).await {
            Ok(names) => {
                let left = names.iter().filter(|name| !is_ours(name)).map(|name| join(folder, name));
                self.delete(left).await;
                self.target.sweep(folder).await;
            }
            Err(error) => debug!(%error, "cannot look for what earlier attempts left behind"),
        }
    }

    async fn delete(self, names: impl Iterator<Item = String>) {
        for name in names {
            if let Err(error) = self.target.delete(&name).await {
                debug!(%error, "cannot delete what an attempt left behind");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::super::TargetUrl;
    use super::*;
    use crate::cluster::close::finalise;
    use crate::domain::bareme::presets;
    use crate::domain::jeu::{Jeu, JeuDetails};
    use crate::domain::key::Slug;
    use crate::domain::viewer::ViewerId;
    use crate::store::memory::MemoryStore;
    use crate::store::{NoteRow, Payload};

    /// A live that is over, with a note on its one jeu.
    async fn over(store: &Arc<dyn Store>) -> Live {
        let details = JeuDetails { title: "J".to_owned(), ..Default::default() };
        let live = Live {
            live_id: LiveId(Uuid::from_u128(1)),
            channel: Slug::new("max").unwrap(),
            title: "before".to_owned(),
            bareme_id: Uuid::from_u128(2),
            bareme: presets().remove(0),
            programme: vec![Jeu { jeu_id: JeuId(1), details }],
            blind: false,
            minimum_votes: 1,
            status: LiveStatus::Closed,
            current: Some(JeuId(1)),
            closes_at_us: BTreeMap::new(),
            delays_us: BTreeMap::new(),
            ends_at_us: None,
            created_at_us: 1,
            opened_at_us: Some(2),
            closed_at_us: Some(3),
            closed_with: BTreeSet::new(),
        };
        store.put_record(&live_key(live.live_id), 0, serde_json::to_string(&live).unwrap()).await.unwrap();
        let ballot = Arc::new(Ratings::new(Arc::new(live.bareme.clone())));
        let item = ItemId { live: live.live_id, jeu: JeuId(1) };
        let payload = Payload::from_slice(&[1, 3, 3, 3, 3, 3]);
        store.write_notes(item, vec![NoteRow { viewer: ViewerId([1; 16]), version: 7, payload }]).await.unwrap();
        store.raise_rank(item, Rank::new(0, Phase::Closing)).await.unwrap();
        finalise(&**store, &Env::system(), &ballot, item, 0).await.unwrap();
        live
    }

    async fn dumped(store: &Arc<dyn Store>, live: LiveId, progress: Progress<'_>) -> Result<Manifest> {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::open(&TargetUrl::Folder(folder.path().to_owned()), true).await?;
        Ok(dump(store, &target, &Env::system(), live, Pace::Full, progress).await?.manifest)
    }

    #[tokio::test]
    async fn a_live_that_is_renamed_while_it_is_dumped_is_in_the_dump_as_it_was_read_at_first() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::exclusive());
        let live = over(&store).await;
        let renamed = serde_json::to_string(&Live { title: "after".to_owned(), ..live.clone() }).unwrap();
        let is_renamed = AtomicBool::new(false);
        let rename = |_: Stage, _: u64, _: u64| {
            if !is_renamed.swap(true, Ordering::Relaxed) {
                let put = store.put_record(&live_key(live.live_id), 1, renamed.clone()).now_or_never();
                assert!(matches!(put, Some(Ok(_))), "a store in memory answers at once");
            }
        };
        assert_eq!(dumped(&store, live.live_id, &rename).await.unwrap().title, "before");
        assert!(is_renamed.load(Ordering::Relaxed));
    }
}
