//! Random secrets with a readable beginning, and their hashes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A secret, shown once. Its `Debug` hides it, so that it cannot reach a log by accident.
pub struct Secret(String);

impl Secret {
    /// `prefix` and 256 random bits in base64url: the prefix lets people and scanners see what a leaked text is.
    pub fn new(prefix: &str) -> Self {
        Self(format!("{prefix}{}", encode(&random())))
    }

    /// The text itself, for the one who asked for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Without characters that look like others.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters of a readable secret: 80 bits.
pub const READABLE_LETTERS: usize = 16;

/// A secret that people can type: 80 random bits in four groups of letters and digits.
pub fn readable() -> String {
    let letters: Vec<u8> = random().iter().take(READABLE_LETTERS).map(|byte| LETTERS[usize::from(byte % 32)]).collect();
    letters.chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect::<Vec<_>>().join("-")
}

/// 32 random bytes from a cryptographic generator seeded by the system.
pub fn random() -> [u8; 32] {
    rand::random()
}

/// Bytes in base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What [`encode`] made of 32 bytes.
pub fn decode(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// SHA-256 in hexadecimal. Fast is fine here: 256 random bits cannot be guessed.
pub fn hash(secret: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        use fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The first half of a SHA-256: a name of fixed length for something that need not be secret.
pub fn digest(bytes: &[u8]) -> [u8; 16] {
    let full: [u8; 32] = Sha256::digest(bytes).into();
    let mut half = [0; 16];
    half.copy_from_slice(&full[..16]);
    half
}

/// The CSRF token of a session: known only to who holds the session's cookie, and of no use to find it.
pub fn csrf_of(session: &str) -> String {
    let digest: [u8; 32] =
        Sha256::new().chain_update(b"bareme-csrf\0").chain_update(session.as_bytes()).finalize().into();
    encode(&digest)
}

/// Compares in a time that does not tell where two texts differ.
pub fn same(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_readable_and_hidden_in_logs() {
        let secret = Secret::new("brm_token_");
        assert!(secret.reveal().starts_with("brm_token_"));
        assert_eq!(secret.reveal().len(), 10 + 43);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_ne!(secret.reveal(), Secret::new("brm_token_").reveal());
    }

    #[test]
    fn the_hash_is_sha256_in_hexadecimal() {
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("abc", "ab"));
    }
}
