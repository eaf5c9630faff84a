//! What is done to the control plane, and what it has to do by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::plane::Plane;
use crate::manifests::folders;
use crate::steps::{Steps, say};

const SOON: Duration = Duration::from_secs(60);
/// A CronJob looks at the clock once a minute.
const NEXT_MINUTE: Duration = Duration::from_secs(100);
/// Which pods are servers.
const SERVERS: &str = "app.kubernetes.io/component=server";

/// Applies every folder, the last one to stay. The server validates each object, as strictly as it can.
pub(super) fn applies(steps: &Steps, plane: &Plane) -> Result<()> {
    let root = steps.root().join("k8s");
    let mut folders = folders(&root)?;
    // The one that the other scenes are played with, and that leads nowhere by itself.
    folders.retain(|folder| folder != "overlays/gke" && folder != "overlays/gke-common");
    folders.push("overlays/gke".to_owned());
    for folder in &folders {
        // A Job cannot be changed; KEDA's own controller is not here, and what it would scale is scaled by the next one.
        for leftover in ["job/bareme-migrate", "scaledobject/bareme", "hpa/bareme"] {
            plane.kubectl(&["delete", "--namespace", "bareme", leftover, "--ignore-not-found"])?;
        }
        let text = plane.kustomize(&root.join(folder))?;
        let apply = ["apply", "--server-side", "--force-conflicts", "--validate=strict", "--filename", "-"];
        let said = plane.give(&apply, &text).with_context(|| folder.clone())?;
        if let Some(warning) = said.lines().find(|line| line.starts_with("Warning")) {
            bail!("{folder}: {warning}");
        }
        say(&format!("{folder}: {} objects applied", said.lines().count()));
    }
    let within = "--timeout=120s";
    plane.kubectl(&["rollout", "status", "--namespace", "bareme", "deployment/bareme", within])?;
    plane.kubectl(&["wait", "--namespace", "bareme", "--for=condition=Complete", "job/bareme-migrate", within])?;
    let zones: Vec<String> = servers(plane)?.iter().map(|pod| text(pod, "/spec/nodeName").to_owned()).collect();
    say(&format!("pod security `restricted` lets them in; servers are on {}", zones.join(", ")));
    Ok(())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Servers that run and are not being ended.
fn servers(plane: &Plane) -> Result<Vec<Value>> {
    let pods = plane.get(&["pods", "--selector", SERVERS])?;
    let running =
        |pod: &&Value| text(pod, "/status/phase") == "Running" && pod.pointer("/metadata/deletionTimestamp").is_none();
    Ok(pods["items"].as_array().into_iter().flatten().filter(running).cloned().collect())
}

fn count(plane: &Plane) -> usize {
    servers(plane).map_or(0, |pods| pods.len())
}

/// Mistakes that only a server finds.
pub(super) fn refuses(steps: &Steps, plane: &Plane) -> Result<()> {
    let built = String::from_utf8(plane.kustomize(&steps.root().join("k8s/overlays/gke"))?)?;
    let mistakes = [
        (
            "a selector that misses its own pods",
            "    matchLabels:\n      app.kubernetes.io/component: server\n      app.kubernetes.io/name: bareme\n  strategy",
            "    matchLabels:\n      app.kubernetes.io/component: other\n      app.kubernetes.io/name: bareme\n  strategy",
        ),
        ("a request above its limit", "memory: 512Mi", "memory: 5Gi"),
        ("a schedule that is none", "schedule: 17 4 * * *", "schedule: 17 25 * * *"),
        ("a field that PodMonitor does not have", "interval: 10s", "intervall: 10s"),
        ("an autoscaler with more at least than at most", "minReplicas: 3", "minReplicas: 30"),
        ("a Service's port out of range", "port: 80\n    targetPort", "port: 80000\n    targetPort"),
    ];
    for (what, right, wrong) in mistakes {
        if !built.contains(right) {
            bail!("{what}: the manifests have no `{right}`");
        }
        let apply =
            ["apply", "--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server", "--filename", "-"];
        match plane.give(&apply, built.replace(right, wrong).as_bytes()) {
            Ok(_) => bail!("the server takes {what}"),
            Err(error) => {
                let said = error.to_string();
                let line = said.lines().find(|line| line.to_lowercase().contains("error") || line.contains("nvalid"));
                say(&format!("refused: {what}: {}", line.unwrap_or(&said).chars().take(160).collect::<String>()));
            }
        }
    }
    Ok(())
}

/// Sockets, then CPU, make servers come; their end lets them go.
pub(super) fn scales(plane: &Plane) -> Result<()> {
    plane.until("three servers", SOON, |plane| count(plane) == 3)?;
    plane.load(24_000, 50)?;
    let took = plane.until("five servers for 24,000 sockets", SOON, |plane| count(plane) == 5)?;
    say(&format!("24,000 sockets: 3 → 5 servers after {took:.1} s"));
    plane.load(200_000, 50)?;
    let took = plane.until("ten servers for 200,000 sockets", SOON, |plane| count(plane) == 10)?;
    say(&format!("200,000 sockets: 5 → 10 servers, the most there may be, after {took:.1} s"));
    plane.load(0, 50)?;
    let hpa = plane.get(&["hpa", "bareme"])?;
    let window = hpa["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"].as_u64().unwrap_or(0);
    // Nobody waits a quarter of an hour for a test: from here on with less patience.
    let hasty = json!({"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0,
        "policies": [{"type": "Pods", "value": 10, "periodSeconds": 1}]}}}});
    plane.kubectl(&["patch", "--namespace", "bareme", "hpa", "bareme", "--patch", &hasty.to_string()])?;
    let took = plane.until("three servers for nobody", SOON, |plane| count(plane) == 3)?;
    say(&format!("nobody: 10 → 3 servers after {took:.1} s, its window of {window} s shortened to none for this test"));
    plane.load(0, 900)?;
    let took = plane.until("more servers for busy processors", SOON, |plane| count(plane) > 4)?;
    say(&format!("no sockets, 90 % of the CPU asked for: more than 4 servers after {took:.1} s"));
    plane.load(0, 50)?;
    plane.until("three servers again", SOON, |plane| count(plane) == 3)?;
    Ok(())
}

/// With one server away, no other one may be evicted.
pub(super) fn evicts(plane: &Plane) -> Result<()> {
    // So that what is evicted stays away: a simulated pod is ready again in no time.
    plane.kubectl(&["cordon", "--selector", "kubernetes.io/hostname"])?;
    let pods = servers(plane)?;
    let evict = |pod: &Value| {
        let name = text(pod, "/metadata/name");
        let eviction =
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "bareme"}});
        let path = format!("/api/v1/namespaces/bareme/pods/{name}/eviction");
        plane.give(&["create", "--raw", &path, "--filename", "-"], eviction.to_string().as_bytes())
    };
    evict(pods.first().context("no server")?).context("the first eviction")?;
    plane.until("the budget knows", SOON, |plane| {
        plane.get(&["pdb", "bareme"]).is_ok_and(|budget| budget["status"]["disruptionsAllowed"] == 0)
    })?;
    match evict(pods.get(1).context("no second server")?) {
        Ok(_) => bail!("a second server was evicted"),
        Err(error) => say(&format!(
            "the first server is evicted, the second is not: {}",
            error.to_string().lines().last().unwrap_or_default()
        )),
    }
    plane.kubectl(&["uncordon", "--selector", "kubernetes.io/hostname"])?;
    plane.until("three servers", SOON, |plane| count(plane) == 3)?;
    Ok(())
}

/// A roll-out never leaves fewer servers than there were.
pub(super) fn rolls(plane: &Plane) -> Result<()> {
    let deployment = |plane: &Plane| plane.get(&["deployment", "bareme"]);
    // Wait until what was evicted counts as available again.
    plane.until("three available servers", SOON, |plane| {
        deployment(plane).is_ok_and(|each| each["status"]["availableReplicas"] == 3)
    })?;
    plane.kubectl(&["rollout", "restart", "--namespace", "bareme", "deployment/bareme"])?;
    let (mut least, mut looked) = (u64::MAX, 0);
    let took = plane.until("the roll-out", Duration::from_secs(180), |plane| {
        let Ok(now) = deployment(plane) else { return false };
        least = least.min(now["status"]["availableReplicas"].as_u64().unwrap_or(0));
        looked += 1;
        let status = &now["status"];
        status["observedGeneration"] == now["metadata"]["generation"]
            && status["updatedReplicas"] == 3
            && status["replicas"] == 3
            && status["availableReplicas"] == 3
    })?;
    if least < 3 {
        bail!("a roll-out left {least} servers");
    }
    say(&format!("rolled out three servers in {took:.0} s; never fewer than {least} available ({looked} looks)"));
    Ok(())
}

/// The CronJob makes its Job.
pub(super) fn dumps(plane: &Plane) -> Result<()> {
    let often = json!({"spec": {"schedule": "* * * * *"}});
    plane.kubectl(&["patch", "--namespace", "bareme", "cronjob", "bareme-dump", "--patch", &often.to_string()])?;
    let made = |plane: &Plane| -> Option<Value> {
        let jobs = plane.get(&["jobs"]).ok()?;
        let is_its = |job: &&Value| {
            text(job, "/metadata/ownerReferences/0/kind") == "CronJob" && job["status"]["succeeded"] == 1
        };
        jobs["items"].as_array()?.iter().find(is_its).cloned()
    };
    let took = plane.until("the CronJob's Job is done", NEXT_MINUTE, |plane| made(plane).is_some())?;
    let job = made(plane).context("its Job is gone")?;
    let arguments = &job["spec"]["template"]["spec"]["containers"][0]["args"];
    let name = text(&job, "/metadata/name");
    say(&format!("CronJob bareme-dump, told to go every minute, made Job {name} with {arguments} after {took:.0} s"));
    Ok(())
}
