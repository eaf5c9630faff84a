//! Runs over many seeds: those that must show nothing, and those without a rule, which must show something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::oracle::Figures;
use super::{Report, Scenario, run};
use crate::cluster::mutant::Mutant;

/// Seeds within which every mutant has to be caught.
const SEEDS_PER_MUTANT: u64 = 10_000;

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number(name: &str, otherwise: u64) -> u64 {
    setting(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[expect(clippy::print_stderr, reason = "what a run found is this test's output")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Rules of lives, and of items that are started again; every other one is the engine's with one item.
const OF_LIVES: &[Mutant] = Mutant::OF_CONDUCTOR;

fn scenario_of(mutant: Mutant) -> Scenario {
    if OF_LIVES.contains(&mutant) { Scenario::Conductor } else { Scenario::Engine }
}

/// The first seed from `from` on that shows something wrong.
fn first_caught(from: u64, count: u64, mutant: Mutant) -> Option<(u64, Report)> {
    let scenario = scenario_of(mutant);
    (from..from + count)
        .map(|seed| (seed, run(scenario, seed, Some(mutant))))
        .find(|(_, report)| !report.violations.is_empty())
}

/// Runs `work` for `0..count` on as many threads as there are processors, and returns what it gave, in order.
fn on_every_processor<T: Send>(count: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut results: Vec<_> = std::thread::scope(|scope| {
        let take_turns = || {
            let mut own = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return own;
                }
                own.push((index, work(index)));
            }
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(take_turns)).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_default()).collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn told(seed: u64, report: &Report) -> String {
    format!("seed {seed} (hash {:016x}): {:#?}", report.hash, report.violations)
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for (scenario, seed) in
        [Scenario::Engine, Scenario::Conductor].into_iter().flat_map(|of| (0..6).map(move |seed| (of, seed)))
    {
        let (first, again) = (run(scenario, seed, None), run(scenario, seed, None));
        assert_eq!((first.hash, first.violations), (again.hash, again.violations), "{scenario:?} {seed}");
        assert_ne!(first.hash, run(scenario, seed + 1, None).hash);
    }
}

#[test]
fn the_first_seeds_show_nothing_wrong_and_much_happening() {
    for scenario in [Scenario::Engine, Scenario::Conductor] {
        let mut acknowledged = 0;
        for seed in 0..40 {
            let report = run(scenario, seed, None);
            assert!(report.violations.is_empty(), "{scenario:?} {}", told(seed, &report));
            acknowledged += report.figures.acknowledged;
        }
        assert!(acknowledged > 800, "{scenario:?} {acknowledged}");
    }
}

#[test]
fn a_map_that_loses_entries_raises_the_alarm() {
    let alarm = (0..200)
        .map(|seed| run(Scenario::Engine, seed, Some(Mutant::LosesEntries)))
        .find(|report| report.figures.alarms > 0);
    assert!(alarm.is_some());
}

/// `cargo xtask simulate` runs this in an optimised build.
#[test]
#[ignore = "takes minutes without optimisation; cargo xtask simulate runs it"]
fn simulate() {
    let (from, count) = (number("BAREME_SIMULATE_FROM", 0), number("BAREME_SIMULATE_SEEDS", 1000));
    let mutant = setting("BAREME_SIMULATE_MUTANT").map(|name| {
        let known = Mutant::ALL.iter().chain(OF_LIVES).find(|mutant| mutant.name() == name);
        *known.unwrap_or_else(|| panic!("{name} is no mutant; they are {:?}", Mutant::ALL))
    });
    let scenario = match (setting("BAREME_SIMULATE_SCENARIO").as_deref(), mutant) {
        (Some("lives"), _) => Scenario::Conductor,
        (Some("engine"), _) | (None, None) => Scenario::Engine,
        (None, Some(mutant)) => scenario_of(mutant),
        (Some(other), _) => panic!("{other} is no scenario; they are engine and lives"),
    };
    let started = Instant::now();
    let runs = on_every_processor(count, |index| {
        let report = run(scenario, from + index, mutant);
        if !report.violations.is_empty() {
            say(&told(from + index, &report));
        }
        if count == 1 {
            report.history.iter().for_each(|line| say(line));
        }
        (report.violations.len(), report.figures, report.virtual_ms)
    });
    let mut total = Figures::default();
    runs.iter().for_each(|(_, figures, _)| total.add(figures));
    let bad = runs.iter().filter(|(violations, _, _)| *violations > 0).count();
    let virtual_time = Duration::from_millis(runs.iter().map(|(_, _, virtual_ms)| virtual_ms).sum());
    say(&format!(
        "{scenario:?}, seeds {from} to {}: {bad} bad, {:.0} h of virtual time in {:.0} s, {total:?}",
        from + count,
        virtual_time.as_secs_f64() / 3600.0,
        started.elapsed().as_secs_f64()
    ));
    assert_eq!(bad, 0, "replay one with cargo xtask simulate --from SEED --seeds 1");
}

/// `cargo xtask simulate --mutants` runs this in an optimised build, and prints the table of the documentation.
#[test]
#[ignore = "takes minutes without optimisation; cargo xtask simulate --mutants runs it"]
fn every_mutant_is_caught() {
    let limit = number("BAREME_SIMULATE_SEEDS", SEEDS_PER_MUTANT);
    let from = number("BAREME_SIMULATE_FROM", 0);
    let all: Vec<_> = Mutant::ALL.iter().chain(OF_LIVES).copied().collect();
    let caught = on_every_processor(all.len() as u64, |index| {
        let mutant = all[usize::try_from(index).unwrap_or(0)];
        let found = first_caught(from, limit, mutant);
        let seeds = found.as_ref().map(|(seed, _)| seed - from + 1);
        let seen = found.and_then(|(_, report)| report.violations.into_iter().next()).unwrap_or_default();
        let line = format!("| {} |{} | {} | {seen} |", mutant.name(), mutant.text(), seeds.unwrap_or(0));
        say(&line);
        (mutant, seeds)
    });
    let missed: Vec<_> = caught.iter().filter(|(_, seeds)| seeds.is_none()).map(|(mutant, _)| mutant.name()).collect();
    assert!(missed.is_empty(), "not caught within {limit} seeds: {missed:?}");
}
