//! Templates of pods: images, arguments, settings, ports, probes, the time to stop, what a pod may do.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::facts::Facts;
use super::{Set, list, text, title};

/// A template of pods, and who makes pods of it.
pub(super) struct Template<'a> {
    pub(super) owner: String,
    pub(super) labels: &'a Value,
    pub(super) spec: &'a Value,
    object: &'a Value,
}

/// All templates of a set.
pub(super) fn templates(set: &Set) -> Vec<Template<'_>> {
    let of = |object| {
        let template = match text(object, "/kind") {
            "Deployment" | "StatefulSet" | "Job" => "/spec/template",
            "CronJob" => "/spec/jobTemplate/spec/template",
            _ => return None,
        };
        let template = object.pointer(template)?;
        Some(Template {
            owner: title(object),
            labels: &template["metadata"]["labels"],
            spec: &template["spec"],
            object,
        })
    };
    set.documents.iter().filter_map(of).collect()
}

/// Whether an image is this program.
pub(super) fn is_ours(image: &str) -> bool {
    image.rsplit('/').next().and_then(|name| name.split(':').next()) == Some("bareme")
}

/// What is wrong with the name of an image.
pub(super) fn image(image: &str, facts: &Facts) -> Option<String> {
    let tag = image.rsplit('/').next().and_then(|name| name.split_once(':')).map(|(_, tag)| tag);
    match tag {
        None | Some("latest" | "") => Some(format!("image {image} names no version")),
        Some(tag) if is_ours(image) && tag != facts.version => {
            Some(format!("image {image} is not of this version, {}", facts.version))
        }
        Some(_) => None,
    }
}

/// What is wrong with the variables of this program.
pub(super) fn environment(variables: &BTreeMap<String, String>, facts: &Facts) -> Result<Vec<String>> {
    let ours: BTreeMap<_, _> =
        variables.iter().filter(|(name, _)| name.starts_with("BAREME_")).map(|(k, v)| (k.clone(), v.clone())).collect();
    let unknown: Vec<_> = ours.keys().filter(|name| !facts.has_setting(name)).collect();
    if !unknown.is_empty() {
        return Ok(unknown.into_iter().map(|name| format!("{name} is no setting of the program")).collect());
    }
    Ok(facts.misconfigured(&ours)?.map(|why| format!("the program refuses its settings: {why}")).into_iter().collect())
}

/// What says where viewers, and operators, reach a server, and where that is unless it is said.
pub(super) const LISTEN: (&str, &str) = ("BAREME_LISTEN", "127.0.0.1:8080");
pub(super) const OPS_LISTEN: (&str, &str) = ("BAREME_OPS_LISTEN", "127.0.0.1:9080");

/// The port of an address to listen on that others reach.
pub(super) fn port_of(variables: &BTreeMap<String, String>, (name, default): (&str, &str)) -> Result<u64, String> {
    let listen = variables.get(name).map_or(default, String::as_str);
    let (host, port) = listen.rsplit_once(':').ok_or_else(|| format!("{name} is `{listen}`"))?;
    if host.starts_with("127.") || host == "localhost" || host == "[::1]" {
        return Err(format!("{name} is {listen}: nobody outside the container reaches that"));
    }
    port.parse().map_err(|_| format!("{name} is `{listen}`"))
}

/// The port of a container that operators reach, as pods have it; their Services and policies name it so.
pub(super) const OPS_PORT: &str = "ops";

/// Checks every template of a set.
pub(super) fn check(set: &Set, facts: &Facts) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for template in templates(set) {
        let mut of_template = volumes(set, &template);
        of_template.extend(account(set, &template));
        for container in list(template.spec, "/containers") {
            of_template.extend(image(text(container, "/image"), facts));
            of_template.extend(probes(container));
            of_template.extend(resources(container));
            if is_ours(text(container, "/image")) {
                of_template.extend(ours(set, &template, container, facts)?);
            }
        }
        found.extend(of_template.into_iter().map(|complaint| format!("{}: {complaint}", template.owner)));
    }
    Ok(found)
}

fn ours(set: &Set, template: &Template<'_>, container: &Value, facts: &Facts) -> Result<Vec<String>> {
    let (variables, mut found) = variables(set, container);
    found.extend(environment(&variables, facts)?);
    let arguments: Vec<String> = list(container, "/args").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let command = format!("bareme {}", arguments.join(" "));
    found.extend(facts.refuses(&arguments)?.map(|why| format!("`{command}`: {why}")));
    found.extend(confined(template.spec, container));
    if !variables.contains_key("BAREME_STORE") && template.owner != "Deployment/bareme" {
        found.push("has no BAREME_STORE".to_owned());
    }
    if arguments.first().map(String::as_str) == Some("serve") {
        found.extend(serving(template, container, &variables, facts));
    }
    Ok(found)
}

/// A server's own: where it listens, what is asked there, how it stops.
fn serving(
    template: &Template<'_>,
    container: &Value,
    variables: &BTreeMap<String, String>,
    facts: &Facts,
) -> Vec<String> {
    let mut found = Vec::new();
    for (setting, is_ops) in [(LISTEN, false), (OPS_LISTEN, true)] {
        match port_of(variables, setting) {
            Err(why) => found.push(why),
            Ok(port) => match list(container, "/ports").iter().find(|each| each["containerPort"] == port) {
                None => found.push(format!("listens on port {port}, and none of its ports is that")),
                Some(named) if (named["name"] == OPS_PORT) != is_ops => {
                    found.push(format!("port {port} is called {}, as the other one should be", named["name"]));
                }
                Some(_) => {}
            },
        }
    }
    if template.object.pointer("/spec/replicas").is_some() {
        found.push("`replicas` is the autoscaler's: applying it would take pods away in a live".to_owned());
    }
    // What the one is asked is not for the other: a store that is away must not get pods killed.
    for (probe, path) in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        let asked = text(container, &format!("/{probe}/httpGet/path"));
        let port = container.pointer(&format!("/{probe}/httpGet/port")).unwrap_or(&Value::Null);
        if *port != OPS_PORT {
            found.push(format!("its {probe} asks port {port}, and operators' routes are on the port {OPS_PORT} alone"));
        }
        if asked != path {
            found.push(format!("its {probe} asks `{asked}` and not {path}"));
        } else if !facts.answers(path) {
            found.push(format!("its {probe} asks {path}, which the program does not answer"));
        }
    }
    let wait = container.pointer("/lifecycle/preStop/sleep/seconds").and_then(Value::as_u64).unwrap_or(0);
    let period = container.pointer("/readinessProbe/periodSeconds").and_then(Value::as_u64).unwrap_or(10);
    if wait < 2 * period {
        found.push(format!(
            "waits {wait} s before it is told to stop: balancers that ask every {period} s do not know by then"
        ));
    }
    let given = template.spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    if given < wait + facts.drain_s {
        found.push(format!(
            "has {given} s to end, and takes up to {} (preStop {wait}, draining {})",
            wait + facts.drain_s,
            facts.drain_s
        ));
    }
    found
}

/// Variables of a container, from ConfigMaps and its own; and those sources that are not there.
pub(super) fn variables(set: &Set, container: &Value) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut variables, mut found) = (BTreeMap::new(), Vec::new());
    for source in list(container, "/envFrom") {
        let name = text(source, "/configMapRef/name");
        let Some(map) = set.find("ConfigMap", name) else {
            found.push(format!("reads its settings from ConfigMap {name}, which is not there"));
            continue;
        };
        for (name, value) in map["data"].as_object().into_iter().flatten() {
            variables.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
        }
    }
    for variable in list(container, "/env") {
        variables.insert(text(variable, "/name").to_owned(), text(variable, "/value").to_owned());
    }
    (variables, found)
}

/// Ports that probes ask are ports of the container.
fn probes(container: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        for way in ["httpGet", "tcpSocket"] {
            let Some(port) = container.pointer(&format!("/{probe}/{way}/port")) else { continue };
            let is_port = |each: &Value| each["name"] == *port || each["containerPort"] == *port;
            if !list(container, "/ports").iter().any(is_port) {
                found.push(format!("its {probe} asks port {port}, which it does not have"));
            }
        }
    }
    found
}

fn resources(container: &Value) -> Vec<String> {
    ["/resources/requests/cpu", "/resources/requests/memory", "/resources/limits/memory"]
        .into_iter()
        .filter(|pointer| container.pointer(pointer).is_none())
        .map(|pointer| format!("has no {}", pointer.trim_start_matches('/').replace('/', ".")))
        .collect()
}

/// What the program never needs.
fn confined(spec: &Value, container: &Value) -> Vec<String> {
    let wanted = [
        (spec, "/securityContext/runAsNonRoot", Value::Bool(true)),
        (spec, "/securityContext/seccompProfile/type", Value::from("RuntimeDefault")),
        (spec, "/automountServiceAccountToken", Value::Bool(false)),
        (container, "/securityContext/allowPrivilegeEscalation", Value::Bool(false)),
        (container, "/securityContext/readOnlyRootFilesystem", Value::Bool(true)),
        (container, "/securityContext/capabilities/drop/0", Value::from("ALL")),
    ];
    let missing = wanted.iter().filter(|(value, pointer, wanted)| value.pointer(pointer) != Some(wanted));
    missing
        .map(|(_, pointer, wanted)| format!("{} is not {wanted}", pointer.trim_start_matches('/').replace('/', ".")))
        .collect()
}

fn account(set: &Set, template: &Template<'_>) -> Option<String> {
    let name = text(template.spec, "/serviceAccountName");
    (!name.is_empty() && set.find("ServiceAccount", name).is_none())
        .then(|| format!("ServiceAccount {name} is not there"))
}

/// Every mount has a volume, and every volume what it is of.
fn volumes(set: &Set, template: &Template<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut names: Vec<&str> = list(template.spec, "/volumes").iter().map(|volume| text(volume, "/name")).collect();
    names.extend(list(template.object, "/spec/volumeClaimTemplates").iter().map(|claim| text(claim, "/metadata/name")));
    for container in list(template.spec, "/containers") {
        for mount in list(container, "/volumeMounts") {
            let name = text(mount, "/name");
            if !names.contains(&name) {
                found.push(format!("mounts volume {name}, which is not there"));
            }
        }
    }
    for volume in list(template.spec, "/volumes") {
        for (pointer, kind) in
            [("/configMap/name", "ConfigMap"), ("/persistentVolumeClaim/claimName", "PersistentVolumeClaim")]
        {
            let name = text(volume, pointer);
            if !name.is_empty() && set.find(kind, name).is_none() {
                found.push(format!("a volume is of {kind} {name}, which is not there"));
            }
        }
    }
    found
}
