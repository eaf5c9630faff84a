//! Supervision: a task or thread that panics is counted, reported and, where its work can begin again, started again.
//!
//! **Invariant**: what a server does for as long as it runs, or for as long as a live does, runs under [`Supervisor::keep`];
//! a task that must not be repeated runs under [`once`]. A task holds nothing that cannot be had again: what it owns is in
//! the store, or belongs to whoever made it.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};

use crate::metrics::TASK_DEATHS;

/// Pause before a task that died begins again; doubled each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A task that dies at once, every time, costs no more than one attempt in this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long a task that began again has to run before it counts as running.
const STEADY_AFTER: Duration = Duration::from_secs(1);

/// How long it has to run before its next death is its first again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// What a task works for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One jeu, room or live. A server whose task of this scope is down stays ready: another one would meet the same.
    Part,
    /// The whole server, which is not ready without it.
    Server,
}

/// Which tasks of a server died and do not run again yet. Cheap to clone.
#[derive(Clone, Default)]
pub struct Supervisor(Arc<Mutex<BTreeMap<(Scope, &'static str), u64>>>);

impl Supervisor {
    fn tasks(&self) -> MutexGuard<'_, BTreeMap<(Scope, &'static str), u64>> {
        // Every change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tasks that are down: what they work for, and how many of each name.
    pub fn down(&self) -> Vec<(Scope, &'static str, u64)> {
        self.tasks().iter().map(|((scope, task), count)| (*scope, *task, *count)).collect()
    }

    /// Says that a task is down until what is returned is dropped.
    fn note(&self, scope: Scope, task: &'static str) -> Down {
        *self.tasks().entry((scope, task)).or_default() += 1;
        Down { supervisor: self.clone(), scope, task }
    }

    /// Runs what `make` makes until it ends by itself. When it panics it is made anew, after a pause that grows.
    pub async fn keep<F: Future<Output = ()>>(&self, scope: Scope, task: &'static str, mut make: impl FnMut() -> F) {
        let mut pause = FIRST_PAUSE;
        let mut down = None;
        loop {
            let began = Instant::now();
            // What makes it may panic as well.
            let run = async { make().await };
            let mut run = std::pin::pin!(AssertUnwindSafe(run).catch_unwind());
            let outcome = if down.is_none() {
                run.await
            } else {
                tokio::select! {
                    outcome = &mut run => outcome,
                    () = sleep(STEADY_AFTER) => {
                        tracing::warn!(task, "a task that died runs again");
                        down = None;
                        run.await
                    }
                }
            };
            let Err(panic) = outcome else { return };
            died(task, &*panic);
            down.get_or_insert_with(|| self.note(scope, task));
            if began.elapsed() >= FORGIVEN_AFTER {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// As [`Supervisor::keep`], for the work of a thread: until `run` returns without a panic and without an error.
    pub fn keep_thread<T, E: Display>(
        &self,
        scope: Scope,
        task: &'static str,
        mut run: impl FnMut() -> Result<T, E>,
    ) -> T {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = std::time::Instant::now();
            match caught(task, &mut run) {
                Some(Ok(done)) => return done,
                Some(Err(error)) => count(task, &error),
                None => {}
            }
            let _down = self.note(scope, task);
            if began.elapsed() >= FORGIVEN_AFTER {
                pause = FIRST_PAUSE;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A task that is down.
struct Down {
    supervisor: Supervisor,
    scope: Scope,
    task: &'static str,
}

impl Drop for Down {
    fn drop(&mut self) {
        let mut tasks = self.supervisor.tasks();
        let key = (self.scope, self.task);
        match tasks.get_mut(&key) {
            Some(count @ 2..) => *count -= 1,
            _ => drop(tasks.remove(&key)),
        }
    }
}

/// Runs a task that is not repeated when it panics: `None` then.
pub async fn once<T>(task: &'static str, work: impl Future<Output = T>) -> Option<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(panic) => {
            died(task, &*panic);
            None
        }
    }
}

/// Runs a step of a thread: `None` when it panics. What it borrowed may be half changed then, and is for the caller to
/// make anew.
pub fn caught<T>(task: &'static str, work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Some(done),
        Err(panic) => {
            died(task, &*panic);
            None
        }
    }
}

fn died(task: &'static str, panic: &(dyn Any + Send)) {
    count(task, &words(panic));
}

fn count(task: &'static str, why: &dyn Display) {
    metrics::counter!(TASK_DEATHS, "task" => task).increment(1);
    tracing::error!(task, %why, "a task died");
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> Cow<'static, str> {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        return Cow::Borrowed(text);
    }
    panic.downcast_ref::<String>().map_or(Cow::Borrowed("of an unknown kind"), |text| Cow::Owned(text.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_dies_is_down_until_it_has_run_for_a_while_and_its_pauses_are_bounded() {
        let supervisor = Supervisor::default();
        let runs = Arc::new(AtomicU32::new(0));
        let began = Instant::now();
        let task = {
            let (supervisor, runs) = (supervisor.clone(), Arc::clone(&runs));
            tokio::spawn(async move {
                let make = || async {
                    let run = runs.fetch_add(1, Ordering::Relaxed);
                    assert!(run >= 12, "run {run}");
                    sleep(Duration::from_secs(5)).await;
                };
                supervisor.keep(Scope::Server, "test", make).await;
            })
        };
        while runs.load(Ordering::Relaxed) < 3 {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(supervisor.down(), [(Scope::Server, "test", 1)]);
        while runs.load(Ordering::Relaxed) < 13 {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(began.elapsed() <= 12 * LONGEST_PAUSE, "{:?}", began.elapsed());
        sleep(STEADY_AFTER / 2).await;
        assert_eq!(supervisor.down().len(), 1, "not steady yet");
        sleep(STEADY_AFTER).await;
        assert_eq!(supervisor.down(), []);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_is_not_repeated_and_a_step_of_a_thread_say_that_they_died() {
        assert_eq!(once("test", async { 1 }).await, Some(1));
        let text = String::from("formatted");
        assert_eq!(once::<()>("test", async { panic!("{text}") }).await, None);
        assert_eq!(caught("test", || 1), Some(1));
        assert_eq!(caught::<()>("test", || panic!("plain")), None);
        let supervisor = Supervisor::default();
        let mut runs = 0;
        let run = || {
            runs += 1;
            assert_ne!(runs, 1);
            if runs == 2 { Err("not yet") } else { Ok(()) }
        };
        supervisor.keep_thread(Scope::Part, "test", run);
        assert_eq!((runs, supervisor.down()), (3, vec![]));
    }
}
