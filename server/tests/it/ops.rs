//! What operators ask has a listener of its own: it answers there and nowhere else, also while viewers take all there is.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Server, bareme, client, data_dir, eventually, finish, free_port};

const CLOSE: &str = "Connection: close\r\n";
/// What makes actix-http take a request for a handshake.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const STATS: &str = "/api/v1/monitoring/websocket/stats";
const ROUTES: [&str; 4] = ["/healthz", "/readyz", "/metrics", STATS];

/// The status of a request on a connection of its own, which ends with it, with its target exactly as it is written.
async fn status(port: u16, line: &str, headers: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line}: {answer}"))
}

/// Ways to write a path that a server, or a proxy before it, might take for the path itself.
fn spellings(path: &str) -> Vec<String> {
    let letters = path.char_indices().filter(|(_, letter)| letter.is_ascii_alphanumeric());
    let encoded = letters.map(|(at, letter)| format!("{}%{:02X}{}", &path[..at], u32::from(letter), &path[at + 1..]));
    let whole: String = path.bytes().skip(1).map(|byte| format!("%{byte:02x}")).collect();
    let mut all: Vec<String> = encoded.collect();
    all.extend([
        path.to_owned(),
        format!("/{path}"),
        format!("/.{path}"),
        format!("/x/..{path}"),
        format!("/%2e{path}"),
        format!("{path}/"),
        format!("{path}?x=1"),
        format!("{path};x"),
        format!("{path}%00"),
        path.to_uppercase(),
        format!("/%2F{}", &path[1..]),
        format!("/{whole}"),
        format!("http://localhost{path}"),
        format!("/{}", path.replace('/', "\\")),
    ]);
    all
}

#[tokio::test]
async fn operators_routes_are_on_their_own_listener_and_under_no_spelling_on_that_of_viewers() {
    let dir = data_dir();
    let server = Server::demo(dir.path()).await;
    for path in ROUTES {
        assert_eq!(client().get(server.ops_url(path)).send().await.unwrap().status(), 200, "{path}");
        for spelling in spellings(path) {
            let line = format!("GET {spelling}");
            assert_eq!(status(server.port(), &line, CLOSE).await, 404, "{line}");
        }
        assert_eq!(status(server.port(), &format!("HEAD {path}"), CLOSE).await, 404, "{path}");
        // As for any name that could be a channel's.
        let posted = status(server.port(), &format!("POST {path}"), CLOSE).await;
        assert!(matches!(posted, 404 | 405), "POST {path}: {posted}");
    }
    let document = server.get("/api/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    assert!(ROUTES.iter().all(|path| !paths.contains_key(*path)), "what is not there is not described");
}

#[tokio::test]
async fn the_listener_of_operators_has_nothing_of_viewers_and_reads_no_other_name() {
    let dir = data_dir();
    let server = Server::demo(dir.path()).await;
    let (channel, _) = server.open_live().await;
    for path in ["/", "/admin", "/api/lives", "/api/openapi.json", "/version", &format!("/{channel}")] {
        assert_eq!(status(server.ops_port(), &format!("GET {path}"), CLOSE).await, 404, "{path}");
    }
    assert_eq!(status(server.ops_port(), &format!("GET /ws/{channel}"), UPGRADE).await, 404);
    assert_eq!(status(server.ops_port(), "GET /healthz", UPGRADE).await, 200, "an upgrade is nobody's wish there");
    // A page whose name was made to lead here.
    for path in ROUTES {
        let answer = client().get(server.ops_url(path)).header("Host", "evil.example:9080").send().await.unwrap();
        assert_eq!(answer.status(), 421, "{path}");
        let answer = client().get(server.ops_url(path)).send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(header("access-control-allow-origin"), "", "{path}");
        assert_eq!((header("x-content-type-options"), header("cache-control")), ("nosniff", "no-store"), "{path}");
    }
}

#[tokio::test]
async fn a_crowd_of_silent_clients_on_the_listener_of_operators_keeps_no_probe_out() {
    let dir = data_dir();
    let server = Server::demo(dir.path()).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.ops_port())).await.unwrap();
        let _reset_when_it_had_to_go = stream.write_all(b"GET /healthz HTTP/1.1\r\n").await;
        silent.push(stream);
    }
    for path in ROUTES {
        assert_eq!(client().get(server.ops_url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    let reserve = async || server.metric("connections_refused_total{reason=\"reserve\"}").await;
    eventually("all but sixteen had to go", async || (reserve().await >= 200.0 - 16.0).then_some(())).await;
    let answer = client().get(server.url("/api/lives")).send().await.unwrap();
    assert_eq!(answer.status(), 200, "viewers notice nothing");
    drop(silent);
}

#[tokio::test]
async fn operators_hear_that_a_server_stops_for_as_long_as_a_viewer_is_served() {
    let dir = data_dir();
    let mut server = Server::demo(dir.path()).await;
    // A request that is under way keeps the server for a while.
    let mut slow = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let head = "POST /api/note HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n\
                Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 14\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut begun = [0; 25];
    tokio::time::timeout(PATIENCE, slow.read_exact(&mut begun)).await.expect("an answer in time").unwrap();
    assert_eq!(begun, *b"HTTP/1.1 100 Continue\r\n\r\n");
    server.terminate();
    let stopping = eventually("it says that it stops", async || {
        let answer = client().get(server.ops_url("/readyz")).send().await.ok()?;
        (answer.status() == 503).then_some(answer.json::<Value>().await.ok()?)
    })
    .await;
    assert_eq!(stopping["reasons"][0], "draining");
    assert_eq!(client().get(server.ops_url("/healthz")).send().await.unwrap().status(), 200);
    slow.write_all(b"jeu_id=1&fun=4").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, slow.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let code = tokio::task::spawn_blocking(move || server.exit_code()).await.unwrap();
    assert_eq!(code, Some(0));
}

#[test]
fn a_port_of_operators_that_is_taken_is_refused_with_its_own_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ops = taken.local_addr().unwrap().to_string();
    let dir = data_dir();
    let listen = format!("127.0.0.1:{}", free_port());
    let serve = |ops: &str| {
        finish(bareme().args(["serve", "--listen", &listen, "--ops-listen", ops, "--data-dir"]).arg(dir.path()))
    };
    let refused = serve(&ops);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains(&ops) && refused.stderr.contains("another with --ops-listen"),
        "{}",
        refused.stderr
    );
    let refused = serve(&listen);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("ops_listen: is the port of `listen`"), "{}", refused.stderr);
}
