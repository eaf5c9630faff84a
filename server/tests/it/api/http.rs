//! Votes and what everybody may read, over HTTP; every wrong input has its answer.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{Server, read, refused};

#[tokio::test(flavor = "multi_thread")]
async fn the_call_of_the_readme_is_counted_as_a_new_viewer_each_time() {
    let server = Server::start().await;
    let live = server.on_air("max").await;
    for _ in 0..20 {
        let (status, answer) = server.form("jeu_id=2&fun=4&graph=3&durée=5").await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["scores"], json!({"fun": 4, "graph": 3, "duree": 5}));
        assert_eq!((answer["status"].as_str(), answer["live_id"].as_str()), (Some("ok"), Some(live.as_str())));
    }
    let (_, results) = server.get(&format!("/api/lives/{live}/results")).await;
    let jeu = &results["jeux"][1];
    assert_eq!((jeu["voters"].as_u64(), jeu["mean"].as_f64()), (Some(20), Some(4.0)), "{results}");
    assert_eq!(jeu["criteres"][2]["histogram"], json!([0, 0, 0, 0, 20]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_token_changes_and_withdraws_one_note() {
    let server = Server::start().await;
    let live = server.on_air("max").await;
    let (_, first) = server.json(&json!({"jeu_id": 1, "fun": 2})).await;
    let viewer = first["viewer"].as_str().unwrap();
    let (status, second) = server.json(&json!({"jeu_id": 1, "scores": {"fun": 5}, "viewer": viewer})).await;
    assert_eq!((status, second["viewer"].as_str()), (200, Some(viewer)), "{second}");
    let voters = async || {
        let (_, results) = server.get(&format!("/api/lives/{live}/results")).await;
        (results["jeux"][0]["voters"].as_u64(), results["jeux"][0]["mean"].as_f64())
    };
    assert_eq!(voters().await, (Some(1), Some(5.0)));
    let stale = server.json(&json!({"jeu_id": 1, "fun": 3, "viewer": viewer, "v": 1})).await;
    refused(&stale, 409, "stale", Some("v"));
    assert_eq!(stale.1["held"]["scores"], json!({"fun": 5}));
    // A device whose clock is ahead, and then one that leaves the version to the server.
    let ahead = second["v"].as_u64().unwrap() + 50_000_000;
    let (status, noted) = server.json(&json!({"jeu_id": 1, "fun": 4, "viewer": viewer, "v": ahead})).await;
    assert_eq!((status, noted["v"].as_u64()), (200, Some(ahead)), "{noted}");
    let too_far = server.json(&json!({"jeu_id": 1, "fun": 3, "viewer": viewer, "v": ahead + 3_600_000_000_u64})).await;
    refused(&too_far, 422, "invalid", Some("v"));
    assert_eq!(too_far.1["params"]["next_v"].as_u64(), Some(ahead + 1), "{}", too_far.1);
    let (status, changed) = server.json(&json!({"jeu_id": 1, "fun": 5, "viewer": viewer})).await;
    assert_eq!((status, changed["v"].as_u64()), (200, Some(ahead + 1)), "{changed}");
    let (status, withdrawn) = server.form(&format!("jeu_id=1&withdraw=1&viewer={viewer}")).await;
    assert_eq!((status, &withdrawn["scores"]), (200, &json!({})), "{withdrawn}");
    assert_eq!(voters().await, (Some(0), None));
    let mut forged = viewer.to_owned();
    forged.replace_range(0..1, if forged.starts_with('A') { "B" } else { "A" });
    refused(&server.json(&json!({"jeu_id": 1, "fun": 3, "viewer": forged})).await, 422, "invalid", Some("viewer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_vote_is_refused_with_its_field() {
    let server = Server::start().await;
    refused(&server.form("jeu_id=1&fun=4").await, 404, "no_open_live", None);
    let live = server.on_air("max").await;
    for (form, status, code, field) in [
        ("jeu_id=9&fun=4", 404, "unknown_jeu", Some("jeu_id")),
        ("fun=4", 422, "invalid", Some("jeu_id")),
        ("jeu_id=x&fun=4", 422, "invalid", Some("jeu_id")),
        ("jeu_id=1&fnu=4", 422, "invalid", Some("fnu")),
        ("jeu_id=1&fun=6", 422, "invalid", Some("fun")),
        ("jeu_id=1&fun=0", 422, "invalid", Some("fun")),
        ("jeu_id=1&fun=4.5", 422, "invalid", Some("fun")),
        ("jeu_id=1&fun=many", 422, "invalid", Some("fun")),
        ("jeu_id=1&durée=4&duree=4", 422, "invalid", Some("duree")),
        ("jeu_id=1&jeu_id=2&fun=4", 422, "invalid", Some("jeu_id")),
        ("jeu_id=1", 422, "invalid", Some("scores")),
        ("", 422, "invalid", Some("jeu_id")),
        ("jeu_id=1&fun=4&v=99999999999999999", 422, "invalid", Some("v")),
        ("jeu_id=1&fun=4&channel=other", 404, "unknown_channel", Some("channel")),
        ("jeu_id=1&fun=4&live_id=x", 422, "invalid", Some("live_id")),
        ("jeu_id=1&fun=4&live_id=00000000-0000-0000-0000-000000000000", 404, "unknown_live", Some("live_id")),
        ("jeu_id=1&'; DROP TABLE notes; --=4", 422, "invalid", Some("'; DROP TABLE notes; --")),
    ] {
        let answer = server.form(form).await;
        assert_eq!((answer.0, answer.1["code"].as_str()), (status, Some(code)), "{form}: {}", answer.1);
        assert_eq!(answer.1["field"].as_str(), field, "{form}: {}", answer.1);
    }
    for (body, field) in [
        (json!({"jeu_id": "1", "fun": 4}), "jeu_id"),
        (json!({"jeu_id": 1, "fun": "4"}), "fun"),
        (json!({"jeu_id": 1, "fun": true}), "fun"),
        (json!({"jeu_id": 1, "fun": [4]}), "fun"),
        (json!({"jeu_id": 1, "fun": {"x": 4}}), "fun"),
        (json!({"jeu_id": 1.5, "fun": 4}), "jeu_id"),
        (json!([1]), "body"),
    ] {
        refused(&server.json(&body).await, 422, "invalid", Some(field));
    }
    let far = server.json(&json!({"jeu_id": 1, "fun": 4, "v": 9_007_199_254_740_990_u64})).await;
    refused(&far, 422, "invalid", Some("v"));
    assert!(far.1["now_us"].as_u64().is_some(), "{}", far.1);
    let (_, results) = server.get(&format!("/api/lives/{live}/results")).await;
    assert_eq!(results["jeux"][0]["voters"], 0, "nothing of all that was counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cannot_be_read_get_an_answer() {
    let server = Server::start().await;
    server.on_air("max").await;
    let form = "application/x-www-form-urlencoded";
    refused(&server.vote(form, vec![b'a'; 1024 * 1024]).await, 413, "too_large", None);
    refused(&server.vote(form, b"jeu_id=1&fun=\xff".to_vec()).await, 400, "malformed", None);
    refused(&server.vote(form, "jeu_id=1&fun=%ff").await, 400, "malformed", None);
    refused(&server.vote("application/json", b"{\"jeu_id\":1,\"f\xff\":4}".to_vec()).await, 400, "malformed", None);
    refused(&server.vote("application/json", "[".repeat(16_000)).await, 400, "malformed", None);
    refused(&server.vote("application/json", "{\"jeu_id\":").await, 400, "malformed", None);
    refused(&server.vote("text/plain", "jeu_id=1&fun=4").await, 415, "unsupported_media_type", None);
    refused(&server.vote("multipart/form-data; boundary=x", "--x--").await, 415, "unsupported_media_type", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_that_another_site_sends_is_refused() {
    let server = Server::start().await;
    server.on_air("max").await;
    let post = |header: &'static str, value: String| {
        let request = server.client.post(format!("{}/api/note", server.base)).header(header, value);
        request.form(&[("jeu_id", "1"), ("fun", "4")]).send()
    };
    for (header, value) in [
        ("Origin", "https://evil.example".to_owned()),
        ("Origin", "null".to_owned()),
        ("Origin", server.base.replace("http:", "https:")),
        ("Sec-Fetch-Site", "cross-site".to_owned()),
    ] {
        refused(&read(post(header, value).await.unwrap()).await, 403, "wrong_origin", None);
    }
    assert_eq!(post("Origin", server.base.clone()).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_open_lives_must_be_told_apart() {
    let server = Server::start().await;
    let first = server.on_air("max").await;
    let second = server.on_air("lea").await;
    let ambiguous = server.form("jeu_id=1&fun=4").await;
    refused(&ambiguous, 409, "ambiguous_live", None);
    let lives = ambiguous.1["open_lives"].as_array().unwrap();
    assert_eq!(lives.iter().map(|live| live["channel"].as_str().unwrap()).collect::<Vec<_>>(), ["lea", "max"]);
    let (_, one) = server.form("jeu_id=1&fun=4&channel=max").await;
    let (_, other) = server.form(&format!("jeu_id=1&fun=4&live_id={second}")).await;
    assert_eq!((one["live_id"].as_str(), other["live_id"].as_str()), (Some(first.as_str()), Some(second.as_str())));
    let both = server.form(&format!("jeu_id=1&fun=4&live_id={second}&channel=max")).await;
    refused(&both, 422, "invalid", Some("channel"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jeu_takes_notes_only_while_it_is_open() {
    let server = Server::start().await;
    let live = server.draft("max").await;
    refused(&server.form(&format!("jeu_id=1&fun=4&live_id={live}")).await, 409, "not_open", Some("live_id"));
    refused(&server.form("jeu_id=1&fun=4&channel=max").await, 404, "no_open_live", None);
    assert_eq!(server.post(&format!("/api/admin/lives/{live}/open"), json!({})).await.0, 200);
    assert_eq!(server.form("jeu_id=1&fun=4").await.0, 200);
    refused(&server.form("jeu_id=2&fun=4").await, 409, "not_open", Some("jeu_id"));
    let close = format!("/api/admin/lives/{live}/jeux/1/close");
    assert_eq!(server.post(&close, json!({"delay_ms": 0})).await.0, 200);
    refused(&server.form("jeu_id=1&fun=4").await, 409, "closed", Some("jeu_id"));
    assert_eq!(server.call(Method::POST, &format!("/api/admin/lives/{live}/close"), None).await.0, 200);
    refused(&server.form(&format!("jeu_id=1&fun=4&live_id={live}")).await, 409, "closed", Some("live_id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_without_a_socket_can_poll_the_same() {
    let server = Server::start().await;
    let live = server.on_air("max").await;
    let (_, noted) = server.form("jeu_id=2&fun=4").await;
    let cookie = format!("bareme_viewer={}", noted["viewer"].as_str().unwrap());
    let poll = async |cookie: &str| {
        let request = server.client.get(format!("{}/api/channels/max/state", server.base)).header("Cookie", cookie);
        read(request.send().await.unwrap()).await
    };
    let (status, state) = poll(&cookie).await;
    assert_eq!((status, state["state"]["live"]["live_id"].as_str()), (200, Some(live.as_str())), "{state}");
    assert_eq!(state["mine"][0]["scores"], json!({"fun": 4}), "{state}");
    assert_eq!(poll("bareme_viewer=forged").await.1["mine"], json!([]));
    let (_, shown) = server.get("/api/channels/max/live").await;
    assert_eq!((shown["title"].as_str(), shown["current"].as_u64()), (Some("Max"), Some(1)), "{shown}");
    assert_eq!(shown["programme"].as_array().map(Vec::len), Some(3));
    refused(&server.get("/api/channels/other/live").await, 404, "unknown_channel", None);
    refused(&server.get("/api/channels/<b>/state").await, 404, "unknown_channel", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blind_live_shows_its_results_to_admins_only_until_they_are_final() {
    let server = Server::start().await;
    let live = server.draft("max").await;
    let (status, edited) =
        server.call(Method::PATCH, &format!("/api/admin/lives/{live}"), Some(json!({"blind": true}))).await;
    assert_eq!((status, edited["blind"].as_bool()), (200, Some(true)), "{edited}");
    assert_eq!(server.post(&format!("/api/admin/lives/{live}/open"), json!({})).await.0, 200);
    assert_eq!(server.form("jeu_id=1&fun=4").await.0, 200);
    let path = format!("/api/lives/{live}/results");
    let public = server.client.get(format!("{}{path}", server.base)).send().await.unwrap();
    let (_, public) = read(public).await;
    let jeu = &public["jeux"][0];
    assert_eq!((jeu["voters"].as_u64(), &jeu["mean"], jeu["masked"].as_str()), (Some(1), &Value::Null, Some("blind")));
    assert_eq!(server.get(&path).await.1["jeux"][0]["mean"], 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_as_a_table_without_formulas_and_notes_one_a_line() {
    let server = Server::start().await;
    server.draft("max").await;
    let edit = Some(json!({"title": "=HYPERLINK(\"http://evil\")"}));
    assert_eq!(server.call(Method::PATCH, "/api/admin/channels/max/jeux/1", edit).await.0, 200);
    let edit = Some(json!({"title": "a;=1+1"}));
    assert_eq!(server.call(Method::PATCH, "/api/admin/channels/max/jeux/2", edit).await.0, 200);
    let (_, baremes) = server.get("/api/admin/channels/max/baremes").await;
    let live = server.another_draft("max", &baremes[0]["bareme_id"]).await;
    assert_eq!(server.post(&format!("/api/admin/lives/{live}/open"), json!({"open_jeux": "all"})).await.0, 200);
    assert_eq!(server.form("jeu_id=1&fun=4").await.0, 200);
    assert_eq!(server.form("jeu_id=2&graph=1").await.0, 200);
    let by_path = server.client.get(format!("{}/api/lives/{live}/results.csv", server.base)).send().await.unwrap();
    assert_eq!(by_path.headers()["content-type"], "text/csv; charset=utf-8");
    let by_path = by_path.text().await.unwrap();
    let request = server.client.get(format!("{}/api/lives/{live}/results", server.base)).header("Accept", "text/csv");
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), by_path);
    assert!(by_path.contains("\"'=HYPERLINK(\"\"http://evil\"\")\",open,0,1,4,fun,"), "{by_path}");
    assert!(by_path.contains("2,a;'=1+1,open,"), "nor where a semicolon ends a cell: {by_path}");
    let (_, notes) = server.get(&format!("/api/lives/{live}/notes")).await;
    let notes: Vec<Value> = notes.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(notes.iter().map(|note| note["jeu"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(notes[0]["scores"], json!({"fun": 4}));
    let (_, one) = server.get(&format!("/api/lives/{live}/notes?jeu=2")).await;
    assert_eq!(one["jeu"], 2, "{one}");
    refused(&server.get(&format!("/api/lives/{live}/notes?jeu=9")).await, 404, "unknown_jeu", Some("jeu"));
    refused(&server.get(&format!("/api/lives/{live}/notes?jeu=x")).await, 422, "invalid", Some("jeu"));
    let anybody = server.client.get(format!("{}/api/lives/{live}/notes", server.base)).send().await.unwrap();
    assert_eq!(anybody.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_and_methods_are_problems_and_pages_are_pages() {
    let server = Server::start().await;
    refused(&server.get("/api/nothing").await, 404, "not_found", None);
    refused(&server.get("/api/note").await, 405, "method_not_allowed", None);
    let put = server.client.put(format!("{}/api/admin/channels", server.base)).send().await.unwrap();
    assert_eq!((put.status().as_u16(), put.headers()["allow"].to_str().unwrap()), (405, "GET, POST"));
    let page = server.client.get(format!("{}/no/such/page", server.base)).send().await.unwrap();
    assert_eq!(page.status(), 404);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let home = server.client.get(&server.base).send().await.unwrap();
    let headers = home.headers();
    assert_eq!((home.status().as_u16(), headers["x-content-type-options"].to_str().unwrap()), (200, "nosniff"));
    assert!(headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let api = server.client.get(format!("{}/api/lives", server.base)).send().await.unwrap();
    assert_eq!(api.headers()["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_version_metrics_and_documents_answer() {
    let server = Server::start().await;
    assert_eq!(server.get_ops("/healthz").await, (200, Value::String("ok\n".to_owned())));
    assert_eq!(server.get_ops("/readyz").await, (200, json!({"ready": true, "reasons": [], "warnings": []})));
    assert_eq!(server.get("/version").await.1["name"], "bareme");
    let (_, metrics) = server.get_ops("/metrics").await;
    let metrics = metrics.as_str().unwrap().to_owned();
    for name in ["ws_active_connections", "notes_accepted_total", "frames_sent_total", "tally_drift_total 0"] {
        assert!(metrics.contains(&format!("\n{name}")), "{name} in {metrics}");
    }
    assert!(metrics.contains("notes_refused_total{reason=\"closed\"}"));
    let (_, document) = server.get("/api/openapi.json").await;
    assert!(document["paths"].get("/api/note").is_some());
    let docs = server.client.get(format!("{}/api/docs", server.base)).send().await.unwrap();
    assert!(docs.url().path().ends_with("/api/docs/") && docs.status() == 200);
    let page = docs.text().await.unwrap();
    assert!(!page.contains("<script>") && !page.contains("//cdn"), "{page}");
    for file in ["swagger-ui-bundle.js", "swagger-ui.css", "swagger-initializer.js"] {
        let found = server.client.get(format!("{}/api/docs/{file}", server.base)).send().await.unwrap();
        assert_eq!(found.status(), 200, "{file}");
    }
    refused(&server.get("/api/docs/nothing.js").await, 404, "not_found", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_keep_to_https_where_people_come_over_it_and_only_there() {
    for (url, wanted) in [(Some("https://127.0.0.1"), true), (Some("http://127.0.0.1"), false), (None, false)] {
        let server = Server::with(|settings| settings.public_url = url.map(|url| url.parse().unwrap())).await;
        for path in ["/", "/admin", "/api/lives", "/nothing-here"] {
            let answer = server.client.get(format!("{}{path}", server.base)).send().await.unwrap();
            let header = answer.headers().get("strict-transport-security");
            assert_eq!(header.is_some_and(|value| value == "max-age=31536000"), wanted, "{url:?} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_sent_twice_is_refused_by_name_in_every_form() {
    let server = Server::start().await;
    server.on_air("max").await;
    let json = "application/json";
    for (kind, body, field) in [
        (json, r#"{"jeu_id":1,"fun":1,"fun":5}"#, "fun"),
        (json, r#"{"jeu_id":1,"fun":1,"f\u0075n":5}"#, "fun"),
        (json, r#"{"jeu_id":1,"jeu_id":2,"fun":5}"#, "jeu_id"),
        (json, r#"{"jeu_id":1,"scores":{"fun":1,"fun":5}}"#, "scores.fun"),
        (json, r#"{"jeu_id":1,"scores":{"fun":1},"scores":{"fun":5}}"#, "scores"),
        (json, r#"{"jeu_id":1,"fun":1,"FUN":5}"#, "fun"),
        ("application/x-www-form-urlencoded", "jeu_id=1&fun=1&fun=5", "fun"),
        ("application/x-www-form-urlencoded", "jeu_id=1&jeu_id=2&fun=5", "jeu_id"),
    ] {
        let answer = server.vote(kind, body).await;
        assert_eq!(
            (answer.0, &answer.1["rule"], &answer.1["field"]),
            (422, &json!("duplicate"), &json!(field)),
            "{body}"
        );
    }
}
