//! Lives as documents: made from a bareme and jeux, listed, deleted. Running them is the conductor's.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Catalogue, MAX_LIVES, Refused, Result, fits};
use crate::domain::jeu::{Jeu, JeuId};
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus, checked_programme};
use crate::domain::rule::Rule;
use crate::domain::{Invalid, MAX_TITLE_CHARS, checked_text};
use crate::store::{RecordKey, RecordKind, Swap};

/// Lives read at once when listing.
const READ_AHEAD: usize = 8;

/// Most voters a live may ask for before it shows averages.
pub const MAX_MINIMUM_VOTES: u32 = 100_000;

/// What a live is made from.
#[derive(Debug, Clone)]
pub struct NewLive {
    /// Title.
    pub title: String,
    /// The bareme that is copied into it.
    pub bareme_id: Uuid,
    /// The jeux that are copied into it, in order.
    pub jeux: Vec<JeuId>,
    /// Whether averages are hidden until one has voted.
    pub blind: bool,
    /// Voters below which averages are not shown.
    pub minimum_votes: u32,
}

/// Entry of the index of a channel's lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Indexed {
    created_at_us: u64,
}

fn key(live_id: LiveId) -> RecordKey {
    RecordKey::new(RecordKind::Live, "", live_id.to_string())
}

fn unknown(live_id: LiveId) -> Refused {
    Refused::unknown("unknown_live", format!("there is no live {live_id}"))
}

/// Checks a minimum of votes.
///
/// # Errors
/// [`Invalid`] when it is 0 or enormous.
pub fn checked_minimum_votes(minimum_votes: u32) -> std::result::Result<u32, Invalid> {
    if (1..=MAX_MINIMUM_VOTES).contains(&minimum_votes) {
        return Ok(minimum_votes);
    }
    let remedy = format!("send 1 to {MAX_MINIMUM_VOTES}");
    Err(Invalid::new(
        "minimum_votes",
        Rule::range(1, MAX_MINIMUM_VOTES),
        format!("{minimum_votes} is out of range"),
        remedy,
    ))
}

impl Catalogue {
    /// Copies of jeux of a channel's catalogue, in the order asked for.
    ///
    /// # Errors
    /// When the order is wrong, or names a jeu the channel does not have.
    pub async fn programme(&self, slug: &Slug, jeux: &[JeuId]) -> Result<Vec<Jeu>> {
        checked_programme(jeux)?;
        let known = self.jeux(slug).await?;
        let copy = |(index, jeu_id): (usize, &JeuId)| {
            known.iter().find(|jeu| jeu.jeu_id == *jeu_id).cloned().ok_or_else(|| {
                let reason = format!("channel {slug} has no jeu {jeu_id}");
                Refused::from(Invalid::new(
                    format!("jeux[{index}]"),
                    Rule::UnknownJeu,
                    reason,
                    "add it to the catalogue first",
                ))
            })
        };
        jeux.iter().enumerate().map(copy).collect()
    }

    /// Makes a draft, with its own copies of bareme and jeux.
    ///
    /// # Errors
    /// When a field is wrong, there is no such channel or bareme, or the channel has too many lives.
    pub async fn create_live(&self, slug: &Slug, new: NewLive, now_us: u64) -> Result<Live> {
        let title = checked_text("title", &new.title, MAX_TITLE_CHARS)?;
        let minimum_votes = checked_minimum_votes(new.minimum_votes)?;
        self.channel(slug).await?;
        let bareme = match self.bareme(slug, new.bareme_id).await {
            Err(Refused::Unknown { reason, .. }) => {
                return Err(Invalid::new(
                    "bareme_id",
                    Rule::UnknownBareme,
                    reason,
                    "send the id of a bareme of this channel",
                )
                .into());
            }
            other => other?,
        };
        let programme = self.programme(slug, &new.jeux).await?;
        let index = self.records.list::<Indexed>(RecordKind::ChannelLive, slug.as_str(), None, MAX_LIVES).await?;
        if index.len() >= MAX_LIVES {
            return Err(Refused::full("lives", MAX_LIVES));
        }
        let live = Live {
            live_id: LiveId(Uuid::now_v7()),
            channel: slug.clone(),
            title,
            bareme_id: new.bareme_id,
            bareme,
            programme,
            blind: new.blind,
            minimum_votes,
            status: LiveStatus::Draft,
            current: None,
            closes_at_us: std::collections::BTreeMap::new(),
            delays_us: std::collections::BTreeMap::new(),
            ends_at_us: None,
            created_at_us: now_us,
            opened_at_us: None,
            closed_at_us: None,
            closed_with: std::collections::BTreeSet::new(),
        };
        fits("the live", &live)?;
        // The index first: a live without its entry could never be found again, an entry without its live is skipped.
        let entry = RecordKey::new(RecordKind::ChannelLive, slug.as_str(), live.live_id.to_string());
        let indexed = self.records.put(&entry, 0, &Indexed { created_at_us: now_us }).await?;
        let written = self.records.put(&key(live.live_id), 0, &live).await?;
        match (indexed, written) {
            (Swap::Done(_), Swap::Done(_)) => Ok(live),
            _ => Err(Refused::raced("the live")),
        }
    }

    /// One live as a document.
    ///
    /// # Errors
    /// `unknown_live`, or the store's.
    pub async fn live(&self, live_id: LiveId) -> Result<Live> {
        let row = self.records.get::<Live>(&key(live_id)).await?;
        row.map(|row| row.value).ok_or_else(|| unknown(live_id))
    }

    /// The lives of a channel, newest first.
    ///
    /// # Errors
    /// When there is no such channel.
    pub async fn lives(&self, slug: &Slug) -> Result<Vec<Live>> {
        self.channel(slug).await?;
        let index = self.records.list::<Indexed>(RecordKind::ChannelLive, slug.as_str(), None, MAX_LIVES).await?;
        let ids = index.into_iter().rev().filter_map(|(id, _)| Uuid::try_parse(&id).ok());
        let read = |id| async move { self.records.get::<Live>(&key(LiveId(id))).await };
        let rows: Vec<_> = stream::iter(ids).map(read).buffered(READ_AHEAD).try_collect().await?;
        Ok(rows.into_iter().flatten().map(|row| row.value).collect())
    }

    /// Which lives of a channel were on air, newest first and made before `before`; and whether there are more than
    /// `limit`.
    ///
    /// # Errors
    /// When there is no such channel.
    pub async fn lives_on_air(&self, slug: &Slug, before: Option<LiveId>, limit: usize) -> Result<(Vec<LiveId>, bool)> {
        self.channel(slug).await?;
        let index = self.records.list::<Indexed>(RecordKind::ChannelLive, slug.as_str(), None, MAX_LIVES).await?;
        let ids = index.into_iter().rev().filter_map(|(id, _)| Uuid::try_parse(&id).ok()).map(LiveId);
        let ids = ids.filter(|live_id| before.is_none_or(|before| *live_id < before));
        let read = |live_id| async move { self.records.get::<Live>(&key(live_id)).await };
        let on_air = stream::iter(ids).map(read).buffered(READ_AHEAD).try_filter_map(async |row| {
            Ok(row.map(|row| row.value).filter(|live| live.status != LiveStatus::Draft).map(|live| live.live_id))
        });
        let mut found: Vec<_> = on_air.take(limit + 1).try_collect().await?;
        let has_more = found.len() > limit;
        found.truncate(limit);
        Ok((found, has_more))
    }

    /// Takes a deleted live out of the index of its channel.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget_live(&self, live: &Live) -> Result<()> {
        self.remove(&RecordKey::new(RecordKind::ChannelLive, live.channel.as_str(), live.live_id.to_string())).await
    }
}
