//! The files of the front-end, embedded in the binary and served under one content hash of the whole bundle, so that
//! relative imports keep working and a browser never mixes two builds.
//!
//! With `--assets-dir` the same paths serve a folder as it is at each request, uncached, while working on it.

mod comments;
mod compose;
mod files;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{LazyLock, OnceLock};

use actix_web::http::header::{self, AcceptEncoding, ContentEncoding, Encoding, Header as _};
use actix_web::web::{Data, Path as UrlPath, ServiceConfig, get, head, resource};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use self::comments::{lean_script, lean_style};
pub use self::compose::{CATALOGUES, Messages, messages, modules};
use self::files::short_hex;
pub use self::files::{Files, build};
use super::AppState;
use crate::i18n::Lang;

/// Extensions that are served, with their MIME types, and whether compressing them gains anything.
const SERVED: [(&str, &str, bool); 5] = [
    ("js", "text/javascript; charset=utf-8", true),
    ("css", "text/css; charset=utf-8", true),
    ("svg", "image/svg+xml", true),
    ("webmanifest", "application/manifest+json", true),
    ("woff2", "font/woff2", false),
];

/// The strongest compression: each file is compressed once in the life of the process.
const BROTLI_QUALITY: u32 = 11;
/// The window brotli recommends for the web; none of the files is larger.
const BROTLI_WINDOW_BITS: u32 = 18;
/// The weakest claim to a processor; on Linux a thread has its own.
#[cfg(target_os = "linux")]
const LOWEST_PRIORITY: i32 = 19;
/// Buffer of the compressor.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// A file as browsers get it.
struct Served {
    mime: &'static str,
    etag: String,
    plain: Bytes,
    gzip: Option<Bytes>,
    brotli: Option<Bytes>,
}

/// What was compressed so far, by path.
static EMBEDDED: LazyLock<BTreeMap<String, OnceLock<Option<Served>>>> = LazyLock::new(|| {
    let words = |lang: Lang| ["viewer", "overlay", "admin"].map(|page| format!("messages/{}/{page}.js", lang.as_str()));
    let paths = Files::embedded().into_iter().chain(Lang::ALL.into_iter().flat_map(words));
    paths.map(|path| (path, OnceLock::new())).collect()
});

impl Served {
    fn compose(files: &Files, path: &str) -> Option<(&'static str, bool, Bytes)> {
        let extension = path.rsplit_once('.')?.1;
        let (_, mime, compressible) = SERVED.into_iter().find(|(served, ..)| *served == extension)?;
        let plain = if path.starts_with("messages/") {
            compose::messages_module(files, path)?.into()
        } else if extension == "css" {
            compose::style_sheet(files, path)?.into()
        } else {
            Bytes::from_owner(files.read(path)?)
        };
        Some((mime, compressible, plain))
    }

    /// A file of a folder, which may be another one at the next request.
    fn passing(files: &Files, path: &str) -> Option<Self> {
        let (mime, _, plain) = Self::compose(files, path)?;
        Some(Self { mime, etag: etag_of(&plain), plain, gzip: None, brotli: None })
    }

    /// A file of the binary, compressed for everybody who will ask.
    fn lasting(path: &str) -> Option<Self> {
        let (mime, compressible, plain) = Self::compose(&Files::Embedded, path)?;
        let plain = lean(path, plain);
        let smaller = |packed: Vec<u8>| (packed.len() < plain.len()).then(|| Bytes::from(packed));
        let (gzip, brotli) = match compressible {
            true => (gzip(&plain).and_then(smaller), brotli(&plain).and_then(smaller)),
            false => (None, None),
        };
        Some(Self { mime, etag: etag_of(&plain), plain, gzip, brotli })
    }

    /// The best body for a browser that takes these encodings.
    fn body_for(&self, accepted: Option<&AcceptEncoding>) -> (Option<ContentEncoding>, Bytes) {
        let offers = [
            (ContentEncoding::Brotli, Encoding::brotli(), self.brotli.as_ref()),
            (ContentEncoding::Gzip, Encoding::gzip(), self.gzip.as_ref()),
        ];
        for (encoding, offer, body) in offers {
            let taken =
                accepted.is_some_and(|accepted| accepted.negotiate([&offer].into_iter()) == Some(offer.clone()));
            if let (true, Some(body)) = (taken, body) {
                return (Some(encoding), body.clone());
            }
        }
        (None, self.plain.clone())
    }
}

/// A file as it is sent: from a folder, people who work on it get it as they wrote it.
fn lean(path: &str, written: Bytes) -> Bytes {
    match (std::str::from_utf8(&written), path.rsplit_once('.')) {
        (Ok(text), Some((_, "js"))) => lean_script(text).into(),
        (Ok(text), Some((_, "css"))) => lean_style(text).into(),
        _ => written,
    }
}

fn etag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", short_hex(&Sha256::digest(bytes)))
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

fn brotli(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut packed = Vec::new();
    let mut encoder =
        brotli::CompressorWriter::new(&mut packed, BROTLI_BUFFER_BYTES, BROTLI_QUALITY, BROTLI_WINDOW_BITS);
    encoder.write_all(bytes).ok()?;
    drop(encoder);
    Some(packed)
}

/// Compresses every file ahead of the first request, which would otherwise wait some milliseconds for its own. That is a
/// second of work, on a thread that steps back for all others: whoever starts one more server has an audience that waits.
///
/// # Errors
/// The system's: no more threads.
pub fn warm_up() -> std::io::Result<()> {
    let compress = || {
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::setpriority_process(None, LOWEST_PRIORITY) {
            tracing::debug!(%error, "files are compressed at the ordinary priority");
        }
        for (path, served) in EMBEDDED.iter() {
            served.get_or_init(|| Served::lasting(path));
        }
    };
    // Detached: it ends by itself, and the process does not wait for it.
    std::thread::Builder::new().name("assets".to_owned()).spawn(compress).map(drop)
}

async fn asset(state: Data<AppState>, request: HttpRequest, path: UrlPath<(String, String)>) -> HttpResponse {
    let (hash, path) = path.into_inner();
    respond(&Files::of(&state.settings), &request, &hash, &path)
}

fn respond(files: &Files, request: &HttpRequest, hash: &str, path: &str) -> HttpResponse {
    let passing;
    let served = match files {
        Files::Embedded => EMBEDDED.get(path).and_then(|served| served.get_or_init(|| Served::lasting(path)).as_ref()),
        Files::Folder(_) => {
            passing = Served::passing(files, path);
            passing.as_ref()
        }
    };
    let Some(served) = served else {
        return HttpResponse::NotFound().insert_header((header::CACHE_CONTROL, "no-store")).finish();
    };
    // A page of another build, seen during a rolling update, gets what there is, and must ask again next time.
    let lasting = *files == Files::Embedded && hash == files.segment();
    let cache = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let has_it = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == served.etag));
    let mut response = if has_it { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::CACHE_CONTROL, cache))
        .insert_header((header::VARY, "Accept-Encoding"))
        .insert_header((header::CONTENT_TYPE, served.mime))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if !lasting {
        response.insert_header((header::ETAG, served.etag.as_str()));
    }
    if has_it {
        return response.finish();
    }
    let accepted = AcceptEncoding::parse(request).ok();
    let (encoding, body) = served.body_for(accepted.as_ref());
    if let Some(encoding) = encoding {
        response.insert_header(encoding);
    }
    response.body(body)
}

/// Adds `GET` and `HEAD` of `/assets/{hash}/{path}`.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(resource("/assets/{hash}/{path:.*}").route(get().to(asset)).route(head().to(asset)));
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use std::io::Read as _;
    use std::path::PathBuf;

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
        let paths = Files::embedded();
        for path in ["pages/viewer.js", "pages/overlay.js", "styles/tokens.css", "messages/fr/viewer.json"] {
            assert!(paths.iter().any(|known| known == path), "{path}");
        }
        assert!(!paths.iter().any(|path| path.starts_with("tests/")), "{paths:?}");
        assert_eq!(build().split('+').nth(1), Some(Files::Embedded.segment()));
    }

    #[actix_web::test]
    async fn messages_are_served_as_a_module_and_not_as_a_file() {
        let response = get_asset(&Files::Embedded, Files::Embedded.segment(), "messages/fr/viewer.js");
        assert_eq!(header_of(&response, header::CONTENT_TYPE), "text/javascript; charset=utf-8");
        assert!(header_of(&response, header::CACHE_CONTROL).contains("immutable"));
        let body = to_bytes(response.into_body()).await.unwrap();
        assert!(body.starts_with(b"export default {"));
        for path in [
            "messages/fr/viewer.json",
            "messages/xx/viewer.js",
            "tests/package.json",
            "../server/Cargo.toml",
            "",
            "pages",
        ] {
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

    #[actix_web::test]
    async fn a_file_is_sent_in_the_best_form_the_browser_takes() {
        let fetch = async |accepted: &str| {
            let request = TestRequest::default().insert_header((header::ACCEPT_ENCODING, accepted)).to_http_request();
            let response = respond(&Files::Embedded, &request, Files::Embedded.segment(), "lib/connection.js");
            let encoding =
                response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
            (encoding, to_bytes(response.into_body()).await.unwrap())
        };
        let written = Files::Embedded.read("lib/connection.js").unwrap();
        let plain = lean_script(std::str::from_utf8(&written).unwrap()).into_bytes();
        let (encoding, body) = fetch("gzip, deflate, br").await;
        assert_eq!(encoding.as_deref(), Some("br"));
        let mut unpacked = Vec::new();
        brotli::Decompressor::new(&body[..], 4096).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain && body.len() * 2 < plain.len(), "{} of {}", body.len(), plain.len());
        let (encoding, body) = fetch("gzip").await;
        assert_eq!(encoding.as_deref(), Some("gzip"));
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain);
        for refusing in ["identity", "br;q=0"] {
            assert_eq!(fetch(refusing).await.0, None, "{refusing}");
        }
    }
}
