//! Connections of a server, for programs and for people.

use serde_json::{Value, json};

use super::{admin_token, overlay_key};
use crate::harness::{Server, bareme, client, data_dir, eventually, finish, free_port, run};
use crate::wire::Page;

const PATH: &str = "/api/v1/monitoring/websocket/stats";

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_by_room_and_by_who_sits_there() {
    counted("fast").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_portable_path_connections_are_counted_the_same() {
    counted("portable").await;
}

async fn counted(sockets: &str) {
    let dir = data_dir();
    let server = Server::start(&["demo", "--viewers", "0", "--sockets", sockets], dir.path()).await;
    let (channel, _) = server.open_live().await;
    let empty = server.get_ops(PATH).await;
    assert_eq!((&empty["connections"], &empty["draining"]), (&json!(0), &json!(false)));
    let token = admin_token(dir.path());
    let other = json!({"slug": "autre", "title": "Autre"});
    let made = client().post(server.url("/api/admin/channels")).bearer_auth(&token).json(&other).send().await.unwrap();
    assert_eq!(made.status(), 201);

    let bearer = format!("Bearer {token}");
    let overlay = format!("/ws/{channel}?role=overlay&key={}", overlay_key(&server));
    let pages = [
        Page::viewer(&server, &channel).await,
        Page::viewer(&server, &channel).await,
        Page::viewer(&server, "autre").await,
        Page::open(&server, &overlay, &[]).await.unwrap(),
        Page::open(&server, &format!("/ws/{channel}?role=admin"), &[("authorization", &bearer)]).await.unwrap(),
    ];
    let stats = server.get_ops(PATH).await;
    let room = |channel: &str, all: u64, viewers: u64, overlays: u64, admins: u64| json!({"channel": channel, "connections": all, "viewers": viewers, "overlays": overlays, "admins": admins});
    assert_eq!(stats["connections"], 5);
    let mut rooms = [room("autre", 1, 1, 0, 0), room(&channel, 4, 2, 1, 1)];
    rooms.sort_by_key(|room| room["channel"].as_str().unwrap().to_owned());
    assert_eq!(stats["rooms"], json!(rooms));
    assert_eq!(server.metric("ws_active_connections").await, 5.0);

    let status = |arguments: &[&str]| {
        let url = server.ops_url("/");
        let arguments: Vec<_> = ["status", "--url", &url].into_iter().chain(arguments.iter().copied()).collect();
        run(&arguments)
    };
    let shown = tokio::task::block_in_place(|| status(&[]));
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    // Of how many depends on what the system allows to have open.
    assert!(shown.stdout.contains("ready          yes"), "{}", shown.stdout);
    assert!(shown.stdout.contains("connections    5 of "), "{}", shown.stdout);
    assert!(shown.stdout.contains("autre") && !shown.stdout.contains('\x1b'), "{}", shown.stdout);
    let as_json = tokio::task::block_in_place(|| status(&["--json"]));
    assert_eq!(serde_json::from_str::<Value>(&as_json.stdout).unwrap()["connections"], 5);

    drop(pages);
    eventually("everybody left", async || (server.get_ops(PATH).await["connections"] == 0).then_some(())).await;
    let left = server.get_ops(PATH).await;
    let all_gone = |room: &Value| ["connections", "viewers", "overlays", "admins"].iter().all(|key| room[key] == 0);
    assert!(left["rooms"].as_array().unwrap().iter().all(all_gone), "{left}");
}

#[test]
fn a_server_that_is_away_or_is_none_is_said_with_what_to_do_and_ends_with_1() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let away = run(&["status", "--url", &url]);
    assert_eq!(away.code, Some(1));
    assert!(away.stderr.contains(&format!("no server at {url}")) && away.stderr.contains("--url"), "{}", away.stderr);
    assert!(away.stderr.contains("refused") && away.stderr.lines().count() == 1, "{}", away.stderr);
    let by_settings = finish(bareme().args(["status", "--ops-listen", "0.0.0.0:9"]));
    assert!(by_settings.stderr.contains("no server at http://127.0.0.1:9"), "{}", by_settings.stderr);
    // Beside an address for viewers that is told, a thousand ports above.
    let beside = finish(bareme().args(["status", "--listen", "0.0.0.0:65535"]));
    assert!(beside.stderr.contains("no server at http://127.0.0.1:64535"), "{}", beside.stderr);
    assert_eq!(run(&["status", "--url", "localhost:8080"]).code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_address_for_viewers_the_one_for_operators_is_asked_for() {
    let dir = data_dir();
    let server = Server::demo(dir.path()).await;
    let url = server.url("");
    let refused = tokio::task::block_in_place(|| run(&["status", "--url", &url]));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("404") && refused.stderr.contains("--ops-listen"), "{}", refused.stderr);
}
