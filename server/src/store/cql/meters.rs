//! What the driver counts, in the metrics of this program.

use std::sync::{Arc, Weak};
use std::time::Duration;

use scylla::client::session::Session;

const EVERY: Duration = Duration::from_secs(5);

/// Copies the driver's counts for as long as the session is used.
pub(super) async fn copy(session: Weak<Session>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let Some(session) = session.upgrade() else { return };
        copy_once(&session);
    }
}

fn copy_once(session: &Arc<Session>) {
    let driver = session.get_metrics();
    let requests = driver.get_requests_unpaged_num();
    let errors = driver.get_errors_unpaged_num();
    metrics::counter!("cql_requests_total").absolute(requests);
    metrics::counter!("cql_request_errors_total").absolute(errors);
    metrics::counter!("cql_request_timeouts_total").absolute(driver.get_request_timeouts());
    metrics::counter!("cql_connection_timeouts_total").absolute(driver.get_connection_timeouts());
    metrics::gauge!("cql_connections").set(driver.get_total_connections() as f64);
    let state = session.get_cluster_state();
    let known = state.get_nodes_info();
    let connected = known.iter().filter(|node| node.is_connected()).count();
    metrics::gauge!("cql_nodes", "state" => "connected").set(connected as f64);
    metrics::gauge!("cql_nodes", "state" => "away").set((known.len() - connected) as f64);
    if let Ok(latency) = driver.get_snapshot() {
        for (quantile, milliseconds) in [("0.5", latency.median), ("0.99", latency.percentile_99)] {
            metrics::gauge!("cql_latency_seconds", "quantile" => quantile).set(milliseconds as f64 / 1000.0);
        }
    }
}
