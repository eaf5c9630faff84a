//! Test mode: made-up votes for the overlay, before a live.

use actix_web::{HttpRequest, HttpResponse, delete, post, web};
use serde::{Deserialize, Serialize};

use super::super::error::Problem;
use super::super::{State, body, slug_of};
use crate::auth::require;
use crate::catalogue::{Refused, Role};
use crate::conductor::{DEFAULT_VOTES_PER_S, check_rate};
use crate::domain::bareme::presets;
use crate::domain::rule::Rule;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TestModeBody {
    /// Whether it should be on.
    on: bool,
    /// Simulated votes a second; those of one that is on already stay.
    #[serde(default = "usual")]
    #[schema(minimum = 1, maximum = 50)]
    votes_per_s: u32,
}

const fn usual() -> u32 {
    DEFAULT_VOTES_PER_S
}

/// Whether a channel is in test mode on the server that answers.
#[derive(Default, Serialize, utoipa::ToSchema)]
struct TestMode {
    /// Whether it is on.
    on: bool,
    /// Simulated votes a second, while it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    votes_per_s: Option<u32>,
    /// When it ends by itself, microseconds since 1970, while it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at_us: Option<u64>,
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config.service(set_test_mode).service(end_test_mode);
}

/// Turns the test mode of a channel on or off
///
/// Overlays and admins whose sockets this server holds are shown a made-up live, marked `test`, with simulated votes and
/// the channel's newest bareme; viewers see what they saw. Nothing of it is stored. It ends when a live is opened, after
/// 15 minutes, or when the server stops; while a live is on air, it cannot be turned on (409 `live_on_air`).
#[utoipa::path(tag = "lives", params(("channel" = String, Path, description = "Slug")),
    request_body = TestModeBody, responses((status = 200, description = "As asked", body = TestMode)))]
#[post("/api/admin/channels/{channel}/test-mode")]
async fn set_test_mode(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Moderator).await?;
    let slug = slug_of(&channel)?;
    let body: TestModeBody = body::json(&request, &mut payload).await?;
    // What is wrong is wrong, also where it would not be used.
    check_rate(body.votes_per_s)?;
    // Ids of baremes grow with time.
    let newest = state.catalogue.baremes(&slug).await?.pop().map(|(_, bareme)| bareme);
    if !body.on {
        state.conductor.end_rehearsal(&slug);
        return Ok(HttpResponse::Ok().json(TestMode::default()));
    }
    let bareme = newest.or_else(|| presets().into_iter().next());
    let bareme =
        bareme.ok_or_else(|| Refused::conflict(Rule::UnknownBareme, "there is no bareme", "make one first"))?;
    let on = state.conductor.rehearse(&slug, &bareme, body.votes_per_s).await?;
    Ok(HttpResponse::Ok().json(TestMode {
        on: true,
        votes_per_s: Some(on.votes_per_s),
        ends_at_us: Some(on.ends_at_us),
    }))
}

/// Turns the test mode of a channel off
#[utoipa::path(tag = "lives", params(("channel" = String, Path, description = "Slug")),
    responses((status = 200, description = "Off", body = TestMode)))]
#[delete("/api/admin/channels/{channel}/test-mode")]
async fn end_test_mode(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Moderator).await?;
    let slug = slug_of(&channel)?;
    state.catalogue.channel(&slug).await?;
    state.conductor.end_rehearsal(&slug);
    Ok(HttpResponse::Ok().json(TestMode::default()))
}
