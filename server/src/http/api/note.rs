//! `POST /api/note`: one vote, answered when it is durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::super::error::{Problem, ProblemBody};
use super::super::{AppState, State, body, identity, request_id};
use super::OpenLive;
use super::votes::{Asked, from_form, from_json};
use crate::auth::check_same_site;
use crate::conductor::{Vote, Wanted};
use crate::domain::Invalid;
use crate::domain::decimal::Decimal;
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::note::Note;
use crate::domain::rule::Rule;
use crate::metrics::NOTES_REFUSED;
use crate::protocol::{Reply, Status};
use crate::traces::Begun;

/// How long a vote may wait for its durable answer before the client is told to send it again.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a vote is handed in again before the client must do that, such as while a jeu reads its notes after a start.
const PATIENCE: Duration = Duration::from_secs(3);

/// A vote. Every other field is a critere with its score, whatever its accents and case: `durée` means `duree`.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"jeu_id": 2, "fun": 4, "graph": 3, "durée": 5}))]
#[expect(dead_code, reason = "only documents what votes.rs reads")]
struct NoteRequest {
    /// The jeu.
    jeu_id: u32,
    /// The live; may be left out while exactly one is open.
    live_id: Option<Uuid>,
    /// Slug of the channel, instead of the live.
    #[schema(max_length = 200)]
    channel: Option<String>,
    /// Token of an earlier answer, to vote as the same viewer.
    #[schema(max_length = 200)]
    viewer: Option<String>,
    /// Version: the greatest one of a viewer counts. Left out: the server's clock in microseconds.
    #[schema(maximum = 9007199254740991_u64)]
    v: Option<u64>,
    /// Takes the note back instead.
    withdraw: Option<bool>,
    /// Scores by critere, instead of at the top.
    scores: Option<HashMap<String, Option<f64>>>,
    #[serde(flatten)]
    criteres: HashMap<String, Option<f64>>,
}

/// A vote that was stored.
#[derive(Serialize, utoipa::ToSchema)]
struct Noted {
    /// Always `ok`: it is on disk, and counted exactly once in the final result.
    status: Status,
    /// The live.
    live_id: Uuid,
    /// The jeu.
    jeu_id: u32,
    /// Its version.
    v: u64,
    /// The scores that count now; empty when withdrawn.
    #[schema(value_type = HashMap<String, f64>)]
    scores: Map<String, Value>,
    /// Send this to vote as the same viewer again.
    viewer: String,
}

/// Votes on one jeu
///
/// As a form or as JSON. Without `viewer` and without cookie, each call is a new anonymous viewer.
#[utoipa::path(tag = "public",
    request_body(content(
        (NoteRequest = "application/json"),
        (NoteRequest = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, description = "Stored durably", body = Noted),
        (status = 404, description = "No live is open, or there is no such live, channel or jeu",
            body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 429, description = "Too many votes, or too many new viewers, from this address",
            body = ProblemBody<'static>, content_type = "application/problem+json"),
    ))]
#[post("/api/note")]
pub(super) async fn post_note(
    state: State,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let begun = request_id::begin_trace(&state.traces, "POST /api/note", &request);
    let client = state.limited_client(&request);
    state.check_vote_rate(client).map_err(too_fast)?;
    check_same_site(&state.settings, &request)?;
    let bytes = body::read(&mut payload, body::MAX_BODY_BYTES).await?;
    let asked = match body::media_type(&request).as_deref() {
        Some("application/json") => from_json(&bytes),
        Some("application/x-www-form-urlencoded") => from_form(&bytes),
        _ => Err(Problem::unsupported_media_type("application/x-www-form-urlencoded or application/json")),
    };
    let asked = asked.inspect_err(|problem| {
        if problem.status() == StatusCode::UNPROCESSABLE_ENTITY {
            count_refused(Status::Invalid);
        }
    })?;
    let (viewer, token) = match &asked.viewer {
        Some(token) => match state.viewers.verify(token) {
            Some(viewer) => (viewer, token.clone()),
            None => {
                count_refused(Status::Invalid);
                let reason = "is not a token that this server gave";
                return Err(Invalid::new(
                    "viewer",
                    Rule::InvalidViewer,
                    reason,
                    "send one of its answers, or leave it out",
                )
                .into());
            }
        },
        None => identity::viewer_of(&state, &request).unwrap_or_else(|| identity::new_viewer(&state)),
    };
    let live = live_for(&state, &asked).await?;
    if live.jeu(JeuId(asked.jeu_id)).is_none() {
        count_refused(Status::Invalid);
        let known: Vec<_> = live.programme.iter().map(|jeu| jeu.jeu_id.to_string()).collect();
        let reason = format!("the live has no jeu {}", asked.jeu_id);
        let remedy = format!("send one of {}", known.join(", "));
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_jeu", reason, remedy).field("jeu_id"));
    }
    let note = note_of(&live, &asked.wanted).inspect_err(|_| count_refused(Status::Invalid))?;
    let scores = note.as_ref().map(|note| note.to_json(&live.bareme)).unwrap_or_default();
    let wanted = if note.is_some() { Wanted::Json(scores.clone()) } else { Wanted::Withdrawn };
    let channel = Arc::from(live.channel.as_str());
    state.newcomers.admit(client, viewer, &channel).map_err(|wait| too_fast(wait.as_secs() + 1))?;
    // The version is chosen once, so that every attempt is the same note and counts once.
    let v = asked.v.unwrap_or_else(|| state.now_us());
    let trace = begun.as_ref().map(Begun::joined);
    let mut vote = Vote { live: live.live_id.0, jeu: asked.jeu_id, viewer, v: Some(v), wanted, trace };
    let mut reply = reply_to(&state, &vote).await;
    // Who leaves the version to the server cannot name the one after a note that was stored while a clock was wrong.
    if asked.v.is_none()
        && let Some(held) = reply.held.as_ref().filter(|held| held.v > state.now_us())
    {
        vote.v = Some(held.v.saturating_add(1));
        reply = reply_to(&state, &vote).await;
    }
    if reply.status != Status::Ok {
        return Err(refusal(reply));
    }
    Ok(HttpResponse::Ok().json(Noted {
        status: Status::Ok,
        live_id: live.live_id.0,
        jeu_id: asked.jeu_id,
        v: reply.v.unwrap_or_default(),
        scores,
        viewer: token,
    }))
}

/// Hands a vote in, again while the engine says to send it again: a client as simple as `curl` does not.
async fn reply_to(state: &AppState, vote: &Vote) -> Reply {
    let patience = Instant::now() + PATIENCE;
    loop {
        let (sender, receiver) = oneshot::channel();
        // That nobody waits any more is no reason not to store it.
        state.conductor.submit(vote, move |reply| drop(sender.send(reply)));
        let reply = match tokio::time::timeout(REPLY_TIMEOUT, receiver).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => return Reply::plain(Some(vote.live), Some(vote.jeu), vote.v, Status::Unknown),
        };
        let pause = Duration::from_millis(reply.retry_after_ms.unwrap_or(100).clamp(20, 500));
        if !matches!(reply.status, Status::RetryAfter | Status::Unknown) || Instant::now() + pause > patience {
            return reply;
        }
        tokio::time::sleep(pause).await;
    }
}

fn too_fast(seconds: u64) -> Problem {
    count_refused(Status::TooFast);
    Problem::too_fast(seconds)
}

fn count_refused(status: Status) {
    ::metrics::counter!(NOTES_REFUSED, "reason" => status.as_str()).increment(1);
}

/// The note somebody wants; `None` when they withdraw it.
fn note_of(live: &Live, wanted: &Wanted) -> Result<Option<Note>, Invalid> {
    match wanted {
        Wanted::Withdrawn => Ok(None),
        Wanted::Json(scores) => Note::from_json(&live.bareme, scores).map(Some),
        Wanted::Text(fields) => {
            let mut scores = Vec::with_capacity(fields.len());
            for (key, text) in fields.iter().filter(|(_, text)| !text.trim().is_empty()) {
                let wrong = |error| {
                    let shown: String = key.chars().take(64).collect();
                    Invalid::new(shown, Rule::NotANumber, format!("is {error}"), "send a score of the bareme")
                };
                scores.push((key.as_str(), text.parse::<Decimal>().map_err(wrong)?));
            }
            Note::new(&live.bareme, scores).map(Some)
        }
    }
}

/// The live on air that a vote is meant for.
async fn live_for(state: &AppState, asked: &Asked) -> Result<Arc<Live>, Problem> {
    let channel = match &asked.channel {
        Some(text) => {
            let unknown = |_| Problem::unknown("unknown_channel", "there is no such channel").field("channel");
            Some(Slug::new(text).map_err(unknown)?)
        }
        None => None,
    };
    let open = state.conductor.open_lives();
    if let Some(live_id) = asked.live_id {
        let found = open.into_iter().find(|live| live.live_id == LiveId(live_id));
        let Some(live) = found else { return Err(not_on_air(state, LiveId(live_id)).await) };
        if channel.is_some_and(|channel| channel != live.channel) {
            let reason = format!("the live belongs to channel {}", live.channel);
            return Err(Invalid::new(
                "channel",
                Rule::LiveOfOtherChannel,
                reason,
                "send only one of live_id and channel",
            )
            .into());
        }
        return Ok(live);
    }
    if let Some(channel) = channel {
        if let Some(live) = open.into_iter().find(|live| live.channel == channel) {
            return Ok(live);
        }
        state.catalogue.channel(&channel).await.map_err(|refused| Problem::from(refused).field("channel"))?;
        count_refused(Status::NotOpen);
        return Err(no_open_live("no live of this channel is open"));
    }
    let mut open = open.into_iter();
    match (open.next(), open.len()) {
        (Some(live), 0) => Ok(live),
        (None, _) => {
            count_refused(Status::NotOpen);
            Err(no_open_live("no live is open"))
        }
        (Some(first), _) => {
            let lives: Vec<_> = std::iter::once(first)
                .chain(open)
                .take(50)
                .map(|live| OpenLive {
                    channel: live.channel.to_string(),
                    title: live.channel.to_string(),
                    live_id: live.live_id.0,
                    live_title: live.title.clone(),
                })
                .collect();
            let names: Vec<_> = lives.iter().map(|live| format!("channel={}", live.channel)).collect();
            let reason = "several lives are open";
            let remedy = format!("name one: {}", names.join(", "));
            Err(Problem::new(StatusCode::CONFLICT, "ambiguous_live", reason, remedy).with("open_lives", lives))
        }
    }
}

fn no_open_live(reason: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_open_live", reason, "wait until the streamer opens one")
}

async fn not_on_air(state: &AppState, live_id: LiveId) -> Problem {
    match state.catalogue.live(live_id).await {
        Ok(live) if live.status == LiveStatus::Closed => {
            count_refused(Status::Closed);
            Problem::new(StatusCode::CONFLICT, "closed", "the live is over", "see its results").field("live_id")
        }
        Ok(_) => {
            count_refused(Status::NotOpen);
            let remedy = "wait until the streamer opens it";
            Problem::new(StatusCode::CONFLICT, "not_open", "the live is not on air", remedy).field("live_id")
        }
        Err(refused) => Problem::from(refused).field("live_id"),
    }
}

/// The problem that a refusal of the engine becomes.
fn refusal(reply: Reply) -> Problem {
    let code = reply.status.as_str();
    let seconds = reply.retry_after_ms.map_or(1, |ms| ms.div_ceil(1000));
    let problem = match reply.status {
        Status::Closed => {
            Problem::new(StatusCode::CONFLICT, code, "the jeu takes no more notes", "see its result").field("jeu_id")
        }
        Status::NotOpen => {
            let remedy = "wait until the streamer opens it";
            Problem::new(StatusCode::CONFLICT, code, "the jeu is not open", remedy).field("jeu_id")
        }
        Status::Stale => {
            let remedy = "send a greater v than that of `held`";
            Problem::new(StatusCode::CONFLICT, code, "a newer note of this viewer is stored", remedy).field("v")
        }
        Status::Invalid => match reply.problem {
            Some(wrong) => (*wrong).into(),
            None => Invalid::new("body", Rule::WrongValue, "is wrong", "see /api/docs").into(),
        },
        Status::TooFast => Problem::too_fast(seconds),
        Status::RetryAfter => {
            let remedy = "send the same again in a moment";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, "it was not stored", remedy).retry_after(seconds)
        }
        Status::Unknown | Status::Ok => {
            let remedy = "send the same `v`, `viewer` and scores again";
            let reason = "whether it was stored is not known yet";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, Status::Unknown.as_str(), reason, remedy).retry_after(1)
        }
    };
    let problem = match reply.held {
        Some(held) => problem.with("held", held),
        None => problem,
    };
    match reply.now_us {
        Some(now_us) => problem.with("now_us", now_us),
        None => problem,
    }
}
