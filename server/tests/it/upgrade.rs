//! How a socket leaves HTTP, what it is sent while it does not read, and what is left of it afterwards.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Server, client, data_dir, eventually};
use crate::studio::Studio;
use crate::wire::{Page, Raw, frame, now_us};

async fn demo(dir: &tempfile::TempDir) -> (Server, String) {
    let server = Server::demo_of(module_path!(), dir.path()).await;
    let (channel, _) = server.open_live().await;
    (server, format!("/ws/{channel}"))
}

/// As [`demo`], where a socket may say as much as it likes.
async fn patient_demo(dir: &tempfile::TempDir) -> (Server, String) {
    let server = Server::patient_demo_of(module_path!(), dir.path()).await;
    let (channel, _) = server.open_live().await;
    (server, format!("/ws/{channel}"))
}

fn ping(id: u64) -> Vec<u8> {
    frame(true, 1, json!({"t": "ping", "id": id}).to_string().as_bytes())
}

fn is_fast() -> bool {
    cfg!(target_os = "linux") && !module_path!().contains("::portable::")
}

async fn no_socket_is_left(server: &Server) {
    eventually("no socket is left", async || (server.metric("ws_active_connections").await == 0.0).then_some(())).await;
}

#[tokio::test]
async fn what_a_client_sends_together_with_its_handshake_is_heard() {
    let dir = data_dir();
    let (server, path) = demo(&dir).await;
    let early = [frame(true, 9, b"early"), ping(1), ping(2)[..7].to_vec()].concat();
    // The handshake in one write, and in two: the second time, somebody else reads it.
    for first in [0, 20] {
        let mut raw = Raw::upgrade_with(&server, &path, false, &early, first).await;
        let mut heard = Vec::new();
        while heard.len() < 2 {
            match raw.frame().await.unwrap() {
                (10, payload) => heard.push(String::from_utf8(payload).unwrap()),
                (1, payload) => {
                    let message: Value = serde_json::from_slice(&payload).unwrap();
                    heard.extend((message["t"] == "pong").then(|| message["id"].to_string()));
                }
                // The server's own pings come when they come.
                (9, _) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(heard, ["early", "1"]);
        raw.write(&ping(2)[7..]).await;
        assert_eq!(raw.reply().await["id"], 2);
    }
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_is_heard_and_so_are_many_in_one_write() {
    let dir = data_dir();
    let (server, path) = patient_demo(&dir).await;
    let mut raw = Raw::upgrade(&server, &path, false).await;
    raw.stream.set_nodelay(true).unwrap();
    for byte in ping(7) {
        raw.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.reply().await["id"], 7);
    let many: Vec<u8> = (0..1000_u32).flat_map(|id| frame(true, 9, &id.to_be_bytes())).collect();
    raw.write(&many).await;
    for id in 0..1000_u32 {
        let payload = loop {
            match raw.frame().await.unwrap() {
                (10, payload) => break payload,
                (1 | 9, _) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(payload, id.to_be_bytes(), "each ping is answered, in order");
    }
    raw.write(&ping(8)).await;
    assert_eq!(raw.reply().await["id"], 8);
}

#[tokio::test]
async fn a_client_that_reads_again_gets_what_was_begun_and_then_the_newest_only() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let (server, path) = patient_demo(&dir).await;
    let (_, live) = server.open_live().await;
    let mut slow = Raw::upgrade(&server, &path, true).await;
    let mut watcher = Page::open(&server, &path, &[]).await.unwrap();
    // Pongs that nobody reads fill what the system holds for a connection.
    let pings = frame(true, 9, &[b'x'; 125]).repeat(100);
    let mut sent = 0_usize;
    let mut fill = || loop {
        match slow.stream.try_write(&pings[sent % pings.len()..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    };
    // A write that found no room is the server's word that this reader is slow: nobody else is there that does not read.
    eventually("a write of the server finds no room", async || {
        fill();
        let blocked = server.metric("ws_worker_would_block_total").await;
        (blocked >= 1.0 || !is_fast()).then_some(())
    })
    .await;
    const TITLES: usize = 40;
    for number in 0..TITLES {
        // The portable path does not count such writes; there the pipe is kept full while titles pass.
        fill();
        let title = format!("titre {number}");
        let url = format!("/api/admin/lives/{live}");
        studio.request(&server, reqwest::Method::PATCH, &url, &json!({"title": title})).await;
        watcher.until("the title", |heard| heard["t"] == "state" && heard["live"]["title"] == title.as_str()).await;
    }
    // It reads again, and says the rest of what it had begun to say.
    let (mut states, mut pongs, mut rest) = (Vec::new(), 0, pings[sent % pings.len()..].to_vec());
    let newest = format!("titre {}", TITLES - 1);
    while states.last() != Some(&newest) {
        let count = match slow.stream.try_write(&rest) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        };
        rest.drain(..count);
        match slow.frame().await.expect("it is still there") {
            (1, payload) => {
                let message: Value = serde_json::from_slice(&payload).expect("whole messages");
                states.extend(message["live"]["title"].as_str().map(str::to_owned));
            }
            (10, payload) => {
                assert_eq!(payload, [b'x'; 125]);
                pongs += 1;
            }
            (9, _) => {}
            other => panic!("{other:?}"),
        }
    }
    println!("{pongs} pongs, {} of {TITLES} titles", states.len());
    assert!(states.len() < TITLES / 2, "titles that were out of date are skipped: {states:?}");
}

#[tokio::test]
async fn a_client_that_ends_its_half_or_just_leaves_is_let_go_with_its_file() {
    let dir = data_dir();
    let (server, path) = demo(&dir).await;
    // What the server opens with its first requests stays open.
    drop(Raw::upgrade(&server, &path, false).await);
    no_socket_is_left(&server).await;
    let mut half = Raw::upgrade(&server, &path, false).await;
    half.stream.shutdown().await.unwrap();
    let _some_code_or_none = half.close_code().await;
    no_socket_is_left(&server).await;
    drop(half);
    let files = settled_files(&server).await;
    let mut raws = Vec::new();
    for _ in 0..60 {
        raws.push(Raw::upgrade(&server, &path, false).await);
    }
    assert_eq!(server.metric("ws_active_connections").await, 60.0);
    for (index, raw) in raws.iter_mut().enumerate() {
        match index % 4 {
            0 => raw.write(&frame(true, 8, &1000_u16.to_be_bytes())).await,
            1 => raw.write(&frame(true, 3, b"against the rules")).await,
            2 => raw.stream.set_zero_linger().unwrap(),
            _ => raw.write(b"\x81\x85").await,
        }
    }
    for (index, mut raw) in raws.into_iter().enumerate() {
        let expected = [Some(1000), Some(1002)];
        if index % 4 < 2 {
            assert_eq!(raw.close_code().await, expected[index % 4]);
            assert_eq!(raw.frame().await, None, "the server ends the connection");
        }
    }
    no_socket_is_left(&server).await;
    eventually("every file is closed", async || (server.open_files() <= files).then_some(())).await;
    assert_eq!(server.complaints(), Vec::<String>::new());
}

/// Files the server has open once connections of requests are out of the way.
async fn settled_files(server: &Server) -> usize {
    let mut last = usize::MAX;
    eventually("the number of open files to stay the same", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = server.open_files();
        (std::mem::replace(&mut last, now) == now).then_some(now)
    })
    .await
}

#[tokio::test]
async fn requests_that_only_look_like_upgrades_are_answered_as_requests() {
    let dir = data_dir();
    let (server, path) = demo(&dir).await;
    let ask = async |head: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        let request =
            format!("{head}\r\nHost: 127.0.0.1:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", server.port());
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(b"Sec-WebSocket-Version: 12\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
        read.await.expect("the connection ends").unwrap();
        String::from_utf8(answer).unwrap()
    };
    let broken = ask(&format!("GET {path} HTTP/1.1")).await;
    assert!(broken.starts_with("HTTP/1.1 400 ") && broken.contains("not a WebSocket handshake"), "{broken}");
    let nowhere = ask("GET /ws/nulle-part HTTP/1.1").await;
    assert!(nowhere.starts_with("HTTP/1.1 404 ") && nowhere.contains("unknown_channel"), "{nowhere}");
    let ordinary = ask("GET /api/lives HTTP/1.1").await;
    assert!(ordinary.starts_with("HTTP/1.1 200 ") && ordinary.contains("live_id"), "{ordinary}");
    no_socket_is_left(&server).await;
}

#[tokio::test]
async fn two_rooms_hear_their_own_only() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let (server, path) = demo(&dir).await;
    let (other_live, _) = studio.live(&server, "autre", json!({}), "all").await;
    let mut here = Page::open(&server, &path, &[]).await.unwrap();
    let mut there = Page::viewer(&server, "autre").await;
    assert_ne!(here.live(), there.live());
    assert_eq!(here.vote(1, json!({"fun": 5})).await["status"], "ok");
    here.tally(1, 1).await;
    studio.fence(&server, &other_live, &mut [&mut there]).await;
    assert!(there.log.iter().all(|(_, text)| !text.contains("\"voters\":1")), "{:?}", there.log);
    drop(here);
    assert_eq!(
        there.ask(&json!({"t": "note", "live": there.live(), "jeu": 99, "v": now_us(), "scores": {"fun": 1}})).await["status"],
        "invalid"
    );
}

#[tokio::test]
async fn one_address_gets_so_many_sockets_and_the_next_is_told_to_wait() {
    let dir = data_dir();
    let sockets = if module_path!().contains("::portable::") { "portable" } else { "fast" };
    let command = [
        "demo",
        "--viewers",
        "0",
        "--sockets",
        sockets,
        "--sockets-per-address",
        "3",
        "--trusted-proxies",
        "127.0.0.1",
    ];
    let server = Server::start(&command, dir.path()).await;
    let (channel, _) = server.open_live().await;
    let path = format!("/ws/{channel}");
    let open = async |address: &str| Page::open(&server, &path, &[("X-Forwarded-For", address)]).await;
    let mut pages = Vec::new();
    for _ in 0..3 {
        pages.push(open("192.0.2.7").await.unwrap());
    }
    assert_eq!(open("192.0.2.7").await.map(drop), Err(429));
    assert_eq!(server.metric("ws_refused_total{reason=\"address\"}").await, 1.0);
    assert!(open("192.0.2.8").await.is_ok(), "another address has its own");
    pages.pop();
    eventually("one has left", async || open("192.0.2.7").await.ok()).await;
    // This machine's own programs are exempt.
    for _ in 0..5 {
        pages.push(Page::viewer(&server, &channel).await);
    }
    let refused = client().get(server.url(&path)).header("X-Forwarded-For", "192.0.2.7").send().await.unwrap();
    assert!(refused.status().is_client_error());
}
