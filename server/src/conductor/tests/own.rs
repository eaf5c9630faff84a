//! A viewer's own notes.

use std::sync::Arc;
use std::time::Duration;

use super::super::{ConductError, LOAD_WAIT, OpenJeux};
use super::{live_id, start, store_with_drafts};
use crate::domain::viewer::ViewerId;
use crate::store::Store;
use crate::store::faulty::{Fault, FaultyStore};

#[tokio::test(start_paused = true)]
async fn who_asks_for_its_own_notes_waits_no_longer_for_all_jeux_than_for_one() {
    let memory = store_with_drafts(1).await;
    let conductor = start(&memory, 1).await;
    conductor.open_live(live_id(1), OpenJeux::All).await.unwrap();
    drop(conductor);
    let plan = Arc::new(|asked: &'static str| match asked {
        "read_notes" => Fault::Delay(Duration::from_secs(3600)),
        _ => Fault::None,
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(memory, plan));
    let conductor = start(&store, 2).await;
    let asked = conductor.own_notes(live_id(1), ViewerId([1; 16]));
    let answer = tokio::time::timeout(2 * LOAD_WAIT, asked).await.expect("an answer");
    assert!(matches!(answer, Ok(_) | Err(ConductError::NotReady)), "{answer:?}");
}
