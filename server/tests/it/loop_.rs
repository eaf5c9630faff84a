//! The loop this program began with: ten thousand `curl`, each an anonymous viewer.

use std::process::Command;

use serde_json::json;

use crate::harness::{Server, client, data_dir};
use crate::recount::{by_sql, jeu_of, rows_for_people, shown};

const VOTES: usize = 10_000;

/// As it was written, word for word but for the port.
fn curl(port: u16) {
    let command = format!("curl -X POST http://localhost:{port}/api/note -d 'jeu_id=2&fun=4&graph=3&durée=5'");
    let output = Command::new("sh").args(["-c", &format!("{command} --silent --show-error --fail")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let reply: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reply["status"], "ok", "{reply}");
}

/// `curls` processes, and the rest of the ten thousand over kept connections with the same bytes.
async fn loop_with(curls: usize) {
    let dir = data_dir();
    let server = Server::demo(dir.path()).await;
    let (_, live) = server.open_live().await;
    let port = server.port();
    let started = std::time::Instant::now();
    let processes: Vec<_> = [curls / 2, curls - curls / 2]
        .map(|count| tokio::task::spawn_blocking(move || (0..count).for_each(|_| curl(port))))
        .into();
    for process in processes {
        process.await.unwrap();
    }
    println!("{curls} curl processes: {:?}", started.elapsed());
    let started = std::time::Instant::now();
    let client = client();
    let mut lanes = Vec::new();
    for lane in 0..8 {
        let (client, url) = (client.clone(), server.url("/api/note"));
        let count = (VOTES - curls) / 8 + usize::from(lane < (VOTES - curls) % 8);
        lanes.push(tokio::spawn(async move {
            for _ in 0..count {
                let request = client.post(&url).header("Content-Type", "application/x-www-form-urlencoded");
                let response = request.body("jeu_id=2&fun=4&graph=3&durée=5").send().await.unwrap();
                assert_eq!(response.status(), 200);
                let reply: serde_json::Value = response.json().await.unwrap();
                assert_eq!(reply["status"], "ok", "{reply}");
            }
        }));
    }
    for lane in lanes {
        lane.await.unwrap();
    }
    println!("{} requests over kept connections: {:?}", VOTES - curls, started.elapsed());
    let results = server.results(&live).await;
    let jeu = jeu_of(&results, 2);
    assert_eq!((&jeu["voters"], &jeu["mean"]), (&json!(VOTES), &json!(4.0)));
    let expected = [("fun", 4.0, 3), ("graph", 3.0, 2), ("duree", 5.0, 4)];
    for (key, mean, step) in expected {
        let critere = jeu["criteres"].as_array().unwrap().iter().find(|critere| critere["key"] == key).unwrap();
        let mut histogram = [0; 5];
        histogram[step] = VOTES;
        assert_eq!(critere, &json!({"key": key, "count": VOTES, "mean": mean, "histogram": histogram}));
    }
    assert_eq!(jeu_of(&results, 1)["voters"], 0);
    assert_eq!(server.complaints(), Vec::<String>::new());
    server.stop().await;
    assert_eq!(by_sql(dir.path(), &live, 2, 5, 5), shown(&results, 2));
    assert_eq!(rows_for_people(dir.path(), &live, 2), VOTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_anonymous_votes_as_the_loop_sends_them_are_ten_thousand_voters() {
    loop_with(300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "ten thousand processes take minutes; run with --ignored"]
async fn the_loop_with_a_process_for_each_of_its_ten_thousand_votes() {
    loop_with(VOTES).await;
}
