//! Taking the end of a live back, over a crash in between.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Server, client, data_dir, eventually};
use crate::studio::Studio;
use crate::wire::Page;

async fn vote(server: &Server, live: &str, jeu: u32, fun: u32) -> u16 {
    let body = json!({"live_id": live, "jeu_id": jeu, "fun": fun});
    client().post(server.url("/api/note")).json(&body).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_live_that_was_ended_by_mistake_goes_on_even_after_a_crash() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::serve_of(module_path!(), dir.path()).await;
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    assert_eq!(vote(&server, &live, jeux[0], 5).await, 200);
    let drive = |action: &str| format!("/api/admin/lives/{live}/{action}");
    let nobody = client().post(server.url(&drive("reopen"))).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    let mut viewer = Page::viewer(&server, "max").await;
    studio.post(&server, &drive("close"), json!({"delay_ms": 0})).await;
    let closed = viewer.until("the end", |heard| heard["t"] == "state" && heard["live"]["status"] == "closed").await;
    assert!(closed["live"]["closed_at_us"].is_u64(), "{closed}");
    eventually("both jeux are final", async || {
        let results = server.results(&live).await;
        let is_final = |jeu: &Value| jeu["phase"] == "final";
        results["jeux"].as_array().unwrap().iter().all(is_final).then_some(())
    })
    .await;
    server.kill();

    let server = Server::serve_of(module_path!(), dir.path()).await;
    let mut viewer = Page::viewer(&server, "max").await;
    assert_eq!(viewer.state["live"]["closed_at_us"], closed["live"]["closed_at_us"]);
    assert!(viewer.state["live"]["programme"][1]["closed_at_us"].is_u64(), "{}", viewer.state);
    let state = studio.post(&server, &drive("reopen"), Value::Null).await;
    assert_eq!((&state["status"], &state["current"]), (&json!("open"), &json!(jeux[0])));
    let open = |heard: &Value| {
        let programme = heard["live"]["programme"].as_array();
        programme.is_some_and(|jeux| jeux.iter().all(|jeu| jeu["phase"] == "open" && jeu["epoch"] == 1))
    };
    let again = viewer.until("the live is open again", open).await;
    assert_eq!((again["live"].get("closed_at_us"), &again["live"]["status"]), (None, &json!("open")));
    assert_eq!(vote(&server, &live, jeux[0], 3).await, 200);
    let results = server.results(&live).await;
    assert_eq!((&results["jeux"][0]["voters"], &results["jeux"][0]["mean"]), (&json!(2), &json!(4.0)), "{results}");
    let (status, refused) = studio.request(&server, Method::POST, &drive("reopen/x"), &Value::Null).await;
    assert_eq!(status, 404, "{refused}");
    server.stop().await;
}
