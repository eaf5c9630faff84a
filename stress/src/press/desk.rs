//! One admin of a channel, on a server of its own, who presses what comes to mind.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bareme::domain::live::LiveStatus;
use bareme::protocol::LiveState;
use rand::RngExt as _;
use rand_pcg::Pcg64;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{IMPATIENT, World, random_of};
use crate::admin::Api;

/// The end of a live can be taken back for so long.
const UNDO_WINDOW: Duration = Duration::from_secs(30);

struct Desk {
    world: Arc<World>,
    api: Api,
    random: Pcg64,
    channel: String,
}

/// Presses until the time is over.
pub(super) async fn run(world: Arc<World>, channel: u32, number: u32) -> Result<()> {
    let mut servers = world.servers(IMPATIENT)?;
    let place = usize::try_from(number)? % servers.len();
    let (random, channel) = (random_of(world.request.seed, 1, number), world.channel(channel));
    let mut desk = Desk { api: servers.swap_remove(place), world, random, channel };
    loop {
        let pause = desk.random.random_range(50..1500);
        if !Arc::clone(&desk.world).pause(Duration::from_millis(pause)).await {
            return Ok(());
        }
        let Ok(live) = desk.api.live_of(&desk.channel).await else { continue };
        desk.world.seen(&live);
        if live.status == LiveStatus::Open {
            desk.drive(&live).await;
        } else {
            desk.begin(&live).await;
        }
    }
}

impl Desk {
    async fn press(&self, what: &str, method: Method, path: &str, body: &Value) -> Option<Value> {
        let (how, answer) = match self.api.press(&method, path, body).await {
            Ok((status, answer)) if status.is_success() => ("done".to_owned(), Some(answer)),
            Ok((status, answer)) => (answer["code"].as_str().unwrap_or(status.as_str()).to_owned(), None),
            Err(_) => ("no answer".to_owned(), None),
        };
        self.world.pressed(what, &how);
        answer
    }

    /// A delay for a closing: mostly none.
    fn delay(&mut self) -> Value {
        let delays = [0, 0, 0, 300, 2000];
        json!({"delay_ms": delays[self.random.random_range(0..delays.len())]})
    }

    /// Something with a live that is on air.
    async fn drive(&mut self, live: &LiveState) {
        let at = format!("/api/admin/lives/{}", live.live_id);
        let jeu = live.programme[self.random.random_range(0..live.programme.len())].jeu.jeu_id.0;
        let (post, delay) = (Method::POST, self.delay());
        match self.random.random_range(0..100) {
            0..25 => self.press("next", post, &format!("{at}/next"), &delay).await.map(drop),
            25..40 => self.press("close jeu", post, &format!("{at}/jeux/{jeu}/close"), &delay).await.map(drop),
            40..55 => self.press("reopen jeu", post, &format!("{at}/jeux/{jeu}/reopen"), &json!({})).await.map(drop),
            55..65 => self.press("open jeu", post, &format!("{at}/jeux/{jeu}/open"), &json!({})).await.map(drop),
            65..70 => self.press("current", post, &format!("{at}/current"), &json!({"jeu_id": jeu})).await.map(drop),
            70..76 => {
                let title = json!({"title": format!("Pressé {}", self.random.random_range(0..1000))});
                self.press("edit", Method::PATCH, &at, &title).await.map(drop)
            }
            76..80 => self.press("take back", post, &format!("{at}/reopen"), &json!({})).await.map(drop),
            _ => self.end(live.live_id, &delay).await,
        };
    }

    /// Ends a live and, mostly, takes that back: soon, or at the last moment.
    async fn end(&mut self, live: Uuid, delay: &Value) -> Option<()> {
        let at = format!("/api/admin/lives/{live}");
        self.press("end", Method::POST, &format!("{at}/close"), delay).await?;
        let late = UNDO_WINDOW.saturating_sub(Duration::from_millis(self.random.random_range(20..800)));
        let wait = match self.random.random_range(0..10) {
            0..3 => return None,
            3..6 => Duration::from_millis(self.random.random_range(0..3000)),
            6..7 => Duration::from_millis(self.random.random_range(3000..28_000)),
            _ => late,
        };
        if self.world.pause(wait).await {
            self.press("undo", Method::POST, &format!("{at}/reopen"), &json!({})).await?;
        }
        None
    }

    /// A new live, or the last one again.
    async fn begin(&mut self, last: &LiveState) {
        match self.random.random_range(0..10) {
            0..4 => {}
            4..6 => {
                let path = format!("/api/admin/lives/{}/reopen", last.live_id);
                self.press("undo", Method::POST, &path, &json!({})).await;
            }
            _ => self.make().await.unwrap_or_default(),
        }
    }

    async fn make(&mut self) -> Option<()> {
        let at = format!("/api/admin/channels/{}", self.channel);
        let baremes = self.press("look", Method::GET, &format!("{at}/baremes"), &Value::Null).await?;
        let jeux = self.press("look", Method::GET, &format!("{at}/jeux"), &Value::Null).await?;
        let jeux: Vec<_> = jeux.as_array()?.iter().map(|jeu| jeu["jeu_id"].clone()).collect();
        let live = json!({"title": "Pressé", "bareme_id": baremes[0]["bareme_id"], "jeux": jeux});
        let live = self.press("make", Method::POST, &format!("{at}/lives"), &live).await?;
        let path = format!("/api/admin/lives/{}", live["live_id"].as_str()?);
        if self.random.random_bool(0.1) {
            return self.press("delete", Method::DELETE, &path, &Value::Null).await.map(drop);
        }
        let open = ["first", "all", "none"][self.random.random_range(0..3)];
        self.press("open", Method::POST, &format!("{path}/open"), &json!({"open_jeux": open})).await.map(drop)
    }
}
