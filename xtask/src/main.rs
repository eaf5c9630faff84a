//! The project's commands. `cargo xtask --help` lists them.
//!
//! Each is a list of steps that run in order, with a heading and its time; the first that fails ends the run.

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
    /// Schema-driven fuzzing of the HTTP API
    Fuzz,
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
        Command::Fuzz => {
            setup::python(&steps)?;
            steps.release()?;
            steps.fuzz()
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
            steps.fuzz()?;
            steps.done()
        }
    }
}
