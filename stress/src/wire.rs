//! The client's half of RFC 6455, as far as the protocol needs it: text messages, pings, close.
//!
//! A library would do, were it not for the numbers: ten thousand sockets that each get ten frames a second leave one core
//! about 10 µs for each, kernel included. Here all sockets of a thread share one read buffer and a message is a slice of
//! it; only a frame that was cut in two is copied.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest message that is taken from a server.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// What RFC 6455 has the server hash together with the client's key.
const HANDSHAKE_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The server does not speak RFC 6455 as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireError(pub &'static str);

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for WireError {}

/// Something a server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// The server says goodbye, with its code.
    Close(u16),
}

/// Reads frames out of bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Reader {
    rest: Vec<u8>,
    message: Vec<u8>,
    in_message: bool,
}

impl Reader {
    /// Takes the bytes of one read and hands on what is complete.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are no frames of a server; the connection is of no use afterwards.
    pub fn feed(&mut self, bytes: &[u8], mut heard: impl FnMut(Heard<'_>)) -> Result<(), WireError> {
        if self.rest.is_empty() {
            let used = self.parse(bytes, &mut heard)?;
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(bytes);
            let used = self.parse(&rest, &mut heard)?;
            rest.drain(..used);
            self.rest = rest;
        }
        if self.rest.is_empty() && self.rest.capacity() > 0 {
            // Thousands of sockets would otherwise keep what only a few need now and then.
            self.rest = Vec::new();
        }
        Ok(())
    }

    /// Parses whole frames; returns how many bytes they had.
    fn parse(&mut self, bytes: &[u8], heard: &mut impl FnMut(Heard<'_>)) -> Result<usize, WireError> {
        let mut at = 0;
        while let Some(frame) = frame(&bytes[at..])? {
            let payload = &bytes[at + frame.head..at + frame.head + frame.length];
            at += frame.head + frame.length;
            match (frame.opcode, frame.last, self.in_message) {
                (TEXT, true, false) => heard(Heard::Text(text(payload)?)),
                (TEXT, false, false) | (CONTINUATION, false, true) => {
                    self.in_message = true;
                    self.message.extend_from_slice(payload);
                    if self.message.len() > MAX_MESSAGE_BYTES {
                        return Err(WireError("a message is too long"));
                    }
                }
                (CONTINUATION, true, true) => {
                    self.in_message = false;
                    let mut message = std::mem::take(&mut self.message);
                    message.extend_from_slice(payload);
                    heard(Heard::Text(text(&message)?));
                }
                (PING, true, _) => heard(Heard::Ping(payload)),
                (PONG, true, _) => {}
                (CLOSE, true, _) => {
                    heard(Heard::Close(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))));
                }
                _ => return Err(WireError("a frame that the protocol does not have")),
            }
        }
        Ok(at)
    }
}

fn text(bytes: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(bytes).map_err(|_| WireError("a text message is not UTF-8"))
}

struct Frame {
    opcode: u8,
    last: bool,
    head: usize,
    length: usize,
}

/// The head of the next frame; `None` while the frame is not there whole.
fn frame(bytes: &[u8]) -> Result<Option<Frame>, WireError> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(WireError("a frame has reserved bits set"));
    }
    if second & 0x80 != 0 {
        return Err(WireError("a frame of the server is masked"));
    }
    let (head, length) = match second & 0x7F {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (4, usize::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (10, usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX)),
            None => return Ok(None),
        },
        length => (2, usize::from(length)),
    };
    if length > MAX_MESSAGE_BYTES {
        return Err(WireError("a message is too long"));
    }
    let whole = bytes.len() >= head + length;
    Ok(whole.then_some(Frame { opcode: first & 0x0F, last: first & 0x80 != 0, head, length }))
}

fn put(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..126 => out.push(0x80 | u8::try_from(length).unwrap_or_default()),
        length => match u16::try_from(length) {
            Ok(length) => {
                out.push(0x80 | 126);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                out.push(0x80 | 127);
                out.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
            }
        },
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    for (byte, mask) in out[start..].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends a masked text frame.
pub fn put_text(out: &mut Vec<u8>, text: &str, mask: [u8; 4]) {
    put(out, TEXT, text.as_bytes(), mask);
}

/// Appends the answer to a ping.
pub fn put_pong(out: &mut Vec<u8>, payload: &[u8], mask: [u8; 4]) {
    put(out, PONG, payload, mask);
}

/// Appends a goodbye.
pub fn put_close(out: &mut Vec<u8>, mask: [u8; 4]) {
    put(out, CLOSE, &1000_u16.to_be_bytes(), mask);
}

/// The request that asks for a WebSocket. `headers` are whole lines, each with its line end.
pub fn upgrade_request(path: &str, host: &str, key: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{headers}\r\n"
    )
}

/// A key for [`upgrade_request`].
pub fn key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// What a server of RFC 6455 has to answer to `key`.
pub fn accept_of(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(HANDSHAKE_GUID.as_bytes());
    STANDARD.encode(hash.digest().bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(reader: &mut Reader, pieces: &[&[u8]]) -> Result<Vec<String>, WireError> {
        let mut heard = Vec::new();
        for piece in pieces {
            reader.feed(piece, |message| heard.push(format!("{message:?}")))?;
        }
        Ok(heard)
    }

    #[test]
    fn the_key_of_the_rfc_gets_the_answer_of_the_rfc() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn frames_are_the_same_however_the_bytes_are_cut() {
        let mut bytes = vec![0x81, 2, b'h', b'i', 0x89, 1, b'p', 0x01, 1, b'a', 0x89, 0, 0x80, 1, b'b'];
        bytes.extend([0x81, 126, 1, 0]);
        bytes.extend([b'x'; 256]);
        bytes.extend([0x88, 2, 0x03, 0xF4]);
        let long = format!("Text({:?})", "x".repeat(256));
        let expected = ["Text(\"hi\")", "Ping([112])", "Ping([])", "Text(\"ab\")", &long, "Close(1012)"];
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(collect(&mut Reader::default(), &[first, second]).unwrap(), expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(collect(&mut Reader::default(), &single).unwrap(), expected);
    }

    #[test]
    fn what_is_no_frame_of_a_server_is_an_error() {
        for bytes in [&[0x81_u8, 0x81, 0, 0, 0, 0, 0][..], &[0xC1, 0], &[0x82, 0], &[0x80, 0], &[0x81, 1, 0xFF]] {
            assert!(collect(&mut Reader::default(), &[bytes]).is_err(), "{bytes:?}");
        }
        assert!(collect(&mut Reader::default(), &[&[0x81, 127, 255, 0, 0, 0, 0, 0, 0, 0]]).is_err());
    }

    #[test]
    fn a_frame_is_masked_and_reads_back() {
        for length in [0, 5, 125, 126, 300, 70_000] {
            let text = "é".repeat(length / 2);
            let mut out = Vec::new();
            put_text(&mut out, &text, [1, 2, 3, 4]);
            let head = match text.len() {
                0..126 => 2,
                126..65_536 => 4,
                _ => 10,
            };
            assert_eq!((out[0], out[1] & 0x80), (0x81, 0x80));
            let unmasked: Vec<u8> =
                out[head + 4..].iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            assert_eq!(unmasked, text.as_bytes());
        }
    }
}
