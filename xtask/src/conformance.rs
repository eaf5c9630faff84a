//! The genuine Autobahn test suite against an echo on each socket path.
//!
//! The suite is the reference that implementers of RFC 6455 compare themselves with: it is not ours, and it does not know
//! us. Its cases 12 and 13 (permessage-deflate) are left out, because no path negotiates an extension; that the offer is
//! declined is what `peers.rs` looks at.
//!
//! **Invariant**: Python 2.7, which the suite needs, is unpacked below the target folder and nowhere else; its library
//! path is in the environment of the suite's own processes and in no other.

mod install;
mod report;

use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::paths::SocketPath;
use crate::served::{Ends, free_port, program, wait};
use crate::steps::{Steps, say};
use report::Report;

/// Groups of cases that are always run, and those that move megabytes.
const CASES: [&str; 7] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*"];
const LONG_CASES: [&str; 2] = ["9.*", "10.*"];

/// Seconds in which a server has to end a connection after the close handshake. The suite's own choice of one is short for a
/// machine that has other things to do.
const ENDS_WITHIN_S: u32 = 5;

const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// An echo that ends with its guard, and its port.
fn start_echo(binary: &Path, path: SocketPath) -> Result<(Ends, u16)> {
    let port = free_port()?;
    let mut command = program(binary);
    command.args(["bench", "--echo-ws", &port.to_string()]).args(path.arguments());
    let mut echo = Ends(command.stdin(Stdio::null()).spawn().context("cannot start the echo")?);
    wait(&format!("the echo of path {path} listens"), STARTS_WITHIN, || {
        if let Some(status) = echo.0.try_wait()? {
            bail!("the echo of path {path} ended at once ({status})");
        }
        Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
    })?;
    Ok((echo, port))
}

/// Runs the suite against every path that the program has; fails when a case fails.
pub(crate) fn run(steps: &Steps, only: &[String], quick: bool) -> Result<()> {
    let suite = install::suite(steps)?;
    let mut groups: Vec<String> = only.to_vec();
    if groups.is_empty() {
        groups.extend(CASES.map(str::to_owned));
        if !quick {
            groups.extend(LONG_CASES.map(str::to_owned));
        }
    }
    let mut failed = Vec::new();
    for path in SocketPath::of(&steps.binary()) {
        let folder = steps.target().join(format!("conformance/{path}"));
        let _was_not_there = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        let (echo, port) = start_echo(&steps.binary(), path)?;
        let wanted = json!({
            "outdir": folder, "cases": groups, "exclude-cases": [], "exclude-agent-cases": {},
            "options": {"serverConnectionDropTimeout": ENDS_WITHIN_S},
            "servers": [{"agent": path.to_string(), "url": format!("ws://127.0.0.1:{port}")}],
        });
        let specification = folder.join("fuzzingclient.json");
        std::fs::write(&specification, wanted.to_string())?;
        let mut run = suite.command();
        run.args(["-m", "autobahntestsuite.wstest", "-m", "fuzzingclient", "-s"]).arg(&specification);
        // It says a line for each case; what counts is in its report.
        run.stdout(std::fs::File::create(folder.join("log"))?).current_dir(&folder);
        steps.run(&format!("Autobahn test suite, path {path}"), &mut run)?;
        drop(echo);
        let read = std::fs::read_to_string(folder.join("index.json")).context("the suite left no report")?;
        let report = Report::read(&read, &path.to_string())?;
        say(&report.table());
        say(&format!("every case: {}", folder.join("index.html").display()));
        if !report.passed() {
            failed.push(path.to_string());
        }
    }
    if !failed.is_empty() {
        bail!("cases fail, or have a lesser verdict that nobody explained, on: {}", failed.join(", "));
    }
    Ok(())
}
