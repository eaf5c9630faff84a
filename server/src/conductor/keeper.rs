//! Keeps announced deadlines of one live: closes each jeu when its time has come, and the live itself.
//!
//! **Invariant**: a deadline runs by the clock since boot from the moment this pod first sees it, and for as long as was
//! announced, so that whatever wall clocks say or become meanwhile, what was announced 5 s ahead happens 5 s later. Only a pod
//! that finds one when it starts goes by the moment that is stored: it was announced some time ago.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::on_air::{Announced, epochs_of};
use super::{ConductError, Conductor, LiveView, Result, Running};
use crate::domain::channel::MAX_CLOSE_DELAY_MS;
use crate::domain::jeu::JeuId;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::phase::Phase;
use crate::supervise::Scope;

/// Pause after a store failed, before a deadline is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// No deadline is announced further ahead. One that is stored further ahead of server time, which a start can find after
/// the wall clock was wrong, is this far ahead.
const MAX_WAIT: Duration = Duration::from_millis(MAX_CLOSE_DELAY_MS as u64);

/// What is announced: the closing of a jeu, or the end of the live.
type What = Option<JeuId>;

/// The deadlines of a live as this pod has seen them: by server time as stored, and by the clock since boot.
#[derive(Default)]
struct Deadlines {
    due: BTreeMap<What, (u64, Duration)>,
    /// Whether the record was read before: what is new in it was announced just now.
    follows: bool,
}

impl Deadlines {
    /// Takes over what a live's record announces. A deadline that is known stays where it is.
    fn follow(&mut self, live: &Live, now_us: u64, since_boot: Duration) {
        let closings = live.closes_at_us.iter().map(|(jeu, at_us)| (Some(*jeu), *at_us));
        let announced: BTreeMap<What, u64> = closings.chain(live.ends_at_us.map(|at_us| (None, at_us))).collect();
        self.due.retain(|what, (at_us, _)| announced.get(what) == Some(at_us));
        for (what, at_us) in announced {
            let delay_us = live.delays_us.get(&at_us).copied().filter(|_| self.follows);
            let wait_us = delay_us.unwrap_or_else(|| at_us.saturating_sub(now_us));
            self.due.entry(what).or_insert((at_us, since_boot + Duration::from_micros(wait_us).min(MAX_WAIT)));
        }
        self.follows = true;
    }

    fn is_due(&self, what: What, since_boot: Duration) -> bool {
        self.due.get(&what).is_some_and(|(_, due)| *due <= since_boot)
    }
}

impl Conductor {
    /// Starts the keeper of a live, which is woken by `changed`; it ends with the live.
    pub(super) fn keep_live(&self, live_id: LiveId, changed: Arc<Notify>) {
        let conductor = self.clone();
        self.inner
            .engine
            .keep(Scope::Part, "deadlines", move || conductor.clone().keep_deadlines(live_id, Arc::clone(&changed)));
    }

    async fn keep_deadlines(self, live_id: LiveId, changed: Arc<Notify>) {
        let is_ours = |running: &Running| Arc::ptr_eq(&running.keeper, &changed);
        let mut deadlines = Deadlines::default();
        while let Some(wait) = self.next_deadline(live_id, &mut deadlines) {
            if !self.lives().get(&live_id).is_some_and(is_ours) {
                return;
            }
            match wait {
                None => changed.notified().await,
                Some(Duration::ZERO) => {
                    while let Err(error) = self.carry_out(live_id, &mut deadlines).await {
                        tracing::warn!(live = %live_id, %error, "an announced closing failed; trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                }
                // Woken early by any change, and never late by more than the timer's grain.
                Some(wait) => {
                    let _woken = tokio::time::timeout(wait, changed.notified()).await;
                }
            }
        }
    }

    /// How long until something is due; `Some(None)`: nothing is announced; `None`: the live is over.
    fn next_deadline(&self, live_id: LiveId, deadlines: &mut Deadlines) -> Option<Option<Duration>> {
        let view = self.view(live_id)?;
        if view.live.status != LiveStatus::Open {
            return None;
        }
        let since_boot = self.follow_deadlines(&view.live, deadlines);
        let earliest = deadlines.due.values().map(|(_, due)| *due).min();
        Some(earliest.map(|due| due.saturating_sub(since_boot)))
    }

    fn follow_deadlines(&self, live: &Live, deadlines: &mut Deadlines) -> Duration {
        let since_boot = self.inner.env.clock.since_boot();
        deadlines.follow(live, self.inner.env.now_us(), since_boot);
        since_boot
    }

    async fn carry_out(&self, live_id: LiveId, deadlines: &mut Deadlines) -> Result<()> {
        let Some(view) = self.view(live_id) else { return Ok(()) };
        if view.live.status == LiveStatus::Closed {
            // What comes after the closing failed, and is tried again.
            return self.after_end(&view.live).await;
        }
        // Before a jeu has read its store, its epoch is not known.
        let since_boot = self.inner.env.clock.since_boot();
        for item in &view.items {
            if deadlines.is_due(Some(item.item().jeu), since_boot) || deadlines.is_due(None, since_boot) {
                super::heard_of(item).await?;
            }
        }
        // A jeu that somebody opened again, on another pod, is open in another epoch than the one that was to be closed.
        // These are read before the record is, and jeux are opened again only after their deadline is taken out of it.
        let epochs = epochs_of(&view);
        let stored = self.stored_live(live_id).await?;
        let live = stored.value.clone();
        self.adopt(stored).await;
        if live.status != LiveStatus::Open {
            return Ok(());
        }
        let since_boot = self.follow_deadlines(&live, deadlines);
        let is_due = |what: What| deadlines.is_due(what, since_boot);
        let closings = live.closes_at_us.iter().filter(|(jeu, _)| is_due(Some(**jeu)));
        let due: BTreeMap<JeuId, u64> = closings.map(|(jeu, at_us)| (*jeu, *at_us)).collect();
        for (jeu, epoch) in &epochs {
            // Closing one takes a while, in which somebody may take the others back.
            let is_still = |view: &LiveView| view.live.closes_at_us.get(jeu) == due.get(jeu);
            if !due.contains_key(jeu) || !self.view(live_id).is_some_and(|view| is_still(&view)) {
                continue;
            }
            if let Some(item) = view.item(*jeu) {
                super::heard_of(item).await?;
                if item.view().rank.phase() == Phase::Open {
                    item.close_epoch(*epoch).await?;
                }
            }
        }
        if let Some(at_us) = live.ends_at_us.filter(|_| is_due(None))
            && self.view(live_id).is_some_and(|view| view.live.ends_at_us == Some(at_us))
        {
            return self.end_live(live_id, Some(Announced { at_us, epochs })).await;
        }
        // What is open all the same, in an epoch that was not known here, keeps its deadline and is tried again: other pods
        // go by the record, too.
        let ranks = self.inner.store.ranks(live_id).await?;
        let is_open = |jeu: &JeuId| {
            let is_stored_open = ranks.iter().any(|row| row.jeu == *jeu && row.rank.phase() == Phase::Open);
            is_stored_open && live.jeu(*jeu).is_some()
        };
        let left = self
            .change(live_id, |live| {
                live.closes_at_us.retain(|jeu, at_us| due.get(jeu) != Some(at_us) || is_open(jeu));
                Ok(())
            })
            .await?;
        let is_left = |(jeu, at_us): (&JeuId, &u64)| left.closes_at_us.get(jeu) == Some(at_us);
        if due.iter().any(is_left) { Err(ConductError::NotReady) } else { Ok(()) }
    }
}
