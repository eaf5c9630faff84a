//! What a streamer prepares: channels, jeux, lives and keys, over the admin API.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Server, client, run};
use crate::wire::Page;

/// What a token may do that may do everything.
const ALL: &str = "read,drive,manage,accounts";

/// Makes a moderator in a data directory whose password is `un mot de passe`, with the command that is meant for it.
pub(crate) fn moderator(name: &str, data_dir: &Path) {
    let file = data_dir.join("password");
    std::fs::write(&file, "un mot de passe").unwrap();
    let (place, file) = (data_dir.to_str().unwrap(), file.to_str().unwrap());
    let made = run(&["streamer", "add", name, "--role", "moderator", "--password-file", file, "--data-dir", place]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
}

/// Somebody with a token that may do everything.
pub(crate) struct Studio {
    token: String,
}

impl Studio {
    /// Makes a token in a data directory, with the command that is meant for it.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self::with(["--data-dir", data_dir.to_str().unwrap()])
    }

    /// Makes a token in a store.
    pub(crate) fn on_store(store: &str) -> Self {
        Self::with(["--store", store])
    }

    fn with(place: [&str; 2]) -> Self {
        let made = run(&["token", "new", "--name", "it", "--scope", ALL, place[0], place[1]]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        Self::of(&made.stdout)
    }

    /// Somebody with a token that was just made.
    pub(crate) fn of(token: &str) -> Self {
        Self { token: token.trim().to_owned() }
    }

    /// The header of a request.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// A request; its status and its JSON.
    pub(crate) async fn request(&self, server: &Server, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let request = client().request(method, server.url(path)).header("Authorization", self.bearer());
        let request = if body.is_null() { request } else { request.json(body) };
        let response = request.send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A POST that has to succeed.
    pub(crate) async fn post(&self, server: &Server, path: &str, body: Value) -> Value {
        let (status, answer) = self.request(server, Method::POST, path, &body).await;
        assert!((200..300).contains(&status), "POST {path} {body}: {status} {answer}");
        answer
    }

    /// A channel, jeux with these titles, and an open live about them; the live's id and the jeux' numbers.
    pub(crate) async fn live(&self, server: &Server, channel: &str, settings: Value, open: &str) -> (String, Vec<u32>) {
        let (live, jeux) = self.draft(server, channel, 2, settings).await;
        self.post(server, &format!("/api/admin/lives/{live}/open"), json!({"open_jeux": open})).await;
        (live, jeux)
    }

    /// A channel, some jeux, and a live about them that is not open yet.
    pub(crate) async fn draft(
        &self,
        server: &Server,
        channel: &str,
        count: u32,
        settings: Value,
    ) -> (String, Vec<u32>) {
        self.post(server, "/api/admin/channels", json!({"slug": channel, "title": channel})).await;
        let mut jeux = Vec::new();
        for number in 1..=count {
            let path = format!("/api/admin/channels/{channel}/jeux");
            let jeu = self.post(server, &path, json!({"title": format!("Jeu {number} de {channel}")})).await;
            jeux.push(u32::try_from(jeu["jeu_id"].as_u64().unwrap()).unwrap());
        }
        let bareme = self.post(server, &format!("/api/admin/channels/{channel}/baremes"), bareme()).await;
        let mut body = json!({"title": "It", "bareme_id": bareme["bareme_id"], "jeux": jeux});
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let live = self.post(server, &format!("/api/admin/channels/{channel}/lives"), body).await;
        (live["live_id"].as_str().unwrap().to_owned(), jeux)
    }

    /// Returns when every page has heard all that was published of the live before the call.
    ///
    /// A room publishes whole snapshots in order. The first change of the title therefore comes with or after whatever was
    /// published before, and the second in a later snapshot than the first.
    pub(crate) async fn fence(&self, server: &Server, live: &str, pages: &mut [&mut Page]) {
        for fence in ["first fence", "second fence"] {
            let path = format!("/api/admin/lives/{live}");
            let (status, answer) = self.request(server, Method::PATCH, &path, &json!({"title": fence})).await;
            assert_eq!(status, 200, "{answer}");
            for page in &mut *pages {
                page.until(fence, |heard| heard["t"] == "state" && heard["live"]["title"] == fence).await;
            }
        }
    }

    /// A new overlay key: its id and the key.
    pub(crate) async fn overlay_key(&self, server: &Server, channel: &str) -> (String, String) {
        let key =
            self.post(server, &format!("/api/admin/channels/{channel}/overlay-keys"), json!({"name": "obs"})).await;
        (key["key_id"].as_str().unwrap().to_owned(), key["key"].as_str().unwrap().to_owned())
    }
}

/// Two criteres from 1 to 5, one of them in halves.
fn bareme() -> Value {
    let labels = |text: &str| json!({"fr": text, "en": text});
    let critere = |key: &str, step: f64| {
        json!({"key": key, "labels": labels(key), "min": 1, "max": 5, "step": step, "weight": 1,
            "low": labels("bas"), "high": labels("haut"), "optional": true})
    };
    json!({"name": "Deux", "criteres": [critere("fun", 1.0), critere("graph", 0.5)]})
}
