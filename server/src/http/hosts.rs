//! Under which names this server answers.
//!
//! A page of another site can have its own name lead to this machine (DNS rebinding), and is then, for a browser, a page of
//! this server. What gives it away is the name in `Host`. The same name would be written into links and codes.
//!
//! **Invariant**: a request with a name that is not this server's reaches no handler.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::Error;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{RequestHead, ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;

use super::State;
use super::error::Problem;
use crate::settings::Settings;

/// How long the machine's addresses hold before an unknown one is looked for again.
const ADDRESSES_LIFE: Duration = Duration::from_secs(1);

/// A host as a header or setting names it, without its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostName {
    /// An address.
    Address(IpAddr),
    /// A name, in lower case, without the dot of the root.
    Name(String),
}

impl HostName {
    /// Reads `name`, `name:port`, `address`, `address:port` or `[address]:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let host = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
                return is_port.then(|| address.parse::<IpAddr>().ok()).flatten().map(Self::address);
            }
            None if text.matches(':').count() > 1 => return text.parse::<IpAddr>().ok().map(Self::address),
            None => match text.split_once(':') {
                Some((host, port)) => is_number(port).then_some(host)?,
                None => text,
            },
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::address(address));
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (!host.is_empty() && host.len() <= 253 && host.bytes().all(is_plain))
            .then(|| Self::Name(host.to_ascii_lowercase()))
    }

    fn address(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }

    /// Whether it means the machine that asks, whoever resolves it.
    fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl std::fmt::Display for HostName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The names this server has, by its settings and its machine.
#[derive(Debug, Default)]
pub struct Hosts {
    public: Option<HostName>,
    allowed: Vec<HostName>,
    own: Mutex<Own>,
}

/// The addresses of this machine, which come and go.
#[derive(Debug, Default)]
struct Own {
    addresses: HashSet<IpAddr>,
    looked: Option<Instant>,
}

impl Own {
    fn has(&mut self, address: IpAddr) -> bool {
        if self.addresses.contains(&address) {
            return true;
        }
        if self.looked.is_some_and(|looked| looked.elapsed() < ADDRESSES_LIFE) {
            return false;
        }
        self.looked = Some(Instant::now());
        match if_addrs::get_if_addrs() {
            Ok(interfaces) => {
                self.addresses = interfaces.iter().map(|interface| interface.ip().to_canonical()).collect();
            }
            Err(error) => tracing::warn!(%error, "the addresses of this machine cannot be read"),
        }
        self.addresses.contains(&address)
    }
}

impl Hosts {
    /// What settings say.
    pub fn new(settings: &Settings) -> Self {
        let public = settings.public_url.as_ref().and_then(url::Url::host_str).and_then(HostName::parse);
        Self { public, allowed: settings.allowed_hosts.clone(), own: Mutex::default() }
    }

    /// Whether a request may be answered that names all of these hosts. Operators' programs go by the address of a pod, or
    /// by none.
    fn accept(&self, mut named: impl Iterator<Item = Option<HostName>>, is_ops: bool) -> bool {
        let Some(first) = named.next() else { return is_ops };
        std::iter::once(first).chain(named).all(|host| host.is_some_and(|host| self.is_own(&host, is_ops)))
    }

    fn is_own(&self, host: &HostName, is_ops: bool) -> bool {
        if self.public.as_ref() == Some(host) || self.allowed.contains(host) {
            return true;
        }
        // An address cannot be made to lead elsewhere, so a probe may use any.
        if is_ops && (host.is_loopback() || matches!(host, HostName::Address(_))) {
            return true;
        }
        self.public.is_none()
            && match host {
                HostName::Address(address) => host.is_loopback() || self.is_of_this_machine(*address),
                HostName::Name(_) => host.is_loopback(),
            }
    }

    fn is_of_this_machine(&self, address: IpAddr) -> bool {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).has(address)
    }

    fn refusal(&self) -> Problem {
        let reason = "this server does not answer under the name in `Host`";
        let remedy = match &self.public {
            Some(_) => "go to the address in the setting public_url, or add the name to the setting allowed_hosts",
            None => {
                "go to http://localhost, an address of this machine, or add the name to the setting allowed_hosts; \
                     behind a proxy set public_url"
            }
        };
        Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", reason, remedy)
    }
}

/// Every host a request names: in its target, and in each `Host`.
fn named(head: &RequestHead) -> impl Iterator<Item = Option<HostName>> {
    let target = head.uri.host().map(|_| head.uri.authority().and_then(|named| HostName::parse(named.as_str())));
    let hosts = head.headers().get_all(header::HOST).map(|host| host.to_str().ok().and_then(HostName::parse));
    target.into_iter().chain(hosts)
}

/// Answers 421 to what was meant for another name.
///
/// # Errors
/// None of its own.
pub async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    checked(request, next, false).await
}

/// The same on the listener of operators.
///
/// # Errors
/// None of its own.
pub async fn check_ops<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    checked(request, next, true).await
}

async fn checked<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
    is_ops: bool,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if let Some(state) = request.app_data::<State>()
        && !state.hosts.accept(named(request.head()), is_ops)
    {
        let refusal = actix_web::ResponseError::error_response(&state.hosts.refusal());
        return Ok(request.into_response(refusal).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(public_url: Option<&str>, allowed: &[&str]) -> Hosts {
        Hosts::new(&Settings {
            public_url: public_url.map(|url| url.parse().unwrap()),
            allowed_hosts: allowed.iter().map(|host| HostName::parse(host).unwrap()).collect(),
            ..Settings::default()
        })
    }

    fn accepts(hosts: &Hosts, host: &str, is_ops: bool) -> bool {
        hosts.accept(std::iter::once(HostName::parse(host)), is_ops)
    }

    #[test]
    fn without_a_public_url_loopback_own_addresses_and_allowed_names_are_answered() {
        let hosts = hosts(None, &["vote.lan", "203.0.113.9"]);
        for own in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "a.localhost",
            "127.0.0.1:8080",
            "127.8.9.1",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "vote.lan:8080",
            "203.0.113.9:80",
        ] {
            assert!(accepts(&hosts, own, false), "{own}");
        }
        for other in [
            "evil.example:8080",
            "localhost.evil.example",
            "notlocalhost",
            "vote.lan.evil.example",
            "203.0.113.10",
            "0.0.0.0:8080",
            "",
            "a b",
            "localhost:8080:1",
            "localhost:port",
            "me@localhost",
            "localhost/x",
            "[::1",
        ] {
            assert!(!accepts(&hosts, other, false), "{other}");
        }
        assert!(!hosts.accept(std::iter::empty(), false), "a request that names none");
        let both = [HostName::parse("localhost"), HostName::parse("evil.example")];
        assert!(!hosts.accept(both.into_iter(), false), "a request that names two");
        for own in if_addrs::get_if_addrs().unwrap() {
            assert!(accepts(&hosts, &std::net::SocketAddr::new(own.ip(), 80).to_string(), false), "{own:?}");
        }
    }

    #[test]
    fn with_a_public_url_only_its_host_and_allowed_names_are_answered() {
        let hosts = hosts(Some("https://vote.example.org/notes/"), &["vote.example.net"]);
        for own in ["vote.example.org", "Vote.Example.Org:443", "vote.example.org:8080", "vote.example.net"] {
            assert!(accepts(&hosts, own, false), "{own}");
        }
        for other in ["localhost", "127.0.0.1", "example.org", "evil.example"] {
            assert!(!accepts(&hosts, other, false), "{other}");
        }
    }

    #[test]
    fn probes_go_by_any_address_or_none_and_by_no_other_name() {
        for hosts in [hosts(Some("https://vote.example.org"), &[]), hosts(None, &[])] {
            for own in ["localhost:8080", "10.1.2.3:8080", "[fd00::1]:8080"] {
                assert!(accepts(&hosts, own, true), "{own}");
            }
            assert!(hosts.accept(std::iter::empty(), true));
            assert!(!accepts(&hosts, "evil.example", true));
        }
    }
}
