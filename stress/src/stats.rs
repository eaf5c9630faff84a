//! What is measured. Each worker owns its numbers; they are put together when they are looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer, V2Serializer};
use serde::{Deserialize, Serialize};

/// Times in microseconds, to three digits.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    #[expect(clippy::expect_used, reason = "three digits are within the library's bounds")]
    fn default() -> Self {
        Self(Histogram::new(3).expect("three digits"))
    }
}

/// Some points of a distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Points {
    /// How many.
    pub count: u64,
    /// Half are below.
    pub p50: f64,
    /// Nine of ten are below.
    pub p90: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// 999 of 1,000 are below.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

impl Times {
    /// Adds one.
    pub fn record(&mut self, time: Duration) {
        self.record_value(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds a number that is no time.
    pub fn record_value(&mut self, value: u64) {
        // A histogram that resizes itself takes every value.
        let _always_fits = self.0.record(value);
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        // Both have three digits and resize themselves.
        let _always_fits = self.0.add(&other.0);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time below which this share (0 to 1) lies, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of hours")]
    pub fn quantile_ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1000.0
    }

    /// Points of the distribution.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of hours")]
    pub fn points(&self) -> Points {
        if self.0.is_empty() {
            return Points::default();
        }
        Points {
            count: self.0.len(),
            p50: self.quantile_ms(0.5),
            p90: self.quantile_ms(0.9),
            p99: self.quantile_ms(0.99),
            p999: self.quantile_ms(0.999),
            max: self.0.max() as f64 / 1000.0,
            mean: self.0.mean() / 1000.0,
        }
    }

    /// The histogram in the interchange format "HdrHistogram V2 compressed", in base64.
    pub fn encoded(&self) -> String {
        let mut bytes = Vec::new();
        let deflated = V2DeflateSerializer::new().serialize(&self.0, &mut bytes).is_ok();
        if !deflated {
            bytes.clear();
            // Writing to memory cannot fail; an empty text reads back as nothing.
            let _plain = V2Serializer::new().serialize(&self.0, &mut bytes);
        }
        STANDARD.encode(bytes)
    }

    /// Reads what [`Times::encoded`] wrote.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let mut histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
        histogram.auto(true);
        Some(Self(histogram))
    }
}

/// Counts of one worker, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Votes that were due.
    pub wanted: u64,
    /// Messages with a note that left, repeats included.
    pub sent: u64,
    /// Repeats among them.
    pub resent: u64,
    /// Notes acknowledged.
    pub acked: u64,
    /// Frames with numbers or the state of the live.
    pub frames: u64,
    /// Bytes of messages heard.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Connections opened.
    pub connects: u64,
    /// Of which after a loss or a nap.
    pub reconnects: u64,
    /// Phones that fell asleep.
    pub naps: u64,
    /// Viewers who left.
    pub left: u64,
    /// Acknowledged notes whose numbers were never seen in a frame on the viewer's own socket.
    pub not_shown: u64,
    /// Answers other than `ok`, by status.
    pub refusals: BTreeMap<String, u64>,
    /// Connections that failed or ended unasked, by reason.
    pub errors: BTreeMap<String, u64>,
}

fn add(to: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (name, count) in from {
        *to.entry(name.clone()).or_default() += count;
    }
}

impl Counters {
    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        self.wanted += other.wanted;
        self.sent += other.sent;
        self.resent += other.resent;
        self.acked += other.acked;
        self.frames += other.frames;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.connects += other.connects;
        self.reconnects += other.reconnects;
        self.naps += other.naps;
        self.left += other.left;
        self.not_shown += other.not_shown;
        add(&mut self.refusals, &other.refusals);
        add(&mut self.errors, &other.errors);
    }

    /// Counts one of a named kind.
    pub fn error(&mut self, kind: String) {
        *self.errors.entry(kind).or_default() += 1;
    }

    /// How many connections failed or were lost.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// How many answers were no `ok`.
    pub fn refused(&self) -> u64 {
        self.refusals.values().sum()
    }
}

/// Distributions of one worker, or of all.
#[derive(Debug, Clone, Default)]
pub struct Distributions {
    /// From the instant a vote was due to its `ok`.
    pub ack: Times,
    /// From the instant a vote was due to the frame that counts it, on the viewer's own socket.
    pub visible: Times,
    /// From the moment a note left to the first frame on each watched server that surely counts it, the latest of them.
    pub everywhere: Times,
    /// From the instant a socket was due to the live on it.
    pub connect: Times,
    /// The same after a loss.
    pub reconnect: Times,
    /// From the instant a vote was due to the moment this program had it: its own lateness.
    pub lag: Times,
    /// Frames that each socket got. No times.
    pub frames_per_socket: Times,
}

impl Distributions {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, &Times); 7] {
        [
            ("ack", &self.ack),
            ("visible", &self.visible),
            ("everywhere", &self.everywhere),
            ("connect", &self.connect),
            ("reconnect", &self.reconnect),
            ("lag", &self.lag),
            ("frames_per_socket", &self.frames_per_socket),
        ]
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        self.ack.merge(&other.ack);
        self.visible.merge(&other.visible);
        self.everywhere.merge(&other.everywhere);
        self.connect.merge(&other.connect);
        self.reconnect.merge(&other.reconnect);
        self.lag.merge(&other.lag);
        self.frames_per_socket.merge(&other.frames_per_socket);
    }
}

/// One second of one worker.
#[derive(Debug, Clone, Default)]
pub struct Second {
    /// Which second of the run.
    pub second: u64,
    /// Counts of this second alone.
    pub counters: Counters,
    /// Acknowledgements of this second.
    pub ack: Times,
    /// Votes that became visible in this second.
    pub visible: Times,
    /// Sockets that are open at its end.
    pub open: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_from_their_text() {
        let mut times = Times::default();
        for value in [1, 90, 1500, 2_000_000, 7_000_000_000] {
            times.record_value(value);
        }
        let read = Times::decode(&times.encoded()).unwrap();
        assert_eq!(read.points(), times.points());
        assert_eq!(read.count(), 5);
        assert!((6_990_000.0..7_010_000.0).contains(&read.points().max), "{:?}", read.points());
        assert!(Times::decode("AAAA").is_none());
        assert_eq!(Times::decode(&Times::default().encoded()).unwrap().points(), Points::default());
    }

    #[test]
    fn what_two_workers_measured_is_what_one_would_have() {
        let (mut one, mut other, mut both) = (Times::default(), Times::default(), Times::default());
        for value in 0..10_000_u64 {
            if value % 3 == 0 { &mut one } else { &mut other }.record_value(value * 7);
            both.record_value(value * 7);
        }
        one.merge(&other);
        assert_eq!(one.points(), both.points());
    }
}
