//! Every statement, prepared once.
//!
//! Invariant: all are idempotent as they are sent (explicit timestamps, or `IF`), and none reads or writes more than one
//! partition.

use std::time::Duration;

use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency};

use super::attempt::{ATTEMPT_TIMEOUT, CAS_TIMEOUT, error};
use crate::store::{ErrorKind, Result};

/// A read of the journal that takes longer than this is asked of another replica as well, an append after the second
/// time: rows of the journal are immutable, so both answers are right. Without it one slow replica is felt by every vote.
const HEDGE_TAIL: Duration = Duration::from_millis(30);
const HEDGE_APPEND: Duration = Duration::from_millis(40);

/// What else is idempotent and waited for: seldom, and a node that was stopped must not cost a whole attempt.
const HEDGE_OTHERS: Duration = Duration::from_millis(120);

/// How requests are run: where, how long, how often at once.
pub(super) struct Profiles {
    pub(super) plain: ExecutionProfileHandle,
    append: ExecutionProfileHandle,
    tail: ExecutionProfileHandle,
    cas: ExecutionProfileHandle,
}

impl Profiles {
    /// Profiles for the replicas of one data centre.
    pub(super) fn new(datacenter: &str) -> Self {
        let policy = DefaultPolicy::builder().prefer_datacenter(datacenter.to_owned()).token_aware(true).build();
        let profile = |timeout: Duration, hedge: Option<Duration>| {
            let hedge = hedge.map(|after| {
                let policy = SimpleSpeculativeExecutionPolicy { max_retry_count: 1, retry_interval: after };
                std::sync::Arc::new(policy) as std::sync::Arc<_>
            });
            ExecutionProfile::builder()
                .load_balancing_policy(policy.clone())
                .consistency(Consistency::LocalQuorum)
                .serial_consistency(Some(SerialConsistency::LocalSerial))
                .retry_policy(std::sync::Arc::new(FallthroughRetryPolicy::new()))
                .request_timeout(Some(timeout))
                .speculative_execution_policy(hedge)
                .build()
                .into_handle()
        };
        Self {
            plain: profile(ATTEMPT_TIMEOUT, Some(HEDGE_OTHERS)),
            append: profile(ATTEMPT_TIMEOUT, Some(HEDGE_APPEND)),
            tail: profile(ATTEMPT_TIMEOUT, Some(HEDGE_TAIL)),
            cas: profile(CAS_TIMEOUT, None),
        }
    }
}

/// The statements.
pub(super) struct Statements {
    pub(super) probe: PreparedStatement,
    pub(super) register: PreparedStatement,
    pub(super) lanes: PreparedStatement,
    pub(super) advance: PreparedStatement,
    pub(super) forget_lane: PreparedStatement,
    pub(super) append: PreparedStatement,
    pub(super) read_lane: PreparedStatement,
    pub(super) drop_segment: PreparedStatement,
    pub(super) chunk: PreparedStatement,
    pub(super) set_aside: PreparedStatement,
    pub(super) write_note: PreparedStatement,
    pub(super) read_notes: PreparedStatement,
    pub(super) drop_bucket: PreparedStatement,
    pub(super) raise_rank: PreparedStatement,
    pub(super) ranks: PreparedStatement,
    pub(super) put_result: PreparedStatement,
    pub(super) result: PreparedStatement,
    pub(super) settled_result: PreparedStatement,
    pub(super) beat: PreparedStatement,
    pub(super) heartbeats: PreparedStatement,
    pub(super) record: PreparedStatement,
    pub(super) settled_record: PreparedStatement,
    pub(super) first_records: PreparedStatement,
    pub(super) next_records: PreparedStatement,
    pub(super) insert_record: PreparedStatement,
    pub(super) update_record: PreparedStatement,
    pub(super) retire_record: PreparedStatement,
    pub(super) forget_record: PreparedStatement,
}

async fn prepare(
    session: &Session,
    keyspace: &str,
    profile: &ExecutionProfileHandle,
    text: &str,
) -> Result<PreparedStatement> {
    let text = text.replace("$.", &format!("{keyspace}."));
    let prepared = session.prepare(text.as_str()).await;
    let mut statement = prepared.map_err(|failure| error(ErrorKind::Unavailable, format!("`{text}`: {failure}")))?;
    statement.set_is_idempotent(true);
    statement.set_execution_profile_handle(Some(profile.clone()));
    Ok(statement)
}

impl Statements {
    /// Prepares all of them.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: the cluster is away, or its schema is not ours.
    pub(super) async fn prepare(session: &Session, keyspace: &str, profiles: &Profiles) -> Result<Self> {
        let Profiles { plain, append, tail, cas } = profiles;
        let with = async |profile, text| prepare(session, keyspace, profile, text).await;
        let settled = |statement: &PreparedStatement| {
            let mut settled = statement.clone();
            settled.set_consistency(Consistency::LocalSerial);
            settled.set_execution_profile_handle(Some(cas.clone()));
            settled
        };
        let result = with(plain, "SELECT body FROM $.results WHERE live_id = ? AND jeu_id = ? AND epoch = ?").await?;
        let record =
            with(plain, "SELECT revision, body, attempt FROM $.records WHERE kind = ? AND scope = ? AND id = ?")
                .await?;
        Ok(Self {
            probe: with(plain, "INSERT INTO $.probe (id, at) VALUES (?, ?) USING TIMESTAMP ?").await?,
            register: with(
                plain,
                "INSERT INTO $.writers (live_id, jeu_id, writer, lane, fmt) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            lanes: with(plain, "SELECT writer, lane, fmt, mat FROM $.writers WHERE live_id = ? AND jeu_id = ?").await?,
            advance: with(
                plain,
                "UPDATE $.writers USING TIMESTAMP ? SET mat = ? \
                 WHERE live_id = ? AND jeu_id = ? AND writer = ? AND lane = ?",
            )
            .await?,
            forget_lane: with(
                plain,
                "DELETE FROM $.writers USING TIMESTAMP ? \
                 WHERE live_id = ? AND jeu_id = ? AND writer = ? AND lane = ?",
            )
            .await?,
            append: with(
                append,
                "INSERT INTO $.journal (live_id, jeu_id, writer, lane, seg, seq, chunk) \
                 VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            read_lane: with(
                tail,
                "SELECT seq, chunk FROM $.journal WHERE live_id = ? AND jeu_id = ? AND writer = ? AND lane = ? \
                 AND seg = ? AND seq >= ? LIMIT ?",
            )
            .await?,
            drop_segment: with(
                plain,
                "DELETE FROM $.journal USING TIMESTAMP ? \
                 WHERE live_id = ? AND jeu_id = ? AND writer = ? AND lane = ? AND seg = ?",
            )
            .await?,
            chunk: with(
                plain,
                "SELECT chunk, WRITETIME(chunk) FROM $.journal WHERE live_id = ? AND jeu_id = ? AND writer = ? \
                 AND lane = ? AND seg = ? AND seq = ?",
            )
            .await?,
            set_aside: with(
                cas,
                "INSERT INTO $.set_aside (live_id, jeu_id, writer, lane, seg, seq, chunk) \
                 VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS",
            )
            .await?,
            write_note: with(
                plain,
                "INSERT INTO $.notes (live_id, jeu_id, bucket, viewer, note) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            read_notes: with(
                plain,
                "SELECT viewer, note FROM $.notes WHERE live_id = ? AND jeu_id = ? AND bucket = ? AND viewer > ? \
                 LIMIT ?",
            )
            .await?,
            drop_bucket: with(
                plain,
                "DELETE FROM $.notes USING TIMESTAMP ? WHERE live_id = ? AND jeu_id = ? AND bucket = ?",
            )
            .await?,
            raise_rank: with(
                plain,
                "INSERT INTO $.jeu_state (live_id, jeu_id, rank) VALUES (?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            ranks: with(plain, "SELECT jeu_id, rank FROM $.jeu_state WHERE live_id = ?").await?,
            put_result: with(
                cas,
                "INSERT INTO $.results (live_id, jeu_id, epoch, body) VALUES (?, ?, ?, ?) IF NOT EXISTS",
            )
            .await?,
            settled_result: settled(&result),
            result,
            beat: with(plain, "INSERT INTO $.heartbeats (live_id, writer, hb) VALUES (?, ?, ?) USING TIMESTAMP ?")
                .await?,
            heartbeats: with(plain, "SELECT writer, hb FROM $.heartbeats WHERE live_id = ?").await?,
            settled_record: settled(&record),
            record,
            first_records: with(plain, "SELECT id, revision, body FROM $.records WHERE kind = ? AND scope = ? LIMIT ?")
                .await?,
            next_records: with(
                plain,
                "SELECT id, revision, body FROM $.records WHERE kind = ? AND scope = ? AND id > ? LIMIT ?",
            )
            .await?,
            insert_record: with(
                cas,
                "INSERT INTO $.records (revision, body, attempt, kind, scope, id) VALUES (?, ?, ?, ?, ?, ?) \
                 IF NOT EXISTS",
            )
            .await?,
            update_record: with(
                cas,
                "UPDATE $.records SET revision = ?, body = ?, attempt = ? WHERE kind = ? AND scope = ? AND id = ? \
                 IF revision = ?",
            )
            .await?,
            retire_record: with(
                cas,
                "UPDATE $.records SET revision = 0, body = '', attempt = ? WHERE kind = ? AND scope = ? AND id = ? \
                 IF revision = ?",
            )
            .await?,
            forget_record: with(cas, "DELETE FROM $.records WHERE kind = ? AND scope = ? AND id = ? IF attempt = ?")
                .await?,
        })
    }
}
