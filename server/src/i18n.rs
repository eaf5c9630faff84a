//! The words of the pages, in the two languages, from one catalogue: `overlay/messages/{fr,en}.json`.
//!
//! Templates take them here; scripts get the same file as a module, `messages/<lang>.js`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::http::assets::Files;

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lang {
    /// French.
    Fr,
    /// English.
    En,
}

impl Lang {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fr, Self::En];

    /// Its tag, such as `fr`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fr => "fr",
            Self::En => "en",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Fr => Self::En,
            Self::En => Self::Fr,
        }
    }

    /// The language of a tag such as `fr-CA`.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split('-').next()?.to_ascii_lowercase();
        Self::ALL.into_iter().find(|lang| lang.as_str() == primary)
    }

    /// The language somebody asked for in the URL, else the one their browser likes best, else French for browsers
    /// that say nothing and English for those that speak neither.
    pub fn choose(query: Option<&str>, accept_language: Option<&str>) -> Self {
        if let Some(lang) = query.and_then(Self::of_tag) {
            return lang;
        }
        let Some(header) = accept_language.filter(|header| !header.trim().is_empty()) else { return Self::Fr };
        let mut liked: Option<(f32, Self)> = None;
        for entry in header.split(',') {
            let mut parts = entry.split(';');
            let Some(lang) = parts.next().and_then(Self::of_tag) else { continue };
            let quality = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            if quality > 0.0 && liked.is_none_or(|(best, _)| quality > best) {
                liked = Some((quality, lang));
            }
        }
        liked.map_or(Self::En, |(_, lang)| lang)
    }
}

type Messages = BTreeMap<String, String>;

/// The messages of one language.
#[derive(Debug, Clone)]
pub struct Texts {
    messages: Arc<Messages>,
}

static EMBEDDED: LazyLock<[Arc<Messages>; 2]> =
    LazyLock::new(|| Lang::ALL.map(|lang| Arc::new(read(&Files::Embedded, lang))));

/// A catalogue that cannot be read is empty, and keys stand for their messages: a test keeps the embedded one readable.
fn read(files: &Files, lang: Lang) -> Messages {
    let bytes = files.read(&format!("messages/{}.json", lang.as_str()));
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

impl Texts {
    /// The messages of a language, from the binary or, while working on them, from the folder.
    pub fn load(files: &Files, lang: Lang) -> Self {
        let messages = match files {
            Files::Embedded => Arc::clone(&EMBEDDED[usize::from(lang == Lang::En)]),
            Files::Folder(_) => Arc::new(read(files, lang)),
        };
        Self { messages }
    }

    /// A message; its key when there is none.
    pub fn say<'a>(&'a self, key: &'a str) -> &'a str {
        self.messages.get(key).map_or(key, String::as_str)
    }

    /// A message with its `{placeholders}` filled in.
    pub fn fill(&self, key: &str, values: &[(&str, &str)]) -> String {
        values.iter().fold(self.say(key).to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn catalogue(lang: Lang) -> Messages {
        read(&Files::Embedded, lang)
    }

    #[test]
    fn the_url_then_the_browser_choose_the_language() {
        assert_eq!(Lang::choose(Some("en"), Some("fr")), Lang::En);
        assert_eq!(Lang::choose(Some("xx"), Some("en-GB,fr;q=0.8")), Lang::En);
        assert_eq!(Lang::choose(None, Some("en;q=0.5, fr-CA")), Lang::Fr);
        assert_eq!(Lang::choose(None, Some("de, en;q=0.1, fr;q=0")), Lang::En);
        assert_eq!(Lang::choose(None, Some("de")), Lang::En);
        assert_eq!(Lang::choose(None, None), Lang::Fr);
    }

    #[test]
    fn both_languages_have_the_same_keys_and_placeholders() {
        let (fr, en) = (catalogue(Lang::Fr), catalogue(Lang::En));
        assert!(fr.len() > 50);
        assert_eq!(fr.keys().collect::<Vec<_>>(), en.keys().collect::<Vec<_>>());
        let placeholders = |text: &str| {
            let names =
                text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name.to_owned());
            names.collect::<BTreeSet<_>>()
        };
        for (key, french) in &fr {
            assert_eq!(placeholders(french), placeholders(&en[key]), "{key}");
            assert!(!french.trim().is_empty() && !en[key].trim().is_empty(), "{key}");
        }
    }

    fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|ext| ext == "js" || ext == "html" || ext == "rs") {
                into.push(path);
            }
        }
    }

    #[test]
    fn every_key_in_templates_and_scripts_exists_and_every_message_is_used() {
        let catalogue = catalogue(Lang::Fr);
        let families: BTreeSet<_> = catalogue.keys().filter_map(|key| key.split('.').next()).collect();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for folder in ["templates", "../overlay/lib", "../overlay/pages", "../overlay/components"] {
            sources(&root.join(folder), &mut files);
        }
        files.push(root.join("src/http/pages.rs"));
        let mut used = BTreeSet::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            // Keys are written in full, in double quotes, wherever they are used.
            for literal in text.split('"').skip(1) {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
                let family = literal.split('.').next().unwrap_or_default();
                let is_file = literal.ends_with(".html");
                if is_file || !literal.contains('.') || !literal.chars().all(plain) || !families.contains(family) {
                    continue;
                }
                let plural = format!("{literal}.other");
                let known = catalogue.contains_key(literal) || catalogue.contains_key(&plural);
                assert!(known, "{}: no message `{literal}`", file.display());
                used.insert(literal.to_owned());
            }
        }
        for key in catalogue.keys() {
            let single = key.strip_suffix(".one").or_else(|| key.strip_suffix(".other")).unwrap_or(key);
            assert!(used.contains(key) || used.contains(single), "nothing says `{key}`");
        }
    }
}
