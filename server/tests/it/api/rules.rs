//! Which rule a refusal names, and with which numbers.

use reqwest::Method;
use serde_json::{Value, json};

use super::auth::set_up;
use super::support::Server;

fn rule((_, problem): &(u16, Value)) -> (&str, &Value) {
    (problem["rule"].as_str().unwrap_or_default(), &problem["params"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_field_names_its_rule_and_the_numbers_that_would_do() {
    let server = Server::start().await;
    let live = server.on_air("max").await;
    let (channels, jeux) = ("/api/admin/channels", "/api/admin/channels/max/jeux");
    let baremes = "/api/admin/channels/max/baremes";
    let critere = |change: Value| {
        let mut critere = json!({"key": "fun", "min": 1, "max": 5, "step": 1});
        critere.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"name": "x", "criteres": [critere]})
    };
    for (path, body, word, params) in [
        (channels, json!({"slug": "a", "title": " "}), "required", json!({})),
        (channels, json!({"slug": "a"}), "required", json!({})),
        (channels, json!({"slug": "a", "title": "x".repeat(201)}), "too_long", json!({"max": 200})),
        (channels, json!({"slug": "a", "title": "a\u{202e}b"}), "control_character", json!({})),
        (channels, json!({"slug": "a", "title": "a\u{200b}b"}), "control_character", json!({})),
        (channels, json!({"slug": "a", "title": "\u{3164}"}), "control_character", json!({})),
        (channels, json!({"slug": "a b", "title": "x"}), "not_a_slug", json!({"max": 40})),
        (channels, json!({"slug": "admin", "title": "x"}), "reserved", json!({})),
        (channels, json!({"slug": "max", "title": "x"}), "taken", json!({})),
        (channels, json!({"slug": "a", "title": 7}), "not_a_text", json!({})),
        (channels, json!({"slug": "a", "title": "x", "more": 1}), "unknown_field", json!({})),
        (channels, json!([1]), "not_an_object", json!({})),
        (jeux, json!({"title": "x", "year": 1900}), "out_of_range", json!({"min": 1950, "max": 2100})),
        (jeux, json!({"title": "x", "year": "neuf"}), "not_a_number", json!({})),
        (baremes, critere(json!({"key": "a b"})), "not_a_key", json!({"max": 32})),
        (baremes, critere(json!({"max": 1})), "not_above", json!({"min": 1})),
        (baremes, critere(json!({"max": 2000})), "out_of_range", json!({"min": -1000, "max": 1000})),
        (baremes, critere(json!({"step": 0.75})), "uneven_step", json!({})),
        (baremes, critere(json!({"step": 0.01})), "too_many_steps", json!({"max": 100})),
        (baremes, critere(json!({"optional": "oui"})), "not_a_boolean", json!({})),
        (baremes, json!({"name": "x", "criteres": []}), "wrong_count", json!({"min": 1, "max": 12})),
    ] {
        let answer = server.post(path, body.clone()).await;
        assert_eq!(rule(&answer), (word, &params), "{path} {body}: {}", answer.1);
    }
    let owner = set_up(&server).await;
    for (name, password, word, params) in [
        ("zoé", "court", "too_short", json!({"min": 10})),
        ("zoé", "motdepasse1", "weak_password", json!({})),
        ("<b>", "un mot de passe", "not_a_name", json!({})),
    ] {
        let body = json!({"name": name, "password": password, "role": "moderator"});
        let answer = owner.send(&server, Method::POST, "/api/admin/accounts", body).await;
        assert_eq!(rule(&answer), (word, &params), "{name} {password}: {}", answer.1);
    }
    let edit = json!({"close_delay_ms": 120_001});
    let answer = server.call(Method::PATCH, "/api/admin/channels/max", Some(edit)).await;
    assert_eq!(rule(&answer), ("out_of_range", &json!({"min": 0, "max": 120_000})));
    let none = json!({});
    for (body, word, params) in [
        (json!({"jeu_id": 1, "fun": 9}), "out_of_range", json!({"min": 1, "max": 5})),
        (json!({"jeu_id": 1, "fun": 1.25}), "off_step", json!({"min": 1, "max": 5, "step": 1})),
        (json!({"jeu_id": 1, "fun": "x"}), "not_a_number", none.clone()),
        (json!({"jeu_id": 1, "joie": 3}), "unknown_critere", none.clone()),
        (json!({"jeu_id": 1}), "no_score", none.clone()),
        (json!({"fun": 3}), "required", none.clone()),
        (json!({"jeu_id": 9, "fun": 3}), "unknown_jeu", none.clone()),
        (json!({"jeu_id": 1, "fun": 3, "viewer": "x"}), "invalid_viewer", none.clone()),
        (json!({"jeu_id": 1, "fun": 3, "live_id": "x"}), "not_an_id", none.clone()),
    ] {
        let answer = server.json(&body).await;
        assert_eq!(rule(&answer), (word, &params), "{body}: {}", answer.1);
    }
    let ahead = server.json(&json!({"jeu_id": 1, "fun": 3, "v": 9_000_000_000_000_000_u64})).await;
    let (word, params) = rule(&ahead);
    assert_eq!((word, &params["max_s"]), ("version_ahead", &json!(60)), "{}", ahead.1);
    let named = json!({"jeu_id": 1, "fun": 3, "v": params["next_v"]});
    assert_eq!(server.json(&named).await.0, 200, "the version that a refusal names is taken");
    assert_eq!(rule(&server.vote("application/json", "{").await), ("unreadable", &none));
    let drive = |path: &str| format!("/api/admin/lives/{live}/{path}");
    assert_eq!(rule(&server.post(&drive("jeux/1/close"), json!({"delay_ms": -1})).await).0, "wrong_value");
    assert_eq!(server.post(&drive("close"), json!({"delay_ms": 0})).await.0, 200);
    assert_eq!(rule(&server.call(Method::POST, &drive("next"), None).await), ("live_over", &none));
    assert_eq!(
        rule(&server.get("/api/channels/max/lives?limit=0").await),
        ("out_of_range", &json!({"min": 1, "max": 20}))
    );
    assert_eq!(rule(&server.get("/api/channels/max/lives?first=0").await), ("wrong_query", &none));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_state_of_things_names_its_rule() {
    let server = Server::start().await;
    let live = server.draft("max").await;
    let none = json!({});
    let drive = |path: &str| format!("/api/admin/lives/{live}/{path}");
    for path in ["close", "next", "reopen", "jeux/1/open"] {
        assert_eq!(rule(&server.call(Method::POST, &drive(path), None).await), ("live_not_on_air", &none), "{path}");
    }
    assert_eq!(server.call(Method::POST, &drive("open"), None).await.0, 200);
    assert_eq!(rule(&server.call(Method::POST, &drive("jeux/2/close"), None).await), ("jeu_pending", &none));
    assert_eq!(
        rule(&server.call(Method::DELETE, &format!("/api/admin/lives/{live}"), None).await).0,
        "live_was_on_air"
    );
    assert_eq!(rule(&server.call(Method::DELETE, "/api/admin/channels/max", None).await).0, "live_on_air");
    let edit = server.call(Method::PATCH, &format!("/api/admin/lives/{live}"), Some(json!({"jeux": [2, 3]}))).await;
    assert_eq!(rule(&edit).0, "jeu_was_opened");
    let (_, baremes) = server.get("/api/admin/channels/max/baremes").await;
    let other = server.another_draft("max", &baremes[0]["bareme_id"]).await;
    let opened = server.call(Method::POST, &format!("/api/admin/lives/{other}/open"), None).await;
    assert_eq!((rule(&opened).0, opened.1["code"].as_str()), ("live_on_air", Some("conflict")));
    let nobody = |path: &str| server.client.get(format!("{}{path}", server.base)).send();
    let answer = super::support::read(nobody("/api/admin/channels").await.unwrap()).await;
    assert_eq!(rule(&answer).0, "setup_required");
    let wrong = json!({"name": "zoé", "password": "un mot de passe"});
    assert_eq!(rule(&server.post("/api/admin/login", wrong).await).0, "wrong_credentials");
    assert_eq!(rule(&server.get("/api/channels/autre/lives").await).0, "unknown_channel");
}
