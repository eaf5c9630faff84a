//! One person who votes on whatever is open, over HTTP, and sends a note again until it has an answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bareme::domain::phase::Phase;
use bareme::protocol::{LiveState, Status};
use rand::RngExt as _;
use rand_pcg::Pcg64;
use reqwest::StatusCode;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{IMPATIENT, World, locked, random_of};
use crate::admin::Api;
use crate::http_worker::status_of;
use crate::oracle::ledger::Ledger;
use crate::shape::{NO_STEP, Shape, Steps, WITHDRAWN};

/// Share of votes on jeux that are not open: they must be refused, or count.
const ANY_JEU: f64 = 0.1;

/// Share of votes that take the note back.
const TAKEN_BACK: f64 = 0.05;

/// Who votes: a number of this run, and the token of the server once there is one.
struct Voter {
    world: Arc<World>,
    servers: Vec<Api>,
    random: Pcg64,
    number: u32,
    token: Option<String>,
}

/// Votes until the time is over.
pub(super) async fn run(world: Arc<World>, number: u32) -> Result<()> {
    let servers = world.servers(IMPATIENT)?;
    let random = random_of(world.request.seed, 2, number);
    let mut voter = Voter { number: world.next_viewer(), world, servers, random, token: None };
    loop {
        let pause = voter.random.random_range(30..300);
        if !Arc::clone(&voter.world).pause(Duration::from_millis(pause)).await {
            return Ok(());
        }
        let channel = voter.random.random_range(0..voter.world.request.channels);
        let channel = voter.world.channel(channel);
        let Ok(live) = voter.server().live_of(&channel).await else { continue };
        voter.world.seen(&live);
        if let Some(jeu) = voter.choose(&live) {
            voter.vote(live.live_id, jeu).await;
        }
    }
}

impl Voter {
    fn server(&mut self) -> Api {
        let place = self.random.random_range(0..self.servers.len());
        self.servers[place].clone()
    }

    fn choose(&mut self, live: &LiveState) -> Option<u32> {
        let any = self.random.random_bool(ANY_JEU);
        let jeux: Vec<u32> = live
            .programme
            .iter()
            .filter(|entry| any || entry.phase == Phase::Open)
            .map(|entry| entry.jeu.jeu_id.0)
            .collect();
        (!jeux.is_empty()).then(|| jeux[self.random.random_range(0..jeux.len())])
    }

    fn steps(&mut self, shape: &Shape) -> Steps {
        let mut steps = [NO_STEP; crate::shape::MAX_CRITERES];
        // A viewer without a note has nothing to take back.
        if self.token.is_some() && self.random.random_bool(TAKEN_BACK) {
            return WITHDRAWN;
        }
        for (step, critere) in steps.iter_mut().zip(&shape.criteres) {
            *step = self.random.random_range(0..=critere.steps);
        }
        steps
    }

    /// One note, sent until it is settled, or nobody waits for it any more.
    async fn vote(&mut self, live: Uuid, jeu: u32) {
        let Some(shape) = locked(&self.world.books).get(&live).map(|book| book.shape.clone()) else { return };
        let steps = self.steps(&shape);
        let world = Arc::clone(&self.world);
        let v = world.clock.version(Instant::now());
        let (note, body) = {
            let mut books = locked(&world.books);
            let Some(book) = books.get_mut(&live) else { return };
            let body = book.encoder.body(jeu, v, &steps, self.token.as_deref());
            (book.ledger.want(self.number, jeu, v, steps), body)
        };
        let with = |change: &dyn Fn(&mut Ledger, u64)| {
            let now_us = world.clock.server_us(Instant::now());
            if let Some(book) = locked(&world.books).get_mut(&live) {
                change(&mut book.ledger, now_us);
            }
        };
        let mut over = world.over.subscribe();
        let give_up = async {
            drop(over.wait_for(|over| *over).await);
            sleep(Duration::from_secs(world.request.settle)).await;
        };
        tokio::pin!(give_up);
        loop {
            let server = self.server();
            with(&|ledger, now_us| ledger.sent(note, now_us));
            let answer = tokio::select! {
                answer = server.vote(&body) => answer,
                () = &mut give_up => {
                    with(&|ledger, _| ledger.cut(note));
                    return;
                }
            };
            let settled = match answer {
                Ok((status, answer)) => {
                    let code = answer["code"].as_str().unwrap_or("no code");
                    let heard = if status == StatusCode::OK { Status::Ok } else { status_of(status, code) };
                    with(&|ledger, now_us| ledger.answered(note, heard, now_us));
                    if let Some(token) = answer["viewer"].as_str().filter(|_| status == StatusCode::OK) {
                        self.token = Some(token.to_owned());
                    }
                    !matches!(heard, Status::RetryAfter | Status::TooFast | Status::Unknown)
                        || (heard == Status::Unknown && self.token.is_none())
                }
                Err(_) => {
                    with(&|ledger, _| ledger.cut(note));
                    self.token.is_none()
                }
            };
            if settled {
                break;
            }
            sleep(Duration::from_millis(self.random.random_range(100..400))).await;
        }
        // Without a token a repeat would be another viewer, and the first may count: a new number for the next vote.
        if self.token.is_none() {
            self.number = world.next_viewer();
        }
    }
}
