//! What the open sockets of this pod were opened with, so that it can be looked at again: a socket asks once, and another
//! pod, or the command line, may revoke what it showed.
//!
//! Whatever revokes something raises a counter in the store after it did (`Catalogue::revoked`). Every pod reads that
//! counter once a second, and when it has changed looks at each credential here again; also at those that came since the
//! last look, because they may have been read before the counter was.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::key::Slug;

/// What kind of thing opened a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opener {
    /// An API token.
    Token,
    /// A browser session.
    Session,
    /// An overlay key of this channel.
    OverlayKey(Slug),
}

struct Entry {
    opener: Opener,
    sockets: usize,
    /// Whether it was looked at since the last socket was opened with it.
    is_checked: bool,
}

/// The credentials of open sockets.
#[derive(Clone, Default)]
pub(super) struct Registry(Arc<Mutex<HashMap<Arc<str>, Entry>>>);

/// A credential for as long as a socket is open that it opened.
pub struct Held {
    id: Arc<str>,
    registry: Registry,
}

impl Deref for Held {
    type Target = str;

    fn deref(&self) -> &str {
        &self.id
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut entries = self.registry.entries();
        if let Some(entry) = entries.get_mut(&self.id) {
            entry.sockets -= 1;
            if entry.sockets == 0 {
                entries.remove(&self.id);
            }
        }
    }
}

impl Registry {
    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a socket is opened with a credential.
    pub(super) fn hold(&self, id: &str, opener: Opener) -> Held {
        let mut entries = self.entries();
        let id = entries.get_key_value(id).map_or_else(|| Arc::from(id), |(known, _)| Arc::clone(known));
        let entry = entries.entry(Arc::clone(&id)).or_insert(Entry { opener, sockets: 0, is_checked: false });
        entry.sockets += 1;
        entry.is_checked = false;
        Held { id, registry: self.clone() }
    }

    /// All credentials, or those that nobody has looked at yet. From here on they count as looked at: see
    /// [`Registry::look_again`].
    pub(super) fn to_check(&self, all: bool) -> Vec<(Arc<str>, Opener)> {
        let mut found = Vec::new();
        for (id, entry) in self.entries().iter_mut() {
            if all || !entry.is_checked {
                entry.is_checked = true;
                found.push((Arc::clone(id), entry.opener.clone()));
            }
        }
        found
    }

    /// The next look shall find this one: the store could not say whether it is valid.
    pub(super) fn look_again(&self, id: &str) {
        if let Some(entry) = self.entries().get_mut(id) {
            entry.is_checked = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_there_while_a_socket_is_and_is_looked_at_again_after_each_new_one() {
        let registry = Registry::default();
        let names = |all| registry.to_check(all).into_iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>();
        let first = registry.hold("a", Opener::Token);
        assert_eq!((names(false), names(false), names(true)), (vec!["a".to_owned()], vec![], vec!["a".to_owned()]));
        let second = registry.hold("a", Opener::Token);
        assert_eq!(names(false), ["a"]);
        drop(first);
        assert_eq!(names(true), ["a"]);
        registry.look_again("a");
        assert_eq!(names(false), ["a"]);
        assert_eq!(&*second, "a");
        drop(second);
        assert!(names(true).is_empty());
    }
}
