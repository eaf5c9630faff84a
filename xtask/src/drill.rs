//! The restore drill: everything but the dumps is lost, on each store, and comes back byte for byte.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cluster::{Cluster, URL};
use crate::steps::{Steps, say};

/// The S3 server that stands for all buckets; checks signatures and sums, and knows conditional writes.
const VERSITYGW: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

/// Where `go install` puts it.
fn gateway(steps: &Steps) -> PathBuf {
    steps.target().join("tools/versitygw")
}

/// Installs the S3 server, once: some two minutes.
fn install(steps: &Steps) -> Result<()> {
    if gateway(steps).exists() {
        return Ok(());
    }
    let mut go = Command::new("go");
    go.args(["install", VERSITYGW]).env("GOBIN", steps.target().join("tools"));
    // Without these a machine's own defaults may send it elsewhere, or leave a module folder that nobody can delete.
    go.env("GOFLAGS", "-modcacherw -trimpath");
    steps.run(&format!("go install {VERSITYGW}"), &mut go)
}

/// Dumps in a bucket, against a real S3 server on loopback.
pub(crate) fn s3(steps: &Steps) -> Result<()> {
    crate::setup::go()?;
    install(steps)?;
    steps.it_tests("dumps in a bucket", "archive::s3::", &[("BAREME_VERSITYGW", &gateway(steps))], true)
}

/// The drill on a file, from a bucket and on a cluster, which is started unless there is one.
pub(crate) fn run(steps: &Steps, without_cluster: bool) -> Result<()> {
    s3(steps)?;
    let name = "archive::drill::";
    if without_cluster {
        say("\nwithout a cluster: only the drill on a file");
        return steps.it_tests("restore drill on a file", name, &[], false);
    }
    crate::setup::cluster(steps)?;
    let url = PathBuf::from(URL);
    Cluster::new(steps).with(|| steps.it_tests("restore drill on both stores", name, &[("BAREME_CQL", &url)], false))
}
