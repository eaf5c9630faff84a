//! The baremes of a channel, and the ready-made ones.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use serde::Serialize;
use uuid::Uuid;

use super::super::body::MAX_DOCUMENT_BYTES;
use super::super::error::Problem;
use super::super::{State, body, slug_of, uuid_of};
use crate::auth::require;
use crate::catalogue::Role;
use crate::domain::bareme::{Bareme, Critere, Scale, presets};

/// A bareme of a channel.
#[derive(Serialize, utoipa::ToSchema)]
struct BaremeInfo {
    /// Its id.
    bareme_id: Uuid,
    /// What the admin page calls it.
    name: String,
    /// Scale of the overall mean, where one was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<Scale>,
    /// The criteres in the order pages show them.
    criteres: Vec<Critere>,
}

fn info((bareme_id, bareme): (Uuid, Bareme)) -> BaremeInfo {
    BaremeInfo { bareme_id, name: bareme.name, scale: bareme.scale, criteres: bareme.criteres }
}

fn bareme_of(segment: &str) -> Result<Uuid, Problem> {
    uuid_of(segment).ok_or_else(|| Problem::unknown("unknown_bareme", "there is no such bareme"))
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config
        .service(list_presets)
        .service(list_baremes)
        .service(create_bareme)
        .service(get_bareme)
        .service(replace_bareme)
        .service(delete_bareme);
}

/// Ready-made baremes
///
/// The same on every server, and open to anybody: the first run offers them before there is an account.
#[utoipa::path(tag = "catalogue", responses((status = 200, description = "To copy and change", body = [Bareme])))]
#[get("/api/admin/bareme-presets")]
async fn list_presets() -> HttpResponse {
    HttpResponse::Ok().json(presets())
}

/// The baremes of a channel
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    responses((status = 200, description = "Oldest first", body = [BaremeInfo])))]
#[get("/api/admin/channels/{channel}/baremes")]
async fn list_baremes(state: State, request: HttpRequest, channel: web::Path<String>) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Moderator).await?;
    let baremes = state.catalogue.baremes(&slug_of(&channel)?).await?;
    Ok(HttpResponse::Ok().json(baremes.into_iter().map(info).collect::<Vec<_>>()))
}

/// Adds a bareme
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    request_body = Bareme, responses((status = 201, description = "Added", body = BaremeInfo)))]
#[post("/api/admin/channels/{channel}/baremes")]
async fn create_bareme(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let slug = slug_of(&channel)?;
    let bareme: Bareme = body::json_up_to(&request, &mut payload, MAX_DOCUMENT_BYTES).await?;
    let added = state.catalogue.add_bareme(&slug, &bareme).await?;
    state.hub.lists_changed(&slug);
    Ok(HttpResponse::Created().json(info(added)))
}

/// One bareme
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug"),
    ("bareme_id" = Uuid, Path, description = "The bareme")),
    responses((status = 200, description = "The bareme", body = BaremeInfo)))]
#[get("/api/admin/channels/{channel}/baremes/{bareme_id}")]
async fn get_bareme(
    state: State,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Moderator).await?;
    let (slug, bareme_id) = (slug_of(&path.0)?, bareme_of(&path.1)?);
    let bareme = state.catalogue.bareme(&slug, bareme_id).await?;
    Ok(HttpResponse::Ok().json(info((bareme_id, bareme))))
}

/// Replaces a bareme
///
/// Lives made from it keep their copy.
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug"),
    ("bareme_id" = Uuid, Path, description = "The bareme")),
    request_body = Bareme, responses((status = 200, description = "Replaced", body = BaremeInfo)))]
#[put("/api/admin/channels/{channel}/baremes/{bareme_id}")]
async fn replace_bareme(
    state: State,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let (slug, bareme_id) = (slug_of(&path.0)?, bareme_of(&path.1)?);
    let bareme: Bareme = body::json_up_to(&request, &mut payload, MAX_DOCUMENT_BYTES).await?;
    let bareme = state.catalogue.replace_bareme(&slug, bareme_id, &bareme).await?;
    state.hub.lists_changed(&slug);
    Ok(HttpResponse::Ok().json(info((bareme_id, bareme))))
}

/// Deletes a bareme
///
/// Lives made from it keep their copy.
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug"),
    ("bareme_id" = Uuid, Path, description = "The bareme")),
    responses((status = 204, description = "Deleted")))]
#[delete("/api/admin/channels/{channel}/baremes/{bareme_id}")]
async fn delete_bareme(
    state: State,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let slug = slug_of(&path.0)?;
    state.catalogue.delete_bareme(&slug, bareme_of(&path.1)?).await?;
    state.hub.lists_changed(&slug);
    Ok(HttpResponse::NoContent().finish())
}
