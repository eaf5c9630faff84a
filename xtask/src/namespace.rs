//! A pod in a network namespace of its own, with two wires: one to its viewers, one to the cluster, which can be cut.
//!
//! The nodes of the cluster listen on loopback addresses, which are others inside the namespace. Forwarders stand in for
//! them there, and carry each connection over the second wire to forwarders outside, which reach the nodes.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::steps::Steps;

const CQL_PORT: u16 = 9042;
const NODES: u16 = 3;
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// A namespace; it goes with its guard.
pub(crate) struct Namespace {
    name: String,
    number: usize,
    /// Its address on the viewers' wire.
    host: String,
    forwarders: Vec<Child>,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for forwarder in &mut self.forwarders {
            let _already_gone = forwarder.kill();
            let _reaped = forwarder.wait();
        }
        // Both ends of its wires go with it.
        let _already_gone = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let done = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("cannot run ip")?;
    if !done.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

impl Namespace {
    /// Makes one for a pod, with its forwarders.
    pub(crate) fn make(steps: &Steps, folder: &Path, number: usize) -> Result<Self> {
        let name = format!("bareme-pod-{number}");
        let _left_behind = ip(&["netns", "del", &name]);
        ip(&["netns", "add", &name])?;
        let mut made = Self { name, number, host: format!("10.213.{number}.2"), forwarders: Vec::new() };
        made.wire("v", &format!("10.213.{number}"))?;
        made.wire("c", &format!("10.214.{number}"))?;
        ip(&["-n", &made.name, "link", "set", "lo", "up"])?;
        let xtask = std::env::current_exe()?;
        let log = std::fs::File::create(folder.join(format!("forward-{number}.log")))?;
        let outside = format!("10.214.{number}.1");
        for node in 1..=NODES {
            let port = CQL_PORT + node;
            let (near, far) = (format!("127.0.0.{node}:{CQL_PORT}"), format!("{outside}:{port}"));
            let mut out = Command::new(&xtask);
            out.args(["forward", &far, &near]);
            let mut within = Command::new("ip");
            within.args(["netns", "exec", &made.name]).arg(&xtask).args(["forward", &near, &far]);
            for command in [&mut out, &mut within] {
                command
                    .current_dir(steps.root())
                    .stdin(Stdio::null())
                    .stdout(log.try_clone()?)
                    .stderr(log.try_clone()?);
                made.forwarders.push(command.spawn().context("cannot start a forwarder")?);
            }
            wait_for(&far)?;
        }
        Ok(made)
    }

    /// A pair of ends: `.1` outside, `.2` inside.
    fn wire(&self, kind: &str, net: &str) -> Result<()> {
        let (near, far) = (format!("bareme{kind}{}", self.number), format!("bareme{kind}{}n", self.number));
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &self.name])?;
        ip(&["addr", "add", &format!("{net}.1/24"), "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        ip(&["-n", &self.name, "addr", "add", &format!("{net}.2/24"), "dev", &far])?;
        ip(&["-n", &self.name, "link", "set", &far, "up"])
    }

    /// Where viewers reach what listens inside.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// A command that runs inside.
    pub(crate) fn command(&self, inner: &Command) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(inner.get_program());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Takes the wire to the cluster down, or up again. What is under way is lost without a word.
    pub(crate) fn cut(&self, is_cut: bool) -> Result<()> {
        ip(&["link", "set", &format!("baremec{}", self.number), if is_cut { "down" } else { "up" }])
    }
}

fn wait_for(address: &str) -> Result<()> {
    let deadline = Instant::now() + STARTS_WITHIN;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            bail!("nobody listens at {address}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Carries connections from one address to another until it is ended.
pub(crate) fn forward(listen: &str, to: &str) -> Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen at {listen}"))?;
    loop {
        let (near, _) = listener.accept()?;
        let to = to.to_owned();
        std::thread::spawn(move || {
            // Whoever connected sees an end, as of a node that is away.
            let Ok(far) = TcpStream::connect(&to) else { return };
            let _no_delay = (near.set_nodelay(true), far.set_nodelay(true));
            let (Ok(near_reader), Ok(far_reader)) = (near.try_clone(), far.try_clone()) else { return };
            let back = std::thread::spawn(move || carry(far_reader, near));
            carry(near_reader, far);
            let _ended = back.join();
        });
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ended = io::copy(&mut from, &mut to);
    let _both_ways = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
