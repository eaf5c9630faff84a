//! A channel's catalogue of jeux: one document, whose numbers are never used again.

use serde::{Deserialize, Serialize};

use super::{Catalogue, MAX_JEUX, Refused, Result, fits};
use crate::domain::jeu::{Jeu, JeuDetails, JeuId};
use crate::domain::key::Slug;
use crate::store::{RecordKey, RecordKind, Swap};

/// The jeux of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JeuxDocument {
    /// Number of the next jeu. It only grows, so that the number of a deleted jeu never means another one.
    pub next_id: u32,
    /// The jeux in order of number.
    pub jeux: Vec<Jeu>,
}

impl Default for JeuxDocument {
    fn default() -> Self {
        Self { next_id: 1, jeux: Vec::new() }
    }
}

fn key(slug: &Slug) -> RecordKey {
    RecordKey::new(RecordKind::Jeux, "", slug.as_str())
}

fn unknown(slug: &Slug, jeu_id: JeuId) -> Refused {
    Refused::unknown("unknown_jeu", format!("channel {slug} has no jeu {jeu_id}"))
}

impl Catalogue {
    /// The jeux of a channel, in order of number.
    ///
    /// # Errors
    /// When there is no such channel.
    pub async fn jeux(&self, slug: &Slug) -> Result<Vec<Jeu>> {
        self.channel(slug).await?;
        Ok(self.jeux_document(slug).await?.map_or_else(Vec::new, |document| document.jeux))
    }

    async fn jeux_document(&self, slug: &Slug) -> Result<Option<JeuxDocument>> {
        Ok(self.records.get::<JeuxDocument>(&key(slug)).await?.map(|row| row.value))
    }

    /// Adds a jeu under the next number.
    ///
    /// # Errors
    /// When a field is wrong, there is no such channel, or its catalogue is full.
    pub async fn add_jeu(&self, slug: &Slug, details: &JeuDetails) -> Result<Jeu> {
        let details = details.checked()?;
        self.channel(slug).await?;
        if self.jeux_document(slug).await?.is_none() {
            // A conflict means that somebody else made it, which is as good.
            let _: Swap = self.records.put(&key(slug), 0, &JeuxDocument::default()).await?;
        }
        let add = |document: &mut JeuxDocument| {
            if document.jeux.len() >= MAX_JEUX {
                return Err(Refused::full("jeux", MAX_JEUX));
            }
            let jeu = Jeu { jeu_id: JeuId(document.next_id), details: details.clone() };
            document.next_id += 1;
            document.jeux.push(jeu.clone());
            fits("the catalogue of jeux", document)?;
            Ok(jeu)
        };
        let (_, jeu) = self.records.update(&key(slug), add).await?.ok_or_else(|| Refused::no_channel(slug))??;
        Ok(jeu)
    }

    /// Changes what the channel says of a jeu. Lives made before keep their copy.
    ///
    /// # Errors
    /// When `edit` leaves a field wrong, or there is no such jeu.
    pub async fn edit_jeu(
        &self,
        slug: &Slug,
        jeu_id: JeuId,
        edit: impl Fn(&mut JeuDetails) + Send + Sync,
    ) -> Result<Jeu> {
        self.channel(slug).await?;
        let change = |document: &mut JeuxDocument| {
            let Some(jeu) = document.jeux.iter_mut().find(|jeu| jeu.jeu_id == jeu_id) else {
                return Err(unknown(slug, jeu_id));
            };
            edit(&mut jeu.details);
            jeu.details = jeu.details.checked()?;
            let jeu = jeu.clone();
            fits("the catalogue of jeux", document)?;
            Ok(jeu)
        };
        let changed = self.records.update(&key(slug), change).await?;
        let (_, jeu) = changed.ok_or_else(|| unknown(slug, jeu_id))??;
        Ok(jeu)
    }

    /// Takes a jeu out of the catalogue. Lives made before keep their copy.
    ///
    /// # Errors
    /// When there is no such jeu.
    pub async fn delete_jeu(&self, slug: &Slug, jeu_id: JeuId) -> Result<()> {
        self.channel(slug).await?;
        let change = |document: &mut JeuxDocument| {
            let before = document.jeux.len();
            document.jeux.retain(|jeu| jeu.jeu_id != jeu_id);
            if document.jeux.len() == before { Err(unknown(slug, jeu_id)) } else { Ok(()) }
        };
        let changed = self.records.update(&key(slug), change).await?;
        changed.ok_or_else(|| unknown(slug, jeu_id))??;
        Ok(())
    }
}
