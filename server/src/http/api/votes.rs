//! A vote as form or JSON, before anybody looks at what it means.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::body;
use super::super::error::Problem;
use crate::conductor::Wanted;
use crate::domain::Invalid;
use crate::domain::note::Version;
use crate::domain::object::Distinct;
use crate::domain::rule::Rule;

/// Most fields of a form: every critere twice over, and the fields with a meaning of their own.
const MAX_FIELDS: usize = 64;

/// What a request asks to be noted.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) jeu_id: u32,
    pub(super) live_id: Option<Uuid>,
    pub(super) channel: Option<String>,
    pub(super) viewer: Option<String>,
    pub(super) v: Option<Version>,
    pub(super) wanted: Wanted,
}

#[derive(Default)]
struct Fields {
    jeu_id: Option<u32>,
    live_id: Option<Uuid>,
    channel: Option<String>,
    viewer: Option<String>,
    v: Option<Version>,
    withdraw: bool,
}

impl Fields {
    /// Takes a field that is no critere, given as text; `false` when it is another one.
    fn take(&mut self, key: &str, text: &str) -> Result<bool, Invalid> {
        // An empty text in a form is a field left out.
        let given = (!text.is_empty()).then_some(text);
        match key {
            "jeu_id" => {
                let number = |text: &str| {
                    text.parse().map_err(|_| {
                        Invalid::new(key, Rule::NotANumber, "is not a number", "send the number of a jeu, such as 2")
                    })
                };
                self.jeu_id = given.map(number).transpose()?;
            }
            "live_id" => {
                let uuid = |text: &str| {
                    let wrong = || {
                        Invalid::new(
                            key,
                            Rule::NotAnId,
                            "is not a UUID",
                            "send the live_id of the live, or leave it out",
                        )
                    };
                    super::super::uuid_of(text).ok_or_else(wrong)
                };
                self.live_id = given.map(uuid).transpose()?;
            }
            "v" => {
                let number = |text: &str| {
                    text.parse().map_err(|_| {
                        Invalid::new(
                            key,
                            Rule::NotANumber,
                            "is not a number",
                            "send microseconds since 1970, or leave it out",
                        )
                    })
                };
                self.v = given.map(number).transpose()?;
            }
            "channel" => self.channel = given.map(str::to_owned),
            "viewer" => self.viewer = given.map(str::to_owned),
            "withdraw" => {
                self.withdraw = match text {
                    "1" | "true" | "on" | "yes" => true,
                    "" | "0" | "false" | "off" | "no" => false,
                    _ => {
                        return Err(Invalid::new(
                            key,
                            Rule::NotABoolean,
                            "is neither true nor false",
                            "send true, or leave it out",
                        ));
                    }
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self, wanted: Wanted) -> Result<Asked, Invalid> {
        let missing = || {
            Invalid::new("jeu_id", Rule::Required, "is missing", "say which jeu the scores are for, such as jeu_id=2")
        };
        Ok(Asked {
            jeu_id: self.jeu_id.ok_or_else(missing)?,
            live_id: self.live_id,
            channel: self.channel,
            viewer: self.viewer,
            v: self.v,
            wanted: if self.withdraw { Wanted::Withdrawn } else { wanted },
        })
    }
}

fn decoded(part: &[u8]) -> Result<Cow<'_, str>, Problem> {
    if !part.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return std::str::from_utf8(part).map(Cow::Borrowed).map_err(|_| body::not_utf8());
    }
    let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let text = percent_decode(&spaced).decode_utf8().map_err(|_| body::not_utf8())?;
    Ok(Cow::Owned(text.into_owned()))
}

/// Reads `jeu_id=2&fun=4&durée=5`, percent-encoded or in plain UTF-8 as `curl -d` sends it.
pub(super) fn from_form(form: &[u8]) -> Result<Asked, Problem> {
    let mut fields = Fields::default();
    let mut seen: Vec<String> = Vec::new();
    let mut scores = Vec::new();
    for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let split = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let key = decoded(&pair[..split])?;
        let text = decoded(pair.get(split + 1..).unwrap_or_default())?;
        if seen.len() == MAX_FIELDS {
            return Err(Invalid::new(
                "body",
                Rule::TooManyFields { max: MAX_FIELDS },
                format!("has more than {MAX_FIELDS} fields"),
                "send fewer",
            )
            .into());
        }
        let key = key.trim();
        if fields.take(key, text.trim())? {
            if seen.iter().any(|other| other == key) {
                return Err(Invalid::new(key, Rule::Duplicate, "is there twice", "send it once").into());
            }
        } else {
            scores.push((key.to_owned(), text.into_owned()));
        }
        seen.push(key.to_owned());
    }
    Ok(fields.finish(Wanted::Text(scores))?)
}

/// Reads a JSON object with the same fields; scores are numbers, at the top or in `scores`.
pub(super) fn from_json(json: &[u8]) -> Result<Asked, Problem> {
    let Distinct(value) = body::parse(json)?;
    let Value::Object(object) = value else {
        return Err(
            Invalid::new("body", Rule::NotAnObject, "is not an object", "send {\"jeu_id\": 2, \"fun\": 4}").into()
        );
    };
    let mut fields = Fields::default();
    let mut scores = Map::new();
    let mut inner = Map::new();
    for (key, value) in object {
        match (key.as_str(), value) {
            ("scores", Value::Object(map)) => inner = map,
            ("scores", Value::Null) => {}
            ("scores", _) => {
                return Err(Invalid::new("scores", Rule::NotAnObject, "is not an object", "send {\"fun\": 4}").into());
            }
            ("jeu_id" | "live_id" | "channel" | "viewer" | "v" | "withdraw", Value::Null) => {}
            ("jeu_id" | "v", Value::Number(number)) => {
                fields.take(&key, &number.to_string())?;
            }
            ("live_id" | "channel" | "viewer", Value::String(text)) => {
                fields.take(&key, &text)?;
            }
            ("withdraw", Value::Bool(withdraw)) => fields.withdraw = withdraw,
            ("jeu_id" | "v", _) => {
                return Err(Invalid::new(key, Rule::NotANumber, "is not a number", "send a whole number").into());
            }
            ("live_id" | "channel" | "viewer", _) => {
                return Err(Invalid::new(key, Rule::NotAText, "is not a text", "send a text, or leave it out").into());
            }
            ("withdraw", _) => {
                return Err(Invalid::new(
                    key,
                    Rule::NotABoolean,
                    "is neither true nor false",
                    "send true, or leave it out",
                )
                .into());
            }
            (_, value) => {
                scores.insert(key, value);
            }
        }
    }
    if scores.len() + inner.len() > MAX_FIELDS {
        return Err(Invalid::new(
            "body",
            Rule::TooManyFields { max: MAX_FIELDS },
            format!("has more than {MAX_FIELDS} fields"),
            "send fewer",
        )
        .into());
    }
    for (key, value) in inner {
        if scores.insert(key.clone(), value).is_some() {
            return Err(Invalid::new(key, Rule::Duplicate, "is there twice", "send each critere once").into());
        }
    }
    Ok(fields.finish(Wanted::Json(scores))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(asked: &Asked) -> Vec<(&str, &str)> {
        let Wanted::Text(scores) = &asked.wanted else { panic!("text") };
        scores.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect()
    }

    #[test]
    fn the_form_of_the_readme_is_read_plain_and_percent_encoded() {
        for form in [
            "jeu_id=2&fun=4&graph=3&durée=5",
            "jeu_id=2&fun=4&graph=3&dur%C3%A9e=5",
            "&jeu_id=+2+&fun=4&graph=3&dur%c3%a9e=5&",
        ] {
            let asked = from_form(form.as_bytes()).unwrap();
            assert_eq!(asked.jeu_id, 2);
            assert_eq!(text(&asked), [("fun", "4"), ("graph", "3"), ("durée", "5")], "{form}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused_plain_and_encoded() {
        for form in [&b"jeu_id=2&fun=\xff"[..], b"jeu_id=2&fun=%ff", b"jeu_id=2&dur\xe9e=5"] {
            assert_eq!(from_form(form).unwrap_err().status(), 400);
        }
    }

    #[test]
    fn json_takes_scores_at_the_top_or_inside() {
        let top = from_json(r#"{"jeu_id":2,"fun":4,"v":7}"#.as_bytes()).unwrap();
        let inside = from_json(r#"{"jeu_id":2,"scores":{"fun":4},"v":7,"live_id":null}"#.as_bytes()).unwrap();
        assert_eq!(top, inside);
        assert_eq!(from_json(br#"{"jeu_id":2,"withdraw":true}"#).unwrap().wanted, Wanted::Withdrawn);
    }

    #[test]
    fn each_field_of_the_wrong_type_is_named() {
        for (json, field) in [
            (r#"{"fun":4}"#, "jeu_id"),
            (r#"{"jeu_id":"2"}"#, "jeu_id"),
            (r#"{"jeu_id":2.5}"#, "jeu_id"),
            (r#"{"jeu_id":-1}"#, "jeu_id"),
            (r#"{"jeu_id":2,"live_id":"x"}"#, "live_id"),
            (r#"{"jeu_id":2,"scores":[4]}"#, "scores"),
            (r#"{"jeu_id":2,"fun":4,"scores":{"fun":4}}"#, "fun"),
            (r#"{"jeu_id":2,"withdraw":"x"}"#, "withdraw"),
            (r#"{"jeu_id":2,"fun":4,"fun":5}"#, "fun"),
            (r#"{"jeu_id":2,"jeu_id":3,"fun":4}"#, "jeu_id"),
            (r#"{"jeu_id":2,"scores":{"fun":4,"graph":1,"fun":5}}"#, "scores.fun"),
            ("[]", "body"),
        ] {
            let text = format!("{:?}", from_json(json.as_bytes()).unwrap_err());
            assert!(text.contains(&format!("field: Some(\"{field}\")")), "{json}: {text}");
        }
    }
}
