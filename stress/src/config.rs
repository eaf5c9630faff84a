//! What a run does: everything that was chosen, and nothing secret, as the result file keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::scores::Taste;

/// Which audience is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// A number of notes, spread over several jeux and some minutes.
    Live,
    /// Many sockets that vote in bursts, change their minds, sleep and leave.
    Crowd,
    /// As many votes a second as were asked for, whatever the server does.
    Flood,
    /// Votes over `POST /api/note`.
    Http,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Crowd => "crowd",
            Self::Flood => "flood",
            Self::Http => "http",
        })
    }
}

/// What a run has to keep so that it ends well. What is `None` is not asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Greatest p99 from a tap to its `ok`, in milliseconds.
    pub ack_p99_ms: Option<f64>,
    /// Greatest p99 from a tap to the frame that counts it, in milliseconds.
    pub visible_p99_ms: Option<f64>,
    /// Greatest p99 of connecting, in milliseconds.
    pub connect_p99_ms: Option<f64>,
    /// Most notes without an answer at the end.
    pub unknown: Option<u64>,
    /// Most connections that failed or were lost.
    pub errors: Option<u64>,
    /// Least share of viewers' last wishes that were acknowledged, 0 to 1.
    pub acked_share: Option<f64>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Which audience.
    pub scenario: Scenario,
    /// Servers; sockets are dealt out to them in turn.
    pub urls: Vec<String>,
    /// Where the first server has its metrics; `None`: beside it, if it is of this machine.
    #[serde(default)]
    pub ops_url: Option<String>,
    /// Slug of the channel.
    pub channel: Option<String>,
    /// Whether it drives a live of its own, which needs an admin's token.
    pub drive: bool,
    /// Where chance begins.
    pub seed: u64,
    /// Threads that simulate viewers.
    pub threads: u32,
    /// Viewers, each with a socket (for `http`: connections).
    pub viewers: u32,
    /// Votes of the whole run (`live`, `http`).
    pub notes: u64,
    /// Jeux, one after the other.
    pub jeux: u32,
    /// What the audience thinks of each jeu, in turn.
    pub tastes: Vec<Taste>,
    /// Length of one jeu in seconds.
    pub stage_s: f64,
    /// Sockets open over this time; 0: all at once.
    pub ramp_s: f64,
    /// After a jeu opened, everybody votes within this time (`crowd`).
    pub burst_s: f64,
    /// Share of viewers who change their mind on a jeu.
    pub change: f64,
    /// Share of viewers who take a note back.
    pub withdraw: f64,
    /// Share of viewers whose phone sleeps during a jeu.
    pub nap: f64,
    /// Share of viewers who leave during a jeu.
    pub leave: f64,
    /// Votes a second (`flood`, `http`).
    pub rate: f64,
    /// How long answers are waited for at the end.
    pub settle_s: f64,
    /// Whether the server is expected to go away and come back.
    pub expect_restarts: bool,
    /// Servers at which a socket looks on, to tell when all of them show a note.
    #[serde(default)]
    pub watch: Vec<String>,
    /// Votes go on for so many seconds after each jeu was asked to close (`flood`).
    #[serde(default)]
    pub race_s: f64,
    /// Whether the servers' clocks may be wrong: what frames say of their time is not believed.
    #[serde(default)]
    pub skewed_clocks: bool,
    /// The rating scale of the live that it makes; `None`: the server's first ready-made one.
    pub bareme: Option<serde_json::Value>,
    /// Ports that one source address gives, if not what the system says.
    pub ports_per_address: Option<u32>,
    /// What the run has to keep.
    pub thresholds: Thresholds,
}

impl Config {
    /// Length of the votes, in seconds.
    pub fn planned_s(&self) -> f64 {
        self.stage_s * f64::from(self.jeux)
    }

    /// What the audience thinks of the jeu at this place of the programme.
    pub fn taste(&self, stage: usize) -> Taste {
        let taste = self.tastes.get(stage % self.tastes.len().max(1));
        taste.copied().unwrap_or(Taste::Uniform)
    }
}
