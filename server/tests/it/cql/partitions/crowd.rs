//! A crowd that votes: written straight through the primitives of a store, as the engines of several servers would.

use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bareme::cluster::chunk::{ChunkBuilder, FORMAT};
use bareme::domain::ballot::{Ballot as _, Entry, Ratings};
use bareme::domain::viewer::{ViewerId, ViewerSecret};
use bareme::store::cql::bounds::SEGMENT_CHUNKS;
use bareme::store::{ItemId, LaneId, MAX_NOTE_ROWS, MAX_PAYLOAD_BYTES, NoteRow, Payload, Store, StoreError, WriterId};

use super::super::namespaced::until_known;

/// Votes in one chunk: what some 8,000 votes a second on one server make when a commit takes 12 ms.
const CHUNK_VOTES: u64 = 100;

/// Chunks from one checkpoint to the next: half a second of them.
const CHECKPOINT_CHUNKS: u64 = 50;

/// Does it again while the store has trouble: every write of a store may be repeated.
pub(super) async fn insist<T, F>(what: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    until_known(what).await.unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn lane(writer: WriterId) -> LaneId {
    LaneId { writer, lane: 0 }
}

/// Numbers that look like chance and are the same in every run (SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn viewer(secret: &ViewerSecret, number: u64) -> ViewerId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mixed(number).to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    secret.viewer(id)
}

/// A note with a score for every critere.
fn payload(ballot: &Ratings, number: u64) -> Payload {
    let criteres = &ballot.bareme().criteres;
    let step = |(index, critere): (usize, &bareme::domain::bareme::Critere)| {
        u8::try_from(mixed(number.wrapping_add((index as u64) << 40)) % u64::from(critere.steps())).unwrap()
    };
    let payload: Payload = std::iter::once(1).chain(criteres.iter().enumerate().map(step)).collect();
    assert!(ballot.is_valid(&payload));
    payload
}

/// Lets `viewers` viewers rate a jeu, all once, shared out over the writers.
pub(super) async fn vote(
    store: &Arc<dyn Store>,
    ballot: &Arc<Ratings>,
    item: ItemId,
    writers: &[WriterId],
    viewers: u64,
) {
    let share = viewers.div_ceil(writers.len() as u64);
    let mut tasks = Vec::new();
    for (index, writer) in writers.iter().enumerate() {
        let from = share * index as u64;
        let (to, lane) = ((from + share).min(viewers), lane(*writer));
        let (store, ballot) = (Arc::clone(store), Arc::clone(ballot));
        tasks.push(tokio::spawn(async move { run(&*store, &ballot, item, lane, from..to.max(from)).await }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// One server's part: chunk after chunk, and now and then what changed into `notes`.
async fn run(store: &dyn Store, ballot: &Ratings, item: ItemId, lane: LaneId, viewers: std::ops::Range<u64>) {
    let secret = ViewerSecret::new([u8::try_from(item.jeu.0).unwrap(); 32]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let now = u64::try_from(now).unwrap();
    insist(|| store.register_lane(item, lane, FORMAT)).await;
    let (mut next, mut seq, mut dirty) = (viewers.start, 0, Vec::new());
    while next < viewers.end {
        let mut builder = ChunkBuilder::new(0);
        let end = (next + CHUNK_VOTES).min(viewers.end);
        for number in next..end {
            let row =
                NoteRow { viewer: viewer(&secret, number), version: now + number, payload: payload(ballot, number) };
            assert!(builder.push(row.viewer, Entry { version: row.version, payload: &row.payload }));
            dirty.push(row);
        }
        let chunk = builder.finish();
        insist(|| store.append(item, lane, seq, chunk.clone())).await;
        (next, seq) = (end, seq + 1);
        if seq % CHECKPOINT_CHUNKS == 0 || next == viewers.end {
            dirty.sort_unstable_by_key(|row| row.viewer);
            for rows in dirty.chunks(MAX_NOTE_ROWS) {
                insist(|| store.write_notes(item, rows.to_vec())).await;
            }
            dirty.clear();
            insist(|| store.advance_materialised(item, lane, seq)).await;
        }
    }
}

/// A lane whose first segment is as large as one can be, and that goes on into the next one.
pub(super) async fn fill_a_segment(store: &Arc<dyn Store>, item: ItemId, lane: LaneId) {
    const AT_ONCE: u64 = 4;
    insist(|| store.register_lane(item, lane, FORMAT)).await;
    let mut builder = ChunkBuilder::new(0);
    let mut number = 0;
    loop {
        let viewer = ViewerId(u128::from(mixed(number)).to_le_bytes());
        if !builder.push(viewer, Entry { version: number, payload: &[7; MAX_PAYLOAD_BYTES] }) {
            break;
        }
        number += 1;
    }
    let chunk = builder.finish();
    let task = |first: u64| {
        let (store, chunk) = (Arc::clone(store), chunk.clone());
        tokio::spawn(async move {
            for seq in (first..=SEGMENT_CHUNKS).step_by(AT_ONCE as usize) {
                insist(|| store.append(item, lane, seq, chunk.clone())).await;
            }
        })
    };
    let tasks: Vec<_> = (0..AT_ONCE).map(task).collect();
    for task in tasks {
        task.await.unwrap();
    }
}
