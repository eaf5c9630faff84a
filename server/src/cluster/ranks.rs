//! Phases of a live's jeux as its store has them: one partition, which the items of a pod read together.
//!
//! **Invariant**: whoever is given a reading knows when it began, and claims nothing that depends on a later moment. One
//! reading is under way at a time; those who wait for it take it if it began late enough for them, and else wait for their
//! own as well: for as long as the store gives a reading, no lease is renewed by another one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::env::Env;
use crate::domain::live::LiveId;
use crate::domain::phase::Rank;
use crate::store::{ItemId, Store, StoreError};

/// The lives of a pod's items. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Ranks(Arc<Mutex<BTreeMap<LiveId, Weak<LiveRanks>>>>);

impl Ranks {
    /// The readings of a live, for as long as any of its items runs.
    pub(super) fn of(&self, live: LiveId) -> Arc<LiveRanks> {
        // Every change below is one insertion or removal.
        let mut lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lives.get(&live).and_then(Weak::upgrade) {
            return known;
        }
        lives.retain(|_, known| known.strong_count() > 0);
        let ranks = Arc::new(LiveRanks { live, last: tokio::sync::Mutex::default() });
        lives.insert(live, Arc::downgrade(&ranks));
        ranks
    }
}

/// What was read last of one live.
pub(super) struct LiveRanks {
    live: LiveId,
    last: tokio::sync::Mutex<Option<Reading>>,
}

/// The ranks of a live, and when their reading began.
struct Reading {
    began: Duration,
    ranks: BTreeMap<ItemId, Rank>,
}

impl LiveRanks {
    /// The rank of an item, and when a reading began that says so: not before `oldest`. Both by the clock since boot.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn read(
        &self,
        store: &dyn Store,
        env: &Env,
        item: ItemId,
        oldest: Duration,
    ) -> Result<(Duration, Rank), StoreError> {
        let mut last = self.last.lock().await;
        let known = last.take().filter(|reading| reading.began >= oldest);
        let reading = match known {
            Some(reading) => reading,
            None => {
                let began = env.clock.since_boot();
                let rows = store.ranks(self.live).await?;
                let ranks = rows.into_iter().map(|row| (ItemId { live: self.live, jeu: row.jeu }, row.rank));
                Reading { began, ranks: ranks.collect() }
            }
        };
        let found = (reading.began, reading.ranks.get(&item).copied().unwrap_or_default());
        *last = Some(reading);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::jeu::JeuId;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn items_of_a_live_share_a_reading_that_is_young_enough() {
        let store = MemoryStore::new();
        let (env, ranks) = (Env::system(), Ranks::default());
        let live = LiveId(uuid::Uuid::from_u128(1));
        let item = |jeu| ItemId { live, jeu: JeuId(jeu) };
        store.raise_rank(item(1), Rank(1)).await.unwrap();
        let shared = ranks.of(live);
        let (began, rank) = shared.read(&store, &env, item(1), Duration::ZERO).await.unwrap();
        assert_eq!(rank, Rank(1));
        store.raise_rank(item(2), Rank(1)).await.unwrap();
        // What was read before it was raised does not say so, and says when that was.
        let (again, rank) = shared.read(&store, &env, item(2), began).await.unwrap();
        assert_eq!((again, rank), (began, Rank(0)));
        let now = env.clock.since_boot();
        let (later, rank) = shared.read(&store, &env, item(2), now).await.unwrap();
        assert!(later >= now);
        assert_eq!(rank, Rank(1));
    }

    #[test]
    fn a_live_without_items_is_forgotten() {
        let ranks = Ranks::default();
        let live = |number| LiveId(uuid::Uuid::from_u128(number));
        let one = ranks.of(live(1));
        assert!(Arc::ptr_eq(&one, &ranks.of(live(1))));
        drop(one);
        let _two = ranks.of(live(2));
        assert_eq!(ranks.0.lock().unwrap().len(), 1);
    }
}
