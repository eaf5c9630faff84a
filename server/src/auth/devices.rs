//! Device cookies: what tells a browser that somebody has signed in with before from a stranger, so that those who guess
//! passwords slow down strangers and never the owner.
//!
//! The protocol is OWASP's "Slow Down Online Guessing Attacks with Device Cookies". A cookie is
//! `base64url(nonce ‖ tag ‖ tag …)` with a random nonce of 16 bytes and one tag of 16 bytes for each account that signed in
//! with this browser, `HMAC-SHA-256(key, "device" 0x00 nonce folded-name)[..16]`.
//!
//! **Invariant**: a device cookie opens nothing and names nobody. Whoever steals one may guess as often as its owner may
//! mistype, and no more.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Bytes of the nonce, and of a tag: 128 bits cannot be guessed.
const PART: usize = 16;
/// Accounts that one browser is known for; signing in with one more forgets the oldest.
const MAX_ACCOUNTS: usize = 4;

/// What a device is told apart by.
pub(super) type DeviceId = [u8; PART];

/// Makes device cookies and knows its own.
pub(super) struct Devices {
    key: [u8; 32],
}

/// The parts of a cookie, the nonce first; `None` when it is none.
fn parts(cookie: &str) -> Option<Vec<[u8; PART]>> {
    // Longer than any of ours: not worth decoding.
    if cookie.len() > (MAX_ACCOUNTS + 1) * PART * 2 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
    let (parts, rest) = bytes.as_chunks::<PART>();
    (rest.is_empty() && (2..=MAX_ACCOUNTS + 1).contains(&parts.len())).then(|| parts.to_vec())
}

impl Devices {
    pub(super) const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    fn tag(&self, nonce: &DeviceId, folded: &str) -> [u8; PART] {
        // HMAC takes keys of any length; a tag that fits nothing is what an error is worth here.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return rand::random() };
        mac.update(b"device\0");
        mac.update(nonce);
        mac.update(folded.as_bytes());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let mut tag = [0; PART];
        tag.copy_from_slice(&digest[..PART]);
        tag
    }

    /// The device of a cookie, if the account of this folded name has signed in with it.
    pub(super) fn known(&self, cookie: &str, folded: &str) -> Option<DeviceId> {
        let parts = parts(cookie)?;
        let (nonce, tags) = parts.split_first()?;
        let wanted = self.tag(nonce, folded);
        // All of them: which one it was is nobody's business.
        let found = tags.iter().fold(subtle::Choice::from(0), |found, tag| found | tag.ct_eq(&wanted));
        bool::from(found).then_some(*nonce)
    }

    /// The cookie of a browser that just signed in to an account, made from the one that it brought.
    pub(super) fn after_sign_in(&self, cookie: Option<&str>, folded: &str) -> String {
        // A tag cannot be checked without the name it was made for, and does no harm where it was made up.
        let brought = cookie.and_then(parts).unwrap_or_else(|| vec![rand::random()]);
        let nonce = brought.first().copied().unwrap_or_else(rand::random);
        let own = self.tag(&nonce, folded);
        let others = brought.iter().skip(1).filter(|tag| **tag != own).take(MAX_ACCOUNTS - 1);
        let bytes: Vec<u8> = [nonce, own].iter().chain(others).flatten().copied().collect();
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_known_for_the_accounts_that_signed_in_with_it_only() {
        let devices = Devices::new([7; 32]);
        let cookie = devices.after_sign_in(None, "max");
        let device = devices.known(&cookie, "max").unwrap();
        assert_eq!(devices.known(&cookie, "lea"), None);
        let both = devices.after_sign_in(Some(&cookie), "lea");
        assert_eq!((devices.known(&both, "max"), devices.known(&both, "lea")), (Some(device), Some(device)));
        assert_eq!(devices.after_sign_in(Some(&both), "lea"), both, "signing in again adds nothing");
        assert_eq!(Devices::new([8; 32]).known(&both, "max"), None, "another instance");
        let more = (0..MAX_ACCOUNTS).fold(both, |cookie, n| devices.after_sign_in(Some(&cookie), &format!("a{n}")));
        assert_eq!(devices.known(&more, "max"), None, "the oldest is forgotten");
        assert!(more.len() <= 108, "{}", more.len());
    }

    #[test]
    fn what_is_no_cookie_of_ours_knows_nobody_and_is_replaced() {
        let devices = Devices::new([7; 32]);
        for wrong in ["", "x", "é", "AAAA", &"A".repeat(43), &"A".repeat(10_000)] {
            assert_eq!(devices.known(wrong, "max"), None, "{wrong}");
            assert!(devices.known(&devices.after_sign_in(Some(wrong), "max"), "max").is_some(), "{wrong}");
        }
    }
}
