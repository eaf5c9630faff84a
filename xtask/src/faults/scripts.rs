//! The faults, from none to the worst.

use std::time::Duration;

use anyhow::Result;

use super::{SHORT, Scene, Script, rolling};
use crate::pods::{Balance, Habitat, PODS};

const PLAIN: Habitat = Habitat { clock: None, apart: false };
const ALL_PLAIN: [Habitat; PODS] = [PLAIN; PODS];

/// A thousand votes a second of viewers who vote again and again, over several jeux.
const FLOOD: &[&str] = &["flood", "--rate", "1000", "--seconds", "SECONDS", "--jeux", "4", "--expect-restarts"];

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// All of them, in the order in which they run.
pub(super) const ALL: &[Script] = &[
    Script {
        name: SHORT,
        what: "half a minute in which a pod is killed and a node of the database stands still",
        audience: &[
            "flood",
            "--rate",
            "300",
            "--sockets",
            "60",
            "--seconds",
            "SECONDS",
            "--jeux",
            "3",
            "--expect-restarts",
        ],
        seconds: 30,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: a_little_of_it,
    },
    Script {
        name: "none",
        what: "nothing breaks, 2,000 votes a second",
        audience: &["flood", "--rate", "2000", "--sockets", "400", "--seconds", "SECONDS"],
        seconds: 60,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: |_| Ok("–".to_owned()),
    },
    Script {
        name: "crowd",
        what: "nothing breaks; viewers come, vote in bursts, change their minds, sleep, leave",
        audience: &["crowd", "--sockets", "1000", "--jeux", "3", "--stage", "20"],
        seconds: 75,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: |_| Ok("–".to_owned()),
    },
    Script {
        name: "round-robin",
        what: "the same crowd without affinity: each connection meets the next pod",
        audience: &["crowd", "--sockets", "1000", "--jeux", "3", "--stage", "20", "--nap", "0.4"],
        seconds: 75,
        balance: Balance::RoundRobin,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: |_| Ok("–".to_owned()),
    },
    Script {
        name: "pod-killed",
        what: "pods are killed in turn and started again",
        audience: FLOOD,
        seconds: 150,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: pods_killed,
    },
    Script {
        name: "rolling-restart",
        what: "pods are stopped in order (SIGTERM) and started again, one after the other, as an update does it",
        // Notes that meet a server which has not heard yet that their jeu is open are refused (`not_open`): more than one in
        // a hundred while servers come and go. What was acknowledged is what this is about.
        audience: &[
            "crowd",
            "--sockets",
            "1000",
            "--jeux",
            "4",
            "--stage",
            "20",
            "--expect-restarts",
            "--min-acked",
            "0.9",
        ],
        seconds: 90,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: Some(5000.0),
        harm: rolling::restart,
    },
    Script {
        name: "all-killed",
        what: "all pods are killed at once and started again",
        audience: FLOOD,
        seconds: 60,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: all_killed,
    },
    Script {
        name: "pod-stopped",
        what: "pods stand still (SIGSTOP) for 0.1 to 30 s while jeux close",
        audience: &["flood", "--rate", "1000", "--seconds", "SECONDS", "--jeux", "18", "--expect-restarts"],
        seconds: 90,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: pods_stopped,
    },
    Script {
        name: "pod-cut-off",
        what: "a pod loses the cluster (its wire is taken down) and gets it back",
        audience: FLOOD,
        seconds: 80,
        balance: Balance::Sticky,
        habitats: [PLAIN, PLAIN, Habitat { clock: None, apart: true }],
        back_within_ms: None,
        harm: pod_cut_off,
    },
    Script {
        name: "node-killed",
        what: "nodes of the database are killed in turn and started again",
        audience: FLOOD,
        seconds: 400,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: nodes_killed,
    },
    Script {
        name: "node-stopped",
        what: "a node of the database stands still (SIGSTOP) for 30 s",
        audience: FLOOD,
        seconds: 60,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: node_stopped,
    },
    Script {
        name: "closes",
        what: "100 jeux close while votes on them are under way",
        audience: &["flood", "--rate", "1000", "--seconds", "SECONDS", "--jeux", "100", "--race", "0.5"],
        seconds: 200,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: |_| Ok("100 closes".to_owned()),
    },
    Script {
        name: "pressed",
        what: "ten minutes in which admins on every pod press everything at random while pods are killed",
        audience: &["press", "--seconds", "SECONDS", "--voters", "40"],
        seconds: 600,
        balance: Balance::Sticky,
        habitats: ALL_PLAIN,
        back_within_ms: None,
        harm: now_and_then_killed,
    },
    Script {
        name: "clock-ahead",
        what: "the wall clock of a pod is an hour ahead",
        audience: &["flood", "--rate", "1000", "--seconds", "SECONDS", "--jeux", "4", "--skewed-clocks"],
        seconds: 40,
        balance: Balance::Sticky,
        habitats: [PLAIN, Habitat { clock: Some("+1h"), apart: false }, PLAIN],
        back_within_ms: None,
        harm: |_| Ok("+1 h".to_owned()),
    },
    Script {
        name: "clock-behind",
        what: "the wall clock of a pod is an hour behind",
        audience: &["flood", "--rate", "1000", "--seconds", "SECONDS", "--jeux", "4", "--skewed-clocks"],
        seconds: 40,
        balance: Balance::Sticky,
        habitats: [PLAIN, Habitat { clock: Some("-1h"), apart: false }, PLAIN],
        back_within_ms: None,
        harm: |_| Ok("−1 h".to_owned()),
    },
];

fn a_little_of_it(scene: &mut Scene<'_>) -> Result<String> {
    scene.wait(seconds(5))?;
    scene.pods.pod(0).kill();
    scene.wait(Duration::from_millis(500))?;
    scene.pods.pod(0).start()?;
    scene.pods.pod(0).wait()?;
    scene.cluster.freeze_node(1, seconds(4))?;
    Ok("1 kill, 1 stop".to_owned())
}

fn pods_killed(scene: &mut Scene<'_>) -> Result<String> {
    let mut kills = 0;
    scene.wait(seconds(5))?;
    while kills < 20 && scene.wait(seconds(4))? {
        let pod = scene.pods.pod(kills % PODS);
        pod.kill();
        kills += 1;
        scene.wait(Duration::from_millis(500))?;
        let pod = scene.pods.pod((kills - 1) % PODS);
        pod.start()?;
        pod.wait()?;
    }
    Ok(format!("{kills} kills"))
}

/// A pod every twenty seconds, for as long as it lasts.
fn now_and_then_killed(scene: &mut Scene<'_>) -> Result<String> {
    let mut kills = 0;
    while scene.wait(seconds(19))? {
        scene.pods.pod(kills % PODS).kill();
        scene.wait(seconds(1))?;
        scene.pods.pod(kills % PODS).start()?;
        scene.pods.pod(kills % PODS).wait()?;
        kills += 1;
    }
    Ok(format!("{kills} kills"))
}

fn all_killed(scene: &mut Scene<'_>) -> Result<String> {
    let mut times = 0;
    scene.wait(seconds(5))?;
    while times < 4 && scene.wait(seconds(8))? {
        (0..PODS).for_each(|index| scene.pods.pod(index).kill());
        for index in 0..PODS {
            scene.pods.pod(index).start()?;
        }
        for index in 0..PODS {
            scene.pods.pod(index).wait()?;
        }
        times += 1;
    }
    Ok(format!("{times} times"))
}

fn pods_stopped(scene: &mut Scene<'_>) -> Result<String> {
    scene.wait(seconds(5))?;
    let mut stops = 0;
    for (tenths, index) in [1, 3, 10, 30, 100, 300, 1, 3, 10, 30].into_iter().zip((0..PODS).cycle()) {
        if !scene.wait(seconds(1))? {
            break;
        }
        scene.pods.pod(index).freeze(Duration::from_millis(100 * tenths))?;
        stops += 1;
    }
    Ok(format!("{stops} stops"))
}

fn pod_cut_off(scene: &mut Scene<'_>) -> Result<String> {
    scene.wait(seconds(6))?;
    let mut cuts = 0;
    for length in [1, 3, 8, 15, 3] {
        if !scene.wait(seconds(5))? {
            break;
        }
        scene.pods.pod(2).cut(true)?;
        scene.wait(seconds(length))?;
        scene.pods.pod(2).cut(false)?;
        cuts += 1;
    }
    Ok(format!("{cuts} cuts, 1–15 s"))
}

fn nodes_killed(scene: &mut Scene<'_>) -> Result<String> {
    scene.wait(seconds(5))?;
    let mut kills = 0;
    while kills < 10 && scene.wait(seconds(4))? {
        scene.cluster.kill_node(kills % 3)?;
        scene.wait(seconds(3))?;
        scene.cluster.start_node(kills % 3)?;
        kills += 1;
    }
    Ok(format!("{kills} kills"))
}

fn node_stopped(scene: &mut Scene<'_>) -> Result<String> {
    scene.wait(seconds(10))?;
    scene.cluster.freeze_node(1, seconds(30))?;
    Ok("1 stop of 30 s".to_owned())
}
