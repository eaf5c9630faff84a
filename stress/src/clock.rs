//! Time: one steady clock for latencies, and the server's clock as estimated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Instants of a run, in microseconds by the server's clock.
#[derive(Debug, Clone)]
pub struct Clock {
    start: Instant,
    start_us: u64,
    last_version: Arc<AtomicU64>,
}

/// The time of this machine, in microseconds since 1970.
pub fn local_now_us() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
}

impl Clock {
    /// A clock that starts now; the server's is ahead of this machine's by `ahead_us`.
    pub fn start(ahead_us: i64) -> Self {
        let start_us = local_now_us().saturating_add_signed(ahead_us);
        Self { start: Instant::now(), start_us, last_version: Arc::default() }
    }

    /// When the run began.
    pub fn started(&self) -> Instant {
        self.start
    }

    /// An instant by the server's clock.
    pub fn server_us(&self, at: Instant) -> u64 {
        let since = u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX);
        self.start_us.saturating_add(since)
    }

    /// Whole seconds of the run.
    pub fn second(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_secs()
    }

    /// The instant of a second of the run.
    pub fn instant_of(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    /// A version for a note wanted at `at`: never before the server's time, and never the same twice in a run, so that
    /// a version tells whose note it is.
    pub fn version(&self, at: Instant) -> u64 {
        let now = self.server_us(at);
        let next = |last: u64| now.max(last + 1);
        // The closure always says yes, so both arms are the value before.
        let (Ok(last) | Err(last)) =
            self.last_version.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_instant_differ_and_follow_the_servers_clock() {
        let clock = Clock::start(5_000_000);
        let now = Instant::now();
        let versions: Vec<u64> = (0..100).map(|_| clock.clone().version(now)).collect();
        assert!(versions.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(versions[0] >= local_now_us() + 4_000_000);
    }
}
