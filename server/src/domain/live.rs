//! One broadcast: its frozen bareme, its programme, and where it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Invalid;
use super::bareme::Bareme;
use super::jeu::{Jeu, JeuId};
use super::key::Slug;
use super::rule::Rule;

/// How long after its end a live can be opened again: time to see that it was the wrong button, and short enough that
/// nobody has used the results yet.
pub const UNDO_WINDOW_US: u64 = 30_000_000;

/// Most jeux in the programme of one live.
pub const MAX_PROGRAMME: usize = 100;

/// Identity of a live: a UUIDv7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LiveId(pub Uuid);

impl fmt::Display for LiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a live stands as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LiveStatus {
    /// Prepared; can still be edited or deleted.
    Draft,
    /// On air: the one live of its channel that pages show.
    Open,
    /// Over; every jeu that was opened is final or becoming so.
    Closed,
}

/// A live. Every change to it is one compare-and-set of its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Identity.
    pub live_id: LiveId,
    /// The channel it belongs to.
    pub channel: Slug,
    /// Title.
    pub title: String,
    /// The bareme it was made from.
    pub bareme_id: Uuid,
    /// Frozen copy of that bareme.
    pub bareme: Bareme,
    /// The jeux in order, frozen copies.
    pub programme: Vec<Jeu>,
    /// Whether viewers see nothing of a jeu before their own note on it.
    pub blind: bool,
    /// Voters below which averages are not shown; at least 1.
    pub minimum_votes: u32,
    /// Draft, open or closed.
    pub status: LiveStatus,
    /// The jeu that pages and overlay follow.
    pub current: Option<JeuId>,
    /// Announced closings: microseconds since 1970 at which the jeu stops taking notes.
    #[serde(default)]
    pub closes_at_us: BTreeMap<JeuId, u64>,
    /// Announced end of the live itself, microseconds since 1970.
    #[serde(default)]
    pub ends_at_us: Option<u64>,
    /// How long ahead these moments were announced, in microseconds, by moment: a pod that hears of one waits that long,
    /// whatever its clock says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub delays_us: BTreeMap<u64, u64>,
    /// When it was made, microseconds since 1970.
    pub created_at_us: u64,
    /// When it went on air.
    #[serde(default)]
    pub opened_at_us: Option<u64>,
    /// When it ended.
    #[serde(default)]
    pub closed_at_us: Option<u64>,
    /// The jeux that its ending closed, which opening it again opens again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub closed_with: BTreeSet<JeuId>,
}

impl Live {
    /// Position in the programme and the jeu itself.
    pub fn jeu(&self, jeu_id: JeuId) -> Option<(usize, &Jeu)> {
        self.programme.iter().enumerate().find(|(_, jeu)| jeu.jeu_id == jeu_id)
    }

    /// Notes how long ahead a moment was just announced; moments that are announced no more are forgotten.
    pub fn announce(&mut self, at_us: u64, delay_us: u64) {
        self.delays_us.insert(at_us, delay_us);
        let announced: BTreeSet<u64> = self.closes_at_us.values().copied().chain(self.ends_at_us).collect();
        self.delays_us.retain(|at_us, _| announced.contains(at_us));
    }
}

/// Checks the order of a programme.
///
/// # Errors
/// [`Invalid`] when it is empty, too long or names a jeu twice.
pub fn checked_programme(jeux: &[JeuId]) -> Result<(), Invalid> {
    if jeux.is_empty() || jeux.len() > MAX_PROGRAMME {
        let remedy = format!("send 1 to {MAX_PROGRAMME} numbers of the channel's catalogue");
        return Err(Invalid::new(
            "jeux",
            Rule::WrongCount { min: 1, max: MAX_PROGRAMME },
            format!("has {} entries", jeux.len()),
            remedy,
        ));
    }
    for (index, jeu_id) in jeux.iter().enumerate() {
        if jeux[..index].contains(jeu_id) {
            return Err(Invalid::new(
                format!("jeux[{index}]"),
                Rule::Duplicate,
                format!("names jeu {jeu_id} again"),
                "name each jeu once",
            ));
        }
    }
    Ok(())
}
