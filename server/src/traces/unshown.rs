//! Sampled votes that are durable and wait for the room to publish numbers that count them.
//!
//! **Invariant**: bounded; a live without sampled votes costs its room one look at a flag for each snapshot.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Stored;

/// Votes of one live that may wait. The oldest makes room; it is then never shown in its trace.
const MAX_UNSHOWN: usize = 256;

/// A vote that no room showed by then has nobody looking, or changed nothing: it has no span `shown`.
const PATIENCE: Duration = Duration::from_secs(2);

struct Waiting {
    jeu: u32,
    revision: u64,
    stored: Stored,
}

/// Those of one live.
#[derive(Default)]
pub struct Unshown {
    any: AtomicBool,
    waiting: Mutex<VecDeque<Waiting>>,
}

impl Unshown {
    /// Waits for revision `revision` of the jeu's numbers, or a later one.
    pub fn add(&self, jeu: u32, revision: u64, stored: Stored) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_UNSHOWN {
            waiting.pop_front();
        }
        waiting.push_back(Waiting { jeu, revision, stored });
        self.any.store(true, Ordering::Release);
    }

    /// A room has published this revision of the jeu's numbers.
    pub fn published(&self, jeu: u32, revision: u64) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..waiting.len() {
            let Some(vote) = waiting.pop_front() else { break };
            if vote.stored.is_older_than(PATIENCE) {
                continue;
            }
            if vote.jeu == jeu && vote.revision <= revision {
                vote.stored.shown();
            } else {
                waiting.push_back(vote);
            }
        }
        self.any.store(!waiting.is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Status;
    use crate::traces::Traces;

    #[test]
    fn a_vote_waits_for_numbers_of_its_jeu_that_count_it_and_only_so_many_wait() {
        let endpoint = url::Url::parse("http://127.0.0.1:9/").unwrap();
        let traces = Traces::start(&endpoint, 1.0, "pod").unwrap();
        let stored = || {
            let begun = traces.begin("join").unwrap();
            begun.joined().vote(uuid::Uuid::nil(), 1).unwrap().answered(Status::Ok).unwrap()
        };
        let unshown = Unshown::default();
        let count = || unshown.waiting.lock().unwrap().len();
        unshown.add(1, 7, stored());
        unshown.published(2, 9);
        unshown.published(1, 6);
        assert_eq!(count(), 1);
        unshown.published(1, 7);
        assert_eq!((count(), unshown.any.load(Ordering::Relaxed)), (0, false));
        (0..MAX_UNSHOWN + 5).for_each(|_| unshown.add(1, 9, stored()));
        assert_eq!(count(), MAX_UNSHOWN);
    }
}
