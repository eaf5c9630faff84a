//! Who votes: 16 opaque bytes, and the signed token that stands for them outside.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The same person on the same browser, and nothing else about them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerId(pub [u8; 16]);

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewerId({self})")
    }
}

/// The instance's secret, from which viewer tokens are signed and viewer ids derived. Never logged. Clones share it: when
/// one is replaced, all are.
#[derive(Clone)]
pub struct ViewerSecret(Arc<RwLock<[u8; 32]>>);

impl fmt::Debug for ViewerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViewerSecret(…)")
    }
}

impl ViewerSecret {
    /// Wraps 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(RwLock::new(bytes)))
    }

    /// Replaces it, here and in every clone: from now on, tokens signed before stand for nobody. `false` when it was the
    /// same already.
    pub fn replace(&self, bytes: [u8; 32]) -> bool {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, bytes) != bytes
    }

    fn mac(&self, purpose: &[u8], body: &[u8]) -> [u8; 16] {
        let key = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        // HMAC takes a key of any length, so this cannot fail; an empty code would verify nothing if it did.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return [0; 16] };
        mac.update(purpose);
        mac.update(body);
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut code = [0; 16];
        code.copy_from_slice(&full[..16]);
        code
    }

    /// The token of the anonymous viewer whose random id is `id`: base64url of `id ‖ HMAC(id)[..16]`, 43 characters.
    pub fn token(&self, id: [u8; 16]) -> String {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&id);
        bytes[16..].copy_from_slice(&self.mac(b"viewer-token\0", &id));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The viewer that a token stands for; `None` if this instance did not sign it.
    pub fn verify(&self, token: &str) -> Option<ViewerId> {
        let mut bytes = [0_u8; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()?;
        let (id, code) = bytes.split_at(16);
        let expected = self.mac(b"viewer-token\0", id);
        (length == 32 && bool::from(expected.ct_eq(code))).then(|| ViewerId(self.mac(b"viewer-id\0", id)))
    }

    /// The viewer that the anonymous random `id` stands for, without going through its token.
    pub fn viewer(&self, id: [u8; 16]) -> ViewerId {
        ViewerId(self.mac(b"viewer-id\0", &id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_for_its_viewer_and_a_changed_one_for_nobody() {
        let secret = ViewerSecret::new([7; 32]);
        let token = secret.token([1; 16]);
        assert_eq!(secret.verify(&token), Some(secret.viewer([1; 16])));
        let mut forged = token.clone().into_bytes();
        forged[0] = if forged[0] == b'A' { b'B' } else { b'A' };
        assert_eq!(secret.verify(std::str::from_utf8(&forged).unwrap()), None);
        assert_eq!(ViewerSecret::new([8; 32]).verify(&token), None);
        let held = secret.clone();
        assert!(secret.replace([8; 32]) && !secret.replace([8; 32]));
        assert_eq!(held.verify(&token), None, "a secret that was replaced signs nothing any more");
        assert!(held.verify(&held.token([1; 16])).is_some());
        for text in ["", "x", &"A".repeat(43), &"A".repeat(500), "é"] {
            assert_eq!(secret.verify(text), None, "{text}");
        }
    }
}
