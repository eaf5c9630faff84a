//! One jeu whose journal is damaged: it alone says so, everything else goes on, and a command mends it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Server, client, data_dir, database, eventually, run};
use crate::studio::Studio;
use crate::wire::Page;

#[tokio::test]
async fn a_damaged_jeu_holds_up_neither_the_live_nor_anybodys_notes_and_is_repaired_beside_the_server() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::start(&["serve"], dir.path()).await;
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    let mut first = Page::viewer(&server, "max").await;
    let mut second = Page::viewer(&server, "max").await;
    for page in [&mut first, &mut second] {
        assert_eq!(page.vote(jeux[0], json!({"fun": 2})).await["status"], "ok");
        assert_eq!(page.vote(jeux[1], json!({"fun": 4})).await["status"], "ok");
    }
    let token = first.token.clone().unwrap();
    server.kill();
    // As if nothing had been folded yet, so that the journal is read, and its last chunk damaged.
    let connection = rusqlite::Connection::open(database(dir.path())).unwrap();
    let lanes = "SELECT lane FROM lanes JOIN items USING (item) WHERE jeu_id = ?1";
    let lane: i64 = connection.query_row(lanes, [jeux[0]], |row| row.get(0)).unwrap();
    connection.execute("UPDATE lanes SET materialised = 0 WHERE lane = ?1", [lane]).unwrap();
    connection.execute("DELETE FROM notes", []).unwrap();
    connection.execute("UPDATE lanes SET materialised = 0", []).unwrap();
    let damaged = "UPDATE journal SET chunk = x'00' WHERE id = (SELECT max(id) FROM journal WHERE id >> 36 = ?1)";
    assert_eq!(connection.execute(damaged, [lane]).unwrap(), 1);
    drop(connection);

    let server = Server::start(&["serve"], dir.path()).await;
    let mut third = Page::viewer(&server, "max").await;
    let says = |heard: &Value| heard["t"] == "state" && heard["live"]["programme"][0]["unreadable"] == true;
    if !says(&third.state) {
        third.until("that one jeu cannot be read", says).await;
    }
    assert_eq!(third.state["live"]["programme"][1].get("unreadable"), None);
    assert_eq!(third.vote(jeux[0], json!({"fun": 1})).await["status"], "retry_after");
    assert_eq!(third.vote(jeux[1], json!({"fun": 4})).await["status"], "ok");
    // Everybody's own notes of the other jeu are there.
    let cookie = format!("bareme_viewer={token}");
    let mut again = Page::open(&server, "/ws/max", &[("cookie", &cookie)]).await.unwrap();
    again.until("its own note", |heard| heard["t"] == "mine" && heard["jeu"] == jeux[1]).await;
    let drive = |action: String| format!("/api/admin/lives/{live}/{action}");
    let (status, refused) =
        studio.request(&server, Method::POST, &drive(format!("jeux/{}/open", jeux[0])), &json!({})).await;
    assert_eq!((status, &refused["rule"]), (409, &json!("jeu_unreadable")), "{refused}");
    studio.post(&server, &drive("next".to_owned()), json!({"delay_ms": 0})).await;
    studio.post(&server, &drive("close".to_owned()), json!({"delay_ms": 0})).await;
    eventually("the other jeu is final", async || {
        (server.results(&live).await["jeux"][1]["phase"] == "final").then_some(())
    })
    .await;
    assert_eq!(server.results(&live).await["jeux"][1]["voters"], 3);
    assert_eq!(server.metric("items_unreadable").await, 1.0);
    assert_eq!(client().get(server.ops_url("/readyz")).send().await.unwrap().status(), 200);

    let place = ["--data-dir", dir.path().to_str().unwrap()];
    let listed = run(&[&["repair"][..], &place].concat());
    assert_eq!(listed.code, Some(1), "{}{}", listed.stdout, listed.stderr);
    assert!(listed.stdout.contains(&live) && listed.stdout.contains("chunk is damaged"), "{}", listed.stdout);
    let mended = run(&[&["repair", "--set-aside"][..], &place].concat());
    assert_eq!(mended.code, Some(0), "{}{}", mended.stdout, mended.stderr);
    let results = eventually("the mended jeu is final", async || {
        let results = server.results(&live).await;
        (results["jeux"][0]["phase"] == "final").then_some(results)
    })
    .await;
    assert_eq!((&results["jeux"][0]["voters"], &results["jeux"][0]["mean"]), (&json!(1), &json!(2.0)), "{results}");
    assert_eq!((server.metric("items_unreadable").await, server.metric("tally_drift_total").await), (0.0, 0.0));
    let connection = rusqlite::Connection::open(database(dir.path())).unwrap();
    let kept: i64 = connection.query_row("SELECT count(*) FROM set_aside", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
    drop(connection);
    server.stop().await;
    assert_eq!(run(&[&["repair"][..], &place].concat()).code, Some(0));

    // Of what is final, rows of notes and results are listed, and stay.
    let connection = rusqlite::Connection::open(database(dir.path())).unwrap();
    let notes = "UPDATE notes SET payload = x'0909' WHERE item = (SELECT item FROM items WHERE jeu_id = ?1)";
    assert_eq!(connection.execute(notes, [jeux[1]]).unwrap(), 3);
    assert_eq!(connection.execute("UPDATE results SET body = x'7b7d' WHERE jeu_id = ?1", [jeux[0]]).unwrap(), 1);
    drop(connection);
    let listed = run(&[&["repair", "--set-aside"][..], &place].concat());
    assert_eq!(listed.code, Some(1), "{}{}", listed.stdout, listed.stderr);
    let lines = |jeu: u32, what: &str| {
        let begins = format!("live {live} jeu {jeu} (");
        listed.stdout.lines().filter(|line| line.starts_with(&begins) && line.contains(what)).count()
    };
    assert_eq!((lines(jeux[0], "result of "), lines(jeux[1], "notes, 2 bytes: an entry of viewer ")), (1, 3));
    assert_eq!(listed.stdout.lines().count(), 4, "{}", listed.stdout);
    assert!(listed.stderr.contains("restore these lives from their dumps"), "{}", listed.stderr);
    let connection = rusqlite::Connection::open(database(dir.path())).unwrap();
    let left = "SELECT (SELECT count(*) FROM notes WHERE payload = x'0909') + (SELECT count(*) FROM results)";
    assert_eq!(connection.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap(), 5);
}
