//! A game of a channel's catalogue.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use super::{Invalid, MAX_TITLE_CHARS, checked_optional_text, checked_text};

/// Number of a jeu, unique in its channel: 1, 2, 3 …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JeuId(pub u32);

impl fmt::Display for JeuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a streamer says of a jeu.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JeuDetails {
    /// Title, as shown everywhere.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// Platform, such as "PC".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 80)]
    pub platform: String,
    /// Genre.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 80)]
    pub genre: String,
    /// Year of release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1950, maximum = 2100)]
    pub year: Option<u16>,
}

/// Jeux to show how things work, none of which exists: title, platform, genre, year.
const SAMPLES: [(&str, &str, &str, u16); 3] = [
    ("Les Brumes d’Armor", "PC", "Aventure", 2025),
    ("Turbo Escargot", "Switch", "Course", 2026),
    ("Le Phare de minuit", "PC", "Enquête", 2024),
];

impl JeuDetails {
    /// Jeux to show how things work, none of which exists.
    pub fn samples() -> impl Iterator<Item = Self> {
        SAMPLES.into_iter().map(|(title, platform, genre, year)| Self {
            title: title.to_owned(),
            platform: platform.to_owned(),
            genre: genre.to_owned(),
            year: Some(year),
        })
    }

    /// The details with their texts trimmed.
    ///
    /// # Errors
    /// [`Invalid`] naming the first field that is wrong.
    pub fn checked(&self) -> Result<Self, Invalid> {
        if let Some(year) = self.year.filter(|year| !(1950..=2100).contains(year)) {
            return Err(Invalid::new(
                "year",
                Rule::range(1950, 2100),
                format!("{year} is not a year of a game"),
                "send 1950 to 2100",
            ));
        }
        Ok(Self {
            title: checked_text("title", &self.title, MAX_TITLE_CHARS)?,
            platform: checked_optional_text("platform", &self.platform, 80)?,
            genre: checked_optional_text("genre", &self.genre, 80)?,
            year: self.year,
        })
    }
}

/// A jeu of a catalogue, or of the programme of a live (where it is a frozen copy).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Jeu {
    /// Its number in the channel.
    #[schema(value_type = u32)]
    pub jeu_id: JeuId,
    /// What the streamer says of it.
    #[serde(flatten)]
    pub details: JeuDetails,
}
