//! Overlay keys of a channel.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};

use super::super::error::Problem;
use super::super::{State, audit, body, identity, slug_of};
use crate::auth::require;
use crate::catalogue::{OverlayKey, Role};
use crate::domain::key::Slug;

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKeyBody {
    /// What to call it, such as the scene it is for.
    #[schema(min_length = 1, max_length = 80, pattern = "@text")]
    name: Option<String>,
}

/// An overlay key.
#[derive(Serialize, utoipa::ToSchema)]
struct KeyInfo {
    /// Its id: the SHA-256 of the key, in hexadecimal.
    key_id: String,
    /// What the streamer calls it.
    name: String,
    /// When it was made, microseconds since 1970.
    created_at_us: u64,
    /// The key; left out for moderators, and where only its hash was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The address to put into OBS; there when `key` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// How a key is listed for an admin.
fn info(state: &State, request: &HttpRequest, slug: &Slug, (key_id, stored): (String, OverlayKey)) -> KeyInfo {
    let base = identity::public_base(&state.settings, request);
    let url = stored.key.as_ref().map(|key| format!("{base}/overlay/{slug}?key={key}"));
    KeyInfo { key_id, name: stored.name, created_at_us: stored.created_at_us, key: stored.key, url }
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config.service(list_overlay_keys).service(create_overlay_key).service(delete_overlay_key);
}

/// The overlay keys of a channel
///
/// With their text and the address to put into OBS for admins; moderators see that they exist.
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    responses((status = 200, description = "Oldest first", body = [KeyInfo])))]
#[get("/api/admin/channels/{channel}/overlay-keys")]
async fn list_overlay_keys(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let is_admin = require(&state, &request, Role::Moderator).await?.role == Role::Admin;
    let slug = slug_of(&channel)?;
    let mut keys = state.catalogue.overlay_keys(&slug).await?;
    for (_, stored) in &mut keys {
        stored.key.take_if(|_| !is_admin);
    }
    let infos: Vec<_> = keys.into_iter().map(|key| info(&state, &request, &slug, key)).collect();
    Ok(HttpResponse::Ok().json(infos))
}

/// Makes an overlay key
///
/// It opens the overlay of this channel and nothing else.
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    request_body = Option<NewKeyBody>, responses((status = 201, description = "Made", body = KeyInfo)))]
#[post("/api/admin/channels/{channel}/overlay-keys")]
async fn create_overlay_key(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let slug = slug_of(&channel)?;
    let body: NewKeyBody = body::optional_json(&request, &mut payload).await?;
    let name = body.name.unwrap_or_else(|| "overlay".to_owned());
    audit::about(&request, "name", &name);
    let made = state.auth.new_overlay_key(&slug, &name, state.now_us()).await?;
    state.hub.lists_changed(&slug);
    Ok(HttpResponse::Created().json(info(&state, &request, &slug, made)))
}

/// Revokes an overlay key
///
/// Overlays that use it are cut off at once.
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug"),
    ("key_id" = String, Path, description = "Id of the key")),
    responses((status = 204, description = "Revoked")))]
#[delete("/api/admin/channels/{channel}/overlay-keys/{key_id}")]
async fn delete_overlay_key(
    state: State,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let slug = slug_of(&path.0)?;
    state.catalogue.delete_overlay_key(&slug, &path.1).await?;
    state.hub.revoke(&path.1);
    state.hub.lists_changed(&slug);
    Ok(HttpResponse::NoContent().finish())
}
