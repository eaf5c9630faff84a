//! Making the schema, and refusing one that is not ours.

use std::path::PathBuf;
use std::process::Command;

use bareme::store::cql::{CqlStore, CqlUrl, SCHEMA_VERSION};
use bareme::store::{ErrorKind, Store as _};
use scylla::client::session_builder::SessionBuilder;

use super::{RUNTIME, url, whole};
use crate::harness::{bareme, finish};

/// A keyspace of its own for a test.
fn keyspace(url: &CqlUrl, name: &str) -> CqlUrl {
    CqlUrl { keyspace: format!("bareme_{name}_{}", std::process::id()), ..url.clone() }
}

async fn ask(url: &CqlUrl, statement: String) {
    let session = SessionBuilder::new().known_nodes(&url.nodes).build().await.unwrap();
    session.query_unpaged(statement, ()).await.unwrap();
}

fn kind(outcome: Result<CqlStore, bareme::store::StoreError>) -> (ErrorKind, String) {
    match outcome {
        Ok(_) => panic!("it was taken"),
        Err(error) => (error.kind, error.to_string()),
    }
}

#[test]
fn a_keyspace_is_migrated_by_command_as_often_as_one_likes_and_another_schema_is_refused() {
    let Some(url) = url() else { return };
    let _whole = whole();
    let url = keyspace(&url, "schema");
    let name = &url.keyspace;
    let store = url.to_string();
    RUNTIME.block_on(async {
        let (missing, text) = kind(CqlStore::connect(&url).await);
        assert_eq!(missing, ErrorKind::Refused);
        assert!(text.contains("run `bareme migrate"), "{text}");
        let refused = finish(bareme().args(["serve", "--listen", "127.0.0.1:0", "--store", &store]));
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains("has no schema; run `bareme migrate"), "{}", refused.stderr);

        for _ in 0..2 {
            let migrated = finish(bareme().args(["migrate", "--store", &store]));
            assert_eq!((migrated.code, migrated.stderr.as_str()), (Some(0), ""));
            assert!(migrated.stdout.contains(&format!("has schema {SCHEMA_VERSION}")), "{}", migrated.stdout);
        }
        drop(CqlStore::connect(&url).await.unwrap());

        let newer = format!("INSERT INTO {name}.schema_version (id, version) VALUES ('bareme', 99)");
        ask(&url, newer).await;
        let (newer, text) = kind(CqlStore::connect(&url).await);
        assert_eq!(newer, ErrorKind::Newer);
        assert!(text.contains("has schema 99") && text.contains("start the version that migrated it"), "{text}");
        let refused = finish(bareme().args(["migrate", "--store", &store]));
        assert_eq!(refused.code, Some(1), "nothing is taken back");
        assert!(refused.stderr.contains("has schema 99"), "{}", refused.stderr);

        ask(&url, format!("INSERT INTO {name}.schema_version (id, version) VALUES ('bareme', -1)")).await;
        let (older, text) = kind(CqlStore::connect(&url).await);
        assert_eq!(older, ErrorKind::Refused);
        assert!(text.contains("has schema -1, and this program needs"), "{text}");
        ask(&url, format!("DROP KEYSPACE {name}")).await;
    });
}

#[test]
fn a_cluster_that_is_not_there_and_a_data_centre_nobody_is_in_are_said_to_be() {
    let Some(url) = url() else { return };
    let _whole = whole();
    RUNTIME.block_on(async {
        let elsewhere = CqlUrl { datacenter: "dc9".to_owned(), ..url.clone() };
        let (_, text) = kind(CqlStore::connect(&elsewhere).await);
        assert!(text.contains("no node is in the data centre dc9; there are: dc1"), "{text}");
        let nowhere = CqlUrl { nodes: vec!["127.0.0.1:1".to_owned()], ..url };
        let (_, text) = kind(CqlStore::connect(&nowhere).await);
        assert!(text.contains("cannot reach the cluster at 127.0.0.1:1"), "{text}");
    });
}

#[test]
fn with_the_nodes_certificate_all_traffic_is_encrypted_and_another_certificate_is_refused() {
    let Some(url) = url() else { return };
    let Some(certificate) = std::env::var_os("BAREME_CQL_TLS").map(PathBuf::from) else {
        println!("skipped: BAREME_CQL_TLS is not set. `cargo xtask cluster test` sets it");
        return;
    };
    let _whole = whole();
    RUNTIME.block_on(async {
        super::store(&url).await;
        let encrypted = CqlUrl { tls: Some(certificate), ..url.clone() };
        CqlStore::connect(&encrypted).await.unwrap().probe().await.unwrap();
        // Of somebody else, made with the same tool.
        let folder = tempfile::tempdir().unwrap();
        let (keys, other) = (folder.path().join("keys"), folder.path().join("other.pem"));
        let place = ["-alias", "x", "-storepass", "bareme", "-keystore", keys.to_str().unwrap()];
        for arguments in [
            &["-genkeypair", "-keyalg", "EC", "-storetype", "PKCS12", "-dname", "CN=bareme tests"][..],
            &["-exportcert", "-rfc", "-file", other.to_str().unwrap()],
        ] {
            assert!(Command::new("keytool").args(arguments).args(place).output().unwrap().status.success());
        }
        let strange = CqlUrl { tls: Some(other), ..url };
        let (refused, text) = kind(CqlStore::connect(&strange).await);
        assert_eq!(refused, ErrorKind::Refused, "{text}");
        assert!(text.contains("be signed by one of those in tls="), "{text}");
    });
}
