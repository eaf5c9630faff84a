//! Signing in, sessions, tokens, and what another site cannot do with them.

use reqwest::Method;
use reqwest::header::SET_COOKIE;
use serde_json::{Value, json};

use super::support::{Server, read, refused};

/// A browser: a cookie and a CSRF token.
pub(super) struct Browser {
    pub(super) cookie: String,
    device: String,
    csrf: String,
}

pub(super) const PASSWORD: &str = "un mot de passe";

pub(super) async fn set_up(server: &Server) -> Browser {
    let body = json!({"token": server.setup, "name": "Éloïse", "password": PASSWORD});
    let response = anonymous(server, "/api/admin/setup", &body).await;
    assert_eq!(response.status(), 201);
    browser(response).await
}

pub(super) async fn anonymous(server: &Server, path: &str, body: &Value) -> reqwest::Response {
    server.client.post(format!("{}{path}", server.base)).json(body).send().await.unwrap()
}

pub(super) async fn browser(response: reqwest::Response) -> Browser {
    let set: Vec<_> = response.headers().get_all(SET_COOKIE).iter().map(|set| set.to_str().unwrap()).collect();
    let given = |name: &str| {
        let set = set.iter().find(|set| set.starts_with(name)).unwrap_or_else(|| panic!("{name} in {set:?}"));
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(set.contains(attribute), "{attribute} in {set}");
        }
        set.split(';').next().unwrap().to_owned()
    };
    let (cookie, device) = (given("bareme_session="), given("bareme_device="));
    let (_, body) = read(response).await;
    Browser { cookie, device, csrf: body["csrf"].as_str().unwrap().to_owned() }
}

impl Browser {
    /// The cookie by which it is known after signing out.
    pub(super) fn device(&self) -> &str {
        &self.device
    }

    /// What its requests carry.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        vec![("Cookie", self.cookie.clone()), ("X-CSRF-Token", self.csrf.clone())]
    }

    /// A request of this page; without a body where that is null.
    pub(super) async fn send(&self, server: &Server, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = server.client.request(method, format!("{}{path}", server.base));
        let request = request.header("Cookie", &self.cookie).header("X-CSRF-Token", &self.csrf);
        let request = if body.is_null() { request } else { request.json(&body) };
        read(request.send().await.unwrap()).await
    }

    async fn post(&self, server: &Server, headers: &[(&str, &str)], slug: &str) -> (u16, Value) {
        let body = json!({"slug": slug, "title": "x"});
        let mut request = server.client.post(format!("{}/api/admin/channels", server.base)).json(&body);
        request = request.header("Cookie", &self.cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send().await.unwrap()).await
    }

    async fn session(&self, server: &Server) -> (u16, Value) {
        let request = server.client.get(format!("{}/api/admin/session", server.base)).header("Cookie", &self.cookie);
        read(request.send().await.unwrap()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_set_up_link_makes_one_account_and_works_once() {
    let server = Server::start().await;
    let nobody = server.client.get(format!("{}/api/admin/session", server.base)).send().await.unwrap();
    let nobody = read(nobody).await;
    refused(&nobody, 401, "setup_required", None);
    assert_eq!(nobody.1["setup"], true);
    let wrong = json!({"token": "brm_setup_wrong", "name": "x", "password": PASSWORD});
    refused(&read(anonymous(&server, "/api/admin/setup", &wrong).await).await, 401, "unauthorized", None);
    let short = json!({"token": server.setup, "name": "x", "password": "court"});
    refused(&read(anonymous(&server, "/api/admin/setup", &short).await).await, 422, "invalid", Some("password"));
    let path = json!({"token": server.setup, "name": "../x", "password": PASSWORD});
    refused(&read(anonymous(&server, "/api/admin/setup", &path).await).await, 422, "invalid", Some("name"));
    let browser = set_up(&server).await;
    assert_eq!(browser.session(&server).await.1["csrf"], browser.csrf.as_str());
    let again = json!({"token": server.setup, "name": "y", "password": PASSWORD});
    refused(&read(anonymous(&server, "/api/admin/setup", &again).await).await, 409, "conflict", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_who_use_the_set_up_link_at_once_one_gets_an_account() {
    let server = Server::start().await;
    let tries = (0..6).map(|number| {
        let body = json!({"token": server.setup, "name": format!("a{number}"), "password": PASSWORD});
        let request = server.client.post(format!("{}/api/admin/setup", server.base)).json(&body);
        async move { request.send().await.unwrap().status().as_u16() }
    });
    let mut codes = futures_util::future::join_all(tries).await;
    codes.sort_unstable();
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 1, "{codes:?}");
    assert_eq!(server.get("/api/admin/accounts").await.1.as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_needs_its_csrf_token_and_its_own_site_for_changes() {
    let server = Server::start().await;
    let browser = set_up(&server).await;
    let csrf = browser.csrf.as_str();
    refused(&browser.post(&server, &[], "a").await, 403, "csrf", None);
    refused(&browser.post(&server, &[("X-CSRF-Token", "wrong")], "a").await, 403, "csrf", None);
    for evil in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site")]
    {
        refused(&browser.post(&server, &[("X-CSRF-Token", csrf), evil], "a").await, 403, "wrong_origin", None);
    }
    let own = [("X-CSRF-Token", csrf), ("Origin", server.base.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(browser.post(&server, &own, "a").await.0, 201);
    let evil = server.client.post(format!("{}/api/admin/login", server.base)).header("Origin", "https://evil.example");
    let evil = evil.json(&json!({"name": "Éloïse", "password": PASSWORD})).send().await.unwrap();
    refused(&read(evil).await, 403, "wrong_origin", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_folds_the_name_and_signing_out_ends_the_session() {
    let server = Server::start().await;
    let first = set_up(&server).await;
    let wrong = json!({"name": "Éloïse", "password": "un autre mot"});
    refused(&read(anonymous(&server, "/api/admin/login", &wrong).await).await, 401, "unauthorized", None);
    let unknown = json!({"name": "personne", "password": PASSWORD});
    refused(&read(anonymous(&server, "/api/admin/login", &unknown).await).await, 401, "unauthorized", None);
    let right = json!({"name": "ELOISE", "password": PASSWORD});
    let second = browser(anonymous(&server, "/api/admin/login", &right).await).await;
    let (_, sessions) = server.get("/api/admin/sessions").await;
    assert_eq!(sessions.as_array().map(Vec::len), Some(2), "{sessions}");
    let out = server.client.post(format!("{}/api/admin/logout", server.base));
    let out = out.header("Cookie", &first.cookie).header("X-CSRF-Token", &first.csrf).send().await.unwrap();
    assert_eq!(out.status(), 204);
    refused(&first.session(&server).await, 401, "unauthorized", None);
    let (_, sessions) = server.get("/api/admin/sessions").await;
    let id = sessions[0]["session_id"].as_str().unwrap();
    assert_eq!(second.session(&server).await.0, 200);
    assert_eq!(server.call(Method::DELETE, &format!("/api/admin/sessions/{id}"), None).await.0, 204);
    refused(&second.session(&server).await, 401, "unauthorized", None);
    refused(&server.call(Method::DELETE, "/api/admin/sessions/x", None).await, 404, "unknown_session", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_passwords_is_slowed_down() {
    let server = Server::start().await;
    set_up(&server).await;
    let wrong = json!({"name": "Éloïse", "password": "faux faux faux"});
    let mut last = (0, Value::Null);
    for _ in 0..12 {
        let response = anonymous(&server, "/api/admin/login", &wrong).await;
        if response.status() == 429 {
            assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
        }
        last = read(response).await;
    }
    refused(&last, 429, "too_fast", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_passwords_from_everywhere_keep_a_browser_that_signed_in_before_out_of_nothing() {
    let server = Server::with(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let owner = set_up(&server).await;
    let log_in = async |from: &str, password: &str, cookie: &str| {
        let request = server.client.post(format!("{}/api/admin/login", server.base)).header("Cookie", cookie);
        let request = request.header("X-Forwarded-For", from).json(&json!({"name": "Éloïse", "password": password}));
        request.send().await.unwrap().status()
    };
    let mut slowed = 0;
    for last in 1..=39 {
        let status = log_in(&format!("198.51.100.{last}"), "faux faux faux", "").await;
        assert!([401, 429].contains(&status.as_u16()), "{status}");
        slowed += u32::from(status == 429);
    }
    assert!(slowed > 0, "39 tries at one name from 39 addresses");
    assert_eq!(log_in("203.0.113.9", PASSWORD, "").await, 429, "somebody nobody knows");
    // Signed out, and from one of the addresses that guessed.
    assert_eq!(log_in("198.51.100.1", PASSWORD, &owner.device).await, 200);
    assert_eq!(log_in("203.0.113.9", PASSWORD, &owner.device).await, 200);
    assert_eq!(log_in("203.0.113.9", PASSWORD, "bareme_device=AAAA").await, 429, "a cookie that is made up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_change_ends_the_other_sessions() {
    let server = Server::start().await;
    let first = set_up(&server).await;
    let login = json!({"name": "Éloïse", "password": PASSWORD});
    let second = browser(anonymous(&server, "/api/admin/login", &login).await).await;
    let change = server.client.put(format!("{}/api/admin/accounts/éloïse/password", server.base));
    let change = change.header("Cookie", &second.cookie).header("X-CSRF-Token", &second.csrf);
    let change = change.json(&json!({"password": "un nouveau mot", "current": PASSWORD})).send().await.unwrap();
    assert_eq!(change.status(), 204);
    refused(&first.session(&server).await, 401, "unauthorized", None);
    assert_eq!(second.session(&server).await.0, 200);
    assert_eq!(anonymous(&server, "/api/admin/login", &login).await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moderator_drives_and_reads_and_nothing_more() {
    let server = Server::start().await;
    let live = server.draft("max").await;
    let (status, made) = server.post("/api/admin/tokens", json!({"name": "bot", "role": "moderator"})).await;
    assert_eq!(status, 201, "{made}");
    let token = made["token"].as_str().unwrap();
    let call = async |method: Method, path: String, body: Value| {
        let request = server.client.request(method, format!("{}{path}", server.base)).bearer_auth(token).json(&body);
        read(request.send().await.unwrap()).await
    };
    assert_eq!(call(Method::POST, format!("/api/admin/lives/{live}/open"), json!({})).await.0, 200);
    assert_eq!(call(Method::POST, format!("/api/admin/lives/{live}/next"), json!({"delay_ms": 0})).await.0, 200);
    assert_eq!(call(Method::GET, "/api/admin/channels".to_owned(), Value::Null).await.0, 200);
    for (method, path, body) in [
        (Method::POST, "/api/admin/channels".to_owned(), json!({"slug": "x", "title": "x"})),
        (Method::GET, "/api/admin/tokens".to_owned(), Value::Null),
        (Method::GET, "/api/admin/accounts".to_owned(), Value::Null),
        (Method::DELETE, "/api/admin/channels/max".to_owned(), Value::Null),
        (Method::GET, format!("/api/lives/{live}/notes"), Value::Null),
        (Method::PATCH, format!("/api/admin/lives/{live}"), json!({"title": "x"})),
    ] {
        refused(&call(method, path, body).await, 403, "forbidden", None);
    }
    let id = made["token_id"].as_str().unwrap();
    assert_eq!(server.call(Method::DELETE, &format!("/api/admin/tokens/{id}"), None).await.0, 204);
    refused(&call(Method::GET, "/api/admin/channels".to_owned(), Value::Null).await, 401, "unauthorized", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_wrong_token_is_nobody_before_the_body_is_read() {
    let server = Server::start().await;
    for token in ["", "wrong", "brm_token_AAAA"] {
        let request = server.client.post(format!("{}/api/admin/channels", server.base)).bearer_auth(token).body("{");
        refused(&read(request.send().await.unwrap()).await, 401, "unauthorized", None);
    }
    let basic = server.client.get(format!("{}/api/admin/channels", server.base)).basic_auth("x", Some("y"));
    refused(&read(basic.send().await.unwrap()).await, 401, "unauthorized", None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_account_stays() {
    let server = Server::start().await;
    let owner = set_up(&server).await;
    let last = owner.send(&server, Method::DELETE, "/api/admin/accounts/eloise", Value::Null).await;
    refused(&last, 409, "conflict", None);
    let bob = |role: &str| json!({"name": "bob", "password": PASSWORD, "role": role});
    assert_eq!(owner.send(&server, Method::POST, "/api/admin/accounts", bob("admin")).await.0, 201);
    let taken = json!({"name": "BOB", "password": PASSWORD, "role": "moderator"});
    refused(&owner.send(&server, Method::POST, "/api/admin/accounts", taken).await, 409, "conflict", None);
    let delete = |name: &str| format!("/api/admin/accounts/{name}");
    assert_eq!(owner.send(&server, Method::DELETE, &delete("bob"), Value::Null).await.0, 204);
    refused(&owner.send(&server, Method::DELETE, &delete("bob"), Value::Null).await, 404, "unknown_account", None);
}
