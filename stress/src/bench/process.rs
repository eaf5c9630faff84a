//! A program under measurement, on a processor of its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::sampler;

/// The processor of what is measured, and that of the clients.
pub(super) const SERVER: usize = 0;
pub(super) const CLIENTS: usize = 1;

const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// When a program has nothing to do: less than this share of a processor, over [`LOOK`].
const IDLE_SHARE: f64 = 0.02;
const LOOK: Duration = Duration::from_millis(250);
const SETTLES_WITHIN: Duration = Duration::from_secs(20);

/// Keeps this thread, and what it starts from now on, on one processor.
///
/// # Errors
/// When the machine has no such processor: figures would then mean nothing.
pub(super) fn pin(processor: usize) -> Result<()> {
    let mut processors = rustix::thread::CpuSet::new();
    processors.set(processor);
    rustix::thread::sched_setaffinity(None, &processors)
        .with_context(|| format!("cannot use processor {processor}: measuring needs two, one of them for the server"))
}

/// A process that ends with its guard.
pub(super) struct Process {
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// An address of the loopback that nobody listens at.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Process {
    /// Starts a program on the server's processor and waits until it listens.
    pub(super) fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        pin(SERVER)?;
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        pin(CLIENTS)?;
        let mut process = Self { child: spawned.with_context(|| format!("cannot start {command:?}"))? };
        let deadline = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!("the measured program ended at once ({status}): {command:?}");
            }
            if Instant::now() > deadline {
                bail!("the measured program does not listen after {} s: {command:?}", STARTS_WITHIN.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Waits until it does nothing by itself any more. What a program does once after its start, such as to compress its
    /// pages, is no cost of what is measured then.
    pub(super) fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + SETTLES_WITHIN;
        loop {
            let (before, since) = (self.cpu_us()?, Instant::now());
            std::thread::sleep(LOOK);
            let busy_us = self.cpu_us()? - before;
            if busy_us <= IDLE_SHARE * since.elapsed().as_secs_f64() * 1e6 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the measured program still works {} s after its start", SETTLES_WITHIN.as_secs());
            }
        }
    }

    /// CPU time of all its threads, in microseconds.
    pub(super) fn cpu_us(&self) -> Result<f64> {
        let seconds = sampler::cpu_s(&self.child.id().to_string()).context("the measured program has ended")?;
        Ok(seconds * 1e6)
    }

    /// Resident memory in bytes.
    #[expect(clippy::cast_precision_loss, reason = "a process has less than 2^53 bytes")]
    pub(super) fn resident(&self) -> Result<f64> {
        Ok(sampler::rss(self.child.id()).context("the measured program has ended")? as f64)
    }

    /// How many files it has open.
    pub(super) fn open_files(&self) -> Result<usize> {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        Ok(files.context("the measured program has ended")?.count())
    }
}
