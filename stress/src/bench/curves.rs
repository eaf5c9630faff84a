//! Cost against work: how CPU and memory grow with sockets, rooms and votes.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;

use super::crowd::Crowd;
use super::figures::grouped;
use super::sockets::tick_for;
use super::subject::{Place, Subject, Wanted};
use super::table::{Plots, Table, row};
use crate::limits;
use crate::report::plot::{Plot, Scale, Series};

const SOCKETS: [usize; 3] = [100, 1_000, 10_000];
const ROOMS: [u32; 3] = [1, 10, 100];
/// Votes a second that are offered, until one is too many.
const RATES: [u32; 10] = [100, 300, 1_000, 3_000, 10_000, 20_000, 40_000, 60_000, 80_000, 120_000];
const VOTERS: usize = 1_000;
const WARM_UP: Duration = Duration::from_secs(1);
/// A rate is too many when fewer of its votes are answered while it lasts, or one in a hundred waits longer.
const MIN_ANSWERED: f64 = 0.97;
const MAX_ACK_MS: f64 = 1_000.0;

/// Work, and what it costs.
#[derive(Debug, Clone, Serialize)]
struct Point {
    subject: Subject,
    sockets: usize,
    rooms: u32,
    /// Processor, as a share of one.
    load: f64,
    cpu_us_per_frame: f64,
    resident_per_socket: f64,
    frames_per_s: f64,
}

/// Votes, and what they cost.
#[derive(Debug, Clone, Serialize)]
struct Votes {
    subject: Subject,
    offered: u32,
    answered_per_s: f64,
    cpu_us_per_vote: f64,
    ack_p50_ms: f64,
    ack_p99_ms: f64,
    holds: bool,
}

#[expect(clippy::cast_precision_loss, reason = "counts of sockets and frames")]
fn point(place: &Place, subject: Subject, sockets: usize, rooms: u32, length: Duration) -> Result<Point> {
    let tick = tick_for(sockets);
    let served = subject.start(place, Wanted { tick: Some(tick), rooms, ..Wanted::default() })?;
    let mut crowd = Crowd::new(&served)?;
    let empty = served.process.resident()?;
    crowd.join(sockets)?;
    crowd.watch(WARM_UP, Some(tick / 2))?;
    crowd.take();
    let (before, started) = (served.process.cpu_us()?, Instant::now());
    crowd.watch(length, Some(tick / 2))?;
    let cpu_us = served.process.cpu_us()? - before;
    let seconds = started.elapsed().as_secs_f64();
    let frames = crowd.take().frames as f64;
    if frames == 0.0 {
        bail!("{}: no frame came in {rooms} rooms of {sockets} sockets", subject.name());
    }
    Ok(Point {
        subject,
        sockets,
        rooms,
        load: cpu_us / 1e6 / seconds,
        cpu_us_per_frame: cpu_us / frames,
        resident_per_socket: (served.process.resident()? - empty) / sockets as f64,
        frames_per_s: frames / seconds,
    })
}

/// CPU and memory by sockets and rooms.
#[expect(clippy::cast_precision_loss, reason = "counts of sockets")]
pub(super) fn work_table(place: &Place, subjects: &[Subject], length: Duration) -> Result<(Table, Plots)> {
    limits::raise_open_files(11_000)?;
    let mut points = Vec::new();
    for subject in subjects {
        for sockets in SOCKETS {
            for rooms in ROOMS {
                super::progress(&format!("{sockets} sockets in {rooms} rooms: {}", subject.name()));
                points.push(point(place, *subject, sockets, rooms, length)?);
            }
        }
    }
    let rows = points.iter().map(|point| {
        vec![
            point.subject.name().to_owned(),
            grouped(point.sockets as f64, 0),
            point.rooms.to_string(),
            format!("{} ms", tick_for(point.sockets).as_millis()),
            grouped(point.frames_per_s, 0),
            format!("{:.1} %", point.load * 100.0),
            format!("{:.2}", point.cpu_us_per_frame),
            grouped(point.resident_per_socket, 0),
        ]
    });
    let rows = rows.collect();
    let of = |subject: Subject, rooms: u32| points.iter().filter(move |p| p.subject == subject && p.rooms == rooms);
    let mut series = Vec::new();
    for subject in subjects {
        for rooms in ROOMS {
            let points = of(*subject, rooms).map(|p| ((p.sockets as f64).log10(), p.load * 100.0)).collect();
            let name = format!("{}, {rooms} room{}", subject.name(), if rooms == 1 { "" } else { "s" });
            series.push(Series { name, points });
        }
    }
    let x_ticks = SOCKETS.iter().map(|sockets| ((*sockets as f64).log10(), grouped(*sockets as f64, 0))).collect();
    let plot = Plot {
        title: "Processor by sockets and rooms",
        unit: "% of one processor, while every socket gets a frame at each tick",
        scale: Scale::Logarithmic,
        series,
        x_ticks,
        marks: Vec::new(),
    };
    let caption = "Cost of being shown: sockets spread over rooms, a vote in each room before each tick, so that every socket \
                   gets a frame at each. A room's own cost is its two votes and its encoding at each tick. Resident memory is \
                   what VmRSS grew by since before the first socket, per socket."
        .to_owned();
    let head = row(&[
        "program",
        "sockets",
        "rooms",
        "tick",
        "frames a second",
        "of one processor",
        "CPU per frame, µs",
        "resident bytes per socket",
    ]);
    let numbers = json!({ "points": points });
    Ok((
        Table { name: "work".to_owned(), caption, head, rows, numbers, checks: Vec::new() },
        vec![("work", plot.document())],
    ))
}

#[expect(clippy::cast_precision_loss, reason = "counts of votes")]
fn votes(place: &Place, subject: Subject, offered: u32, length: Duration) -> Result<Votes> {
    // A new server for each rate: none has to cope with what the one before left to do.
    let served = subject.start(place, Wanted::default())?;
    let mut crowd = Crowd::new(&served)?;
    crowd.join(VOTERS)?;
    crowd.vote_steadily(f64::from(offered.min(1_000)), WARM_UP)?;
    crowd.take();
    let (before, started) = (served.process.cpu_us()?, Instant::now());
    let sent = crowd.vote_steadily(f64::from(offered), length)?;
    let cpu_us = served.process.cpu_us()? - before;
    let seconds = started.elapsed().as_secs_f64().max(length.as_secs_f64());
    let heard = crowd.take();
    let acks = heard.acks as f64;
    let p99 = heard.ack_times.quantile_ms(0.99);
    Ok(Votes {
        subject,
        offered,
        answered_per_s: acks / seconds,
        cpu_us_per_vote: cpu_us / acks.max(1.0),
        ack_p50_ms: heard.ack_times.quantile_ms(0.5),
        ack_p99_ms: p99,
        holds: acks >= sent as f64 * MIN_ANSWERED
            && acks / seconds >= f64::from(offered) * MIN_ANSWERED
            && p99 <= MAX_ACK_MS,
    })
}

/// CPU and acknowledgements by votes a second, up to the limit.
pub(super) fn votes_table(place: &Place, subjects: &[Subject], length: Duration) -> Result<(Table, Plots)> {
    limits::raise_open_files(u64::try_from(VOTERS)? + 1_000)?;
    let mut points: Vec<Votes> = Vec::new();
    for subject in subjects {
        for offered in RATES {
            super::progress(&format!("{offered} votes a second: {}", subject.name()));
            let point = votes(place, *subject, offered, length)?;
            let holds = point.holds;
            points.push(point);
            if !holds {
                break;
            }
        }
    }
    let rows = points.iter().map(|point| {
        vec![
            point.subject.name().to_owned(),
            grouped(f64::from(point.offered), 0),
            grouped(point.answered_per_s, 0),
            format!("{:.1}", point.cpu_us_per_vote),
            format!("{:.1} / {:.1}", point.ack_p50_ms, point.ack_p99_ms),
            if point.holds { "yes" } else { "no" }.to_owned(),
        ]
    });
    let rows = rows.collect();
    let plot = |title: &str, unit: &str, y: fn(&Votes) -> f64| {
        let series = subjects.iter().map(|subject| Series {
            name: subject.name().to_owned(),
            points: points
                .iter()
                .filter(|point| point.subject == *subject)
                .map(|point| (f64::from(point.offered).log10(), y(point)))
                .collect(),
        });
        let ticks = RATES.iter().filter(|rate| rate.to_string().trim_end_matches('0').len() == 1);
        let x_ticks = ticks.map(|rate| (f64::from(*rate).log10(), grouped(f64::from(*rate), 0))).step_by(2).collect();
        Plot { title, unit, scale: Scale::Logarithmic, series: series.collect(), x_ticks, marks: Vec::new() }.document()
    };
    let plots = vec![
        ("votes-cpu", plot("CPU per vote by votes a second", "µs of the server", |point| point.cpu_us_per_vote)),
        ("votes-ack", plot("Acknowledgement by votes a second", "p99, ms", |point| point.ack_p99_ms.max(0.01))),
    ];
    let caption = format!(
        "Cost of voting: {} sockets vote at a steady rate for {} s, each vote timed from when it was due; snapshots off. A rate \
         holds when {:.0} % of its votes are acknowledged meanwhile, with a p99 of at most {MAX_ACK_MS} ms. As votes grow, more \
         of them share a commit.",
        VOTERS,
        length.as_secs(),
        MIN_ANSWERED * 100.0,
    );
    let head = row(&[
        "program",
        "votes offered a second",
        "acknowledged a second",
        "CPU per vote, µs",
        "ack p50 / p99, ms",
        "holds",
    ]);
    let numbers = json!({ "points": points });
    Ok((Table { name: "votes".to_owned(), caption, head, rows, numbers, checks: Vec::new() }, plots))
}
