//! The restore drill: everything but the dumps is lost, on each store, and comes back byte for byte.

use std::path::PathBuf;

use anyhow::Result;

use crate::cluster::{Cluster, URL};
use crate::go;
use crate::manifests::cache;
use crate::steps::{Steps, say};

/// The S3 server that stands for all buckets; checks signatures and sums, and knows conditional writes.
const VERSITYGW: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

/// The S3 server, installed once.
fn gateway(steps: &Steps) -> Result<PathBuf> {
    let folder = cache()?.join("versitygw-1.8.0");
    let program = folder.join("versitygw");
    if !program.exists() {
        go::install(steps)?;
        let mut install = go::go();
        // Without optimisation, it is built four times as fast.
        install.args(["install", "-gcflags=all=-N -l", VERSITYGW]).env("GOBIN", &folder);
        steps.run(&format!("go install {VERSITYGW}"), &mut install)?;
    }
    Ok(program)
}

/// Dumps in a bucket, against a real S3 server on loopback.
pub(crate) fn s3(steps: &Steps) -> Result<()> {
    let gateway = gateway(steps)?;
    steps.it_tests("dumps in a bucket", "archive::s3::", &[("BAREME_VERSITYGW", &gateway)], true)
}

/// The drill on a file, from a bucket and on a cluster, which is started unless there is one.
pub(crate) fn run(steps: &Steps, without_cluster: bool) -> Result<()> {
    s3(steps)?;
    let name = "archive::drill::";
    if without_cluster {
        say("\nwithout a cluster: only the drill on a file");
        return steps.it_tests("restore drill on a file", name, &[], false);
    }
    crate::setup::cluster(steps, false)?;
    let url = PathBuf::from(URL);
    Cluster::new(steps).with(|| steps.it_tests("restore drill on both stores", name, &[("BAREME_CQL", &url)], false))
}
