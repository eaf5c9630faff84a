//! Tables: Markdown for the documents, JSON for machines.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

/// One table of a run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Table {
    /// Name of its file.
    pub name: String,
    /// What it shows, and how that was measured.
    pub caption: String,
    /// Heads of columns.
    pub head: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
    /// The numbers behind it.
    pub numbers: Value,
    /// Goals that were met or missed.
    pub checks: Vec<Check>,
}

/// Plots that go with a table: name and SVG.
pub(super) type Plots = Vec<(&'static str, String)>;

/// A goal, and what was reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Check {
    /// What is asked for.
    pub goal: String,
    /// What was measured.
    pub measured: String,
    /// Whether that is good enough.
    pub met: bool,
}

impl Check {
    /// A number that must not be greater than a bound.
    pub(super) fn at_most(goal: impl Into<String>, value: f64, bound: f64, digits: usize) -> Self {
        let measured = format!("{value:.digits$} (at most {bound:.digits$})");
        // What could not be measured is not met.
        Self { goal: goal.into(), measured, met: value <= bound }
    }

    /// A number that must not be less than a bound.
    pub(super) fn at_least(goal: impl Into<String>, value: f64, bound: f64, digits: usize) -> Self {
        let measured = format!("{value:.digits$} (at least {bound:.digits$})");
        Self { goal: goal.into(), measured, met: value >= bound }
    }
}

impl Table {
    /// As a document has it.
    pub(super) fn markdown(&self) -> String {
        // Writing to a string cannot fail.
        let mut text = format!("{}\n\n", self.caption);
        if !self.head.is_empty() {
            let _ = writeln!(text, "| {} |", self.head.join(" | "));
            let _ = writeln!(text, "|{}", " --- |".repeat(self.head.len()));
            for row in &self.rows {
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
        }
        for check in &self.checks {
            let verdict = if check.met { "met" } else { "MISSED" };
            let _ = write!(text, "\n- {verdict}: {}: {}", check.goal, check.measured);
        }
        if !self.checks.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// Words as a row.
pub(super) fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown_and_its_goals_follow() {
        let table = Table {
            name: "x".to_owned(),
            caption: "What it shows.".to_owned(),
            head: row(&["program", "µs"]),
            rows: vec![row(&["floor", "5.2"])],
            numbers: Value::Null,
            checks: vec![Check::at_most("ratio", 1.1, 1.08, 2), Check::at_least("served", 1.0, 0.999, 3)],
        };
        let expected = "What it shows.\n\n| program | µs |\n| --- | --- |\n| floor | 5.2 |\n\n\
                        - MISSED: ratio: 1.10 (at most 1.08)\n- met: served: 1.000 (at least 0.999)\n";
        assert_eq!(table.markdown(), expected);
    }

    #[test]
    fn what_could_not_be_measured_is_missed() {
        assert!(!Check::at_most("x", f64::NAN, 1.0, 1).met && !Check::at_least("x", f64::NAN, 1.0, 1).met);
    }
}
