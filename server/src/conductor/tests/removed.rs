//! A jeu that left the programme while it was being opened.

use std::sync::Arc;
use std::time::Duration;

use super::super::{OpenJeux, live_key};
use super::{live_id, start, store_with_drafts, until, with_drafts};
use crate::archive::{Pace, Target, TargetUrl, dump, silent};
use crate::domain::jeu::JeuId;
use crate::domain::live::{Live, LiveStatus};
use crate::domain::phase::{Phase, Rank};
use crate::records::Records;
use crate::store::memory::MemoryStore;
use crate::store::{ItemId, Store};

#[tokio::test]
async fn the_dump_of_its_live_has_what_was_noted_of_it() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    // Opened here, while somebody else took it out of the record.
    let removed = ItemId { live: live_id(1), jeu: JeuId(9) };
    store.raise_rank(removed, Rank::new(0, Phase::Open)).await.unwrap();
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    all_are_final(&store).await;
    let folder = tempfile::tempdir().unwrap();
    let target = Target::open(&TargetUrl::Folder(folder.path().to_owned()), true).await.unwrap();
    let dumped = dump(&store, &target, conductor.env(), live_id(1), Pace::Full, &silent).await.unwrap();
    let jeux: Vec<_> = dumped.manifest.jeux.iter().map(|jeu| (jeu.jeu_id.0, jeu.title.as_str())).collect();
    assert_eq!(jeux, [(1, "Jeu 1"), (9, "")]);
}

async fn all_are_final(store: &Arc<dyn Store>) {
    let made = async {
        while store.ranks(live_id(1)).await.unwrap().iter().any(|row| row.rank.phase() != Phase::Final) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), made).await.expect("every jeu has its result");
}

#[tokio::test(start_paused = true)]
async fn the_other_pods_go_on_with_the_end_of_its_live_where_the_one_that_ended_it_died() {
    let store = with_drafts(MemoryStore::new(), 1).await;
    let pod = start(&store, 1).await;
    pod.open_live(live_id(1), OpenJeux::First).await.unwrap();
    let removed = ItemId { live: live_id(1), jeu: JeuId(9) };
    store.raise_rank(removed, Rank::new(0, Phase::Closing)).await.unwrap();
    let end = |live: &mut Live| {
        live.status = LiveStatus::Closed;
        live.closed_at_us = Some(pod.env().now_us());
        Ok::<_, ()>(())
    };
    let records = Records::new(Arc::clone(&store));
    let (ended, ()) = records.update(&live_key(live_id(1)), end).await.unwrap().unwrap().unwrap();
    until(&pod, "over", |state| state.status == LiveStatus::Closed).await;
    all_are_final(&store).await;
    // The record may have been on one replica only, and is written once more; not again and again.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let now = records.get::<Live>(&live_key(live_id(1))).await.unwrap().unwrap();
    assert_eq!(now.revision, ended.revision + 1);
}
