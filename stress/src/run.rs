//! One run from its first question to its verdict.

mod verdict;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bareme::domain::live::LiveStatus;
use bareme::domain::phase::Phase;
use bareme::protocol::LiveState;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, interval};
use url::Url;

use crate::admin::Api;
use crate::audience::Subject;
use crate::clock::{Clock, local_now_us};
use crate::config::{Config, Scenario};
use crate::connect::Server;
use crate::http_worker;
use crate::limits;
use crate::monitor::{self, SharedBoard};
use crate::oracle::recount::{Counted, Source};
use crate::plan;
use crate::result::RunResult;
use crate::sampler::{Sample, Sampler, metrics_beside};
use crate::shape::Shape;
use crate::stats::Second;
use crate::terminal::{Progress, Screen, View};
use crate::witness::{self, Sight, Sights};
use crate::worker::{self, Gauges, Order, Outcome, Setup};

/// How long sockets may take to be there, beyond the ramp.
const JOIN_PATIENCE: Duration = Duration::from_secs(60);
/// How long a closed jeu may take to be final.
const CLOSE_PATIENCE: Duration = Duration::from_secs(60);
/// How long the last frames may take.
const FRAME_PATIENCE: Duration = Duration::from_secs(2);
/// How long an audit may take.
const AUDIT_PATIENCE: Duration = Duration::from_secs(30);
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a server that is away is waited for: longer when it is expected to come back.
const PATIENCE: Duration = Duration::from_secs(3);
const RESTART_PATIENCE: Duration = Duration::from_secs(60);

/// A run under way.
struct Run {
    config: Config,
    api: Api,
    live: LiveState,
    subject: Subject,
    clock: Clock,
    gauges: Vec<Arc<Gauges>>,
    orders: watch::Sender<Order>,
    board: SharedBoard,
    sights: Vec<Sights>,
    progress: Arc<Mutex<Progress>>,
    interrupted: watch::Receiver<bool>,
    screen: Screen,
    stages: Vec<(u32, f64)>,
}

/// Looks up where a server is.
///
/// # Errors
/// When the address is wrong, or unknown.
async fn server_at(text: &str) -> Result<Server> {
    let url = Url::parse(text).with_context(|| format!("--url {text} is no address; such as http://127.0.0.1:8080"))?;
    match url.scheme() {
        "http" => {}
        "https" => bail!(
            "--url {text}: TLS is not spoken; point it at the plain port behind the proxy, such as http://127.0.0.1:8080"
        ),
        scheme => bail!("--url {text}: {scheme} is not spoken; use http"),
    }
    let name = url.host_str().with_context(|| format!("--url {text} names no host"))?.to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let found: Vec<SocketAddr> = tokio::net::lookup_host((name.trim_matches(['[', ']']), port))
        .await
        .with_context(|| format!("--url {text}: there is no host {name}"))?
        .collect();
    // A server of this machine mostly listens on the older loopback address alone.
    let address = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
    let address = address.with_context(|| format!("--url {text}: {name} has no address"))?;
    let host = url.port().map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
    let base = url.path().trim_end_matches('/').to_owned();
    Ok(Server { address, host, base, url })
}

/// Runs.
///
/// # Errors
/// When the run cannot begin, or cannot be recounted. What is wrong with the server's answers is no error but a result.
pub async fn run(
    config: Config,
    token: Option<String>,
    interrupted: watch::Receiver<bool>,
    quiet: bool,
) -> Result<RunResult> {
    let mut servers = Vec::new();
    for url in &config.urls {
        servers.push(server_at(url).await?);
    }
    let first = servers.first().context("--url is missing")?.clone();
    let ops = match &config.ops_url {
        Some(url) => Some(url.parse().with_context(|| format!("--ops-url {url} is no address"))?),
        None => metrics_beside(first.address),
    };
    let patient = if config.expect_restarts { RESTART_PATIENCE } else { PATIENCE };
    // The first question is answered now or never.
    let version = Api::new(&first.url, None, Duration::ZERO)?.version().await?;
    let api = Api::new(&first.url, token, patient)?;
    if api.has_token() {
        api.check_token().await?;
    }
    let sockets = config.viewers;
    limits::raise_open_files(u64::from(sockets))?;
    let ports = config.ports_per_address.unwrap_or_else(limits::ports_per_address);
    let per_server = sockets.div_ceil(u32::try_from(servers.len())?);
    let sources = limits::source_addresses(first.address.ip(), per_server, ports)?;

    let (channel, live) = find_live(&config, &api).await?;
    let shape = Shape::of(&live).context("the bareme of the live cannot be read: is the server another version?")?;
    let path = format!("/ws/{channel}");
    let (ahead_us, clock_error_us) = monitor::measure_clock(&first, &path).await?;
    let subject = Subject { live: live.live_id, shape };
    let clock = Clock::start(ahead_us);
    let started_at_us = local_now_us();
    let (orders, order) = watch::channel(Order::Join);
    let (seconds_sender, seconds) = mpsc::unbounded_channel();
    let progress = Arc::new(Mutex::new(Progress::default()));
    let board = SharedBoard::default();
    let screen = Screen::new(Duration::from_secs_f64(config.planned_s() + config.ramp_s), quiet);

    let mut helpers = Vec::new();
    helpers.push(tokio::spawn(collect(seconds, Arc::clone(&progress))));
    let admin_path = if api.has_token() { format!("{path}?role=admin") } else { path.clone() };
    let watching = monitor::watch(
        first.clone(),
        admin_path,
        api.authorization(),
        live.live_id,
        Arc::clone(&board),
        clock.started(),
    );
    helpers.push(tokio::spawn(watching));
    let mut sights = Vec::new();
    for url in &config.watch {
        let (server, seen) = (server_at(url).await?, Sights::default());
        sights.push(Arc::clone(&seen));
        helpers.push(tokio::spawn(witness::watch(server, path.clone(), live.live_id, clock.clone(), seen)));
    }
    let samples = Arc::new(Mutex::new(Vec::new()));
    let mut sampler = Sampler::new(ops.as_ref(), first.address)?;
    let before = sampler.look(0.0).await;
    samples.lock().unwrap_or_else(PoisonError::into_inner).push(before);
    helpers.push(tokio::spawn(sample(sampler, clock.started(), Arc::clone(&samples))));

    let mut gauges = Vec::new();
    let mut threads = Vec::new();
    for (number, plan) in (0..).zip(plan::plan(&config, &subject.shape)) {
        let own = Arc::new(Gauges::default());
        gauges.push(Arc::clone(&own));
        let setup = Setup {
            number,
            clock: clock.clone(),
            subject: subject.clone(),
            servers: servers.clone(),
            sources: sources.clone(),
            path: path.clone(),
            plan,
            config: config.clone(),
            orders: order.clone(),
            gauges: own,
            seconds: seconds_sender.clone(),
        };
        let over_http = config.scenario == Scenario::Http;
        threads.push(spawn_blocking(move || if over_http { http_worker::run(setup) } else { worker::run(setup) }));
    }
    drop(seconds_sender);
    let mut run = Run {
        config,
        api,
        live,
        subject,
        clock,
        gauges,
        orders,
        board,
        sights,
        progress,
        interrupted,
        screen,
        stages: Vec::new(),
    };
    if sources.len() > 1 {
        run.screen.say(&format!(
            "sockets come from {} addresses of 127.0.0.0/8, because one has {ports} ports",
            sources.len()
        ));
    }
    let voting = run.conduct().await?;
    let (outcome, counted) = run.settle(threads).await?;
    for helper in &mut helpers[1..] {
        helper.abort();
    }
    // The collector ends when the last worker has.
    let _collected = (&mut helpers[0]).await;
    let samples = std::mem::take(&mut *samples.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(verdict::assemble(verdict::Material {
        run,
        outcome,
        counted,
        samples,
        voting,
        version,
        clock_error_us,
        started_at_us,
    }))
}

async fn collect(mut seconds: mpsc::UnboundedReceiver<Second>, progress: Arc<Mutex<Progress>>) {
    while let Some(second) = seconds.recv().await {
        progress.lock().unwrap_or_else(PoisonError::into_inner).take(&second);
    }
}

async fn sample(mut sampler: Sampler, start: Instant, samples: Arc<Mutex<Vec<Sample>>>) {
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let sample = sampler.look(start.elapsed().as_secs_f64()).await;
        samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }
}

/// The channel and the live that people vote on: made, or found.
async fn find_live(config: &Config, api: &Api) -> Result<(String, LiveState)> {
    if config.drive {
        let channel = config.channel.clone().unwrap_or_else(|| "stress".to_owned());
        let live = api.make_live(&channel, config.jeux, config.bareme.as_ref()).await?;
        return Ok((channel, live));
    }
    let channel = match &config.channel {
        Some(channel) => channel.clone(),
        None => api.only_open_channel().await?,
    };
    let live = api.live_of(&channel).await?;
    if live.status != LiveStatus::Open {
        bail!(
            "channel {channel} has no live on air: open one on the admin page, or leave --join out and pass an admin's --token"
        );
    }
    Ok((channel, live))
}

impl Run {
    fn sum(&self, of: impl Fn(&Gauges) -> &AtomicU64) -> u64 {
        self.gauges.iter().map(|gauges| of(gauges).load(Ordering::Relaxed)).sum()
    }

    fn is_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }

    /// What each watched server showed.
    fn sights(&self) -> Vec<Vec<Sight>> {
        self.sights.iter().map(|sights| sights.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    fn elapsed_s(&self) -> f64 {
        self.clock.started().elapsed().as_secs_f64()
    }

    /// Waits until something holds, or the time is over; whether it holds. An interruption ends the wait, unless it is
    /// `patient`.
    async fn until(
        &mut self,
        doing: &str,
        limit: Duration,
        patient: bool,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> bool {
        let started = Instant::now();
        let mut looks = interval(LOOK);
        loop {
            looks.tick().await;
            if holds(self) {
                return true;
            }
            if started.elapsed() >= limit || (!patient && self.is_interrupted()) {
                return false;
            }
            self.show(doing);
        }
    }

    fn show(&mut self, doing: &str) {
        let done = self.elapsed_s() / (self.config.planned_s() + self.config.ramp_s).max(0.1);
        let (open, wanted) = (self.sum(|gauges| &gauges.open), self.sum(|gauges| &gauges.wanted));
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        self.screen.show(&View { doing, done: done.min(1.0), open, wanted, progress: &progress, board: &board });
    }

    /// Everybody joins, then votes on one jeu after the other. From when to when people voted.
    async fn conduct(&mut self) -> Result<(f64, f64)> {
        // Connections of HTTP open with the first votes.
        let viewers = u64::from(self.config.viewers);
        let over_http = self.config.scenario == Scenario::Http;
        let limit = Duration::from_secs_f64(self.config.ramp_s) + JOIN_PATIENCE;
        let joined = move |run: &Self| run.sum(|gauges| &gauges.joined) >= viewers || over_http;
        if !self.until("joining", limit, false, joined).await && !self.is_interrupted() {
            let (joined, errors) = (self.sum(|gauges| &gauges.joined), self.errors());
            if joined == 0 {
                bail!("no socket opened: {errors}");
            }
            self.screen.say(&format!("{joined} of {viewers} sockets opened: {errors}"));
        }
        let start_s = self.elapsed_s();
        if self.config.drive {
            self.drive().await?;
        } else {
            self.follow().await?;
        }
        let end_s = self.elapsed_s();
        Ok((start_s, end_s))
    }

    /// The most frequent reason why connections failed.
    fn errors(&self) -> String {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let most = progress.counters.errors.iter().max_by_key(|(_, count)| **count);
        most.map_or_else(|| "they take too long".to_owned(), |(kind, count)| format!("{count} times \"{kind}\""))
    }

    fn begin_stage(&mut self, number: usize, jeu: u32) -> Instant {
        let start = Instant::now();
        self.stages.push((jeu, self.elapsed_s()));
        // Workers listen until they are told to stop.
        let _all_stopped = self.orders.send(Order::Stage { number, jeu, start });
        start
    }

    /// Opens and closes jeux itself.
    async fn drive(&mut self) -> Result<()> {
        let jeux: Vec<u32> = self.live.programme.iter().map(|entry| entry.jeu.jeu_id.0).collect();
        let mut before = None;
        for (number, jeu) in jeux.into_iter().enumerate() {
            if self.is_interrupted() {
                return Ok(());
            }
            self.api.open_jeu(self.subject.live, jeu).await?;
            let start = self.begin_stage(number, jeu);
            if let Some(before) = before.replace(jeu) {
                self.api.close_jeu(self.subject.live, before).await?;
            }
            let length = Duration::from_secs_f64(self.config.stage_s);
            let doing = format!("jeu {} of {}", number + 1, self.config.jeux);
            if self.config.race_s > 0.0 {
                let until_close = Duration::from_secs_f64(self.config.stage_s - self.config.race_s);
                self.until(&doing, until_close, false, move |_| start.elapsed() >= until_close).await;
                self.api.close_jeu(self.subject.live, jeu).await?;
                before = None;
            }
            self.until(&doing, length, false, move |_| start.elapsed() >= length).await;
            if self.config.race_s > 0.0 {
                continue;
            }
            // Votes under way get their answer before the jeu closes.
            let limit = Duration::from_secs_f64(self.config.settle_s);
            self.until(&doing, limit, false, |run| run.sum(|gauges| &gauges.wanted) == 0).await;
        }
        Ok(())
    }

    /// Votes on whatever jeu a person opens, for as long as was asked for.
    async fn follow(&mut self) -> Result<()> {
        let limit = Duration::from_secs_f64(self.config.planned_s());
        let end = Instant::now() + limit;
        let mut done: Vec<u32> = Vec::new();
        let length = Duration::from_secs_f64(self.config.stage_s);
        for number in 0..usize::try_from(self.config.jeux)? {
            let open = |run: &Self, done: &[u32]| {
                let board = run.board.lock().unwrap_or_else(PoisonError::into_inner);
                let live = board.live.as_ref().filter(|live| live.live_id == run.subject.live);
                let open = |jeu: u32| {
                    let entry = |live: &&LiveState| {
                        live.programme.iter().any(|entry| entry.jeu.jeu_id.0 == jeu && entry.phase == Phase::Open)
                    };
                    live.as_ref().is_some_and(entry) && !done.contains(&jeu)
                };
                let first = live.into_iter().flat_map(|live| {
                    live.current.into_iter().chain(live.programme.iter().map(|entry| entry.jeu.jeu_id.0))
                });
                first.into_iter().find(|&jeu| open(jeu))
            };
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(5));
            if !self.until("waiting for a jeu to open", left, false, |run| open(run, &done).is_some()).await {
                break;
            }
            let Some(jeu) = open(self, &done) else { break };
            done.push(jeu);
            let start = self.begin_stage(number, jeu);
            let doing = format!("jeu {jeu}");
            self.until(&doing, length, false, move |_| start.elapsed() >= length).await;
        }
        if done.is_empty() && !self.is_interrupted() {
            bail!("no jeu of the live is open: open one on the admin page while this runs, or leave --join out");
        }
        Ok(())
    }

    /// Waits for answers, closes what was opened, stops the workers, and asks the server what counts.
    async fn settle(&mut self, threads: Vec<JoinHandle<std::io::Result<Outcome>>>) -> Result<(Outcome, Counted)> {
        let _all_stopped = self.orders.send(Order::Rest);
        let limit = Duration::from_secs_f64(self.config.settle_s);
        self.until("waiting for answers", limit, true, |run| run.sum(|gauges| &gauges.wanted) == 0).await;
        self.until("waiting for frames", FRAME_PATIENCE, true, |run| run.sum(|gauges| &gauges.unseen) == 0).await;
        if self.config.drive {
            self.api.close_live(self.subject.live).await?;
            self.wait_for_results().await?;
        }
        let audited = !self.api.has_token() && self.config.scenario != Scenario::Http;
        if audited {
            let _all_stopped = self.orders.send(Order::Audit);
            // Gauges are told every tenth of a second.
            let started = Instant::now();
            self.until("asking every viewer what counts", AUDIT_PATIENCE, true, move |run| {
                started.elapsed() > Duration::from_millis(500) && run.sum(|gauges| &gauges.unaudited) == 0
            })
            .await;
        }
        let _all_stopped = self.orders.send(Order::Stop);
        let mut outcome = Outcome::default();
        for thread in threads {
            outcome.merge(thread.await.context("a worker failed")??);
        }
        let counted = self.counted(&mut outcome).await?;
        Ok((outcome, counted))
    }

    async fn wait_for_results(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self.api.results(self.subject.live).await?.1 {
            if started.elapsed() > CLOSE_PATIENCE {
                bail!("the jeux are not final {CLOSE_PATIENCE:?} after the live was closed: look at the server's log");
            }
            tokio::time::sleep(LOOK).await;
        }
        let last_frames = |run: &Self| {
            let board = run.board.lock().unwrap_or_else(PoisonError::into_inner);
            board.tallies.values().all(|tally| tally.phase == Phase::Final)
        };
        self.until("waiting for the final frames", FRAME_PATIENCE, true, last_frames).await;
        Ok(())
    }

    /// What the server says counts.
    async fn counted(&self, outcome: &mut Outcome) -> Result<Counted> {
        let live = self.subject.live;
        if !self.api.has_token() {
            let rows = std::mem::take(&mut outcome.own_notes);
            let results = std::collections::BTreeMap::new();
            return Ok(Counted { source: Source::OwnNotes, rows, results, exclusive: false });
        }
        let (before, _) = self.api.results(live).await?;
        let rows = self.api.export(live, &self.subject.shape).await?;
        let (mut results, _) = self.api.results(live).await?;
        // While people vote, only what did not move in between can be compared.
        results.retain(|jeu, numbers| before.get(jeu) == Some(numbers));
        Ok(Counted { source: Source::Export, rows, results, exclusive: self.config.drive })
    }
}
