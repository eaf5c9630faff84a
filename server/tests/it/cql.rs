//! The store on a real cluster: `cargo xtask cluster up`, and its address in `BAREME_CQL`.
//!
//! Without that variable these tests pass at once and say so. Those that end nodes also need the program that can, in
//! `BAREME_XTASK`; `cargo xtask test` and `cargo xtask cluster test` set both.

mod faults;
mod lives;
mod namespaced;
mod partitions;
mod repair;
mod schema;
mod servers;

use std::panic::AssertUnwindSafe;
use std::process::Command;
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use bareme::store::Store;
use bareme::store::conformance::{self, Random, SEEDS};
use bareme::store::cql::{CqlStore, CqlUrl};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use self::namespaced::Namespaced;

/// Batches of a seed: with all their comparisons they have to end before heartbeats do.
const RANDOM_BATCHES: usize = 10;

/// Probes before the tests, and how many in a row have to be how swift.
const PROBES: usize = 300;
const SWIFT_IN_A_ROW: usize = 20;
const SWIFT: Duration = Duration::from_millis(200);

/// One runtime for all: a session belongs to the runtime it was made on.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

static STORE: OnceCell<Arc<dyn Store>> = OnceCell::const_new();

/// Tests read it; those that break the cluster write it.
static CLUSTER: RwLock<()> = RwLock::new(());

/// The cluster's address, or `None` after a word about it.
fn url() -> Option<CqlUrl> {
    match std::env::var("BAREME_CQL") {
        Ok(url) => Some(url.parse().unwrap()),
        Err(_) => {
            println!("skipped: no cluster. `cargo xtask cluster test` starts one and runs this");
            None
        }
    }
}

/// Drops the keyspace of an address, with all that is in it.
pub(crate) async fn drop_keyspace(url: &str) {
    let url: CqlUrl = url.parse().unwrap();
    let session = scylla::client::session_builder::SessionBuilder::new().known_nodes(&url.nodes).build().await.unwrap();
    session.query_unpaged(format!("DROP KEYSPACE {}", url.keyspace), ()).await.unwrap();
}

fn whole() -> RwLockReadGuard<'static, ()> {
    CLUSTER.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    CLUSTER.write().unwrap_or_else(PoisonError::into_inner)
}

/// What ends and starts nodes.
struct Breaker(String);

impl Breaker {
    fn find() -> Option<Self> {
        let program = std::env::var("BAREME_XTASK").ok().map(Self);
        if program.is_none() {
            println!("skipped: BAREME_XTASK is not set. `cargo xtask cluster test` sets it");
        }
        program
    }

    fn run(&self, action: &[&str]) {
        let done = Command::new(&self.0).arg("cluster").args(action).output().unwrap();
        assert!(done.status.success(), "cluster {action:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// The cluster as it was, whatever became of the test.
    fn mend_in_the_end(&self) -> impl Drop + use<> {
        struct Mend(String);
        impl Drop for Mend {
            fn drop(&mut self) {
                let done = Command::new(&self.0).args(["cluster", "up"]).output().unwrap();
                assert!(done.status.success() || std::thread::panicking());
            }
        }
        Mend(self.0.clone())
    }
}

/// Waits until nodes that were just started answer as they do later: their first answers take seconds on a busy machine,
/// and the store gives up after two.
async fn warm(store: &dyn Store) {
    let mut swift = 0;
    for _ in 0..PROBES {
        let started = Instant::now();
        let answered = store.probe().await.is_ok();
        swift = if answered && started.elapsed() < SWIFT { swift + 1 } else { 0 };
        if swift == SWIFT_IN_A_ROW {
            return;
        }
    }
    println!("the cluster is slow: no {SWIFT_IN_A_ROW} of {PROBES} probes in a row took less than {SWIFT:?}");
}

/// The store, migrated.
async fn store(url: &CqlUrl) -> Arc<dyn Store> {
    let connect = async {
        CqlStore::migrate(url, |_| {}).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(CqlStore::connect(url).await.unwrap());
        warm(&*store).await;
        store
    };
    Arc::clone(STORE.get_or_init(|| connect).await)
}

/// Times that a case is begun anew whose swap had no known outcome: that may be said by a store, and not be repeated.
const UNDECIDED: usize = 5;

type Case = for<'store> fn(&'store dyn Store) -> BoxFuture<'store, ()>;

/// Runs a case on an empty store, and again on another one for as long as the outcome of a swap is not known.
async fn hold(store: &Arc<dyn Store>, case: Case) {
    for _ in 0..UNDECIDED {
        let store = Namespaced::new(Arc::clone(store));
        match AssertUnwindSafe(case(&store)).catch_unwind().await {
            Ok(()) => return,
            Err(_) if store.is_undecided() => println!("a swap had no known outcome: once more"),
            Err(failed) => std::panic::resume_unwind(failed),
        }
    }
    panic!("{UNDECIDED} times in a row a swap had no known outcome");
}

fn on_an_empty_store(case: Case) {
    let Some(url) = url() else { return };
    let _whole = whole();
    RUNTIME.block_on(async { hold(&store(&url).await, case).await });
}

macro_rules! on_cql {
    ($($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                on_an_empty_store(|store| Box::pin(conformance::$case(store)));
            }
        )*

        /// Every case, for those that run them all.
        const CASES: &[(&str, Case)] = &[$((stringify!($case), |store| Box::pin(conformance::$case(store)))),*];
    };
}
bareme::store_cases!(on_cql);

#[test]
fn random_batches_agree_with_the_model() {
    let Some(url) = url() else { return };
    let _whole = whole();
    RUNTIME.block_on(async {
        for seed in SEEDS {
            let store = Namespaced::new(store(&url).await);
            let mut random = Random::new(seed);
            for _ in 0..RANDOM_BATCHES {
                random.batch(&store).await;
            }
        }
    });
}
