//! Overlay keys of a channel.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};

use super::super::error::Problem;
use super::super::{State, body, identity, slug_of};
use crate::auth::require;
use crate::catalogue::{KeyInfo, Role};

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKeyBody {
    /// What to call it, such as the scene it is for.
    #[schema(min_length = 1, max_length = 80, pattern = "@text")]
    name: Option<String>,
}

/// A new overlay key, shown once.
#[derive(Serialize, utoipa::ToSchema)]
struct NewKey {
    /// Its id.
    key_id: String,
    /// What the streamer calls it.
    name: String,
    /// When it was made, microseconds since 1970.
    created_at_us: u64,
    /// The key.
    key: String,
    /// The address to put into OBS.
    url: String,
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config.service(list_overlay_keys).service(create_overlay_key).service(delete_overlay_key);
}

/// The overlay keys of a channel
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    responses((status = 200, description = "Oldest first", body = [KeyInfo])))]
#[get("/api/admin/channels/{channel}/overlay-keys")]
async fn list_overlay_keys(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Moderator).await?;
    Ok(HttpResponse::Ok().json(state.catalogue.overlay_keys(&slug_of(&channel)?).await?))
}

/// Makes an overlay key
///
/// The key is shown once. It opens the overlay of this channel and nothing else.
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    request_body = Option<NewKeyBody>, responses((status = 201, description = "Made", body = NewKey)))]
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
    let (info, secret) = state.auth.new_overlay_key(&slug, &name, state.now_us()).await?;
    let base = identity::public_base(&state.settings, &request);
    Ok(HttpResponse::Created().json(NewKey {
        key_id: info.key_id,
        name: info.name,
        created_at_us: info.created_at_us,
        url: format!("{base}/overlay/{slug}?key={}", secret.reveal()),
        key: secret.reveal().to_owned(),
    }))
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
    state.catalogue.delete_overlay_key(&slug_of(&path.0)?, &path.1).await?;
    state.hub.revoke(&path.1);
    Ok(HttpResponse::NoContent().finish())
}
