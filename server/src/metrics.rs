//! Every metric: its name, its help text and its buckets. Counters of notes and of drift exist from the
//! start, at zero, so that an alarm on one of them does not have to wait for its first increment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::protocol::Status;

/// Open WebSockets of this pod.
pub const WS_ACTIVE_CONNECTIONS: &str = "ws_active_connections";
/// Notes that were acknowledged.
pub const NOTES_ACCEPTED: &str = "notes_accepted_total";
/// Notes that were not, by `reason`.
pub const NOTES_REFUSED: &str = "notes_refused_total";
/// From the arrival of a note to its durable acknowledgement.
pub const NOTE_ACK_SECONDS: &str = "note_ack_seconds";
/// Frames sent to sockets.
pub const FRAMES_SENT: &str = "frames_sent_total";
/// Time of one commit.
pub const STORE_COMMIT_SECONDS: &str = "store_commit_seconds";
/// Times a tally was found to differ from a recount.
pub const TALLY_DRIFT: &str = "tally_drift_total";
/// Tallies of other pods that were compared with this pod's own.
pub const TALLY_COMPARISONS: &str = "tally_comparisons_total";
/// Dumps of lives that were made and read back.
pub const DUMPS_MADE: &str = "dumps_made_total";
/// Attempts to dump a live that failed; each is tried again.
pub const DUMPS_FAILED: &str = "dumps_failed_total";
/// Lives that are over and have no dump yet, as far as this pod knows.
pub const DUMP_PENDING: &str = "dump_pending";
/// When this pod last made a dump, seconds since 1970; 0 while it has made none.
pub const DUMP_LAST_SUCCESS_SECONDS: &str = "dump_last_success_timestamp_seconds";
/// How long a dump took, reading back included.
pub const DUMP_SECONDS: &str = "dump_seconds";
/// Notes deleted from the store, which are in a dump.
pub const NOTES_PRUNED: &str = "notes_pruned_total";
/// Attempts to prune a live that failed; everything is kept.
pub const PRUNES_FAILED: &str = "prunes_failed_total";
/// Requests answered, by status class.
pub const HTTP_REQUESTS: &str = "http_requests_total";

/// Seconds of things that take from a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Counts of things that come in batches.
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0, 5000.0];

/// How often the exporter moves samples into buckets: it keeps every sample until then.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Makes the process's recorder, once; later calls get the same. Whoever wants to be counted must come after it.
///
/// # Errors
/// When another recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("chunk_notes".to_owned()), &COUNTS)?
        .set_buckets(&SECONDS)?
        .install_recorder()?;
    describe();
    *installed = Some(handle.clone());
    Ok(handle)
}

/// Keeps the exporter's memory bounded, for as long as somebody holds `alive`.
pub async fn upkeep(handle: PrometheusHandle, alive: std::sync::Weak<()>) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    while alive.strong_count() > 0 {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// Something for [`upkeep`] to look at.
pub fn alive() -> Arc<()> {
    Arc::new(())
}

fn describe() {
    use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
    describe_gauge!(WS_ACTIVE_CONNECTIONS, Unit::Count, "Open WebSockets of this pod.");
    describe_counter!(NOTES_ACCEPTED, Unit::Count, "Notes acknowledged after they were durable.");
    describe_counter!(NOTES_REFUSED, Unit::Count, "Notes answered otherwise than with ok, by reason.");
    describe_histogram!(NOTE_ACK_SECONDS, Unit::Seconds, "From a note's arrival to its durable acknowledgement.");
    describe_counter!(FRAMES_SENT, Unit::Count, "Frames sent to WebSockets.");
    describe_histogram!(STORE_COMMIT_SECONDS, Unit::Seconds, "Time of one durable commit of the store.");
    describe_histogram!("store_op_seconds", Unit::Seconds, "Time of one operation of the store, by op.");
    describe_counter!("store_errors_total", Unit::Count, "Operations of the store that failed, by kind.");
    describe_gauge!("store_wal_pages", Unit::Count, "Pages in SQLite's write-ahead log at the last checkpoint.");
    describe_gauge!(
        "store_queue_depth",
        Unit::Count,
        "Operations that wait for the store after it last took some, by queue."
    );
    describe_histogram!("chunk_notes", Unit::Count, "Notes in one journal chunk.");
    describe_counter!(TALLY_DRIFT, Unit::Count, "Tallies found to differ from a recount. Anything but 0 is a bug.");
    describe_counter!(TALLY_COMPARISONS, Unit::Count, "Tallies of other pods, of the same chunks, that were compared.");
    describe_counter!(DUMPS_MADE, Unit::Count, "Dumps of lives that were made and read back.");
    describe_counter!(DUMPS_FAILED, Unit::Count, "Attempts to dump a live that failed; each is tried again.");
    describe_gauge!(DUMP_PENDING, Unit::Count, "Lives that are over and have no dump yet, as far as this pod knows.");
    describe_gauge!(
        DUMP_LAST_SUCCESS_SECONDS,
        Unit::Seconds,
        "When this pod last made a dump, since 1970; 0: none yet."
    );
    describe_histogram!(DUMP_SECONDS, Unit::Seconds, "Time of one dump, reading back included.");
    describe_counter!(NOTES_PRUNED, Unit::Count, "Notes deleted from the store, which are in a dump.");
    describe_counter!(PRUNES_FAILED, Unit::Count, "Attempts to prune a live that failed; everything is kept.");
    describe_counter!(HTTP_REQUESTS, Unit::Count, "Requests answered, by status class.");
    describe_gauge!("rooms_open", Unit::Count, "Channels somebody looks at on this pod.");
    describe_counter!("ws_closed_total", Unit::Count, "WebSockets closed, by close code.");
    describe_gauge!("cql_in_flight", Unit::Count, "Requests to the cluster under way, by queue.");
    describe_counter!("cql_retries_total", Unit::Count, "Requests to the cluster that were tried again.");
    describe_counter!("cql_hedges_total", Unit::Count, "Requests that were sent to a second replica for being slow.");
    describe_counter!("cql_settled_total", Unit::Count, "Lightweight transactions whose fate had to be read.");
    describe_counter!("cql_requests_total", Unit::Count, "Requests of the CQL driver.");
    describe_counter!("cql_request_errors_total", Unit::Count, "Requests of the CQL driver that failed.");
    describe_counter!("cql_request_timeouts_total", Unit::Count, "Requests of the CQL driver that took too long.");
    describe_counter!("cql_connection_timeouts_total", Unit::Count, "Connections to nodes that took too long.");
    describe_gauge!("cql_connections", Unit::Count, "Connections to nodes.");
    describe_gauge!("cql_nodes", Unit::Count, "Nodes of the cluster, connected or away.");
    describe_gauge!("cql_latency_seconds", Unit::Seconds, "Latency of requests to the cluster, by quantile.");
    // In the unit tests of other modules nobody reads these, and creating them costs nothing.
    counter!(NOTES_ACCEPTED).absolute(0);
    counter!(FRAMES_SENT).absolute(0);
    counter!(TALLY_DRIFT).absolute(0);
    counter!(TALLY_COMPARISONS).absolute(0);
    for name in [DUMPS_MADE, DUMPS_FAILED, NOTES_PRUNED, PRUNES_FAILED] {
        counter!(name).absolute(0);
    }
    gauge!(WS_ACTIVE_CONNECTIONS).set(0.0);
    gauge!(DUMP_PENDING).set(0.0);
    gauge!(DUMP_LAST_SUCCESS_SECONDS).set(0.0);
    drop((histogram!(NOTE_ACK_SECONDS), histogram!(STORE_COMMIT_SECONDS)));
    let refusals = [
        Status::Unknown,
        Status::RetryAfter,
        Status::Stale,
        Status::Closed,
        Status::NotOpen,
        Status::Invalid,
        Status::TooFast,
    ];
    for status in refusals {
        counter!(NOTES_REFUSED, "reason" => status.as_str()).absolute(0);
    }
}
