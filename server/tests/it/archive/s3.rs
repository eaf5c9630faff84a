//! Dumps in a bucket of a real S3 server: versitygw, which `cargo xtask s3` installs and names in `BAREME_VERSITYGW`.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::drill::{Ground, drill};
use super::{crowd, end};
use crate::harness::{Server, data_dir, eventually, free_port};
use crate::studio::Studio;

const KEY: &str = "bareme-it";
const SECRET: &str = "hunter2-hunter2-hunter2";

/// The server; ended with the test.
struct Gateway {
    child: Child,
}

impl Gateway {
    async fn start(port: u16, folder: &Path) -> Self {
        let program =
            std::env::var("BAREME_VERSITYGW").expect("`cargo xtask s3` installs it and sets BAREME_VERSITYGW");
        let mut command = Command::new(program);
        command.args(["--port", &format!("127.0.0.1:{port}"), "posix"]).arg(folder);
        command.env("ROOT_ACCESS_KEY", KEY).env("ROOT_SECRET_KEY", SECRET);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the S3 server", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
        Self { child }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Buckets are folders of the server's own; extended attributes keep it from most memory disks.
fn bucket(folder: &Path) {
    std::fs::create_dir_all(folder.join("bareme")).unwrap();
}

#[tokio::test]
#[ignore = "needs an S3 server: `cargo xtask s3` installs one and runs this"]
async fn a_file_that_was_lost_is_restored_from_a_bucket_byte_for_byte() {
    let (dir, objects) = (data_dir(), tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    bucket(objects.path());
    let port = free_port();
    let _gateway = Gateway::start(port, objects.path()).await;
    let path = dir.path().join("data");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let (endpoint, secret) = (format!("http://127.0.0.1:{port}"), secret.display().to_string());
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY_FILE", secret.as_str()),
    ];
    let ground = Ground { dir: &path, cluster: None, to: "s3://bareme/lives/here", variables: &variables };
    drill(&ground, async || std::fs::remove_dir_all(&path).unwrap()).await;
    let wrong = [&variables[..4], &[("AWS_SECRET_ACCESS_KEY", "wrong-wrong-wrong")]].concat();
    let mut refused = crate::harness::bareme();
    refused.envs(wrong).args(["dump", "--all", "--dump-to", "s3://bareme/lives/here", "--data-dir"]).arg(&path);
    let refused = crate::harness::finish(&mut refused);
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(!refused.stderr.contains("wrong-wrong"), "{}", refused.stderr);
}

#[tokio::test]
#[ignore = "needs an S3 server: `cargo xtask s3` installs one and runs this"]
async fn a_bucket_that_is_away_is_tried_again_until_it_is_back() {
    let (dir, objects) = (data_dir(), tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    bucket(objects.path());
    let port = free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ];
    let server = Server::start_with(&["serve", "--dump-to", "s3://bareme/x"], dir.path(), &variables).await;
    let studio = Studio::new(dir.path());
    let (live, jeux) = studio.live(&server, "max", json!({}), "all").await;
    crowd(&server, &live, jeux[0], 50).await;
    end(&studio, &server, &live).await;
    eventually("a failure", async || (server.metric("dumps_failed_total").await >= 1.0).then_some(())).await;
    assert!(!server.said().contains(SECRET));
    let _gateway = Gateway::start(port, objects.path()).await;
    eventually("the dump", async || (server.metric("dumps_made_total").await == 1.0).then_some(())).await;
    server.stop().await;
}
