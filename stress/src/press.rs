//! Presses everything: admins on every server open, close, end, take back and edit lives at random moments, two channels
//! at once, while people vote over HTTP on whatever is open. At the end every live is recounted.
//!
//! **Invariant**: nothing here waits for a state before it presses. Which presses a server refuses is its own affair; what
//! it acknowledged is what is judged.

mod desk;
mod voter;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bareme::domain::live::LiveStatus;
use bareme::protocol::LiveState;
use rand_pcg::Pcg64;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use url::Url;
use uuid::Uuid;

use crate::admin::Api;
use crate::clock::Clock;
use crate::oracle::ledger::{Fates, Ledger};
use crate::oracle::recount::{Counted, Recount, Source, recount};
use crate::oracle::{Complaints, Wrong};
use crate::result::write_whole;
use crate::shape::{Encoder, Shape};

/// Jeux of a channel.
const JEUX: u32 = 3;

/// How long a press, or a vote, waits for a server that is away before another one is asked.
const IMPATIENT: Duration = Duration::from_secs(3);

/// How long the calls of the recount wait for a server that is away.
const PATIENT: Duration = Duration::from_secs(60);

/// How long a live may take to be final once nobody presses any more.
const FINAL_WITHIN: Duration = Duration::from_secs(90);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub struct Request {
    /// Address of the server, or of the balancer before several
    #[arg(long, env = "STRESS_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Servers of one store: admins and viewers go to each of them, and their results are compared
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    pub watch: Vec<String>,
    /// An admin's token (`bareme token new --name press --role admin` makes one)
    #[arg(long, env = "STRESS_TOKEN", hide_env_values = true)]
    #[serde(skip)]
    pub token: String,
    /// For how long
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Channels, each with its own admins
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub channels: u32,
    /// Admins of each channel
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub admins: u32,
    /// People who vote
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub voters: u32,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Seconds that answers are waited for at the end
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub settle: u64,
    /// Where the result goes: FILE.json
    #[arg(long, default_value = "stress-press", value_name = "FILE")]
    pub out: std::path::PathBuf,
    /// Shows no progress
    #[arg(long, short)]
    #[serde(skip)]
    pub quiet: bool,
}

/// A live as its voters know it.
struct Book {
    shape: Shape,
    encoder: Encoder,
    ledger: Ledger,
}

/// What all admins and voters share.
struct World {
    request: Request,
    clock: Clock,
    books: Mutex<BTreeMap<Uuid, Book>>,
    presses: Mutex<BTreeMap<String, u64>>,
    viewers: AtomicU32,
    over: watch::Sender<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits, or until the time is over; whether it goes on.
    async fn pause(&self, length: Duration) -> bool {
        let mut over = self.over.subscribe();
        let _timed_out = tokio::time::timeout(length, over.wait_for(|over| *over)).await;
        !self.is_over()
    }

    /// The servers, each as a client of its own.
    fn servers(&self, patience: Duration) -> Result<Vec<Api>> {
        let urls = if self.request.watch.is_empty() {
            std::slice::from_ref(&self.request.url)
        } else {
            &self.request.watch[..]
        };
        let api = |url: &String| {
            let url = Url::parse(url).with_context(|| format!("{url} is no address"))?;
            Api::new(&url, Some(self.request.token.clone()), patience)
        };
        urls.iter().map(api).collect()
    }

    fn channel(&self, number: u32) -> String {
        format!("press-{}-{number}", self.request.seed)
    }

    /// Remembers a live that somebody was shown.
    fn seen(&self, live: &LiveState) {
        let mut books = locked(&self.books);
        if !books.contains_key(&live.live_id)
            && let Some(shape) = Shape::of(live)
        {
            let encoder = Encoder::new(live.live_id, &shape);
            books.insert(live.live_id, Book { shape, encoder, ledger: Ledger::default() });
        }
    }

    fn pressed(&self, what: &str, how: &str) {
        *locked(&self.presses).entry(format!("{what}: {how}")).or_default() += 1;
    }

    fn next_viewer(&self) -> u32 {
        self.viewers.fetch_add(1, Ordering::Relaxed)
    }
}

/// A generator of its own for each actor: kinds of actors never share one.
fn random_of(seed: u64, kind: u128, number: u32) -> Pcg64 {
    Pcg64::new(u128::from(seed), (kind << 32) | u128::from(number))
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Pressed {
    /// What was asked for.
    pub request: Request,
    /// What was pressed, and what was said to it.
    pub presses: BTreeMap<String, u64>,
    /// Lives that people voted on.
    pub lives: usize,
    /// The recount of all of them.
    pub recount: Recount,
    /// Whether nothing is wrong.
    pub passed: bool,
}

/// Runs; writes the result; returns whether nothing is wrong.
///
/// # Errors
/// When it cannot begin, or cannot be recounted.
pub async fn run(request: Request, mut interrupted: watch::Receiver<bool>) -> Result<Pressed> {
    let world = Arc::new(World {
        clock: Clock::start(0),
        books: Mutex::default(),
        presses: Mutex::default(),
        viewers: AtomicU32::new(0),
        over: watch::Sender::new(false),
        request,
    });
    let patient = world.servers(PATIENT)?;
    let first = patient.first().context("--url is missing")?;
    first.check_token().await?;
    for number in 0..world.request.channels {
        let live = first.make_live(&world.channel(number), JEUX, None).await?;
        world.seen(&live);
    }
    let mut actors = JoinSet::new();
    for channel in 0..world.request.channels {
        for admin in 0..world.request.admins {
            let number = channel * world.request.admins + admin;
            actors.spawn(desk::run(Arc::clone(&world), channel, number));
        }
    }
    for number in 0..world.request.voters {
        actors.spawn(voter::run(Arc::clone(&world), number));
    }
    let length = Duration::from_secs(world.request.seconds);
    let _timed_out = tokio::time::timeout(length, interrupted.wait_for(|interrupted| *interrupted)).await;
    world.over.send_replace(true);
    while let Some(ended) = actors.join_next().await {
        ended.context("an actor failed")??;
    }
    for number in 0..world.request.channels {
        end(first, &world.channel(number)).await?;
    }
    let recount = recount_all(&world, &patient).await?;
    let lives = locked(&world.books).values().filter(|book| !book.ledger.notes.is_empty()).count();
    let presses = locked(&world.presses).clone();
    // Nothing can be lost where nothing was taken.
    let passed = recount.complaints.is_empty() && recount.fates.acked > 0;
    Ok(Pressed { request: world.request.clone(), presses, lives, recount, passed })
}

/// Ends what a channel has on air, whatever state it was left in.
async fn end(api: &Api, channel: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let live = api.live_of(channel).await?;
        if live.status == LiveStatus::Closed {
            return Ok(());
        }
        let ended = api.close_live(live.live_id).await;
        if started.elapsed() > FINAL_WITHIN {
            bail!("channel {channel} cannot be ended {FINAL_WITHIN:?} after the last press: {ended:?}");
        }
        sleep(LOOK).await;
    }
}

async fn recount_all(world: &World, servers: &[Api]) -> Result<Recount> {
    let books = std::mem::take(&mut *locked(&world.books));
    let mut all = Recount::default();
    for (live, book) in &books {
        if book.ledger.notes.is_empty() {
            continue;
        }
        let results = final_results(servers, *live, &mut all.complaints).await?;
        let rows = servers[0].export(*live, &book.shape).await?;
        let counted = Counted { source: Source::Export, rows, results, exclusive: true };
        let found = recount(&book.shape, &book.ledger, &counted);
        all.fates = sum(all.fates, found.fates);
        all.counted += found.counted;
        all.foreign += found.foreign;
        all.complaints.merge(found.complaints);
    }
    *locked(&world.books) = books;
    Ok(all)
}

/// The results that every server shows of a live that is over, once they are final and the same.
async fn final_results(
    servers: &[Api],
    live: Uuid,
    complaints: &mut Complaints,
) -> Result<BTreeMap<u32, crate::oracle::means::Published>> {
    let started = Instant::now();
    loop {
        let mut shown = Vec::new();
        for server in servers {
            shown.push(server.results(live).await?);
        }
        let (first, _) = &shown[0];
        let agree = shown.iter().all(|(results, is_final)| *is_final && results == first);
        if agree {
            return Ok(shown.swap_remove(0).0);
        }
        if started.elapsed() > FINAL_WITHIN {
            complaints
                .add(Wrong::Numbers, || format!("live {live}: servers do not agree on a final result: {shown:?}"));
            return Ok(shown.swap_remove(0).0);
        }
        sleep(LOOK).await;
    }
}

fn sum(a: Fates, b: Fates) -> Fates {
    Fates {
        sent: a.sent + b.sent,
        acked: a.acked + b.acked,
        unknown: a.unknown + b.unknown,
        refused: a.refused + b.refused,
        unsent: a.unsent + b.unsent,
    }
}

impl Pressed {
    /// What a person reads.
    pub fn text(&self) -> String {
        let presses: u64 = self.presses.values().sum();
        let mut text = format!("{presses} presses, {} lives: {}\n", self.lives, self.recount.line());
        for (what, count) in &self.presses {
            text.push_str(&format!("  {count:>6} {what}\n"));
        }
        for complaint in &self.recount.complaints.samples {
            text.push_str(&format!("WRONG ({}): {}\n", complaint.wrong, complaint.detail));
        }
        text
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_whole(path, &serde_json::to_vec_pretty(self)?)
    }
}
