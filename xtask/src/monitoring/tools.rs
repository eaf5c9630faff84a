//! Prometheus, Alertmanager and a receiver of alarms, on the loopback, for as long as their guards live.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::served::{Ends, curl, wait};

/// How long a program may take to answer after it was started.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// A program that ends with its guard.
pub(super) struct Running {
    name: &'static str,
    process: Ends,
    log: PathBuf,
    url: String,
}

impl Running {
    /// Starts a program that then answers at `url` followed by `ready`.
    pub(super) fn start(
        name: &'static str,
        command: &mut Command,
        folder: &Path,
        url: &str,
        ready: &str,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let said = File::create(&log)?;
        command.current_dir(folder).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut running = Self { name, process: Ends(child), log, url: url.to_owned() };
        let answers = wait(&format!("{name} answers"), STARTS_WITHIN, || {
            if let Some(status) = running.process.0.try_wait()? {
                bail!("{name} ended at once ({status})");
            }
            Ok(running.get(ready).is_ok())
        });
        answers.with_context(|| running.said())?;
        Ok(running)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The body of an address of it.
    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>> {
        curl(&self.url, path, None)
    }

    /// `data` of an answer of Prometheus's API.
    pub(super) fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--get"]);
        for (name, value) in parameters {
            curl.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        let answer =
            curl.arg(format!("{}{path}", self.url)).stdin(Stdio::null()).output().context("cannot run curl")?;
        let mut answer: Value = serde_json::from_slice(&answer.stdout)
            .with_context(|| format!("{}: {path} does not answer with JSON", self.name))?;
        if answer["status"] != "success" {
            bail!("{}: {path} {parameters:?}: {}", self.name, answer["error"]);
        }
        Ok(answer["data"].take())
    }

    /// Sends a signal, such as `STOP`.
    pub(super) fn signal(&self, signal: &str) -> Result<()> {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.process.0.id().to_string()]).status()?;
        if !sent.success() {
            bail!("cannot send {signal} to {}", self.name);
        }
        Ok(())
    }
}

/// Where Alertmanager delivers: keeps what it is told.
pub(super) struct Webhook {
    pub(super) url: String,
    told: Arc<Mutex<Vec<Value>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Webhook {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}/", listener.local_addr()?);
        let (told, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, end) = (Arc::clone(&told), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    // Whoever cannot be understood sends it again.
                    Ok((stream, _)) => {
                        if let Ok(alarm) = receive(stream) {
                            kept.lock().unwrap_or_else(PoisonError::into_inner).push(alarm);
                        }
                    }
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        });
        Ok(Self { url, told, ends, thread: Some(thread) })
    }

    /// Whether it was told of this alert in this state, `firing` or `resolved`.
    pub(super) fn was_told(&self, alert: &str, status: &str) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let alerts = told.iter().filter_map(|message| message["alerts"].as_array()).flatten();
        alerts.into_iter().any(|one| one["labels"]["alertname"] == alert && one["status"] == status)
    }

    /// The annotation of an alert as it was delivered.
    pub(super) fn annotation(&self, alert: &str, name: &str) -> Option<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alerts = told.iter().filter_map(|message| message["alerts"].as_array()).flatten();
        let found = alerts.find(|one| one["labels"]["alertname"] == alert)?;
        found["annotations"][name].as_str().map(str::to_owned)
    }
}

fn receive(mut stream: TcpStream) -> Result<Value> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 8192]);
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 || bytes.len() > 1 << 20 {
            bail!("it ended early");
        }
        bytes.extend_from_slice(&chunk[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let length = length.context("no length")?;
        if bytes.len() >= end + 4 + length {
            let message = serde_json::from_slice(&bytes[end + 4..end + 4 + length])?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            return Ok(message);
        }
    }
}
