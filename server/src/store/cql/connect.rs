//! A session with a cluster: who to ask first, how to sign in, what to check before anything is served.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use scylla::client::session::{Session, TlsContext};
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, MetadataError, NewSessionError,
};

use super::attempt::error;
use super::statements::Profiles;
use super::url::CqlUrl;
use crate::store::{ErrorKind, Result, StoreError};

/// One TCP connection, TLS and sign-in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that answers no keep-alive for this long is taken for away: one that was stopped keeps its connections.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(2);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// Nodes differ about the schema for a moment after each change.
const AGREEMENT_WITHIN: Duration = Duration::from_secs(60);

/// Changes that come back by themselves, such as a new node, are also looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How Cassandra begins to say that it could not look a password up, as against that it is a wrong one.
const CANNOT_LOOK_UP: &str = "Unable to perform authentication";

/// Opens a session.
///
/// # Errors
/// [`ErrorKind::Unavailable`], [`ErrorKind::Refused`] when waiting would not help; with a text that says what to look at.
pub(super) async fn connect(url: &CqlUrl, profiles: &Profiles) -> Result<Session> {
    let mut builder = SessionBuilder::new()
        .known_nodes(&url.nodes)
        .default_execution_profile_handle(profiles.plain.clone())
        .connection_timeout(CONNECT_TIMEOUT)
        .keepalive_interval(KEEP_ALIVE_EVERY)
        .keepalive_timeout(KEEP_ALIVE_WITHIN)
        .schema_agreement_timeout(AGREEMENT_WITHIN)
        .cluster_metadata_refresh_interval(LOOK_EVERY)
        .tcp_nodelay(true);
    if let Some((user, file)) = &url.login {
        builder = builder.user(user, password(file)?);
    }
    if let Some(file) = &url.tls {
        builder = builder.tls_context(Some(TlsContext::Rustls023(tls(file)?)));
    }
    let session = builder.build().await.map_err(|failure| not_let_in(url, &failure))?;
    let state = session.get_cluster_state();
    let mut known: Vec<_> = state.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
    if !known.contains(&url.datacenter) {
        known.sort();
        known.dedup();
        let text = format!("no node is in the data centre {}; there are: {}", url.datacenter, known.join(", "));
        return Err(error(ErrorKind::Refused, text));
    }
    Ok(session)
}

/// Why a session was not opened, with the part of the address that has to change where it is that.
fn not_let_in(url: &CqlUrl, failure: &NewSessionError) -> StoreError {
    let nodes = url.nodes.join(", ");
    match remedy(url, failure) {
        Some((kind, remedy)) => error(kind, format!("the cluster at {nodes} does not let this program in: {remedy}")),
        None => error(ErrorKind::Unavailable, format!("cannot reach the cluster at {nodes}: {failure}")),
    }
}

fn remedy(url: &CqlUrl, failure: &NewSessionError) -> Option<(ErrorKind, String)> {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error: last,
    })) = failure
    else {
        return None;
    };
    let tls = url.tls.as_ref().map(|file| format!("tls={}", file.display()));
    match (last, tls) {
        (ConnectionError::IoError(failure), Some(tls)) => match failure.get_ref()?.downcast_ref::<rustls::Error>()? {
            failure @ rustls::Error::InvalidCertificate(_) => {
                let text = format!(
                    "{failure}; a node's certificate has to name the node's address and be signed by one of those in {tls}"
                );
                Some((ErrorKind::Refused, text))
            }
            failure @ rustls::Error::InvalidMessage(_) => {
                Some((ErrorKind::Refused, format!("it does not speak TLS ({failure}); leave {tls} out of the address")))
            }
            _ => None,
        },
        (ConnectionError::ConnectionSetupRequestError(failure), tls) => match &failure.error {
            ConnectionSetupRequestErrorKind::MissingAuthentication => {
                let text = "it asks for a password; add user=NAME&password_file=FILE to the address";
                Some((ErrorKind::Refused, text.to_owned()))
            }
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, why) => {
                // With too few nodes there it cannot look a password up, and says so in the same way.
                let is_down = why.starts_with(CANNOT_LOOK_UP);
                let kind = if is_down { ErrorKind::Unavailable } else { ErrorKind::Refused };
                let (user, file) = url.login.as_ref()?;
                Some((kind, format!("{why}; the address has user={user}&password_file={}", file.display())))
            }
            // A node that takes TLS only ends a connection that begins otherwise. So does one that stops: no refusal.
            ConnectionSetupRequestErrorKind::BrokenConnection(_) if tls.is_none() => {
                let text =
                    "it ended the connection without an answer; if it takes TLS only, add tls=FILE to the address";
                Some((ErrorKind::Unavailable, text.to_owned()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn password(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|failure| {
        error(ErrorKind::Refused, format!("the password file {} cannot be read: {failure}", file.display()))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn tls(file: &Path) -> Result<Arc<rustls::ClientConfig>> {
    let unusable = |failure: &dyn std::fmt::Display| {
        error(ErrorKind::Refused, format!("the certificates in {} cannot be used: {failure}", file.display()))
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|failure| unusable(&failure))? {
        let certificate = certificate.map_err(|failure| unusable(&failure))?;
        roots.add(certificate).map_err(|failure| unusable(&failure))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"there is none in it"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|failure| unusable(&failure))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Warns when the cluster acknowledges writes before it syncs them: a power cut of two nodes could then take notes that
/// viewers were told are kept. Asks the node at hand, in the words of either engine.
pub(super) async fn warn_of_late_sync(session: &Session) {
    for table in ["system_views.settings", "system.config"] {
        let asked = session.query_unpaged(format!("SELECT value FROM {table} WHERE name = 'commitlog_sync'"), ()).await;
        let Ok(Ok(rows)) = asked.map(scylla::response::query_result::QueryResult::into_rows_result) else { continue };
        if let Ok(Some((value,))) = rows.maybe_first_row::<(String,)>()
            && value.trim_matches('"') == "periodic"
        {
            tracing::warn!(
                "the cluster has commitlog_sync: periodic, which acknowledges before it syncs; \
                 set it to batch, or on Cassandra to group, on every node"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_may_end_with_a_new_line_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pw");
        std::fs::write(&file, "s ecret\n").unwrap();
        assert_eq!(password(&file).unwrap(), "s ecret");
        let missing = password(&folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none cannot be read"), "{missing}");
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).unwrap();
            let refused = tls(&file).unwrap_err();
            assert!(refused.to_string().contains("ca.pem cannot be used"), "{refused}");
        }
    }
}
