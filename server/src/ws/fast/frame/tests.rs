//! Properties of the reader, against a reference that is simple because it has all bytes at once.
//!
//! What proptest finds is kept in `server/proptest-regressions` and tried first from then on.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { message_bytes: 300, binary: true };

/// What was said, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

impl From<Heard<'_>> for Said {
    fn from(heard: Heard<'_>) -> Self {
        match heard {
            Heard::Text(text) => Self::Text(text.to_owned()),
            Heard::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Heard::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Heard::Pong => Self::Pong,
            Heard::Close(code) => Self::Close(code),
        }
    }
}

/// Reads bytes cut into pieces, going on at once after each pause.
fn read(pieces: &[Vec<u8>], limits: Limits, flow: Flow) -> (Vec<Said>, Option<Violation>) {
    let mut reader = Reader::default();
    let mut said = Vec::new();
    for piece in pieces {
        let mut piece = piece.clone();
        let mut at = 0;
        while at < piece.len() {
            let outcome = reader.read(&mut piece[at..], limits, |heard| {
                said.push(heard.into());
                flow
            });
            match outcome {
                Ok(_) if matches!(said.last(), Some(Said::Close(_))) => return (said, None),
                Ok(read) => at += read,
                Err(violation) => return (said, Some(violation)),
            }
        }
    }
    (said, None)
}

/// The same, frame after frame over all the bytes, as section 5 is written. It judges a frame when the whole of it is
/// there, or as soon as its head shows that it must not be.
fn reference(bytes: &[u8], limits: Limits) -> (Vec<Said>, Option<Violation>) {
    let mut said = Vec::new();
    let mut message: Option<(u8, Vec<u8>)> = None;
    let mut at = 0;
    loop {
        let bytes = &bytes[at..];
        let Some(first) = bytes.first() else { return (said, None) };
        let (fin, opcode) = (first >> 7 == 1, first & 15);
        let is_control = opcode >= 8;
        if first & 0x70 != 0 || ![0, 1, 2, 8, 9, 10].contains(&opcode) || (is_control && !fin) {
            return (said, Some(Protocol));
        }
        let Some(second) = bytes.get(1) else { return (said, None) };
        if second >> 7 == 0 || (is_control && second & 127 > 125) {
            return (said, Some(Protocol));
        }
        let length_bytes = match second & 127 {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if bytes.len() < 2 + length_bytes {
            return (said, None);
        }
        let length = match length_bytes {
            0 => u64::from(second & 127),
            _ => bytes[2..2 + length_bytes].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        match (opcode, &message) {
            (0, None) | (1 | 2, Some(_)) => return (said, Some(Protocol)),
            _ => {}
        }
        if opcode == 2 && !limits.binary {
            return (said, Some(Violation::Binary));
        }
        let before = if is_control { 0 } else { message.as_ref().map_or(0, |(_, data)| data.len()) };
        if !is_control && (before as u64).saturating_add(length) > limits.message_bytes as u64 {
            return (said, Some(TooBig));
        }
        let start = 2 + length_bytes + 4;
        let mask: Vec<u8> = bytes.get(2 + length_bytes..start).unwrap_or_default().to_vec();
        let end = start + usize::try_from(length).unwrap();
        let there = bytes.get(start..end.min(bytes.len())).unwrap_or_default();
        let payload: Vec<u8> = there.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let is_whole = bytes.len() >= end;
        if is_control {
            if !is_whole {
                return (said, None);
            }
            match opcode {
                9 => said.push(Said::Ping(payload)),
                10 => said.push(Said::Pong),
                _ => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    let is_known = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                    if payload.len() == 1 || code.is_some_and(|code| !is_known(code)) {
                        return (said, Some(Protocol));
                    }
                    if std::str::from_utf8(payload.get(2..).unwrap_or_default()).is_err() {
                        return (said, Some(NotUtf8));
                    }
                    said.push(Said::Close(code));
                    return (said, None);
                }
            }
        } else {
            let (kind, data) = message.get_or_insert((opcode, Vec::new()));
            data.extend(payload);
            let at_end = fin && is_whole;
            if *kind == 1
                && let Err(error) = std::str::from_utf8(data)
                && (at_end || error.error_len().is_some())
            {
                return (said, Some(NotUtf8));
            }
            if !is_whole {
                return (said, None);
            }
            if at_end {
                let data = std::mem::take(data);
                said.push(if *kind == 1 { Said::Text(String::from_utf8(data).unwrap()) } else { Said::Binary(data) });
                message = None;
            }
        }
        at += end;
    }
}

fn frame(first: u8, mask: [u8; 4], payload: &[u8], wide: bool) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        // A length may be written longer than it has to be: whoever does that is read all the same.
        length if wide => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for length in cuts.iter().cycle() {
        if rest.is_empty() || cuts.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*length).clamp(1, rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces
}

/// Payloads that texts, codes and limits care about.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-zé€😀]{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..8),
        prop::collection::vec(prop::sample::select(vec![0xC3_u8, 0xA9, 0xED, 0xA0, 0x80, 0xF0, 0x9F, b'a']), 0..6),
        (990_u16..1020, "[a-z]{0,4}").prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat()),
        (100_usize..340).prop_map(|length| vec![b'x'; length]),
    ]
}

/// Frames, mostly in order, some of them not.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x81_u8, 0x01, 0x80, 0x00, 0x82, 0x02]),
        3 => prop::sample::select(vec![0x89_u8, 0x8A]),
        1 => prop::sample::select(vec![0x88_u8, 0x08, 0xC1, 0x83, 0x8B]),
    ];
    let one = (first, any::<[u8; 4]>(), payload(), prop::bool::weighted(0.1), prop::bool::weighted(0.03)).prop_map(
        |(first, mask, payload, wide, unmasked)| {
            let mut frame = frame(first, mask, &payload, wide && first < 0x88);
            if unmasked {
                frame[1] &= 0x7F;
            }
            frame
        },
    );
    (prop::collection::vec(one, 0..12), prop::collection::vec(any::<u8>(), 0..4))
        .prop_map(|(frames, rest)| [frames.concat(), rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn however_bytes_are_cut_the_same_is_said_as_of_the_whole(
        bytes in stream(),
        cuts in prop::collection::vec(1_usize..40, 1..6),
        binary: bool,
        pause: bool,
    ) {
        let limits = Limits { binary, ..LIMITS };
        let flow = if pause { Flow::Pause } else { Flow::On };
        let expected = reference(&bytes, limits);
        prop_assert_eq!(&read(&cut(&bytes, &cuts), limits, flow), &expected);
        prop_assert_eq!(&read(&cut(&bytes, &[1]), limits, flow), &expected);
        prop_assert_eq!(&read(std::slice::from_ref(&bytes), limits, flow), &expected);
    }

    #[test]
    fn noise_is_read_without_trouble(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(1_usize..40, 1..6)) {
        prop_assert_eq!(read(&cut(&bytes, &cuts), LIMITS, Flow::On), reference(&bytes, LIMITS));
    }

    #[test]
    fn a_mask_comes_off_wherever_the_payload_is_cut(payload in prop::collection::vec(any::<u8>(), 0..60), mask: [u8; 4], at in 0_usize..60) {
        let masked: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let at = at.min(masked.len());
        let (mut before, mut after) = (masked[..at].to_vec(), masked[at..].to_vec());
        unmask(&mut before, mask, 0);
        unmask(&mut after, mask, at);
        prop_assert_eq!([before, after].concat(), payload);
    }
}

#[test]
fn between_messages_a_client_takes_no_memory() {
    let mut reader = Reader::default();
    let mut bytes = frame(0x81, [1, 2, 3, 4], b"whole", false);
    reader.read(&mut bytes, LIMITS, |_| Flow::On).unwrap();
    assert!(reader.kept.is_none());
    for mut piece in cut(&frame(0x81, [1, 2, 3, 4], b"in pieces", false), &[3]) {
        reader.read(&mut piece, LIMITS, |_| Flow::On).unwrap();
    }
    assert!(reader.kept.is_none());
}

#[test]
fn a_frame_too_big_is_refused_by_its_head_before_its_mask() {
    let mut reader = Reader::default();
    assert_eq!(reader.read(&mut [0x81, 0xFE, 0xFF, 0xFF], LIMITS, |_| Flow::On), Err(TooBig));
    let mut reader = Reader::default();
    let huge = [0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    assert_eq!(reader.read(&mut huge.clone(), LIMITS, |_| Flow::On), Err(TooBig));
}

#[test]
fn text_that_cannot_become_utf8_is_refused_before_its_frame_ends() {
    let mut reader = Reader::default();
    let bytes = frame(0x81, [0; 4], b"\xC3\xA9\xF4\x90\x80\x80", false);
    let (mut good, mut bad) = (bytes[..9].to_vec(), bytes[9..10].to_vec());
    assert_eq!(reader.read(&mut good, LIMITS, |_| Flow::On), Ok(9));
    assert_eq!(reader.read(&mut bad, LIMITS, |_| Flow::On), Err(NotUtf8));
}
