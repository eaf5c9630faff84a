//! A few threads that read, each on its own connection.
//!
//! Invariant: a read never waits for a write (WAL), and cannot be one (`query_only`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::inbox::{Inbox, Lane, Refusal};
use super::schema::{self, Role};
use super::{BACKEND, queue_error};
use crate::store::{ErrorKind, Result, StoreError};
use crate::supervise;

/// Pages of a live are answered from memory; reads are boots, exports and administration.
const THREADS: usize = 2;

/// Reads that wait. An administrator's page needs a handful.
const CAPACITY: usize = 256;

/// Work on a connection, or on the reason why there is none. Says whether the connection may be used again.
type Read = Box<dyn FnOnce(std::result::Result<&Connection, StoreError>) -> bool + Send>;

/// What reaches a thread.
pub(super) enum Job {
    Read(Read),
    /// Close the connection and wait.
    Pause(Arc<Pause>),
}

/// What the threads take their work from.
pub(super) type ReadInbox = Inbox<Job, 1>;

/// How long the threads have to close their connections, and stay without one: a long read ends first.
const PAUSE_PATIENCE: Duration = Duration::from_secs(10);

/// The threads without their connections, until it is dropped or [`PAUSE_PATIENCE`] is over.
pub(super) struct Pause {
    /// How many threads have closed theirs, and whether the pause is over.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

/// Ends a pause when it is dropped.
pub(super) struct Paused(Arc<Pause>);

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.change(|(_, is_over)| *is_over = true);
    }
}

impl Pause {
    fn change(&self, change: impl FnOnce(&mut (usize, bool))) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `is_reached`, or gives up; says which.
    fn wait(&self, is_reached: impl Fn(&(usize, bool)) -> bool) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, PAUSE_PATIENCE, |state| !is_reached(state));
        is_reached(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

/// Has every thread close its connection; `None` when one of them does not get to it in time.
pub(super) fn pause(inbox: &ReadInbox) -> Option<Paused> {
    let pause = Arc::new(Pause { state: Mutex::default(), changed: Condvar::new() });
    let paused = Paused(Arc::clone(&pause));
    if inbox.is_closed() {
        return None;
    }
    for _ in 0..THREADS {
        inbox.put_first(0, Job::Pause(Arc::clone(&pause)));
    }
    pause.wait(|(closed, _)| *closed == THREADS).then_some(paused)
}

/// The threads.
pub(super) struct Readers {
    pub(super) inbox: Arc<ReadInbox>,
    path: PathBuf,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(path: &Path) -> Result<Self> {
        let inbox = Arc::new(Inbox::new([Lane { name: "read", capacity: CAPACITY }]));
        let mut readers = Self { inbox, path: path.to_owned(), threads: Vec::with_capacity(THREADS) };
        for number in 0..THREADS {
            let (inbox, path) = (Arc::clone(&readers.inbox), readers.path.clone());
            let thread = std::thread::Builder::new().name(format!("store-read-{number}"));
            let thread = thread.spawn(move || run(&inbox, &path));
            readers.threads.push(thread.map_err(|error| StoreError::new(ErrorKind::Unavailable, BACKEND, error))?);
        }
        Ok(readers)
    }

    /// Runs a read.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let path = self.path.clone();
        let job: Read = Box::new(move |connection| {
            let result =
                connection.and_then(|connection| read(connection).map_err(|error| schema::translate(&path, error)));
            // Opening a connection is cheap next to finding out which errors leave it sound.
            let is_sound = result.is_ok();
            drop(reply.send(result));
            is_sound
        });
        self.inbox.push(0, Job::Read(job)).map_err(|refusal| queue_error("read", refusal))?;
        answer.await.map_err(|_| queue_error("read", Refusal::Closed))?
    }

    /// Waits until every connection is closed.
    pub(super) fn stop(&mut self) {
        self.inbox.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has closed its connection too.
            let _ = thread.join();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(inbox: &ReadInbox, path: &Path) {
    let mut kept: Option<Connection> = None;
    while let Some(Some(job)) = inbox.take(|[queue]| queue.pop_front()) {
        let job = match job {
            Job::Read(read) => read,
            Job::Pause(pause) => {
                kept = None;
                pause.change(|(closed, _)| *closed += 1);
                pause.wait(|(_, is_over)| *is_over);
                continue;
            }
        };
        let connection = match kept.take() {
            Some(connection) => Ok(connection),
            None => schema::connect(path, Role::Reader),
        };
        match connection {
            Ok(connection) => {
                // One that panicked has answered nobody: whoever waits for it hears that it was not done.
                if supervise::caught("store-read", || job(Ok(&connection))) == Some(true) {
                    kept = Some(connection);
                }
            }
            Err(error) => {
                supervise::caught("store-read", || job(Err(error)));
            }
        }
    }
}
