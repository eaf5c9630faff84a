//! Why what an admin asked for was not done.

use crate::cluster::engine::ItemError;
use crate::domain::Invalid;
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::LiveId;
use crate::domain::phase::Phase;
use crate::domain::rule::Rule;
use crate::store::StoreError;

/// Why an admin's action was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ConductError {
    /// There is no such channel.
    #[error("there is no channel {0}")]
    UnknownChannel(Slug),
    /// There is no such live.
    #[error("there is no live {0}")]
    UnknownLive(LiveId),
    /// The live has no such jeu.
    #[error("live {0} has no jeu {1}")]
    UnknownJeu(LiveId, JeuId),
    /// The state of things does not allow it.
    #[error("{reason}; {remedy}")]
    Conflict {
        /// Stable word for it.
        code: &'static str,
        /// Which rule it is, for programs.
        rule: Rule,
        /// Why not.
        reason: String,
        /// What to do first.
        remedy: String,
    },
    /// A field of the request is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The jeu has not read its notes yet, or cannot.
    #[error("the jeu is not ready")]
    NotReady,
}

impl ConductError {
    /// The state of things does not allow it, for a reason that needs no word of its own.
    pub(crate) fn conflict(rule: Rule, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Conflict { code: "conflict", rule, reason: reason.into(), remedy: remedy.into() }
    }

    /// The programme is not what the caller thinks it is.
    pub(crate) fn programme_changed() -> Self {
        Self::own_conflict(Rule::ProgrammeChanged, "the programme was changed at the same moment", "look at it again")
    }

    /// As [`ConductError::conflict`], with the word of the rule as its code.
    pub(super) fn own_conflict(rule: Rule, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Conflict { code: rule.word(), rule, reason: reason.into(), remedy: remedy.into() }
    }
}

impl From<ItemError> for ConductError {
    fn from(error: ItemError) -> Self {
        match error {
            ItemError::Phase(phase) => {
                let (rule, reason, remedy) = match phase {
                    Phase::Pending => (Rule::JeuPending, "the jeu has not been opened", "open it first"),
                    Phase::Open => (Rule::JeuOpen, "the jeu is open", "close it first"),
                    Phase::Closing => {
                        (Rule::JeuClosing, "the result of the jeu is being made", "try again in a few seconds")
                    }
                    Phase::Final => (Rule::JeuFinal, "the jeu is final", "reopen it"),
                };
                Self::conflict(rule, reason, remedy)
            }
            ItemError::Unreadable => {
                let reason = "the stored notes of the jeu cannot be read";
                Self::own_conflict(Rule::JeuUnreadable, reason, "whoever runs the server can mend it: bareme repair")
            }
            ItemError::Store(error) => Self::Store(error),
            ItemError::NotReady => Self::NotReady,
        }
    }
}
