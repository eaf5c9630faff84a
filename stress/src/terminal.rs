//! What a run looks like while it runs: a picture that is drawn anew on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use crate::monitor::Board;
use crate::stats::{Counters, Second, Times};

const BAR_CELLS: usize = 40;
const BOLD: &str = "\x1b[1m";
const ACCENT: &str = "\x1b[38;2;255;91;53m";
const QUIET: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// What was measured so far.
#[derive(Default)]
pub struct Progress {
    /// Counts.
    pub counters: Counters,
    /// Tap to `ok`.
    pub ack: Times,
    /// Tap to the frame that counts it.
    pub visible: Times,
    /// Seconds of all workers, put together.
    pub seconds: BTreeMap<u64, Second>,
}

impl Progress {
    /// Takes a worker's second in.
    pub fn take(&mut self, second: &Second) {
        self.counters.merge(&second.counters);
        self.ack.merge(&second.ack);
        self.visible.merge(&second.visible);
        let whole = self.seconds.entry(second.second).or_default();
        whole.second = second.second;
        whole.counters.merge(&second.counters);
        whole.ack.merge(&second.ack);
        whole.visible.merge(&second.visible);
        whole.open += second.open;
    }

    /// Acknowledged votes a second, of the last whole seconds.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn rate(&self) -> f64 {
        let last: Vec<u64> = self.seconds.values().rev().take(3).map(|second| second.counters.acked).collect();
        last.iter().sum::<u64>() as f64 / last.len().max(1) as f64
    }
}

/// Where a run stands.
pub struct View<'a> {
    /// What it does now.
    pub doing: &'a str,
    /// How much of it is done, 0 to 1.
    pub done: f64,
    /// Open sockets.
    pub open: u64,
    /// Notes without an answer.
    pub wanted: u64,
    /// What was measured.
    pub progress: &'a Progress,
    /// Averages.
    pub board: &'a Board,
}

/// Where progress is shown: standard error, so that standard output has the result alone.
pub struct Screen {
    live: bool,
    quiet: bool,
    started: Instant,
    last: Option<Instant>,
    every: Duration,
    lines: usize,
}

impl Screen {
    /// For a run of about this length.
    pub fn new(planned: Duration, quiet: bool) -> Self {
        let live = std::io::stderr().is_terminal();
        // Some sixty lines of a long run are enough to read; on a terminal nothing is added.
        let every = if live { Duration::from_millis(500) } else { (planned / 60).max(Duration::from_secs(1)) };
        Self { live, quiet, started: Instant::now(), last: None, every, lines: 0 }
    }

    /// Says something that stays.
    pub fn say(&mut self, text: &str) {
        let up = if self.lines > 0 { format!("\x1b[{}A\x1b[J", self.lines) } else { String::new() };
        self.lines = 0;
        // Nobody can be told that standard error is closed.
        let _nobody_looks = writeln!(std::io::stderr(), "{up}{text}");
    }

    /// Shows where the run stands, if it is time to.
    pub fn show(&mut self, view: &View<'_>) {
        let now = Instant::now();
        if self.quiet || self.last.is_some_and(|last| now - last < self.every) {
            return;
        }
        self.last = Some(now);
        let elapsed = self.started.elapsed().as_secs();
        let clock = format!("{:02}:{:02}", elapsed / 60, elapsed % 60);
        if self.live {
            let picture = picture(view, &clock);
            let up = if self.lines > 0 { format!("\x1b[{}A\x1b[J", self.lines) } else { String::new() };
            self.lines = picture.lines().count();
            let _nobody_looks = write!(std::io::stderr(), "{up}{picture}");
        } else {
            let _nobody_looks = writeln!(std::io::stderr(), "{clock} {}", line(view));
        }
    }
}

fn numbers(view: &View<'_>) -> String {
    let (ack, visible) = (view.progress.ack.points(), view.progress.visible.points());
    format!(
        "{:.0} votes/s, acked {}, ack p50 {:.1} p99 {:.1} ms, visible p99 {:.0} ms, sockets {}, waiting {}, refused {}, errors {}",
        view.progress.rate(),
        view.progress.counters.acked,
        ack.p50,
        ack.p99,
        visible.p99,
        view.open,
        view.wanted,
        view.progress.counters.refused(),
        view.progress.counters.error_count(),
    )
}

/// Averages of the jeux that have votes, in one line.
fn averages(board: &Board) -> String {
    let mut text = String::new();
    for (jeu, tally) in &board.tallies {
        let mean = tally.mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.2}"));
        // Writing to a string cannot fail.
        let _ = write!(text, " | jeu {jeu}: {mean} ({})", tally.voters);
    }
    text
}

fn line(view: &View<'_>) -> String {
    format!("{:>3.0} % {}: {}{}", view.done * 100.0, view.doing, numbers(view), averages(view.board))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "cells of a bar"
)]
fn picture(view: &View<'_>, clock: &str) -> String {
    let full = (view.done.clamp(0.0, 1.0) * BAR_CELLS as f64).round() as usize;
    let (full, rest) = ("━".repeat(full), "─".repeat(BAR_CELLS - full));
    let percent = view.done * 100.0;
    let mut text =
        format!("{BOLD}{clock}{PLAIN} {ACCENT}{full}{PLAIN}{QUIET}{rest}{PLAIN} {percent:>3.0} %  {}\n", view.doing);
    let _ = writeln!(text, "  {}", numbers(view));
    let titles: BTreeMap<u32, &str> = view
        .board
        .live
        .iter()
        .flat_map(|live| &live.programme)
        .map(|entry| (entry.jeu.jeu_id.0, entry.jeu.details.title.as_str()))
        .collect();
    for (jeu, tally) in &view.board.tallies {
        let mean = tally.mean.map_or_else(|| "   –".to_owned(), |mean| format!("{mean:.2}"));
        let title: String =
            titles.get(jeu).copied().unwrap_or_default().chars().filter(|c| !c.is_control()).take(24).collect();
        let _ = write!(text, "  {BOLD}{mean}{PLAIN}  {title:<24} {QUIET}{:>7}{PLAIN}", tally.voters);
        for critere in tally.criteres.iter().take(6) {
            let mean = critere.mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.2}"));
            let _ = write!(text, "  {QUIET}{}{PLAIN} {mean}", critere.key);
        }
        text.push('\n');
    }
    text
}
