//! The product's nouns and their rules. No I/O, no clock, no randomness: everything here is a value.
//!
//! Invariant: a value of a type of this module is valid. What arrives from outside is checked where it is
//! turned into one of these types, and what is wrong comes back as [`Invalid`], naming the field and the remedy.

pub mod ballot;
pub mod bareme;
pub mod channel;
pub mod decimal;
pub mod jeu;
pub mod key;
pub mod live;
pub mod note;
pub mod object;
pub mod phase;
pub mod rule;
pub mod tally;
mod text;
pub mod viewer;

use rule::Rule;

/// Longest title, name or label, in Unicode scalar values.
pub const MAX_TITLE_CHARS: usize = 200;

/// One thing wrong with one field of what somebody sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}; {remedy}")]
pub struct Invalid {
    /// Path of the field, such as `criteres[2].step`.
    pub field: String,
    /// Which rule it does not keep, for programs.
    pub rule: Rule,
    /// What is wrong with it.
    pub reason: String,
    /// What to send instead.
    pub remedy: String,
}

impl Invalid {
    /// Names a field, the rule it does not keep, what is wrong with it and what to send instead.
    pub fn new(field: impl Into<String>, rule: Rule, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { field: field.into(), rule, reason: reason.into(), remedy: remedy.into() }
    }

    /// The same complaint about a field that lies inside `parent`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.field = if self.field.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.field) };
        self
    }
}

/// Trims `text` and checks that it is 1 to `max_chars` characters, each of which is seen or belongs to one that is.
///
/// # Errors
/// [`Invalid`] naming `field`.
pub fn checked_text(field: &str, text: &str, max_chars: usize) -> Result<String, Invalid> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Invalid::new(field, Rule::Required, "is empty", format!("send 1 to {max_chars} characters")));
    }
    checked_optional_text(field, text, max_chars)
}

/// Like [`checked_text`], but an empty text is fine.
///
/// # Errors
/// [`Invalid`] naming `field`.
pub fn checked_optional_text(field: &str, text: &str, max_chars: usize) -> Result<String, Invalid> {
    let text = text.trim();
    let count = text.chars().count();
    if count > max_chars {
        return Err(Invalid::new(
            field,
            Rule::TooLong { max: max_chars },
            format!("is {count} characters long"),
            format!("send at most {max_chars}"),
        ));
    }
    if let Some(c) = text::unseen(text) {
        return Err(Invalid::new(
            field,
            Rule::ControlCharacter,
            format!("contains the invisible character U+{:04X}", u32::from(c)),
            "remove it and send plain text on one line",
        ));
    }
    if !text.is_empty() && !text::is_visible(text) {
        let remedy = "send something that can be seen, or nothing";
        return Err(Invalid::new(field, Rule::ControlCharacter, "has nothing that can be seen", remedy));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_spaces_is_empty() {
        assert_eq!(checked_text("title", "  \t ", 10).unwrap_err().field, "title");
    }

    #[test]
    fn html_is_text_and_a_direction_override_is_not() {
        assert_eq!(checked_text("title", "<b>'; DROP", 20).unwrap(), "<b>'; DROP");
        assert!(checked_text("title", "abc\u{202E}def", 20).unwrap_err().reason.contains("U+202E"));
        assert!(checked_text("title", "\u{200B}", 20).unwrap_err().reason.contains("U+200B"));
        assert_eq!(checked_text("title", "\u{2800}", 20).unwrap_err().rule, Rule::ControlCharacter);
        assert_eq!(checked_optional_text("genre", " ", 20).unwrap(), "");
    }

    #[test]
    fn a_field_inside_another_is_named_by_its_path() {
        let invalid = Invalid::new("step", Rule::Required, "is zero", "send 1").within("criteres[2]");
        assert_eq!(invalid.to_string(), "criteres[2].step: is zero; send 1");
    }
}
