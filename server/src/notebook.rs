//! The merge map: viewer → (version, payload), with the tally and the digest that follow from it.
//!
//! **Invariant**: the tally and the digest are functions of the map's content alone. Merging is idempotent, commutative
//! and associative, so duplicates, order and replays do not matter, and equal maps have equal digests everywhere.

use std::collections::HashMap;
use std::collections::hash_map;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::cluster::mutant::mutant;
use crate::domain::ballot::{Ballot, Entry};
use crate::domain::note::Version;
use crate::domain::viewer::ViewerId;
use crate::store::{NoteRow, Payload};

/// What a merge did to the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// The viewer's first entry.
    New,
    /// It took the place of an older one.
    Replaced,
    /// The map holds exactly this, or something that beats it.
    Unchanged,
}

/// Sum over all entries of a 128-bit hash of each: independent of order, and updated entry by entry.
///
/// It finds drift between pods, not forgery; the keys are public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Digest {
    fn of(viewer: ViewerId, entry: Entry<'_>) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(0x0062_6172_656d_6500, 0x006e_6f74_6500_0001);
        hasher.write(&viewer.0);
        hasher.write_u64(entry.version);
        hasher.write(entry.payload);
        hasher.finish128().as_u128()
    }

    /// Takes an entry in, which is not in it yet.
    pub(crate) fn add(&mut self, viewer: ViewerId, entry: Entry<'_>) {
        self.0 = self.0.wrapping_add(Self::of(viewer, entry));
    }

    fn remove(&mut self, viewer: ViewerId, entry: Entry<'_>) {
        self.0 = self.0.wrapping_sub(Self::of(viewer, entry));
    }
}

/// A viewer id is an HMAC already: its first bytes are as good as any hash of it, and nobody can choose them.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }

    fn write_usize(&mut self, _length_prefix: usize) {}
}

/// One viewer's entry, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Version.
    pub version: Version,
    /// Payload.
    pub payload: Payload,
}

impl Held {
    /// The entry, borrowed.
    pub fn entry(&self) -> Entry<'_> {
        Entry { version: self.version, payload: &self.payload }
    }
}

/// The merge map of one item.
pub struct Notebook<B: Ballot> {
    ballot: Arc<B>,
    entries: HashMap<ViewerId, Held, BuildHasherDefault<FirstBytes>>,
    tally: B::Tally,
    digest: Digest,
}

impl<B: Ballot> Notebook<B> {
    /// An empty map.
    pub fn new(ballot: Arc<B>) -> Self {
        let tally = ballot.empty();
        Self { ballot, entries: HashMap::default(), tally, digest: Digest::default() }
    }

    /// Merges one entry, whose payload the ballot finds valid.
    pub fn merge(&mut self, viewer: ViewerId, entry: Entry<'_>) -> Merged {
        #[cfg(test)]
        if mutant!(LosesEntries) && crate::cluster::mutant::now_and_then() {
            return Merged::Unchanged;
        }
        let merged = match self.entries.entry(viewer) {
            hash_map::Entry::Vacant(place) => {
                place.insert(Held { version: entry.version, payload: Payload::from_slice(entry.payload) });
                Merged::New
            }
            hash_map::Entry::Occupied(mut place) => {
                let held = place.get_mut();
                let ignores_ties = mutant!(TiesKeepTheFirst) && entry.version == held.version;
                let wins = self.ballot.beats(entry, held.entry()) && !ignores_ties;
                if !wins && !mutant!(LastMergedWins) {
                    return Merged::Unchanged;
                }
                self.ballot.remove(&mut self.tally, &held.payload);
                self.digest.remove(viewer, held.entry());
                held.version = entry.version;
                held.payload.clear();
                held.payload.extend_from_slice(entry.payload);
                Merged::Replaced
            }
        };
        self.ballot.add(&mut self.tally, entry.payload);
        self.digest.add(viewer, entry);
        merged
    }

    /// What the map holds for a viewer.
    pub fn get(&self, viewer: &ViewerId) -> Option<&Held> {
        self.entries.get(viewer)
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ViewerId, &Held)> {
        self.entries.iter()
    }

    /// Rows of `notes` for some viewers, sorted and without repetition.
    pub fn rows(&self, mut viewers: Vec<ViewerId>) -> Vec<NoteRow> {
        viewers.sort_unstable();
        viewers.dedup();
        let row = |viewer: ViewerId| {
            let held = self.get(&viewer)?;
            Some(NoteRow { viewer, version: held.version, payload: held.payload.clone() })
        };
        viewers.into_iter().filter_map(row).collect()
    }

    /// Number of viewers with an entry, withdrawn ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody has an entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The fold of the entries.
    pub fn tally(&self) -> &B::Tally {
        &self.tally
    }

    /// The digest of the entries.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Folds and digests all entries anew and says whether that gives what is kept; anything but `true` is a bug.
    pub fn is_sound(&self) -> bool {
        let mut fresh = (self.ballot.empty(), Digest::default());
        for (viewer, held) in &self.entries {
            self.ballot.add(&mut fresh.0, &held.payload);
            fresh.1.add(*viewer, held.entry());
        }
        fresh.0 == self.tally && fresh.1 == self.digest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ballot::Ratings;
    use crate::domain::bareme::presets;
    use crate::domain::decimal::Decimal;
    use crate::domain::note::Note;

    fn ratings() -> Arc<Ratings> {
        Arc::new(Ratings::new(Arc::new(presets().remove(0))))
    }

    fn payload(ballot: &Ratings, fun: i32) -> Payload {
        match fun {
            0 => Note::withdrawn(ballot.bareme()).encode(),
            _ => Note::new(ballot.bareme(), [("fun", Decimal::whole(fun))]).unwrap().encode(),
        }
    }

    fn fold(entries: &[(u8, u64, i32)]) -> Notebook<Ratings> {
        let ballot = ratings();
        let mut notebook = Notebook::new(Arc::clone(&ballot));
        for &(viewer, version, fun) in entries {
            notebook.merge(ViewerId([viewer; 16]), Entry { version, payload: &payload(&ballot, fun) });
        }
        notebook
    }

    #[test]
    fn an_older_note_never_takes_the_place_of_a_newer_one() {
        let notebook = fold(&[(1, 20, 5), (1, 10, 1)]);
        assert_eq!(notebook.get(&ViewerId([1; 16])).unwrap().version, 20);
        assert_eq!(notebook.tally().histograms[0], [0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_withdrawn_note_is_remembered_and_not_counted() {
        let notebook = fold(&[(1, 10, 5), (1, 20, 0), (2, 5, 3)]);
        assert_eq!((notebook.len(), notebook.tally().voters), (2, 1));
    }

    proptest! {
        #[test]
        fn any_order_and_any_duplicates_give_the_same_tally_and_digest(
            entries in proptest::collection::vec((0_u8..6, 0_u64..8, 0_i32..6), 0..40),
            seed in any::<u64>(),
        ) {
            let forward = fold(&entries);
            let mut shuffled: Vec<_> = entries.iter().chain(&entries).copied().collect();
            let mut state = seed | 1;
            for index in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                shuffled.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
            }
            let other = fold(&shuffled);
            prop_assert_eq!(forward.tally(), other.tally());
            prop_assert_eq!(forward.digest(), other.digest());
            prop_assert!(forward.is_sound() && other.is_sound());
        }

        #[test]
        fn maps_that_differ_have_different_digests(
            entries in proptest::collection::vec((0_u8..6, 0_u64..8, 1_i32..6), 1..20),
        ) {
            let whole = fold(&entries);
            let mut more = entries;
            more.push((200, 1, 3));
            prop_assert_ne!(whole.digest(), fold(&more).digest());
        }
    }
}
