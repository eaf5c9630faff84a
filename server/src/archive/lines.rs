//! One file of a dump, read as lines, and held to what its manifest says of it.
//!
//! **Invariant**: the end of the file is reported as the end only if length, lines and sum are those of the manifest;
//! what is wrong is said with the name of the file. Nothing is expanded beyond the text that the manifest announces, and
//! memory is bounded by the longest line and what [`SLICE_BYTES`] can expand to.

use std::io::Write as _;

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sha2::{Digest as _, Sha256};
use zstd::stream::write::Decoder;

use super::format::DumpedFile;
use super::verify::join;
use super::{ArchiveError, Result, Target};
use crate::cluster::close::hex;

/// Compressed bytes taken at a time: a block of 128 KiB may be four bytes, so these are 16 MiB at the very most.
const SLICE_BYTES: usize = 512;

/// Lines are handed out when this many bytes of them are there.
const BLOCK_BYTES: usize = 128 * 1024;

/// Most memory a file may ask the decompressor for: 8 MiB. Ours ask for 2.
const WINDOW_LOG: u32 = 23;

/// A file being read.
pub(super) struct Lines<'a> {
    target: &'a Target,
    expected: &'a DumpedFile,
    max_line: usize,
    name: String,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    pending: Bytes,
    decoder: Decoder<'static, Vec<u8>>,
    sum: Sha256,
    bytes: u64,
    /// Of the text, in blocks that were handed out.
    handed_out: u64,
    lines: u64,
}

impl<'a> Lines<'a> {
    /// Opens a file of the dump in `folder`, whose lines have at most `max_line` bytes.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when it is not there; [`ArchiveError::Target`].
    pub(super) async fn open(
        target: &'a Target,
        folder: &str,
        expected: &'a DumpedFile,
        max_line: usize,
    ) -> Result<Self> {
        let name = join(folder, &expected.name);
        let stream = target.stream(&name).await.map_err(|error| match error {
            ArchiveError::Target { place, is_missing: true, .. } => ArchiveError::damaged(place, "it is missing"),
            other => other,
        })?;
        let decoder = || -> std::io::Result<_> {
            let mut decoder = Decoder::new(Vec::new())?;
            decoder.window_log_max(WINDOW_LOG)?;
            Ok(decoder)
        };
        let decoder = decoder().map_err(|error| ArchiveError::damaged(target.shown(&name), error.to_string()))?;
        let (pending, sum) = (Bytes::new(), Sha256::new());
        Ok(Self { target, expected, max_line, name, stream, pending, decoder, sum, bytes: 0, handed_out: 0, lines: 0 })
    }

    /// An error about this file.
    pub(super) fn damaged(&self, reason: impl Into<String>) -> ArchiveError {
        ArchiveError::damaged(self.target.shown(&self.name), reason)
    }

    /// The next whole lines, each with its end; `None` at the end of a file that is what it should be.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] and [`ArchiveError::Target`].
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if self.pending.is_empty() {
                match self.stream.next().await {
                    None => return self.end(),
                    Some(Ok(bytes)) => {
                        self.sum.update(&bytes);
                        self.bytes += bytes.len() as u64;
                        if self.bytes > self.expected.bytes {
                            return Err(self.damaged(format!("it is longer than {} bytes", self.expected.bytes)));
                        }
                        self.pending = bytes;
                        continue;
                    }
                    Some(Err(error)) => return Err(self.target.error(&self.name, &error)),
                }
            }
            let slice = self.pending.len().min(SLICE_BYTES);
            let written = self.decoder.write_all(&self.pending[..slice]);
            written.map_err(|_| self.damaged("it cannot be decompressed"))?;
            self.pending.advance(slice);
            self.bounded()?;
            if self.decoder.get_ref().len() >= BLOCK_BYTES
                && let Some(block) = self.whole_lines()?
            {
                return Ok(Some(block));
            }
        }
    }

    /// Refuses text beyond what the manifest announces.
    fn bounded(&self) -> Result<()> {
        let most = self.expected.text_bytes;
        if self.handed_out + self.decoder.get_ref().len() as u64 > most {
            return Err(self.damaged(format!("its text is longer than {most} bytes")));
        }
        Ok(())
    }

    /// Takes the whole lines out of what was decompressed.
    fn whole_lines(&mut self) -> Result<Option<Vec<u8>>> {
        let text = self.decoder.get_mut();
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else {
            let is_too_long = text.len() > self.max_line;
            return if is_too_long { Err(self.damaged("a line of it is too long")) } else { Ok(None) };
        };
        let rest = text.split_off(end + 1);
        let block = std::mem::replace(text, rest);
        self.handed_out += block.len() as u64;
        for line in block.split_inclusive(|byte| *byte == b'\n') {
            self.lines += 1;
            if line.len() > self.max_line {
                return Err(self.damaged("a line of it is too long"));
            }
        }
        if self.lines > self.expected.lines {
            return Err(self.damaged(format!("it has more than {} lines", self.expected.lines)));
        }
        Ok(Some(block))
    }

    fn end(&mut self) -> Result<Option<Vec<u8>>> {
        if self.bytes != self.expected.bytes {
            let reason = format!("it has {} bytes of {}: it is cut short", self.bytes, self.expected.bytes);
            return Err(self.damaged(reason));
        }
        if hex(&self.sum.clone().finalize()) != self.expected.sha256 {
            return Err(self.damaged("its bytes do not match the sum in the manifest"));
        }
        self.decoder.flush().map_err(|_| self.damaged("it cannot be decompressed"))?;
        self.bounded()?;
        if let Some(block) = self.whole_lines()? {
            return Ok(Some(block));
        }
        if !self.decoder.get_ref().is_empty() {
            return Err(self.damaged("its last line has no end"));
        }
        if self.lines != self.expected.lines {
            return Err(self.damaged(format!("it has {} lines of {}", self.lines, self.expected.lines)));
        }
        if self.handed_out != self.expected.text_bytes {
            let (found, expected) = (self.handed_out, self.expected.text_bytes);
            return Err(self.damaged(format!("its text has {found} bytes of {expected}")));
        }
        Ok(None)
    }
}

/// The lines of a block.
pub(super) fn each(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn file(text: &[u8], text_bytes: u64, lines: u64) -> (Target, DumpedFile) {
        let target = Target::in_memory();
        let bytes = zstd::encode_all(text, 3).unwrap();
        let (length, sha256) = (bytes.len() as u64, hex(&Sha256::digest(&bytes)));
        assert!(target.write("of/x", Bytes::from(bytes), true).await.unwrap());
        (target, DumpedFile { name: "x".to_owned(), lines, text_bytes, bytes: length, sha256 })
    }

    /// Reads to the end; the error in words, or bytes and lines that were handed out, and the most that was held.
    async fn read(target: &Target, expected: &DumpedFile) -> (std::result::Result<usize, String>, usize) {
        let mut lines = Lines::open(target, "of", expected, 100).await.unwrap();
        let (mut bytes, mut most) = (0, 0);
        loop {
            let next = lines.next().await;
            most = most.max(lines.decoder.get_ref().capacity());
            match next {
                Ok(Some(block)) => bytes += block.len(),
                Ok(None) => return (Ok(bytes), most),
                Err(error) => return (Err(error.to_string()), most),
            }
        }
    }

    #[tokio::test]
    async fn a_bomb_is_not_expanded_beyond_what_is_announced() {
        let text = b"0123456789\n".repeat(30_000_000);
        let (target, honest) = file(&text, text.len() as u64, 30_000_000).await;
        assert!(honest.bytes < 100_000, "{} bytes of {}", honest.bytes, text.len());
        assert_eq!(read(&target, &honest).await.0, Ok(text.len()));
        for bomb in [DumpedFile { text_bytes: 1_000, ..honest.clone() }, DumpedFile { lines: 90, ..honest }] {
            let (refused, held) = read(&target, &bomb).await;
            let refused = refused.unwrap_err();
            assert!(
                refused.contains("is longer than 1000 bytes") || refused.contains("more than 90 lines"),
                "{refused}"
            );
            assert!(held < 40 << 20, "{held}");
        }
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_refused_also_among_others() {
        let mut text = b"short\n".repeat(100_000);
        text.extend([b'x'; 200]);
        text.extend(b"\nshort\n");
        let (target, expected) = file(&text, text.len() as u64, 100_002).await;
        assert!(read(&target, &expected).await.0.unwrap_err().contains("too long"));
    }
}
