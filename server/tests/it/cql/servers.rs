//! Two real servers on the real cluster.

use bareme::store::cql::{CqlStore, CqlUrl};
use serde_json::{Value, json};

use super::{RUNTIME, url, whole};
use crate::harness::{Server, data_dir, eventually};
use crate::recount::jeu_of;
use crate::studio::Studio;
use crate::wire::Page;

/// Votes until the server that was asked has found its feet: a jeu that was just opened takes votes half a second later.
async fn vote(page: &mut Page, jeu: u32, scores: &Value) {
    eventually("a vote is taken", async || (page.noted(jeu, scores.clone()).await["status"] == "ok").then_some(()))
        .await;
}

async fn voters(server: &Server, live: &str, jeu: u32) -> u64 {
    jeu_of(&server.results(live).await, jeu)["voters"].as_u64().unwrap()
}

#[test]
fn two_servers_show_each_others_votes_and_agree_on_results_whichever_closes() {
    let Some(url) = url() else { return };
    let _whole = whole();
    // No live of an earlier run is on air there.
    let url = CqlUrl { keyspace: format!("bareme_servers_{}", std::process::id()), ..url };
    let store = url.to_string();
    RUNTIME.block_on(async {
        CqlStore::migrate(&url, |_| {}).await.unwrap();
        let studio = Studio::on_store(&store);
        let dir = data_dir();
        let command = ["serve", "--store", &store];
        let (one, other) = (Server::start(&command, dir.path()).await, Server::start(&command, dir.path()).await);
        let (live, jeux) = studio.live(&one, "deux", json!({}), "all").await;
        eventually("the live is on air on both", async || {
            let lives = other.get("/api/lives").await;
            (lives.as_array().unwrap().len() == 1).then_some(())
        })
        .await;

        let mut viewers = Vec::new();
        for number in 0..10_u64 {
            let server = if number % 2 == 0 { &one } else { &other };
            let mut page = Page::viewer(server, "deux").await;
            for jeu in &jeux {
                vote(&mut page, *jeu, &json!({"fun": 1 + number % 5, "graph": 2.5})).await;
            }
            viewers.push(page);
        }
        for server in [&one, &other] {
            for jeu in &jeux {
                eventually("everybody is shown", async || (voters(server, &live, *jeu).await == 10).then_some(()))
                    .await;
            }
        }
        let close = async |server: &Server, jeu: u32| {
            let path = format!("/api/admin/lives/{live}/jeux/{jeu}/close");
            studio.post(server, &path, json!({"delay_ms": 0})).await;
        };
        close(&one, jeux[0]).await;
        close(&other, jeux[1]).await;
        let mut results = Vec::new();
        for server in [&one, &other] {
            for jeu in &jeux {
                let result = eventually("final", async || {
                    let results = server.results(&live).await;
                    let jeu = jeu_of(&results, *jeu);
                    (jeu["phase"] == "final").then(|| jeu.clone())
                });
                results.push(result.await);
            }
        }
        for (mine, others) in [(0, 2), (1, 3)] {
            for field in ["voters", "mean", "criteres", "epoch"] {
                assert_eq!(results[mine][field], results[others][field]);
            }
            assert_eq!(results[mine]["voters"], 10);
            assert_eq!(results[mine]["criteres"][0]["histogram"], json!([2, 2, 2, 2, 2]));
        }
        for server in [one, other] {
            assert_eq!(server.metric("tally_drift_total").await, 0.0);
            assert!(server.metric("cql_nodes{state=\"connected\"}").await >= 3.0);
            server.stop().await;
        }
    });
}
