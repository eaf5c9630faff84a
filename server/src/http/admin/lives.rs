//! Lives: made, listed, edited, deleted.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::error::Problem;
use super::super::{State, body, live_of, slug_of};
use crate::auth::require;
use crate::catalogue::{NewLive, Role, checked_minimum_votes};
use crate::conductor::ConductError;
use crate::domain::jeu::{Jeu, JeuId};
use crate::domain::live::{Live, LiveStatus, checked_programme};
use crate::domain::phase::Phase;
use crate::domain::rule::Rule;
use crate::domain::{MAX_TITLE_CHARS, checked_text};
use crate::protocol::LiveState;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLiveBody {
    /// Title.
    #[schema(min_length = 1, max_length = 200, pattern = "@text")]
    title: String,
    /// The bareme, which is copied into the live.
    bareme_id: Uuid,
    /// Numbers of the jeux in order, which are copied into the live.
    #[schema(min_items = 1, max_items = 100)]
    jeux: Vec<u32>,
    /// Hides averages until one has voted.
    #[serde(default)]
    blind: bool,
    /// Voters below which averages are not shown.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 100000)]
    minimum_votes: u32,
}

const fn one() -> u32 {
    1
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct LiveEditBody {
    /// New title.
    #[schema(min_length = 1, max_length = 200, pattern = "@text")]
    title: Option<String>,
    /// Hides averages until one has voted.
    blind: Option<bool>,
    /// Voters below which averages are not shown.
    #[schema(minimum = 1, maximum = 100000)]
    minimum_votes: Option<u32>,
    /// The new order of jeux. New ones may come, those that were opened stay.
    #[schema(min_items = 1, max_items = 100)]
    jeux: Option<Vec<u32>>,
    /// The order that `jeux` was made from: when it is another one by now, nothing is changed (409 `programme_changed`).
    #[schema(max_items = 100)]
    jeux_before: Option<Vec<u32>>,
    /// Another bareme, while the live is a draft.
    bareme_id: Option<Uuid>,
}

/// A live in a list.
#[derive(Serialize, utoipa::ToSchema)]
struct LiveSummary {
    /// The live.
    live_id: Uuid,
    /// Slug of its channel.
    channel: String,
    /// Title.
    title: String,
    /// Draft, open or closed.
    status: LiveStatus,
    /// The bareme it was made from.
    bareme_id: Uuid,
    /// Whether averages are hidden until one has voted.
    blind: bool,
    /// Voters below which averages are not shown.
    minimum_votes: u32,
    /// Numbers of the jeux in order.
    jeux: Vec<u32>,
    /// When it was made, microseconds since 1970.
    created_at_us: u64,
    /// When it went on air.
    opened_at_us: Option<u64>,
    /// When it ended.
    closed_at_us: Option<u64>,
}

fn summary(live: Live) -> LiveSummary {
    LiveSummary {
        live_id: live.live_id.0,
        channel: live.channel.to_string(),
        title: live.title,
        status: live.status,
        bareme_id: live.bareme_id,
        blind: live.blind,
        minimum_votes: live.minimum_votes,
        jeux: live.programme.iter().map(|jeu| jeu.jeu_id.0).collect(),
        created_at_us: live.created_at_us,
        opened_at_us: live.opened_at_us,
        closed_at_us: live.closed_at_us,
    }
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config.service(list_lives).service(create_live).service(get_live).service(edit_live).service(delete_live);
}

/// The lives of a channel
#[utoipa::path(tag = "lives", params(("channel" = String, Path, description = "Slug")),
    responses((status = 200, description = "Newest first", body = [LiveSummary])))]
#[get("/api/admin/channels/{channel}/lives")]
async fn list_lives(state: State, request: HttpRequest, channel: web::Path<String>) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Moderator).await?;
    let lives = state.catalogue.lives(&slug_of(&channel)?).await?;
    Ok(HttpResponse::Ok().json(lives.into_iter().map(summary).collect::<Vec<_>>()))
}

/// Makes a live
///
/// As a draft, with its own copies of bareme and jeux.
#[utoipa::path(tag = "lives", params(("channel" = String, Path, description = "Slug")),
    request_body = NewLiveBody, responses((status = 201, description = "Made", body = LiveState)))]
#[post("/api/admin/channels/{channel}/lives")]
async fn create_live(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let slug = slug_of(&channel)?;
    let body: NewLiveBody = body::json(&request, &mut payload).await?;
    let new = NewLive {
        title: body.title,
        bareme_id: body.bareme_id,
        jeux: body.jeux.into_iter().map(JeuId).collect(),
        blind: body.blind,
        minimum_votes: body.minimum_votes,
    };
    let live = state.catalogue.create_live(&slug, new, state.now_us()).await?;
    state.hub.lists_changed(&slug);
    Ok(HttpResponse::Created().json(state.conductor.live_state(live.live_id).await?))
}

/// One live
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live")),
    responses((status = 200, description = "The live", body = LiveState)))]
#[get("/api/admin/lives/{live_id}")]
async fn get_live(state: State, request: HttpRequest, live_id: web::Path<String>) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Moderator).await?;
    Ok(HttpResponse::Ok().json(state.conductor.live_state(live_of(&live_id)?).await?))
}

/// Changes a live
///
/// Its bareme only while it is a draft; jeux that were opened stay in the programme.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live")),
    request_body = LiveEditBody, responses((status = 200, description = "Changed", body = LiveState)))]
#[patch("/api/admin/lives/{live_id}")]
async fn edit_live(
    state: State,
    request: HttpRequest,
    live_id: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let live_id = live_of(&live_id)?;
    let body: LiveEditBody = body::json(&request, &mut payload).await?;
    let title = body.title.map(|title| checked_text("title", &title, MAX_TITLE_CHARS)).transpose()?;
    let minimum_votes = body.minimum_votes.map(checked_minimum_votes).transpose()?;
    let live = state.catalogue.live(live_id).await?;
    let bareme = match body.bareme_id {
        Some(bareme_id) => Some((bareme_id, state.catalogue.bareme(&live.channel, bareme_id).await?)),
        None => None,
    };
    if let Some(expected) = &body.jeux_before
        && !live.programme.iter().map(|jeu| jeu.jeu_id.0).eq(expected.iter().copied())
    {
        return Err(ConductError::programme_changed().into());
    }
    let programme = match body.jeux {
        Some(jeux) => Some(programme_of(&state, &live, &jeux.into_iter().map(JeuId).collect::<Vec<_>>()).await?),
        None => None,
    };
    let before = live.programme;
    let edit = |live: &mut Live| {
        if let Some((bareme_id, bareme)) = &bareme {
            if live.status != LiveStatus::Draft {
                return Err(ConductError::conflict(
                    Rule::NotADraft,
                    "the live is no draft any more",
                    "its bareme stays; make a new live",
                ));
            }
            live.bareme_id = *bareme_id;
            live.bareme.clone_from(bareme);
        }
        if let Some(programme) = &programme {
            if live.status == LiveStatus::Closed {
                return Err(ConductError::conflict(Rule::LiveOver, "the live is over", "its programme stays"));
            }
            let stays = |jeu: JeuId| programme.iter().any(|kept| kept.jeu_id == jeu);
            let opened = state.conductor.view(live_id).is_some_and(|view| {
                let left = |item: &&crate::cluster::ItemHandle<_>| !stays(item.item().jeu);
                view.items.iter().filter(left).any(|item| item.view().rank.phase() != Phase::Pending)
            });
            if live.programme != before || opened || live.current.is_some_and(|current| !stays(current)) {
                return Err(ConductError::programme_changed());
            }
            live.programme.clone_from(programme);
        }
        if let Some(title) = &title {
            live.title.clone_from(title);
        }
        live.blind = body.blind.unwrap_or(live.blind);
        live.minimum_votes = minimum_votes.unwrap_or(live.minimum_votes);
        Ok(())
    };
    let edited = state.conductor.edit_live(live_id, edit).await?;
    state.hub.lists_changed(&live.channel);
    Ok(HttpResponse::Ok().json(edited))
}

/// The programme in a new order: copies that the live has stay as they are, new ones come from the catalogue.
async fn programme_of(state: &State, live: &Live, jeux: &[JeuId]) -> Result<Vec<Jeu>, Problem> {
    checked_programme(jeux)?;
    let shown = state.conductor.live_state(live.live_id).await?;
    for entry in &shown.programme {
        let is_current = shown.current == Some(entry.jeu.jeu_id.0);
        let must_stay = entry.phase != Phase::Pending || entry.epoch > 0 || is_current;
        if must_stay && !jeux.contains(&entry.jeu.jeu_id) {
            let reason = format!("jeu {} was opened or is current", entry.jeu.jeu_id);
            return Err(Problem::conflict(Rule::JeuWasOpened, reason, "keep it in the programme"));
        }
    }
    let new: Vec<JeuId> = jeux.iter().copied().filter(|jeu| live.jeu(*jeu).is_none()).collect();
    let copies = if new.is_empty() { Vec::new() } else { state.catalogue.programme(&live.channel, &new).await? };
    let find = |jeu_id: &JeuId| {
        let known = live.jeu(*jeu_id).map(|(_, jeu)| jeu);
        known.or_else(|| copies.iter().find(|jeu| jeu.jeu_id == *jeu_id)).cloned()
    };
    Ok(jeux.iter().filter_map(find).collect())
}

/// Deletes a live
///
/// Only a draft: results of a live that was on air belong to it.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live")),
    responses((status = 204, description = "Deleted")))]
#[delete("/api/admin/lives/{live_id}")]
async fn delete_live(state: State, request: HttpRequest, live_id: web::Path<String>) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let live_id = live_of(&live_id)?;
    let live = state.catalogue.live(live_id).await?;
    state.conductor.delete_live(live_id).await?;
    state.catalogue.forget_live(&live).await?;
    state.hub.lists_changed(&live.channel);
    Ok(HttpResponse::NoContent().finish())
}
