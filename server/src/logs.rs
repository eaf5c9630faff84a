//! Log lines on their way to standard output: one bounded queue, and one thread that writes.
//!
//! **Invariant**: whoever logs neither waits for the reader of standard output nor hears that a line could not be written;
//! a line that is lost is counted. `println!` and its kind panic when a write fails, and a write to a pipe waits for its
//! reader: neither may happen to a task that owns state.

use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// Most bytes that wait for a slow reader: some thousand lines, what a bad minute of a server says.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// Pause before a descriptor that does not block and has no room is tried again.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(20);

/// How long the end of the process waits for lines to be read.
pub(crate) const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

static LINES: OnceLock<Lines> = OnceLock::new();

/// Lines that were not written, since the start.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Panics, since the start.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Log lines that were lost since the start: their reader was gone or too slow, or the disk full.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Panics since the start, whatever caught them.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    is_writing: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    emptied: Condvar,
    is_json: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic in here leaves bytes at worst half a line long.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is queued, for ever.
    fn serve(&self, out: &mut dyn Write) {
        let mut batch = Vec::new();
        // Whether the last write ended inside a line.
        let mut is_cut = false;
        loop {
            let mut waiting = self.waiting();
            waiting.is_writing = false;
            self.emptied.notify_all();
            while waiting.bytes.is_empty() {
                waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            waiting.is_writing = true;
            batch.clear();
            std::mem::swap(&mut batch, &mut waiting.bytes);
            drop(waiting);
            if is_cut {
                batch.insert(0, b'\n');
            }
            let written = write_most(out, &batch);
            let lost = &batch[written..];
            is_cut = if written == 0 { is_cut } else { batch[written - 1] != b'\n' };
            LOST.fetch_add(lines_in(lost), Ordering::Relaxed);
        }
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Writes until it fails; how many bytes were written.
fn write_most(out: &mut dyn Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // Somebody made the descriptor, which they share with us, a non-blocking one.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::sleep(NO_ROOM_PAUSE),
            Err(_) => break,
        }
    }
    written
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Queue>);

impl Lines {
    /// A queue whose thread writes to `out`. Without a thread everything is lost, and counted.
    fn to(mut out: impl Write + Send + 'static, is_json: bool) -> Self {
        let queue = Arc::new(Queue { is_json, ..Queue::default() });
        let served = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name("logs".to_owned());
        // It ends with the process.
        drop(thread.spawn(move || served.serve(&mut out)));
        Self(queue)
    }

    /// Queues whole lines, or counts them as lost when there is no room.
    pub(crate) fn say(&self, text: &[u8]) {
        let mut waiting = self.0.waiting();
        if waiting.bytes.len() + text.len() > MAX_WAITING_BYTES {
            drop(waiting);
            LOST.fetch_add(lines_in(text), Ordering::Relaxed);
            return;
        }
        waiting.bytes.extend_from_slice(text);
        drop(waiting);
        self.0.filled.notify_one();
    }

    /// Returns when everything is written or lost, or after `patience`.
    fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut waiting = self.0.waiting();
        while waiting.is_writing || !waiting.bytes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            (waiting, _) = self.0.emptied.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One line about a panic. It must not panic itself, which would abort the process: it formats what it is given and
    /// asks nothing of the subscriber, which may be what panicked.
    fn panicked(&self, info: &PanicHookInfo<'_>) {
        let mut at = String::new();
        // Only a clock before 1970 has no form.
        let _ = SystemTime.format_time(&mut tracing_subscriber::fmt::format::Writer::new(&mut at));
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("of an unknown kind");
        let trace = std::backtrace::Backtrace::capture();
        let is_traced = trace.status() == std::backtrace::BacktraceStatus::Captured;
        let trace = if is_traced { trace.to_string() } else { String::new() };
        let line = if self.0.is_json {
            let line = serde_json::json!({"timestamp": at, "level": "ERROR", "message": format!("panicked: {what}"),
                "thread": name, "place": place, "backtrace": trace, "target": "bareme::logs"});
            format!("{line}\n")
        } else {
            format!("{at} ERROR panicked: {what} thread={name} place={place}\n{trace}")
        };
        self.say(line.as_bytes());
    }
}

/// One event of the subscriber, which formats it whole before it writes it.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Standard output without a buffer of its own: one that keeps what could not be written would repeat it later.
fn standard_output() -> Box<dyn Write + Send> {
    #[cfg(unix)]
    if let Ok(descriptor) = std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned() {
        return Box::new(std::fs::File::from(descriptor));
    }
    Box::new(std::io::stdout())
}

/// The process's log lines, in the form they have from the first call on. From then on panics are among them.
pub(crate) fn start(is_json: bool) -> Lines {
    let lines = LINES.get_or_init(|| {
        let lines = Lines::to(standard_output(), is_json);
        let panicked = lines.clone();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            panicked.panicked(info);
        }));
        lines
    });
    lines.clone()
}

/// Waits for what was said to be written, for [`FLUSH_PATIENCE`].
pub(crate) fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(FLUSH_PATIENCE);
    }
}

/// Writes a last word to standard error without waiting longer than [`FLUSH_PATIENCE`] for its reader.
pub(crate) fn last_word(text: String) {
    let (done, is_done) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("last-word".to_owned());
    let writing = thread.spawn(move || {
        let _ = std::io::stderr().write_all(text.as_bytes());
        let _ = done.send(());
    });
    if writing.is_ok() {
        let _ = is_done.recv_timeout(FLUSH_PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Hands on what it is given, one write at a time, when it is allowed to; fails the writes it is told to fail.
    struct Slow {
        allowed: mpsc::Receiver<std::io::Result<usize>>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let count = self.allowed.recv().map_err(std::io::Error::other)??.min(bytes.len());
            self.written.send(bytes[..count].to_vec()).map_err(std::io::Error::other)?;
            Ok(count)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_takes_nothing_is_not_waited_for_and_what_it_misses_is_counted() {
        let (allow, allowed) = mpsc::channel();
        let (written, reads) = mpsc::channel();
        let lines = Lines::to(Slow { allowed, written }, true);
        let before = lost();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        lines.say(&line);
        while !lines.0.waiting().is_writing {
            std::thread::yield_now();
        }
        // One line is being written and as many as there is room for wait; the others are lost.
        let room = MAX_WAITING_BYTES / line.len();
        for _ in 0..3 * room {
            lines.say(&line);
        }
        assert!(lost() - before >= 2 * room as u64);
        lines.flush(Duration::ZERO);
        // It reads a part of the line, then its disk is full, then there is room: the next line is one of its own.
        allow.send(Ok(100)).unwrap();
        allow.send(Err(std::io::ErrorKind::StorageFull.into())).unwrap();
        assert_eq!(reads.recv().unwrap(), line[..100]);
        allow.send(Ok(usize::MAX)).unwrap();
        let rest = reads.recv().unwrap();
        assert!(rest[0] == b'\n' && rest[1..].len() == room * line.len());
        lines.say(b"later\n");
        allow.send(Ok(usize::MAX)).unwrap();
        assert_eq!(reads.recv().unwrap(), b"later\n");
        assert!(lost() - before > 2 * room as u64, "the line that was cut is lost, too");
        lines.flush(Duration::from_secs(20));
    }
}
