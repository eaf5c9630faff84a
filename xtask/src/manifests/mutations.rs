//! Mistakes that are made on purpose, each of which the checks have to report, in words that name it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::facts::Facts;
use super::{Everything, Python, complaints, text};

/// A mistake in a document: which folder, which object, where in it, what is put there, and what the complaint has to say.
/// `null` takes away what is there.
struct Mistake(&'static str, &'static str, &'static str, fn() -> Value, &'static str);

const MISTAKES: &[Mistake] = &[
    // Fields that nobody knows, or of the wrong kind: schemas.
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/readinesProbe",
        || json!({}),
        "readinesProbe",
    ),
    Mistake("overlays/gke", "Deployment/bareme", "/spec/minReadySeconds", || json!("ten"), "minReadySeconds"),
    Mistake("overlays/gke", "Service/bareme", "/spec/ports/0/targetport", || json!("http"), "targetport"),
    Mistake("overlays/gke", "PodDisruptionBudget/bareme", "/spec/maxUnavailible", || json!(1), "maxUnavailible"),
    Mistake(
        "overlays/gke",
        "HorizontalPodAutoscaler/bareme",
        "/spec/behavior/scaleUp/policies/0/period",
        || json!(1),
        "period",
    ),
    Mistake("overlays/gke", "CronJob/bareme-dump", "/spec/shedule", || json!("17 4 * * *"), "shedule"),
    Mistake("overlays/gke", "NetworkPolicy/bareme", "/spec/ingress/0/port", || json!([]), "port"),
    Mistake("overlays/gke", "Ingress/bareme", "/spec/rules/0/http/paths/0/pathType", || Value::Null, "pathType"),
    // The same in resources that Kubernetes does not have by itself.
    Mistake("overlays/gke", "PodMonitor/bareme", "/spec/podMetricsEndpoints/0/intervall", || json!("10s"), "intervall"),
    Mistake("overlays/gke", "PrometheusRule/bareme", "/spec/groups/0/rules/0/annotation", || json!({}), "annotation"),
    Mistake(
        "overlays/gke-gateway",
        "HTTPRoute/bareme",
        "/spec/rules/0/sessionPersistence/type",
        || json!("Cookies"),
        "Cookies",
    ),
    Mistake("overlays/gke-gateway", "Gateway/bareme", "/spec/listeners/0/port", || json!("80"), "'80'"),
    Mistake("overlays/gke-keda", "ScaledObject/bareme", "/spec/minReplicas", || json!(1), "minReplicas"),
    Mistake("overlays/gke-keda", "ScaledObject/bareme", "/spec/triggers/0/metadata/threshold", || json!(5000), "5000"),
    Mistake(
        "database/scylla",
        "ScyllaCluster/bareme",
        "/spec/datacenter/racks/0/storage/size",
        || json!("1Gi"),
        "size",
    ),
    Mistake("database/scylla", "ScyllaCluster/bareme", "/spec/datacenter/racks/1/members", || Value::Null, "members"),
    Mistake("overlays/gke", "PodMonitor/bareme", "/kind", || json!("PodMonitr"), "PodMonitr"),
    // Images, commands, settings.
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/image",
        || json!("bareme:9.9.9"),
        "bareme:9.9.9",
    ),
    Mistake(
        "overlays/gke",
        "Job/bareme-migrate",
        "/spec/template/spec/containers/0/image",
        || json!("bareme"),
        "names no version",
    ),
    Mistake(
        "database/cassandra",
        "StatefulSet/cassandra",
        "/spec/template/spec/containers/0/image",
        || json!("cassandra:latest"),
        "cassandra:latest",
    ),
    Mistake(
        "overlays/gke",
        "Job/bareme-migrate",
        "/spec/template/spec/containers/0/args/0",
        || json!("migrat"),
        "migrat",
    ),
    Mistake(
        "overlays/gke",
        "CronJob/bareme-dump",
        "/spec/jobTemplate/spec/template/spec/containers/0/args/1",
        || json!("--al"),
        "--al",
    ),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/env",
        || json!([{"name": "BAREME_LISTN", "value": "x"}]),
        "BAREME_LISTN",
    ),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/env",
        || json!([{"name": "BAREME_TICK_MS", "value": "1"}]),
        "tick_ms",
    ),
    Mistake(
        "overlays/gke",
        "ConfigMap/bareme*",
        "/data/BAREME_STORE",
        || json!("cql://bareme-client.bareme-db/bareme"),
        "BAREME_STORE",
    ),
    Mistake(
        "overlays/gke",
        "ConfigMap/bareme*",
        "/data/BAREME_STORE",
        || json!("cql://bareme-cleint.bareme-db/bareme?dc=dc1"),
        "bareme-cleint",
    ),
    Mistake(
        "overlays/minikube",
        "ConfigMap/bareme*",
        "/data/BAREME_STORE",
        || json!("cql://cassandra.bareme-db/bareme?dc=dc2"),
        "dc2",
    ),
    Mistake(
        "overlays/minikube",
        "ConfigMap/bareme*",
        "/data/BAREME_STORE",
        || json!("cql://cassandra.bareme-db/bareme?dc=dc1&tls=/run/cassandra/ca.pem"),
        "names no user",
    ),
    Mistake(
        "overlays/minikube",
        "Job/bareme-migrate",
        "/spec/template/spec/volumes/0/secret",
        || Value::Null,
        "no secret is mounted at /run/cassandra",
    ),
    Mistake(
        "overlays/minikube",
        "Job/bareme-migrate",
        "/spec/template/spec/containers/0/env",
        || Value::Null,
        "signs in as servers do",
    ),
    Mistake(
        "overlays/minikube",
        "Job/bareme-migrate",
        "/spec/template/spec/containers/0/env/0/value",
        || json!("cql://cassandra.bareme-dp/bareme?dc=dc1"),
        "bareme-dp",
    ),
    Mistake(
        "database/cassandra",
        "StatefulSet/cassandra",
        "/spec/template/spec/initContainers",
        || json!([]),
        "CASSANDRA_TLS",
    ),
    Mistake(
        "database/cassandra",
        "NetworkPolicy/cassandra",
        "/spec/podSelector/matchLabels",
        || json!({"app.kubernetes.io/name": "other"}),
        "no NetworkPolicy",
    ),
    Mistake(
        "database/cassandra",
        "NetworkPolicy/cassandra",
        "/spec/ingress/1/from",
        || json!([]),
        "more than named pods",
    ),
    Mistake(
        "database/cassandra",
        "NetworkPolicy/cassandra",
        "/spec/policyTypes",
        || json!(["Ingress"]),
        "not about Egress",
    ),
    Mistake(
        "overlays/gke",
        "ConfigMap/bareme*",
        "/data/BAREME_PUBLIC_URL",
        || json!("https://other.example.org"),
        "its host",
    ),
    Mistake(
        "overlays/gke",
        "ConfigMap/bareme*",
        "/data/BAREME_PUBLIC_URL",
        || json!("http://bareme.example.org"),
        "TLS",
    ),
    Mistake(
        "overlays/gke",
        "ConfigMap/bareme*",
        "/data/BAREME_TRUSTED_PROXIES",
        || json!("192.0.2.7,10.0.0.0/8"),
        "10.0.0.0/8 is wider",
    ),
    Mistake(
        "overlays/minikube",
        "ConfigMap/bareme*",
        "/data/BAREME_TRUSTED_PROXIES",
        || json!("::/0"),
        "::/0 is wider",
    ),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/envFrom/0/configMapRef/name",
        || json!("barme"),
        "barme",
    ),
    // Ports and probes.
    Mistake("overlays/gke", "ConfigMap/bareme*", "/data/BAREME_LISTEN", || json!("0.0.0.0:8081"), "8081"),
    Mistake("overlays/gke", "ConfigMap/bareme*", "/data/BAREME_LISTEN", || json!("127.0.0.1:8080"), "nobody outside"),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/livenessProbe/httpGet/path",
        || json!("/readyz"),
        "livenessProbe",
    ),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/readinessProbe/httpGet/path",
        || json!("/ready"),
        "/ready",
    ),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/readinessProbe/httpGet/port",
        || json!("web"),
        "web",
    ),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/ports/0/name",
        || json!("web"),
        "does not have",
    ),
    Mistake("overlays/gke", "ConfigMap/bareme*", "/data/BAREME_OPS_LISTEN", || json!("0.0.0.0:9081"), "9081"),
    Mistake(
        "overlays/gke",
        "ConfigMap/bareme*",
        "/data/BAREME_OPS_LISTEN",
        || Value::Null,
        "127.0.0.1:9080: nobody outside",
    ),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/readinessProbe/httpGet/port",
        || json!("http"),
        "its readinessProbe asks port \"http\"",
    ),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/ports/1/name",
        || json!("health"),
        "port 9080 is called",
    ),
    Mistake("overlays/gke", "Service/bareme", "/spec/ports/0/targetPort", || json!(9090), "9090"),
    Mistake(
        "overlays/gke",
        "Ingress/bareme",
        "/spec/rules/0/http/paths/0/backend/service/port/name",
        || json!("web"),
        "web",
    ),
    Mistake("overlays/gke-gateway", "HTTPRoute/bareme", "/spec/rules/0/backendRefs/0/port", || json!(81), "81"),
    Mistake("overlays/gke", "NetworkPolicy/bareme", "/spec/ingress/0/ports/0/port", || json!("web"), "web"),
    // Stopping.
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/terminationGracePeriodSeconds",
        || json!(20),
        "to end",
    ),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/lifecycle",
        || Value::Null,
        "balancers",
    ),
    Mistake("overlays/gke", "Ingress/bareme", "/metadata/namespace", || Value::Null, "namespace"),
    // Who finds whom.
    Mistake(
        "overlays/gke",
        "Service/bareme",
        "/spec/selector",
        || json!({"app.kubernetes.io/name": "bareme"}),
        "its selector",
    ),
    Mistake(
        "overlays/gke",
        "PodDisruptionBudget/bareme",
        "/spec/selector/matchLabels",
        || json!({"app": "bareme"}),
        "its selector",
    ),
    Mistake(
        "overlays/gke",
        "PodMonitor/bareme",
        "/spec/selector/matchLabels",
        || json!({"app": "bareme"}),
        "its selector",
    ),
    Mistake(
        "overlays/gke",
        "NetworkPolicy/bareme",
        "/spec/podSelector/matchLabels",
        || json!({"app": "bareme"}),
        "finds no pods",
    ),
    Mistake("overlays/gke", "HorizontalPodAutoscaler/bareme", "/spec/scaleTargetRef/name", || json!("barem"), "barem"),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/serviceAccountName",
        || json!("default2"),
        "default2",
    ),
    Mistake(
        "overlays/minikube",
        "Deployment/bareme",
        "/spec/template/spec/volumes/2/persistentVolumeClaim/claimName",
        || json!("dumps"),
        "PersistentVolumeClaim dumps",
    ),
    // What is the operator's.
    Mistake("overlays/gke", "Service/bareme", "/spec/ports/0/targetPort", || json!("ops"), "leads viewers"),
    Mistake("overlays/gke", "Service/bareme", "/spec/ports/0/targetPort", || json!(9080), "leads viewers"),
    Mistake("overlays/gke", "NetworkPolicy/bareme", "/spec/ingress/1/ports/0/port", || json!("ops"), "lets others"),
    Mistake("overlays/gke-haproxy", "NetworkPolicy/bareme", "/spec/ingress/1/ports", || json!([]), "lets others"),
    Mistake("overlays/gke", "NetworkPolicy/bareme", "/spec/ingress/0/from", || Value::Null, "lets others"),
    // Metrics and scaling.
    Mistake(
        "overlays/gke",
        "HorizontalPodAutoscaler/bareme",
        "/spec/metrics/0/pods/metric/name",
        || json!("ws_connections"),
        "ws_connections",
    ),
    Mistake(
        "overlays/gke-keda",
        "ScaledObject/bareme",
        "/spec/triggers/0/metadata/query",
        || json!("sum(ws_connections)"),
        "ws_connections",
    ),
    Mistake("overlays/gke", "PodMonitor/bareme", "/spec/podMetricsEndpoints/0/path", || json!("/metric"), "/metric"),
    Mistake("overlays/gke", "PodMonitor/bareme", "/spec/podMetricsEndpoints/0/port", || json!("http"), "no metrics"),
    Mistake("overlays/gke", "PodMonitor/bareme", "/spec/jobLabel", || Value::Null, "jobLabel"),
    Mistake("overlays/gke", "Deployment/bareme", "/spec/replicas", || json!(3), "autoscaler's"),
    Mistake("overlays/gke", "PodDisruptionBudget/bareme", "/spec/maxUnavailable", || json!(3), "lets none"),
    // What a pod may do.
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem",
        || json!(false),
        "readOnlyRootFilesystem",
    ),
    Mistake(
        "overlays/gke",
        "CronJob/bareme-dump",
        "/spec/jobTemplate/spec/template/spec/securityContext/runAsNonRoot",
        || Value::Null,
        "runAsNonRoot",
    ),
    Mistake(
        "overlays/gke",
        "Deployment/bareme",
        "/spec/template/spec/containers/0/resources/limits",
        || Value::Null,
        "limits",
    ),
    // The database, and the balancer that is not to be used.
    Mistake(
        "database/scylla",
        "ConfigMap/scylla-config",
        "/data/scylla.yaml",
        || json!("commitlog_sync: periodic\n"),
        "flush",
    ),
    Mistake("database/scylla", "ScyllaCluster/bareme", "/spec/datacenter/racks/2", || Value::Null, "three racks"),
    Mistake("overlays/gke", "Ingress/bareme", "/spec/ingressClassName", || json!("nginx"), "nginx"),
];

/// A mistake in what Docker reads: where, what, and what the complaint has to say.
struct Slip(&'static str, &'static str, fn() -> Value, &'static str);

const SLIPS: &[Slip] = &[
    Slip("compose", "/services/bareme-1/environment/BAREME_STOER", || json!("x"), "BAREME_STOER"),
    Slip("compose", "/services/bareme-1/environment/BAREME_STORE", || json!("cql://db-9/bareme?dc=dc1"), "db-9"),
    Slip("compose", "/services/bareme-1/environment/BAREME_STORE", || json!("cql://db-1/bareme?dc=dc2"), "dc2"),
    Slip("compose", "/services/bareme-2/environment/BAREME_LISTEN", || json!("0.0.0.0:8081"), "POD_2"),
    Slip("compose", "/services/bareme-2/environment/BAREME_OPS_LISTEN", || json!("127.0.0.1:9080"), "OPS_2"),
    Slip("compose", "/services/balancer/environment/OPS_2", || json!("bareme-2:8080"), "OPS_2"),
    Slip("compose", "/services/balancer/environment/OPS_3", || json!("bareme-1:9080"), "another server"),
    Slip("compose", "/services/bareme-2/stop_grace_period", || json!("5s"), "5s"),
    Slip("compose", "/services/bareme-2/read_only", || json!(false), "read_only"),
    Slip("compose", "/services/bareme-2/volumes/0/target", || json!("/elsewhere"), "/elsewhere"),
    Slip("compose", "/services/migrate/command/0", || json!("migrat"), "migrat"),
    Slip("compose", "/services/balancer/environment/POD_3", || Value::Null, "POD_3"),
    Slip("compose", "/services/balancer/ports/0/target", || json!(80), "publishes"),
    Slip("compose", "/services/grafana/image", || json!("grafana/grafana"), "names no version"),
    Slip("compose", "/services/db-2/entrypoint", || Value::Null, "start.sh"),
    Slip("scylla", "/services/db-1/command", || json!(["--smp", "1"]), "flush"),
    Slip("prometheus", "/scrape_configs/0/metrics_path", || json!("/metric"), "/metric"),
    Slip("prometheus", "/scrape_configs/0/job_name", || json!("server"), "called bareme"),
    Slip("prometheus", "/scrape_configs/0/static_configs/0/targets/0", || json!("bareme-1:8080"), "bareme-1:8080"),
    Slip("prometheus", "/rule_files/0", || json!("/rules.yaml"), "/rules.yaml"),
    Slip("stages", "/1/Commands/7", || json!("EXPOSE 80"), "exposes 80"),
    Slip("stages", "/1/Commands/5", || json!("USER root"), "root"),
    Slip("stages", "/1/Commands/9", || json!("HEALTHCHECK CMD [\"bareme\", \"helthcheck\"]"), "helthcheck"),
    Slip("stages", "/1/Commands/4", || json!("ENV BAREME_LISTEN=0.0.0.0:8080 BAREME_DATADIR=/data"), "BAREME_DATADIR"),
    Slip("stages", "/0/Base", || json!("rust:1.70-bookworm"), "rust:1.70"),
    Slip("stages", "/1/Base", || json!("debian"), "base image debian"),
];

/// Mistakes in haproxy.cfg: what is there, what is put in its place, and what the complaint has to say.
const BALANCER: [(&str, &str, &str); 2] =
    [("/readyz ver", "/ready ver", "/ready "), (" addr \"${OPS_2}\"", "", "pod-2 is not asked")];

/// Makes them all, one at a time; returns how many.
pub(super) fn run(everything: &Everything, facts: &Facts, python: &Python, crds: &[PathBuf]) -> Result<usize> {
    let mut made = Vec::new();
    for mistake in MISTAKES {
        let mut wrong = everything.clone();
        let set = wrong.sets.iter_mut().find(|set| set.name == mistake.0);
        let set = set.with_context(|| format!("there is no {}", mistake.0))?;
        let is_meant = |document: &&mut Value| is_called(document, mistake.1);
        let document = set.documents.iter_mut().find(is_meant).with_context(|| format!("there is no {}", mistake.1))?;
        put(document, mistake.2, mistake.3()).with_context(|| format!("{} {}", mistake.1, mistake.2))?;
        made.push((format!("{} {} {}", mistake.0, mistake.1, mistake.2), mistake.0, wrong, mistake.4));
    }
    let of_schemas: Vec<&[Value]> = made
        .iter()
        .map(|(_, name, wrong, _)| {
            wrong.sets.iter().find(|set| set.name == *name).map_or(&[] as &[Value], |set| set.documents.as_slice())
        })
        .collect();
    let said = python.schemas(crds, &of_schemas)?;
    let mut missed = Vec::new();
    for ((name, _, wrong, word), mut said) in made.iter().zip(said) {
        said.extend(complaints(wrong, facts)?);
        if !said.iter().any(|complaint| complaint.contains(word)) {
            missed.push(format!("{name}: nothing says `{word}`: {said:?}"));
        }
    }
    for slip in SLIPS {
        let mut containers = everything.containers.clone();
        let part = match slip.0 {
            "compose" => &mut containers.compose,
            "scylla" => &mut containers.scylla,
            "prometheus" => &mut containers.prometheus,
            _ => &mut containers.stages,
        };
        put(part, slip.1, slip.2()).with_context(|| format!("{} {}", slip.0, slip.1))?;
        let said = containers.check(facts)?;
        if !said.iter().any(|complaint| complaint.contains(slip.3)) {
            missed.push(format!("{} {}: nothing says `{}`: {said:?}", slip.0, slip.1, slip.3));
        }
    }
    for (right, wrong, word) in BALANCER {
        let mut containers = everything.containers.clone();
        containers.balancer = containers.balancer.replace(right, wrong);
        if !containers.check(facts)?.iter().any(|complaint| complaint.contains(word)) {
            missed.push(format!("haproxy.cfg: nothing says `{word}`"));
        }
    }
    if !missed.is_empty() {
        bail!("deliberate mistakes that nobody reported:\n  {}", missed.join("\n  "));
    }
    Ok(MISTAKES.len() + SLIPS.len() + BALANCER.len())
}

/// `Kind/name`, or `Kind/name*` for names that end with a hash.
fn is_called(document: &Value, called: &str) -> bool {
    let Some((kind, name)) = called.split_once('/') else { return false };
    let own = text(document, "/metadata/name");
    let matches = match name.strip_suffix('*') {
        // Not those that have a longer name of their own.
        Some(start) => own.strip_prefix(start).is_some_and(|rest| rest.starts_with('-') && !rest.contains("dash")),
        None => own == name,
    };
    text(document, "/kind") == kind && matches
}

/// Puts a value at a place, which may be new; `null` takes away what is there.
fn put(document: &mut Value, pointer: &str, value: Value) -> Result<()> {
    let (parent, last) = pointer.rsplit_once('/').context("a place begins with /")?;
    let last = last.replace("~1", "/");
    let parent = document.pointer_mut(parent).context("this place is not there")?;
    match parent {
        Value::Object(fields) if value.is_null() => {
            fields.remove(&last).context("nothing to take away")?;
        }
        Value::Object(fields) => {
            fields.insert(last, value);
        }
        Value::Array(items) => {
            let index: usize = last.parse()?;
            if index >= items.len() {
                bail!("the list has {} items", items.len());
            }
            if value.is_null() {
                items.remove(index);
            } else {
                items[index] = value;
            }
        }
        _ => bail!("nothing can be put there"),
    }
    Ok(())
}
