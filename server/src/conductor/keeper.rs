//! Keeps announced deadlines of one live: closes each jeu when its time has come, and the live itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::on_air::{Announced, epochs_of};
use super::{Conductor, Result, Running};
use crate::domain::jeu::JeuId;
use crate::domain::live::{LiveId, LiveStatus};
use crate::domain::phase::Phase;
use crate::supervise::Scope;

/// Pause after a store failed, before a deadline is tried again.
const RETRY: Duration = Duration::from_millis(500);

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
        while let Some(wait) = self.next_deadline(live_id) {
            if !self.lives().get(&live_id).is_some_and(is_ours) {
                return;
            }
            match wait {
                None => changed.notified().await,
                Some(Duration::ZERO) => {
                    while let Err(error) = self.carry_out(live_id).await {
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
    fn next_deadline(&self, live_id: LiveId) -> Option<Option<Duration>> {
        let view = self.view(live_id)?;
        if view.live.status != LiveStatus::Open {
            return None;
        }
        let now_us = self.inner.env.now_us();
        let earliest = view.live.closes_at_us.values().copied().chain(view.live.ends_at_us).min();
        Some(earliest.map(|at_us| Duration::from_micros(at_us.saturating_sub(now_us))))
    }

    async fn carry_out(&self, live_id: LiveId) -> Result<()> {
        let Some(view) = self.view(live_id) else { return Ok(()) };
        if view.live.status == LiveStatus::Closed {
            // What comes after the closing failed, and is tried again.
            return self.after_end(&view.live).await;
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
        let now_us = self.inner.env.now_us();
        let due = |jeu: &JeuId| live.closes_at_us.get(jeu).is_some_and(|at_us| *at_us <= now_us);
        // Closing one takes a while, in which somebody may take the others back.
        let is_due = |at_us: Option<u64>| at_us.is_some_and(|at_us| at_us <= now_us);
        for (jeu, epoch) in epochs.iter().filter(|(jeu, _)| due(jeu)) {
            if !self.view(live_id).is_some_and(|view| is_due(view.live.closes_at_us.get(jeu).copied())) {
                continue;
            }
            if let Some(item) = view.item(*jeu) {
                super::heard_of(item).await?;
                if item.view().rank.phase() == Phase::Open {
                    item.close_epoch(*epoch).await?;
                }
            }
        }
        if let Some(at_us) = live.ends_at_us.filter(|at_us| is_due(Some(*at_us)))
            && self.view(live_id).is_some_and(|view| view.live.ends_at_us == Some(at_us))
        {
            return self.end_live(live_id, Some(Announced { at_us, epochs })).await;
        }
        self.change(live_id, |live| {
            live.closes_at_us.retain(|_, at_us| *at_us > now_us);
            Ok(())
        })
        .await?;
        Ok(())
    }
}
