//! One viewer's scores for one jeu, all criteres in one value, and its few bytes in journal and tables.

use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::Invalid;
use super::bareme::{Bareme, MAX_CRITERES};
use super::decimal::Decimal;
use super::key::fold_key;
use super::rule::Rule;

/// When a viewer chose a note, in microseconds since 1970, by the viewer's own estimate of the server's clock. The
/// greatest version of a viewer's notes on a jeu is the one that counts.
pub type Version = u64;

/// Layout of a payload: this byte, then one byte for each critere of the bareme: the step, or [`NO_SCORE`].
const FORMAT: u8 = 1;

/// Byte of a critere left out.
const NO_SCORE: u8 = 0xFF;

/// The steps a viewer chose, by position in the bareme; `None` is "sans avis". No score at all is a withdrawn note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    steps: SmallVec<[Option<u8>; MAX_CRITERES]>,
}

impl Note {
    /// The note that counts for nothing: what remains when a viewer withdraws.
    pub fn withdrawn(bareme: &Bareme) -> Self {
        Self { steps: SmallVec::from_elem(None, bareme.criteres.len()) }
    }

    /// A note from keys and scores.
    ///
    /// # Errors
    /// [`Invalid`] for an unknown or repeated critere, a score out of range or off step, a critere that must be rated,
    /// or no score at all.
    pub fn new<'a>(bareme: &Bareme, scores: impl IntoIterator<Item = (&'a str, Decimal)>) -> Result<Self, Invalid> {
        let mut note = Self::withdrawn(bareme);
        for (key, score) in scores {
            let folded = fold_key(key);
            let Some((index, critere)) = bareme.critere(&folded) else {
                let known: Vec<_> = bareme.criteres.iter().map(|critere| critere.key.as_str()).collect();
                let shown: String = key.chars().take(64).collect();
                return Err(Invalid::new(
                    shown,
                    Rule::UnknownCritere,
                    "is not a critere of this live",
                    format!("use {}", known.join(", ")),
                ));
            };
            if note.steps[index].is_some() {
                return Err(Invalid::new(
                    critere.key.as_str(),
                    Rule::Duplicate,
                    "is there twice",
                    "send each critere once",
                ));
            }
            note.steps[index] = Some(critere.step_of(score)?);
        }
        if note.is_withdrawn() {
            return Err(Invalid::new(
                "scores",
                Rule::NoScore,
                "has no score",
                "rate at least one critere, or withdraw the note",
            ));
        }
        for (critere, step) in bareme.criteres.iter().zip(&note.steps) {
            if step.is_none() && !critere.optional {
                let remedy = format!("send {} to {}", critere.min, critere.max);
                return Err(Invalid::new(critere.key.as_str(), Rule::Required, "must be rated", remedy));
            }
        }
        Ok(note)
    }

    /// A note from a JSON object of scores; `null` is "sans avis".
    ///
    /// # Errors
    /// [`Invalid`] as for [`Note::new`], and for a score that is not a number.
    pub fn from_json(bareme: &Bareme, scores: &Map<String, Value>) -> Result<Self, Invalid> {
        let mut numbers = SmallVec::<[(&str, Decimal); MAX_CRITERES]>::new();
        for (key, value) in scores {
            match value {
                Value::Null => {}
                Value::Number(number) => match number.as_f64().and_then(Decimal::from_f64) {
                    Some(score) => numbers.push((key, score)),
                    None => {
                        return Err(Invalid::new(
                            key,
                            Rule::TooPrecise,
                            "has more than three decimals or is too large",
                            "send a score of the bareme",
                        ));
                    }
                },
                _ => {
                    return Err(Invalid::new(
                        key,
                        Rule::NotANumber,
                        "is not a number",
                        "send a number, or null for no opinion",
                    ));
                }
            }
        }
        Self::new(bareme, numbers)
    }

    /// Whether it counts for nothing.
    pub fn is_withdrawn(&self) -> bool {
        self.steps.iter().all(Option::is_none)
    }

    /// The steps by position in the bareme.
    pub fn steps(&self) -> &[Option<u8>] {
        &self.steps
    }

    /// The scores by key, without the criteres left out.
    pub fn scores<'a>(&'a self, bareme: &'a Bareme) -> impl Iterator<Item = (&'a str, Decimal)> {
        let scored = |(critere, step): (&'a super::bareme::Critere, &Option<u8>)| {
            step.map(|k| (critere.key.as_str(), critere.score(k)))
        };
        bareme.criteres.iter().zip(&self.steps).filter_map(scored)
    }

    /// The scores as a JSON object; empty when withdrawn.
    pub fn to_json(&self, bareme: &Bareme) -> Map<String, Value> {
        let value = |score: Decimal| serde_json::to_value(score).unwrap_or(Value::Null);
        self.scores(bareme).map(|(key, score)| (key.to_owned(), value(score))).collect()
    }

    /// Its bytes in journal and tables: at most 13.
    pub fn encode(&self) -> SmallVec<[u8; 16]> {
        std::iter::once(FORMAT).chain(self.steps.iter().map(|step| step.unwrap_or(NO_SCORE))).collect()
    }

    /// Reads what [`Note::encode`] wrote for the same bareme; `None` when it is something else.
    pub fn decode(bareme: &Bareme, payload: &[u8]) -> Option<Self> {
        let (&format, steps) = payload.split_first()?;
        if format != FORMAT || steps.len() != bareme.criteres.len() {
            return None;
        }
        let fits = |(critere, &byte): (&super::bareme::Critere, &u8)| byte == NO_SCORE || byte <= critere.steps();
        if !bareme.criteres.iter().zip(steps).all(fits) {
            return None;
        }
        Some(Self { steps: steps.iter().map(|&byte| (byte != NO_SCORE).then_some(byte)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::bareme::presets;
    use super::*;

    fn json(text: &str) -> Result<Note, Invalid> {
        let Value::Object(map) = serde_json::from_str(text).unwrap() else { panic!("an object") };
        Note::from_json(&presets()[0], &map)
    }

    #[test]
    fn a_note_survives_its_bytes() {
        let bareme = &presets()[0];
        let note = json(r#"{"fun":4,"durée":5,"graph":null}"#).unwrap();
        assert_eq!(note.encode().as_slice(), [1, 3, 0xFF, 4, 0xFF, 0xFF]);
        assert_eq!(Note::decode(bareme, &note.encode()), Some(note.clone()));
        assert_eq!(Value::Object(note.to_json(bareme)), serde_json::json!({"fun": 4, "duree": 5}));
    }

    #[test]
    fn bytes_of_another_bareme_or_format_are_not_a_note() {
        let bareme = &presets()[0];
        for payload in [&[][..], &[2, 0, 0, 0, 0, 0], &[1, 0], &[1, 5, 0, 0, 0, 0], &[1, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Note::decode(bareme, payload), None, "{payload:?}");
        }
    }

    #[test]
    fn each_wrong_score_is_refused_with_its_field() {
        for (text, field) in [
            (r#"{"fun":9}"#, "fun"),
            (r#"{"fun":4.5}"#, "fun"),
            (r#"{"fun":"4"}"#, "fun"),
            (r#"{"fun":true}"#, "fun"),
            (r#"{"fun":[[[]]]}"#, "fun"),
            (r#"{"fun":1.00001}"#, "fun"),
            (r#"{"fnu":4}"#, "fnu"),
            (r#"{"duree":4,"durée":4}"#, "duree"),
            (r#"{}"#, "scores"),
            (r#"{"fun":null}"#, "scores"),
        ] {
            assert_eq!(json(text).unwrap_err().field, field, "{text}");
        }
    }

    #[test]
    fn a_critere_that_is_not_optional_must_be_rated() {
        let mut bareme = presets().remove(0);
        bareme.criteres[1].optional = false;
        let refused = Note::new(&bareme, [("fun", Decimal::whole(3))]).unwrap_err();
        assert_eq!(refused.field, "graph");
    }
}
