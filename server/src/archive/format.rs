//! Layout of a dump; `docs/data-model.md` describes it for people without this program.
//!
//! **Invariant**: a field is only ever added, with what its absence means; a change of meaning is another [`FORMAT`],
//! which older programs refuse.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cluster::close::hex;
use crate::domain::bareme::Bareme;
use crate::domain::jeu::JeuId;
use crate::domain::key::Slug;
use crate::domain::live::{Live, LiveId};
use crate::domain::note::Note;
use crate::domain::viewer::ViewerId;
use crate::store::{MAX_NUMBER, MAX_PAYLOAD_BYTES, MAX_RECORD_BYTES, NoteRow, Payload};

/// Format this program writes, and the newest it reads.
pub(super) const FORMAT: u32 = 1;

/// Name of the file that says what else there is.
pub const MANIFEST: &str = "manifest.json";

/// Longest manifest, in bytes: a live has at most 100 jeux.
pub(super) const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Longest body of a result, in bytes: 25 KB of counts at the most, and some 90 bytes for each lane.
pub(super) const MAX_RESULT_BYTES: usize = MAX_RECORD_BYTES;

/// Longest line of documents, in bytes: a record or a result, and what names it.
pub(super) const MAX_DOCUMENT_LINE_BYTES: usize = MAX_RECORD_BYTES + 1024;

/// Most text of documents, in bytes, since it is held in memory: some 6,000 results of the largest bareme.
pub(super) const MAX_DOCUMENTS_BYTES: u64 = 64 << 20;

/// Longest line of notes, in bytes: twelve criteres take less than half of it.
pub(super) const MAX_NOTE_LINE_BYTES: usize = 2 * 1024;

/// Epochs of one jeu that are believed to be possible: each is a person pressing a button twice.
pub(super) const MAX_EPOCHS: u64 = 10_000;

/// What a dump is of, and what is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of the dump.
    pub format: u32,
    /// Name and version of the program that made it.
    pub made_by: String,
    /// When, microseconds since 1970.
    pub made_at_us: u64,
    /// The live.
    pub live_id: LiveId,
    /// Its channel.
    pub channel: Slug,
    /// Its title.
    pub title: String,
    /// When it ended: a live that was opened again has a dump of each ending.
    pub closed_at_us: u64,
    /// The bareme of the live, without which steps mean nothing.
    pub bareme: Bareme,
    /// The jeux that were opened, in order of number.
    pub jeux: Vec<DumpedJeu>,
    /// File of documents and results.
    pub documents: DumpedFile,
}

/// One jeu in a dump.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DumpedJeu {
    /// Its number.
    pub jeu_id: JeuId,
    /// Its title.
    pub title: String,
    /// How often it was reopened; there is a result of each epoch up to this one.
    pub epoch: u64,
    /// Viewers whose note counts.
    pub voters: u64,
    /// Digest of the notes, which is that of the result.
    pub digest: String,
    /// File of its notes, one line for each viewer, withdrawn ones included.
    pub notes: DumpedFile,
}

/// One file of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpedFile {
    /// Name, from the folder of the manifest on.
    pub name: String,
    /// Lines.
    pub lines: u64,
    /// Bytes of the text: a reader stops there, whatever the file would expand to.
    pub text_bytes: u64,
    /// Bytes, compressed.
    pub bytes: u64,
    /// SHA-256 of the compressed bytes, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// All notes in it.
    pub fn notes(&self) -> u64 {
        self.jeux.iter().map(|jeu| jeu.notes.lines).sum()
    }

    /// All bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &DumpedFile> {
        std::iter::once(&self.documents).chain(self.jeux.iter().map(|jeu| &jeu.notes))
    }
}

/// Folder of the dump of one ending of a live.
pub(super) fn folder_of(live: &Live, closed_at_us: u64) -> String {
    format!("{}/{}/{closed_at_us}", live.channel, live.live_id)
}

/// Kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DocumentKind {
    /// The record of the live.
    Live,
    /// That of its channel, if there still is one.
    Channel,
    /// The channel's catalogue of jeux.
    Jeux,
    /// The bareme that the live was made from.
    Bareme,
    /// The result of an epoch of a jeu, as it is stored.
    Result,
}

/// One line of the file of documents. The body is kept byte for byte.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) kind: DocumentKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) jeu: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<u64>,
    pub(super) body: Box<RawValue>,
}

/// One line of a file of notes; `scores` is there for people and follows from `payload`.
#[derive(Deserialize)]
struct NoteLine<'a> {
    viewer: &'a str,
    v: u64,
    payload: &'a str,
}

/// Appends a note as a line.
pub(super) fn write_note(out: &mut String, bareme: &Bareme, row: &NoteRow) {
    // Writing to a string cannot fail; keys of criteres, numbers and hexadecimal need no escaping.
    let _ =
        write!(out, r#"{{"viewer":"{}","v":{},"payload":"{}","scores":{{"#, row.viewer, row.version, hex(&row.payload));
    if let Some(note) = Note::decode(bareme, &row.payload) {
        for (index, (key, score)) in note.scores(bareme).enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(out, r#"{comma}"{key}":{score}"#);
        }
    }
    out.push_str("}}\n");
}

fn unhex(text: &str, out: &mut [u8]) -> Option<()> {
    if text.len() != 2 * out.len() || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(())
}

/// Reads a line of notes.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read_note(line: &[u8]) -> Result<NoteRow, String> {
    let note: NoteLine<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let mut viewer = [0; 16];
    unhex(note.viewer, &mut viewer).ok_or("viewer is not 32 hexadecimal digits")?;
    let mut payload = Payload::from_elem(0, note.payload.len() / 2);
    if payload.len() > MAX_PAYLOAD_BYTES || unhex(note.payload, &mut payload).is_none() {
        return Err("payload is not hexadecimal".to_owned());
    }
    if note.v > MAX_NUMBER {
        return Err("v is too great".to_owned());
    }
    Ok(NoteRow { viewer: ViewerId(viewer), version: note.v, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bareme::presets;

    #[test]
    fn a_note_survives_its_line_and_people_can_read_it() {
        let bareme = presets().remove(0);
        let row = NoteRow {
            viewer: ViewerId([0xAB; 16]),
            version: 7,
            payload: Payload::from_slice(&[1, 3, 0xFF, 4, 0xFF, 0xFF]),
        };
        let mut line = String::new();
        write_note(&mut line, &bareme, &row);
        let viewer = "ab".repeat(16);
        assert_eq!(
            line,
            format!(
                "{{\"viewer\":\"{viewer}\",\"v\":7,\"payload\":\"0103ff04ffff\",\"scores\":{{\"fun\":4,\"duree\":5}}}}\n"
            )
        );
        assert_eq!(read_note(line.trim().as_bytes()), Ok(row));
        for wrong in [
            "",
            "{}",
            r#"{"viewer":"ab","v":1,"payload":"01"}"#,
            &format!(r#"{{"viewer":"{viewer}","v":1,"payload":"0"}}"#),
            &format!(r#"{{"viewer":"{viewer}","v":1,"payload":"0g"}}"#),
            &format!(r#"{{"viewer":"{viewer}","v":18446744073709551615,"payload":"01"}}"#),
        ] {
            assert!(read_note(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
