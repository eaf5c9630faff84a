//! A few threads that read, each on its own connection.
//!
//! Invariant: a read never waits for a write (WAL), and cannot be one (`query_only`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::inbox::{Inbox, Lane, Refusal};
use super::schema::{self, Role};
use super::{BACKEND, queue_error};
use crate::store::{ErrorKind, Result, StoreError};

/// Pages of a live are answered from memory; reads are boots, exports and administration.
const THREADS: usize = 2;

/// Reads that wait. An administrator's page needs a handful.
const CAPACITY: usize = 256;

/// Work on a connection, or on the reason why there is none. Says whether the connection may be used again.
type Job = Box<dyn FnOnce(std::result::Result<&Connection, StoreError>) -> bool + Send>;

/// The threads.
pub(super) struct Readers {
    inbox: Arc<Inbox<Job, 1>>,
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
        let job: Job = Box::new(move |connection| {
            let result =
                connection.and_then(|connection| read(connection).map_err(|error| schema::translate(&path, error)));
            // Opening a connection is cheap next to finding out which errors leave it sound.
            let is_sound = result.is_ok();
            drop(reply.send(result));
            is_sound
        });
        self.inbox.push(0, job).map_err(|refusal| queue_error("read", refusal))?;
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

fn run(inbox: &Inbox<Job, 1>, path: &Path) {
    let mut kept: Option<Connection> = None;
    while let Some(Some(job)) = inbox.take(|[queue]| queue.pop_front()) {
        let connection = match kept.take() {
            Some(connection) => Ok(connection),
            None => schema::connect(path, Role::Reader),
        };
        match connection {
            Ok(connection) => {
                if job(Ok(&connection)) {
                    kept = Some(connection);
                }
            }
            Err(error) => {
                job(Err(error));
            }
        }
    }
}
