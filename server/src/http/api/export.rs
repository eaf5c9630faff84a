//! Counted notes, one a line: what a recount needs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::super::error::{Problem, ProblemBody};
use super::super::{State, live_of};
use crate::auth::require;
use crate::catalogue::Role;
use crate::conductor::{ConductError, Conductor, CountedNote};
use crate::domain::bareme::Bareme;
use crate::domain::jeu::JeuId;
use crate::domain::live::Live;
use crate::domain::rule::Rule;

/// Exports that wait for the one under way; beyond them it is 503.
const MAX_WAITING: usize = 8;

/// How long one waits for its turn, and what whoever is sent away is told to wait.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// Pieces that are made before the client takes them: some 100 KB each.
const PIECES_AHEAD: usize = 2;

/// A client that takes nothing for this long is cut off: others wait for its turn to end.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Longest rest between two pieces.
const MAX_REST: Duration = Duration::from_millis(100);

/// Whose turn it is to export notes: one at a time, because each reads all of a live beside people who vote.
#[derive(Clone)]
pub struct Exports {
    turn: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Exports {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), places: Arc::new(Semaphore::new(MAX_WAITING)) }
    }
}

impl Exports {
    /// Waits for a turn, which ends when what is returned is dropped.
    async fn begin(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = || Problem::unavailable("other exports are under way").retry_after(TURN_WAIT.as_secs());
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let turn = timeout(TURN_WAIT, Arc::clone(&self.turn).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(busy)
    }
}

/// What comes from the task that reads.
enum Piece {
    Lines(Bytes),
    Failed(ConductError),
    /// All of it was sent. Without this a client must not take what it has for everything.
    End,
}

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
/// One JSON object a line: opaque viewer, jeu, version, scores; of an open jeu at least what was acknowledged before. For
/// admins, one at a time: others wait, or are told to come again. An answer that is cut off is not all of it.
#[utoipa::path(tag = "lives", params(("live_id" = Uuid, Path, description = "The live"), NotesQuery),
    responses(
        (status = 200, description = "NDJSON", body = String, content_type = "application/x-ndjson"),
        (status = 422, description = "The query is wrong",
            body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 503, description = "Other exports are under way; see `Retry-After`",
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
    if jeux.is_empty() {
        return Err(Problem::unknown("unknown_jeu", "the live has no such jeu").field("jeu"));
    }
    let turn = state.exports.begin().await?;
    let (pieces, mut read) = mpsc::channel(PIECES_AHEAD);
    state.conductor.spawn("notes_export", export(state.conductor.clone(), live, jeux, pieces, turn));
    // What fails before the answer begins fails with a status.
    let first = match read.recv().await {
        Some(Piece::Failed(error)) => return Err(error.into()),
        first => first,
    };
    let pieces = stream::unfold((Some(first), read), |(first, mut read)| async move {
        let piece = match first {
            Some(first) => first,
            None => read.recv().await,
        };
        match piece {
            Some(Piece::Lines(lines)) => Some((Ok(lines), (None, read))),
            Some(Piece::End) => None,
            // The status is sent already: a cut connection is the only honest answer left.
            Some(Piece::Failed(error)) => Some((Err(Problem::from(error)), (None, read))),
            None => Some((Err(Problem::unavailable("the export was cut off")), (None, read))),
        }
    });
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").streaming(pieces))
}

/// Reads the notes and hands them over, as fast as they are taken. The turn ends with it.
async fn export(
    conductor: Conductor,
    live: Live,
    jeux: Vec<JeuId>,
    pieces: mpsc::Sender<Piece>,
    turn: OwnedSemaphorePermit,
) {
    let last = match hand_over(&conductor, &live, jeux, &pieces).await {
        Ok(true) => Piece::End,
        // Nobody takes it any more.
        Ok(false) => return drop(turn),
        Err(error) => Piece::Failed(error),
    };
    let _client_left = timeout(STALLED_AFTER, pieces.send(last)).await;
    drop(turn);
}

/// Whether all of it was taken. It rests as long as it worked, in pieces of milliseconds: people may be voting.
async fn hand_over(
    conductor: &Conductor,
    live: &Live,
    jeux: Vec<JeuId>,
    pieces: &mpsc::Sender<Piece>,
) -> Result<bool, ConductError> {
    for jeu in jeux {
        let mut since = Instant::now();
        let mut notes = conductor.notes(live, jeu).await?;
        while let Some(page) = notes.next().await? {
            let piece = Piece::Lines(lines(&live.bareme, jeu, &page));
            let worked = since.elapsed();
            if !matches!(timeout(STALLED_AFTER, pieces.send(piece)).await, Ok(Ok(()))) {
                return Ok(false);
            }
            sleep(worked.min(MAX_REST)).await;
            since = Instant::now();
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_exports_some_wait_and_the_others_come_again() {
        let exports = Exports::default();
        let turn = exports.begin().await.unwrap();
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(exports.begin())).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one.as_mut()).is_pending());
        }
        assert!(exports.begin().await.is_err(), "one too many");
        drop(turn);
        let second = waiting.remove(0).await.unwrap();
        for one in waiting {
            assert!(one.await.is_err(), "nobody waits longer than is said");
        }
        drop(second);
        assert!(exports.begin().await.is_ok());
    }
}
