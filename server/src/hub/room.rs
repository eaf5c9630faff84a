//! One room's task: waits for a change of its channel, its live or any jeu, and publishes the whole at the next tick.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt as _, select_all};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::frames::{Encoded, Frames, JeuFrames, encode};
use super::{Hub, Room};
use crate::cluster::ItemView;
use crate::conductor::{ChannelView, LiveView, tally_frame};
use crate::domain::key::Slug;
use crate::domain::phase::Phase;
use crate::domain::tally::Tally;
use crate::protocol::{ServerMessage, State};

/// An empty room stays this long, for those who only reload the page.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a room until it has been empty for a while.
pub(super) async fn run(hub: Hub, channel: Slug, room: Arc<Room>, mut view: watch::Receiver<Arc<ChannelView>>) {
    let mut next_tick = Instant::now();
    loop {
        sleep_until(next_tick).await;
        let shown = Arc::clone(&view.borrow_and_update());
        let mut items: Vec<_> =
            shown.shown.iter().flat_map(|live| &live.items).map(crate::cluster::ItemHandle::watch).collect();
        let views: Vec<_> = items.iter_mut().map(|item| Arc::clone(&item.borrow_and_update())).collect();
        let before = Arc::clone(&room.frames.borrow());
        if let Some(frames) = next_frames(&before, &shown, &views) {
            room.frames.send_replace(Arc::new(frames));
        }
        next_tick = Instant::now() + hub.inner.tick;
        while timeout(EMPTY_TIMEOUT, changed(&mut view, &mut items)).await.is_err() {
            if room.sockets() == 0 && hub.retire(&channel, &room) {
                return;
            }
        }
    }
}

/// Returns when the channel or any item has something new. A sender that went away is not news.
async fn changed(view: &mut watch::Receiver<Arc<ChannelView>>, items: &mut [watch::Receiver<Arc<ItemView<Tally>>>]) {
    async fn news<T>(receiver: &mut watch::Receiver<T>) {
        if receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
    let items = items.iter_mut().map(|item| news(item).boxed());
    select_all(std::iter::once(news(view).boxed()).chain(items)).await;
}

/// The frames of a room that was just opened: what is known, without waiting for a tick.
pub(super) fn first_frames(shown: &ChannelView) -> Frames {
    let state = State { rev: 0, channel_title: String::new(), live: None, stale: true };
    let text = encode(&ServerMessage::State(Box::new(state.clone())));
    let nothing = Frames { state: Encoded { value: Arc::new(state), text }, jeux: Vec::new(), view: None, gone: false };
    let views: Vec<_> = shown.shown.iter().flat_map(|live| &live.items).map(crate::cluster::ItemHandle::view).collect();
    next_frames(&nothing, shown, &views).unwrap_or(nothing)
}

/// The frames after `before`; `None` when they would say the same.
fn next_frames(before: &Frames, shown: &ChannelView, views: &[Arc<ItemView<Tally>>]) -> Option<Frames> {
    let stale = views.iter().any(|view| view.stale);
    let title = shown.channel.as_ref().map(|channel| channel.title.clone()).unwrap_or_default();
    let live = shown.shown.as_ref().map(|live| live.state());
    let mut state = State { rev: before.state.value.rev, channel_title: title, live, stale };
    let gone = shown.channel.is_none();
    let state_changed = state != *before.state.value || gone != before.gone;
    let state = if state_changed {
        state.rev += 1;
        let text = encode(&ServerMessage::State(Box::new(state.clone())));
        Encoded { value: Arc::new(state), text }
    } else {
        before.state.clone()
    };
    let mut any_changed = state_changed;
    let same_live =
        before.view.as_ref().map(|live| live.live.live_id) == shown.shown.as_ref().map(|live| live.live.live_id);
    let mut jeux = Vec::new();
    if let Some(live) = &shown.shown {
        for (item, view) in live.items.iter().zip(views) {
            if view.rank.phase() == Phase::Pending {
                continue;
            }
            let known = before.jeux.iter().find(|known| same_live && known.jeu == item.item().jeu.0);
            let (frames, changed) = jeu_frames(live, item.item().jeu, view, known);
            any_changed |= changed;
            jeux.push(frames);
        }
    }
    any_changed.then(|| Frames { state, jeux, view: shown.shown.clone(), gone })
}

/// The frames of a jeu: those known when nothing but the clock changed, new ones with the next revision otherwise.
fn jeu_frames(
    live: &LiveView,
    jeu: crate::domain::jeu::JeuId,
    view: &ItemView<Tally>,
    known: Option<&JeuFrames>,
) -> (JeuFrames, bool) {
    let mut frame = tally_frame(&live.live, jeu, view);
    frame.rev = known.map_or(1, |known| known.rev + 1);
    let Some(known) = known else { return (JeuFrames::new(&live.live, &frame), true) };
    let before = &known.admin.value;
    let same_numbers = (before.epoch, before.phase, before.voters) == (frame.epoch, frame.phase, frame.voters)
        && before.criteres == frame.criteres;
    let reasons = |audience| super::frames::mask(&live.live, &frame, audience);
    let same_masks = known.public.value.masked == reasons(super::frames::Audience::Public)
        && known.voter.value.masked == reasons(super::frames::Audience::Voter);
    if same_numbers && same_masks { (known.clone(), false) } else { (JeuFrames::new(&live.live, &frame), true) }
}
