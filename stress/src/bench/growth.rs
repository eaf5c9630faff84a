//! Whether memory grows while frames go out for minutes and some readers do not read.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::client::Opening;
use super::crowd::Crowd;
use super::figures::grouped;
use super::sockets::tick_for;
use super::subject::{Place, Subject, Wanted};
use super::table::{Check, Table, row};
use crate::limits;

/// One socket of so many does not read.
const STALLED_OF: usize = 100;
/// A stalled socket is replaced after this long: the server may have given it up without being able to say so.
const REPLACED_AFTER: Duration = Duration::from_secs(15);
/// What the system keeps for a stalled socket at its own end, so that the server feels it soon.
const STALLED_BUFFER: usize = 2048;
const SETTLE: Duration = Duration::from_secs(2);

/// One run.
struct Grown {
    before: f64,
    /// `None` for a run that is shorter.
    first_minute: Option<f64>,
    end: f64,
    frames: u64,
    stalled: usize,
}

/// Sockets that have joined and then stop reading.
fn stall(crowd: &mut Crowd, count: usize) -> Result<Vec<usize>> {
    let opening = Opening { receive_buffer: Some(STALLED_BUFFER), ..Opening::default() };
    let stalled = (0..count).map(|_| crowd.open(opening)).collect::<Result<Vec<_>>>()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !stalled.iter().all(|number| crowd.has_joined(*number)) {
        if Instant::now() > deadline {
            bail!("sockets that will not read could not join within 20 s");
        }
        crowd.poll(Duration::from_millis(5))?;
    }
    for number in &stalled {
        crowd.client.stop_reading(*number)?;
    }
    Ok(stalled)
}

fn grow(place: &Place, subject: Subject, sockets: usize, length: Duration) -> Result<Grown> {
    let tick = tick_for(sockets);
    let served = subject.start(place, Wanted { tick: Some(tick), ..Wanted::default() })?;
    let mut crowd = Crowd::new(&served)?;
    let count = sockets / STALLED_OF;
    crowd.join(sockets - count)?;
    crowd.watch(SETTLE, None)?;
    let mut stalled = stall(&mut crowd, count)?;
    let before = served.process.resident()?;
    let (started, mut first_minute, mut replaced) = (Instant::now(), None, stalled.len());
    crowd.take();
    while started.elapsed() < length {
        let rest = length.saturating_sub(started.elapsed());
        crowd.watch(REPLACED_AFTER.min(rest), Some(tick / 2))?;
        if first_minute.is_none() && started.elapsed() >= Duration::from_secs(60) {
            first_minute = Some(served.process.resident()?);
        }
        if started.elapsed() < length {
            for number in stalled.drain(..) {
                crowd.client.cut(number);
            }
            stalled = stall(&mut crowd, count)?;
            replaced += count;
        }
    }
    let end = served.process.resident()?;
    let frames = crowd.take().frames;
    Ok(Grown { before, first_minute, end, frames, stalled: replaced })
}

/// Memory before and after, for each program in turn.
#[expect(clippy::cast_precision_loss, reason = "counts of sockets and frames, for people")]
pub(super) fn table(place: &Place, subjects: &[Subject], sockets: usize, length: Duration) -> Result<Table> {
    limits::raise_open_files(u64::try_from(sockets)? + 2000)?;
    let (mut rows, mut numbers, mut checks) = (Vec::new(), Vec::new(), Vec::new());
    for subject in subjects {
        super::progress(&format!("growth over {} s: {}", length.as_secs(), subject.name()));
        let grown = grow(place, *subject, sockets, length)?;
        let per_socket = |from: f64| (grown.end - from) / sockets as f64;
        rows.push(vec![
            subject.name().to_owned(),
            grouped(grown.before / 1024.0, 0),
            grouped(grown.end / 1024.0, 0),
            grouped(per_socket(grown.before), 0),
            grown.first_minute.map_or_else(|| "–".to_owned(), |bytes| grouped(per_socket(bytes), 0)),
            grouped(grown.frames as f64, 0),
            grouped(grown.stalled as f64, 0),
        ]);
        if *subject == Subject::Fast {
            let goal = "growth per connection since before the first frame, fast path, B";
            checks.push(Check::at_most(goal, per_socket(grown.before), 64.0, 0));
        }
        numbers.push(json!({"subject": subject, "before": grown.before, "first_minute": grown.first_minute,
                            "end": grown.end, "frames": grown.frames, "stalled": grown.stalled}));
    }
    let caption = format!(
        "Growth: {} sockets, a frame every {} ms for {:.1} minutes; one socket of {STALLED_OF} does not read, and is replaced \
         by another one like it every {} s. Memory is VmRSS.",
        grouped(sockets as f64, 0),
        tick_for(sockets).as_millis(),
        length.as_secs_f64() / 60.0,
        REPLACED_AFTER.as_secs(),
    );
    let head = row(&[
        "program",
        "before the first frame, KiB",
        "at the end, KiB",
        "growth per connection, B",
        "since the end of the first minute, B",
        "frames that arrived",
        "stalled sockets, all together",
    ]);
    let numbers = json!({"sockets": sockets, "seconds": length.as_secs(), "runs": numbers});
    Ok(Table { name: "growth".to_owned(), caption, head, rows, numbers, checks })
}
