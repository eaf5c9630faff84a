//! A server in this process, and a client that knows its token.

use std::sync::Arc;

use bareme::app::{App, Listeners, listen};
use bareme::catalogue::{Role, Token};
use bareme::http::State;
use bareme::settings::Settings;
use bareme::store::Store;
use bareme::store::memory::MemoryStore;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A server over a store in memory, until it is dropped.
pub(super) struct Server {
    pub(super) base: String,
    pub(super) ops: String,
    pub(super) token: String,
    pub(super) setup: String,
    pub(super) client: Client,
    store: Arc<MemoryStore>,
    pub(super) state: State,
    stop: Option<oneshot::Sender<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::over(Arc::new(MemoryStore::exclusive()), change).await
    }

    /// Two pods over one store.
    pub(super) async fn pair() -> (Self, Self) {
        let one = Self::over(Arc::new(MemoryStore::new()), |_| {}).await;
        let other = Self::over(Arc::clone(&one.store), |_| {}).await;
        (one, other)
    }

    async fn over(store: Arc<MemoryStore>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { workers: 1, ..Settings::default() };
        settings.listen.set_port(0);
        settings.ops_listen.set_port(0);
        change(&mut settings);
        let [public, ops] = [settings.listen, settings.ops_listen].map(|address| listen(address).unwrap());
        let listeners = Listeners { public, ops };
        let app = App::build(settings, Arc::clone(&store) as Arc<dyn Store>, listeners).await.unwrap();
        let state = app.state();
        let base = format!("http://localhost:{}", app.port());
        let ops = format!("http://{}", app.ops_address());
        let new = Token {
            name: "test".to_owned(),
            scopes: Role::Admin.scopes().to_vec(),
            created_at_us: state.now_us(),
            expires_at_us: None,
            made_by: None,
        };
        let (_, _, token) = state.auth.make_token(new).await.unwrap();
        let setup = app.setup_secret().unwrap().reveal().to_owned();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(app.run(async { drop(stopped.await) }, std::future::pending()));
        Self {
            base,
            ops,
            token: token.reveal().to_owned(),
            setup,
            client: Client::new(),
            store,
            state,
            stop: Some(stop),
        }
    }

    /// Makes an account whose password is `un mot de passe`.
    pub(super) async fn account(&self, name: &str, role: Role) {
        self.state.auth.add_account(name, "un mot de passe", role, self.state.now_us()).await.unwrap();
    }

    /// Sends JSON with the token; returns status and body.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await.unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    /// As [`Server::get`], on the listener of operators.
    pub(super) async fn get_ops(&self, path: &str) -> (u16, Value) {
        read(self.client.get(format!("{}{path}", self.ops)).send().await.unwrap()).await
    }

    /// Posts a vote as somebody without token or cookie.
    pub(super) async fn vote(&self, kind: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self.client.post(format!("{}/api/note", self.base)).header("Content-Type", kind).body(body);
        read(request.send().await.unwrap()).await
    }

    pub(super) async fn form(&self, body: &str) -> (u16, Value) {
        self.vote("application/x-www-form-urlencoded", body.to_owned()).await
    }

    pub(super) async fn json(&self, body: &Value) -> (u16, Value) {
        self.vote("application/json", body.to_string()).await
    }

    /// A channel with three jeux, a bareme of five criteres, and a draft of all three; returns the live.
    pub(super) async fn draft(&self, slug: &str) -> String {
        assert_eq!(self.post("/api/admin/channels", json!({"slug": slug, "title": "Max"})).await.0, 201);
        for title in ["Un", "Deux", "Trois"] {
            let path = format!("/api/admin/channels/{slug}/jeux");
            assert_eq!(self.post(&path, json!({"title": title})).await.0, 201);
        }
        let (_, presets) = self.get("/api/admin/bareme-presets").await;
        let (status, bareme) = self.post(&format!("/api/admin/channels/{slug}/baremes"), presets[0].clone()).await;
        assert_eq!(status, 201, "{bareme}");
        self.another_draft(slug, &bareme["bareme_id"]).await
    }

    pub(super) async fn another_draft(&self, slug: &str, bareme_id: &Value) -> String {
        let body = json!({"title": "Soirée", "bareme_id": bareme_id, "jeux": [1, 2, 3]});
        let (status, live) = self.post(&format!("/api/admin/channels/{slug}/lives"), body).await;
        assert_eq!((status, live["status"].as_str()), (201, Some("draft")), "{live}");
        live["live_id"].as_str().unwrap().to_owned()
    }

    /// The same, on air, with all jeux open.
    pub(super) async fn on_air(&self, slug: &str) -> String {
        let live = self.draft(slug).await;
        let (status, state) = self.post(&format!("/api/admin/lives/{live}/open"), json!({"open_jeux": "all"})).await;
        assert_eq!((status, state["status"].as_str()), (200, Some("open")), "{state}");
        live
    }
}

/// Status and body. Every error must be a problem that says what is wrong and what to do.
pub(super) async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    if status >= 400 {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{status} {text}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["status"], status);
        for member in ["code", "reason", "remedy", "title"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {text}");
        }
        let rule = problem["rule"].as_str().unwrap_or_default();
        let known = bareme::domain::rule::Rule::ALL.iter().find(|(word, _)| *word == rule);
        let (_, params) = known.unwrap_or_else(|| panic!("rule `{rule}` of {text}"));
        let mut given: Vec<_> = problem["params"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut wanted = params.to_vec();
        given.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(given, wanted, "{text}");
        return (status, problem);
    }
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
    (status, body)
}

/// Checks status, code and field of a refusal.
#[track_caller]
pub(super) fn refused(answer: &(u16, Value), status: u16, code: &str, field: Option<&str>) {
    let (given, problem) = answer;
    assert_eq!((*given, problem["code"].as_str(), problem["field"].as_str()), (status, Some(code), field), "{problem}");
}
