//! A vote over a socket, and every answer there is to one.

use serde_json::{Value, json};

use crate::harness::{Server, data_dir, eventually};
use crate::studio::{Studio, moderator};
use crate::wire::{Heard, Page, now_us};

/// A demo server and the slug of its channel.
async fn demo(dir: &tempfile::TempDir) -> (Server, String) {
    let server = Server::demo_of(module_path!(), dir.path()).await;
    let (channel, _) = server.open_live().await;
    (server, channel)
}

fn mean_of(tally: &Value, key: &str) -> Value {
    tally["criteres"].as_array().unwrap().iter().find(|critere| critere["key"] == key).unwrap()["mean"].clone()
}

#[tokio::test]
async fn a_vote_is_acknowledged_and_shows_on_another_page() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let mut one = Page::viewer(&server, &channel).await;
    let mut other = Page::viewer(&server, &channel).await;
    let reply = one.vote(2, json!({"fun": 4, "duree": 2})).await;
    assert_eq!(reply["status"], "ok");
    assert_eq!((&reply["jeu"], &reply["v"]), (&json!(2), &json!(one.last_v)));
    assert!(reply.get("problem").is_none() && reply.get("held").is_none());
    for page in [&mut one, &mut other] {
        let tally = page.tally(2, 1).await;
        assert_eq!((mean_of(&tally, "fun"), mean_of(&tally, "duree")), (json!(4.0), json!(2.0)));
        assert_eq!(mean_of(&tally, "graph"), Value::Null);
    }
    assert_eq!(other.vote(2, json!({"fun": 2})).await["status"], "ok");
    assert_eq!(mean_of(&one.tally(2, 2).await, "fun"), json!(3.0));
    // A second note of the same viewer replaces the first.
    assert_eq!(one.vote(2, json!({"fun": 1})).await["status"], "ok");
    let replaced = other.until("the new mean", |heard| heard["t"] == "tally" && mean_of(heard, "fun") == 1.5).await;
    assert_eq!((replaced["voters"].as_u64(), mean_of(&replaced, "duree")), (Some(2), Value::Null));
    assert_eq!(server.complaints(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn the_same_note_again_is_ok_again_and_counts_once() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let mut page = Page::viewer(&server, &channel).await;
    let note = page.note(1, json!({"fun": 5}));
    for _ in 0..3 {
        assert_eq!(page.ask(&note).await["status"], "ok");
    }
    assert_eq!(page.vote(3, json!({"fun": 5})).await["status"], "ok");
    page.tally(3, 1).await;
    let (_, live) = server.open_live().await;
    assert_eq!(crate::recount::jeu_of(&server.results(&live).await, 1)["voters"], 1);
}

#[tokio::test]
async fn an_older_version_is_stale_and_told_what_the_server_holds() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let mut page = Page::viewer(&server, &channel).await;
    let old = page.note(1, json!({"fun": 1}));
    assert_eq!(page.vote(1, json!({"fun": 5, "graph": 2})).await["status"], "ok");
    let newest = page.last_v;
    let reply = page.ask(&old).await;
    assert_eq!(reply["status"], "stale");
    assert_eq!(reply["held"], json!({"v": newest, "scores": {"fun": 5, "graph": 2}}));
    // The same version with another note is not the same note.
    let mut twisted = page.note(1, json!({"fun": 2}));
    twisted["v"] = json!(newest);
    assert_eq!(page.ask(&twisted).await["status"], "stale");
}

#[tokio::test]
async fn a_version_from_the_future_is_refused_with_the_servers_clock() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let mut page = Page::viewer(&server, &channel).await;
    let mut note = page.note(1, json!({"fun": 1}));
    note["v"] = json!(now_us() + 61_000_000);
    let reply = page.ask(&note).await;
    assert_eq!((&reply["status"], &reply["problem"]["field"]), (&json!("invalid"), &json!("v")));
    assert!(reply["now_us"].as_u64().unwrap().abs_diff(now_us()) < 5_000_000);
    note["v"] = json!(now_us() + 50_000_000);
    assert_eq!(page.ask(&note).await["status"], "ok", "less than a minute ahead is a clock that is wrong");
    note["v"] = json!(u64::MAX);
    assert_eq!(page.ask(&note).await["status"], "invalid");
    page.last_v = 0;
    let reply = page.vote(1, json!({"fun": 3})).await;
    assert_eq!(reply["status"], "stale", "the server's clock was not moved, and the newer note stays");
    assert_eq!(reply["held"]["scores"], json!({"fun": 1}));
}

#[tokio::test]
async fn what_makes_no_sense_is_invalid_and_says_which_field_and_what_to_do() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let mut page = Page::viewer(&server, &channel).await;
    let live = page.live();
    let message =
        |jeu: Value, scores: Value, v: u64| json!({"t": "note", "live": live, "jeu": jeu, "v": v, "scores": scores});
    let v = now_us();
    for (message, field) in [
        (message(json!(99), json!({"fun": 3}), v), "jeu"),
        (message(json!(1), json!({"humour": 3}), v), "humour"),
        (message(json!(1), json!({"fun": 6}), v), "fun"),
        (message(json!(1), json!({"fun": 0}), v), "fun"),
        (message(json!(1), json!({"fun": -1}), v), "fun"),
        (message(json!(1), json!({"fun": 4.5}), v), "fun"),
        (message(json!(1), json!({"fun": 1e300}), v), "fun"),
        (message(json!(1), json!({"fun": "4"}), v), "fun"),
        (message(json!(1), json!({"fun": [4]}), v), "fun"),
        (message(json!(1), json!({"fun": true}), v), "fun"),
        (message(json!(1), json!({}), v), "scores"),
        (message(json!(1), json!({"fun": null}), v), "scores"),
        (message(json!("1"), json!({"fun": 3}), v), "message"),
        (message(json!(-1), json!({"fun": 3}), v), "message"),
        (message(json!(1), json!([3]), v), "message"),
        (message(json!(1), json!(null), v), "message"),
        (json!({"t": "note", "live": "x", "jeu": 1, "v": v, "scores": {"fun": 3}}), "message"),
        (json!({"t": "note", "live": live, "jeu": 1, "v": -1, "scores": {"fun": 3}}), "message"),
        (json!({"t": "note", "live": live, "jeu": 1, "v": v, "scores": {"fun": 3}, "more": 1}), "message"),
        (json!({"t": "note", "live": live, "jeu": 1, "scores": {"fun": 3}}), "message"),
        (json!({"t": "dance"}), "message"),
        (json!({"jeu": 1}), "message"),
        (json!([1, 2]), "message"),
        (json!("note"), "message"),
    ] {
        page.say(&message).await;
        let reply = page.until("a reply", |heard| heard["t"] == "reply").await;
        assert_eq!(
            (&reply["status"], &reply["problem"]["field"]),
            (&json!("invalid"), &json!(field)),
            "{message}: {reply}"
        );
        assert!(!reply["problem"]["reason"].as_str().unwrap().is_empty(), "{reply}");
        assert!(!reply["problem"]["remedy"].as_str().unwrap().is_empty(), "{reply}");
    }
    for text in ["", "{", "null", "\u{0}", &"[".repeat(2000), "{\"t\":\"note\",\"t\":\"ping\"}"] {
        page.say_text(text.to_owned()).await;
        let reply = page.until("a reply", |heard| heard["t"] == "reply").await;
        assert_eq!(reply["status"], "invalid", "{text:?}: {reply}");
    }
    assert_eq!(page.vote(1, json!({"fun": 3})).await["status"], "ok", "the socket goes on");
    assert_eq!(page.tally(1, 1).await["mean"], 3.0);
    assert_eq!(server.complaints(), Vec::<String>::new(), "a client's mistake is not the server's trouble");
}

#[tokio::test]
async fn a_note_of_another_live_is_refused_with_the_one_that_is_shown() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let (other, _) = Studio::new(dir.path()).live(&server, "autre", json!({}), "all").await;
    let mut page = Page::viewer(&server, &channel).await;
    let mut note = page.note(1, json!({"fun": 3}));
    for live in [other.as_str(), "0190f5a4-0000-7000-8000-000000000000"] {
        note["live"] = json!(live);
        let reply = page.ask(&note).await;
        assert_eq!((&reply["status"], &reply["problem"]["field"]), (&json!("invalid"), &json!("live")));
        assert!(reply["problem"]["remedy"].as_str().unwrap().contains(&page.live()), "{reply}");
    }
    assert!(server.results(&other).await["jeux"].as_array().unwrap().iter().all(|jeu| jeu["voters"] == 0));
}

#[tokio::test]
async fn a_jeu_takes_notes_only_while_it_is_open() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::serve_of(module_path!(), dir.path()).await;
    let (live, jeux) = studio.live(&server, "soir", json!({}), "first").await;
    let mut page = Page::viewer(&server, "soir").await;
    assert_eq!(page.vote(jeux[1], json!({"fun": 3})).await["status"], "not_open");
    assert_eq!(page.vote(jeux[0], json!({"fun": 3})).await["status"], "ok");
    let jeu = |action: &str| format!("/api/admin/lives/{live}/jeux/{}/{action}", jeux[0]);
    studio.post(&server, &jeu("close"), json!({"delay_ms": 0})).await;
    assert_eq!(page.vote(jeux[0], json!({"fun": 5})).await["status"], "closed");
    page.since_said("the final numbers", |heard| heard["t"] == "tally" && heard["phase"] == "final").await;
    assert_eq!(page.vote(jeux[0], json!({"fun": 5})).await["status"], "closed");
    studio.post(&server, &jeu("reopen"), json!({})).await;
    assert_eq!(page.vote(jeux[0], json!({"fun": 5})).await["status"], "ok");
    studio.post(&server, &format!("/api/admin/lives/{live}/close"), json!({"delay_ms": 0})).await;
    assert_eq!(page.vote(jeux[0], json!({"fun": 1})).await["status"], "closed");
    let last = page
        .since_said("the end", |heard| heard["t"] == "tally" && heard["epoch"] == 1 && heard["phase"] == "final")
        .await;
    assert_eq!((last["voters"].as_u64(), mean_of(&last, "fun")), (Some(1), json!(5.0)));
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_withdrawn_note_counts_no_more() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let mut page = Page::viewer(&server, &channel).await;
    page.vote(1, json!({"fun": 3})).await;
    page.tally(1, 1).await;
    let withdraw = json!({"t": "withdraw", "live": page.live(), "jeu": 1, "v": page.next_v()});
    assert_eq!(page.ask(&withdraw).await["status"], "ok");
    assert_eq!(page.tally(1, 0).await["mean"], Value::Null);
    assert_eq!(page.vote(1, json!({"fun": 5})).await["status"], "ok");
    assert_eq!(page.tally(1, 1).await["mean"], 5.0);
}

#[tokio::test]
async fn hello_resumes_a_viewer_and_its_own_notes_come_back() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let mut page = Page::viewer(&server, &channel).await;
    assert_eq!(page.vote(2, json!({"fun": 4})).await["status"], "ok");
    let (token, v, live) = (page.token.clone().unwrap(), page.last_v, page.live());
    let mine = json!({"t": "mine", "live": live, "jeu": 2, "v": v, "scores": {"fun": 4}});
    let mut again = Page::viewer(&server, &channel).await;
    again.say(&json!({"t": "hello", "viewer": token})).await;
    assert_eq!(again.until("my own note", |heard| heard["t"] == "mine").await, mine);
    again.last_v = v;
    assert_eq!(again.vote(2, json!({"fun": 2})).await["status"], "ok");
    let cookie = format!("bareme_viewer={token}");
    let mut third = Page::open(&server, &format!("/ws/{channel}"), &[("Cookie", &cookie)]).await.unwrap();
    assert_eq!(third.token, None, "whoever has a token gets no other");
    let own = third.until("my own note", |heard| heard["t"] == "mine").await;
    assert_eq!(own["scores"], json!({"fun": 2}));
    third.tally(2, 1).await;
    third.say(&json!({"t": "hello", "viewer": "x".repeat(43)})).await;
    let forged = third.until("a reply", |heard| heard["t"] == "reply").await;
    assert_eq!((&forged["status"], &forged["problem"]["field"]), (&json!("invalid"), &json!("viewer")));
}

#[tokio::test]
async fn pings_of_both_kinds_are_answered() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let mut page = Page::viewer(&server, &channel).await;
    page.say(&json!({"t": "ping", "id": 7})).await;
    let pong = page.until("a pong", |heard| heard["t"] == "pong").await;
    assert_eq!(pong["id"], 7);
    assert!(pong["now_us"].as_u64().unwrap().abs_diff(now_us()) < 5_000_000);
    assert_eq!(page.ping(b"are you there").await, b"are you there");
}

#[tokio::test]
async fn only_pages_of_this_server_and_programs_open_sockets_and_only_of_channels_there_are() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let path = format!("/ws/{channel}");
    let open = async |path: &str, origin: &str| Page::open(&server, path, &[("Origin", origin)]).await.map(drop);
    assert_eq!(open(&path, &server.url("")).await, Ok(()));
    let port = server.port();
    for origin in [
        "https://evil.example",
        "null",
        &format!("https://127.0.0.1:{port}"),
        &format!("http://127.0.0.1:{}", port + 1),
        &format!("http://127.0.0.1:{port}.evil.example"),
        &format!("http://localhost:{port}"),
    ] {
        assert_eq!(open(&path, origin).await, Err(403), "{origin}");
    }
    let without = async |path: &str| Page::open(&server, path, &[]).await.map(drop);
    assert_eq!(without(&path).await, Ok(()));
    assert_eq!(without("/ws/nulle-part").await, Err(404));
    assert_eq!(without("/ws/NOT%20A%20SLUG").await, Err(404));
    assert_eq!(without(&format!("{path}?role=king")).await, Err(400));
    assert_eq!(without(&format!("{path}?role=admin")).await, Err(401));
    let plain = crate::harness::client().get(server.url(&path)).send().await.unwrap();
    assert!(plain.status().is_client_error(), "{}", plain.status());
}

#[tokio::test]
async fn an_overlay_key_opens_a_socket_that_only_reads_until_it_is_revoked() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let (server, channel) = demo(&dir).await;
    let (id, key) = studio.overlay_key(&server, &channel).await;
    let (_, other) = studio.overlay_key(&server, &channel).await;
    let path = |key: &str| format!("/ws/{channel}?role=overlay&key={key}");
    for wrong in ["", "wrong", &key[1..], &format!("{key}x")] {
        assert_eq!(Page::open(&server, &path(wrong), &[]).await.map(drop), Err(403), "{wrong}");
    }
    studio.live(&server, "autre", json!({}), "all").await;
    assert_eq!(Page::open(&server, &format!("/ws/autre?role=overlay&key={key}"), &[]).await.map(drop), Err(403));
    let mut overlay = Page::open(&server, &path(&key), &[]).await.unwrap();
    let mut spared = Page::open(&server, &path(&other), &[]).await.unwrap();
    assert_eq!(overlay.token, None);
    let mut viewer = Page::viewer(&server, &channel).await;
    viewer.vote(1, json!({"fun": 5})).await;
    assert_eq!(overlay.tally(1, 1).await["mean"], 5.0);
    let refused = overlay.vote(1, json!({"fun": 1})).await;
    assert_eq!((&refused["status"], &refused["problem"]["field"]), (&json!("invalid"), &json!("t")));
    let revoke = format!("/api/admin/channels/{channel}/overlay-keys/{id}");
    let (status, _) = studio.request(&server, reqwest::Method::DELETE, &revoke, &Value::Null).await;
    assert_eq!(status, 204);
    assert_eq!(overlay.end().await, Some(4003));
    assert_eq!(Page::open(&server, &path(&key), &[]).await.map(drop), Err(403));
    viewer.vote(1, json!({"fun": 3})).await;
    let what = "the other overlay to go on";
    spared.until(what, |heard| heard["t"] == "tally" && heard["mean"] == 3.0).await;
}

#[tokio::test]
async fn an_admins_socket_shows_who_is_there_and_how_fast_they_vote() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let (server, channel) = demo(&dir).await;
    let bearer = studio.bearer();
    let path = format!("/ws/{channel}?role=admin");
    let mut admin = Page::open(&server, &path, &[("Authorization", &bearer)]).await.unwrap();
    let mut viewer = Page::viewer(&server, &channel).await;
    admin.until("two sockets", |heard| heard["t"] == "admin" && heard["sockets"] == 2).await;
    viewer.vote(1, json!({"fun": 5})).await;
    let busy = |heard: &Value| heard["t"] == "admin" && heard["votes_per_s"].as_f64().unwrap() > 0.0;
    admin.until("a vote's speed", busy).await;
    assert_eq!(admin.vote(1, json!({"fun": 1})).await["status"], "invalid");
    let wrong = Page::open(&server, &path, &[("Authorization", "Bearer wrong")]).await.map(drop);
    assert_eq!(wrong, Err(401));
    viewer.tally(1, 1).await;
    assert!(!viewer.log.iter().any(|(_, text)| text.contains("\"t\":\"admin\"")));
}

#[tokio::test]
async fn a_socket_of_a_session_whose_time_is_over_is_closed() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    moderator("zoe", dir.path());
    let login = json!({"name": "zoe", "password": "un mot de passe"});
    let signed_in = async || {
        let response = crate::harness::client().post(server.url("/api/admin/login")).json(&login).send().await.unwrap();
        response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let path = format!("/ws/{channel}?role=admin");
    let (cookie, other) = (signed_in().await, signed_in().await);
    let mut admin = Page::open(&server, &path, &[("Cookie", &cookie)]).await.unwrap();
    let mut fresh = Page::open(&server, &path, &[("Cookie", &other)]).await.unwrap();
    // Eight days go by without a request in the first session.
    let file = rusqlite::Connection::open(crate::harness::database(dir.path())).unwrap();
    file.busy_timeout(crate::harness::PATIENCE).unwrap();
    let age = "UPDATE records SET revision = revision + 1,
        body = json_set(body, '$.seen_at_us', json_extract(body, '$.seen_at_us') - 8 * 86400000000)
        WHERE rowid = (SELECT min(rowid) FROM records WHERE kind = 'session')";
    assert_eq!(file.execute(age, ()).unwrap(), 1);
    assert_eq!(admin.end().await, Some(4003));
    fresh.say(&json!({"t": "ping", "id": 7})).await;
    fresh.until("the other session goes on", |heard| heard["t"] == "pong").await;
    assert_eq!(Page::open(&server, &path, &[("Cookie", &cookie)]).await.map(drop), Err(401));
}

#[tokio::test]
async fn a_binary_message_ends_the_socket() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let mut page = Page::viewer(&server, &channel).await;
    page.say_binary().await;
    assert_eq!(page.end().await, Some(1003));
    eventually("no socket is left", async || (server.metric("ws_active_connections").await == 0.0).then_some(())).await;
    let mut next = Page::viewer(&server, &channel).await;
    assert!(matches!(next.hear().await, Heard::Message(..)));
}
