//! What an audience thinks of a jeu: distributions that scores are drawn from.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

use crate::shape::{NO_STEP, Shape, Steps, WITHDRAWN};

/// How often an optional critere is left out.
const NO_OPINION: f64 = 0.05;

/// A distribution of scores over the steps of a critere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Taste {
    /// Every step as likely as any other.
    Uniform,
    /// A hill around a place between 0 (lowest) and 1 (highest).
    Bell(f64),
    /// Loved or hated.
    Polarised,
    /// Nearly everybody gives the best.
    Fans,
}

/// The name of no distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTaste(String);

impl fmt::Display for UnknownTaste {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no distribution; use uniform, bell, bell:0.7 (0 to 1), polarised or fans", self.0)
    }
}

impl std::error::Error for UnknownTaste {}

impl FromStr for Taste {
    type Err = UnknownTaste;

    fn from_str(text: &str) -> Result<Self, UnknownTaste> {
        let unknown = || UnknownTaste(text.to_owned());
        match text.split_once(':') {
            None if text == "uniform" => Ok(Self::Uniform),
            None if text == "bell" => Ok(Self::Bell(0.6)),
            None if text == "polarised" => Ok(Self::Polarised),
            None if text == "fans" => Ok(Self::Fans),
            Some(("bell", centre)) => match centre.parse::<f64>() {
                Ok(centre) if (0.0..=1.0).contains(&centre) => Ok(Self::Bell(centre)),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Taste {
    type Error = UnknownTaste;

    fn try_from(text: String) -> Result<Self, UnknownTaste> {
        text.parse()
    }
}

impl From<Taste> for String {
    fn from(taste: Taste) -> Self {
        taste.to_string()
    }
}

impl fmt::Display for Taste {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Bell(centre) => write!(f, "bell:{centre}"),
            Self::Polarised => f.write_str("polarised"),
            Self::Fans => f.write_str("fans"),
        }
    }
}

impl Taste {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=steps before")]
    fn step(self, random: &mut impl Rng, steps: u8) -> u8 {
        let anywhere = |random: &mut dyn FnMut() -> f64| random() * (f64::from(steps) + 1.0) - 0.5;
        let mut unit = || random.random::<f64>();
        let place = match self {
            Self::Uniform => anywhere(&mut unit),
            Self::Bell(centre) => {
                // The sum of three is round enough for a hill.
                let spread = unit() + unit() + unit() - 1.5;
                f64::from(steps) * (centre + 0.45 * spread)
            }
            Self::Polarised => match unit() {
                luck if luck < 0.45 => 0.0,
                luck if luck < 0.9 => f64::from(steps),
                _ => anywhere(&mut unit),
            },
            Self::Fans => match unit() {
                luck if luck < 0.75 => f64::from(steps),
                _ => anywhere(&mut unit),
            },
        };
        place.round().clamp(0.0, f64::from(steps)) as u8
    }

    /// A whole note; at least one critere is rated.
    pub fn note(self, random: &mut impl Rng, shape: &Shape) -> Steps {
        let mut steps = WITHDRAWN;
        for (chosen, critere) in steps.iter_mut().zip(&shape.criteres) {
            let step = self.step(random, critere.steps);
            *chosen = if critere.optional && random.random_bool(NO_OPINION) { NO_STEP } else { step };
        }
        if steps == WITHDRAWN
            && let Some(critere) = shape.criteres.first()
        {
            steps[0] = self.step(random, critere.steps);
        }
        steps
    }

    /// A note that differs from `before`, as somebody's who changed their mind.
    pub fn other_note(self, random: &mut impl Rng, shape: &Shape, before: &Steps) -> Steps {
        let mut steps = self.note(random, shape);
        if steps == *before
            && let Some(critere) = shape.criteres.first()
        {
            steps[0] = if before[0] == 0 { critere.steps } else { 0 };
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use rand_pcg::Pcg64;
    use rand_pcg::rand_core::SeedableRng as _;

    use super::*;
    use crate::shape::tests::shape;

    #[test]
    fn every_taste_gives_notes_of_the_scale_and_says_what_it_is_called() {
        let (shape, mut random) = (shape(), Pcg64::seed_from_u64(1));
        for name in ["uniform", "bell:0.7", "polarised", "fans"] {
            let taste: Taste = name.parse().unwrap();
            assert_eq!(taste.to_string(), name);
            for _ in 0..1000 {
                let note = taste.note(&mut random, &shape);
                assert_ne!(note, WITHDRAWN);
                assert!(note[0] == NO_STEP || note[0] <= 4);
                assert!(note[1] == NO_STEP || note[1] <= 6);
                assert_eq!(note[2..], WITHDRAWN[2..]);
                assert_ne!(taste.other_note(&mut random, &shape, &note), note);
            }
        }
    }

    #[test]
    fn tastes_differ_in_what_they_prefer() {
        let (shape, mut random) = (shape(), Pcg64::seed_from_u64(2));
        let mut mean = |taste: Taste| {
            let rated = |note: Steps| (note[0] != NO_STEP).then(|| f64::from(note[0]));
            let all: Vec<f64> = (0..4000).filter_map(|_| rated(taste.note(&mut random, &shape))).collect();
            all.iter().sum::<f64>() / f64::from(u32::try_from(all.len()).unwrap())
        };
        assert!((mean(Taste::Uniform) - 2.0).abs() < 0.15);
        assert!((mean(Taste::Bell(0.75)) - 3.0).abs() < 0.15);
        assert!(mean(Taste::Fans) > 3.3);
    }

    #[test]
    fn an_unknown_taste_is_refused_with_those_there_are() {
        for text in ["", "bell:2", "bell:x", "fan"] {
            assert!(text.parse::<Taste>().unwrap_err().to_string().contains("polarised"), "{text}");
        }
    }
}
