//! A pod that does not reach the store it shares with others sends its sockets to them.
//!
//! Its viewers would hear `retry_after` for as long as it lasts, while another pod could take their notes. When all pods are
//! cut off nobody is better elsewhere, and nobody can know that: pages keep what they show, marked as old, and come back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::conductor::Conductor;
use crate::http::health::Readiness;
use crate::hub::{Hub, SHARES};

/// How long a pod is without a reading of the shared store before its sockets go elsewhere: longer than a node of the store
/// takes to be missed by its driver and a closing to be taken over (3 s), so that what all pods feel moves nobody; and about
/// as long as it takes until the others take this pod for dead.
const CUT_OFF_AFTER: Duration = Duration::from_secs(10);

/// Over how long the sockets go. The other pods take in a hundred thousand in that time.
const SPREAD: Duration = Duration::from_secs(10);

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// Looks after that for as long as the app lives.
pub(super) async fn watch(conductor: Conductor, hub: Hub, readiness: Arc<Readiness>, alive: Weak<()>) {
    let mut shares = 0;
    while alive.strong_count() > 0 {
        let is_cut_off = conductor.unheard() > CUT_OFF_AFTER;
        if is_cut_off != readiness.is_cut_off() {
            tracing::warn!(is_cut_off, "whether this server reaches the store that it shares has changed");
            readiness.cut_off(is_cut_off);
        }
        let next = if is_cut_off { SHARES.min(shares + 1) } else { 0 };
        if next != shares {
            shares = next;
            hub.send_away(shares);
        }
        let pause = if is_cut_off && shares < SHARES { SPREAD / SHARES } else { INTERVAL };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::cluster::tests::test_env;
    use crate::hub::DEFAULT_TICK;
    use crate::store::faulty::{Fault, FaultyStore};
    use crate::store::memory::MemoryStore;
    use crate::store::{ErrorKind, Store};

    #[tokio::test(start_paused = true)]
    async fn a_pod_without_its_store_sends_its_sockets_elsewhere_bit_by_bit_and_takes_new_ones_when_it_is_back() {
        let is_cut = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&is_cut);
        let plan = Arc::new(move |_: &'static str| match switch.load(Ordering::Relaxed) {
            true => Fault::Refused(ErrorKind::Unavailable),
            false => Fault::None,
        });
        let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), plan));
        let conductor = Conductor::start(store, test_env(1)).await.unwrap();
        let hub = Hub::new(conductor.clone(), DEFAULT_TICK);
        let (readiness, alive) = (Arc::new(Readiness::default()), Arc::new(()));
        let watching = watch(conductor, hub.clone(), Arc::clone(&readiness), Arc::downgrade(&alive));
        let watching = tokio::spawn(watching);
        let mut leaving = hub.leaving();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!readiness.is_cut_off() && *leaving.borrow() == 0);

        let cut_at = tokio::time::Instant::now();
        is_cut.store(true, Ordering::Relaxed);
        leaving.wait_for(|shares| *shares > 0).await.unwrap();
        let began = cut_at.elapsed();
        assert!(readiness.is_cut_off() && *leaving.borrow() == 1, "the first of many");
        assert!((Duration::from_secs(9)..Duration::from_secs(12)).contains(&began), "{began:?}");
        leaving.wait_for(|shares| *shares == SHARES).await.unwrap();
        let took = cut_at.elapsed() - began;
        assert!((Duration::from_secs(9)..Duration::from_secs(11)).contains(&took), "{took:?}");

        is_cut.store(false, Ordering::Relaxed);
        leaving.wait_for(|shares| *shares == 0).await.unwrap();
        assert!(!readiness.is_cut_off());
        drop(alive);
        watching.await.unwrap();
    }
}
