//! A channel's catalogue of jeux.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use serde::Deserialize;

use super::super::error::Problem;
use super::super::{State, body, jeu_of, slug_of};
use super::nullable;
use crate::auth::require;
use crate::catalogue::Role;
use crate::domain::jeu::{Jeu, JeuDetails};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewJeuBody {
    /// Title, as shown everywhere.
    #[schema(min_length = 1, max_length = 200, pattern = "@text")]
    title: String,
    /// Platform, such as "PC".
    #[schema(max_length = 80, pattern = "@optional_text")]
    platform: Option<String>,
    /// Genre.
    #[schema(max_length = 80, pattern = "@optional_text")]
    genre: Option<String>,
    /// Year of release.
    #[schema(minimum = 1950, maximum = 2100)]
    year: Option<u16>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct JeuEditBody {
    /// New title.
    #[schema(min_length = 1, max_length = 200, pattern = "@text")]
    title: Option<String>,
    /// New platform.
    #[schema(max_length = 80, pattern = "@optional_text")]
    platform: Option<String>,
    /// New genre.
    #[schema(max_length = 80, pattern = "@optional_text")]
    genre: Option<String>,
    /// New year of release; null takes it away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u16>, minimum = 1950, maximum = 2100)]
    year: Option<Option<u16>>,
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config.service(list_jeux).service(create_jeu).service(edit_jeu).service(delete_jeu);
}

/// The jeux of a channel
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    responses((status = 200, description = "In order of number", body = [Jeu])))]
#[get("/api/admin/channels/{channel}/jeux")]
async fn list_jeux(state: State, request: HttpRequest, channel: web::Path<String>) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Moderator).await?;
    Ok(HttpResponse::Ok().json(state.catalogue.jeux(&slug_of(&channel)?).await?))
}

/// Adds a jeu
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug")),
    request_body = NewJeuBody, responses((status = 201, description = "Added", body = Jeu)))]
#[post("/api/admin/channels/{channel}/jeux")]
async fn create_jeu(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let slug = slug_of(&channel)?;
    let body: NewJeuBody = body::json(&request, &mut payload).await?;
    let details = JeuDetails {
        title: body.title,
        platform: body.platform.unwrap_or_default(),
        genre: body.genre.unwrap_or_default(),
        year: body.year,
    };
    let jeu = state.catalogue.add_jeu(&slug, &details).await?;
    state.hub.lists_changed(&slug);
    Ok(HttpResponse::Created().json(jeu))
}

/// Changes a jeu
///
/// Lives made before keep what it said then.
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug"),
    ("jeu_id" = u32, Path, description = "Number of the jeu")),
    request_body = JeuEditBody, responses((status = 200, description = "Changed", body = Jeu)))]
#[patch("/api/admin/channels/{channel}/jeux/{jeu_id}")]
async fn edit_jeu(
    state: State,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let (slug, jeu) = (slug_of(&path.0)?, jeu_of(&path.1)?);
    let body: JeuEditBody = body::json(&request, &mut payload).await?;
    let edit = |details: &mut JeuDetails| {
        let texts = [
            (&body.title, &mut details.title),
            (&body.platform, &mut details.platform),
            (&body.genre, &mut details.genre),
        ];
        for (new, old) in texts {
            if let Some(new) = new {
                old.clone_from(new);
            }
        }
        if let Some(year) = body.year {
            details.year = year;
        }
    };
    let jeu = state.catalogue.edit_jeu(&slug, jeu, edit).await?;
    state.hub.lists_changed(&slug);
    Ok(HttpResponse::Ok().json(jeu))
}

/// Takes a jeu out of the catalogue
///
/// Its number is never used again. Lives made before keep their copy.
#[utoipa::path(tag = "catalogue", params(("channel" = String, Path, description = "Slug"),
    ("jeu_id" = u32, Path, description = "Number of the jeu")),
    responses((status = 204, description = "Deleted")))]
#[delete("/api/admin/channels/{channel}/jeux/{jeu_id}")]
async fn delete_jeu(
    state: State,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let slug = slug_of(&path.0)?;
    state.catalogue.delete_jeu(&slug, jeu_of(&path.1)?).await?;
    state.hub.lists_changed(&slug);
    Ok(HttpResponse::NoContent().finish())
}
