//! What viewers may see of a tally before it is final.

use crate::domain::phase::Phase;
use crate::protocol::{Masked, TallyFrame};

/// Takes the means out of a frame when the live is blind and the viewer has not voted on it, or when there are fewer
/// voters than the live asks for. A final tally is shown to everybody.
#[must_use]
pub fn masked(frame: TallyFrame, blind: bool, minimum_votes: u32, has_voted: bool) -> TallyFrame {
    let why = if frame.phase == Phase::Final {
        None
    } else if blind && !has_voted {
        Some(Masked::Blind)
    } else if frame.voters < u64::from(minimum_votes) {
        Some(Masked::Minimum)
    } else {
        None
    };
    match why {
        None => frame,
        Some(_) => TallyFrame { mean: None, criteres: Vec::new(), masked: why, ..frame },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(phase: Phase, voters: u64) -> TallyFrame {
        TallyFrame {
            live: uuid::Uuid::nil(),
            jeu: 1,
            epoch: 0,
            phase,
            rev: 1,
            voters,
            mean: Some(3.0),
            criteres: Vec::new(),
            masked: None,
            as_of_us: 0,
        }
    }

    #[test]
    fn a_blind_live_shows_means_to_those_who_voted_and_to_everybody_once_final() {
        assert_eq!(masked(frame(Phase::Open, 5), true, 1, false).masked, Some(Masked::Blind));
        assert_eq!(masked(frame(Phase::Open, 5), true, 1, true).mean, Some(3.0));
        assert_eq!(masked(frame(Phase::Final, 5), true, 10, false).mean, Some(3.0));
        let few = masked(frame(Phase::Closing, 5), false, 6, true);
        assert_eq!((few.masked, few.mean, few.voters), (Some(Masked::Minimum), None, 5));
    }
}
