//! The server's HTTP interface: the admin's calls that drive a live, and what is read at the end.
//!
//! Every call can be repeated, and is, for as long as the server is away: a run goes on through a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bareme::protocol::LiveState;
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::Url;
use uuid::Uuid;

use crate::oracle::means::Published;
use crate::oracle::recount::Row;
use crate::shape::Shape;

/// How long one request may take. An export of a million notes takes a while.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause before a request is repeated.
const RETRY: Duration = Duration::from_millis(200);

/// What a server that is away, or the balancer before it, answers.
const AWAY: [StatusCode; 3] = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];

/// The HTTP interface of a server.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    base: Url,
    token: Option<String>,
    /// How long a server that is away is waited for.
    patience: Duration,
}

/// A jeu's published results.
#[derive(Debug, Deserialize)]
struct JeuResult {
    jeu_id: u32,
    phase: String,
    #[serde(flatten)]
    numbers: Published,
    masked: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Results {
    jeux: Vec<JeuResult>,
}

#[derive(Debug, Deserialize)]
struct ExportLine {
    viewer: String,
    jeu: u32,
    v: u64,
    scores: serde_json::Map<String, Value>,
}

/// What the server says of a refused request, in one line.
fn words(status: StatusCode, text: &str) -> String {
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| problem[name].as_str().map(str::to_owned);
    match (field("reason"), field("remedy")) {
        (Some(detail), Some(remedy)) => format!("{detail}; {remedy} (HTTP {status})"),
        (Some(detail), None) => format!("{detail} (HTTP {status})"),
        _ => format!("HTTP {status}"),
    }
}

impl Api {
    /// The interface at an address.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(base: &Url, token: Option<String>, patience: Duration) -> Result<Self> {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(REQUEST_TIMEOUT);
        Ok(Self { client: client.build().context("cannot make an HTTP client")?, base: base.clone(), token, patience })
    }

    /// Whether it may use the admin's calls.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The token as a header line, for a socket of an admin.
    pub fn authorization(&self) -> String {
        self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default()
    }

    /// One try.
    async fn once(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, String), reqwest::Error> {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut request = self.client.request(method.clone(), url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, String)> {
        let started = Instant::now();
        loop {
            let failure = match self.once(&method, path, body).await {
                Ok((status, _)) if AWAY.contains(&status) => anyhow!("HTTP {status}"),
                Ok(answer) => return Ok(answer),
                Err(error) => anyhow::Error::new(error),
            };
            if started.elapsed() > self.patience {
                let base = &self.base;
                return Err(failure)
                    .with_context(|| format!("{base} does not answer: is the server running there? Check --url"));
            }
            sleep(RETRY).await;
        }
    }

    /// One press: one try, whatever becomes of it. What the answer says, if it is JSON.
    ///
    /// # Errors
    /// When nothing answered.
    pub async fn press(&self, method: &Method, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let (status, text) = self.once(method, path, (!body.is_null()).then_some(body)).await?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// One attempt at a vote over `POST /api/note`, with a body that is JSON.
    ///
    /// # Errors
    /// When nothing answered.
    pub async fn vote(&self, body: &str) -> Result<(StatusCode, Value)> {
        let url = format!("{}/api/note", self.base.as_str().trim_end_matches('/'));
        let request = self.client.post(url).header(reqwest::header::CONTENT_TYPE, "application/json");
        let response = request.body(body.to_owned()).send().await?;
        let status = response.status();
        Ok((status, serde_json::from_str(&response.text().await?).unwrap_or_default()))
    }

    /// The text of a GET.
    ///
    /// # Errors
    /// When the server is away, or says no.
    pub async fn text(&self, path: &str) -> Result<String> {
        match self.ask(Method::GET, path, None).await? {
            (status, text) if status.is_success() => Ok(text),
            (StatusCode::UNAUTHORIZED, text) => {
                bail!("the token is not valid: {}", words(StatusCode::UNAUTHORIZED, &text))
            }
            (status, text) => bail!("GET {path}: {}", words(status, &text)),
        }
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let text = self.text(path).await?;
        serde_json::from_str(&text).with_context(|| {
            format!("GET {path} answers something else than JSON: is this a Barème server? Check --url")
        })
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        match self.ask(Method::POST, path, Some(body)).await? {
            (status, text) if status.is_success() => Ok(serde_json::from_str(&text).unwrap_or_default()),
            (status, text) => bail!("POST {path}: {}", words(status, &text)),
        }
    }

    /// The version of the server; the first thing that is asked, and the clearest answer to a wrong address.
    ///
    /// # Errors
    /// When nothing answers, or something else than this server.
    pub async fn version(&self) -> Result<Value> {
        let not_ours = || format!("{} is no Barème server: check --url", self.base);
        let version = self.get("/version").await.map_err(|error| error.context(not_ours()))?;
        if version["name"].as_str().is_none() {
            bail!(not_ours());
        }
        Ok(version)
    }

    /// Whether the token is an admin's.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn check_token(&self) -> Result<()> {
        let make =
            "make one with `bareme token new --name stress --role admin` and pass it with --token or STRESS_TOKEN";
        let session = self.get("/api/admin/session").await.with_context(|| make.to_owned())?;
        match session["role"].as_str() {
            Some("admin") => Ok(()),
            role => bail!("the token's role is {role:?}, and making lives and exporting notes need `admin`; {make}"),
        }
    }

    /// The slug of the only channel with an open live.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn only_open_channel(&self) -> Result<String> {
        let lives = self.get("/api/lives").await?;
        let channels: Vec<&str> =
            lives.as_array().into_iter().flatten().filter_map(|live| live["channel"].as_str()).collect();
        match channels[..] {
            [channel] => Ok(channel.to_owned()),
            [] => bail!(
                "no live is open: open one on the admin page, or pass an admin's --token, and a live is made and driven"
            ),
            _ => bail!("several lives are open: name one with --channel ({})", channels.join(", ")),
        }
    }

    /// The live that a channel shows.
    ///
    /// # Errors
    /// When there is no such channel, or no live on it.
    pub async fn live_of(&self, channel: &str) -> Result<LiveState> {
        let shown = self.get(&format!("/api/channels/{channel}/live")).await?;
        if shown["live"].is_null() {
            bail!("channel {channel} has no live: open one on the admin page, or pass an admin's --token");
        }
        serde_json::from_value(shown["live"].clone()).context("the live cannot be read: is the server another version?")
    }

    /// Makes what a run needs, as far as it is not there: the channel, jeux, a bareme; then a live, on air, with no jeu open.
    ///
    /// # Errors
    /// What the server says; that another live is open on the channel.
    pub async fn make_live(&self, channel: &str, jeux: u32, bareme: Option<&Value>) -> Result<LiveState> {
        let at = format!("/api/admin/channels/{channel}");
        let known = match self.ask(Method::GET, &at, None).await? {
            (StatusCode::NOT_FOUND, _) => {
                self.post("/api/admin/channels", &json!({"slug": channel, "title": "Stress"})).await?
            }
            (status, text) if status.is_success() => serde_json::from_str(&text)?,
            (status, text) => bail!("channel {channel}: {}", words(status, &text)),
        };
        if let Some(live) = known["open_live"].as_str() {
            bail!("channel {channel} has a live on air ({live}): close it, choose another --channel, or --join it");
        }
        let known = self.get(&format!("{at}/jeux")).await?;
        let mut programme: Vec<Value> =
            known.as_array().into_iter().flatten().map(|jeu| jeu["jeu_id"].clone()).collect();
        programme.truncate(usize::try_from(jeux)?);
        while programme.len() < usize::try_from(jeux)? {
            let title = format!("Stress {}", programme.len() + 1);
            programme.push(self.post(&format!("{at}/jeux"), &json!({"title": title})).await?["jeu_id"].clone());
        }
        let bareme = match bareme {
            Some(bareme) => bareme.clone(),
            None => self.get("/api/admin/bareme-presets").await?[0].clone(),
        };
        let bareme = self.post(&format!("{at}/baremes"), &bareme).await.context("the bareme was refused")?;
        let live = json!({"title": "Stress", "bareme_id": bareme["bareme_id"], "jeux": programme});
        let live = self.post(&format!("{at}/lives"), &live).await?;
        let live_id = live["live_id"].as_str().context("the server made a live without a number")?;
        let live = self.post(&format!("/api/admin/lives/{live_id}/open"), &json!({"open_jeux": "none"})).await?;
        serde_json::from_value(live).context("the live cannot be read: is the server another version?")
    }

    /// Opens a jeu and makes it current.
    ///
    /// # Errors
    /// What the server says.
    pub async fn open_jeu(&self, live: Uuid, jeu: u32) -> Result<()> {
        self.post(&format!("/api/admin/lives/{live}/jeux/{jeu}/open"), &json!({})).await.map(drop)
    }

    /// Closes a jeu at once.
    ///
    /// # Errors
    /// What the server says.
    pub async fn close_jeu(&self, live: Uuid, jeu: u32) -> Result<()> {
        self.post(&format!("/api/admin/lives/{live}/jeux/{jeu}/close"), &json!({"delay_ms": 0})).await.map(drop)
    }

    /// Ends a live at once.
    ///
    /// # Errors
    /// What the server says.
    pub async fn close_live(&self, live: Uuid) -> Result<()> {
        self.post(&format!("/api/admin/lives/{live}/close"), &json!({"delay_ms": 0})).await.map(drop)
    }

    /// Published results by jeu, those that are masked left out, and whether all of them are final.
    ///
    /// # Errors
    /// What the server says.
    pub async fn results(&self, live: Uuid) -> Result<(BTreeMap<u32, Published>, bool)> {
        let results: Results = serde_json::from_value(self.get(&format!("/api/lives/{live}/results")).await?)?;
        let all_final = results.jeux.iter().all(|jeu| matches!(jeu.phase.as_str(), "final" | "pending"));
        let shown = results.jeux.into_iter().filter(|jeu| jeu.masked.is_none() && jeu.phase != "pending");
        Ok((shown.map(|jeu| (jeu.jeu_id, jeu.numbers)).collect(), all_final))
    }

    /// Every note that counts.
    ///
    /// # Errors
    /// What the server says; a line that cannot be read.
    pub async fn export(&self, live: Uuid, shape: &Shape) -> Result<Vec<Row>> {
        let text = self.text(&format!("/api/lives/{live}/notes")).await?;
        let row = |line: &str| {
            let line: ExportLine =
                serde_json::from_str(line).with_context(|| format!("a line of the export: {line}"))?;
            Ok(Row { viewer: line.viewer, jeu: line.jeu, v: line.v, steps: shape.read(&line.scores) })
        };
        text.lines().map(row).collect()
    }
}
