//! Channels: made, edited, deleted.

use super::{Catalogue, MAX_CHANNELS, Refused, Result};
use crate::domain::channel::{Channel, checked_close_delay};
use crate::domain::key::Slug;
use crate::domain::rule::Rule;
use crate::domain::{MAX_TITLE_CHARS, checked_text};
use crate::store::{RecordKey, RecordKind, Swap};

/// How far ahead a closing is announced in a new channel: a usual stream delay.
const DEFAULT_CLOSE_DELAY_MS: u64 = 5_000;

/// What can be changed of a channel; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct ChannelEdit {
    /// New title.
    pub title: Option<String>,
    /// New delay of closings, in milliseconds.
    pub close_delay_ms: Option<u64>,
}

fn key(slug: &Slug) -> RecordKey {
    RecordKey::new(RecordKind::Channel, "", slug.as_str())
}

impl Catalogue {
    /// Every channel, by slug.
    ///
    /// # Errors
    /// The store's.
    pub async fn channels(&self) -> Result<Vec<Channel>> {
        let rows = self.records.list::<Channel>(RecordKind::Channel, "", None, MAX_CHANNELS).await?;
        Ok(rows.into_iter().map(|(_, row)| row.value).collect())
    }

    /// One channel.
    ///
    /// # Errors
    /// `unknown_channel`, or the store's.
    pub async fn channel(&self, slug: &Slug) -> Result<Channel> {
        let row = self.records.get::<Channel>(&key(slug)).await?;
        row.map(|row| row.value).ok_or_else(|| Refused::no_channel(slug))
    }

    /// Makes a channel.
    ///
    /// # Errors
    /// When the title is wrong, the slug is taken or there are too many.
    pub async fn create_channel(&self, slug: Slug, title: &str, now_us: u64) -> Result<Channel> {
        let title = checked_text("title", title, MAX_TITLE_CHARS)?;
        let channel = Channel {
            slug,
            title,
            close_delay_ms: DEFAULT_CLOSE_DELAY_MS,
            open_live: None,
            last_live: None,
            takes_back: None,
            unfinished: std::collections::BTreeSet::new(),
            created_at_us: now_us,
        };
        if self.records.list::<Channel>(RecordKind::Channel, "", None, MAX_CHANNELS).await?.len() >= MAX_CHANNELS {
            return Err(Refused::full("channels", MAX_CHANNELS));
        }
        match self.records.put(&key(&channel.slug), 0, &channel).await? {
            Swap::Done(_) => Ok(channel),
            Swap::Conflict(_) => Err(Refused::conflict(
                Rule::Taken,
                format!("there is a channel {} already", channel.slug),
                "choose another slug",
            )),
        }
    }

    /// Changes title or closing delay of a channel.
    ///
    /// # Errors
    /// When a field is wrong or there is no such channel.
    pub async fn edit_channel(&self, slug: &Slug, edit: ChannelEdit) -> Result<Channel> {
        let title = edit.title.map(|title| checked_text("title", &title, MAX_TITLE_CHARS)).transpose()?;
        let delay_ms =
            edit.close_delay_ms.map(|delay_ms| checked_close_delay("close_delay_ms", delay_ms)).transpose()?;
        let change = |channel: &mut Channel| -> std::result::Result<(), Refused> {
            if let Some(title) = &title {
                channel.title.clone_from(title);
            }
            channel.close_delay_ms = delay_ms.unwrap_or(channel.close_delay_ms);
            Ok(())
        };
        let (row, ()) = self.records.update(&key(slug), change).await?.ok_or_else(|| Refused::no_channel(slug))??;
        Ok(row.value)
    }

    /// Deletes a channel and what it kept. Votes that were counted stay in the store until they are pruned.
    ///
    /// The channel itself goes first, by compare-and-set, so that no live can open meanwhile. Repeating the call after a
    /// crash finishes the rest, although it then says that there is no such channel.
    ///
    /// # Errors
    /// When a live is open, or there is no such channel.
    pub async fn delete_channel(&self, slug: &Slug) -> Result<()> {
        let found = self.records.get::<Channel>(&key(slug)).await?;
        if let Some(row) = &found {
            if row.value.open_live.is_some() {
                return Err(Refused::conflict(
                    Rule::LiveOnAir,
                    format!("a live of channel {slug} is open"),
                    "close it first",
                ));
            }
            if let Swap::Conflict(_) = self.records.delete(&key(slug), row.revision).await? {
                return Err(Refused::raced("the channel"));
            }
        }
        self.sweep(RecordKind::OverlayKey, slug.as_str()).await?;
        self.revoked().await?;
        self.sweep(RecordKind::Bareme, slug.as_str()).await?;
        self.remove(&RecordKey::new(RecordKind::Jeux, "", slug.as_str())).await?;
        for (id, _) in self
            .records
            .list::<serde_json::Value>(RecordKind::ChannelLive, slug.as_str(), None, MAX_LIVES_SWEPT)
            .await?
        {
            self.remove(&RecordKey::new(RecordKind::Live, "", id.as_str())).await?;
            self.remove(&RecordKey::new(RecordKind::ChannelLive, slug.as_str(), id)).await?;
        }
        found.map(|_| ()).ok_or_else(|| Refused::no_channel(slug))
    }

    /// Deletes every record of a kind in a scope.
    async fn sweep(&self, kind: RecordKind, scope: &str) -> Result<()> {
        for (id, _) in self.records.list::<serde_json::Value>(kind, scope, None, MAX_LIVES_SWEPT).await? {
            self.remove(&RecordKey::new(kind, scope, id)).await?;
        }
        Ok(())
    }

    /// Deletes a record whatever its revision; that it is gone already is fine.
    pub(super) async fn remove(&self, key: &RecordKey) -> Result<()> {
        while let Some(row) = self.records.get::<serde_json::Value>(key).await? {
            if let Swap::Done(_) = self.records.delete(key, row.revision).await? {
                break;
            }
        }
        Ok(())
    }
}

/// Above every limit of what a channel keeps.
const MAX_LIVES_SWEPT: usize = super::MAX_LIVES + 100;
