//! A rating scale as whole numbers of steps: how a note is written, read back and drawn, without the server's code.

use std::fmt::Write as _;

use bareme::protocol::LiveState;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Most criteres of a bareme.
pub const MAX_CRITERES: usize = 12;

/// The step of each critere that a note chooses, [`NO_STEP`] where it chooses none. No step at all is a withdrawal.
pub type Steps = [u8; MAX_CRITERES];

/// "Sans avis".
pub const NO_STEP: u8 = 0xFF;

/// The note that takes a note back.
pub const WITHDRAWN: Steps = [NO_STEP; MAX_CRITERES];

/// One criterion. Numbers are thousandths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CritereShape {
    /// Its key.
    pub key: String,
    /// Lowest score, in thousandths.
    pub min: i64,
    /// Distance of two scores, in thousandths.
    pub step: i64,
    /// Steps from the lowest to the highest score.
    pub steps: u8,
    /// Weight in the overall mean.
    pub weight: u32,
    /// Whether a note may leave it out.
    pub optional: bool,
}

/// The scale of a live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The criteres in order.
    pub criteres: Vec<CritereShape>,
    /// Lower end of the scale of the overall mean, in thousandths.
    pub scale_min: i64,
    /// Its upper end.
    pub scale_max: i64,
}

/// A number of thousandths as JSON writes it.
pub fn thousandths(value: i64) -> String {
    let (sign, units, rest) = (if value < 0 { "-" } else { "" }, value.abs() / 1000, value.abs() % 1000);
    if rest == 0 {
        format!("{sign}{units}")
    } else {
        format!("{sign}{units}.{rest:03}").trim_end_matches('0').to_owned()
    }
}

impl Shape {
    /// The scale of a live; `None` when it breaks the rules of the protocol.
    pub fn of(live: &LiveState) -> Option<Self> {
        let criteres: Option<Vec<_>> = live
            .bareme
            .criteres
            .iter()
            .map(|critere| {
                let (min, max) = (critere.min.as_thousandths(), critere.max.as_thousandths());
                let step = critere.step.as_thousandths();
                let steps = u8::try_from((max - min).checked_div(step)?).ok().filter(|&steps| steps < NO_STEP)?;
                let key = critere.key.as_str().to_owned();
                Some(CritereShape { key, min, step, steps, weight: critere.weight, optional: critere.optional })
            })
            .collect();
        let criteres = criteres.filter(|criteres| (1..=MAX_CRITERES).contains(&criteres.len()))?;
        let (scale_min, scale_max) = (live.scale.min.as_thousandths(), live.scale.max.as_thousandths());
        Some(Self { criteres, scale_min, scale_max })
    }

    /// The steps that a JSON object of scores means; `None` when it means none of this scale.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
    pub fn read(&self, scores: &Map<String, Value>) -> Option<Steps> {
        let mut steps = WITHDRAWN;
        for (key, score) in scores {
            let index = self.criteres.iter().position(|critere| critere.key == *key)?;
            let scaled = score.as_f64()? * 1000.0;
            let critere = &self.criteres[index];
            if (scaled - scaled.round()).abs() > 1e-6 || scaled.abs() > 1e9 {
                return None;
            }
            let distance = scaled.round() as i64 - critere.min;
            let step = u8::try_from(distance / critere.step).ok().filter(|&step| step <= critere.steps)?;
            if distance % critere.step != 0 || steps[index] != NO_STEP {
                return None;
            }
            steps[index] = step;
        }
        Some(steps)
    }
}

/// Writes notes as text. Ready-made pieces: at 100,000 notes a second a JSON tree for each would be most of the work.
#[derive(Debug)]
pub struct Encoder {
    live: String,
    scores: Vec<Vec<String>>,
}

impl Encoder {
    /// For notes of one live.
    pub fn new(live: uuid::Uuid, shape: &Shape) -> Self {
        let piece = |critere: &CritereShape, k: u8| {
            let score = thousandths(critere.min + critere.step * i64::from(k));
            format!("{}:{score}", Value::String(critere.key.clone()))
        };
        let scores = shape.criteres.iter().map(|critere| (0..=critere.steps).map(|k| piece(critere, k)).collect());
        Self { live: live.to_string(), scores: scores.collect() }
    }

    fn put_scores(&self, out: &mut String, steps: &Steps) {
        out.push('{');
        let mut first = true;
        for (pieces, &step) in self.scores.iter().zip(steps) {
            if let Some(piece) = pieces.get(usize::from(step)) {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                out.push_str(piece);
            }
        }
        out.push('}');
    }

    /// The message `note`, or `withdraw` when no step is chosen.
    pub fn message(&self, out: &mut String, jeu: u32, v: u64, steps: &Steps) {
        let kind = if *steps == WITHDRAWN { "withdraw" } else { "note" };
        // Writing to a string cannot fail.
        let _ = write!(out, r#"{{"t":"{kind}","live":"{}","jeu":{jeu},"v":{v}"#, self.live);
        if *steps != WITHDRAWN {
            out.push_str(r#","scores":"#);
            self.put_scores(out, steps);
        }
        out.push('}');
    }

    /// The body of `POST /api/note`.
    pub fn body(&self, jeu: u32, v: u64, steps: &Steps, viewer: Option<&str>) -> String {
        let mut out = format!(r#"{{"live_id":"{}","jeu_id":{jeu},"v":{v}"#, self.live);
        if let Some(viewer) = viewer {
            let _ = write!(out, r#","viewer":{}"#, Value::String(viewer.to_owned()));
        }
        if *steps == WITHDRAWN {
            out.push_str(r#","withdraw":true}"#);
        } else {
            out.push_str(r#","scores":"#);
            self.put_scores(&mut out, steps);
            out.push('}');
        }
        out
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bareme::protocol::ClientMessage;

    use super::*;

    pub(crate) fn shape() -> Shape {
        let critere = |key: &str, min, step, steps, weight| CritereShape {
            key: key.to_owned(),
            min,
            step,
            steps,
            weight,
            optional: true,
        };
        Shape {
            criteres: vec![critere("fun", 1000, 1000, 4, 3), critere("graph", -500, 250, 6, 1)],
            scale_min: 0,
            scale_max: 10_000,
        }
    }

    pub(crate) fn steps(chosen: &[u8]) -> Steps {
        let mut steps = WITHDRAWN;
        steps[..chosen.len()].copy_from_slice(chosen);
        steps
    }

    #[test]
    fn a_note_is_the_message_that_the_server_reads() {
        let (live, shape) = (uuid::Uuid::from_u128(7), shape());
        let encoder = Encoder::new(live, &shape);
        for chosen in [steps(&[3, 0]), steps(&[NO_STEP, 6]), steps(&[4]), steps(&[0, 2])] {
            let mut text = String::new();
            encoder.message(&mut text, 2, 99, &chosen);
            let read: ClientMessage = serde_json::from_str(&text).unwrap();
            let ClientMessage::Note { live: read_live, jeu: 2, v: 99, scores } = read else { panic!("{text}") };
            assert_eq!((read_live, shape.read(&scores)), (live, Some(chosen)), "{text}");
        }
        let mut text = String::new();
        encoder.message(&mut text, 2, 99, &WITHDRAWN);
        assert_eq!(
            serde_json::from_str::<ClientMessage>(&text).unwrap(),
            ClientMessage::Withdraw { live, jeu: 2, v: 99 }
        );
    }

    #[test]
    fn the_body_of_a_vote_over_http_is_json() {
        let encoder = Encoder::new(uuid::Uuid::nil(), &shape());
        let body: Value = serde_json::from_str(&encoder.body(2, 9, &steps(&[1, 1]), Some("a\"b"))).unwrap();
        assert_eq!((&body["viewer"], &body["scores"]["graph"]), (&Value::from("a\"b"), &Value::from(-0.25)));
        let body: Value = serde_json::from_str(&encoder.body(2, 9, &WITHDRAWN, None)).unwrap();
        assert_eq!((&body["withdraw"], body.get("scores")), (&Value::Bool(true), None));
    }

    #[test]
    fn scores_between_steps_out_of_range_or_of_another_scale_mean_nothing() {
        let shape = shape();
        for text in
            [r#"{"fun":1.5}"#, r#"{"fun":6}"#, r#"{"fun":0}"#, r#"{"son":1}"#, r#"{"fun":"1"}"#, r#"{"graph":1.25}"#]
        {
            let scores: Map<String, Value> = serde_json::from_str(text).unwrap();
            assert_eq!(shape.read(&scores), None, "{text}");
        }
    }
}
