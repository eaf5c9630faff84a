//! How often somebody may do something: token buckets by key, in bounded memory.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Keys remembered at once. Beyond it, new keys share one bucket until old ones have been forgotten.
const MAX_KEYS: usize = 100_000;

/// One client, as far as its address tells: an IPv4 address, or the /64 an IPv6 subscriber usually has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientKey {
    /// IPv4, or IPv4 mapped into IPv6.
    V4([u8; 4]),
    /// First half of an IPv6 address.
    V6([u8; 8]),
    /// Not known, such as behind a Unix socket: all of them share one bucket.
    Unknown,
}

impl ClientKey {
    /// The key of an address.
    pub fn new(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(v4)) => Self::V4(v4.octets()),
            Some(IpAddr::V6(v6)) => {
                let octets = v6.octets();
                let mut half = [0; 8];
                half.copy_from_slice(&octets[..8]);
                Self::V6(half)
            }
            None => Self::Unknown,
        }
    }
}

/// Token buckets by key.
pub struct Limiter<K: Hash + Eq + Clone> {
    keyed: DefaultKeyedRateLimiter<K>,
    overflow: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// `count` at once and as many per minute.
    pub fn per_minute(count: u32) -> Self {
        Self::new(Quota::per_minute(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)))
    }

    /// `count` per second, and ten times as many at once.
    pub fn per_second(count: u32) -> Self {
        let rate = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self::new(Quota::per_second(rate).allow_burst(rate.saturating_mul(TEN)))
    }

    fn new(quota: Quota) -> Self {
        Self { keyed: RateLimiter::keyed(quota), overflow: RateLimiter::direct(quota), clock: DefaultClock::default() }
    }

    /// Takes one from the bucket of `key`.
    ///
    /// # Errors
    /// The seconds until there is one again, at least 1.
    pub fn check(&self, key: &K) -> Result<(), u64> {
        let wait = |not_until: governor::NotUntil<_>| not_until.wait_time_from(self.clock.now()).as_secs() + 1;
        if self.keyed.len() < MAX_KEYS {
            self.keyed.check_key(key).map_err(wait)
        } else {
            self.overflow.check().map_err(wait)
        }
    }

    /// Forgets keys whose bucket is full again; to be called now and then.
    pub fn forget_idle(&self) {
        self.keyed.retain_recent();
        self.keyed.shrink_to_fit();
    }
}

const TEN: NonZeroU32 = match NonZeroU32::new(10) {
    Some(ten) => ten,
    None => NonZeroU32::MIN,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_one_ipv6_subscription_share_a_bucket() {
        let key = |text: &str| ClientKey::new(Some(text.parse().unwrap()));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn one_who_asks_too_often_is_told_how_long_to_wait_and_others_are_not() {
        let limiter = Limiter::per_minute(3);
        for _ in 0..3 {
            assert_eq!(limiter.check(&"a"), Ok(()));
        }
        assert!((1..=21).contains(&limiter.check(&"a").unwrap_err()));
        assert_eq!(limiter.check(&"b"), Ok(()));
    }
}
