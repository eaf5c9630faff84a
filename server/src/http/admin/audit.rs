//! The audit log, to read and to take away.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;

use super::super::State;
use super::super::error::{Problem, ProblemBody};
use crate::audit::{Audit, Entry, Filter, Kind, Page, is_id};
use crate::auth::require_scope;
use crate::catalogue::Scope;
use crate::domain::Invalid;
use crate::domain::rule::Rule;
use crate::table::Table;

/// Entries on a page unless the call says otherwise, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;
/// Longest text to look for, in bytes.
const MAX_TEXT_BYTES: usize = 200;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Only these: `all`, `sign_in`, `change` or `refused`.
    #[serde(default)]
    #[param(inline)]
    kind: Kind,
    /// Only those with this text in the name, the action or the object.
    #[serde(default)]
    #[param(max_length = 200)]
    text: String,
    /// `next` of the page before.
    #[param(max_length = 64)]
    after: Option<String>,
    /// Most entries.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

pub(super) fn configure(config: &mut utoipa_actix_web::service_config::ServiceConfig<'_>) {
    config.service(list_audit).service(audit_csv).service(audit_ndjson);
}

async fn asked(state: &State, request: &HttpRequest) -> Result<(AuditQuery, Filter), Problem> {
    require_scope(state, request, Scope::Accounts).await?;
    let wrong = |reason: String| {
        let remedy = "send ?kind=all, sign_in, change or refused, and text, after, limit as in /api/docs";
        Problem::from(Invalid::new("query", Rule::WrongQuery, reason, remedy))
    };
    let query =
        web::Query::<AuditQuery>::from_query(request.query_string()).map_err(|error| wrong(error.to_string()))?;
    let query = query.into_inner();
    if query.text.len() > MAX_TEXT_BYTES || query.limit.is_some_and(|limit| !(1..=MAX_PAGE).contains(&limit)) {
        return Err(wrong("text or limit is out of range".to_owned()));
    }
    if query.after.as_deref().is_some_and(|after| !is_id(after)) {
        return Err(wrong("after is not the `next` of a page".to_owned()));
    }
    let filter = Filter { kind: query.kind, text: query.text.clone() };
    Ok((query, filter))
}

/// The audit log
///
/// Who signed in or tried to, and every change by an admin or a token, for a year. Without addresses.
#[utoipa::path(tag = "people", params(AuditQuery), responses(
    (status = 200, description = "Newest first", body = Page),
    (status = 422, description = "The query is wrong",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[get("/api/admin/audit")]
async fn list_audit(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (query, filter) = asked(&state, &request).await?;
    let limit = query.limit.unwrap_or(PAGE);
    let page = state.audit.page(&filter, query.after.as_deref(), limit, state.now_us()).await?;
    Ok(HttpResponse::Ok().json(page))
}

/// The audit log as a table
#[utoipa::path(tag = "people", params(AuditQuery), responses(
    (status = 200, description = "One line for each entry, newest first", body = String, content_type = "text/csv"),
    (status = 422, description = "The query is wrong",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[get("/api/admin/audit.csv")]
async fn audit_csv(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (query, filter) = asked(&state, &request).await?;
    export(&state, query, filter, "text/csv; charset=utf-8", "audit.csv", csv_lines).await
}

/// The audit log as lines of JSON
#[utoipa::path(tag = "people", params(AuditQuery), responses(
    (status = 200, description = "One entry a line, newest first", body = String, content_type = "application/x-ndjson"),
    (status = 422, description = "The query is wrong",
        body = ProblemBody<'static>, content_type = "application/problem+json")))]
#[get("/api/admin/audit.ndjson")]
async fn audit_ndjson(state: State, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (query, filter) = asked(&state, &request).await?;
    export(&state, query, filter, "application/x-ndjson", "audit.ndjson", json_lines).await
}

/// Entries as text; the first piece has the head of the table.
type Lines = fn(&[Entry], bool) -> Result<Vec<u8>, Problem>;

/// Where a stream of pages is.
struct Position {
    audit: Audit,
    filter: Filter,
    now_us: u64,
    after: Option<String>,
}

async fn export(
    state: &State,
    query: AuditQuery,
    filter: Filter,
    kind: &'static str,
    name: &'static str,
    lines: Lines,
) -> Result<HttpResponse, Problem> {
    let (audit, now_us) = (state.audit.clone(), state.now_us());
    // The first page is read before the answer begins, so that what fails early fails with a status.
    let first = audit.page(&filter, query.after.as_deref(), MAX_PAGE, now_us).await?;
    let head = lines(&first.entries, true)?;
    let next = |page: Page, audit, filter| page.next.map(|id| Position { audit, filter, now_us, after: Some(id) });
    let start = next(first, audit, filter);
    let rest = stream::try_unfold(start, move |position| async move {
        let Some(Position { audit, filter, now_us, after }) = position else { return Ok::<_, Problem>(None) };
        let page = audit.page(&filter, after.as_deref(), MAX_PAGE, now_us).await?;
        let piece = Bytes::from(lines(&page.entries, false)?);
        Ok(Some((piece, page.next.map(|id| Position { audit, filter, now_us, after: Some(id) }))))
    });
    let pieces = futures_util::StreamExt::chain(stream::iter([Ok(Bytes::from(head))]), rest);
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"bareme-{name}\"")))
        .streaming(Box::pin(pieces)))
}

/// Entries as lines of a table that a spreadsheet takes for text.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn csv_lines(entries: &[Entry], with_head: bool) -> Result<Vec<u8>, Problem> {
    let columns = ["time", "who", "door", "credential", "action", "about", "outcome", "code"];
    let mut table = if with_head { Table::new(&columns).map_err(Problem::internal)? } else { Table::going_on() };
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    for entry in entries {
        let about: Vec<_> = entry.about.iter().map(|(name, value)| format!("{name}={value}")).collect();
        table.plain(time_of(entry.at_us)).text(&entry.who).plain(word(serde_json::to_value(entry.door)));
        table.plain(entry.credential.as_deref().unwrap_or_default()).plain(&entry.action).text(&about.join(", "));
        table.plain(word(serde_json::to_value(entry.outcome))).plain(entry.code.as_deref().unwrap_or_default());
        table.end().map_err(Problem::internal)?;
    }
    table.finish().map_err(Problem::internal)
}

/// Entries as lines of JSON.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn json_lines(entries: &[Entry], _with_head: bool) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut text, entry).map_err(Problem::internal)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// An instant in UTC, such as `2026-11-30T20:15:00Z`.
pub(crate) fn time_of(at_us: u64) -> String {
    use actix_web::cookie::time::OffsetDateTime;
    let seconds = i64::try_from(at_us / 1_000_000).unwrap_or(i64::MAX);
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds) else { return String::new() };
    let (date, month) = (time.date(), u8::from(time.month()));
    let (hour, minute, second) = time.to_hms();
    format!("{:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", date.year(), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_of_a_table_and_no_formula() {
        let mut entry = Entry::of_command(1_796_069_700_000_000, "token_new", &[("name", "x; =1+1,@x")]);
        entry.who = "=HYPERLINK(1)".to_owned();
        let table = String::from_utf8(csv_lines(&[entry], true).unwrap()).unwrap();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2, "{table}");
        assert_eq!(lines[1], "2026-11-30T20:15:00Z,'=HYPERLINK(1),cli,,token_new,\"name=x;' =1+1,'@x\",done,");
    }
}
