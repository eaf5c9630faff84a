//! Grafana's dashboards: their expressions, with the variables that Grafana fills in put in.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// What stands for a variable: a value of the same kind.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "1m"), ("$__range", "1h"), ("$instance", ".*"), ("$job", "bareme")];

/// An expression and where it is from.
pub(crate) struct Panel {
    pub(crate) place: String,
    pub(crate) expression: String,
}

/// The dashboards in a folder, by name.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

/// Every expression of a dashboard.
pub(crate) fn panels(file: &Path) -> Result<Vec<Panel>> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let dashboard: Value =
        serde_json::from_slice(&std::fs::read(file)?).with_context(|| format!("{name} is not JSON"))?;
    panels_of(&name, &dashboard)
}

fn panels_of(name: &str, dashboard: &Value) -> Result<Vec<Panel>> {
    for key in ["title", "uid"] {
        if dashboard[key].as_str().is_none_or(str::is_empty) {
            bail!("{name} has no {key}");
        }
    }
    let mut found = Vec::new();
    let (mut ids, mut taken) = (Vec::new(), Vec::new());
    for panel in dashboard["panels"].as_array().with_context(|| format!("{name} has no panels"))? {
        let title = panel["title"].as_str().with_context(|| format!("a panel of {name} has no title"))?;
        let place = format!("{name}, panel `{title}`");
        let id = panel["id"].as_u64().with_context(|| format!("{place} has no id"))?;
        if ids.contains(&id) {
            bail!("{place}: its id {id} is that of another");
        }
        ids.push(id);
        let side = |key: &str| panel["gridPos"][key].as_u64().with_context(|| format!("{place} has no place: {key}"));
        let (x, y, w, h) = (side("x")?, side("y")?, side("w")?, side("h")?);
        let overlaps = |other: &(u64, u64, u64, u64)| {
            x < other.0 + other.2 && other.0 < x + w && y < other.1 + other.3 && other.1 < y + h
        };
        if x + w > 24 || taken.iter().any(overlaps) {
            bail!("{place} lies over another or beyond the edge");
        }
        taken.push((x, y, w, h));
        if panel["type"] == "row" || panel["type"] == "text" {
            continue;
        }
        let targets = panel["targets"].as_array().filter(|targets| !targets.is_empty());
        for target in targets.with_context(|| format!("{place} shows nothing"))? {
            let given = target["expr"].as_str().with_context(|| format!("{place} has a target without expr"))?;
            let fill = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
            let expression = VARIABLES.iter().fold(given.to_owned(), fill);
            if expression.contains('$') {
                bail!("{place}: a variable is not known in `{given}`");
            }
            found.push(Panel { place: place.clone(), expression });
        }
    }
    Ok(found)
}

/// A file of rules that has every expression, so that promtool parses it. JSON is YAML.
pub(crate) fn as_rules(panels: &[Panel]) -> String {
    let rule =
        |(number, panel): (usize, &Panel)| json!({"record": format!("panel:{number}"), "expr": panel.expression});
    let rules: Vec<_> = panels.iter().enumerate().map(rule).collect();
    json!({"groups": [{"name": "panels", "rules": rules}]}).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn expressions_come_with_their_variables_filled_in_and_what_grafana_would_show_wrong_is_refused() {
        let panel = |id: u64, x: u64, expr: &str| {
            json!({"id": id, "title": format!("P{id}"), "type": "timeseries", "gridPos": {"x": x, "y": 0, "w": 12, "h": 8},
                "targets": [{"expr": expr}]})
        };
        let dashboard = |panels: Value| json!({"title": "T", "uid": "t", "panels": panels});
        let good =
            dashboard(json!([panel(1, 0, "rate(a{instance=~\"$instance\"}[$__rate_interval])"), panel(2, 12, "b")]));
        let found = panels_of("t.json", &good).unwrap();
        assert_eq!(found[0].expression, "rate(a{instance=~\".*\"}[1m])");
        assert_eq!(found[1].place, "t.json, panel `P2`");
        assert!(as_rules(&found).contains("\"record\":\"panel:1\""));
        for (wrong, why) in [
            (json!([panel(1, 0, "a"), panel(1, 12, "b")]), "id 1"),
            (json!([panel(1, 0, "a"), panel(2, 6, "b")]), "lies over"),
            (json!([panel(1, 0, "a[$nobody]")]), "not known"),
        ] {
            let refused = panels_of("t.json", &dashboard(wrong)).err().unwrap().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
