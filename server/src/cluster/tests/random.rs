//! Random votes against a model that only remembers what was acknowledged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::Outcome;
use super::{START_US, ballot, exclusive, item, pod, shared, vote};
use crate::domain::note::Note;
use crate::domain::phase::Phase;
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::{ErrorKind, Store};

/// Random votes, faults, crashes and reopenings against a model of what was acknowledged.
#[tokio::test(start_paused = true)]
async fn whatever_fails_or_crashes_every_acknowledged_note_is_in_the_final_result() {
    for seed in 0..60_u64 {
        let mut random = SmallRng::seed_from_u64(seed);
        let inner: Arc<dyn Store> = if seed % 3 == 0 { shared() } else { exclusive() };
        let faults = Arc::new(Mutex::new(SmallRng::seed_from_u64(seed ^ 0xFA17)));
        let calm = Arc::new(AtomicBool::new(false));
        let quiet = Arc::clone(&calm);
        let plan = Arc::new(move |operation: &'static str| {
            if quiet.load(Ordering::Relaxed) {
                return Fault::None;
            }
            match faults.lock().unwrap().random_range(0..100) {
                0..3 => Fault::Refused(ErrorKind::Full),
                3..6 if operation != "put_record" => Fault::AnswerLost,
                6..15 => Fault::Delay(Duration::from_millis(30)),
                _ => Fault::None,
            }
        });
        let store: Arc<dyn Store> = Arc::new(FaultyStore::new(inner, plan));
        let mut pod_seed = seed * 1000;
        let mut pod = pod(&store, pod_seed);
        while pod.open().await.is_err() {}
        // Newest acknowledged and newest sent version of each viewer.
        let mut acked: HashMap<u8, (u64, i32)> = HashMap::new();
        let mut sent: HashMap<u8, Vec<(u64, i32)>> = HashMap::new();
        for step in 1..120_u64 {
            let (who, score) = (random.random_range(0..12), random.random_range(0..6));
            sent.entry(who).or_default().push((step, score));
            match tokio::time::timeout(Duration::from_secs(8), vote(&pod, who, step, score)).await.unwrap() {
                Outcome::Ok => drop(acked.insert(who, (step, score))),
                Outcome::Unknown | Outcome::RetryAfter { .. } => {}
                outcome => panic!("seed {seed}, step {step}: {outcome:?}"),
            }
            match random.random_range(0..100) {
                0..6 => {
                    pod_seed += 1;
                    drop(pod);
                    pod = self::pod(&store, pod_seed);
                    pod.loaded().await;
                }
                6..20 => tokio::time::sleep(Duration::from_millis(random.random_range(1..1500))).await,
                _ => {}
            }
        }
        while pod.close().await.is_err() {}
        calm.store(true, Ordering::Relaxed);
        pod.reached(Phase::Final).await;
        let rows = store.read_notes(item(), None, 1000).await.unwrap();
        let mut recount = crate::domain::tally::Tally::empty(ballot().bareme());
        for row in &rows {
            let note = Note::decode(ballot().bareme(), &row.payload).unwrap();
            recount.add(&note);
            let who = row.viewer.0[0];
            let score = note.steps()[0].map_or(0, |step| i32::from(step) + 1);
            let version = row.version - START_US;
            assert!(sent[&who].contains(&(version, score)), "seed {seed}: viewer {who} has a note nobody sent");
            if let Some(acked) = acked.remove(&who) {
                assert!(
                    (version, score) >= acked,
                    "seed {seed}: viewer {who} has {version}, {acked:?} was acknowledged"
                );
            }
        }
        assert_eq!(acked, HashMap::new(), "seed {seed}: acknowledged and lost");
        assert_eq!(recount, pod.view().tally, "seed {seed}: the result is not the recount");
    }
}
