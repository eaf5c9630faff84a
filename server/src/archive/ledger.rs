//! What became of the dump of each live: one small document for each, changed by compare-and-set.
//!
//! **Invariant**: it is a note to those who come later and never the truth: what counts is the manifest in the target.
//! A claim keeps two pods from doing the same work, and if both do it nevertheless nothing is lost but the work.

use serde::{Deserialize, Serialize};

use super::{Dumped, MANIFEST, Result, Target};
use crate::domain::live::LiveId;
use crate::records::Records;
use crate::store::{RecordKey, RecordKind};

/// How long a claim holds unless it is renewed.
pub const CLAIM_US: u64 = 30_000_000;

/// What is known of the dump of a live.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Who makes it now, and until when nobody else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// The dump that was made and recounted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
    /// Attempts that failed since then.
    #[serde(default)]
    pub failures: u32,
    /// Microseconds since 1970 before which nobody tries again.
    #[serde(default)]
    pub retry_at_us: u64,
    /// Why the last one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When its notes came back from a dump: they are kept from then on, not from the end of the live on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_at_us: Option<u64>,
    /// When its journals were deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journals_pruned_at_us: Option<u64>,
    /// When its notes were deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes_pruned_at_us: Option<u64>,
}

/// Who works on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which pod.
    pub pod: String,
    /// Until when, microseconds since 1970.
    pub until_us: u64,
}

/// A dump that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Of which ending of the live.
    pub closed_at_us: u64,
    /// When, microseconds since 1970.
    pub at_us: u64,
    /// Where its manifest is.
    pub place: String,
    /// Notes in it.
    pub notes: u64,
}

impl Made {
    /// That of a dump which is there and was recounted.
    pub fn of(dumped: &Dumped, target: &Target, at_us: u64) -> Self {
        let Dumped { folder, manifest, .. } = dumped;
        let place = target.shown(&format!("{folder}/{MANIFEST}"));
        Self { closed_at_us: manifest.closed_at_us, at_us, place, notes: manifest.notes() }
    }
}

impl Ledger {
    /// It has its dump: nobody is at it any more, and nothing failed.
    pub fn dumped(&mut self, made: &Made) {
        self.made = Some(made.clone());
        self.claim = None;
        (self.failures, self.retry_at_us, self.error) = (0, 0, None);
    }

    /// Whether the ending of a live at `closed_at_us` has its dump.
    pub fn has(&self, closed_at_us: u64) -> bool {
        self.made.as_ref().is_some_and(|made| made.closed_at_us == closed_at_us)
    }
}

fn key(live: LiveId) -> RecordKey {
    RecordKey::new(RecordKind::Dump, "", live.to_string())
}

/// What is known of a live.
///
/// # Errors
/// The store's.
pub async fn read(records: &Records, live: LiveId) -> Result<Ledger> {
    Ok(records.get::<Ledger>(&key(live)).await?.map(|row| row.value).unwrap_or_default())
}

/// Changes what is known of a live; `change` may run several times.
///
/// # Errors
/// The store's.
pub async fn change(records: &Records, live: LiveId, mut change: impl FnMut(&mut Ledger) + Send) -> Result<()> {
    let change = |ledger: &mut Ledger| {
        change(ledger);
        Ok::<_, std::convert::Infallible>(())
    };
    let _changed = records.update_or_new(&key(live), change).await?;
    Ok(())
}

/// Takes or renews the claim of a live for a pod; `false` while somebody else holds it.
///
/// # Errors
/// The store's.
pub async fn claim(records: &Records, live: LiveId, pod: &str, now_us: u64) -> Result<bool> {
    let take = |ledger: &mut Ledger| {
        if ledger.claim.as_ref().is_some_and(|claim| claim.pod != pod && claim.until_us > now_us) {
            return Err(());
        }
        ledger.claim = Some(Claim { pod: pod.to_owned(), until_us: now_us + CLAIM_US });
        Ok(())
    };
    Ok(records.update_or_new(&key(live), take).await?.is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn a_claim_keeps_others_away_until_it_is_over() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let live = LiveId(uuid::Uuid::from_u128(7));
        assert!(claim(&records, live, "a", 100).await.unwrap());
        assert!(!claim(&records, live, "b", 100 + CLAIM_US - 1).await.unwrap());
        assert!(claim(&records, live, "a", 200).await.unwrap(), "its own is renewed");
        assert!(claim(&records, live, "b", 200 + CLAIM_US).await.unwrap(), "a pod that died holds it no longer");
        assert_eq!(read(&records, live).await.unwrap().claim.unwrap().pod, "b");
    }

    #[tokio::test]
    async fn what_many_change_at_once_is_changed_by_each() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let live = LiveId(uuid::Uuid::from_u128(7));
        let one_more = || change(&records, live, |ledger| ledger.failures += 1);
        let changed = futures_util::future::join_all((0..8).map(|_| one_more())).await;
        assert!(changed.into_iter().all(|result| result.is_ok()));
        assert_eq!(read(&records, live).await.unwrap().failures, 8);
    }
}
