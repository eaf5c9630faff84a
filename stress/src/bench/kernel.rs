//! What the system keeps for a server's sockets.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};

/// Bytes that wait in the system to be sent from a local port, and how many connections it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Queues {
    /// Bytes that were handed to the system and not taken by a peer.
    pub unsent: u64,
    /// Connections that are established.
    pub connections: usize,
}

/// Reads the system's table of connections.
fn queues(table: &str, port: u16) -> Queues {
    let (local, mut queues) = (format!(":{port:04X}"), Queues::default());
    for line in table.lines().skip(1) {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(address), Some(_peer), Some(state), Some(waiting)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        // 0A is LISTEN, whose numbers mean something else; 06 is TIME_WAIT, which keeps nothing.
        if !address.ends_with(&local) || state == "0A" || state == "06" {
            continue;
        }
        // 01 is ESTABLISHED.
        queues.connections += usize::from(state == "01");
        let unsent = waiting.split(':').next().and_then(|hex| u64::from_str_radix(hex, 16).ok());
        queues.unsent += unsent.unwrap_or_default();
    }
    queues
}

/// What waits in the system for the peers of a server.
pub(super) fn queues_of(server: SocketAddr) -> Result<Queues> {
    // Tens of milliseconds when tens of thousands of connections have just ended. Whoever is measured on this processor
    // meanwhile has its turn after every piece, of which the system gives no more than a page at once.
    let mut file = File::open("/proc/net/tcp").context("cannot read /proc/net/tcp")?;
    let (mut table, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match file.read(&mut piece).context("cannot read /proc/net/tcp")? {
            0 => return Ok(queues(std::str::from_utf8(&table)?, server.port())),
            count => table.extend_from_slice(&piece[..count]),
        }
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
           0: 0100007F:1F90 00000000:0000 0A 00000000:00000005 00:00000000 00000000     0        0 1\n\
           1: 0100007F:1F90 0100007F:D431 01 00000A00:00000000 00:00000000 00000000     0        0 2\n\
           2: 0100007F:D431 0100007F:1F90 01 00000007:00000000 00:00000000 00000000     0        0 3\n\
           3: 0100007F:1F90 0100007F:D432 04 00000001:00000000 00:00000000 00000000     0        0 4\n\
           4: 0100007F:1F90 0100007F:D433 06 00000000:00000000 00:00000000 00000000     0        0 0\n";

    #[test]
    fn what_waits_is_summed_over_the_server_s_side_of_its_connections() {
        assert_eq!(queues(TABLE, 8080), Queues { unsent: 2561, connections: 1 });
        assert_eq!(queues(TABLE, 81), Queues::default());
    }

    #[test]
    fn bytes_that_nobody_reads_are_seen_in_the_real_table() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&client, 2048).unwrap();
        let (mut server, address) = (listener.accept().unwrap().0, listener.local_addr().unwrap());
        server.set_nonblocking(true).unwrap();
        while server.write(&[0; 65_536]).is_ok() {}
        let queues = queues_of(address).unwrap();
        assert!(queues.unsent > 0 && queues.connections == 1, "{queues:?}");
    }
}
