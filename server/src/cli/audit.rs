//! `bareme audit`: the log of who changed what, from the store.

use std::io::Write as _;

use super::{Failure, archive};
use crate::audit::{Audit, Filter};
use crate::cluster::env::Env;
use crate::http::admin::audit::{csv_lines, json_lines, time_of};
use crate::records::Records;
use crate::settings::Settings;

/// Entries read at once.
const PAGE: usize = 500;

/// How entries are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Format {
    /// One line for people
    #[default]
    Text,
    /// A table that spreadsheets read
    Csv,
    /// One JSON object a line
    Ndjson,
}

/// Prints entries that fit.
pub(super) async fn print(settings: &Settings, filter: Filter, limit: usize, format: Format) -> Result<(), Failure> {
    let store = archive::open_beside(settings, false).await?;
    let (audit, now_us) = (Audit::new(Records::new(store)), Env::system().now_us());
    let (mut left, mut after, mut is_first) = (limit, None, true);
    while left > 0 {
        let page = audit.page(&filter, after.as_deref(), left.min(PAGE), now_us).await;
        let page = page.map_err(|error| Failure::running(error.source.to_string()))?;
        let printed = match format {
            Format::Csv => csv_lines(&page.entries, is_first).map_err(|error| Failure::running(error.to_string()))?,
            Format::Ndjson => {
                json_lines(&page.entries, is_first).map_err(|error| Failure::running(error.to_string()))?
            }
            Format::Text => page.entries.iter().flat_map(|entry| line(entry).into_bytes()).collect(),
        };
        std::io::stdout().write_all(&printed)?;
        (left, after, is_first) = (left.saturating_sub(page.entries.len()), page.next, false);
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

fn line(entry: &crate::audit::Entry) -> String {
    let who = match entry.who.as_str() {
        "" => "-",
        who => who,
    };
    let about: Vec<_> = entry.about.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (door, outcome) = (format!("{:?}", entry.door).to_lowercase(), format!("{:?}", entry.outcome).to_lowercase());
    let code = entry.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
    format!("{}  {who}  {door}  {}  {outcome}{code}  {}\n", time_of(entry.at_us), entry.action, about.join(" "))
}
