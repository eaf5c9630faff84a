//! What an opaque payload of the engine means: the one place where votes become numbers.

use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bareme::Bareme;
use super::note::{Note, Version};
use super::tally::Tally;

/// One viewer's entry as the engine carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Version, in microseconds since 1970.
    pub version: Version,
    /// Opaque bytes.
    pub payload: &'a [u8],
}

/// Meaning of payloads: which are valid, which of two wins, and how they fold into a tally.
///
/// Folding must not depend on order: `add` and `remove` commute, and `remove` undoes `add` exactly.
pub trait Ballot: Send + Sync + 'static {
    /// The fold of all winning entries.
    type Tally: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The tally of no entry.
    fn empty(&self) -> Self::Tally;

    /// Whether a payload means something here.
    fn is_valid(&self, payload: &[u8]) -> bool;

    /// Whether `challenger` takes the place of `holder`: a strict total order, the same one the store keeps rows by.
    fn beats(&self, challenger: Entry<'_>, holder: Entry<'_>) -> bool;

    /// Counts a valid payload.
    fn add(&self, tally: &mut Self::Tally, payload: &[u8]);

    /// Takes back a payload that was counted.
    fn remove(&self, tally: &mut Self::Tally, payload: &[u8]);
}

/// Ratings by the criteres of a bareme: the latest note wins, equal versions by their bytes.
#[derive(Debug, Clone)]
pub struct Ratings {
    bareme: Arc<Bareme>,
}

impl Ratings {
    /// Ratings on `bareme`.
    pub fn new(bareme: Arc<Bareme>) -> Self {
        Self { bareme }
    }

    /// The bareme.
    pub fn bareme(&self) -> &Arc<Bareme> {
        &self.bareme
    }
}

impl Ballot for Ratings {
    type Tally = Tally;

    fn empty(&self) -> Tally {
        Tally::empty(&self.bareme)
    }

    fn is_valid(&self, payload: &[u8]) -> bool {
        Note::decode(&self.bareme, payload).is_some()
    }

    fn beats(&self, challenger: Entry<'_>, holder: Entry<'_>) -> bool {
        (challenger.version, challenger.payload) > (holder.version, holder.payload)
    }

    fn add(&self, tally: &mut Tally, payload: &[u8]) {
        if let Some(note) = Note::decode(&self.bareme, payload) {
            tally.add(&note);
        }
    }

    fn remove(&self, tally: &mut Tally, payload: &[u8]) {
        if let Some(note) = Note::decode(&self.bareme, payload) {
            tally.remove(&note);
        }
    }
}
