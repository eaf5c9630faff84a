//! Arguments, and what the process ends with: 0 when thresholds were kept and the recount is clean, 1 otherwise, 2 when
//! it was called wrongly.

mod arguments;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, FromArgMatches as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::compare;
use crate::config::Config;
use crate::report;
use crate::result::{RunResult, write_whole};
use crate::token::Lent;
use arguments::{Cli, Command, Common};

/// What a second Ctrl-C ends with, as shells have it.
const ABORTED: i32 = 130;

/// Runs what was typed; returns the code to end with.
pub fn main() -> u8 {
    let cli = Cli::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => {
            // There is no better place to complain about a broken terminal.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    match act(cli) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(Failure { code, error }) => {
            let _ = writeln!(std::io::stderr(), "bareme-stress: {error:#}");
            code
        }
    }
}

/// Why nothing was measured.
struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: 1, error }
    }
}

fn act(cli: Cli) -> Result<bool, Failure> {
    let usage = |error| Failure { code: 2, error };
    let command = cli.command.unwrap_or_else(Command::default_live);
    match &command {
        Command::Compare { a, b } => {
            let (a, b) = (RunResult::read(a).map_err(usage)?, RunResult::read(b).map_err(usage)?);
            print(&compare::compare(&a, &b).text())?;
            Ok(true)
        }
        Command::Null { listen } => {
            crate::null::serve(*listen).with_context(|| format!("cannot serve at {listen}"))?;
            Ok(true)
        }
        Command::Bench(request) => Ok(crate::bench::run(request)?),
        Command::Floor { listen, tick_ms, frame_bytes } => {
            crate::bench::floor::serve(*listen, Duration::from_millis(*tick_ms), *frame_bytes)?;
            Ok(true)
        }
        Command::Press(request) => {
            let pressed = in_runtime(|interrupted| crate::press::run(request.clone(), interrupted))?;
            pressed.write(&request.out.with_extension("json"))?;
            print(&pressed.text())?;
            Ok(pressed.passed)
        }
        Command::Report { result, out } => {
            let read = RunResult::read(result).map_err(usage)?;
            write_whole(out, report::html(&read).as_bytes())?;
            Ok(true)
        }
        Command::Live(_) | Command::Crowd(_) | Command::Flood(_) | Command::Http(_) => {
            let (config, common) = command.config().map_err(usage)?;
            Ok(run(config, &common)?)
        }
    }
}

fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

fn run(mut config: Config, common: &Common) -> Result<bool> {
    let say = |text: &str| {
        let _nobody_looks = writeln!(std::io::stderr(), "{text}");
    };
    let mut token = common.token.clone().filter(|token| !token.is_empty());
    let mut lent = None;
    if token.is_none() && !common.join {
        lent = Lent::make(&config.urls, &common.data_dir).context("cannot make a token in the data directory")?;
        if let Some(lent) = &lent {
            let folder = common.data_dir.display();
            say(&format!("no --token: made one in {folder} for this run, and revokes it afterwards"));
            token = Some(lent.token.clone());
        }
    }
    config.drive = token.is_some() && !common.join;
    if token.is_none() {
        say(
            "no --token: joins the live that is on air; every viewer asks for its own note, and nobody can see who counts twice",
        );
    }
    let outcome = in_runtime(|interrupted| crate::run::run(config, token, interrupted, common.quiet));
    if let Some(Err(error)) = lent.map(|lent| lent.revoke()) {
        say(&format!("the token of this run could not be revoked: {error:#}; `bareme token list` shows it"));
    }
    let result = outcome?;
    let (json, html) = (common.out.with_extension("json"), common.out.with_extension("html"));
    if let Some(folder) = common.out.parent().filter(|folder| *folder != Path::new("")) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    result.write(&json)?;
    write_whole(&html, report::html(&result).as_bytes())?;
    print(&report::summary(&result))?;
    print(&format!("report {}\nresult {}\n", html.display(), json.display()))?;
    Ok(result.passed)
}

fn in_runtime<T, W>(work: impl FnOnce(watch::Receiver<bool>) -> W) -> Result<T>
where
    W: Future<Output = Result<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let outcome = runtime.block_on(async {
        let (sender, interrupted) = watch::channel(false);
        tokio::spawn(async move {
            // Where signals cannot be had, the system's own handling stays.
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if sender.send_replace(true) {
                    std::process::exit(ABORTED);
                }
                let _nobody_looks =
                    writeln!(std::io::stderr(), "\nending early: waits for answers and recounts; once more to abort");
            }
        });
        work(interrupted).await
    });
    // Workers of a run that failed are not waited for.
    runtime.shutdown_background();
    outcome
}
