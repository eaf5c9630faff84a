//! Test mode, as sockets see it and as the file does not.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::Method;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::harness::{Server, client, data_dir, database};
use crate::studio::{Studio, moderator};
use crate::wire::Page;

/// How many rows each table has, read beside the running server.
fn rows(data_dir: &Path) -> BTreeMap<String, i64> {
    let file = Connection::open_with_flags(database(data_dir), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut tables = file.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let names: Vec<String> = tables.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    // The audit log says that somebody rehearsed, and nothing of what was invented.
    let without = |name: &str| if name == "records" { " WHERE kind <> 'audit'" } else { "" };
    let count = |name: &String| {
        file.query_row(&format!("SELECT count(*) FROM \"{name}\"{}", without(name)), (), |row| row.get(0))
    };
    names.iter().map(|name| (name.clone(), count(name).unwrap())).collect()
}

fn is_test(heard: &Value) -> bool {
    heard["t"] == "state" && heard["live"]["test"] == true
}

#[tokio::test]
async fn overlays_and_admins_see_a_rehearsal_and_neither_viewers_nor_the_file_do() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::serve_of(module_path!(), dir.path()).await;
    let (live, _) = studio.draft(&server, "max", 2, json!({})).await;
    let (_, key) = studio.overlay_key(&server, "max").await;
    let path = "/api/admin/channels/max/test-mode";
    let before = rows(dir.path());
    let mut viewer = Page::viewer(&server, "max").await;
    let mut overlay = Page::open(&server, &format!("/ws/max?role=overlay&key={key}"), &[]).await.unwrap();
    let bearer = studio.bearer();
    let mut admin = Page::open(&server, "/ws/max?role=admin", &[("Authorization", &bearer)]).await.unwrap();

    let on = studio.post(&server, path, json!({"on": true, "votes_per_s": 50})).await;
    assert_eq!((&on["on"], &on["votes_per_s"]), (&json!(true), &json!(50)), "{on}");
    let again = studio.post(&server, path, json!({"on": true})).await;
    assert_eq!(again, on, "a second admin changes nothing");
    // Below the minimum of 5 overlays see no mean; admins see every number.
    for (page, least) in [(&mut overlay, 5), (&mut admin, 1)] {
        let rev = page.state["rev"].as_u64().unwrap();
        let state = page.until("the made-up live", is_test).await;
        assert!(state["rev"].as_u64().unwrap() > rev, "a page would drop what looks old: {state}");
        let id = state["live"]["live_id"].clone();
        assert_eq!(state["live"]["bareme"]["name"], "Deux", "the channel's own bareme");
        let counted = |heard: &Value| heard["t"] == "tally" && heard["live"] == id && heard["mean"].is_number();
        let tally = page.until("simulated votes", counted).await;
        assert!(tally["voters"].as_u64().unwrap() >= least, "{tally}");
    }
    admin.until("how fast they come", |heard| heard["t"] == "admin" && heard["votes_per_s"] != 0.0).await;
    let made_up = overlay.state["live"]["live_id"].as_str().unwrap().to_owned();

    // Whoever polls is a viewer, and nothing of the live can be voted on or read.
    assert_eq!(server.get("/api/channels/max/state").await["state"]["live"], Value::Null);
    let body = json!({"channel": "max", "live_id": made_up, "jeu_id": 1, "fun": 5});
    let response = client().post(server.url("/api/note")).json(&body).send().await.unwrap();
    assert!(response.status().is_client_error(), "{response:?}");
    viewer.say(&json!({"t": "note", "live": made_up, "jeu": 1, "v": 1, "scores": {"fun": 5}})).await;
    let reply = viewer.until("a reply", |heard| heard["t"] == "reply").await;
    assert_eq!((&reply["status"], &reply["problem"]["field"]), (&json!("invalid"), &json!("live")));
    let results = client().get(server.url(&format!("/api/lives/{made_up}/results"))).send().await.unwrap();
    assert_eq!(results.status(), 404);
    assert_eq!(rows(dir.path()), before, "no row more");
    assert_eq!(server.metric("notes_accepted_total").await, 0.0);

    let (status, off) = studio.request(&server, Method::DELETE, path, &Value::Null).await;
    assert_eq!((status, off), (200, json!({"on": false})));
    for page in [&mut overlay, &mut admin] {
        let rev = page.state["rev"].as_u64().unwrap();
        let state = page.until("the real state", |heard| heard["t"] == "state" && heard["live"].is_null()).await;
        assert!(state["rev"].as_u64().unwrap() > rev, "{state}");
    }

    studio.post(&server, path, json!({"on": true})).await;
    overlay.until("the made-up live", is_test).await;
    studio.post(&server, &format!("/api/admin/lives/{live}/open"), json!({})).await;
    let real = |heard: &Value| heard["t"] == "state" && heard["live"]["live_id"] == live.as_str();
    let state = overlay.until("the live that was opened", real).await;
    assert_eq!(state["live"].get("test"), None, "{state}");
    viewer.until("the live that was opened", real).await;
    assert!(!viewer.log.iter().any(|(_, text)| text.contains("\"test\":true")
        || text.contains("\"t\":\"tally\",\"live\":\"") && text.contains(&made_up)));
    let (status, refused) = studio.request(&server, Method::POST, path, &json!({"on": true})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("live_on_air")), "{refused}");
    assert!(!refused["remedy"].as_str().unwrap().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn only_those_who_drive_lives_rehearse() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::serve_of(module_path!(), dir.path()).await;
    studio.draft(&server, "max", 1, json!({})).await;
    let path = "/api/admin/channels/max/test-mode";
    let nobody = client().post(server.url(path)).json(&json!({"on": true})).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    let nobody = client().delete(server.url(path)).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    moderator("Zoé", dir.path());
    let login = json!({"name": "Zoé", "password": "un mot de passe"});
    let signed_in = client().post(server.url("/api/admin/login")).json(&login).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let csrf: Value = serde_json::from_str(&signed_in.text().await.unwrap()).unwrap();
    let ask = client().post(server.url(path)).header("Cookie", &cookie).json(&json!({"on": true}));
    assert_eq!(ask.try_clone().unwrap().send().await.unwrap().status(), 403, "another site's page could send this");
    let allowed = ask.header("X-CSRF-Token", csrf["csrf"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(allowed.status(), 200, "a moderator drives lives");
    for (path, body, status) in [
        ("/api/admin/channels/no/test-mode", json!({"on": true}), 404),
        ("/api/admin/channels/no/test-mode", json!({"on": false}), 404),
        (path, json!({"on": true, "votes_per_s": 0}), 422),
        (path, json!({"on": true, "votes_per_s": 51}), 422),
        (path, json!({}), 422),
    ] {
        assert_eq!(studio.request(&server, Method::POST, path, &body).await.0, status, "{path} {body}");
    }
}
