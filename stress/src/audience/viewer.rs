//! One viewer.

use std::time::Duration;

use tokio::time::Instant;

use crate::oracle::watch::Watch;
use crate::shape::Steps;
use crate::wire::Reader;

/// A frame that counts a note may leave the server before the note's answer does. If none follows within this time, that
/// is what happened: a tally follows within the next tick.
const TICK_PATIENCE: Duration = Duration::from_millis(250);

/// Acknowledged notes of one viewer that wait for their frame; more are given up.
const MAX_WAITING: usize = 256;

/// The one note a viewer wants on a jeu.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) jeu: u32,
    /// Its place in the ledger.
    pub(super) note: usize,
    pub(super) v: u64,
    pub(super) steps: Steps,
    /// When the plan had it.
    pub(super) due: Instant,
}

/// A message on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) wanted: Wanted,
    pub(super) sent_us: u64,
    /// Whether a frame that may count it came before the answer.
    pub(super) shown_early: bool,
}

/// An acknowledged note that waits for the frame that counts it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) jeu: u32,
    pub(super) due: Instant,
    pub(super) sent_us: u64,
    pub(super) answered: Instant,
    pub(super) shown_early: bool,
}

impl Waiting {
    /// How long it took to show, given the next frame that may count it.
    pub(super) fn with_frame(self, now: Instant) -> Duration {
        match self.without_frame() {
            Some(took) if now.saturating_duration_since(self.answered) > TICK_PATIENCE => took,
            _ => now.saturating_duration_since(self.due),
        }
    }

    /// How long it took to show, when no frame follows: only a frame before the answer can have counted it.
    pub(super) fn without_frame(self) -> Option<Duration> {
        self.shown_early.then(|| self.answered.saturating_duration_since(self.due))
    }
}

/// What a viewer may send on a jeu, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    jeu: u32,
    /// A message waits for its answer, or for its turn, until then.
    pub(super) timer: Option<Instant>,
    /// Answers in a row that asked for the same again.
    pub(super) refusals: u32,
}

/// One viewer.
#[derive(Default)]
pub(super) struct Viewer {
    pub(super) token: Option<String>,
    /// Whether the live is on the socket.
    pub(super) ready: bool,
    /// Whether it ever was.
    pub(super) joined: bool,
    pub(super) opened_since: Option<Instant>,
    pub(super) reader: Reader,
    pub(super) out: Vec<u8>,
    pub(super) watch: Watch,
    pub(super) wanted: Vec<Wanted>,
    pub(super) flights: Vec<Flight>,
    /// By jeu; there are a few.
    turns: Vec<Turn>,
    pub(super) waiting: Vec<Waiting>,
    /// Own notes as the server showed them last: jeu, version, steps.
    pub(super) mine: Vec<(u32, u64, Steps)>,
    pub(super) frames: u64,
}

impl Viewer {
    /// The socket ended.
    pub(super) fn end(&mut self) {
        self.ready = false;
        self.opened_since = None;
        self.reader = Reader::default();
        self.out = Vec::new();
        self.watch = Watch::default();
        // What was on its way ended with the socket, and is sent on the next one at once.
        self.turns.iter_mut().for_each(|turn| turn.timer = None);
    }

    pub(super) fn turn(&mut self, jeu: u32) -> &mut Turn {
        let index = self.turns.iter().position(|turn| turn.jeu == jeu).unwrap_or_else(|| {
            self.turns.push(Turn { jeu, timer: None, refusals: 0 });
            self.turns.len() - 1
        });
        &mut self.turns[index]
    }

    /// Waits for the frame that counts a note; returns how many older ones were given up for it.
    pub(super) fn wait(&mut self, waiting: Waiting) -> u64 {
        self.waiting.push(waiting);
        if self.waiting.len() > MAX_WAITING {
            self.waiting.remove(0);
            return 1;
        }
        0
    }

    pub(super) fn show_mine(&mut self, jeu: u32, v: u64, steps: Steps) {
        self.mine.retain(|&(known, ..)| known != jeu);
        self.mine.push((jeu, v, steps));
    }
}
