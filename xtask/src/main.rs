//! The project's commands. `cargo xtask --help` lists them.
//!
//! Each is a list of steps that run in order, with a heading and its time; the first that fails ends the run. The
//! variable `BAREME_BIN` names a program to test instead of a release build, such as `target/debug/bareme`.

mod fuzz;
mod served;
mod setup;
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
    /// The AsyncAPI and OpenAPI documents, their examples, and the frames of a real server
    Contracts,
    /// Schema-driven fuzzing of the HTTP API
    Fuzz {
        /// Where chance begins; another number finds other cases
        #[arg(long, default_value_t = fuzz::SEED)]
        seed: u32,
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
