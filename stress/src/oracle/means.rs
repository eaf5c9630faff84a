//! Means from histograms in whole numbers, and whether published numbers are those.
//!
//! Written from `docs/protocol.md`, without the server's code: a critere's mean is `min + step · Σ k·nₖ / Σ nₖ`; the
//! overall mean is the weighted mean, over the criteres that have votes, of each critere's mean brought to 0..1, on the
//! scale of the live. Both are published with nine decimals.

use bareme::protocol::TallyFrame;
use serde::Deserialize;

use crate::shape::{NO_STEP, Shape, Steps};

/// A published critere. Read by itself, so that a field the server renames is noticed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PublishedCritere {
    /// Its key.
    pub key: String,
    /// Viewers who rated it.
    pub count: u64,
    /// Mean score.
    pub mean: Option<f64>,
    /// How many chose each step.
    pub histogram: Vec<u64>,
}

/// Published numbers of a jeu, from a frame or from the results.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Published {
    /// Viewers whose note counts.
    pub voters: u64,
    /// Overall mean.
    pub mean: Option<f64>,
    /// Criteres in order.
    pub criteres: Vec<PublishedCritere>,
}

impl From<&TallyFrame> for Published {
    fn from(frame: &TallyFrame) -> Self {
        let critere = |summary: &bareme::domain::tally::CritereSummary| PublishedCritere {
            key: summary.key.clone(),
            count: summary.count,
            mean: summary.mean,
            histogram: summary.histogram.clone(),
        };
        Self { voters: frame.voters, mean: frame.mean, criteres: frame.criteres.iter().map(critere).collect() }
    }
}

/// Counts of one jeu, made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Viewers whose note counts.
    pub voters: u64,
    /// For each critere, how many chose each step.
    pub histograms: Vec<Vec<u64>>,
}

impl Counts {
    /// Nobody has voted.
    pub fn empty(shape: &Shape) -> Self {
        Self {
            voters: 0,
            histograms: shape.criteres.iter().map(|critere| vec![0; usize::from(critere.steps) + 1]).collect(),
        }
    }

    /// Counts a note.
    pub fn add(&mut self, steps: &Steps) {
        self.voters += 1;
        for (histogram, &step) in self.histograms.iter_mut().zip(steps) {
            if step != NO_STEP
                && let Some(count) = histogram.get_mut(usize::from(step))
            {
                *count += 1;
            }
        }
    }
}

/// Fractions of a billionth are kept to this many parts: far finer than the last published digit.
const PARTS: i128 = 1_000_000_000_000;

/// Votes and the sum of their steps.
fn votes_and_sum(histogram: &[u64]) -> (i128, i128) {
    histogram
        .iter()
        .zip(0_i128..)
        .fold((0, 0), |(votes, sum), (&count, k)| (votes + i128::from(count), sum + i128::from(count) * k))
}

/// A critere's exact mean in parts of a billionth; `None` without votes.
fn critere_mean(min: i64, step: i64, histogram: &[u64]) -> Option<i128> {
    let (votes, sum) = votes_and_sum(histogram);
    // min and step are thousandths: a million of them make a billionth's unit.
    (votes > 0).then(|| (i128::from(min) * votes + i128::from(step) * sum) * 1_000_000 * PARTS / votes)
}

/// The exact overall mean in parts of a billionth.
fn overall_mean(shape: &Shape, histograms: &[Vec<u64>]) -> Option<i128> {
    let (mut weighted, mut weights) = (0_i128, 0_i128);
    for (critere, histogram) in shape.criteres.iter().zip(histograms) {
        let (votes, sum) = votes_and_sum(histogram);
        if votes > 0 {
            let weight = i128::from(critere.weight);
            weighted += weight * sum * PARTS * 1_000 / (votes * i128::from(critere.steps));
            weights += weight;
        }
    }
    let range = i128::from(shape.scale_max) - i128::from(shape.scale_min);
    (weights > 0).then(|| (i128::from(shape.scale_min) * PARTS * 1_000 + range * weighted / weights) * 1_000)
}

/// Whether a published mean is the exact one rounded to nine decimals.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "means are below 2^20, with 9 decimals"
)]
fn fits(published: Option<f64>, exact: Option<i128>) -> bool {
    match (published, exact) {
        (None, None) => true,
        (Some(published), Some(exact)) if published.is_finite() => {
            let billionths = published * 1e9;
            let whole = billionths.round();
            let apart = (whole as i128 * PARTS - exact).unsigned_abs() as f64 / PARTS as f64;
            // Half a unit by rounding, and what a double cannot hold of the ninth decimal of a large score.
            (billionths - whole).abs() < 1e-3 && apart <= 0.501
        }
        _ => false,
    }
}

fn shown(exact: Option<i128>) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    exact.map_or_else(|| "none".to_owned(), |exact| format!("{:.9}", exact as f64 / PARTS as f64 / 1e9))
}

/// Whether published numbers agree with themselves: counts with histograms, means with both.
///
/// # Errors
/// What does not agree.
pub fn check_inside(shape: &Shape, published: &Published) -> Result<(), String> {
    let keys: Vec<&str> = published.criteres.iter().map(|critere| critere.key.as_str()).collect();
    if !keys.iter().eq(shape.criteres.iter().map(|critere| &critere.key)) {
        return Err(format!("criteres are {keys:?}"));
    }
    for (critere, shape) in published.criteres.iter().zip(&shape.criteres) {
        let key = &critere.key;
        if critere.histogram.len() != usize::from(shape.steps) + 1 {
            return Err(format!("{key} has a histogram of {} steps", critere.histogram.len()));
        }
        let votes: u64 = critere.histogram.iter().sum();
        if votes != critere.count || votes > published.voters || (!shape.optional && votes != published.voters) {
            return Err(format!(
                "{key} counts {} of {} voters, its histogram {votes}",
                critere.count, published.voters
            ));
        }
        let exact = critere_mean(shape.min, shape.step, &critere.histogram);
        if !fits(critere.mean, exact) {
            return Err(format!("the mean of {key} is {:?}, its histogram says {}", critere.mean, shown(exact)));
        }
    }
    let histograms: Vec<Vec<u64>> = published.criteres.iter().map(|critere| critere.histogram.clone()).collect();
    let exact = overall_mean(shape, &histograms);
    if !fits(published.mean, exact) {
        return Err(format!("the overall mean is {:?}, the histograms say {}", published.mean, shown(exact)));
    }
    Ok(())
}

/// Whether published numbers are those of a recount.
///
/// # Errors
/// What differs.
pub fn check_against(shape: &Shape, published: &Published, counts: &Counts) -> Result<(), String> {
    check_inside(shape, published)?;
    if published.voters != counts.voters {
        return Err(format!("{} voters are published, the recount has {}", published.voters, counts.voters));
    }
    for (critere, histogram) in published.criteres.iter().zip(&counts.histograms) {
        if critere.histogram != *histogram {
            let key = &critere.key;
            return Err(format!("{key} is published as {:?}, the recount has {histogram:?}", critere.histogram));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::shape::tests::{shape, steps};

    /// What an honest server would publish, by floating point, as the server does.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    pub(crate) fn publish(shape: &Shape, counts: &Counts) -> Published {
        let tidy = |mean: f64| (mean * 1e9).round() / 1e9;
        let (mut weighted, mut weights) = (0.0, 0.0);
        let mut criteres = Vec::new();
        for (critere, histogram) in shape.criteres.iter().zip(&counts.histograms) {
            let count: u64 = histogram.iter().sum();
            let sum: u64 = histogram.iter().zip(0..).map(|(votes, k)| votes * k).sum();
            let part = sum as f64 / count as f64;
            if count > 0 {
                weighted += f64::from(critere.weight) * part / f64::from(critere.steps);
                weights += f64::from(critere.weight);
            }
            let mean = (count > 0).then(|| tidy((critere.min as f64 + critere.step as f64 * part) / 1000.0));
            criteres.push(PublishedCritere { key: critere.key.clone(), count, mean, histogram: histogram.clone() });
        }
        let (min, max) = (shape.scale_min as f64 / 1000.0, shape.scale_max as f64 / 1000.0);
        let mean = (weights > 0.0).then(|| tidy(min + (max - min) * weighted / weights));
        Published { voters: counts.voters, mean, criteres }
    }

    fn counts(notes: &[&[u8]]) -> Counts {
        let mut counts = Counts::empty(&shape());
        notes.iter().for_each(|note| counts.add(&steps(note)));
        counts
    }

    #[test]
    fn the_weighted_mean_is_exact() {
        // fun: 3 and 4 of 4 steps, weight 3; graph: 1 of 6, weight 1.
        let counts = counts(&[&[3], &[4, 1]]);
        let exact = overall_mean(&shape(), &counts.histograms).unwrap();
        // 10 · (3·7/8 + 1/6) / 4 = 6.979166666…
        assert_eq!(shown(Some(exact)), "6.979166667");
        assert_eq!(shown(critere_mean(-500, 250, &counts.histograms[1])), "-0.250000000");
    }

    #[test]
    fn honest_numbers_fit_whatever_they_are() {
        use rand::{RngExt as _, SeedableRng as _};
        let mut random = rand_pcg::Pcg64::seed_from_u64(3);
        for round in 0..300 {
            let mut counts = Counts::empty(&shape());
            for count in counts.histograms.iter_mut().flatten() {
                *count = random.random_range(0..1_u64 << (round % 24));
            }
            counts.voters = counts.histograms.iter().map(|histogram| histogram.iter().sum()).max().unwrap();
            let published = publish(&shape(), &counts);
            assert_eq!(check_against(&shape(), &published, &counts), Ok(()), "{counts:?}");
        }
        assert_eq!(check_inside(&shape(), &publish(&shape(), &Counts::empty(&shape()))), Ok(()));
    }

    #[test]
    fn a_mean_that_does_not_follow_from_its_histogram_is_noticed() {
        let counts = counts(&[&[3, 2], &[4, 1], &[0, 6]]);
        let honest = publish(&shape(), &counts);
        let with = |change: &dyn Fn(&mut Published)| {
            let mut published = honest.clone();
            change(&mut published);
            check_against(&shape(), &published, &counts)
        };
        assert_eq!(with(&|_| {}), Ok(()));
        assert!(
            with(&|published| published.mean = published.mean.map(|mean| mean + 2e-9)).unwrap_err().contains("overall")
        );
        assert!(with(&|published| published.mean = None).is_err());
        assert!(with(&|published| published.criteres[0].mean = Some(3.3)).unwrap_err().contains("fun"));
        assert!(with(&|published| published.criteres[1].count = 2).unwrap_err().contains("graph"));
        assert!(with(&|published| published.criteres[1].histogram = vec![3]).is_err());
        assert!(with(&|published| published.voters = 4).unwrap_err().contains("4 voters"));
        assert!(with(&|published| published.criteres.truncate(1)).is_err());
    }
}
