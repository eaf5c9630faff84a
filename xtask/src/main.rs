//! The project's commands. `cargo xtask --help` lists them.
//!
//! Each is a list of steps that run in order, with a heading and its time; the first that fails ends the run. The
//! variable `BAREME_BIN` names a program to test instead of a release build, such as `target/debug/bareme`.

mod capacity;
mod cluster;
mod control_plane;
mod faults;
mod fuzz;
mod manifests;
mod monitoring;
mod namespace;
mod pods;
mod served;
mod setup;
mod simulate;
mod standing;
mod steps;
mod traces;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The commands of this project", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything: install what tests need, format, lints, all tests, browser, validators, API fuzzing
    Test,
    /// Install what the tests need (Debian, npm and PyPI packages), and nothing else
    Setup,
    /// Format, lints and Rust tests: the quick round while working
    Quick,
    /// Pages in Chromium, against a release build
    Browser,
    /// A picture of every screen in every state, language and colour scheme, in target/screenshots
    Screenshots {
        /// Only those whose name has this in it, such as `overlay` or `-en-dark`
        #[arg(default_value = "")]
        part: String,
    },
    /// The AsyncAPI and OpenAPI documents, their examples, and the frames of a real server
    Contracts,
    /// Schema-driven fuzzing of the HTTP API
    Fuzz {
        /// Where chance begins; another number finds other cases
        #[arg(long, default_value_t = fuzz::SEED)]
        seed: u32,
    },
    /// Alert rules and dashboards: by promtool, and with a real Prometheus and Alertmanager while a server has faults
    Monitoring,
    /// A real cluster for development and tests: three nodes of Apache Cassandra on 127.0.0.1, .2 and .3
    Cluster {
        #[command(subcommand)]
        action: cluster::Action,
    },
    /// Three servers behind HAProxy on that cluster, by one command, to try things on; they stay until `down`
    Pods {
        #[command(subcommand)]
        action: standing::Action,
    },
    /// Three pods behind HAProxy on the cluster, under load, while something breaks; each note is recounted. With root only
    Faults {
        /// Which, if not all; `--list` shows them
        names: Vec<String>,
        /// Shows what there is
        #[arg(long)]
        list: bool,
    },
    /// Carries connections from one address to another
    #[command(hide = true)]
    Forward {
        /// Where they come in
        listen: String,
        /// Where they go
        to: String,
    },
    /// The engine over simulated replicas and faults; every seed must show nothing wrong
    Simulate {
        /// How many seeds
        #[arg(long, default_value_t = simulate::SEEDS)]
        seeds: u64,
        /// The first seed
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Without this rule of the engine, such as `NoLease`
        #[arg(long)]
        mutant: Option<String>,
        /// Every mutant, each until it is caught or the seeds are used up; prints the table of docs/simulation.md
        #[arg(long, conflicts_with = "mutant")]
        mutants: bool,
    },
    /// Kubernetes manifests, Dockerfile and Compose files: schemas, and whether they say what the program does
    Manifests {
        /// Makes what is made from others: the PrometheusRule, the list of dashboards
        #[arg(long)]
        write: bool,
    },
    /// A real control plane of Kubernetes with simulated nodes: applies every overlay, scales, evicts, rolls out. Builds it
    /// first, a quarter of an hour of one core, once
    ControlPlane,
    /// Traces at a real OpenTelemetry Collector, which is built from its Go modules first
    Traces,
    /// Computes the table of docs/capacity.md anew from the inputs there
    Capacity,
    /// Durable votes a second, CPU per vote over WebSocket, memory per idle connection
    Bench,
}

fn main() -> Result<()> {
    let steps = steps::Steps::new()?;
    match Arguments::parse().command {
        Command::Setup => setup::all(&steps),
        Command::Quick => {
            steps.lint()?;
            steps.rust_tests()
        }
        Command::Browser => {
            setup::browser(&steps)?;
            steps.release()?;
            steps.pages()
        }
        Command::Screenshots { part } => {
            setup::browser(&steps)?;
            steps.release()?;
            steps.screenshots(&part)
        }
        Command::Contracts => {
            setup::all(&steps)?;
            steps.release()?;
            steps.contracts()
        }
        Command::Fuzz { seed } => {
            setup::python(&steps)?;
            steps.release()?;
            steps.fuzz(seed)
        }
        Command::Monitoring => {
            setup::monitoring(&steps)?;
            steps.release()?;
            monitoring::run(&steps)
        }
        Command::Cluster { action } => {
            if action.starts_nodes() {
                setup::cluster(&steps)?;
            }
            cluster::Cluster::new(&steps).run(&steps, &action)
        }
        Command::Pods { action } => standing::run(&steps, &action),
        Command::Faults { list: true, .. } => {
            faults::list();
            Ok(())
        }
        Command::Faults { names, .. } => {
            setup::pods(&steps)?;
            steps.release()?;
            steps.release_stress()?;
            faults::run(&steps, &names)
        }
        Command::Forward { listen, to } => namespace::forward(&listen, &to),
        Command::Simulate { seeds, from, mutant: None, mutants: true } => simulate::mutants(&steps, from, seeds),
        Command::Simulate { seeds, from, mutant, .. } => simulate::seeds(&steps, from, seeds, mutant.as_deref()),
        Command::Manifests { write } => {
            setup::manifests(&steps)?;
            steps.release()?;
            manifests::run(&steps, write)
        }
        Command::ControlPlane => {
            setup::control_plane(&steps)?;
            control_plane::run(&steps)
        }
        Command::Traces => {
            steps.release()?;
            traces::run(&steps)
        }
        Command::Capacity => capacity::write(steps.root()),
        Command::Bench => {
            steps.release()?;
            steps.bench()
        }
        Command::Test => {
            setup::all(&steps)?;
            steps.lint()?;
            steps.rust_tests()?;
            steps.release()?;
            steps.pages()?;
            steps.contracts()?;
            manifests::run(&steps, false)?;
            steps.fuzz(fuzz::SEED)?;
            monitoring::run(&steps)?;
            steps.done()
        }
    }
}
