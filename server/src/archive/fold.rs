//! Counting notes as they pass, without keeping them.
//!
//! **Invariant**: rows come in strictly growing order of viewer, which is checked; so no viewer counts twice, and the
//! tally and the digest are those of the map that would hold them all.

use std::sync::Arc;
use std::time::Instant;

use super::{ArchiveError, PAGE, Pace, Result};
use crate::domain::ballot::{Ballot, Entry, Ratings};
use crate::domain::bareme::Bareme;
use crate::domain::tally::Tally;
use crate::domain::viewer::ViewerId;
use crate::notebook::Digest;
use crate::store::{ItemId, NoteRow, Store};

/// A count under way.
pub(super) struct Fold {
    ballot: Ratings,
    tally: Tally,
    digest: Digest,
    rows: u64,
    last: Option<ViewerId>,
}

/// What notes came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folded {
    /// Viewers with a note, withdrawn ones included.
    pub(super) rows: u64,
    /// The digest, as results have it.
    pub(super) digest: String,
    /// The tally.
    pub(super) tally: Tally,
}

impl Fold {
    pub(super) fn new(bareme: &Bareme) -> Self {
        let ballot = Ratings::new(Arc::new(bareme.clone()));
        Self { tally: ballot.empty(), ballot, digest: Digest::default(), rows: 0, last: None }
    }

    /// Counts a row.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn push(&mut self, row: &NoteRow) -> std::result::Result<(), String> {
        if self.last.is_some_and(|last| last >= row.viewer) {
            return Err(format!("viewer {} is out of order", row.viewer));
        }
        if !self.ballot.is_valid(&row.payload) {
            return Err(format!("the note of viewer {} is not one of this bareme", row.viewer));
        }
        self.last = Some(row.viewer);
        self.rows += 1;
        self.ballot.add(&mut self.tally, &row.payload);
        self.digest.add(row.viewer, Entry { version: row.version, payload: &row.payload });
        Ok(())
    }

    /// How many rows so far.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn finish(self) -> Folded {
        Folded { rows: self.rows, digest: self.digest.to_string(), tally: self.tally }
    }
}

/// What the notes of a jeu come to that are in the store.
///
/// # Errors
/// The store's; differs when they cannot be counted.
pub(super) async fn fold_stored(store: &dyn Store, bareme: &Bareme, item: ItemId, pace: Pace) -> Result<Folded> {
    let mut fold = Fold::new(bareme);
    let mut after = None;
    loop {
        let since = Instant::now();
        let rows = store.read_notes(item, after, PAGE).await?;
        let counted = rows.iter().try_for_each(|row| fold.push(row));
        counted.map_err(|reason| ArchiveError::Differs { live: item.live, reason })?;
        if rows.len() < PAGE {
            return Ok(fold.finish());
        }
        after = rows.last().map(|row| row.viewer);
        pace.rest(since).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bareme::presets;
    use crate::notebook::Notebook;
    use crate::store::Payload;

    fn row(viewer: u8, steps: [u8; 5]) -> NoteRow {
        let payload = Payload::from_slice(&[&[1][..], &steps].concat());
        NoteRow { viewer: ViewerId([viewer; 16]), version: u64::from(viewer), payload }
    }

    #[test]
    fn it_counts_what_a_notebook_counts() {
        let bareme = presets().remove(0);
        let rows = [row(1, [0, 1, 2, 3, 4]), row(2, [0xFF; 5]), row(9, [4, 4, 0xFF, 0, 0])];
        let mut notebook = Notebook::new(Arc::new(Ratings::new(Arc::new(bareme.clone()))));
        let mut fold = Fold::new(&bareme);
        for row in &rows {
            notebook.merge(row.viewer, Entry { version: row.version, payload: &row.payload });
            fold.push(row).unwrap();
        }
        let folded = fold.finish();
        assert_eq!((folded.rows, &folded.tally), (3, notebook.tally()));
        assert_eq!(folded.digest, notebook.digest().to_string());
    }

    #[test]
    fn a_viewer_that_comes_twice_or_a_payload_of_another_bareme_is_refused() {
        let mut fold = Fold::new(&presets().remove(0));
        fold.push(&row(5, [0; 5])).unwrap();
        assert!(fold.push(&row(5, [0; 5])).unwrap_err().contains("out of order"));
        assert!(fold.push(&row(4, [0; 5])).unwrap_err().contains("out of order"));
        assert!(fold.push(&row(6, [9; 5])).unwrap_err().contains("bareme"));
    }
}
