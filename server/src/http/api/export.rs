//! Counted notes, one a line: what a recount needs.

use std::fmt::Write as _;

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use super::super::error::{Problem, ProblemBody};
use super::super::{State, live_of};
use crate::auth::require;
use crate::catalogue::Role;
use crate::conductor::CountedNote;
use crate::domain::bareme::Bareme;
use crate::domain::jeu::JeuId;
use crate::domain::rule::Rule;

/// Notes in one piece of the answer.
const NOTES_A_PIECE: usize = 1000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct NotesQuery {
    /// Only the notes on this jeu.
    jeu: Option<u32>,
}

/// Counted notes of a jeu as lines of JSON.
pub(crate) fn lines(bareme: &Bareme, jeu: JeuId, notes: &[CountedNote]) -> Bytes {
    let mut text = String::with_capacity(notes.len() * 128);
    for counted in notes {
        let scores = serde_json::Value::Object(counted.note.to_json(bareme));
        // Writing to a string cannot fail; keys of criteres and hexadecimal need no escaping.
        let _ = writeln!(text, r#"{{"viewer":"{}","jeu":{jeu},"v":{},"scores":{scores}}}"#, counted.viewer, counted.v);
    }
    Bytes::from(text)
}

/// The counted notes of a live
///
/// One JSON object a line: opaque viewer, jeu, version, scores. For admins.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live"), NotesQuery),
    responses(
        (status = 200, description = "NDJSON", body = String, content_type = "application/x-ndjson"),
        (status = 422, description = "The query is wrong",
            body = ProblemBody<'static>, content_type = "application/problem+json"),
    ))]
#[get("/api/lives/{live_id}/notes")]
pub(super) async fn live_notes(
    state: State,
    request: HttpRequest,
    live_id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    require(&state, &request, Role::Admin).await?;
    let live_id = live_of(&live_id)?;
    let query = web::Query::<NotesQuery>::from_query(request.query_string()).map_err(|error| {
        let reason = error.to_string();
        Problem::from(crate::domain::Invalid::new("jeu", Rule::WrongQuery, reason, "send ?jeu=2, or no query"))
    })?;
    let live = state.catalogue.live(live_id).await?;
    let mut jeux: Vec<JeuId> = live.programme.iter().map(|jeu| jeu.jeu_id).collect();
    if let Some(jeu) = query.jeu {
        jeux.retain(|known| known.0 == jeu);
    }
    let Some((first, rest)) = jeux.split_first() else {
        return Err(Problem::unknown("unknown_jeu", "the live has no such jeu").field("jeu"));
    };
    // The first jeu is read before the answer begins, so that what fails early fails with a status.
    let first = (*first, state.conductor.notes(live_id, *first).await?);
    let conductor = state.conductor.clone();
    let later = stream::iter(rest.to_vec()).then(move |jeu| {
        let conductor = conductor.clone();
        async move { conductor.notes(live_id, jeu).await.map(|notes| (jeu, notes)) }
    });
    let bareme = live.bareme;
    let pieces = stream::once(async move { Ok(first) }).chain(later).flat_map(move |read| {
        let pieces: Vec<Result<Bytes, Problem>> = match read {
            Ok((jeu, notes)) => notes.chunks(NOTES_A_PIECE).map(|notes| Ok(lines(&bareme, jeu, notes))).collect(),
            // The status is sent already: a cut connection is the only honest answer left.
            Err(error) => vec![Err(error.into())],
        };
        stream::iter(pieces)
    });
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").streaming(pieces))
}
