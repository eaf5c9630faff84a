//! One file of a dump, read as lines, and held to what its manifest says of it.
//!
//! **Invariant**: the end of the file is reported as the end only if length, lines and sum are those of the manifest;
//! what is wrong is said with the name of the file. Memory is bounded by [`MAX_LINE_BYTES`] and what [`SLICE_BYTES`] can
//! expand to.

use std::io::Write as _;

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sha2::{Digest as _, Sha256};
use zstd::stream::write::Decoder;

use super::format::{DumpedFile, MAX_LINE_BYTES};
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
    name: String,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    pending: Bytes,
    decoder: Decoder<'static, Vec<u8>>,
    sum: Sha256,
    bytes: u64,
    lines: u64,
}

impl<'a> Lines<'a> {
    /// Opens a file of the dump in `folder`.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when it is not there; [`ArchiveError::Target`].
    pub(super) async fn open(target: &'a Target, folder: &str, expected: &'a DumpedFile) -> Result<Self> {
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
        Ok(Self { target, expected, name, stream, pending, decoder, sum, bytes: 0, lines: 0 })
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
            if self.decoder.get_ref().len() >= BLOCK_BYTES
                && let Some(block) = self.whole_lines()?
            {
                return Ok(Some(block));
            }
        }
    }

    /// Takes the whole lines out of what was decompressed.
    fn whole_lines(&mut self) -> Result<Option<Vec<u8>>> {
        let text = self.decoder.get_mut();
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else {
            let is_too_long = text.len() > MAX_LINE_BYTES;
            return if is_too_long { Err(self.damaged("a line of it is too long")) } else { Ok(None) };
        };
        let rest = text.split_off(end + 1);
        let block = std::mem::replace(text, rest);
        self.lines += block.iter().filter(|byte| **byte == b'\n').count() as u64;
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
        if let Some(block) = self.whole_lines()? {
            return Ok(Some(block));
        }
        if !self.decoder.get_ref().is_empty() {
            return Err(self.damaged("its last line has no end"));
        }
        if self.lines != self.expected.lines {
            return Err(self.damaged(format!("it has {} lines of {}", self.lines, self.expected.lines)));
        }
        Ok(None)
    }
}

/// The lines of a block.
pub(super) fn each(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}
