//! Per jeu: how many voted, and how. Always a fold of the notes.

use serde::{Deserialize, Serialize};

use super::bareme::{Bareme, Critere};
use super::note::Note;

/// Exact counts of one jeu: whole numbers only, so that any order of folding gives the same value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Viewers whose note counts (withdrawn ones do not).
    pub voters: u64,
    /// For each critere of the bareme, how many chose each step.
    pub histograms: Vec<Vec<u64>>,
}

impl Tally {
    /// Nobody has voted.
    pub fn empty(bareme: &Bareme) -> Self {
        let histograms = bareme.criteres.iter().map(|critere| vec![0; usize::from(critere.steps()) + 1]).collect();
        Self { voters: 0, histograms }
    }

    /// Counts a note.
    pub fn add(&mut self, note: &Note) {
        self.change(note, |count| *count += 1);
    }

    /// Takes back a note that was counted.
    pub fn remove(&mut self, note: &Note) {
        self.change(note, |count| *count -= 1);
    }

    fn change(&mut self, note: &Note, apply: impl Fn(&mut u64)) {
        if note.is_withdrawn() {
            return;
        }
        apply(&mut self.voters);
        for (histogram, step) in self.histograms.iter_mut().zip(note.steps()) {
            if let Some(count) = step.and_then(|k| histogram.get_mut(usize::from(k))) {
                apply(count);
            }
        }
    }

    /// The means, for pages and exports.
    pub fn summary(&self, bareme: &Bareme) -> Summary {
        let criteres: Vec<_> = bareme.criteres.iter().zip(&self.histograms).map(CritereSummary::new).collect();
        Summary { voters: self.voters, mean: self.overall(bareme), criteres }
    }

    /// Weighted mean, over the criteres that have votes, of each critere's mean brought to 0..1, on the bareme's scale.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn overall(&self, bareme: &Bareme) -> Option<f64> {
        let (mut weighted, mut weights) = (0.0, 0_u32);
        for (critere, histogram) in bareme.criteres.iter().zip(&self.histograms) {
            let (count, sum) = count_and_sum(histogram);
            if count > 0 {
                weighted += f64::from(critere.weight) * (sum as f64 / (count * u64::from(critere.steps())) as f64);
                weights += critere.weight;
            }
        }
        let scale = bareme.overall_scale();
        let range = scale.max.as_f64() - scale.min.as_f64();
        (weights > 0).then(|| tidy(scale.min.as_f64() + range * weighted / f64::from(weights)))
    }
}

/// Number of votes and sum of steps of a histogram.
fn count_and_sum(histogram: &[u64]) -> (u64, u64) {
    histogram.iter().zip(0_u64..).fold((0, 0), |(count, sum), (&votes, k)| (count + votes, sum + votes * k))
}

/// The one place where a mean is rounded: nine decimals, which removes the noise of binary fractions and nothing a
/// recount could see.
fn tidy(mean: f64) -> f64 {
    (mean * 1e9).round() / 1e9
}

/// What a tally says, in the shape of the API and of the frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Summary {
    /// Viewers whose note counts.
    pub voters: u64,
    /// Overall mean on the bareme's scale; null while nobody has voted.
    pub mean: Option<f64>,
    /// One entry for each critere, in the order of the bareme.
    pub criteres: Vec<CritereSummary>,
}

/// What a tally says of one critere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CritereSummary {
    /// Key of the critere.
    pub key: String,
    /// Viewers who rated it.
    pub count: u64,
    /// Mean score; null while nobody has rated it.
    pub mean: Option<f64>,
    /// How many chose each step, from `min` to `max`.
    pub histogram: Vec<u64>,
}

impl CritereSummary {
    #[expect(clippy::cast_precision_loss, reason = "sums in thousandths stay far below 2^53")]
    fn new((critere, histogram): (&Critere, &Vec<u64>)) -> Self {
        let (count, sum) = count_and_sum(histogram);
        let steps = critere.step.as_thousandths() as f64 * sum as f64;
        let mean = (count > 0).then(|| tidy((critere.min.as_thousandths() as f64 + steps / count as f64) / 1000.0));
        Self { key: critere.key.to_string(), count, mean, histogram: histogram.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bareme::presets;
    use super::super::decimal::Decimal;
    use super::*;

    fn note(bareme: &Bareme, scores: &[(&str, i32)]) -> Note {
        Note::new(bareme, scores.iter().map(|&(key, score)| (key, Decimal::whole(score)))).unwrap()
    }

    #[test]
    fn the_overall_mean_weighs_only_criteres_that_have_votes() {
        let mut bareme = presets().remove(0);
        bareme.criteres[0].weight = 3;
        let mut tally = Tally::empty(&bareme);
        assert_eq!(tally.summary(&bareme).mean, None);
        tally.add(&note(&bareme, &[("fun", 5), ("graph", 1)]));
        // (3·1 + 1·0) / 4 of the way from 1 to 5.
        assert_eq!(tally.summary(&bareme).mean, Some(4.0));
        assert_eq!(tally.summary(&bareme).criteres[2].mean, None);
    }

    #[test]
    fn the_scores_of_the_loop_of_the_readme_give_their_own_means() {
        let bareme = presets().remove(0);
        let mut tally = Tally::empty(&bareme);
        for _ in 0..10_000 {
            tally.add(&note(&bareme, &[("fun", 4), ("graph", 3), ("duree", 5)]));
        }
        let summary = tally.summary(&bareme);
        assert_eq!((summary.voters, summary.mean), (10_000, Some(4.0)));
        let means: Vec<_> = summary.criteres.iter().map(|critere| critere.mean).collect();
        assert_eq!(means, [Some(4.0), Some(3.0), Some(5.0), None, None]);
        assert_eq!(summary.criteres[0].histogram, [0, 0, 0, 10_000, 0]);
    }

    #[test]
    fn removing_what_was_added_leaves_nothing() {
        let bareme = presets().remove(0);
        let mut tally = Tally::empty(&bareme);
        let note = note(&bareme, &[("fun", 2), ("son", 4)]);
        tally.add(&note);
        tally.add(&Note::withdrawn(&bareme));
        assert_eq!(tally.voters, 1);
        tally.remove(&note);
        assert_eq!(tally, Tally::empty(&bareme));
    }
}
