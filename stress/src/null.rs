//! A server that answers every note at once and does nothing else: what this program can offer at most is measured
//! against it.

use std::io;
use std::rc::Rc;

use base64::Engine as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use uuid::Uuid;

use crate::clock::local_now_us;
use crate::wire;

/// The live it shows.
const LIVE: Uuid = Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001);

/// `{"live_id":…}` as `/api/channels/null/live` has it.
fn live() -> serde_json::Value {
    serde_json::json!({
        "live_id": LIVE, "channel": "null", "title": "Null", "status": "open", "current": 1, "blind": false, "minimum_votes": 1,
        "bareme": {"name": "Null", "criteres": [
            {"key": "fun", "min": 1, "max": 5, "step": 1}, {"key": "graph", "min": 1, "max": 5, "step": 1},
            {"key": "duree", "min": 1, "max": 5, "step": 1}, {"key": "son", "min": 1, "max": 5, "step": 1},
            {"key": "scenario", "min": 1, "max": 5, "step": 1}]},
        "scale": {"min": 1, "max": 5},
        "programme": [{"jeu_id": 1, "title": "Null", "platform": "", "genre": "", "phase": "open", "epoch": 0}],
    })
}

/// Serves on an address of this machine until it is ended.
///
/// # Errors
/// The socket's.
pub fn serve(address: std::net::SocketAddr) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn_local(async move {
                // Whoever goes away is not missed.
                let _gone = connection(stream).await;
            });
        }
    })
}

async fn connection(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    if let Some(key) = key {
        let accept = wire::accept_of(key);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await?;
        return socket(stream).await;
    }
    let body = if text.starts_with("GET /version") {
        r#"{"name":"null","version":"0"}"#.to_owned()
    } else if text.starts_with("GET /api/lives ") {
        r#"[{"channel":"null"}]"#.to_owned()
    } else {
        serde_json::json!({"live": live(), "jeux": []}).to_string()
    };
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await
}

fn put(out: &mut Vec<u8>, text: &[u8]) {
    out.push(0x81);
    match u8::try_from(text.len()) {
        Ok(length) if length < 126 => out.push(length),
        _ => {
            out.push(126);
            out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// The digits behind a name in a message.
fn number<'a>(message: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = message.windows(name.len()).position(|window| window == name)? + name.len();
    let length = message[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some(&message[start..start + length])
}

async fn socket(stream: TcpStream) -> io::Result<()> {
    let stream = Rc::new(stream);
    let mut out = Vec::new();
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let welcome = format!(
        r#"{{"t":"welcome","protocol":1,"now_us":{},"build":"null","channel":"null","viewer":"{token}","ping_interval_s":20}}"#,
        local_now_us()
    );
    put(&mut out, welcome.as_bytes());
    let state = serde_json::json!({"t": "state", "rev": 1, "channel_title": "Null", "live": live(), "stale": false});
    put(&mut out, state.to_string().as_bytes());
    let mut bytes = vec![0; 64 << 10];
    let mut have = 0;
    loop {
        while !out.is_empty() {
            stream.writable().await?;
            match stream.try_write(&out) {
                Ok(count) => drop(out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        stream.readable().await?;
        match stream.try_read(&mut bytes[have..]) {
            Ok(0) => return Ok(()),
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let mut at = 0;
        while have - at >= 6 {
            let short = usize::from(bytes[at + 1] & 0x7F);
            let (head, length) = match short {
                126 if have - at >= 8 => (8, usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]))),
                126 => break,
                _ => (6, short),
            };
            if have - at < head + length {
                break;
            }
            if bytes[at] & 0x0F == 0x8 {
                return Ok(());
            }
            let mask = [bytes[at + head - 4], bytes[at + head - 3], bytes[at + head - 2], bytes[at + head - 1]];
            let message = &mut bytes[at + head..at + head + length];
            message.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            answer(&mut out, message);
            at += head + length;
        }
        bytes.copy_within(at..have, 0);
        have -= at;
    }
}

fn answer(out: &mut Vec<u8>, message: &[u8]) {
    if let Some(v) = number(message, b"\"v\":") {
        let mut reply = format!(r#"{{"t":"reply","live":"{LIVE}","jeu":1,"v":"#).into_bytes();
        reply.extend_from_slice(v);
        reply.extend_from_slice(br#","status":"ok"}"#);
        put(out, &reply);
    } else if let Some(id) = number(message, b"\"id\":") {
        let id = String::from_utf8_lossy(id);
        put(out, format!(r#"{{"t":"pong","id":{id},"now_us":{}}}"#, local_now_us()).as_bytes());
    }
}
