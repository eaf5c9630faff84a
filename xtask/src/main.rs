//! The project's commands. `cargo xtask --help` lists them.
//!
//! Each is a list of steps that run in order, with a heading and its time; the first that fails ends the run. The
//! variable `BAREME_BIN` names a program to test instead of a release build, such as `target/debug/bareme`.

mod cluster;
mod drill;
mod faults;
mod fuzz;
mod namespace;
mod pods;
mod served;
mod setup;
mod simulate;
mod steps;

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
    /// A real cluster for development and tests: three nodes of Apache Cassandra on 127.0.0.1, .2 and .3
    Cluster {
        #[command(subcommand)]
        action: cluster::Action,
    },
    /// The restore drill on a file, from a bucket and on a cluster: all but the dumps is lost and comes back byte for byte
    Drill {
        /// Leaves the cluster out
        #[arg(long)]
        without_cluster: bool,
    },
    /// Dumps in a bucket, against a real S3 server on loopback, which is built from its Go module the first time
    S3,
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
        Command::Cluster { action } => {
            if action.starts_nodes() {
                setup::cluster(&steps)?;
            }
            cluster::Cluster::new(&steps).run(&steps, &action)
        }
        Command::Drill { without_cluster } => drill::run(&steps, without_cluster),
        Command::S3 => drill::s3(&steps),
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
            steps.fuzz(fuzz::SEED)?;
            steps.done()
        }
    }
}
