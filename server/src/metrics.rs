//! Every metric: its name, its help text and its buckets (those of the process itself are in `metrics/machine.rs`). Counters of notes and of drift exist from the
//! start, at zero, so that an alarm on one of them does not have to wait for its first increment.

pub mod machine;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::audit::AUDIT_LOST;
use crate::protocol::{Status, close};
use crate::store::ErrorKind;
use crate::traces::{SPANS_EXPORTED, SPANS_LOST, SPANS_QUEUED};
use machine::{DATA_DIR_FREE, DATA_DIR_SIZE};

/// Open WebSockets of this pod.
pub const WS_ACTIVE_CONNECTIONS: &str = "ws_active_connections";
/// WebSockets closed by the server, by close `code`.
pub const WS_CLOSED: &str = "ws_closed_total";
/// Notes that were acknowledged.
pub const NOTES_ACCEPTED: &str = "notes_accepted_total";
/// Notes that were not, by `reason`.
pub const NOTES_REFUSED: &str = "notes_refused_total";
/// Viewers that sent their first vote, by outcome.
pub const NEW_VIEWERS: &str = "new_viewers_total";
/// From the arrival of a note to its durable acknowledgement.
pub const NOTE_ACK_SECONDS: &str = "note_ack_seconds";
/// Frames sent to sockets.
pub const FRAMES_SENT: &str = "frames_sent_total";
/// Time of one commit.
pub const STORE_COMMIT_SECONDS: &str = "store_commit_seconds";
/// Times a tally was found to differ from a recount.
pub const TALLY_DRIFT: &str = "tally_drift_total";
/// Notes that were acknowledged and are not in a result.
pub const ACKNOWLEDGED_MISSING: &str = "acknowledged_missing_total";
/// Chunks that met other bytes under their number.
pub const JOURNAL_CONFLICTS: &str = "journal_conflicts_total";
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
/// Requests whose head or framing could not be read.
pub const HTTP_MALFORMED: &str = "http_malformed_total";
/// Connections that were not let in, or had to make room, by reason.
pub const CONNECTIONS_REFUSED: &str = "connections_refused_total";
/// Clients that were not waited for any longer, by what was waited for.
pub const HTTP_TIMEOUTS: &str = "http_timeouts_total";
/// Most connections that settings allow.
pub const MAX_CONNECTIONS: &str = "max_connections";
/// Whether the store took a write when the metrics were asked for: 1 or 0.
pub const STORE_UP: &str = "store_up";
/// Operations of the store that failed, by `kind`.
pub const STORE_ERRORS: &str = "store_errors_total";
/// Times the SQLite store copied all of its log anew, after a flush that failed.
pub const STORE_BEGUN_ANEW: &str = "store_begun_anew_total";
/// Whether this pod is stopping: 1 or 0.
pub const POD_DRAINING: &str = "pod_draining";
/// Jeux that take votes or whose result is being made, on this pod.
pub const ITEMS_RUNNING: &str = "items_running";
/// Those of them whose numbers are marked stale.
pub const ITEMS_STALE: &str = "items_stale";
/// Jeux of this pod of which something that is stored is damaged.
pub const ITEMS_UNREADABLE: &str = "items_unreadable";
/// Age of the oldest acknowledged note that is in the journal only.
pub const CHECKPOINT_LAG_SECONDS: &str = "checkpoint_lag_seconds";
/// Log lines that were not written: their reader was gone or too slow, or the disk full.
pub const LOG_LINES_LOST: &str = "log_lines_lost_total";
/// Panics; each is a bug, and what it ended is in [`TASK_DEATHS`].
pub const PANICS: &str = "panics_total";
/// Tasks and threads that panicked or ended unasked, by `task`.
pub const TASK_DEATHS: &str = "task_deaths_total";
/// Tasks and threads that died and do not run again yet.
pub const TASKS_DOWN: &str = "tasks_down";
/// Whether this pod is cut off from the store it shares, and sends its sockets elsewhere: 1 or 0.
pub const POD_CUT_OFF: &str = "pod_cut_off";
/// How far the clock of another pod is from this one's, at least.
pub const POD_CLOCK_SKEW_SECONDS: &str = "pod_clock_skew_seconds";
/// How far server time is ahead of the wall clock.
pub const CLOCK_LEAD_SECONDS: &str = "clock_lead_seconds";
/// Constant 1, with the version as a label.
pub const BUILD_INFO: &str = "build_info";

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
    machine::remember_start();
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
    describe_counter!(
        NEW_VIEWERS,
        Unit::Count,
        "First votes of viewers, by outcome; those of loopback are not counted."
    );
    describe_histogram!(NOTE_ACK_SECONDS, Unit::Seconds, "From a note's arrival to its durable acknowledgement.");
    describe_counter!(FRAMES_SENT, Unit::Count, "Frames sent to WebSockets.");
    describe_histogram!(STORE_COMMIT_SECONDS, Unit::Seconds, "Time of one durable commit of the store.");
    describe_histogram!("store_op_seconds", Unit::Seconds, "Time of one operation of the store, by op.");
    describe_counter!(STORE_ERRORS, Unit::Count, "Operations of the store that failed, by kind.");
    describe_counter!(STORE_BEGUN_ANEW, Unit::Count, "Times all of SQLite's log was copied anew after a failed flush.");
    describe_gauge!(STORE_UP, Unit::Count, "1 when the store took a write just now, 0 when not.");
    describe_gauge!("store_wal_pages", Unit::Count, "Pages in SQLite's write-ahead log at the last checkpoint.");
    describe_gauge!(
        "store_queue_depth",
        Unit::Count,
        "Operations that wait for the store after it last took some, by queue."
    );
    describe_histogram!("chunk_notes", Unit::Count, "Notes in one journal chunk.");
    describe_counter!(TALLY_DRIFT, Unit::Count, "Tallies found to differ from a recount. Anything but 0 is a bug.");
    describe_counter!(
        ACKNOWLEDGED_MISSING,
        Unit::Count,
        "Notes this pod acknowledged that a result lacks. Anything but 0 is a bug."
    );
    describe_counter!(
        JOURNAL_CONFLICTS,
        Unit::Count,
        "Chunks that met other bytes under their number. Anything but 0 is a bug, or a second server with the same writer."
    );
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
    describe_counter!(
        AUDIT_LOST,
        Unit::Count,
        "Entries of the audit log given up because the store stayed away; they are in the server's log."
    );
    counter!(AUDIT_LOST).absolute(0);
    describe_counter!(HTTP_REQUESTS, Unit::Count, "Requests answered, by status class.");
    describe_counter!(HTTP_MALFORMED, Unit::Count, "Requests whose head or framing could not be read.");
    describe_counter!(
        CONNECTIONS_REFUSED,
        Unit::Count,
        "Connections not let in or ended for want of room, by reason: address, reserve; requests refused for it: server."
    );
    describe_counter!(
        HTTP_TIMEOUTS,
        Unit::Count,
        "Clients that were not waited for any longer, by what was: head, body or reader."
    );
    describe_gauge!(MAX_CONNECTIONS, Unit::Count, "Most connections that settings allow.");
    describe_gauge!(POD_DRAINING, Unit::Count, "1 while this pod is stopping.");
    describe_gauge!(ITEMS_RUNNING, Unit::Count, "Jeux that take votes, or whose result is being made.");
    describe_gauge!(ITEMS_STALE, Unit::Count, "Jeux whose numbers are marked stale.");
    describe_gauge!(ITEMS_UNREADABLE, Unit::Count, "Jeux of which something that is stored is damaged.");
    describe_gauge!(CHECKPOINT_LAG_SECONDS, Unit::Seconds, "Age of the oldest note that is in the journal only.");
    describe_gauge!(POD_CUT_OFF, Unit::Count, "1 while this pod is cut off and sends its sockets elsewhere.");
    describe_gauge!(POD_CLOCK_SKEW_SECONDS, Unit::Seconds, "How far another pod's clock is from this one's, at least.");
    describe_gauge!(CLOCK_LEAD_SECONDS, Unit::Seconds, "How far server time is ahead of the wall clock.");
    describe_gauge!(DATA_DIR_SIZE, Unit::Bytes, "Size of the data directory's file system.");
    describe_gauge!(DATA_DIR_FREE, Unit::Bytes, "Room that is left in the data directory's file system.");
    describe_counter!(LOG_LINES_LOST, Unit::Count, "Log lines that could not be written.");
    describe_counter!(PANICS, Unit::Count, "Panics. Anything but 0 is a bug.");
    describe_counter!(TASK_DEATHS, Unit::Count, "Tasks that panicked or ended unasked, by task.");
    describe_gauge!(TASKS_DOWN, Unit::Count, "Tasks that died and do not run again yet.");
    describe_gauge!(BUILD_INFO, Unit::Count, "1, with the version as a label.");
    describe_gauge!(SPANS_QUEUED, Unit::Count, "Spans of traces that wait to be sent.");
    describe_counter!(SPANS_EXPORTED, Unit::Count, "Spans of traces that a collector took.");
    describe_counter!(SPANS_LOST, Unit::Count, "Spans of traces that were not sent, by reason.");
    describe_gauge!("rooms_open", Unit::Count, "Channels somebody looks at on this pod.");
    describe_counter!(WS_CLOSED, Unit::Count, "WebSockets closed, by close code.");
    describe_counter!(
        "ws_refused_total",
        Unit::Count,
        "Sockets refused for want of room, by reason: server or address."
    );
    describe_gauge!(
        "ws_worker_connections",
        Unit::Count,
        "Connections of one event loop, those that say goodbye with them."
    );
    describe_gauge!("ws_worker_inbox_length", Unit::Count, "Answers and orders an event loop found in its last round.");
    describe_counter!("ws_worker_frames_sent_total", Unit::Count, "Messages sent by one event loop.");
    describe_counter!("ws_worker_would_block_total", Unit::Count, "Writes of one event loop that found no room.");
    describe_counter!("ws_worker_slow_total", Unit::Count, "Readers that one event loop gave up for being too slow.");
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
    counter!(ACKNOWLEDGED_MISSING).absolute(0);
    counter!(JOURNAL_CONFLICTS).absolute(0);
    counter!(TALLY_COMPARISONS).absolute(0);
    for name in [DUMPS_MADE, DUMPS_FAILED, NOTES_PRUNED, PRUNES_FAILED, LOG_LINES_LOST, PANICS, STORE_BEGUN_ANEW] {
        counter!(name).absolute(0);
    }
    gauge!(WS_ACTIVE_CONNECTIONS).set(0.0);
    gauge!(DUMP_PENDING).set(0.0);
    gauge!(DUMP_LAST_SUCCESS_SECONDS).set(0.0);
    drop((histogram!(NOTE_ACK_SECONDS), histogram!(STORE_COMMIT_SECONDS)));
    gauge!("rooms_open").set(0.0);
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for kind in ErrorKind::ALL {
        counter!(STORE_ERRORS, "kind" => kind.as_str()).absolute(0);
    }
    for close in close::ALL {
        counter!(WS_CLOSED, "code" => close.code.to_string()).absolute(0);
    }
    counter!(HTTP_MALFORMED).absolute(0);
    for reason in ["address", "reserve", "server"] {
        counter!(CONNECTIONS_REFUSED, "reason" => reason).absolute(0);
    }
    for what in ["head", "body", "reader"] {
        counter!(HTTP_TIMEOUTS, "what" => what).absolute(0);
    }
    for class in ["2xx", "4xx", "5xx"] {
        counter!(HTTP_REQUESTS, "class" => class).absolute(0);
    }
    let refusals = [
        Status::Unknown,
        Status::RetryAfter,
        Status::Stale,
        Status::Closed,
        Status::NotOpen,
        Status::Invalid,
        Status::TooFast,
    ];
    for outcome in ["admitted", "refused"] {
        counter!(NEW_VIEWERS, "outcome" => outcome).absolute(0);
    }
    for status in refusals {
        counter!(NOTES_REFUSED, "reason" => status.as_str()).absolute(0);
    }
}
