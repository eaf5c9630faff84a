//! Channels.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::error::Problem;
use super::super::{State, audit, body, identity, slug_of};
use crate::auth::require;
use crate::catalogue::{ChannelEdit, Role};
use crate::domain::channel::Channel;
use crate::domain::key::Slug;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewChannelBody {
    /// Name in URLs; accents and case are folded.
    #[schema(min_length = 1, max_length = 40, pattern = "^[a-z0-9][a-z0-9_-]*$", example = "max")]
    slug: String,
    /// Title.
    #[schema(min_length = 1, max_length = 200, pattern = "@text")]
    title: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ChannelEditBody {
    /// New title.
    #[schema(min_length = 1, max_length = 200, pattern = "@text")]
    title: Option<String>,
    /// How far ahead a closing is announced unless the call says otherwise.
    #[schema(maximum = 120000)]
    close_delay_ms: Option<u64>,
}

/// A channel.
#[derive(Serialize, utoipa::ToSchema)]
struct ChannelInfo {
    /// Name in URLs.
    slug: String,
    /// Title.
    title: String,
    /// Where viewers vote.
    viewer_url: String,
    /// How far ahead a closing is announced unless the call says otherwise.
    close_delay_ms: u64,
    /// The live on air.
    open_live: Option<Uuid>,
    /// The live that was on air last.
    last_live: Option<Uuid>,
    /// When it was made, microseconds since 1970.
    created_at_us: u64,
}

fn info(state: &State, request: &HttpRequest, channel: Channel) -> ChannelInfo {
    ChannelInfo {
        viewer_url: format!("{}/{}", identity::public_base(&state.settings, request), channel.slug),
        slug: channel.slug.to_string(),
        title: channel.title,
        close_delay_ms: channel.close_delay_ms,
        open_live: channel.open_live.map(|live| live.0),
        last_live: channel.last_live.map(|live| live.0),
        created_at_us: channel.created_at_us,
    }
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config
        .service(list_channels)
        .service(create_channel)
        .service(get_channel)
        .service(edit_channel)
        .service(delete_channel);
}

/// Every channel
#[utoipa::path(tag = "catalogue", responses((status = 200, description = "By slug", body = [ChannelInfo])))]
#[get("/api/admin/channels")]
async fn list_channels(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Moderator).await?;
    let channels = state.catalogue.channels().await?;
    let infos: Vec<_> = channels.into_iter().map(|channel| info(&state, &request, channel)).collect();
    Ok(HttpResponse::Ok().json(infos))
}

/// Makes a channel
#[utoipa::path(tag = "catalogue", request_body = NewChannelBody,
    responses((status = 201, description = "Made", body = ChannelInfo)))]
#[post("/api/admin/channels")]
async fn create_channel(
    state: State,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let body: NewChannelBody = body::json(&request, &mut payload).await?;
    audit::about(&request, "channel", &body.slug);
    let channel = state.catalogue.create_channel(Slug::new(&body.slug)?, &body.title, state.now_us()).await?;
    state.channel_changed(&channel.slug).await;
    Ok(HttpResponse::Created().json(info(&state, &request, channel)))
}

/// One channel
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    responses((status = 200, description = "The channel", body = ChannelInfo)))]
#[get("/api/admin/channels/{channel}")]
async fn get_channel(state: State, request: HttpRequest, channel: web::Path<String>) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Moderator).await?;
    let channel = state.catalogue.channel(&slug_of(&channel)?).await?;
    Ok(HttpResponse::Ok().json(info(&state, &request, channel)))
}

/// Changes a channel
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    request_body = ChannelEditBody, responses((status = 200, description = "Changed", body = ChannelInfo)))]
#[patch("/api/admin/channels/{channel}")]
async fn edit_channel(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let slug = slug_of(&channel)?;
    let body: ChannelEditBody = body::json(&request, &mut payload).await?;
    let edit = ChannelEdit { title: body.title, close_delay_ms: body.close_delay_ms };
    let channel = state.catalogue.edit_channel(&slug, edit).await?;
    state.hub.lists_changed(&slug);
    state.channel_changed(&slug).await;
    Ok(HttpResponse::Ok().json(info(&state, &request, channel)))
}

/// Deletes a channel
///
/// With its jeux, baremes, overlay keys and lives. Not while a live is on air.
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    responses((status = 204, description = "Deleted")))]
#[delete("/api/admin/channels/{channel}")]
async fn delete_channel(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let slug = slug_of(&channel)?;
    let keys = state.catalogue.overlay_keys(&slug).await.unwrap_or_default();
    state.catalogue.delete_channel(&slug).await?;
    for (key_id, _) in keys {
        state.hub.revoke(&key_id);
    }
    state.channel_changed(&slug).await;
    Ok(HttpResponse::NoContent().finish())
}
