//! `bareme repair`: what of a live is damaged, and setting it aside so that the rest can be read.
//!
//! **Invariant**: nothing is deleted. What is set aside stays in the table `set_aside`, under its number.

use std::io::Write as _;
use std::sync::Arc;

use super::{Failure, store_failure};
use crate::catalogue::Catalogue;
use crate::cluster::chunk::{ChunkBuilder, ChunkError};
use crate::cluster::damage::{Damage, DamagedChunk, damage_of};
use crate::domain::ballot::Ratings;
use crate::records::Records;
use crate::settings::{Settings, SettingsError, StoreKind};
use crate::store::cql::CqlStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{ItemId, LaneId, Store, StoreError};

/// A store whose chunks can be set aside.
enum Repairable {
    File(Arc<SqliteStore>),
    Cluster(Arc<CqlStore>),
}

impl Repairable {
    async fn open(settings: &Settings) -> Result<Self, Failure> {
        match &settings.store {
            StoreKind::Sqlite => {
                let folder = settings.data_dir.clone();
                let opening = tokio::task::spawn_blocking(move || SqliteStore::open_beside(&folder));
                let store = opening.await.map_err(|_| Failure::running("cannot open the store"))?;
                Ok(Self::File(Arc::new(store.map_err(|error| store_failure(settings, &error))?)))
            }
            StoreKind::Cql(url) => {
                let store = CqlStore::connect(url).await.map_err(|error| store_failure(settings, &error))?;
                Ok(Self::Cluster(Arc::new(store)))
            }
            StoreKind::Memory => Err(SettingsError {
                setting: "store".to_owned(),
                reason: "`memory` keeps nothing that could be repaired".to_owned(),
                remedy: "name the store of the server, as it was started with".to_owned(),
            }
            .into()),
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::File(store) => Arc::clone(store) as _,
            Self::Cluster(store) => Arc::clone(store) as _,
        }
    }

    async fn set_aside(&self, item: ItemId, damaged: &DamagedChunk) -> Result<(), StoreError> {
        // One without entries: the chunks after it stay where they are.
        let instead = ChunkBuilder::new(0).finish();
        match self {
            Self::File(store) => store.set_aside(item, damaged.lane, damaged.seq, instead).await,
            Self::Cluster(store) => store.set_aside(item, damaged.lane, damaged.seq, instead).await,
        }
    }

    /// What to do before anything is changed.
    const fn copy_first(&self) -> &'static str {
        match self {
            Self::File(_) => "copy the data directory first",
            Self::Cluster(_) => "take a snapshot of the keyspace on every node first",
        }
    }
}

/// What was found and is left as it is.
#[derive(Default)]
struct Left {
    /// Chunks that `--set-aside` would move.
    damaged: u64,
    /// Chunks that another version can read.
    newer: u64,
    /// What this command only lists.
    listed: u64,
}

/// Lists what cannot be read, of every live; with `set_aside`, sets damaged chunks aside. Beside servers that may be
/// running: they read a damaged jeu again within seconds.
pub(super) async fn repair(settings: &Settings, set_aside: bool) -> Result<(), Failure> {
    let repairable = Repairable::open(settings).await?;
    let store = repairable.store();
    let failed = |error| store_failure(settings, &error);
    let refused = |error: crate::catalogue::Refused| Failure::running(error.to_string());
    let catalogue = Catalogue::new(Records::new(Arc::clone(&store)));
    let (mut mended, mut left) = (0_u64, Left::default());
    for channel in catalogue.channels().await.map_err(refused)? {
        for live in catalogue.lives(&channel.slug).await.map_err(refused)? {
            let ballot = Ratings::new(Arc::new(live.bareme.clone()));
            for jeu in &live.programme {
                let item = ItemId { live: live.live_id, jeu: jeu.jeu_id };
                for damage in damage_of(&*store, &ballot, item).await.map_err(failed)? {
                    let what = match damage {
                        Damage::Other(what) => {
                            left.listed += 1;
                            what
                        }
                        Damage::Chunk(damaged) => {
                            let mut done = "";
                            match damaged.why {
                                ChunkError::Newer(_) => left.newer += 1,
                                ChunkError::Damaged if !set_aside => left.damaged += 1,
                                ChunkError::Damaged => {
                                    repairable.set_aside(item, &damaged).await.map_err(failed)?;
                                    (mended, done) = (mended + 1, ": set aside");
                                }
                            }
                            let DamagedChunk { lane: LaneId { writer, lane }, seq, bytes, why } = damaged;
                            format!("lane {writer}/{lane}, chunk {seq}, {bytes} bytes: {why}{done}")
                        }
                    };
                    let (live, title) = (live.live_id, &jeu.details.title);
                    writeln!(std::io::stdout(), "live {live} jeu {} ({title}): {what}", jeu.jeu_id)?;
                }
            }
        }
    }
    if mended > 0 {
        writeln!(std::io::stdout(), "a running server reads these jeux again within seconds")?;
    }
    let mut remedies = Vec::new();
    if left.damaged > 0 {
        remedies.push(format!("set chunks aside with --set-aside; {}", repairable.copy_first()));
    }
    if left.newer > 0 {
        remedies.push("what is of a newer version can be read by that one: start it".to_owned());
    }
    if left.listed > 0 {
        let text = "entries of viewers, notes and results are only listed: restore these lives from their dumps \
                    (docs/backup.md)";
        remedies.push(text.to_owned());
    }
    if remedies.is_empty() {
        if mended == 0 {
            writeln!(std::io::stdout(), "everything can be read")?;
        }
        return Ok(());
    }
    Err(Failure::running(remedies.join("; ")))
}
