//! As much of the CQL native protocol (version 4) as it takes to ask a node whether it is there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail};

const TIMEOUT: Duration = Duration::from_secs(3);
const VERSION: u8 = 4;
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const ALL: u16 = 0x0005;
const LOCAL_ONE: u16 = 0x000A;

/// Asks a node for a row that every node of a cluster of three has: with `of_all`, all three must answer it.
///
/// # Errors
/// When it cannot be reached, is not ready, or cannot reach the others.
pub(super) fn answers(node: SocketAddr, of_all: bool) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&node, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut startup = 1_u16.to_be_bytes().to_vec();
    for text in ["CQL_VERSION", "3.0.0"] {
        startup.extend(u16::try_from(text.len())?.to_be_bytes());
        startup.extend(text.as_bytes());
    }
    ask(&mut stream, STARTUP, &startup, READY)?;
    let text = "SELECT status FROM system_distributed.view_build_status WHERE keyspace_name = 'k' AND view_name = 'v'";
    let mut query = u32::try_from(text.len())?.to_be_bytes().to_vec();
    query.extend(text.as_bytes());
    query.extend(if of_all { ALL } else { LOCAL_ONE }.to_be_bytes());
    query.push(0);
    ask(&mut stream, QUERY, &query, RESULT)
}

fn ask(stream: &mut TcpStream, opcode: u8, body: &[u8], expected: u8) -> Result<()> {
    let mut frame = vec![VERSION, 0, 0, 0, opcode];
    frame.extend(u32::try_from(body.len())?.to_be_bytes());
    frame.extend(body);
    stream.write_all(&frame)?;
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let mut answer = Vec::new();
    let length = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    stream.take(u64::from(length)).read_to_end(&mut answer)?;
    if head[4] != expected {
        bail!("{}", String::from_utf8_lossy(answer.get(6..).unwrap_or_default()));
    }
    Ok(())
}
