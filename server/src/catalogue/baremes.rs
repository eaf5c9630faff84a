//! The baremes of a channel. A live copies the one it is made from, so editing one changes no result.

use uuid::Uuid;

use super::{Catalogue, MAX_BAREMES, Refused, Result, fits};
use crate::domain::bareme::Bareme;
use crate::domain::key::Slug;
use crate::store::{RecordKey, RecordKind, Swap};

fn key(slug: &Slug, bareme_id: Uuid) -> RecordKey {
    RecordKey::new(RecordKind::Bareme, slug.as_str(), bareme_id.to_string())
}

fn unknown(slug: &Slug, bareme_id: Uuid) -> Refused {
    Refused::unknown("unknown_bareme", format!("channel {slug} has no bareme {bareme_id}"))
}

impl Catalogue {
    /// The baremes of a channel, oldest first.
    ///
    /// # Errors
    /// When there is no such channel.
    pub async fn baremes(&self, slug: &Slug) -> Result<Vec<(Uuid, Bareme)>> {
        self.channel(slug).await?;
        let rows = self.records.list::<Bareme>(RecordKind::Bareme, slug.as_str(), None, MAX_BAREMES).await?;
        Ok(rows.into_iter().filter_map(|(id, row)| Some((Uuid::try_parse(&id).ok()?, row.value))).collect())
    }

    /// One bareme.
    ///
    /// # Errors
    /// When there is no such channel or bareme.
    pub async fn bareme(&self, slug: &Slug, bareme_id: Uuid) -> Result<Bareme> {
        self.channel(slug).await?;
        let row = self.records.get::<Bareme>(&key(slug, bareme_id)).await?;
        row.map(|row| row.value).ok_or_else(|| unknown(slug, bareme_id))
    }

    /// Adds a bareme under a new id.
    ///
    /// # Errors
    /// When a field is wrong, there is no such channel, or it has too many.
    pub async fn add_bareme(&self, slug: &Slug, bareme: &Bareme) -> Result<(Uuid, Bareme)> {
        let bareme = bareme.checked()?;
        fits("the bareme", &bareme)?;
        if self.baremes(slug).await?.len() >= MAX_BAREMES {
            return Err(Refused::full("baremes", MAX_BAREMES));
        }
        let bareme_id = Uuid::now_v7();
        match self.records.put(&key(slug, bareme_id), 0, &bareme).await? {
            Swap::Done(_) => Ok((bareme_id, bareme)),
            Swap::Conflict(_) => Err(Refused::raced("the bareme")),
        }
    }

    /// Replaces a bareme. Lives made from it keep their copy.
    ///
    /// # Errors
    /// When a field is wrong, or there is no such bareme.
    pub async fn replace_bareme(&self, slug: &Slug, bareme_id: Uuid, bareme: &Bareme) -> Result<Bareme> {
        let bareme = bareme.checked()?;
        fits("the bareme", &bareme)?;
        self.channel(slug).await?;
        let change = |old: &mut Bareme| -> Result<()> {
            old.clone_from(&bareme);
            Ok(())
        };
        let changed = self.records.update(&key(slug, bareme_id), change).await?;
        changed.ok_or_else(|| unknown(slug, bareme_id))??;
        Ok(bareme)
    }

    /// Deletes a bareme. Lives made from it keep their copy.
    ///
    /// # Errors
    /// When there is no such bareme.
    pub async fn delete_bareme(&self, slug: &Slug, bareme_id: Uuid) -> Result<()> {
        self.bareme(slug, bareme_id).await?;
        self.remove(&key(slug, bareme_id)).await
    }
}
