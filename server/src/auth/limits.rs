//! How often a client may do something: token buckets by key, in bounded memory.
//!
//! **Invariants**
//! - A key that has a bucket keeps it, however many others come: a full table takes no new keys, and those share the
//!   bucket of the network they are in.
//! - A client whose addresses are cheap has no more for having many: the networks around an IPv6 subscriber have buckets
//!   of their own, which everything from there is taken from as well.
//!
//! The arithmetic is the generic cell rate algorithm. It is written out here because a keyed limiter of `governor` has no
//! bound, and cannot tell a key it knows from a new one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys of one width that have a bucket at once. A table of that many clients takes 3 MB.
pub const MAX_KEYS: usize = 100_000;
/// Least time between two searches of a full table for buckets that are full again: a search takes a millisecond.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Widths of a key: a client, and two networks around it.
const WIDTHS: usize = 3;
/// How many clients' worth the bucket has that is shared by keys that found no room anywhere.
const REST_WEIGHT: u32 = 64;

/// What a bucket is for.
pub trait Key: Hash + Eq + Clone {
    /// The network around it; `None` when there is none. At most two steps lead to the widest one.
    fn wider(&self) -> Option<Self> {
        None
    }

    /// How many clients' worth its bucket has.
    fn weight(&self) -> u32 {
        1
    }

    /// Whether it costs so little to have another one that the bucket of its network counts beside its own.
    fn is_cheap(&self) -> bool {
        false
    }
}

impl Key for String {}
impl Key for &str {}
impl<const N: usize> Key for [u8; N] {}
impl<A: Key, B: Key> Key for (A, B) {}

/// One client, as far as its address tells, or the network around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientKey {
    /// IPv4, or IPv4 mapped into IPv6.
    V4([u8; 4]),
    /// A /24 of IPv4, for addresses that found no room.
    V4Net([u8; 3]),
    /// The /64 that an IPv6 subscriber has to itself at least.
    V6([u8; 8]),
    /// The /48 around it, which a site has, or a few hundred subscribers.
    V6Site([u8; 6]),
    /// The /32 around that, which a provider has.
    V6Provider([u8; 4]),
    /// Not known, such as behind a Unix socket: all of them share one bucket.
    Unknown,
}

fn first<const N: usize>(octets: &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    taken.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
    taken
}

impl ClientKey {
    /// The key of an address.
    pub fn new(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(v4)) => Self::V4(v4.octets()),
            Some(IpAddr::V6(v6)) => Self::V6(first(&v6.octets())),
            None => Self::Unknown,
        }
    }
}

impl ClientKey {
    /// The key and those of the networks that count beside it.
    pub fn counted(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |key| if key.is_cheap() { key.wider() } else { None })
    }
}

impl Key for ClientKey {
    fn wider(&self) -> Option<Self> {
        match self {
            Self::V4(octets) => Some(Self::V4Net(first(octets))),
            Self::V6(octets) => Some(Self::V6Site(first(octets))),
            Self::V6Site(octets) => Some(Self::V6Provider(first(octets))),
            Self::V4Net(_) | Self::V6Provider(_) | Self::Unknown => None,
        }
    }

    fn weight(&self) -> u32 {
        match self {
            Self::V4(_) | Self::V6(_) | Self::Unknown => 1,
            Self::V4Net(_) | Self::V6Site(_) => 8,
            Self::V6Provider(_) => 64,
        }
    }

    /// A site of IPv6 has 65,536 subscribers' networks, and a provider as many sites. Neighbours in IPv4 have nothing to do
    /// with each other.
    fn is_cheap(&self) -> bool {
        matches!(self, Self::V6(_) | Self::V6Site(_))
    }
}

/// What clients have at once of something, such as connections: for each, and for the networks that count beside it.
#[derive(Debug, Default)]
pub struct Counts(HashMap<ClientKey, u32>);

impl Counts {
    /// One more for a client, unless it or a network around it has `most` times its worth; says whether it was counted.
    #[must_use]
    pub fn add(&mut self, client: ClientKey, most: u32) -> bool {
        let is_full =
            |key: ClientKey| self.0.get(&key).is_some_and(|count| *count >= most.saturating_mul(key.weight()));
        if most == 0 || client.counted().any(is_full) {
            return false;
        }
        for key in client.counted() {
            *self.0.entry(key).or_insert(0) += 1;
        }
        true
    }

    /// One less.
    pub fn remove(&mut self, client: ClientKey) {
        for key in client.counted() {
            if let Entry::Occupied(mut count) = self.0.entry(key) {
                *count.get_mut() = count.get().saturating_sub(1);
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    /// Clients and networks that have something.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody has anything.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy)]
struct Quota {
    /// Nanoseconds until there is one more.
    each: u64,
    /// Most that can be taken at once.
    burst: u64,
}

impl Quota {
    /// The same for `weight` clients together.
    fn times(self, weight: u32) -> Self {
        let weight = u64::from(weight.max(1));
        Self { each: (self.each / weight).max(1), burst: self.burst.saturating_mul(weight) }
    }

    /// When a bucket will be full that is full at `full_at` now, once one is taken from it.
    ///
    /// # Errors
    /// The nanoseconds until there is one to take.
    fn take(self, full_at: u64, now: u64) -> Result<u64, u64> {
        let next = full_at.max(now).saturating_add(self.each);
        match next.saturating_sub(now).checked_sub(self.each.saturating_mul(self.burst)) {
            None | Some(0) => Ok(next),
            Some(wait) => Err(wait),
        }
    }
}

/// Buckets of one width: when each will be full. One that is full is as good as none.
struct Table<K> {
    full_at: HashMap<K, u64>,
    sweep_after: u64,
}

impl<K: Key> Table<K> {
    /// When the bucket of a key will be full; `None` when it has none and there is no room for one.
    fn look(&mut self, key: &K, now: u64) -> Option<u64> {
        if let Some(full_at) = self.full_at.get(key) {
            return Some(*full_at);
        }
        if self.full_at.len() >= MAX_KEYS && now >= self.sweep_after {
            self.sweep(now);
            self.sweep_after = now.saturating_add(nanos(SWEEP_INTERVAL));
        }
        (self.full_at.len() < MAX_KEYS).then_some(0)
    }

    fn sweep(&mut self, now: u64) {
        self.full_at.retain(|_, full_at| *full_at > now);
    }
}

struct Tables<K> {
    widths: [Table<K>; WIDTHS],
    /// The bucket of those that found no room at any width.
    rest: u64,
}

impl<K: Key> Tables<K> {
    fn take(&mut self, quota: Quota, key: &K, now: u64) -> Result<(), u64> {
        // All buckets are looked at before one is taken from: a client that one of them refuses costs the others nothing.
        let mut taken: [Option<(K, u64)>; WIDTHS] = [const { None }; WIDTHS];
        let mut next = Some(key.clone());
        for (table, taken) in self.widths.iter_mut().zip(&mut taken) {
            let Some(key) = next.take() else { break };
            let bucket = table.look(&key, now);
            if let Some(full_at) = bucket {
                *taken = Some((key.clone(), quota.times(key.weight()).take(full_at, now)?));
            }
            if bucket.is_none() || key.is_cheap() {
                next = key.wider();
            }
        }
        if taken.iter().all(Option::is_none) {
            self.rest = quota.times(REST_WEIGHT).take(self.rest, now)?;
        }
        for (table, taken) in self.widths.iter_mut().zip(taken) {
            if let Some((key, full_at)) = taken {
                table.full_at.insert(key, full_at);
            }
        }
        Ok(())
    }
}

/// Token buckets by key.
pub struct Limiter<K> {
    quota: Quota,
    tables: Mutex<Tables<K>>,
    started: Instant,
}

impl<K: Key> Limiter<K> {
    /// `count` at once and as many per minute.
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// `burst` at once and `count` per minute afterwards.
    pub fn burst_per_minute(burst: u32, count: u32) -> Self {
        Self::new(burst, Duration::from_secs(60).saturating_mul(burst.max(1)) / count.max(1))
    }

    /// `count` per second, and ten times as many at once.
    pub fn per_second(count: u32) -> Self {
        Self::new(count.max(1).saturating_mul(10), Duration::from_secs(10))
    }

    /// `burst` at once, and as many again in `period`, evenly.
    pub fn new(burst: u32, period: Duration) -> Self {
        let burst = u64::from(burst.max(1));
        let table = || Table { full_at: HashMap::new(), sweep_after: 0 };
        Self {
            quota: Quota { each: (nanos(period) / burst).max(1), burst },
            tables: Mutex::new(Tables { widths: std::array::from_fn(|_| table()), rest: 0 }),
            started: Instant::now(),
        }
    }

    /// Takes one from the bucket of `key`.
    ///
    /// # Errors
    /// The seconds until there is one again, at least 1.
    pub fn check(&self, key: &K) -> Result<(), u64> {
        self.take(key).map_err(|wait| wait.as_secs() + 1)
    }

    /// Takes one from the bucket of `key`.
    ///
    /// # Errors
    /// How long it takes until there is one again.
    pub fn take(&self, key: &K) -> Result<(), Duration> {
        self.take_at(key, self.started.elapsed())
    }

    /// As [`Limiter::take`], `now` after this limiter was made.
    fn take_at(&self, key: &K, now: Duration) -> Result<(), Duration> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.take(self.quota, key, nanos(now)).map_err(Duration::from_nanos)
    }

    /// Forgets keys whose bucket is full again; to be called now and then.
    pub fn forget_idle(&self) {
        let now = nanos(self.started.elapsed());
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for table in &mut tables.widths {
            table.sweep(now);
            table.full_at.shrink_to_fit();
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    fn key(text: &str) -> ClientKey {
        ClientKey::new(Some(text.parse().unwrap()))
    }

    /// The `number`th /64, each in a /32 of its own.
    fn far_apart(number: u32) -> ClientKey {
        let [a, b, c, d] = number.to_be_bytes();
        ClientKey::V6([a, b, c, d, 0, 0, 0, 0])
    }

    /// How many a key can take at once.
    fn taken(limiter: &Limiter<ClientKey>, keys: impl Iterator<Item = ClientKey>) -> usize {
        keys.filter(|key| limiter.take_at(key, START).is_ok()).count()
    }

    #[test]
    fn neighbours_in_one_ipv6_subscription_share_a_bucket() {
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn a_client_that_asks_too_often_is_told_how_long_to_wait_and_others_are_not() {
        let limiter = Limiter::per_minute(3);
        for _ in 0..3 {
            assert_eq!(limiter.take_at(&"a", START), Ok(()));
        }
        let wait = limiter.take_at(&"a", START).unwrap_err();
        assert_eq!(wait, Duration::from_secs(20));
        assert!(limiter.take_at(&"a", START + wait - Duration::from_nanos(1)).is_err());
        assert_eq!(limiter.take_at(&"a", START + wait), Ok(()));
        assert_eq!(limiter.take_at(&"b", START), Ok(()));
    }

    #[test]
    fn a_network_has_a_limit_however_many_addresses_are_used() {
        let limiter = Limiter::per_minute(10);
        let subnets = (0..60_000_u16).map(|subnet| {
            let [high, low] = subnet.to_be_bytes();
            ClientKey::V6([0x20, 1, 0xd, 0xb8, 0, 1, high, low])
        });
        assert_eq!(taken(&limiter, subnets), 80, "one /48");
        let sites = (2..60_000_u16).map(|site| {
            let [high, low] = site.to_be_bytes();
            ClientKey::V6([0x20, 1, 0xd, 0xb8, high, low, 0, 0])
        });
        assert_eq!(taken(&limiter, sites), 640 - 80, "one /32");
        assert_eq!(taken(&limiter, std::iter::repeat_n(key("2001:db9::1"), 20)), 10, "and others have their own");
        let neighbours = (0..=255).map(|last| ClientKey::V4([192, 0, 2, last]));
        assert_eq!(taken(&limiter, neighbours), 256, "neighbours in IPv4 are strangers");
    }

    #[test]
    fn whoever_is_known_goes_on_when_the_table_is_full_and_newcomers_share_what_their_network_has() {
        let limiter = Limiter::per_minute(10);
        let known = key("203.0.113.5");
        assert_eq!(limiter.take_at(&known, START), Ok(()));
        let strangers = u32::try_from(3 * MAX_KEYS).unwrap();
        // The last one that finds room has it in the tables of networks only, which the known client is not in.
        assert_eq!(taken(&limiter, (1..strangers).map(far_apart)), MAX_KEYS + 640);
        let held: usize = limiter.tables.lock().unwrap().widths.iter().map(|table| table.full_at.len()).sum();
        // The /48 and the /32 of each stranger have a bucket, too.
        assert_eq!(held, WIDTHS * MAX_KEYS, "the tables are bounded");
        assert_eq!(taken(&limiter, std::iter::repeat_n(known, 20)), 9, "the known client has what it had");
        let later = START + Duration::from_secs(61);
        assert_eq!(limiter.take_at(&key("198.51.100.9"), later), Ok(()));
        let held: usize = limiter.tables.lock().unwrap().widths.iter().map(|table| table.full_at.len()).sum();
        assert!(held < 3 * MAX_KEYS, "a full table forgets who has been quiet: {held}");
    }

    #[test]
    fn an_address_that_finds_no_room_shares_the_bucket_of_its_neighbours() {
        let limiter = Limiter::per_minute(10);
        let many = u32::try_from(MAX_KEYS).unwrap();
        let addresses = (0..many).map(|number| ClientKey::V4(number.to_be_bytes()));
        assert_eq!(taken(&limiter, addresses), MAX_KEYS);
        let neighbours = (0..=255).map(|last| ClientKey::V4([203, 0, 113, last]));
        assert_eq!(taken(&limiter, neighbours), 80);
    }
}
