//! What other pods of a shared store change: channels, and the lives that are on air. Phases and votes are the engine's.
//!
//! **Invariant**: nothing here writes but the closing of jeux that another pod's end of a live left open, and that end once
//! more; a pod that reads late shows late, and shows nothing wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::view::LiveView;
use super::{BOOT_PAGE, ConductError, Conductor, Inner, Result, live_key};
use crate::cluster::ItemHandle;
use crate::cluster::mutant::mutant;
use crate::domain::ballot::Ratings;
use crate::domain::channel::Channel;
use crate::domain::jeu::Jeu;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::records::Versioned;
use crate::store::{ErrorKind, ItemId, RecordKind, StoreError};
use crate::supervise::Scope;

/// How often the documents are read: well below the shortest announcement of a closing, and one small read each time.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long a live that another pod opened waits for its notes before it is shown: longer than a reading takes while all is
/// well, and short enough that one that cannot be read does not hide the live.
const LOAD_BEFORE_SHOWN: Duration = Duration::from_secs(2);

/// Rounds after which the records of lives that are over here are read, too: nobody waits for a title to be put right.
const ROUNDS_OF_CLOSED_LIVES: u64 = 10;

/// Pause after a store failed, before the jeux of a live that ended elsewhere are closed again.
const RETRY: Duration = Duration::from_secs(1);

/// What was last read.
#[derive(Default)]
struct Seen {
    /// Revisions of the channels.
    channels: BTreeMap<Slug, u64>,
    /// Documents that are damaged, which are told of once.
    unreadable: BTreeSet<String>,
}

impl Seen {
    /// One damaged document says nothing of the others, nor of whether the store is heard.
    fn skip(&mut self, what: String, error: &StoreError) {
        if !self.unreadable.contains(&what) {
            tracing::error!(%what, %error, "a document cannot be read; going on without it");
            self.unreadable.insert(what);
        }
    }
}

impl Conductor {
    /// Follows the other pods for as long as this one runs.
    pub(super) fn follow_peers(&self) {
        let inner = Arc::downgrade(&self.inner);
        self.keep(Scope::Server, "peers", move || Self::follow_others(inner.clone()));
    }

    async fn follow_others(inner: Weak<Inner>) {
        let mut seen = Seen::default();
        let mut is_away = false;
        for round in 1_u64.. {
            tokio::time::sleep(INTERVAL).await;
            let Some(inner) = inner.upgrade() else { return };
            let conductor = Self { inner };
            let outcome = conductor.read_peers(&mut seen, round.is_multiple_of(ROUNDS_OF_CLOSED_LIVES)).await;
            if outcome.is_ok() {
                conductor.hears();
            }
            match &outcome {
                // Once: it goes on until the store is back, and the engine says so, too.
                Err(error) if !is_away => tracing::warn!(%error, "cannot follow the other servers"),
                Ok(()) if is_away => tracing::info!("following the other servers again"),
                _ => {}
            }
            is_away = outcome.is_err();
        }
    }

    /// Reads what changed; with `closed`, also of lives that are over.
    async fn read_peers(&self, seen: &mut Seen, closed: bool) -> std::result::Result<(), StoreError> {
        let mut on_air: BTreeSet<LiveId> = self.open_lives().iter().map(|live| live.live_id).collect();
        if closed {
            on_air.extend(self.lives().keys());
        }
        let mut found = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.inner.records.page::<Channel>(RecordKind::Channel, "", after.as_deref(), BOOT_PAGE).await?;
            for (slug, error) in page.unreadable {
                seen.skip(format!("channel {slug}"), &error);
            }
            for (_, Versioned { revision, value: channel }) in page.documents {
                on_air.extend(channel.open_live);
                // It may have been on air and over again since it was last read.
                if seen.channels.get(&channel.slug) != Some(&revision) {
                    on_air.extend(channel.last_live);
                }
                found.insert(channel.slug, revision);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // Lives first: a channel shows the live that is here.
        for live_id in on_air {
            match self.inner.records.get::<Live>(&live_key(live_id)).await {
                Ok(Some(stored)) => self.adopt(stored).await,
                Ok(None) => {}
                Err(error) if error.kind == ErrorKind::Corrupt => seen.skip(format!("live {live_id}"), &error),
                Err(error) => return Err(error),
            }
        }
        let known = std::mem::replace(&mut seen.channels, found.clone());
        let changed = |slug: &&Slug| found.get(*slug) != known.get(*slug);
        let changed: BTreeSet<_> = found.keys().chain(known.keys()).filter(changed).cloned().collect();
        for slug in changed {
            self.channel_changed(&slug).await;
        }
        Ok(())
    }

    /// Shows a live as another pod left it, if that is news.
    pub(super) async fn adopt(&self, stored: Versioned<Live>) {
        let known = self.lives().get(&stored.value.live_id).map(|running| running.revision);
        if known.is_some_and(|revision| revision >= stored.revision) {
            return;
        }
        let (live_id, status, ended) = (stored.value.live_id, stored.value.status, stored.value.closed_at_us);
        let before = self.view(live_id).filter(|view| status == LiveStatus::Closed && view.live.closed_at_us != ended);
        let unconfirmed = before.is_some().then_some(stored.revision);
        let is_fixed = |view: Arc<LiveView>| view.items.iter().any(ItemHandle::is_fixed);
        if before.is_some_and(is_fixed) && !mutant!(KeepsOldResults) {
            // It was on air again since these numbers were fixed, and has other results.
            match self.closed_view(live_id).await {
                Ok(_) => self.publish(&stored.value.channel, live_id),
                Err(error) => tracing::warn!(live = %live_id, %error, "cannot read the results of a live again"),
            }
            self.end_with_peers(live_id, ended, unconfirmed);
            return;
        }
        let starting = if status == LiveStatus::Open { self.starting(&stored.value) } else { Vec::new() };
        // A jeu that has not read its notes looks as if it had none. What cannot be read is shown as stale.
        let loaded = async {
            for item in &starting {
                item.loaded().await;
            }
        };
        let _timed_out = tokio::time::timeout(LOAD_BEFORE_SHOWN, loaded).await;
        self.show_with(stored, &starting);
        if status == LiveStatus::Closed && known.is_some() {
            self.end_with_peers(live_id, ended, unconfirmed);
        }
    }

    /// Tasks for the jeux of a live that have none here: it is new to this pod, or retired before it was opened again.
    fn starting(&self, live: &Live) -> Vec<ItemHandle<Ratings>> {
        let view = self.view(live.live_id);
        let ballot = view
            .as_ref()
            .map_or_else(|| Arc::new(Ratings::new(Arc::new(live.bareme.clone()))), |view| Arc::clone(&view.ballot));
        let runs = |jeu: &Jeu| {
            let item = view.as_ref().and_then(|view| view.item(jeu.jeu_id));
            item.is_some_and(|item| !item.is_fixed())
        };
        let start =
            |jeu: &Jeu| self.inner.engine.start(ItemId { live: live.live_id, jeu: jeu.jeu_id }, Arc::clone(&ballot));
        live.programme.iter().filter(|jeu| !runs(jeu)).map(start).collect()
    }

    /// Closes what the pod that ended a live did not know to be open, then lets its tasks go; `unconfirmed`: the revision
    /// of the record that said so first.
    fn end_with_peers(&self, live_id: LiveId, ended: Option<u64>, unconfirmed: Option<u64>) {
        let conductor = self.clone();
        self.keep(Scope::Part, "end", move || conductor.clone().finish_end(live_id, ended, unconfirmed));
    }

    async fn finish_end(self, live_id: LiveId, ended: Option<u64>, unconfirmed: Option<u64>) {
        while let Err(error) = self.end_again(live_id, ended, unconfirmed).await {
            tracing::warn!(live = %live_id, %error, "cannot close the jeux of a live that ended; trying again");
            tokio::time::sleep(RETRY).await;
        }
        self.retire(live_id);
    }

    async fn end_again(&self, live_id: LiveId, ended: Option<u64>, unconfirmed: Option<u64>) -> Result<()> {
        self.close_rest(live_id, ended).await?;
        let stored = match self.stored_live(live_id).await {
            Ok(stored) if stored.value.status == LiveStatus::Closed => stored,
            Ok(_) | Err(ConductError::UnknownLive(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if unconfirmed == Some(stored.revision) {
            // Whoever ended it may have died when one replica had the record. Pods that read the others would never hear.
            self.inner.records.put(&live_key(live_id), stored.revision, &stored.value).await?;
        }
        // Nor may it have come to these.
        self.close_removed(&stored.value).await
    }
}
