//! Where a cluster is: `cql://host[:port],host[:port]…/keyspace?dc=…&user=…&password_file=…&tls=…`.
//!
//! Invariant: the text holds no secret, so that it may be shown; a password comes from a file, and an address that has
//! one in it is refused without repeating it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

const SCHEME: &str = "cql://";
const DEFAULT_PORT: u16 = 9042;
/// Longest name of a keyspace, by the rules of both engines.
const MAX_KEYSPACE_CHARS: usize = 48;

/// What would end a value, or be read as something else.
const RESERVED: &AsciiSet = &CONTROLS.add(b' ').add(b'&').add(b'#').add(b'%').add(b'?').add(b'@');

/// An address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CqlUrl {
    /// Nodes to begin with, as `host:port`; the others are learnt from them.
    pub nodes: Vec<String>,
    /// The keyspace.
    pub keyspace: String,
    /// The data centre whose replicas answer. All servers of an instance name the same one: a quorum of one data centre
    /// does not see what a quorum of another just wrote.
    pub datacenter: String,
    /// Who to sign in as, and the file with the password, when the cluster asks for it.
    pub login: Option<(String, PathBuf)>,
    /// File with the certificates, in PEM, that those of the nodes are signed with; `None`: no TLS.
    pub tls: Option<PathBuf>,
}

/// Why a text is not an address of a cluster. Says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

fn wrong<T>(text: impl Into<String>) -> Result<T, UrlError> {
    Err(UrlError(text.into()))
}

impl CqlUrl {
    /// Whether a text wants to be one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }
}

fn decoded(text: &str) -> Result<String, UrlError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => wrong(format!("`{text}` is not UTF-8 once decoded")),
    }
}

fn node(text: &str) -> Result<String, UrlError> {
    // An IPv6 address is in brackets, because its colons are not a port's.
    let after_address = text.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match text[after_address..].rfind(':') {
        Some(colon) => (&text[..after_address + colon], &text[after_address + colon + 1..]),
        None => (text, ""),
    };
    if host.is_empty() || host.contains(['/', ' ', '?', '#']) || (after_address == 0 && host.contains(':')) {
        return wrong(format!("`{text}` is not a node; name nodes such as 10.0.0.1, db-1:9042 or [::1]:9042"));
    }
    match port {
        "" => Ok(format!("{host}:{DEFAULT_PORT}")),
        port => match port.parse::<u16>() {
            Ok(port @ 1..) => Ok(format!("{host}:{port}")),
            _ => wrong(format!("`{port}` is not a port")),
        },
    }
}

fn keyspace(text: &str) -> Result<String, UrlError> {
    let of_name = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
    let starts_well = text.starts_with(|char: char| char.is_ascii_lowercase());
    if !starts_well || !text.chars().all(of_name) || text.len() > MAX_KEYSPACE_CHARS {
        return wrong(format!(
            "`{text}` is not a keyspace; after the nodes comes a name of a-z, 0-9 and _, such as /bareme"
        ));
    }
    Ok(text.to_owned())
}

impl FromStr for CqlUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return wrong(format!("an address of a cluster begins with {SCHEME}"));
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        if place.contains('@') || query.contains('#') {
            return wrong("users and passwords do not belong before the nodes; use ?user=NAME&password_file=FILE");
        }
        let (nodes, name) = place.split_once('/').unwrap_or((place, ""));
        let nodes = nodes.split(',').map(node).collect::<Result<Vec<_>, _>>()?;
        let keyspace = keyspace(name)?;
        let (mut datacenter, mut user, mut password_file, mut tls) = (None, None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "dc" => &mut datacenter,
                "user" => &mut user,
                "password_file" => &mut password_file,
                "tls" => &mut tls,
                "password" => {
                    return wrong("a password is not written here, where others see it; use password_file=FILE");
                }
                _ => return wrong(format!("`{name}` is not known; known are dc, user, password_file and tls")),
            };
            let value = decoded(value)?;
            if value.is_empty() {
                return wrong(format!("`{name}` is empty"));
            }
            if place.replace(value).is_some() {
                return wrong(format!("`{name}` is there twice"));
            }
        }
        let Some(datacenter) = datacenter else {
            return wrong("the data centre is missing; add ?dc=NAME, the same for all servers");
        };
        let login = match (user, password_file) {
            (Some(user), Some(file)) => Some((user, PathBuf::from(file))),
            (None, None) => None,
            (Some(_), None) => return wrong("`user` needs `password_file`"),
            (None, Some(_)) => return wrong("`password_file` needs `user`"),
        };
        Ok(Self { nodes, keyspace, datacenter, login, tls: tls.map(PathBuf::from) })
    }
}

impl fmt::Display for CqlUrl {
    /// As it would be written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let file = |path: &PathBuf| encoded(&path.display().to_string());
        write!(f, "{SCHEME}{}/{}?dc={}", self.nodes.join(","), self.keyspace, encoded(&self.datacenter))?;
        if let Some((user, password_file)) = &self.login {
            write!(f, "&user={}&password_file={}", encoded(user), file(password_file))?;
        }
        match &self.tls {
            Some(certificates) => write!(f, "&tls={}", file(certificates)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<CqlUrl>().unwrap_err().to_string()
    }

    #[test]
    fn an_address_names_nodes_keyspace_data_centre_login_and_certificates() {
        let url: CqlUrl = "cql://a,10.0.0.2:9142,[::1]/bareme?dc=dc1&user=jo%26y&password_file=/run/pw&tls=/run/ca.pem"
            .parse()
            .unwrap();
        assert_eq!(url.nodes, ["a:9042", "10.0.0.2:9142", "[::1]:9042"]);
        assert_eq!((url.keyspace.as_str(), url.datacenter.as_str()), ("bareme", "dc1"));
        assert_eq!(url.login, Some(("jo&y".to_owned(), PathBuf::from("/run/pw"))));
        assert_eq!(url.tls, Some(PathBuf::from("/run/ca.pem")));
        let shown = url.to_string();
        assert!(shown.starts_with("cql://a:9042,10.0.0.2:9142,[::1]:9042/bareme?dc=dc1&user=jo%26y&"), "{shown}");
        assert_eq!(shown.parse(), Ok(url));
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_with_what_to_do() {
        for (text, part) in [
            ("cql://", "is not a node"),
            ("cql://a", "such as /bareme"),
            ("cql://a/Bad-Name?dc=x", "such as /bareme"),
            ("cql://a/1a?dc=x", "such as /bareme"),
            ("cql://a:0/k?dc=x", "`0` is not a port"),
            ("cql://a:x/k?dc=x", "`x` is not a port"),
            ("cql://a,,b/k?dc=x", "is not a node"),
            ("cql://::1/k?dc=x", "is not a node"),
            ("cql://a/k", "add ?dc=NAME"),
            ("cql://a/k?dc=", "`dc` is empty"),
            ("cql://a/k?dc=x&dc=y", "`dc` is there twice"),
            ("cql://a/k?dc=x&datacentre=y", "`datacentre` is not known"),
            ("cql://a/k?dc=x&user=jo", "`user` needs `password_file`"),
            ("cql://a/k?dc=x&password_file=f", "`password_file` needs `user`"),
            ("sqlite://a", "begins with cql://"),
        ] {
            let error = refused(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        for text in ["cql://jo:hunter2@a/k?dc=x", "cql://a/k?dc=x&password=hunter2"] {
            let error = refused(text);
            assert!(!error.contains("hunter2") && error.contains("password_file"), "{error}");
        }
    }
}
