//! What a server says is of no importance to what it does: standard output and standard error that cannot be written, whose
//! reader is gone, or does not read.

use std::fs::OpenOptions;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Server, client, data_dir, eventually, free_port};
use crate::studio::Studio;
use crate::wire::Page;

/// A live from its first vote to its end, on a server that says everything and cannot get rid of it.
async fn a_live_goes_through(mut server: Server, studio: &Studio) {
    server.ready().await;
    let (live, jeux) = studio.live(&server, "max", json!({}), "first").await;
    let drive = |action: String| format!("/api/admin/lives/{live}/{action}");
    let mut viewer = Page::viewer(&server, "max").await;
    assert_eq!(viewer.vote(jeux[0], json!({"fun": 5})).await["status"], "ok");
    // Until the queue of lines is full, too.
    eventually("a line is lost", async || {
        let _answered = client().get(server.url("/api/lives")).send().await.unwrap();
        (server.metric("log_lines_lost_total").await > 0.0).then_some(())
    })
    .await;
    studio.post(&server, &drive("next".to_owned()), json!({"delay_ms": 0})).await;
    assert_eq!(viewer.vote(jeux[1], json!({"fun": 4})).await["status"], "ok");
    studio.post(&server, &drive(format!("jeux/{}/close", jeux[1])), json!({"delay_ms": 0})).await;
    studio.post(&server, &drive(format!("jeux/{}/reopen", jeux[1])), json!({})).await;
    assert_eq!(viewer.vote(jeux[1], json!({"fun": 3})).await["status"], "ok");
    studio.post(&server, &drive("close".to_owned()), json!({"delay_ms": 0})).await;
    let results = eventually("both jeux are final", async || {
        let results = server.results(&live).await;
        let is_final = |jeu: &Value| jeu["phase"] == "final";
        results["jeux"].as_array().unwrap().iter().all(is_final).then_some(results)
    })
    .await;
    assert_eq!((&results["jeux"][0]["mean"], &results["jeux"][1]["mean"]), (&json!(5.0), &json!(3.0)), "{results}");
    assert_eq!((server.metric("panics_total").await, server.metric("tally_drift_total").await), (0.0, 0.0));
    assert_eq!(client().get(server.ops_url("/readyz")).send().await.unwrap().status(), 200);
    server.stop().await;
}

const SERVE: [&str; 3] = ["serve", "--log", "trace"];

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_under_both_streams_stops_nothing() {
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::spawn_saying(&SERVE, dir.path(), free_port(), full(), full());
    a_live_goes_through(server, &studio).await;
}

#[tokio::test]
async fn readers_that_went_away_stop_nothing() {
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::spawn_saying(&SERVE, dir.path(), free_port(), gone(), gone());
    a_live_goes_through(server, &studio).await;
}

#[tokio::test]
async fn readers_that_do_not_read_stop_nothing() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let ((out_reader, out), (err_reader, err)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let server = Server::spawn_saying(&SERVE, dir.path(), free_port(), Stdio::from(out), Stdio::from(err));
    a_live_goes_through(server, &studio).await;
    drop((out_reader, err_reader));
}

#[tokio::test]
async fn the_last_lines_of_a_server_are_written_before_it_ends() {
    let dir = data_dir();
    let mut server = Server::start(&["serve"], dir.path()).await;
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    eventually("its last line", async || server.said().contains("stopped").then_some(())).await;
    assert!(server.said().contains("/admin#setup="), "what is meant for people is among the lines");
}
