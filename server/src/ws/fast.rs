//! The fast socket path: a socket leaves the HTTP server with its upgrade and is served by an event loop of this module.
//!
//! actix-http keeps two buffers of 8 KiB and a task for each connection, and its dispatcher copies every message once
//! more. Here, one thread for each worker waits with epoll for all of its sockets; a room's frames are encoded once, with
//! the head of their WebSocket frame, and handed to the system from the same bytes for everybody.
//!
//! `front` and `gate` are where sockets come in, `frame` reads what clients send, `serving` does what `ws/session` decides, as the
//! portable path in `ws/handler` does.
//!
//! **Invariants**
//! - Every decision is that of [`super::session::Session`]; this module moves bytes.
//! - No lock is held and nothing waits while a room is sent to.
//! - What waits for one socket is bounded: answers it is owed, and of each room the newest frames only.

mod connection;
mod event_loop;
mod frame;
pub mod front;
pub mod gate;
mod inbox;
mod meters;
mod rooms;
mod serving;
mod table;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;

use crate::hub::Hub;
use crate::supervise::Scope;
use connection::Newcomer;
pub use connection::{Accepted, Member};
use event_loop::EventLoop;
use inbox::{Batch, Command, Inbox};

/// How long clients have to read the goodbye when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// One loop, as others see it.
struct Handle {
    inbox: Arc<Inbox>,
    load: Arc<AtomicUsize>,
    is_alive: Arc<AtomicBool>,
    /// Set before the loop is told to stop: one that dies of it is not started again.
    is_stopping: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    fn stop(&self, grace: Duration) {
        self.is_stopping.store(true, Ordering::Release);
        self.inbox.send(Command::Stop(grace));
    }
}

struct Inner {
    loops: Vec<Handle>,
    listening: Vec<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.listening.iter().for_each(AbortHandle::abort);
        self.loops.iter().for_each(|one| one.stop(Duration::ZERO));
    }
}

/// The event loops of a server. Cheap to clone; they end with the last clone.
#[derive(Clone)]
pub struct Loops {
    inner: Arc<Inner>,
}

/// Says that a loop has ended, however it did.
struct Ended {
    is_alive: Arc<AtomicBool>,
    inbox: Arc<Inbox>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.is_alive.store(false, Ordering::Release);
        // Whoever was on the way goes with it.
        self.inbox.take(&mut Batch::default());
    }
}

impl Loops {
    /// Starts `workers` loops. They serve the rooms of `hub`; without one, they echo. Must be called on a runtime.
    ///
    /// # Errors
    /// The system's: no threads or file descriptors.
    pub fn start(workers: usize, hub: Option<&Hub>) -> std::io::Result<Self> {
        let mut loops = Vec::with_capacity(workers);
        for worker in 0..workers {
            let inbox = Arc::new(Inbox::new()?);
            let load = Arc::new(AtomicUsize::new(0));
            let is_alive = Arc::new(AtomicBool::new(true));
            let conductor = hub.map(|hub| hub.conductor().clone());
            let supervisor = conductor.as_ref().map(|conductor| conductor.supervisor().clone()).unwrap_or_default();
            let (served, counted) = (Arc::clone(&inbox), Arc::clone(&load));
            let make = move |earlier| {
                EventLoop::new((worker, earlier), Arc::clone(&served), conductor.clone(), Arc::clone(&counted))
            };
            let mut first = Some(make(0)?);
            let is_stopping = Arc::new(AtomicBool::new(false));
            let stopped = Arc::clone(&is_stopping);
            let ended = Ended { is_alive: Arc::clone(&is_alive), inbox: Arc::clone(&inbox) };
            let thread = std::thread::Builder::new().name(format!("sockets-{worker}")).spawn(move || {
                let _ended = ended;
                let mut earlier = 0;
                // Sockets of one that died have ended with it, and connect again.
                supervisor.keep_thread(Scope::Server, "sockets", || {
                    let event_loop = match first.take() {
                        Some(event_loop) => event_loop,
                        None if stopped.load(Ordering::Acquire) => return Ok(()),
                        None => {
                            earlier += 1;
                            make(earlier)?
                        }
                    };
                    event_loop.run()
                });
            })?;
            loops.push(Handle { inbox, load, is_alive, is_stopping, thread: Mutex::new(Some(thread)) });
        }
        let inboxes: Arc<[Arc<Inbox>]> = loops.iter().map(|one| Arc::clone(&one.inbox)).collect();
        let listening = hub.map(|hub| listen(hub, &inboxes)).unwrap_or_default();
        Ok(Self { inner: Arc::new(Inner { loops, listening }) })
    }

    /// Hands a socket over to the loop with the fewest. Dropped, which ends the connection, when there is none any more.
    fn adopt(&self, newcomer: Newcomer) {
        let alive = self.inner.loops.iter().filter(|one| one.is_alive.load(Ordering::Acquire));
        let Some(least) = alive.min_by_key(|one| one.load.load(Ordering::Relaxed)) else { return };
        least.load.fetch_add(1, Ordering::Relaxed);
        least.inbox.send(Command::Adopt(Box::new(newcomer)));
        if !least.is_alive.load(Ordering::Acquire) {
            least.inbox.take(&mut Batch::default());
        }
    }

    /// Whether somebody has voted in the last moments, as far as the loops know.
    fn hear_votes(&self) -> bool {
        self.inner.loops.iter().any(|one| one.inbox.hears_votes.load(Ordering::Relaxed))
    }

    /// Ends the loops, after those who were told goodbye have read it or had a second for it.
    pub async fn stop(&self) {
        self.inner.loops.iter().for_each(|one| one.stop(STOP_GRACE));
        let take = |one: &Handle| one.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads: Vec<_> = self.inner.loops.iter().filter_map(take).collect();
        let joined = tokio::task::spawn_blocking(move || {
            // A loop that panicked has said so.
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        let _all_ended = joined.await;
    }
}

/// Tells the loops of revocations, and that the server is stopping.
fn listen(hub: &Hub, inboxes: &Arc<[Arc<Inbox>]>) -> Vec<AbortHandle> {
    let supervisor = hub.conductor().supervisor();
    let (revoking, of, to) = (supervisor.clone(), hub.clone(), Arc::clone(inboxes));
    let revoking = tokio::spawn(async move {
        let mut is_first = true;
        let listen = || {
            let mut revocations = of.revocations();
            if !std::mem::take(&mut is_first) {
                // Those of the time in which nobody listened.
                to.iter().for_each(|inbox| inbox.send(Command::RevocationsMissed));
            }
            let to = &to;
            async move {
                loop {
                    match revocations.recv().await {
                        Ok(id) => to.iter().for_each(|inbox| inbox.send(Command::Revoked(Arc::clone(&id)))),
                        Err(RecvError::Lagged(_)) => to.iter().for_each(|inbox| inbox.send(Command::RevocationsMissed)),
                        Err(RecvError::Closed) => return,
                    }
                }
            }
        };
        revoking.keep(Scope::Server, "revocations", listen).await;
    });
    let (stopping, of, to) = (supervisor.clone(), hub.clone(), Arc::clone(inboxes));
    let stopping = tokio::spawn(async move {
        let listen = || {
            let (mut draining, to) = (of.draining(), &to);
            async move {
                if draining.wait_for(|draining| *draining).await.is_ok() {
                    to.iter().for_each(|inbox| inbox.send(Command::Drain));
                }
            }
        };
        stopping.keep(Scope::Server, "goodbyes", listen).await;
    });
    let (mut leaving, to) = (hub.leaving(), Arc::clone(inboxes));
    let sending_away = tokio::spawn(async move {
        while leaving.changed().await.is_ok() {
            let shares = *leaving.borrow_and_update();
            if shares > 0 {
                to.iter().for_each(|inbox| inbox.send(Command::SendAway(shares)));
            }
        }
    });
    vec![revoking.abort_handle(), stopping.abort_handle(), sending_away.abort_handle()]
}
