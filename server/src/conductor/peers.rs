//! What other pods of a shared store change: channels, and the lives that are on air. Phases and votes are the engine's.
//!
//! **Invariant**: nothing here writes but the closing of jeux that another pod's end of a live left open; a pod that reads
//! late shows late, and shows nothing wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{BOOT_PAGE, Conductor, live_key};
use crate::domain::channel::Channel;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::records::Versioned;
use crate::store::{RecordKind, StoreError};

/// How often the documents are read: well below the shortest announcement of a closing, and one small read each time.
const INTERVAL: Duration = Duration::from_millis(500);

/// Pause after a store failed, before the jeux of a live that ended elsewhere are closed again.
const RETRY: Duration = Duration::from_secs(1);

/// Revisions of the channels as last read.
type Seen = BTreeMap<Slug, u64>;

impl Conductor {
    /// Follows the other pods for as long as this one runs.
    pub(super) fn follow_peers(&self) {
        let inner = Arc::downgrade(&self.inner);
        self.spawn(async move {
            let mut seen = Seen::new();
            let mut is_away = false;
            loop {
                tokio::time::sleep(INTERVAL).await;
                let Some(inner) = inner.upgrade() else { return };
                let outcome = Self { inner }.read_peers(&mut seen).await;
                match &outcome {
                    // Once: it goes on until the store is back, and the engine says so, too.
                    Err(error) if !is_away => tracing::warn!(%error, "cannot follow the other servers"),
                    Ok(()) if is_away => tracing::info!("following the other servers again"),
                    _ => {}
                }
                is_away = outcome.is_err();
            }
        });
    }

    async fn read_peers(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let mut on_air: BTreeSet<LiveId> = self.open_lives().iter().map(|live| live.live_id).collect();
        let mut found = Seen::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.inner.records.list::<Channel>(RecordKind::Channel, "", after.as_deref(), BOOT_PAGE).await?;
            let full = page.len() == BOOT_PAGE;
            after = page.last().map(|(id, _)| id.clone());
            for (_, Versioned { revision, value: channel }) in page {
                on_air.extend(channel.open_live);
                found.insert(channel.slug, revision);
            }
            if !full {
                break;
            }
        }
        // Lives first: a channel shows the live that is here.
        for live_id in on_air {
            if let Some(stored) = self.inner.records.get::<Live>(&live_key(live_id)).await? {
                self.adopt(stored);
            }
        }
        let changed = |slug: &&Slug| found.get(*slug) != seen.get(*slug);
        let changed: BTreeSet<_> = found.keys().chain(seen.keys()).filter(changed).cloned().collect();
        for slug in changed {
            self.channel_changed(&slug).await;
        }
        *seen = found;
        Ok(())
    }

    /// Shows a live as another pod left it, if that is news.
    pub(super) fn adopt(&self, stored: Versioned<Live>) {
        let known = self.lives().get(&stored.value.live_id).map(|running| running.revision);
        if known.is_some_and(|revision| revision >= stored.revision) {
            return;
        }
        let (live_id, status) = (stored.value.live_id, stored.value.status);
        self.show(stored);
        if status == LiveStatus::Closed && known.is_some() {
            self.end_with_peers(live_id);
        }
    }

    /// Closes what the pod that ended a live did not know to be open, then lets its tasks go.
    fn end_with_peers(&self, live_id: LiveId) {
        let conductor = self.clone();
        self.spawn(async move {
            while let Err(error) = conductor.close_jeux(live_id).await {
                tracing::warn!(live = %live_id, %error, "cannot close the jeux of a live that ended; trying again");
                tokio::time::sleep(RETRY).await;
            }
            conductor.retire(live_id);
        });
    }
}
