//! The rooms of one loop: who is in them, and how far the newest frames have got.
//!
//! **Invariants**
//! - A loop hears of a room once, however many of its sockets are in it.
//! - Frames that come while the ones before are still being sent take their place; nobody is left out for it, because the
//!   walk goes on from where it is, once around.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{oneshot, watch};

use super::inbox::{Command, Inbox};
use super::table::{Key, Table};
use crate::conductor::Conductor;
use crate::hub::frames::Frames;
use crate::hub::{RoomId, Seat};
use crate::supervise::Scope;

struct Entry {
    id: RoomId,
    newest: watch::Receiver<Arc<Frames>>,
    frames: Arc<Frames>,
    /// Who came in; who has left since is found out when it is their turn.
    members: Vec<Key>,
    /// How many of them have left.
    left: usize,
    /// Whose turn it is, and how many turns are left.
    turn: usize,
    turns: usize,
    has_news: Arc<AtomicBool>,
    /// Ends the task that listens for this loop.
    _listening: oneshot::Sender<()>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Rooms {
    table: Table<Entry>,
    by_id: HashMap<RoomId, Key>,
    /// Rooms with turns left.
    walking: VecDeque<Key>,
}

impl Rooms {
    /// Takes somebody in. The room is listened to from the first one on.
    pub(super) fn enter(&mut self, seat: &Seat, member: Key, conductor: &Conductor, inbox: &Arc<Inbox>) -> Option<Key> {
        let room = match self.by_id.get(&seat.room()) {
            Some(room) => *room,
            None => self.open(seat, conductor, inbox)?,
        };
        self.table.get_mut(room)?.members.push(member);
        Some(room)
    }

    fn open(&mut self, seat: &Seat, conductor: &Conductor, inbox: &Arc<Inbox>) -> Option<Key> {
        let changes = seat.subscribe();
        let newest = changes.clone();
        let frames = Arc::clone(&newest.borrow());
        let has_news = Arc::new(AtomicBool::new(false));
        let (listening, stopped) = oneshot::channel();
        let entry = Entry {
            id: seat.room(),
            newest,
            frames,
            members: Vec::new(),
            left: 0,
            turn: 0,
            turns: 0,
            has_news: Arc::clone(&has_news),
            _listening: listening,
        };
        let room = self.table.insert(entry)?;
        self.by_id.insert(seat.room(), room);
        let inbox = Arc::clone(inbox);
        let listen = move || {
            let (inbox, has_news, mut changes) = (Arc::clone(&inbox), Arc::clone(&has_news), changes.clone());
            async move {
                while changes.changed().await.is_ok() {
                    if !has_news.swap(true, Ordering::AcqRel) {
                        inbox.send(Command::Room(room));
                    }
                }
            }
        };
        let supervisor = conductor.supervisor().clone();
        conductor.spawn("room-news", async move {
            tokio::select! {
                () = supervisor.keep(Scope::Part, "room-news", listen) => {}
                _ = stopped => {}
            }
        });
        Some(room)
    }

    /// Somebody has left.
    pub(super) fn leave(&mut self, room: Key) {
        let Some(entry) = self.table.get_mut(room) else { return };
        entry.left += 1;
        if entry.left >= entry.members.len() {
            self.by_id.remove(&entry.id);
            self.table.remove(room);
        }
    }

    /// What a room shows.
    pub(super) fn frames(&self, room: Key) -> Option<&Arc<Frames>> {
        self.table.get(room).map(|entry| &entry.frames)
    }

    /// A room has something new: everybody in it has a turn.
    pub(super) fn has_news(&mut self, room: Key) {
        let Some(entry) = self.table.get_mut(room) else { return };
        entry.has_news.store(false, Ordering::Release);
        entry.frames = Arc::clone(&entry.newest.borrow());
        if entry.turns == 0 {
            self.walking.push_back(room);
        }
        entry.turns = entry.members.len();
    }

    /// Whether somebody has a turn.
    pub(super) fn are_walking(&self) -> bool {
        !self.walking.is_empty()
    }

    /// The next to have a turn, and their room; `is_there` says who has not left.
    pub(super) fn next(&mut self, is_there: impl Fn(Key, Key) -> bool) -> Option<(Key, Key)> {
        loop {
            let room = *self.walking.front()?;
            let Some(entry) = self.table.get_mut(room).filter(|entry| entry.turns > 0) else {
                self.walking.pop_front();
                continue;
            };
            entry.turns -= 1;
            if entry.turn >= entry.members.len() {
                entry.turn = 0;
            }
            let Some(member) = entry.members.get(entry.turn).copied() else { continue };
            if is_there(member, room) {
                entry.turn += 1;
                return Some((member, room));
            }
            // The last one has its turn in this place.
            entry.members.swap_remove(entry.turn);
            entry.left = entry.left.saturating_sub(1);
        }
    }

    /// The rooms that are walked through change places, so that a large one does not delay a small one.
    pub(super) fn rotate(&mut self) {
        if self.walking.len() > 1 {
            self.walking.rotate_left(1);
        }
    }

    /// Forgets those who have left in a room where they are the most: without news, nobody else would.
    pub(super) fn tidy(&mut self, is_there: impl Fn(Key, Key) -> bool, room: Key) {
        let Some(entry) = self.table.get_mut(room).filter(|entry| entry.left > 64 + entry.members.len() / 2) else {
            return;
        };
        entry.members.retain(|member| is_there(*member, room));
        entry.members.shrink_to_fit();
        entry.left = 0;
        if entry.turns > 0 {
            entry.turns = entry.members.len();
        }
    }
}
