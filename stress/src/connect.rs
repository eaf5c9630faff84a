//! Opening a WebSocket.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use url::Url;

use crate::wire;

/// Longest head of an answer.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// A server, as sockets reach it.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where.
    pub address: SocketAddr,
    /// Its name in requests.
    pub host: String,
    /// The path before `/ws`, without a slash at its end.
    pub base: String,
    /// The address for requests over HTTP.
    pub url: Url,
}

/// Why no WebSocket was opened.
#[derive(Debug)]
pub enum ConnectError {
    /// The network's reason.
    Io(io::Error),
    /// The server answered, but not with a WebSocket: status and the code of its problem.
    Refused(u16, String),
    /// What answered is no WebSocket server.
    NotWebSocket(&'static str),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Refused(status, code) => write!(f, "HTTP {status} {code}"),
            Self::NotWebSocket(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ConnectError {
    /// A few words that are the same for the same kind of failure.
    pub fn kind(&self) -> String {
        match self {
            Self::Io(error) => error.kind().to_string(),
            other => other.to_string(),
        }
    }
}

/// A connection, and what came behind the head of the answer.
pub struct Opened {
    /// The connection.
    pub stream: TcpStream,
    /// The first bytes of the frames.
    pub rest: Vec<u8>,
}

async fn dial(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

/// Opens a WebSocket. `key` is any 16 random bytes, `headers` are whole lines.
///
/// # Errors
/// [`ConnectError`].
pub async fn open(
    server: &Server,
    path: &str,
    source: Option<IpAddr>,
    key: [u8; 16],
    headers: &str,
) -> Result<Opened, ConnectError> {
    let mut stream = dial(server.address, source).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        // While nobody listens, a port of the clients' own range can end up connected to itself.
        return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
    }
    stream.set_nodelay(true)?;
    let key = wire::key(key);
    stream
        .write_all(wire::upgrade_request(&format!("{}{path}", server.base), &server.host, &key, headers).as_bytes())
        .await?;
    let mut bytes = Vec::with_capacity(1024);
    let end = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > MAX_HEAD_BYTES {
            return Err(ConnectError::NotWebSocket("the head of the answer does not end"));
        }
    };
    check_head(&bytes[..end], &bytes[end..], &key)?;
    Ok(Opened { stream, rest: bytes.split_off(end) })
}

fn check_head(head: &[u8], body: &[u8], key: &str) -> Result<(), ConnectError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    if answer.parse(head).is_err() {
        return Err(ConnectError::NotWebSocket("the answer is not HTTP"));
    }
    let status = answer.code.unwrap_or_default();
    if status != 101 {
        let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let code = problem["code"].as_str().unwrap_or_default().to_owned();
        return Err(ConnectError::Refused(status, code));
    }
    let accept = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    match accept {
        Some(header) if header.value == wire::accept_of(key).as_bytes() => Ok(()),
        _ => Err(ConnectError::NotWebSocket("the answer does not fit the key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_status_and_code() {
        let head = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\n\r\n";
        let refused = check_head(head, br#"{"code":"unknown_channel"}"#, "x").unwrap_err();
        assert_eq!(refused.kind(), "HTTP 404 unknown_channel");
        assert!(check_head(b"SSH-2.0-OpenSSH\r\n\r\n", b"", "x").is_err());
        let head = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n";
        assert!(check_head(head, b"", "x").is_err());
    }
}
