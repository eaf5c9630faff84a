//! What must hold, checked while a simulated run goes on and after it.
//!
//! It believes nobody: it remembers what viewers sent and heard, what reached which replica, and makes every map and
//! every number anew from the bytes of the chunks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::network::NODES;
use super::quorum::note_row;
use super::replica::{Cell, Key, Replica};
use super::{World, ballot};
use crate::cluster::chunk;
use crate::cluster::close::EpochResult;
use crate::cluster::mutant::with_mutant;
use crate::cluster::{ItemView, Outcome};
use crate::domain::ballot::{Ballot as _, Entry};
use crate::domain::phase::{Phase, Rank};
use crate::domain::tally::Tally;
use crate::domain::viewer::ViewerId;
use crate::notebook::Notebook;
use crate::protocol::MAX_VERSION_AHEAD_US;
use crate::store::{ItemId, LaneId, Payload, WriterId};

/// A note as viewers send it, in the order in which notes win.
pub(super) type Wish = (u64, Payload);

/// What is counted: one entry for each viewer.
pub(super) type Content = BTreeMap<ViewerId, Wish>;

/// A view that is not marked stale shows what was acknowledged so long ago: a lease, a tick, and a sample of ours.
const FRESH_MS: u64 = 1150;

/// Most violations that are remembered; the first says most.
const MAX_VIOLATIONS: usize = 8;

struct Chunk {
    bytes: Bytes,
    entries: Vec<(ViewerId, Wish)>,
    /// Which replicas have it.
    nodes: u8,
    /// When the last of them got it.
    at_ms: u64,
}

struct Ack {
    at_ms: u64,
    viewer: ViewerId,
    wish: Wish,
}

struct Sending {
    writer: WriterId,
    at_ms: u64,
    /// The best note of the viewer that this pod had acknowledged by then.
    acknowledged: Option<Wish>,
}

#[derive(Default)]
struct Shown {
    vector: BTreeMap<LaneId, u64>,
    digest: String,
    as_of_us: u64,
    rank: Rank,
    revision: u64,
    checked_acks: usize,
    claimed_acks: usize,
    went_on_ms: u64,
}

/// Figures of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) stale: u64,
    pub(crate) refused: u64,
    pub(crate) chunks: u64,
    pub(crate) views: u64,
    pub(crate) alarms: u64,
    /// What admins asked for.
    pub(crate) presses: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.stale += other.stale;
        self.refused += other.refused;
        self.chunks += other.chunks;
        self.views += other.views;
        self.alarms += other.alarms;
        self.presses += other.presses;
    }
}

/// What must hold of one item.
pub(super) struct Oracle {
    item: ItemId,
    pub(super) violations: Vec<(u64, String)>,
    pub(super) figures: Figures,
    sent: BTreeMap<ViewerId, BTreeSet<Wish>>,
    sendings: BTreeMap<u64, Sending>,
    acks: Vec<Ack>,
    acknowledged: BTreeMap<(WriterId, ViewerId), Wish>,
    /// The greatest version that a pod told a viewer to use.
    named: BTreeMap<(WriterId, ViewerId), u64>,
    chunks: BTreeMap<(LaneId, u64), Chunk>,
    places: HashMap<(ViewerId, Wish), Vec<(LaneId, u64)>>,
    materialised: BTreeMap<LaneId, u64>,
    /// When a heartbeat of a writer last reached a replica.
    beats: BTreeMap<WriterId, u64>,
    digests: HashMap<Vec<(LaneId, u64)>, String>,
    shown: BTreeMap<WriterId, Shown>,
    /// The first body of each epoch that any replica had, and when.
    results: BTreeMap<u64, (u64, Bytes)>,
    ranks: BTreeMap<Rank, u64>,
    now_ms: u64,
}

fn digest_and_tally(content: &Content) -> (String, Tally) {
    with_mutant(None, || {
        let mut notebook = Notebook::new(ballot());
        for (viewer, (version, payload)) in content {
            notebook.merge(*viewer, Entry { version: *version, payload });
        }
        let mut tally = ballot().empty();
        content.values().for_each(|(_, payload)| ballot().add(&mut tally, payload));
        (notebook.digest().to_string(), tally)
    })
}

fn dominated(content: &Content, viewer: ViewerId, wish: &Wish) -> bool {
    content.get(&viewer).is_some_and(|counted| counted >= wish)
}

fn merge(content: &mut Content, viewer: ViewerId, wish: &Wish) {
    let kept = content.entry(viewer).or_insert_with(|| wish.clone());
    if wish > kept {
        *kept = wish.clone();
    }
}

/// What a QUORUM of these two replicas says of `notes`.
fn notes_of(item: ItemId, replicas: [&Replica; 2]) -> Content {
    let mut content = Content::new();
    let (from, to) = (Key::Note(item, ViewerId([0; 16])), Key::Note(item, ViewerId([0xFF; 16])));
    for row in
        replicas.iter().flat_map(|replica| replica.range(from..=to)).filter_map(|(key, cell)| note_row(key, cell))
    {
        merge(&mut content, row.viewer, &(row.version, row.payload));
    }
    content
}

impl Oracle {
    pub(super) fn new(item: ItemId) -> Self {
        Self {
            item,
            violations: Vec::new(),
            figures: Figures::default(),
            sent: BTreeMap::new(),
            sendings: BTreeMap::new(),
            acks: Vec::new(),
            acknowledged: BTreeMap::new(),
            named: BTreeMap::new(),
            chunks: BTreeMap::new(),
            places: HashMap::new(),
            materialised: BTreeMap::new(),
            beats: BTreeMap::new(),
            digests: HashMap::new(),
            shown: BTreeMap::new(),
            results: BTreeMap::new(),
            ranks: BTreeMap::new(),
            now_ms: 0,
        }
    }

    pub(super) fn violated(&mut self, what: &str) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push((self.now_ms, what.to_owned()));
        }
    }

    pub(super) fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    // Viewers ----------------------------------------------------------------------------------------------------

    pub(super) fn sent(&mut self, now_ms: u64, writer: WriterId, viewer: ViewerId, v: u64, payload: &Payload) -> u64 {
        self.figures.sent += 1;
        self.sent.entry(viewer).or_default().insert((v, payload.clone()));
        let acknowledged = self.acknowledged.get(&(writer, viewer)).cloned();
        self.sendings.insert(self.figures.sent, Sending { writer, at_ms: now_ms, acknowledged });
        self.figures.sent
    }

    fn acknowledged(&mut self, writer: WriterId, viewer: ViewerId, wish: Wish, sending: Option<Sending>) {
        self.figures.acknowledged += 1;
        let on_quorum =
            |place: &(LaneId, u64)| self.chunks.get(place).is_some_and(|chunk| chunk.nodes.count_ones() >= 2);
        let places = self.places.get(&(viewer, wish.clone()));
        if !places.is_some_and(|places| places.iter().any(on_quorum)) {
            self.violated(&format!("I1: {wish:?} of {viewer} was acknowledged and is on no QUORUM"));
        }
        if sending.and_then(|sending| sending.acknowledged).is_some_and(|newer| newer > wish) {
            self.violated(&format!("{wish:?} of {viewer} was acknowledged by a pod that had acknowledged a newer one"));
        }
        let best = self.acknowledged.entry((writer, viewer)).or_insert_with(|| wish.clone());
        if wish > *best {
            best.clone_from(&wish);
        }
        self.acks.push(Ack { at_ms: self.now_ms, viewer, wish });
    }

    /// Whether a note may have been held that lets its viewer name this version: the one before, or any later one.
    fn follows_a_note(&self, viewer: ViewerId, v: u64, payload: &Payload) -> bool {
        let lets = |(wish, places): (&(ViewerId, Wish), &Vec<_>)| {
            let (held, (version, noted)) = wish;
            let is_itself = (*version, noted) == (v, payload) && places.len() < 2;
            *held == viewer && version.saturating_add(1) >= v && !is_itself
        };
        self.places.iter().any(lets)
    }

    // Replicas ---------------------------------------------------------------------------------------------------

    pub(super) fn applied(&mut self, replicas: &[Replica; NODES], node: usize, cells: &[(Key, Cell)]) {
        for (key, (_, value)) in cells {
            match *key {
                Key::Chunk(_, lane, seq) => self.chunk_applied(lane, seq, node, value),
                Key::Materialised(_, lane) => self.materialised(replicas, lane, value),
                Key::Result(_, epoch) => {
                    let (_, first) = self.results.entry(epoch).or_insert((self.now_ms, value.clone()));
                    if first != value {
                        self.violated(&format!("epoch {epoch} has two results"));
                    }
                }
                Key::Rank(..) => {
                    let rank = value.as_ref().try_into().map(u64::from_be_bytes).unwrap_or_default();
                    self.ranks.entry(Rank(rank)).or_insert(self.now_ms);
                }
                Key::Beat(_, writer) => drop(self.beats.insert(writer, self.now_ms)),
                Key::Note(..) | Key::Writer(..) | Key::Channel(_) | Key::Live(_) => {}
            }
        }
    }

    fn chunk_applied(&mut self, lane: LaneId, seq: u64, node: usize, bytes: &Bytes) {
        if let Some(chunk) = self.chunks.get_mut(&(lane, seq)) {
            if chunk.nodes & (1 << node) == 0 {
                chunk.nodes |= 1 << node;
                chunk.at_ms = self.now_ms;
            }
            if chunk.bytes != bytes {
                self.violated(&format!("chunk {seq} of {lane:?} has two contents"));
            }
            return;
        }
        let Ok((_, entries)) = chunk::read(bytes) else {
            return self.violated(&format!("chunk {seq} of {lane:?} is damaged"));
        };
        let owned =
            |(viewer, entry): (ViewerId, Entry<'_>)| (viewer, (entry.version, Payload::from_slice(entry.payload)));
        let entries: Vec<_> = entries.into_iter().map(owned).collect();
        for (viewer, wish) in &entries {
            if !self.sent.get(viewer).is_some_and(|sent| sent.contains(wish)) {
                self.violated(&format!("{wish:?} of {viewer} is in a journal and nobody sent it"));
            }
            self.places.entry((*viewer, wish.clone())).or_default().push((lane, seq));
        }
        self.figures.chunks += 1;
        self.chunks.insert((lane, seq), Chunk { bytes: bytes.clone(), entries, nodes: 1 << node, at_ms: self.now_ms });
    }

    /// I2: what is called materialised is dominated on a QUORUM of `notes`.
    fn materialised(&mut self, replicas: &[Replica; NODES], lane: LaneId, value: &Bytes) {
        let end: u64 = value.as_ref().try_into().map(u64::from_be_bytes).unwrap_or_default();
        let from = self.materialised.get(&lane).copied().unwrap_or(0);
        for seq in from..end {
            let Some(chunk) = self.chunks.get(&(lane, seq)) else {
                return self.violated(&format!("I2: chunk {seq} of {lane:?} is called materialised and is nowhere"));
            };
            let missing = chunk.entries.iter().find(|(viewer, wish)| {
                let key = Key::Note(self.item, *viewer);
                let has = |replica: &&Replica| {
                    let row = replica.get(&key).and_then(|cell| note_row(&key, cell));
                    row.is_some_and(|row| (row.version, row.payload) >= *wish)
                };
                replicas.iter().filter(has).count() < 2
            });
            if let Some((viewer, wish)) = missing.cloned() {
                return self.violated(&format!("I2: {wish:?} of {viewer} is called materialised and is not"));
            }
        }
        self.materialised.insert(lane, from.max(end));
    }

    // Pods -------------------------------------------------------------------------------------------------------

    pub(super) fn drifted(&mut self, writer: WriterId) {
        self.figures.alarms += 1;
        self.violated(&format!("{writer} raised the alarm"));
    }

    pub(super) fn forget(&mut self, writer: WriterId) {
        self.shown.remove(&writer);
        self.sendings.retain(|_, sending| sending.writer != writer);
    }

    /// A task of the item begins on a pod.
    pub(super) fn begins(&mut self, writer: WriterId) {
        if let Some(shown) = self.shown.remove(&writer) {
            self.shown.insert(writer, Shown { went_on_ms: shown.went_on_ms, ..Shown::default() });
        }
    }

    pub(super) fn goes_on(&mut self, writer: WriterId, now_ms: u64) {
        self.shown.entry(writer).or_default().went_on_ms = now_ms;
    }

    fn content(&self, vector: impl IntoIterator<Item = (LaneId, u64)>) -> Option<Content> {
        let mut content = Content::new();
        for (lane, end) in vector {
            for seq in 0..end {
                let chunk = self.chunks.get(&(lane, seq))?;
                chunk.entries.iter().for_each(|(viewer, wish)| merge(&mut content, *viewer, wish));
            }
        }
        Some(content)
    }

    /// I3, that a view never goes back, and that it has everything acknowledged before the moment it names.
    pub(super) fn published(
        &mut self,
        writer: WriterId,
        vector: &BTreeMap<LaneId, u64>,
        digest: &str,
        as_of_us: u64,
        claims_ms: Option<u64>,
    ) {
        self.figures.views += 1;
        self.check_claim(writer, vector, claims_ms.unwrap_or(0));
        let shown = self.shown.entry(writer).or_default();
        if std::mem::replace(&mut shown.as_of_us, as_of_us) > as_of_us {
            self.violated(&format!("the moment that the view of {writer} names went back"));
        }
        let shown = self.shown.entry(writer).or_default();
        let goes_back = shown.vector.iter().any(|(lane, chunks)| vector.get(lane).is_none_or(|now| now < chunks));
        shown.vector.clone_from(vector);
        digest.clone_into(&mut shown.digest);
        if goes_back {
            self.violated(&format!("the view of {writer} went back"));
        }
        let key: Vec<_> = vector.iter().map(|(lane, chunks)| (*lane, *chunks)).collect();
        let known = self.digests.get(&key);
        match known {
            Some(known) if known != digest => {
                self.violated(&format!("I3: {writer} made another map of the same chunks"));
            }
            Some(_) => {}
            None => {
                // Every one costs too much.
                if self.digests.len().is_multiple_of(16) {
                    let content = self.content(key.iter().copied());
                    match content.map(|content| digest_and_tally(&content).0) {
                        None => self.violated(&format!("{writer} shows chunks that are nowhere")),
                        Some(own) if own != digest => {
                            self.violated(&format!("I3: the map of {writer} is not what its chunks say"));
                        }
                        Some(_) => {}
                    }
                }
                self.digests.insert(key, digest.to_owned());
            }
        }
    }

    fn check_claim(&mut self, writer: WriterId, vector: &BTreeMap<LaneId, u64>, claims_ms: u64) {
        let from = self.shown.get(&writer).map_or(0, |shown| shown.claimed_acks);
        let mut checked = from;
        while let Some(ack) = self.acks.get(checked).filter(|ack| ack.at_ms < claims_ms) {
            if !self.shows(vector, ack) {
                let (viewer, wish) = (ack.viewer, ack.wish.clone());
                self.violated(&format!(
                    "{writer} claims to show all until {claims_ms} ms, and not {wish:?} of {viewer}"
                ));
                break;
            }
            checked += 1;
        }
        self.shown.entry(writer).or_default().claimed_acks = checked;
    }

    /// Whether chunks up to these have what was acknowledged.
    fn shows(&self, vector: &BTreeMap<LaneId, u64>, ack: &Ack) -> bool {
        let places = self.places.get(&(ack.viewer, ack.wish.clone()));
        let has = |(lane, seq): &(LaneId, u64)| vector.get(lane).is_some_and(|chunks| chunks > seq);
        places.is_some_and(|places| places.iter().any(has))
    }

    /// What a running pod shows at this moment.
    pub(super) fn looked_at(&mut self, writer: WriterId, view: &ItemView<Tally>, thoroughly: bool) {
        let now_ms = self.now_ms;
        let shown = self.shown.entry(writer).or_default();
        let goes_back = view.rank < shown.rank || view.revision < shown.revision;
        (shown.rank, shown.revision) = (view.rank, view.revision);
        let just_went_on = now_ms < shown.went_on_ms + 200;
        let mut unseen = None;
        let (vector, mut checked) = (shown.vector.clone(), shown.checked_acks);
        if !view.stale && view.loaded && view.rank.phase() == Phase::Open && !just_went_on {
            while let Some(ack) = self.acks.get(checked).filter(|ack| ack.at_ms + FRESH_MS < now_ms) {
                if !self.shows(&vector, ack) {
                    unseen = Some((ack.viewer, ack.wish.clone()));
                    break;
                }
                checked += 1;
            }
        }
        self.shown.entry(writer).or_default().checked_acks = checked;
        if goes_back {
            self.violated(&format!("the phase or the revision of {writer} went back"));
        }
        if let Some((viewer, wish)) = unseen {
            self.violated(&format!("{writer} shows no {wish:?} of {viewer} and does not say that it is stale"));
        }
        match view.rank.phase() {
            Phase::Final => {
                let result = self.result(view.rank.epoch());
                if result.is_none_or(|result| result.tally != view.tally) {
                    self.violated(&format!("{writer} shows a final tally that is not the result's"));
                }
            }
            _ if thoroughly && view.loaded => {
                let tally = self.content(vector).map(|content| digest_and_tally(&content).1);
                if tally.is_none_or(|tally| tally != view.tally) {
                    self.violated(&format!("{writer} shows numbers that are not those of its chunks"));
                }
            }
            _ => {}
        }
    }

    /// The numbers of an item that is over, on a pod that runs no task of it.
    pub(super) fn looked_at_result(&mut self, writer: WriterId, view: &ItemView<Tally>) {
        let result = self.result(view.rank.epoch());
        if result.is_none_or(|result| result.tally != view.tally) {
            self.violated(&format!("{writer} shows numbers of the past that are not the result's"));
        }
    }

    fn result(&self, epoch: u64) -> Option<EpochResult<Tally>> {
        let (_, body) = self.results.get(&epoch)?;
        let sealed: serde_json::Value = serde_json::from_slice(body).ok()?;
        serde_json::from_value(sealed.get("result")?.clone()).ok()
    }

    /// Whether a pod that lives owes an answer.
    pub(super) fn owes_answers(&self, since_ms: u64) -> bool {
        self.sendings.values().any(|sending| sending.at_ms < since_ms)
    }

    // After the run ----------------------------------------------------------------------------------------------

    /// Every lane of a writer that is dead is materialised, as far as it is on a QUORUM.
    pub(super) fn check_adopted(&mut self, replicas: &[Replica; NODES], alive: &[WriterId]) {
        // A heartbeat that was long on its way makes its writer look alive for longer.
        let dead_ms = self.now_ms.saturating_sub(13_000);
        if self.beats.iter().any(|(writer, at_ms)| !alive.contains(writer) && *at_ms > dead_ms) {
            return;
        }
        // What arrived this late may still be on its way into `notes`.
        let settled_ms = self.now_ms.saturating_sub(4000);
        let dead: BTreeSet<_> =
            self.chunks.keys().map(|(lane, _)| *lane).filter(|lane| !alive.contains(&lane.writer)).collect();
        for lane in dead {
            let durable = |seq: &u64| {
                self.chunks
                    .get(&(lane, *seq))
                    .is_some_and(|chunk| chunk.nodes.count_ones() >= 2 && chunk.at_ms < settled_ms)
            };
            let end = (0..).take_while(durable).count() as u64;
            let key = Key::Materialised(self.item, lane);
            let of = |replica: &Replica| replica.get(&key).map_or(0, |(materialised, _)| *materialised);
            let mut told: Vec<_> = replicas.iter().map(of).collect();
            told.sort_unstable();
            // What any two replicas say.
            if told[1] < end {
                self.violated(&format!("nobody finished the lane {lane:?} of a dead writer: {told:?} of {end}"));
            }
        }
    }

    /// Everything that is left to check once nothing moves any more.
    pub(super) fn check_results(&mut self, last: Rank, replicas: &[Replica; NODES]) {
        let mut counted = Content::new();
        for epoch in 0..=last.epoch() {
            let Some(result) = self.result(epoch) else {
                return self.violated(&format!("epoch {epoch} is over and has no result"));
            };
            let lane = |lane: &crate::cluster::close::ManifestLane| {
                (LaneId { writer: WriterId(lane.writer), lane: lane.lane }, lane.chunks)
            };
            let Some(content) = self.content(result.manifest.iter().map(lane)) else {
                return self.violated(&format!("the result of epoch {epoch} covers chunks that are nowhere"));
            };
            let (digest, tally) = digest_and_tally(&content);
            if (digest, tally) != (result.digest.clone(), result.tally.clone()) {
                self.violated(&format!("the result of epoch {epoch} is not the recount of its notes"));
            }
            self.check_acks(epoch, &content);
            counted = content;
        }
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            let notes = notes_of(self.item, [&replicas[one], &replicas[other]]);
            if let Some(difference) = difference(&notes, &counted) {
                self.violated(&format!("`notes` is not what the result counted: {difference}"));
            }
        }
    }

    /// I5 and I6: what was acknowledged by the time of a result is in it, or beaten there by a later wish of the viewer.
    fn check_acks(&mut self, epoch: u64, content: &Content) {
        let decided_ms = self.results.get(&epoch).map_or(0, |(at_ms, _)| *at_ms);
        let reopened_ms = self.ranks.get(&Rank::new(epoch + 1, Phase::Open)).copied().unwrap_or(u64::MAX);
        let mut wrong = Vec::new();
        for ack in &self.acks {
            if ack.at_ms <= decided_ms && !dominated(content, ack.viewer, &ack.wish) {
                let counted = content.get(&ack.viewer);
                wrong.push(format!(
                    "I5: {:?} of {} was acknowledged at {} ms and is lost, {counted:?} counts in epoch {epoch}",
                    ack.wish, ack.viewer, ack.at_ms
                ));
            }
            if (decided_ms + 1..reopened_ms).contains(&ack.at_ms) {
                wrong.push(format!(
                    "{:?} of {} was acknowledged after the result of epoch {epoch}",
                    ack.wish, ack.viewer
                ));
            }
        }
        wrong.into_iter().for_each(|text| self.violated(&text));
    }
}

fn difference(notes: &Content, counted: &Content) -> Option<String> {
    let more = notes.iter().find(|(viewer, wish)| counted.get(*viewer) != Some(*wish));
    let less = counted.iter().find(|(viewer, _)| !notes.contains_key(*viewer));
    more.or(less).map(|(viewer, wish)| format!("{viewer} {wish:?}, counted {:?}", counted.get(viewer)))
}

impl World {
    /// A viewer hears what became of a note.
    #[expect(clippy::too_many_arguments, reason = "one answer, as it is heard")]
    pub(super) fn answered(
        &self,
        item: ItemId,
        sending: u64,
        writer: WriterId,
        clock_us: u64,
        viewer: ViewerId,
        v: u64,
        payload: &Payload,
        outcome: &Outcome,
    ) {
        let now_ms = self.now_ms();
        let mut oracle = self.oracle(item);
        oracle.tick(now_ms);
        let sending = oracle.sendings.remove(&sending);
        let code = match outcome {
            Outcome::Ok => {
                if v > clock_us + MAX_VERSION_AHEAD_US && !oracle.follows_a_note(viewer, v, payload) {
                    oracle.violated(&format!("version {v} was acknowledged far ahead of the pod's clock {clock_us}"));
                }
                oracle.acknowledged(writer, viewer, (v, payload.clone()), sending);
                1
            }
            Outcome::Unknown => {
                oracle.figures.unknown += 1;
                2
            }
            Outcome::Stale { version, payload } => {
                oracle.figures.stale += 1;
                let wish = (*version, payload.clone());
                // What a viewer is told to hold counts like what was acknowledged.
                oracle.acknowledged(writer, viewer, wish, None);
                3
            }
            Outcome::TooFarAhead { next, .. } => {
                oracle.figures.refused += 1;
                let named = oracle.named.entry((writer, viewer)).or_default();
                if v <= std::mem::replace(named, (*next).max(*named)) {
                    oracle.violated(&format!("version {v} of {viewer} was refused by the pod that had named it"));
                }
                4
            }
            Outcome::RetryAfter { .. } | Outcome::Closed | Outcome::NotOpen => {
                oracle.figures.refused += 1;
                4
            }
        };
        drop(oracle);
        self.trace(&[3, now_ms, code, v]);
    }
}
