//! A rating scale: 1 to 12 criteres, each with its own steps.

use serde::{Deserialize, Serialize};

use super::decimal::Decimal;
use super::key::CritereKey;
use super::rule::Rule;
use super::{Invalid, MAX_TITLE_CHARS, checked_optional_text, checked_text, object};

/// Most criteres a bareme may have: more do not fit a phone, and a note's payload stays tiny.
pub const MAX_CRITERES: usize = 12;

/// Most steps between `min` and `max` of a critere (0 to 100 in ones).
pub const MAX_STEPS: u8 = 100;

/// Longest word for an end of a scale, in characters.
const MAX_WORD_CHARS: usize = 40;

/// One text in the two languages of the pages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bilingual {
    /// In French.
    #[serde(default)]
    pub fr: String,
    /// In English.
    #[serde(default)]
    pub en: String,
}

impl Bilingual {
    /// The same text in both languages, or one in each.
    pub fn new(fr: impl Into<String>, en: impl Into<String>) -> Self {
        Self { fr: fr.into(), en: en.into() }
    }

    /// Checks both texts; where one is empty, the other stands for it, and where both are, `fallback`.
    fn checked(&self, field: &str, max_chars: usize, fallback: &str) -> Result<Self, Invalid> {
        let fr = checked_optional_text(&format!("{field}.fr"), &self.fr, max_chars)?;
        let en = checked_optional_text(&format!("{field}.en"), &self.en, max_chars)?;
        let pick = |own: &str, other: &str| match (own.is_empty(), other.is_empty()) {
            (false, _) => own.to_owned(),
            (true, false) => other.to_owned(),
            (true, true) => fallback.to_owned(),
        };
        Ok(Self { fr: pick(&fr, &en), en: pick(&en, &fr) })
    }
}

const fn default_step() -> Decimal {
    Decimal::whole(1)
}
const fn default_weight() -> u32 {
    1
}
const fn default_optional() -> bool {
    true
}

/// One criterion of a bareme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Critere {
    /// Key in the API, such as `fun`; accents and case do not matter.
    #[schema(value_type = String, example = "fun", max_length = 32)]
    pub key: CritereKey,
    /// What pages call it.
    #[serde(default, deserialize_with = "object::one")]
    pub labels: Bilingual,
    /// Lowest score.
    #[schema(value_type = f64, minimum = -1000, maximum = 1000, example = 1)]
    pub min: Decimal,
    /// Highest score.
    #[schema(value_type = f64, minimum = -1000, maximum = 1000, example = 5)]
    pub max: Decimal,
    /// Distance between two neighbouring scores.
    #[serde(default = "default_step")]
    #[schema(value_type = f64, exclusive_minimum = 0, maximum = 2000, example = 1)]
    pub step: Decimal,
    /// Weight in the overall mean, 1 to 100.
    #[serde(default = "default_weight")]
    #[schema(minimum = 1, maximum = 100)]
    pub weight: u32,
    /// Words for the lowest score.
    #[serde(default, deserialize_with = "object::one")]
    pub low: Bilingual,
    /// Words for the highest score.
    #[serde(default, deserialize_with = "object::one")]
    pub high: Bilingual,
    /// Whether a note may leave it out ("sans avis").
    #[serde(default = "default_optional")]
    pub optional: bool,
}

impl Critere {
    /// Number of steps from `min` to `max`: a score is `min + step·k` with `k` from 0 to this.
    pub fn steps(&self) -> u8 {
        let steps = (self.max.as_thousandths() - self.min.as_thousandths()) / self.step.as_thousandths().max(1);
        u8::try_from(steps).unwrap_or(MAX_STEPS)
    }

    /// The score of step `k`.
    pub fn score(&self, k: u8) -> Decimal {
        Decimal::thousandths(self.min.as_thousandths() + self.step.as_thousandths() * i64::from(k))
    }

    /// The rule of its scores.
    fn range(&self) -> Rule {
        Rule::OutOfRange { min: self.min, max: self.max }
    }

    /// The step of a score.
    ///
    /// # Errors
    /// [`Invalid`] naming the critere when the score is out of range or off step.
    pub fn step_of(&self, score: Decimal) -> Result<u8, Invalid> {
        let allowed = || format!("send {} to {} in steps of {}", self.min, self.max, self.step);
        if score < self.min || score > self.max {
            return Err(Invalid::new(self.key.as_str(), self.range(), format!("{score} is out of range"), allowed()));
        }
        let distance = score.as_thousandths() - self.min.as_thousandths();
        let step = self.step.as_thousandths().max(1);
        match u8::try_from(distance / step) {
            Ok(k) if distance % step == 0 => Ok(k),
            _ => Err(Invalid::new(
                self.key.as_str(),
                Rule::OffStep { min: self.min, max: self.max, step: self.step },
                format!("{score} is between two steps"),
                allowed(),
            )),
        }
    }

    fn checked(&self) -> Result<Self, Invalid> {
        let limit = Decimal::whole(1000);
        let lowest = Decimal::whole(-1000);
        if self.min < lowest || self.max > limit {
            return Err(Invalid::new(
                "max",
                Rule::OutOfRange { min: lowest, max: limit },
                "is beyond ±1000",
                "send a smaller scale",
            ));
        }
        if self.max <= self.min {
            return Err(Invalid::new(
                "max",
                Rule::NotAbove { min: self.min },
                format!("{} is not above min {}", self.max, self.min),
                "send a greater max",
            ));
        }
        if self.step <= Decimal::ZERO {
            return Err(Invalid::new(
                "step",
                Rule::NotAbove { min: Decimal::ZERO },
                "is not above zero",
                "send 1, or 0.5 for halves",
            ));
        }
        let range = self.max.as_thousandths() - self.min.as_thousandths();
        if range % self.step.as_thousandths() != 0 {
            return Err(Invalid::new(
                "step",
                Rule::UnevenStep,
                "does not divide the range from min to max",
                "send a step that does",
            ));
        }
        if range / self.step.as_thousandths() > i64::from(MAX_STEPS) {
            return Err(Invalid::new(
                "step",
                Rule::TooManySteps { max: MAX_STEPS },
                format!("makes more than {MAX_STEPS} steps"),
                "send a larger step",
            ));
        }
        if !(1..=100).contains(&self.weight) {
            return Err(Invalid::new(
                "weight",
                Rule::range(1, 100),
                format!("{} is not 1 to 100", self.weight),
                "send 1 to 100",
            ));
        }
        Ok(Self {
            labels: self.labels.checked("labels", MAX_TITLE_CHARS / 2, self.key.as_str())?,
            low: self.low.checked("low", MAX_WORD_CHARS, "")?,
            high: self.high.checked("high", MAX_WORD_CHARS, "")?,
            ..self.clone()
        })
    }
}

/// The scale on which the overall mean is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Shown when every critere is at its lowest.
    #[schema(value_type = f64, minimum = -1000, maximum = 1000, example = 1)]
    pub min: Decimal,
    /// Shown when every critere is at its highest.
    #[schema(value_type = f64, minimum = -1000, maximum = 1000, example = 5)]
    pub max: Decimal,
}

/// A rating scale. A live keeps a frozen copy of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bareme {
    /// What the admin page calls it.
    #[schema(min_length = 1, max_length = 200, pattern = "@text")]
    pub name: String,
    /// Scale of the overall mean; left out: that of the criteres when they share one, else 0 to 10.
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// 1 to 12 criteres, in the order pages show them.
    #[serde(deserialize_with = "object::list")]
    #[schema(min_items = 1, max_items = 12)]
    pub criteres: Vec<Critere>,
}

impl Bareme {
    /// The bareme with its texts trimmed and its defaults filled in.
    ///
    /// # Errors
    /// [`Invalid`] naming the first field that is wrong.
    pub fn checked(&self) -> Result<Self, Invalid> {
        let name = checked_text("name", &self.name, MAX_TITLE_CHARS)?;
        if self.criteres.is_empty() || self.criteres.len() > MAX_CRITERES {
            let reason = format!("has {} entries", self.criteres.len());
            return Err(Invalid::new(
                "criteres",
                Rule::WrongCount { min: 1, max: MAX_CRITERES },
                reason,
                format!("send 1 to {MAX_CRITERES}"),
            ));
        }
        let mut criteres = Vec::with_capacity(self.criteres.len());
        for (index, critere) in self.criteres.iter().enumerate() {
            let at = format!("criteres[{index}]");
            if self.criteres[..index].iter().any(|other| other.key == critere.key) {
                let reason = format!("`{}` is there twice", critere.key);
                return Err(Invalid::new(
                    format!("{at}.key"),
                    Rule::Duplicate,
                    reason,
                    "give each critere its own key",
                ));
            }
            criteres.push(critere.checked().map_err(|invalid| invalid.within(&at))?);
        }
        if let Some(scale) = self.scale {
            let (lowest, limit) = (Decimal::whole(-1000), Decimal::whole(1000));
            if scale.max > limit || scale.min < lowest {
                let rule = Rule::OutOfRange { min: lowest, max: limit };
                return Err(Invalid::new("scale", rule, "is beyond ±1000", "send a smaller scale"));
            }
            if scale.max <= scale.min {
                let rule = Rule::NotAbove { min: scale.min };
                return Err(Invalid::new("scale", rule, "max is not above min", "send a greater max"));
            }
        }
        Ok(Self { name, scale: self.scale, criteres })
    }

    /// The scale of the overall mean.
    pub fn overall_scale(&self) -> Scale {
        if let Some(scale) = self.scale {
            return scale;
        }
        match self.criteres.split_first() {
            Some((first, rest)) if rest.iter().all(|c| (c.min, c.max) == (first.min, first.max)) => {
                Scale { min: first.min, max: first.max }
            }
            _ => Scale { min: Decimal::ZERO, max: Decimal::whole(10) },
        }
    }

    /// Position and critere of a key, which is compared folded.
    pub fn critere(&self, folded_key: &str) -> Option<(usize, &Critere)> {
        self.criteres.iter().enumerate().find(|(_, critere)| critere.key.as_str() == folded_key)
    }
}

fn critere(
    key: &str,
    labels: [&str; 2],
    low: [&str; 2],
    high: [&str; 2],
    range: [i32; 2],
    step: i64,
) -> Option<Critere> {
    Some(Critere {
        key: CritereKey::new(key).ok()?,
        labels: Bilingual::new(labels[0], labels[1]),
        min: Decimal::whole(range[0]),
        max: Decimal::whole(range[1]),
        step: Decimal::thousandths(step),
        weight: 1,
        low: Bilingual::new(low[0], low[1]),
        high: Bilingual::new(high[0], high[1]),
        optional: true,
    })
}

/// The ready-made baremes the admin page offers: their names, scales and criteres are all editable afterwards.
pub fn presets() -> Vec<Bareme> {
    let five = |range, step| {
        [
            critere("fun", ["Fun", "Fun"], ["soporifique", "a yawn"], ["irrésistible", "irresistible"], range, step),
            critere(
                "graph",
                ["Graphismes", "Graphics"],
                ["d’un autre âge", "dated"],
                ["à couper le souffle", "stunning"],
                range,
                step,
            ),
            critere(
                "duree",
                ["Durée de vie", "Lasting appeal"],
                ["trop court", "too short"],
                ["inépuisable", "endless"],
                range,
                step,
            ),
            critere(
                "son",
                ["Bande-son", "Sound"],
                ["à couper", "mute it"],
                ["à écouter seule", "worth the album"],
                range,
                step,
            ),
            critere(
                "scenario",
                ["Scénario", "Story"],
                ["oubliable", "forgettable"],
                ["inoubliable", "unforgettable"],
                range,
                step,
            ),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
    };
    let one = |range, step| {
        critere("note", ["Note", "Rating"], ["à fuir", "avoid"], ["chef-d’œuvre", "masterpiece"], range, step)
            .into_iter()
            .collect::<Vec<_>>()
    };
    vec![
        Bareme { name: "Cinq critères sur 5".into(), scale: None, criteres: five([1, 5], 1000) },
        Bareme { name: "Étoiles et demies".into(), scale: None, criteres: one([0, 5], 500) },
        Bareme { name: "Une note sur 10".into(), scale: None, criteres: one([0, 10], 1000) },
        Bareme { name: "Cinq critères sur 20".into(), scale: None, criteres: five([0, 20], 1000) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Bareme {
        presets().remove(0)
    }

    #[test]
    fn every_preset_is_valid() {
        let presets = presets();
        assert_eq!(presets.len(), 4);
        for preset in presets {
            assert_eq!(preset.checked().unwrap(), preset);
        }
        assert_eq!(sample().criteres.len(), 5);
    }

    #[test]
    fn a_score_off_step_or_out_of_range_names_the_critere_and_the_remedy() {
        let bareme = sample();
        let (_, fun) = bareme.critere("fun").unwrap();
        assert_eq!(fun.step_of(Decimal::whole(5)), Ok(4));
        let off = fun.step_of(Decimal::thousandths(4500)).unwrap_err();
        assert_eq!(off.to_string(), "fun: 4.5 is between two steps; send 1 to 5 in steps of 1");
        assert!(fun.step_of(Decimal::whole(6)).unwrap_err().reason.contains("out of range"));
        assert!(fun.step_of(Decimal::whole(0)).is_err());
    }

    #[test]
    fn what_is_wrong_in_a_bareme_is_named_by_its_path() {
        let mut bareme = sample();
        bareme.criteres[2].step = Decimal::thousandths(700);
        assert_eq!(bareme.checked().unwrap_err().field, "criteres[2].step");
        let mut bareme = sample();
        bareme.criteres[1].key = bareme.criteres[0].key.clone();
        assert_eq!(bareme.checked().unwrap_err().field, "criteres[1].key");
        let mut bareme = sample();
        bareme.criteres.clear();
        assert_eq!(bareme.checked().unwrap_err().field, "criteres");
    }

    #[test]
    fn the_overall_scale_is_the_shared_one_or_ten() {
        let mut bareme = sample();
        assert_eq!(bareme.overall_scale(), Scale { min: Decimal::whole(1), max: Decimal::whole(5) });
        bareme.criteres[0].max = Decimal::whole(10);
        assert_eq!(bareme.overall_scale(), Scale { min: Decimal::ZERO, max: Decimal::whole(10) });
    }

    #[test]
    fn a_label_left_out_is_taken_from_the_other_language_or_the_key() {
        let json = r#"{"name":"x","criteres":[{"key":"Durée","min":0,"max":10,"labels":{"fr":"Durée"}},{"key":"fun","min":0,"max":10}]}"#;
        let bareme: Bareme = serde_json::from_str(json).unwrap();
        let bareme = bareme.checked().unwrap();
        assert_eq!(bareme.criteres[0].labels.en, "Durée");
        assert_eq!(bareme.criteres[1].labels.fr, "fun");
    }
}
