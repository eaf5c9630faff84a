//! The PrometheusRule is the plain rule file in another wrapping; dashboards are all in their ConfigMap.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

const HEAD: &str = "\
# Made from rules.yaml by `cargo xtask manifests --write`; change that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: bareme
  labels:
    app.kubernetes.io/name: bareme
spec:
";

/// The plain file, indented: every line of it says the same there.
fn wrapped(rules: &str) -> String {
    let mut text = HEAD.to_owned();
    for line in rules.lines() {
        if !line.is_empty() {
            text.push_str("  ");
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// Holds `prometheusrule.yaml` and `kustomization.yaml` against `rules.yaml` and `dashboards/`, or writes them.
pub(super) fn agree(folder: &Path, write: bool) -> Result<()> {
    let rules = std::fs::read_to_string(folder.join("rules.yaml")).context("k8s/monitoring/rules.yaml")?;
    let file = folder.join("prometheusrule.yaml");
    put(&file, &wrapped(&rules), write)?;
    let mut dashboards = Vec::new();
    for entry in std::fs::read_dir(folder.join("dashboards")).context("k8s/monitoring/dashboards")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".json") {
            dashboards.push(name);
        }
    }
    dashboards.sort();
    let file = folder.join("kustomization.yaml");
    let text = std::fs::read_to_string(&file)?;
    put(&file, &listed(&text, &dashboards)?, write)
}

/// The kustomization with these dashboards in its list of files.
fn listed(text: &str, dashboards: &[String]) -> Result<String> {
    let (before, rest) =
        text.split_once("    files:").context("k8s/monitoring/kustomization.yaml has no list of files")?;
    let rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    let after = rest.lines().skip_while(|line| line.starts_with("      - ")).collect::<Vec<_>>().join("\n");
    let files: String = dashboards.iter().map(|name| format!("\n      - dashboards/{name}")).collect();
    let files = if files.is_empty() { " []".to_owned() } else { files };
    Ok(format!("{before}    files:{files}\n{after}\n"))
}

fn put(file: &Path, wanted: &str, write: bool) -> Result<()> {
    if std::fs::read_to_string(file).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    if !write {
        bail!("{} is not what rules.yaml and dashboards/ make: run `cargo xtask manifests --write`", file.display());
    }
    Ok(std::fs::write(file, wanted)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_file_is_the_same_two_columns_further_in() {
        let text = wrapped("groups:\n  - name: a\n\n    rules: []\n");
        assert!(text.ends_with("spec:\n  groups:\n    - name: a\n\n      rules: []\n"), "{text}");
    }

    #[test]
    fn dashboards_are_listed_whatever_was_listed_before() -> Result<()> {
        let names = ["a.json".to_owned(), "b.json".to_owned()];
        let none = "x:\n    files: []\n    options:\n      y: z\n";
        let two = "x:\n    files:\n      - dashboards/a.json\n      - dashboards/b.json\n    options:\n      y: z\n";
        assert_eq!(listed(none, &names)?, two);
        assert_eq!(listed(two, &names)?, two);
        assert_eq!(listed(two, &[])?, none);
        Ok(())
    }
}
