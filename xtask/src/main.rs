//! The project's commands. `cargo xtask --help` lists them.
//!
//! Each is a list of steps that run in order, with a heading and its time; the first that fails ends the run. The
//! variable `BAREME_BIN` names a program to test instead of a build, such as `target/debug/bareme`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod attack;
mod capacity;
mod cluster;
mod conformance;
mod control_plane;
mod deny;
mod drill;
mod faults;
mod fuzz;
mod go;
mod manifests;
mod monitoring;
mod namespace;
mod paths;
mod pods;
mod served;
mod setup;
mod simulate;
mod standing;
mod steps;
mod traces;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::cluster::Cluster;
use crate::paths::SocketPath;
use crate::steps::{Profile, Steps};

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
    /// Licences, sources and bans of all packages, by deny.toml; and by cargo-deny where it is installed
    Deny {
        /// Security advisories, too: needs cargo-deny, and its database from the network
        #[arg(long)]
        advisories: bool,
    },
    /// Format, lints and Rust tests: the quick round while working
    Quick,
    /// Pages in Chromium, against a release build
    Browser {
        /// How the server serves sockets, if not as it would by itself
        #[arg(long, value_enum)]
        sockets: Option<SocketPath>,
    },
    /// A picture of every screen in every state, language and colour scheme, in target/screenshots
    Screenshots {
        /// Only those whose name has this in it, such as `overlay` or `-en-dark`
        #[arg(default_value = "")]
        part: String,
    },
    /// The AsyncAPI and OpenAPI documents, their examples, and the frames of a real server
    Contracts,
    /// The Autobahn test suite against every socket path of the program
    Conformance {
        /// Cases, if not all, such as `6.4.*`
        cases: Vec<String>,
        /// Without those that move megabytes
        #[arg(long)]
        quick: bool,
    },
    /// Python's `websockets`, and a peer that does it wrong, against a real server on every socket path
    Peers,
    /// Attacks on a real server with few descriptors, on every socket path: a table of what held
    Attack,
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
        /// Another one, with passwords, permissions and TLS as k8s/database/cassandra says
        #[arg(long, global = true)]
        guarded: bool,
        #[command(subcommand)]
        action: cluster::Action,
    },
    /// Three servers behind HAProxy on that cluster, by one command, to try things on; they stay until `down`
    Pods {
        #[command(subcommand)]
        action: standing::Action,
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
        /// How the pods serve sockets, if not as they would by themselves
        #[arg(long, value_enum)]
        sockets: Option<SocketPath>,
    },
    /// Carries connections from one address to another
    #[command(hide = true)]
    Forward {
        /// Where they come in
        listen: String,
        /// Where they go
        to: String,
    },
    /// The engine, or whole servers with their lives, over simulated replicas and faults; every seed must show nothing wrong
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
        /// Only this scenario: one item of the engine, or the lives that admins drive
        #[arg(long)]
        scenario: Option<simulate::Scenario>,
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
    /// Measurements on the machine at hand: of the store, and of sockets beside the least that is possible
    Bench {
        #[command(subcommand)]
        what: Option<Bench>,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Durable votes a second of the embedded store
    Store,
    /// CPU and memory of sockets on every path; `-- --help` shows what there is, `--all` measures it
    Sockets {
        /// For `bareme-stress bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The same beside `ws` and Socket.IO 4 on Node
    Others {
        /// For `bareme-stress bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> Result<()> {
    let command = Arguments::parse().command;
    let profile = match command {
        Command::Test
        | Command::Quick
        | Command::Attack
        | Command::Simulate { .. }
        | Command::Cluster { .. }
        | Command::Drill { .. }
        | Command::S3 => Profile::Checked,
        _ => Profile::Release,
    };
    let steps = Steps::new(profile)?;
    match command {
        Command::Setup => setup::all(&steps),
        Command::Deny { advisories } => deny::run(&steps, advisories),
        Command::Quick => {
            steps.lint()?;
            deny::check(&steps)?;
            steps.rust_tests()
        }
        Command::Browser { sockets } => {
            let steps = steps.on(sockets);
            setup::browser(&steps)?;
            steps.build()?;
            steps.pages()
        }
        Command::Screenshots { part } => {
            setup::browser(&steps)?;
            steps.build()?;
            steps.screenshots(&part)
        }
        Command::Contracts => {
            setup::all(&steps)?;
            steps.build()?;
            steps.contracts()
        }
        Command::Conformance { cases, quick } => {
            steps.build()?;
            conformance::run(&steps, &cases, quick)
        }
        Command::Peers => {
            setup::python(&steps)?;
            steps.build()?;
            steps.peers()
        }
        Command::Attack => {
            setup::balancer(&steps)?;
            steps.build()?;
            attack::run(&steps)
        }
        Command::Fuzz { seed } => {
            setup::python(&steps)?;
            steps.build()?;
            steps.fuzz(seed)
        }
        Command::Monitoring => {
            setup::monitoring(&steps)?;
            steps.build()?;
            monitoring::run(&steps)
        }
        Command::Cluster { guarded, action } => {
            if action.starts_nodes() {
                setup::cluster(&steps, guarded)?;
            }
            let cluster = if guarded { Cluster::guarded(&steps) } else { Cluster::new(&steps) };
            cluster.run(&steps, &action)
        }
        Command::Pods { action } => standing::run(&steps, &action),
        Command::Drill { without_cluster } => drill::run(&steps, without_cluster),
        Command::S3 => drill::s3(&steps),
        Command::Faults { list: true, .. } => {
            faults::list();
            Ok(())
        }
        Command::Faults { names, sockets, .. } => {
            let steps = steps.on(sockets);
            setup::pods(&steps)?;
            steps.build()?;
            faults::run(&steps, &names)
        }
        Command::Forward { listen, to } => namespace::forward(&listen, &to),
        Command::Simulate { seeds, from, mutant: None, mutants: true, .. } => simulate::mutants(&steps, from, seeds),
        Command::Simulate { seeds, from, mutant: Some(mutant), scenario, .. } => {
            simulate::mutant(&steps, from, seeds, scenario, &mutant)
        }
        Command::Simulate { seeds, from, scenario, .. } => simulate::seeds(&steps, from, seeds, scenario),
        Command::Manifests { write } => {
            setup::manifests(&steps)?;
            steps.build()?;
            manifests::run(&steps, write)
        }
        Command::ControlPlane => {
            setup::control_plane(&steps)?;
            control_plane::run(&steps)
        }
        Command::Traces => {
            go::install(&steps)?;
            steps.build()?;
            traces::run(&steps)
        }
        Command::Capacity => capacity::write(steps.root()),
        Command::Bench { what } => {
            steps.build()?;
            match what {
                Some(Bench::Store) => steps.bench_store(),
                Some(Bench::Sockets { arguments }) => steps.bench_sockets(&arguments),
                Some(Bench::Others { mut arguments }) => {
                    setup::others(&steps)?;
                    arguments.push("--with-others".to_owned());
                    steps.bench_sockets(&arguments)
                }
                None => {
                    steps.bench_store()?;
                    steps.bench_sockets(&[])
                }
            }
        }
        Command::Test => test(&steps),
    }
}

/// Everything that has to pass. The Rust tests build the programs that the rest runs.
fn test(steps: &Steps) -> Result<()> {
    setup::all(steps)?;
    steps.lint()?;
    deny::run(steps, false)?;
    steps.rust_tests()?;
    simulate::seeds(steps, 0, simulate::SEEDS, None)?;
    let guarded = Cluster::guarded(steps);
    guarded.with(|| guarded.test(steps))?;
    let cluster = Cluster::new(steps);
    cluster.with(|| {
        cluster.test_whole(steps)?;
        drill::run(steps, false)?;
        faults::run(steps, &[faults::SHORT.to_owned()])
    })?;
    steps.pages()?;
    steps.contracts()?;
    steps.peers()?;
    attack::run(steps)?;
    manifests::run(steps, false)?;
    steps.fuzz(fuzz::SEED)?;
    monitoring::run(steps)?;
    steps.done()
}
