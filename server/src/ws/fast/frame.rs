//! Reads a client's frames (RFC 6455 section 5), in place and without a buffer where none is needed. Pure: bytes in, what
//! they say out; no socket, no clock.
//!
//! **Invariants**
//! - However the bytes are cut into reads, the same is said of them.
//! - Of a frame that is too big nothing is kept: its head is enough.
//! - What breaks the rules is said once, as soon as it can be known; nothing is read after it.

use Violation::{NotUtf8, Protocol, TooBig};

/// Longest head of a client's frame: two bytes, a length of eight, a mask of four.
const MAX_HEAD_BYTES: usize = 14;

/// Longest payload of a control frame.
pub(super) const MAX_CONTROL_BYTES: usize = 125;

/// What a client said. Borrowed from the bytes that were read, or from what was kept of earlier ones.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// A text message, all fragments together.
    Text(&'a str),
    /// A binary message, all fragments together; only where those are wanted.
    Binary(&'a [u8]),
    /// A ping, to be answered with its payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// The client says goodbye, with this code if it gave one. Nothing is read after it.
    Close(Option<u16>),
}

/// Why a client's bytes cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// Against RFC 6455: 1002.
    Protocol,
    /// A message of a kind that is not spoken here: 1003.
    Binary,
    /// Text that is not UTF-8: 1007.
    NotUtf8,
    /// More than the limit: 1009.
    TooBig,
}

/// What a reader accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Longest message, all fragments together, in bytes.
    pub(super) message_bytes: usize,
    /// Whether binary messages are spoken.
    pub(super) binary: bool,
}

/// Whether to go on reading what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Yes.
    On,
    /// Not now: the rest stays with the caller.
    Pause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control {
    Close,
    Ping,
    Pong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Data(Kind),
    Control(Control),
}

/// The head of a frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    length: usize,
    /// Bytes of the head itself.
    bytes: usize,
}

impl Head {
    /// Reads a head; `None` while bytes of it are missing. What is wrong with its first bytes is known before the rest.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Protocol);
        }
        let opcode = match first & 0x0F {
            0 => Opcode::Continuation,
            1 => Opcode::Data(Kind::Text),
            2 => Opcode::Data(Kind::Binary),
            8 => Opcode::Control(Control::Close),
            9 => Opcode::Control(Control::Ping),
            10 => Opcode::Control(Control::Pong),
            _ => return Err(Protocol),
        };
        let fin = first & 0x80 != 0;
        let is_control = matches!(opcode, Opcode::Control(_));
        if is_control && !fin {
            return Err(Protocol);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Protocol);
        }
        let short = second & 0x7F;
        if is_control && usize::from(short) > MAX_CONTROL_BYTES {
            return Err(Protocol);
        }
        let (length_bytes, length) = match short {
            126 => match bytes.get(2..4).and_then(|bytes| bytes.first_chunk()) {
                Some(length) => (2, usize::from(u16::from_be_bytes(*length))),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|bytes| bytes.first_chunk()) {
                Some(length) => (8, usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX)),
                None => return Ok(None),
            },
            short => (0, usize::from(short)),
        };
        let mask_at = 2 + length_bytes;
        let mask = bytes.get(mask_at..mask_at + 4).and_then(|bytes| bytes.first_chunk());
        // A length is known before the mask is: too much is refused by it.
        Ok(Some(Self { fin, opcode, mask: mask.copied().unwrap_or_default(), length, bytes: mask_at + 4 }))
    }
}

/// Takes a mask off, `offset` bytes into the payload: eight bytes at a time.
fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip([a, b, c, d, a, b, c, d]) {
        *byte ^= mask;
    }
}

/// What is kept of a client between two reads, when a read ended inside a frame or a message.
#[derive(Debug, Default)]
struct Kept {
    /// A head that is not complete.
    head: [u8; MAX_HEAD_BYTES],
    head_bytes: usize,
    /// The frame whose payload is being read, and how much of it was.
    frame: Option<(Head, usize)>,
    /// The payload of a control frame so far.
    control: Vec<u8>,
    /// The message whose fragments are being read.
    message: Option<Kind>,
    data: Vec<u8>,
    /// How much of a text is known to be UTF-8.
    valid: usize,
}

impl Kept {
    fn is_idle(&self) -> bool {
        self.head_bytes == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Whether the text so far can still become UTF-8; at its end, whether it is.
    fn check_text(&mut self, at_end: bool) -> Result<(), Violation> {
        match std::str::from_utf8(&self.data[self.valid..]) {
            Ok(_) => self.valid = self.data.len(),
            Err(error) if error.error_len().is_some() => return Err(NotUtf8),
            Err(error) => self.valid += error.valid_up_to(),
        }
        if at_end && self.valid < self.data.len() { Err(NotUtf8) } else { Ok(()) }
    }
}

/// Reads the frames of one client. Takes no memory between messages.
#[derive(Debug, Default)]
pub(super) struct Reader {
    kept: Option<Box<Kept>>,
}

impl Reader {
    /// Reads `bytes`, unmasking them in place, and calls `hear` with everything that is complete; says how many bytes were
    /// read, fewer than all only after [`Flow::Pause`] or a close.
    ///
    /// # Errors
    /// What breaks a rule.
    pub(super) fn read(
        &mut self,
        bytes: &mut [u8],
        limits: Limits,
        mut hear: impl FnMut(Heard<'_>) -> Flow,
    ) -> Result<usize, Violation> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            let (read, flow) = match &mut self.kept {
                None => match self.read_whole(rest, limits, &mut hear)? {
                    Some(done) => done,
                    None => {
                        self.kept = Some(Box::default());
                        continue;
                    }
                },
                Some(kept) => {
                    let done = read_part(kept, rest, limits, &mut hear)?;
                    if kept.is_idle() {
                        self.kept = None;
                    }
                    done
                }
            };
            at += read;
            if flow == Next::Stop {
                break;
            }
        }
        Ok(at)
    }

    /// The common case: a whole message in one frame, all of it there. `None` when it is something else.
    fn read_whole(
        &self,
        bytes: &mut [u8],
        limits: Limits,
        hear: &mut impl FnMut(Heard<'_>) -> Flow,
    ) -> Result<Option<(usize, Next)>, Violation> {
        let Some(head) = Head::read(bytes)? else { return Ok(None) };
        // Nothing was begun that could go on.
        if head.opcode == Opcode::Continuation {
            return Err(Protocol);
        }
        check_length(&head, 0, limits)?;
        let end = head.bytes.saturating_add(head.length);
        let Some(payload) = bytes.get_mut(head.bytes..end).filter(|_| head.fin) else { return Ok(None) };
        unmask(payload, head.mask, 0);
        let next = match head.opcode {
            Opcode::Data(Kind::Text) => hear(Heard::Text(std::str::from_utf8(payload).map_err(|_| NotUtf8)?)).into(),
            Opcode::Data(Kind::Binary) => hear(Heard::Binary(payload)).into(),
            Opcode::Control(control) => hear_control(control, payload, hear)?,
            Opcode::Continuation => return Err(Protocol),
        };
        Ok(Some((end, next)))
    }
}

/// How it goes on after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl From<Flow> for Next {
    fn from(flow: Flow) -> Self {
        if flow == Flow::On { Self::Go } else { Self::Stop }
    }
}

fn check_length(head: &Head, before: usize, limits: Limits) -> Result<(), Violation> {
    match head.opcode {
        Opcode::Data(Kind::Binary) if !limits.binary => Err(Violation::Binary),
        Opcode::Control(_) => Ok(()),
        _ if before.saturating_add(head.length) > limits.message_bytes => Err(TooBig),
        _ => Ok(()),
    }
}

/// Reads on in what was begun: the rest of a head, or some of a payload.
fn read_part(
    kept: &mut Kept,
    bytes: &mut [u8],
    limits: Limits,
    hear: &mut impl FnMut(Heard<'_>) -> Flow,
) -> Result<(usize, Next), Violation> {
    let (head, done, taken) = match kept.frame {
        Some((head, done)) => (head, done, 0),
        None => {
            let missing = &bytes[..bytes.len().min(MAX_HEAD_BYTES - kept.head_bytes)];
            kept.head[kept.head_bytes..kept.head_bytes + missing.len()].copy_from_slice(missing);
            let known = kept.head_bytes + missing.len();
            let head = Head::read(&kept.head[..known])?;
            if let Some(head) = &head {
                check_begin(kept, head, limits)?;
            }
            match head.filter(|head| head.bytes <= known) {
                Some(head) => {
                    let taken = head.bytes - kept.head_bytes;
                    kept.head_bytes = 0;
                    if let Opcode::Data(kind) = head.opcode {
                        kept.message = Some(kind);
                    }
                    (head, 0, taken)
                }
                None => {
                    kept.head_bytes = known;
                    return Ok((missing.len(), Next::Go));
                }
            }
        }
    };
    let part = (bytes.len() - taken).min(head.length - done);
    let payload = &mut bytes[taken..taken + part];
    unmask(payload, head.mask, done);
    let is_last = done + part == head.length;
    kept.frame = (!is_last).then_some((head, done + part));
    let next = match head.opcode {
        Opcode::Control(control) => {
            kept.control.extend_from_slice(payload);
            if is_last {
                let payload = std::mem::take(&mut kept.control);
                hear_control(control, &payload, hear)?
            } else {
                Next::Go
            }
        }
        Opcode::Data(_) | Opcode::Continuation => {
            kept.data.extend_from_slice(payload);
            let at_end = is_last && head.fin;
            let kind = kept.message;
            if kind == Some(Kind::Text) {
                kept.check_text(at_end)?;
            }
            if at_end {
                kept.message = None;
                kept.valid = 0;
                let data = std::mem::take(&mut kept.data);
                match kind {
                    Some(Kind::Binary) => hear(Heard::Binary(&data)).into(),
                    _ => hear(Heard::Text(std::str::from_utf8(&data).map_err(|_| NotUtf8)?)).into(),
                }
            } else {
                Next::Go
            }
        }
    };
    Ok((taken + part, next))
}

/// Whether a frame may begin here.
fn check_begin(kept: &Kept, head: &Head, limits: Limits) -> Result<(), Violation> {
    match (head.opcode, kept.message) {
        (Opcode::Continuation, None) | (Opcode::Data(_), Some(_)) => Err(Protocol),
        _ => check_length(head, kept.data.len(), limits),
    }
}

fn hear_control(control: Control, payload: &[u8], hear: &mut impl FnMut(Heard<'_>) -> Flow) -> Result<Next, Violation> {
    Ok(match control {
        Control::Ping => hear(Heard::Ping(payload)).into(),
        Control::Pong => hear(Heard::Pong).into(),
        Control::Close => {
            let code = close_code(payload)?;
            let _nothing_follows = hear(Heard::Close(code));
            Next::Stop
        }
    })
}

/// The code of a close frame (section 7.4), if it has one.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Protocol) };
    };
    let code = u16::from_be_bytes(*code);
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => {}
        _ => return Err(Protocol),
    }
    std::str::from_utf8(reason).map_err(|_| NotUtf8)?;
    Ok(Some(code))
}

#[cfg(test)]
mod tests;
