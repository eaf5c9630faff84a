//! What an admin's request leaves in the audit log: one place that every answer passes, so that no handler can forget it.
//!
//! **Invariant**: every request below `/api/admin/` that can change something has an entry, whatever became of it, as soon
//! as it is known who sent it; so do attempts to sign in. What was refused is kept as far as its budget goes.

use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use actix_web::{HttpMessage as _, HttpRequest};

use super::State;
use super::error::Problem;
use crate::audit::{Door, Entry, Outcome, plain};
use crate::auth::{Principal, Via};

/// The name that somebody tried to sign in with.
struct Tried(String);

/// More about what a request is about, such as the name of what it makes.
#[derive(Default)]
struct About(Vec<(&'static str, String)>);

/// Digits of a credential's id in an entry.
const CREDENTIAL_DIGITS: usize = 8;

/// Notes which name somebody signs in with.
pub fn tried(request: &HttpRequest, name: &str) {
    request.extensions_mut().insert(Tried(name.to_owned()));
}

/// Notes what a request is about, besides the parameters of its path. Never a secret.
pub fn about(request: &HttpRequest, name: &'static str, value: &str) {
    let mut extensions = request.extensions_mut();
    if extensions.get::<About>().is_none() {
        extensions.insert(About::default());
    }
    if let Some(About(known)) = extensions.get_mut::<About>() {
        known.push((name, plain(value)));
    }
}

/// Whether a request has an entry once it is answered.
pub(super) fn is_kept(method: &Method, path: &str) -> bool {
    !method.is_safe() && path.starts_with("/api/admin/")
}

/// Keeps the entry of a request that was answered.
pub(super) async fn keep(response: &ServiceResponse<impl MessageBody>) {
    let request = response.request();
    let Some(state) = request.app_data::<State>() else { return };
    let Some(entry) = entry(state, response).await else { return };
    state.audit.keep(entry).await;
}

async fn entry(state: &State, response: &ServiceResponse<impl MessageBody>) -> Option<Entry> {
    let request = response.request();
    let pattern = request.match_pattern()?;
    let action = state.api.operation(request.method(), &pattern)?.to_owned();
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
    let outcome = match response.status().as_u16() {
        ..400 => Outcome::Done,
        400..500 => Outcome::Refused,
        _ => Outcome::Failed,
    };
    let principal = request.extensions().get::<Principal>().cloned();
    let tried = request.extensions().get::<Tried>().map(|Tried(name)| name.clone());
    let mut more = request.extensions_mut().remove::<About>().unwrap_or_default().0;
    let unwritten = match (&principal, &tried) {
        (Some(principal), _) if outcome == Outcome::Refused => state.audit.may_keep_refusal(&principal.credential)?,
        // Somebody knows the password: that is not drowned by those who guess, and has a brake of its own.
        (None, Some(_)) if problem.is_some_and(Problem::is_about_code) => 0,
        (None, Some(_)) if outcome != Outcome::Done => state.audit.may_keep_failure()?,
        _ => 0,
    };
    if unwritten > 0 {
        more.push(("unwritten", unwritten.to_string()));
    }
    let (who, door, credential) = match (principal, tried) {
        (Some(principal), _) => {
            let door = if principal.via == Via::Token { Door::Token } else { Door::Page };
            (principal.name, door, Some(principal.credential.chars().take(CREDENTIAL_DIGITS).collect()))
        }
        (None, Some(name)) => {
            // What was typed may be a password. The store was asked for the same name before, whoever it was.
            let account = state.catalogue.account(&name).await.ok().flatten();
            (account.map(|account| account.name).unwrap_or_default(), Door::Page, None)
        }
        // Nobody: there is nothing to say about them, and no end to how many there may be.
        (None, None) => return None,
    };
    let path = request.match_info().iter().map(|(name, value)| {
        let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
        (name.to_owned(), plain(&value))
    });
    let about = path.chain(more.into_iter().map(|(name, value)| (name.to_owned(), value))).collect();
    let code = problem.map(|problem| problem.code().to_owned());
    Some(Entry { at_us: state.now_us(), who, door, credential, action, about, outcome, code })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::assets::{CATALOGUES, Files, messages};
    use super::super::openapi::Api;
    use super::*;
    use crate::i18n::Lang;

    #[test]
    fn every_action_has_words_in_both_languages_and_no_words_are_left_over() {
        let document: serde_json::Value = serde_json::from_slice(&Api::collect().json()).unwrap();
        // Of commands, the one that is no action of the API too.
        let mut actions = BTreeSet::from(["audit.rotate_viewers".to_owned()]);
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if is_kept(&method.to_uppercase().parse().unwrap(), path) {
                    actions.insert(format!("audit.{}", operation["operationId"].as_str().unwrap()));
                }
            }
        }
        assert!(actions.len() > 30, "{actions:?}");
        for lang in Lang::ALL {
            let said = messages(&Files::Embedded, lang, CATALOGUES);
            let said: BTreeSet<_> = said.keys().filter(|key| key.starts_with("audit.")).cloned().collect();
            assert_eq!(said, actions, "{lang:?}");
        }
    }
}
