//! The commands about dumps, each beside a running server or without one: dump, restore, prune, backup.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::progress::Progress;
use super::{Failure, export, open_cluster, open_file, store_failure};
use crate::archive::{
    ArchiveError, Dumped, MANIFEST, Pace, Restoring, Retention, Target, TargetUrl, dump, ledger, lives_that_are_over,
    prune, restore, stored_live,
};
use crate::cluster::env::Env;
use crate::domain::key::Slug;
use crate::domain::live::LiveId;
use crate::records::Records;
use crate::settings::{Settings, SettingsError, StoreKind};
use crate::store::Store;
use crate::store::sqlite::SqliteStore;

/// How long `dump` waits for the last results of a live that ended, and how often it looks.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
const CLOSED_AGAIN: Duration = Duration::from_millis(100);

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Dumps lives that are over to --dump-to, and reads each dump back; without an option those that have no dump yet
    Dump {
        /// Only this live, whether or not it has a dump: one that is there is read back and recounted
        #[arg(long, value_name = "ID", conflicts_with = "all")]
        live: Option<Uuid>,
        /// Every live that is over: dumps that are there are read back and recounted
        #[arg(long)]
        all: bool,
    },
    /// Brings a live back from its dump, as a copy unless told otherwise; repeating it changes nothing
    Restore {
        /// Folder of the dump, or its manifest.json: a path, file:///…, s3://bucket/…, gs://… or az://…
        source: String,
        /// Under the id that it had, for a store that lost it
        #[arg(long)]
        same_id: bool,
        /// Into this channel instead of its own
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
    },
    /// Writes the results of a live (csv, json) or its single notes (ndjson) to standard output
    Export {
        /// Id of the live
        live: Uuid,
        /// What to write
        #[arg(long, value_enum)]
        format: export::Format,
        /// Writes to this file instead
        #[arg(long, short, value_name = "FILE")]
        output: Option<std::path::PathBuf>,
    },
    /// Deletes notes of lives that ended --keep-notes-days ago and journals that are no longer needed; a dump of them is
    /// read back and recounted first. Servers do the same by themselves, once an hour
    Prune {
        /// Only this live
        #[arg(long, value_name = "ID")]
        live: Option<Uuid>,
        /// Keeps notes for so many days instead; 0 deletes all whose live has been over for five minutes
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Copies the database of --data-dir to a new file, while a server uses it
    Backup {
        /// The file to make
        file: std::path::PathBuf,
    },
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => Self::running(format!("cannot use the store: {}", error.source)),
            other => Self::running(other.to_string()),
        }
    }
}

fn wrong(setting: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Failure {
    SettingsError { setting: setting.to_owned(), reason: reason.into(), remedy: remedy.into() }.into()
}

/// The store of another process's server, or of none.
pub(super) async fn open_beside(settings: &Settings, may_make: bool) -> Result<Arc<dyn Store>, Failure> {
    match &settings.store {
        StoreKind::Sqlite => {
            if !may_make && !SqliteStore::is_in(&settings.data_dir) {
                let folder = settings.data_dir.display();
                let remedy = "name the server's folder with --data-dir, or its cluster with --store";
                return Err(Failure::running(format!("there is no database in {folder}; {remedy}")));
            }
            open_file(settings, SqliteStore::open_beside).await
        }
        StoreKind::Cql(url) => open_cluster(settings, url).await,
        StoreKind::Memory => {
            let remedy = "use the addresses of the running server, such as /api/lives/ID/results";
            Err(wrong("store", "`memory` is seen by its own process only", remedy))
        }
    }
}

fn dump_target(settings: &Settings) -> Result<TargetUrl, Failure> {
    let remedy = "name a place, such as --dump-to /srv/dumps or --dump-to s3://bucket/prefix";
    settings.dump_target().ok_or_else(|| wrong("dump_to", "is off", remedy))
}

fn say(line: &str) {
    // Whoever closed our standard output does not want to read it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Carries a command out.
pub(super) async fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    match command {
        Command::Dump { live, all } => dump_lives(settings, live.map(LiveId), all).await,
        Command::Restore { source, same_id, channel } => restore_live(settings, &source, same_id, channel).await,
        Command::Export { live, format, output } => {
            let store = open_beside(settings, false).await?;
            export::run(&store, LiveId(live), format, output.as_deref()).await
        }
        Command::Prune { live, days } => prune_lives(settings, live.map(LiveId), days).await,
        Command::Backup { file } => back_up(settings, &file).await,
    }
}

async fn dump_lives(settings: &Settings, only: Option<LiveId>, all: bool) -> Result<(), Failure> {
    let to = dump_target(settings)?;
    let store = open_beside(settings, false).await?;
    let records = Records::new(Arc::clone(&store));
    let target = Target::open(&to, true).await?;
    let lives = match only {
        Some(live) => vec![live],
        None => lives_that_are_over(&records).await?,
    };
    let (mut there, mut failed) = (0_u32, 0_u32);
    for live_id in lives {
        let known = ledger::read(&records, live_id).await?;
        if only.is_none() {
            // One that cannot be read is told of below.
            let ended_us = stored_live(&records, live_id).await.ok().and_then(|stored| stored.value.closed_at_us);
            let is_made = ended_us.is_some_and(|at| known.has(at)) || known.notes_pruned_at_us.is_some();
            if is_made && !all {
                there += 1;
                continue;
            }
        }
        let made = dump_when_closed(&store, &target, live_id).await;
        match made {
            Ok(dumped) => {
                let (notes, bytes) = (dumped.manifest.notes(), dumped.manifest.bytes());
                let made = ledger::Made::of(&dumped, &target, Env::system().now_us());
                let done = if dumped.was_there { "was there, read back" } else { "dumped and read back" };
                say(&format!("live {live_id}: {done}: {notes} notes, {bytes} bytes, {}", made.place));
                // So that a server does not look for it again.
                ledger::change(&records, live_id, |ledger| ledger.dumped(&made)).await?;
            }
            Err(error) => {
                failed += 1;
                let _ = writeln!(std::io::stderr(), "live {live_id}: {}", Failure::from(error).message);
            }
        }
    }
    if there > 0 {
        say(&format!("{there} more have their dump already (--all reads them back)"));
    }
    if failed > 0 {
        return Err(Failure::running(format!("{failed} lives could not be dumped")));
    }
    Ok(())
}

/// Dumps a live; one that ended a moment ago as soon as a server has made its last results.
async fn dump_when_closed(store: &Arc<dyn Store>, target: &Target, live_id: LiveId) -> Result<Dumped, ArchiveError> {
    let progress = Progress::new(format!("live {live_id}"));
    let told = |stage, done, of| progress.stage(stage, done, of);
    let since = Instant::now();
    loop {
        match dump(store, target, &Env::system(), live_id, Pace::Full, &told).await {
            Err(ArchiveError::Closing { .. }) if since.elapsed() < CLOSED_WITHIN => {
                tokio::time::sleep(CLOSED_AGAIN).await;
            }
            made => return made,
        }
    }
}

async fn restore_live(
    settings: &Settings,
    source: &str,
    same_id: bool,
    channel: Option<String>,
) -> Result<(), Failure> {
    let mut url: TargetUrl = source.parse().map_err(|reason: String| {
        wrong("SOURCE", reason, "name the folder of a dump, such as s3://bucket/channel/live/time")
    })?;
    if let Some((folder, name)) = url.split()
        && name == MANIFEST
    {
        url = folder;
    }
    let channel = channel.map(|name| Slug::new(&name)).transpose();
    let channel = channel.map_err(|error| wrong("--channel", error.reason, error.remedy))?;
    let target = Target::open(&url, false).await?;
    let store = open_beside(settings, true).await?;
    let progress = Progress::new("restore");
    let told = |stage, done, of| progress.stage(stage, done, of);
    let restored = restore(&store, &target, "", &Env::system(), &Restoring { same_id, channel }, &told).await;
    drop(progress);
    let restored = restored?;
    say(&format!(
        "live {} of channel {}: {} notes restored and recounted",
        restored.live_id, restored.channel, restored.notes
    ));
    Ok(())
}

async fn prune_lives(settings: &Settings, only: Option<LiveId>, days: Option<u32>) -> Result<(), Failure> {
    let to = dump_target(settings)?;
    let store = open_beside(settings, false).await?;
    let records = Records::new(Arc::clone(&store));
    let lives = match only {
        Some(live) => vec![live],
        None => lives_that_are_over(&records).await?,
    };
    let from_settings = (settings.keep_notes_days > 0).then_some(settings.keep_notes_days);
    let notes_days = days.or(from_settings);
    let journal_days = crate::archive::JOURNAL_DAYS.min(notes_days.unwrap_or(u32::MAX));
    let (mut notes, mut journals, mut failed) = (0, 0, 0_u32);
    for live_id in lives {
        let progress = Progress::new(format!("live {live_id}"));
        let told = |stage, done, of| progress.stage(stage, done, of);
        let retention = Retention { notes_days, journal_days };
        let pruned = prune(&store, Some(&to), &Env::system(), live_id, retention, Pace::Full, &told).await;
        drop(progress);
        match pruned {
            Ok(pruned) => {
                if pruned.notes > 0 || pruned.journals > 0 {
                    say(&format!(
                        "live {live_id}: {} notes, journals of {} jeux deleted",
                        pruned.notes, pruned.journals
                    ));
                }
                (notes, journals) = (notes + pruned.notes, journals + pruned.journals);
            }
            Err(error) => {
                failed += 1;
                let _ =
                    writeln!(std::io::stderr(), "live {live_id}: {}; all of it is kept", Failure::from(error).message);
            }
        }
    }
    say(&format!("deleted {notes} notes and the journals of {journals} jeux"));
    if failed > 0 {
        return Err(Failure::running(format!("{failed} lives could not be pruned")));
    }
    Ok(())
}

async fn back_up(settings: &Settings, file: &Path) -> Result<(), Failure> {
    if settings.store != StoreKind::Sqlite {
        let remedy = "use dumps (--dump-to) and snapshots of the nodes: docs/backup.md";
        return Err(wrong("store", format!("`{}` is no file to copy", settings.store), remedy));
    }
    let (folder, to) = (settings.data_dir.clone(), file.to_owned());
    let copying = tokio::task::spawn_blocking(move || {
        let progress = Progress::new(format!("backup {}", to.display()));
        SqliteStore::back_up(&folder, &to, |done, of| progress.tell("copying", "pages", done, of))
    });
    let copied = copying.await.map_err(|_| Failure::running("the backup stopped"))?;
    copied.map_err(|error| match settings.data_dir.exists() {
        true => Failure::running(format!("no backup was made: {}", error.source)),
        false => store_failure(settings, &error),
    })?;
    let bytes = std::fs::metadata(file)?.len();
    say(&format!("{}: {bytes} bytes, flushed and found sound", file.display()));
    Ok(())
}
