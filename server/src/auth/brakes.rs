//! Who is slowed down at the door: strangers, by their address, by address and name, and, gently, by name. A browser that
//! the account has signed in with before has a bucket of its own, so that nobody else can empty it.
//!
//! **Invariant**: whatever strangers send, a known browser is asked for its password at once.

use super::devices::DeviceId;
use super::limits::{ClientKey, Limiter};
use super::secrets::digest;

/// A bucket: so many at once, and so many a minute afterwards.
type Rate = (u32, u32);

/// Attempts from one address, at whatever names: a household or an office behind one address mistypes less.
const PER_ADDRESS: Rate = (10, 10);
/// Attempts from one address at one name: 4,300 a day at most. A streamer who has forgotten which password it was is not
/// stopped before the sixth try.
const PER_ADDRESS_AND_NAME: Rate = (6, 3);
/// Attempts of strangers at one name from everywhere: whoever guesses from ever so many addresses has 14,430 tries on the
/// first day and 14,400 on each one after it, of which a password that is accepted here survives for decades.
const PER_NAME: Rate = (30, 10);
/// Attempts from one browser that the account has signed in with before. Once they are used up, it counts as a stranger
/// as well, so that a stolen cookie is worth as much as a slow guesser.
const PER_DEVICE: Rate = (10, 10);

/// Codes of a second factor, from one known browser or from all strangers together who know the password. Three of a million
/// codes are right at any time, so that one a minute finds one in 230 days on average.
const PER_CODE: Rate = (5, 1);
/// Passwords given again by those who are signed in, for one account.
const PER_SESSION: Rate = (10, 5);

/// A name in a fixed number of bytes, since anybody may send a long one.
type NameKey = [u8; 16];

/// The buckets.
pub(super) struct Brakes {
    by_address: Limiter<ClientKey>,
    by_address_and_name: Limiter<(ClientKey, NameKey)>,
    by_name: Limiter<NameKey>,
    by_device: Limiter<(DeviceId, NameKey)>,
    by_code: Limiter<(DeviceId, NameKey)>,
    by_session: Limiter<NameKey>,
}

/// Who tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Somebody the account has never signed in from.
    Stranger,
    /// A browser that it has.
    Known,
}

impl Brakes {
    pub(super) fn new() -> Self {
        Self {
            by_address: Limiter::burst_per_minute(PER_ADDRESS.0, PER_ADDRESS.1),
            by_address_and_name: Limiter::burst_per_minute(PER_ADDRESS_AND_NAME.0, PER_ADDRESS_AND_NAME.1),
            by_name: Limiter::burst_per_minute(PER_NAME.0, PER_NAME.1),
            by_device: Limiter::burst_per_minute(PER_DEVICE.0, PER_DEVICE.1),
            by_code: Limiter::burst_per_minute(PER_CODE.0, PER_CODE.1),
            by_session: Limiter::burst_per_minute(PER_SESSION.0, PER_SESSION.1),
        }
    }

    /// Lets an attempt at a name through, or not.
    ///
    /// # Errors
    /// The seconds until the next one.
    pub(super) fn attempt(&self, client: ClientKey, device: Option<DeviceId>, folded: &str) -> Result<Caller, u64> {
        let name = digest(folded.as_bytes());
        if device.is_some_and(|device| self.by_device.check(&(device, name)).is_ok()) {
            return Ok(Caller::Known);
        }
        // In this order: what one address alone sends takes little out of the bucket that a name has for all strangers.
        self.by_address.check(&client)?;
        self.by_address_and_name.check(&(client, name))?;
        self.by_name.check(&name)?;
        Ok(Caller::Stranger)
    }

    /// Lets a code of a second factor be tried by somebody who knows the password.
    ///
    /// # Errors
    /// The seconds until the next one.
    pub(super) fn code(&self, device: Option<DeviceId>, folded: &str) -> Result<(), u64> {
        // No device is all zeros.
        self.by_code.check(&(device.unwrap_or_default(), digest(folded.as_bytes())))
    }

    /// Lets somebody who is signed in give their password again.
    ///
    /// # Errors
    /// The seconds until the next one.
    pub(super) fn again(&self, folded: &str) -> Result<(), u64> {
        self.by_session.check(&digest(folded.as_bytes()))
    }

    /// Lets an attempt through that names nobody: the set-up link.
    ///
    /// # Errors
    /// The seconds until the next one.
    pub(super) fn attempt_from(&self, client: ClientKey) -> Result<(), u64> {
        self.by_address.check(&client)
    }

    /// Forgets who has been quiet; to be called now and then.
    pub(super) fn forget_idle(&self) {
        self.by_address.forget_idle();
        self.by_address_and_name.forget_idle();
        self.by_name.forget_idle();
        self.by_device.forget_idle();
        self.by_code.forget_idle();
        self.by_session.forget_idle();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn client(number: u32) -> ClientKey {
        ClientKey::V4(number.to_be_bytes())
    }

    /// How many of `tries` are let through, and how many at most may have come back into a bucket meanwhile.
    fn passed(tries: impl Iterator<Item = bool>, rate: Rate) -> (u32, std::ops::RangeInclusive<u32>) {
        let began = Instant::now();
        let passed = tries.map(u32::from).sum();
        let minutes = u32::try_from(began.elapsed().as_secs() / 60 + 1).unwrap();
        (passed, rate.0..=rate.0 + rate.1 * minutes)
    }

    #[test]
    fn one_address_is_slowed_at_one_name_sooner_than_at_many_and_takes_little_of_what_the_name_has() {
        let brakes = Brakes::new();
        let one = (0..200).map(|_| brakes.attempt(client(1), None, "max").is_ok());
        let (count, expected) = passed(one, PER_ADDRESS_AND_NAME);
        assert!(expected.contains(&count), "{count}");
        let many = (0..200).map(|n| brakes.attempt(client(2), None, &format!("a{n}")).is_ok());
        let (count, expected) = passed(many, PER_ADDRESS);
        assert!(expected.contains(&count), "{count}");
        assert_eq!(brakes.attempt(client(3), None, "max"), Ok(Caller::Stranger));
    }

    #[test]
    fn a_guesser_with_an_address_for_each_try_is_slowed_at_a_name_and_a_known_browser_is_not() {
        let brakes = Brakes::new();
        let tries = (0..5_000).map(|n| brakes.attempt(client(n), None, "max").is_ok());
        let (count, expected) = passed(tries, PER_NAME);
        assert!(expected.contains(&count), "{count}");
        assert!((1..=7).contains(&brakes.attempt(client(9_999), None, "max").unwrap_err()));
        assert_eq!(brakes.attempt(client(1), Some([1; 16]), "max"), Ok(Caller::Known), "from an address that guessed");
        assert_eq!(brakes.attempt(client(9_998), None, "lea"), Ok(Caller::Stranger), "at another name");
    }

    #[test]
    fn a_stolen_device_cookie_is_worth_a_slow_guesser() {
        let brakes = Brakes::new();
        let tries = (0..500).map(|_| brakes.attempt(client(1), Some([1; 16]), "max") == Ok(Caller::Known));
        let (count, expected) = passed(tries, PER_DEVICE);
        assert!(expected.contains(&count), "{count}");
        assert_eq!(brakes.attempt(client(1), Some([2; 16]), "max"), Ok(Caller::Known), "another browser");
    }
}
