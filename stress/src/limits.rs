//! What the operating system allows: open files, and ports of source addresses.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside the sockets: standard streams, runtimes, the report, requests to the admin API.
const OTHER_FILES: u64 = 128;

/// Share of the ports of a source address that are used: others of the machine need some, too.
const USED_PORTS: f64 = 0.9;

/// Raises the limit of open files to what `sockets` need.
///
/// # Errors
/// When the system does not allow it, with what to do.
pub fn raise_open_files(sockets: u64) -> Result<()> {
    let needed = sockets + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    // Whoever may raise the upper limit does; everybody else can go up to it.
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).is_ok() {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or_default();
    bail!(
        "{sockets} sockets need {needed} open files, and this user may have {most}: \
         raise the limit (`ulimit -n {needed}` in a shell that may, or /etc/security/limits.conf), \
         or ask for at most {} viewers",
        most.saturating_sub(OTHER_FILES)
    );
}

/// How many ports the system gives to the connections of one source address.
pub fn ports_per_address() -> u32 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<u32>().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) if last >= first => last - first + 1,
        // The system's default where it does not say.
        _ => 28_232,
    }
}

/// The source addresses for so many sockets to one server; an empty list means: whichever the system takes.
///
/// # Errors
/// When the server is on another machine and one address has too few ports.
pub fn source_addresses(server: IpAddr, sockets: u32, ports: u32) -> Result<Vec<IpAddr>> {
    let usable = f64::from(ports.max(1)) * USED_PORTS;
    if f64::from(sockets) <= usable {
        return Ok(Vec::new());
    }
    if !server.is_loopback() || server.is_ipv6() {
        bail!(
            "{sockets} sockets to one address need more than the {ports} ports of \
             /proc/sys/net/ipv4/ip_local_port_range: widen it (`sysctl net.ipv4.ip_local_port_range='1024 65535'`), \
             name several servers with --url, or run this program on several machines"
        );
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small quotient of small numbers")]
    let count = ((f64::from(sockets) / usable).ceil() as u32).min(u32::from(u16::MAX));
    Ok((1..=count).map(|number| IpAddr::V4(Ipv4Addr::from(0x7F00_0000 + number))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn few_sockets_need_no_address_of_their_own() {
        assert_eq!(source_addresses(LOOPBACK, 25_000, 28_232).unwrap(), Vec::<IpAddr>::new());
    }

    #[test]
    fn many_sockets_are_spread_over_the_loopback_network() {
        let addresses = source_addresses(LOOPBACK, 100, 40).unwrap();
        assert_eq!(addresses.len(), 3);
        assert!(addresses.iter().all(IpAddr::is_loopback));
        assert_eq!(source_addresses(LOOPBACK, 300_000, 28_232).unwrap().len(), 12);
    }

    #[test]
    fn to_another_machine_the_remedy_is_named() {
        let refused = source_addresses(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 50_000, 28_232).unwrap_err();
        assert!(refused.to_string().contains("ip_local_port_range"));
    }

    #[test]
    fn more_files_than_the_system_has_are_refused_with_the_command_that_helps() {
        let refused = raise_open_files(1 << 40).unwrap_err().to_string();
        assert!(refused.contains("ulimit -n"), "{refused}");
        raise_open_files(10).unwrap();
    }
}
