//! The jeux of a live that is on air: opened, shown, closed after an announced delay, reopened.
//!
//! **Invariant**: a jeu is opened in the engine before the live's record makes it current, and closed again if it cannot be.

use std::time::Duration;

use super::{ConductError, Conductor, Result, all_ready, channel_key, heard_of, ready};
use crate::cluster::ItemHandle;
use crate::cluster::mutant::mutant;
use crate::domain::ballot::Ratings;
use crate::domain::channel::{Channel, checked_close_delay};
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId};
use crate::domain::phase::Phase;
use crate::domain::rule::Rule;
use crate::protocol::LiveState;

/// How long a reopening waits for a result that is being made.
const REOPEN_WAIT: Duration = Duration::from_secs(10);

impl Conductor {
    /// Announces the closing of the current jeu, opens the next one and makes it current; `from`: only if that jeu is
    /// current.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict after the last jeu, or when another one than `from` is current.
    pub async fn next(&self, live_id: LiveId, delay_ms: Option<u64>, from: Option<JeuId>) -> Result<LiveState> {
        self.to_the_end(move |conductor| async move { conductor.next_now(live_id, delay_ms, from).await }).await
    }

    async fn next_now(&self, live_id: LiveId, delay_ms: Option<u64>, from: Option<JeuId>) -> Result<LiveState> {
        let view = self.on_air(live_id).await?;
        // One that cannot be read does not hold up the others.
        let _still_reading = all_ready(&view).await;
        let live = &view.live;
        if from.is_some() && live.current != from {
            let reason = "another jeu is current by now";
            return Err(ConductError::own_conflict(Rule::MovedOn, reason, "look at it again"));
        }
        let delay_ms = self.delay(&live.channel, delay_ms).await?;
        let after = live.current.and_then(|current| live.jeu(current)).map_or(0, |(index, _)| index + 1);
        let can_follow = |item: &&ItemHandle<Ratings>| {
            let view = item.view();
            view.rank.phase() <= Phase::Open && !view.unreadable
        };
        let Some(next) = view.items.iter().skip(after).find(can_follow) else {
            let remedy = "add a jeu to the programme, reopen one, or close the live";
            return Err(ConductError::conflict(Rule::NoJeuLeft, "no jeu of the programme is left", remedy));
        };
        ready(next).await?;
        next.open().await?;
        let left = live.current.filter(|current| *current != next.item().jeu).and_then(|current| view.item(current));
        let left = left.filter(|item| item.view().rank.phase() == Phase::Open);
        if let (Some(item), 0) = (left, delay_ms) {
            item.close().await?;
        }
        let delay_us = delay_ms * 1000;
        let closes_at_us = self.inner.env.now_us() + delay_us;
        self.show_opened(live_id, &[next], |live| {
            live.closes_at_us.remove(&next.item().jeu);
            if let (Some(item), 1..) = (left, delay_ms) {
                live.closes_at_us.entry(item.item().jeu).or_insert(closes_at_us);
                live.announce(closes_at_us, delay_us);
            }
        })
        .await?;
        self.live_state(live_id).await
    }

    /// Makes a jeu the one that pages follow.
    ///
    /// # Errors
    /// [`ConductError`].
    pub async fn set_current(&self, live_id: LiveId, jeu: JeuId) -> Result<LiveState> {
        let view = self.on_air(live_id).await?;
        view.item(jeu).ok_or(ConductError::UnknownJeu(live_id, jeu))?;
        self.follow(live_id, jeu, |_| {}).await?;
        self.live_state(live_id).await
    }

    /// Makes a jeu current, with `edit`, if the live is still on air and still has it.
    async fn follow(&self, live_id: LiveId, jeu: JeuId, mut edit: impl FnMut(&mut Live) + Send) -> Result<()> {
        let current = |live: &mut Live| {
            live.jeu(jeu).ok_or(ConductError::UnknownJeu(live_id, jeu))?;
            live.current = Some(jeu);
            edit(live);
            Ok(())
        };
        self.change_on_air(live_id, current).await.map(drop)
    }

    /// Makes the first of some jeux current that were just opened, or closes them again.
    pub(super) async fn show_opened(
        &self,
        live_id: LiveId,
        items: &[&ItemHandle<Ratings>],
        mut edit: impl FnMut(&mut Live) + Send,
    ) -> Result<()> {
        let Some(first) = items.first().map(|item| item.item().jeu) else { return Ok(()) };
        let mut removed = Vec::new();
        let current = |live: &mut Live| {
            removed = items.iter().filter(|item| live.jeu(item.item().jeu).is_none()).copied().collect();
            let stays = items.iter().map(|item| item.item().jeu).find(|jeu| live.jeu(*jeu).is_some());
            live.current = Some(stays.ok_or(ConductError::UnknownJeu(live_id, first))?);
            edit(live);
            Ok(())
        };
        close_unless(self.change_on_air(live_id, current).await, items).await?;
        if mutant!(ShowsTheFirstOnly) {
            return Ok(());
        }
        for item in removed {
            let gone = Err(ConductError::UnknownJeu(live_id, item.item().jeu));
            let _gone = close_unless::<()>(gone, &[item]).await;
        }
        Ok(())
    }

    /// Opens a jeu and makes it current. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the jeu is final.
    pub async fn open_jeu(&self, live_id: LiveId, jeu: JeuId) -> Result<LiveState> {
        self.to_the_end(move |conductor| async move { conductor.open_jeu_now(live_id, jeu).await }).await
    }

    async fn open_jeu_now(&self, live_id: LiveId, jeu: JeuId) -> Result<LiveState> {
        let view = self.on_air(live_id).await?;
        let item = view.item(jeu).ok_or(ConductError::UnknownJeu(live_id, jeu))?;
        ready(item).await?;
        item.open().await?;
        self.show_opened(live_id, &[item], |_| {}).await?;
        self.live_state(live_id).await
    }

    /// Closes a jeu after an announced delay; `None`: the channel's. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the jeu was never opened.
    pub async fn close_jeu(&self, live_id: LiveId, jeu: JeuId, delay_ms: Option<u64>) -> Result<LiveState> {
        let view = self.on_air(live_id).await?;
        let item = view.item(jeu).ok_or(ConductError::UnknownJeu(live_id, jeu))?;
        heard_of(item).await?;
        let delay_ms = self.delay(&view.live.channel, delay_ms).await?;
        if delay_ms == 0 || item.view().rank.phase() != Phase::Open {
            item.close().await?;
            self.forget_deadline(live_id, jeu, false).await?;
        } else {
            let delay_us = delay_ms * 1000;
            let closes_at_us = self.inner.env.now_us() + delay_us;
            self.change_on_air(live_id, |live| {
                let at = live.closes_at_us.entry(jeu).or_insert(closes_at_us);
                *at = (*at).min(closes_at_us);
                live.announce(closes_at_us, delay_us);
                Ok(())
            })
            .await?;
        }
        self.live_state(live_id).await
    }

    /// Opens a final jeu again and makes it current, or takes an announced closing back.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the jeu was never opened.
    pub async fn reopen_jeu(&self, live_id: LiveId, jeu: JeuId) -> Result<LiveState> {
        self.to_the_end(move |conductor| async move { conductor.reopen_jeu_now(live_id, jeu).await }).await
    }

    async fn reopen_jeu_now(&self, live_id: LiveId, jeu: JeuId) -> Result<LiveState> {
        let view = self.on_air(live_id).await?;
        let item = view.item(jeu).ok_or(ConductError::UnknownJeu(live_id, jeu))?;
        ready(item).await?;
        self.forget_deadline(live_id, jeu, true).await?;
        reopened(item).await?;
        self.show_opened(live_id, &[item], |_| {}).await?;
        self.live_state(live_id).await
    }

    /// Forgets the announced closing of a jeu. With `goes_on`, the announced end of the live is taken back with it: a
    /// live with a jeu that was just reopened does not end.
    async fn forget_deadline(&self, live_id: LiveId, jeu: JeuId, goes_on: bool) -> Result<()> {
        self.change_on_air(live_id, |live| {
            live.closes_at_us.remove(&jeu);
            // Whatever ended with the live before: from here on it is as somebody wanted it now.
            live.closed_with.remove(&jeu);
            if goes_on {
                live.ends_at_us = None;
            }
            Ok(())
        })
        .await
        .map(drop)
    }

    pub(super) async fn delay(&self, channel: &Slug, asked_ms: Option<u64>) -> Result<u64> {
        match asked_ms {
            Some(asked_ms) => Ok(checked_close_delay("delay_ms", asked_ms)?),
            None => {
                let channel = self.inner.records.get::<Channel>(&channel_key(channel)).await?;
                Ok(channel.map_or(0, |channel| channel.value.close_delay_ms))
            }
        }
    }
}

/// Closes jeux that were just opened, where what should show them was refused because somebody else ended the live
/// meanwhile or took them out of it: nothing else would ever close them.
pub(super) async fn close_unless<T>(shown: Result<T>, items: &[&ItemHandle<Ratings>]) -> Result<T> {
    if let Err(ConductError::Conflict { .. } | ConductError::UnknownJeu(..) | ConductError::UnknownLive(_)) = &shown {
        for item in items {
            item.close().await?;
            // The task ends with its last handle, which may be this one.
            let _timed_out = tokio::time::timeout(REOPEN_WAIT, item.reached(Phase::Final)).await;
        }
    }
    shown
}

/// Waits for the result of a jeu, if it is being made.
pub(super) async fn settled(item: &ItemHandle<Ratings>) {
    if item.view().rank.phase() == Phase::Closing {
        let _timed_out = tokio::time::timeout(REOPEN_WAIT, item.reached(Phase::Final)).await;
    }
}

/// Begins a new epoch of a jeu that is final, or about to be, and has read its notes.
pub(super) async fn reopened(item: &ItemHandle<Ratings>) -> Result<()> {
    settled(item).await;
    item.reopen().await?;
    Ok(())
}
