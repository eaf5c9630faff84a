//! Admins who drive lives from any pod, at any moment, two of them at once, and some of them too late.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use super::World;
use crate::conductor::{ConductError, Conductor, OpenJeux};
use crate::domain::jeu::{Jeu, JeuId};
use crate::domain::live::{Live, LiveId, LiveStatus};
use crate::domain::phase::Phase;
use crate::protocol::LiveState;
use crate::store::{RecordKey, RecordKind, Store as _};

/// What an admin can ask for.
#[derive(Debug, Clone, Copy)]
enum Action {
    Make,
    Open(OpenJeux),
    Next(Option<u64>, bool),
    OpenJeu(JeuId),
    Follow(JeuId),
    CloseJeu(JeuId, Option<u64>),
    ReopenJeu(JeuId),
    End(Option<u64>),
    /// Takes the end back, or the announcement of one.
    Undo,
    Rename(u64),
    /// Takes the last jeu out of the programme, or puts all of them back.
    Shorten(bool),
    Delete,
}

/// One person at the admin page.
pub(super) struct Admin {
    world: Arc<World>,
    random: SmallRng,
    number: u64,
    pod: usize,
    pace_ms: u64,
}

impl Admin {
    pub(super) fn new(world: &Arc<World>, number: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(world.seed ^ (number << 24) ^ 0xAD_0145);
        let pod = random.random_range(0..world.slots());
        let pace_ms = [600, 2000, 4000][random.random_range(0..3)];
        Self { world: Arc::clone(world), random, number, pod, pace_ms }
    }

    /// The first admin makes sure that something goes on; the others press whatever they like.
    pub(super) async fn run(mut self) {
        if self.number > 0 {
            let until_ms = self.world.now_ms() + self.random.random_range(3000..12_000);
            return self.play(until_ms).await;
        }
        let lives: Vec<LiveId> = self.world.plan().lives.iter().map(|live| live.live_id).collect();
        let first = lives[0];
        self.on_air(first).await;
        let until_ms = self.world.now_ms() + self.random.random_range(1500..6000);
        self.play(until_ms).await;
        if self.world.plan().is_late {
            self.come_late(&lives).await;
        }
        self.pause(500, 3000).await;
    }

    async fn pause(&mut self, from_ms: u64, to_ms: u64) {
        let ms = self.random.random_range(from_ms..to_ms);
        sleep(Duration::from_millis(ms)).await;
    }

    /// Presses one button after the other.
    async fn play(&mut self, until_ms: u64) {
        while self.world.now_ms() < until_ms {
            self.pause(50, self.pace_ms).await;
            let Some((live_id, action)) = self.idea() else { continue };
            let done = self.press(live_id, action).await;
            if !done && self.random.random_bool(0.5) {
                self.pause(50, 1000).await;
                self.press(live_id, action).await;
            }
        }
    }

    /// Makes a live and puts it on air, with a few tries.
    async fn on_air(&mut self, live_id: LiveId) {
        let jeux = [OpenJeux::First, OpenJeux::First, OpenJeux::All][self.random.random_range(0..3)];
        for _ in 0..8 {
            if self.press(live_id, Action::Make).await && self.press(live_id, Action::Open(jeux)).await {
                return;
            }
            self.pause(100, 600).await;
        }
    }

    async fn insist(&mut self, live_id: LiveId, action: Action) {
        for _ in 0..5 {
            if self.press(live_id, action).await {
                return;
            }
            self.pause(50, 500).await;
        }
    }

    /// Ends a live, perhaps has another one meanwhile, and takes the end of one of them back when the window of that is
    /// nearly over, or when that of the other one is.
    async fn come_late(&mut self, lives: &[LiveId]) {
        let first = lives[0];
        let second = lives.get(1).copied().filter(|_| self.random.random_bool(0.6));
        self.insist(first, Action::End(Some(0))).await;
        let mut undone = first;
        if let Some(second) = second {
            self.pause(100, 4000).await;
            self.on_air(second).await;
            self.pause(1000, 5000).await;
            self.insist(second, Action::End(Some(0))).await;
            if self.random.random_bool(0.7) {
                undone = second;
            }
        }
        let ended_ms = |world: &World, live_id| world.claims().ended_ms.get(&live_id).copied();
        let since = [first, undone][self.random.random_range(0..2)];
        let Some(ended_ms) = ended_ms(&self.world, since) else { return };
        let after_ms = match self.random.random_range(0..4) {
            0 => self.random.random_range(0..29_000),
            _ => self.random.random_range(29_000..31_000),
        };
        self.world.sleep_until_ms(ended_ms + after_ms).await;
        for _ in 0..3 {
            if self.press(undone, Action::Undo).await {
                break;
            }
            self.pause(20, 300).await;
        }
        self.pause(1500, 4500).await;
    }

    /// Something that makes sense, mostly.
    fn idea(&mut self) -> Option<(LiveId, Action)> {
        let lives = &self.world.plan().lives;
        let planned = &lives[self.random.random_range(0..lives.len())];
        let (live_id, jeux) = (planned.live_id, planned.programme.len());
        let jeu = JeuId(self.random.random_range(1..=u32::try_from(jeux).unwrap_or(1)));
        let status = self.world.claims().status(live_id);
        let delay = match self.random.random_range(0..4) {
            0 => None,
            1 => Some(self.random.random_range(100..3000)),
            _ => Some(0),
        };
        let asks_current = self.random.random_bool(0.5);
        let of_all = [OpenJeux::First, OpenJeux::All, OpenJeux::None][self.random.random_range(0..3)];
        let number = self.random.random_range(0..1000);
        let anything = self.random.random_bool(0.15);
        let place = self.random.random_range(0..100);
        let action = match (status, anything) {
            (None, false) => Action::Make,
            (Some(LiveStatus::Draft), false) => match place {
                0..70 => Action::Open(of_all),
                70..80 => Action::Rename(number),
                80..90 => Action::Shorten(asks_current),
                _ => Action::Delete,
            },
            (Some(LiveStatus::Closed), false) => Action::Undo,
            (Some(LiveStatus::Open), _) | (_, true) => match place {
                0..20 => Action::Next(delay, asks_current),
                20..30 => Action::OpenJeu(jeu),
                30..34 => Action::Follow(jeu),
                34..50 => Action::CloseJeu(jeu, delay),
                50..66 => Action::ReopenJeu(jeu),
                66..78 => Action::End(delay),
                78..85 => Action::Undo,
                85..88 => Action::Rename(number),
                88..94 => Action::Shorten(asks_current),
                94..97 => Action::Open(of_all),
                97..98 => Action::Delete,
                _ => Action::Make,
            },
        };
        Some((live_id, action))
    }

    /// Whether it was done, as far as this admin knows.
    async fn press(&mut self, live_id: LiveId, action: Action) -> bool {
        if self.random.random_bool(0.4) {
            self.pod = self.random.random_range(0..self.world.slots());
        }
        let Some(pod) = self.world.pod(self.pod) else {
            self.pod = self.random.random_range(0..self.world.slots());
            return false;
        };
        let patience = Duration::from_millis(self.random.random_range(1000..12_000));
        let cancels = self.random.random_bool(0.5);
        let world = Arc::clone(&self.world);
        if let Action::Make = action {
            let planned = world.plan().lives.iter().find(|live| live.live_id == live_id);
            let body = planned.and_then(|live| serde_json::to_string(live).ok()).unwrap_or_default();
            let store = Arc::clone(&pod.conducted().store);
            let key = RecordKey::new(RecordKind::Live, "", live_id.to_string());
            let what = format!("{live_id} Make");
            let made = pod.ask(&world, &what, None, patience, cancels, |_| async move {
                store.put_record(&key, 0, body).await.map_err(ConductError::from)
            });
            return matches!(made.await, Some(Ok(_)));
        }
        let undoes = matches!(action, Action::Undo).then_some(live_id);
        let what = format!("{live_id} {action:?}");
        let asked =
            pod.ask(&world, &what, undoes, patience, cancels, |conductor| carry_out(conductor, live_id, action));
        matches!(asked.await, Some(Ok(_)))
    }
}

async fn carry_out(conductor: Conductor, live_id: LiveId, action: Action) -> Result<Option<LiveState>, ConductError> {
    let state = match action {
        Action::Open(jeux) => conductor.open_live(live_id, jeux).await,
        Action::Next(delay_ms, asks_current) => {
            let current = conductor.view(live_id).and_then(|view| view.live.current);
            conductor.next(live_id, delay_ms, current.filter(|_| asks_current)).await
        }
        Action::OpenJeu(jeu) => conductor.open_jeu(live_id, jeu).await,
        Action::Follow(jeu) => conductor.set_current(live_id, jeu).await,
        Action::CloseJeu(jeu, delay_ms) => conductor.close_jeu(live_id, jeu, delay_ms).await,
        Action::ReopenJeu(jeu) => conductor.reopen_jeu(live_id, jeu).await,
        Action::End(delay_ms) => conductor.close_live(live_id, delay_ms).await,
        Action::Undo => conductor.reopen_live(live_id).await,
        Action::Rename(number) => {
            let rename = |live: &mut Live| {
                live.title = number.to_string();
                Ok(())
            };
            conductor.edit_live(live_id, rename).await
        }
        Action::Shorten(is_short) => return reprogram(&conductor, live_id, is_short).await.map(Some),
        Action::Delete => return conductor.delete_live(live_id).await.map(|()| None),
        Action::Make => return Ok(None),
    };
    state.map(Some)
}

/// Edits the programme, as `PATCH /api/admin/lives/{live_id}` does.
async fn reprogram(conductor: &Conductor, live_id: LiveId, is_short: bool) -> Result<LiveState, ConductError> {
    let shown = conductor.live_state(live_id).await?;
    let before: Vec<Jeu> = shown.programme.iter().map(|entry| entry.jeu.clone()).collect();
    let mut programme = before.clone();
    if is_short && programme.len() > 1 {
        let must_stay = shown.programme.last().is_some_and(|entry| {
            entry.phase != Phase::Pending || entry.epoch > 0 || shown.current == Some(entry.jeu.jeu_id.0)
        });
        if must_stay {
            return Err(ConductError::programme_changed());
        }
        programme.pop();
    } else {
        programme.rotate_left(1);
    }
    let edit = |live: &mut Live| {
        if live.status == LiveStatus::Closed {
            return Err(ConductError::programme_changed());
        }
        let stays = |jeu: JeuId| programme.iter().any(|kept| kept.jeu_id == jeu);
        let opened = conductor.view(live_id).is_some_and(|view| {
            let mut left = view.items.iter().filter(|item| !stays(item.item().jeu));
            left.any(|item| item.view().rank.phase() != Phase::Pending)
        });
        if live.programme != before || opened || live.current.is_some_and(|current| !stays(current)) {
            return Err(ConductError::programme_changed());
        }
        live.programme.clone_from(&programme);
        Ok(())
    };
    conductor.edit_live(live_id, edit).await
}
