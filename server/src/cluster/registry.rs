//! The items of one incarnation of a pod: which run, which lanes they were given, which revision their numbers reached.
//!
//! **Invariants**
//! - An item has at most one task that takes votes: starting a running item again gives its handle.
//! - A lane is given once. A task that follows another one of the same item begins a lane of its own: the store has
//!   chunks under the numbers of the first, and the second does not know how many.
//! - The revision of an item's numbers never falls, whichever of its tasks publishes them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use super::env::Env;
use super::inbox;
use super::item::checkpoint::Unfolded;
use super::item::{Control, ItemView};
use crate::store::{ItemId, LaneId, WriterId};

/// Items that are remembered before those without a task are forgotten: some 20 MB. Years of lives on one server.
const MAX_REMEMBERED: usize = 65_536;

type View<T> = watch::Receiver<Arc<ItemView<T>>>;

/// What a handle is made of. Senders keep the task alive.
pub(super) type Parts<T> = (inbox::Sender, mpsc::Sender<Control>, View<T>, Unfolded);

/// A task, as long as somebody else holds a handle of it.
struct Running {
    votes: inbox::WeakSender,
    controls: mpsc::WeakSender<Control>,
    unfolded: Unfolded,
    /// A [`View`] of the item's tally.
    view: Box<dyn Any + Send + Sync>,
}

impl Running {
    fn senders(&self) -> Option<(inbox::Sender, mpsc::Sender<Control>)> {
        let controls = self.controls.upgrade()?;
        // A task that ended otherwise than by its last handle takes nothing more.
        (!controls.is_closed()).then_some((self.votes.upgrade()?, controls))
    }
}

struct Entry {
    running: Option<Running>,
    writer: WriterId,
    /// Beyond the greatest lane there can be: all of this writer are given.
    next_lane: u16,
    revision: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    items: HashMap<ItemId, Entry>,
    /// Writer of the lanes of items that are not remembered; the engine's own until some were forgotten.
    writer: Option<WriterId>,
    /// No revision of an item that was forgotten was greater.
    least_revision: u64,
    /// How many items there may be before some are forgotten.
    limit: usize,
}

/// See the module. Cheap to clone: all clones are one.
#[derive(Clone, Default)]
pub(super) struct Registry(Arc<Mutex<State>>);

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below leaves the state whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running item, or else a new one. `start` is given the counter of the item's revisions.
    pub(super) fn get_or_start<T: Send + Sync + 'static>(
        &self,
        item: ItemId,
        (writer, env): (WriterId, &Env),
        start: impl FnOnce(Arc<AtomicU64>) -> Parts<T>,
    ) -> Parts<T> {
        let mut state = self.state();
        let entry = state.entry(item, writer, env);
        let running = entry.running.as_ref().and_then(|running| {
            let view = running.view.downcast_ref::<View<T>>()?.clone();
            let (votes, controls) = running.senders()?;
            Some((votes, controls, view, running.unfolded.clone()))
        });
        if let Some(parts) = running {
            return parts;
        }
        let (votes, controls, view, unfolded) = start(Arc::clone(&entry.revision));
        entry.running = Some(Running {
            votes: votes.downgrade(),
            controls: controls.downgrade(),
            unfolded: unfolded.clone(),
            view: Box::new(view.clone()),
        });
        (votes, controls, view, unfolded)
    }

    /// A lane that was never given in this incarnation.
    pub(super) fn next_lane(&self, item: ItemId, (writer, env): (WriterId, &Env)) -> LaneId {
        let mut state = self.state();
        let entry = state.entry(item, writer, env);
        let lane = u8::try_from(entry.next_lane).unwrap_or_else(|_| {
            // Its heartbeats are those of the engine's own writer; others may finish its lanes, which is harmless.
            entry.writer = WriterId(env.uuid());
            entry.next_lane = 0;
            0
        });
        entry.next_lane += 1;
        LaneId { writer: entry.writer, lane }
    }

    /// A revision for stored numbers of an item: greater than any before. The first is 1. While a task runs, which may be
    /// shown next, it is that of the task's numbers: a greater one would fall then.
    pub(super) fn fixed_revision(&self, item: ItemId, (writer, env): (WriterId, &Env)) -> u64 {
        let mut state = self.state();
        let entry = state.entry(item, writer, env);
        let runs = entry.running.as_ref().is_some_and(|running| running.senders().is_some());
        if runs { entry.revision.load(Ordering::Acquire) } else { next_revision(&entry.revision) }
    }
}

impl State {
    fn entry(&mut self, item: ItemId, writer: WriterId, env: &Env) -> &mut Entry {
        if !self.items.contains_key(&item) && self.items.len() >= self.limit.max(MAX_REMEMBERED) {
            self.forget(env);
        }
        let (writer, least) = (self.writer.unwrap_or(writer), self.least_revision);
        self.items.entry(item).or_insert_with(|| Entry {
            running: None,
            writer,
            next_lane: 0,
            revision: Arc::new(AtomicU64::new(least)),
        })
    }

    /// Forgets items without a task. Lanes of whatever starts from now on have another writer, so none is given again.
    fn forget(&mut self, env: &Env) {
        let mut greatest = self.least_revision;
        self.items.retain(|_, entry| {
            let runs = entry.running.as_ref().is_some_and(|running| running.senders().is_some());
            if !runs {
                greatest = greatest.max(entry.revision.load(Ordering::Acquire));
            }
            runs
        });
        self.least_revision = greatest;
        self.writer = Some(WriterId(env.uuid()));
        self.limit = 2 * self.items.len();
    }
}

/// Counts the revisions of one item's numbers.
pub(super) fn next_revision(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::AcqRel) + 1
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::jeu::JeuId;
    use crate::domain::live::LiveId;

    fn item(jeu: u32) -> ItemId {
        ItemId { live: LiveId(uuid::Uuid::from_u128(1)), jeu: JeuId(jeu) }
    }

    #[test]
    fn no_lane_is_given_twice_beyond_all_numbers_and_after_items_were_forgotten() {
        let (registry, env) = (Registry::default(), Env::system());
        let writer = WriterId(env.uuid());
        let mut given = HashSet::new();
        for _ in 0..600 {
            assert!(given.insert((1, registry.next_lane(item(1), (writer, &env)))));
        }
        assert_eq!(given.iter().map(|(_, lane)| lane.writer).collect::<HashSet<_>>().len(), 3);
        for jeu in 2..=u32::try_from(MAX_REMEMBERED).unwrap() + 2 {
            assert!(given.insert((jeu, registry.next_lane(item(jeu), (writer, &env)))));
        }
        assert!(registry.state().items.len() < MAX_REMEMBERED, "those without a task are forgotten");
        for jeu in [1, 2, 3] {
            assert!(given.insert((jeu, registry.next_lane(item(jeu), (writer, &env)))));
        }
    }

    #[test]
    fn other_numbers_have_a_greater_revision_also_when_the_item_was_forgotten() {
        let (registry, env) = (Registry::default(), Env::system());
        let writer = WriterId(env.uuid());
        let fixed_revision = || registry.fixed_revision(item(1), (writer, &env));
        assert_eq!((fixed_revision(), fixed_revision()), (1, 2));
        registry.state().entry(item(1), writer, &env).revision.store(7, Ordering::Release);
        assert_eq!(fixed_revision(), 8);
        registry.state().forget(&env);
        assert_eq!(fixed_revision(), 9);
    }
}
