//! The three things that sockets cost: frames out, votes in, and being there.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::crowd::Crowd;
use super::figures::{Rounds, grouped};
use super::subject::{FRAME_BYTES, Place, Subject, Wanted};
use super::table::{Check, Table, row};
use crate::limits;

/// What comes first pays for what is made once: threads, caches, pages.
const FIRST_SOCKETS: usize = 200;
const WARM_UP: Duration = Duration::from_secs(1);
/// After this long, nothing moves any more.
const SETTLE: Duration = Duration::from_secs(2);

/// Programs, and how often each is measured.
pub(super) struct Plan<'a> {
    /// Where things are.
    pub place: &'a Place,
    /// What is compared, the baseline first.
    pub subjects: &'a [Subject],
    /// How often.
    pub rounds: usize,
    /// How long each measurement counts.
    pub seconds: Duration,
}

impl Plan<'_> {
    /// Measures every program in every round, each round beginning with another one. Figures come back by program.
    fn rounds<const N: usize>(
        &self,
        what: &str,
        measure: impl Fn(Subject) -> Result<[f64; N]>,
    ) -> Result<Vec<[Rounds; N]>> {
        let count = self.subjects.len();
        let mut all: Vec<[Rounds; N]> = vec![std::array::from_fn(|_| Rounds::default()); count];
        for round in 0..self.rounds {
            for turn in 0..count {
                let at = (round + turn) % count;
                let subject = self.subjects[at];
                super::progress(&format!("{what}, round {} of {}: {}", round + 1, self.rounds, subject.name()));
                for (rounds, figure) in all[at].iter_mut().zip(measure(subject)?) {
                    rounds.0.push(figure);
                }
            }
        }
        Ok(all)
    }
}

/// Where a goal holds: for the fast path.
fn fast(subjects: &[Subject]) -> Option<usize> {
    subjects.iter().position(|subject| *subject == Subject::Fast)
}

/// Least time between two frames: as often as the room's default where that leaves every program idle time, else less.
/// A program that is saturated sends fewer frames, each of them cheaper, and shows nothing of what they cost.
pub(super) fn tick_for(sockets: usize) -> Duration {
    if sockets > 2000 { Duration::from_millis(500) } else { Duration::from_millis(100) }
}

/// CPU of one message out, and how late the last ones are.
#[expect(clippy::cast_precision_loss, reason = "frames of some seconds stay far below 2^53")]
fn fan_out(plan: &Plan<'_>, subject: Subject, sockets: usize, tick: Duration) -> Result<[f64; 3]> {
    let served = subject.start(plan.place, Wanted { tick: Some(tick), ..Wanted::default() })?;
    let mut crowd = Crowd::new(&served)?;
    crowd.join(sockets)?;
    crowd.watch_whole(WARM_UP, Some(tick / 2))?;
    crowd.take();
    let before = served.process.cpu_us()?;
    let started = Instant::now();
    crowd.watch_whole(plan.seconds, Some(tick / 2))?;
    let cpu_us = served.process.cpu_us()? - before;
    let ticks = started.elapsed().as_secs_f64() / tick.as_secs_f64();
    let heard = crowd.take();
    if heard.frames == 0 || heard.gone > 0 {
        bail!("{}: {} frames came, and {} sockets went away", subject.name(), heard.frames, heard.gone);
    }
    let frames = heard.frames as f64;
    Ok([cpu_us / frames, frames / (ticks * sockets as f64), heard.spread.quantile_ms(0.99)])
}

/// Fan-out at a number of sockets.
pub(super) fn fan_out_table(plan: &Plan<'_>, sockets: usize) -> Result<Table> {
    limits::raise_open_files(u64::try_from(sockets)? + 1000)?;
    let tick = tick_for(sockets);
    let figures =
        plan.rounds(&format!("fan-out to {sockets} sockets"), |subject| fan_out(plan, subject, sockets, tick))?;
    let mut rows = Vec::new();
    for (subject, [cpu, delivered, p99]) in plan.subjects.iter().zip(&figures) {
        let delivered = delivered.median().unwrap_or_default() * 100.0;
        rows.push(vec![
            subject.name().to_owned(),
            cpu.text(2),
            cpu.over_text(&figures[0][0]),
            format!("{delivered:.1} %"),
            p99.text(1),
        ]);
    }
    let mut checks = Vec::new();
    if let (Some(at), true) = (fast(plan.subjects), plan.subjects[0] == Subject::Floor && sockets >= 10_000) {
        let ratio = figures[at][0].over(&figures[0][0]).unwrap_or(f64::NAN);
        checks.push(Check::at_most("fan-out CPU of the fast path, × floor", ratio, 1.08, 2));
    }
    let caption = format!(
        "Fan-out: {} sockets in one room, a frame of about {FRAME_BYTES} bytes to each every {} ms, {} rounds of {} s. CPU is \
         the server's, per message that arrived. Lateness is from the first socket that has a revision to each other.",
        grouped(sockets as f64, 0),
        tick.as_millis(),
        plan.rounds,
        plan.seconds.as_secs(),
    );
    let head = row(&["program", "CPU per message, µs", "× first row", "frames that arrived", "lateness p99, ms"]);
    let numbers =
        json!({"sockets": sockets, "tick_ms": tick.as_millis(), "subjects": plan.subjects, "rounds": figures});
    Ok(Table { name: format!("fan-out-{sockets}"), caption, head, rows, numbers, checks })
}

/// CPU of one vote in, with one in flight on each socket.
#[expect(clippy::cast_precision_loss, reason = "votes of some seconds stay far below 2^53")]
fn inbound(plan: &Plan<'_>, subject: Subject, sockets: usize) -> Result<[f64; 3]> {
    let served = subject.start(plan.place, Wanted::default())?;
    let mut crowd = Crowd::new(&served)?;
    crowd.join(sockets)?;
    crowd.keeps_voting = true;
    for number in 0..sockets {
        crowd.vote(number, Instant::now())?;
    }
    crowd.watch(WARM_UP, None)?;
    crowd.take();
    let before = served.process.cpu_us()?;
    let started = Instant::now();
    crowd.watch(plan.seconds, None)?;
    let cpu_us = served.process.cpu_us()? - before;
    let seconds = started.elapsed().as_secs_f64();
    let heard = crowd.take();
    if heard.acks == 0 || heard.refused > 0 || heard.gone > 0 {
        let (acks, refused, gone) = (heard.acks, heard.refused, heard.gone);
        bail!("{}: {acks} votes were acknowledged, {refused} refused, {gone} sockets went away", subject.name());
    }
    let acks = heard.acks as f64;
    Ok([cpu_us / acks, acks / seconds, heard.ack_times.quantile_ms(0.99)])
}

/// Votes in.
pub(super) fn inbound_table(plan: &Plan<'_>, sockets: usize) -> Result<Table> {
    limits::raise_open_files(u64::try_from(sockets)? + 1000)?;
    let figures = plan.rounds("votes in", |subject| inbound(plan, subject, sockets))?;
    let mut rows = Vec::new();
    for (subject, [cpu, rate, p99]) in plan.subjects.iter().zip(&figures) {
        rows.push(vec![
            subject.name().to_owned(),
            if subject.is_durable() { "on disk" } else { "in memory" }.to_owned(),
            cpu.text(2),
            cpu.over_text(&figures[0][0]),
            rate.text(0),
            p99.text(1),
        ]);
    }
    let mut checks = Vec::new();
    if let (Some(at), Subject::Floor) = (fast(plan.subjects), plan.subjects[0]) {
        let ratio = figures[at][0].over(&figures[0][0]).unwrap_or(f64::NAN);
        checks.push(Check::at_most("inbound CPU of the fast path, × floor", ratio, 1.2, 2));
        let cost = figures[at][0].median().unwrap_or(f64::NAN);
        checks.push(Check::at_most("CPU per vote up to its durable ok on the fast path, µs", cost, 9.0, 2));
    }
    let caption = format!(
        "Votes in: {} sockets, one vote in flight on each, snapshots off, {} rounds of {} s. CPU is the server's, all \
         threads, per acknowledged vote; the floor sends a prepared reply for each read.",
        grouped(sockets as f64, 0),
        plan.rounds,
        plan.seconds.as_secs(),
    );
    let head = row(&[
        "program",
        "an acknowledged vote is",
        "CPU per vote, µs",
        "× first row",
        "votes a second",
        "ack p99, ms",
    ]);
    let numbers = json!({"sockets": sockets, "subjects": plan.subjects, "rounds": figures});
    Ok(Table { name: "inbound".to_owned(), caption, head, rows, numbers, checks })
}

/// CPU of one connection with its handshake, and the memory it keeps while nothing happens.
#[expect(clippy::cast_precision_loss, reason = "a count of sockets")]
fn arrive(plan: &Plan<'_>, subject: Subject, sockets: usize) -> Result<[f64; 2]> {
    let served = subject.start(plan.place, Wanted::default())?;
    let mut crowd = Crowd::new(&served)?;
    crowd.join(FIRST_SOCKETS)?;
    crowd.watch(WARM_UP, None)?;
    let (cpu, resident) = (served.process.cpu_us()?, served.process.resident()?);
    crowd.join(sockets)?;
    let cpu = served.process.cpu_us()? - cpu;
    crowd.watch(SETTLE, None)?;
    let resident = served.process.resident()? - resident;
    Ok([cpu / sockets as f64, resident / sockets as f64])
}

/// Connecting and being idle.
pub(super) fn arrive_table(plan: &Plan<'_>, sockets: usize) -> Result<Table> {
    limits::raise_open_files(u64::try_from(sockets)? + 1000)?;
    let figures = plan.rounds(&format!("{sockets} arrivals"), |subject| arrive(plan, subject, sockets))?;
    let mut rows = Vec::new();
    for (subject, [cpu, bytes]) in plan.subjects.iter().zip(&figures) {
        rows.push(vec![subject.name().to_owned(), cpu.text(1), cpu.over_text(&figures[0][0]), bytes.text(0)]);
    }
    let mut checks = Vec::new();
    if let Some(at) = fast(plan.subjects) {
        let [cpu, bytes] = &figures[at];
        let median = |rounds: &Rounds| rounds.median().unwrap_or(f64::NAN);
        checks.push(Check::at_most("CPU per connect and handshake on the fast path, µs", median(cpu), 27.0, 1));
        checks.push(Check::at_most("user memory per idle connection on the fast path, B", median(bytes), 640.0, 0));
    }
    let caption = format!(
        "Arrivals: {} sockets after the first {FIRST_SOCKETS}, {} rounds. CPU is the server's per connection, from accept to \
         the first numbers; memory is what VmRSS grew by, {} s after the last one came, divided by the connections.",
        grouped(sockets as f64, 0),
        plan.rounds,
        SETTLE.as_secs(),
    );
    let head = row(&["program", "CPU per connection, µs", "× first row", "resident bytes per idle connection"]);
    let numbers = json!({"sockets": sockets, "subjects": plan.subjects, "rounds": figures});
    Ok(Table { name: "arrivals".to_owned(), caption, head, rows, numbers, checks })
}
