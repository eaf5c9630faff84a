//! What a page needs to draw the results of a live, and to compare lives.

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{Server, read};
use crate::harness::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn results_carry_the_scale_the_criteres_and_the_histograms() {
    let server = Server::start().await;
    let live = server.on_air("max").await;
    for fun in [5, 4, 4] {
        assert_eq!(server.json(&json!({"jeu_id": 1, "fun": fun})).await.0, 200);
    }
    let (_, results) = server.get(&format!("/api/lives/{live}/results")).await;
    assert_eq!(
        (&results["title"], &results["channel"], &results["status"]),
        (&json!("Soirée"), &json!("max"), &json!("open"))
    );
    assert!(results["opened_at_us"].is_u64() && results["closed_at_us"].is_null(), "{results}");
    assert_eq!(results["scale"], json!({"min": 1, "max": 5}));
    let critere = &results["criteres"][0];
    assert_eq!((&critere["key"], &critere["labels"]["fr"]), (&json!("fun"), &json!("Fun")));
    assert_eq!((&critere["min"], &critere["max"], &critere["step"]), (&json!(1), &json!(5), &json!(1)));
    assert_eq!(results["jeux"][0]["criteres"][0]["histogram"], json!([0, 0, 0, 2, 1]));
    assert_eq!(results["jeux"][0].get("unavailable"), None);
    assert_eq!(server.post(&format!("/api/admin/lives/{live}/close"), json!({"delay_ms": 0})).await.0, 200);
    let (_, results) = server.get(&format!("/api/lives/{live}/results")).await;
    assert!(results["closed_at_us"].as_u64() >= results["opened_at_us"].as_u64(), "{results}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lives_of_a_channel_can_be_compared_page_by_page_by_anybody() {
    let server = Server::start().await;
    let first = server.draft("max").await;
    let (_, baremes) = server.get("/api/admin/channels/max/baremes").await;
    let mut lives = vec![first];
    for _ in 0..3 {
        lives.push(server.another_draft("max", &baremes[0]["bareme_id"]).await);
    }
    for live in &lives[..3] {
        assert_eq!(server.post(&format!("/api/admin/lives/{live}/open"), json!({"open_jeux": "all"})).await.0, 200);
        for (jeu, fun) in [(1, 5), (1, 3), (2, 2)] {
            let body = json!({"live_id": live, "jeu_id": jeu, "fun": fun});
            assert_eq!(server.json(&body).await.0, 200);
        }
        if *live != lives[2] {
            assert_eq!(server.post(&format!("/api/admin/lives/{live}/close"), json!({"delay_ms": 0})).await.0, 200);
        }
    }
    let anybody = async |query: &str| {
        let url = format!("{}/api/channels/max/lives{query}", server.base);
        read(server.client.get(url).send().await.unwrap()).await.1
    };
    // An item answers first and publishes its numbers then.
    let all = eventually("the last vote is in the numbers", async || {
        let all = anybody("").await;
        (all["lives"][0]["votes"] == 3).then_some(all)
    });
    let all = all.await;
    let ids: Vec<_> = all["lives"].as_array().unwrap().iter().map(|live| live["live_id"].clone()).collect();
    assert_eq!(
        ids,
        [&lives[2], &lives[1], &lives[0]].map(|id| json!(id)),
        "newest first, drafts are nobody's business"
    );
    assert_eq!(all["next"], Value::Null);
    let newest = &all["lives"][0];
    assert_eq!(
        (&newest["status"], &newest["jeux"], &newest["scale"]),
        (&json!("open"), &json!(3), &json!({"min": 1, "max": 5}))
    );
    assert_eq!((&newest["votes"], &newest["voters"], &newest["mean"]), (&json!(3), &json!(2), &json!(3.0)), "{all}");
    assert!(all["lives"][1]["closed_at_us"].is_u64() && newest["closed_at_us"].is_null());
    let page = anybody("?limit=2").await;
    assert_eq!((page["lives"].as_array().unwrap().len(), &page["next"]), (2, &json!(lives[1])));
    let page = anybody(&format!("?limit=2&before={}", lives[1])).await;
    assert_eq!((&page["lives"][0]["live_id"], page["lives"].as_array().unwrap().len()), (&json!(lives[0]), 1));
    assert_eq!(page["next"], Value::Null);
    for wrong in ["?limit=0", "?limit=21", "?limit=x", "?other=1"] {
        assert_eq!(server.call(Method::GET, &format!("/api/channels/max/lives{wrong}"), None).await.0, 422, "{wrong}");
    }
    assert_eq!(server.get("/api/channels/max/lives?before=x").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_read_by_those_who_may_make_it_and_to_everybody_else_it_is_not_there() {
    let server = Server::start().await;
    let live = server.draft("max").await;
    for path in [
        format!("/api/lives/{live}/results"),
        format!("/api/lives/{live}/results.csv"),
        format!("/api/lives/{live}/notes"),
    ] {
        let answer = read(server.client.get(format!("{}{path}", server.base)).send().await.unwrap()).await;
        assert!(matches!(answer.0, 401 | 404), "{path}: {answer:?}");
        assert!(!answer.1.to_string().contains("Soirée"), "{path}: {answer:?}");
    }
    let page = server.client.get(format!("{}/max/{live}", server.base)).send().await.unwrap();
    assert_eq!(page.status(), 404);
    assert_eq!(server.get(&format!("/api/lives/{live}/results")).await.0, 200, "its streamer reads it");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_anybody_sees_have_a_tag_and_those_of_an_admin_are_kept_nowhere() {
    let server = Server::start().await;
    let live = server.on_air("max").await;
    assert_eq!(server.json(&json!({"jeu_id": 1, "fun": 5})).await.0, 200);
    let anybody = async |path: &str, tag: &str| {
        let request = server.client.get(format!("{}{path}", server.base)).header("If-None-Match", tag);
        request.send().await.unwrap()
    };
    let header = |response: &reqwest::Response, name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let paths = [
        format!("/api/lives/{live}/results"),
        format!("/api/lives/{live}/results.csv"),
        "/api/channels/max/lives".to_owned(),
    ];
    // An item answers first and publishes its numbers then.
    eventually("the vote is in the numbers", async || {
        let results = server.get(&paths[0]).await.1;
        (results["jeux"][0]["voters"] == 1).then_some(())
    })
    .await;
    let mut tags = Vec::new();
    for path in &paths {
        let first = anybody(path, "\"none\"").await;
        assert_eq!(first.status(), 200);
        let tag = header(&first, "etag");
        assert_eq!(header(&first, "cache-control"), "public, no-cache", "{path}: whoever votes finds the vote");
        assert!(header(&first, "vary").contains("Authorization"), "{path}");
        let second = anybody(path, &tag).await;
        assert_eq!((second.status().as_u16(), header(&second, "etag")), (304, tag.clone()), "{path}");
        assert_eq!(second.text().await.unwrap(), "");
        tags.push(tag);
    }
    assert_eq!(server.json(&json!({"jeu_id": 1, "fun": 1})).await.0, 200);
    for (path, tag) in paths.iter().zip(&tags) {
        eventually("another tag", async || (anybody(path, tag).await.status() == 200).then_some(())).await;
        let url = format!("{}{path}", server.base);
        let admin =
            server.client.get(url).bearer_auth(&server.token).header("If-None-Match", tag).send().await.unwrap();
        assert_eq!((admin.status().as_u16(), header(&admin, "etag")), (200, String::new()), "{path}");
        assert_eq!(header(&admin, "cache-control"), "private, no-store");
    }
    assert_eq!(server.post(&format!("/api/admin/lives/{live}/close"), json!({"delay_ms": 0})).await.0, 200);
    for path in &paths {
        assert_eq!(header(&anybody(path, "\"none\"").await, "cache-control"), "public, max-age=2", "{path}");
    }
}
