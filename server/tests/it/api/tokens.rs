//! What tokens may do, how long, and what they cannot leave behind.

use std::time::Duration;

use bareme::catalogue::{Role, Scope, Session, Token};
use bareme::store::{RecordKey, RecordKind};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::auth::{Browser, PASSWORD, set_up};
use super::support::{Server, read, refused};

async fn call(server: &Server, token: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = server.client.request(method, format!("{}{path}", server.base)).bearer_auth(token).json(&body);
    read(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_power_over_accounts_only_if_it_was_asked_for() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let make = async |body: Value| owner.send(&server, Method::POST, "/api/admin/tokens", body).await;
    let (status, admin) = make(json!({"name": "deck", "role": "admin"})).await;
    assert_eq!((status, &admin["scopes"]), (201, &json!(["read", "drive", "manage"])), "{admin}");
    let deck = admin["token"].as_str().unwrap();
    assert_eq!(call(&server, deck, Method::GET, "/api/admin/channels", Value::Null).await.0, 200);
    for path in ["tokens", "accounts", "sessions", "audit"] {
        let answer = call(&server, deck, Method::GET, &format!("/api/admin/{path}"), Value::Null).await;
        refused(&answer, 403, "forbidden", None);
        assert_eq!(answer.1["rule"], "scope_missing");
    }
    for wrong in [json!({}), json!({"scopes": []}), json!({"role": "admin", "scopes": ["read"]})] {
        let mut body = json!({"name": "x"});
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        refused(&make(body).await, 422, "invalid", Some("scopes"));
    }
    let (_, drive) = make(json!({"name": "drive", "scopes": ["drive", "drive"]})).await;
    assert_eq!(drive["scopes"], json!(["drive"]));
    let reading =
        call(&server, drive["token"].as_str().unwrap(), Method::GET, "/api/admin/channels", Value::Null).await;
    refused(&reading, 403, "forbidden", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_token_makes_is_an_account_or_outlives_it() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let all = json!(["read", "drive", "manage", "accounts"]);
    let body = json!({"name": "all", "scopes": all, "expires_in_days": 2});
    let (status, maker) = owner.send(&server, Method::POST, "/api/admin/tokens", body).await;
    assert_eq!(status, 201, "{maker}");
    let token = maker["token"].as_str().unwrap();
    let post = async |token: &str, path: &str, body: Value| call(&server, token, Method::POST, path, body).await;
    // An account, the password of one, the end of an admin, or of its second factor.
    let account = |role: &str| json!({"name": "mallory", "password": PASSWORD, "role": role});
    let password = json!({"password": "un autre mot de passe"});
    server.account("lea", Role::Moderator).await;
    for (method, path, body) in [
        (Method::POST, "/api/admin/accounts", account("admin")),
        (Method::POST, "/api/admin/accounts", account("moderator")),
        (Method::PUT, "/api/admin/accounts/eloise/password", password.clone()),
        (Method::PUT, "/api/admin/accounts/lea/password", password),
        (Method::DELETE, "/api/admin/accounts/eloise", Value::Null),
        (Method::DELETE, "/api/admin/accounts/eloise/second-factor", Value::Null),
        (Method::POST, "/api/admin/second-factor", Value::Null),
        (Method::DELETE, "/api/admin/accounts/eloise/passkeys", Value::Null),
        (Method::GET, "/api/admin/passkeys", Value::Null),
        (Method::GET, "/api/admin/passkey-options", Value::Null),
        (Method::POST, "/api/admin/passkeys", Value::Null),
        (Method::DELETE, "/api/admin/passkeys/x", Value::Null),
        (Method::GET, "/api/admin/confirm/passkey", Value::Null),
        (Method::POST, "/api/admin/confirm/passkey", Value::Null),
        (Method::POST, "/api/admin/confirm", json!({"password": PASSWORD})),
    ] {
        let answer = call(&server, token, method, path, body).await;
        assert_eq!((answer.0, answer.1["rule"].as_str()), (403, Some("person_only")), "{path}: {}", answer.1);
    }
    // Tokens that it makes end with it.
    let (_, child) = post(token, "/api/admin/tokens", json!({"name": "c", "scopes": all, "expires_in_days": 99})).await;
    assert_eq!((&child["expires_at_us"], &child["made_by"]), (&maker["expires_at_us"], &maker["token_id"]), "{child}");
    let child = child["token"].as_str().unwrap();
    let (_, grandchild) = post(child, "/api/admin/tokens", json!({"name": "g", "scopes": ["read", "accounts"]})).await;
    let grandchild = grandchild["token"].as_str().unwrap();
    let more = post(grandchild, "/api/admin/tokens", json!({"name": "m", "scopes": ["manage"]})).await;
    assert_eq!((more.0, more.1["rule"].as_str()), (403, Some("scope_missing")), "{}", more.1);
    let path = format!("/api/admin/tokens/{}", maker["token_id"].as_str().unwrap());
    assert_eq!(owner.send(&server, Method::DELETE, &path, Value::Null).await.0, 204);
    for gone in [token, child, grandchild] {
        refused(&call(&server, gone, Method::GET, "/api/admin/tokens", Value::Null).await, 401, "unauthorized", None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_time_is_over_is_none() {
    let server = Server::start().await;
    let now_us = server.state.now_us();
    let new = |end| Token {
        name: "x".to_owned(),
        scopes: vec![Scope::Read],
        created_at_us: 1,
        expires_at_us: Some(end),
        made_by: None,
    };
    let (_, _, over) = server.state.auth.make_token(new(now_us)).await.unwrap();
    let (_, _, valid) = server.state.auth.make_token(new(now_us + 3_600_000_000)).await.unwrap();
    let ask = async |token: &str| call(&server, token, Method::GET, "/api/admin/channels", Value::Null).await;
    refused(&ask(over.reveal()).await, 401, "unauthorized", None);
    assert_eq!(ask(valid.reveal()).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_tokens_are_changed_soon_after_the_password_was_given_and_ones_own_password_with_it() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let secret = owner.cookie.split_once('=').unwrap().1;
    let key = RecordKey::new(RecordKind::Session, "", bareme::auth::secrets::hash(secret));
    let eleven_minutes = 11 * 60 * 1_000_000;
    let make_old = |session: &mut Session| {
        session.confirmed_at_us -= eleven_minutes;
        Ok::<_, ()>(())
    };
    server.state.records.update(&key, make_old).await.unwrap().unwrap().unwrap();
    let send = async |method: Method, path: &str, body: Value| owner.send(&server, method, path, body).await;
    let token = json!({"name": "x", "role": "admin"});
    let account = json!({"name": "bob", "password": PASSWORD, "role": "admin"});
    for (method, path, body) in [
        (Method::POST, "/api/admin/tokens", token.clone()),
        (Method::POST, "/api/admin/accounts", account.clone()),
        (Method::DELETE, "/api/admin/accounts/bob", Value::Null),
        (Method::PUT, "/api/admin/accounts/bob/password", json!({"password": PASSWORD})),
        (Method::POST, "/api/admin/second-factor", Value::Null),
    ] {
        let answer = send(method, path, body).await;
        refused(&answer, 403, "confirm_required", None);
        assert_eq!(answer.1["params"]["max_s"], 600);
    }
    assert_eq!(send(Method::GET, "/api/admin/tokens", Value::Null).await.0, 200, "to read is no change");
    let wrong = send(Method::POST, "/api/admin/confirm", json!({"password": "faux faux faux"})).await;
    refused(&wrong, 403, "forbidden", Some("password"));
    refused(&send(Method::POST, "/api/admin/tokens", token.clone()).await, 403, "confirm_required", None);
    assert_eq!(send(Method::POST, "/api/admin/confirm", json!({"password": PASSWORD})).await.0, 204);
    assert_eq!(send(Method::POST, "/api/admin/tokens", token).await.0, 201);
    assert_eq!(send(Method::POST, "/api/admin/accounts", account).await.0, 201);
    // One's own password takes the one before it, however recently it was given.
    let own = "/api/admin/accounts/eloise/password";
    let new = "un nouveau mot de passe";
    refused(&send(Method::PUT, own, json!({"password": new})).await, 422, "invalid", Some("current"));
    let wrong = json!({"password": new, "current": "faux faux faux"});
    refused(&send(Method::PUT, own, wrong).await, 403, "forbidden", Some("current"));
    assert_eq!(send(Method::PUT, own, json!({"password": new, "current": PASSWORD})).await.0, 204);
    let guesses = (0..20).map(|_| json!({"password": "faux faux faux"}));
    let mut last = (0, Value::Null);
    for guess in guesses {
        last = send(Method::POST, "/api/admin/confirm", guess).await;
    }
    refused(&last, 429, "too_fast", None);
}

/// Sends a request for a token but for the end of its body, and waits until the server knows who sends it.
async fn begun(server: &Server, owner: &Browser) -> (tokio::net::TcpStream, RecordKey) {
    let secret = owner.cookie.split_once('=').unwrap().1;
    let key = RecordKey::new(RecordKind::Session, "", bareme::auth::secrets::hash(secret));
    let three_hours = 3 * 3_600 * 1_000_000;
    let make_idle = |session: &mut Session| {
        session.seen_at_us -= three_hours;
        Ok::<_, ()>(session.seen_at_us)
    };
    let (_, idle) = server.state.records.update(&key, make_idle).await.unwrap().unwrap().unwrap();
    let address = server.base.strip_prefix("http://").unwrap();
    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut head = format!("POST /api/admin/tokens HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n");
    for (name, value) in owner.headers() {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n{}", BODY.len(), &BODY[..20]);
    tcp.write_all(head.as_bytes()).await.unwrap();
    while server.state.records.get::<Session>(&key).await.unwrap().unwrap().value.seen_at_us == idle {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (tcp, key)
}

const BODY: &str = r#"{"name": "slow", "role": "admin"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_revoked_while_its_request_comes_makes_nothing() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let (mut tcp, session) = begun(&server, &owner).await;
    assert!(server.state.catalogue.delete_session(&session.id).await.unwrap());
    tcp.write_all(&BODY.as_bytes()[20..]).await.unwrap();
    let mut answer = [0; 12];
    tcp.read_exact(&mut answer).await.unwrap();
    assert_eq!(std::str::from_utf8(&answer).unwrap(), "HTTP/1.1 401");
    let tokens = server.state.catalogue.tokens().await.unwrap();
    assert!(tokens.iter().all(|(_, token)| token.name != "slow"), "{tokens:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_resets_its_connection_leaves_an_entry() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let (tcp, _) = begun(&server, &owner).await;
    tcp.set_zero_linger().unwrap();
    drop(tcp);
    let entry = async {
        loop {
            let (_, page) = server.get("/api/admin/audit?text=create_token").await;
            if let Some(entry) = page["entries"].as_array().unwrap().first() {
                return entry.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let entry = tokio::time::timeout(Duration::from_secs(60), entry).await.unwrap();
    assert_eq!((entry["who"].as_str(), entry["outcome"].as_str()), (Some("Éloïse"), Some("refused")), "{entry}");
}
