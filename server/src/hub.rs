//! Rooms: one for each channel somebody looks at.

/// The rooms of this pod. Cheap to clone.
#[derive(Clone)]
pub struct Hub {}

#[allow(unused_variables, clippy::unimplemented, reason = "signatures first; bodies follow")]
impl Hub {
    /// Closes every socket opened with a credential (overlay key id, token id or session id) that was revoked.
    pub fn revoke(&self, credential: &str) {
        unimplemented!()
    }
    /// Tells the rooms of a channel that its record changed or went away.
    pub fn channel_changed(&self, channel: &crate::domain::key::Slug) {
        unimplemented!()
    }
    /// Open sockets on this pod.
    pub fn sockets(&self) -> u64 {
        unimplemented!()
    }
}
