//! Who does what when: the whole of a run, decided by its seed before the first socket opens.

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use crate::config::{Config, Scenario};
use crate::scores::Taste;
use crate::shape::{Shape, Steps, WITHDRAWN};

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// Wants this note (a withdrawal if it has no step).
    Vote(Steps),
    /// The phone sleeps for this long, in microseconds.
    Nap(u64),
    /// Goes for good.
    Leave,
}

/// Something a viewer does at a moment of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intent {
    /// Microseconds from the start of the stage.
    pub at_us: u64,
    /// Which viewer of the run.
    pub viewer: u32,
    /// What.
    pub what: What,
}

/// Everything that one worker's viewers do while one jeu is open, in order of time.
#[derive(Debug)]
pub enum Stage {
    /// Decided beforehand.
    Listed(std::iter::Peekable<std::vec::IntoIter<Intent>>),
    /// Made up on the way: there is too much of it.
    Steady(Box<Steady>),
}

impl Stage {
    /// When the next thing is due.
    pub fn next_at_us(&mut self) -> Option<u64> {
        match self {
            Self::Listed(intents) => intents.peek().map(|intent| intent.at_us),
            Self::Steady(steady) => steady.at_us(),
        }
    }

    /// The next thing.
    pub fn next_intent(&mut self) -> Option<Intent> {
        match self {
            Self::Listed(intents) => intents.next(),
            Self::Steady(steady) => steady.next_intent(),
        }
    }
}

/// Votes at an even rate by viewers in turn.
#[derive(Debug)]
pub struct Steady {
    random: Pcg64,
    shape: Shape,
    taste: Taste,
    viewers: Vec<u32>,
    interval_us: f64,
    offset_us: f64,
    done: u64,
    count: u64,
}

impl Steady {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "microseconds of a run stay below 2^53"
    )]
    fn at_us(&self) -> Option<u64> {
        (self.done < self.count).then_some((self.offset_us + self.interval_us * self.done as f64) as u64)
    }

    fn next_intent(&mut self) -> Option<Intent> {
        let at_us = self.at_us()?;
        let turn = usize::try_from(self.done).unwrap_or(0) % self.viewers.len().max(1);
        let viewer = *self.viewers.get(turn)?;
        self.done += 1;
        Some(Intent { at_us, viewer, what: What::Vote(self.taste.note(&mut self.random, &self.shape)) })
    }
}

/// Microseconds of a number of seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a run, never negative")]
pub fn micros(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e6) as u64
}

/// How many viewers a `live` needs so that its notes and changes of mind come out even.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small counts"
)]
pub fn viewers_for(notes: u64, jeux: u32, change: f64) -> u32 {
    let a_jeu = notes.div_ceil(u64::from(jeux.max(1)));
    ((a_jeu as f64 / (1.0 + change)).ceil() as u32).max(1)
}

/// The plan of each worker: its stages in order.
pub fn plan(config: &Config, shape: &Shape) -> Vec<Vec<Stage>> {
    let threads = config.threads.max(1);
    let mut workers: Vec<Vec<Stage>> = (0..threads).map(|_| Vec::new()).collect();
    let mut gone = vec![false; usize::try_from(config.viewers).unwrap_or(0)];
    for number in 0..config.jeux {
        let stage = usize::try_from(number).unwrap_or(0);
        let seed = config.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(u64::from(number));
        if matches!(config.scenario, Scenario::Flood | Scenario::Http) {
            for (worker, stages) in (0..threads).zip(&mut workers) {
                stages.push(Stage::Steady(Box::new(steady(config, shape, stage, seed, worker))));
            }
            continue;
        }
        let mut random = Pcg64::seed_from_u64(seed);
        let mut intents = match config.scenario {
            Scenario::Live => live_stage(config, shape, stage, &mut random),
            _ => crowd_stage(config, shape, stage, &mut random, &mut gone),
        };
        intents.sort_by_key(|intent| (intent.at_us, intent.viewer));
        for (worker, stages) in (0..threads).zip(&mut workers) {
            let own: Vec<Intent> = intents.iter().filter(|intent| intent.viewer % threads == worker).copied().collect();
            stages.push(Stage::Listed(own.into_iter().peekable()));
        }
    }
    workers
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of a run stay below 2^53")]
fn steady(config: &Config, shape: &Shape, stage: usize, seed: u64, worker: u32) -> Steady {
    let threads = config.threads.max(1);
    let interval_us = 1e6 / config.rate * f64::from(threads);
    Steady {
        random: Pcg64::new(u128::from(seed), u128::from(worker)),
        shape: shape.clone(),
        taste: config.taste(stage),
        viewers: (0..config.viewers).filter(|viewer| viewer % threads == worker).collect(),
        interval_us,
        offset_us: interval_us * f64::from(worker) / f64::from(threads),
        done: 0,
        count: (config.rate * config.stage_s / f64::from(threads)).round() as u64,
    }
}

/// The notes of one jeu at random moments: first everybody's first, and by the way some second thoughts.
fn live_stage(config: &Config, shape: &Shape, stage: usize, random: &mut Pcg64) -> Vec<Intent> {
    let jeux = u64::from(config.jeux.max(1));
    let number = u64::try_from(stage).unwrap_or(0);
    // What does not divide evenly goes to the first jeux.
    let notes = config.notes / jeux + u64::from(number < config.notes % jeux);
    let last_us = micros(config.stage_s * 0.96);
    let mut viewers: Vec<u32> = (0..config.viewers).collect();
    for place in (1..viewers.len()).rev() {
        viewers.swap(place, random.random_range(0..=place));
    }
    let taste = config.taste(stage);
    let mut first: Vec<Intent> = Vec::new();
    let mut more = Vec::new();
    for viewer in viewers.into_iter().take(usize::try_from(notes).unwrap_or(usize::MAX)) {
        let at_us = random.random_range(0..=last_us * 9 / 10);
        first.push(Intent { at_us, viewer, what: What::Vote(taste.note(random, shape)) });
    }
    let left = notes.saturating_sub(u64::try_from(first.len()).unwrap_or(0));
    for _ in 0..left {
        let Some(before) = first.get(random.random_range(0..first.len().max(1))) else { break };
        let What::Vote(steps) = before.what else { continue };
        let at_us = random.random_range(before.at_us + 1..=last_us.max(before.at_us + 1));
        let withdrawn = random.random_bool(config.withdraw.clamp(0.0, 1.0));
        let steps = if withdrawn { WITHDRAWN } else { taste.other_note(random, shape, &steps) };
        more.push(Intent { at_us, viewer: before.viewer, what: What::Vote(steps) });
    }
    first.append(&mut more);
    first
}

/// A burst when the jeu opens, most of it early; then second thoughts, sleeping phones, and some who go.
fn crowd_stage(config: &Config, shape: &Shape, stage: usize, random: &mut Pcg64, gone: &mut [bool]) -> Vec<Intent> {
    let (stage_us, burst_us) = (micros(config.stage_s), micros(config.burst_s.min(config.stage_s * 0.9)));
    let end_us = stage_us * 95 / 100;
    let taste = config.taste(stage);
    let mut intents = Vec::new();
    for (viewer, gone) in (0..config.viewers).zip(gone) {
        if *gone {
            continue;
        }
        let nap = random.random_bool(config.nap.clamp(0.0, 1.0)).then(|| {
            let start = random.random_range(0..=stage_us * 7 / 10);
            let most = 10_000_000.min(stage_us / 4).max(200_001);
            (start, random.random_range(200_000..most))
        });
        // Nobody taps on a phone that sleeps; they do when it wakes up.
        let awake = |at_us: u64| match nap {
            Some((start, length)) if (start..start + length).contains(&at_us) => start + length + 1 + at_us % 500_000,
            _ => at_us,
        };
        if let Some((start, length)) = nap {
            intents.push(Intent { at_us: start, viewer, what: What::Nap(length) });
        }
        let early = random.random::<f64>().powf(1.5);
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a stage")]
        let first_us = awake(micros(early * burst_us as f64 / 1e6));
        let steps = taste.note(random, shape);
        intents.push(Intent { at_us: first_us, viewer, what: What::Vote(steps) });
        let mut last_us = first_us;
        if random.random_bool(config.change.clamp(0.0, 1.0)) && first_us + 1 < end_us {
            let at_us = awake(random.random_range(first_us + 1..=end_us));
            last_us = at_us;
            let withdrawn = random.random_bool(config.withdraw.clamp(0.0, 1.0));
            let steps = if withdrawn { WITHDRAWN } else { taste.other_note(random, shape, &steps) };
            intents.push(Intent { at_us, viewer, what: What::Vote(steps) });
        }
        if random.random_bool(config.leave.clamp(0.0, 1.0)) {
            *gone = true;
            // Nobody taps after they left.
            let at_us = end_us.max(last_us) + 1 + u64::from(viewer % 1000);
            intents.push(Intent { at_us, viewer, what: What::Leave });
        }
    }
    intents
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::config::Thresholds;
    use crate::shape::tests::shape;

    pub(crate) fn config(scenario: Scenario) -> Config {
        Config {
            scenario,
            urls: Vec::new(),
            ops_url: None,
            channel: None,
            drive: true,
            seed: 7,
            threads: 2,
            viewers: 300,
            notes: 1000,
            jeux: 3,
            tastes: vec![Taste::Bell(0.7), Taste::Polarised],
            stage_s: 20.0,
            ramp_s: 0.0,
            burst_s: 5.0,
            change: 0.3,
            withdraw: 0.1,
            nap: 0.2,
            leave: 0.1,
            rate: 1000.0,
            settle_s: 5.0,
            expect_restarts: false,
            watch: Vec::new(),
            race_s: 0.0,
            skewed_clocks: false,
            bareme: None,
            ports_per_address: None,
            thresholds: Thresholds::default(),
        }
    }

    fn all(config: &Config) -> Vec<Vec<Vec<Intent>>> {
        let intents = |mut stage: Stage| std::iter::from_fn(move || stage.next_intent()).collect::<Vec<_>>();
        plan(config, &shape()).into_iter().map(|stages| stages.into_iter().map(intents).collect()).collect()
    }

    #[test]
    fn a_live_has_exactly_the_notes_that_were_asked_for() {
        let config = Config { viewers: viewers_for(1000, 3, 0.3), ..config(Scenario::Live) };
        let plan = all(&config);
        let votes: usize = plan.iter().flatten().map(Vec::len).sum();
        assert_eq!((plan.len(), votes), (2, 1000));
        let mut last = HashMap::new();
        for stage in plan.iter().flatten() {
            assert!(stage.is_sorted_by_key(|intent| intent.at_us));
            assert!(stage.iter().all(|intent| intent.at_us < micros(config.stage_s)));
            for intent in stage {
                last.insert(intent.viewer, intent.what);
            }
        }
        assert!(last.len() > 250, "most viewers vote: {}", last.len());
    }

    #[test]
    fn the_same_seed_gives_the_same_run_and_another_seed_another() {
        for scenario in [Scenario::Live, Scenario::Crowd, Scenario::Flood] {
            let config = config(scenario);
            assert_eq!(all(&config), all(&config));
            assert_ne!(all(&config), all(&Config { seed: 8, ..config.clone() }));
        }
    }

    #[test]
    fn in_a_crowd_everybody_votes_once_on_each_jeu_until_they_leave_and_nobody_taps_asleep() {
        // A short stage, so that naps reach its end.
        let config = Config { stage_s: 3.0, burst_s: 2.0, nap: 0.5, ..config(Scenario::Crowd) };
        let plan = all(&config);
        let mut gone = HashSet::new();
        for number in 0..3 {
            let mut first = HashSet::new();
            for intent in plan.iter().flat_map(|stages| &stages[number]) {
                assert!(!gone.contains(&intent.viewer));
                if let What::Vote(_) = intent.what {
                    first.insert(intent.viewer);
                }
            }
            assert_eq!(first.len() + gone.len(), 300);
            for intents in plan.iter().map(|stages| &stages[number]) {
                let naps = intents.iter().filter_map(|intent| match intent.what {
                    What::Nap(length) => Some((intent.viewer, intent.at_us..intent.at_us + length)),
                    _ => None,
                });
                for (viewer, asleep) in naps {
                    let tap = |intent: &&Intent| intent.viewer == viewer && matches!(intent.what, What::Vote(_));
                    assert!(intents.iter().filter(tap).all(|intent| !asleep.contains(&intent.at_us)));
                }
                for leaving in intents.iter().filter(|intent| intent.what == What::Leave) {
                    let last = intents.iter().rfind(|intent| intent.viewer == leaving.viewer);
                    assert_eq!(last, Some(leaving), "nobody taps after they left");
                }
                gone.extend(intents.iter().filter(|intent| intent.what == What::Leave).map(|intent| intent.viewer));
            }
        }
        assert!((50..150).contains(&gone.len()), "{}", gone.len());
    }

    #[test]
    fn a_flood_keeps_its_rate_over_all_workers() {
        let plan = all(&config(Scenario::Flood));
        let mut at: Vec<u64> = plan.iter().flat_map(|stages| &stages[0]).map(|intent| intent.at_us).collect();
        at.sort_unstable();
        assert_eq!(at.len(), 20_000);
        assert!(at.windows(2).all(|pair| (999..=1001).contains(&(pair[1] - pair[0]))));
    }
}
