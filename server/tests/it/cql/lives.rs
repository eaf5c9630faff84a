//! Lives that end and go on again, on the real cluster.

use std::sync::Arc;

use bareme::store::Store;

use super::{Namespaced, RUNTIME, store, url, whole};
use crate::lives::{of_two_lives, of_two_servers};

#[test]
fn an_end_taken_back_loses_no_vote_on_a_cluster() {
    let Some(url) = url() else { return };
    let _whole = whole();
    RUNTIME.block_on(async {
        let shared = store(&url).await;
        let empty = || -> Arc<dyn Store> { Arc::new(Namespaced::new(Arc::clone(&shared))) };
        assert_eq!(of_two_lives(empty()).await, 51);
        assert_eq!(of_two_servers(empty(), 1, 21, 6, false).await, [27, 27]);
        assert_eq!(of_two_servers(empty(), 2, 34, 10, true).await, [44, 44]);
    });
}
