//! The lives of a channel, to compare them.

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::{State, live_of, slug_of};
use super::caching;
use super::results::{Results, audience_of, results_of};
use crate::domain::Invalid;
use crate::domain::bareme::Scale;
use crate::domain::live::{LiveId, LiveStatus};
use crate::domain::rule::Rule;
use crate::http::error::{Problem, ProblemBody};

/// Most lives in one answer: each is a reading of all its results.
const MAX_PAGE: u32 = 20;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    /// How many at most; 10 unless given
    #[param(minimum = 1, maximum = 20)]
    limit: Option<u32>,
    /// Only those that were made before this one: `next` of the answer before
    #[param(value_type = Option<Uuid>)]
    before: Option<String>,
}

/// Some lives of a channel.
#[derive(Serialize, utoipa::ToSchema)]
struct Lives {
    /// Newest first.
    lives: Vec<LiveInShort>,
    /// What to send as `before` for those that follow; null when there are none.
    next: Option<Uuid>,
}

/// A live and what came out of it.
#[derive(Serialize, utoipa::ToSchema)]
struct LiveInShort {
    /// The live.
    live_id: Uuid,
    /// Title.
    title: String,
    /// Open or closed.
    status: LiveStatus,
    /// When it went on air, microseconds since 1970.
    opened_at_us: Option<u64>,
    /// When it ended.
    closed_at_us: Option<u64>,
    /// Jeux that were opened.
    jeux: usize,
    /// Notes that count, of all its jeux together.
    votes: u64,
    /// Voters of the jeu that has most.
    voters: u64,
    /// Mean of the means of its jeux; null while none can be shown.
    mean: Option<f64>,
    /// Scale of the mean.
    scale: Scale,
    /// True when the numbers of a jeu could not be read and are missing in these; else left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unavailable: bool,
}

#[expect(clippy::cast_precision_loss, reason = "a programme has a hundred jeux at most")]
fn in_short(results: Results) -> LiveInShort {
    let means: Vec<f64> = results.jeux.iter().filter_map(|jeu| jeu.mean).collect();
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    LiveInShort {
        live_id: results.live_id,
        title: results.title,
        status: results.status,
        opened_at_us: results.opened_at_us,
        closed_at_us: results.closed_at_us,
        jeux: results.jeux.iter().filter(|jeu| jeu.phase != crate::domain::phase::Phase::Pending).count(),
        votes: results.jeux.iter().map(|jeu| jeu.voters).sum(),
        voters: results.jeux.iter().map(|jeu| jeu.voters).max().unwrap_or_default(),
        mean: (!means.is_empty()).then(|| (mean * 1e9).round() / 1e9),
        scale: results.scale,
        unavailable: results.jeux.iter().any(|jeu| jeu.unavailable),
    }
}

/// The lives of a channel that were on air
///
/// With what came out of them, masked as their results are.
#[utoipa::path(tag = "public", params(("channel" = String, Path, description = "Slug"), PageQuery),
    responses(
        (status = 200, description = "Newest first", body = Lives),
        (status = 304, description = "The one with the `ETag` of `If-None-Match`"),
        (status = 401, description = "The bearer token is not valid",
            body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 422, description = "The query is wrong",
            body = ProblemBody<'static>, content_type = "application/problem+json"),
    ))]
#[get("/api/channels/{channel}/lives")]
pub(super) async fn channel_lives(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
    query: web::Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let slug = slug_of(&channel)?;
    let limit = query.limit.unwrap_or(MAX_PAGE / 2);
    if !(1..=MAX_PAGE).contains(&limit) {
        let remedy = format!("send 1 to {MAX_PAGE}");
        let rule = Rule::range(1, MAX_PAGE);
        return Err(Invalid::new("limit", rule, format!("{limit} is out of range"), remedy).into());
    }
    let before: Option<LiveId> = query.before.as_deref().map(live_of).transpose()?;
    let audience = audience_of(&state, &request).await?;
    let (ids, has_more) = state.catalogue.lives_on_air(&slug, before, limit as usize).await?;
    let next = ids.last().filter(|_| has_more).map(|live| live.0);
    let mut lives = Vec::with_capacity(ids.len());
    for live_id in ids {
        lives.push(in_short(results_of(&state, live_id, audience).await?.1));
    }
    let is_over = lives.iter().all(|live| live.status == LiveStatus::Closed);
    let body = serde_json::to_vec(&Lives { lives, next }).map_err(Problem::internal)?;
    Ok(caching::answer(&request, audience, is_over, body, |response| {
        response.content_type("application/json");
    }))
}
