//! One room's task: waits for a change of its channel, its live or any jeu, and publishes the whole at the next tick.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::{FutureExt as _, select_all};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::frames::{Encoded, Frames, JeuFrames, encode};
use super::{Hub, Room};
use crate::cluster::ItemView;
use crate::conductor::{ChannelView, LiveView, tally_frame};
use crate::domain::channel::Channel;
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
        let looked =
            Looked { channel: Arc::clone(&shown), revisions: views.iter().map(|view| view.revision).collect() };
        if let Some(frames) = next_frames(&before, &shown, &views) {
            room.frames.send_replace(Arc::new(frames));
        }
        *room.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked);
        if let Some(live) = &shown.shown {
            for (item, view) in live.items.iter().zip(&views) {
                live.unshown.published(item.item().jeu.0, view.revision);
            }
        }
        next_tick = Instant::now() + hub.inner.tick;
        while timeout(EMPTY_TIMEOUT, changed(&mut view, &mut items)).await.is_err() {
            if room.sockets() == 0 && hub.retire(&channel, &room) {
                return;
            }
        }
    }
}

/// What a room's task saw when it last looked.
pub(super) struct Looked {
    channel: Arc<ChannelView>,
    revisions: Vec<u64>,
}

/// The frames of a room with everything in them that has happened by now, for somebody who asks once. Whoever was told that
/// something is done finds it done; sockets hear of it at the next tick.
pub(super) fn frames_now(room: &Room) -> Arc<Frames> {
    let shown = Arc::clone(&room.view.borrow());
    let views = views_of(shown.shown.as_deref());
    // In this order: what the task looked at is in the frames that are there by then.
    let is_same = |looked: &Looked| {
        Arc::ptr_eq(&looked.channel, &shown)
            && looked.revisions.iter().copied().eq(views.iter().map(|view| view.revision))
    };
    let has_seen = room.looked.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(is_same);
    let frames = Arc::clone(&room.frames.borrow());
    if has_seen {
        return frames;
    }
    next_frames(&frames, &shown, &views).map_or(frames, Arc::new)
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
    let nothing = no_frames(0);
    next_frames(&nothing, shown, &views_of(shown.shown.as_deref())).unwrap_or(nothing)
}

/// The frames of a room that has not shown anything since a revision.
fn no_frames(rev: u64) -> Frames {
    let state = State { rev, channel_title: String::new(), live: None, stale: true };
    let text = encode(&ServerMessage::State(Box::new(state.clone())));
    let state = Encoded { value: Arc::new(state), text };
    Frames { state, jeux: Vec::new(), view: None, gone: false, rehearsal: None, highest: 0 }
}

fn views_of(live: Option<&LiveView>) -> Vec<Arc<ItemView<Tally>>> {
    live.iter().flat_map(|live| &live.items).map(crate::cluster::ItemHandle::view).collect()
}

/// The frames after `before`, those of a rehearsal with them; `None` when they would say the same.
///
/// Whoever sees the rehearsal begin and end is sent now one state and now the other: each goes on where the revisions of
/// the other stand, because a client drops what looks older than what it has.
fn next_frames(before: &Frames, shown: &ChannelView, views: &[Arc<ItemView<Tally>>]) -> Option<Frames> {
    let rehearsal = match (&shown.rehearsal, &before.rehearsal) {
        (None, _) => None,
        (Some(rehearsal), known) => {
            let fresh = Arc::new(no_frames(before.last_rev()));
            let known = known.as_ref().unwrap_or(&fresh);
            let shown = (shown.channel.as_ref(), Some(&rehearsal.view));
            let next = next_of(known, shown, &views_of(Some(&rehearsal.view)), None);
            Some(next.map_or_else(|| Arc::clone(known), Arc::new))
        }
    };
    let is_over = before.rehearsal.is_some() && rehearsal.is_none();
    let real = (shown.channel.as_ref(), shown.shown.as_ref());
    let next = next_of(before, real, views, is_over.then(|| before.last_rev()));
    let same = match (&before.rehearsal, &rehearsal) {
        (Some(before), Some(now)) => Arc::ptr_eq(before, now),
        (before, now) => before.is_none() && now.is_none(),
    };
    match next {
        Some(next) => Some(Frames { rehearsal, ..next }),
        None if same => None,
        None => Some(Frames { rehearsal, ..before.clone() }),
    }
}

/// The frames of one live after `before`; `None` when they would say the same, unless the state has to be said `again`
/// with a revision above another one.
fn next_of(
    before: &Frames,
    (channel, live): (Option<&Channel>, Option<&Arc<LiveView>>),
    views: &[Arc<ItemView<Tally>>],
    again: Option<u64>,
) -> Option<Frames> {
    let stale = views.iter().any(|view| view.stale && !view.unreadable);
    let title = channel.map(|channel| channel.title.clone()).unwrap_or_default();
    let rev = before.state.value.rev;
    let mut state = State { rev, channel_title: title, live: live.map(|live| live.state()), stale };
    let gone = channel.is_none();
    let state_changed = state != *before.state.value || gone != before.gone || again.is_some();
    let state = if state_changed {
        state.rev = again.unwrap_or(rev).max(rev) + 1;
        let text = encode(&ServerMessage::State(Box::new(state.clone())));
        Encoded { value: Arc::new(state), text }
    } else {
        before.state.clone()
    };
    let mut any_changed = state_changed;
    let same_live = before.view.as_ref().map(|live| live.live.live_id) == live.map(|live| live.live.live_id);
    let (mut jeux, mut highest) = (Vec::new(), before.highest);
    if let Some(live) = live {
        for (item, view) in live.items.iter().zip(views) {
            if view.rank.phase() == Phase::Pending {
                continue;
            }
            let known = before.jeux.iter().find(|known| same_live && known.jeu == item.item().jeu.0);
            let (frames, changed) = jeu_frames(live, item.item().jeu, view, known, before.highest);
            any_changed |= changed;
            highest = highest.max(frames.rev);
            jeux.push(frames);
        }
    }
    any_changed.then(|| Frames { state, jeux, view: live.cloned(), gone, rehearsal: None, highest })
}

/// The frames of a jeu: those known when nothing but the clock changed, new ones with the next revision otherwise.
fn jeu_frames(
    live: &LiveView,
    jeu: crate::domain::jeu::JeuId,
    view: &ItemView<Tally>,
    known: Option<&JeuFrames>,
    highest: u64,
) -> (JeuFrames, bool) {
    let mut frame = tally_frame(&live.live, jeu, view);
    frame.rev = known.map_or(highest, |known| known.rev) + 1;
    let Some(known) = known else { return (JeuFrames::new(&live.live, &frame), true) };
    let before = &known.admin.value;
    let same_numbers = (before.epoch, before.phase, before.voters) == (frame.epoch, frame.phase, frame.voters)
        && before.criteres == frame.criteres;
    let reasons = |audience| super::frames::mask(&live.live, &frame, audience);
    let same_masks = known.public.value.masked == reasons(super::frames::Audience::Public)
        && known.voter.value.masked == reasons(super::frames::Audience::Voter);
    if same_numbers && same_masks { (known.clone(), false) } else { (JeuFrames::new(&live.live, &frame), true) }
}
