//! What a client said: one message, read from its text.

use serde::Deserialize;

use crate::domain::Invalid;
use crate::domain::object::{Object, distinct};
use crate::domain::rule::Rule;
use crate::protocol::ClientMessage;

/// Deepest nesting of a message: `{"t":…,"scores":{…}}` needs two.
const MAX_DEPTH: usize = 8;

/// A note as nearly all are written. Reading any message keeps a copy of every field until it is known which
/// message they belong to; this does not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainNote<'a> {
    t: &'a str,
    live: uuid::Uuid,
    jeu: u32,
    v: u64,
    #[serde(deserialize_with = "distinct")]
    scores: serde_json::Map<String, serde_json::Value>,
}

/// Greatest whole number that every JSON reader holds exactly: 2^53 − 1.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// A client's message.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<ClientMessage, Invalid> {
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Invalid::new(
                "message",
                Rule::TooDeep { max: MAX_DEPTH },
                "is nested too deeply",
                "send one flat object",
            ));
        }
    }
    if let Ok(Object(PlainNote { t: "note", live, jeu, v, scores })) = serde_json::from_str(text) {
        return Ok(ClientMessage::Note { live, jeu, v, scores });
    }
    let unreadable = |reason: String| {
        let reason = format!("cannot be read: {reason}");
        Invalid::new("message", Rule::Unreadable, reason, "send hello, note, withdraw or ping as in docs/protocol.md")
    };
    match serde_json::from_str(text) {
        // It comes back in the pong, where a JSON reader has to hold it exactly.
        Ok(Object(ClientMessage::Ping { id })) if id > MAX_EXACT => {
            Err(unreadable(format!("the id {id} is above {MAX_EXACT}")))
        }
        Ok(Object(message)) => Ok(message),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const LIVE: Uuid = Uuid::from_u128(7);

    #[test]
    fn a_note_is_the_same_however_it_is_written() {
        let id = LIVE.to_string();
        let scores = json!({ "durée": 4.5, "fun": null }).as_object().cloned().unwrap();
        let note = Ok(ClientMessage::Note { live: LIVE, jeu: 2, v: 9, scores });
        let written = [
            format!(r#"{{"t":"note","live":"{id}","jeu":2,"v":9,"scores":{{"durée":4.5,"fun":null}}}}"#),
            format!(
                r#"{{"scores":{{"fun":null,"dur\u00e9e":4.5}}, "v":9,"jeu":2,"live":"{id}","\u0074":"not\u0065"}}"#
            ),
        ];
        assert!(written.iter().all(|text| parse(text) == note), "{written:?}");
        for (text, what) in [
            (format!(r#"["note","{id}",2,9,{{}}]"#), "cannot be read"),
            (format!(r#"{{"t":"note","live":"{id}","jeu":2,"v":9}}"#), "missing field `scores`"),
            (format!(r#"{{"t":"note","live":"{id}","jeu":2,"v":9,"scores":{{}},"x":1}}"#), "unknown field `x`"),
            (format!(r#"{{"t":"note","t":"note","live":"{id}","jeu":2,"v":9,"scores":{{}}}}"#), "duplicate field `t`"),
            (
                format!(r#"{{"t":"note","live":"{id}","jeu":2,"v":9,"scores":{{"fun":1,"graph":2,"fun":5}}}}"#),
                "duplicate field `fun`",
            ),
            (
                format!(r#"{{"scores":{{"fun":1,"f\u0075n":5}},"t":"note","live":"{id}","jeu":2,"v":9}}"#),
                "duplicate field `fun`",
            ),
            (format!(r#"{{"t":"note","live":"{id}","jeu":2,"v":9,"scores":[1]}}"#), "expected an object"),
            (format!(r#"{{"t":"not","live":"{id}","jeu":2,"v":9,"scores":{{}}}}"#), "unknown variant `not`"),
        ] {
            let refused = parse(&text).unwrap_err().reason;
            assert!(refused.contains(what), "{text}: {refused}");
        }
    }

    #[test]
    fn a_message_is_an_object_and_nothing_else() {
        assert_eq!(parse(r#"{"t":"ping","id":7}"#), Ok(ClientMessage::Ping { id: 7 }));
        let ping = |id: u64| parse(&format!(r#"{{"t":"ping","id":{id}}}"#));
        assert_eq!(ping(MAX_EXACT), Ok(ClientMessage::Ping { id: MAX_EXACT }));
        assert!(ping(MAX_EXACT + 1).unwrap_err().reason.contains("above"));
        for text in [r#"["ping",7]"#, r#"["ping",{"id":7}]"#, r#""ping""#, "7", "null", r#"{"ping":{"id":7}}"#] {
            assert!(parse(text).unwrap_err().reason.contains("cannot be read"), "{text}");
        }
    }
}
