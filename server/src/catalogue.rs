//! What admins keep: channels, their jeux, baremes, lives and overlay keys; accounts, tokens and sessions.
//!
//! Typed operations over [`Records`]. Nothing here is touched while people vote.
//!
//! **Invariant**: every document is bounded, in number and in bytes, and the document that refers to another is written
//! after it and deleted before it, so that a crash between two writes leaves something unused, never something dangling.
//! The one exception is the index of a channel's lives, whose entries may point to nothing and are then skipped.

mod baremes;
mod channels;
mod instance;
mod jeux;
mod keys;
mod lives;
mod people;

pub use channels::ChannelEdit;
pub use instance::InstanceId;
pub use jeux::JeuxDocument;
pub use keys::{KeyInfo, OverlayKey};
pub use lives::NewLive;
pub use lives::{MAX_MINIMUM_VOTES, checked_minimum_votes};
pub use people::{Account, Role, Session, Token, checked_account_name};

use crate::domain::Invalid;
use crate::domain::key::Slug;
use crate::records::Records;
use crate::store::{MAX_RECORD_BYTES, StoreError};

/// Most channels of an instance: far above one streamer's needs, and a list of them still fits one answer.
pub const MAX_CHANNELS: usize = 1_000;
/// Most jeux in a channel's catalogue, which is one document.
pub const MAX_JEUX: usize = 500;
/// Most baremes of a channel.
pub const MAX_BAREMES: usize = 100;
/// Most lives of a channel: one a day for five years.
pub const MAX_LIVES: usize = 2_000;
/// Most overlay keys of a channel.
pub const MAX_OVERLAY_KEYS: usize = 50;
/// Most accounts of an instance.
pub const MAX_ACCOUNTS: usize = 100;
/// Most API tokens of an instance.
pub const MAX_TOKENS: usize = 200;
/// Most sessions of one account; signing in once more ends the oldest.
pub const MAX_SESSIONS_PER_ACCOUNT: usize = 20;
/// Most sessions there can be.
pub const MAX_SESSIONS: usize = MAX_ACCOUNTS * MAX_SESSIONS_PER_ACCOUNT;

/// Longest document written here: what the store takes, less some room for growth by the engine's own fields.
const MAX_DOCUMENT_BYTES: usize = MAX_RECORD_BYTES - 8 * 1024;

/// Why the catalogue did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such thing.
    #[error("{reason}")]
    Unknown {
        /// Stable word for what is missing, such as `unknown_channel`.
        code: &'static str,
        /// Which.
        reason: String,
    },
    /// The state of things does not allow it.
    #[error("{reason}; {remedy}")]
    Conflict {
        /// Why not.
        reason: String,
        /// What to do first.
        remedy: String,
    },
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Too much of an expensive thing is going on.
    #[error("too many passwords are being checked")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refused {
    pub(crate) fn unknown(code: &'static str, reason: impl Into<String>) -> Self {
        Self::Unknown { code, reason: reason.into() }
    }

    pub(crate) fn conflict(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Conflict { reason: reason.into(), remedy: remedy.into() }
    }

    fn full(what: &str, most: usize) -> Self {
        Self::conflict(format!("there are {most} {what} already, which is the most"), "delete some first")
    }

    fn raced(what: &str) -> Self {
        Self::conflict(format!("{what} was changed at the same moment"), "read it again and repeat")
    }

    fn no_channel(slug: &Slug) -> Self {
        Self::unknown("unknown_channel", format!("there is no channel {slug}"))
    }
}

/// What operations of the catalogue return.
pub type Result<T> = std::result::Result<T, Refused>;

/// Typed operations over the records of a store. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    records: Records,
}

impl Catalogue {
    /// The catalogue in `records`.
    pub const fn new(records: Records) -> Self {
        Self { records }
    }
}

/// Checks that a document fits a record before the store refuses it less readably.
fn fits<T: serde::Serialize>(what: &str, document: &T) -> Result<()> {
    let bytes = serde_json::to_string(document).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_DOCUMENT_BYTES {
        return Err(Refused::conflict(
            format!("{what} would take more than {MAX_DOCUMENT_BYTES} bytes"),
            "shorten titles or delete some entries first",
        ));
    }
    Ok(())
}
