//! Clients that mean harm, or are broken: what they send is answered or ended, and whoever comes after them is served.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Server, client, data_dir, eventually, finish};
use crate::wire::{Page, Raw, frame};

/// What makes actix-http take a request for a handshake.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends bytes on a connection of their own.
async fn send(server: &Server, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Everything the server says until it ends the connection, which it has to do by itself.
async fn to_the_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the connection ends").unwrap();
    String::from_utf8(answer).unwrap()
}

fn login(more: &str, body: &str) -> String {
    format!("POST /api/admin/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}\r\n{body}")
}

#[tokio::test]
async fn whether_a_request_upgrades_is_decided_by_its_route() {
    let dir = data_dir();
    let server = Server::demo_of(module_path!(), dir.path()).await;
    let (channel, _) = server.open_live().await;
    let body = r#"{"name":"nobody","password":"nothing at all"}"#;
    let length = body.len();
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    for (request, status) in [
        (login(UPGRADE, ""), 400),
        (login(&format!("{UPGRADE}Content-Length: {length}\r\n"), body), 401),
        // What follows the body is not read as a part of it.
        (login(&format!("{UPGRADE}Content-Length: {length}\r\n"), &format!("{body}{{GET / HTTP/1.1\r\n\r\n")), 401),
        (
            login(&format!("{UPGRADE}Transfer-Encoding: chunked\r\n"), &format!("{length:x}\r\n{body}\r\n0\r\n\r\n")),
            401,
        ),
        (login(&format!("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {length}\r\n"), body), 401),
        (login(&format!("{h2c}Content-Length: {length}\r\n"), body), 401),
        (format!("GET /api/lives HTTP/1.1\r\nHost: localhost\r\n{h2c}\r\n"), 200),
        (format!("GET /api/lives HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n"), 200),
        (format!("GET /nowhere/at/all HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n"), 404),
        (format!("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n"), 404),
        (format!("POST /ws/{channel} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n"), 405),
        (format!("GET /ws/{channel} HTTP/1.0\r\nHost: localhost\r\n{UPGRADE}\r\n"), 400),
        (format!("GET /ws/{channel} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}Content-Length: 5\r\n\r\n12345"), 400),
        (
            format!(
                "GET /ws/{channel} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            ),
            400,
        ),
        // Behind an ordinary request in the same write.
        (format!("HEAD /version HTTP/1.1\r\nHost: localhost\r\n\r\n{}", login(UPGRADE, "")), 400),
        // A client that asks first whether its body is welcome.
        (login(&format!("{UPGRADE}Expect: 100-continue\r\nContent-Length: {length}\r\n"), body), 401),
    ] {
        let answer = to_the_end(send(&server, &request).await).await;
        let head = answer.split("\r\n\r\n").filter(|part| part.starts_with("HTTP/1.")).last().unwrap_or_default();
        assert!(
            head.get(8..).is_some_and(|rest| rest.starts_with(&format!(" {status} "))),
            "{status}: {request}\n{answer}"
        );
        let closes = head.starts_with("HTTP/1.0") || head.to_ascii_lowercase().contains("connection: close");
        assert!(closes, "{request}\n{answer}");
    }
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408_and_its_connection_is_closed() {
    let dir = data_dir();
    let server = Server::demo_of(module_path!(), dir.path()).await;
    let waiting = [login("Content-Length: 16000\r\n", "{"), login(&format!("{UPGRADE}Content-Length: 16000\r\n"), "{")];
    for request in waiting {
        let answer = to_the_end(send(&server, &request).await).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"too_slow\""), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    }
    assert_eq!(server.metric("http_timeouts_total{what=\"body\"}").await, 2.0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn eleven_hundred_requests_that_ask_for_an_upgrade_where_there_is_none_stop_nobody() {
    const FILES: u32 = 1024;
    let dir = data_dir();
    let server = Server::start_limited(&["demo", "--viewers", "0"], module_path!(), dir.path(), [FILES, FILES]).await;
    let idle = server.open_files();
    let body = r#"{"name":"nobody","password":"nothing at all"}"#;
    for _ in 0..11 {
        let (mut waiting, mut gone) = (Vec::new(), Vec::new());
        for number in 0..100 {
            let length = format!("{UPGRADE}Content-Length: {}\r\n", body.len());
            match number % 3 {
                0 => waiting.push(send(&server, &login(UPGRADE, "")).await),
                1 => waiting.push(send(&server, &login(&length, body)).await),
                // The body never comes: the client leaves.
                _ => gone.push(send(&server, &login(&length, "")).await),
            }
        }
        drop(gone);
        for stream in waiting {
            let answer = to_the_end(stream).await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    }
    let lives = client().get(server.url("/api/lives")).send().await.unwrap();
    assert_eq!(lives.status(), 200);
    eventually("every connection is freed", async || (server.open_files() <= idle + 20).then_some(())).await;
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_thousand_bodies_that_do_not_come_leave_room_for_probes_and_admins_and_then_for_everybody() {
    const FILES: u32 = 1024;
    let dir = data_dir();
    let server = Server::start_limited(&["demo", "--viewers", "0"], module_path!(), dir.path(), [FILES, FILES]).await;
    let (channel, _) = server.open_live().await;
    // Those that have to make room are ended while others still come.
    let mut waiting = Vec::new();
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        let _reset_when_it_had_to_go = stream.write_all(login("Content-Length: 16000\r\n", "{").as_bytes()).await;
        waiting.push(stream);
    }
    let (probe, admin) = (server.ops_url("/readyz"), server.url("/api/admin/session"));
    for (url, status) in [(probe, 200), (admin, 401)] {
        let answer = client().get(&url).send().await.unwrap();
        assert_eq!(answer.status(), status, "{url}");
    }
    assert!(server.open_files() < usize::try_from(FILES).unwrap());
    eventually("there is room for everybody again", async || {
        let answer = client().get(server.url("/api/lives")).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    assert!(Page::open(&server, &format!("/ws/{channel}"), &[]).await.is_ok());
    drop(waiting);
    let complaints = server.complaints();
    assert!(complaints.len() <= 1 && complaints.iter().all(|line| line.contains("no room")), "{complaints:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn sockets_beyond_what_descriptors_allow_are_refused_and_probes_and_admins_are_served() {
    const FILES: u32 = 320;
    let dir = data_dir();
    let server = Server::start_limited(&["demo", "--viewers", "0"], module_path!(), dir.path(), [FILES, FILES]).await;
    let (channel, _) = server.open_live().await;
    let path = format!("/ws/{channel}");
    let mut pages = Vec::new();
    let refused = loop {
        match Page::open(&server, &path, &[]).await {
            Ok(page) => pages.push(page),
            Err(status) => break status,
        }
        assert!(pages.len() < usize::try_from(FILES).unwrap(), "the system's limit came first");
    };
    assert_eq!(refused, 503);
    assert!(pages.len() > 50, "{}", pages.len());
    let (probe, admin, viewer) =
        (server.ops_url("/readyz"), server.url("/api/admin/session"), server.url("/api/lives"));
    for (url, status) in [(probe, 200), (admin, 401), (viewer, 503)] {
        let answer = client().get(&url).send().await.unwrap();
        assert_eq!(answer.status(), status, "{url}");
    }
    assert_eq!(
        server.metric("max_connections").await,
        96.0,
        "320, less 192 of its own, 48 for admins, 16 for operators"
    );
    assert!(server.metric("ws_refused_total{reason=\"server\"}").await >= 1.0);
    // Those who are there vote on, and the next comes in when one has left.
    let mut page = pages.pop().unwrap();
    assert_eq!(page.vote(1, serde_json::json!({"fun": 3})).await["status"], "ok");
    drop((page, pages.drain(..10).collect::<Vec<_>>()));
    eventually("one comes in", async || Page::open(&server, &path, &[]).await.ok()).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_soft_limit_of_open_files_is_raised_and_what_it_allows_is_said() {
    let dir = data_dir();
    let server = Server::start_limited(&["demo", "--viewers", "0"], module_path!(), dir.path(), [256, 2000]).await;
    assert_eq!(server.metric("process_max_fds").await, 2000.0);
    assert_eq!(server.metric("max_connections").await, f64::from(2000 - 192 - 64));
    assert_eq!(server.said().matches("fewer open files than max_connections").count(), 1);
    let url = server.ops_url("");
    let status = tokio::task::spawn_blocking(move || finish(crate::harness::bareme().args(["status", "--url", &url])));
    let status = status.await.unwrap();
    assert!(status.stdout.contains("of 1,744") && status.stdout.contains("2,000 allowed"), "{}", status.stdout);
}

#[tokio::test]
async fn what_is_no_request_is_counted_and_is_no_line_of_the_log() {
    let dir = data_dir();
    let server = Server::demo_of(module_path!(), dir.path()).await;
    let malformed = [
        "NONSENSE\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /version HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        "POST /api/note HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ];
    for request in malformed {
        let answer = to_the_end(send(&server, request).await).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
    }
    let counted = async || server.metric("http_malformed_total").await >= 5.0;
    eventually("they are counted", async || counted().await.then_some(())).await;
    assert_eq!(server.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn pings_and_pongs_are_limited_as_messages_are() {
    let dir = data_dir();
    let server = Server::demo_of(module_path!(), dir.path()).await;
    let (channel, _) = server.open_live().await;
    let mut other = Page::viewer(&server, &channel).await;
    for opcode in [9, 10] {
        let mut raw = Raw::upgrade(&server, &format!("/ws/{channel}"), false).await;
        let flood = frame(true, opcode, b"x").repeat(2000);
        let _reset_when_it_had_enough = raw.stream.write_all(&flood).await;
        let mut answered = 0;
        let code = loop {
            match raw.frame().await {
                Some((8, payload)) => break u16::from_be_bytes(*payload.first_chunk().unwrap()),
                Some((opcode, _)) => answered += usize::from(opcode == 10),
                None => panic!("no goodbye"),
            }
        };
        assert_eq!(code, 4029);
        assert!(answered < 200, "{answered}");
    }
    assert_eq!(other.vote(1, serde_json::json!({"fun": 5})).await["status"], "ok");
}
