//! Whether two runs differ by more than chance.
//!
//! Each measure is taken second by second while people voted. Seconds that follow each other are alike, so they are put
//! together into blocks of [`BLOCK_S`] seconds, of which the median counts. The blocks of one run are compared with those
//! of the other by the Mann–Whitney test (normal approximation, corrected for ties): a difference counts as more than
//! noise when chance alone would give one as great less often than once in [`ONCE_IN`] times, and when it is at least
//! [`LEAST_CHANGE`] of the value before. With fewer than [`LEAST_BLOCKS`] blocks on a side nothing is decided.
//!
//! What no statistics of two runs can tell is what differed between them as a whole: a busier machine, another disk.

use std::fmt::Write as _;

use crate::result::{RunResult, SecondRow};
use crate::sampler::Sample;

/// Seconds of a block.
const BLOCK_S: usize = 3;
/// Blocks that a side must have.
const LEAST_BLOCKS: usize = 6;
/// How rare a difference has to be.
const ONCE_IN: f64 = 100.0;
/// How great it has to be.
const LEAST_CHANGE: f64 = 0.05;

/// What became of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Less than chance or the least change allows to tell.
    Noise,
    /// More, and for the better.
    Better,
    /// More, and for the worse.
    Worse,
    /// More, without being either.
    Different,
    /// Too few blocks.
    Undecided,
}

/// A measure of both runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// What it is.
    pub name: &'static str,
    /// Median of the blocks before.
    pub before: f64,
    /// Median of the blocks after.
    pub after: f64,
    /// How often chance alone gives such a difference.
    pub p: f64,
    /// What that means.
    pub verdict: Verdict,
}

/// Two runs side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What was chosen differently.
    pub config: Vec<(String, String, String)>,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// What the recounts said.
    pub oracle: (String, String),
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

fn blocks(values: &[f64]) -> Vec<f64> {
    values.chunks_exact(BLOCK_S).map(median).collect()
}

/// How often chance alone gives two samples that differ as much as these: Mann–Whitney, both sides.
#[expect(clippy::cast_precision_loss, reason = "small samples")]
pub fn mann_whitney(one: &[f64], other: &[f64]) -> f64 {
    let (n, m) = (one.len() as f64, other.len() as f64);
    let mut all: Vec<(f64, bool)> = one.iter().map(|&value| (value, true)).collect();
    all.extend(other.iter().map(|&value| (value, false)));
    all.sort_by(|left, right| left.0.total_cmp(&right.0));
    let (mut ranks, mut ties, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let same = all[at..].iter().take_while(|(value, _)| value.total_cmp(&all[at].0).is_eq()).count();
        let rank = at as f64 + (same as f64 + 1.0) / 2.0;
        ranks += rank * all[at..at + same].iter().filter(|(_, of_one)| *of_one).count() as f64;
        ties += (same as f64).powi(3) - same as f64;
        at += same;
    }
    let u = ranks - n * (n + 1.0) / 2.0;
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    // Half a rank less, because ranks are whole numbers and the normal curve is not.
    let z = ((u - n * m / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    2.0 * (1.0 - normal(z))
}

/// Share of the normal distribution below `z`, for `z ≥ 0`: Abramowitz and Stegun, 26.2.17, good to seven digits.
fn normal(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let terms = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum: f64 = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    1.0 - (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum
}

/// Whether less of a measure is better.
#[derive(Clone, Copy, PartialEq)]
enum Good {
    Less,
    More,
    Neither,
}

fn measure(name: &'static str, good: Good, before: &[f64], after: &[f64]) -> Option<Measure> {
    if before.is_empty() || after.is_empty() {
        return None;
    }
    let (one, other) = (blocks(before), blocks(after));
    let (before, after) = (median(before), median(after));
    let decided = one.len() >= LEAST_BLOCKS && other.len() >= LEAST_BLOCKS;
    let p = if decided { mann_whitney(&one, &other) } else { f64::NAN };
    let great = (after - before).abs() >= LEAST_CHANGE * before.abs() && after.total_cmp(&before).is_ne();
    let verdict = match good {
        _ if !decided => Verdict::Undecided,
        _ if p >= 1.0 / ONCE_IN || !great => Verdict::Noise,
        Good::Neither => Verdict::Different,
        Good::Less if after < before => Verdict::Better,
        Good::More if after > before => Verdict::Better,
        _ => Verdict::Worse,
    };
    Some(Measure { name, before, after, p, verdict })
}

/// A measure of the seconds in which people voted, where it has a value.
fn voting(run: &RunResult, of: impl Fn(&SecondRow) -> Option<f64>) -> Vec<f64> {
    // The first and the last second are no whole ones.
    let (from, to) = (run.voting.0.ceil(), run.voting.1.floor());
    #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
    let inside = |row: &&SecondRow| (from..to).contains(&(row.at_s as f64));
    run.seconds.iter().filter(inside).filter_map(of).collect()
}

fn sampled(run: &RunResult, of: impl Fn(&Sample, &Sample) -> Option<f64>) -> Vec<f64> {
    let inside =
        |pair: &&[Sample]| pair[0].at_s >= run.voting.0 && pair[1].at_s <= run.voting.1 && pair[0].pid == pair[1].pid;
    run.samples.windows(2).filter(inside).filter_map(|pair| of(&pair[0], &pair[1])).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts for people")]
fn measures(before: &RunResult, after: &RunResult) -> Vec<Measure> {
    let rows = |name, good, of: &dyn Fn(&SecondRow) -> Option<f64>| {
        measure(name, good, &voting(before, of), &voting(after, of))
    };
    let samples = |name, good, of: &dyn Fn(&Sample, &Sample) -> Option<f64>| {
        measure(name, good, &sampled(before, of), &sampled(after, of))
    };
    [
        rows("acknowledged votes a second", Good::More, &|row| Some(row.acked as f64)),
        rows("tap to ok, p50, ms", Good::Less, &|row| (row.ack.count > 0).then_some(row.ack.p50)),
        rows("tap to ok, p99, ms", Good::Less, &|row| (row.ack.count > 0).then_some(row.ack.p99)),
        rows("tap to frame, p50, ms", Good::Less, &|row| (row.visible.count > 0).then_some(row.visible.p50)),
        rows("tap to frame, p99, ms", Good::Less, &|row| (row.visible.count > 0).then_some(row.visible.p99)),
        rows("frames a second", Good::Neither, &|row| Some(row.frames as f64)),
        rows("refusals a second", Good::Less, &|row| Some(row.refused as f64)),
        samples("server CPU, % of a processor", Good::Less, &|one, other| {
            let seconds = other.at_s - one.at_s;
            (seconds > 0.2).then(|| Some((other.cpu_s? - one.cpu_s?) / seconds * 100.0))?
        }),
        samples("server memory, MiB", Good::Less, &|_, other| Some(other.rss? as f64 / 1_048_576.0)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Compares two runs.
pub fn compare(before: &RunResult, after: &RunResult) -> Comparison {
    let of = |run: &RunResult| serde_json::to_value(&run.config).unwrap_or_default();
    let (one, other) = (of(before), of(after));
    let differs = |(name, value): (&String, &serde_json::Value)| {
        (*value != other[name]).then(|| (name.clone(), value.to_string(), other[name].to_string()))
    };
    let mut config: Vec<_> = one.as_object().into_iter().flatten().filter_map(differs).collect();
    for (name, one, other) in [
        ("server", before.server.to_string(), after.server.to_string()),
        ("machine", format!("{:?}", before.machine), format!("{:?}", after.machine)),
    ] {
        if one != other {
            config.push((name.to_owned(), one, other));
        }
    }
    Comparison { config, measures: measures(before, after), oracle: (before.oracle_line(), after.oracle_line()) }
}

impl Comparison {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for (name, before, after) in &self.config {
            let _ = writeln!(text, "chosen differently: {name}: {before} -> {after}");
        }
        let _ = writeln!(text, "{:<32} {:>12} {:>12} {:>9}  p", "median of seconds", "before", "after", "change");
        for Measure { name, before, after, p, verdict } in &self.measures {
            let change =
                if *before == 0.0 { "–".to_owned() } else { format!("{:+.1} %", (after / before - 1.0) * 100.0) };
            let verdict = match verdict {
                Verdict::Noise => "noise",
                Verdict::Better => "BETTER",
                Verdict::Worse => "WORSE",
                Verdict::Different => "different",
                Verdict::Undecided => "too short to tell",
            };
            let p = if p.is_nan() { "     ".to_owned() } else { format!("{p:.3}") };
            let _ = writeln!(text, "{name:<32} {before:>12.3} {after:>12.3} {change:>9}  {p}  {verdict}");
        }
        let _ = writeln!(text, "before: {}\nafter:  {}", self.oracle.0, self.oracle.1);
        text
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_pcg::Pcg64;

    use super::*;

    fn noisy(random: &mut Pcg64, around: f64) -> Vec<f64> {
        (0..60).map(|_| around * (0.8 + 0.4 * random.random::<f64>())).collect()
    }

    #[test]
    fn the_test_agrees_with_a_table() {
        // n = m = 8 without ties, U = 13: exact p = 0.0499.
        let one = [1.0, 2.0, 3.0, 4.0, 7.0, 9.0, 10.0, 13.0];
        let other = [5.0, 6.0, 8.0, 11.0, 12.0, 14.0, 15.0, 16.0];
        assert!((mann_whitney(&one, &other) - 0.0499).abs() < 0.005, "{}", mann_whitney(&one, &other));
        assert!((mann_whitney(&one, &one) - 1.0).abs() < 1e-6);
        assert!((mann_whitney(&[1.0; 9], &[1.0; 9]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn two_runs_of_the_same_are_noise_nearly_always() {
        let mut random = Pcg64::seed_from_u64(1);
        let changed = (0..400).filter(|_| {
            let (one, other) = (noisy(&mut random, 10.0), noisy(&mut random, 10.0));
            measure("x", Good::Less, &one, &other).is_some_and(|found| found.verdict != Verdict::Noise)
        });
        assert!(changed.count() <= 10);
    }

    #[test]
    fn a_fifth_more_is_seen_and_has_a_direction() {
        let mut random = Pcg64::seed_from_u64(2);
        for _ in 0..50 {
            let (one, other) = (noisy(&mut random, 10.0), noisy(&mut random, 12.0));
            assert_eq!(measure("x", Good::Less, &one, &other).unwrap().verdict, Verdict::Worse);
            assert_eq!(measure("x", Good::More, &one, &other).unwrap().verdict, Verdict::Better);
            assert_eq!(measure("x", Good::Neither, &one, &other).unwrap().verdict, Verdict::Different);
        }
        assert_eq!(measure("x", Good::Less, &[1.0; 5], &[2.0; 5]).unwrap().verdict, Verdict::Undecided);
    }
}
