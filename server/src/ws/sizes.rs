//! Refuses a frame that is too big by its head, before its bytes are taken in.
//!
//! actix-ws knows the length of a frame from its first bytes, but collects the whole frame before it compares that with
//! the limit: one client could fill the memory of the pod with a frame of a gigabyte.
//!
//! **Invariant**: of a frame longer than [`MAX_CLIENT_MESSAGE_BYTES`] no more is passed on than came with its head.

use actix_web::dev;
use actix_web::error::PayloadError;
use actix_web::{FromRequest as _, HttpRequest, web};
use futures_util::StreamExt as _;

use crate::protocol::MAX_CLIENT_MESSAGE_BYTES;

/// Longest head of a client's frame: two bytes, a length of eight, a mask of four (RFC 6455 section 5.2).
const MAX_HEAD_BYTES: usize = 14;

/// Follows the frames of a connection by their heads.
#[derive(Debug, Default)]
struct Sizes {
    head: [u8; MAX_HEAD_BYTES],
    head_bytes: usize,
    payload_left: usize,
}

impl Sizes {
    /// Whether no frame that begins in these bytes is too big.
    fn fit(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = &bytes[skipped..];
            let Some((&byte, rest)) = bytes.split_first() else { return true };
            self.head[self.head_bytes] = byte;
            self.head_bytes += 1;
            bytes = rest;
            if let Some(length) = self.payload_length() {
                if length > MAX_CLIENT_MESSAGE_BYTES as u64 {
                    return false;
                }
                self.head_bytes = 0;
                self.payload_left = usize::try_from(length).unwrap_or(usize::MAX);
            }
        }
        true
    }

    /// The length of the payload, once the head is complete.
    fn payload_length(&self) -> Option<u64> {
        let head = &self.head[..self.head_bytes];
        let second = *head.get(1)?;
        let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
        let (length_bytes, length) = match second & 0x7F {
            126 => (2, u64::from(u16::from_be_bytes(*head.get(2..)?.first_chunk()?))),
            127 => (8, u64::from_be_bytes(*head.get(2..)?.first_chunk()?)),
            short => (0, u64::from(short)),
        };
        (head.len() >= 2 + length_bytes + mask_bytes).then_some(length)
    }
}

/// The same bytes, until a frame is too big.
///
/// # Errors
/// None in practice: taking a payload over cannot fail.
pub(super) async fn limited(request: &HttpRequest, body: web::Payload) -> actix_web::Result<web::Payload> {
    let mut sizes = Sizes::default();
    let checked = body.into_inner().map(move |bytes| match bytes {
        Ok(bytes) if !sizes.fit(&bytes) => Err(PayloadError::Overflow),
        other => other,
    });
    web::Payload::from_request(request, &mut dev::Payload::Stream { payload: Box::pin(checked) }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut frame = vec![0x81];
        match u16::try_from(length) {
            Ok(short @ ..=125) => frame.push(0x80 | u8::try_from(short).unwrap()),
            Ok(length) => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.resize(frame.len() + length, b'x');
        frame
    }

    #[test]
    fn frames_up_to_the_limit_fit_however_their_bytes_are_cut() {
        let bytes: Vec<u8> = [0, 1, 125, 126, MAX_CLIENT_MESSAGE_BYTES, 5].into_iter().flat_map(frame).collect();
        for cut in [1, 2, 3, 7, 1000, bytes.len()] {
            let mut sizes = Sizes::default();
            assert!(bytes.chunks(cut).all(|part| sizes.fit(part)), "{cut}");
            assert_eq!((sizes.head_bytes, sizes.payload_left), (0, 0));
        }
    }

    #[test]
    fn a_longer_frame_is_refused_by_its_head_alone() {
        for length in [MAX_CLIENT_MESSAGE_BYTES + 1, 65_535, 65_536, 1 << 40] {
            let mut bytes = frame(3);
            let head = match u16::try_from(length) {
                Ok(length) => [&[0x81, 0xFE][..], &length.to_be_bytes()].concat(),
                Err(_) => [&[0x81, 0xFF][..], &(length as u64).to_be_bytes()].concat(),
            };
            bytes.extend(head);
            bytes.extend([1, 2, 3, 4]);
            let mut sizes = Sizes::default();
            let (last, before) = bytes.split_last().unwrap();
            assert!(sizes.fit(before));
            assert!(!sizes.fit(&[*last]), "{length}");
        }
    }
}
