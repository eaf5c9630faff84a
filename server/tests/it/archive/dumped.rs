//! Reads a dump as `docs/data-model.md` describes it. Uses none of the server's code.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of a file that a manifest names, after checking what it says of it.
pub(super) fn lines(folder: &Path, file: &Value) -> Vec<Value> {
    let bytes = std::fs::read(folder.join(file["name"].as_str().unwrap())).unwrap();
    assert_eq!(json!(bytes.len()), file["bytes"]);
    assert_eq!(json!(hex(&Sha256::digest(&bytes))), file["sha256"]);
    let text = zstd::decode_all(&bytes[..]).unwrap();
    let lines: Vec<Value> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(json!(lines.len()), file["lines"]);
    lines
}

/// The manifest of a dump.
pub(super) fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

/// Recounts a dump and compares it with results as everybody sees them; gives the manifest.
pub(super) fn check(folder: &Path, live: &str, results: &Value) -> Value {
    let manifest = manifest(folder);
    assert_eq!((&manifest["format"], &manifest["live_id"]), (&json!(1), &json!(live)));
    let documents = lines(folder, &manifest["documents"]);
    let text = serde_json::to_string(&documents).unwrap();
    for secret in ["password_hash", "viewer_secret", "brm_token_", "\"secret\"", "\"hash\""] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(documents.iter().any(|line| line["kind"] == "live" && line["body"]["live_id"] == live));
    let criteres = manifest["bareme"]["criteres"].as_array().unwrap();
    let opened = results["jeux"].as_array().unwrap().iter().filter(|jeu| jeu["phase"] != "pending");
    assert_eq!(opened.clone().count(), manifest["jeux"].as_array().unwrap().len());
    for jeu in opened {
        let dumped = manifest["jeux"].as_array().unwrap().iter().find(|dumped| dumped["jeu_id"] == jeu["jeu_id"]);
        let dumped = dumped.unwrap();
        assert_eq!((&dumped["epoch"], &dumped["voters"]), (&jeu["epoch"], &jeu["voters"]));
        let notes = lines(folder, &dumped["notes"]);
        let viewers: BTreeMap<_, _> = notes.iter().map(|note| (note["viewer"].as_str().unwrap(), note)).collect();
        assert_eq!(viewers.len(), notes.len(), "each viewer once");
        assert!(notes.is_sorted_by_key(|note| note["viewer"].as_str().unwrap().to_owned()));
        for (index, critere) in criteres.iter().enumerate() {
            let key = critere["key"].as_str().unwrap();
            let shown = jeu["criteres"].as_array().unwrap().iter().find(|shown| shown["key"] == key).unwrap();
            let steps = shown["histogram"].as_array().unwrap().len();
            let (mut by_scores, mut by_payload) = (vec![0_u64; steps], vec![0_u64; steps]);
            for note in &notes {
                if let Some(score) = note["scores"][key].as_f64() {
                    let step = (score - critere["min"].as_f64().unwrap()) / critere["step"].as_f64().unwrap();
                    by_scores[step as usize] += 1;
                }
                let payload = note["payload"].as_str().unwrap();
                let step = u8::from_str_radix(&payload[2 + 2 * index..4 + 2 * index], 16).unwrap();
                if step != 0xFF {
                    by_payload[usize::from(step)] += 1;
                }
            }
            assert_eq!(json!(by_scores), shown["histogram"], "{key} of jeu {}", jeu["jeu_id"]);
            assert_eq!(by_payload, by_scores);
        }
    }
    manifest
}
