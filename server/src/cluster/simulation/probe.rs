//! What the engine tells the simulation beyond what it tells everybody. Nobody listens outside of a simulated run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::World;
use crate::store::{ItemId, LaneId, WriterId};

thread_local! {
    static WORLD: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
    static ALARMS: Cell<u64> = const { Cell::new(0) };
}

/// From now on this thread's engines tell `world`.
pub(super) fn listen(world: Option<Arc<World>>) {
    WORLD.set(world);
}

fn tell(what: impl FnOnce(&World)) {
    WORLD.with_borrow(|world| {
        if let Some(world) = world {
            what(world);
        }
    });
}

/// A view was published of a map with that digest, made of so many chunks of each lane, which says that it has all that
/// was acknowledged up to so many microseconds before; nothing if its numbers are not those of the map.
pub(crate) fn published(
    item: ItemId,
    writer: WriterId,
    vector: &BTreeMap<LaneId, u64>,
    digest: &str,
    as_of_us: u64,
    claims_behind_us: Option<u64>,
) {
    tell(|world| {
        let now_ms = world.now_ms();
        let claims_ms = claims_behind_us.map(|behind_us| now_ms.saturating_sub(behind_us.div_ceil(1000)));
        world.oracle(item).published(writer, vector, digest, as_of_us, claims_ms);
    });
}

/// The alarm.
pub(crate) fn drifted(item: ItemId, writer: WriterId) {
    ALARMS.set(ALARMS.get() + 1);
    tell(|world| world.oracle(item).drifted(writer));
}

/// A task of an item begins, and reads anew what it shows.
pub(crate) fn started(item: ItemId, writer: WriterId) {
    tell(|world| world.oracle(item).begins(writer));
}

/// How often engines of this thread raised the alarm.
pub(crate) fn alarms() -> u64 {
    ALARMS.get()
}
