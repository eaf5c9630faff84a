//! Taking the end of a live back, while nobody has used its results yet.
//!
//! **Invariant**: each step is durable and can be repeated. A crash before the record says that the live is open leaves a
//! live that is over; a crash after it leaves [`Live::closed_with`], from which the next start goes on.

use std::sync::Arc;
use std::time::Duration;

use super::jeux::{close_unless, reopened, settled};
use super::{ConductError, Conductor, Result, heard_of, live_key};
use crate::cluster::ItemHandle;
use crate::domain::ballot::Ratings;
use crate::domain::live::{Live, LiveId, LiveStatus, UNDO_WINDOW_US};
use crate::domain::rule::Rule;
use crate::protocol::LiveState;
use crate::records::Versioned;
use crate::supervise::Scope;

/// Pause after a store failed, before a reopening that a crash cut short is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Conductor {
    /// Opens a live again that ended less than [`UNDO_WINDOW_US`] ago, and with it the jeux that its ending closed: each
    /// begins a new epoch and keeps its notes. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict later on, or when the channel has another live on air.
    pub async fn reopen_live(&self, live_id: LiveId) -> Result<LiveState> {
        self.to_the_end(move |conductor| async move { conductor.reopen_live_now(live_id).await }).await
    }

    async fn reopen_live_now(&self, live_id: LiveId) -> Result<LiveState> {
        let live = self.stored_live(live_id).await?.value;
        if live.status == LiveStatus::Open && live.ends_at_us.is_some() {
            self.take_back_end(live_id).await?;
        } else if live.status != LiveStatus::Open {
            self.check_undo(&live)?;
            // Before anybody is shown that it is open: a jeu that has not read its notes looks as if it had none.
            let awake = self.awake(live_id).await?;
            let ended = live.closed_at_us;
            self.take_channel(&live.channel, live_id, ended).await?;
            let open = |live: &mut Live| {
                self.check_undo(live)?;
                if live.status == LiveStatus::Closed && live.closed_at_us != ended {
                    let reason = "another live was just opened, or this one ended once more";
                    return Err(ConductError::conflict(Rule::Raced, reason, "look at it again"));
                }
                live.status = LiveStatus::Open;
                live.closed_at_us = None;
                Ok(())
            };
            match self.inner.records.update(&live_key(live_id), open).await?.ok_or(ConductError::UnknownLive(live_id)) {
                Ok(Ok((stored, ()))) => self.show_with(stored, &awake),
                Ok(Err(error)) | Err(error) => {
                    self.free_channel(&live.channel, live_id).await?;
                    return Err(error);
                }
            }
        }
        self.open_closed_with(live_id).await?;
        self.live_state(live_id).await
    }

    /// Takes an announced end back, with the deadlines it gave to jeux; what is current stays.
    async fn take_back_end(&self, live_id: LiveId) -> Result<()> {
        self.change_on_air(live_id, |live| {
            if let Some(ends_at_us) = live.ends_at_us.take() {
                live.closes_at_us.retain(|_, closes_at_us| *closes_at_us != ends_at_us);
            }
            Ok(())
        })
        .await
        .map(drop)
    }

    /// Whether the end of a live can be taken back now; also when it was already.
    fn check_undo(&self, live: &Live) -> Result<()> {
        let until_us = match (live.status, live.closed_at_us) {
            (LiveStatus::Open, _) => return Ok(()),
            (LiveStatus::Draft, _) => {
                return Err(ConductError::conflict(Rule::LiveNotOnAir, "the live is not on air", "open it first"));
            }
            (LiveStatus::Closed, closed_at_us) => closed_at_us.unwrap_or_default().saturating_add(UNDO_WINDOW_US),
        };
        if self.env().now_us() <= until_us {
            return Ok(());
        }
        let reason = format!("the live ended more than {} s ago", UNDO_WINDOW_US / 1_000_000);
        let rule = Rule::TooLateToUndo { max_s: UNDO_WINDOW_US / 1_000_000 };
        Err(ConductError::own_conflict(rule, reason, "make a new live; the results of this one stay"))
    }

    /// The jeux of a closed live, with tasks that have read their notes. As long as these handles are held, no task ends.
    async fn awake(&self, live_id: LiveId) -> Result<Vec<ItemHandle<Ratings>>> {
        let view = match self.view(live_id) {
            Some(view) => view,
            None => self.closed_view(live_id).await?.ok_or(ConductError::UnknownLive(live_id))?,
        };
        let mut awake = Vec::with_capacity(view.items.len());
        for item in &view.items {
            if item.is_fixed() {
                let woken = self.inner.engine.start(item.item(), Arc::clone(&view.ballot));
                heard_of(&woken).await?;
                awake.push(woken);
            } else {
                awake.push(item.clone());
            }
        }
        Ok(awake)
    }

    /// Opens the jeux again that the ending of a live had closed: the last step of taking it back.
    async fn open_closed_with(&self, live_id: LiveId) -> Result<()> {
        let view = self.on_air(live_id).await?;
        let items: Vec<_> = view.live.closed_with.iter().filter_map(|jeu| view.item(*jeu)).collect();
        if items.is_empty() {
            return Ok(());
        }
        for item in &items {
            heard_of(item).await?;
            settled(item).await;
            // Another pod may have opened it again by now, and somebody closed it since.
            let live = self.stored_live(live_id).await?.value;
            let is_due = live.status == LiveStatus::Open && live.closed_with.contains(&item.item().jeu);
            // One that is damaged stays as it is, and says so.
            if is_due && !item.view().unreadable {
                reopened(item).await?;
            }
        }
        let done = |live: &mut Live| {
            live.closed_with.clear();
            Ok(())
        };
        close_unless(self.change_on_air(live_id, done).await, &items).await.map(drop)
    }

    /// Goes on with a live that is on air in the store, and with its reopening if a crash cut that short.
    pub(super) fn go_on(&self, stored: Versioned<Live>) {
        let (live_id, is_reopening) = (stored.value.live_id, !stored.value.closed_with.is_empty());
        self.show(stored);
        if !is_reopening {
            return;
        }
        let conductor = self.clone();
        self.keep(Scope::Part, "reopening", move || conductor.clone().finish_reopening(live_id));
    }

    async fn finish_reopening(self, live_id: LiveId) {
        while let Err(error) = self.open_closed_with(live_id).await {
            let is_over = |rule: &Rule| matches!(rule, Rule::LiveOver | Rule::LiveNotOnAir);
            match &error {
                ConductError::Conflict { rule, .. } if is_over(rule) => return,
                ConductError::UnknownLive(_) => return,
                // Among them a result that is still being made.
                _ => {}
            }
            tracing::warn!(live = %live_id, %error, "cannot open the jeux of a live again; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}
