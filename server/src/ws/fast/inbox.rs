//! What other threads ask of an event loop, and the bell that wakes it.
//!
//! **Invariant**: one bell for a batch. Who finds the bell rung does not ring it again, so ten thousand answers of one
//! commit cost one system call. It is bounded by what may ask: an adoption for each place in the table, 64 answers and
//! one reading of own notes for each socket, one notice for each room.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use super::connection::Newcomer;
use super::table::Key;
use crate::domain::viewer::ViewerId;
use crate::protocol::{Mine, Reply};

/// Room for answers that is kept between batches.
const KEPT: usize = 1024;

/// What is asked of a loop, beside answers.
pub(super) enum Command {
    /// Serve this socket.
    Adopt(Box<Newcomer>),
    /// A viewer's own notes, for the socket that asked.
    OwnNotes(Key, ViewerId, Vec<Mine>),
    /// A room has new frames.
    Room(Key),
    /// A credential was revoked.
    Revoked(Arc<str>),
    /// Revocations were missed.
    RevocationsMissed,
    /// Tell so many parts of the sockets to connect elsewhere.
    SendAway(u32),
    /// Answer what is owed and say goodbye to everybody.
    Drain,
    /// End when nobody is left, or after this long.
    Stop(Duration),
}

#[derive(Default)]
pub(super) struct Batch {
    pub(super) replies: Vec<(Key, Reply)>,
    pub(super) commands: Vec<Command>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.replies.len() + self.commands.len()
    }

    /// Gives memory of a rare crowd back.
    pub(super) fn shrink(&mut self) {
        self.replies.shrink_to(KEPT);
        self.commands.shrink_to(KEPT);
    }
}

/// The inbox of one loop.
pub(super) struct Inbox {
    batch: Mutex<Batch>,
    is_rung: AtomicBool,
    bell: OwnedFd,
    /// The loop's answer to whether somebody votes: set with a vote, cleared at a beat without one.
    pub(super) hears_votes: AtomicBool,
}

impl Inbox {
    /// # Errors
    /// The system's: no file descriptor is left.
    pub(super) fn new() -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let (is_rung, hears_votes) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { batch: Mutex::default(), is_rung, bell, hears_votes })
    }

    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the loop waits on.
    pub(super) fn bell(&self) -> &OwnedFd {
        &self.bell
    }

    pub(super) fn send(&self, command: Command) {
        self.batch().commands.push(command);
        self.ring();
    }

    pub(super) fn reply(&self, to: Key, reply: Reply) {
        self.batch().replies.push((to, reply));
        self.ring();
    }

    fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            // It can only fail when the counter is full, and then the bell is ringing.
            let _already_ringing = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    /// Rings for a loop that takes the place of one that died: the bell may have been silenced, and what waits not taken.
    pub(super) fn ring_again(&self) {
        self.is_rung.store(false, Ordering::Release);
        self.ring();
    }

    /// Stops the bell, after a wait that it ended. What comes from now on rings it again.
    pub(super) fn hush(&self) {
        let mut count = [0; 8];
        let _nothing_to_read = rustix::io::read(&self.bell, &mut count);
    }

    /// Takes everything there is in exchange for an empty batch.
    pub(super) fn take(&self, batch: &mut Batch) {
        // Before the lock: whoever puts something in after it rings.
        self.is_rung.store(false, Ordering::Release);
        std::mem::swap(&mut *self.batch(), batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bell_rings_for_a_loop_whose_forerunner_died_between_silencing_it_and_taking_what_was_there() {
        let inbox = Inbox::new().unwrap();
        inbox.send(Command::Drain);
        inbox.hush();
        inbox.ring_again();
        let mut count = [0; 8];
        assert_eq!(rustix::io::read(inbox.bell(), &mut count), Ok(8), "the bell rings for what waits");
        let mut batch = Batch::default();
        inbox.take(&mut batch);
        assert_eq!(batch.len(), 1);
        inbox.send(Command::Drain);
        assert_eq!(rustix::io::read(inbox.bell(), &mut count), Ok(8), "and for what comes later");
    }
}
