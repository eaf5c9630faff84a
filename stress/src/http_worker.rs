//! Votes over `POST /api/note`, as a bot or a loop in the shell sends them: most are new anonymous viewers, some are
//! viewers of an earlier answer who change their mind.
//!
//! A first vote whose answer is lost is not sent again: without a token the repeat would be another viewer. Its fate stays
//! unknown, and the recount allows for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bareme::protocol::Status;
use rand::RngExt as _;
use rand_pcg::Pcg64;
use reqwest::{Client, StatusCode, header};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use crate::oracle::ledger::Ledger;
use crate::plan::{Stage, What};
use crate::shape::{Encoder, Steps};
use crate::stats::{Counters, Distributions, Second};
use crate::worker::{Order, Outcome, Setup};

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How often gauges and finished seconds are told.
const TELL: Duration = Duration::from_millis(100);

/// Times a vote is sent again when the server says that it did not take it.
const TRIES: u32 = 20;

struct State {
    setup: Setup,
    client: Client,
    encoder: Encoder,
    seats: Semaphore,
    ledger: RefCell<Ledger>,
    counters: RefCell<Counters>,
    distributions: RefCell<Distributions>,
    second: RefCell<Second>,
    random: RefCell<Pcg64>,
    /// Tokens of viewers by jeu, for those who change their mind.
    voted: RefCell<HashMap<u32, Vec<(u32, String)>>>,
    viewers: RefCell<u32>,
    waiting: RefCell<u64>,
}

/// Runs a worker to its end, on a thread of its own.
///
/// # Errors
/// When the runtime or the HTTP client cannot be made.
pub fn run(setup: Setup) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client =
        Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).tcp_nodelay(true).build().map_err(io::Error::other)?;
    let local = LocalSet::new();
    Ok(runtime.block_on(local.run_until(work(setup, client))))
}

async fn work(mut setup: Setup, client: Client) -> Outcome {
    let plan = std::mem::take(&mut setup.plan);
    let orders = setup.orders.clone();
    let connections = setup.config.viewers.div_ceil(setup.config.threads.max(1)).max(1);
    setup.gauges.joined.store(u64::from(connections), Ordering::Relaxed);
    let state = Rc::new(State {
        encoder: Encoder::new(setup.subject.live, &setup.subject.shape),
        seats: Semaphore::new(usize::try_from(connections).unwrap_or(1)),
        random: RefCell::new(Pcg64::new(u128::from(setup.config.seed), 2_000_000 + u128::from(setup.number))),
        viewers: RefCell::new(setup.number),
        client,
        ledger: RefCell::default(),
        counters: RefCell::default(),
        distributions: RefCell::default(),
        second: RefCell::default(),
        voted: RefCell::default(),
        waiting: RefCell::default(),
        setup,
    });
    keep_time(&state, plan, orders).await;
    state.tell(Instant::now() + Duration::from_secs(1));
    Outcome {
        ledger: state.ledger.take(),
        counters: state.counters.take(),
        distributions: state.distributions.take(),
        ..Outcome::default()
    }
}

async fn keep_time(state: &Rc<State>, plan: Vec<Stage>, mut orders: watch::Receiver<Order>) {
    let mut stages: Vec<Option<Stage>> = plan.into_iter().map(Some).collect();
    let mut current: Option<(Stage, u32, Instant)> = None;
    loop {
        match *orders.borrow_and_update() {
            Order::Stop => return,
            Order::Rest | Order::Audit => current = None,
            Order::Stage { number, jeu, start } => {
                if let Some(stage) = stages.get_mut(number).and_then(Option::take) {
                    current = Some((stage, jeu, start));
                }
            }
            Order::Join => {}
        }
        while !orders.has_changed().unwrap_or(true) {
            let now = Instant::now();
            state.tell(now);
            let mut due_at = now + TELL;
            if let Some((stage, jeu, start)) = &mut current {
                while let Some(due) = stage.next_at_us().map(|at_us| *start + Duration::from_micros(at_us)) {
                    if due > now {
                        due_at = due_at.min(due);
                        break;
                    }
                    let Some(intent) = stage.next_intent() else { break };
                    if let What::Vote(steps) = intent.what {
                        spawn_local(vote(Rc::clone(state), *jeu, steps, due));
                    }
                }
            }
            tokio::select! {
                () = sleep_until(due_at) => {}
                _ = orders.changed() => orders.mark_changed(),
            }
        }
        if orders.has_changed().is_err() {
            return;
        }
    }
}

impl State {
    fn tell(&self, now: Instant) {
        self.setup.gauges.wanted.store(*self.waiting.borrow(), Ordering::Relaxed);
        let second = self.setup.clock.second(now);
        if second != self.second.borrow().second {
            let done = self.second.replace(Second { second, ..Second::default() });
            // Whoever listened has gone only after an abort.
            let _nobody_left = self.setup.seconds.send(done);
        }
    }

    fn count(&self, change: impl Fn(&mut Counters)) {
        change(&mut self.counters.borrow_mut());
        change(&mut self.second.borrow_mut().counters);
    }

    /// Who votes: somebody of an earlier answer, or somebody new.
    fn voter(&self, jeu: u32) -> (u32, Option<String>) {
        let mut random = self.random.borrow_mut();
        if random.random_bool(self.setup.config.change.clamp(0.0, 1.0))
            && let Some(voted) = self.voted.borrow_mut().get_mut(&jeu)
            && !voted.is_empty()
        {
            let place = random.random_range(0..voted.len());
            let (viewer, token) = voted.swap_remove(place);
            return (viewer, Some(token));
        }
        let mut next = self.viewers.borrow_mut();
        let viewer = *next;
        *next += self.setup.config.threads.max(1);
        (viewer, None)
    }
}

async fn vote(state: Rc<State>, jeu: u32, steps: Steps, due: Instant) {
    *state.waiting.borrow_mut() += 1;
    state.count(|counters| counters.wanted += 1);
    // All connections busy: the vote waits, and its time runs.
    let seat = state.seats.acquire().await;
    let now = Instant::now();
    state.distributions.borrow_mut().lag.record(now.saturating_duration_since(due));
    let (viewer, token) = state.voter(jeu);
    let v = state.setup.clock.version(now);
    let note = state.ledger.borrow_mut().want(viewer, jeu, v, steps);
    let body = state.encoder.body(jeu, v, &steps, token.as_deref());
    let server = &state.setup.servers[usize::try_from(viewer).unwrap_or(0) % state.setup.servers.len()];
    let url = format!("{}/api/note", server.url.as_str().trim_end_matches('/'));
    for attempt in 0..TRIES {
        let now = Instant::now();
        state.ledger.borrow_mut().sent(note, state.setup.clock.server_us(now));
        state.count(|counters| {
            counters.sent += 1;
            counters.resent += u64::from(attempt > 0);
            counters.bytes_out += u64::try_from(body.len()).unwrap_or(0);
        });
        let request = state.client.post(&url).header(header::CONTENT_TYPE, "application/json").body(body.clone());
        let answer = match request.send().await {
            Ok(response) => {
                let status = response.status();
                response.text().await.map(|text| (status, text))
            }
            Err(error) => Err(error),
        };
        let pause = match answer {
            Ok((status, text)) => state.on_answer(note, viewer, jeu, status, &text, due),
            Err(error) => {
                state.ledger.borrow_mut().cut(note);
                let kind = if error.is_timeout() { "request: timed out" } else { "request: failed" };
                state.count(|counters| counters.error(kind.to_owned()));
                token.is_some().then_some(Duration::from_millis(500))
            }
        };
        match pause {
            Some(pause) => sleep(pause).await,
            None => break,
        }
    }
    drop(seat);
    *state.waiting.borrow_mut() -= 1;
}

/// What a refusal of `POST /api/note` means for the note.
pub(crate) fn status_of(status: StatusCode, code: &str) -> Status {
    let known: Result<Status, _> = serde_json::from_value(Value::String(code.to_owned()));
    // Any other problem, such as a live that is over, says as surely that nothing was stored.
    known.unwrap_or(if status.is_server_error() { Status::Unknown } else { Status::Invalid })
}

impl State {
    /// Writes an answer down; how long to wait before the same is sent again, if it has to be.
    fn on_answer(
        &self,
        note: usize,
        viewer: u32,
        jeu: u32,
        status: StatusCode,
        text: &str,
        due: Instant,
    ) -> Option<Duration> {
        let now = Instant::now();
        let answer: Value = serde_json::from_str(text).unwrap_or_default();
        self.count(|counters| counters.bytes_in += u64::try_from(text.len()).unwrap_or(0));
        let now_us = self.setup.clock.server_us(now);
        if status == StatusCode::OK {
            self.ledger.borrow_mut().answered(note, Status::Ok, now_us);
            let took = now.saturating_duration_since(due);
            self.distributions.borrow_mut().ack.record(took);
            self.second.borrow_mut().ack.record(took);
            self.count(|counters| counters.acked += 1);
            if let Some(token) = answer["viewer"].as_str() {
                self.voted.borrow_mut().entry(jeu).or_default().push((viewer, token.to_owned()));
            }
            return None;
        }
        let code = answer["code"].as_str().unwrap_or("no code").to_owned();
        self.count(|counters| *counters.refusals.entry(code.clone()).or_default() += 1);
        let known = status_of(status, &code);
        self.ledger.borrow_mut().answered(note, known, now_us);
        matches!(known, Status::RetryAfter | Status::TooFast).then(|| Duration::from_millis(500))
    }
}
