//! What a request tells about its sender: address, origin, viewer.
//!
//! **Invariant**: forwarding headers count only when the peer is a trusted proxy; otherwise they are anybody's claim.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;

use super::AppState;
use crate::auth::limits::ClientKey;
use crate::auth::webauthn::RelyingParty;
use crate::domain::viewer::ViewerId;
use crate::settings::Settings;

/// How long a browser keeps its viewer cookie; browsers cap it at 400 days anyway.
const VIEWER_COOKIE_DAYS: i64 = 400;
/// How long a browser keeps its session cookie; the server decides when the session is over.
const SESSION_COOKIE_DAYS: i64 = 30;

/// How long a browser keeps its device cookie: as long as browsers keep any.
const DEVICE_COOKIE_DAYS: i64 = 400;

/// Whether `__Host-` and `Secure` cookies work: only where people come over https.
pub fn is_https(settings: &Settings) -> bool {
    settings.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
}

/// Name of the session cookie.
pub fn session_cookie_name(settings: &Settings) -> &'static str {
    if is_https(settings) { "__Host-bareme_session" } else { "bareme_session" }
}

/// Name of the viewer cookie.
pub fn viewer_cookie_name(settings: &Settings) -> &'static str {
    if is_https(settings) { "__Host-bareme_viewer" } else { "bareme_viewer" }
}

fn cookie(settings: &Settings, name: &'static str, value: String, days: i64, same_site: SameSite) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .secure(is_https(settings))
        .same_site(same_site)
        .max_age(Duration::days(days))
        .finish()
}

/// The cookie of a session.
pub fn session_cookie(settings: &Settings, secret: &str) -> Cookie<'static> {
    cookie(settings, session_cookie_name(settings), secret.to_owned(), SESSION_COOKIE_DAYS, SameSite::Strict)
}

/// The cookie that makes a browser forget its session.
pub fn no_session_cookie(settings: &Settings) -> Cookie<'static> {
    cookie(settings, session_cookie_name(settings), String::new(), 0, SameSite::Strict)
}

/// Name of the device cookie: see [`crate::auth::Door`].
pub fn device_cookie_name(settings: &Settings) -> &'static str {
    if is_https(settings) { "__Host-bareme_device" } else { "bareme_device" }
}

/// The cookie by which a browser is known that somebody signed in with. It outlives the session.
pub fn device_cookie(settings: &Settings, device: String) -> Cookie<'static> {
    cookie(settings, device_cookie_name(settings), device, DEVICE_COOKIE_DAYS, SameSite::Strict)
}

/// The viewer that the cookie of a request stands for, with their token.
pub fn viewer_of(state: &AppState, request: &HttpRequest) -> Option<(ViewerId, String)> {
    let cookie = request.cookie(viewer_cookie_name(&state.settings))?;
    Some((state.viewers.verify(cookie.value())?, cookie.value().to_owned()))
}

/// A viewer nobody has been yet, with their token.
pub fn new_viewer(state: &AppState) -> (ViewerId, String) {
    let id: [u8; 16] = rand::random();
    (state.viewers.viewer(id), state.viewers.token(id))
}

/// The viewer of a request, and the cookie to set when it brought none (or one that this instance did not sign).
pub fn viewer_cookie(state: &AppState, request: &HttpRequest) -> (ViewerId, Option<Cookie<'static>>) {
    if let Some((viewer, _)) = viewer_of(state, request) {
        return (viewer, None);
    }
    let (viewer, token) = new_viewer(state);
    let name = viewer_cookie_name(&state.settings);
    (viewer, Some(cookie(&state.settings, name, token, VIEWER_COOKIE_DAYS, SameSite::Lax)))
}

fn is_trusted(settings: &Settings, address: IpAddr) -> bool {
    let address = address.to_canonical();
    settings.trusted_proxies.iter().any(|network| network.contains(&address))
}

/// The address of the client: the peer, or, when that is a trusted proxy, the nearest address in `X-Forwarded-For` that
/// is not one.
pub fn client_address(settings: &Settings, request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    if !is_trusted(settings, peer) {
        return Some(peer);
    }
    let mut nearest = peer;
    let hops: Vec<&str> = request
        .headers()
        .get_all(header::X_FORWARDED_FOR)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in hops.into_iter().rev() {
        // Whatever lies beyond an unreadable hop was written by who knows whom.
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        nearest = address;
        if !is_trusted(settings, address) {
            break;
        }
    }
    Some(nearest)
}

/// Headers that say that a request is passed on for somebody else.
const RELAYING: [&str; 6] =
    ["x-forwarded-for", "forwarded", "via", "x-forwarded-proto", "x-forwarded-host", "x-real-ip"];

/// Whether limits by address leave a request's client alone: a program on the server's own machine, which speaks for
/// itself. What a header says of an address exempts nobody, and neither does being behind a proxy on this machine.
pub fn is_exempt(request: &HttpRequest) -> bool {
    request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
        && !RELAYING.iter().any(|header| request.headers().contains_key(*header))
}

/// The key of a request's client in rate limits.
pub fn client_key(settings: &Settings, request: &HttpRequest) -> ClientKey {
    ClientKey::new(client_address(settings, request))
}

/// Scheme, host and port the request was sent to, as far as it tells; for links when there is no `public_url`.
fn own_origin(settings: &Settings, request: &HttpRequest) -> Option<url::Url> {
    let trusted = request.peer_addr().is_some_and(|peer| is_trusted(settings, peer.ip()));
    let forwarded = trusted.then(|| request.headers().get(header::X_FORWARDED_PROTO)).flatten();
    let scheme = match forwarded.map(header::HeaderValue::as_bytes) {
        Some(b"https") => "https",
        _ => "http",
    };
    let host = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok()?.to_owned(),
        // HTTP/2 has `:authority` instead.
        None => request.uri().authority()?.to_string(),
    };
    let url = url::Url::parse(&format!("{scheme}://{host}/")).ok()?;
    (url.path() == "/" && url.username().is_empty() && url.query().is_none()).then_some(url)
}

/// Origin and prefix under which people reach this server, without a trailing slash.
pub fn public_base(settings: &Settings, request: &HttpRequest) -> String {
    let url = settings.public_url.clone().or_else(|| own_origin(settings, request));
    url.map_or_else(String::new, |url| url.as_str().trim_end_matches('/').to_owned())
}

/// Whom passkeys are made for under the address that people use; `None` where browsers give none.
pub fn relying_party(settings: &Settings, request: &HttpRequest) -> Option<RelyingParty> {
    // The names a request may have sent as its host were checked: see `hosts.rs`.
    let url = settings.public_url.clone().or_else(|| own_origin(settings, request));
    url.as_ref().and_then(RelyingParty::of)
}

/// Whether a request comes from a page of this server, or from something that is no browser (no `Origin` header).
pub fn origin_allowed(settings: &Settings, request: &HttpRequest) -> bool {
    let Some(value) = request.headers().get(header::ORIGIN) else { return true };
    let Some(origin) = value.to_str().ok().and_then(|text| url::Url::parse(text).ok()).map(|url| url.origin()) else {
        return false;
    };
    let own = [settings.public_url.clone(), own_origin(settings, request)];
    origin.is_tuple() && own.into_iter().flatten().any(|url| url.origin() == origin)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn settings(public_url: Option<&str>, proxies: &[&str]) -> Settings {
        Settings {
            public_url: public_url.map(|url| url::Url::parse(url).unwrap()),
            trusted_proxies: proxies.iter().map(|network| network.parse().unwrap()).collect(),
            ..Settings::default()
        }
    }

    fn from(peer: &str) -> TestRequest {
        TestRequest::default().peer_addr(format!("{peer}:1234").parse().unwrap())
    }

    #[test]
    fn forwarded_addresses_count_only_from_a_trusted_proxy() {
        let forwarded = |peer: &str| from(peer).insert_header(("X-Forwarded-For", "6.6.6.6, 192.0.2.7, 10.0.0.2"));
        let client = |settings: &Settings, request: TestRequest| {
            client_address(settings, &request.to_http_request()).unwrap().to_string()
        };
        assert_eq!(client(&settings(None, &[]), forwarded("10.0.0.1")), "10.0.0.1");
        assert_eq!(client(&settings(None, &["10.0.0.0/8"]), forwarded("10.0.0.1")), "192.0.2.7");
        assert_eq!(client(&settings(None, &["10.0.0.0/8"]), forwarded("192.0.2.1")), "192.0.2.1");
    }

    #[test]
    fn only_a_program_on_this_machine_that_speaks_for_itself_is_exempt() {
        let exempt = |request: TestRequest| is_exempt(&request.to_http_request());
        assert!(exempt(from("127.0.0.1")));
        assert!(exempt(TestRequest::default().peer_addr("[::1]:1".parse().unwrap())));
        assert!(exempt(TestRequest::default().peer_addr("[::ffff:127.0.0.1]:1".parse().unwrap())));
        assert!(!exempt(from("192.0.2.1")));
        for claim in ["127.0.0.1", "::1", "192.0.2.7, 127.0.0.1", "unknown", ""] {
            assert!(!exempt(from("127.0.0.1").insert_header(("X-Forwarded-For", claim))), "{claim}");
            assert!(!exempt(from("10.0.0.1").insert_header(("X-Forwarded-For", claim))), "{claim}");
        }
        assert!(!exempt(from("127.0.0.1").insert_header(("Forwarded", "for=127.0.0.1"))));
    }

    #[test]
    fn only_the_exact_origin_is_ours() {
        let allowed = |settings: &Settings, host: &str, origin: &str| {
            let request = from("127.0.0.1").insert_header(("Host", host)).insert_header(("Origin", origin));
            origin_allowed(settings, &request.to_http_request())
        };
        let plain = settings(None, &[]);
        assert!(allowed(&plain, "localhost:8080", "http://localhost:8080"));
        assert!(allowed(&plain, "example.org", "http://example.org:80"));
        for wrong in
            ["http://localhost:8081", "https://localhost:8080", "http://localhost:8080.evil.example", "null", ""]
        {
            assert!(!allowed(&plain, "localhost:8080", wrong), "{wrong}");
        }
        let public = settings(Some("https://vote.example.org/"), &[]);
        assert!(allowed(&public, "10.0.0.5:8080", "https://vote.example.org"));
        assert!(!allowed(&public, "10.0.0.5:8080", "http://vote.example.org"));
        assert!(origin_allowed(&plain, &from("127.0.0.1").to_http_request()));
    }

    #[test]
    fn the_host_prefix_needs_https() {
        let https = session_cookie(&settings(Some("https://a.example/"), &[]), "x").to_string();
        assert!(https.starts_with("__Host-bareme_session=x") && https.contains("Secure") && https.contains("Strict"));
        let http = session_cookie(&settings(None, &[]), "x").to_string();
        assert!(http.starts_with("bareme_session=x") && !http.contains("Secure") && http.contains("HttpOnly"));
    }
}
