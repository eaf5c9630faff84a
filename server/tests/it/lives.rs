//! Lives that end and go on again at inconvenient moments, on real stores: whatever was acknowledged is in the result.
//!
//! The conductors run in this process, on clocks that the tests move, because an end can be taken back for half a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bareme::cluster::ItemHandle;
use bareme::cluster::env::{Clock, Env};
use bareme::conductor::{Conductor, OpenJeux, Vote, Wanted};
use bareme::domain::bareme::presets;
use bareme::domain::channel::Channel;
use bareme::domain::jeu::{Jeu, JeuDetails, JeuId};
use bareme::domain::key::Slug;
use bareme::domain::live::{Live, LiveId, LiveStatus};
use bareme::domain::phase::Phase;
use bareme::domain::viewer::ViewerId;
use bareme::protocol::{Reply, Status};
use bareme::records::Records;
use bareme::store::memory::MemoryStore;
use bareme::store::sqlite::SqliteStore;
use bareme::store::{RecordKey, RecordKind, Store};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::harness::{Server, client, data_dir, eventually};
use crate::studio::Studio;

const JEU: JeuId = JeuId(1);

fn live_id(number: u128) -> LiveId {
    LiveId(Uuid::from_u128(number))
}

/// The machine's clocks, ahead by what a test says.
struct Ahead {
    system: Env,
    by_us: AtomicU64,
}

impl Ahead {
    fn by(duration: Duration) -> Arc<Self> {
        let clock = Self { system: Env::system(), by_us: AtomicU64::new(0) };
        clock.advance(duration);
        Arc::new(clock)
    }

    fn advance(&self, duration: Duration) {
        self.by_us.fetch_add(u64::try_from(duration.as_micros()).unwrap(), Ordering::SeqCst);
    }

    fn env(self: &Arc<Self>) -> Env {
        Env { clock: Arc::clone(self) as Arc<dyn Clock>, entropy: Env::system().entropy }
    }
}

impl Clock for Ahead {
    fn now_us(&self) -> u64 {
        self.system.now_us() + self.by_us.load(Ordering::SeqCst)
    }

    fn since_boot(&self) -> Duration {
        self.system.clock.since_boot() + Duration::from_micros(self.by_us.load(Ordering::SeqCst))
    }
}

/// A channel with drafts of one jeu each.
async fn prepare(store: &Arc<dyn Store>, drafts: u128) {
    let records = Records::new(Arc::clone(store));
    let slug = Slug::new("soir").unwrap();
    let channel = Channel {
        slug: slug.clone(),
        title: "Soir".into(),
        close_delay_ms: 0,
        open_live: None,
        last_live: None,
        takes_back: None,
        unfinished: BTreeSet::new(),
        created_at_us: 0,
    };
    records.put(&RecordKey::new(RecordKind::Channel, "", slug.as_str()), 0, &channel).await.unwrap();
    for number in 1..=drafts {
        let details = JeuDetails { title: "Jeu".into(), ..JeuDetails::default() };
        let live = Live {
            live_id: live_id(number),
            channel: slug.clone(),
            title: "Soirée".into(),
            bareme_id: Uuid::nil(),
            bareme: presets().remove(0),
            programme: vec![Jeu { jeu_id: JEU, details }],
            blind: false,
            minimum_votes: 1,
            status: LiveStatus::Draft,
            current: None,
            closes_at_us: BTreeMap::new(),
            delays_us: BTreeMap::new(),
            ends_at_us: None,
            created_at_us: 0,
            opened_at_us: None,
            closed_at_us: None,
            closed_with: BTreeSet::new(),
        };
        let key = RecordKey::new(RecordKind::Live, "", live_id(number).to_string());
        records.put(&key, 0, &live).await.unwrap();
    }
}

async fn vote(conductor: &Conductor, live: LiveId, who: u8) -> Reply {
    let (sender, reply) = oneshot::channel();
    let wanted = Wanted::Json(json!({"fun": 4}).as_object().cloned().unwrap());
    let vote = Vote { live: live.0, jeu: JEU.0, viewer: ViewerId([who; 16]), v: None, wanted, trace: None };
    conductor.submit(&vote, move |answer| drop(sender.send(answer)));
    reply.await.unwrap()
}

/// Votes of these viewers, on one conductor after the other, each until it is acknowledged.
async fn votes(conductors: &[&Conductor], live: LiveId, viewers: std::ops::Range<u8>) {
    for who in viewers {
        let conductor = conductors[usize::from(who) % conductors.len()];
        eventually("a vote is acknowledged", async || {
            (vote(conductor, live, who).await.status == Status::Ok).then_some(())
        })
        .await;
    }
}

async fn phase(conductor: &Conductor, live: LiveId) -> Phase {
    conductor.live_state(live).await.unwrap().programme[0].phase
}

async fn reaches(conductor: &Conductor, live: LiveId, wanted: Phase) {
    eventually("the jeu is in that phase here", async || {
        let is_here = conductor.view(live).is_some();
        (is_here && phase(conductor, live).await == wanted).then_some(())
    })
    .await;
}

/// Voters and revision.
async fn numbers(conductor: &Conductor, live: LiveId) -> (u64, u64) {
    let frame = conductor.numbers(live).await.unwrap().1.remove(0).frame;
    (frame.voters, frame.rev)
}

async fn retires(conductor: &Conductor, live: LiveId) {
    eventually("the live has no tasks any more", async || {
        let view = conductor.view(live);
        view.is_none_or(|view| view.items.iter().all(ItemHandle::is_fixed)).then_some(())
    })
    .await;
}

async fn ends(conductor: &Conductor, live: LiveId) {
    conductor.close_live(live, Some(0)).await.unwrap();
    reaches(conductor, live, Phase::Final).await;
}

/// Live A ends; B opens, takes 41 votes and ends; A is let go; the end of B is taken back, and ten more votes come. What
/// whoever starts next makes of B.
pub(crate) async fn of_two_lives(store: Arc<dyn Store>) -> u64 {
    let (a, b) = (live_id(1), live_id(2));
    prepare(&store, 2).await;
    let clock = Ahead::by(Duration::ZERO);
    let conductor = Conductor::start(Arc::clone(&store), clock.env()).await.unwrap();
    conductor.open_live(a, OpenJeux::First).await.unwrap();
    votes(&[&conductor], a, 0..1).await;
    ends(&conductor, a).await;
    clock.advance(Duration::from_secs(20));
    conductor.open_live(b, OpenJeux::First).await.unwrap();
    votes(&[&conductor], b, 0..41).await;
    ends(&conductor, b).await;
    // 41 s after the end of A, and 21 s after that of B.
    clock.advance(Duration::from_secs(21));
    retires(&conductor, a).await;
    conductor.reopen_live(b).await.unwrap();
    votes(&[&conductor], b, 41..51).await;
    assert_eq!(numbers(&conductor, b).await.0, 51);
    drop(conductor);
    let conductor = Conductor::start(store, clock.env()).await.unwrap();
    ends(&conductor, b).await;
    numbers(&conductor, b).await.0
}

/// Two servers and `lives` lives. Of the last one the end is taken back by the server whose clock is behind, when the other
/// one has let it go. Votes before and after come on both; then, with `killed`, the other one is gone and comes back.
pub(crate) async fn of_two_servers(
    store: Arc<dyn Store>,
    lives: u128,
    before: u8,
    after: u8,
    killed: bool,
) -> [u64; 2] {
    prepare(&store, lives).await;
    let (behind, ahead) = (Ahead::by(Duration::ZERO), Ahead::by(Duration::from_secs(30)));
    let one = Conductor::start(Arc::clone(&store), behind.env()).await.unwrap();
    let mut other = Conductor::start(Arc::clone(&store), ahead.env()).await.unwrap();
    for number in 1..lives {
        one.open_live(live_id(number), OpenJeux::First).await.unwrap();
        reaches(&other, live_id(number), Phase::Open).await;
        votes(&[&one, &other], live_id(number), 0..3).await;
        ends(&one, live_id(number)).await;
    }
    let live = live_id(lives);
    one.open_live(live, OpenJeux::First).await.unwrap();
    reaches(&other, live, Phase::Open).await;
    votes(&[&one, &other], live, 0..before).await;
    ends(&one, live).await;
    reaches(&other, live, Phase::Final).await;
    // A live is let go 40 s after a server heard of its end.
    ahead.advance(Duration::from_secs(41));
    retires(&other, live).await;
    let revisions = [numbers(&one, live).await.1, numbers(&other, live).await.1];
    one.reopen_live(live).await.unwrap();
    reaches(&other, live, Phase::Open).await;
    assert!(numbers(&one, live).await.1 >= revisions[0] && numbers(&other, live).await.1 >= revisions[1]);
    votes(&[&one, &other], live, before..before + after).await;
    if killed {
        drop(other);
        other = Conductor::start(store, ahead.env()).await.unwrap();
        reaches(&other, live, Phase::Open).await;
    }
    ends(&one, live).await;
    reaches(&other, live, Phase::Final).await;
    [numbers(&one, live).await.0, numbers(&other, live).await.0]
}

#[tokio::test]
async fn an_end_taken_back_after_an_older_live_was_let_go_loses_no_vote_in_memory() {
    assert_eq!(of_two_lives(Arc::new(MemoryStore::exclusive())).await, 51);
}

#[tokio::test]
async fn an_end_taken_back_after_an_older_live_was_let_go_loses_no_vote_on_a_file() {
    let dir = data_dir();
    assert_eq!(of_two_lives(Arc::new(SqliteStore::open(dir.path()).unwrap())).await, 51);
}

#[tokio::test]
async fn an_end_taken_back_after_another_server_let_the_live_go_loses_no_vote() {
    assert_eq!(of_two_servers(Arc::new(MemoryStore::new()), 1, 21, 6, false).await, [27, 27]);
    assert_eq!(of_two_servers(Arc::new(MemoryStore::new()), 2, 34, 10, true).await, [44, 44]);
}

async fn note(server: &Server, live: &str, jeu: u32) -> Value {
    let body = json!({"live_id": live, "jeu_id": jeu, "scores": {"fun": 4}});
    let answer = client().post(server.url("/api/note")).json(&body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    // Whoever was told that it is stored finds it counted.
    server.results(live).await
}

/// The one test that waits until the window is over by real clocks, in a real server that is killed after the last answer.
#[tokio::test]
async fn what_a_killed_server_acknowledged_after_an_end_was_taken_back_is_counted() {
    let dir = data_dir();
    let studio = Studio::new(dir.path());
    let server = Server::serve_of(module_path!(), dir.path()).await;
    let (a, jeux) = studio.live(&server, "soir", json!({}), "first").await;
    let (_, baremes) = studio.request(&server, Method::GET, "/api/admin/channels/soir/baremes", &Value::Null).await;
    let drive = |live: &str, action: &str| format!("/api/admin/lives/{live}/{action}");
    studio.post(&server, &drive(&a, "close"), json!({"delay_ms": 0})).await;
    let ended = std::time::Instant::now();
    let draft = json!({"title": "B", "bareme_id": baremes[0]["bareme_id"], "jeux": jeux});
    let b = studio.post(&server, "/api/admin/channels/soir/lives", draft).await["live_id"].as_str().unwrap().to_owned();
    // An end can be taken back for 30 s, and a live is let go 40 s after its end.
    tokio::time::sleep_until((ended + Duration::from_secs(20)).into()).await;
    studio.post(&server, &drive(&b, "open"), json!({"open_jeux": "first"})).await;
    for count in 1..=41 {
        assert_eq!(note(&server, &b, jeux[0]).await["jeux"][0]["voters"], count);
    }
    studio.post(&server, &drive(&b, "close"), json!({"delay_ms": 0})).await;
    tokio::time::sleep_until((ended + Duration::from_secs(43)).into()).await;
    studio.post(&server, &drive(&b, "reopen"), Value::Null).await;
    for count in 42..=51 {
        assert_eq!(note(&server, &b, jeux[0]).await["jeux"][0]["voters"], count);
    }
    server.kill();
    let server = Server::serve_of(module_path!(), dir.path()).await;
    studio.post(&server, &drive(&b, "close"), json!({"delay_ms": 0})).await;
    let results = eventually("the result is there", async || {
        let results = server.results(&b).await;
        (results["jeux"][0]["phase"] == "final").then_some(results)
    })
    .await;
    assert_eq!(results["jeux"][0]["voters"], 51, "{results}");
    for alarm in ["tally_drift_total", "acknowledged_missing_total", "journal_conflicts_total"] {
        assert_eq!(server.metric(alarm).await, 0.0, "{alarm}");
    }
    server.stop().await;
}
