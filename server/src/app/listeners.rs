//! Where a server listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// A peer that takes no byte for this long is given up by the system. Without it, a connection whose buffers are full
/// outlives its socket loop for ever: the HTTP dispatcher waits for room to write, and has no timeout for that.
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT_MS: u32 = 20_000;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Where a server listens.
#[derive(Debug)]
pub struct Listeners {
    /// For viewers, overlays and admins.
    pub public: TcpListener,
    /// For operators' programs.
    pub ops: TcpListener,
}

/// Opens the address that settings name.
///
/// # Errors
/// The system's, such as a port in use.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A restart must not wait for connections of the last run to be forgotten.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // What the listener is set to, its connections are from the start. Frames are whole messages: one that waited for more
    // to fill a packet would come late.
    socket.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(&socket, UNREAD_TIMEOUT_MS)?;
    socket.bind(address)?;
    socket.listen(u32::try_from(BACKLOG).unwrap_or(1024))?.into_std()
}

/// An address under which this machine reaches its own server.
pub fn own_address(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
impl Listeners {
    /// On ports that the system chooses.
    pub(crate) fn any() -> Self {
        let any = || listen(([127, 0, 0, 1], 0).into()).unwrap();
        Self { public: any(), ops: any() }
    }
}
