//! The deterministic simulation, in an optimised build of the library's tests: `docs/simulation.md`.

use anyhow::Result;

use crate::steps::Steps;

/// Seeds of the ordinary test command.
pub(crate) const SEEDS: u64 = 10_000;

/// Runs seeds that must show nothing wrong, or those of one mutant, which must show something.
pub(crate) fn seeds(steps: &Steps, from: u64, seeds: u64, mutant: Option<&str>) -> Result<()> {
    run(steps, "simulation", "simulate", from, seeds, mutant)
}

/// Runs every mutant until it is caught.
pub(crate) fn mutants(steps: &Steps, from: u64, seeds: u64) -> Result<()> {
    run(steps, "simulation: every mutant is caught", "every_mutant_is_caught", from, seeds, None)
}

fn run(steps: &Steps, heading: &str, test: &str, from: u64, seeds: u64, mutant: Option<&str>) -> Result<()> {
    let mut command = steps.tests(&["--lib", "--", "--ignored", "--exact", "--nocapture"]);
    command.arg(format!("cluster::simulation::runs::{test}"));
    command.env("BAREME_SIMULATE_FROM", from.to_string()).env("BAREME_SIMULATE_SEEDS", seeds.to_string());
    command.env("BAREME_SIMULATE_MUTANT", mutant.unwrap_or_default());
    steps.run(heading, &mut command)
}
