//! Server time across restarts: what it was is kept in the store while a live is on air, and is its floor at the next start.
//!
//! Only where one process owns the store. Of several pods, one whose clock is wrong would hold all the others up; their
//! clocks are compared instead (`cluster/pulse.rs`).

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Conductor, Inner, Result};
use crate::cluster::env::Env;
use crate::records::{Records, Versioned};
use crate::store::{RecordKey, RecordKind};
use crate::supervise::Scope;

/// How often it is kept: one small write each time, and server time goes back by no more than this when the wall clock was
/// put back while the server was down.
const INTERVAL: Duration = Duration::from_secs(2);

/// The document.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Kept {
    /// Server time when it was written, microseconds since 1970.
    now_us: u64,
}

fn key() -> RecordKey {
    RecordKey::new(RecordKind::Instance, "", "clock")
}

/// Begins no earlier than the last run was.
///
/// # Errors
/// The store's.
pub(super) async fn go_on_from(records: &Records, env: &Env) -> Result<()> {
    if let Some(Versioned { value: Kept { now_us }, .. }) = records.get::<Kept>(&key()).await? {
        env.clock.not_before(now_us);
    }
    Ok(())
}

impl Conductor {
    /// Keeps server time for the next start, for as long as this one runs.
    pub(super) fn keep_clock(&self) {
        let inner = Arc::downgrade(&self.inner);
        self.keep(Scope::Part, "clock", move || Self::keep_time(inner.clone()));
    }

    async fn keep_time(inner: Weak<Inner>) {
        let mut was_on_air = false;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(inner) = inner.upgrade() else { return };
            let conductor = Self { inner };
            let is_on_air = !conductor.open_lives().is_empty();
            // Once more after the last live: its results and its end lie before that.
            if is_on_air || was_on_air {
                let now_us = conductor.env().now_us();
                let later = |kept: &mut Kept| {
                    kept.now_us = kept.now_us.max(now_us);
                    Ok::<_, Infallible>(())
                };
                // A store in trouble says so elsewhere; the next one follows.
                if let Err(error) = conductor.inner.records.update_or_new(&key(), later).await {
                    tracing::debug!(%error, "cannot keep the time");
                }
            }
            was_on_air = is_on_air;
        }
    }
}
