//! One request to the cluster: how often it is tried, how long, how many at once, and what an error says.
//!
//! The driver retries nothing here. It does not retry an ordinary write timeout, and it reports the error of the last
//! attempt only, while a hedged or repeated write is known not to be there only if *every* attempt is known not to have
//! been carried out. So each attempt is watched ([`Watch`]), and this module retries.
//!
//! Invariant: a write that fails with another kind than [`ErrorKind::Unknown`] was carried out by no attempt.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::RngExt as _;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError, RequestError};
use scylla::observability::history::{AttemptId, HistoryListener, RequestId, SpeculativeId};
use scylla::policies::retry::RetryDecision;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::BACKEND;
use crate::store::{ErrorKind, Result, StoreError};

/// One attempt. A quorum of replicas on one site answers in a few milliseconds; a node that was stopped never does.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(400);

/// One attempt of a lightweight transaction: four round trips, and others of the same partition before it.
pub(super) const CAS_TIMEOUT: Duration = Duration::from_millis(2000);

/// How long a request is tried again. A pod that cannot reach the cluster says so after this long; readiness waits for 3 s.
const PATIENCE: Duration = Duration::from_millis(2000);

/// How long a lightweight transaction is tried again.
const CAS_PATIENCE: Duration = Duration::from_secs(6);

/// Pauses between attempts: from the first to the last, each up to twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// Requests at once that somebody waits for: appends, phases, reads. The driver has 32,768 stream ids on a connection, a
/// node 128 native threads; with a few milliseconds each, this many carry some ten thousand a second.
pub(super) const MAX_URGENT: usize = 256;

/// Requests at once that may wait: rows of `notes`, pruning. Few, so that they never delay an append by much.
pub(super) const MAX_BACKGROUND: usize = 8;

/// What a request is for: how many at once, how long each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A read that somebody waits for.
    Read,
    /// A write that somebody waits for.
    Write,
    /// A write that may wait.
    Background,
    /// A lightweight transaction.
    Cas,
    /// A serial read, which settles the lightweight transactions before it.
    Settle,
}

impl Class {
    const fn queue(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::Read | Self::Write | Self::Cas | Self::Settle => "urgent",
        }
    }

    const fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::Settle)
    }

    const fn patience(self) -> Duration {
        match self {
            Self::Cas | Self::Settle => CAS_PATIENCE,
            Self::Read | Self::Write | Self::Background => PATIENCE,
        }
    }
}

/// One run of a request.
pub(super) type Attempt<'run, T> = BoxFuture<'run, std::result::Result<T, ExecutionError>>;

/// How many requests are under way.
pub(super) struct InFlight {
    urgent: Semaphore,
    background: Semaphore,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self { urgent: Semaphore::new(MAX_URGENT), background: Semaphore::new(MAX_BACKGROUND) }
    }
}

/// Sees every attempt of a request, hedged ones included.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Attempts that were sent and not refused before they did anything.
    perhaps_done: AtomicUsize,
}

impl Watch {
    fn may_be_done(&self) -> bool {
        self.perhaps_done.load(Ordering::Acquire) > 0
    }
}

impl HistoryListener for Watch {
    fn log_request_start(&self) -> RequestId {
        RequestId(0)
    }

    fn log_request_success(&self, _: RequestId) {}

    fn log_request_error(&self, _: RequestId, _: &RequestError) {}

    fn log_new_speculative_fiber(&self, _: RequestId) -> SpeculativeId {
        metrics::counter!("cql_hedges_total").increment(1);
        SpeculativeId(0)
    }

    fn log_attempt_start(&self, _: RequestId, _: Option<SpeculativeId>, _: SocketAddr) -> AttemptId {
        self.perhaps_done.fetch_add(1, Ordering::AcqRel);
        AttemptId(0)
    }

    fn log_attempt_success(&self, _: AttemptId) {}

    fn log_attempt_error(&self, _: AttemptId, error: &RequestAttemptError, _: &RetryDecision) {
        if was_not_done(error) {
            self.perhaps_done.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Whether an attempt that ended so certainly did nothing.
fn was_not_done(error: &RequestAttemptError) -> bool {
    match error {
        RequestAttemptError::DbError(error, _) => matches!(
            error,
            // The coordinator counts the replicas before it sends anything.
            DbError::Unavailable { .. }
                | DbError::IsBootstrapping
                | DbError::SyntaxError
                | DbError::Invalid
                | DbError::Unauthorized
                | DbError::AuthenticationError
                | DbError::ConfigError
                | DbError::Unprepared { .. }
                | DbError::ProtocolError
        ),
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_)
        | RequestAttemptError::UnableToAllocStreamId
        | RequestAttemptError::RepreparedIdChanged { .. }
        | RequestAttemptError::RepreparedIdMissingInBatch => true,
        // Timeouts and failures of writes, overload (some replicas may have been sent it), connections that broke while
        // the answer was on its way, answers that make no sense, and whatever comes to be.
        _ => false,
    }
}

/// Whether trying again cannot help.
fn is_refusal(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::BadQuery(_) => true,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => {
            matches!(error, DbError::SyntaxError | DbError::Invalid)
        }
        ExecutionError::LastAttemptError(error) => matches!(
            error,
            RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_)
        ),
        _ => false,
    }
}

/// An error of this store.
pub(super) fn error(kind: ErrorKind, text: impl fmt::Display) -> StoreError {
    StoreError::new(kind, BACKEND, text.to_string())
}

impl InFlight {
    /// Runs a request until an attempt succeeds, it is refused, or patience ends. `attempt` is given what watches it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] for a read, whatever happened, and for a write that no attempt carried out;
    /// [`ErrorKind::Refused`] for what no attempt can carry out; else [`ErrorKind::Unknown`].
    pub(super) async fn request<'run, T>(
        &self,
        class: Class,
        attempt: impl Fn(Arc<Watch>) -> Attempt<'run, T> + Send,
    ) -> Result<T> {
        let deadline = Instant::now() + class.patience();
        let permits = if class == Class::Background { &self.background } else { &self.urgent };
        let Ok(Ok(_permit)) = tokio::time::timeout_at(deadline, permits.acquire()).await else {
            let text = format!("{} requests are under way already", class.queue());
            return Err(error(ErrorKind::Unavailable, text));
        };
        let gauge = metrics::gauge!("cql_in_flight", "queue" => class.queue());
        gauge.increment(1.0);
        let result = self.attempts(class, deadline, attempt).await;
        gauge.decrement(1.0);
        result
    }

    async fn attempts<'run, T>(
        &self,
        class: Class,
        deadline: Instant,
        attempt: impl Fn(Arc<Watch>) -> Attempt<'run, T> + Send,
    ) -> Result<T> {
        let mut may_be_done = false;
        let mut pause = FIRST_PAUSE;
        loop {
            let watch = Arc::new(Watch::default());
            let failure = match attempt(Arc::clone(&watch)).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            may_be_done |= !class.is_read() && watch.may_be_done();
            let wait = rand::rng().random_range(pause / 2..=pause);
            // A transaction of unknown fate is settled by reading, not by trying again.
            let settles_elsewhere = class == Class::Cas && may_be_done;
            if is_refusal(&failure) || settles_elsewhere || Instant::now() + wait >= deadline {
                let kind = match (may_be_done, is_refusal(&failure)) {
                    (true, _) => ErrorKind::Unknown,
                    (false, true) => ErrorKind::Refused,
                    (false, false) => ErrorKind::Unavailable,
                };
                return Err(error(kind, failure));
            }
            metrics::counter!("cql_retries_total").increment(1);
            tracing::debug!(%failure, "the cluster did not answer; trying again");
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::{FutureExt as _, pending, ready};
    use scylla::errors::{ConnectionPoolError, WriteType};
    use scylla::statement::Consistency;

    use super::*;

    fn unavailable() -> RequestAttemptError {
        let error = DbError::Unavailable { consistency: Consistency::LocalQuorum, required: 2, alive: 1 };
        RequestAttemptError::DbError(error, String::new())
    }

    fn timeout() -> RequestAttemptError {
        let error = DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            write_type: WriteType::Simple,
        };
        RequestAttemptError::DbError(error, String::new())
    }

    fn invalid() -> RequestAttemptError {
        RequestAttemptError::DbError(DbError::Invalid, String::new())
    }

    /// The kind that a request ends with whose attempts end so, each sent to the nodes named; `None`: it succeeds.
    async fn ends_with(class: Class, attempts: Vec<Vec<RequestAttemptError>>) -> Option<ErrorKind> {
        let attempts = Mutex::new(attempts.into_iter());
        let run = |watch: Arc<Watch>| -> Attempt<'static, ()> {
            let Some(errors) = attempts.lock().unwrap().next() else { return ready(Ok(())).boxed() };
            let mut last = ExecutionError::ConnectionPoolError(ConnectionPoolError::Initializing);
            for error in errors {
                let id = watch.log_attempt_start(RequestId(0), None, ([127, 0, 0, 1], 1).into());
                watch.log_attempt_error(id, &error, &RetryDecision::DontRetry);
                last = ExecutionError::LastAttemptError(error);
            }
            ready(Err(last)).boxed()
        };
        InFlight::new().request(class, run).await.err().map(|error| error.kind)
    }

    fn for_ever(errors: Vec<RequestAttemptError>) -> Vec<Vec<RequestAttemptError>> {
        vec![errors; 10_000]
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_fails_is_made_again() {
        assert_eq!(ends_with(Class::Write, vec![vec![timeout()], vec![], vec![unavailable()]]).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_no_node_took_is_not_there() {
        assert_eq!(ends_with(Class::Write, for_ever(vec![unavailable()])).await, Some(ErrorKind::Unavailable));
        assert_eq!(ends_with(Class::Write, for_ever(vec![])).await, Some(ErrorKind::Unavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_timed_out_once_stays_unknown_whatever_the_last_attempt_says() {
        let mut attempts = for_ever(vec![unavailable()]);
        attempts[0] = vec![timeout()];
        assert_eq!(ends_with(Class::Write, attempts).await, Some(ErrorKind::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hedged_write_is_unknown_when_any_of_its_nodes_may_have_it() {
        let hedged = vec![timeout(), unavailable()];
        assert_eq!(ends_with(Class::Write, for_ever(hedged)).await, Some(ErrorKind::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_write_is_not_tried_again_and_unknown_after_a_timeout() {
        assert_eq!(ends_with(Class::Write, vec![vec![invalid()]]).await, Some(ErrorKind::Refused));
        assert_eq!(ends_with(Class::Write, vec![vec![timeout()], vec![invalid()]]).await, Some(ErrorKind::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_times_out_changed_nothing() {
        assert_eq!(ends_with(Class::Read, for_ever(vec![timeout()])).await, Some(ErrorKind::Unavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_of_unknown_fate_is_not_run_again() {
        assert_eq!(ends_with(Class::Cas, vec![vec![timeout()]]).await, Some(ErrorKind::Unknown));
        assert_eq!(ends_with(Class::Cas, vec![vec![unavailable()]]).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_is_an_answer() {
        let in_flight = Arc::new(InFlight::new());
        let hung: Vec<_> = (0..MAX_BACKGROUND)
            .map(|_| {
                let in_flight = Arc::clone(&in_flight);
                let never = |_| -> Attempt<'static, ()> { pending().boxed() };
                tokio::spawn(async move { in_flight.request(Class::Background, never).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let refused = in_flight.request(Class::Background, |_| ready(Ok(())).boxed()).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unavailable);
        assert!(in_flight.request(Class::Write, |_| ready(Ok(())).boxed()).await.is_ok());
        hung.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
