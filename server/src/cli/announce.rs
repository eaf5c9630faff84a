//! What `serve` and `demo` say when they are ready: where to go, from this machine and from phones.

use std::fmt::Write as _;
use std::net::SocketAddr;

use fast_qr::qr::QRBuilder;

use crate::app::own_address;
use crate::auth::secrets::Secret;
use crate::demo::Demo;
use crate::settings::Settings;

/// Networks of containers and virtual machines, which phones cannot reach.
const VIRTUAL: [&str; 7] = ["docker", "br-", "veth", "virbr", "vmnet", "cni", "flannel"];

/// Where people of this machine go.
fn base(settings: &Settings, address: SocketAddr) -> String {
    if let Some(url) = &settings.public_url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let own = own_address(address);
    if own.ip().is_loopback() { format!("http://localhost:{}", own.port()) } else { format!("http://{own}") }
}

/// The address that others on the same network reach, if it listens there.
fn lan_base(address: SocketAddr) -> Option<String> {
    let ip = address.ip();
    if ip.is_loopback() {
        return None;
    }
    if !ip.is_unspecified() {
        return Some(format!("http://{address}"));
    }
    let mut interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let is_virtual = |name: &str| VIRTUAL.iter().any(|start| name.starts_with(start));
    interfaces.retain(|interface| !interface.is_loopback() && interface.ip().is_ipv4() && !interface.is_link_local());
    interfaces.sort_by_key(|interface| is_virtual(&interface.name));
    interfaces.first().map(|interface| format!("http://{}:{}", interface.ip(), address.port()))
}

fn qr(url: &str) -> Option<String> {
    QRBuilder::new(url).build().ok().map(|code| code.to_str())
}

/// What to print.
pub(super) fn text(
    settings: &Settings,
    (address, ops_address): (SocketAddr, SocketAddr),
    setup: Option<&Secret>,
    demo: Option<&Demo>,
) -> String {
    let base = base(settings, address);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\nBarème {}\n", env!("CARGO_PKG_VERSION"));
    let viewer_path = demo.map(|demo| format!("/{}", demo.channel)).unwrap_or_default();
    match demo {
        Some(demo) => {
            let _ = writeln!(out, "  viewer    {base}/{}", demo.channel);
            let _ = writeln!(out, "  overlay   {base}/overlay/{}?key={}", demo.channel, demo.overlay_key);
        }
        None => {
            let _ = writeln!(out, "  viewer    {base}/  (a channel's page is {base}/NAME)");
            let _ = writeln!(out, "  overlay   {base}/overlay/NAME?key=…  (make a key on the admin page)");
        }
    }
    match setup {
        Some(secret) => {
            let _ = writeln!(out, "  admin     {base}/admin#setup={}", secret.reveal());
            let _ =
                writeln!(out, "            This link makes the first account. It works once, until the next start.");
        }
        None => {
            let _ = writeln!(out, "  admin     {base}/admin");
        }
    }
    let _ = writeln!(out, "  operator  http://{}/metrics  (also /readyz and /healthz)", own_address(ops_address));
    if settings.public_url.is_none()
        && let Some(lan) = lan_base(address)
    {
        let url = format!("{lan}{viewer_path}");
        let _ = writeln!(out, "\n  On the same network: {url}\n");
        if let Some(code) = qr(&url) {
            let _ = writeln!(out, "{code}");
        }
        let _ = writeln!(
            out,
            "  Warning: this is plain http. It is fine for votes on a network you trust; sign in to the admin page\n  \
             from this machine, or put a proxy with https before it and set --public-url."
        );
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const OPS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9080);

    #[test]
    fn the_set_up_link_carries_its_secret_in_the_fragment() {
        let secret = Secret::new("brm_setup_");
        let text = text(&Settings::default(), ("127.0.0.1:8080".parse().unwrap(), OPS), Some(&secret), None);
        assert!(text.contains(&format!("http://localhost:8080/admin#setup={}", secret.reveal())), "{text}");
        assert!(!text.contains("same network"));
        assert!(text.contains("  operator  http://127.0.0.1:9080/metrics"), "{text}");
    }

    #[test]
    fn beyond_loopback_the_address_comes_with_a_code_and_a_warning() {
        let text = text(&Settings::default(), ("192.0.2.7:8080".parse().unwrap(), OPS), None, None);
        assert!(text.contains("http://192.0.2.7:8080") && text.contains('█') && text.contains("https"), "{text}");
    }
}
