//! A real control plane of Kubernetes on this machine: API server with etcd, controllers, scheduler; nodes are played by kwok, and
//! no container runs. Every overlay is applied to it, and what shall happen by itself has to happen.
//!
//! The programs are built from their Go modules (`xtask/control-plane`), once: a quarter of an hour of one core.
//!
//! **Invariant**: what was started here ends with its guard, and listens on the loopback only.

mod plane;
mod programs;
mod scenes;

use anyhow::Result;

use self::plane::Plane;
use self::programs::Programs;
use crate::manifests;
use crate::steps::{Steps, say};

/// Builds what is not there, starts it, and plays every scene.
pub(crate) fn run(steps: &Steps) -> Result<()> {
    let programs = Programs::build(steps)?;
    let crds = manifests::crds(steps)?;
    let plane = Plane::start(steps, programs)?;
    say(&format!("\n=== {}", plane.version()?));
    plane.install(&crds)?;
    scenes::applies(steps, &plane)?;
    scenes::refuses(steps, &plane)?;
    scenes::scales(&plane)?;
    scenes::evicts(&plane)?;
    scenes::rolls(&plane)?;
    scenes::dumps(&plane)?;
    say("\nall of it happened");
    Ok(())
}
