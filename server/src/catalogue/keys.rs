//! Overlay keys: read-only, revocable, one channel each.
//!
//! A key is found by its hash, and its text is kept beside it, unlike that of any other secret: the admin page must be
//! able to show the overlay's address at any time. It opens no number that a viewer who has not voted does not see, so
//! that whoever reads it in the database learns nothing they could not have from the channel's public page.

use serde::{Deserialize, Serialize};

use super::{Catalogue, MAX_OVERLAY_KEYS, Refused, Result};
use crate::domain::checked_text;
use crate::domain::key::Slug;
use crate::store::{RecordKey, RecordKind, StoreError, Swap};

/// Longest name of a key, in characters.
const MAX_KEY_NAME_CHARS: usize = 80;

/// An overlay key as it is stored, under its hash. Without `Debug`, so that its text cannot reach a log by accident.
#[derive(Clone, Serialize, Deserialize)]
pub struct OverlayKey {
    /// What the streamer calls it.
    pub name: String,
    /// When it was made, microseconds since 1970.
    pub created_at_us: u64,
    /// The key itself; of keys from before it was kept there is only the hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

fn key(slug: &Slug, key_id: &str) -> RecordKey {
    RecordKey::new(RecordKind::OverlayKey, slug.as_str(), key_id)
}

impl Catalogue {
    /// The overlay keys of a channel by their ids, oldest first.
    ///
    /// # Errors
    /// When there is no such channel.
    pub async fn overlay_keys(&self, slug: &Slug) -> Result<Vec<(String, OverlayKey)>> {
        self.channel(slug).await?;
        let rows = self.records.list::<OverlayKey>(RecordKind::OverlayKey, slug.as_str(), None, MAX_OVERLAY_KEYS);
        let mut keys: Vec<_> = rows.await?.into_iter().map(|(key_id, row)| (key_id, row.value)).collect();
        keys.sort_by_key(|(_, key)| key.created_at_us);
        Ok(keys)
    }

    /// Keeps a new overlay key under its hash; returns it with its name trimmed.
    ///
    /// # Errors
    /// When the name is wrong, there is no such channel, or it has too many.
    pub async fn add_overlay_key(&self, slug: &Slug, hash: &str, new: OverlayKey) -> Result<OverlayKey> {
        let name = checked_text("name", &new.name, MAX_KEY_NAME_CHARS)?;
        if self.overlay_keys(slug).await?.len() >= MAX_OVERLAY_KEYS {
            return Err(Refused::full("overlay keys", MAX_OVERLAY_KEYS));
        }
        let document = OverlayKey { name, ..new };
        match self.records.put(&key(slug, hash), 0, &document).await? {
            Swap::Done(_) => Ok(document),
            Swap::Conflict(_) => Err(Refused::raced("the key")),
        }
    }

    /// Whether a channel has the key with this hash.
    ///
    /// # Errors
    /// The store's.
    pub async fn has_overlay_key(&self, slug: &Slug, hash: &str) -> std::result::Result<bool, StoreError> {
        Ok(self.records.get::<OverlayKey>(&key(slug, hash)).await?.is_some())
    }

    /// Revokes an overlay key.
    ///
    /// # Errors
    /// When there is no such channel or key.
    pub async fn delete_overlay_key(&self, slug: &Slug, key_id: &str) -> Result<()> {
        self.channel(slug).await?;
        if !self.has_overlay_key(slug, key_id).await? {
            return Err(Refused::unknown("unknown_key", format!("channel {slug} has no such overlay key")));
        }
        self.remove(&key(slug, key_id)).await?;
        self.revoked().await
    }
}
