//! The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for when the app is gone.
//!
//! **Invariants**
//! - A code opens once: the step it belongs to is remembered, and so is every earlier one. A recovery code is deleted by
//!   the sign-in that it opens.
//! - Recovery codes are kept as hashes. The app's secret has to be kept as it is, since both sides count with it.

use totp_rs::{Builder, Secret, Totp};

use super::secrets::{READABLE_LETTERS, hash, readable, same};
use crate::catalogue::{PendingFactor, SecondFactor};

/// Bytes of the shared secret: as many as SHA-1 has, which RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
/// Recovery codes that are made at once.
const RECOVERY_CODES: usize = 10;
/// A set-up that was begun and not confirmed within this time is forgotten.
const SET_UP_US: u64 = 15 * 60 * 1_000_000;
/// Who the app says the code is for.
const ISSUER: &str = "Barème";

/// The code generator of a secret; `None` when it is none.
fn totp(secret: &str) -> Option<Totp> {
    // SHA-1, six digits, 30 s, one step either way: what every app does.
    Builder::new().with_secret(Secret::try_from_base32(secret).ok()?).build().ok()
}

/// What somebody typed, without the spaces and hyphens that codes are shown with.
fn typed(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_alphanumeric()).take(READABLE_LETTERS + 1).collect::<String>().to_lowercase()
}

fn new_recovery_codes() -> Vec<String> {
    std::iter::repeat_with(readable).take(RECOVERY_CODES).collect()
}

fn hashes(codes: &[String]) -> Vec<String> {
    // 80 random bits cannot be guessed, so that a fast hash will do.
    codes.iter().map(|code| hash(&typed(code))).collect()
}

/// A set-up with a new secret.
pub(super) fn begin(now_us: u64) -> PendingFactor {
    let secret = Secret::new_stack(rand::random::<[u8; SECRET_BYTES]>()).to_base32();
    PendingFactor { secret, at_us: now_us }
}

/// The address that an app reads from a QR code.
pub(super) fn url(pending: &PendingFactor, account: &str) -> String {
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let issuer = encode(ISSUER);
    format!("otpauth://totp/{issuer}:{}?secret={}&issuer={issuer}", encode(account), pending.secret)
}

/// The second factor and its recovery codes, if the code is the app's.
pub(super) fn confirm(pending: &PendingFactor, code: &str, now_us: u64) -> Option<(SecondFactor, Vec<String>)> {
    if now_us.saturating_sub(pending.at_us) > SET_UP_US {
        return None;
    }
    let last_step = totp(&pending.secret)?.check(&typed(code), now_us / 1_000_000)?;
    let codes = new_recovery_codes();
    let secret = pending.secret.clone();
    Some((SecondFactor { secret, since_us: now_us, last_step, recovery: hashes(&codes) }, codes))
}

/// Uses a code: `true` once for each code of the app, and once for each recovery code.
pub(super) fn accept(factor: &mut SecondFactor, code: &str, now_us: u64) -> bool {
    let code = typed(code);
    if code.len() == READABLE_LETTERS {
        let wanted = hash(&code);
        let before = factor.recovery.len();
        factor.recovery.retain(|known| !same(known, &wanted));
        return factor.recovery.len() < before;
    }
    match totp(&factor.secret).and_then(|totp| totp.check(&code, now_us / 1_000_000)) {
        Some(step) if step > factor.last_step => {
            factor.last_step = step;
            true
        }
        _ => false,
    }
}

/// New recovery codes in place of those that are left.
pub(super) fn renew_recovery(factor: &mut SecondFactor) -> Vec<String> {
    let codes = new_recovery_codes();
    factor.recovery = hashes(&codes);
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;
    const STEP: u64 = 30_000_000;

    fn code(pending: &PendingFactor, at_us: u64) -> String {
        totp(&pending.secret).unwrap().generate(at_us / 1_000_000).to_string()
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B, SHA-1, the last six of eight digits.
        let secret = Secret::new_stack(*b"12345678901234567890").to_base32();
        let totp = totp(&secret).unwrap();
        for (time, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (2_000_000_000, "279037")]
        {
            assert_eq!(totp.generate(time).to_string(), code, "{time}");
        }
    }

    #[test]
    fn a_code_opens_once_and_so_does_none_before_it() {
        let pending = begin(NOW);
        let (mut factor, _) = confirm(&pending, &code(&pending, NOW), NOW).unwrap();
        assert!(!accept(&mut factor, &code(&pending, NOW), NOW), "the code that set it up");
        let next = code(&pending, NOW + STEP);
        assert!(accept(&mut factor, &format!("{} {}", &next[..3], &next[3..]), NOW + STEP));
        assert!(!accept(&mut factor, &next, NOW + STEP), "again");
        assert!(!accept(&mut factor, &code(&pending, NOW), NOW + STEP), "the one before it");
        assert!(!accept(&mut factor, &code(&pending, NOW + 9 * STEP), NOW + STEP), "one far ahead");
        for wrong in ["", "000", "abcdef", "é", &"1".repeat(500)] {
            assert!(!accept(&mut factor, wrong, NOW + 2 * STEP), "{wrong}");
        }
        assert!(accept(&mut factor, &code(&pending, NOW + 3 * STEP), NOW + 2 * STEP), "a phone half a minute ahead");
    }

    #[test]
    fn a_recovery_code_opens_once_however_it_is_typed() {
        let pending = begin(NOW);
        let (mut factor, codes) = confirm(&pending, &code(&pending, NOW), NOW).unwrap();
        assert_eq!((codes.len(), factor.recovery.len()), (RECOVERY_CODES, RECOVERY_CODES));
        assert!(accept(&mut factor, &codes[3].to_uppercase().replace('-', " "), NOW));
        assert!(!accept(&mut factor, &codes[3], NOW));
        assert_eq!(factor.recovery.len(), RECOVERY_CODES - 1);
        let kept = serde_json::to_string(&factor).unwrap();
        assert!(codes.iter().all(|code| !kept.contains(code) && !kept.contains(&typed(code))), "{kept}");
        let renewed = renew_recovery(&mut factor);
        assert!(!accept(&mut factor, &codes[4], NOW) && accept(&mut factor, &renewed[0], NOW));
    }

    #[test]
    fn a_set_up_waits_a_quarter_of_an_hour_and_needs_the_right_code() {
        let pending = begin(NOW);
        assert!(confirm(&pending, "000000", NOW).is_none() || code(&pending, NOW) == "000000");
        let late = NOW + SET_UP_US + 1;
        assert!(confirm(&pending, &code(&pending, late), late).is_none());
        assert_eq!(format!("{pending:?}"), "PendingFactor(…)");
        let url = url(&pending, "Éloïse@x");
        assert!(url.starts_with("otpauth://totp/Bar%C3%A8me:%C3%89lo%C3%AFse%40x?secret="), "{url}");
    }
}
