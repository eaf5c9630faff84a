//! `bareme-stress`: parses arguments, runs, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(bareme_stress::cli::main())
}
