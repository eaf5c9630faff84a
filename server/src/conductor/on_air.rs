//! A live from draft to over: taking its channel, going on air, ending.
//!
//! **Invariant**: each step is durable and can be asked for again, so that a crash between two leaves nothing that the same
//! request does not finish.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::view::close_again;
use super::{ConductError, Conductor, LiveView, OpenJeux, Result, all_ready, channel_key, live_key, ready};
use crate::cluster::ItemHandle;
use crate::cluster::engine::ItemError;
use crate::cluster::mutant::mutant;
use crate::domain::ballot::Ratings;
use crate::domain::channel::Channel;
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::phase::Phase;
use crate::domain::rule::Rule;
use crate::protocol::LiveState;
use crate::store::{ItemId, Swap};

/// The epoch that each jeu of a live is in.
pub(super) type Epochs = BTreeMap<JeuId, u64>;

/// Those of a live now.
pub(super) fn epochs_of(view: &LiveView) -> Epochs {
    view.items.iter().map(|item| (item.item().jeu, item.view().rank.epoch())).collect()
}

/// An end that was announced.
pub(super) struct Announced {
    /// For when.
    pub(super) at_us: u64,
    /// The epochs it closes: those from before its deadline was read.
    pub(super) epochs: Epochs,
}

impl Conductor {
    /// Puts a draft on air: at most one live of a channel at a time. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the channel has another live on air or this one is over.
    pub async fn open_live(&self, live_id: LiveId, jeux: OpenJeux) -> Result<LiveState> {
        self.to_the_end(move |conductor| async move { conductor.open_live_now(live_id, jeux).await }).await
    }

    async fn open_live_now(&self, live_id: LiveId, jeux: OpenJeux) -> Result<LiveState> {
        let live = self.stored_live(live_id).await?.value;
        match live.status {
            // An opening that a crash cut short before its first jeu was open goes on below.
            LiveStatus::Open if live.current.is_some() => return self.live_state(live_id).await,
            LiveStatus::Closed => {
                return Err(ConductError::conflict(
                    Rule::LiveOver,
                    "the live is over",
                    "make a new live and open that",
                ));
            }
            LiveStatus::Open | LiveStatus::Draft => {}
        }
        self.take_channel(&live.channel, live_id, None).await?;
        let live = match self.put_on_air(live_id).await {
            // Ended or deleted by somebody else meanwhile: it must not keep the channel.
            Err(error @ (ConductError::Conflict { .. } | ConductError::UnknownLive(_))) => {
                self.free_channel(&live.channel, live_id).await?;
                return Err(error);
            }
            other => other?,
        };
        let opened: Vec<_> = match jeux {
            OpenJeux::First => live.programme.iter().take(1).collect(),
            OpenJeux::All => live.programme.iter().collect(),
            OpenJeux::None => Vec::new(),
        };
        let view = self.view(live_id).ok_or(ConductError::UnknownLive(live_id))?;
        for jeu in &opened {
            let item = view.item(jeu.jeu_id).ok_or(ConductError::UnknownJeu(live_id, jeu.jeu_id))?;
            ready(item).await?;
            item.open().await?;
        }
        let items: Vec<_> = opened.iter().filter_map(|jeu| view.item(jeu.jeu_id)).collect();
        self.show_opened(live_id, &items, |_| {}).await?;
        self.live_state(live_id).await
    }

    /// Makes `live_id` the one live of its channel that is on air; `takes_back`: to take back the end of that moment.
    pub(super) async fn take_channel(&self, channel: &Slug, live_id: LiveId, takes_back: Option<u64>) -> Result<()> {
        let key = channel_key(channel);
        let mut freed = None;
        loop {
            let taken = self.inner.records.update(&key, |channel: &mut Channel| match channel.open_live {
                Some(other) if other != live_id => Err(other),
                Some(_) => {
                    channel.takes_back = takes_back.or(channel.takes_back);
                    Ok(())
                }
                None => {
                    channel.open_live = Some(live_id);
                    channel.takes_back = takes_back;
                    Ok(())
                }
            });
            match taken.await? {
                Some(Ok(_)) => return Ok(()),
                Some(Err(other)) => {
                    let is_over = match self.stored_live(other).await {
                        Ok(stored) => stored.value.status == LiveStatus::Closed,
                        Err(ConductError::UnknownLive(_)) => true,
                        Err(error) => return Err(error),
                    };
                    if freed == Some(other) || !is_over {
                        let reason = format!("live {other} of this channel is on air");
                        return Err(ConductError::conflict(Rule::LiveOnAir, reason, "close it first"));
                    }
                    // It was not released because the store failed at that moment, or its end is just being taken back.
                    self.free_channel(channel, other).await?;
                    freed = Some(other);
                }
                None => {
                    return Err(ConductError::conflict(
                        Rule::ChannelGone,
                        "the channel of this live is gone",
                        "make a new live",
                    ));
                }
            }
        }
    }

    /// Frees a channel from a live that is not on air. If somebody is about to take its end back, that fails from here on:
    /// the moment of its end, by which it is known, becomes another one.
    pub(super) async fn free_channel(&self, channel: &Slug, live_id: LiveId) -> Result<()> {
        let takes_back = match self.inner.records.get::<Channel>(&channel_key(channel)).await? {
            Some(stored) if stored.value.open_live == Some(live_id) => stored.value.takes_back,
            _ => return Ok(()),
        };
        let key = live_key(live_id);
        let fenced = self.inner.records.update(&key, |live: &mut Live| {
            if live.status == LiveStatus::Closed && live.closed_at_us == takes_back && !mutant!(FreesWhatIsTakenBack) {
                live.closed_at_us = live.closed_at_us.map(|ended_us| ended_us + 1);
            }
            Ok::<_, std::convert::Infallible>((live.status, live.closed_at_us))
        });
        match fenced.await? {
            None => self.release_channel(channel, live_id, None).await,
            Some(Ok((_, (LiveStatus::Closed, ended_us)))) => {
                self.release_channel(channel, live_id, Some(ended_us.unwrap_or_default())).await
            }
            Some(Ok(_)) => Ok(()),
        }
    }

    pub(super) async fn put_on_air(&self, live_id: LiveId) -> Result<Live> {
        let now_us = self.inner.env.now_us();
        self.change(live_id, |live| {
            if live.status == LiveStatus::Closed {
                return Err(ConductError::conflict(
                    Rule::LiveOver,
                    "the live is over",
                    "make a new live and open that",
                ));
            }
            live.status = LiveStatus::Open;
            live.opened_at_us.get_or_insert(now_us);
            Ok(())
        })
        .await
    }

    /// Ends a live: its open jeux close at the deadline, then the live is closed. `None`: the channel's delay.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the live is a draft.
    pub async fn close_live(&self, live_id: LiveId, delay_ms: Option<u64>) -> Result<LiveState> {
        self.to_the_end(move |conductor| async move { conductor.close_live_now(live_id, delay_ms).await }).await
    }

    async fn close_live_now(&self, live_id: LiveId, delay_ms: Option<u64>) -> Result<LiveState> {
        let live = self.stored_live(live_id).await?.value;
        match live.status {
            LiveStatus::Draft => {
                return Err(ConductError::conflict(
                    Rule::LiveNotOnAir,
                    "the live is not on air",
                    "open it, or delete it",
                ));
            }
            LiveStatus::Closed => {
                // What comes after the closing may have failed when it was asked for.
                self.after_end(&live).await?;
                return self.live_state(live_id).await;
            }
            LiveStatus::Open => {}
        }
        let view = self.on_air(live_id).await?;
        all_ready(&view).await?;
        let is_open = |item: &&ItemHandle<Ratings>| item.view().rank.phase() == Phase::Open;
        let open: Vec<JeuId> = view.items.iter().filter(is_open).map(|item| item.item().jeu).collect();
        let delay_ms = if open.is_empty() { 0 } else { self.delay(&live.channel, delay_ms).await? };
        if delay_ms == 0 {
            self.end_live(live_id, None).await?;
        } else {
            let delay_us = delay_ms * 1000;
            let ends_at_us = self.inner.env.now_us() + delay_us;
            self.change_on_air(live_id, |live| {
                for jeu in &open {
                    let at = live.closes_at_us.entry(*jeu).or_insert(ends_at_us);
                    *at = (*at).min(ends_at_us);
                }
                live.ends_at_us = Some(ends_at_us);
                live.announce(ends_at_us, delay_us);
                Ok(())
            })
            .await?;
        }
        self.live_state(live_id).await
    }

    /// Closes whatever is open, then the live, then frees the channel; in this order, each step survives a crash, and
    /// all of it can be asked for again. `announced`: only if that end was not taken back.
    pub(super) async fn end_live(&self, live_id: LiveId, announced: Option<Announced>) -> Result<()> {
        let closing = self.view(live_id).map(|view| closed_with(&view)).unwrap_or_default();
        let (at_us, epochs) = announced.map_or((None, None), |end| (Some(end.at_us), Some(end.epochs)));
        self.close_jeux(live_id, epochs.as_ref()).await?;
        let now_us = self.inner.env.now_us();
        let live = self
            .change(live_id, |live| {
                // Another pod ended it at the same deadline, and somebody took that back already.
                if at_us.is_some() && live.status == LiveStatus::Open && live.ends_at_us != at_us {
                    return Ok(());
                }
                live.status = LiveStatus::Closed;
                live.closed_at_us.get_or_insert(now_us);
                live.closed_with.extend(&closing);
                live.closes_at_us.clear();
                live.ends_at_us = None;
                live.delays_us.clear();
                Ok(())
            })
            .await?;
        if live.status == LiveStatus::Closed { self.after_end(&live).await } else { Ok(()) }
    }

    /// What comes after the record says that a live is over. It may fail and be asked for again, and by then somebody may
    /// have opened the live again, here or on another pod.
    pub(super) async fn after_end(&self, live: &Live) -> Result<()> {
        // One may have been opened before the record said that the live is over, and none can be from here on.
        self.close_rest(live.live_id, live.closed_at_us).await?;
        self.close_removed(live).await?;
        self.release_channel(&live.channel, live.live_id, Some(live.closed_at_us.unwrap_or_default())).await?;
        self.retire(live.live_id);
        Ok(())
    }

    /// Closes every jeu of a live that was opened; if epochs are given, those only.
    async fn close_jeux(&self, live_id: LiveId, epochs: Option<&Epochs>) -> Result<()> {
        // A live that is over may have been forgotten, with all its jeux final.
        let Some(view) = self.view(live_id) else { return Ok(()) };
        all_ready(&view).await?;
        for item in &view.items {
            let closed = match epochs {
                Some(epochs) => item.close_epoch(epochs.get(&item.item().jeu).copied().unwrap_or_default()).await,
                None => item.close().await,
            };
            match closed {
                Ok(_) | Err(ItemError::Phase(Phase::Pending)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Closes jeux that were opened while somebody else took them out of the programme, where nothing shows them any more.
    pub(super) async fn close_removed(&self, live: &Live) -> Result<()> {
        for row in self.inner.store.ranks(live.live_id).await? {
            if live.jeu(row.jeu).is_some() || !matches!(row.rank.phase(), Phase::Open | Phase::Closing) {
                continue;
            }
            let ballot = Arc::new(Ratings::new(Arc::new(live.bareme.clone())));
            let item = self.inner.engine.start(ItemId { live: live.live_id, jeu: row.jeu }, ballot);
            // Its task ends with this handle.
            self.spawn("close-removed", async move {
                close_again(item.clone(), row.rank.epoch()).await;
                item.reached(Phase::Final).await;
            });
        }
        Ok(())
    }

    /// Closes what is open of a live that ended at `ended`, and nothing that was opened after the end was taken back.
    pub(super) async fn close_rest(&self, live_id: LiveId, ended: Option<u64>) -> Result<()> {
        let Some(view) = self.view(live_id) else { return Ok(()) };
        all_ready(&view).await?;
        let epochs = epochs_of(&view);
        // Jeux are opened again after the record says so. While it does not, these epochs are those that the end closes.
        match self.stored_live(live_id).await {
            Ok(stored) if stored.value.status == LiveStatus::Closed && stored.value.closed_at_us == ended => {}
            Ok(_) | Err(ConductError::UnknownLive(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.close_jeux(live_id, Some(&epochs)).await
    }

    /// Frees a channel from its open live, which becomes the last one if it `ended`, unless that end is being taken back.
    pub(super) async fn release_channel(&self, channel: &Slug, live_id: LiveId, ended: Option<u64>) -> Result<()> {
        let key = channel_key(channel);
        let freed = self.inner.records.update(&key, |channel: &mut Channel| {
            let stays = ended.is_some() && channel.takes_back == ended && !mutant!(FreesWhatIsTakenBack);
            if channel.open_live == Some(live_id) && !stays {
                channel.open_live = None;
                channel.takes_back = None;
                if ended.is_some() {
                    channel.last_live = Some(live_id);
                    channel.unfinished.insert(live_id);
                }
            }
            Ok::<_, std::convert::Infallible>(())
        });
        freed.await?;
        self.channel_changed(channel).await;
        Ok(())
    }

    /// Deletes a draft.
    ///
    /// # Errors
    /// [`ConductError`]; a conflict when the live was ever on air: results are kept.
    pub async fn delete_live(&self, live_id: LiveId) -> Result<()> {
        let stored = self.stored_live(live_id).await?;
        if stored.value.status != LiveStatus::Draft {
            return Err(ConductError::conflict(
                Rule::LiveWasOnAir,
                "the live has been on air",
                "keep it: its results belong to it",
            ));
        }
        match self.inner.records.delete(&live_key(live_id), stored.revision).await? {
            // An opening that failed half-way has taken the channel.
            Swap::Done(_) => self.release_channel(&stored.value.channel, live_id, None).await,
            Swap::Conflict(_) => {
                Err(ConductError::conflict(Rule::Raced, "the live was just changed", "look at it again"))
            }
        }
    }
}

/// The jeux that the ending of a live closes: those that are open, and those whose announced closing comes with it.
fn closed_with(view: &LiveView) -> Vec<JeuId> {
    let with_it = |item: &&ItemHandle<Ratings>| {
        item.view().rank.phase() == Phase::Open || view.live.closes_at_us.contains_key(&item.item().jeu)
    };
    view.items.iter().filter(with_it).map(|item| item.item().jeu).collect()
}
