//! The pod's own keeper of dumps: finds lives that are over, dumps them one after the other, and prunes what is due.
//!
//! A second after a live ended it is found, by its channel, which names it then. Once at the start and every hour all lives
//! are looked through, for what was missed while nobody ran.
//!
//! **Invariant**: a failure is counted, told once as a warning with its reason, and tried again, later each time; it
//! stops neither the other lives' dumps nor anything else of the pod. Nothing waits in a queue but ids of lives.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::prune::{JOURNAL_DAYS, Retention, prune};
use super::{ArchiveError, Pace, Result, Target, TargetUrl, dump, ledger, lives_that_are_over, silent, stored_live};
use crate::cluster::env::Env;
use crate::domain::channel::Channel;
use crate::domain::key::Slug;
use crate::domain::live::{LiveId, LiveStatus};
use crate::metrics::{
    DUMP_LAST_SUCCESS_SECONDS, DUMP_PENDING, DUMP_SECONDS, DUMPS_FAILED, DUMPS_MADE, NOTES_PRUNED, PRUNES_FAILED,
};
use crate::records::{Records, Versioned};
use crate::store::{ErrorKind, RecordKind, Store};

/// How often channels are looked at: a fifth of what a dump may take.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often all lives are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Pauses after a failure: from the first to the last, each twice as long as the one before.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// How often a claim is renewed.
const RENEW_INTERVAL: Duration = Duration::from_micros(ledger::CLAIM_US / 3);

/// Channels read at a time.
const CHANNELS_PAGE: usize = 500;

/// Longest reason of a failure that is kept, in characters.
const MAX_REASON_CHARS: usize = 300;

/// A keeper. It has no lives of its own: what it forgets the next sweep finds again.
pub struct Keeper {
    store: Arc<dyn Store>,
    records: Records,
    env: Env,
    pod: String,
    to: Option<TargetUrl>,
    retention: Retention,
    /// Revisions of channels as last read.
    channels: HashMap<Slug, u64>,
    /// Lives to dump, and when to try: at most as many as there are lives.
    due: BTreeMap<LiveId, u64>,
    /// Lives to look through for something to prune.
    old: Vec<LiveId>,
    swept: Option<Instant>,
    is_away: bool,
}

/// How long after so many failures in a row the next attempt begins, in microseconds.
fn retry_after_us(failures: u32) -> u64 {
    let pause = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_RETRY);
    u64::try_from(pause.as_micros()).unwrap_or(u64::MAX)
}

impl Keeper {
    /// The keeper of a pod that dumps to `to`, if anywhere, and keeps notes for so many days, 0 for ever.
    pub fn new(store: Arc<dyn Store>, env: Env, pod: String, to: Option<TargetUrl>, keep_notes_days: u32) -> Self {
        let retention =
            Retention { notes_days: (keep_notes_days > 0).then_some(keep_notes_days), journal_days: JOURNAL_DAYS };
        Self {
            records: Records::new(Arc::clone(&store)),
            store,
            env,
            pod,
            to,
            retention,
            channels: HashMap::new(),
            due: BTreeMap::new(),
            old: Vec::new(),
            swept: None,
            is_away: false,
        }
    }

    /// Works for as long as somebody holds `alive`.
    pub async fn run(mut self, alive: Weak<()>) {
        match &self.to {
            Some(to) => debug!(%to, "lives that end are dumped"),
            None if self.store.is_shared() => info!("lives that end are not dumped; name a place with --dump-to"),
            None => {}
        }
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while alive.strong_count() > 0 {
            ticks.tick().await;
            if let Err(error) = self.turn().await {
                // Once: the engine says so, too, and it goes on until the store is back.
                if !std::mem::replace(&mut self.is_away, true) {
                    warn!(%error, "cannot look for lives that are over; trying again");
                }
            } else {
                self.is_away = false;
            }
        }
    }

    async fn turn(&mut self) -> Result<()> {
        if self.swept.is_none_or(|swept| swept.elapsed() >= SWEEP_INTERVAL) {
            self.sweep().await?;
            self.swept = Some(Instant::now());
        }
        if self.to.is_some() {
            self.look().await?;
            self.tell();
            self.dump_due().await;
            self.tell();
        }
        // One for each turn, so that a dump that is due never waits for more than one.
        if let Some(live) = self.old.pop() {
            self.prune(live).await;
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of lives")]
    fn tell(&self) {
        metrics::gauge!(DUMP_PENDING).set(self.due.len() as f64);
    }

    /// Looks through all lives.
    async fn sweep(&mut self) -> Result<()> {
        let over = lives_that_are_over(&self.records).await?;
        if self.to.is_some() {
            for live in &over {
                self.consider(*live).await?;
            }
        }
        self.old = over;
        Ok(())
    }

    /// Looks at the channels that changed since last time.
    async fn look(&mut self) -> Result<()> {
        let mut after: Option<String> = None;
        let mut changed = Vec::new();
        loop {
            let page = self.records.page::<Channel>(RecordKind::Channel, "", after.as_deref(), CHANNELS_PAGE).await?;
            // One that is damaged is told of by whoever shows channels, and its lives are found by the next sweep.
            for (_, Versioned { revision, value: channel }) in page.documents {
                if self.channels.get(&channel.slug) != Some(&revision) {
                    changed.push((channel.slug, revision, channel.last_live));
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for (slug, revision, last_live) in changed {
            if let Some(live) = last_live {
                self.consider(live).await?;
            }
            self.channels.insert(slug, revision);
        }
        Ok(())
    }

    /// Notes that a live is to be dumped, if it is.
    async fn consider(&mut self, live_id: LiveId) -> Result<()> {
        let live = match stored_live(&self.records, live_id).await {
            Ok(stored) => stored.value,
            Err(ArchiveError::Refused { .. }) => return Ok(()),
            // The others are dumped all the same.
            Err(ArchiveError::Store(error)) if error.kind == ErrorKind::Corrupt => {
                warn!(live = %live_id, %error, "cannot read whether a live is to be dumped");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (LiveStatus::Closed, Some(closed_at_us)) = (live.status, live.closed_at_us) else { return Ok(()) };
        let known = ledger::read(&self.records, live_id).await?;
        // What was pruned was dumped before, and cannot be any more.
        if !known.has(closed_at_us) && known.notes_pruned_at_us.is_none() {
            self.due.entry(live_id).or_insert(known.retry_at_us);
        }
        Ok(())
    }

    async fn dump_due(&mut self) {
        let now_us = self.env.now_us();
        let due: Vec<LiveId> = self.due.iter().filter(|(_, at_us)| **at_us <= now_us).map(|(live, _)| *live).collect();
        for live in due {
            match self.dump_one(live).await {
                Ok(true) => drop(self.due.remove(&live)),
                // Somebody else is at it, or its results are being made: looked at again in a second.
                Ok(false) | Err(ArchiveError::NotYet { .. } | ArchiveError::Closing { .. }) => {}
                Err(error) => self.failed(live, &error).await,
            }
        }
    }

    /// Dumps a live if nobody else does. `true` when there is nothing more to do.
    async fn dump_one(&self, live_id: LiveId) -> Result<bool> {
        let Some(to) = &self.to else { return Ok(true) };
        let live = match stored_live(&self.records, live_id).await {
            Ok(stored) => stored.value,
            // Deleted with its channel.
            Err(ArchiveError::Refused { .. }) => return Ok(true),
            Err(error) => return Err(error),
        };
        let (LiveStatus::Closed, Some(closed_at_us)) = (live.status, live.closed_at_us) else { return Ok(true) };
        if ledger::read(&self.records, live_id).await?.has(closed_at_us) {
            return Ok(true);
        }
        // A store of one process has no other pod; a claim there is one of a run that was killed.
        let claimed = ledger::claim(&self.records, live_id, &self.pod, self.env.now_us()).await?;
        if !claimed && self.store.is_shared() {
            return Ok(false);
        }
        let begun = Instant::now();
        let made = self.dump_claimed(to, live_id).await?;
        metrics::counter!(DUMPS_MADE).increment(1);
        metrics::histogram!(DUMP_SECONDS).record(begun.elapsed());
        self.succeeded(live_id, &made).await?;
        // Of an ending that was taken back meanwhile, the next is still to be dumped.
        Ok(made.closed_at_us == closed_at_us)
    }

    async fn dump_claimed(&self, to: &TargetUrl, live_id: LiveId) -> Result<ledger::Made> {
        let target = Target::open(to, true).await?;
        let work = dump(&self.store, &target, &self.env, live_id, Pace::Gentle, &silent);
        tokio::pin!(work);
        let dumped = loop {
            tokio::select! {
                done = &mut work => break done?,
                () = tokio::time::sleep(RENEW_INTERVAL) => {
                    if let Err(error) = ledger::claim(&self.records, live_id, &self.pod, self.env.now_us()).await {
                        debug!(live = %live_id, %error, "cannot renew a claim");
                    }
                }
            }
        };
        Ok(ledger::Made::of(&dumped, &target, self.env.now_us()))
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
    async fn succeeded(&self, live: LiveId, made: &ledger::Made) -> Result<()> {
        metrics::gauge!(DUMP_LAST_SUCCESS_SECONDS).set((made.at_us / 1_000_000) as f64);
        ledger::change(&self.records, live, |ledger| ledger.dumped(made)).await
    }

    async fn failed(&mut self, live: LiveId, error: &ArchiveError) {
        metrics::counter!(DUMPS_FAILED).increment(1);
        let reason: String = error.to_string().chars().take(MAX_REASON_CHARS).collect();
        let (now_us, mut failures) = (self.env.now_us(), 1);
        let noted = ledger::change(&self.records, live, |ledger| {
            ledger.failures = ledger.failures.saturating_add(1);
            ledger.retry_at_us = now_us + retry_after_us(ledger.failures);
            ledger.error = Some(reason.clone());
            ledger.claim = None;
            failures = ledger.failures;
        });
        if let Err(error) = noted.await {
            debug!(%live, %error, "cannot note that a dump failed");
        }
        let retry_us = retry_after_us(failures);
        self.due.insert(live, now_us + retry_us);
        warn!(%live, %error, failures, retry_in_s = retry_us / 1_000_000, "a dump failed; trying again");
    }

    async fn prune(&self, live: LiveId) {
        // Two pods may do it at once: that is harmless, and costs a recount.
        let pruned = prune(&self.store, self.to.as_ref(), &self.env, live, self.retention, Pace::Gentle, &silent);
        match pruned.await {
            Ok(pruned) if pruned.notes > 0 || pruned.journals > 0 => {
                metrics::counter!(NOTES_PRUNED).increment(pruned.notes);
                info!(%live, notes = pruned.notes, journals = pruned.journals, "pruned");
            }
            Ok(_) | Err(ArchiveError::NotYet { .. } | ArchiveError::Closing { .. }) => {}
            Err(error) => {
                metrics::counter!(PRUNES_FAILED).increment(1);
                warn!(%live, %error, "cannot prune; everything is kept until it can");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_minutes() {
        let seconds = |failures| retry_after_us(failures) / 1_000_000;
        assert_eq!([1, 2, 3, 9, 10, 1000].map(seconds), [1, 2, 4, 256, 300, 300]);
    }
}
