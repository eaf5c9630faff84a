//! Nodes that are guarded as `k8s/database/cassandra` says: who gets in, what each role may do, and what gets out.
//!
//! `cargo xtask cluster --guarded test` starts such nodes and runs this; without `BAREME_CQL_GUARDED` these tests pass at once
//! and say so.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use bareme::store::cql::CqlUrl;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use scylla::client::session::{Session, TlsContext};
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{DbError, ExecutionError, NewSessionError, RequestAttemptError};
use serde_json::json;

use crate::harness::{PATIENCE, Server, bareme, data_dir, eventually, finish, free_port};
use crate::recount::jeu_of;
use crate::studio::Studio;
use crate::wire::Page;

/// Where nodes speak to each other.
const BETWEEN_NODES: u16 = 7000;

/// The nodes, as servers and their migration are told of them by the manifests.
struct Guarded {
    servers: CqlUrl,
    migration: CqlUrl,
    folder: PathBuf,
}

/// The nodes with the tables on them, or `None` after a word about it.
fn guarded() -> Option<Guarded> {
    static MIGRATED: OnceLock<()> = OnceLock::new();
    let variable = |name: &str| std::env::var(format!("BAREME_CQL_GUARDED{name}"));
    let Ok(servers) = variable("") else {
        println!("skipped: no guarded cluster. `cargo xtask cluster --guarded test` starts one and runs this");
        return None;
    };
    let migration = variable("_MIGRATION").unwrap().parse().unwrap();
    let folder = PathBuf::from(variable("_FOLDER").unwrap());
    let found = Guarded { servers: servers.parse().unwrap(), migration, folder };
    MIGRATED.get_or_init(|| {
        let migrated = finish(bareme().args(["migrate", "--store", &found.migration.to_string()]));
        assert_eq!((migrated.code, migrated.stderr.as_str()), (Some(0), ""), "{}", migrated.stdout);
    });
    Some(found)
}

/// Files below a folder whose name says that a password is in them.
fn passwords(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            passwords(&entry.path(), found);
        } else if entry.file_name().to_string_lossy().ends_with("password") {
            found.push(std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

fn tls(authority: &Path) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn sign_in(url: &CqlUrl, user: &str, password: &str) -> Result<Session, NewSessionError> {
    let tls = TlsContext::Rustls023(tls(url.tls.as_ref().unwrap()));
    SessionBuilder::new().known_nodes(&url.nodes).user(user, password).tls_context(Some(tls)).build().await
}

async fn of(url: &CqlUrl) -> Session {
    let (user, file) = url.login.clone().unwrap();
    sign_in(url, &user, &std::fs::read_to_string(file).unwrap()).await.unwrap()
}

/// That a statement is refused for want of a permission, and not for another reason.
async fn may_not(session: &Session, statement: &str) {
    let failure = session.query_unpaged(statement, ()).await.expect_err(statement);
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(why, _)) = &failure else {
        panic!("{statement}: {failure}")
    };
    assert_eq!(*why, DbError::Unauthorized, "{statement}: {failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_ends_with_the_right_result_and_no_secret_gets_into_a_log_or_onto_a_command_line() {
    let Some(guarded) = guarded() else { return };
    let (store, channel) = (guarded.servers.to_string(), format!("garde-{}", std::process::id()));
    let (studio, dir) = (Studio::on_store(&store), data_dir());
    let server = Server::start(&["serve", "--store", &store], dir.path()).await;
    let (live, jeux) = studio.live(&server, &channel, json!({}), "all").await;
    for fun in 1..=5_u64 {
        let mut page = Page::viewer(&server, &channel).await;
        for jeu in &jeux {
            // A jeu that was just opened takes votes half a second later.
            eventually("a vote is taken", async || {
                (page.noted(*jeu, json!({"fun": fun})).await["status"] == "ok").then_some(())
            })
            .await;
        }
    }
    studio.post(&server, &format!("/api/admin/lives/{live}/close"), json!({"delay_ms": 0})).await;
    let results = eventually("everything is final", async || {
        let results = server.results(&live).await;
        jeux.iter().all(|jeu| jeu_of(&results, *jeu)["phase"] == "final").then_some(results)
    })
    .await;
    for jeu in &jeux {
        let result = jeu_of(&results, *jeu);
        assert_eq!((&result["voters"], &result["mean"]), (&json!(5), &json!(3.0)), "{result}");
        assert_eq!(result["criteres"][0]["histogram"], json!([1, 1, 1, 1, 1]));
    }
    // It may complain of nodes that are slow on a busy machine, and of nothing that it may not do.
    let forbidden: Vec<_> = server.complaints().into_iter().filter(|line| line.contains("permission")).collect();
    assert_eq!(forbidden, Vec::<String>::new());

    // While servers and nodes run, so that their command lines are there.
    let mut secrets = Vec::new();
    passwords(&guarded.folder, &mut secrets);
    assert_eq!(
        secrets.len(),
        9,
        "of servers, of their migration, three of the Job, of the authority, one of each node"
    );
    let mut places = vec![("the server's log".to_owned(), server.said())];
    for file in ["commands", "node1/system.log", "node1/output", "node2/system.log", "node3/system.log"] {
        places.push((file.to_owned(), std::fs::read_to_string(guarded.folder.join(file)).unwrap()));
    }
    for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        if let Ok(words) = std::fs::read(process.path().join("cmdline")) {
            places.push((process.path().display().to_string(), String::from_utf8_lossy(&words).replace('\0', " ")));
        }
    }
    for program in ["bareme serve", "CassandraDaemon", "keytool -genkeypair", "cqlsh --ssl", "openssl rand"] {
        assert!(places.iter().any(|(_, text)| text.contains(program)), "{program} was not looked at");
    }
    for (place, text) in &places {
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{place} has a secret");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lacks_the_password_the_authority_or_tls_is_refused_with_what_to_set() {
    let Some(guarded) = guarded() else { return };
    let folder = data_dir();
    let (wrong, other) = (folder.path().join("wrong"), folder.path().join("other.pem"));
    std::fs::write(&wrong, "mot-de-passe-faux").unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
        .args(["-subj", "/CN=bareme database", "-keyout"])
        .arg(folder.path().join("other.key"))
        .arg("-out")
        .arg(&other)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Somebody in between, who has the certificate of none of the addresses that are asked for.
    let between = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = between.local_addr().unwrap().to_string();
    let node = guarded.servers.nodes[0].clone();
    tokio::spawn(async move {
        while let Ok((mut one, _)) = between.accept().await {
            let node = node.clone();
            tokio::spawn(async move {
                let mut other = tokio::net::TcpStream::connect(node).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut one, &mut other).await;
            });
        }
    });
    let login = |file: &PathBuf| Some(("bareme".to_owned(), file.clone()));
    let right = || guarded.servers.clone();
    for (url, parts) in [
        (
            CqlUrl { login: None, ..right() },
            ["asks for a password", "add user=NAME&password_file=FILE"].map(str::to_owned),
        ),
        (
            CqlUrl { login: login(&wrong), ..right() },
            ["are incorrect".to_owned(), format!("user=bareme&password_file={}", wrong.display())],
        ),
        (
            CqlUrl { tls: Some(other.clone()), ..right() },
            ["invalid peer certificate".to_owned(), format!("signed by one of those in tls={}", other.display())],
        ),
        (
            CqlUrl { nodes: vec![elsewhere], ..right() },
            ["not valid for name".to_owned(), "has to name the node's address".to_owned()],
        ),
    ] {
        for command in ["serve", "migrate"] {
            let url = url.to_string();
            let ended =
                finish(bareme().args([command, "--listen", &format!("127.0.0.1:{}", free_port()), "--store", &url]));
            assert_eq!(ended.code, Some(1), "{url}: {}{}", ended.stdout, ended.stderr);
            for part in &parts {
                assert!(ended.stderr.contains(part.as_str()), "{part} is not in: {}", ended.stderr);
            }
            assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("mot-de-passe-faux"));
        }
    }
    // Without TLS a node ends the connection, as one that stops would: a server waits, and says why.
    for login in [None, guarded.servers.login.clone()] {
        let url = CqlUrl { tls: None, login, ..right() }.to_string();
        let ended = finish(bareme().args(["migrate", "--store", &url]));
        assert_eq!(ended.code, Some(1), "{}", ended.stdout);
        assert!(ended.stderr.contains("if it takes TLS only, add tls=FILE to the address"), "{}", ended.stderr);
        let server = Server::spawn(&["serve", "--store", &url], folder.path(), free_port());
        eventually("it says why it waits", async || {
            let said = server.said();
            (said.contains("trying again") && said.contains("add tls=FILE to the address")).then_some(())
        })
        .await;
        server.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_of_servers_read_and_write_their_rows_and_nothing_else() {
    let Some(guarded) = guarded() else { return };
    let (servers, migration) = (of(&guarded.servers).await, of(&guarded.migration).await);
    let anybodys = [
        "SELECT role, salted_hash FROM system_auth.roles",
        "SELECT * FROM system_auth.role_permissions",
        "DROP KEYSPACE bareme",
        "ALTER KEYSPACE bareme WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
        "CREATE KEYSPACE other WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
        "CREATE ROLE other WITH LOGIN = true AND PASSWORD = 'x'",
        "ALTER ROLE admin WITH PASSWORD = 'x'",
        "ALTER ROLE bareme WITH SUPERUSER = true",
        "GRANT ALL PERMISSIONS ON ALL KEYSPACES TO bareme",
    ];
    for statement in anybodys {
        may_not(&servers, statement).await;
        may_not(&migration, statement).await;
    }
    for statement in
        ["DROP TABLE bareme.notes", "ALTER TABLE bareme.notes ADD x int", "CREATE TABLE bareme.x (k int PRIMARY KEY)"]
    {
        may_not(&servers, statement).await;
    }
    let refused = finish(bareme().args(["migrate", "--store", &guarded.servers.to_string()]));
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(refused.stderr.contains("User bareme has no CREATE permission"), "{}", refused.stderr);
    // What a server looks at when it starts, and what start.sh sets.
    let asked = servers.query_unpaged("SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'", ());
    let (sync,) = asked.await.unwrap().into_rows_result().unwrap().first_row::<(String,)>().unwrap();
    assert_eq!(sync, "group");
    let well_known = sign_in(&guarded.servers, "cassandra", "cassandra").await;
    assert!(well_known.is_err(), "the well-known password is taken away");
}

#[test]
fn nodes_take_no_connection_of_another_node_without_a_certificate_of_the_authority() {
    let Some(guarded) = guarded() else { return };
    let authority = guarded.servers.tls.as_ref().unwrap();
    for node in &guarded.servers.nodes {
        let ip: IpAddr = node.parse::<SocketAddr>().unwrap().ip();
        let connect = || {
            let stream = TcpStream::connect((ip, BETWEEN_NODES)).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        };
        // In plain text: it ends without a byte that would answer.
        let mut plain = connect();
        plain.write_all(&[0xCA, 0x55, 0x2D, 0xFA, 0, 0, 0, 0]).unwrap();
        let mut answer = Vec::new();
        let _reset = plain.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 21, "an alert of TLS at most: {answer:?}");
        // Encrypted, with a certificate that is theirs and none that is ours.
        let client = rustls::ClientConnection::new(tls(authority), ip.into()).unwrap();
        let mut stream = rustls::StreamOwned::new(client, connect());
        let refused = stream.write_all(&[0; 8]).and_then(|()| stream.read_exact(&mut [0; 1])).unwrap_err();
        let why = refused.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
        assert!(matches!(why, Some(rustls::Error::AlertReceived(_))), "{refused:?}");
    }
}
