//! Rooms: one for each channel somebody looks at.

use crate::conductor::Conductor;
use crate::domain::key::Slug;

/// The rooms of this pod. Cheap to clone.
#[derive(Clone)]
pub struct Hub {}

impl Hub {
    /// The rooms over a conductor.
    pub fn new(_conductor: Conductor) -> Self {
        Self {}
    }
    /// Closes every socket opened with a credential (overlay key id, token id or session id) that was revoked.
    pub fn revoke(&self, _credential: &str) {}
    /// Tells the rooms of a channel that its record changed or went away.
    pub fn channel_changed(&self, _channel: &Slug) {}
    /// Open sockets on this pod.
    pub fn sockets(&self) -> u64 {
        0
    }
    /// Tells every socket to come back later or elsewhere, and waits until they are closed.
    pub async fn drain(&self) {}
}
