//! What rounds add up to: medians, and ratios of what was measured in the same round.
//!
//! **Invariant**: a ratio is never made of medians. The machine changes from minute to minute and its neighbours with it;
//! two figures are compared only when they were taken one after the other.

use serde::Serialize;

/// The middle of some numbers; the mean of the two middle ones when their count is even, and nothing for none.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// One figure of one program, round by round.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Rounds(pub Vec<f64>);

impl Rounds {
    /// The median.
    pub(super) fn median(&self) -> Option<f64> {
        median(&self.0)
    }

    /// The median, and the least and greatest when there are several.
    pub(super) fn text(&self, digits: usize) -> String {
        let Some(median) = self.median() else { return "–".to_owned() };
        let (least, most) = self
            .0
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
        if self.0.len() < 2 {
            return grouped(median, digits);
        }
        format!("{} ({}–{})", grouped(median, digits), grouped(least, digits), grouped(most, digits))
    }

    /// The median of the ratios to a baseline of the same rounds.
    pub(super) fn over(&self, baseline: &Self) -> Option<f64> {
        let ratios: Vec<f64> =
            self.0.iter().zip(&baseline.0).filter(|(_, base)| **base > 0.0).map(|(value, base)| value / base).collect();
        median(&ratios)
    }

    /// That ratio as a table has it.
    pub(super) fn over_text(&self, baseline: &Self) -> String {
        self.over(baseline).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2} ×"))
    }
}

/// A number with a comma at each thousand.
pub(super) fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut grouped = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_nothing_has_none() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn a_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians() {
        let (measured, floor) = (Rounds(vec![2.0, 12.0, 3.0]), Rounds(vec![1.0, 10.0, 2.0]));
        assert_eq!(measured.over(&floor), Some(1.5));
        assert_eq!(measured.over_text(&floor), "1.50 ×");
    }

    #[test]
    fn a_baseline_of_nothing_makes_no_ratio() {
        assert_eq!(Rounds(vec![1.0]).over(&Rounds(vec![0.0])), None);
        assert_eq!(Rounds::default().over_text(&Rounds::default()), "–");
    }

    #[test]
    fn several_rounds_show_how_far_apart_they_are() {
        assert_eq!(Rounds(vec![1234.0]).text(0), "1,234");
        assert_eq!(Rounds(vec![1.0, 3.0, 2.0]).text(1), "2.0 (1.0–3.0)");
        assert_eq!(Rounds::default().text(1), "–");
    }

    #[test]
    fn thousands_have_commas() {
        assert_eq!(grouped(1_234_567.891, 1), "1,234,567.9");
        assert_eq!(grouped(-1234.0, 0), "-1,234");
        assert_eq!(grouped(999.0, 0), "999");
    }
}
