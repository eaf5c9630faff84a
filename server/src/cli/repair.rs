//! `bareme repair`: what of a live is damaged, and setting it aside so that the rest can be read.
//!
//! **Invariant**: nothing is deleted. What is set aside stays in the table `set_aside`, under its number.

use std::io::Write as _;

use super::{Failure, store_failure};
use crate::catalogue::Catalogue;
use crate::cluster::chunk::ChunkBuilder;
use crate::cluster::load::damaged_chunks;
use crate::records::Records;
use crate::settings::{Settings, SettingsError, StoreKind};
use crate::store::ItemId;
use crate::store::sqlite::SqliteStore;
use std::sync::Arc;

/// Lists chunks that cannot be read, of every live; with `set_aside`, sets them aside. Beside a server that may be running:
/// it reads a damaged jeu again within seconds.
pub(super) async fn repair(settings: &Settings, set_aside: bool) -> Result<(), Failure> {
    if settings.store != StoreKind::Sqlite {
        return Err(SettingsError {
            setting: "store".to_owned(),
            reason: format!("`{}` is not a file that this command repairs", settings.store),
            remedy: "restore the live from its dump; see docs/backup.md".to_owned(),
        }
        .into());
    }
    let folder = settings.data_dir.clone();
    let opening = tokio::task::spawn_blocking(move || SqliteStore::open_beside(&folder));
    let store = opening.await.map_err(|_| Failure::running("cannot open the store"))?;
    let store = Arc::new(store.map_err(|error| store_failure(settings, &error))?);
    let failed = |error| store_failure(settings, &error);
    let refused = |error: crate::catalogue::Refused| Failure::running(error.to_string());
    let catalogue = Catalogue::new(Records::new(Arc::clone(&store) as _));
    let mut found = 0_u64;
    for channel in catalogue.channels().await.map_err(refused)? {
        for live in catalogue.lives(&channel.slug).await.map_err(refused)? {
            for jeu in &live.programme {
                let item = ItemId { live: live.live_id, jeu: jeu.jeu_id };
                for damaged in damaged_chunks(&*store, item).await.map_err(failed)? {
                    found += 1;
                    let (lane, seq) = (damaged.lane, damaged.seq);
                    let done = if set_aside {
                        // One without entries: the chunks after it stay where they are.
                        let instead = ChunkBuilder::new(0).finish();
                        store.set_aside(item, lane, seq, instead).await.map_err(failed)?;
                        ": set aside"
                    } else {
                        ""
                    };
                    let (writer, number, bytes, why) = (lane.writer, lane.lane, damaged.bytes, damaged.why);
                    let line = format!(
                        "live {} jeu {} ({}): lane {writer}/{number}, chunk {seq}, {bytes} bytes: {why}{done}",
                        live.live_id, jeu.jeu_id, jeu.details.title
                    );
                    writeln!(std::io::stdout(), "{line}")?;
                }
            }
        }
    }
    match (found, set_aside) {
        (0, _) => writeln!(std::io::stdout(), "every chunk can be read")?,
        (_, true) => writeln!(std::io::stdout(), "a running server reads these jeux again within seconds")?,
        (_, false) => return Err(Failure::running("set these aside with --set-aside; copy the data directory first")),
    }
    Ok(())
}
