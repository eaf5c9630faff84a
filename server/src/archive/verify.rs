//! Reading a dump back and recounting it: whether it says, by itself, what the live came to.
//!
//! **Invariant**: what passes here can be restored. The manifest is bounded and bounds its files, each document is what it
//! claims to be ([`checks`]), each jeu's notes come to the tally and the digest of its last result, and every result
//! matches its own sum.

use std::time::Instant;

use super::checks;
use super::documents::{self, Documents};
use super::fold::Fold;
use super::format::{DumpedJeu, FORMAT, MANIFEST, MAX_MANIFEST_BYTES, MAX_NOTE_LINE_BYTES, Manifest, read_note};
use super::lines::{Lines, each};
use super::{ArchiveError, Pace, Progress, Result, Stage, Target};
use crate::store::NoteRow;

/// The manifest in a folder; `None` if there is none.
///
/// # Errors
/// The target's; damaged when it cannot be read; refused when it is of a newer format.
pub async fn read_manifest(target: &Target, folder: &str) -> Result<Option<Manifest>> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let name = join(folder, MANIFEST);
    let Some(bytes) = target.read(&name, MAX_MANIFEST_BYTES).await? else { return Ok(None) };
    let unreadable = |error: serde_json::Error| ArchiveError::damaged(target.shown(&name), error.to_string());
    let Format { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if format > FORMAT {
        let reason = format!("{} has format {format}, and this program knows {FORMAT}", target.shown(&name));
        return Err(ArchiveError::refused(reason, "use the version of bareme that wrote it, or a newer one"));
    }
    let manifest = serde_json::from_slice(&bytes).map_err(unreadable)?;
    checks::manifest(&manifest).map_err(|reason| ArchiveError::damaged(target.shown(&name), reason))?;
    Ok(Some(manifest))
}

/// A name in a folder that may be the target itself.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Reads a whole dump back.
///
/// # Errors
/// [`ArchiveError`]; what is wrong is said with the name of the file.
pub async fn verify(
    target: &Target,
    folder: &str,
    manifest: &Manifest,
    pace: Pace,
    progress: Progress<'_>,
) -> Result<()> {
    checked(target, folder, manifest, pace, progress).await.map(drop)
}

/// As [`verify`], and gives the documents.
pub(super) async fn checked(
    target: &Target,
    folder: &str,
    manifest: &Manifest,
    pace: Pace,
    progress: Progress<'_>,
) -> Result<Documents> {
    let wrong = |reason| ArchiveError::damaged(target.shown(&join(folder, MANIFEST)), reason);
    checks::manifest(manifest).map_err(wrong)?;
    let documents = documents::read(target, folder, manifest).await?;
    let place = || target.shown(&join(folder, &manifest.documents.name));
    let mut done = 0;
    for jeu in &manifest.jeux {
        for epoch in 0..=jeu.epoch {
            documents.result(jeu.jeu_id, epoch).map_err(|error| ArchiveError::damaged(place(), error))?;
        }
        let mut fold = Fold::new(&manifest.bareme);
        let mut notes = Notes::open(target, folder, jeu).await?;
        let mut since = Instant::now();
        while let Some(rows) = notes.next().await? {
            for row in &rows {
                fold.push(row).map_err(|error| notes.lines.damaged(error))?;
            }
            progress(Stage::Checking, done + fold.rows(), manifest.notes());
            pace.rest(since).await;
            since = Instant::now();
        }
        done += fold.rows();
        let folded = fold.finish();
        let result = documents.result(jeu.jeu_id, jeu.epoch).map_err(|error| ArchiveError::damaged(place(), error))?;
        if (folded.rows, &folded.digest, &folded.tally) != (result.viewers, &result.digest, &result.tally) {
            return Err(notes.lines.damaged("its notes do not come to the result of the jeu"));
        }
        if folded.digest != jeu.digest || folded.tally.voters != jeu.voters {
            return Err(notes.lines.damaged("its notes do not come to what the manifest says"));
        }
    }
    Ok(documents)
}

/// The notes of one jeu of a dump, in pages.
pub(super) struct Notes<'a> {
    pub(super) lines: Lines<'a>,
}

impl<'a> Notes<'a> {
    pub(super) async fn open(target: &'a Target, folder: &str, jeu: &'a DumpedJeu) -> Result<Self> {
        Ok(Self { lines: Lines::open(target, folder, &jeu.notes, MAX_NOTE_LINE_BYTES).await? })
    }

    /// The next rows; `None` at the end of a file that is what it should be.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<NoteRow>>> {
        let Some(block) = self.lines.next().await? else { return Ok(None) };
        let rows = each(&block).map(read_note).collect::<std::result::Result<_, _>>();
        rows.map(Some).map_err(|error| self.lines.damaged(format!("a line of it: {error}")))
    }
}
