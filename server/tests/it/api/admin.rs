//! What admins keep: channels, jeux, baremes, lives, overlay keys.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{Server, read, refused};

#[tokio::test(flavor = "multi_thread")]
async fn titles_are_data_whatever_they_look_like() {
    let server = Server::start().await;
    let title = "<script>alert(1)</script>'; DROP TABLE records; --";
    let (status, channel) = server.post("/api/admin/channels", json!({"slug": "Max", "title": title})).await;
    assert_eq!((status, channel["slug"].as_str(), channel["title"].as_str()), (201, Some("max"), Some(title)));
    assert_eq!(server.get("/api/admin/channels/max").await.1["title"], title);
    let page = server.client.get(format!("{}/max", server.base)).send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("<script>alert"), "{page}");
    for bad in ["", "   ", "a\u{0}b", "a\u{202e}b", &"x".repeat(201)] {
        let answer = server.post("/api/admin/channels", json!({"slug": "b", "title": bad})).await;
        refused(&answer, 422, "invalid", Some("title"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_made_changed_and_deleted() {
    let server = Server::start().await;
    for slug in ["", "../x", "admin", "-x", "a b", &"a".repeat(41)] {
        refused(
            &server.post("/api/admin/channels", json!({"slug": slug, "title": "x"})).await,
            422,
            "invalid",
            Some("slug"),
        );
    }
    let live = server.on_air("max").await;
    refused(&server.post("/api/admin/channels", json!({"slug": "max", "title": "x"})).await, 409, "conflict", None);
    let edit = |body: Value| server.call(Method::PATCH, "/api/admin/channels/max", Some(body));
    let (status, changed) = edit(json!({"title": "Maxime", "close_delay_ms": 2500})).await;
    assert_eq!((status, changed["close_delay_ms"].as_u64()), (200, Some(2500)), "{changed}");
    refused(&edit(json!({"close_delay_ms": 999_999})).await, 422, "invalid", Some("close_delay_ms"));
    refused(&edit(json!({"slug": "other"})).await, 422, "invalid", Some("slug"));
    refused(&server.call(Method::DELETE, "/api/admin/channels/max", None).await, 409, "conflict", None);
    assert_eq!(server.call(Method::POST, &format!("/api/admin/lives/{live}/close"), None).await.0, 200);
    // Freeing the channel is the last step of ending a live.
    for _ in 0..200 {
        if server.get("/api/admin/channels/max").await.1["open_live"] == Value::Null {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(server.call(Method::DELETE, "/api/admin/channels/max", None).await.0, 204);
    refused(&server.get("/api/admin/channels/max").await, 404, "unknown_channel", None);
    refused(&server.get("/api/channels/max/live").await, 404, "unknown_channel", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_made_from_another_one_changes_nothing_and_a_next_from_another_jeu_neither() {
    let server = Server::start().await;
    let live = server.on_air("max").await;
    let path = format!("/api/admin/lives/{live}");
    let edit = |body: Value| server.call(Method::PATCH, &path, Some(body));
    assert_eq!(edit(json!({"jeux": [1, 3, 2], "jeux_before": [1, 2, 3]})).await.0, 200);
    let overtaken = edit(json!({"jeux": [1, 2], "jeux_before": [1, 2, 3]})).await;
    refused(&overtaken, 409, "programme_changed", None);
    let order = server.get(&path).await.1["programme"]
        .as_array()
        .unwrap()
        .iter()
        .map(|jeu| jeu["jeu_id"].clone())
        .collect::<Vec<_>>();
    assert_eq!(order, [1, 3, 2]);
    let next = format!("{path}/next");
    assert_eq!(server.post(&next, json!({"from": 1})).await.1["current"], 3);
    refused(&server.post(&next, json!({"from": 1})).await, 409, "moved_on", None);
    assert_eq!(server.get(&path).await.1["current"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_made_baremes_are_there_before_any_account() {
    let server = Server::start().await;
    let anybody = reqwest::get(format!("{}/api/admin/bareme-presets", server.base)).await.unwrap();
    assert_eq!(anybody.status(), 200);
    assert!(anybody.json::<Value>().await.unwrap().as_array().is_some_and(|presets| presets.len() > 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_a_deleted_jeu_is_never_used_again() {
    let server = Server::start().await;
    server.draft("max").await;
    assert_eq!(server.call(Method::DELETE, "/api/admin/channels/max/jeux/3", None).await.0, 204);
    refused(&server.call(Method::DELETE, "/api/admin/channels/max/jeux/3", None).await, 404, "unknown_jeu", None);
    let (_, jeu) = server.post("/api/admin/channels/max/jeux", json!({"title": "Quatre", "year": 1998})).await;
    assert_eq!((jeu["jeu_id"].as_u64(), jeu["year"].as_u64()), (Some(4), Some(1998)), "{jeu}");
    let (_, jeu) = server.call(Method::PATCH, "/api/admin/channels/max/jeux/4", Some(json!({"year": null}))).await;
    assert_eq!((jeu["title"].as_str(), jeu.get("year")), (Some("Quatre"), None), "{jeu}");
    let wrong = server.post("/api/admin/channels/max/jeux", json!({"title": "x", "year": 1900})).await;
    refused(&wrong, 422, "invalid", Some("year"));
    for path in ["x", "0", "99", "-1", "18446744073709551616"] {
        let answer = server.call(Method::DELETE, &format!("/api/admin/channels/max/jeux/{path}"), None).await;
        refused(&answer, 404, "unknown_jeu", None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_keeps_the_bareme_it_was_made_from() {
    let server = Server::start().await;
    let live = server.draft("max").await;
    let (_, baremes) = server.get("/api/admin/channels/max/baremes").await;
    let id = baremes[0]["bareme_id"].as_str().unwrap().to_owned();
    let path = format!("/api/admin/channels/max/baremes/{id}");
    let other = json!({"name": "Autre", "criteres": [{"key": "note", "min": 0, "max": 10, "step": 0.5}]});
    assert_eq!(server.call(Method::PUT, &path, Some(other.clone())).await.0, 200);
    assert_eq!(server.get(&path).await.1["criteres"][0]["step"], 0.5);
    let (_, kept) = server.get(&format!("/api/admin/lives/{live}")).await;
    assert_eq!(kept["bareme"]["criteres"].as_array().map(Vec::len), Some(5));
    let refreshed =
        server.call(Method::PATCH, &format!("/api/admin/lives/{live}"), Some(json!({"bareme_id": id}))).await;
    assert_eq!(refreshed.1["bareme"]["criteres"].as_array().map(Vec::len), Some(1), "{}", refreshed.1);
    for (body, field) in [
        (json!({"name": "x", "criteres": []}), "criteres"),
        (json!({"name": "x", "criteres": [{"key": "fun", "min": 5, "max": 1}]}), "criteres[0].max"),
        (json!({"name": "x", "criteres": [{"key": "jeu_id", "min": 1, "max": 5}]}), "criteres[0].key"),
        (json!({"name": "x", "criteres": [{"key": "fun", "min": 1, "max": 5, "extra": 1}]}), "criteres[0].extra"),
        (json!({"criteres": []}), "name"),
    ] {
        refused(&server.call(Method::PUT, &path, Some(body)).await, 422, "invalid", Some(field));
    }
    assert_eq!(server.call(Method::DELETE, &path, None).await.0, 204);
    refused(&server.get(&path).await, 404, "unknown_bareme", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_has_one_live_on_air_at_most() {
    let server = Server::start().await;
    let first = server.on_air("max").await;
    let (_, baremes) = server.get("/api/admin/channels/max/baremes").await;
    let second = server.another_draft("max", &baremes[0]["bareme_id"]).await;
    refused(&server.post(&format!("/api/admin/lives/{second}/open"), json!({})).await, 409, "conflict", None);
    assert_eq!(server.post(&format!("/api/admin/lives/{first}/open"), json!({})).await.0, 200, "it can be repeated");
    let (_, lives) = server.get("/api/admin/channels/max/lives").await;
    let order: Vec<_> = lives.as_array().unwrap().iter().map(|live| live["live_id"].as_str().unwrap()).collect();
    assert_eq!(order, [second.as_str(), first.as_str()], "newest first");
    refused(&server.call(Method::DELETE, &format!("/api/admin/lives/{first}"), None).await, 409, "conflict", None);
    assert_eq!(server.call(Method::DELETE, &format!("/api/admin/lives/{second}"), None).await.0, 204);
    refused(&server.get(&format!("/api/admin/lives/{second}")).await, 404, "unknown_live", None);
    assert_eq!(server.get("/api/admin/channels/max/lives").await.1.as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_programme_can_change_but_not_lose_what_was_opened() {
    let server = Server::start().await;
    let live = server.draft("max").await;
    let path = format!("/api/admin/lives/{live}");
    assert_eq!(server.post(&format!("{path}/open"), json!({})).await.0, 200);
    let order = |jeux: Value| server.call(Method::PATCH, &path, Some(json!({"jeux": jeux})));
    let (status, changed) = order(json!([1, 3])).await;
    assert_eq!((status, changed["programme"].as_array().map(Vec::len)), (200, Some(2)), "{changed}");
    refused(&order(json!([3, 2])).await, 409, "conflict", None);
    refused(&order(json!([1, 1])).await, 422, "invalid", Some("jeux[1]"));
    refused(&order(json!([1, 9])).await, 422, "invalid", Some("jeux[0]"));
    refused(&order(json!([])).await, 422, "invalid", Some("jeux"));
    assert_eq!(order(json!([1, 2, 3])).await.0, 200);
    let current = async |jeu: u32| server.post(&format!("{path}/current"), json!({"jeu_id": jeu})).await;
    let (status, shown) = current(3).await;
    assert_eq!((status, shown["current"].as_u64()), (200, Some(3)), "{shown}");
    refused(&current(9).await, 404, "unknown_jeu", Some("jeu_id"));
    let vote = server.form("jeu_id=2&fun=4").await;
    refused(&vote, 409, "not_open", Some("jeu_id"));
    assert_eq!(server.call(Method::POST, &format!("{path}/jeux/2/open"), None).await.0, 200);
    assert_eq!(server.form("jeu_id=2&fun=4").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_lives_are_refused_with_their_field() {
    let server = Server::start().await;
    server.draft("max").await;
    let (_, baremes) = server.get("/api/admin/channels/max/baremes").await;
    let id = &baremes[0]["bareme_id"];
    for (body, field) in [
        (json!({"title": "x", "bareme_id": id, "jeux": [9]}), "jeux[0]"),
        (json!({"title": "x", "bareme_id": id, "jeux": ["1"]}), "jeux[0]"),
        (json!({"title": "x", "bareme_id": "00000000-0000-0000-0000-000000000000", "jeux": [1]}), "bareme_id"),
        (json!({"title": "x", "bareme_id": "x", "jeux": [1]}), "bareme_id"),
        (json!({"title": "x", "bareme_id": id, "jeux": [1], "minimum_votes": 0}), "minimum_votes"),
        (json!({"bareme_id": id, "jeux": [1]}), "title"),
    ] {
        refused(&server.post("/api/admin/channels/max/lives", body).await, 422, "invalid", Some(field));
    }
    refused(&server.post("/api/admin/lives/x/open", json!({})).await, 404, "unknown_live", None);
    refused(&server.post("/api/admin/channels/no/lives", json!({})).await, 422, "invalid", Some("title"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlay_key_can_be_read_again_by_admins_alone_and_be_revoked() {
    let server = Server::start().await;
    server.draft("max").await;
    let (status, made) = server.call(Method::POST, "/api/admin/channels/max/overlay-keys", None).await;
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().unwrap();
    assert_eq!(made["url"], format!("{}/overlay/max?key={key}", server.base));
    let (_, keys) = server.get("/api/admin/channels/max/overlay-keys").await;
    assert_eq!(keys, json!([made]));
    let (_, moderator) = server.post("/api/admin/tokens", json!({"name": "mod", "role": "moderator"})).await;
    let request = server.client.get(format!("{}/api/admin/channels/max/overlay-keys", server.base));
    let request = request.bearer_auth(moderator["token"].as_str().unwrap());
    let (status, keys) = read(request.send().await.unwrap()).await;
    assert_eq!((status, &keys[0]["key_id"]), (200, &made["key_id"]), "{keys}");
    assert_eq!((keys[0].get("key"), keys[0].get("url")), (None, None), "{keys}");
    let path = format!("/api/admin/channels/max/overlay-keys/{}", made["key_id"].as_str().unwrap());
    assert_eq!(server.call(Method::DELETE, &path, None).await.0, 204);
    refused(&server.call(Method::DELETE, &path, None).await, 404, "unknown_key", None);
}
