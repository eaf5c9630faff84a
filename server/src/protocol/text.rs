//! A message as it leaves for a socket: its JSON text behind the head of the frame that carries it.
//!
//! **Invariant**: head and text are one block of bytes, made once. Whoever sends it to ten thousand sockets holds ten
//! thousand references, and the path that writes heads of its own sees the text alone.

use std::fmt;

use bytes::{Buf as _, Bytes, BytesMut};
use bytestring::ByteString;
use serde::Serialize;

/// Longest head of a frame of the server, which masks nothing: two bytes, and a length of eight (RFC 6455 section 5.2).
pub const MAX_HEAD_BYTES: usize = 10;

/// First byte of a frame that holds a whole text message.
pub const TEXT: u8 = 0x81;

/// Writes the head of an unmasked frame of `length` bytes; says how many bytes of `head` it takes, from the start.
pub fn write_head(first: u8, length: usize, head: &mut [u8; MAX_HEAD_BYTES]) -> usize {
    head[0] = first;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => {
            head[1] = short;
            2
        }
        (_, Ok(length)) => {
            head[1] = 126;
            head[2..4].copy_from_slice(&length.to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    }
}

/// A text message, ready for any socket. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    frame: Bytes,
}

impl Text {
    /// Encodes a message as JSON.
    pub fn of(message: &impl Serialize) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.resize(MAX_HEAD_BYTES, 0);
        if serde_json::to_writer(&mut bytes, message).is_err() {
            // Serialising plain data into memory has no way to fail; an empty object would be ignored by every client.
            bytes.truncate(MAX_HEAD_BYTES);
            bytes.extend_from_slice(b"{}");
        }
        let mut head = [0; MAX_HEAD_BYTES];
        let head_bytes = write_head(TEXT, bytes.len() - MAX_HEAD_BYTES, &mut head);
        let start = MAX_HEAD_BYTES - head_bytes;
        bytes[start..MAX_HEAD_BYTES].copy_from_slice(&head[..head_bytes]);
        let mut frame = Bytes::from(bytes);
        frame.advance(start);
        Self { frame }
    }

    /// A message with this text, as it is.
    pub fn raw(text: &str) -> Self {
        let mut head = [0; MAX_HEAD_BYTES];
        let head_bytes = write_head(TEXT, text.len(), &mut head);
        let mut frame = BytesMut::with_capacity(head_bytes + text.len());
        frame.extend_from_slice(&head[..head_bytes]);
        frame.extend_from_slice(text.as_bytes());
        Self { frame: frame.freeze() }
    }

    /// The whole frame.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The whole frame.
    pub fn into_frame(self) -> Bytes {
        self.frame
    }

    fn head_bytes(&self) -> usize {
        match self.frame.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        }
    }

    /// The text, sharing the bytes.
    pub fn to_byte_string(&self) -> ByteString {
        // What was written as JSON is UTF-8.
        ByteString::try_from(self.frame.slice(self.head_bytes()..)).unwrap_or_default()
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.frame.get(self.head_bytes()..).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_frame_is_the_message_whatever_the_length_of_its_head() {
        for length in [0, 1, 123, 124, 125, 126, 65_532, 65_533, 65_534, 70_000] {
            let message = "x".repeat(length);
            let text = Text::of(&message);
            let json = format!("\"{message}\"");
            assert_eq!((&*text, &*text.to_byte_string()), (&*json, &*json));
            assert_eq!(text, Text::raw(&json));
            let head = match json.len() {
                0..=125 => 2,
                126..=65_535 => 4,
                _ => 10,
            };
            assert_eq!((text.frame().len(), text.frame()[0]), (json.len() + head, 0x81), "{length}");
        }
    }
}
