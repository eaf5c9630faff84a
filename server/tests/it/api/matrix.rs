//! Who may call what: every operation for admins, by everybody who may knock.

use reqwest::Method;
use serde_json::{Value, json};

use super::audit::filled;
use super::auth::{PASSWORD, set_up};
use super::support::Server;
use bareme::catalogue::{Scope, Token};

/// What an operation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing but a name.
    Anybody,
    /// A token or an account that may do this.
    May(Scope),
    /// A person, whatever they may do.
    Person,
    /// An admin, no token.
    Admin,
}

/// What is asked for by operations that are neither read by moderators nor managed by admins.
fn need(id: &str, method: &Method) -> Need {
    match id {
        "current_session" => Need::Anybody,
        "open_live" | "close_live" | "reopen_live" | "next_jeu" | "set_current" | "open_jeu" | "close_jeu"
        | "reopen_jeu" | "set_test_mode" | "end_test_mode" => Need::May(Scope::Drive),
        "list_tokens" | "create_token" | "delete_token" | "list_accounts" | "delete_account" | "list_sessions"
        | "delete_session" | "list_audit" | "audit_csv" | "audit_ndjson" => Need::May(Scope::Accounts),
        "confirm"
        | "confirm_challenge"
        | "confirm_with_passkey"
        | "list_passkeys"
        | "new_passkey"
        | "add_passkey"
        | "remove_passkey"
        | "second_factor"
        | "begin_second_factor"
        | "finish_second_factor"
        | "renew_recovery"
        | "end_second_factor" => Need::Person,
        "create_account" | "change_password" | "end_second_factor_of" | "remove_passkeys_of" => Need::Admin,
        "live_notes" => Need::May(Scope::Manage),
        _ if method == Method::GET => Need::May(Scope::Read),
        _ => Need::May(Scope::Manage),
    }
}

/// Somebody who knocks: their headers, what they may do, and whether it is a person.
struct Caller {
    name: String,
    headers: Vec<(&'static str, String)>,
    scopes: Vec<Scope>,
    is_person: bool,
}

impl Caller {
    fn may(&self, need: Need) -> bool {
        match need {
            Need::Anybody => true,
            Need::May(scope) => self.scopes.contains(&scope),
            Need::Person => self.is_person,
            Need::Admin => self.is_person && self.scopes.contains(&Scope::Accounts),
        }
    }
}

async fn token(server: &Server, scope: Scope, expires_at_us: Option<u64>) -> Caller {
    let name = format!("{scope:?}");
    let new = Token { name: name.clone(), scopes: vec![scope], created_at_us: 1, expires_at_us, made_by: None };
    let (_, _, secret) = server.state.auth.make_token(new).await.unwrap();
    let headers = vec![("Authorization", format!("Bearer {}", secret.reveal()))];
    Caller { name, headers, scopes: vec![scope], is_person: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_open_to_those_who_may_and_to_nobody_else() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let body = json!({"name": "lea", "password": PASSWORD, "role": "moderator"});
    assert_eq!(owner.send(&server, Method::POST, "/api/admin/accounts", body).await.0, 201);
    let lea = json!({"name": "lea", "password": PASSWORD});
    let lea = super::auth::browser(super::auth::anonymous(&server, "/api/admin/login", &lea).await).await;
    let person = |name: &str, browser: &super::auth::Browser, scopes: &[Scope]| Caller {
        name: name.to_owned(),
        headers: browser.headers(),
        scopes: scopes.to_vec(),
        is_person: true,
    };
    let all = [Scope::Read, Scope::Drive, Scope::Manage, Scope::Accounts];
    let mut callers = vec![person("admin", &owner, &all), person("moderator", &lea, &all[..2])];
    for scope in all {
        callers.push(token(&server, scope, None).await);
    }
    let mut nobody = token(&server, Scope::Manage, Some(1)).await;
    nobody.name = "expired".to_owned();
    let nobodies = [nobody, Caller { name: "nobody".to_owned(), headers: vec![], scopes: vec![], is_person: false }];
    let (_, document) = server.get("/api/openapi.json").await;
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let is_public = ["log_in", "passkey_challenge", "log_in_with_passkey", "set_up", "log_out", "list_presets"]
                .contains(&id);
            if !(path.starts_with("/api/admin/") || id == "live_notes") || is_public {
                continue;
            }
            operations += 1;
            let method: Method = method.to_uppercase().parse().unwrap();
            for caller in callers.iter().chain(&nobodies) {
                let mut request = server.client.request(method.clone(), format!("{}{}", server.base, filled(path)));
                for (name, value) in &caller.headers {
                    request = request.header(*name, value);
                }
                if method != Method::GET {
                    request = request.json(&json!({"nothing": 1}));
                }
                let response = request.send().await.unwrap();
                let status = response.status().as_u16();
                let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default();
                let said = format!("{method} {path} by {}: {status} {problem}", caller.name);
                if nobodies.iter().any(|nobody| nobody.name == caller.name) {
                    assert_eq!(status, 401, "{said}");
                    continue;
                }
                let rule = problem["rule"].as_str().unwrap_or_default();
                let is_refused = status == 403 && ["admin_only", "scope_missing", "person_only"].contains(&rule);
                assert_eq!(!is_refused, caller.may(need(id, &method)), "{said}");
                assert_ne!(status, 401, "{said}");
            }
        }
    }
    assert!(operations > 45, "{operations}");
}
