//! What the engine takes from outside besides its store: time, chance, and somewhere to run.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use rand::Rng as _;
use tokio::runtime::Handle;
use uuid::Uuid;

/// How often a long wait looks at the clock.
const SLEEP_STEP: Duration = Duration::from_secs(1);

/// Two clocks. Sleeping goes through tokio's timer, which a simulation pauses.
pub trait Clock: Send + Sync + 'static {
    /// Wall clock, microseconds since 1970. It may jump.
    fn now_us(&self) -> u64;

    /// Time since some fixed moment. It never jumps back and goes on while the machine is suspended: a lease must not
    /// look young after a night's sleep.
    fn since_boot(&self) -> Duration;
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
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }

    /// Wall clock, microseconds since 1970.
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

struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
    }

    fn since_boot(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}
