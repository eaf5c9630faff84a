//! The floor: the least that a program on this kernel can do. One thread, one epoll, one shared frame to every socket at
//! each tick, one prepared reply to each read. It keeps nothing but file descriptors and knows neither rooms nor people.
//!
//! **Invariant**: it does what the compared programs must do, one `send` for each message and one `recv` for each vote,
//! and nothing else. What it would need to be of use is missing on purpose.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::sockopt;

use crate::wire;

const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 1024;
/// What a reply to a vote has on the wire, as the real one.
const REPLY: &str =
    r#"{"t":"reply","live":"019b76da-a800-7000-8000-000000000001","jeu":1,"v":1767225600950000,"status":"ok"}"#;

/// A frame with numbers of a revision, `bytes` long with its head.
fn frame(rev: u64, bytes: usize) -> Vec<u8> {
    let mut text = format!(r#"{{"t":"tally","rev":{rev},"x":""#);
    // Head of four bytes, and what closes the object.
    let padding = bytes.saturating_sub(4 + text.len() + 2).max(126);
    text.extend(std::iter::repeat_n('x', padding));
    text.push_str("\"}");
    unmasked(&text)
}

/// A text frame of a server.
fn unmasked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(length) if length < 126 => frame.push(length),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Serves until it is ended; `tick` zero means: no frames but the first.
///
/// # Errors
/// The system's.
pub fn serve(address: SocketAddr, tick: Duration, bytes: usize) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    // The standard library's backlog is short for a storm.
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut sockets: Vec<Option<TcpStream>> = Vec::new();
    // Only while the head of a request is not whole.
    let mut heads: HashMap<usize, Vec<u8>> = HashMap::new();
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0; 64 << 10];
    let reply = unmasked(REPLY);
    let mut rev = 1;
    let mut shared = frame(rev, bytes);
    let mut next = Instant::now() + tick;
    loop {
        let wait = if tick.is_zero() { Duration::from_secs(1) } else { next.saturating_duration_since(Instant::now()) };
        let wait = Timespec { tv_sec: wait.as_secs().try_into()?, tv_nsec: wait.subsec_nanos().into() };
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let event: &epoll::Event = event;
            if event.data.u64() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    sockopt::set_tcp_nodelay(&stream, true)?;
                    let number = sockets.len();
                    epoll::add(&epoll, &stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
                    sockets.push(Some(stream));
                    heads.insert(number, Vec::new());
                }
                continue;
            }
            let number = usize::try_from(event.data.u64())?;
            let Some(Some(stream)) = sockets.get(number) else { continue };
            let count = match (&*stream).read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Ok(0) | Err(_) => {
                    sockets[number] = None;
                    heads.remove(&number);
                    continue;
                }
                Ok(count) => count,
            };
            let Some(head) = heads.get_mut(&number) else {
                let _who_is_gone_is_read_next = (&*stream).write(&reply);
                continue;
            };
            head.extend_from_slice(&buffer[..count]);
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            let text = String::from_utf8_lossy(head);
            let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
            let accept = wire::accept_of(key);
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            let answer = [answer.as_bytes(), &shared].concat();
            heads.remove(&number);
            let _who_is_gone_is_read_next = (&*stream).write(&answer);
        }
        if !tick.is_zero() && Instant::now() >= next {
            next += tick;
            rev += 1;
            shared = frame(rev, bytes);
            for (number, stream) in sockets.iter().enumerate() {
                // No frame before the answer to the handshake. Later there are no heads, and nothing is looked up.
                if let Some(stream) = stream
                    && (heads.is_empty() || !heads.contains_key(&number))
                {
                    // Who does not read misses it.
                    let _sent = (&*stream).write(&shared);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::dialect::{Dialect, Said};

    #[test]
    fn the_frame_has_the_bytes_that_are_asked_for_and_is_one_of_numbers() {
        for (rev, bytes) in [(1, 280), (17, 280), (123_456, 512)] {
            let frame = frame(rev, bytes);
            assert_eq!(frame.len(), bytes);
            let mut heard = Vec::new();
            wire::Reader::default()
                .feed(&frame, |message| {
                    let wire::Heard::Text(text) = message else { panic!("no text") };
                    heard.push(Dialect::Plain.hear(text, &mut String::new()));
                })
                .unwrap();
            assert_eq!(heard, [Said::Numbers(rev)]);
        }
    }

    #[test]
    fn the_reply_is_an_acknowledgement() {
        assert_eq!(Dialect::Plain.hear(REPLY, &mut String::new()), Said::Ack);
    }
}
