//! One socket of an event loop: what is kept of it, and the bytes on their way to it.
//!
//! **Invariants**
//! - An idle connection owns a file descriptor, its session and nothing else: no buffer, no task, no timer.
//! - What waits for a slow reader is what it is owed (answers, pongs, a frame that was begun) and never a room's frames:
//!   of those it gets the newest when it reads again. A partial write keeps an offset and a reference.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::frame::{Limits, MAX_CONTROL_BYTES, Reader};
use super::table::Key;
use crate::app::connections::Descriptor;
use crate::auth::Held;
use crate::hub::Seat;
use crate::protocol::text::{MAX_HEAD_BYTES, Text, write_head};
use crate::protocol::{Close, MAX_CLIENT_MESSAGE_BYTES};
use crate::ws::admission::Ticket;
use crate::ws::handler::Credential;
use crate::ws::session::Session;

/// First byte of a close frame, of a ping, of a pong and of a whole binary message.
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const BINARY: u8 = 0x82;

/// An empty ping.
pub(super) static PING_FRAME: [u8; 2] = [PING, 0];

/// Pieces handed to the system in one write.
const MAX_PIECES: usize = 16;

/// Bytes of a piece in which a reader may be slow. The server's own messages are smaller.
const MUCH: usize = 64 * 1024;

/// Largest message of the echo server: that of the conformance suite's largest cases, and the head's worth more.
const ECHO_BYTES: usize = 17 * 1024 * 1024;

/// A viewer or an overlay whose upgrade was accepted.
pub struct Member {
    /// Its decisions.
    pub session: Session,
    /// Its place in the room.
    pub seat: Seat,
    /// Its permission to be there.
    pub ticket: Ticket,
    /// What it was opened with, if that can be revoked.
    pub credential: Option<Credential>,
    /// The first message.
    pub welcome: Text,
}

/// Who is at the other end of an accepted upgrade.
pub enum Accepted {
    /// Somebody who takes part.
    Member(Box<Member>),
    /// Somebody who hears back whatever they say: the conformance suite.
    Echo,
}

/// A socket on its way from the HTTP server to its loop.
pub(super) struct Newcomer {
    pub(super) socket: OwnedFd,
    /// The answer to its upgrade, which leaves with the first frames in one write.
    pub(super) answer: Bytes,
    /// What it sent together with its request.
    pub(super) early: BytesMut,
    pub(super) accepted: Accepted,
    /// Counts it among the connections of the server.
    pub(super) descriptor: Option<Descriptor>,
}

/// What is kept of somebody who takes part.
pub(super) struct Participant {
    pub(super) session: Session,
    /// Freed with the goodbye: a place is taken as long as frames are sent.
    pub(super) seat: Seat,
    _ticket: Ticket,
    pub(super) credential: Option<Box<Held>>,
}

impl Participant {
    pub(super) fn new(session: Session, seat: Seat, ticket: Ticket, credential: Option<Box<Held>>) -> Self {
        Self { session, seat, _ticket: ticket, credential }
    }
}

/// Who decides what is answered.
#[expect(clippy::large_enum_variant, reason = "an echo serves nobody but the conformance suite")]
pub(super) enum Mind {
    Participant(Participant),
    Echo,
}

impl Mind {
    pub(super) fn limits(&self) -> Limits {
        match self {
            Self::Participant(_) => Limits { message_bytes: MAX_CLIENT_MESSAGE_BYTES, binary: false },
            Self::Echo => Limits { message_bytes: ECHO_BYTES, binary: true },
        }
    }
}

/// How far a connection is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Frames go both ways.
    Open,
    /// Our close frame is on its way; what the client says is not heard any more, but for its own close frame.
    Leaving { peer_closed: bool },
    /// It is out. The client's is awaited.
    Waiting,
    /// Both are out and our half is shut. The client ends the connection, so that it has read all.
    Shut,
}

/// What the system is asked to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Bytes of the client.
    Read,
    /// Room for bytes to it. Whoever does not read is not read from.
    Write,
}

/// One connection.
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    _descriptor: Option<Descriptor>,
    /// Second of the loop's clock in which it last said anything.
    pub(super) heard_s: u32,
    pub(super) room: Option<Key>,
    pub(super) phase: Phase,
    pub(super) interest: Interest,
    /// The room has shown something that waits until the client reads again.
    pub(super) is_dirty: bool,
    /// It has something to send at the end of this batch.
    pub(super) is_touched: bool,
    /// It is among those whose patience is counted.
    pub(super) is_listed: bool,
    pub(super) mind: Option<Mind>,
    pub(super) reader: Reader,
    /// What was read and not yet heard, because answers wait already.
    pub(super) input: Option<Box<[u8]>>,
    pub(super) output: Option<Box<Output>>,
    /// Held while the viewer's own notes are read: the reading ends with the connection.
    pub(super) reading: Option<Arc<()>>,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, descriptor: Option<Descriptor>, mind: Mind, heard_s: u32) -> Self {
        Self {
            socket,
            _descriptor: descriptor,
            heard_s,
            room: None,
            phase: Phase::Open,
            interest: Interest::Read,
            is_dirty: false,
            is_touched: false,
            is_listed: false,
            mind: Some(mind),
            reader: Reader::default(),
            input: None,
            output: None,
            reading: None,
        }
    }

    /// The session of an open connection of somebody who takes part.
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.mind {
            Some(Mind::Participant(participant)) if self.phase == Phase::Open => Some(&mut participant.session),
            _ => None,
        }
    }

    /// The credential it was opened with.
    pub(super) fn credential(&self) -> Option<&str> {
        match &self.mind {
            Some(Mind::Participant(participant)) => participant.credential.as_ref().map(|held| &***held),
            _ => None,
        }
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Everything is with the system.
    All,
    /// The reader is slow: the rest waits.
    Some,
    /// The connection is gone.
    Gone,
}

/// Bytes on their way to one socket, in order.
#[derive(Debug, Default)]
pub(super) struct Output {
    queue: VecDeque<Bytes>,
    /// Bytes of the first piece that are out already.
    offset: usize,
    /// Bytes that are not out yet.
    bytes: usize,
    /// Since when nothing that counts got out, by the loop's clock: no whole piece, and not [`MUCH`] of a large one.
    pub(super) since: Duration,
    /// Bytes that got out since then.
    progress: usize,
}

impl Output {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Room for a crowd's answers is not kept for ever.
    pub(super) fn is_small(&self) -> bool {
        self.queue.capacity() <= 64
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.queue.push_back(piece);
    }

    /// Adds a piece of which some bytes are out already.
    pub(super) fn push_rest(&mut self, piece: Bytes, offset: usize) {
        debug_assert!(self.queue.is_empty(), "a piece that was begun is the first");
        self.offset = offset;
        self.bytes = piece.len() - offset;
        self.queue.push_back(piece);
    }

    /// Writes as much as the system takes.
    pub(super) fn write(&mut self, socket: &OwnedFd, now: Duration) -> Written {
        while let Some(first) = self.queue.front() {
            let first = &first[self.offset..];
            let written = if self.queue.len() == 1 {
                send(socket, first, SendFlags::NOSIGNAL)
            } else {
                let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
                let rest = self.queue.iter().skip(1).map(|piece| &piece[..]);
                let mut count = 0;
                for (slot, piece) in pieces.iter_mut().zip(std::iter::once(first).chain(rest)) {
                    *slot = IoSlice::new(piece);
                    count += 1;
                }
                // The runtime ignores SIGPIPE from the start, so a broken connection is an error here as well.
                rustix::io::writev(socket, &pieces[..count])
            };
            match written {
                Ok(count) => self.advance(count, now),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Written::Some,
                Err(_) => return Written::Gone,
            }
        }
        Written::All
    }

    fn advance(&mut self, count: usize, now: Duration) {
        self.bytes -= count;
        self.offset += count;
        self.progress += count;
        if self.progress >= MUCH {
            (self.since, self.progress) = (now, 0);
        }
        while let Some(first) = self.queue.front()
            && self.offset >= first.len()
        {
            self.offset -= first.len();
            self.queue.pop_front();
            // Whoever takes a whole piece reads.
            (self.since, self.progress) = (now, 0);
        }
    }
}

fn frame(first: u8, payload: &[u8]) -> Bytes {
    let mut head = [0; MAX_HEAD_BYTES];
    let head_bytes = write_head(first, payload.len(), &mut head);
    let mut frame = BytesMut::with_capacity(head_bytes + payload.len());
    frame.extend_from_slice(&head[..head_bytes]);
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// The answer to a ping.
pub(super) fn pong_frame(payload: &[u8]) -> Bytes {
    frame(PONG, payload)
}

/// A message as it was heard.
pub(super) fn echo_text(text: &str) -> Bytes {
    Text::raw(text).into_frame()
}

/// A message as it was heard.
pub(super) fn echo_binary(bytes: &[u8]) -> Bytes {
    frame(BINARY, bytes)
}

/// A goodbye.
pub(super) fn close_frame(close: Close) -> Bytes {
    let mut payload = close.code.to_be_bytes().to_vec();
    payload.extend_from_slice(close.reason.as_bytes());
    payload.truncate(MAX_CONTROL_BYTES);
    frame(CLOSE, &payload)
}

/// A goodbye that says what the client said.
pub(super) fn echo_close(code: Option<u16>) -> Bytes {
    let code = code.map(u16::to_be_bytes);
    frame(CLOSE, code.as_ref().map_or(&[], |code| &code[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_takes_no_more_than_its_budget() {
        let bytes = size_of::<Connection>();
        assert!(bytes <= 312, "{bytes} bytes for each of a hundred thousand");
    }

    #[test]
    fn a_goodbye_is_a_close_frame_with_code_and_reason() {
        let frame = close_frame(crate::protocol::close::RESTART);
        assert_eq!(&frame[..], [&[0x88, 12, 0x03, 0xF4][..], b"restarting"].concat());
        assert_eq!(&echo_close(None)[..], [0x88, 0]);
    }

    #[test]
    fn a_write_that_was_cut_short_goes_on_where_it_stopped_and_keeps_the_bytes_of_everybody() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let writer = OwnedFd::from(writer);
        let frame = Bytes::from(vec![7; 1 << 20]);
        let mut output = Output::default();
        output.push(frame.clone());
        output.push(Bytes::from_static(b"next"));
        let now = Duration::from_secs(5);
        assert_eq!(output.write(&writer, now), Written::Some);
        assert!(output.bytes() < frame.len() + 4, "some of it is out");
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            std::io::Read::read_to_end(&mut { reader }, &mut all).map(|_| all)
        });
        while output.write(&writer, now) == Written::Some {
            std::thread::yield_now();
        }
        assert_eq!((output.bytes(), output.since), (0, now));
        drop(writer);
        let all = reading.join().unwrap().unwrap();
        assert_eq!((all.len(), &all[1 << 20..]), ((1 << 20) + 4, &b"next"[..]));
    }
}
