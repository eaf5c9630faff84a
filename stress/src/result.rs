//! The result file: all that was chosen and all that was measured, so that a run can be looked at and compared later.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::config::Config;
use crate::oracle::recount::{Recount, Source};
use crate::sampler::Sample;
use crate::shape::Shape;
use crate::stats::{Counters, Distributions, Points, Second, Times};

/// Format of the file. A reader of another format says so.
pub const FORMAT: u32 = 1;

/// One second of the run, all workers together. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecondRow {
    /// Seconds of the run at its start.
    pub at_s: u64,
    /// Votes that were due.
    pub wanted: u64,
    /// Notes acknowledged.
    pub acked: u64,
    /// Answers other than `ok`.
    pub refused: u64,
    /// Frames heard.
    pub frames: u64,
    /// Connections that failed or were lost.
    pub errors: u64,
    /// Open sockets.
    pub open: u64,
    /// Tap to `ok`.
    pub ack: Points,
    /// Tap to the frame that counts it.
    pub visible: Points,
}

impl SecondRow {
    /// A second as workers measured it.
    pub fn new(second: &Second) -> Self {
        Self {
            at_s: second.second,
            wanted: second.counters.wanted,
            acked: second.counters.acked,
            refused: second.counters.refused(),
            frames: second.counters.frames,
            errors: second.counters.error_count(),
            open: second.open,
            ack: second.ack.points(),
            visible: second.visible.points(),
        }
    }
}

/// Averages of one jeu at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AverageRow {
    /// Seconds of the run.
    pub at_s: f64,
    /// The jeu.
    pub jeu: u32,
    /// Viewers whose note counts.
    pub voters: u64,
    /// Overall mean.
    pub mean: Option<f64>,
}

/// A jeu of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRow {
    /// Number of the jeu.
    pub jeu: u32,
    /// Its title.
    pub title: String,
    /// When it opened, in seconds of the run.
    pub at_s: f64,
    /// Its numbers as they were shown last.
    pub voters: u64,
    /// Overall mean.
    pub mean: Option<f64>,
    /// Means by critere.
    pub criteres: Vec<(String, Option<f64>)>,
}

/// What the run cost, where it can be told. CPU is that of the server's process while people voted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// CPU of the server for each acknowledged vote, in microseconds, everything else it did meanwhile included.
    pub cpu_us_per_vote: Option<f64>,
    /// The same for each message it sent: frames and answers.
    pub cpu_us_per_message: Option<f64>,
    /// Resident memory gained for each socket that opened, in bytes.
    pub rss_per_socket: Option<f64>,
    /// Share of one processor that the server had, while people voted.
    pub server_load: Option<f64>,
    /// CPU of this program for each acknowledged vote, in microseconds: what a server that costs nothing would leave.
    pub own_cpu_us_per_vote: Option<f64>,
    /// Share of one processor that this program had.
    pub own_load: f64,
}

/// A threshold and whether it was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// What was asked for, in words.
    pub what: String,
    /// What was measured.
    pub measured: f64,
    /// What was allowed.
    pub allowed: f64,
    /// Whether it was kept.
    pub kept: bool,
}

/// The machine the tool ran on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// How many.
    pub processors: usize,
    /// Kernel.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        Self {
            processor: name.trim_start_matches([' ', '\t', ':']).to_owned(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Always `bareme-stress`.
    pub kind: String,
    /// [`FORMAT`].
    pub format: u32,
    /// Version of this program.
    pub version: String,
    /// What `/version` of the server says.
    pub server: Value,
    /// Where this program ran.
    pub machine: Machine,
    /// When the run began, microseconds since 1970.
    pub started_at_us: u64,
    /// How long it took.
    pub wall_s: f64,
    /// From when to when people voted, in seconds of the run.
    pub voting: (f64, f64),
    /// Whether somebody ended it early.
    pub interrupted: bool,
    /// Everything that was chosen.
    pub config: Config,
    /// The live.
    pub live: Uuid,
    /// Its scale.
    pub shape: Shape,
    /// How far the estimate of the server's clock may be off.
    pub clock_error_us: u64,
    /// Counts.
    pub counters: Counters,
    /// Points of each distribution, in milliseconds (`frames_per_socket`: thousands).
    pub points: BTreeMap<String, Points>,
    /// Each distribution whole, in microseconds: HdrHistogram V2, compressed, base64.
    pub histograms: BTreeMap<String, String>,
    /// The run second by second.
    pub seconds: Vec<SecondRow>,
    /// The server, second by second.
    pub samples: Vec<Sample>,
    /// Averages over time.
    pub averages: Vec<AverageRow>,
    /// The jeux.
    pub stages: Vec<StageRow>,
    /// What it cost.
    pub cost: Cost,
    /// Last notes of a viewer on a jeu: how many there were, and how many were acknowledged.
    pub last_wishes: (u64, u64),
    /// Distinct sets of numbers that were checked.
    pub frames_checked: u64,
    /// What the recount was made from.
    pub recount_from: Source,
    /// The recount.
    pub recount: Recount,
    /// Thresholds.
    pub thresholds: Vec<Kept>,
    /// Whether thresholds were kept and the recount is clean.
    pub passed: bool,
}

/// Points and whole histograms of all distributions.
pub fn points_and_histograms(all: &Distributions) -> (BTreeMap<String, Points>, BTreeMap<String, String>) {
    let points = all.named().map(|(name, times)| (name.to_owned(), times.points()));
    let histograms = all.named().map(|(name, times)| (name.to_owned(), times.encoded()));
    (points.into_iter().collect(), histograms.into_iter().collect())
}

impl RunResult {
    /// Points of a distribution.
    pub fn points_of(&self, name: &str) -> Points {
        self.points.get(name).copied().unwrap_or_default()
    }

    /// A distribution whole.
    pub fn times_of(&self, name: &str) -> Option<Times> {
        self.histograms.get(name).and_then(|text| Times::decode(text))
    }

    /// Reads a result file.
    ///
    /// # Errors
    /// When it is none, or of another format.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let value: Value =
            serde_json::from_str(&text).with_context(|| format!("{shown} is no result file of bareme-stress"))?;
        if value["kind"] != "bareme-stress" {
            bail!("{shown} is no result file of bareme-stress");
        }
        if value["format"] != FORMAT {
            bail!("{shown} has format {}, this program reads {FORMAT}: use the version that wrote it", value["format"]);
        }
        serde_json::from_value(value).with_context(|| format!("{shown} is damaged"))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_whole(path, &serde_json::to_vec(self)?)
    }
}

/// Writes a file whole or not at all.
///
/// # Errors
/// The file system's.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let shown = path.display();
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes).with_context(|| format!("cannot write {shown}"))?;
    std::fs::rename(&partial, path).with_context(|| format!("cannot write {shown}"))
}
