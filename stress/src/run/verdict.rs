//! Puts together what a run left behind, and judges it.

use std::sync::PoisonError;

use bareme::protocol::TallyFrame;
use serde_json::Value;

use super::Run;
use crate::config::Config;
use crate::oracle::bounds::{self, Knowledge};
use crate::oracle::recount::{Counted, Source, recount};
use crate::result::{AverageRow, Cost, FORMAT, Kept, Machine, RunResult, SecondRow, StageRow, points_and_histograms};
use crate::sampler::Sample;
use crate::witness;
use crate::worker::Outcome;

/// What a run left behind.
pub(super) struct Material {
    pub(super) run: Run,
    pub(super) outcome: Outcome,
    pub(super) counted: Counted,
    pub(super) samples: Vec<Sample>,
    pub(super) voting: (f64, f64),
    pub(super) version: Value,
    pub(super) clock_error_us: u64,
    pub(super) started_at_us: u64,
}

/// The result of a run.
pub(super) fn assemble(material: Material) -> RunResult {
    let Material { run, mut outcome, counted, samples, voting, version, clock_error_us, started_at_us } = material;
    let interrupted = run.is_interrupted();
    let shape = run.subject.shape.clone();
    let mut found = recount(&shape, &outcome.ledger, &counted);
    let knowledge = Knowledge { clock_error_us, exclusive: counted.exclusive, clocks: !run.config.skewed_clocks };
    let mut seen = std::mem::take(&mut outcome.seen);
    // Workers were shown the same frames.
    seen.sort_by(|one, other| {
        (one.jeu, one.as_of_us, one.arrived_us).cmp(&(other.jeu, other.as_of_us, other.arrived_us))
    });
    seen.dedup_by(|later, first| {
        (later.jeu, later.as_of_us, later.masked) == (first.jeu, first.as_of_us, first.masked)
            && later.numbers == first.numbers
    });
    found.complaints.merge(bounds::check(&shape, &outcome.ledger.notes, &seen, knowledge));
    found.complaints.merge(std::mem::take(&mut outcome.complaints));

    let progress = run.progress.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds: Vec<SecondRow> = progress.seconds.values().map(SecondRow::new).collect();
    let board = run.board.lock().unwrap_or_else(PoisonError::into_inner);
    let averages = board.history.iter().map(|&(at_s, jeu, voters, mean)| AverageRow { at_s, jeu, voters, mean });
    let stage = |&(jeu, at_s): &(u32, f64)| {
        let entry = run.live.programme.iter().find(|entry| entry.jeu.jeu_id.0 == jeu);
        let tally = board.tallies.get(&jeu);
        StageRow {
            jeu,
            title: entry.map(|entry| entry.jeu.details.title.clone()).unwrap_or_default(),
            at_s,
            voters: tally.map_or(0, |tally| tally.voters),
            mean: tally.and_then(|tally| tally.mean),
            criteres: tally.map(means).unwrap_or_default(),
        }
    };
    outcome.distributions.everywhere = witness::everywhere(&outcome.ledger.notes, &run.sights());
    let (points, histograms) = points_and_histograms(&outcome.distributions);
    let mut result = RunResult {
        kind: "bareme-stress".to_owned(),
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        server: version,
        machine: Machine::this(),
        started_at_us,
        wall_s: run.elapsed_s(),
        voting,
        interrupted,
        live: run.subject.live,
        shape,
        clock_error_us,
        cost: cost(&samples, voting, &seconds, run.config.viewers),
        counters: outcome.counters,
        points,
        histograms,
        seconds,
        averages: averages.collect(),
        stages: run.stages.iter().map(stage).collect(),
        samples,
        last_wishes: outcome.ledger.last_wishes(),
        frames_checked: u64::try_from(seen.len()).unwrap_or(0),
        recount_from: counted.source,
        recount: found,
        thresholds: Vec::new(),
        passed: false,
        config: run.config.clone(),
    };
    result.thresholds = thresholds(&run.config, &result);
    result.passed = !interrupted
        && result.recount.complaints.is_empty()
        && result.thresholds.iter().all(|threshold| threshold.kept);
    result
}

fn means(tally: &TallyFrame) -> Vec<(String, Option<f64>)> {
    tally.criteres.iter().map(|critere| (critere.key.clone(), critere.mean)).collect()
}

/// CPU time between two samples, restarts of the process in between left out.
fn cpu_between(samples: &[Sample], of: impl Fn(&Sample) -> Option<f64>) -> f64 {
    let grown = |pair: &[Sample]| match (&pair[0], &pair[1]) {
        (before, after) if before.pid == after.pid => Some((of(after)? - of(before)?).max(0.0)),
        _ => None,
    };
    samples.windows(2).filter_map(grown).sum()
}

#[expect(clippy::cast_precision_loss, reason = "quotients for people")]
fn cost(samples: &[Sample], voting: (f64, f64), seconds: &[SecondRow], viewers: u32) -> Cost {
    let between = |from: f64, to: f64| {
        let inside: Vec<Sample> = samples.iter().filter(|sample| (from..=to).contains(&sample.at_s)).cloned().collect();
        let length = inside.last().map_or(0.0, |last| last.at_s) - inside.first().map_or(0.0, |first| first.at_s);
        (inside, length)
    };
    // Whole seconds, so that votes and CPU are of the same time.
    let (from, to) = (voting.0.floor(), voting.1.ceil() + 1.0);
    let (inside, length) = between(from, to);
    let in_time = |row: &&SecondRow| (from..to).contains(&(row.at_s as f64));
    let acked: u64 = seconds.iter().filter(in_time).map(|row| row.acked).sum();
    let messages: u64 = seconds.iter().filter(in_time).map(|row| row.acked + row.refused + row.frames).sum();
    let known = inside.iter().any(|sample| sample.cpu_s.is_some()) && length > 0.0;
    let cpu_us = cpu_between(&inside, |sample| sample.cpu_s) * 1e6;
    let own_s = cpu_between(&inside, |sample| Some(sample.own_cpu_s));
    let each = |count: u64| (known && count > 0).then(|| cpu_us / count as f64);
    let rss = |sample: Option<&Sample>| sample.and_then(|sample| sample.rss).map(|bytes| bytes as f64);
    let joined = samples.iter().rev().find(|sample| sample.at_s <= voting.0);
    let gained =
        rss(joined).zip(rss(samples.first())).map(|(after, before)| (after - before) / f64::from(viewers.max(1)));
    Cost {
        cpu_us_per_vote: each(acked),
        cpu_us_per_message: each(messages),
        rss_per_socket: gained,
        server_load: known.then(|| cpu_us / 1e6 / length),
        own_cpu_us_per_vote: (acked > 0).then(|| own_s * 1e6 / acked as f64),
        own_load: if length > 0.0 { own_s / length } else { 0.0 },
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts for people")]
fn thresholds(config: &Config, result: &RunResult) -> Vec<Kept> {
    let asked = config.thresholds;
    let at_most = |what: &str, measured: f64, allowed: Option<f64>| {
        allowed.map(|allowed| Kept { what: what.to_owned(), measured, allowed, kept: measured <= allowed })
    };
    let number = |count: Option<u64>| count.map(|count| count as f64);
    let share = asked.acked_share.map(|allowed| {
        let (wishes, acked) = result.last_wishes;
        let measured = acked as f64 / wishes.max(1) as f64;
        Kept {
            what: "share of last wishes acknowledged, at least".to_owned(),
            measured,
            allowed,
            kept: measured >= allowed,
        }
    });
    [
        at_most("ack p99, ms", result.points_of("ack").p99, asked.ack_p99_ms),
        at_most("visible p99, ms", result.points_of("visible").p99, asked.visible_p99_ms),
        at_most("connect p99, ms", result.points_of("connect").p99, asked.connect_p99_ms),
        at_most("notes of unknown fate", result.recount.fates.unknown as f64, number(asked.unknown)),
        at_most("connections failed or lost", result.counters.error_count() as f64, number(asked.errors)),
        share,
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl RunResult {
    /// What the recount found, in a line.
    pub fn oracle_line(&self) -> String {
        let line = self.recount.line();
        match self.recount_from {
            Source::Export => line,
            Source::OwnNotes => {
                line.replace("double 0", "double not checked (that needs the export: pass an admin's --token)")
            }
        }
    }
}
