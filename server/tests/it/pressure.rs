//! Sockets that read too little or say too much, a server that stops, and what its metrics say of it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::harness::{PATIENCE, Server, data_dir, eventually};
use crate::studio::Studio;
use crate::wire::{Page, Raw, frame};

async fn demo(dir: &tempfile::TempDir) -> (Server, String) {
    let server = Server::demo_of(module_path!(), dir.path()).await;
    let (channel, _) = server.open_live().await;
    (server, channel)
}

/// Whether the server's side of a client's connection still exists, whatever the client did not read.
fn is_connected(server: &Server, client_port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let (local, remote) = (format!(":{:04X}", server.port()), format!(":{client_port:04X}"));
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // State 01: established. Sockets that nobody holds any more linger in other states.
        fields.len() > 9 && fields[1].ends_with(&local) && fields[2].ends_with(&remote) && fields[3] == "01"
    })
}

#[tokio::test]
async fn a_reader_that_does_not_read_delays_nobody_and_is_given_up() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    // As much as it likes: what it does not read are the answers to its pings.
    let server = Server::patient_demo_of(module_path!(), dir.path()).await;
    let (channel, _) = server.open_live().await;
    let mut slow = Raw::upgrade(&server, &format!("/ws/{channel}"), true).await;
    let slow_port = slow.stream.local_addr().unwrap().port();
    let mut voter = Page::viewer(&server, &channel).await;
    let mut watcher = Page::viewer(&server, &channel).await;
    let (_, live) = server.open_live().await;
    // Pongs that nobody reads fill what the system holds for a connection; from then on every frame waits.
    let pings = frame(true, 9, &[b'x'; 125]).repeat(500);
    // It goes on for as long as the server lets it, so that there is no moment in which it is not full.
    let filling = tokio::spawn(async move {
        while slow.stream.write_all(&pings).await.is_ok() {}
        slow
    });
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut votes = 0_u32;
    // Big frames, too: every title is in the state.
    while is_connected(&server, slow_port) {
        assert!(began.elapsed() < 6 * PATIENCE, "the slow reader is still there");
        let title = format!("{votes} {}", "très ".repeat(30));
        let path = format!("/api/admin/lives/{live}");
        studio.request(&server, reqwest::Method::PATCH, &path, &json!({"title": title})).await;
        let started = Instant::now();
        assert_eq!(voter.vote(1, json!({"fun": votes % 5 + 1})).await["status"], "ok");
        let shown = f64::from(votes % 5 + 1);
        watcher.until("the vote", |heard| heard["t"] == "tally" && heard["mean"] == shown).await;
        slowest = slowest.max(started.elapsed());
        votes += 1;
    }
    println!("given up after {:?}; {votes} votes meanwhile, the slowest shown after {slowest:?}", began.elapsed());
    // Whoever waits for it waits to its end, 10 s and more, and is shown one vote.
    assert!(votes > 3, "the others went on: {votes}");
    eventually("its place is free", async || (server.metric("ws_active_connections").await == 2.0).then_some(())).await;
    drop(filling.await.unwrap());
    assert!(server.metric("ws_closed_total{code=\"4000\"}").await >= 1.0);
}

#[tokio::test]
async fn a_page_hears_nothing_while_nothing_changes_and_ten_times_a_second_while_much_does() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let (server, channel) = demo(&dir).await;
    let (_, live) = server.open_live().await;
    let mut watcher = Page::viewer(&server, &channel).await;
    let mut voters = Vec::new();
    for _ in 0..10 {
        voters.push(Page::viewer(&server, &channel).await);
    }
    studio.fence(&server, &live, &mut [&mut watcher]).await;
    let quiet = watcher.log.len();
    watcher.listen(Duration::from_secs(1)).await;
    studio.fence(&server, &live, &mut [&mut watcher]).await;
    assert_eq!(watcher.log.len(), quiet + 2, "what the fences change, and nothing else: {:?}", watcher.log);

    let (is_over, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let voting = tokio::spawn({
        let is_over = Arc::clone(&is_over);
        async move {
            let mut accepted = 0;
            while !is_over.load(Ordering::Relaxed) {
                let mut pause_ms = 0;
                for page in &mut voters {
                    let reply = page.vote(1, json!({"fun": rand::random_range(1..=5)})).await;
                    accepted += usize::from(reply["status"] == "ok");
                    pause_ms = pause_ms.max(reply["retry_after_ms"].as_u64().unwrap_or(0));
                }
                // As a page does: whoever goes on regardless is closed as a flood.
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
            accepted
        }
    });
    for frame in 0..10 {
        watcher.until(&format!("frame {frame}"), |heard| heard["t"] == "tally" && heard["jeu"] == 1).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let accepted = voting.await.unwrap();
    studio.fence(&server, &live, &mut [&mut watcher]).await;
    let took = began.elapsed();
    let frames = watcher.log[quiet + 2..].iter().filter(|(_, text)| text.contains("\"t\":\"tally\"")).count();
    println!("{frames} frames of {accepted} votes in {took:?}");
    // One at once, and then at most one in each tenth of a second, whenever the machine lets this page hear of it.
    let most = 1 + usize::try_from(took.as_millis() / 100).unwrap();
    assert!((10..=most).contains(&frames), "{frames} frames in {took:?}");
}

#[tokio::test]
async fn a_socket_above_its_rate_is_told_to_wait_and_one_that_does_not_is_closed() {
    let dir = data_dir();
    let (server, channel) = demo(&dir).await;
    let mut page = Page::viewer(&server, &channel).await;
    let mut other = Page::viewer(&server, &channel).await;
    let note = page.note(1, json!({"fun": 3}));
    for _ in 0..100 {
        page.say(&note).await;
    }
    let mut replies = Vec::new();
    while replies.len() < 100 {
        replies.push(page.until("a reply", |heard| heard["t"] == "reply").await);
    }
    let count = |status: &str| replies.iter().filter(|reply| reply["status"] == status).count();
    println!("of 100 at once: {} ok, {} too_fast", count("ok"), count("too_fast"));
    assert!(count("ok") >= 20 && count("too_fast") >= 20, "{}", replies.len());
    assert_eq!(count("ok") + count("too_fast"), 100, "each message has one reply");
    let wait = replies.iter().find(|reply| reply["status"] == "too_fast").unwrap();
    assert_eq!((&wait["jeu"], &wait["v"]), (&note["jeu"], &note["v"]), "it says which note has to wait");
    // After waiting as told, there is room.
    let wait_ms = wait["retry_after_ms"].as_u64().unwrap();
    tokio::time::sleep(Duration::from_millis(wait_ms * 2)).await;
    assert_eq!(page.ask(&note).await["status"], "ok");

    let flood = tokio::time::timeout(PATIENCE, async {
        while page.try_say(&note).await {
            if let Some(crate::wire::Heard::End(code)) = page.hear_within(Duration::from_micros(10)).await {
                return code;
            }
        }
        page.end().await
    });
    assert_eq!(flood.await.expect("the flood ends"), Some(4029));
    assert_eq!(other.vote(1, json!({"fun": 5})).await["status"], "ok");
    assert_eq!(other.tally(1, 2).await["mean"], 4.0);
}

#[tokio::test]
async fn who_knocks_while_a_server_ends_does_not_meet_a_worker_that_has_ended() {
    let dir = data_dir();
    // Without a pause before the end, one stop in eight met one.
    for round in 0..12 {
        let mut server = Server::serve_of(module_path!(), dir.path()).await;
        let (port, is_over) = (server.port(), Arc::new(AtomicBool::new(false)));
        let knocking = [(); 2].map(|()| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                let mut served = 0;
                while !is_over.load(Ordering::Relaxed) {
                    served += u32::from(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
                }
                served
            })
        });
        server.terminate();
        let (code, complaints) =
            tokio::task::spawn_blocking(move || (server.exit_code(), server.complaints())).await.unwrap();
        is_over.store(true, Ordering::Relaxed);
        assert!(knocking.into_iter().all(|knocking| knocking.join().unwrap() > 0), "round {round}");
        assert_eq!((code, complaints), (Some(0), Vec::new()), "round {round}");
    }
}

#[tokio::test]
async fn a_server_that_stops_answers_what_it_owes_and_says_goodbye_to_everybody() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let (mut server, channel) = demo(&dir).await;
    let (_, live) = server.open_live().await;
    let (_, key) = studio.overlay_key(&server, &channel).await;
    let mut pages = Vec::new();
    for _ in 0..30 {
        pages.push(Page::viewer(&server, &channel).await);
    }
    pages.push(Page::open(&server, &format!("/ws/{channel}?role=overlay&key={key}"), &[]).await.unwrap());
    let viewers = pages.len() - 1;
    for page in &mut pages[..viewers] {
        let note = page.note(2, json!({"fun": 4}));
        page.say(&note).await;
    }
    server.terminate();
    let mut acknowledged = 0_u64;
    for (index, page) in pages.iter_mut().enumerate() {
        let mut replies = 0;
        let code = loop {
            match page.hear().await {
                crate::wire::Heard::Message(message, _) if message["t"] == "reply" => {
                    replies += 1;
                    acknowledged += u64::from(message["status"] == "ok");
                }
                crate::wire::Heard::Message(..) => {}
                crate::wire::Heard::End(code) => break code,
            }
        };
        assert_eq!(code, Some(1012), "page {index}");
        assert!(replies <= 1);
    }
    assert_eq!(server.exit_code(), Some(0), "{}", server.said());
    assert_eq!(server.complaints(), Vec::<String>::new());
    println!("{acknowledged} of {viewers} notes were acknowledged while stopping");
    let counted = crate::recount::by_sql(dir.path(), &live, 2, 5, 5);
    assert!(counted["voters"].as_u64().unwrap() >= acknowledged, "{counted}");
    // The next one goes on with the same live, and the same numbers.
    let server = Server::demo_of(module_path!(), dir.path()).await;
    assert_eq!(server.open_live().await, (channel, live.clone()));
    assert_eq!(crate::recount::shown(&server.results(&live).await, 2), counted);
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let (server, channel) = demo(&dir).await;
    let names = [
        "ws_active_connections",
        "notes_accepted_total",
        "notes_refused_total",
        "note_ack_seconds",
        "frames_sent_total",
        "store_commit_seconds",
        "tally_drift_total",
    ];
    let text = crate::harness::client().get(server.ops_url("/metrics")).send().await.unwrap().text().await.unwrap();
    for name in names {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} has a type: {text}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has a help text");
    }
    assert!(
        text.contains("# TYPE note_ack_seconds histogram") && text.contains("# TYPE store_commit_seconds histogram")
    );
    assert!(!text.contains("quantile="), "buckets, which can be added up, and no quantiles");

    let mut page = Page::viewer(&server, &channel).await;
    let mut other = Page::viewer(&server, &channel).await;
    let old = page.note(1, json!({"fun": 2}));
    for fun in 1..=5 {
        assert_eq!(page.vote(1, json!({"fun": fun})).await["status"], "ok");
    }
    assert_eq!(other.vote(2, json!({"fun": 5})).await["status"], "ok");
    assert_eq!(page.ask(&old).await["status"], "stale");
    assert_eq!(page.vote(1, json!({"fun": 9})).await["status"], "invalid");
    page.say(&json!({"t": "dance"})).await;
    page.until("a reply", |heard| heard["t"] == "reply").await;
    assert_eq!(server.metric("notes_accepted_total").await, 6.0);
    assert_eq!(server.metric("notes_refused_total{reason=\"stale\"}").await, 1.0);
    assert_eq!(server.metric("notes_refused_total{reason=\"invalid\"}").await, 2.0);
    assert_eq!(server.metric("notes_refused_total{reason=\"closed\"}").await, 0.0);
    assert_eq!(server.metric("note_ack_seconds_count").await, 6.0);
    assert_eq!(server.metric("ws_active_connections").await, 2.0);
    assert!(server.metric("http_requests_total{class=\"2xx\"}").await >= 1.0);
    let text = crate::harness::client().get(server.ops_url("/metrics")).send().await.unwrap().text().await.unwrap();
    let nameless: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| !text.contains(&format!("# HELP {name} ")))
        .collect();
    assert_eq!(nameless, [""; 0], "every metric has a help text");
    assert_eq!(server.metric("tally_drift_total").await, 0.0);
    assert!(server.metric("store_commit_seconds_count").await >= 1.0);
    let (_, live) = server.open_live().await;
    studio.fence(&server, &live, &mut [&mut page, &mut other]).await;
    #[expect(clippy::cast_precision_loss, reason = "a few frames")]
    let heard = (page.log.len() + other.log.len()) as f64;
    // It is counted after it was sent.
    eventually("each frame that was sent was heard", async || {
        (server.metric("frames_sent_total").await == heard).then_some(())
    })
    .await;
    drop(page);
    eventually("one socket", async || (server.metric("ws_active_connections").await == 1.0).then_some(())).await;
    assert_eq!(server.complaints(), Vec::<String>::new());
}
