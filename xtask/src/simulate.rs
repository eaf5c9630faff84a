//! The deterministic simulation, in an optimised build of the library's tests: `docs/simulation.md`.

use anyhow::Result;

use crate::steps::Steps;

/// Seeds of the ordinary test command, for each scenario that it runs.
pub(crate) const SEEDS: u64 = 10_000;

/// What runs on the simulated pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// One item of the engine.
    Engine,
    /// Lives that admins drive.
    Lives,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Lives => "lives",
        }
    }
}

/// Runs seeds that must show nothing wrong, of one scenario or of each.
pub(crate) fn seeds(steps: &Steps, from: u64, seeds: u64, scenario: Option<Scenario>) -> Result<()> {
    let all = [Scenario::Engine, Scenario::Lives];
    let chosen = scenario.map_or(all.to_vec(), |scenario| vec![scenario]);
    for scenario in chosen {
        let heading = format!("simulation of {}", scenario.name());
        run(steps, &heading, "simulate", from, seeds, Some(scenario), None)?;
    }
    Ok(())
}

/// Runs the seeds of one mutant, which must show something wrong.
pub(crate) fn mutant(steps: &Steps, from: u64, seeds: u64, scenario: Option<Scenario>, mutant: &str) -> Result<()> {
    run(steps, "simulation of a mutant", "simulate", from, seeds, scenario, Some(mutant))
}

/// Runs every mutant until it is caught.
pub(crate) fn mutants(steps: &Steps, from: u64, seeds: u64) -> Result<()> {
    run(steps, "simulation: every mutant is caught", "every_mutant_is_caught", from, seeds, None, None)
}

fn run(
    steps: &Steps,
    heading: &str,
    test: &str,
    from: u64,
    seeds: u64,
    scenario: Option<Scenario>,
    mutant: Option<&str>,
) -> Result<()> {
    let mut command = steps.tests(&["--lib", "--", "--ignored", "--exact", "--nocapture"]);
    command.arg(format!("cluster::simulation::runs::{test}"));
    command.env("BAREME_SIMULATE_FROM", from.to_string()).env("BAREME_SIMULATE_SEEDS", seeds.to_string());
    command.env("BAREME_SIMULATE_MUTANT", mutant.unwrap_or_default());
    command.env("BAREME_SIMULATE_SCENARIO", scenario.map_or("", Scenario::name));
    steps.run(heading, &mut command)
}
