//! The client of all measurements: thousands of sockets on one thread, over epoll.
//!
//! It has to cost little, since it shares the memory bus and the loopback with what is measured, and the same for every
//! program that is compared, so it knows RFC 6455 and nothing of what is said over it.
//!
//! **Invariant**: a socket that is told not to read takes nothing from the system; its window closes as that of a phone
//! in a tunnel does.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use crate::wire::{self, Reader};

/// The key of every handshake: what it protects from, a proxy's cache, is not on the loopback.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Longest head of an answer.
const MAX_HEAD_BYTES: usize = 8 << 10;
const READ_BYTES: usize = 64 << 10;
/// Events taken from the system at once: what is done with them delays another client of this processor by that much.
const EVENTS: usize = 128;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// What happened to a socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// A whole text message.
    Text(&'a str),
    /// It is gone: the code of the goodbye, if there was one.
    Gone(Option<u16>),
}

enum Stage {
    Connecting(String),
    Asked(Vec<u8>),
    Open,
}

struct Socket {
    stream: TcpStream,
    stage: Stage,
    reader: Reader,
    unsent: Vec<u8>,
    reads: bool,
}

/// How a socket is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Opening {
    /// Its source address; otherwise the system's choice.
    pub source: Option<Ipv4Addr>,
    /// Bytes that the system keeps for it; otherwise the system's choice.
    pub receive_buffer: Option<usize>,
    /// Whom it comes from, as a trusted proxy says it.
    pub forwarded_for: Option<Ipv4Addr>,
}

/// Sockets of one thread.
pub(super) struct Client {
    server: SocketAddr,
    accept: String,
    epoll: rustix::fd::OwnedFd,
    sockets: Vec<Option<Socket>>,
    bytes: Vec<u8>,
    out: Vec<u8>,
    events: u64,
}

/// What a socket is waited for.
fn interest(socket: &Socket) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    if socket.reads {
        flags |= epoll::EventFlags::IN;
    }
    if matches!(socket.stage, Stage::Connecting(_)) || !socket.unsent.is_empty() {
        flags |= epoll::EventFlags::OUT;
    }
    flags
}

impl Client {
    /// Without sockets yet.
    pub(super) fn new(server: SocketAddr) -> Result<Self> {
        Ok(Self {
            server,
            accept: wire::accept_of(KEY),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("cannot make an epoll")?,
            sockets: Vec::new(),
            bytes: vec![0; READ_BYTES],
            out: Vec::new(),
            events: 0,
        })
    }

    /// How often something has happened.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Begins to open a socket; returns its number.
    pub(super) fn open(&mut self, path: &str, opening: Opening) -> Result<usize> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).context("cannot make a socket")?;
        if let Some(bytes) = opening.receive_buffer {
            sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
        }
        if let Some(source) = opening.source {
            bind(&socket, &SocketAddr::new(IpAddr::V4(source), 0)).with_context(|| format!("cannot use {source}"))?;
        }
        sockopt::set_tcp_nodelay(&socket, true)?;
        match connect(&socket, &self.server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).context("cannot connect"),
        }
        let header = opening.forwarded_for.map(|address| format!("X-Forwarded-For: {address}\r\n"));
        let request = wire::upgrade_request(path, &self.server.to_string(), KEY, &header.unwrap_or_default());
        let (stage, stream) = (Stage::Connecting(request), TcpStream::from(socket));
        let socket = Socket { stream, stage, reader: Reader::default(), unsent: Vec::new(), reads: true };
        let number = self.sockets.len();
        epoll::add(&self.epoll, &socket.stream, epoll::EventData::new_u64(number as u64), interest(&socket))?;
        self.sockets.push(Some(socket));
        Ok(number)
    }

    /// Sends a text message on an open socket; what the system does not take waits here.
    pub(super) fn send(&mut self, number: usize, text: &str) -> Result<()> {
        let Some(Some(socket)) = self.sockets.get_mut(number) else { bail!("socket {number} is gone") };
        let before = interest(socket);
        let mut frame = std::mem::take(&mut self.out);
        frame.clear();
        wire::put_text(&mut frame, text, MASK);
        let sent = write(socket, &frame);
        self.out = frame;
        sent.with_context(|| format!("socket {number}"))?;
        self.interest_changed(number, before)
    }

    /// Whether a socket is not gone.
    pub(super) fn is_open(&self, number: usize) -> bool {
        self.sockets.get(number).is_some_and(Option::is_some)
    }

    /// How many bytes of a socket wait for a server that does not read.
    pub(super) fn unsent(&self, number: usize) -> usize {
        self.sockets.get(number).and_then(Option::as_ref).map_or(0, |socket| socket.unsent.len())
    }

    /// Takes nothing more from a socket.
    pub(super) fn stop_reading(&mut self, number: usize) -> Result<()> {
        let Some(Some(socket)) = self.sockets.get_mut(number) else { return Ok(()) };
        let before = interest(socket);
        socket.reads = false;
        self.interest_changed(number, before)
    }

    /// Ends a socket without a goodbye, at once and for both sides.
    pub(super) fn cut(&mut self, number: usize) {
        if let Some(socket) = self.sockets.get_mut(number).and_then(Option::take) {
            // Without it, the end would wait behind what was never read.
            let _already_gone = sockopt::set_socket_linger(&socket.stream, Some(Duration::ZERO));
        }
    }

    fn interest_changed(&self, number: usize, before: epoll::EventFlags) -> Result<()> {
        if let Some(socket) = &self.sockets[number] {
            let now = interest(socket);
            if now != before {
                epoll::modify(&self.epoll, &socket.stream, epoll::EventData::new_u64(number as u64), now)?;
            }
        }
        Ok(())
    }

    /// Waits until something happens or `wait` is over, and hands it on with the number of its socket. What is written
    /// to the text is sent back on that socket, if it is not empty.
    pub(super) fn poll(
        &mut self,
        wait: Duration,
        heard: &mut dyn FnMut(usize, Heard<'_>, &mut String) -> Result<()>,
    ) -> Result<()> {
        let wait = Timespec { tv_sec: wait.as_secs().try_into()?, tv_nsec: wait.subsec_nanos().into() };
        // Not kept, because what the system calls an event may hold a pointer, which cannot go to another thread.
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for sockets"),
        }
        self.events += events.len() as u64;
        for event in events {
            let number = usize::try_from(event.data.u64())?;
            let Some(mut socket) = self.sockets.get_mut(number).and_then(Option::take) else { continue };
            let before = interest(&socket);
            match self.serve(&mut socket, number, heard)? {
                None => {
                    self.sockets[number] = Some(socket);
                    self.interest_changed(number, before)?;
                }
                Some(code) => heard(number, Heard::Gone(code), &mut String::new())?,
            }
        }
        Ok(())
    }

    /// Goes on with a socket; `Some` when it is gone.
    fn serve(
        &mut self,
        socket: &mut Socket,
        number: usize,
        heard: &mut dyn FnMut(usize, Heard<'_>, &mut String) -> Result<()>,
    ) -> Result<Option<Option<u16>>> {
        if let Stage::Connecting(request) = &mut socket.stage {
            let request = std::mem::take(request);
            socket.stage = Stage::Asked(Vec::new());
            return Ok(write(socket, request.as_bytes()).is_err().then_some(None));
        }
        let waiting = std::mem::take(&mut socket.unsent);
        if !waiting.is_empty() && write(socket, &waiting).is_err() {
            return Ok(Some(None));
        }
        if !socket.reads {
            // Nothing is waited for but its end, which the system says without being asked.
            let is_over = socket.stream.take_error().is_ok_and(|error| error.is_some());
            return Ok(is_over.then_some(None));
        }
        let count = match (&socket.stream).read(&mut self.bytes) {
            Ok(0) => return Ok(Some(None)),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(_) => return Ok(Some(None)),
        };
        let mut bytes = &self.bytes[..count];
        let head;
        if let Stage::Asked(so_far) = &mut socket.stage {
            so_far.extend_from_slice(bytes);
            let Some(end) = so_far.windows(4).position(|window| window == b"\r\n\r\n") else {
                if so_far.len() > MAX_HEAD_BYTES {
                    bail!("the head of the answer does not end");
                }
                return Ok(None);
            };
            head = std::mem::take(so_far);
            let text = String::from_utf8_lossy(&head[..end]);
            if !text.starts_with("HTTP/1.1 101 ") || !text.contains(&self.accept) {
                // A refusal is for the measurement to judge.
                return Ok(Some(None));
            }
            socket.stage = Stage::Open;
            bytes = &head[end + 4..];
        }
        let (mut code, mut answers, mut failure) = (None, Vec::new(), None);
        let fed = socket.reader.feed(bytes, |message| match message {
            wire::Heard::Text(text) => {
                let mut answer = String::new();
                if let Err(error) = heard(number, Heard::Text(text), &mut answer) {
                    failure.get_or_insert(error);
                }
                if !answer.is_empty() {
                    wire::put_text(&mut answers, &answer, MASK);
                }
            }
            wire::Heard::Ping(payload) => wire::put_pong(&mut answers, payload, MASK),
            wire::Heard::Close(number) => code = Some(number),
        });
        if let Some(error) = failure {
            return Err(error);
        }
        fed?;
        if code.is_some() {
            return Ok(Some(code));
        }
        Ok((!answers.is_empty() && write(socket, &answers).is_err()).then_some(None))
    }
}

/// Writes what the system takes, and keeps the rest.
fn write(socket: &mut Socket, bytes: &[u8]) -> std::io::Result<()> {
    if !socket.unsent.is_empty() {
        socket.unsent.extend_from_slice(bytes);
        return Ok(());
    }
    let mut sent = 0;
    while sent < bytes.len() {
        match (&socket.stream).write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                socket.unsent.extend_from_slice(&bytes[sent..]);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn server() -> (TcpListener, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(listener.local_addr().unwrap()).unwrap();
        (listener, client)
    }

    /// Takes a connection and answers its handshake, with more in the same write.
    fn accept(listener: &TcpListener, client: &mut Client, more: &[u8]) -> TcpStream {
        let (mut stream, _) = listener.accept().unwrap();
        client.poll(WAIT, &mut |_, _, _| Ok(())).unwrap();
        let mut head = [0; 1024];
        let count = stream.read(&mut head).unwrap();
        assert!(head[..count].ends_with(b"\r\n\r\n"));
        let mut answer =
            format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {}\r\n\r\n", wire::accept_of(KEY))
                .into_bytes();
        answer.extend_from_slice(more);
        stream.write_all(&answer).unwrap();
        stream
    }

    fn hear(client: &mut Client) -> Vec<String> {
        let mut all = Vec::new();
        client
            .poll(WAIT, &mut |number, heard, _| {
                all.push(format!("{number} {heard:?}"));
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn a_frame_that_comes_with_the_handshake_is_heard_and_the_goodbye_keeps_its_code() {
        let (listener, mut client) = server();
        client.open("/", Opening::default()).unwrap();
        let mut stream = accept(&listener, &mut client, b"\x81\x02hi");
        assert_eq!(hear(&mut client), ["0 Text(\"hi\")"]);
        stream.write_all(&[0x88, 2, 0x03, 0xF4]).unwrap();
        assert_eq!(hear(&mut client), ["0 Gone(Some(1012))"]);
        assert!(!client.is_open(0) && client.send(0, "x").is_err());
    }

    #[test]
    fn what_is_no_handshake_ends_the_socket() {
        let (listener, mut client) = server();
        client.open("/", Opening::default()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        client.poll(WAIT, &mut |_, _, _| Ok(())).unwrap();
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap();
        assert_eq!(hear(&mut client), ["0 Gone(None)"]);
    }

    #[test]
    fn an_answer_goes_back_on_the_socket_that_asked() {
        let (listener, mut client) = server();
        client.open("/", Opening::default()).unwrap();
        let mut stream = accept(&listener, &mut client, b"\x81\x02hi");
        let mut answered = |_: usize, heard: Heard<'_>, out: &mut String| {
            if heard == Heard::Text("hi") {
                out.push_str("yes");
            }
            Ok(())
        };
        client.poll(WAIT, &mut answered).unwrap();
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(frame[..2], [0x81, 0x83]);
    }

    #[test]
    fn a_socket_that_does_not_read_takes_nothing() {
        let (listener, mut client) = server();
        client.open("/", Opening { receive_buffer: Some(2048), ..Opening::default() }).unwrap();
        let mut stream = accept(&listener, &mut client, b"\x81\x02hi");
        assert_eq!(hear(&mut client), ["0 Text(\"hi\")"]);
        client.stop_reading(0).unwrap();
        stream.set_nonblocking(true).unwrap();
        let full = (0..10_000).any(|_| stream.write(&[0; 65_536]).is_err());
        assert!(full, "the server could always write");
        client.poll(Duration::ZERO, &mut |_, _, _| panic!("it reads")).unwrap();
        client.cut(0);
        assert!(!client.is_open(0) && client.send(0, "x").is_err());
    }
}
