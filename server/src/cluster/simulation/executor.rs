//! Runs the tasks of all pods in an order of its own, where many of them wait for one thing.
//!
//! Tokio's watch channel wakes those who wait for it in an order that it draws from a generator which only an unstable
//! build lets one seed. Here whatever is woken at one moment is polled in the order in which it was spawned, so that a
//! run follows from its seed whoever was woken first.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;

use super::locked;

#[derive(Default)]
struct Queue {
    spawned: u64,
    fresh: Vec<(u64, BoxFuture<'static, ()>)>,
    ready: BTreeSet<u64>,
    executor: Option<Waker>,
}

/// Where tasks are handed in. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Executor(Arc<Mutex<Queue>>);

impl Executor {
    pub(super) fn spawn(&self, task: BoxFuture<'static, ()>) {
        let id = {
            let mut queue = locked(&self.0);
            queue.spawned += 1;
            let id = queue.spawned;
            queue.fresh.push((id, task));
            id
        };
        self.wake(id);
    }

    fn wake(&self, id: u64) {
        let executor = {
            let mut queue = locked(&self.0);
            queue.ready.insert(id);
            queue.executor.take()
        };
        if let Some(executor) = executor {
            executor.wake();
        }
    }

    /// What polls them.
    pub(super) fn run(&self) -> Run {
        Run { executor: self.clone(), tasks: BTreeMap::new() }
    }
}

struct TaskWaker {
    executor: Executor,
    id: u64,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.executor.wake(self.id);
    }
}

/// Polls tasks for as long as it is polled.
pub(super) struct Run {
    executor: Executor,
    tasks: BTreeMap<u64, (Waker, BoxFuture<'static, ()>)>,
}

impl Future for Run {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (fresh, ready) = {
            let mut queue = locked(&self.executor.0);
            (std::mem::take(&mut queue.fresh), std::mem::take(&mut queue.ready))
        };
        for (id, task) in fresh {
            let waker = Waker::from(Arc::new(TaskWaker { executor: self.executor.clone(), id }));
            self.tasks.insert(id, (waker, task));
        }
        for id in ready {
            let Some((waker, task)) = self.tasks.get_mut(&id) else { continue };
            let waker = waker.clone();
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.tasks.remove(&id);
            }
        }
        // What was woken meanwhile has its turn after whatever else is ready: tokio gives each poll a budget.
        let mut queue = locked(&self.executor.0);
        if queue.ready.is_empty() {
            queue.executor = Some(context.waker().clone());
        } else {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
