//! How far long work is, on standard error: one line that changes on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::archive::Stage;

/// How often a terminal is written to.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(100);

/// How often a log is: work that takes less leaves no line.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Tells how far something is.
pub(super) struct Progress {
    what: String,
    is_terminal: bool,
    state: Mutex<State>,
}

struct State {
    told: Instant,
    is_open: bool,
}

impl Progress {
    pub(super) fn new(what: impl Into<String>) -> Self {
        let state = State { told: Instant::now(), is_open: false };
        Self { what: what.into(), is_terminal: std::io::stderr().is_terminal(), state: Mutex::new(state) }
    }

    /// As the archive tells it.
    pub(super) fn stage(&self, stage: Stage, done: u64, of: u64) {
        let (doing, unit) = match stage {
            Stage::Writing => ("writing", "notes"),
            Stage::Checking => ("checking", "notes"),
            Stage::Restoring => ("restoring", "notes"),
        };
        self.tell(doing, unit, done, of);
    }

    /// So many units of so many are done.
    pub(super) fn tell(&self, doing: &str, unit: &str, done: u64, of: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = if self.is_terminal { TERMINAL_INTERVAL } else { PLAIN_INTERVAL };
        if state.told.elapsed() < interval {
            return;
        }
        state.told = Instant::now();
        let percent = (done * 100).checked_div(of).unwrap_or(100).min(100);
        let line = format!("{}: {doing}, {percent} % ({done} of {of} {unit})", self.what);
        let mut out = std::io::stderr().lock();
        // Whoever closed it does not want to know.
        let _ = if self.is_terminal { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
        state.is_open = self.is_terminal;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.is_open {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
