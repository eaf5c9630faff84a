//! Putting the sources of settings together, and reading what they say.
//!
//! **Invariant**: what is refused is named with its source, and a text that may hold a secret by mistake is not repeated.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use clap::ArgMatches;
use clap::parser::ValueSource;
use ipnet::IpNet;

use super::{NAMES, Options, Settings, SettingsError, Shown, StoreKind, ops_beside};
use crate::archive::DumpTo;
use crate::http::hosts::HostName;
use crate::store::cql::{CqlUrl, UrlError};

/// Variables that are read besides those of the settings.
const OTHER_VARIABLES: [&str; 2] = ["BAREME_CONFIG", "BAREME_VIEWERS"];

/// Puts the sources together, the strongest first, and checks everything.
///
/// # Errors
/// The first setting that is wrong.
pub fn resolve(
    flags: &Options,
    matches: &ArgMatches,
    config: Option<&Path>,
) -> Result<(Settings, Vec<Shown>), SettingsError> {
    let file = config.map(read_file).transpose()?.unwrap_or_default();
    let mut sources = Vec::new();
    let mut pick = |name: &'static str, in_flags: bool, in_file: bool| {
        let source = match (in_flags.then(|| matches.value_source(name)).flatten(), in_file, config) {
            (Some(ValueSource::CommandLine), ..) => format!("--{}", name.replace('_', "-")),
            (Some(_), ..) => format!("BAREME_{}", name.to_uppercase()),
            (None, true, Some(path)) => path.display().to_string(),
            _ => "default".to_owned(),
        };
        sources.push((name, source));
    };
    macro_rules! layered {
        ($field:ident) => {{
            let flag = flags.$field.clone();
            pick(stringify!($field), flag.is_some(), file.$field.is_some());
            flag.or_else(|| file.$field.clone())
        }};
    }
    let default = Settings::default();
    let listen = parsed("listen", layered!(listen), "such as 127.0.0.1:8080")?.unwrap_or(default.listen);
    let settings = Settings {
        listen,
        ops_listen: parsed("ops_listen", layered!(ops_listen), "such as 127.0.0.1:9080")?
            .unwrap_or_else(|| ops_beside(listen)),
        data_dir: layered!(data_dir).unwrap_or(default.data_dir),
        store: layered!(store).map(|text| store_kind(&text)).transpose()?.unwrap_or(default.store),
        public_url: layered!(public_url)
            .filter(|url| !url.is_empty())
            .map(|url| http_url("public_url", &url, "https://example.org"))
            .transpose()?,
        allowed_hosts: hosts(layered!(allowed_hosts))?,
        assets_dir: layered!(assets_dir),
        trusted_proxies: networks(layered!(trusted_proxies))?,
        log: layered!(log).unwrap_or(default.log),
        log_format: layered!(log_format).unwrap_or(default.log_format),
        otlp_endpoint: layered!(otlp_endpoint)
            .filter(|url| !url.is_empty())
            .map(|url| http_url("otlp_endpoint", &url, "http://127.0.0.1:4318"))
            .transpose()?,
        trace_ratio: layered!(trace_ratio).unwrap_or(default.trace_ratio),
        vote_rate: layered!(vote_rate).unwrap_or(default.vote_rate),
        new_viewers_per_address: layered!(new_viewers_per_address).unwrap_or(default.new_viewers_per_address),
        socket_rate: layered!(socket_rate).unwrap_or(default.socket_rate),
        sockets_per_address: layered!(sockets_per_address).unwrap_or(default.sockets_per_address),
        sockets: layered!(sockets).unwrap_or(default.sockets),
        tick_ms: layered!(tick_ms).unwrap_or(default.tick_ms),
        max_connections: layered!(max_connections).unwrap_or(default.max_connections),
        workers: layered!(workers).unwrap_or(default.workers),
        dump_to: layered!(dump_to).map(|text| dump_to(&text)).transpose()?.unwrap_or(default.dump_to),
        keep_notes_days: layered!(keep_notes_days).unwrap_or(default.keep_notes_days),
    };
    settings.validate()?;
    let shown = sources.into_iter().map(|(name, source)| Shown { name, value: settings.value(name), source }).collect();
    Ok((settings, shown))
}

fn read_file(path: &Path) -> Result<Options, SettingsError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::new(&name, format!("cannot be read: {error}"), "check --config"))?;
    // Unknown keys first, because the parser's message knows no nearest name.
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        SettingsError::new(&name, format!("is not TOML: {}", error.message()), "correct the file")
    })?;
    if let Some(key) = table.keys().find(|key| !NAMES.contains(&key.as_str())) {
        return Err(unknown(&format!("{key} in {name}"), key, NAMES.into_iter().map(str::to_owned)));
    }
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().lines().count());
        let place = format!("{name}, line {}", line.max(1));
        SettingsError::new(place, error.message().trim().to_owned(), "correct the file")
    })
}

fn unknown(shown: &str, given: &str, known: impl Iterator<Item = String>) -> SettingsError {
    let score = |name: &String| strsim::jaro_winkler(given, name);
    let nearest = known.max_by(|one, other| score(one).total_cmp(&score(other)));
    let remedy = nearest.map_or_else(String::new, |name| format!("did you mean {name}?"));
    SettingsError::new(shown, "is not a setting", remedy)
}

/// Refuses `BAREME_*` variables that nobody reads. What Kubernetes puts into every container when a Service has this
/// name is no setting and is passed over.
///
/// # Errors
/// The first unknown one.
pub fn check_environment(variables: impl Iterator<Item = (String, String)>) -> Result<(), SettingsError> {
    let known: Vec<String> = NAMES
        .iter()
        .map(|name| format!("BAREME_{}", name.to_uppercase()))
        .chain(OTHER_VARIABLES.map(str::to_owned))
        .collect();
    let mut given: Vec<_> = variables.filter(|(name, _)| name.starts_with("BAREME_")).collect();
    given.sort();
    for (name, value) in given {
        let of_kubernetes = name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || value.starts_with("tcp://")
            || value.starts_with("udp://")
            || name.contains("_TCP_")
            || name.contains("_UDP_");
        if !of_kubernetes && !known.contains(&name) {
            return Err(unknown(&name, &name, known.into_iter()));
        }
    }
    Ok(())
}

fn parsed<T: FromStr>(setting: &str, text: Option<String>, example: &str) -> Result<Option<T>, SettingsError> {
    let Some(text) = text else { return Ok(None) };
    let value = text
        .parse()
        .map_err(|_| SettingsError::new(setting, format!("`{text}` cannot be used"), format!("use {example}")))?;
    Ok(Some(value))
}

/// A cluster's address may hold a password by mistake: what is wrong is said without repeating it.
fn store_kind(text: &str) -> Result<StoreKind, SettingsError> {
    match text {
        "sqlite" => Ok(StoreKind::Sqlite),
        "memory" => Ok(StoreKind::Memory),
        _ if CqlUrl::is_meant(text) => text.parse().map(StoreKind::Cql).map_err(|error: UrlError| {
            SettingsError::new("store", error.to_string(), "use cql://node-1,node-2/keyspace?dc=NAME")
        }),
        _ => {
            let reason = format!("`{text}` cannot be used");
            Err(SettingsError::new("store", reason, "use `sqlite`, `memory` or cql://node-1,node-2/keyspace?dc=NAME"))
        }
    }
}

/// What is wrong is said without repeating the text, which may hold a secret by mistake.
fn dump_to(text: &str) -> Result<DumpTo, SettingsError> {
    let remedy = "use a folder, file:///…, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or off";
    text.parse().map_err(|reason: String| SettingsError::new("dump_to", reason, remedy))
}

/// A URL may hold a password by mistake: then it is not repeated.
fn http_url(setting: &str, text: &str, example: &str) -> Result<url::Url, SettingsError> {
    let shown = if text.contains('@') { "this" } else { text };
    let wrong = |reason: &str| SettingsError::new(setting, format!("`{shown}` {reason}"), format!("use {example}"));
    let url = url::Url::parse(text).map_err(|error| wrong(&format!("is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("is not an http or https URL"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has more than an origin and a path"));
    }
    Ok(url)
}

fn hosts(texts: Option<Vec<String>>) -> Result<Vec<HostName>, SettingsError> {
    let host = |text: &str| {
        HostName::parse(text).ok_or_else(|| {
            let remedy = "use names or addresses such as vote.lan, 192.168.1.5, separated by commas";
            SettingsError::new("allowed_hosts", format!("`{text}` is not a host"), remedy)
        })
    };
    let texts = texts.unwrap_or_default();
    texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).map(host).collect()
}

fn networks(texts: Option<Vec<String>>) -> Result<Vec<IpNet>, SettingsError> {
    let network = |text: &str| {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_| address()).map_err(|_| {
            let remedy = "use networks such as 10.0.0.0/8, separated by commas";
            SettingsError::new("trusted_proxies", format!("`{text}` is not a network"), remedy)
        })
    };
    let texts = texts.unwrap_or_default();
    texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest_name_and_those_of_kubernetes_are_not() {
        let check = |name: &str, value: &str| check_environment([(name.to_owned(), value.to_owned())].into_iter());
        let refused = check("BAREME_LISTN", "x").unwrap_err();
        assert_eq!(refused.to_string(), "BAREME_LISTN: is not a setting; did you mean BAREME_LISTEN?");
        assert_eq!(check("BAREME_DATA_DIR", "x"), Ok(()));
        assert_eq!(check("BAREME_SERVICE_HOST", "10.0.0.1"), Ok(()));
        assert_eq!(check("BAREME_PORT", "tcp://10.0.0.1:80"), Ok(()));
        assert!(check("BAREME_PORT", "8080").is_err());
        assert_eq!(check("HOME", "x"), Ok(()));
    }

    #[test]
    fn an_unknown_key_of_the_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bareme.toml");
        std::fs::write(&path, "data_dri = \"x\"\n").unwrap();
        let refused = read_file(&path).unwrap_err().to_string();
        assert!(refused.starts_with("data_dri in ") && refused.ends_with("did you mean data_dir?"), "{refused}");
        std::fs::write(&path, "listen = 4\n").unwrap();
        assert!(read_file(&path).unwrap_err().to_string().contains("line 1"));
        std::fs::write(&path, "trusted_proxies = \"10.0.0.0/8,::1\"\n").unwrap();
        assert_eq!(networks(read_file(&path).unwrap().trusted_proxies).unwrap().len(), 2);
    }

    #[test]
    fn a_store_is_a_name_or_the_address_of_a_cluster_and_no_refusal_repeats_a_password() {
        assert_eq!(store_kind("memory"), Ok(StoreKind::Memory));
        let url = "cql://a:9042,b:9042/bareme?dc=dc1&user=jo&password_file=/run/pw";
        assert_eq!(store_kind(url).unwrap().to_string(), url);
        let refused = store_kind("redis").unwrap_err().to_string();
        assert!(refused.starts_with("store: `redis` cannot be used; use `sqlite`"), "{refused}");
        let refused = store_kind("cql://jo:hunter2@a/bareme?dc=dc1").unwrap_err().to_string();
        assert!(refused.contains("password_file") && !refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn dumps_go_beside_the_file_unless_told_otherwise_and_nowhere_on_a_cluster() {
        let mut settings = Settings { data_dir: "/srv/bareme".into(), ..Settings::default() };
        assert_eq!(settings.dump_target().map(|url| url.to_string()).as_deref(), Some("file:///srv/bareme/dumps"));
        settings.store = store_kind("cql://a/bareme?dc=dc1").unwrap();
        assert_eq!(settings.dump_target(), None);
        settings.dump_to = dump_to("s3://bucket/x").unwrap();
        assert_eq!(settings.dump_target().map(|url| url.to_string()).as_deref(), Some("s3://bucket/x"));
        let refused = dump_to("s3://me:hunter2@bucket").unwrap_err().to_string();
        assert!(refused.starts_with("dump_to: ") && !refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn a_public_url_is_an_origin_and_a_path() {
        let checked_url = |text: &str| http_url("public_url", text, "https://example.org");
        assert!(checked_url("https://vote.example.org/x").is_ok());
        for wrong in ["vote.example.org", "ftp://a", "https://a/?q", "https://me@a/"] {
            assert!(checked_url(wrong).is_err(), "{wrong}");
        }
        let refused = http_url("otlp_endpoint", "http://me:hunter2@a/", "x").unwrap_err().to_string();
        assert!(!refused.contains("hunter2") && refused.starts_with("otlp_endpoint"), "{refused}");
    }
}
