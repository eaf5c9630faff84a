//! Test mode: a made-up live that overlays and admins of a channel are shown instead of the real one, so that a streamer
//! sees every moment of the overlay before anybody votes. A round takes 90 s and begins again, as another live.
//!
//! **Invariant**: nothing of it reaches the store, the engine or a metric of votes. It is a part of what this pod shows
//! of the channel ([`super::ChannelView::rehearsal`]), and ends when a live goes on air, when it is told to, by itself, or with
//! the pod.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use super::view::LiveView;
use super::{ConductError, Conductor, Result};
use crate::cluster::env::Env;
use crate::cluster::{ItemHandle, ItemView};
use crate::domain::Invalid;
use crate::domain::ballot::{Ballot as _, Ratings};
use crate::domain::bareme::Bareme;
use crate::domain::jeu::{Jeu, JeuDetails, JeuId};
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::note::Note;
use crate::domain::phase::{Phase, Rank};
use crate::domain::rule::Rule;
use crate::domain::tally::Tally;
use crate::store::ItemId;
use crate::supervise;

/// Simulated votes a second unless told otherwise, and at most: a room shows ten snapshots a second, so that more would
/// look the same.
pub const DEFAULT_VOTES_PER_S: u32 = 5;
/// See [`DEFAULT_VOTES_PER_S`].
pub const MAX_VOTES_PER_S: u32 = 50;

/// A rehearsal that somebody forgot ends by itself.
const LENGTH: Duration = Duration::from_secs(15 * 60);

/// Time between two looks of the script.
const STEP: Duration = Duration::from_millis(100);

/// The script of a round: on air with nothing open, then each jeu, then the ranking.
const OPENING: Duration = Duration::from_secs(3);
const TAKES_NOTES: Duration = Duration::from_secs(11);
const COUNTDOWN: Duration = Duration::from_secs(6);
const CLOSING: Duration = Duration::from_secs(1);
const RESULT: Duration = Duration::from_secs(6);
const RANKING: Duration = Duration::from_secs(15);

/// Voters below which the made-up live shows no averages: enough to see "3 / 5 votes" go by.
const MINIMUM_VOTES: u32 = 5;

/// How often a simulated viewer leaves a critere out that may be left out, in percent.
const NO_OPINION_PERCENT: f64 = 10.0;

/// A made-up live in the view of a channel.
#[derive(Clone)]
pub struct Rehearsal {
    /// Simulated votes a second.
    pub votes_per_s: u32,
    /// When it ends by itself, microseconds since 1970.
    pub ends_at_us: u64,
    /// What is shown now.
    pub(crate) view: Arc<LiveView>,
    /// Which run it is: one that was ended must not come back.
    run: Uuid,
}

/// Whether a rehearsal may have this many votes a second.
///
/// # Errors
/// When it may not.
pub fn check_rate(votes_per_s: u32) -> Result<()> {
    if !(1..=MAX_VOTES_PER_S).contains(&votes_per_s) {
        let remedy = format!("send 1 to {MAX_VOTES_PER_S}");
        return Err(Invalid::new(
            "votes_per_s",
            Rule::range(1, MAX_VOTES_PER_S),
            format!("{votes_per_s} is out of range"),
            remedy,
        )
        .into());
    }
    Ok(())
}

impl Conductor {
    /// Begins a rehearsal of a channel on this pod, with `bareme`. One that goes on stays as it is.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict while a live of the channel is on air.
    pub async fn rehearse(&self, channel: &Slug, bareme: &Bareme, votes_per_s: u32) -> Result<Rehearsal> {
        check_rate(votes_per_s)?;
        if self.channel_view(channel).await?.is_none() {
            return Err(ConductError::UnknownChannel(channel.clone()));
        }
        let env = self.env();
        let length_us = u64::try_from(LENGTH.as_micros()).unwrap_or(u64::MAX);
        let ends_at_us = env.now_us().saturating_add(length_us);
        let mut round = Round::new(env, channel, bareme, ends_at_us);
        let fresh = Rehearsal { votes_per_s, ends_at_us, view: round.at(Duration::ZERO), run: env.uuid() };
        let begun = self.change_view(channel, |view| match view.on_air() {
            Some(live) => Err(live),
            None => Ok(view.rehearsal.get_or_insert_with(|| fresh.clone()).clone()),
        });
        let begun = begun.ok_or_else(|| ConductError::UnknownChannel(channel.clone()))?.map_err(|live| {
            let reason = format!("live {live} of this channel is on air");
            ConductError::own_conflict(Rule::LiveOnAir, reason, "close it first, or look at it instead")
        })?;
        if begun.run == fresh.run {
            let (conductor, channel, bareme) = (self.clone(), channel.clone(), bareme.clone());
            self.spawn("rehearsal", async move {
                let ended = conductor.clone();
                // One that died leaves no made-up numbers behind.
                if supervise::once("rehearsal", conductor.play(channel.clone(), bareme, fresh, round)).await.is_none() {
                    ended.end_rehearsal(&channel);
                }
            });
        }
        Ok(begun)
    }

    /// Ends the rehearsal of a channel, if there is one.
    pub fn end_rehearsal(&self, channel: &Slug) {
        self.change_view(channel, |view| view.rehearsal = None);
    }

    /// Shows round after round until the rehearsal is over.
    async fn play(self, channel: Slug, bareme: Bareme, rehearsal: Rehearsal, mut round: Round) {
        let mut step = interval(STEP);
        step.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = Instant::now();
        let (mut round_begun, mut looked) = (begun, begun);
        while begun.elapsed() < LENGTH {
            step.tick().await;
            let now = Instant::now();
            if now.duration_since(round_begun) >= round.length() {
                round_begun = now;
                round = Round::new(self.env(), &channel, &bareme, rehearsal.ends_at_us);
            }
            let elapsed = now.duration_since(round_begun);
            round.simulate(self.env(), elapsed, now.duration_since(looked), rehearsal.votes_per_s);
            looked = now;
            let shown = round.at(elapsed);
            let goes_on = self.change_view(&channel, |view| {
                let ours = view.rehearsal.as_mut().filter(|known| known.run == rehearsal.run);
                ours.map(|known| known.view = shown).is_some()
            });
            if goes_on != Some(true) {
                return;
            }
        }
        self.change_view(&channel, |view| drop(view.rehearsal.take_if(|known| known.run == rehearsal.run)));
    }
}

/// One run through the script: a live that nobody but this module knows.
struct Round {
    live: Live,
    ballot: Arc<Ratings>,
    tallies: Vec<Tally>,
    /// What the audience thinks of each critere of each jeu, from 0 to 1.
    tastes: Vec<Vec<f64>>,
    accepted: Arc<AtomicU64>,
    started_us: u64,
    /// Votes that are due, with the fraction that is not.
    due: f64,
}

impl Round {
    /// The first or another round of a rehearsal that ends at `ends_at_us`: every page tells from it how long it lasts.
    fn new(env: &Env, channel: &Slug, bareme: &Bareme, ends_at_us: u64) -> Self {
        let ballot = Arc::new(Ratings::new(Arc::new(bareme.clone())));
        let programme: Vec<_> =
            (1..).zip(JeuDetails::samples()).map(|(number, details)| Jeu { jeu_id: JeuId(number), details }).collect();
        let started_us = env.now_us();
        let taste = || 0.4 + 0.5 * env.fraction();
        Self {
            tallies: programme.iter().map(|_| ballot.empty()).collect(),
            tastes: programme.iter().map(|_| bareme.criteres.iter().map(|_| taste()).collect()).collect(),
            live: Live {
                live_id: LiveId(env.uuid()),
                channel: channel.clone(),
                // The same word in both languages.
                title: "Test".to_owned(),
                bareme_id: Uuid::nil(),
                bareme: bareme.clone(),
                programme,
                blind: false,
                minimum_votes: MINIMUM_VOTES,
                status: LiveStatus::Open,
                current: None,
                closes_at_us: BTreeMap::new(),
                delays_us: BTreeMap::new(),
                ends_at_us: Some(ends_at_us),
                created_at_us: started_us,
                opened_at_us: Some(started_us),
                closed_at_us: None,
                closed_with: BTreeSet::new(),
            },
            ballot,
            accepted: Arc::default(),
            started_us,
            due: 0.0,
        }
    }

    /// When a jeu opens, since the round began.
    fn opens(index: usize) -> Duration {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        OPENING + (TAKES_NOTES + COUNTDOWN + CLOSING + RESULT).saturating_mul(index)
    }

    fn ranking_begins(&self) -> Duration {
        Self::opens(self.live.programme.len())
    }

    fn length(&self) -> Duration {
        self.ranking_begins() + RANKING
    }

    fn phase(index: usize, elapsed: Duration) -> Phase {
        match elapsed.checked_sub(Self::opens(index)) {
            None => Phase::Pending,
            Some(open) if open < TAKES_NOTES + COUNTDOWN => Phase::Open,
            Some(open) if open < TAKES_NOTES + COUNTDOWN + CLOSING => Phase::Closing,
            Some(_) => Phase::Final,
        }
    }

    /// Adds the votes of the last `passed`.
    fn simulate(&mut self, env: &Env, elapsed: Duration, passed: Duration, votes_per_s: u32) {
        let is_open = |index: &usize| Self::phase(*index, elapsed) == Phase::Open;
        let Some(index) = (0..self.tallies.len()).find(is_open) else {
            self.due = 0.0;
            return;
        };
        // A machine that slept does not make up for it.
        self.due += f64::from(votes_per_s) * passed.min(10 * STEP).as_secs_f64();
        while self.due >= 1.0 {
            self.due -= 1.0;
            if let Ok(note) = simulated(env, &self.live.bareme, &self.tastes[index]) {
                self.tallies[index].add(&note);
                self.accepted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn at_us(&self, elapsed: Duration) -> u64 {
        self.started_us.saturating_add(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    /// What is shown when the round has lasted for `elapsed`.
    fn at(&mut self, elapsed: Duration) -> Arc<LiveView> {
        let jeux = 0..self.live.programme.len();
        let opened = jeux.clone().rev().find(|index| Self::phase(*index, elapsed) != Phase::Pending);
        self.live.current = opened.map(|index| self.live.programme[index].jeu_id);
        self.live.closes_at_us = jeux
            .clone()
            .filter(|index| Self::phase(*index, elapsed) == Phase::Open)
            .filter(|index| elapsed >= Self::opens(*index) + TAKES_NOTES)
            .map(|index| {
                let closes = Self::opens(index) + TAKES_NOTES + COUNTDOWN;
                (self.live.programme[index].jeu_id, self.at_us(closes))
            })
            .collect();
        if elapsed >= self.ranking_begins() {
            self.live.status = LiveStatus::Closed;
            self.live.closed_at_us = Some(self.at_us(self.ranking_begins()));
        }
        let item = |index: usize| {
            let id = ItemId { live: self.live.live_id, jeu: self.live.programme[index].jeu_id };
            let view = ItemView {
                rank: Rank::new(0, Self::phase(index, elapsed)),
                tally: self.tallies[index].clone(),
                revision: 0,
                as_of_us: self.at_us(elapsed),
                made_at_us: Some(self.at_us(Self::opens(index) + TAKES_NOTES + COUNTDOWN + CLOSING)),
                loaded: true,
                stale: false,
                unreadable: false,
            };
            ItemHandle::fixed(id, view)
        };
        Arc::new(LiveView {
            items: jeux.map(item).collect(),
            live: Arc::new(self.live.clone()),
            ballot: Arc::clone(&self.ballot),
            accepted: Arc::clone(&self.accepted),
            unshown: Arc::default(),
            is_test: true,
        })
    }
}

/// A note of somebody who thinks more or less what the audience does.
fn simulated(env: &Env, bareme: &Bareme, tastes: &[f64]) -> std::result::Result<Note, Invalid> {
    let mut scores = Vec::with_capacity(bareme.criteres.len());
    for (critere, taste) in bareme.criteres.iter().zip(tastes) {
        if critere.optional && env.fraction() * 100.0 < NO_OPINION_PERCENT {
            continue;
        }
        // The sum of two dice is most often in the middle.
        let share = (taste + 0.35 * (env.fraction() + env.fraction() - 1.0)).clamp(0.0, 1.0);
        let distance = |step: u8| (f64::from(step) - share * f64::from(critere.steps())).abs();
        let nearest = (0..=critere.steps()).min_by(|one, other| distance(*one).total_cmp(&distance(*other)));
        scores.extend(nearest.map(|step| (critere.key.as_str(), critere.score(step))));
    }
    Note::new(bareme, scores)
}
