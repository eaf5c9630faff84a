//! The bytes of one journal row: a batch of entries that became durable together.
//!
//! Layout, little endian: magic `BRMJ`, format `u8`, minimum reader `u8`, epoch `u64`, count `u16`; then for each entry
//! viewer `[u8; 16]`, version `u64`, length `u16`, payload; then CRC-32C (RFC 3720 appendix B.4) of all before it, `u32`.
//!
//! **Invariant**: a reader returns all entries of a chunk or none. Bytes it does not understand are an error that
//! degrades the reader; it never skips them.

use bytes::{BufMut, Bytes, BytesMut};

use crate::domain::ballot::Entry;
use crate::domain::viewer::ViewerId;
use crate::store::{MAX_CHUNK_BYTES, MAX_PAYLOAD_BYTES};

/// Format this program writes, and the newest it reads.
pub const FORMAT: u8 = 1;

const MAGIC: &[u8; 4] = b"BRMJ";
const ENTRY_HEAD_BYTES: usize = 16 + 8 + 2;
const CRC_BYTES: usize = 4;
const COUNT_AT: usize = 14;

/// A chunk being filled.
pub struct ChunkBuilder {
    bytes: BytesMut,
    count: u16,
}

impl ChunkBuilder {
    /// An empty chunk of an epoch.
    pub fn new(epoch: u64) -> Self {
        let mut bytes = BytesMut::with_capacity(4096);
        bytes.put_slice(MAGIC);
        bytes.put_u8(FORMAT);
        bytes.put_u8(FORMAT);
        bytes.put_u64_le(epoch);
        bytes.put_u16_le(0);
        Self { bytes, count: 0 }
    }

    /// Adds an entry; `false` when the chunk is full or the payload too long, and then nothing was added.
    pub fn push(&mut self, viewer: ViewerId, entry: Entry<'_>) -> bool {
        let grown = self.bytes.len() + ENTRY_HEAD_BYTES + entry.payload.len() + CRC_BYTES;
        let Ok(length) = u16::try_from(entry.payload.len()) else { return false };
        if entry.payload.len() > MAX_PAYLOAD_BYTES || grown > MAX_CHUNK_BYTES || self.count == u16::MAX {
            return false;
        }
        self.bytes.put_slice(&viewer.0);
        self.bytes.put_u64_le(entry.version);
        self.bytes.put_u16_le(length);
        self.bytes.put_slice(entry.payload);
        self.count += 1;
        true
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The finished bytes.
    pub fn finish(mut self) -> Bytes {
        self.bytes[COUNT_AT..COUNT_AT + 2].copy_from_slice(&self.count.to_le_bytes());
        let crc = crc32c::crc32c(&self.bytes);
        self.bytes.put_u32_le(crc);
        self.bytes.freeze()
    }
}

/// Why a chunk cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Written by a newer program.
    #[error("chunk needs a reader of format {0}, this program reads up to {FORMAT}")]
    Newer(u8),
    /// Not a chunk, cut short, or changed.
    #[error("chunk is damaged")]
    Damaged,
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], ChunkError> {
    let (head, rest) = bytes.split_at_checked(count).ok_or(ChunkError::Damaged)?;
    *bytes = rest;
    Ok(head)
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], ChunkError> {
    take(bytes, N)?.try_into().map_err(|_| ChunkError::Damaged)
}

/// The epoch and entries of a chunk, in the order they were added.
///
/// # Errors
/// [`ChunkError`]; then nothing of it was read.
pub fn read(chunk: &[u8]) -> Result<(u64, Vec<(ViewerId, Entry<'_>)>), ChunkError> {
    let (body, crc) = chunk.split_at_checked(chunk.len().wrapping_sub(CRC_BYTES)).ok_or(ChunkError::Damaged)?;
    let mut rest = body;
    if take(&mut rest, 4)? != MAGIC {
        return Err(ChunkError::Damaged);
    }
    let [_format, minimum_reader] = array(&mut rest)?;
    if minimum_reader > FORMAT {
        return Err(ChunkError::Newer(minimum_reader));
    }
    if crc32c::crc32c(body).to_le_bytes() != crc {
        return Err(ChunkError::Damaged);
    }
    let epoch = u64::from_le_bytes(array(&mut rest)?);
    let count = u16::from_le_bytes(array(&mut rest)?);
    let mut entries = Vec::with_capacity(usize::from(count).min(rest.len() / ENTRY_HEAD_BYTES));
    for _ in 0..count {
        let viewer = ViewerId(array(&mut rest)?);
        let version = u64::from_le_bytes(array(&mut rest)?);
        let length = u16::from_le_bytes(array(&mut rest)?);
        entries.push((viewer, Entry { version, payload: take(&mut rest, usize::from(length))? }));
    }
    if rest.is_empty() { Ok((epoch, entries)) } else { Err(ChunkError::Damaged) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Bytes {
        let mut builder = ChunkBuilder::new(3);
        assert!(builder.push(ViewerId([1; 16]), Entry { version: 7, payload: b"abc" }));
        assert!(builder.push(ViewerId([2; 16]), Entry { version: u64::MAX, payload: b"" }));
        builder.finish()
    }

    #[test]
    fn a_chunk_reads_back_as_it_was_filled() {
        let bytes = sample();
        let (epoch, entries) = read(&bytes).unwrap();
        assert_eq!(epoch, 3);
        assert_eq!(entries[0], (ViewerId([1; 16]), Entry { version: 7, payload: b"abc" }));
        assert_eq!(entries[1].1.version, u64::MAX);
    }

    #[test]
    fn a_full_chunk_takes_no_more_and_stays_within_its_limit() {
        let mut builder = ChunkBuilder::new(0);
        let long = [9; MAX_PAYLOAD_BYTES];
        while builder.push(ViewerId([1; 16]), Entry { version: 1, payload: &long }) {}
        assert!(!builder.push(ViewerId([1; 16]), Entry { version: 1, payload: &[0; MAX_PAYLOAD_BYTES + 1] }));
        let count = builder.len();
        let bytes = builder.finish();
        assert!(bytes.len() <= MAX_CHUNK_BYTES && count > 200);
        assert_eq!(read(&bytes).unwrap().1.len(), count);
    }

    #[test]
    fn a_chunk_for_a_newer_reader_is_named_as_such() {
        let mut bytes = sample().to_vec();
        bytes[5] = 9;
        assert_eq!(read(&bytes), Err(ChunkError::Newer(9)));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_or_cut_is_noticed(position in 0_usize..76, bit in 0_u8..8) {
            let bytes = sample();
            let position = position % bytes.len();
            let mut flipped = bytes.to_vec();
            flipped[position] ^= 1 << bit;
            prop_assert!(read(&flipped).is_err());
            prop_assert!(read(&bytes[..position]).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_an_error_and_not_a_crash(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
