//! Challenges of passkeys, made so that no server has to remember one before it is answered: whoever begins a sign-in leaves
//! nothing behind, however often, and the answer may reach another pod.
//!
//! A challenge is `time (8 bytes) ‖ nonce (16) ‖ tag (16)`, the tag being
//! `HMAC-SHA-256(key, "challenge" 0x00 purpose 0x00 session 0x00 time nonce)[..16]`. WebAuthn asks for 16 random bytes at least
//! (Level 3, §13.4.3).
//!
//! **Invariants**
//! - A challenge is good for five minutes, for what it was made for, and for the session it was made in.
//! - It is answered once: the account document that an answer changes keeps the nonce in the same compare-and-set.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::secrets::encode;
use super::webauthn::Refusal;
use crate::catalogue::{Account, Passkeys, UsedChallenge};
use crate::domain::key::fold_key;

/// How long a challenge may be answered. WebAuthn recommends five to ten minutes where the user is verified (§15.1), and
/// nobody here needs longer.
pub(super) const LIFE_US: u64 = 5 * 60 * 1_000_000;
/// How long its nonce is kept: pods whose clocks are that far apart still know that it was used.
const KEPT_US: u64 = 2 * LIFE_US;
/// Answered challenges that an account keeps. Nobody answers more in [`KEPT_US`] than its buckets let through (`brakes.rs`).
const MAX_USED: usize = 200;

const TIME: usize = 8;
const NONCE: usize = 16;
const TAG: usize = 16;
/// Bytes of a challenge.
pub(super) const CHALLENGE: usize = TIME + NONCE + TAG;

/// What a challenge is made for. Sessions are named by their id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose<'a> {
    /// Signing in, by nobody in particular.
    SignIn,
    /// Adding a passkey in a session.
    Add(&'a str),
    /// Confirming a session.
    Confirm(&'a str),
}

impl<'a> Purpose<'a> {
    const fn parts(self) -> (&'static str, &'a str) {
        match self {
            Self::SignIn => ("sign-in", ""),
            Self::Add(session) => ("add", session),
            Self::Confirm(session) => ("confirm", session),
        }
    }
}

/// Makes challenges and knows its own.
pub(super) struct Challenges {
    key: [u8; 32],
}

impl Challenges {
    pub(super) const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        // HMAC takes keys of any length; a tag that fits nothing is what an error is worth here.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return rand::random() };
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn tag(&self, purpose: Purpose<'_>, begins: &[u8]) -> [u8; TAG] {
        let (word, session) = purpose.parts();
        let full = self.hmac(&[b"challenge\0", word.as_bytes(), b"\0", session.as_bytes(), b"\0", begins]);
        let mut tag = [0; TAG];
        tag.copy_from_slice(&full[..TAG]);
        tag
    }

    /// A new challenge.
    pub(super) fn make(&self, purpose: Purpose<'_>, now_us: u64) -> [u8; CHALLENGE] {
        let mut challenge = [0; CHALLENGE];
        let (begins, tag) = challenge.split_at_mut(TIME + NONCE);
        let (time, nonce) = begins.split_at_mut(TIME);
        time.copy_from_slice(&now_us.to_be_bytes());
        nonce.copy_from_slice(&rand::random::<[u8; NONCE]>());
        tag.copy_from_slice(&self.tag(purpose, begins));
        challenge
    }

    /// What to keep of a challenge that came back, if it is one that may be answered now.
    ///
    /// # Errors
    /// [`Refusal::Challenge`] and [`Refusal::Late`].
    pub(super) fn check(&self, challenge: &[u8], purpose: Purpose<'_>, now_us: u64) -> Result<UsedChallenge, Refusal> {
        let (begins, tag) = challenge.split_at_checked(TIME + NONCE).ok_or(Refusal::Challenge)?;
        if !bool::from(tag.ct_eq(&self.tag(purpose, begins))) {
            return Err(Refusal::Challenge);
        }
        let (time, nonce) = begins.split_first_chunk::<TIME>().ok_or(Refusal::Challenge)?;
        let made_at_us = u64::from_be_bytes(*time);
        // A pod's clock that is ahead made one that is younger than none.
        if now_us.saturating_sub(made_at_us) > LIFE_US {
            return Err(Refusal::Late);
        }
        Ok(UsedChallenge { nonce: encode(nonce), until_us: made_at_us.saturating_add(KEPT_US) })
    }

    /// What authenticators call an account (its user handle): 32 bytes that say nothing to anybody else (§14.6.1). The same
    /// until the account is made anew, since a passkey is made before its account is known to have one.
    pub(super) fn handle(&self, account: &Account) -> String {
        if let Some(passkeys) = &account.passkeys {
            return passkeys.handle.clone();
        }
        let made = account.created_at_us.to_be_bytes();
        encode(&self.hmac(&[b"handle\0", fold_key(&account.name).as_bytes(), b"\0", &made]))
    }
}

impl Passkeys {
    /// Uses a challenge up.
    ///
    /// # Errors
    /// [`Refusal::Used`] when it was, or when so many were that it cannot be kept.
    pub(super) fn spend(&mut self, challenge: &UsedChallenge, now_us: u64) -> Result<(), Refusal> {
        self.used.retain(|used| used.until_us > now_us);
        if self.used.len() >= MAX_USED || self.used.iter().any(|used| used.nonce == challenge.nonce) {
            return Err(Refusal::Used);
        }
        self.used.push(challenge.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;

    #[test]
    fn a_challenge_is_good_for_five_minutes_its_purpose_and_its_session() {
        let challenges = Challenges::new([7; 32]);
        let challenge = challenges.make(Purpose::Add("a"), NOW);
        let check = |purpose, now_us| challenges.check(&challenge, purpose, now_us).map(drop);
        assert_eq!(check(Purpose::Add("a"), NOW + LIFE_US), Ok(()));
        assert_eq!(check(Purpose::Add("a"), NOW - 1), Ok(()), "a pod whose clock is behind");
        assert_eq!(check(Purpose::Add("a"), NOW + LIFE_US + 1), Err(Refusal::Late));
        for other in [Purpose::SignIn, Purpose::Confirm("a"), Purpose::Add("b"), Purpose::Add("")] {
            assert_eq!(check(other, NOW), Err(Refusal::Challenge), "{other:?}");
        }
        // Another pod has the same secret, another instance has not.
        assert!(Challenges::new([7; 32]).check(&challenge, Purpose::Add("a"), NOW).is_ok());
        assert!(Challenges::new([8; 32]).check(&challenge, Purpose::Add("a"), NOW).is_err());
    }

    #[test]
    fn a_challenge_that_was_changed_anywhere_or_cut_is_none() {
        let challenges = Challenges::new([7; 32]);
        let challenge = challenges.make(Purpose::SignIn, NOW);
        for at in 0..CHALLENGE {
            let mut changed = challenge;
            changed[at] ^= 1;
            assert_eq!(challenges.check(&changed, Purpose::SignIn, NOW), Err(Refusal::Challenge), "byte {at}");
            assert_eq!(challenges.check(&challenge[..at], Purpose::SignIn, NOW), Err(Refusal::Challenge), "{at} bytes");
        }
        let long = [&challenge[..], &[0]].concat();
        assert_eq!(challenges.check(&long, Purpose::SignIn, NOW), Err(Refusal::Challenge));
    }

    #[test]
    fn a_challenge_is_spent_once_and_forgotten_after_every_clock_refuses_it() {
        let challenges = Challenges::new([7; 32]);
        let mut passkeys = Passkeys { handle: String::new(), keys: Vec::new(), used: Vec::new() };
        let made = || challenges.check(&challenges.make(Purpose::SignIn, NOW), Purpose::SignIn, NOW).unwrap();
        let first = made();
        assert_eq!(passkeys.spend(&first, NOW), Ok(()));
        assert_eq!(passkeys.spend(&first, NOW + KEPT_US - 1), Err(Refusal::Used));
        for _ in 1..MAX_USED {
            assert_eq!(passkeys.spend(&made(), NOW), Ok(()));
        }
        assert_eq!(passkeys.spend(&made(), NOW), Err(Refusal::Used), "no room to remember it");
        assert_eq!(passkeys.spend(&made(), NOW + KEPT_US), Ok(()));
        assert_eq!(passkeys.used.len(), 1);
    }
}
