//! The frames of one connection: they never go back.

use bareme::domain::phase::Phase;
use bareme::protocol::TallyFrame;

struct Held {
    jeu: u32,
    rev: u64,
    rank: u64,
    as_of_us: u64,
}

/// What one connection was shown last.
#[derive(Default)]
pub struct Watch {
    state_rev: Option<u64>,
    held: Vec<Held>,
}

/// Epoch and phase in one number that only grows.
fn rank(epoch: u64, phase: Phase) -> u64 {
    let phase = match phase {
        Phase::Pending => 0,
        Phase::Open => 1,
        Phase::Closing => 2,
        Phase::Final => 3,
    };
    epoch * 4 + phase
}

impl Watch {
    /// A `state` came.
    ///
    /// # Errors
    /// What went backwards.
    pub fn on_state(&mut self, rev: u64) -> Result<(), String> {
        match self.state_rev.replace(rev) {
            Some(before) if rev < before => Err(format!("state rev {rev} came after {before}")),
            _ => Ok(()),
        }
    }

    /// Another live is shown: what was shown of the one before says nothing about it.
    pub fn on_other_live(&mut self) {
        self.held.clear();
    }

    /// A `tally` came.
    ///
    /// # Errors
    /// What went backwards.
    pub fn on_tally(&mut self, frame: &TallyFrame) -> Result<(), String> {
        let now =
            Held { jeu: frame.jeu, rev: frame.rev, rank: rank(frame.epoch, frame.phase), as_of_us: frame.as_of_us };
        let Some(held) = self.held.iter_mut().find(|held| held.jeu == frame.jeu) else {
            self.held.push(now);
            return Ok(());
        };
        let jeu = frame.jeu;
        let problem = if now.rev < held.rev {
            Err(format!("jeu {jeu}: rev {} came after {}", now.rev, held.rev))
        } else if now.rank < held.rank {
            Err(format!("jeu {jeu}: epoch and phase {} came after {}", now.rank, held.rank))
        } else if now.as_of_us < held.as_of_us && now.rank / 4 == held.rank / 4 {
            // A final jeu knows all; reopened, it knows what it had read of other pods by then.
            Err(format!("jeu {jeu}: as_of_us {} came after {}", now.as_of_us, held.as_of_us))
        } else {
            Ok(())
        };
        *held = now;
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(rev: u64, epoch: u64, phase: Phase, as_of_us: u64) -> TallyFrame {
        TallyFrame {
            live: uuid::Uuid::nil(),
            jeu: 1,
            epoch,
            phase,
            rev,
            voters: 0,
            mean: None,
            criteres: Vec::new(),
            masked: None,
            as_of_us,
        }
    }

    #[test]
    fn frames_may_repeat_and_skip_but_not_go_back() {
        let mut watch = Watch::default();
        for (rev, epoch, phase, as_of_us) in
            [(3, 0, Phase::Open, 10), (3, 0, Phase::Open, 10), (9, 0, Phase::Final, 20), (10, 1, Phase::Open, 19)]
        {
            assert_eq!(watch.on_tally(&frame(rev, epoch, phase, as_of_us)), Ok(()));
        }
        assert!(watch.on_tally(&frame(9, 1, Phase::Open, 30)).unwrap_err().contains("rev"));
        assert!(watch.on_tally(&frame(11, 0, Phase::Open, 31)).unwrap_err().contains("phase"));
        // Within one epoch.
        assert_eq!(watch.on_tally(&frame(12, 1, Phase::Open, 31)), Ok(()));
        assert!(watch.on_tally(&frame(13, 1, Phase::Open, 5)).unwrap_err().contains("as_of"));
        watch.on_other_live();
        assert_eq!(watch.on_tally(&frame(1, 0, Phase::Open, 1)), Ok(()));
        assert_eq!((watch.on_state(4), watch.on_state(4)), (Ok(()), Ok(())));
        assert!(watch.on_state(3).is_err());
    }
}
