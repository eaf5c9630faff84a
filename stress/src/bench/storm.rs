//! Bad moments: everybody comes at once, a thousand readers stop reading, one address floods.
//!
//! **Invariant**: what is judged is those who were there before and did nothing wrong. They vote at a steady rate on a thread
//! of their own, before the storm and through it, and their acknowledgements are compared.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use super::client::Opening;
use super::crowd::{Crowd, Tally};
use super::figures::grouped;
use super::kernel::queues_of;
use super::process::{CLIENTS, pin};
use super::subject::{Place, Served, Subject, Wanted};
use super::table::{Check, Table, row};
use crate::limits;

/// Those who were there before, and how often all together they vote.
const WITNESSES: usize = 200;
const VOTES_PER_SECOND: f64 = 400.0;
const TICK: Duration = Duration::from_millis(100);
/// How long the time before is measured, and the storm.
const BEFORE: Duration = Duration::from_secs(5);
const DURING: Duration = Duration::from_secs(6);

/// Sockets that come within [`RUSH`], from so many addresses, and when each has to be served.
const NEWCOMERS: usize = 10_000;
const RUSH: Duration = Duration::from_secs(1);
const ADDRESSES: usize = 8;
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// Sockets that never read, when they must be gone, and what each may hold of the server's and the system's memory.
const STALLED: usize = 1000;
const STALLED_BUFFER: usize = 2048;
const DROPPED_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked at what they hold.
const LOOK: Duration = Duration::from_millis(500);
/// The server's own files, of its store and of requests, may come and go by so many.
const OWN_FILES: usize = 5;
const MAX_STALLED_BYTES: f64 = 65_536.0;

/// Sockets of one address, and messages of one socket a second.
const FLOOD_SOCKETS: usize = 2000;
const FLOOD_MESSAGES_PER_SECOND: f64 = 5000.0;
/// The address that floods, as a proxy names it: connections of this machine are not counted by their address.
const FLOODER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const SOCKET_RATE: u32 = 10;

/// Runs the storm on this thread while the witnesses vote on theirs; what they saw before and during.
fn beside(served: &Served, during: Duration, mut storm: impl FnMut() -> Result<()>) -> Result<(Tally, Tally)> {
    let mut witnesses = Crowd::new(served)?;
    witnesses.join(WITNESSES)?;
    witnesses.vote_steadily(VOTES_PER_SECOND, Duration::from_secs(1))?;
    witnesses.take();
    witnesses.vote_steadily(VOTES_PER_SECOND, BEFORE)?;
    let before = witnesses.take();
    let after = std::thread::scope(|scope| {
        let voting = scope.spawn(|| {
            pin(CLIENTS)?;
            witnesses.vote_steadily(VOTES_PER_SECOND, during)?;
            anyhow::Ok(witnesses.take())
        });
        storm()?;
        match voting.join() {
            Ok(seen) => seen,
            Err(_) => bail!("the witnesses panicked"),
        }
    })?;
    Ok((before, after))
}

/// Two rows of a table and a goal: acknowledgements before and during.
fn unharmed(storm: &str, subject: Subject, before: &Tally, during: &Tally, rows: &mut Vec<Vec<String>>) -> Check {
    let (calm, rough) = (before.ack_times.quantile_ms(0.99), during.ack_times.quantile_ms(0.99));
    let lost = during.gone;
    let own = during.own_delays.quantile_ms(0.99);
    rows.push(vec![
        storm.to_owned(),
        subject.name().to_owned(),
        format!(
            "acks of those already there, p99: {calm:.1} ms before, {rough:.1} ms during (this tool sent them up to {own:.1} ms \
             late); {lost} of them lost"
        ),
    ]);
    let goal = format!("{storm}, {}: p99 of acks, × before", subject.name());
    let ratio = if lost == 0 && calm > 0.0 { rough / calm } else { f64::NAN };
    Check::at_most(goal, ratio, 2.0, 2)
}

fn rush(place: &Place, subject: Subject, rows: &mut Vec<Vec<String>>, checks: &mut Vec<Check>) -> Result<()> {
    let served = subject.start(place, Wanted { tick: Some(TICK), ..Wanted::default() })?;
    let mut newcomers = Crowd::new(&served)?;
    let mut opened_in = Duration::ZERO;
    let (before, during) = beside(&served, DURING, || {
        let start = Instant::now();
        let mut opened = 0;
        while opened < NEWCOMERS {
            let share = (start.elapsed().as_secs_f64() / RUSH.as_secs_f64()).min(1.0);
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a count"
            )]
            let due = (share * NEWCOMERS as f64) as usize;
            // Few at a time, so that what comes back does not wait, nor the others' thread.
            for _ in 0..(due - opened).min(8) {
                let last = u8::try_from(2 + opened % ADDRESSES)?;
                let source = Some(Ipv4Addr::new(127, 0, 0, last));
                newcomers.open(Opening { source, ..Opening::default() })?;
                opened += 1;
            }
            newcomers.poll(Duration::from_micros(200))?;
            std::thread::yield_now();
        }
        opened_in = start.elapsed();
        let deadline = start + opened_in + SERVED_WITHIN;
        while Instant::now() < deadline && newcomers.joined() < NEWCOMERS {
            newcomers.poll(Duration::from_millis(5))?;
        }
        // They read what they are sent, as people's do; who does not is another storm.
        while start.elapsed() < DURING {
            newcomers.poll(Duration::from_millis(1))?;
            std::thread::yield_now();
        }
        Ok(())
    })?;
    let in_time = newcomers.joined_after().iter().flatten().filter(|after| **after <= SERVED_WITHIN).count();
    let last = newcomers.joined_after().iter().flatten().max().copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "counts of sockets")]
    let share = in_time as f64 / NEWCOMERS as f64;
    rows.push(vec![
        "rush".to_owned(),
        subject.name().to_owned(),
        format!(
            "{in_time} of {NEWCOMERS} from {ADDRESSES} addresses served within {} s, the last after {:.2} s; connecting took {:.2} s",
            SERVED_WITHIN.as_secs(),
            last.as_secs_f64(),
            opened_in.as_secs_f64()
        ),
    ]);
    // A client that cannot open them as fast as that has made no storm.
    let goal = format!("rush, {}: this tool's connecting took, s", subject.name());
    checks.push(Check::at_most(goal, opened_in.as_secs_f64(), RUSH.as_secs_f64() * 1.2, 2));
    checks.push(Check::at_least(format!("rush, {}: share served in time", subject.name()), share, 0.999, 4));
    checks.push(unharmed("rush", subject, &before, &during, rows));
    Ok(())
}

fn stalled(place: &Place, subject: Subject, rows: &mut Vec<Vec<String>>, checks: &mut Vec<Check>) -> Result<()> {
    let served = subject.start(place, Wanted { tick: Some(TICK), ..Wanted::default() })?;
    let mut deaf = Crowd::new(&served)?;
    let (mut most, mut gone_after, mut left) = (0.0_f64, None, STALLED);
    let limit = DROPPED_WITHIN + Duration::from_secs(10);
    let (before, during) = beside(&served, limit, || {
        let files = served.process.open_files()?;
        let resident = served.process.resident()?;
        let queued = queues_of(served.address)?.unsent;
        let mut last = 0;
        while last < STALLED {
            last = deaf.open(Opening { receive_buffer: Some(STALLED_BUFFER), ..Opening::default() })? + 1;
            deaf.poll(Duration::ZERO)?;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while deaf.joined() < STALLED {
            deaf.poll(Duration::from_millis(2))?;
            if Instant::now() > deadline {
                bail!("{} of {STALLED} sockets that will not read have joined", deaf.joined());
            }
        }
        for number in 0..STALLED {
            deaf.client.stop_reading(number)?;
        }
        let start = Instant::now();
        while start.elapsed() < limit {
            let grown = served.process.resident()? - resident;
            #[expect(clippy::cast_precision_loss, reason = "bytes of a queue")]
            let waiting = queues_of(served.address)?.unsent.saturating_sub(queued) as f64;
            #[expect(clippy::cast_precision_loss, reason = "a constant")]
            let each = (grown + waiting) / STALLED as f64;
            most = most.max(each);
            left = left.min(served.process.open_files()?.saturating_sub(files));
            if gone_after.is_none() && left <= OWN_FILES {
                gone_after = Some(start.elapsed());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    })?;
    let after = gone_after.map_or(f64::NAN, |after| after.as_secs_f64());
    rows.push(vec![
        "stalled readers".to_owned(),
        subject.name().to_owned(),
        match gone_after {
            Some(_) => {
                format!("all {STALLED} dropped after {after:.1} s, at most {} B each meanwhile", grouped(most, 0))
            }
            None => format!(
                "{left} of {STALLED} still there after {} s, at most {} B each",
                limit.as_secs(),
                grouped(most, 0)
            ),
        },
    ]);
    let name = subject.name();
    checks.push(Check::at_most(
        format!("stalled readers, {name}: dropped after, s"),
        after,
        DROPPED_WITHIN.as_secs_f64(),
        1,
    ));
    checks.push(Check::at_most(
        format!("stalled readers, {name}: server and system memory each, B"),
        most,
        MAX_STALLED_BYTES,
        0,
    ));
    checks.push(unharmed("stalled readers", subject, &before, &during, rows));
    Ok(())
}

fn flood(place: &Place, subject: Subject, rows: &mut Vec<Vec<String>>, checks: &mut Vec<Check>) -> Result<()> {
    let wanted = Wanted { tick: Some(TICK), socket_rate: Some(SOCKET_RATE), behind_proxy: true, ..Wanted::default() };
    let served = subject.start(place, wanted)?;
    let mut flooder = Crowd::new(&served)?;
    let mut sockets = 0;
    let mut accepted = 0;
    let (mut sent, mut ended) = (0_u64, false);
    let (before, during) = beside(&served, DURING, || {
        let start = Instant::now();
        for _ in 0..FLOOD_SOCKETS {
            flooder.open(Opening { forwarded_for: Some(FLOODER), ..Opening::default() })?;
            flooder.poll(Duration::ZERO)?;
            // The others' thread has the same processor.
            std::thread::yield_now();
        }
        while start.elapsed() < Duration::from_secs(3) {
            flooder.poll(Duration::from_millis(5))?;
        }
        sockets = flooder.joined();
        // Then one of them sends as fast as it can.
        flooder.take();
        let talker = flooder.joined_after().iter().position(Option::is_some);
        let start = Instant::now();
        while let (Some(talker), true) = (talker, start.elapsed() < Duration::from_secs(2)) {
            #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
            let is_due = sent as f64 / FLOOD_MESSAGES_PER_SECOND <= start.elapsed().as_secs_f64();
            if is_due && !ended && flooder.client.unsent(talker) < 1 << 16 {
                ended = flooder.vote(talker, Instant::now()).is_err();
                sent += u64::from(!ended);
            }
            flooder.poll(if is_due { Duration::ZERO } else { Duration::from_micros(100) })?;
            // The others may still hear that they were turned away.
            ended |= !flooder.client.is_open(talker);
        }
        accepted = flooder.tally.acks;
        Ok(())
    })?;
    let name = subject.name();
    rows.push(vec![
        "flood".to_owned(),
        name.to_owned(),
        format!(
            "{sockets} of {FLOOD_SOCKETS} sockets of one address let in; of {sent} messages in 2 s on one socket {accepted} taken, \
             socket {}",
            if ended { "closed" } else { "kept" }
        ),
    ]);
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let (sockets, accepted) = (sockets as f64, accepted as f64);
    let bound = FLOOD_SOCKETS as f64 - 1.0;
    checks.push(Check::at_most(format!("flood, {name}: sockets of one address"), sockets, bound, 0));
    // What it may send at once, and what comes anew in the two seconds.
    let allowed = f64::from(SOCKET_RATE) * (4.0 + 3.0);
    checks.push(Check::at_most(format!("flood, {name}: messages taken of one socket"), accepted, allowed, 0));
    checks.push(unharmed("flood", subject, &before, &during, rows));
    Ok(())
}

/// All three, for each program.
pub(super) fn table(place: &Place, subjects: &[Subject]) -> Result<Table> {
    limits::raise_open_files(u64::try_from(NEWCOMERS + WITNESSES)? + 1000)?;
    let (mut rows, mut checks) = (Vec::new(), Vec::new());
    for subject in subjects {
        super::progress(&format!("rush: {}", subject.name()));
        rush(place, *subject, &mut rows, &mut checks)?;
        super::progress(&format!("stalled readers: {}", subject.name()));
        stalled(place, *subject, &mut rows, &mut checks)?;
        super::progress(&format!("flood: {}", subject.name()));
        flood(place, *subject, &mut rows, &mut checks)?;
    }
    let caption = format!(
        "Storms, server and clients on one processor each, a frame every {} ms: {WITNESSES} sockets vote {VOTES_PER_SECOND} \
         times a second all together, {} s before and through each storm.",
        TICK.as_millis(),
        BEFORE.as_secs(),
    );
    let numbers = json!({"checks": checks});
    Ok(Table {
        name: "storms".to_owned(),
        caption,
        head: row(&["storm", "program", "what happened"]),
        rows,
        numbers,
        checks,
    })
}
