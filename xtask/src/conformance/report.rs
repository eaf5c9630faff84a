//! What the suite's report says, and whether that is good enough.
//!
//! **Invariant**: nothing passes by silence. A case without a verdict that is known to be good has failed, and a lesser
//! verdict than OK needs a reason here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Cases that may end as NON-STRICT, by path, with the reason.
const EXPLAINED: [(&str, &str, &str); 5] = [
    ("portable", "3", ONE_READ),
    ("portable", "4.1", ONE_READ),
    ("portable", "4.2", ONE_READ),
    ("portable", "5.15", ONE_READ),
    ("portable", "6.4", WHOLE_MESSAGES),
];
const ONE_READ: &str =
    "what came before the wrong frame in the same read is not answered any more, which RFC 6455 allows";
const WHOLE_MESSAGES: &str = "text is looked at when the message is whole, not as it comes, which RFC 6455 allows";

/// One case: the suite's words for what was done, and for how the connection was closed.
#[derive(Debug)]
struct Case {
    behavior: String,
    behavior_close: String,
}

/// The suite gave up waiting for the server to end the connection, behind a close handshake that was in order.
const SLOW_END: &str = "FAILED BY CLIENT";

/// How a case counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    /// The suite has no opinion.
    Informational,
    /// Allowed, but later or otherwise than the suite would.
    NonStrict,
    Failed,
}

impl Case {
    fn verdict(&self) -> Verdict {
        let of = |word: &str| match word {
            "OK" => Verdict::Ok,
            "INFORMATIONAL" => Verdict::Informational,
            "NON-STRICT" => Verdict::NonStrict,
            // FAILED, WRONG CODE, UNCLEAN, FAILED BY CLIENT, UNIMPLEMENTED, no verdict, and whatever is new.
            _ => Verdict::Failed,
        };
        of(&self.behavior).max(of(&self.behavior_close))
    }
}

/// The numbers of a case's name, to sort by: 6.4.10 comes after 6.4.9.
fn order(name: &str) -> Vec<u32> {
    name.split('.').map(|part| part.parse().unwrap_or(u32::MAX)).collect()
}

/// The report of one path.
pub(super) struct Report {
    path: String,
    cases: Vec<(String, Case)>,
}

impl Report {
    /// Reads the suite's `index.json`.
    pub(super) fn read(json: &str, path: &str) -> Result<Self> {
        let agents: Value = serde_json::from_str(json).context("the report cannot be read")?;
        let cases = agents[path].as_object().with_context(|| format!("the report says nothing of {path}"))?;
        // A word that is missing is none that is known to be good.
        let word = |case: &Value, name: &str| case[name].as_str().unwrap_or("no verdict").to_owned();
        let case = |case| Case { behavior: word(case, "behavior"), behavior_close: word(case, "behaviorClose") };
        let mut cases: Vec<_> = cases.iter().map(|(name, value)| (name.clone(), case(value))).collect();
        cases.sort_by_key(|(name, _)| order(name));
        Ok(Self { path: path.to_owned(), cases })
    }

    fn explanation(&self, name: &str) -> Option<&'static str> {
        let found = EXPLAINED.iter().find(|(path, cases, _)| {
            let is_of_group = name.strip_prefix(cases).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            *path == self.path && is_of_group
        });
        found.map(|(_, _, reason)| *reason)
    }

    fn with(&self, verdict: Verdict) -> impl Iterator<Item = &(String, Case)> {
        self.cases.iter().filter(move |(_, case)| case.verdict() == verdict)
    }

    /// Whether there are cases, none failed, and every lesser verdict has a reason.
    pub(super) fn passed(&self) -> bool {
        let mut lesser = self.with(Verdict::NonStrict);
        !self.cases.is_empty()
            && self.with(Verdict::Failed).next().is_none()
            && lesser.all(|(name, _)| self.explanation(name).is_some())
    }

    /// A row for each group, then every case that is not simply right.
    pub(super) fn table(&self) -> String {
        let mut groups: BTreeMap<u32, [usize; 4]> = BTreeMap::new();
        for (name, case) in &self.cases {
            let group = order(name).first().copied().unwrap_or_default();
            groups.entry(group).or_default()[case.verdict() as usize] += 1;
        }
        let mut text = format!("\n| {} | cases | ok | informational | non-strict | failed |\n", self.path);
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        let mut total = [0; 4];
        // Writing to a string cannot fail.
        for (group, counts) in &groups {
            let [ok, informational, lesser, failed] = counts;
            let all: usize = counts.iter().sum();
            let _ = writeln!(text, "| {group}.* | {all} | {ok} | {informational} | {lesser} | {failed} |");
            total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        let [ok, informational, lesser, failed] = total;
        let all = self.cases.len();
        let _ = writeln!(text, "| all | {all} | {ok} | {informational} | {lesser} | {failed} |");
        if self.with(Verdict::Failed).any(|(_, case)| case.behavior_close == SLOW_END) {
            let _ = writeln!(
                text,
                "close: {SLOW_END} means that the connection did not end in time after the close handshake"
            );
        }
        for (name, case) in self.with(Verdict::Failed) {
            let _ = writeln!(text, "{name}: {} (close: {})", case.behavior, case.behavior_close);
        }
        for (name, _) in self.with(Verdict::NonStrict) {
            let reason = self.explanation(name).unwrap_or("nobody has explained it: see conformance/report.rs");
            let _ = writeln!(text, "{name}: NON-STRICT: {reason}");
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cases: &[(&str, &str, &str)]) -> Report {
        let cases: serde_json::Map<String, Value> = cases
            .iter()
            .map(|(name, behavior, close)| {
                let case = serde_json::json!({"behavior": behavior, "behaviorClose": close, "duration": 1});
                ((*name).to_owned(), case)
            })
            .collect();
        Report::read(&serde_json::json!({ "fast": cases }).to_string(), "fast").unwrap()
    }

    #[test]
    fn a_report_of_nothing_but_good_verdicts_passes() {
        let good = report(&[("1.1.1", "OK", "OK"), ("7.13.1", "INFORMATIONAL", "INFORMATIONAL")]);
        assert!(good.passed());
        assert!(good.table().contains("| all | 2 | 1 | 1 | 0 | 0 |"), "{}", good.table());
    }

    #[test]
    fn a_report_of_nothing_does_not_pass() {
        assert!(!report(&[]).passed());
        assert!(Report::read("{}", "fast").is_err());
    }

    #[test]
    fn every_word_that_is_not_known_to_be_good_fails() {
        for word in ["FAILED", "WRONG CODE", "UNCLEAN", "UNIMPLEMENTED", "SOMETHING NEW"] {
            assert!(!report(&[("1.1.1", word, "OK")]).passed(), "{word}");
            assert!(!report(&[("1.1.1", "OK", word)]).passed(), "{word}");
        }
    }

    #[test]
    fn a_lesser_verdict_that_nobody_explained_fails_and_is_listed() {
        let lesser = report(&[("6.4.1", "NON-STRICT", "OK")]);
        assert!(!lesser.passed());
        assert!(lesser.table().contains("6.4.1: NON-STRICT: nobody"), "{}", lesser.table());
    }

    #[test]
    fn cases_are_in_the_order_of_their_numbers() {
        let report = report(&[("6.4.10", "OK", "OK"), ("6.4.9", "OK", "OK"), ("10.1.1", "OK", "OK")]);
        let names: Vec<_> = report.cases.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["6.4.9", "6.4.10", "10.1.1"]);
    }
}
