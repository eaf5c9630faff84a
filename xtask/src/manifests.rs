//! What is below `k8s/`, the Dockerfile and the Compose files, held against schemas, against the program, and against each
//! other. Nothing is run in a container: `cargo xtask control-plane` goes further.
//!
//! **Invariant**: whoever finds nothing has looked. Every kind of mistake that the checks are for is made on purpose in
//! [`mutations`], and each has to be reported.

mod containers;
mod facts;
mod mutations;
mod objects;
mod pods;
mod rules;
mod tools;

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use self::containers::Containers;
use self::facts::Facts;
use crate::steps::{Steps, say};

pub(crate) use self::tools::{Python, cache, crds, folders, kubectl, output};

/// What one folder of `k8s/` makes.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    /// The folder, such as `overlays/gke`.
    pub(crate) name: String,
    /// What Kubernetes would be given.
    pub(crate) documents: Vec<Value>,
}

/// A text at a place, or nothing.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list at a place, or an empty one.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What an object is called in complaints.
fn title(document: &Value) -> String {
    format!("{}/{}", text(document, "/kind"), text(document, "/metadata/name"))
}

impl Set {
    /// All of a kind.
    fn kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.documents.iter().filter(move |document| text(document, "/kind") == kind)
    }

    fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.documents
            .iter()
            .find(|document| text(document, "/kind") == kind && text(document, "/metadata/name") == name)
    }
}

/// Everything that is checked.
#[derive(Debug, Clone)]
pub(crate) struct Everything {
    pub(crate) sets: Vec<Set>,
    pub(crate) containers: Containers,
}

/// What is wrong with the meaning of all this; schemas are for [`Python::schemas`].
fn complaints(everything: &Everything, facts: &Facts) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for set in &everything.sets {
        let mut of_set = pods::check(set, facts)?;
        of_set.extend(objects::check(set, facts));
        of_set.extend(objects::database(set, &everything.sets));
        found.extend(of_set.into_iter().map(|complaint| format!("{}: {complaint}", set.name)));
    }
    found.extend(everything.containers.check(facts)?);
    Ok(found)
}

/// Builds and checks everything, then makes the mistakes.
pub(crate) fn run(steps: &Steps, write: bool) -> Result<()> {
    let started = std::time::Instant::now();
    say("\n=== manifests");
    let root = steps.root().join("k8s");
    rules::agree(&root.join("monitoring"), write)?;
    let python = Python::new(steps);
    let kubectl = kubectl()?;
    let mut sets = Vec::new();
    for folder in folders(&root)? {
        let text = kubectl.kustomize(&root.join(&folder))?;
        sets.push(Set { documents: python.read(&steps.target(), &folder, &text)?, name: folder });
    }
    let objects: usize = sets.iter().map(|set| set.documents.len()).sum();
    say(&format!("built {} folders by {}: {objects} objects", sets.len(), kubectl.name()));
    let everything = Everything { sets, containers: Containers::read(steps, &python)? };
    let crds = crds(steps)?;
    let facts = Facts::of(steps)?;
    let mut wrong: Vec<String> = Vec::new();
    let texts: Vec<&[Value]> = everything.sets.iter().map(|set| set.documents.as_slice()).collect();
    for (set, errors) in everything.sets.iter().zip(python.schemas(&crds, &texts)?) {
        wrong.extend(errors.into_iter().map(|error| format!("{}: {error}", set.name)));
    }
    wrong.extend(complaints(&everything, &facts)?);
    if !wrong.is_empty() {
        wrong.sort();
        wrong.dedup();
        bail!("the manifests are wrong:\n  {}", wrong.join("\n  "));
    }
    say(&format!(
        "schemas, settings, images, ports, probes, metrics and names agree ({} metrics known)",
        facts.metrics().len()
    ));
    let made = mutations::run(&everything, &facts, &python, &crds)?;
    say(&format!("{made} deliberate mistakes, each reported"));
    facts.done()?;
    say(&format!("--- manifests: {:.0} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Whether a file is there, for those who name one.
fn is_there(root: &Path, path: &str) -> bool {
    root.join(path).exists()
}
