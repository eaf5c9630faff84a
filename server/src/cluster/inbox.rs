//! Votes on their way to an item's task, handed in by the handful.
//!
//! What an event loop read in one round arrives as one message, because each message may wake the task. A task that is
//! woken for every vote of a crowd takes the processor from the very thread that reads the next one.
//!
//! **Invariant**: no more than [`MAX_WAITING_VOTES`] are on their way, however many come in one message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::item::{Outcome, Submission, TROUBLE_RETRY_MS};

/// Votes that may be on their way to one item.
pub(super) const MAX_WAITING_VOTES: usize = 65_536;

/// Votes taken before the task looks at what else there is to do.
const ENOUGH: usize = 4096;

/// Why votes were not taken.
pub(super) enum Refusal {
    /// There are too many on their way.
    Full,
    /// The task has ended.
    Gone,
}

/// The handles' side.
#[derive(Clone)]
pub(super) struct Sender {
    batches: mpsc::UnboundedSender<Vec<Submission>>,
    waiting: Arc<AtomicUsize>,
}

/// The handles' side, as long as there are handles.
pub(super) struct WeakSender {
    batches: mpsc::WeakUnboundedSender<Vec<Submission>>,
    waiting: Arc<AtomicUsize>,
}

impl WeakSender {
    /// `None` when the last sender is gone.
    pub(super) fn upgrade(&self) -> Option<Sender> {
        Some(Sender { batches: self.batches.upgrade()?, waiting: Arc::clone(&self.waiting) })
    }
}

/// The task's side. Votes that it leaves behind were not stored, and hear so.
pub(super) struct Receiver {
    batches: mpsc::UnboundedReceiver<Vec<Submission>>,
    waiting: Arc<AtomicUsize>,
}

/// Both sides of a new inbox.
pub(super) fn new() -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Sender { batches: sender, waiting: Arc::clone(&waiting) }, Receiver { batches: receiver, waiting })
}

impl Sender {
    /// What does not keep the task.
    pub(super) fn downgrade(&self) -> WeakSender {
        WeakSender { batches: self.batches.downgrade(), waiting: Arc::clone(&self.waiting) }
    }

    /// Hands votes in; those that are not taken come back.
    pub(super) fn send(&self, mut votes: Vec<Submission>) -> Result<(), (Vec<Submission>, Refusal)> {
        let room = MAX_WAITING_VOTES.saturating_sub(self.waiting.fetch_add(votes.len(), Ordering::Relaxed));
        let refused = votes.split_off(votes.len().min(room));
        self.waiting.fetch_sub(refused.len(), Ordering::Relaxed);
        if !votes.is_empty()
            && let Err(mpsc::error::SendError(votes)) = self.batches.send(votes)
        {
            return Err((votes.into_iter().chain(refused).collect(), Refusal::Gone));
        }
        match (refused.is_empty(), self.batches.is_closed()) {
            (true, _) => Ok(()),
            (false, false) => Err((refused, Refusal::Full)),
            (false, true) => Err((refused, Refusal::Gone)),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.batches.close();
        while let Ok(votes) = self.batches.try_recv() {
            for vote in votes {
                (vote.on_outcome)(Outcome::RetryAfter { ms: TROUBLE_RETRY_MS });
            }
        }
    }
}

impl Receiver {
    /// Whether a vote is there or may still come.
    pub(super) fn is_open(&self) -> bool {
        !self.batches.is_closed() || !self.batches.is_empty()
    }

    /// Waits for votes and takes what is there. Nothing is taken by a call that is given up. `None` when nobody can hand
    /// votes in any more.
    pub(super) async fn take(&mut self, into: &mut Vec<Submission>) -> Option<()> {
        let first = self.batches.recv().await?;
        self.waiting.fetch_sub(first.len(), Ordering::Relaxed);
        into.extend(first);
        while into.len() < ENOUGH
            && let Ok(next) = self.batches.try_recv()
        {
            self.waiting.fetch_sub(next.len(), Ordering::Relaxed);
            into.extend(next);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::viewer::ViewerId;
    use crate::store::Payload;

    fn votes(count: usize) -> Vec<Submission> {
        let vote = |_| Submission {
            viewer: ViewerId([1; 16]),
            version: 1,
            payload: Payload::default(),
            on_outcome: Box::new(drop),
        };
        (0..count).map(vote).collect()
    }

    #[tokio::test]
    async fn it_takes_what_it_has_room_for_and_gives_the_rest_back() {
        let (sender, mut receiver) = new();
        assert!(sender.send(votes(MAX_WAITING_VOTES - 2)).is_ok());
        let Err((refused, Refusal::Full)) = sender.send(votes(5)) else { panic!("there is room for two") };
        assert_eq!(refused.len(), 3);
        let mut taken = Vec::new();
        assert!(receiver.take(&mut taken).await.is_some());
        assert_eq!(taken.len(), MAX_WAITING_VOTES - 2, "what was handed in together stays together");
        assert!(sender.send(votes(MAX_WAITING_VOTES - 2)).is_ok(), "what was taken made room");
        drop(receiver);
        let Err((refused, Refusal::Gone)) = sender.send(votes(2)) else { panic!("nobody takes them") };
        assert_eq!(refused.len(), 2);
    }

    #[tokio::test]
    async fn votes_that_a_task_leaves_behind_are_answered() {
        let (sender, receiver) = new();
        let (answer, mut answers) = mpsc::unbounded_channel();
        let mut left = votes(3);
        for vote in &mut left {
            let answer = answer.clone();
            vote.on_outcome = Box::new(move |outcome| drop(answer.send(outcome)));
        }
        assert!(sender.send(left).is_ok());
        drop(receiver);
        for _ in 0..3 {
            assert_eq!(answers.try_recv().unwrap(), Outcome::RetryAfter { ms: TROUBLE_RETRY_MS });
        }
    }

    #[tokio::test]
    async fn without_senders_it_is_emptied_and_then_ends() {
        let (sender, mut receiver) = new();
        assert!(sender.send(votes(3)).is_ok());
        drop(sender);
        let mut taken = Vec::new();
        assert!(receiver.is_open() && receiver.take(&mut taken).await.is_some() && taken.len() == 3);
        assert!(!receiver.is_open() && receiver.take(&mut taken).await.is_none());
    }
}
