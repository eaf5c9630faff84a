//! What points at something else: Services, ways in, autoscalers, budgets, policies, monitors; and the database.

use serde_json::Value;

use super::facts::Facts;
use super::pods::{OPS_PORT, Template, templates, variables};
use super::{Set, list, text, title};

/// The class of a balancer that is not to be used.
const RETIRED: &str = "nginx";
/// Words of PromQL that are no metrics.
const PROMQL: [&str; 12] =
    ["sum", "avg", "max", "min", "count", "by", "without", "rate", "increase", "quantile", "on", "ignoring"];

/// Shortest prefixes of networks that may be trusted: the pods of one node.
const NARROWEST_V4: u8 = 24;
const NARROWEST_V6: u8 = 64;

/// The namespace of Prometheus.
const MONITORING: &str = "monitoring";

/// Whether labels have all that a selector asks.
fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object();
    wanted
        .is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(value)))
}

/// Checks what a set's objects say of each other.
pub(super) fn check(set: &Set, facts: &Facts) -> Vec<String> {
    let templates = templates(set);
    let mut found = Vec::new();
    for document in &set.documents {
        let complaints = match text(document, "/kind") {
            "ConfigMap" => trusted(document),
            "Deployment" => deployment(document),
            "Service" => service(document, &templates),
            "Ingress" => ingress(set, document),
            "HTTPRoute" => route(set, document),
            "HorizontalPodAutoscaler" => autoscaler(set, document, facts),
            "ScaledObject" => scaled(set, document, facts),
            "PodDisruptionBudget" => budget(set, document, &templates),
            "NetworkPolicy" => policy(document, &templates),
            "PodMonitor" => monitor(document, &templates, facts),
            _ => Vec::new(),
        };
        found.extend(complaints.into_iter().map(|complaint| format!("{}: {complaint}", title(document))));
        if text(document, "/kind") != "Namespace" && text(document, "/metadata/namespace").is_empty() {
            found.push(format!("{}: would land in whatever namespace is the current one", title(document)));
        }
        if document.to_string().to_lowercase().contains(RETIRED) {
            found.push(format!("{}: names {RETIRED}", title(document)));
        }
    }
    found
}

/// Who says which viewer a request comes from: the ingress, and no network that others are in as well.
fn trusted(document: &Value) -> Vec<String> {
    let networks = text(document, "/data/BAREME_TRUSTED_PROXIES").split(',').map(str::trim);
    let too_wide = networks.filter(|network| !network.is_empty() && is_wide(network));
    too_wide.map(|network| format!("BAREME_TRUSTED_PROXIES: {network} is wider than an ingress")).collect()
}

/// Whether a network has more addresses than one node's pods; what cannot be read counts as wide.
fn is_wide(network: &str) -> bool {
    let (address, length) =
        network.split_once('/').map_or((network, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return true };
    let least = if address.is_ipv4() { NARROWEST_V4 } else { NARROWEST_V6 };
    length.is_some_and(|length| length.parse::<u8>().map_or(true, |length| length < least))
}

fn deployment(document: &Value) -> Vec<String> {
    let labels = &document["spec"]["template"]["metadata"]["labels"];
    let is_own = selects(&document["spec"]["selector"]["matchLabels"], labels);
    (!is_own).then(|| "its selector does not find its own pods".to_owned()).into_iter().collect()
}

fn service(document: &Value, templates: &[Template<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let selected: Vec<_> =
        templates.iter().filter(|template| selects(&document["spec"]["selector"], template.labels)).collect();
    let [template] = &*selected else {
        let owners: Vec<_> = selected.iter().map(|template| template.owner.as_str()).collect();
        return vec![format!("its selector finds the pods of [{}], and not of one", owners.join(", "))];
    };
    for port in list(document, "/spec/ports") {
        let target = port.get("targetPort").unwrap_or(&port["port"]);
        if is_ops(template, target) {
            found.push(format!("its port {} leads viewers to the port of operators", port["port"]));
        }
        if !has_port(template, target) {
            found.push(format!(
                "its port {} leads to port {target}, which {} does not have",
                port["port"], template.owner
            ));
        }
    }
    found
}

fn has_port(template: &Template<'_>, port: &Value) -> bool {
    let ports = list(template.spec, "/containers").iter().flat_map(|container| list(container, "/ports"));
    ports.into_iter().any(|each| each["name"] == *port || each["containerPort"] == *port)
}

/// Whether a port, by name or number, is that of operators.
fn is_ops(template: &Template<'_>, port: &Value) -> bool {
    let mut ports = list(template.spec, "/containers").iter().flat_map(|container| list(container, "/ports"));
    ports.any(|each| each["name"] == OPS_PORT && (each["name"] == *port || each["containerPort"] == *port))
}

/// A backend is a Service with such a port.
fn backend(set: &Set, name: &str, port: &Value) -> Option<String> {
    let Some(service) = set.find("Service", name) else {
        return Some(format!("leads to Service {name}, which is not there"));
    };
    let ports = list(service, "/spec/ports");
    let is_there = ports.iter().any(|each| each["name"] == *port || each["port"] == *port);
    (!is_there).then(|| format!("leads to port {port} of Service {name}, which it does not have"))
}

fn public_host(set: &Set) -> Option<&str> {
    let urls = set.kind("ConfigMap").map(|map| text(map, "/data/BAREME_PUBLIC_URL"));
    urls.into_iter().find_map(|url| url.split_once("://")).map(|(_, rest)| rest.split('/').next().unwrap_or_default())
}

fn ingress(set: &Set, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let secure = document.pointer("/spec/tls").is_some();
    let said = set.kind("ConfigMap").map(|map| text(map, "/data/BAREME_PUBLIC_URL")).find(|url| !url.is_empty());
    if said.is_some_and(|url| url.starts_with("https:") != secure) {
        found.push(format!("BAREME_PUBLIC_URL is {}, and TLS is {secure}", said.unwrap_or_default()));
    }
    for rule in list(document, "/spec/rules") {
        if public_host(set) != Some(text(rule, "/host")) {
            found.push(format!("its host {} is not that of BAREME_PUBLIC_URL", text(rule, "/host")));
        }
        for path in list(rule, "/http/paths") {
            let service = &path["backend"]["service"];
            let port = service["port"].get("name").unwrap_or(&service["port"]["number"]);
            found.extend(backend(set, text(service, "/name"), port));
        }
    }
    found
}

fn route(set: &Set, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for parent in list(document, "/spec/parentRefs") {
        let gateway = set.find("Gateway", text(parent, "/name"));
        let section = text(parent, "/sectionName");
        let has_section = |gateway| list(gateway, "/spec/listeners").iter().any(|each| text(each, "/name") == section);
        if !gateway.is_some_and(has_section) {
            found.push(format!("its parent {}/{section} is not there", text(parent, "/name")));
        }
    }
    for rule in list(document, "/spec/rules") {
        for each in list(rule, "/backendRefs") {
            found.extend(backend(set, text(each, "/name"), &each["port"]));
        }
    }
    found
}

fn autoscaler(set: &Set, document: &Value, facts: &Facts) -> Vec<String> {
    let mut found = target(set, &document["spec"]["scaleTargetRef"]);
    for metric in list(document, "/spec/metrics") {
        let name = text(metric, "/pods/metric/name");
        if text(metric, "/type") == "Pods" && !facts.has_metric(name) {
            found.push(format!("scales by {name}, which is no metric of the program"));
        }
    }
    if document["spec"]["minReplicas"].as_u64() > document["spec"]["maxReplicas"].as_u64() {
        found.push("its least is more than its most".to_owned());
    }
    found
}

fn target(set: &Set, reference: &Value) -> Vec<String> {
    let kind = reference.get("kind").and_then(Value::as_str).unwrap_or("Deployment");
    let name = text(reference, "/name");
    set.find(kind, name).is_none().then(|| format!("scales {kind}/{name}, which is not there")).into_iter().collect()
}

/// Names in a query that could be metrics.
fn metrics_of(query: &str) -> Vec<String> {
    // Labels stand in braces, ranges in brackets, texts in quotes.
    let mut names = Vec::new();
    let (mut depth, mut name) = (0_usize, String::new());
    for letter in query.chars().chain([' ']) {
        match letter {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && (letter.is_ascii_alphanumeric() || letter == '_' || letter == ':') {
            name.push(letter);
        } else {
            let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic());
            if is_name && !PROMQL.contains(&&*name) {
                names.push(name.clone());
            }
            name.clear();
        }
    }
    names
}

fn scaled(set: &Set, document: &Value, facts: &Facts) -> Vec<String> {
    let mut found = target(set, &document["spec"]["scaleTargetRef"]);
    for trigger in list(document, "/spec/triggers") {
        for name in metrics_of(text(trigger, "/metadata/query")) {
            if !facts.has_metric(&name) {
                found.push(format!("asks for {name}, which is no metric of the program"));
            }
        }
    }
    let name = text(document, "/spec/scaleTargetRef/name");
    if set.kind("HorizontalPodAutoscaler").any(|each| text(each, "/spec/scaleTargetRef/name") == name) {
        found.push(format!("{name} has a HorizontalPodAutoscaler as well, and the two fight each other"));
    }
    found
}

fn budget(set: &Set, document: &Value, templates: &[Template<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let selector = &document["spec"]["selector"]["matchLabels"];
    let owners: Vec<_> = templates
        .iter()
        .filter(|template| selects(selector, template.labels))
        .map(|template| &template.owner)
        .collect();
    if owners.len() != 1 {
        found.push(format!("its selector finds the pods of {owners:?}, and not of one"));
    }
    let least = set.kind("HorizontalPodAutoscaler").filter_map(|each| each["spec"]["minReplicas"].as_u64()).min();
    let gone = document["spec"]["maxUnavailable"].as_u64();
    if gone == Some(0) || gone.is_some_and(|gone| least.is_some_and(|least| gone >= least)) {
        found.push("lets none of the pods go, or all".to_owned());
    }
    found
}

fn policy(document: &Value, templates: &[Template<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let selector = &document["spec"]["podSelector"]["matchLabels"];
    let selected: Vec<_> = templates.iter().filter(|template| selects(selector, template.labels)).collect();
    if selected.is_empty() {
        found.push("its selector finds no pods".to_owned());
    }
    for rule in list(document, "/spec/ingress") {
        let is_watcher =
            |from: &Value| text(from, "/namespaceSelector/matchLabels/kubernetes.io~1metadata.name") == MONITORING;
        let (from, ports) = (list(rule, "/from"), list(rule, "/ports"));
        let lets_others = from.is_empty() || !from.iter().all(is_watcher);
        let leads_to_ops = |port: &Value| selected.iter().any(|template| is_ops(template, &port["port"]));
        let has_ops = || selected.iter().any(|template| has_port(template, &Value::from(OPS_PORT)));
        if lets_others && has_ops() && (ports.is_empty() || ports.iter().any(leads_to_ops)) {
            found.push(format!("lets others than {MONITORING} in to the port of operators"));
        }
        for port in ports {
            if !selected.iter().any(|template| has_port(template, &port["port"])) {
                found.push(format!("lets others in to port {}, which none of its pods has", port["port"]));
            }
        }
    }
    found
}

fn monitor(document: &Value, templates: &[Template<'_>], facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let selector = &document["spec"]["selector"]["matchLabels"];
    let selected: Vec<_> = templates.iter().filter(|template| selects(selector, template.labels)).collect();
    let [template] = &*selected else { return vec!["its selector finds no pods, or those of several".to_owned()] };
    if template.labels[text(document, "/spec/jobLabel")] != "bareme" {
        found.push("its jobLabel makes the job another one than bareme, as alarms and dashboards expect".to_owned());
    }
    for endpoint in list(document, "/spec/podMetricsEndpoints") {
        let (port, path) = (&endpoint["port"], text(endpoint, "/path"));
        if *port != OPS_PORT || !has_port(template, port) || path != "/metrics" || !facts.answers(path) {
            found.push(format!("scrapes {path} of port {port}, where the program has no metrics"));
        }
    }
    found
}

/// A store's address leads to a database of ours, in the data centre that it has; the database keeps what it acknowledges.
pub(super) fn database(set: &Set, all: &[Set]) -> Vec<String> {
    let mut found = Vec::new();
    let mut users = Vec::new();
    for template in templates(set) {
        for container in list(template.spec, "/containers") {
            let (variables, _) = variables(set, container);
            let Some(address) = variables.get("BAREME_STORE") else { continue };
            found.extend(led(address, all));
            if address.starts_with("cql://cassandra.") {
                found.extend(signed_in(&template, container, address));
                users.push((template.owner.clone(), value(address, "user=").to_owned()));
            }
        }
    }
    let user = |owner: &str| users.iter().find(|(of, _)| of == owner).map(|(_, user)| user);
    if user("Job/bareme-migrate").is_some_and(|migration| Some(migration) == user("Deployment/bareme")) {
        found.push("Job/bareme-migrate: signs in as servers do, which then may change tables".to_owned());
    }
    found.extend(guarded(set));
    for cluster in set.kind("ScyllaCluster") {
        let racks = list(cluster, "/spec/datacenter/racks");
        if racks.len() != 3 || racks.iter().any(|rack| rack["members"] != racks[0]["members"]) {
            found.push(format!("{}: three replicas need three racks alike", title(cluster)));
        }
        for rack in racks {
            let name = text(rack, "/scyllaConfig");
            let settings = set.find("ConfigMap", name).map_or("", |map| text(map, "/data/scylla.yaml"));
            if !settings.lines().any(|line| line == "commitlog_sync: batch") {
                found.push(format!(
                    "{}: {} does not flush before it acknowledges (commitlog_sync in ConfigMap {name})",
                    title(cluster),
                    text(rack, "/name")
                ));
            }
        }
    }
    found
}

/// A value of an address.
fn value<'a>(address: &'a str, name: &str) -> &'a str {
    address.split(['?', '&']).find_map(|part| part.strip_prefix(name)).unwrap_or_default()
}

/// Hosts of an address are of a database here, in the data centre that it names.
fn led(address: &str, all: &[Set]) -> Vec<String> {
    let mut found = Vec::new();
    let hosts = address.trim_start_matches("cql://").split('/').next().unwrap_or_default();
    let wanted = value(address, "dc=");
    for host in hosts.split(',') {
        match all.iter().find_map(|database| data_centre(database, host)) {
            None => found.push(format!("BAREME_STORE leads to {host}, which none of k8s/database makes")),
            Some(real) if real != wanted => {
                found.push(format!("BAREME_STORE says dc={wanted}, and {host} is in {real}"));
            }
            Some(_) => {}
        }
    }
    found
}

/// Servers of the Cassandra here sign in over TLS, with files that are mounted where the address says.
fn signed_in(template: &Template<'_>, container: &Value, address: &str) -> Vec<String> {
    let mut found = Vec::new();
    if value(address, "user=").is_empty() {
        found.push("BAREME_STORE names no user".to_owned());
    }
    for name in ["password_file=", "tls="] {
        let Some((folder, _)) = value(address, name).rsplit_once('/') else {
            found.push(format!("BAREME_STORE has no {name}"));
            continue;
        };
        let mut mounts = list(container, "/volumeMounts").iter();
        let mount = mounts.find(|mount| text(mount, "/mountPath") == folder);
        let volumes = list(template.spec, "/volumes");
        let is_secret = mount.is_some_and(|mount| {
            let of_mount = volumes.iter().find(|volume| volume["name"] == mount["name"]);
            of_mount.is_some_and(|volume| !text(volume, "/secret/secretName").is_empty())
        });
        if !is_secret {
            found.push(format!("{}: no secret is mounted at {folder}, where {name} is", template.owner));
        }
    }
    found
}

/// Nodes of Cassandra here ask for passwords, speak TLS, and are reached by those who have to only.
fn guarded(set: &Set) -> Vec<String> {
    let mut found = Vec::new();
    for node in set.kind("StatefulSet").filter(|node| text(node, "/metadata/name") == "cassandra") {
        let templates = templates(set);
        let Some(template) = templates.iter().find(|template| template.owner == title(node)) else { continue };
        let main = &template.spec["containers"][0];
        // start.sh does the rest where this is set.
        let tls = list(main, "/env").iter().find(|each| text(each, "/name") == "CASSANDRA_TLS");
        let folder = tls.map_or("", |variable| text(variable, "/value"));
        let writes = |container: &Value| {
            list(container, "/volumeMounts").iter().any(|mount| text(mount, "/mountPath") == folder)
        };
        let makes = list(template.spec, "/initContainers").iter().any(writes);
        if folder.is_empty() || !writes(main) || !makes {
            found.push(format!("{}: has no certificates in CASSANDRA_TLS", title(node)));
        }
        if writes(main) && list(main, "/volumeMounts").iter().any(|mount| text(mount, "/name") == "authority") {
            found.push(format!("{}: the database sees the key of the authority", title(node)));
        }
        let policy = set
            .kind("NetworkPolicy")
            .find(|policy| selects(&policy["spec"]["podSelector"]["matchLabels"], template.labels));
        let Some(policy) = policy else {
            found.push(format!("{}: no NetworkPolicy is of its pods", title(node)));
            continue;
        };
        for direction in ["Ingress", "Egress"] {
            if !list(policy, "/spec/policyTypes").iter().any(|each| each == direction) {
                found.push(format!("{}: is not about {direction}", title(policy)));
            }
        }
        for rule in list(policy, "/spec/ingress") {
            if list(rule, "/from").is_empty()
                || list(rule, "/from").iter().any(|from| from.get("podSelector").is_none())
            {
                found.push(format!("{}: lets in more than named pods", title(policy)));
            }
        }
    }
    found
}

/// The data centre of a database that has this host.
fn data_centre(set: &Set, host: &str) -> Option<String> {
    let (name, namespace) = host.split_once('.')?;
    let lies_in = |object: &&Value| text(object, "/metadata/namespace") == namespace;
    let operated = |cluster: &&Value| format!("{}-client", text(cluster, "/metadata/name")) == name;
    if let Some(cluster) = set.kind("ScyllaCluster").filter(lies_in).find(operated) {
        return Some(text(cluster, "/spec/datacenter/name").to_owned());
    }
    let service = set.find("Service", name).filter(lies_in)?;
    let template =
        templates(set).into_iter().find(|template| selects(&service["spec"]["selector"], template.labels))?;
    let variables = list(template.spec, "/containers").iter().flat_map(|container| list(container, "/env"));
    let centre = variables.into_iter().find(|each| text(each, "/name") == "CASSANDRA_DC")?;
    Some(text(centre, "/value").to_owned())
}

#[cfg(test)]
mod tests {
    use super::metrics_of;

    #[test]
    fn names_of_metrics_are_told_from_labels_ranges_and_functions() {
        let query = "sum by (pod) (rate(notes_accepted_total{job=\"x\"}[5m])) / max(ws_active_connections)";
        assert_eq!(metrics_of(query), ["pod", "notes_accepted_total", "ws_active_connections"]);
    }
}
