//! Test mode.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;

use super::super::{ConductError, OpenJeux, Vote, Wanted};
use super::{live_id, shown, slug, start, store_with_drafts};
use crate::domain::bareme::presets;
use crate::domain::live::LiveStatus;
use crate::domain::phase::Phase;
use crate::domain::viewer::ViewerId;

#[tokio::test(start_paused = true)]
async fn a_rehearsal_shows_every_moment_of_a_live_and_begins_again_until_its_time_is_over() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    let mut shown = shown(&conductor).await;
    let begun = tokio::time::Instant::now();
    let ends_at_us = conductor.rehearse(&slug(), &presets()[0], 20).await.unwrap().ends_at_us;
    let (mut moments, mut lives, mut most) = (Vec::new(), Vec::new(), 0);
    loop {
        let view = Arc::clone(&shown.borrow_and_update());
        let Some(rehearsal) = &view.rehearsal else { break };
        let state = rehearsal.view.state();
        assert!(state.test, "{state:?}");
        assert_eq!(
            state.ends_at_us,
            Some(ends_at_us),
            "each round says when the rehearsal ends, not when the round does"
        );
        let counts = |entry: &crate::protocol::ProgrammeEntry| (entry.phase, entry.closes_at_us.is_some());
        let moment = (state.status, state.current, state.programme.iter().map(counts).collect::<Vec<_>>());
        if lives.last() != Some(&state.live_id) {
            lives.push(state.live_id);
        }
        if lives.len() == 1 && moments.last() != Some(&moment) {
            moments.push(moment);
        }
        most = most.max(rehearsal.view.items[2].view().tally.voters);
        assert!(view.shown.is_none(), "viewers are shown what they were");
        shown.changed().await.unwrap();
    }
    use Phase::{Closing, Final, Open, Pending};
    let jeu = |current, phase, announced, before: &[Phase]| {
        let mut phases: Vec<_> = before.iter().map(|phase| (*phase, false)).collect();
        phases.push((phase, announced));
        phases.resize(3, (Pending, false));
        (LiveStatus::Open, Some(current), phases)
    };
    let mut script = vec![(LiveStatus::Open, None, vec![(Pending, false); 3])];
    for (current, before) in [(1, &[][..]), (2, &[Final]), (3, &[Final, Final])] {
        script.extend([
            jeu(current, Open, false, before),
            jeu(current, Open, true, before),
            jeu(current, Closing, false, before),
            jeu(current, Final, false, before),
        ]);
    }
    script.push((LiveStatus::Closed, Some(3), vec![(Final, false); 3]));
    assert_eq!(moments, script);
    assert_eq!(lives.len(), 10, "a round takes 90 s, and all of it a quarter of an hour");
    assert_eq!(begun.elapsed().as_secs(), 15 * 60);
    assert!((300..=350).contains(&most), "20 votes a second for 17 s: {most}");
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_makes_room_for_a_live_and_takes_no_votes() {
    let store = store_with_drafts(1).await;
    let conductor = start(&store, 1).await;
    let shown = shown(&conductor).await;
    let begun = conductor.rehearse(&slug(), &presets()[0], 5).await.unwrap();
    let again = conductor.rehearse(&slug(), &presets()[1], 50).await.unwrap();
    assert_eq!((again.votes_per_s, again.ends_at_us), (begun.votes_per_s, begun.ends_at_us), "the one that goes on");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let made_up = shown.borrow().rehearsal.as_ref().unwrap().view.live.live_id;
    let (sender, reply) = oneshot::channel();
    let scores = json!({ "fun": 5 }).as_object().cloned().unwrap();
    let vote =
        Vote { live: made_up.0, jeu: 1, viewer: ViewerId([1; 16]), v: None, wanted: Wanted::Json(scores), trace: None };
    conductor.submit(&vote, move |answer| drop(sender.send(answer)));
    assert_eq!(reply.await.unwrap().problem.unwrap().field, "live");
    assert!(matches!(conductor.numbers(made_up).await, Err(ConductError::UnknownLive(_))));
    conductor.channel_changed(&slug()).await;
    assert!(shown.borrow().rehearsal.is_some(), "another title is no end");
    conductor.open_live(live_id(1), OpenJeux::First).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(shown.borrow().rehearsal.is_none());
    let refused = conductor.rehearse(&slug(), &presets()[0], 5).await.err().unwrap();
    assert!(matches!(refused, ConductError::Conflict { code: "live_on_air", .. }), "{refused}");
    conductor.close_live(live_id(1), Some(0)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(shown.borrow().rehearsal.is_none(), "what was ended does not come back");
    for wrong in [0, 51] {
        assert!(matches!(conductor.rehearse(&slug(), &presets()[0], wrong).await, Err(ConductError::Invalid(_))));
    }
    conductor.rehearse(&slug(), &presets()[0], 5).await.unwrap();
    conductor.end_rehearsal(&slug());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(shown.borrow().rehearsal.is_none());
}
