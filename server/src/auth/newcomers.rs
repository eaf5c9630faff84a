//! First votes: how many viewers that have not voted before one client may bring, on whichever path, and what of it the
//! streamer sees.
//!
//! A viewer token costs nothing, so a limit per viewer limits nobody, and neither does one per socket or request. What
//! an election cannot do without is the first vote of each viewer: that is what is counted, by address.
//!
//! **Invariants**
//! - A viewer is counted once, whatever becomes of the vote, until [`GENERATION`] others have voted for the first time.
//! - Addresses are held as keys for a minute, and leave this module only as their number.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::limits::{ClientKey, Limiter};
use crate::domain::viewer::ViewerId;
use crate::protocol::Newcomers as Numbers;

/// First votes come back evenly within this time: as many as may be cast at once.
const PERIOD: Duration = Duration::from_secs(600);
/// Viewers after which those that are remembered are the previous generation, and the one before is forgotten. Two of
/// them take 9 MB. A viewer that is forgotten is counted again at the first vote of its next socket, and no more.
const GENERATION: usize = 200_000;
/// What the numbers for the streamer cover.
const WINDOW: Duration = Duration::from_secs(60);
/// Steps in which they move.
const STEP: Duration = Duration::from_secs(5);
/// Addresses of a channel that are told apart within the window. More are shown as this many.
const MAX_ADDRESSES: usize = 1_000;

/// Viewers that have voted, in two generations.
#[derive(Default)]
struct Seen {
    current: HashSet<ViewerId>,
    previous: HashSet<ViewerId>,
}

impl Seen {
    fn has(&self, viewer: ViewerId) -> bool {
        self.current.contains(&viewer) || self.previous.contains(&viewer)
    }

    fn add(&mut self, viewer: ViewerId) {
        if self.current.len() >= GENERATION {
            self.previous = std::mem::take(&mut self.current);
        }
        self.current.insert(viewer);
    }
}

/// What came in one step of a channel's window.
#[derive(Default)]
struct Slot {
    step: u64,
    admitted: u64,
    refused: u64,
}

/// The last minute of a channel.
#[derive(Default)]
struct Minute {
    slots: VecDeque<Slot>,
    /// By address, the last step it was heard in.
    addresses: HashMap<ClientKey, u64>,
}

impl Minute {
    fn forget(&mut self, step: u64) {
        let first = (step + 1).saturating_sub(WINDOW.as_secs() / STEP.as_secs());
        self.slots.retain(|slot| slot.step >= first);
        self.addresses.retain(|_, last| *last >= first);
    }

    fn record(&mut self, client: ClientKey, is_admitted: bool, step: u64) {
        if self.slots.back().is_none_or(|slot| slot.step != step) {
            self.forget(step);
            self.slots.push_back(Slot { step, ..Slot::default() });
        }
        if let Some(slot) = self.slots.back_mut() {
            *(if is_admitted { &mut slot.admitted } else { &mut slot.refused }) += 1;
        }
        if self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(&client) {
            self.addresses.insert(client, step);
        }
    }

    fn numbers(&self) -> Numbers {
        let sum = |count: fn(&Slot) -> u64| self.slots.iter().map(count).sum();
        Numbers {
            admitted: sum(|slot| slot.admitted),
            refused: sum(|slot| slot.refused),
            addresses: self.addresses.len() as u64,
        }
    }
}

/// The limit of first votes, and the last minute of each channel.
pub struct Newcomers {
    limiter: Limiter<ClientKey>,
    seen: Mutex<Seen>,
    channels: Mutex<HashMap<Arc<str>, Minute>>,
    started: Instant,
    admitted: metrics::Counter,
    refused: metrics::Counter,
}

impl Newcomers {
    /// `most` first votes of one client at once, and as many again in ten minutes.
    pub fn new(most: u32) -> Self {
        let count = |outcome: &'static str| metrics::counter!(crate::metrics::NEW_VIEWERS, "outcome" => outcome);
        Self {
            limiter: Limiter::new(most, PERIOD),
            seen: Mutex::default(),
            channels: Mutex::default(),
            started: Instant::now(),
            admitted: count("admitted"),
            refused: count("refused"),
        }
    }

    /// Lets a viewer of a channel vote. `client` is `None` for whoever is exempt.
    ///
    /// # Errors
    /// How long to wait, when the viewer has not voted before and its client has brought too many of those.
    pub fn admit(&self, client: Option<ClientKey>, viewer: ViewerId, channel: &Arc<str>) -> Result<(), Duration> {
        let Some(client) = client else { return Ok(()) };
        let outcome = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.has(viewer) {
                return Ok(());
            }
            let outcome = self.limiter.take(&client);
            if outcome.is_ok() {
                seen.add(viewer);
            }
            outcome
        };
        let counter = if outcome.is_ok() { &self.admitted } else { &self.refused };
        counter.increment(1);
        let step = self.step();
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.entry(Arc::clone(channel)).or_default().record(client, outcome.is_ok(), step);
        outcome
    }

    /// The last minute of a channel; `None` when nobody came.
    pub fn numbers(&self, channel: &str) -> Option<Numbers> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = channels.get_mut(channel)?;
        minute.forget(self.step());
        let numbers = minute.numbers();
        (numbers.admitted + numbers.refused > 0).then_some(numbers)
    }

    fn step(&self) -> u64 {
        self.started.elapsed().as_secs() / STEP.as_secs()
    }

    /// Forgets clients that have been quiet; to be called now and then.
    pub fn forget_idle(&self) {
        self.limiter.forget_idle();
        let step = self.step();
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|_, minute| {
            minute.forget(step);
            !minute.slots.is_empty()
        });
    }
}

impl std::fmt::Debug for Newcomers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Newcomers(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Option<ClientKey> {
        Some(ClientKey::V4([192, 0, 2, last]))
    }

    fn viewer(number: u32) -> ViewerId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        ViewerId(id)
    }

    #[test]
    fn viewers_of_one_address_are_counted_once_each_and_the_streamer_sees_how_many_came_from_how_many_addresses() {
        let newcomers = Newcomers::new(3);
        let channel: Arc<str> = "max".into();
        for number in 0..3 {
            for _again in 0..10 {
                assert_eq!(newcomers.admit(client(1), viewer(number), &channel), Ok(()));
            }
        }
        let wait = newcomers.admit(client(1), viewer(3), &channel).unwrap_err();
        assert!(wait <= PERIOD / 3, "{wait:?}");
        assert_eq!(newcomers.admit(client(1), viewer(0), &channel), Ok(()), "whoever has voted goes on");
        assert_eq!(newcomers.admit(client(2), viewer(3), &channel), Ok(()), "and so do other addresses");
        assert_eq!(newcomers.numbers("max"), Some(Numbers { admitted: 4, refused: 1, addresses: 2 }));
        assert_eq!(newcomers.numbers("another"), None);
    }

    #[test]
    fn a_hall_behind_one_address_votes_within_half_a_minute() {
        let newcomers = Newcomers::new(crate::settings::Settings::default().new_viewers_per_address);
        let channel: Arc<str> = "hall".into();
        assert!((0..500).all(|number| newcomers.admit(client(1), viewer(number), &channel).is_ok()));
    }

    #[test]
    fn whoever_is_exempt_is_neither_counted_nor_refused() {
        let newcomers = Newcomers::new(1);
        let channel: Arc<str> = "max".into();
        assert!((0..10_000).all(|number| newcomers.admit(None, viewer(number), &channel).is_ok()));
        assert_eq!(newcomers.numbers("max"), None);
    }

    #[test]
    fn the_viewers_that_are_remembered_are_bounded_and_the_latest_are_among_them() {
        let mut seen = Seen::default();
        let most = u32::try_from(GENERATION).unwrap();
        for number in 0..3 * most {
            seen.add(viewer(number));
        }
        assert_eq!(seen.current.len() + seen.previous.len(), 2 * GENERATION);
        assert!((most..3 * most).all(|number| seen.has(viewer(number))));
    }

    #[test]
    fn what_happened_more_than_a_minute_ago_is_not_shown() {
        let mut minute = Minute::default();
        let steps = WINDOW.as_secs() / STEP.as_secs();
        minute.record(ClientKey::Unknown, true, 0);
        minute.record(ClientKey::Unknown, false, steps - 1);
        assert_eq!(minute.numbers(), Numbers { admitted: 1, refused: 1, addresses: 1 });
        minute.forget(steps);
        assert_eq!(minute.numbers(), Numbers { admitted: 0, refused: 1, addresses: 1 });
        minute.forget(3 * steps);
        assert_eq!(minute.numbers(), Numbers { admitted: 0, refused: 0, addresses: 0 });
        for number in 0..3000_u32 {
            minute.record(ClientKey::V4(number.to_be_bytes()), true, 100);
        }
        assert_eq!(minute.numbers(), Numbers { admitted: 3000, refused: 0, addresses: 1000 });
    }
}
