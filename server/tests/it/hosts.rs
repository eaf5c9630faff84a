//! Under which names the server answers: a page of another site whose name leads here reaches nothing.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Server, data_dir};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const NOTE: &str = "Connection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 14\r\n";

/// The status of a request, and its answer as it came.
async fn asked(server: &Server, line: &str, headers: &str, body: &str) -> (u16, String) {
    asked_at(server.port(), line, headers, body).await
}

async fn asked_at(port: u16, line: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("{line} HTTP/1.1\r\n{headers}\r\n{body}").as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let mut bytes = [0; 4096];
    // A socket that was opened goes on: its head is enough. Anything else is read to its end.
    while !(heard.starts_with(b"HTTP/1.1 101") && heard.windows(4).any(|end| end == b"\r\n\r\n")) {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("an answer in time").unwrap();
        if read == 0 {
            break;
        }
        heard.extend_from_slice(&bytes[..read]);
    }
    let heard = String::from_utf8_lossy(&heard).into_owned();
    let status = heard.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {heard}")), heard)
}

/// What a browser gets that goes to `host`: a page, a socket, the metrics, a vote.
async fn answers(server: &Server, channel: &str, host: &str) -> [u16; 4] {
    let own = format!("Host: {host}\r\nOrigin: http://{host}\r\n");
    let get = format!("Host: {host}\r\nConnection: close\r\n");
    [
        asked(server, &format!("GET /{channel}"), &get, "").await.0,
        asked(server, &format!("GET /ws/{channel}"), &(own.clone() + UPGRADE), "").await.0,
        asked_at(server.ops_port(), "GET /metrics", &get, "").await.0,
        asked(server, "POST /api/note", &(own + NOTE), "jeu_id=1&fun=4").await.0,
    ]
}

#[tokio::test]
async fn a_page_whose_name_was_made_to_lead_here_reaches_nothing() {
    let dir = data_dir();
    let server = Server::demo_with(module_path!(), dir.path(), &["--allowed-hosts", "vote.lan"]).await;
    let (channel, live) = server.open_live().await;
    let port = server.port();
    for host in [format!("evil.example:{port}"), "evil.example".to_owned(), format!("127.0.0.1.evil.example:{port}")] {
        assert_eq!(answers(&server, &channel, &host).await, [421; 4], "{host}");
    }
    let of_live = server.results(&live).await;
    assert!(of_live["jeux"].as_array().unwrap().iter().all(|jeu| jeu["voters"] == 0), "{of_live}");
    for host in
        [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), "vote.lan".to_owned()]
    {
        assert_eq!(answers(&server, &channel, &host).await, [200, 101, 200, 200], "{host}");
    }
    // A target that names another host than `Host` does, and two of those.
    let get = format!("Host: localhost:{port}\r\nConnection: close\r\n");
    assert_eq!(asked(&server, "GET http://evil.example/", &get, "").await.0, 421);
    assert_eq!(asked(&server, &format!("GET http://localhost:{port}/"), &get, "").await.0, 200);
    let two = asked(&server, "GET /", &format!("{get}Host: evil.example\r\n"), "").await.0;
    assert!(matches!(two, 400 | 421), "{two}");

    let (_, text) = asked(&server, "GET /", "Host: evil.example\r\nConnection: close\r\n", "").await;
    let problem: Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(problem["code"], "misdirected");
    assert!(problem.to_string().contains("allowed_hosts"), "it names the setting: {problem}");
    assert!(!problem.to_string().contains("evil"), "it does not repeat the name: {problem}");
}

#[tokio::test]
async fn with_a_public_url_its_name_alone_is_answered_and_probes_go_by_any_address() {
    let dir = data_dir();
    let server = Server::demo_with(module_path!(), dir.path(), &["--public-url", "http://vote.example.org"]).await;
    let lives = asked(&server, "GET /api/lives", "Host: vote.example.org\r\nConnection: close\r\n", "").await.1;
    let lives: Value = serde_json::from_str(lives.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let channel = lives[0]["channel"].as_str().unwrap();
    let port = server.port();
    assert_eq!(answers(&server, channel, "vote.example.org").await, [200, 101, 200, 200]);
    assert_eq!(answers(&server, channel, "evil.example").await, [421; 4]);
    // What only tells how the server is.
    assert_eq!(answers(&server, channel, &format!("127.0.0.1:{port}")).await, [421, 421, 200, 421]);
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/monitoring/websocket/stats"] {
        for host in ["Host: 10.1.2.3:8080\r\n", "Host: [fd00::7]\r\n", "Host: localhost\r\n"] {
            let get = format!("{host}Connection: close\r\n");
            assert_eq!(asked_at(server.ops_port(), &format!("GET {path}"), &get, "").await.0, 200, "{path} {host}");
        }
        let get = "Host: evil.example\r\nConnection: close\r\n";
        assert_eq!(asked_at(server.ops_port(), &format!("GET {path}"), get, "").await.0, 421, "{path}");
    }
}

#[tokio::test]
async fn a_name_that_nobody_checked_is_in_no_link_or_code() {
    let dir = data_dir();
    let server = Server::demo_with(module_path!(), dir.path(), &[]).await;
    let (channel, live) = server.open_live().await;
    for path in
        [format!("/api/channels/{channel}/qr.svg"), format!("/{channel}/{live}"), format!("/overlay/{channel}?demo=on")]
    {
        for name in [
            "Host: evil.example\r\n",
            "Host: localhost\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n",
        ] {
            let (status, text) =
                asked(&server, &format!("GET {path}"), &format!("{name}Connection: close\r\n"), "").await;
            assert_eq!(status, if name.starts_with("Host: evil") { 421 } else { 200 }, "{path} {name}");
            assert!(!text.contains("evil.example"), "{path} {name}: {text}");
        }
    }
    let get = "Host: localhost\r\nConnection: close\r\n";
    let (_, code) = asked(&server, &format!("GET /api/channels/{channel}/qr.svg"), get, "").await;
    assert!(
        code.to_lowercase().contains("cache-control: private"),
        "without a public_url nobody else may keep it: {code}"
    );
}
