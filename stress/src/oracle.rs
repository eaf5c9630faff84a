//! The judge. It is told what was sent, what was answered, which frames came, and what the server counted in the end; it
//! says what does not fit. It opens no socket and reads no clock, so that a test can tell it anything.
//!
//! **Invariant**: a complaint is never a guess. Where times or outcomes are uncertain, everything that could have been is
//! allowed, and only what could not have been is reported.

pub mod bounds;
pub mod ledger;
pub mod means;
pub mod recount;
pub mod watch;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Complaints of one kind that are kept with their words; the others are only counted.
const SAMPLES_OF_A_KIND: u64 = 5;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// An acknowledged note does not count.
    Lost,
    /// A viewer counts twice on one jeu.
    Double,
    /// Something counts that nobody sent, or that was refused.
    Invented,
    /// A note counts with other scores than were sent.
    Changed,
    /// A published mean, count or histogram does not follow from the notes.
    Numbers,
    /// A frame's numbers are those of no state that can have existed.
    Impossible,
    /// Frames of one connection went back in time.
    Backwards,
    /// An answer that the protocol does not have.
    Protocol,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Double => "double",
            Self::Invented => "invented",
            Self::Changed => "changed",
            Self::Numbers => "wrong numbers",
            Self::Impossible => "impossible frame",
            Self::Backwards => "backwards frame",
            Self::Protocol => "broken protocol",
        })
    }
}

/// One complaint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// What is wrong.
    pub wrong: Wrong,
    /// With whom, where, and how one can see it.
    pub detail: String,
}

/// Complaints, counted by kind, the first of each kind in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaints {
    /// How many of each kind.
    pub counts: BTreeMap<Wrong, u64>,
    /// The first of each.
    pub samples: Vec<Complaint>,
}

impl Complaints {
    /// Adds one.
    pub fn add(&mut self, wrong: Wrong, detail: impl FnOnce() -> String) {
        let count = self.counts.entry(wrong).or_default();
        *count += 1;
        if *count <= SAMPLES_OF_A_KIND {
            self.samples.push(Complaint { wrong, detail: detail() });
        }
    }

    /// How many there are of a kind.
    pub fn of(&self, wrong: Wrong) -> u64 {
        self.counts.get(&wrong).copied().unwrap_or_default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Takes those of another in.
    pub fn merge(&mut self, other: Self) {
        for (wrong, count) in other.counts {
            *self.counts.entry(wrong).or_default() += count;
        }
        for sample in other.samples {
            let kept = self.samples.iter().filter(|kept| kept.wrong == sample.wrong).count();
            if u64::try_from(kept).is_ok_and(|kept| kept < SAMPLES_OF_A_KIND) {
                self.samples.push(sample);
            }
        }
    }
}
