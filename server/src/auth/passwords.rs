//! argon2id in bounded pools: at most two at a time and a short queue for strangers, so that sign-in attempts cannot eat
//! the memory and the processors that votes need, and one more turn for those who are known, so that no crowd of strangers
//! keeps the owner waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use super::brakes::Caller;
use crate::catalogue::Refused;
use crate::domain::Invalid;
use crate::domain::rule::Rule;

/// Hashes computed at once for strangers: 19 MiB and some 20 ms of one processor each (the parameters OWASP recommends).
const AT_ONCE: usize = 2;
/// Hashes computed at once for those who are known.
const KNOWN_AT_ONCE: usize = 1;
/// Hashes that may wait for their turn in each pool; one more is refused as busy.
const MAX_WAITING: usize = 32;
/// Shortest password, in characters.
pub(super) const MIN_PASSWORD_CHARS: usize = 10;
/// Longest password, in characters: enough for any sentence, and bounded.
pub(super) const MAX_PASSWORD_CHARS: usize = 256;

/// Least score of `zxcvbn`, which knows the most common passwords, names, words, keyboards and dates: more than 10^8 guesses.
/// Strangers have 14,400 a day (`brakes.rs`).
const LEAST_SCORE: zxcvbn::Score = zxcvbn::Score::Three;

/// Hashes and verifies passwords.
pub(super) struct Passwords {
    strangers: Pool,
    known: Pool,
}

/// Turns, and who is there for one.
struct Pool {
    at_once: usize,
    turns: Arc<Semaphore>,
    present: Arc<AtomicUsize>,
}

/// Counts a caller in, and out again whatever becomes of it.
struct Present(Arc<AtomicUsize>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    fn new(at_once: usize) -> Self {
        Self { at_once, turns: Arc::new(Semaphore::new(at_once)), present: Arc::new(AtomicUsize::new(0)) }
    }

    async fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Result<R, Refused> {
        self.present.fetch_add(1, Ordering::Relaxed);
        let present = Present(self.present.clone());
        if self.present.load(Ordering::Relaxed) > self.at_once + MAX_WAITING {
            return Err(Refused::Busy);
        }
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| Refused::Busy)?;
        let job = move || {
            // The turn ends with the work, even when the caller has gone away.
            let (_turn, _present) = (turn, present);
            work()
        };
        tokio::task::spawn_blocking(job).await.map_err(|_| Refused::Busy)
    }
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self { strangers: Pool::new(AT_ONCE), known: Pool::new(KNOWN_AT_ONCE) }
    }

    /// The PHC text of a password that is long enough and not easily guessed, also by those who know `name`.
    pub(super) async fn hash(&self, password: &str, name: &str) -> Result<String, Refused> {
        let count = password.chars().count();
        if !(MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&count) {
            let remedy = format!("send {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters");
            let rule = match count < MIN_PASSWORD_CHARS {
                true => Rule::TooShort { min: MIN_PASSWORD_CHARS },
                false => Rule::TooLong { max: MAX_PASSWORD_CHARS },
            };
            return Err(Invalid::new("password", rule, format!("is {count} characters long"), remedy).into());
        }
        let (password, name) = (password.to_owned(), name.to_owned());
        // Nobody sets a password who has not shown who they are.
        let hashed = self.known.run(move || {
            if zxcvbn::zxcvbn(&password, &[name.as_str(), "bareme", "barème"]).score() < LEAST_SCORE {
                return Ok(None);
            }
            Argon2::default().hash_password(password.as_bytes()).map(|hash| Some(hash.to_string()))
        });
        match hashed.await? {
            Ok(Some(hash)) => Ok(hash),
            Ok(None) => {
                let remedy = "send several words that do not belong together, or a made-up password";
                Err(Invalid::new("password", Rule::WeakPassword, "is among the first that are guessed", remedy).into())
            }
            Err(error) => {
                tracing::error!(%error, "argon2 refused a password");
                Err(Refused::Busy)
            }
        }
    }

    /// Whether a password fits a hash; without one it costs the same and is wrong.
    pub(super) async fn verify(&self, password: &str, hash: Option<String>, caller: Caller) -> Result<bool, Refused> {
        if password.chars().count() > MAX_PASSWORD_CHARS {
            return Ok(false);
        }
        let password = password.to_owned();
        let pool = match caller {
            Caller::Stranger => &self.strangers,
            Caller::Known => &self.known,
        };
        pool.run(move || match hash {
            Some(hash) => PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
            None => {
                let _ = Argon2::default().hash_password(password.as_bytes());
                false
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new();
        let hash = passwords.hash("un mot de passe", "max").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("un mot de passe", Some(hash.clone()), Caller::Known).await.unwrap());
        assert!(!passwords.verify("un mot de passé", Some(hash), Caller::Stranger).await.unwrap());
        assert!(!passwords.verify("un mot de passe", None, Caller::Stranger).await.unwrap());
        assert!(matches!(passwords.hash("court", "max").await, Err(Refused::Invalid(_))));
    }

    #[tokio::test]
    async fn what_is_guessed_first_is_no_password_and_what_people_make_up_is() {
        let passwords = Passwords::new();
        let weak = [
            "1234567890",
            "password123",
            "motdepasse1",
            "qwertyuiop",
            "azertyuiop",
            "aaaaaaaaaaaa",
            "iloveyou12",
            "P@ssw0rd123",
            "baremebareme",
            "maximilien1",
            "01/01/1990!",
            "abcdefghijkl",
        ];
        for password in weak {
            let refused = passwords.hash(password, "maximilien").await;
            let Err(Refused::Invalid(invalid)) = refused else { panic!("{password}: {refused:?}") };
            assert_eq!(invalid.rule.word(), "weak_password", "{password}");
        }
        for password in ["un mot de passe", "une phrase assez longue", "tqk7-m3np-w8xz-h5vd", "jeudi-crêpe-vélo-7"] {
            assert!(passwords.hash(password, "maximilien").await.is_ok(), "{password}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crowd_of_attempts_is_refused_as_busy_and_the_queue_empties_again() {
        let passwords = Arc::new(Passwords::new());
        let hash = passwords.hash("un mot de passe", "max").await.unwrap();
        let attempt = || {
            let (passwords, hash) = (passwords.clone(), hash.clone());
            tokio::spawn(async move { passwords.verify("x", Some(hash), Caller::Stranger).await })
        };
        let attempts: Vec<_> = (0..200).map(|_| attempt()).collect();
        let known = passwords.verify("un mot de passe", Some(hash.clone()), Caller::Known).await;
        assert!(known.unwrap(), "who is known does not wait for them");
        let mut busy = 0;
        for attempt in attempts {
            busy += usize::from(matches!(attempt.await.unwrap(), Err(Refused::Busy)));
        }
        assert!(busy >= 100, "{busy} of 200 were refused");
        assert_eq!(passwords.strangers.present.load(Ordering::Relaxed), 0);
        assert!(passwords.verify("un mot de passe", Some(hash), Caller::Stranger).await.unwrap());
    }
}
