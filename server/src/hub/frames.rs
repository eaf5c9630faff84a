//! What a room publishes: one state and one set of numbers per jeu, in every form that some receiver may see.
//!
//! **Invariant**: who may see what is decided here, by which text is sent; a page that ignores its own rules learns
//! nothing more.

use std::sync::Arc;

use crate::conductor::LiveView;
use crate::domain::live::Live;
use crate::domain::phase::Phase;
use crate::protocol::text::Text;
use crate::protocol::{Masked, ServerMessage, State, TallyFrame};

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Sees everything, always.
    Admin,
    /// A viewer who has voted on the jeu, or anybody where the live is not blind.
    Voter,
    /// A viewer who has not voted on the jeu, and the overlay: the stream has viewers, too.
    Public,
}

/// A message, encoded once.
#[derive(Debug, Clone)]
pub struct Encoded<T> {
    /// What it says.
    pub value: Arc<T>,
    /// Its JSON text, with the head of the frame that carries it.
    pub text: Text,
}

/// The JSON text of a message.
pub fn encode(message: &ServerMessage) -> Text {
    Text::of(message)
}

/// The numbers of one jeu for each audience.
#[derive(Debug, Clone)]
pub struct JeuFrames {
    /// The jeu.
    pub jeu: u32,
    /// Its revision.
    pub rev: u64,
    /// For [`Audience::Admin`].
    pub admin: Encoded<TallyFrame>,
    /// For [`Audience::Voter`].
    pub voter: Encoded<TallyFrame>,
    /// For [`Audience::Public`].
    pub public: Encoded<TallyFrame>,
}

impl JeuFrames {
    /// The form an audience may see.
    pub fn for_audience(&self, audience: Audience) -> &Encoded<TallyFrame> {
        match audience {
            Audience::Admin => &self.admin,
            Audience::Voter => &self.voter,
            Audience::Public => &self.public,
        }
    }

    /// Encodes the numbers of a jeu for everybody.
    pub fn new(live: &Live, frame: &TallyFrame) -> Self {
        let encode = |frame: TallyFrame| {
            let text = encode(&ServerMessage::Tally(frame.clone()));
            Encoded { value: Arc::new(frame), text }
        };
        let admin = encode(frame.clone());
        let form = |audience| match mask(live, frame, audience) {
            None => admin.clone(),
            Some(reason) => encode(masked(frame, reason)),
        };
        Self { jeu: frame.jeu, rev: frame.rev, voter: form(Audience::Voter), public: form(Audience::Public), admin }
    }
}

/// Why an audience must not see the means of a jeu now; `None` when it may.
pub fn mask(live: &Live, frame: &TallyFrame, audience: Audience) -> Option<Masked> {
    let blind = live.blind && audience == Audience::Public && frame.phase != Phase::Final;
    let few = audience != Audience::Admin && frame.voters < u64::from(live.minimum_votes);
    match (blind, few) {
        (true, _) => Some(Masked::Blind),
        // Nobody has voted: there is nothing to hide, and pages say so in their own way.
        (false, true) if frame.voters > 0 || live.minimum_votes > 1 => Some(Masked::Minimum),
        (false, _) => None,
    }
}

/// A frame without its means.
pub fn masked(frame: &TallyFrame, reason: Masked) -> TallyFrame {
    TallyFrame { mean: None, criteres: Vec::new(), masked: Some(reason), ..frame.clone() }
}

/// Everything a room shows, at one moment.
#[derive(Clone)]
pub struct Frames {
    /// The channel and its live.
    pub state: Encoded<State>,
    /// The numbers of each jeu that was ever opened, in order of the programme.
    pub jeux: Vec<JeuFrames>,
    /// The live behind it.
    pub view: Option<Arc<LiveView>>,
    /// The channel was deleted.
    pub gone: bool,
    /// What overlays and admins see instead during a rehearsal.
    pub rehearsal: Option<Arc<Frames>>,
    /// The greatest revision of numbers that was sent to anybody. A jeu that was out of sight goes on above it.
    pub highest: u64,
}

impl Frames {
    /// What overlays and admins see.
    pub fn for_staff(&self) -> &Self {
        self.rehearsal.as_deref().unwrap_or(self)
    }

    /// The greatest revision of a state that was sent to anybody.
    pub(super) fn last_rev(&self) -> u64 {
        self.state.value.rev.max(self.for_staff().state.value.rev)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use uuid::Uuid;

    use super::*;
    use crate::domain::bareme::presets;
    use crate::domain::key::Slug;
    use crate::domain::live::{LiveId, LiveStatus};

    fn live(blind: bool, minimum_votes: u32) -> Live {
        let bareme = presets().remove(0);
        Live {
            live_id: LiveId(Uuid::nil()),
            channel: Slug::new("demo").unwrap(),
            title: "t".into(),
            bareme_id: Uuid::nil(),
            bareme,
            programme: Vec::new(),
            blind,
            minimum_votes,
            status: LiveStatus::Open,
            current: None,
            closes_at_us: BTreeMap::new(),
            delays_us: BTreeMap::new(),
            ends_at_us: None,
            created_at_us: 0,
            opened_at_us: None,
            closed_at_us: None,
            closed_with: BTreeSet::new(),
        }
    }

    fn frame(voters: u64, phase: Phase) -> TallyFrame {
        TallyFrame {
            live: Uuid::nil(),
            jeu: 1,
            epoch: 0,
            phase,
            rev: 3,
            voters,
            mean: Some(4.25),
            criteres: Vec::new(),
            masked: None,
            as_of_us: 0,
        }
    }

    #[test]
    fn in_blind_mode_the_text_for_those_who_have_not_voted_has_no_mean_in_it() {
        let frames = JeuFrames::new(&live(true, 1), &frame(10, Phase::Open));
        assert!(!frames.public.text.contains("4.25") && frames.public.text.contains("\"masked\":\"blind\""));
        assert!(frames.voter.text.contains("4.25") && frames.admin.text.contains("4.25"));
        assert!(JeuFrames::new(&live(true, 1), &frame(10, Phase::Final)).public.text.contains("4.25"));
    }

    #[test]
    fn below_the_minimum_only_admins_see_means() {
        let frames = JeuFrames::new(&live(false, 5), &frame(4, Phase::Final));
        assert!(!frames.public.text.contains("4.25") && !frames.voter.text.contains("4.25"));
        assert!(frames.public.text.contains("\"masked\":\"minimum\"") && frames.public.text.contains("\"voters\":4"));
        assert!(frames.admin.text.contains("4.25"));
        assert!(JeuFrames::new(&live(false, 5), &frame(5, Phase::Open)).public.text.contains("4.25"));
    }
}
