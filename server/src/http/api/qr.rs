//! The QR code of a channel's page.

use actix_web::http::header::{self, CacheControl, CacheDirective, EntityTag, Header as _, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, get, web};
use fast_qr::{ECL, QRBuilder, QRCode};
use sha2::{Digest as _, Sha256};

use super::super::error::Problem;
use super::super::{State, identity, slug_of};
use crate::auth::secrets::encode;

/// Modules of light around the code, without which readers do not find it (ISO/IEC 18004).
const QUIET_ZONE: usize = 4;

/// Seconds a browser keeps the code without asking: it changes only with the address of the server.
const MAX_AGE_S: u32 = 300;

/// QR code of a channel's page
///
/// Dark on light, whatever the page around it looks like: readers expect it so.
#[utoipa::path(tag = "public", params(("channel" = String, Path, description = "Slug")),
    responses((status = 200, description = "SVG", body = String, content_type = "image/svg+xml"),
        (status = 304, description = "The one with the `ETag` of `If-None-Match`")))]
#[get("/api/channels/{channel}/qr.svg")]
pub(super) async fn channel_qr(
    state: State,
    request: HttpRequest,
    channel: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let slug = slug_of(&channel)?;
    state.catalogue.channel(&slug).await?;
    let url = format!("{}/{slug}", identity::public_base(&state.settings, &request));
    let svg = qr_svg(&url)?;
    let digest: [u8; 32] = Sha256::digest(svg.as_bytes()).into();
    let etag = EntityTag::new_strong(encode(&digest[..12]));
    let known = match IfNoneMatch::parse(&request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&etag)),
        Err(_) => false,
    };
    // What a request says of this server's address holds for whoever sent it.
    let shared = if state.settings.public_url.is_some() { CacheDirective::Public } else { CacheDirective::Private };
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header(header::ETag(etag))
        .insert_header(CacheControl(vec![shared, CacheDirective::MaxAge(MAX_AGE_S)]));
    Ok(if known { response.finish() } else { response.content_type("image/svg+xml").body(svg) })
}

/// A text as a QR code, SVG.
///
/// # Errors
/// 500 when it is too long.
pub(crate) fn qr_svg(text: &str) -> Result<String, Problem> {
    // Medium error correction: a code on a stream is scaled and compressed.
    let code = QRBuilder::new(text).ecl(ECL::M).build().map_err(|error| Problem::internal(format!("{error:?}")))?;
    Ok(svg(&code))
}

/// The code as one path, a rectangle for each horizontal run of dark modules, one unit a module.
fn svg(code: &QRCode) -> String {
    use std::fmt::Write as _;
    let mut path = String::new();
    for y in 0..code.size {
        let mut x = 0;
        for run in code[y].chunk_by(|one, other| one.value() == other.value()) {
            if run[0].value() {
                // Writing to a string cannot fail.
                let _ = write!(path, "M{} {}h{}v1h-{}z", x + QUIET_ZONE, y + QUIET_ZONE, run.len(), run.len());
            }
            x += run.len();
        }
    }
    let side = code.size + 2 * QUIET_ZONE;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path fill=\"#101218\" d=\"{path}\"/></svg>"
    )
}
