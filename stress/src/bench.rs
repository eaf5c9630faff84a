//! Measures sockets from outside: this project's server on each of its paths, the least that is possible on this kernel,
//! and others. Everything it measures it starts itself.
//!
//! The server has the first processor, the clients have the second. The figure of merit is the server's CPU time for each
//! message, from `/proc/PID/task/*/schedstat`, and its resident memory for each connection; rates by the wall clock say
//! more of the machine than of the program.
//!
//! **Invariants**
//! - Programs are measured one after the other within a round, and compared within it ([`figures`]).
//! - The client is the same for all of them, and costs one read for each message it gets.

mod client;
mod crowd;
mod curves;
mod dialect;
mod figures;
pub mod floor;
mod growth;
mod kernel;
mod process;
mod sockets;
mod storm;
pub mod subject;
mod table;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::result::write_whole;
use sockets::Plan;
use subject::{Place, Subject};
use table::{Plots, Table};

const INBOUND_SOCKETS: usize = 1000;
const GROWTH_MINUTES: f64 = 10.0;
const CURVE_SECONDS: Duration = Duration::from_secs(3);

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Frames out: CPU per message and lateness
    FanOut,
    /// Votes in: CPU per vote up to its acknowledgement
    Inbound,
    /// Arrivals: CPU per connection, memory of an idle one
    Arrivals,
    /// Memory while frames go out for minutes and some readers do not read
    Growth,
    /// Everybody at once, readers that do not read, one address that floods; fails when those already there suffer
    Storms,
    /// Cost by sockets, rooms and votes, with plots
    Curves,
}

/// What was asked for.
#[derive(Debug, Clone, Args)]
pub struct Request {
    /// What to measure [default: fan-out, inbound, arrivals]
    #[arg(value_enum)]
    what: Vec<What>,
    /// Everything but growth, which takes its own time (add --growth)
    #[arg(long)]
    all: bool,
    /// Also growth, for so many minutes
    #[arg(long, value_name = "MINUTES", num_args = 0..=1, default_missing_value = "10")]
    growth: Option<f64>,
    /// What is compared, the baseline first [default: floor, portable, fast]
    #[arg(long, value_enum, value_delimiter = ',')]
    subjects: Vec<Subject>,
    /// Also `ws` and Socket.IO on Node, whose packages have to be installed in --others
    #[arg(long, conflicts_with = "subjects")]
    with_others: bool,
    /// Rounds, in each of which every program is measured once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: u8,
    /// Seconds that a measurement counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=120))]
    seconds: u8,
    /// Sockets of fan-out, arrivals (the greatest) and growth (the greatest)
    #[arg(long, value_delimiter = ',', default_value = "1000,10000", value_parser = clap::value_parser!(u32).range(300..=200_000))]
    sockets: Vec<u32>,
    /// The server [default: `bareme` beside this program]
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Another build of the server, measured in the same rounds on the fast path
    #[arg(long, value_name = "PROGRAM")]
    before: Option<PathBuf>,
    /// Folder of the programs on Node
    #[arg(long, value_name = "FOLDER", default_value = "stress/others")]
    others: PathBuf,
    /// Where data is written, and deleted; its disk is part of what is measured
    #[arg(long, value_name = "FOLDER", default_value = "target")]
    work: PathBuf,
    /// Where tables (Markdown and JSON) and plots (SVG) go
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
}

/// What is being done, for whoever waits.
fn progress(what: &str) {
    let _nobody_looks = writeln!(std::io::stderr(), "  {what}");
}

impl Request {
    fn wanted(&self) -> Vec<What> {
        let mut what = self.what.clone();
        if self.all {
            what.extend([What::FanOut, What::Inbound, What::Arrivals, What::Storms, What::Curves]);
        }
        if self.growth.is_some() {
            what.push(What::Growth);
        }
        if what.is_empty() {
            what.extend([What::FanOut, What::Inbound, What::Arrivals]);
        }
        let mut seen = Vec::new();
        what.retain(|what| {
            !seen.contains(what) && {
                seen.push(*what);
                true
            }
        });
        what
    }

    fn place(&self) -> Result<Place> {
        let server = match &self.server {
            Some(server) => server.clone(),
            None => std::env::current_exe()?.with_file_name("bareme"),
        };
        if !server.is_file() {
            bail!("there is no server at {}: build it, or name one with --server", server.display());
        }
        std::fs::create_dir_all(&self.work).with_context(|| format!("cannot make {}", self.work.display()))?;
        Ok(Place {
            server: std::path::absolute(server)?,
            before: self.before.as_ref().map(std::path::absolute).transpose()?,
            others: self.others.clone(),
            folder: self.work.clone(),
        })
    }

    /// What is compared: what was named, else all paths that the server has.
    fn subjects(&self, place: &Place) -> Vec<Subject> {
        if !self.subjects.is_empty() {
            return self.subjects.clone();
        }
        let mut subjects = vec![Subject::Floor, Subject::Portable];
        if subject::takes(&place.server, &["--sockets", "fast"]) {
            subjects.push(Subject::Fast);
        } else {
            progress("this server has no fast path: the portable one is measured alone");
        }
        if self.before.is_some() {
            subjects.push(Subject::Before);
        }
        if self.with_others {
            subjects.extend([Subject::Ws, Subject::SocketIo]);
        }
        subjects
    }
}

/// Measures what was asked for and prints it; says whether all of it could be measured and every goal was met.
///
/// # Errors
/// When nothing can be measured here at all, or the output cannot be written.
pub fn run(request: &Request) -> Result<bool> {
    let place = request.place()?;
    process::pin(process::CLIENTS)?;
    let subjects = request.subjects(&place);
    let own: Vec<Subject> = subjects.iter().copied().filter(|subject| *subject != Subject::Floor).collect();
    let plan = Plan {
        place: &place,
        subjects: &subjects,
        rounds: usize::from(request.rounds),
        seconds: Duration::from_secs(request.seconds.into()),
    };
    let mut output = Output { folder: request.out.clone(), text: String::new(), met: true };
    for what in request.wanted() {
        // What takes half an hour does not end because one thing of it could not be measured.
        match measure(what, request, &plan, &own) {
            Ok(tables) => {
                for (table, plots) in tables {
                    output.add(&table, &plots)?;
                }
            }
            Err(error) => output.failed(what, &error)?,
        }
    }
    output.end()
}

type Tables = Vec<(Table, Plots)>;

/// One thing, with all programs.
fn measure(what: What, request: &Request, plan: &Plan<'_>, own: &[Subject]) -> Result<Tables> {
    let most = request.sockets.iter().copied().max().unwrap_or(1000) as usize;
    let alone = |table| vec![(table, Vec::new())];
    Ok(match what {
        What::FanOut => {
            let mut tables = Vec::new();
            for sockets in &request.sockets {
                tables.push((sockets::fan_out_table(plan, *sockets as usize)?, Vec::new()));
            }
            tables
        }
        What::Inbound => alone(sockets::inbound_table(plan, INBOUND_SOCKETS)?),
        What::Arrivals => alone(sockets::arrive_table(plan, most)?),
        What::Growth => {
            let length = Duration::from_secs_f64(request.growth.unwrap_or(GROWTH_MINUTES) * 60.0);
            alone(growth::table(plan.place, own, most, length)?)
        }
        What::Storms => alone(storm::table(plan.place, own)?),
        What::Curves => {
            vec![
                curves::work_table(plan.place, own, CURVE_SECONDS)?,
                curves::votes_table(plan.place, own, CURVE_SECONDS)?,
            ]
        }
    })
}

/// What comes out: each table as soon as it is there, so that a run that is stopped leaves what it has.
struct Output {
    folder: PathBuf,
    text: String,
    met: bool,
}

impl Output {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        std::fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        write_whole(&self.folder.join(name), bytes)
    }

    fn say(&mut self, markdown: &str) -> Result<()> {
        writeln!(std::io::stdout(), "{markdown}").context("cannot write to standard output")?;
        self.text.push_str(markdown);
        self.text.push('\n');
        self.write("sockets.md", self.text.as_bytes())
    }

    fn add(&mut self, table: &Table, plots: &Plots) -> Result<()> {
        self.met &= table.checks.iter().all(|check| check.met);
        self.say(&table.markdown())?;
        self.write(&format!("{}.json", table.name), &serde_json::to_vec_pretty(table)?)?;
        for (name, svg) in plots {
            self.write(&format!("{name}.svg"), svg.as_bytes())?;
        }
        Ok(())
    }

    fn failed(&mut self, what: What, error: &anyhow::Error) -> Result<()> {
        self.met = false;
        self.say(&format!("NOT MEASURED: {what:?}: {error:#}\n"))
    }

    fn end(self) -> Result<bool> {
        let folder: &Path = &self.folder;
        progress(&format!("tables and plots are in {}", folder.display()));
        Ok(self.met)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        request: Request,
    }

    fn wanted(arguments: &[&str]) -> Vec<What> {
        let typed = ["bench"].iter().chain(arguments);
        Typed::try_parse_from(typed).unwrap().request.wanted()
    }

    #[test]
    fn without_a_word_the_three_costs_are_measured() {
        assert_eq!(wanted(&[]), [What::FanOut, What::Inbound, What::Arrivals]);
    }

    #[test]
    fn growth_takes_its_own_time_and_is_asked_for() {
        assert!(!wanted(&["--all"]).contains(&What::Growth));
        assert_eq!(wanted(&["--growth"]), [What::Growth]);
        assert_eq!(wanted(&["storms", "storms", "--growth", "0.5"]), [What::Storms, What::Growth]);
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        let typed = Typed::try_parse_from(["bench", "--server", "/no/such/program"]).unwrap();
        assert!(typed.request.place().unwrap_err().to_string().contains("/no/such/program"));
    }
}
