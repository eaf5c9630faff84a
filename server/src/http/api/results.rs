//! Results of a live, as JSON and as a table.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use uuid::Uuid;

use super::super::error::{Problem, ProblemBody};
use super::super::{State, live_of};
use super::caching;
use crate::auth::admin_of;
use crate::catalogue::Scope;
use crate::conductor::{ConductError, JeuNumbers};
use crate::domain::bareme::{Critere, Scale};
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::phase::Phase;
use crate::domain::tally::CritereSummary;
use crate::hub::frames::{Audience, mask, masked};
use crate::protocol::Masked;
use crate::table::Table;

/// Results of a live.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Results {
    /// The live.
    pub live_id: Uuid,
    /// Slug of its channel.
    pub channel: String,
    /// Title of the live.
    pub title: String,
    /// Draft, open or closed.
    pub status: LiveStatus,
    /// When it went on air, microseconds since 1970.
    pub opened_at_us: Option<u64>,
    /// When it ended.
    pub closed_at_us: Option<u64>,
    /// Scale of the overall means.
    pub scale: Scale,
    /// The criteres of its bareme: what the histograms of the jeux are about.
    pub criteres: Vec<Critere>,
    /// The jeux in order of the programme.
    pub jeux: Vec<JeuResult>,
}

/// Results of one jeu.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct JeuResult {
    /// The jeu.
    pub jeu_id: u32,
    /// Title.
    pub title: String,
    /// Pending, open, closing or final.
    pub phase: Phase,
    /// How often it was reopened.
    pub epoch: u64,
    /// Viewers whose note counts.
    pub voters: u64,
    /// Overall mean on the live's scale; null while there is none or it is masked.
    pub mean: Option<f64>,
    /// One entry for each critere; empty when masked.
    pub criteres: Vec<CritereSummary>,
    /// Why the means are not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<Masked>,
    /// True when the numbers of this jeu cannot be read now, and those above are none; else left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unavailable: bool,
}

/// Who asks for numbers: admins see everything, everybody else what the live shows.
pub(super) async fn audience_of(state: &State, request: &HttpRequest) -> Result<Audience, Problem> {
    match admin_of(state, request).await {
        Ok(principal) if principal.may(Scope::Read) => Ok(Audience::Admin),
        Ok(_) => Ok(Audience::Public),
        // A token that is sent and wrong is a mistake worth telling; an old session is just nobody.
        Err(problem) if problem.status() != StatusCode::UNAUTHORIZED => Err(problem),
        Err(problem) if request.headers().contains_key(header::AUTHORIZATION) => Err(problem),
        Err(_) => Ok(Audience::Public),
    }
}

/// Results for whoever asks.
async fn results_for(
    state: &State,
    request: &HttpRequest,
    segment: &str,
) -> Result<(Live, Results, Audience), Problem> {
    let live_id = live_of(segment)?;
    let audience = audience_of(state, request).await?;
    let (live, results) = results_of(state, live_id, audience).await?;
    Ok((live, results, audience))
}

/// The record of a live and its results, as an audience sees them.
pub(super) async fn results_of(state: &State, live_id: LiveId, audience: Audience) -> Result<(Live, Results), Problem> {
    let (live, numbers) = state.conductor.numbers(live_id).await?;
    // A draft is its streamer's secret: to everybody else it is not there.
    if live.status == LiveStatus::Draft && audience != Audience::Admin {
        return Err(ConductError::UnknownLive(live_id).into());
    }
    let results = results_from(&live, numbers, audience);
    Ok(((*live).clone(), results))
}

/// The results that numbers make, as an audience sees them.
pub(crate) fn results_from(live: &Live, numbers: Vec<JeuNumbers>, audience: Audience) -> Results {
    let jeux = numbers.into_iter().map(|jeu| {
        let frame = match mask(live, &jeu.frame, audience) {
            Some(reason) => masked(&jeu.frame, reason),
            None => jeu.frame,
        };
        JeuResult {
            jeu_id: jeu.jeu.0,
            title: live.jeu(jeu.jeu).map(|(_, jeu)| jeu.details.title.clone()).unwrap_or_default(),
            phase: frame.phase,
            epoch: frame.epoch,
            voters: frame.voters,
            mean: frame.mean,
            criteres: frame.criteres,
            masked: frame.masked,
            unavailable: !jeu.available,
        }
    });
    Results {
        live_id: live.live_id.0,
        channel: live.channel.to_string(),
        title: live.title.clone(),
        status: live.status,
        opened_at_us: live.opened_at_us,
        closed_at_us: live.closed_at_us,
        scale: live.bareme.overall_scale(),
        criteres: live.bareme.criteres.clone(),
        jeux: jeux.collect(),
    }
}

/// Results of a live
///
/// JSON, or a table when `Accept` asks for `text/csv`. Blind mode holds while a jeu is not final, the minimum of votes always
/// for everybody but admins.
#[utoipa::path(tag = "public", params(("live_id" = Uuid, Path, description = "The live")),
    responses(
        (status = 200, description = "The results", content((Results = "application/json"), (String = "text/csv"))),
        (status = 304, description = "The one with the `ETag` of `If-None-Match`"),
        (status = 401, description = "The bearer token is not valid",
            body = ProblemBody<'static>, content_type = "application/problem+json"),
    ))]
#[get("/api/lives/{live_id}/results")]
pub(super) async fn live_results(
    state: State,
    request: HttpRequest,
    live_id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (live, results, audience) = results_for(&state, &request, &live_id).await?;
    if prefers_csv(&request) {
        return table(&request, audience, &live, &results);
    }
    let body = serde_json::to_vec(&results).map_err(Problem::internal)?;
    Ok(caching::answer(&request, audience, live.status == LiveStatus::Closed, body, |response| {
        response.content_type("application/json");
    }))
}

/// Results of a live as a table
#[utoipa::path(tag = "public", params(("live_id" = Uuid, Path, description = "The live")),
    responses(
        (status = 200, description = "One line for each jeu and critere", body = String, content_type = "text/csv"),
        (status = 304, description = "The one with the `ETag` of `If-None-Match`"),
        (status = 401, description = "The bearer token is not valid",
            body = ProblemBody<'static>, content_type = "application/problem+json"),
    ))]
#[get("/api/lives/{live_id}/results.csv")]
pub(super) async fn live_results_csv(
    state: State,
    request: HttpRequest,
    live_id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (live, results, audience) = results_for(&state, &request, &live_id).await?;
    table(&request, audience, &live, &results)
}

/// Whether `Accept` names CSV before JSON and anything.
fn prefers_csv(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kinds = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
    let known = kinds
        .map(str::to_ascii_lowercase)
        .find(|kind| matches!(kind.as_str(), "text/csv" | "application/json" | "application/*" | "*/*"));
    known.as_deref() == Some("text/csv")
}

fn table(request: &HttpRequest, audience: Audience, live: &Live, results: &Results) -> Result<HttpResponse, Problem> {
    if results.jeux.iter().any(|jeu| jeu.unavailable) {
        // A table has no place to say it, and a line without votes would be wrong.
        return Err(Problem::unavailable("the numbers of a jeu cannot be read"));
    }
    let bytes = table_of(live, results).map_err(Problem::internal)?;
    let name = format!("attachment; filename=\"{}-{}.csv\"", results.channel, results.live_id);
    Ok(caching::answer(request, audience, live.status == LiveStatus::Closed, bytes, |response| {
        response.content_type("text/csv; charset=utf-8").insert_header((header::CONTENT_DISPOSITION, name));
    }))
}

/// Results as a table: one line for each jeu and critere.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn table_of(live: &Live, results: &Results) -> csv::Result<Vec<u8>> {
    let columns = [
        "jeu_id",
        "title",
        "phase",
        "epoch",
        "voters",
        "mean",
        "critere",
        "label_fr",
        "label_en",
        "count",
        "critere_mean",
        "histogram",
    ];
    let mut table = Table::new(&columns)?;
    for jeu in &results.jeux {
        let phase = serde_json::to_value(jeu.phase).ok();
        let phase = phase.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let begin = |table: &mut Table| {
            table.plain(jeu.jeu_id).text(&jeu.title).plain(phase).plain(jeu.epoch).plain(jeu.voters).number(jeu.mean);
        };
        if jeu.criteres.is_empty() {
            begin(&mut table);
            for _ in 0..6 {
                table.plain("");
            }
            table.end()?;
        }
        for summary in &jeu.criteres {
            let labels =
                live.bareme.critere(&summary.key).map(|(_, critere)| critere.labels.clone()).unwrap_or_default();
            let histogram: Vec<_> = summary.histogram.iter().map(u64::to_string).collect();
            begin(&mut table);
            table.plain(&summary.key).text(&labels.fr).text(&labels.en).plain(summary.count).number(summary.mean);
            table.plain(histogram.join("|"));
            table.end()?;
        }
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn accept_chooses_the_first_kind_it_names() {
        let prefers =
            |accept: &str| prefers_csv(&TestRequest::default().insert_header(("Accept", accept)).to_http_request());
        assert!(prefers("text/csv") && prefers("text/csv, application/json") && prefers("text/html, TEXT/CSV;q=0.9"));
        assert!(!prefers("application/json, text/csv") && !prefers("*/*") && !prefers(""));
    }
}
