//! The words of the pages, in the two languages, from the catalogues in `overlay/messages/{fr,en}/`.
//!
//! Templates take them here, from all catalogues; a page's scripts get those they say as one module,
//! `messages/<lang>/<page>.js`.

use std::sync::{Arc, LazyLock};

use crate::domain::decimal::Decimal;
use crate::http::assets::{CATALOGUES, Files, Messages, messages};

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

/// The numbers of the pages as the server writes them, which is how `overlay/lib/format.js` does.
impl Lang {
    /// A count, in groups of three digits.
    pub fn count(self, count: u64) -> String {
        let digits = count.to_string();
        let mut text = String::with_capacity(digits.len() * 2);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(match self {
                    Self::Fr => '\u{202f}',
                    Self::En => ',',
                });
            }
            text.push(digit);
        }
        text
    }

    /// A score or an end of a scale, exactly.
    pub fn decimal(self, number: Decimal) -> String {
        self.point(number.to_string())
    }

    /// A mean: one decimal, or none on scales as wide as a percentage. Halves go away from zero.
    pub fn mean(self, mean: f64, min: Decimal, max: Decimal) -> String {
        // Means have nine decimals at most; what a binary fraction adds to them must not decide.
        let tenths = (mean * 1e9).round() / 1e8;
        let wide = max.as_thousandths() - min.as_thousandths() >= Decimal::whole(100).as_thousandths();
        self.point(if wide {
            format!("{:.0}", (tenths / 10.0).round())
        } else {
            format!("{:.1}", tenths.round() / 10.0)
        })
    }

    fn point(self, number: String) -> String {
        match self {
            Self::Fr => number.replace('.', ","),
            Self::En => number,
        }
    }
}

/// What stands for a number that is not there.
pub const NO_NUMBER: &str = "–";

/// The messages of one language.
#[derive(Debug, Clone)]
pub struct Texts {
    lang: Lang,
    messages: Arc<Messages>,
}

static EMBEDDED: LazyLock<[Arc<Messages>; 2]> =
    LazyLock::new(|| Lang::ALL.map(|lang| Arc::new(read(&Files::Embedded, lang))));

/// All messages of a language.
fn read(files: &Files, lang: Lang) -> Messages {
    messages(files, lang, CATALOGUES)
}

impl Texts {
    /// The messages of a language, from the binary or, while working on them, from the folder.
    pub fn load(files: &Files, lang: Lang) -> Self {
        let messages = match files {
            Files::Embedded => Arc::clone(&EMBEDDED[usize::from(lang == Lang::En)]),
            Files::Folder(_) => Arc::new(read(files, lang)),
        };
        Self { lang, messages }
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

impl Texts {
    /// The form of a message for a count, which stands for `{n}` in it.
    pub fn count(&self, key: &str, count: u64) -> String {
        let one = count == 1 || (count == 0 && self.lang == Lang::Fr);
        self.fill(&format!("{key}.{}", if one { "one" } else { "other" }), &[("n", &self.lang.count(count))])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::http::assets::modules;

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
    fn numbers_are_written_as_the_scripts_write_them() {
        let whole = Decimal::whole;
        for (lang, count, mean) in [(Lang::Fr, "1\u{202f}234\u{202f}567", "4,3"), (Lang::En, "1,234,567", "4.3")] {
            assert_eq!((&*lang.count(1_234_567), &*lang.mean(4.25, whole(1), whole(5))), (count, mean));
        }
        assert_eq!((&*Lang::En.count(0), &*Lang::En.count(999), &*Lang::En.count(1000)), ("0", "999", "1,000"));
        for (mean, text) in [(0.35, "0.4"), (4.0, "4.0"), (4.249_999_999, "4.2"), (-0.35, "-0.4"), (9.95, "10.0")] {
            assert_eq!(Lang::En.mean(mean, whole(0), whole(20)), text);
        }
        assert_eq!(Lang::Fr.mean(66.5, whole(0), whole(100)), "67");
        assert_eq!(Lang::Fr.decimal(Decimal::thousandths(3_500)), "3,5");
    }

    #[test]
    fn a_message_has_a_form_for_its_count() {
        let texts = |lang| Texts::load(&Files::Embedded, lang);
        assert_eq!(
            (texts(Lang::Fr).count("votes.count", 0), texts(Lang::En).count("votes.count", 0)),
            ("0 vote".into(), "0 votes".into())
        );
        assert_eq!(texts(Lang::Fr).count("votes.count", 1248), "1\u{202f}248 votes");
        assert_eq!(texts(Lang::En).count("votes.count", 1), "1 vote");
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
        sources(&root.join("src/http/pages"), &mut files);
        let mut used = BTreeSet::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            // Keys are written in full, in double quotes, wherever they are used.
            for literal in text.split('"').skip(1) {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
                let family = literal.split('.').next().unwrap_or_default();
                let is_file = [".html", ".css", ".js"].iter().any(|ending| literal.ends_with(ending));
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
            // Chosen by what the server answers: rules, fields and actions of the audit log have tests of their own.
            if ["rule.", "field.", "audit."].iter().any(|family| key.starts_with(family)) {
                continue;
            }
            let single = key.strip_suffix(".one").or_else(|| key.strip_suffix(".other")).unwrap_or(key);
            assert!(used.contains(key) || used.contains(single), "nothing says `{key}`");
        }
    }

    #[test]
    fn every_catalogue_is_named_and_no_message_is_in_two() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../overlay/messages");
        for lang in Lang::ALL {
            let files = std::fs::read_dir(folder.join(lang.as_str())).unwrap();
            let found: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            assert_eq!(found, CATALOGUES.iter().map(|name| format!("{name}.json")).collect());
            let sizes = CATALOGUES.map(|name| messages(&Files::Embedded, lang, [name]).len());
            assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
            assert_eq!(sizes.iter().sum::<usize>(), catalogue(lang).len());
        }
    }

    #[test]
    fn a_page_says_only_words_that_are_sent_to_it() {
        for (page, own) in [("viewer", "viewer"), ("overlay", "overlay"), ("admin", "admin")] {
            let mut names = vec!["shared", own];
            if page == "admin" {
                names.push("problems");
            }
            let sent = messages(&Files::Embedded, Lang::Fr, names);
            let all = catalogue(Lang::Fr);
            let entry = format!("pages/{page}.js");
            for path in modules(&Files::Embedded, page, Lang::Fr)
                .iter()
                .chain([&entry])
                .filter(|path| !path.starts_with("messages/"))
            {
                let text = String::from_utf8(Files::Embedded.read(path).unwrap().into_owned()).unwrap();
                for literal in text.split('"').skip(1) {
                    let plural = format!("{literal}.other");
                    let is_key = all.contains_key(literal) || all.contains_key(&plural);
                    let is_sent = sent.contains_key(literal) || sent.contains_key(&plural);
                    assert!(!is_key || is_sent, "{path} says `{literal}`, which page {page} does not get");
                }
            }
        }
    }
}
