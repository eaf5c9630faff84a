//! Overlay keys: read-only, revocable, one channel each. Only the hash of a key is kept.

use serde::{Deserialize, Serialize};

use super::{Catalogue, MAX_OVERLAY_KEYS, Refused, Result};
use crate::domain::checked_text;
use crate::domain::key::Slug;
use crate::store::{RecordKey, RecordKind, StoreError, Swap};

/// Longest name of a key, in characters.
const MAX_KEY_NAME_CHARS: usize = 80;

/// An overlay key as it is stored, under its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayKey {
    /// What the streamer calls it.
    pub name: String,
    /// When it was made, microseconds since 1970.
    pub created_at_us: u64,
}

/// An overlay key as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KeyInfo {
    /// Its id: the SHA-256 of the key, in hexadecimal.
    pub key_id: String,
    /// What the streamer calls it.
    pub name: String,
    /// When it was made, microseconds since 1970.
    pub created_at_us: u64,
}

fn key(slug: &Slug, key_id: &str) -> RecordKey {
    RecordKey::new(RecordKind::OverlayKey, slug.as_str(), key_id)
}

impl Catalogue {
    /// The overlay keys of a channel, oldest first.
    ///
    /// # Errors
    /// When there is no such channel.
    pub async fn overlay_keys(&self, slug: &Slug) -> Result<Vec<KeyInfo>> {
        self.channel(slug).await?;
        let rows = self.records.list::<OverlayKey>(RecordKind::OverlayKey, slug.as_str(), None, MAX_OVERLAY_KEYS);
        let info = |(key_id, row): (String, crate::records::Versioned<OverlayKey>)| KeyInfo {
            key_id,
            name: row.value.name,
            created_at_us: row.value.created_at_us,
        };
        let mut keys: Vec<_> = rows.await?.into_iter().map(info).collect();
        keys.sort_by_key(|key| key.created_at_us);
        Ok(keys)
    }

    /// Keeps the hash of a new overlay key.
    ///
    /// # Errors
    /// When the name is wrong, there is no such channel, or it has too many.
    pub async fn add_overlay_key(&self, slug: &Slug, hash: &str, name: &str, now_us: u64) -> Result<KeyInfo> {
        let name = checked_text("name", name, MAX_KEY_NAME_CHARS)?;
        if self.overlay_keys(slug).await?.len() >= MAX_OVERLAY_KEYS {
            return Err(Refused::full("overlay keys", MAX_OVERLAY_KEYS));
        }
        let document = OverlayKey { name, created_at_us: now_us };
        match self.records.put(&key(slug, hash), 0, &document).await? {
            Swap::Done(_) => Ok(KeyInfo { key_id: hash.to_owned(), name: document.name, created_at_us: now_us }),
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
        self.remove(&key(slug, key_id)).await
    }
}
