//! Runs the lives of this pod: brings each open live's jeux into the engine, carries out what admins ask, and keeps
//! announced deadlines.
//!
//! Invariant: every change to a live is a compare-and-set of its record (or a raised rank) before anything shows it, so
//! that a restart, or another pod, goes on from what was shown.

use std::sync::Arc;

use uuid::Uuid;

use crate::domain::Invalid;
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId};
use crate::domain::note::{Note, Version};
use crate::domain::viewer::ViewerId;
use crate::protocol::{LiveState, Mine, Reply, TallyFrame};
use crate::store::StoreError;

/// Which jeux open with a live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OpenJeux {
    /// The first of the programme.
    #[default]
    First,
    /// All of them; the first is current.
    All,
    /// None.
    None,
}

/// Why an admin's action was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ConductError {
    /// There is no such live.
    #[error("there is no live {0}")]
    UnknownLive(LiveId),
    /// The live has no such jeu.
    #[error("live {0} has no jeu {1}")]
    UnknownJeu(LiveId, JeuId),
    /// The state of things does not allow it.
    #[error("{reason}; {remedy}")]
    Conflict {
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
}

/// What somebody wants noted.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// Scores by critere as JSON.
    Json(serde_json::Map<String, serde_json::Value>),
    /// Scores by critere as text, from a form.
    Text(Vec<(String, String)>),
    /// No note any more.
    Withdrawn,
}

/// A vote as it comes from a socket or a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    /// The live it is meant for.
    pub live: Uuid,
    /// The jeu.
    pub jeu: u32,
    /// Who votes.
    pub viewer: ViewerId,
    /// Version, or `None` to let the server take its own clock (a client that keeps no state).
    pub v: Option<Version>,
    /// The note.
    pub wanted: Wanted,
}

/// Called once with what became of a vote, on any thread; it must not block.
pub type OnReply = Box<dyn FnOnce(Reply) + Send>;

/// Numbers of one jeu as the results show them.
#[derive(Debug, Clone)]
pub struct JeuNumbers {
    /// The jeu, in order of the programme.
    pub jeu: JeuId,
    /// Its numbers, unmasked.
    pub frame: TallyFrame,
}

/// One counted note.
#[derive(Debug, Clone)]
pub struct CountedNote {
    /// Who.
    pub viewer: ViewerId,
    /// Version.
    pub v: Version,
    /// What.
    pub note: Note,
}

/// The lives of this pod. Cheap to clone.
#[derive(Clone)]
pub struct Conductor {
    inner: Arc<()>,
}

#[allow(unused_variables, clippy::unimplemented, reason = "signatures first; bodies follow")]
impl Conductor {
    /// Puts a draft on air: at most one live of a channel at a time. Repeating it changes nothing.
    pub async fn open_live(&self, live: LiveId, jeux: OpenJeux) -> Result<LiveState, ConductError> {
        unimplemented!()
    }
    /// Ends a live: every open jeu closes at the deadline, then the live is closed. `None`: at once.
    pub async fn close_live(&self, live: LiveId, delay_ms: Option<u64>) -> Result<LiveState, ConductError> {
        unimplemented!()
    }
    /// Announces the closing of the current jeu, opens the next one and makes it current.
    pub async fn next(&self, live: LiveId, delay_ms: Option<u64>) -> Result<LiveState, ConductError> {
        unimplemented!()
    }
    /// Makes a jeu the one that pages follow.
    pub async fn set_current(&self, live: LiveId, jeu: JeuId) -> Result<LiveState, ConductError> {
        unimplemented!()
    }
    /// Opens a jeu and makes it current. Repeating it changes nothing.
    pub async fn open_jeu(&self, live: LiveId, jeu: JeuId) -> Result<LiveState, ConductError> {
        unimplemented!()
    }
    /// Closes a jeu after an announced delay; `None`: the channel's.
    pub async fn close_jeu(&self, live: LiveId, jeu: JeuId, delay_ms: Option<u64>) -> Result<LiveState, ConductError> {
        unimplemented!()
    }
    /// Opens a final jeu again, or takes an announced closing back.
    pub async fn reopen_jeu(&self, live: LiveId, jeu: JeuId) -> Result<LiveState, ConductError> {
        unimplemented!()
    }
    /// Applies an edit to a live's record (title, blind, minimum_votes, programme; bareme only of a draft) and shows it.
    pub async fn edit_live(
        &self,
        live: LiveId,
        edit: impl FnMut(&mut Live) -> Result<(), ConductError> + Send,
    ) -> Result<LiveState, ConductError> {
        unimplemented!()
    }
    /// A live as pages know it, with phases: open, closed or draft.
    pub async fn live_state(&self, live: LiveId) -> Result<LiveState, ConductError> {
        unimplemented!()
    }
    /// The lives on air, by channel.
    pub fn open_lives(&self) -> Vec<Arc<Live>> {
        unimplemented!()
    }
    /// The live of a channel that is on air on this pod.
    pub fn channel_live(&self, channel: &Slug) -> Option<Arc<Live>> {
        unimplemented!()
    }
    /// Hands a vote in; `on_reply` hears what became of it, after it is durable.
    pub fn submit(&self, vote: Vote, on_reply: OnReply) {
        unimplemented!()
    }
    /// Numbers of every jeu of a live, unmasked: the running ones as they are, the others from their results.
    pub async fn numbers(&self, live: LiveId) -> Result<Vec<JeuNumbers>, ConductError> {
        unimplemented!()
    }
    /// The counted notes of a jeu, in order of viewer: what a recount needs.
    pub async fn notes(&self, live: LiveId, jeu: JeuId) -> Result<Vec<CountedNote>, ConductError> {
        unimplemented!()
    }
    /// A viewer's own notes in a live.
    pub async fn own_notes(&self, live: LiveId, viewer: ViewerId) -> Result<Vec<Mine>, ConductError> {
        unimplemented!()
    }
    /// Votes accepted that are not durable yet, for draining.
    pub fn pending_votes(&self) -> u64 {
        unimplemented!()
    }
}
