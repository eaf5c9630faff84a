//! What the compared programs say: the protocol of this project, plain or in the envelopes of Socket.IO.

use std::fmt::Write as _;

/// How messages are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// JSON objects with their type in `t`.
    Plain,
    /// Socket.IO 4 over a WebSocket: `42["type",{…}]`.
    SocketIo,
}

/// What a message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Numbers of a revision.
    Numbers(u64),
    /// The state of the channel.
    State,
    /// A vote counts.
    Ack,
    /// A vote does not.
    Refused,
    /// Nothing that is measured.
    Other,
}

/// The number behind `"rev":`.
fn rev(text: &str) -> Option<u64> {
    let rest = &text[text.find("\"rev\":")? + 6..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn plain(text: &str) -> Said {
    if text.starts_with("{\"t\":\"tally\"") {
        return rev(text).map_or(Said::Other, Said::Numbers);
    }
    if text.starts_with("{\"t\":\"state\"") {
        return Said::State;
    }
    if text.starts_with("{\"t\":\"reply\"") {
        return if text.contains("\"status\":\"ok\"") { Said::Ack } else { Said::Refused };
    }
    Said::Other
}

impl Dialect {
    /// What a message means; what has to be answered to it goes to `out`.
    pub(super) fn hear(self, text: &str, out: &mut String) -> Said {
        if self == Self::Plain {
            return plain(text);
        }
        match text.as_bytes() {
            // Engine.IO: open, to be answered with Socket.IO's connect; ping, to be answered with pong.
            [b'0', ..] => out.push_str("40"),
            [b'2'] => out.push('3'),
            // An answer to a vote is for whoever asked: `43`, its number, its arguments.
            [b'4', b'3', ..] => return if text.contains("\"status\":\"ok\"") { Said::Ack } else { Said::Refused },
            [b'4', b'2', ..] if text.starts_with("42[\"tally\",") => {
                return rev(text).map_or(Said::Other, Said::Numbers);
            }
            [b'4', b'2', ..] if text.starts_with("42[\"state\",") => return Said::State,
            _ => {}
        }
        Said::Other
    }

    /// A vote on jeu 1, to `out`.
    pub(super) fn vote(self, out: &mut String, live: &str, jeu: u32, v: u64, fun: u8) {
        let wrapped = self == Self::SocketIo;
        // Writing to a string cannot fail.
        if wrapped {
            let _ = write!(out, "42{}[\"note\",", v % 1_000_000);
        }
        let _ = write!(out, r#"{{"t":"note","live":"{live}","jeu":{jeu},"v":{v},"scores":{{"fun":{fun},"duree":3}}}}"#);
        if wrapped {
            out.push(']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(dialect: Dialect, text: &str) -> (Said, String) {
        let mut out = String::new();
        (dialect.hear(text, &mut out), out)
    }

    #[test]
    fn messages_of_this_project_are_told_apart() {
        let nothing = String::new();
        let tally = r#"{"t":"tally","live":"x","jeu":1,"epoch":0,"phase":"open","rev":17,"voters":3}"#;
        assert_eq!(said(Dialect::Plain, tally), (Said::Numbers(17), nothing.clone()));
        assert_eq!(said(Dialect::Plain, r#"{"t":"state","rev":4}"#), (Said::State, nothing.clone()));
        assert_eq!(said(Dialect::Plain, r#"{"t":"reply","v":1,"status":"ok"}"#), (Said::Ack, nothing.clone()));
        assert_eq!(said(Dialect::Plain, r#"{"t":"reply","v":1,"status":"closed"}"#), (Said::Refused, nothing.clone()));
        assert_eq!(said(Dialect::Plain, r#"{"t":"welcome"}"#), (Said::Other, nothing));
    }

    #[test]
    fn the_handshake_and_the_pings_of_socket_io_are_answered() {
        assert_eq!(said(Dialect::SocketIo, r#"0{"sid":"x"}"#), (Said::Other, "40".to_owned()));
        assert_eq!(said(Dialect::SocketIo, r#"40{"sid":"x"}"#), (Said::Other, String::new()));
        assert_eq!(said(Dialect::SocketIo, "2"), (Said::Other, "3".to_owned()));
        assert_eq!(said(Dialect::SocketIo, r#"42["tally",{"rev":5}]"#).0, Said::Numbers(5));
        assert_eq!(said(Dialect::SocketIo, r#"43123[{"status":"ok"}]"#).0, Said::Ack);
    }

    #[test]
    fn a_vote_is_a_message_of_the_protocol_or_an_event_that_asks_for_an_answer() {
        let mut plain = String::new();
        Dialect::Plain.vote(&mut plain, "019b76da-a800-7000-8000-000000000001", 1, 1_767_225_600_950_000, 4);
        assert!(matches!(serde_json::from_str(&plain).unwrap(), bareme::protocol::ClientMessage::Note { jeu: 1, .. }));
        let mut wrapped = String::new();
        Dialect::SocketIo.vote(&mut wrapped, "x", 1, 5, 4);
        assert_eq!(wrapped, r#"425["note",{"t":"note","live":"x","jeu":1,"v":5,"scores":{"fun":4,"duree":3}}]"#);
    }
}
