//! The migrations in `cql/`, and the version of what a cluster has.
//!
//! Invariant: a server never changes the schema, and uses no other than its own.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::statement::{Consistency, Statement};

use super::attempt::error;
use super::url::CqlUrl;
use crate::store::{ErrorKind, Result, StoreError};

/// Every migration, the first to the last: its file, and its statements.
const MIGRATIONS: [(&str, &str); 2] = [
    ("0001_initial.cql", include_str!("../../../../cql/0001_initial.cql")),
    ("0002_set_aside.cql", include_str!("../../../../cql/0002_set_aside.cql")),
];

/// Version of the schema that this program uses: the number of the last migration.
pub const SCHEMA_VERSION: i32 = MIGRATIONS.len() as i32;

/// A change of the schema goes to all nodes; on busy ones it takes its time.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// How the one statement begins that is not about a table.
const MAKES_KEYSPACE: &str = "CREATE KEYSPACE";

/// Where the version stands.
const ID: &str = "bareme";

fn statements(text: &str, keyspace: &str) -> Vec<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("--");
    let code: Vec<_> = text.lines().filter(is_code).collect();
    let code = code.join("\n").replace("${keyspace}", keyspace);
    code.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

fn is_missing(failure: &ExecutionError) -> bool {
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) = failure else { return false };
    *error == DbError::Invalid
}

/// Version of the schema that a keyspace has; 0 when there is none.
pub(super) async fn version(session: &Session, url: &CqlUrl) -> Result<i32> {
    let text = format!("SELECT version FROM {}.schema_version WHERE id = ?", url.keyspace);
    let mut query = Statement::new(text);
    query.set_consistency(Consistency::LocalQuorum);
    let rows = match session.query_unpaged(query, (ID,)).await {
        // A keyspace or table that is not there is an invalid query to both engines.
        Err(failure) if is_missing(&failure) => return Ok(0),
        result => result.map_err(|failure| unreachable_cluster(&failure))?,
    };
    let rows = rows.into_rows_result().map_err(|failure| error(ErrorKind::Corrupt, failure))?;
    let row = rows.maybe_first_row::<(i32,)>().map_err(|failure| error(ErrorKind::Corrupt, failure))?;
    Ok(row.map_or(0, |(version,)| version))
}

fn unreachable_cluster(failure: &ExecutionError) -> StoreError {
    error(ErrorKind::Unavailable, format!("the cluster does not answer: {failure}"))
}

/// Refuses a schema of another version than this program's.
pub(super) fn check(found: i32, url: &CqlUrl) -> Result<()> {
    let keyspace = &url.keyspace;
    match found {
        SCHEMA_VERSION => Ok(()),
        0 => Err(error(
            ErrorKind::Refused,
            format!("keyspace {keyspace} has no schema; run `bareme migrate --store '{url}'` once, from one place"),
        )),
        ..SCHEMA_VERSION => Err(error(
            ErrorKind::Refused,
            format!(
                "keyspace {keyspace} has schema {found}, and this program needs {SCHEMA_VERSION}; \
                 run `bareme migrate --store '{url}'` with this program, from one place"
            ),
        )),
        _ => Err(error(
            ErrorKind::Newer,
            format!(
                "keyspace {keyspace} has schema {found}, and this program knows {SCHEMA_VERSION}; \
                 start the version that migrated it"
            ),
        )),
    }
}

/// Brings a keyspace to this program's schema: every migration in order, each followed by agreement of all nodes, then
/// the version. Says what it does through `told`.
pub(super) async fn migrate(session: &Session, url: &CqlUrl, mut told: impl FnMut(String)) -> Result<()> {
    let found = version(session, url).await?;
    if found > SCHEMA_VERSION {
        return check(found, url);
    }
    // Whoever may make tables need not be allowed to make keyspaces.
    let is_there = session.get_cluster_state().get_keyspace(&url.keyspace).is_some();
    // All of them, also those the version says are there: they may be repeated, and one may have been cut short.
    for (file, text) in MIGRATIONS {
        let mut statements = statements(text, &url.keyspace);
        statements.retain(|statement| !(is_there && statement.starts_with(MAKES_KEYSPACE)));
        told(format!("{file}: {} statements", statements.len()));
        for statement in statements {
            let first_line = statement.lines().next().unwrap_or_default().to_owned();
            let mut statement = Statement::new(statement);
            statement.set_request_timeout(Some(CHANGE_TIMEOUT));
            // The driver waits until all nodes agree on the schema before it returns.
            session
                .query_unpaged(statement, ())
                .await
                .map_err(|failure| error(ErrorKind::Unavailable, format!("{file}, `{first_line}`: {failure}")))?;
        }
    }
    session
        .await_schema_agreement()
        .await
        .map_err(|failure| error(ErrorKind::Unavailable, format!("the nodes do not agree on the schema: {failure}")))?;
    let text = format!(
        "INSERT INTO {}.schema_version (id, version) VALUES (?, ?) USING TIMESTAMP {SCHEMA_VERSION}",
        url.keyspace
    );
    let mut done = Statement::new(text);
    done.set_consistency(Consistency::LocalQuorum);
    done.set_is_idempotent(true);
    session.query_unpaged(done, (ID, SCHEMA_VERSION)).await.map_err(|failure| unreachable_cluster(&failure))?;
    told(format!("keyspace {} has schema {SCHEMA_VERSION}", url.keyspace));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> CqlUrl {
        "cql://a/k?dc=dc1".parse().unwrap()
    }

    #[test]
    fn migrations_are_numbered_without_gaps_and_are_all_there() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../cql");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, MIGRATIONS.map(|(file, _)| file));
        for (index, file) in files.iter().enumerate() {
            assert_eq!(file[..4].parse::<usize>(), Ok(index + 1), "{file}");
        }
    }

    #[test]
    fn every_statement_may_be_repeated_and_names_the_keyspace() {
        for (file, text) in MIGRATIONS {
            for statement in statements(text, "k") {
                assert!(statement.contains("IF NOT EXISTS k"), "{file}: {statement}");
                assert!(!statement.contains("${"), "{file}: {statement}");
            }
        }
    }

    #[test]
    fn a_schema_of_another_version_is_refused_with_what_to_do() {
        assert!(check(SCHEMA_VERSION, &url()).is_ok());
        let missing = check(0, &url()).unwrap_err();
        assert_eq!(missing.kind, ErrorKind::Refused);
        assert!(missing.to_string().contains("has no schema; run `bareme migrate"), "{missing}");
        let newer = check(SCHEMA_VERSION + 1, &url()).unwrap_err();
        assert_eq!(newer.kind, ErrorKind::Newer);
        assert!(newer.to_string().contains("start the version that migrated it"), "{newer}");
    }
}
