//! The files of the front-end, embedded in the binary and served under one content hash of the whole bundle, so that
//! relative imports keep working and a browser never mixes two builds.
//!
//! With `--assets-dir` the same paths serve a folder as it is at each request, uncached, while working on it.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::web::{Data, Path as UrlPath, ServiceConfig, get};
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::Embed;
use sha2::{Digest, Sha256};

use super::AppState;
use crate::i18n::Lang;
use crate::settings::Settings;

/// What the front-end consists of; its tests and their tools are not part of it.
#[derive(Embed)]
#[folder = "../overlay/"]
#[include = "*.js"]
#[include = "*.css"]
#[include = "*.json"]
#[include = "*.svg"]
#[include = "*.woff2"]
#[exclude = "tests/*"]
#[exclude = "tsconfig.json"]
struct Bundle;

/// Extensions that are served, with their MIME types.
const SERVED: [(&str, &str); 4] = [
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("woff2", "font/woff2"),
];

/// Digits of the bundle's hash in URLs: 64 bits, so that no two builds anybody runs share one.
const HASH_DIGITS: usize = 16;

/// Path segment that stands for the hash when files come from a folder.
const LIVE: &str = "live";

static BUNDLE_HASH: LazyLock<String> = LazyLock::new(|| {
    let mut paths: Vec<_> = Bundle::iter().collect();
    paths.sort();
    let mut hasher = Sha256::new();
    for path in paths {
        let Some(file) = Bundle::get(&path) else { continue };
        hasher.update(path.as_bytes());
        hasher.update([0]);
        hasher.update(file.metadata.sha256_hash());
    }
    short_hex(&hasher.finalize())
});

/// The first [`HASH_DIGITS`] digits of a hash.
fn short_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.take(HASH_DIGITS).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Version of this program and of the pages in it: `welcome.build`, and what pages compare it with.
pub fn build() -> &'static str {
    static BUILD: LazyLock<String> = LazyLock::new(|| format!("{}+{}", env!("CARGO_PKG_VERSION"), *BUNDLE_HASH));
    &BUILD
}

/// Where the files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// The binary.
    Embedded,
    /// A folder, read at each request.
    Folder(PathBuf),
}

impl Files {
    /// What the settings say.
    pub fn of(settings: &Settings) -> Self {
        settings.assets_dir.clone().map_or(Self::Embedded, Self::Folder)
    }

    /// The bytes of a file of the front-end; `path` is relative and may come from anybody.
    pub fn read(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        match self {
            Self::Embedded => Bundle::get(path).map(|file| file.data),
            Self::Folder(folder) => {
                let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
                let tests = path.starts_with("tests/");
                if !inside || tests { None } else { std::fs::read(folder.join(path)).ok().map(Cow::Owned) }
            }
        }
    }

    /// The path segment under `/assets/` that names this state of the files.
    pub fn segment(&self) -> &'static str {
        match self {
            Self::Embedded => &BUNDLE_HASH,
            Self::Folder(_) => LIVE,
        }
    }

    /// A file as browsers get it: its MIME type and bytes. Messages become modules.
    fn served(&self, path: &str) -> Option<(&'static str, Cow<'static, [u8]>)> {
        let extension = path.rsplit_once('.')?.1;
        let (_, mime) = SERVED.into_iter().find(|(served, _)| *served == extension)?;
        let messages = path.strip_prefix("messages/").and_then(|name| name.strip_suffix(".js"));
        let Some(lang) = messages else { return Some((mime, self.read(path)?)) };
        let lang = Lang::ALL.into_iter().find(|known| known.as_str() == lang)?;
        let json = self.read(&format!("messages/{}.json", lang.as_str()))?;
        Some((mime, Cow::Owned([b"export default ", json.as_ref()].concat())))
    }
}

async fn asset(state: Data<AppState>, request: HttpRequest, path: UrlPath<(String, String)>) -> HttpResponse {
    let (hash, path) = path.into_inner();
    respond(&Files::of(&state.settings), &request, &hash, &path)
}

fn respond(files: &Files, request: &HttpRequest, hash: &str, path: &str) -> HttpResponse {
    let Some((mime, bytes)) = files.served(path) else {
        return HttpResponse::NotFound().insert_header((header::CACHE_CONTROL, "no-store")).finish();
    };
    let etag = format!("\"{}\"", short_hex(&Sha256::digest(&bytes)));
    // A page of another build, seen during a rolling update, gets what there is, and must ask again next time.
    let lasting = *files == Files::Embedded && hash == files.segment();
    let cache = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let has_it = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag));
    let mut response = if has_it { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::CACHE_CONTROL, cache))
        .insert_header((header::ETAG, etag))
        .insert_header((header::CONTENT_TYPE, mime))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if has_it { response.finish() } else { response.body(bytes.into_owned()) }
}

/// Adds `GET /assets/{hash}/{path}`.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/assets/{hash}/{path:.*}", get().to(asset));
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::*;

    fn get_asset(files: &Files, hash: &str, path: &str) -> HttpResponse {
        respond(files, &TestRequest::default().to_http_request(), hash, path)
    }

    fn header_of(response: &HttpResponse, name: header::HeaderName) -> String {
        response.headers().get(name).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_bundle_holds_the_pages_and_nothing_of_their_tests() {
        let paths: Vec<_> = Bundle::iter().collect();
        for path in ["pages/viewer.js", "pages/overlay.js", "styles/tokens.css", "messages/fr.json"] {
            assert!(paths.iter().any(|known| known == path), "{path}");
        }
        assert!(!paths.iter().any(|path| path.starts_with("tests/")), "{paths:?}");
        assert_eq!(build().split('+').nth(1), Some(Files::Embedded.segment()));
    }

    #[actix_web::test]
    async fn messages_are_served_as_a_module_and_not_as_a_file() {
        let response = get_asset(&Files::Embedded, Files::Embedded.segment(), "messages/fr.js");
        assert_eq!(header_of(&response, header::CONTENT_TYPE), "text/javascript; charset=utf-8");
        assert!(header_of(&response, header::CACHE_CONTROL).contains("immutable"));
        let body = to_bytes(response.into_body()).await.unwrap();
        assert!(body.starts_with(b"export default {"));
        for path in ["messages/fr.json", "messages/xx.js", "tests/package.json", "../server/Cargo.toml", "", "pages"] {
            assert_eq!(get_asset(&Files::Embedded, "x", path).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again_and_another_build_is_not_cached() {
        let response = get_asset(&Files::Embedded, "0123456789abcdef", "styles/tokens.css");
        assert_eq!(header_of(&response, header::CACHE_CONTROL), "no-cache");
        let etag = header_of(&response, header::ETAG);
        let request = TestRequest::default().insert_header((header::IF_NONE_MATCH, etag)).to_http_request();
        let again = respond(&Files::Embedded, &request, Files::Embedded.segment(), "styles/tokens.css");
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn a_folder_serves_only_what_lies_inside_it() {
        let folder = Files::Folder(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../overlay")));
        assert_eq!(get_asset(&folder, "live", "styles/tokens.css").status(), StatusCode::OK);
        for path in ["../overlay/styles/tokens.css", "/etc/passwd.js", "tests/package.json", "styles/none.css"] {
            assert_eq!(get_asset(&folder, "live", path).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
