//! What is revoked in one place closes the sockets that it opened in every other.

use bareme::catalogue::Role;
use reqwest::Method;
use serde_json::json;

use super::support::Server;
use crate::harness::{data_dir, run};
use crate::studio::Studio;
use crate::wire::Page;

/// Close code for what is revoked: `docs/protocol.md`.
const REVOKED: Option<u16> = Some(4003);

async fn socket(server: &Server, path: &str, headers: &[(&str, &str)]) -> Page {
    let url = format!("{}{path}", server.base.replacen("http", "ws", 1));
    Page::connect(&url, headers).await.unwrap()
}

async fn admin(server: &Server, header: (&str, &str)) -> Page {
    socket(server, "/ws/max?role=admin", &[header]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_credential_revoked_on_one_pod_closes_its_sockets_on_another() {
    let (one, other) = Server::pair().await;
    assert_eq!(one.post("/api/admin/channels", json!({"slug": "max", "title": "Max"})).await.0, 201);
    let (_, token) = one.post("/api/admin/tokens", json!({"name": "bot", "role": "moderator"})).await;
    let (_, key) = one.post("/api/admin/channels/max/overlay-keys", json!({})).await;
    let (_, of_channel) = one.post("/api/admin/channels/max/overlay-keys", json!({})).await;
    let mut cookies = Vec::new();
    for name in ["lea", "zoe"] {
        one.account(name, Role::Moderator).await;
        let body = json!({"name": name, "password": "un mot de passe"});
        let signed = one.client.post(format!("{}/api/admin/login", one.base)).json(&body).send().await.unwrap();
        let cookies_set = signed.headers().get_all("set-cookie").iter().map(|set| set.to_str().unwrap());
        let cookies_set: Vec<_> = cookies_set.map(|set| set.split(';').next().unwrap().to_owned()).collect();
        cookies.push(cookies_set.join("; "));
    }
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let mut by_token = admin(&other, ("Authorization", &bearer)).await;
    let mut by_session = admin(&other, ("Cookie", &cookies[0])).await;
    let mut by_account = admin(&other, ("Cookie", &cookies[1])).await;
    let overlay = |key: &serde_json::Value| format!("/ws/max?role=overlay&key={}", key["key"].as_str().unwrap());
    let mut by_key = socket(&other, &overlay(&key), &[]).await;
    let mut by_channel = socket(&other, &overlay(&of_channel), &[]).await;
    let mut viewer = socket(&other, "/ws/max", &[]).await;

    let delete = async |path: String| assert_eq!(one.call(Method::DELETE, &path, None).await.0, 204, "{path}");
    delete(format!("/api/admin/tokens/{}", token["token_id"].as_str().unwrap())).await;
    assert_eq!(by_token.end().await, REVOKED);
    let (_, sessions) = one.get("/api/admin/sessions").await;
    let of_lea = sessions.as_array().unwrap().iter().find(|session| session["account"] == "lea").unwrap();
    delete(format!("/api/admin/sessions/{}", of_lea["session_id"].as_str().unwrap())).await;
    assert_eq!(by_session.end().await, REVOKED);
    delete("/api/admin/accounts/zoe".to_owned()).await;
    assert_eq!(by_account.end().await, REVOKED);
    delete(format!("/api/admin/channels/max/overlay-keys/{}", key["key_id"].as_str().unwrap())).await;
    assert_eq!(by_key.end().await, REVOKED);
    // The others are still served: the channel ends, and they hear of it.
    delete("/api/admin/channels/max".to_owned()).await;
    assert!([REVOKED, Some(4004)].contains(&by_channel.end().await));
    assert_eq!(viewer.end().await, Some(4004));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_revoked_on_the_command_line_closes_its_sockets_on_the_server_that_runs() {
    let folder = data_dir();
    let server = crate::harness::Server::start(&["serve"], folder.path()).await;
    let place = ["--data-dir", folder.path().to_str().unwrap()];
    let made = run(&["token", "new", "--name", "deck", "--role", "admin", place[0], place[1]]);
    let studio = Studio::of(&made.stdout);
    studio.post(&server, "/api/admin/channels", json!({"slug": "max", "title": "Max"})).await;
    let bearer = studio.bearer();
    let mut page = Page::open(&server, "/ws/max?role=admin", &[("Authorization", &bearer)]).await.unwrap();
    let listed = run(&["token", "list", place[0], place[1]]).stdout;
    let id = listed.split_whitespace().next().unwrap();
    assert_eq!(run(&["token", "revoke", id, place[0], place[1]]).code, Some(0));
    assert_eq!(page.end().await, REVOKED);
}
