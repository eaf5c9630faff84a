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
pub use keys::OverlayKey;
pub use lives::NewLive;
pub use lives::{MAX_MINIMUM_VOTES, checked_minimum_votes};
pub use people::{
    Account, Passkey, Passkeys, PendingFactor, Role, Scope, SecondFactor, Session, Token, UsedChallenge,
    checked_account_name,
};

use crate::domain::Invalid;
use crate::domain::key::Slug;
use crate::domain::rule::Rule;
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
/// Most passkeys of an account: a phone, a computer, a password manager and two security keys leave room.
pub const MAX_PASSKEYS: usize = 10;
/// Most API tokens of an instance.
pub const MAX_TOKENS: usize = 200;
/// Most sessions of one account; signing in once more ends the oldest.
pub const MAX_SESSIONS_PER_ACCOUNT: usize = 20;

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
        /// Which rule it is, for programs.
        rule: Rule,
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

    pub(crate) fn conflict(rule: Rule, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Conflict { rule, reason: reason.into(), remedy: remedy.into() }
    }

    /// Whether the same call may succeed a moment later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store(error) if error.may_pass())
    }

    pub(crate) fn full(what: &str, most: usize) -> Self {
        Self::conflict(
            Rule::Full { max: most },
            format!("there are {most} {what} already, which is the most"),
            "delete some first",
        )
    }

    fn raced(what: &str) -> Self {
        Self::conflict(Rule::Raced, format!("{what} was changed at the same moment"), "read it again and repeat")
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
            Rule::DocumentTooLarge { max: MAX_DOCUMENT_BYTES },
            format!("{what} would take more than {MAX_DOCUMENT_BYTES} bytes"),
            "shorten titles or delete some entries first",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::bareme::presets;
    use crate::domain::jeu::{JeuDetails, JeuId};
    use crate::store::memory::MemoryStore;

    fn slug() -> Slug {
        Slug::new("max").unwrap()
    }

    fn jeu(title: &str) -> JeuDetails {
        JeuDetails { title: title.to_owned(), ..JeuDetails::default() }
    }

    async fn catalogue() -> Catalogue {
        let catalogue = Catalogue::new(Records::new(Arc::new(MemoryStore::exclusive())));
        catalogue.create_channel(slug(), "Max", 1).await.unwrap();
        catalogue
    }

    #[tokio::test]
    async fn jeux_added_at_once_get_numbers_of_their_own() {
        let catalogue = catalogue().await;
        let (slug, details) = (slug(), jeu("x"));
        let added = futures_util::future::join_all((0..20).map(|_| catalogue.add_jeu(&slug, &details))).await;
        let mut ids: Vec<_> = added.into_iter().map(|jeu| jeu.unwrap().jeu_id.0).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_catalogue_of_jeux_has_an_end() {
        let catalogue = catalogue().await;
        for _ in 0..MAX_JEUX {
            catalogue.add_jeu(&slug(), &jeu("x")).await.unwrap();
        }
        assert!(matches!(catalogue.add_jeu(&slug(), &jeu("x")).await, Err(Refused::Conflict { .. })));
    }

    #[tokio::test]
    async fn long_titles_meet_the_limit_of_a_document_as_a_conflict() {
        let catalogue = catalogue().await;
        let long =
            JeuDetails { title: "é".repeat(200), platform: "é".repeat(80), genre: "é".repeat(80), year: None };
        let mut refused = None;
        for _ in 0..MAX_JEUX {
            if let Err(error) = catalogue.add_jeu(&slug(), &long).await {
                refused = Some(error);
                break;
            }
        }
        assert!(matches!(refused, Some(Refused::Conflict { .. })), "{refused:?}");
        assert!(catalogue.jeux(&slug()).await.unwrap().len() > 200);
    }

    #[tokio::test]
    async fn nothing_of_a_deleted_channel_is_left_for_the_next_of_that_name() {
        let catalogue = catalogue().await;
        catalogue.add_jeu(&slug(), &jeu("x")).await.unwrap();
        let (bareme_id, _) = catalogue.add_bareme(&slug(), &presets()[0]).await.unwrap();
        let key = OverlayKey { name: "x".into(), created_at_us: 1, key: None };
        catalogue.add_overlay_key(&slug(), "hash", key).await.unwrap();
        let new = NewLive { title: "x".into(), bareme_id, jeux: vec![JeuId(1)], blind: false, minimum_votes: 1 };
        let live = catalogue.create_live(&slug(), new, 1).await.unwrap();
        catalogue.delete_channel(&slug()).await.unwrap();
        assert!(matches!(catalogue.delete_channel(&slug()).await, Err(Refused::Unknown { .. })));
        catalogue.create_channel(slug(), "Max", 2).await.unwrap();
        assert!(catalogue.jeux(&slug()).await.unwrap().is_empty());
        assert!(catalogue.baremes(&slug()).await.unwrap().is_empty());
        assert!(catalogue.lives(&slug()).await.unwrap().is_empty());
        assert!(!catalogue.has_overlay_key(&slug(), "hash").await.unwrap());
        assert!(matches!(catalogue.live(live.live_id).await, Err(Refused::Unknown { .. })));
    }

    #[tokio::test]
    async fn of_two_channels_of_one_name_one_is_made() {
        let catalogue = catalogue().await;
        let again = catalogue.create_channel(slug(), "Autre", 2).await;
        assert!(matches!(again, Err(Refused::Conflict { .. })));
        assert_eq!(catalogue.channel(&slug()).await.unwrap().title, "Max");
    }
}
