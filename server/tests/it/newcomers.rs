//! One limit for the first votes of an address, whichever way they come, and what the streamer sees of a burst.

use serde_json::{Value, json};

use crate::harness::{Server, client, data_dir};
use crate::studio::Studio;
use crate::wire::Page;

async fn server(dir: &tempfile::TempDir, most: &str) -> (Server, String) {
    let limits = ["--new-viewers-per-address", most, "--trusted-proxies", "127.0.0.1"];
    let server = Server::demo_with(module_path!(), dir.path(), &limits).await;
    let (channel, _) = server.open_live().await;
    (server, channel)
}

/// A page whose client is at an address behind the proxy on this machine.
async fn page(server: &Server, channel: &str, address: &str) -> Page {
    Page::open(server, &format!("/ws/{channel}"), &[("X-Forwarded-For", address)]).await.unwrap()
}

/// A vote over HTTP: its status, and the code or status it was answered with.
async fn posted(server: &Server, address: &str, viewer: Option<&str>) -> (u16, String) {
    let mut note = json!({"jeu_id": 1, "fun": 3});
    if let Some(viewer) = viewer {
        note["viewer"] = viewer.into();
    }
    let request = client().post(server.url("/api/note")).header("X-Forwarded-For", address).json(&note);
    let answer = request.send().await.unwrap();
    let (status, wait) = (answer.status().as_u16(), answer.headers().get("retry-after").cloned());
    let answer: Value = answer.json().await.unwrap();
    if status == 429 {
        assert!(wait.is_some_and(|wait| wait.to_str().unwrap().parse::<u64>().unwrap() >= 1), "when to come again");
    }
    (status, answer["code"].as_str().or(answer["status"].as_str()).unwrap().to_owned())
}

fn ok() -> (u16, String) {
    (200, "ok".to_owned())
}

fn too_fast() -> (u16, String) {
    (429, "too_fast".to_owned())
}

#[tokio::test]
async fn an_address_brings_so_many_voters_and_no_more_whichever_way_they_come() {
    let dir = data_dir();
    let (server, channel) = server(&dir, "6").await;
    let fun = json!({"fun": 4});
    let mut pages = Vec::new();
    for _ in 0..3 {
        let mut page = page(&server, &channel, "192.0.2.7").await;
        assert_eq!(page.vote(1, fun.clone()).await["status"], "ok");
        pages.push(page);
    }
    for _ in 0..3 {
        assert_eq!(posted(&server, "192.0.2.7", None).await, ok());
    }
    let mut seventh = page(&server, &channel, "192.0.2.7").await;
    let reply = seventh.vote(1, fun.clone()).await;
    assert_eq!(reply["status"], "too_fast");
    assert!((1..=100_000).contains(&reply["retry_after_ms"].as_u64().unwrap()), "when to come again: {reply}");
    assert_eq!(posted(&server, "192.0.2.7", None).await, too_fast());
    // A token that was fetched in advance is no voter yet.
    let token = seventh.token.clone().unwrap();
    assert_eq!(posted(&server, "192.0.2.7", Some(&token)).await, too_fast());
    let mut eighth = page(&server, &channel, "192.0.2.7").await;
    eighth.say(&json!({"t": "hello", "viewer": token})).await;
    assert_eq!(eighth.vote(1, fun.clone()).await["status"], "too_fast");

    // Whoever has voted goes on, on other jeux and other ways as well; and so does everybody else.
    let voter = pages[0].token.clone().unwrap();
    assert_eq!(pages[0].vote(2, fun.clone()).await["status"], "ok");
    assert_eq!(posted(&server, "192.0.2.7", Some(&voter)).await, ok());
    let mut again = page(&server, &channel, "192.0.2.7").await;
    again.say(&json!({"t": "hello", "viewer": voter})).await;
    assert_eq!(again.vote(3, fun.clone()).await["status"], "ok");
    assert_eq!(page(&server, &channel, "192.0.2.8").await.vote(1, fun).await["status"], "ok");
    assert_eq!(posted(&server, "2001:db8::1", None).await, ok());

    assert_eq!(server.metric("new_viewers_total{outcome=\"admitted\"}").await, 8.0);
    assert_eq!(server.metric("new_viewers_total{outcome=\"refused\"}").await, 4.0);
}

#[tokio::test]
async fn a_connection_for_each_vote_brings_no_more_voters_than_one_limit_allows() {
    let dir = data_dir();
    let (server, channel) = server(&dir, "20").await;
    let mut counted = 0;
    for _ in 0..60 {
        let mut page = page(&server, &channel, "192.0.2.7").await;
        counted += usize::from(page.vote(1, json!({"fun": 5})).await["status"] == "ok");
    }
    // One comes back every half minute.
    assert!((20..=24).contains(&counted), "{counted} of 60");
}

#[tokio::test]
async fn only_a_program_of_this_machine_that_speaks_for_itself_is_exempt() {
    let dir = data_dir();
    let (server, channel) = server(&dir, "1").await;
    for claim in ["127.0.0.1", "::1"] {
        assert_eq!(posted(&server, claim, None).await, ok());
        assert_eq!(posted(&server, claim, None).await, too_fast(), "{claim}");
        let mut page = page(&server, &channel, claim).await;
        assert_eq!(page.vote(1, json!({"fun": 5})).await["status"], "too_fast", "{claim}");
    }
    for _ in 0..5 {
        let mut page = Page::viewer(&server, &channel).await;
        assert_eq!(page.vote(1, json!({"fun": 5})).await["status"], "ok");
        let note = client().post(server.url("/api/note")).json(&json!({"jeu_id": 1, "fun": 3}));
        assert_eq!(note.send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn the_streamer_sees_a_burst_and_no_address() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let (server, channel) = server(&dir, "2").await;
    let path = format!("/ws/{channel}?role=admin");
    let mut admin = Page::open(&server, &path, &[("Authorization", &studio.bearer())]).await.unwrap();
    for (address, voters) in [("192.0.2.7", 5), ("192.0.2.8", 1)] {
        for _ in 0..voters {
            posted(&server, address, None).await;
        }
    }
    let numbers = json!({"admitted": 3, "refused": 3, "addresses": 2});
    admin.until("the burst", |heard| heard["t"] == "admin" && heard["newcomers"] == numbers).await;
    assert!(admin.log.iter().all(|(_, text)| !text.contains("192.0.2")));
}
