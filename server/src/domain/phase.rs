//! Where a jeu of a live stands, as a number that only grows.

use serde::{Deserialize, Serialize};

/// The four phases a jeu of a live goes through in each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not opened yet: no note is taken.
    Pending,
    /// Notes are taken.
    Open,
    /// No more notes are acknowledged; the result is being made.
    Closing,
    /// The result is published.
    Final,
}

/// Phase and epoch in one number, `epoch · 4 + phase`. Stores keep the greatest ever written, so a late or repeated
/// write of an older one changes nothing. Reopening a final jeu begins the next epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rank(pub u64);

impl Rank {
    /// The rank of a phase in an epoch; epochs count from 0.
    pub const fn new(epoch: u64, phase: Phase) -> Self {
        Self(epoch * 4 + phase as u64)
    }

    /// How often the jeu has been reopened.
    pub const fn epoch(self) -> u64 {
        self.0 / 4
    }

    /// The phase within the epoch.
    pub const fn phase(self) -> Phase {
        match self.0 % 4 {
            0 => Phase::Pending,
            1 => Phase::Open,
            2 => Phase::Closing,
            _ => Phase::Final,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reopening_ranks_above_every_phase_before_it() {
        let reopened = Rank::new(1, Phase::Open);
        assert!(reopened > Rank::new(0, Phase::Final));
        assert_eq!((reopened.epoch(), reopened.phase()), (1, Phase::Open));
        assert_eq!(Rank::default().phase(), Phase::Pending);
    }
}
