//! Which metrics an expression of PromQL reads, and whether there are such metrics.
//!
//! **Invariant**: a name counts as known only if a running server has it, Prometheus makes it itself, or it is listed
//! here with the reason why a server of this test cannot have it.

use std::collections::BTreeSet;

/// What Prometheus adds to what it scrapes, and to what its rules find.
const OF_PROMETHEUS: [&str; 3] = ["up", "ALERTS", "scrape_duration_seconds"];

/// Of servers on a cluster only: those that `server/src/metrics.rs` names are known.
const ON_A_CLUSTER: &str = "cql_";

/// Words that may stand before `by (…)` as well as before their bracket.
const AGGREGATIONS: [&str; 12] =
    ["sum", "min", "max", "avg", "count", "count_values", "group", "stddev", "stdvar", "topk", "bottomk", "quantile"];

const KEYWORDS: [&str; 15] = [
    "and",
    "or",
    "unless",
    "bool",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "offset",
    "inf",
    "nan",
    "start",
    "end",
];

/// Keywords before a list of labels.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

fn is_word(word: &str) -> bool {
    KEYWORDS.contains(&word) || AGGREGATIONS.contains(&word)
}

/// The names of metrics in an expression that Prometheus has already found to be one.
pub(crate) fn metrics_of(expression: &str) -> BTreeSet<String> {
    let bytes = expression.as_bytes();
    let mut found = BTreeSet::new();
    let mut at = 0;
    let mut labels_follow = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' | b'`' => at = after_text(bytes, at),
            b'{' | b'[' => at = after(bytes, at, if byte == b'{' { b'}' } else { b']' }),
            b'(' if labels_follow => {
                at = after(bytes, at, b')');
                labels_follow = false;
            }
            b'#' => at += bytes[at..].iter().take_while(|byte| **byte != b'\n').count(),
            _ if byte.is_ascii_alphabetic() || byte == b'_' || byte == b':' => {
                let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_:".contains(byte);
                let end = at + bytes[at..].iter().take_while(is_name).count();
                let word = &expression[at..end];
                let next = bytes[end..].iter().find(|byte| !byte.is_ascii_whitespace());
                let lower = word.to_ascii_lowercase();
                if BEFORE_LABELS.contains(&lower.as_str()) {
                    labels_follow = true;
                } else if next != Some(&b'(') && !is_word(&lower) {
                    found.insert(word.to_owned());
                }
                at = end;
            }
            // A number may end in letters, such as 5m or 1e3.
            _ if byte.is_ascii_digit() => {
                at += bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'.').count();
            }
            _ => at += 1,
        }
    }
    found
}

/// Behind a text that begins at `at`.
fn after_text(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let mut next = at + 1;
    while next < bytes.len() && bytes[next] != quote {
        next += if bytes[next] == b'\\' { 2 } else { 1 };
    }
    next + 1
}

/// Behind the bracket that closes the one at `at`; texts in between may hold brackets.
fn after(bytes: &[u8], at: usize, closing: u8) -> usize {
    let mut next = at + 1;
    while next < bytes.len() && bytes[next] != closing {
        next = if b"\"'`".contains(&bytes[next]) { after_text(bytes, next) } else { next + 1 };
    }
    next + 1
}

/// What there is to read.
pub(crate) struct Known {
    served: BTreeSet<String>,
    source: String,
}

impl Known {
    /// What a server's `/metrics` has, and the source that names every metric.
    pub(crate) fn new(exposition: &str, source: &str) -> Self {
        let names = exposition.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
        Self { served: names.map(name).collect(), source: source.to_owned() }
    }

    fn has(&self, metric: &str) -> bool {
        let is_of_cluster = || metric.starts_with(ON_A_CLUSTER) && self.source.contains(&format!("\"{metric}\""));
        self.served.contains(metric) || OF_PROMETHEUS.contains(&metric) || is_of_cluster()
    }

    /// What is wrong with expressions, each with the place it is from.
    pub(crate) fn mistakes<'a>(&self, expressions: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (place, expression) in expressions {
            for metric in metrics_of(expression).into_iter().filter(|metric| !self.has(metric)) {
                mistakes.push(format!("{place}: no server has the metric `{metric}`"));
            }
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_metrics_are_found() {
        let found = |expression: &str| metrics_of(expression).into_iter().collect::<Vec<_>>();
        assert_eq!(found("up{job=\"bareme\"} == 0"), ["up"]);
        assert_eq!(
            found("histogram_quantile(0.99, sum by (le, x) (rate(a_bucket{op=\"b}c\"}[5m]))) > 1e3"),
            ["a_bucket"]
        );
        assert_eq!(
            found("a / on(instance) group_left(version) b_total offset 5m and predict_linear(c[1h], 4 * 3600) < Inf"),
            ["a", "b_total", "c"]
        );
        assert_eq!(found("sum without (pod) (x:y) or vector(1) # z"), ["x:y"]);
        assert_eq!(found("count(ALERTS{alertname=~'Bareme.*'}) unless time() > 0"), ["ALERTS"]);
    }

    #[test]
    fn a_metric_that_no_server_has_is_reported_with_its_place() {
        let known = Known::new("# TYPE store_up gauge\nstore_up 1\na_total{x=\"y\"} 2\n", "describe(\"cql_nodes\")");
        let right = [("rule A", "store_up == 0 or a_total > 1"), ("rule B", "cql_nodes + up")];
        assert_eq!(known.mistakes(right), Vec::<String>::new());
        let wrong = [("rule A", "store_upp == 0"), ("panel B", "rate(cql_noodles[5m])")];
        assert_eq!(
            known.mistakes(wrong),
            ["rule A: no server has the metric `store_upp`", "panel B: no server has the metric `cql_noodles`"]
        );
    }
}
