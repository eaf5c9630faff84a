//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::bench::Request;
use crate::config::{Config, Scenario, Thresholds};
use crate::plan::viewers_for;
use crate::scores::Taste;

/// How long `live --fast` votes, in seconds.
const FAST_S: f64 = 20.0;

/// Simulates an audience against a running Barème server and recounts every acknowledgement.
///
/// Ends with 0 when the recount is clean and every threshold was kept, with 1 otherwise, with 2 when it was called wrongly.
#[derive(Debug, Parser)]
#[command(name = "bareme-stress", version, max_term_width = 110)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// 10,000 notes in 10 minutes over several jeux, at random moments (this is what happens without a command)
    Live(LiveArgs),
    /// Thousands of sockets that vote in bursts, change their minds, sleep like phones, and leave
    Crowd(CrowdArgs),
    /// So many votes a second, whatever the server does: for finding its limit
    Flood(FloodArgs),
    /// Votes over POST /api/note
    Http(HttpArgs),
    /// Admins on every server press everything at random moments while people vote; every live is recounted
    Press(crate::press::Request),
    /// Says what changed between two runs, and whether it is more than noise
    Compare {
        /// Result file of the run before
        a: PathBuf,
        /// Result file of the run after
        b: PathBuf,
    },
    /// Makes the report of a result file again
    Report {
        /// Result file
        result: PathBuf,
        /// Report to write
        out: PathBuf,
    },
    /// Measures sockets of this project's server, which it starts itself, beside the least that is possible, and others
    Bench(Request),
    /// The least that is possible: what `bench` compares with
    #[command(hide = true)]
    Floor {
        /// Where
        #[arg(long)]
        listen: SocketAddr,
        /// Milliseconds between two frames to everybody; 0: none
        #[arg(long, default_value_t = 0)]
        tick_ms: u64,
        /// Length of a frame
        #[arg(long, default_value_t = 280)]
        frame_bytes: usize,
    },
    /// Answers every note and does nothing else: what this program can offer is measured against it
    #[command(hide = true)]
    Null {
        /// Where
        #[arg(long, default_value = "127.0.0.1:8099")]
        listen: SocketAddr,
    },
}

/// A share from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share from 0 to 1, such as 0.2".to_owned()),
    }
}

/// Seconds, or anything else that is more than nothing.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 10_000_000.0 => Ok(number),
        _ => Err("a number above 0".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=86_400.0).contains(&number) => Ok(number),
        _ => Err("seconds, 0 to 86400".to_owned()),
    }
}

#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// Address of the server; several share the sockets between them
    #[arg(long, env = "STRESS_URL", value_delimiter = ',', default_value = "http://127.0.0.1:8080")]
    url: Vec<String>,
    /// Where the first of them has its metrics [default: of a server of this machine, 1000 ports above; else none are read]
    #[arg(long, value_name = "URL")]
    ops_url: Option<String>,
    /// An admin's token: a live is made, driven and closed, and every counted note is checked
    ///
    /// `bareme token new --name stress --role admin` makes one. Without it, and beside a server of this machine, one is
    /// made in --data-dir for the run.
    #[arg(long, env = "STRESS_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
    /// Data directory of the server, where a token for the run is made if none is given
    #[arg(long, env = "BAREME_DATA_DIR", default_value = "bareme-data", value_name = "FOLDER")]
    pub(super) data_dir: PathBuf,
    /// Slug of the channel [default: `stress`, or with --join that of the only open live]
    #[arg(long)]
    channel: Option<String>,
    /// Joins the live that is on air and that a person drives, instead of making one
    #[arg(long)]
    pub(super) join: bool,
    /// Where chance begins: the same number gives the same votes at the same moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads that simulate viewers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// What the audience thinks of each jeu, in turn: uniform, bell, bell:0.7, polarised, fans
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "bell:0.75,polarised,bell:0.35,fans,uniform",
        value_name = "TASTES"
    )]
    scores: Vec<Taste>,
    /// A rating scale for the live, as the JSON that the admin API takes [default: the server's first ready-made one]
    #[arg(long, value_name = "FILE")]
    bareme: Option<PathBuf>,
    /// Seconds that answers are waited for at the end
    #[arg(long, default_value = "15", value_parser = seconds, value_name = "SECONDS")]
    settle: f64,
    /// The server will go away and come back: lost connections are no failure
    #[arg(long)]
    expect_restarts: bool,
    /// Also looks on at these servers, each a pod of the same live, and measures when all of them show a vote
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    watch: Vec<String>,
    /// Clocks of the servers may be wrong: does not believe what frames say of their time
    #[arg(long)]
    skewed_clocks: bool,
    /// Where the result goes: FILE.json and FILE.html
    #[arg(long, default_value = "stress-report", value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Shows no progress
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Fails when the p99 from a tap to its `ok` is greater
    #[arg(long, value_parser = positive, value_name = "MS")]
    max_ack_p99_ms: Option<f64>,
    /// Fails when the p99 from a tap to the frame that counts it is greater
    #[arg(long, value_parser = positive, value_name = "MS")]
    max_visible_p99_ms: Option<f64>,
    /// Fails when the p99 of connecting is greater
    #[arg(long, value_parser = positive, value_name = "MS")]
    max_connect_p99_ms: Option<f64>,
    /// Fails when more notes than these have no final answer
    #[arg(long, value_name = "COUNT")]
    max_unknown: Option<u64>,
    /// Fails when more connections than these failed or were lost [default: 0, any number with --expect-restarts]
    #[arg(long, value_name = "COUNT")]
    max_errors: Option<u64>,
    /// Fails when a smaller share of viewers' last wishes was acknowledged [default: 0.99; flood: 0]
    #[arg(long, value_parser = share, value_name = "SHARE")]
    min_acked: Option<f64>,
    #[arg(long, hide = true)]
    ports_per_address: Option<u32>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct LiveArgs {
    #[command(flatten)]
    common: Common,
    /// Votes of the whole run
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    notes: u64,
    /// Length of the votes in minutes
    #[arg(long, default_value = "10", value_parser = positive)]
    minutes: f64,
    /// The same votes in 20 seconds
    #[arg(long)]
    fast: bool,
    /// Jeux, one after the other
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    jeux: u32,
    /// Viewers, each with a socket [default: as many as the notes need]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    viewers: Option<u32>,
    /// Changes of mind, as a share of first votes
    #[arg(long, default_value = "0.1", value_parser = share)]
    change: f64,
    /// Share of changes that take the note back
    #[arg(long, default_value = "0.05", value_parser = share)]
    withdraw: f64,
}

#[derive(Debug, Clone, Args)]
pub(super) struct CrowdArgs {
    #[command(flatten)]
    common: Common,
    /// Sockets
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sockets: u32,
    /// Jeux, one after the other
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    jeux: u32,
    /// Seconds over which sockets open; 0: all at once
    #[arg(long, default_value = "10", value_parser = seconds)]
    ramp: f64,
    /// Seconds that a jeu is open
    #[arg(long, default_value = "20", value_parser = positive)]
    stage: f64,
    /// Seconds within which everybody votes after it opened
    #[arg(long, default_value = "10", value_parser = positive)]
    burst: f64,
    /// Share of viewers who change their mind on a jeu
    #[arg(long, default_value = "0.2", value_parser = share)]
    change: f64,
    /// Share of changes that take the note back
    #[arg(long, default_value = "0.05", value_parser = share)]
    withdraw: f64,
    /// Share of viewers whose phone sleeps for some seconds during a jeu
    #[arg(long, default_value = "0.1", value_parser = share)]
    nap: f64,
    /// Share of viewers who leave after a jeu
    #[arg(long, default_value = "0.05", value_parser = share)]
    leave: f64,
}

#[derive(Debug, Clone, Args)]
pub(super) struct FloodArgs {
    #[command(flatten)]
    common: Common,
    /// Votes a second
    #[arg(long, default_value = "1000", value_parser = positive)]
    rate: f64,
    /// For how long
    #[arg(long, default_value = "20", value_parser = positive)]
    seconds: f64,
    /// Sockets, each of one viewer who votes again and again
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sockets: u32,
    /// Jeux, one after the other in that time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    jeux: u32,
    /// Closes each jeu so many seconds before the last votes on it
    #[arg(long, default_value = "0", value_parser = seconds, value_name = "SECONDS")]
    race: f64,
}

#[derive(Debug, Clone, Args)]
pub(super) struct HttpArgs {
    #[command(flatten)]
    common: Common,
    /// Votes a second
    #[arg(long, default_value = "200", value_parser = positive)]
    rate: f64,
    /// For how long
    #[arg(long, default_value = "20", value_parser = positive)]
    seconds: f64,
    /// Connections at most
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Share of votes by somebody who voted before
    #[arg(long, default_value = "0.1", value_parser = share)]
    change: f64,
}

impl Common {
    fn config(&self, scenario: Scenario) -> Result<Config> {
        let bareme = match &self.bareme {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("--bareme: cannot read {}", path.display()))?;
                Some(serde_json::from_str(&text).with_context(|| format!("--bareme: {} is no JSON", path.display()))?)
            }
            None => None,
        };
        let errors = if self.expect_restarts { self.max_errors } else { Some(self.max_errors.unwrap_or(0)) };
        let acked = if scenario == Scenario::Flood { 0.0 } else { 0.99 };
        Ok(Config {
            scenario,
            urls: self.url.clone(),
            ops_url: self.ops_url.clone(),
            channel: self.channel.clone(),
            drive: false,
            seed: self.seed,
            threads: self.threads,
            viewers: 1,
            notes: 0,
            jeux: 1,
            tastes: self.scores.clone(),
            stage_s: 0.0,
            ramp_s: 0.0,
            burst_s: 0.0,
            change: 0.0,
            withdraw: 0.0,
            nap: 0.0,
            leave: 0.0,
            rate: 0.0,
            settle_s: self.settle,
            expect_restarts: self.expect_restarts,
            watch: self.watch.clone(),
            race_s: 0.0,
            skewed_clocks: self.skewed_clocks,
            bareme,
            ports_per_address: self.ports_per_address,
            thresholds: Thresholds {
                ack_p99_ms: self.max_ack_p99_ms,
                visible_p99_ms: self.max_visible_p99_ms,
                connect_p99_ms: self.max_connect_p99_ms,
                unknown: self.max_unknown,
                errors,
                acked_share: Some(self.min_acked.unwrap_or(acked)),
            },
        })
    }
}

impl Command {
    /// `live`, as if it had been typed without anything else.
    pub(super) fn default_live() -> Self {
        Cli::parse_from(["bareme-stress", "live"]).command.unwrap_or_else(Self::default_live)
    }

    /// What was typed, as a run.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "votes of a run, limited by the arguments"
    )]
    pub(super) fn config(self) -> Result<(Config, Common)> {
        match self {
            Self::Live(args) => {
                let total_s = if args.fast { FAST_S } else { args.minutes * 60.0 };
                let viewers = args.viewers.unwrap_or_else(|| viewers_for(args.notes, args.jeux, args.change));
                let config = Config {
                    viewers,
                    notes: args.notes,
                    jeux: args.jeux,
                    stage_s: total_s / f64::from(args.jeux),
                    ramp_s: (total_s / 60.0).clamp(1.0, 10.0),
                    change: args.change,
                    withdraw: args.withdraw,
                    ..args.common.config(Scenario::Live)?
                };
                Ok((config, args.common))
            }
            Self::Crowd(args) => {
                if args.burst > args.stage {
                    bail!(
                        "--burst {} is longer than --stage {}: a jeu closes at the end of its stage",
                        args.burst,
                        args.stage
                    );
                }
                let config = Config {
                    viewers: args.sockets,
                    jeux: args.jeux,
                    stage_s: args.stage,
                    ramp_s: args.ramp,
                    burst_s: args.burst,
                    change: args.change,
                    withdraw: args.withdraw,
                    nap: args.nap,
                    leave: args.leave,
                    ..args.common.config(Scenario::Crowd)?
                };
                Ok((config, args.common))
            }
            Self::Flood(args) => {
                let stage_s = args.seconds / f64::from(args.jeux);
                if args.race >= stage_s {
                    bail!("--race {} is not shorter than the {stage_s:.1} s of one jeu", args.race);
                }
                let config = Config {
                    viewers: args.sockets,
                    rate: args.rate,
                    jeux: args.jeux,
                    race_s: args.race,
                    stage_s,
                    ramp_s: f64::from(args.sockets) / 2000.0,
                    ..args.common.config(Scenario::Flood)?
                };
                Ok((config, args.common))
            }
            Self::Http(args) => {
                let config = Config {
                    viewers: args.connections,
                    rate: args.rate,
                    notes: (args.rate * args.seconds) as u64,
                    stage_s: args.seconds,
                    change: args.change,
                    ..args.common.config(Scenario::Http)?
                };
                Ok((config, args.common))
            }
            Self::Press(_)
            | Self::Compare { .. }
            | Self::Report { .. }
            | Self::Null { .. }
            | Self::Bench(_)
            | Self::Floor { .. } => {
                bail!("no run")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn config(arguments: &[&str]) -> Result<Config> {
        let typed = ["bareme-stress"].iter().chain(arguments);
        Cli::try_parse_from(typed)?.command.unwrap_or_else(Command::default_live).config().map(|(config, _)| config)
    }

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_is_the_live_of_the_brief() {
        let config = config(&[]).unwrap();
        assert_eq!((config.scenario, config.notes, config.planned_s()), (Scenario::Live, 10_000, 600.0));
    }

    #[test]
    fn fast_is_the_same_votes_in_less_time() {
        let (slow, fast) = (config(&["live"]).unwrap(), config(&["live", "--fast"]).unwrap());
        assert_eq!((fast.notes, fast.viewers, fast.jeux), (slow.notes, slow.viewers, slow.jeux));
        assert!(fast.planned_s() <= 20.0);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            &["crowd", "--burst", "30", "--stage", "10"][..],
            &["crowd", "--nap", "1.5"],
            &["flood", "--rate", "0"],
            &["flood", "--seconds", "10", "--jeux", "5", "--race", "2"],
            &["live", "--scores", "love"],
            &["live", "--bareme", "/no/such/file"],
            &["live", "--jeux", "0"],
        ] {
            assert!(config(wrong).is_err(), "{wrong:?}");
        }
    }
}
