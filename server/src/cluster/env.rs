//! What the engine takes from outside besides its store: time, chance, and somewhere to run.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use rand::Rng as _;
use tokio::runtime::Handle;
use uuid::Uuid;

/// How often a long wait looks at the clock.
const SLEEP_STEP: Duration = Duration::from_secs(1);

/// Two clocks. Sleeping goes through tokio's timer, which a simulation pauses.
pub trait Clock: Send + Sync + 'static {
    /// Server time, microseconds since 1970: see [`ServerTime`]. It never goes back; it may jump forward.
    fn now_us(&self) -> u64;

    /// Time since some fixed moment. It never jumps back and goes on while the machine is suspended: a lease must not
    /// look young after a night's sleep.
    fn since_boot(&self) -> Duration;

    /// From now on server time is not before `us`, if that is at most [`MAX_FLOOR_LEAD`] ahead of the wall clock.
    fn not_before(&self, _us: u64) {}

    /// How far server time is ahead of the wall clock.
    fn lead(&self) -> Duration {
        Duration::ZERO
    }
}

/// While it is ahead of the wall clock, server time runs slower than the clock since boot by one part in so many: a lead of
/// a second is gone after 50 s, one of an hour after 50 hours. A client that measured its distance to server time in the
/// meantime is wrong by 60 s, which is how far ahead a version may lie, after 50 minutes.
const LEAD_LOST: i64 = 50;

/// How far ahead of the wall clock a stored time may lie and still hold server time up at a start. What lies further ahead
/// was stored under a clock that was set wrong altogether, such as to another year, and a restart is the way out of it.
pub const MAX_FLOOR_LEAD: Duration = Duration::from_secs(24 * 3600);

/// Times are below 2^53 µs everywhere, so that every JSON reader holds them; a wall clock beyond that is not followed.
const MAX_US: u64 = (1 << 53) - 1;

/// Server time: the wall clock, as far as that never goes back.
///
/// It follows the wall clock forward at once, and backward only by running slower ([`LEAD_LOST`]). One atomic, so that
/// every vote may ask for it.
///
/// **Invariant**: of two looks, the later one says the same or more, on whichever threads they are.
#[derive(Debug, Default)]
pub struct ServerTime {
    /// The greatest `now · 50 − boot · 49` of all looks. From it follows the least that server time may be at any moment.
    line: AtomicI64,
}

impl ServerTime {
    /// Server time now, given both clocks in microseconds.
    pub fn now_us(&self, boot_us: u64, wall_us: u64) -> u64 {
        let slow = Self::slow(boot_us);
        let least = (self.line.load(Ordering::Acquire) + slow + LEAD_LOST - 1).div_euclid(LEAD_LOST);
        let now = signed(wall_us).max(least);
        // Another thread may have looked in between: what it said is not undercut.
        let line = now * LEAD_LOST - slow;
        let before = self.line.fetch_max(line, Ordering::AcqRel);
        let now = if before > line { (before + slow + LEAD_LOST - 1).div_euclid(LEAD_LOST) } else { now };
        u64::try_from(now).unwrap_or(0)
    }

    /// From now on server time is not before `us`.
    pub fn not_before(&self, boot_us: u64, us: u64) {
        self.line.fetch_max(signed(us) * LEAD_LOST - Self::slow(boot_us), Ordering::AcqRel);
    }

    /// What the clock since boot adds to the line.
    fn slow(boot_us: u64) -> i64 {
        signed(boot_us) * (LEAD_LOST - 1)
    }
}

fn signed(us: u64) -> i64 {
    i64::try_from(us.min(MAX_US)).unwrap_or(i64::MAX)
}

/// A source of random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Where tasks run. A simulation stops and kills them there, as a pod is stopped and killed.
pub trait Tasks: Send + Sync + 'static {
    /// Runs a task to its end.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

impl Tasks for Handle {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(Handle::spawn(self, task));
    }
}

/// Clock and randomness of one pod. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

impl Env {
    /// The machine's own.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock::default()), entropy: Arc::new(SystemEntropy) }
    }

    /// Server time, microseconds since 1970.
    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Waits by the clock that goes on while the machine is suspended, which a timer does not follow.
    pub async fn sleep(&self, duration: Duration) {
        let until = self.clock.since_boot().saturating_add(duration);
        loop {
            let left = until.saturating_sub(self.clock.since_boot());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(SLEEP_STEP)).await;
        }
    }

    /// A number from 0 to below 1.
    pub fn fraction(&self) -> f64 {
        let mut random = [0; 4];
        self.entropy.fill(&mut random);
        f64::from(u32::from_le_bytes(random)) / (f64::from(u32::MAX) + 1.0)
    }

    /// A new UUIDv7 (RFC 9562 section 5.7).
    pub fn uuid(&self) -> Uuid {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        uuid::Builder::from_unix_timestamp_millis(self.now_us() / 1000, &random).into_uuid()
    }
}

#[derive(Default)]
struct SystemClock(ServerTime);

fn wall_us() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
}

impl SystemClock {
    fn boot_us(&self) -> u64 {
        u64::try_from(self.since_boot().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> u64 {
        self.0.now_us(self.boot_us(), wall_us())
    }

    fn since_boot(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    fn not_before(&self, us: u64) {
        let furthest = wall_us().saturating_add(u64::try_from(MAX_FLOOR_LEAD.as_micros()).unwrap_or(u64::MAX));
        if us <= furthest {
            self.0.not_before(self.boot_us(), us);
        } else {
            tracing::warn!(
                stored_us = us,
                "a time was stored that lies more than a day ahead: the wall clock is believed"
            );
        }
    }

    fn lead(&self) -> Duration {
        Duration::from_micros(self.now_us().saturating_sub(wall_us()))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: u64 = 3_600_000_000;
    const WALL_US: u64 = 1_800_000_000_000_000;

    #[test]
    fn server_time_follows_the_wall_clock_forward_and_never_back() {
        let time = ServerTime::default();
        assert_eq!(time.now_us(1_000, WALL_US), WALL_US);
        assert_eq!(time.now_us(2_000, WALL_US + 1_000), WALL_US + 1_000);
        assert_eq!(time.now_us(3_000, WALL_US + HOUR_US), WALL_US + HOUR_US, "a step forward is followed at once");
        let mut last = WALL_US + HOUR_US;
        // Back by an hour, and on from there with the clock since boot.
        for ms in 1..=10_000 {
            let now = time.now_us(3_000 + ms * 1000, WALL_US + ms * 1000);
            assert!(now > last, "{now} after {last}");
            last = now;
        }
        assert_eq!(last, WALL_US + HOUR_US + 10_000_000 * 49 / 50, "slower, and no slower than that");
    }

    #[test]
    fn a_lead_is_lost_at_one_part_in_fifty_and_then_the_wall_clock_is_followed_again() {
        let time = ServerTime::default();
        time.now_us(0, WALL_US + 1_000_000);
        let at = |s: u64| time.now_us(s * 1_000_000, WALL_US + s * 1_000_000) - (WALL_US + s * 1_000_000);
        assert_eq!([at(0), at(25), at(50), at(51)], [1_000_000, 500_000, 0, 0]);
    }

    #[test]
    fn a_stored_time_holds_server_time_up_and_one_that_is_over_does_not() {
        let time = ServerTime::default();
        time.not_before(500, WALL_US - 1);
        assert_eq!(time.now_us(500, WALL_US), WALL_US);
        time.not_before(500, WALL_US + HOUR_US);
        assert_eq!(time.now_us(500, WALL_US), WALL_US + HOUR_US);
    }

    #[test]
    fn threads_that_look_at_the_same_moment_never_see_it_go_back() {
        let (time, boot_us) = (ServerTime::default(), std::sync::atomic::AtomicU64::new(0));
        let latest = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (time, boot_us, latest) = (&time, &boot_us, &latest);
                scope.spawn(move || {
                    for step in 0..20_000_u64 {
                        let shown = latest.load(Ordering::SeqCst);
                        let boot_us = boot_us.fetch_add(1, Ordering::SeqCst);
                        let jumps_us = (step * 7919 + thread * 104_729) % 1_000_000;
                        let now_us = time.now_us(boot_us, WALL_US + jumps_us);
                        assert!(now_us >= shown, "{now_us} after {shown}");
                        latest.fetch_max(now_us, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn the_machines_clock_is_held_up_by_a_day_at_most() {
        let (clock, before_us) = (SystemClock::default(), wall_us());
        clock.not_before(before_us + 25 * HOUR_US);
        assert!(clock.lead() < Duration::from_secs(3600), "whatever this machine's clock does meanwhile");
        clock.not_before(before_us + 23 * HOUR_US);
        assert!(clock.now_us() >= before_us + 23 * HOUR_US && clock.lead() > Duration::from_secs(22 * 3600));
    }
}
