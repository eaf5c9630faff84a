//! The audit log: nothing that changes something is missing from it, and nothing is in it that must not be.

use bareme::catalogue::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{Server, read, refused};
use crate::harness::{data_dir, run};

const PASSWORD: &str = "un mot de passe";

async fn entries(server: &Server, query: &str) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let (status, page) = server.get(&format!("/api/admin/audit?limit=7{query}{after}")).await;
        assert_eq!(status, 200, "{page}");
        found.extend(page["entries"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { return found };
        after = format!("&after={next}");
    }
}

/// Something to put in the place of a parameter of a path.
pub(super) fn filled(path: &str) -> String {
    let uuid = "019b76da-a800-7000-8000-000000000001";
    let values = [("{channel}", "max"), ("{live_id}", uuid), ("{bareme_id}", uuid), ("{jeu_id}", "1")];
    let path = values.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    match path.split_once('{') {
        Some((start, rest)) => format!("{start}x{}", rest.split_once('}').unwrap().1),
        None => path,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_admin_route_that_can_change_something_leaves_an_entry() {
    let server = Server::start().await;
    let (_, document) = server.get("/api/openapi.json").await;
    let mut wanted = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().iter().filter(|(method, _)| *method != "get");
        for (method, operation) in methods.filter(|_| path.starts_with("/api/admin/")) {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            if id != "log_out" {
                let method: Method = method.to_uppercase().parse().unwrap();
                server.call(method, &filled(path), Some(json!({"name": "x", "password": "x", "token": "x"}))).await;
            }
            wanted.push(id);
        }
    }
    assert!(wanted.len() > 30, "{wanted:?}");
    // Signing out is what a browser does.
    server.account("lea", Role::Moderator).await;
    let browser = reqwest::Client::builder().cookie_store(true).build().unwrap();
    let login =
        browser.post(format!("{}/api/admin/login", server.base)).json(&json!({"name": "lea", "password": PASSWORD}));
    let (_, session) = read(login.send().await.unwrap()).await;
    let out = browser.post(format!("{}/api/admin/logout", server.base));
    let out = out.header("X-CSRF-Token", session["csrf"].as_str().unwrap());
    assert_eq!(out.send().await.unwrap().status(), 204);
    let found = entries(&server, "").await;
    for id in wanted {
        assert!(found.iter().any(|entry| entry["action"] == id.as_str()), "no entry of {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_says_who_what_and_through_which_door_and_no_secret() {
    let server = Server::start().await;
    let browser = reqwest::Client::builder().cookie_store(true).build().unwrap();
    let url = |path: &str| format!("{}{path}", server.base);
    let setup = json!({"token": server.setup, "name": "Éloïse", "password": PASSWORD});
    let (_, session) = read(browser.post(url("/api/admin/setup")).json(&setup).send().await.unwrap()).await;
    let csrf = session["csrf"].as_str().unwrap();
    let post = async |path: &str, body: Value| {
        read(browser.post(url(path)).header("X-CSRF-Token", csrf).json(&body).send().await.unwrap()).await
    };
    let (status, bot) = post("/api/admin/tokens", json!({"name": "bot", "role": "moderator"})).await;
    assert_eq!(status, 201, "{bot}");
    let token = bot["token"].as_str().unwrap();
    let as_bot = server.client.post(url("/api/admin/channels")).bearer_auth(token);
    let as_bot = as_bot.json(&json!({"slug": "x", "title": "x"})).send().await.unwrap();
    refused(&read(as_bot).await, 403, "forbidden", None);
    // A password in the field of the name, and a right name with a wrong password.
    let typed = "correct horse battery staple";
    for (name, password) in [(typed, "x"), ("eloise", typed)] {
        let body = json!({"name": name, "password": password});
        let answer = server.client.post(url("/api/admin/login")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    let found = entries(&server, "").await;
    let of = |action: &str| found.iter().filter(|entry| entry["action"] == action).collect::<Vec<_>>();
    let made = of("create_token")[0];
    assert_eq!((made["who"].as_str(), made["door"].as_str()), (Some("Éloïse"), Some("page")), "{made}");
    assert_eq!((made["about"]["name"].as_str(), made["outcome"].as_str()), (Some("bot"), Some("done")), "{made}");
    let tried = of("create_channel")[0];
    assert_eq!((tried["who"].as_str(), tried["door"].as_str()), (Some("bot"), Some("token")), "{tried}");
    assert_eq!((tried["outcome"].as_str(), tried["code"].as_str()), (Some("refused"), Some("forbidden")), "{tried}");
    assert_eq!(tried["credential"].as_str(), bot["token_id"].as_str().unwrap().get(..8), "{tried}");
    let doors: Vec<_> = of("log_in").iter().map(|entry| (entry["who"].as_str().unwrap(), &entry["outcome"])).collect();
    assert_eq!(doors, [("Éloïse", &json!("refused")), ("", &json!("refused"))], "newest first");
    assert_eq!(of("set_up")[0]["who"], "Éloïse");
    assert_eq!(entries(&server, "&kind=sign_in").await.len(), 3);
    assert_eq!(entries(&server, "&text=ELOISE").await.len(), 3);
    // Nothing of it, wherever it is read.
    let export = |kind: &str| server.client.get(url(&format!("/api/admin/audit.{kind}"))).bearer_auth(&server.token);
    for kind in ["csv", "ndjson"] {
        let text = export(kind).send().await.unwrap().text().await.unwrap();
        assert_eq!(text.lines().filter(|line| !line.starts_with("time,")).count(), found.len(), "{text}");
        for secret in [PASSWORD, typed, token, server.setup.as_str(), csrf, "127.0.0.1", "::1"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_read_the_log_and_a_wrong_question_is_refused() {
    let server = Server::start().await;
    let (_, made) = server.post("/api/admin/tokens", json!({"name": "mod", "role": "moderator"})).await;
    for path in ["audit", "audit.csv", "audit.ndjson"] {
        let url = format!("{}/api/admin/{path}", server.base);
        let moderator = server.client.get(&url).bearer_auth(made["token"].as_str().unwrap());
        refused(&read(moderator.send().await.unwrap()).await, 403, "forbidden", None);
        refused(&read(server.client.get(&url).send().await.unwrap()).await, 401, "setup_required", None);
        for wrong in ["kind=x", "limit=0", "limit=201", "after=x", "after=%C3%A9%C3%A9", "more=1"] {
            refused(&server.get(&format!("/api/admin/{path}?{wrong}")).await, 422, "invalid", Some("query"));
        }
    }
}

#[test]
fn commands_are_in_the_log_that_a_command_prints() {
    let folder = data_dir();
    let place = ["--data-dir", folder.path().to_str().unwrap()];
    let command = |arguments: &[&str]| {
        let ended = run(&[arguments, &place[..]].concat());
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
        ended.stdout
    };
    let token = command(&["token", "new", "--name", "bot", "--role", "moderator"]);
    let id = command(&["token", "list"]).split_whitespace().next().unwrap().to_owned();
    command(&["token", "revoke", &id]);
    let text = command(&["audit"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("delete_token") && lines[1].contains("name=bot"), "{text}");
    assert!(!text.contains(token.trim()), "{text}");
    assert_eq!(command(&["audit", "--text", "BOT", "--format", "ndjson"]).lines().count(), 1);
    assert!(command(&["audit", "--format", "csv", "--limit", "1"]).starts_with("time,who,"));
}
