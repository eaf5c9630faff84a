//! Rooms: one for each channel somebody looks at. Knows nothing of sockets, only of who receives its frames.
//!
//! **Invariant**: a room's frames have one writer, its task. It publishes whole states on a tick, if anything changed,
//! encoded once and shared by everybody; a slow receiver skips versions and never makes the room keep them.

pub mod frames;
mod room;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::conductor::{ChannelView, ConductError, Conductor};
use crate::domain::key::Slug;
use crate::metrics::WS_ACTIVE_CONNECTIONS;
use crate::supervise::Scope;
use frames::Frames;

/// Least time between two snapshots of a room: ten a second is what an eye on a stream can follow.
pub const DEFAULT_TICK: Duration = Duration::from_millis(100);

/// Revocations not yet heard by every socket. A socket that misses some asks for a new connection.
const MAX_REVOCATIONS: usize = 256;

/// How long a drain waits for sockets to say goodbye.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// In how many parts the sockets of a pod are told to go elsewhere, one after the other.
pub const SHARES: u32 = 20;

/// Who sits at a socket, as far as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A viewer.
    Viewer,
    /// An overlay.
    Overlay,
    /// An admin page, or a tool.
    Admin,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Overlay => "overlay",
            Self::Admin => "admin",
        }
    }
}

/// How many sockets a room has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupancy {
    /// The room's channel.
    pub channel: Slug,
    /// All of them.
    pub sockets: u64,
    /// Overlays among them.
    pub overlays: u64,
    /// Admin pages and tools among them.
    pub admins: u64,
}

/// How many sockets this pod has. Rooms know it, so that a seat need not.
struct Census {
    sockets: AtomicU64,
    gauge: metrics::Gauge,
    emptied: tokio::sync::Notify,
}

/// What sockets of a room share.
pub struct Room {
    channel: Arc<str>,
    census: Arc<Census>,
    frames: watch::Sender<Arc<Frames>>,
    view: watch::Receiver<Arc<ChannelView>>,
    looked: Mutex<Option<room::Looked>>,
    sockets: AtomicU64,
    overlays: AtomicU64,
    admins: AtomicU64,
    /// Changes of what admins prepared, for pages that show lists of it. Nobody reads it across two rooms.
    lists: AtomicU64,
}

impl Room {
    /// Sockets here.
    pub fn sockets(&self) -> u64 {
        self.sockets.load(Ordering::Relaxed)
    }

    /// Where sockets of a kind are counted besides; most are viewers', and those are the rest.
    fn of_kind(&self, kind: Kind) -> Option<&AtomicU64> {
        match kind {
            Kind::Viewer => None,
            Kind::Overlay => Some(&self.overlays),
            Kind::Admin => Some(&self.admins),
        }
    }
}

/// Tells rooms apart for as long as somebody is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoomId(usize);

/// A place in a room; giving it up frees it.
pub struct Seat {
    room: Arc<Room>,
    kind: Kind,
}

impl Seat {
    /// Says who sits here; a viewer, unless somebody says so.
    pub fn counts_as(&mut self, kind: Kind) {
        let before = std::mem::replace(&mut self.kind, kind);
        if let Some(counter) = self.room.of_kind(before) {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(counter) = self.room.of_kind(kind) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The room's frames as they change. One receiver serves all the seats that one thread looks after.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Frames>> {
        self.room.frames.subscribe()
    }

    /// Slug of the room's channel, shared by everybody in it.
    pub fn channel(&self) -> &Arc<str> {
        &self.room.channel
    }

    /// What tells this room from every other one that is open.
    pub fn room(&self) -> RoomId {
        RoomId(Arc::as_ptr(&self.room).addr())
    }

    /// Sockets in this room.
    pub fn sockets(&self) -> u64 {
        self.room.sockets()
    }

    /// How often what is prepared in this channel was changed since the room opened.
    pub fn lists(&self) -> u64 {
        self.room.lists.load(Ordering::Relaxed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.counts_as(Kind::Viewer);
        self.room.sockets.fetch_sub(1, Ordering::Relaxed);
        let census = &self.room.census;
        let left = census.sockets.fetch_sub(1, Ordering::Relaxed) - 1;
        census.gauge.decrement(1.0);
        if left == 0 {
            census.emptied.notify_waiters();
        }
    }
}

struct Inner {
    conductor: Conductor,
    tick: Duration,
    rooms: Mutex<HashMap<Slug, Arc<Room>>>,
    census: Arc<Census>,
    revoked: broadcast::Sender<Arc<str>>,
    draining: watch::Sender<bool>,
    leaving: watch::Sender<u32>,
}

/// The rooms of this pod. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

impl Hub {
    /// Rooms over the lives of `conductor`, with a `tick` at least between two snapshots.
    pub fn new(conductor: Conductor, tick: Duration) -> Self {
        let census = Census {
            sockets: AtomicU64::new(0),
            gauge: metrics::gauge!(WS_ACTIVE_CONNECTIONS),
            emptied: tokio::sync::Notify::new(),
        };
        let inner = Inner {
            conductor,
            tick,
            rooms: Mutex::default(),
            census: Arc::new(census),
            revoked: broadcast::Sender::new(MAX_REVOCATIONS),
            draining: watch::Sender::new(false),
            leaving: watch::Sender::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The lives behind the rooms.
    pub fn conductor(&self) -> &Conductor {
        &self.inner.conductor
    }

    fn rooms(&self) -> std::sync::MutexGuard<'_, HashMap<Slug, Arc<Room>>> {
        self.inner.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in a channel's room, opening the room if need be; `None` when there is no such channel.
    ///
    /// # Errors
    /// Those of [`Conductor::channel_view`].
    pub async fn enter(&self, channel: &Slug) -> Result<Option<Seat>, ConductError> {
        self.with_room(channel, |room| self.seat(room)).await
    }

    /// What a channel's room shows now, without a place in it: for those who ask again and again instead. Everything that
    /// anybody was told to be done on this pod is in it.
    ///
    /// # Errors
    /// Those of [`Conductor::channel_view`].
    pub async fn look(&self, channel: &Slug) -> Result<Option<Arc<Frames>>, ConductError> {
        self.with_room(channel, |room| room::frames_now(room)).await
    }

    /// Does something with a channel's room that is open as long as it takes.
    async fn with_room<T>(&self, channel: &Slug, take: impl Fn(&Arc<Room>) -> T) -> Result<Option<T>, ConductError> {
        if let Some(taken) = self.rooms().get(channel).map(&take) {
            return Ok(Some(taken));
        }
        let Some(view) = self.inner.conductor.channel_view(channel).await? else { return Ok(None) };
        let mut rooms = self.rooms();
        if let Some(room) = rooms.get(channel) {
            return Ok(Some(take(room)));
        }
        let first = Arc::new(room::first_frames(&view.borrow()));
        let room = Arc::new(Room {
            channel: channel.as_str().into(),
            census: Arc::clone(&self.inner.census),
            frames: watch::Sender::new(first),
            view: view.clone(),
            looked: Mutex::default(),
            sockets: AtomicU64::new(0),
            overlays: AtomicU64::new(0),
            admins: AtomicU64::new(0),
            lists: AtomicU64::new(0),
        });
        rooms.insert(channel.clone(), Arc::clone(&room));
        let taken = take(&room);
        metrics::gauge!("rooms_open").increment(1.0);
        let (hub, channel) = (self.clone(), channel.clone());
        let run = move || room::run(hub.clone(), channel.clone(), Arc::clone(&room), view.clone());
        self.inner.conductor.keep(Scope::Part, "room", run);
        Ok(Some(taken))
    }

    fn seat(&self, room: &Arc<Room>) -> Seat {
        room.sockets.fetch_add(1, Ordering::Relaxed);
        self.inner.census.sockets.fetch_add(1, Ordering::Relaxed);
        self.inner.census.gauge.increment(1.0);
        Seat { room: Arc::clone(room), kind: Kind::Viewer }
    }

    /// Closes an empty room; `false` when somebody came in meanwhile.
    fn retire(&self, channel: &Slug, room: &Arc<Room>) -> bool {
        let mut rooms = self.rooms();
        if room.sockets() > 0 {
            return false;
        }
        if rooms.get(channel).is_some_and(|known| Arc::ptr_eq(known, room)) {
            rooms.remove(channel);
        }
        metrics::gauge!("rooms_open").decrement(1.0);
        true
    }

    /// Closes every socket opened with a credential (id of an overlay key, a token or a session) that was revoked.
    pub fn revoke(&self, credential: &str) {
        let _heard_by = self.inner.revoked.send(Arc::from(credential));
    }

    /// Credentials as they are revoked.
    pub fn revocations(&self) -> broadcast::Receiver<Arc<str>> {
        self.inner.revoked.subscribe()
    }

    /// Whether the pod is stopping, as it changes.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.inner.draining.subscribe()
    }

    /// Tells so many of [`SHARES`] parts of the sockets to connect elsewhere (4005); none: whoever is there stays.
    pub fn send_away(&self, shares: u32) {
        self.inner.leaving.send_replace(shares.min(SHARES));
    }

    /// How many parts of the sockets are to go elsewhere, as it changes.
    pub fn leaving(&self) -> watch::Receiver<u32> {
        self.inner.leaving.subscribe()
    }

    /// Tells the rooms of a channel that its record changed or went away.
    pub fn channel_changed(&self, channel: &Slug) {
        let (conductor, channel) = (self.inner.conductor.clone(), channel.clone());
        let read = move || {
            let (conductor, channel) = (conductor.clone(), channel.clone());
            async move { conductor.channel_changed(&channel).await }
        };
        self.inner.conductor.keep(Scope::Part, "channel", read);
    }

    /// Tells the admins in a channel's room that jeux, baremes, drafts, keys or settings of it changed.
    pub fn lists_changed(&self, channel: &Slug) {
        if let Some(room) = self.rooms().get(channel) {
            room.lists.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many sockets each open room has, by name of its channel.
    pub fn occupancy(&self) -> Vec<Occupancy> {
        let mut rooms: Vec<_> = self
            .rooms()
            .iter()
            .map(|(channel, room)| Occupancy {
                channel: channel.clone(),
                sockets: room.sockets(),
                overlays: room.overlays.load(Ordering::Relaxed),
                admins: room.admins.load(Ordering::Relaxed),
            })
            .collect();
        rooms.sort_by(|one, other| one.channel.as_str().cmp(other.channel.as_str()));
        rooms
    }

    /// Open sockets on this pod.
    pub fn sockets(&self) -> u64 {
        self.inner.census.sockets.load(Ordering::Relaxed)
    }

    /// Asks every socket to answer what it owes and to say goodbye (1012), and waits for it, five seconds at most.
    pub async fn drain(&self) {
        self.inner.draining.send_replace(true);
        let emptied = async {
            loop {
                let notified = self.inner.census.emptied.notified();
                if self.sockets() == 0 {
                    return;
                }
                notified.await;
            }
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, emptied).await.is_err() {
            tracing::warn!(sockets = self.sockets(), "some sockets did not say goodbye in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::cluster::env::Env;
    use crate::records::Records;
    use crate::store::Store;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn whoever_only_looks_takes_no_place() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::exclusive());
        let slug = Slug::new("max").unwrap();
        Catalogue::new(Records::new(Arc::clone(&store))).create_channel(slug.clone(), "Max", 1).await.unwrap();
        let hub = Hub::new(Conductor::start(store, Env::system()).await.unwrap(), DEFAULT_TICK);
        let frames = hub.look(&slug).await.unwrap().unwrap();
        assert_eq!((frames.state.value.channel_title.as_str(), hub.sockets()), ("Max", 0));
        let seat = hub.enter(&slug).await.unwrap().unwrap();
        let _again = hub.look(&slug).await.unwrap().unwrap();
        assert_eq!((hub.sockets(), seat.sockets()), (1, 1));
        drop(seat);
        assert_eq!(hub.sockets(), 0);
        assert!(hub.look(&Slug::new("autre").unwrap()).await.unwrap().is_none());
    }
}
