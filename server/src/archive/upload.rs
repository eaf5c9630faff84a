//! One file on its way to a target: lines, compressed, counted and summed as they pass.
//!
//! **Invariant**: at most [`PART_BYTES`] times ([`PARTS_AT_ONCE`] + 1) bytes wait in memory, however large the file gets;
//! and an upload that is not finished is no file.

use std::io::Write as _;

use bytes::Bytes;
use object_store::buffered::BufWriter;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use zstd::stream::write::Encoder;

use super::format::DumpedFile;
use super::{ArchiveError, Result, Target};
use crate::cluster::close::hex;

/// Bytes sent at a time; buckets of S3 take no less than 5 MiB but for the last.
const PART_BYTES: usize = 6 << 20;

/// Parts under way together.
const PARTS_AT_ONCE: usize = 2;

/// Level of compression: the fastest that is not much larger than the others.
const LEVEL: i32 = 3;

/// A file being written.
pub(super) struct Upload {
    target: Target,
    folder: String,
    name: String,
    writer: BufWriter,
    encoder: Encoder<'static, Vec<u8>>,
    sum: Sha256,
    lines: u64,
    text_bytes: u64,
    bytes: u64,
}

fn io(place: String, error: &dyn std::fmt::Display) -> ArchiveError {
    ArchiveError::Target { place, reason: error.to_string(), is_missing: false }
}

impl Upload {
    /// A file of a dump's folder.
    ///
    /// # Errors
    /// When the compressor does not start.
    pub(super) fn start(target: &Target, folder: &str, name: String) -> Result<Self> {
        let path = format!("{folder}/{name}");
        let encoder = || -> std::io::Result<_> {
            let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
            encoder.include_checksum(true)?;
            Ok(encoder)
        };
        let writer = BufWriter::with_capacity(target.object_store(), target.path(&path), PART_BYTES);
        Ok(Self {
            encoder: encoder().map_err(|error| io(target.shown(&path), &error))?,
            writer: writer.with_max_concurrency(PARTS_AT_ONCE),
            target: target.clone(),
            folder: folder.to_owned(),
            name,
            sum: Sha256::new(),
            lines: 0,
            text_bytes: 0,
            bytes: 0,
        })
    }

    fn shown(&self) -> String {
        self.target.shown(&format!("{}/{}", self.folder, self.name))
    }

    /// Appends whole lines.
    ///
    /// # Errors
    /// [`ArchiveError::Target`]; then it cannot be finished.
    pub(super) async fn push(&mut self, text: &str, lines: u64) -> Result<()> {
        self.lines += lines;
        self.text_bytes += text.len() as u64;
        self.encoder.write_all(text.as_bytes()).map_err(|error| io(self.shown(), &error))?;
        let ready = std::mem::take(self.encoder.get_mut());
        self.send(ready).await
    }

    async fn send(&mut self, compressed: Vec<u8>) -> Result<()> {
        if compressed.is_empty() {
            return Ok(());
        }
        self.sum.update(&compressed);
        self.bytes += compressed.len() as u64;
        let sent = self.writer.put(Bytes::from(compressed)).await;
        sent.map_err(|error| self.target.error(&format!("{}/{}", self.folder, self.name), &error))
    }

    /// Ends the file: it is there when this returns.
    ///
    /// # Errors
    /// [`ArchiveError::Target`]; then it is not there.
    pub(super) async fn finish(mut self) -> Result<DumpedFile> {
        self.encoder.do_finish().map_err(|error| io(self.shown(), &error))?;
        let rest = std::mem::take(self.encoder.get_mut());
        self.send(rest).await?;
        self.writer.shutdown().await.map_err(|error| io(self.shown(), &error))?;
        let sha256 = hex(&self.sum.finalize());
        Ok(DumpedFile { name: self.name, lines: self.lines, text_bytes: self.text_bytes, bytes: self.bytes, sha256 })
    }

    /// Gives up, and takes back what was sent if the target lets it.
    pub(super) async fn abort(mut self) {
        if let Err(error) = self.writer.abort().await {
            tracing::debug!(%error, "an upload could not be taken back");
        }
    }
}
