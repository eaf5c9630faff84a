//! A jeu that left the programme while it was being opened.

use std::time::Duration;

use super::super::OpenJeux;
use super::{live_id, start, store_with_drafts};
use crate::archive::{Pace, Target, TargetUrl, dump, silent};
use crate::domain::jeu::JeuId;
use crate::domain::phase::{Phase, Rank};
use crate::store::ItemId;

#[tokio::test]
async fn the_dump_of_its_live_has_what_was_noted_of_it() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    // Opened here, while somebody else took it out of the record.
    let removed = ItemId { live: live_id(1), jeu: JeuId(9) };
    store.raise_rank(removed, Rank::new(0, Phase::Open)).await.unwrap();
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    while store.ranks(live_id(1)).await.unwrap().iter().any(|row| row.rank.phase() != Phase::Final) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let target = Target::open(&TargetUrl::Folder(folder.path().to_owned()), true).await.unwrap();
    let dumped = dump(&store, &target, conductor.env(), live_id(1), Pace::Full, &silent).await.unwrap();
    let jeux: Vec<_> = dumped.manifest.jeux.iter().map(|jeu| (jeu.jeu_id.0, jeu.title.as_str())).collect();
    assert_eq!(jeux, [(1, "Jeu 1"), (9, "")]);
}
