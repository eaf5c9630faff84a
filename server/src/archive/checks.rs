//! Whether a dump may be used: its manifest is bounded, and each document is one that this program could have written,
//! of the live that the manifest names.
//!
//! A dump comes from wherever somebody says. What is stored of it is read by every later request, so it passes the same
//! rules as what admins send. Reasons are in words; the caller adds the name of the file.
//!
//! **Invariant**: no text of a dump is shown or used as a name before it passed here.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::format::{
    DumpedFile, FORMAT, MAX_DOCUMENTS_BYTES, MAX_EPOCHS, MAX_NOTE_LINE_BYTES, MAX_RESULT_BYTES, Manifest,
};
use crate::catalogue::{JeuxDocument, MAX_JEUX, checked_minimum_votes};
use crate::cluster::close::{EpochResult, unseal};
use crate::domain::bareme::Bareme;
use crate::domain::channel::{Channel, checked_close_delay};
use crate::domain::jeu::{Jeu, JeuId};
use crate::domain::live::{Live, LiveStatus, MAX_PROGRAMME, checked_programme};
use crate::domain::tally::Tally;
use crate::domain::{MAX_TITLE_CHARS, checked_text};
use crate::store::{MAX_NUMBER, MAX_RECORD_BYTES};

type Result<T> = std::result::Result<T, String>;

/// Documents beside results: live, channel, jeux and bareme.
const OTHER_DOCUMENTS: u64 = 4;

fn same<T: PartialEq>(what: &str, found: &T, expected: &T) -> Result<()> {
    if found == expected { Ok(()) } else { Err(format!("{what} is not that of the live of this dump")) }
}

/// A text that was checked when it was typed, and is as it was kept then.
fn text(field: &str, found: &str) -> Result<()> {
    let kept = checked_text(field, found, MAX_TITLE_CHARS).map_err(|error| error.to_string())?;
    if kept == found { Ok(()) } else { Err(format!("{field} is not trimmed")) }
}

fn numbers(found: impl IntoIterator<Item = u64>) -> Result<()> {
    let is_small = found.into_iter().all(|number| number <= MAX_NUMBER);
    if is_small { Ok(()) } else { Err("a number in it is too great".to_owned()) }
}

fn bareme_of(bareme: &Bareme) -> Result<()> {
    let kept = bareme.checked().map_err(|error| error.to_string())?;
    if kept == *bareme { Ok(()) } else { Err("the bareme is not as one is stored".to_owned()) }
}

fn jeu(jeu: &Jeu) -> Result<()> {
    let kept = jeu.details.checked().map_err(|error| error.to_string())?;
    if kept == jeu.details { Ok(()) } else { Err(format!("jeu {} is not as one is stored", jeu.jeu_id)) }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether all of `found` is in `kept` as well, which is the same document read and written again.
fn is_kept(found: &Value, kept: &Value) -> bool {
    match (found, kept) {
        (Value::Object(found), Value::Object(kept)) => found.iter().all(|(name, value)| match kept.get(name) {
            Some(kept) => is_kept(value, kept),
            None => value.is_null(),
        }),
        (Value::Array(found), Value::Array(kept)) => {
            found.len() == kept.len() && found.iter().zip(kept).all(|(found, kept)| is_kept(found, kept))
        }
        _ => found == kept,
    }
}

/// A document and its text as this program writes it; refused when there is more in it than that.
fn typed<T: DeserializeOwned + Serialize>(body: &str) -> Result<(T, String)> {
    let read = || -> serde_json::Result<_> {
        let typed: T = serde_json::from_str(body)?;
        let found: Value = serde_json::from_str(body)?;
        Ok((serde_json::to_value(&typed)?, found, serde_json::to_string(&typed)?, typed))
    };
    let (kept, found, text, typed) = read().map_err(|error| error.to_string())?;
    if !is_kept(&found, &kept) {
        return Err("it has fields that this version of bareme does not know".to_owned());
    }
    if text.len() > MAX_RECORD_BYTES {
        return Err(format!("it has more than {MAX_RECORD_BYTES} bytes"));
    }
    Ok((typed, text))
}

/// A file of the dump: in a folder of the attempt that made it, and no larger than so many lines can be.
fn file(file: &DumpedFile, name: &str, max_line: usize) -> Result<()> {
    let is_named = file.name.split_once('/').is_some_and(|(attempt, own)| is_hex(attempt, 8) && own == name);
    if !is_named {
        return Err("it names a file that is none of a dump".to_owned());
    }
    let most = file.lines.checked_mul(max_line as u64);
    let is_bounded = most.is_some_and(|most| file.text_bytes <= most) && file.lines <= file.text_bytes;
    if !is_bounded || !is_hex(&file.sha256, 64) {
        return Err(format!("what it says of {} cannot be", file.name));
    }
    numbers([file.bytes, file.text_bytes])
}

/// The manifest, by itself.
pub(super) fn manifest(manifest: &Manifest) -> Result<()> {
    if manifest.format != FORMAT {
        return Err(format!("it has format {}", manifest.format));
    }
    text("made_by", &manifest.made_by)?;
    text("title", &manifest.title)?;
    bareme_of(&manifest.bareme)?;
    numbers([manifest.made_at_us, manifest.closed_at_us])?;
    if manifest.jeux.len() > MAX_PROGRAMME || !manifest.jeux.is_sorted_by(|a, b| a.jeu_id < b.jeu_id) {
        return Err("its jeux are not each there once and in order".to_owned());
    }
    let mut results = 0;
    for jeu in &manifest.jeux {
        if !jeu.title.is_empty() {
            text("title", &jeu.title)?;
        }
        if jeu.epoch >= MAX_EPOCHS || !is_hex(&jeu.digest, 32) {
            return Err(format!("what it says of jeu {} cannot be", jeu.jeu_id));
        }
        results += jeu.epoch + 1;
        file(&jeu.notes, &super::notes_file(jeu.jeu_id), MAX_NOTE_LINE_BYTES)?;
    }
    let documents = &manifest.documents;
    file(documents, super::documents::FILE, super::format::MAX_DOCUMENT_LINE_BYTES)?;
    let is_bounded = (results + 1..=results + OTHER_DOCUMENTS).contains(&documents.lines);
    if !is_bounded || documents.text_bytes > MAX_DOCUMENTS_BYTES {
        return Err(format!("what it says of {} cannot be", documents.name));
    }
    Ok(())
}

/// The record of the live.
pub(super) fn live(manifest: &Manifest, id: &str, body: &str) -> Result<Live> {
    let (live, _) = typed::<Live>(body)?;
    same("id", &id, &live.live_id.to_string().as_str())?;
    same("id", &live.live_id, &manifest.live_id)?;
    same("channel", &live.channel, &manifest.channel)?;
    same("title", &live.title, &manifest.title)?;
    same("bareme", &live.bareme, &manifest.bareme)?;
    same("end", &(live.status, live.closed_at_us), &(LiveStatus::Closed, Some(manifest.closed_at_us)))?;
    checked_minimum_votes(live.minimum_votes).map_err(|error| error.to_string())?;
    live.programme.iter().try_for_each(jeu)?;
    let ids: Vec<JeuId> = live.programme.iter().map(|jeu| jeu.jeu_id).collect();
    checked_programme(&ids).map_err(|error| error.to_string())?;
    let mut named = live.current.iter().chain(live.closes_at_us.keys()).chain(&live.closed_with);
    if !named.all(|jeu| ids.contains(jeu)) {
        return Err("it names a jeu that is not in its programme".to_owned());
    }
    for dumped in &manifest.jeux {
        // One that left the programme while it was being opened may have notes, and has no title.
        let title = live.jeu(dumped.jeu_id).map_or("", |(_, jeu)| jeu.details.title.as_str());
        same("title of a jeu", &dumped.title.as_str(), &title)?;
    }
    let times = live.closes_at_us.values().copied().chain(live.ends_at_us).chain(live.opened_at_us);
    let times = times.chain(live.delays_us.iter().flat_map(|(at_us, delay_us)| [*at_us, *delay_us]));
    numbers(times.chain([live.created_at_us]))?;
    Ok(live)
}

/// The record of the channel, as text, with no live on air and none shown: those it names may not be here.
pub(super) fn channel(live: &Live, id: &str, body: &str) -> Result<String> {
    let (channel, _) = typed::<Channel>(body)?;
    same("channel", &id, &live.channel.as_str())?;
    same("channel", &channel.slug, &live.channel)?;
    text("title", &channel.title)?;
    checked_close_delay("close_delay_ms", channel.close_delay_ms).map_err(|error| error.to_string())?;
    numbers([channel.created_at_us])?;
    let quiet = Channel { open_live: None, last_live: None, takes_back: None, unfinished: BTreeSet::new(), ..channel };
    serde_json::to_string(&quiet).map_err(|error| error.to_string())
}

/// The channel's catalogue of jeux, as text.
pub(super) fn jeux(live: &Live, id: &str, body: &str) -> Result<String> {
    let (document, text) = typed::<JeuxDocument>(body)?;
    same("channel", &id, &live.channel.as_str())?;
    document.jeux.iter().try_for_each(jeu)?;
    let ids: BTreeSet<u32> = document.jeux.iter().map(|jeu| jeu.jeu_id.0).collect();
    let in_order = document.jeux.is_sorted_by(|a, b| a.jeu_id < b.jeu_id);
    if document.jeux.len() > MAX_JEUX || !in_order || ids.last().is_some_and(|last| *last >= document.next_id) {
        return Err("its jeux are not each there once and in order".to_owned());
    }
    Ok(text)
}

/// The bareme that the live was made from, as text.
pub(super) fn bareme(live: &Live, id: &str, body: &str) -> Result<String> {
    let (bareme, text) = typed::<Bareme>(body)?;
    same("id", &id, &live.bareme_id.to_string().as_str())?;
    bareme_of(&bareme)?;
    Ok(text)
}

/// The result of an epoch of a jeu: sealed, of this live, and of its bareme.
pub(super) fn result(manifest: &Manifest, jeu: JeuId, epoch: u64, body: &str) -> Result<()> {
    let dumped = manifest.jeux.iter().find(|dumped| dumped.jeu_id == jeu && epoch <= dumped.epoch);
    let dumped = dumped.ok_or("it is not one of this dump")?;
    if body.len() > MAX_RESULT_BYTES {
        return Err(format!("it has more than {MAX_RESULT_BYTES} bytes"));
    }
    let result: EpochResult<Tally> = unseal(body.as_bytes())?;
    let found: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let inner = serde_json::to_value(&result).map_err(|error| error.to_string())?;
    let sum = found.get("sha256").cloned().unwrap_or_default();
    if !is_kept(&found, &serde_json::json!({"sha256": sum, "result": inner})) {
        return Err("it has fields that this version of bareme does not know".to_owned());
    }
    same("id", &(result.live, result.jeu, result.epoch), &(manifest.live_id.0, jeu.0, epoch))?;
    let shape = |tally: &Tally| tally.histograms.iter().map(Vec::len).collect::<Vec<_>>();
    if result.format != 1 || shape(&result.tally) != shape(&Tally::empty(&manifest.bareme)) {
        return Err("it is not one of this bareme".to_owned());
    }
    let voters = result.tally.voters;
    let is_whole = |histogram: &Vec<u64>| {
        let sum = histogram.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        sum.is_some_and(|sum| sum <= voters)
    };
    let chunks = result.manifest.iter().map(|lane| lane.chunks);
    numbers(chunks.chain([result.made_at_us, result.viewers, voters]))?;
    let is_possible = voters <= result.viewers && result.tally.histograms.iter().all(is_whole);
    if !is_possible || !is_hex(&result.digest, 32) {
        return Err("its numbers cannot be".to_owned());
    }
    if epoch == dumped.epoch && (&result.digest, voters) != (&dumped.digest, dumped.voters) {
        return Err("it is not what the manifest says of the jeu".to_owned());
    }
    Ok(())
}
