//! Pods are replaced one after the other, as an update does it, while newcomers knock at the balancer all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Scene;
use crate::pods::PODS;
use crate::served;

/// How often each pod is replaced.
const ROUNDS: usize = 2;
/// Between two newcomers.
const KNOCK: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(10);
/// The channel of the load tool.
const PATH: &str = "/ws/stress";

/// A newcomer: when he knocked and was answered, whether he got a socket, and from which pod (1 to 3).
struct Knock {
    at: Instant,
    answered: Instant,
    status: u16,
    pod: Option<usize>,
}

/// A WebSocket handshake, and what the balancer's cookie says of who answered. The socket ends at once.
fn knock(address: &str) -> Result<Knock> {
    let at = Instant::now();
    let (_ends_at_once, text) = served::knock(address, PATH)?;
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no answer")?;
    let pod = text.split_once("SRV=pod-").and_then(|(_, rest)| rest.get(..1)?.parse().ok());
    Ok(Knock { at, answered: Instant::now(), status, pod })
}

/// Newcomers at the balancer, until they are called off.
struct Newcomers {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Knock>>,
}

impl Newcomers {
    fn send(address: String) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let is_enough = Arc::clone(&enough);
        let thread = std::thread::spawn(move || {
            let mut knocks = Vec::new();
            while !is_enough.load(Ordering::Relaxed) {
                let at = Instant::now();
                knocks.push(knock(&address).unwrap_or_else(|_| Knock {
                    at,
                    answered: Instant::now(),
                    status: 0,
                    pod: None,
                }));
                std::thread::sleep(KNOCK);
            }
            knocks
        });
        Self { enough, thread }
    }

    fn call_off(self) -> Result<Vec<Knock>> {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("newcomers panicked"))
    }
}

/// When a pod (0 to 2) was not ready: from when that was seen until it was started anew.
struct Away {
    pod: usize,
    from: Instant,
    to: Instant,
}

/// Replaces one pod in order; nobody gets in by itself meanwhile.
fn replace(scene: &mut Scene<'_>, index: usize) -> Result<Away> {
    let pod = scene.pods.pod(index);
    let address = pod.address();
    pod.ask_to_stop()?;
    while pod.is_ready() {
        std::thread::sleep(LOOK);
    }
    let from = Instant::now();
    while !pod.has_ended()? {
        // Past the balancer: a pod that stops opens no socket for anybody.
        if let Ok(Knock { status: 101, .. }) = knock(&address) {
            bail!("pod {} is not ready, and opened a socket", index + 1);
        }
        std::thread::sleep(LOOK);
    }
    let to = Instant::now();
    pod.start()?;
    pod.wait()?;
    Ok(Away { pod: index, from, to })
}

/// The fault.
pub(super) fn restart(scene: &mut Scene<'_>) -> Result<String> {
    scene.wait(Duration::from_secs(5))?;
    let newcomers = Newcomers::send(scene.pods.url().trim_start_matches("http://").to_owned());
    let mut away = Vec::new();
    'rounds: for _ in 0..ROUNDS {
        for index in 0..PODS {
            // The balancer looks twice a second; a real roll-out waits longer (minReadySeconds).
            if !scene.wait(Duration::from_secs(3))? {
                break 'rounds;
            }
            away.push(replace(scene, index)?);
        }
    }
    let knocks = newcomers.call_off()?;
    if away.len() < PODS {
        bail!("the audience left after {} restarts", away.len());
    }
    let by_unready = knocks.iter().filter(|knock| {
        // Who was answered later may have been taken by the pod that was started then: the balancer tries again.
        let is_in = |each: &Away| knock.pod == Some(each.pod + 1) && each.from <= knock.at && knock.answered < each.to;
        knock.status == 101 && away.iter().any(is_in)
    });
    let by_unready = by_unready.count();
    let refused = knocks.iter().filter(|knock| knock.status != 101).count();
    let during =
        knocks.iter().filter(|knock| away.iter().any(|each| each.from <= knock.at && knock.at < each.to)).count();
    if by_unready > 0 {
        bail!("{by_unready} of {} newcomers got a socket of a pod that was not ready", knocks.len());
    }
    if knocks.iter().filter(|knock| knock.status == 101).all(|knock| knock.pod.is_none()) {
        bail!("no newcomer learnt which pod answered");
    }
    Ok(format!(
        "{} restarts; {} newcomers, {during} of them while a pod was not ready, none served by it, {refused} turned away",
        away.len(),
        knocks.len()
    ))
}
