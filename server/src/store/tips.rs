//! What this process last wrote to each lane, for stores on which a second write of a row replaces the first.
//!
//! A lane has one writer, who counts densely, so the next chunk after the last one needs no look at what is stored; every
//! other append does: the first of a process to a lane, and one under an earlier number. That finds other bytes under a
//! known number without a transaction, and a vote costs what it did, but for one read before the first chunk of a lane.
//!
//! Invariant: an append that is written without a look follows one of this process, or is that one again.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::{ItemId, LaneId};
use crate::cluster::mutant::mutant;

/// Lanes that are remembered; one that was forgotten costs a read. Each is some 100 bytes.
const MAX_LANES: usize = 4096;

/// What comes before the writing of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Write,
    /// A look at what is stored under its number.
    Compare,
    /// It is not written: this process wrote, or perhaps wrote, other bytes there.
    Mismatch,
}

#[derive(Debug, Clone, Copy)]
struct Tip {
    seq: u64,
    /// Of the bytes that were, or may be, written under `seq`; `None` when they are not known.
    sum: Option<u128>,
}

/// The last chunk of each lane that this process appended to.
#[derive(Debug, Default)]
pub(crate) struct Tips(Mutex<HashMap<(ItemId, LaneId), Tip>>);

fn sum(chunk: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(chunk);
    hasher.finish128().as_u128()
}

impl Tips {
    fn tips(&self) -> MutexGuard<'_, HashMap<(ItemId, LaneId), Tip>> {
        // Every change below is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk is about to be written.
    pub(crate) fn begin(&self, item: ItemId, lane: LaneId, seq: u64, chunk: &[u8]) -> Step {
        if mutant!(AcceptsOtherBytes) {
            return Step::Write;
        }
        let mut tips = self.tips();
        match tips.get_mut(&(item, lane)) {
            Some(tip) if tip.seq + 1 == seq => {
                *tip = Tip { seq, sum: Some(sum(chunk)) };
                Step::Write
            }
            Some(Tip { seq: last, sum: Some(written) }) if *last == seq => {
                if *written == sum(chunk) {
                    Step::Write
                } else {
                    Step::Mismatch
                }
            }
            _ => Step::Compare,
        }
    }

    /// Nothing else is stored under its number.
    pub(crate) fn compared(&self, item: ItemId, lane: LaneId, seq: u64, chunk: &[u8]) {
        let mut tips = self.tips();
        if tips.len() >= MAX_LANES {
            tips.clear();
        }
        let tip = Tip { seq, sum: Some(sum(chunk)) };
        let kept = tips.entry((item, lane)).or_insert(tip);
        if kept.seq <= seq {
            *kept = tip;
        }
    }

    /// It is certain that the chunk was not written: its number is free for others.
    pub(crate) fn withdraw(&self, item: ItemId, lane: LaneId, seq: u64) {
        let mut tips = self.tips();
        if tips.get(&(item, lane)).is_some_and(|tip| tip.seq == seq) {
            match seq.checked_sub(1) {
                Some(before) => tips.insert((item, lane), Tip { seq: before, sum: None }),
                None => tips.remove(&(item, lane)),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::jeu::JeuId;
    use crate::domain::live::LiveId;
    use crate::store::WriterId;

    #[test]
    fn only_the_next_chunk_and_the_last_one_again_need_no_look() {
        let (tips, item) = (Tips::default(), ItemId { live: LiveId(Uuid::nil()), jeu: JeuId(1) });
        let lane = LaneId { writer: WriterId(Uuid::nil()), lane: 0 };
        assert_eq!(tips.begin(item, lane, 0, b"a"), Step::Compare);
        assert_eq!(tips.begin(item, lane, 0, b"a"), Step::Compare, "nobody looked yet");
        tips.compared(item, lane, 0, b"a");
        assert_eq!(tips.begin(item, lane, 0, b"a"), Step::Write);
        assert_eq!(tips.begin(item, lane, 0, b"b"), Step::Mismatch);
        assert_eq!(tips.begin(item, lane, 1, b"b"), Step::Write);
        assert_eq!(tips.begin(item, lane, 1, b"c"), Step::Mismatch, "the first may still come");
        tips.withdraw(item, lane, 1);
        assert_eq!(tips.begin(item, lane, 1, b"c"), Step::Write, "it was not written");
        assert_eq!(tips.begin(item, lane, 0, b"a"), Step::Compare);
        tips.compared(item, lane, 0, b"a");
        assert_eq!(tips.begin(item, lane, 2, b"d"), Step::Write, "an older one does not take the place of the last");
        assert_eq!(tips.begin(item, lane, 7, b"e"), Step::Compare);
    }
}
