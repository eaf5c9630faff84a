//! Forgetting: the journals of jeux that are final, and the notes of lives that ended long ago.
//!
//! **Invariants**
//! - A journal goes only when `notes` alone came to the stored result a moment ago: what it held is in there.
//! - Notes go only when their dump was read back and recounted a moment ago, from the target that is set now.
//! - Results stay. Nothing is taken from a live that may still be opened again.

use std::sync::Arc;

use tracing::info;

use super::dump::{Over, dump, read_over};
use super::fold::fold_stored;
use super::{ArchiveError, DumpedJeu, Pace, Progress, Result, Target, TargetUrl, ledger};
use crate::cluster::close::{EpochResult, stored_result};
use crate::cluster::env::Env;
use crate::domain::ballot::Ratings;
use crate::domain::jeu::JeuId;
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::domain::tally::Tally;
use crate::records::Records;
use crate::store::{ItemId, Store};

/// How long after its end nothing of a live is deleted, whatever is asked: its end can be taken back for 30 s, a vote may
/// be dated a minute ahead, and clocks of pods differ.
pub(super) const SETTLED_US: u64 = 300_000_000;

/// How long journals are kept after the end of a live, as long as a cluster keeps them.
pub const JOURNAL_DAYS: u32 = 7;

/// A day in microseconds.
const DAY_US: u64 = 86_400_000_000;

/// What is kept for how long after the end of a live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days that notes are kept; `None`: for ever.
    pub notes_days: Option<u32>,
    /// Days that journals are kept.
    pub journal_days: u32,
}

/// What was deleted of a live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Jeux whose journals were deleted now.
    pub journals: u64,
    /// Notes that were deleted now.
    pub notes: u64,
}

fn is_due(from_us: u64, days: u32, now_us: u64) -> bool {
    let keep_us = (u64::from(days) * DAY_US).max(SETTLED_US);
    now_us.saturating_sub(from_us) >= keep_us
}

/// Deletes what is due of a live that is over. Repeating it changes nothing.
///
/// # Errors
/// [`ArchiveError`]; what was deleted by then is in the ledger, and the next call goes on.
pub async fn prune(
    store: &Arc<dyn Store>,
    to: Option<&TargetUrl>,
    env: &Env,
    live_id: LiveId,
    retention: Retention,
    pace: Pace,
    progress: Progress<'_>,
) -> Result<Pruned> {
    let records = Records::new(Arc::clone(store));
    let known = ledger::read(&records, live_id).await?;
    let over = read_over(&**store, &records, live_id).await?;
    let now_us = env.now_us();
    let mut pruned = Pruned::default();
    // A cluster's journals end by themselves; deleting them would only add tombstones to what is about to go.
    let has_journals = known.journals_pruned_at_us.is_none() && !store.is_shared();
    if has_journals && is_due(over.closed_at_us, retention.journal_days, now_us) {
        for item in items(&over) {
            if known.notes_pruned_at_us.is_none() {
                recount(&**store, &over, item, pace).await?;
            }
            store.prune_journal(item).await?;
            pruned.journals += 1;
        }
        ledger::change(&records, live_id, |ledger| ledger.journals_pruned_at_us = Some(now_us)).await?;
    }
    let kept_from_us = over.closed_at_us.max(known.restored_at_us.unwrap_or(0));
    let Some(days) = retention.notes_days else { return Ok(pruned) };
    if known.notes_pruned_at_us.is_some() || !is_due(kept_from_us, days, now_us) {
        return Ok(pruned);
    }
    let Some(to) = to else { return Ok(pruned) };
    let target = Target::open(to, true).await?;
    // Makes it if it is missing, and recounts it in any case.
    let dumped = dump(store, &target, env, live_id, pace, progress).await?;
    for (jeu, rank) in &over.ranks {
        let result = result_of(&**store, &over, *jeu, *rank).await?;
        let is_in_it =
            |dumped: &&DumpedJeu| (dumped.jeu_id, dumped.epoch, &dumped.digest) == (*jeu, rank.epoch(), &result.digest);
        if !dumped.manifest.jeux.iter().any(|dumped| is_in_it(&dumped)) {
            let reason = format!("jeu {jeu} as it is stored is not in the dump {}", target.shown(&dumped.folder));
            return Err(ArchiveError::Differs { live: live_id, reason });
        }
    }
    for item in items(&over) {
        store.prune_notes(item).await?;
    }
    pruned.notes = dumped.manifest.notes();
    let made = ledger::Made::of(&dumped, &target, now_us);
    ledger::change(&records, live_id, |ledger| {
        ledger.dumped(&made);
        ledger.notes_pruned_at_us = Some(now_us);
    })
    .await?;
    info!(live = %live_id, notes = pruned.notes, "pruned the notes of a live, which are in its dump");
    Ok(pruned)
}

fn items(over: &Over) -> impl Iterator<Item = ItemId> {
    over.ranks.iter().map(|(jeu, _)| ItemId { live: over.live.live_id, jeu: *jeu })
}

/// The result of a jeu that is final.
async fn result_of(store: &dyn Store, over: &Over, jeu: JeuId, rank: Rank) -> Result<EpochResult<Tally>> {
    let item = ItemId { live: over.live.live_id, jeu };
    let result = stored_result::<Ratings>(store, item, rank.epoch()).await?;
    let reason = format!("the result of jeu {jeu} is missing");
    result.ok_or(ArchiveError::Differs { live: item.live, reason })
}

/// Checks that `notes` alone comes to the result of a jeu.
async fn recount(store: &dyn Store, over: &Over, item: ItemId, pace: Pace) -> Result<()> {
    let rank = over.ranks.iter().find(|(jeu, _)| *jeu == item.jeu).map(|(_, rank)| *rank).unwrap_or_default();
    let result = result_of(store, over, item.jeu, rank).await?;
    if fold_stored(store, &over.live.bareme, item, pace).await?.digest != result.digest {
        let reason = format!("the notes of jeu {} do not come to its result; its journal stays", item.jeu);
        return Err(ArchiveError::Differs { live: item.live, reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_in_the_first_minutes_whatever_is_asked() {
        assert!(!is_due(0, 0, SETTLED_US - 1));
        assert!(is_due(0, 0, SETTLED_US));
        assert!(!is_due(0, 90, 90 * DAY_US - 1));
        assert!(is_due(5, 90, 90 * DAY_US + 5));
        assert!(!is_due(u64::MAX, 0, 0), "a clock that was set back");
    }
}
