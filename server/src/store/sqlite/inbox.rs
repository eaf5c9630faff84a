//! Bounded queues between the async side and the store's threads.
//!
//! Invariant: nothing waits to get in. A full queue says so at once, and its caller hears
//! [`ErrorKind::Unavailable`](crate::store::ErrorKind::Unavailable).

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Why an entry did not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    Closed,
}

/// One queue: its name in metrics, and how many entries wait at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    pub(super) name: &'static str,
    pub(super) capacity: usize,
}

/// Queues that one side fills and the other empties, under one lock so that the emptying side can sleep on all.
pub(super) struct Inbox<T, const LANES: usize> {
    lanes: [Lane; LANES],
    state: Mutex<State<T, LANES>>,
    filled: Condvar,
}

pub(super) struct State<T, const LANES: usize> {
    pub(super) queues: [VecDeque<T>; LANES],
    closed: bool,
}

impl<T, const LANES: usize> Inbox<T, LANES> {
    pub(super) fn new(lanes: [Lane; LANES]) -> Self {
        let state = State { queues: std::array::from_fn(|_| VecDeque::new()), closed: false };
        Self { lanes, state: Mutex::new(state), filled: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T, LANES>> {
        // No code panics while it holds the lock with a queue half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, lane: usize, entry: T) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if state.queues[lane].len() >= self.lanes[lane].capacity {
            return Err(Refusal::Full);
        }
        state.queues[lane].push_back(entry);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Puts back an entry that was taken and is not finished, behind the others and whatever the capacity.
    pub(super) fn put_back(&self, lane: usize, entry: T) {
        self.state().queues[lane].push_back(entry);
        self.filled.notify_one();
    }

    /// Whether nothing more is let in.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Puts an entry before all others, whatever the capacity.
    pub(super) fn put_first(&self, lane: usize, entry: T) {
        self.state().queues[lane].push_front(entry);
        self.filled.notify_one();
    }

    /// Sleeps until something is queued, and takes from it. `None` once closed and empty: what was accepted is served.
    pub(super) fn take<R>(&self, take: impl FnOnce(&mut [VecDeque<T>; LANES]) -> R) -> Option<R> {
        let mut state = self.state();
        while state.queues.iter().all(VecDeque::is_empty) {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let taken = take(&mut state.queues);
        for (lane, queue) in self.lanes.iter().zip(&state.queues) {
            metrics::gauge!("store_queue_depth", "queue" => lane.name).set(queue.len() as f64);
        }
        Some(taken)
    }

    /// Lets nothing more in, and wakes those who sleep.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    /// Closes, and drops what waits: nobody is left to serve it.
    pub(super) fn abandon(&self) {
        self.close();
        let dropped = std::mem::replace(&mut self.state().queues, std::array::from_fn(|_| VecDeque::new()));
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_the_other_does_not_care() {
        let inbox = Inbox::new([Lane { name: "a", capacity: 1 }, Lane { name: "b", capacity: 1 }]);
        assert_eq!(inbox.push(0, 1), Ok(()));
        assert_eq!(inbox.push(0, 2), Err(Refusal::Full));
        assert_eq!(inbox.push(1, 3), Ok(()));
        assert_eq!(inbox.take(|[a, b]| (a.pop_front(), b.pop_front())), Some((Some(1), Some(3))));
    }

    #[test]
    fn what_was_accepted_before_closing_is_served() {
        let inbox = Inbox::new([Lane { name: "a", capacity: 2 }]);
        inbox.push(0, 1).unwrap();
        inbox.close();
        assert_eq!(inbox.push(0, 2), Err(Refusal::Closed));
        assert_eq!(inbox.take(|[a]| a.pop_front()), Some(Some(1)));
        assert_eq!(inbox.take(|[a]| a.pop_front()), None);
    }
}
