//! How pages, answers and files come over the wire: `HEAD`, and compression, once.

use std::io::Read as _;

use reqwest::{Method, Response};

use super::support::Server;

/// Asks as a browser does.
async fn ask(server: &Server, method: Method, path: &str, encodings: &str) -> Response {
    let request = server.client.request(method, format!("{}{path}", server.base));
    request.header("Accept-Encoding", encodings).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// The address of a file, as the viewer page names it.
async fn asset(server: &Server, name: &str) -> String {
    let html = ask(server, Method::GET, "/max", "identity").await.text().await.unwrap();
    let end = html.find(name).unwrap_or_else(|| panic!("{name} in {html}")) + name.len();
    let start = html[..end].rfind('"').unwrap() + 1;
    html[start..end].to_owned()
}

fn unpacked(encoding: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match encoding {
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_end(&mut text).unwrap(),
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut text).unwrap(),
        _ => return body.to_vec(),
    };
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_as_get_is_without_the_body() {
    let server = Server::start().await;
    server.on_air("max").await;
    let script = asset(&server, "pages/viewer.js").await;
    for path in ["/", "/max", "/admin", "/nobody", "/a/b/c", "/assets/x/none.js", "/version", &script] {
        let get = ask(&server, Method::GET, path, "identity").await;
        let head = ask(&server, Method::HEAD, path, "identity").await;
        assert_eq!(head.status(), get.status(), "{path}");
        for name in ["content-type", "content-security-policy", "cache-control", "x-content-type-options"] {
            assert_eq!(header(&head, name), header(&get, name), "{name} of {path}");
        }
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_answers_and_files_are_compressed_once() {
    let server = Server::start().await;
    let live = server.on_air("max").await;
    let (script, style) = (asset(&server, "pages/viewer.js").await, asset(&server, "pages/viewer.css").await);
    let results = format!("/api/lives/{live}/results");
    for path in ["/max", "/", "/api/channels/max/state", &results, &script, &style] {
        let plain = ask(&server, Method::GET, path, "identity").await;
        assert_eq!(header(&plain, "content-encoding"), None, "{path}");
        let plain = plain.bytes().await.unwrap();
        for encoding in ["br", "gzip"] {
            let packed = ask(&server, Method::GET, path, encoding).await;
            assert_eq!(header(&packed, "content-encoding"), Some(encoding), "{path}");
            let vary = packed.headers().get_all("vary");
            let named = vary.iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"accept-encoding"));
            assert!(named, "{path} varies by {vary:?}");
            let body = packed.bytes().await.unwrap();
            assert!(body.len() * 10 < plain.len() * 8, "{path}: {} of {}", body.len(), plain.len());
            let text = unpacked(Some(encoding), &body);
            // What says the time says another one at each call.
            let is_same = if path.ends_with("/state") { text.starts_with(&plain[..40]) } else { text == plain };
            assert!(is_same, "{path}: {}", String::from_utf8_lossy(&text));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_costs_a_small_head_and_no_policy() {
    let server = Server::start().await;
    server.on_air("max").await;
    let script = ask(&server, Method::GET, &asset(&server, "pages/viewer.js").await, "br").await;
    let size =
        |response: &Response| response.headers().iter().map(|(k, v)| k.as_str().len() + v.len() + 4).sum::<usize>();
    assert!(size(&script) < 260, "{:?}", script.headers());
    assert_eq!(header(&script, "content-security-policy"), None);
    assert!(header(&script, "cache-control").unwrap().contains("immutable"));
}
