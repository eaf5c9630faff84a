//! What viewers must not see before they may: blind lives, and too few votes.

use serde_json::json;

use crate::harness::{Server, data_dir};
use crate::studio::Studio;
use crate::wire::Page;

/// Whether any text a page heard has numbers of a jeu in it.
fn saw_numbers(page: &Page, jeu: u32) -> bool {
    let of_jeu = format!("\"jeu\":{jeu},");
    let tallies =
        page.log.iter().map(|(_, text)| text).filter(|text| text.contains("\"t\":\"tally\"") && text.contains(&of_jeu));
    tallies
        .into_iter()
        .any(|text| text.contains("\"mean\":") && !text.contains("\"mean\":null") || text.contains("histogram"))
}

#[tokio::test]
async fn in_a_blind_live_nobody_sees_numbers_before_their_own_note_or_the_end() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::serve_of(module_path!(), dir.path()).await;
    let (live, jeux) = studio.live(&server, "nuit", json!({"blind": true}), "all").await;
    let (_, key) = studio.overlay_key(&server, "nuit").await;
    let mut overlay = Page::open(&server, &format!("/ws/nuit?role=overlay&key={key}"), &[]).await.unwrap();
    let mut voter = Page::viewer(&server, "nuit").await;
    let mut watcher = Page::viewer(&server, "nuit").await;
    let bearer = studio.bearer();
    let mut admin = Page::open(&server, "/ws/nuit?role=admin", &[("Authorization", &bearer)]).await.unwrap();

    for jeu in &jeux {
        let mut early = Page::viewer(&server, "nuit").await;
        assert_eq!(early.vote(*jeu, json!({"fun": 4})).await["status"], "ok");
    }
    for page in [&mut overlay, &mut voter, &mut watcher] {
        for jeu in &jeux {
            let tally = page.tally(*jeu, 1).await;
            assert_eq!(
                (&tally["masked"], &tally["mean"], &tally["criteres"]),
                (&json!("blind"), &json!(null), &json!([]))
            );
        }
    }
    assert_eq!(admin.tally(jeux[0], 1).await["mean"], 4.0, "admins see everything");

    // A refused note reveals nothing; the viewer's own note reveals its jeu, and only that.
    assert_eq!(voter.vote(jeux[0], json!({"fun": 9})).await["status"], "invalid");
    assert!(!saw_numbers(&voter, jeux[0]));
    assert_eq!(voter.vote(jeux[0], json!({"fun": 2})).await["status"], "ok");
    let revealed = voter.until("numbers", |heard| heard["t"] == "tally" && heard["mean"].is_number()).await;
    assert_eq!((revealed["jeu"].as_u64(), revealed.get("masked")), (Some(u64::from(jeux[0])), None));
    voter.until("both votes", |heard| heard["t"] == "tally" && heard["mean"] == 3.0).await;
    watcher.tally(jeux[0], 2).await;
    overlay.tally(jeux[0], 2).await;
    studio.fence(&server, &live, &mut [&mut voter, &mut watcher, &mut overlay]).await;
    assert!(!saw_numbers(&voter, jeux[1]), "of the other jeu it sees nothing");
    for jeu in &jeux {
        assert!(!saw_numbers(&watcher, *jeu) && !saw_numbers(&overlay, *jeu));
    }
    for path in [format!("/api/lives/{live}/results"), "/api/channels/nuit/state".to_owned()] {
        let text = server.get(&path).await.to_string();
        assert!(!text.contains("histogram"), "{path} tells as little: {text}");
    }

    // Who comes back with its token sees again what it saw; who withdrew sees no more than it saw before.
    let token = voter.token.clone().unwrap();
    let cookie = format!("bareme_viewer={token}");
    let mut back = Page::open(&server, "/ws/nuit", &[("Cookie", &cookie)]).await.unwrap();
    back.until("numbers", |heard| heard["t"] == "tally" && heard["jeu"] == jeux[0] && heard["mean"] == 3.0).await;

    let close = format!("/api/admin/lives/{live}/jeux/{}/close", jeux[0]);
    studio.post(&server, &close, json!({"delay_ms": 0})).await;
    for page in [&mut watcher, &mut overlay] {
        let shown = page.until("the result", |heard| heard["t"] == "tally" && heard["phase"] == "final").await;
        assert_eq!((shown["jeu"].as_u64(), &shown["mean"]), (Some(u64::from(jeux[0])), &json!(3.0)));
        assert!(!saw_numbers(page, jeux[1]));
    }
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn below_the_minimum_of_votes_there_is_a_count_and_no_mean() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::serve_of(module_path!(), dir.path()).await;
    let (live, jeux) = studio.live(&server, "petit", json!({"minimum_votes": 3}), "all").await;
    let mut watcher = Page::viewer(&server, "petit").await;
    let mut voters = Vec::new();
    for count in 1..=3_u64 {
        let mut voter = Page::viewer(&server, "petit").await;
        assert_eq!(voter.vote(jeux[0], json!({"fun": 3, "graph": 2.5})).await["status"], "ok");
        let tally = watcher.tally(jeux[0], count).await;
        if count < 3 {
            assert_eq!((&tally["masked"], &tally["mean"]), (&json!("minimum"), &json!(null)));
            assert!(!saw_numbers(&watcher, jeux[0]));
            let results = server.results(&live).await;
            assert_eq!(crate::recount::jeu_of(&results, jeux[0])["masked"], "minimum");
        } else {
            assert_eq!((tally.get("masked"), &tally["criteres"][1]["mean"]), (None, &json!(2.5)));
        }
        voters.push(voter);
    }
    let last = voters.last_mut().unwrap();
    let withdraw = json!({"t": "withdraw", "live": live, "jeu": jeux[0], "v": last.next_v()});
    assert_eq!(last.ask(&withdraw).await["status"], "ok");
    assert_eq!(watcher.tally(jeux[0], 2).await["masked"], "minimum");
}
