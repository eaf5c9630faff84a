//! The restore drill: a live is dumped, everything else is lost, and what is restored is the same, byte for byte.
//!
//! `cargo xtask drill` runs it on both stores.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::{crowd, end, shown};
use crate::harness::{Ended, Server, bareme, data_dir, eventually, finish};
use crate::studio::Studio;

/// Notes of the drill, on two jeux together.
fn count() -> u32 {
    std::env::var("BAREME_DRILL_NOTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// Where a drill takes place.
pub(super) struct Ground<'a> {
    /// Folder of the database, if there is no cluster.
    pub(super) dir: &'a Path,
    /// The cluster.
    pub(super) cluster: Option<&'a str>,
    /// Where dumps go.
    pub(super) to: &'a str,
    /// Secrets of that place.
    pub(super) variables: &'a [(&'a str, &'a str)],
}

impl Ground<'_> {
    fn command(&self, arguments: &[&str]) -> Ended {
        let variables = self.variables.iter().copied();
        let mut command = bareme();
        command.envs(variables).args(arguments).args(["--dump-to", self.to]).arg("--data-dir").arg(self.dir);
        finish(command.args(self.store()))
    }

    fn store(&self) -> Vec<&str> {
        self.cluster.map_or_else(Vec::new, |url| vec!["--store", url])
    }

    fn done(&self, arguments: &[&str]) -> String {
        let ended = self.command(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    }

    async fn start(&self) -> Server {
        let arguments = [vec!["serve", "--dump-to", self.to], self.store()].concat();
        Server::start_with(&arguments, self.dir, self.variables).await
    }

    /// What a live comes to: over HTTP and by the command.
    async fn everything(&self, server: &Server, live: &str) -> Vec<String> {
        let made = self.done(&["token", "new", "--name", "drill", "--role", "admin"]);
        let studio = Studio::of(&made);
        let mut texts = shown(&studio, server, live).await.to_vec();
        texts.extend(["csv", "json", "ndjson"].map(|format| self.done(&["export", live, "--format", format])));
        texts
    }
}

/// The drill; `wipe` loses everything but the dumps.
pub(super) async fn drill(ground: &Ground<'_>, wipe: impl AsyncFnOnce()) {
    let server = ground.start().await;
    let studio = Studio::of(&ground.done(&["token", "new", "--name", "it", "--role", "admin"]));
    let channel = format!("drill-{}", rand::random::<u32>());
    let (live, jeux) = studio.live(&server, &channel, json!({}), "all").await;
    crowd(&server, &live, jeux[0], count() - count() / 4).await;
    crowd(&server, &live, jeux[1], count() / 4).await;
    end(&studio, &server, &live).await;
    let ended = Instant::now();
    eventually("the dump", async || (server.metric("dumps_made_total").await >= 1.0).then_some(())).await;
    println!("{} notes: dumped {:?} after the end", count(), ended.elapsed());
    let before = ground.everything(&server, &live).await;
    assert_eq!(before[3], before[1].replace("\r\n", "\n").trim_end(), "the command says what the API says");
    assert_eq!((&before[4], before[5].as_str()), (&before[0], before[2].trim_end()));
    let said = ground.done(&["dump", "--live", &live]);
    let place = said.trim().rsplit(' ').next().unwrap().to_owned();
    server.stop().await;

    wipe().await;

    let server = ground.start().await;
    let gone = ground.command(&["export", &live, "--format", "json"]);
    assert_eq!(gone.code, Some(1), "everything is lost: {}", gone.stdout);
    let started = Instant::now();
    ground.done(&["restore", &place, "--same-id"]);
    println!("restored in {:?}", started.elapsed());
    assert_eq!(ground.everything(&server, &live).await, before, "byte for byte");
    let lives = server.get(&format!("/api/channels/{channel}/lives")).await;
    assert!(lives.to_string().contains(&live), "{lives}");
    ground.done(&["restore", &place, "--same-id"]);
    assert_eq!(ground.everything(&server, &live).await, before, "and again");
    let copy = ground.done(&["restore", &place]);
    assert!(copy.contains(&format!("{} notes restored", count())), "{copy}");
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_was_lost_is_restored_byte_for_byte() {
    let (dir, dumps) = (data_dir(), data_dir());
    let path = dir.path().join("data");
    let to = format!("file://{}/dumps", dumps.path().display());
    let ground = Ground { dir: &path, cluster: None, to: &to, variables: &[] };
    drill(&ground, async || std::fs::remove_dir_all(&path).unwrap()).await;
}

#[test]
fn a_cluster_that_was_lost_is_restored_byte_for_byte() {
    let Ok(url) = std::env::var("BAREME_CQL") else {
        println!("skipped: no cluster. `cargo xtask drill` starts one and runs this");
        return;
    };
    let keyspace = format!("drill_{:08x}", rand::random::<u32>());
    let url = url.replacen("/bareme?", &format!("/{keyspace}?"), 1);
    let (dir, dumps) = (data_dir(), data_dir());
    let to = format!("file://{}/dumps", dumps.path().display());
    let ground = Ground { dir: dir.path(), cluster: Some(&url), to: &to, variables: &[] };
    let migrate = || assert_eq!(finish(bareme().args(["migrate", "--store", &url])).code, Some(0));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        migrate();
        drill(&ground, async || {
            crate::cql::drop_keyspace(&url).await;
            migrate();
        })
        .await;
        crate::cql::drop_keyspace(&url).await;
    });
}
