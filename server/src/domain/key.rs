//! Keys that people type: slugs of channels and keys of criteres.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::Invalid;
use super::rule::Rule;

/// Paths of the site that a channel must not hide.
const RESERVED_SLUGS: [&str; 14] = [
    "admin", "api", "assets", "ws", "overlay", "healthz", "readyz", "metrics", "version", "setup", "login", "favicon",
    "robots", "docs",
];

/// Longest slug, in characters.
const MAX_SLUG: usize = 40;

/// Longest key of a critere, in characters.
pub const MAX_KEY: usize = 32;

/// Names that `POST /api/note` gives a meaning of its own.
pub const RESERVED_CRITERE_KEYS: [&str; 7] = ["jeu_id", "live_id", "channel", "viewer", "v", "withdraw", "scores"];

/// Folds what a person typed to the form in which keys are compared: NFC, without accents, lower case.
///
/// `durée`, `Duree` and `dure\u{301}e` are all `duree`.
pub fn fold_key(text: &str) -> String {
    let text = text.trim();
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).nfc().collect()
}

fn checked(
    field: &str,
    text: &str,
    max: usize,
    rule: Rule,
    allowed: fn(u8) -> bool,
    words: &str,
) -> Result<String, Invalid> {
    let folded = fold_key(text);
    let starts_well = folded.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if starts_well && folded.len() <= max && folded.bytes().all(allowed) {
        Ok(folded)
    } else {
        Err(Invalid::new(
            field,
            rule,
            "is not a usable key",
            format!("send 1 to {max} of {words}, beginning with a letter or digit"),
        ))
    }
}

/// The name of a channel in its URLs: `[a-z0-9][a-z0-9-_]*`, at most 40 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

impl Slug {
    /// Folds accents and case, then checks.
    ///
    /// # Errors
    /// [`Invalid`] when the text is not a slug or names a page of the site.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let slug = checked("slug", text, MAX_SLUG, Rule::NotASlug { max: MAX_SLUG }, allowed, "a-z, 0-9, - and _")?;
        if RESERVED_SLUGS.contains(&slug.as_str()) {
            return Err(Invalid::new(
                "slug",
                Rule::Reserved,
                format!("`{slug}` is a page of this site"),
                "choose another name",
            ));
        }
        Ok(Self(slug))
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Slug {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::new(&text)
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

/// The key of a critere in the API: `[a-z0-9][a-z0-9_]*`, at most 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CritereKey(String);

impl CritereKey {
    /// Folds accents and case, then checks.
    ///
    /// # Errors
    /// [`Invalid`] when the text is not a key or has a meaning of its own in a vote.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let key = checked("key", text, MAX_KEY, Rule::NotAKey { max: MAX_KEY }, allowed, "a-z, 0-9 and _")?;
        if RESERVED_CRITERE_KEYS.contains(&key.as_str()) {
            return Err(Invalid::new(
                "key",
                Rule::Reserved,
                format!("`{key}` already names a field of a vote"),
                "choose another key",
            ));
        }
        Ok(Self(key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CritereKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CritereKey {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::new(&text)
    }
}

impl From<CritereKey> for String {
    fn from(key: CritereKey) -> Self {
        key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accented_key_in_either_unicode_form_means_the_plain_one() {
        for text in ["durée", "dure\u{301}e", "DURÉE", " duree "] {
            assert_eq!(CritereKey::new(text).unwrap().as_str(), "duree", "{text}");
        }
    }

    #[test]
    fn a_channel_cannot_hide_a_page_of_the_site() {
        assert!(Slug::new("Admin").unwrap_err().reason.contains("page of this site"));
        assert_eq!(Slug::new("Max-Joue").unwrap().as_str(), "max-joue");
    }

    #[test]
    fn markup_and_empty_text_are_not_keys() {
        for text in ["", "<b>", "a b", "../x", "-x", &"a".repeat(41)] {
            assert!(Slug::new(text).is_err(), "{text}");
        }
        assert!(CritereKey::new("jeu_id").is_err());
    }
}
