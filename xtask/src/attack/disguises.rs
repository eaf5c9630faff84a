//! Operators' routes, asked where they are not.

use anyhow::Result;

use super::{ANSWERS_WITHIN, Outcome, Target, status_at};
use crate::served::wait;

/// Routes of operators.
const OPS_ROUTES: [&str; 4] = ["/metrics", "/readyz", "/healthz", "/api/v1/monitoring/websocket/stats"];

/// Row 9: operators' routes, asked of the address for viewers and of the balancer before it, as they are and with each
/// letter encoded in turn, which a proxy's ban of a path may not know for the same.
pub(super) fn disguises(target: &Target) -> Result<Outcome> {
    wait("the balancer takes the server for ready", ANSWERS_WITHIN, || {
        Ok(status_at(&target.balanced, "/version") == Some(200))
    })?;
    let (mut asked, mut reached) = (0, Vec::new());
    for path in OPS_ROUTES {
        let letters = path.char_indices().filter(|(_, letter)| letter.is_ascii_alphanumeric());
        let encoded =
            letters.map(|(at, letter)| format!("{}%{:02X}{}", &path[..at], u32::from(letter), &path[at + 1..]));
        let plain =
            [path.to_owned(), format!("/{path}"), format!("/.{path}"), format!("/x/..{path}"), format!("{path}/")];
        for spelling in plain.into_iter().chain(encoded) {
            for (way, address) in [("directly", &target.address), ("through HAProxy", &target.balanced)] {
                asked += 1;
                let status = status_at(address, &spelling);
                if status != Some(404) {
                    reached.push(format!("{spelling} {way}: {status:?}"));
                }
            }
        }
        target.server.curl_ops(path)?;
    }
    let figures = match reached.is_empty() {
        true => format!("{asked} asked, directly and through HAProxy, each answered 404"),
        false => reached.join(", "),
    };
    Ok(Outcome { has_held: reached.is_empty(), figures })
}
