//! One jeu whose journal is damaged, on the real cluster: the others go on, on every server, and a command mends it.

use bareme::cluster::chunk::{ChunkBuilder, FORMAT};
use bareme::domain::ballot::Entry;
use bareme::domain::jeu::JeuId;
use bareme::domain::live::LiveId;
use bareme::domain::viewer::ViewerId;
use bareme::store::cql::{CqlStore, CqlUrl};
use bareme::store::{ItemId, LaneId, Store as _, WriterId};
use bytes::Bytes;
use reqwest::Method;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{RUNTIME, drop_keyspace, url, whole};
use crate::harness::{Server, client, data_dir, eventually, run};
use crate::recount::jeu_of;
use crate::studio::Studio;
use crate::wire::{Page, now_us};

/// What stands in the place of a chunk.
const OTHER_BYTES: &[u8] = b"other bytes";

/// A chunk with one note: a score of the first critere, which begins at 1 and goes in steps of 1, and none of the second.
fn chunk(viewer: u8, score: u8) -> Bytes {
    let mut chunk = ChunkBuilder::new(0);
    assert!(chunk.push(ViewerId([viewer; 16]), Entry { version: now_us(), payload: &[1, score - 1, 0xFF] }));
    chunk.finish()
}

/// The journal of a server that died before it folded anything: three chunks, the second of which is written over.
async fn damaged_journal(url: &CqlUrl, session: &Session, item: ItemId) {
    let store = CqlStore::connect(url).await.unwrap();
    let lane = LaneId { writer: WriterId(Uuid::now_v7()), lane: 0 };
    for (seq, chunk) in [chunk(1, 1), chunk(2, 5), chunk(3, 3)].into_iter().enumerate() {
        store.append(item, lane, u64::try_from(seq).unwrap(), chunk).await.unwrap();
    }
    let over = format!(
        "INSERT INTO {}.journal (live_id, jeu_id, writer, lane, seg, seq, chunk) VALUES (?, ?, ?, 0, 0, 1, ?)",
        url.keyspace
    );
    let values = (item.live.0, i64::from(item.jeu.0), lane.writer.0, OTHER_BYTES);
    session.query_unpaged(over, values).await.unwrap();
    // Last: servers find it from here on.
    store.register_lane(item, lane, FORMAT).await.unwrap();
}

/// Writes over what is in `notes` and results: a row that is cut short, one that means nothing, and a result.
async fn damage_what_is_final(url: &CqlUrl, session: &Session, live: LiveId, jeux: &[u32]) {
    let notes =
        format!("INSERT INTO {}.notes (live_id, jeu_id, bucket, viewer, note) VALUES (?, ?, 0, ?, ?)", url.keyspace);
    let (cut_short, strange) = ([0_u8; 7].as_slice(), [0_u8, 0, 0, 0, 0, 0, 0, 1, 9, 9].as_slice());
    for (jeu, note) in [(jeux[0], cut_short), (jeux[1], strange)] {
        session.query_unpaged(notes.as_str(), (live.0, i64::from(jeu), [7_u8; 16].as_slice(), note)).await.unwrap();
    }
    let results = format!("INSERT INTO {}.results (live_id, jeu_id, epoch, body) VALUES (?, ?, 0, ?)", url.keyspace);
    session.query_unpaged(results, (live.0, i64::from(jeux[1]), OTHER_BYTES)).await.unwrap();
}

/// A page of a server that has heard that the first jeu cannot be read.
async fn told(server: &Server) -> Page {
    let mut page = Page::viewer(server, "max").await;
    let says = |heard: &Value| heard["t"] == "state" && heard["live"]["programme"][0]["unreadable"] == true;
    if !says(&page.state) {
        page.until("that one jeu cannot be read", says).await;
    }
    assert_eq!(page.state["live"]["programme"][1].get("unreadable"), None);
    page
}

#[test]
fn a_damaged_jeu_holds_up_no_other_one_on_any_server_and_is_repaired_beside_them() {
    let Some(url) = url() else { return };
    let _whole = whole();
    let url = CqlUrl { keyspace: format!("bareme_repair_{}", std::process::id()), ..url };
    let store = url.to_string();
    RUNTIME.block_on(async {
        CqlStore::migrate(&url, |_| {}).await.unwrap();
        let session = SessionBuilder::new().known_nodes(&url.nodes).build().await.unwrap();
        let (studio, dir) = (Studio::on_store(&store), data_dir());
        let command = ["serve", "--store", &store];
        let one = Server::start(&command, dir.path()).await;
        let (live, jeux) = studio.live(&one, "max", json!({}), "all").await;
        let mut first = Page::viewer(&one, "max").await;
        for jeu in &jeux {
            eventually("a vote is taken", async || {
                (first.noted(*jeu, json!({"fun": 2})).await["status"] == "ok").then_some(())
            })
            .await;
        }
        let item = ItemId { live: LiveId(live.parse().unwrap()), jeu: JeuId(jeux[0]) };
        damaged_journal(&url, &session, item).await;

        // The one that meets it while it runs, and one that starts on it.
        let mut pages = vec![told(&one).await];
        let other = Server::start(&command, dir.path()).await;
        pages.push(told(&other).await);
        for (page, server) in pages.iter_mut().zip([&one, &other]) {
            assert_eq!(page.vote(jeux[0], json!({"fun": 1})).await["status"], "retry_after");
            eventually("a vote on the other jeu is taken", async || {
                (page.noted(jeux[1], json!({"fun": 4})).await["status"] == "ok").then_some(())
            })
            .await;
            assert_eq!(server.metric("items_unreadable").await, 1.0);
            assert_eq!(client().get(server.ops_url("/readyz")).send().await.unwrap().status(), 200);
        }
        let drive = |action: String| format!("/api/admin/lives/{live}/{action}");
        let reopen = drive(format!("jeux/{}/open", jeux[0]));
        let (status, refused) = studio.request(&one, Method::POST, &reopen, &json!({})).await;
        assert_eq!((status, &refused["rule"]), (409, &json!("jeu_unreadable")), "{refused}");
        studio.post(&one, &drive("next".to_owned()), json!({"delay_ms": 0})).await;
        studio.post(&other, &drive("close".to_owned()), json!({"delay_ms": 0})).await;
        for server in [&one, &other] {
            let results = eventually("the other jeu is final", async || {
                let results = server.results(&live).await;
                (jeu_of(&results, jeux[1])["phase"] == "final").then_some(results)
            })
            .await;
            assert_eq!(jeu_of(&results, jeux[1])["voters"], 3);
            assert_ne!(jeu_of(&results, jeux[0])["phase"], "final");
        }

        let listed = run(&["repair", "--store", &store]);
        assert_eq!(listed.code, Some(1), "{}{}", listed.stdout, listed.stderr);
        assert!(listed.stdout.contains(&live) && listed.stdout.contains("chunk 1, 11 bytes: chunk is damaged"));
        assert_eq!(listed.stdout.lines().count(), 1, "{}", listed.stdout);
        assert!(listed.stderr.contains("take a snapshot"), "{}", listed.stderr);
        let mended = run(&["repair", "--set-aside", "--store", &store]);
        assert_eq!(mended.code, Some(0), "{}{}", mended.stdout, mended.stderr);
        for server in [&one, &other] {
            let results = eventually("the mended jeu is final", async || {
                let results = server.results(&live).await;
                (jeu_of(&results, jeux[0])["phase"] == "final").then_some(results)
            })
            .await;
            // 2 of the page, 1 and 3 of the dead server; not the 5 of the chunk that is gone.
            let result = jeu_of(&results, jeux[0]);
            assert_eq!((&result["voters"], &result["mean"]), (&json!(3), &json!(2.0)), "{result}");
            eventually("nothing is unreadable", async || {
                (server.metric("items_unreadable").await == 0.0).then_some(())
            })
            .await;
            assert_eq!(server.metric("tally_drift_total").await, 0.0);
        }
        assert!(one.said().matches("cannot follow another pod").count() <= 1, "{}", one.said());
        let kept = format!("SELECT chunk FROM {}.set_aside", url.keyspace);
        let kept = session.query_unpaged(kept, ()).await.unwrap().into_rows_result().unwrap();
        let kept: Vec<_> = kept.rows::<(Vec<u8>,)>().unwrap().map(|row| row.unwrap().0).collect();
        assert_eq!(kept, [OTHER_BYTES]);
        assert_eq!(run(&["repair", "--store", &store]).code, Some(0));
        one.stop().await;
        other.stop().await;
        damage_what_is_final(&url, &session, item.live, &jeux).await;
        let listed = run(&["repair", "--set-aside", "--store", &store]);
        assert_eq!(listed.code, Some(1), "{}{}", listed.stdout, listed.stderr);
        for (line, (jeu, what)) in listed.stdout.lines().zip([
            (jeux[0], "notes: cql store: a note of another layout"),
            (jeux[1], "notes, 2 bytes: an entry of viewer 07070707070707070707070707070707"),
            (jeux[1], "cql store: result of "),
        ]) {
            assert!(line.contains(&format!("live {live} jeu {jeu} (")) && line.contains(what), "{}", listed.stdout);
        }
        assert_eq!(listed.stdout.lines().count(), 3, "{}", listed.stdout);
        assert!(listed.stderr.contains("restore these lives from their dumps"), "{}", listed.stderr);
        drop_keyspace(&store).await;
    });
}
