//! Answers that anybody may keep: numbers as the public sees them, with a tag of what they say.
//!
//! **Invariant**: what an admin sees is never kept. While a live is on air nothing is taken from a cache without asking,
//! so that whoever has voted finds the vote in the numbers.

use actix_web::http::header::{self, CacheControl, CacheDirective, EntityTag, Header as _, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use sha2::{Digest as _, Sha256};

use crate::auth::secrets::encode;
use crate::hub::frames::Audience;

/// Seconds that the numbers of a live that is over are kept without asking: they change when somebody opens it again.
const MAX_AGE_S: u32 = 2;

/// A body, or that whoever asks has it already. `is_over`: it does not change by itself.
pub(super) fn answer(
    request: &HttpRequest,
    audience: Audience,
    is_over: bool,
    body: Vec<u8>,
    with: impl FnOnce(&mut HttpResponseBuilder),
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    with(&mut response);
    response.insert_header((header::VARY, "Accept, Authorization, Cookie"));
    if audience != Audience::Public {
        return response.insert_header((header::CACHE_CONTROL, "private, no-store")).body(body);
    }
    let digest: [u8; 32] = Sha256::digest(&body).into();
    let tag = EntityTag::new_strong(encode(&digest[..12]));
    let is_known = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        Err(_) => false,
    };
    let kept = if is_over { CacheDirective::MaxAge(MAX_AGE_S) } else { CacheDirective::NoCache };
    response.insert_header(header::ETag(tag)).insert_header(CacheControl(vec![CacheDirective::Public, kept]));
    if is_known {
        return response.status(actix_web::http::StatusCode::NOT_MODIFIED).finish();
    }
    response.body(body)
}
