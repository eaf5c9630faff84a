//! Clients that mean harm, or are broken: what they send is answered or ended, and whoever comes after them is served.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Server, client, data_dir, eventually};

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
        (format!("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n{}", login(UPGRADE, "")), 400),
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
    let (mut waiting, mut gone) = (Vec::new(), Vec::new());
    for number in 0..1100 {
        let length = format!("{UPGRADE}Content-Length: {}\r\n", body.len());
        match number % 3 {
            0 => waiting.push(send(&server, &login(UPGRADE, "")).await),
            1 => waiting.push(send(&server, &login(&length, body)).await),
            // The body never comes: the client leaves.
            _ => gone.push(send(&server, &login(&length, "")).await),
        }
        if gone.len() == 50 {
            gone.clear();
        }
    }
    drop(gone);
    for stream in waiting {
        let answer = to_the_end(stream).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let health = client().get(server.url("/healthz")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    eventually("every connection is freed", async || (server.open_files() <= idle + 20).then_some(())).await;
    assert_eq!(server.complaints(), Vec::<String>::new());
}
