//! A streamer's permanent place.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Invalid;
use super::key::Slug;
use super::live::LiveId;
use super::rule::Rule;

/// Longest announced closing, in milliseconds.
pub const MAX_CLOSE_DELAY_MS: u32 = 120_000;

/// A channel. Its viewer page and its overlay URL never change from one live to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Name in URLs.
    pub slug: Slug,
    /// Title.
    pub title: String,
    /// How far ahead a closing is announced unless the call says otherwise, for the delay of the stream.
    pub close_delay_ms: u64,
    /// The live on air. Opening one is a compare-and-set of this field, so there is at most one.
    #[serde(default)]
    pub open_live: Option<LiveId>,
    /// The end of `open_live` that is being taken back, by its `closed_at_us`: who carries that end out does not free the
    /// channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_back: Option<u64>,
    /// Lives that ended and whose results may not all be made yet: a pod that starts finishes them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unfinished: BTreeSet<LiveId>,
    /// The live that was on air last.
    #[serde(default)]
    pub last_live: Option<LiveId>,
    /// When it was made, microseconds since 1970.
    pub created_at_us: u64,
}

impl Channel {
    /// The live that pages show: the open one, or the last.
    pub fn shown_live(&self) -> Option<LiveId> {
        self.open_live.or(self.last_live)
    }
}

/// Checks how far ahead a closing is announced.
///
/// # Errors
/// [`Invalid`] naming `field` when it is too long.
pub fn checked_close_delay(field: &str, delay_ms: u64) -> Result<u64, Invalid> {
    if delay_ms <= u64::from(MAX_CLOSE_DELAY_MS) {
        return Ok(delay_ms);
    }
    let remedy = format!("send 0 to {MAX_CLOSE_DELAY_MS} milliseconds");
    Err(Invalid::new(field, Rule::range(0, MAX_CLOSE_DELAY_MS), format!("{delay_ms} is too long"), remedy))
}
