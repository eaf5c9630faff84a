//! What the program is made of: `deny.toml`, held against what Cargo resolved, and by `cargo deny` where it is installed.
//!
//! `cargo deny` takes minutes of every processor to build, so the tests read its file themselves: licences, sources and
//! bans need no network and no database.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::manifests::output;
use crate::steps::{Steps, say};

/// The rules, in the format of `cargo deny`.
const RULES: &str = "deny.toml";

/// The strings of the first list of this name.
fn list(rules: &str, name: &str) -> Vec<String> {
    let begins = |line: &&str| line.trim_start().starts_with(&format!("{name} = ["));
    let Some(at) = rules.lines().position(|line| begins(&line)) else { return Vec::new() };
    let rest: String = rules.lines().skip(at).filter(|line| !line.trim_start().starts_with('#')).collect();
    let inside = rest.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(inside, _)| inside);
    inside.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be kept with these licences. `/` is how OR was written once.
fn is_allowed(expression: &str, allowed: &[String]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let is_allowed = any(&mut rest, allowed)?;
    if rest.is_empty() { Ok(is_allowed) } else { bail!("`{expression}` is no licence expression") }
}

fn any(words: &mut &[&str], allowed: &[String]) -> Result<bool> {
    let mut is_allowed = all(words, allowed)?;
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        is_allowed |= all(words, allowed)?;
    }
    Ok(is_allowed)
}

fn all(words: &mut &[&str], allowed: &[String]) -> Result<bool> {
    let mut is_allowed = one(words, allowed)?;
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        is_allowed &= one(words, allowed)?;
    }
    Ok(is_allowed)
}

fn one(words: &mut &[&str], allowed: &[String]) -> Result<bool> {
    let (first, rest) = words.split_first().context("a licence expression ends too early")?;
    *words = rest;
    if *first == "(" {
        let is_allowed = any(words, allowed)?;
        if words.first() != Some(&")") {
            bail!("a licence expression lacks a parenthesis");
        }
        *words = &words[1..];
        return Ok(is_allowed);
    }
    let mut name = (*first).to_owned();
    if let [with @ "WITH", exception, rest @ ..] = *words {
        name = format!("{name} {with} {exception}");
        *words = rest;
    }
    Ok(allowed.contains(&name))
}

/// What of the packages the rules do not allow.
fn complaints(rules: &str, metadata: &Value) -> Result<Vec<String>> {
    let (licences, registries, banned) = (list(rules, "allow"), list(rules, "allow-registry"), list(rules, "deny"));
    if licences.is_empty() || registries.is_empty() || banned.is_empty() {
        bail!("{RULES} lacks a list");
    }
    let text = |package: &Value, name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().context("cargo metadata names no packages")? {
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        let licence = text(package, "license");
        if !is_allowed(&licence, &licences).with_context(|| name.clone())? {
            found.push(format!("{name}: licence `{licence}` is not in {RULES}"));
        }
        let source = text(package, "source");
        let is_ours = source.is_empty();
        if !is_ours && !registries.iter().any(|registry| source == format!("registry+{registry}")) {
            found.push(format!("{name}: comes from {source}"));
        }
        if banned.contains(&text(package, "name")) {
            found.push(format!("{name}: is banned by {RULES}"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten().filter(|_| is_ours) {
            if dependency["req"] == "*" && dependency["path"].is_null() {
                found.push(format!("{name}: takes any version of {}", text(dependency, "name")));
            }
        }
    }
    Ok(found)
}

/// Holds what Cargo resolved to the rules.
pub(crate) fn check(steps: &Steps) -> Result<()> {
    let rules = std::fs::read_to_string(steps.root().join(RULES))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--locked", "--offline", "--format-version", "1", "--all-features"]);
    let metadata = serde_json::from_slice(&output(cargo.current_dir(steps.root()))?)?;
    let found = complaints(&rules, &metadata)?;
    if !found.is_empty() {
        bail!("what this is made of:\n  {}", found.join("\n  "));
    }
    let count = metadata["packages"].as_array().map_or(0, Vec::len);
    say(&format!("\nlicences, sources and bans of {count} packages are those of {RULES}"));
    Ok(())
}

/// The same, and by `cargo deny` where it is installed; with `advisories` it has to be, and asks its database.
pub(crate) fn run(steps: &Steps, advisories: bool) -> Result<()> {
    check(steps)?;
    let mut asked = Command::new("cargo-deny");
    asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !asked.status().is_ok_and(|status| status.success()) {
        if advisories {
            bail!("advisories need cargo-deny: `cargo install cargo-deny --locked` (some minutes)");
        }
        return Ok(());
    }
    let mut deny = Command::new("cargo-deny");
    deny.args(["check", "bans", "licenses", "sources"]).current_dir(steps.root());
    steps.run("cargo deny", if advisories { deny.arg("advisories") } else { &mut deny })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: &str = "[licenses]\nallow = [\n    # \"GPL-3.0\",\n    \"MIT\",\n    \"ISC\", \"Apache-2.0 WITH LLVM-exception\",\n]\n\
                         [sources]\nallow-registry = [\"https://x/index\"]\n[bans]\ndeny = [\n    { crate = \"bad\" },\n]\n";

    #[test]
    fn expressions_are_kept_by_what_is_allowed() -> Result<()> {
        let allowed = list(RULES, "allow");
        assert_eq!(allowed, ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("ISC AND (GPL-3.0 OR MIT)", true),
            ("GPL-3.0 OR MIT AND ISC", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed)?, expected, "{expression}");
        }
        assert!(is_allowed("", &allowed).is_err() && is_allowed("(MIT", &allowed).is_err());
        Ok(())
    }

    #[test]
    fn each_kind_of_package_that_is_not_wanted_is_named() -> Result<()> {
        let package = |name: &str, licence: &str, source: &str| json!({"name": name, "version": "1.0.0", "license": licence, "source": source, "dependencies": []});
        let registry = "registry+https://x/index";
        let own = json!({"name": "own", "version": "0.1.0", "license": "MIT", "source": null,
            "dependencies": [{"name": "any", "req": "*"}]});
        let packages = [
            package("good", "MIT", registry),
            package("closed", "Proprietary", registry),
            package("forked", "MIT", "git+https://x/forked"),
            package("bad", "MIT", registry),
            own,
        ];
        let found = complaints(RULES, &json!({"packages": packages}))?;
        let named: Vec<_> = found.iter().map(|found| found.split(':').next().unwrap()).collect();
        assert_eq!(named, ["closed 1.0.0", "forked 1.0.0", "bad 1.0.0", "own 0.1.0"], "{found:?}");
        Ok(())
    }
}
