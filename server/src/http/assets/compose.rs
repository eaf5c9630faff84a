//! What browsers get that is no file of the folder: a page's styles as one file, its words as one module, and the list
//! of all modules it will ask for. It makes pages load in one round trip without a build step: opened from the folder,
//! `@import` and `import` mean the same.

use std::collections::{BTreeMap, BTreeSet};

use super::files::Files;
use crate::i18n::Lang;

/// Imports nested deeper than this are a mistake, such as a circle.
const MAX_IMPORT_DEPTH: usize = 4;

/// Messages of one language by key.
pub type Messages = BTreeMap<String, String>;

/// Every catalogue, `messages/<lang>/<name>.json`.
pub const CATALOGUES: [&str; 6] = ["shared", "problems", "viewer", "overlay", "admin", "site"];

/// The catalogues whose words a page's scripts say.
fn catalogues_of(page: &str) -> Option<&'static [&'static str]> {
    match page {
        "viewer" => Some(&["shared", "viewer"]),
        "overlay" => Some(&["shared", "overlay"]),
        "admin" => Some(&["shared", "problems", "admin"]),
        _ => None,
    }
}

/// The messages of some catalogues. One that cannot be read is empty, and keys stand for their messages: a test keeps
/// the embedded ones readable.
pub fn messages<'a>(files: &Files, lang: Lang, catalogues: impl IntoIterator<Item = &'a str>) -> Messages {
    let read = |name: &str| {
        let bytes = files.read(&format!("messages/{}/{name}.json", lang.as_str()))?;
        serde_json::from_slice::<Messages>(&bytes).ok()
    };
    catalogues.into_iter().filter_map(read).flatten().collect()
}

/// The words of a page as a module: `messages/<lang>/<page>.js`.
pub(super) fn messages_module(files: &Files, path: &str) -> Option<Vec<u8>> {
    let (lang, page) = path.strip_prefix("messages/")?.strip_suffix(".js")?.split_once('/')?;
    let lang = Lang::ALL.into_iter().find(|known| known.as_str() == lang)?;
    let words = messages(files, lang, catalogues_of(page)?.iter().copied());
    let json = serde_json::to_vec(&words).ok()?;
    Some([b"export default ".as_slice(), &json, b";\n"].concat())
}

/// The target of a path relative to the folder of a file, such as `../lib/dom.js` in `pages/viewer.js`.
fn resolve(from: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// A style sheet with what it imports in its place.
///
/// Addresses in `url()` are not rewritten: they stand in `styles/` only, which is as deep as `pages/`.
pub(super) fn style_sheet(files: &Files, path: &str) -> Option<String> {
    flatten(files, path, 0)
}

fn flatten(files: &Files, path: &str, depth: usize) -> Option<String> {
    let text = String::from_utf8(files.read(path)?.into_owned()).ok()?;
    if depth == MAX_IMPORT_DEPTH || !text.contains("@import") {
        return Some(text);
    }
    let mut flat = String::with_capacity(text.len());
    for line in text.lines() {
        let imported = line.strip_prefix("@import \"").and_then(|rest| rest.strip_suffix("\";"));
        match imported.and_then(|relative| resolve(path, relative)) {
            Some(target) => flat.push_str(&flatten(files, &target, depth + 1)?),
            None => flat.push_str(line),
        }
        flat.push('\n');
    }
    Some(flat)
}

/// The files that a module's `import` and `export … from` statements name.
fn imports(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        // The last line of a statement names the file; types in comments are no imports.
        let names_file = ["import ", "export ", "} from "].iter().any(|start| line.starts_with(start));
        let target = line.trim_end().strip_suffix("\";").and_then(|rest| rest.rsplit_once('"'));
        if let (true, Some((_, relative))) = (names_file, target)
            && relative.starts_with('.')
        {
            found.extend(resolve(path, relative));
        }
    }
    found
}

/// Everything that a page's script imports, and the words it loads: what a browser may fetch at once.
pub fn modules(files: &Files, page: &str, lang: Lang) -> Vec<String> {
    let entry = format!("pages/{page}.js");
    let mut seen = BTreeSet::new();
    let mut next = vec![entry.clone()];
    while let Some(path) = next.pop() {
        let Some(text) = files.read(&path).and_then(|bytes| String::from_utf8(bytes.into_owned()).ok()) else {
            continue;
        };
        next.extend(imports(&path, &text).into_iter().filter(|target| !seen.contains(target)));
        seen.insert(path);
    }
    seen.remove(&entry);
    let words = catalogues_of(page).map(|_| format!("messages/{}/{page}.js", lang.as_str()));
    seen.into_iter().chain(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_all_its_styles_in_one_file() {
        for page in ["viewer", "overlay", "admin", "site"] {
            let css = style_sheet(&Files::Embedded, &format!("pages/{page}.css")).unwrap();
            assert!(css.contains("--accent:") && !css.contains("@import"), "{page}: {css}");
        }
        assert!(style_sheet(&Files::Embedded, "pages/none.css").is_none());
    }

    #[test]
    fn only_styles_as_deep_as_pages_name_other_files() {
        for path in Files::embedded().iter().filter(|path| path.ends_with(".css") && path.starts_with("components/")) {
            let css = String::from_utf8(Files::Embedded.read(path).unwrap().into_owned()).unwrap();
            assert!(!css.contains("url("), "{path}: move it to styles/");
        }
    }

    #[test]
    fn imports_are_followed_and_types_in_comments_are_not() {
        let text = "/** @import { Live } from \"./types.js\" */\nimport { h } from \"../lib/dom.js\";\nimport {\n  a,\n} \
            from \"./a.js\";\nexport * from \"./b.js\";\nimport \"./c.js\";\nconst x = \"./d.js\";\n";
        let text = text.replace("} from", "\n} from");
        assert_eq!(imports("pages/viewer.js", &text), ["lib/dom.js", "pages/a.js", "pages/b.js", "pages/c.js"]);
        let viewer = modules(&Files::Embedded, "viewer", Lang::Fr);
        for path in ["lib/connection.js", "lib/clock.js", "components/note-bar/note-bar.js", "messages/fr/viewer.js"] {
            assert!(viewer.iter().any(|known| known == path), "{path} in {viewer:?}");
        }
        for path in ["lib/types.js", "lib/admin.js", "pages/viewer.js"] {
            assert!(!viewer.iter().any(|known| known == path), "{path} in {viewer:?}");
        }
    }

    #[test]
    fn every_import_leads_to_a_file() {
        for path in Files::embedded().iter().filter(|path| path.ends_with(".js")) {
            let text = String::from_utf8(Files::Embedded.read(path).unwrap().into_owned()).unwrap();
            for target in imports(path, &text) {
                assert!(Files::Embedded.read(&target).is_some(), "{path} imports {target}");
            }
        }
    }

    #[test]
    fn a_page_gets_its_own_words_only() {
        let module = String::from_utf8(messages_module(&Files::Embedded, "messages/fr/viewer.js").unwrap()).unwrap();
        assert!(module.starts_with("export default {") && module.contains("\"note.saved\":\"Enregistré\""));
        assert!(!module.contains("\"admin."));
        for path in ["messages/fr/nobody.js", "messages/xx/viewer.js", "messages/fr/shared.js", "messages/fr.js"] {
            assert!(messages_module(&Files::Embedded, path).is_none(), "{path}");
        }
    }
}
