//! The second factor: set up, asked for, lost.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use super::auth::{Browser, PASSWORD, anonymous, browser, set_up};
use super::support::{Server, read, refused};
use crate::harness::{data_dir, run};

const PATH: &str = "/api/admin/second-factor";

/// The code of a step of 30 s, as an app computes it.
fn code(secret: &str, step: u64) -> String {
    let totp = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
    totp.generate(step * 30).to_string()
}

fn step() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 30
}

/// Switches the second factor of a browser's account on: the secret, the step whose code was used, the recovery codes.
pub(super) async fn switched_on(server: &Server, owner: &Browser) -> (String, u64, Vec<String>) {
    let (status, begun) = owner.send(server, Method::POST, PATH, Value::Null).await;
    assert_eq!(status, 200, "{begun}");
    assert!(begun["qr"].as_str().unwrap().starts_with("<svg "), "{begun}");
    let secret = begun["secret"].as_str().unwrap().to_owned();
    assert!(begun["url"].as_str().unwrap().contains(&secret));
    let wrong = owner.send(server, Method::PUT, PATH, json!({"code": code(&secret, 1)})).await;
    refused(&wrong, 403, "forbidden", Some("code"));
    let used = step();
    let (status, on) = owner.send(server, Method::PUT, PATH, json!({"code": code(&secret, used)})).await;
    assert_eq!(status, 200, "{on}");
    let codes = on["recovery"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    (secret, used, codes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_needs_the_password_and_a_code_that_was_not_used() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let (secret, used, recovery) = switched_on(&server, &owner).await;
    let log_in = async |code: Value| {
        let body = json!({"name": "eloise", "password": PASSWORD, "code": code});
        let request = server.client.post(format!("{}/api/admin/login", server.base)).json(&body);
        read(request.header("Cookie", owner.device()).send().await.unwrap()).await
    };
    // However many guesses there were before: here somebody knows the password.
    while server.state.audit.may_keep_failure().is_some() {}
    refused(&log_in(Value::Null).await, 403, "code_required", Some("code"));
    let (_, page) = server.get("/api/admin/audit?limit=1").await;
    assert_eq!((&page["entries"][0]["who"], &page["entries"][0]["code"]), (&json!("Éloïse"), &json!("code_required")));
    refused(&log_in(json!("000000")).await, 403, "forbidden", Some("code"));
    refused(&log_in(json!(code(&secret, used))).await, 403, "forbidden", Some("code"));
    let next = code(&secret, step().max(used + 1));
    assert_eq!(log_in(json!(next)).await.0, 200);
    refused(&log_in(json!(next)).await, 403, "forbidden", Some("code"));
    // Guessing is slow, also with the right password: and says so.
    let mut last = (0, Value::Null);
    for _ in 0..8 {
        last = log_in(json!("000000")).await;
    }
    refused(&last, 429, "too_fast", None);
    let (_, info) = owner.send(&server, Method::GET, PATH, Value::Null).await;
    assert_eq!(info["recovery_left"], recovery.len());
    // It shows neither secret nor codes again, and is set up once.
    let (_, accounts) = owner.send(&server, Method::GET, "/api/admin/accounts", Value::Null).await;
    assert_eq!(accounts[0]["has_second_factor"], true);
    assert!(!accounts.to_string().contains(&secret));
    refused(&owner.send(&server, Method::POST, PATH, Value::Null).await, 409, "conflict", None);
    let confirm = owner.send(&server, Method::POST, "/api/admin/confirm", json!({"password": PASSWORD})).await;
    refused(&confirm, 403, "code_required", Some("code"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_opens_once_and_another_admin_can_switch_a_lost_factor_off() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let (_, _, recovery) = switched_on(&server, &owner).await;
    let log_in = async |name: &str, code: Value| {
        let body = json!({"name": name, "password": PASSWORD, "code": code});
        anonymous(&server, "/api/admin/login", &body).await
    };
    assert_eq!(log_in("eloise", json!(recovery[0].to_uppercase())).await.status(), 200);
    refused(&read(log_in("eloise", json!(recovery[0])).await).await, 403, "forbidden", Some("code"));
    let (_, renewed) = owner.send(&server, Method::POST, "/api/admin/second-factor/recovery", Value::Null).await;
    refused(&read(log_in("eloise", json!(recovery[1])).await).await, 403, "forbidden", Some("code"));
    assert_eq!(log_in("eloise", renewed["recovery"][0].clone()).await.status(), 200);
    let bob = json!({"name": "bob", "password": PASSWORD, "role": "admin"});
    assert_eq!(owner.send(&server, Method::POST, "/api/admin/accounts", bob).await.0, 201);
    let bob = browser(log_in("bob", Value::Null).await).await;
    let off = async |name: &str| {
        bob.send(&server, Method::DELETE, &format!("/api/admin/accounts/{name}/second-factor"), Value::Null).await
    };
    assert_eq!(off("eloise").await.0, 204);
    refused(&off("eloise").await, 409, "conflict", None);
    assert_eq!(log_in("eloise", Value::Null).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_password_or_factor_comes_back_by_the_command_line() {
    let folder = data_dir();
    let place = ["--data-dir", folder.path().to_str().unwrap()];
    let command = |arguments: &[&str]| run(&[arguments, &place[..]].concat());
    let made = command(&["streamer", "add", "lea"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let first = made.stdout.trim().to_owned();
    let file = folder.path().join("password");
    std::fs::write(&file, "un mot de passe\n").unwrap();
    let bob = ["streamer", "add", "bob", "--role", "moderator", "--password-file", file.to_str().unwrap()];
    let bob = command(&bob);
    assert_eq!((bob.code, bob.stdout.as_str()), (Some(0), ""), "{}", bob.stderr);
    let server = crate::harness::Server::start(&["serve"], folder.path()).await;
    let client = reqwest::Client::builder().cookie_store(true).build().unwrap();
    let log_in = async |name: &str, password: &str| {
        let body = json!({"name": name, "password": password});
        let answer = client.post(server.url("/api/admin/login")).json(&body).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    assert_eq!(log_in("bob", PASSWORD).await.0, 200, "a line break ends the file, not the password");
    let (status, session) = log_in("lea", &first).await;
    assert_eq!(status, 200, "{session}");
    let csrf = session["csrf"].as_str().unwrap();
    let call = async |method: Method, body: Value| {
        let request = client.request(method, server.url(PATH)).header("X-CSRF-Token", csrf);
        request.json(&body).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let secret = call(Method::POST, json!({})).await["secret"].as_str().unwrap().to_owned();
    assert_eq!(
        call(Method::PUT, json!({"code": code(&secret, step())})).await["recovery"].as_array().unwrap().len(),
        10
    );
    // Beside the running server.
    let listed = command(&["streamer", "list"]).stdout;
    assert!(listed.contains("moderator  bob\n") && listed.contains("lea  second factor since 2"), "{listed}");
    let second = command(&["streamer", "password", "lea"]).stdout.trim().to_owned();
    assert_eq!(log_in("lea", &second).await.1["code"], "code_required");
    assert_eq!(command(&["streamer", "second-factor-off", "lea"]).code, Some(0));
    assert_eq!(command(&["streamer", "second-factor-off", "lea"]).code, Some(1));
    assert_eq!(log_in("lea", &second).await.0, 200);
    assert_eq!(command(&["streamer", "remove", "bob"]).code, Some(0));
    assert_eq!(command(&["streamer", "remove", "lea"]).code, Some(1), "the last admin");
    let log = command(&["audit"]).stdout;
    assert!(log.contains("end_second_factor_of") && log.contains("cli") && !log.contains(&second), "{log}");
}
