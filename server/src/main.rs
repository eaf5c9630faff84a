//! Entry: the only place that ends the process.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(bareme::cli::main())
}
