//! `export`: results and notes of a live, in the bytes that the API answers admins with.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::Failure;
use crate::archive::{ledger, stored_live};
use crate::cluster::load::{LoadError, Rows};
use crate::conductor::{HeldResults, NOTES_PAGE, counted, counted_numbers, stored_numbers};
use crate::domain::ballot::Ratings;
use crate::domain::live::{Live, LiveId};
use crate::domain::phase::{Phase, Rank};
use crate::http::api::{lines, results_from, table_of};
use crate::hub::frames::Audience;
use crate::records::Records;
use crate::store::{ItemId, Store};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Results as a table: one line for each jeu and critere
    Csv,
    /// Results as JSON
    Json,
    /// The notes that count, one JSON object a line
    Ndjson,
}

/// Writes an export to a file, or to standard output.
pub(super) async fn run(
    store: &Arc<dyn Store>,
    live_id: LiveId,
    format: Format,
    output: Option<&Path>,
) -> Result<(), Failure> {
    let records = Records::new(Arc::clone(store));
    let live = stored_live(&records, live_id).await?.value;
    let Some(path) = output else {
        let mut out = std::io::stdout();
        return export(store, &records, &live, format, &mut out).await;
    };
    // Beside it and then renamed: half an export must not look like one.
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let in_file = |error: std::io::Error| Failure::running(format!("{}: {error}", path.display()));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&partial).map_err(in_file)?);
    let exported = match export(store, &records, &live, format, &mut file).await {
        Ok(()) => file.flush().and_then(|()| std::fs::rename(&partial, path)).map_err(in_file),
        Err(error) => Err(error),
    };
    if exported.is_err() {
        let _gone = std::fs::remove_file(&partial);
    }
    exported
}

async fn export(
    store: &Arc<dyn Store>,
    records: &Records,
    live: &Live,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    if format == Format::Ndjson {
        return notes(store, records, live, out).await;
    }
    let store_failed = |error: crate::store::StoreError| Failure::running(error.source.to_string());
    let mut numbers = stored_numbers(&**store, &HeldResults::default(), live).await.map_err(store_failed)?;
    for jeu in &mut numbers {
        if matches!(jeu.frame.phase, Phase::Open | Phase::Closing) {
            let rank = Rank::new(jeu.frame.epoch, jeu.frame.phase);
            let counted = counted_numbers(&**store, live, jeu.jeu, rank).await;
            *jeu = counted.map_err(|error| Failure::running(error.to_string()))?;
        }
        if !jeu.available {
            return Err(Failure::running(format!("the result of jeu {} cannot be read", jeu.jeu)));
        }
    }
    let results = results_from(live, numbers, Audience::Admin);
    let bytes = match format {
        Format::Csv => table_of(live, &results).map_err(|error| Failure::running(error.to_string()))?,
        _ => serde_json::to_vec(&results).map_err(|error| Failure::running(error.to_string()))?,
    };
    Ok(out.write_all(&bytes)?)
}

async fn notes(
    store: &Arc<dyn Store>,
    records: &Records,
    live: &Live,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let known = ledger::read(records, live.live_id).await?;
    if known.notes_pruned_at_us.is_some() {
        let place = known.made.map_or_else(|| "its dump".to_owned(), |made| made.place);
        let remedy = format!("they are in {place}: read it with zstd, or `bareme restore` it");
        return Err(Failure::running(format!("the notes of live {} were pruned; {remedy}", live.live_id)));
    }
    let ballot = Arc::new(Ratings::new(Arc::new(live.bareme.clone())));
    for jeu in &live.programme {
        let item = ItemId { live: live.live_id, jeu: jeu.jeu_id };
        let failed = |error: LoadError| Failure::running(error.to_string());
        let mut rows = Rows::open(&**store, &ballot, item, NOTES_PAGE).await.map_err(failed)?;
        while let Some(page) = rows.next().await.map_err(failed)? {
            let counted: Vec<_> = page.iter().filter_map(|row| counted(live, row)).collect();
            out.write_all(&lines(&live.bareme, jeu.jeu_id, &counted))?;
        }
    }
    Ok(())
}
